//! Scripts of Python and Node: the text that the interpreter gets, and the variables that hold the
//! values of its holes. Knows what a step takes in; does not know how the languages read.

use std::sync::Arc;

use indexmap::IndexMap;

use super::step::Builder;
use super::{Evaluated, Evaluator, Frame};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::value::Value;
use crate::plan::step::{Command, Language, Place, Text};
use crate::source::Span;
use crate::syntax::ast::{Dialect, Piece, StringLiteral};
use crate::syntax::code::{self, Form};

/// The largest whole number that JavaScript tells from its neighbours.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The values of one hole while they are put into variables.
struct Hole<'f> {
    dialect: Dialect,
    span: Span,
    folder: &'f str,
    variables: Vec<Text>,
}

impl<'p> Evaluator<'p> {
    pub(super) fn code(
        &mut self,
        dialect: Dialect,
        script: &'p StringLiteral,
        place: Place,
        frame: &mut Frame<'p>,
        builder: &mut Builder<'p>,
    ) -> Evaluated<Command> {
        let analysis = code::analyse(dialect, script);
        let mut holes = IndexMap::new();
        let mut forms = Vec::new();
        for piece in &script.pieces {
            let Piece::Hole { expr, .. } = piece else { continue };
            let found = self.expr(expr, frame)?;
            let span = expr.span;
            let mut hole = Hole { dialect, span, folder: frame.folder, variables: Vec::new() };
            let form = self.form(&found, &mut hole, builder)?;
            let named = hole.variables.into_iter().enumerate();
            let at = forms.len();
            holes.extend(named.map(|(number, text)| (code::variable(at, &form, number), text)));
            forms.push(form);
        }
        let text = code::render(script, dialect, &forms);
        self.spend_text(text.len(), self.script_place(script, frame))?;
        if !analysis.moves {
            let read = analysis.texts.iter().filter(|text| !text.is_target);
            let read = read.map(|text| (text.value.as_str(), text.span)).collect();
            self.uncovered(read, frame.folder, builder);
        }
        let language = match dialect {
            Dialect::Python => Language::Python,
            Dialect::JavaScript if analysis.is_module => Language::NodeModule,
            Dialect::JavaScript => Language::Node,
        };
        Ok(Command::Script { language, text, holes, place })
    }

    /// Puts a value into variables and returns the form in which the script reads them.
    fn form(
        &mut self,
        value: &Value,
        hole: &mut Hole<'_>,
        builder: &mut Builder<'p>,
    ) -> Evaluated<Form> {
        Ok(match value {
            Value::None => Form::Nothing,
            Value::Bool(_) | Value::Int(_) => {
                if let Value::Int(number) = value {
                    self.exact(*number, hole)?;
                }
                hole.variables.push(Text::literal(value.text("").unwrap_or_default()));
                Form::Json
            }
            Value::List(elements) => {
                let elements = Arc::clone(elements);
                let forms = elements.iter().map(|element| self.form(element, hole, builder));
                Form::List(forms.collect::<Evaluated<_>>()?)
            }
            Value::Record(fields) => {
                let mut forms = Vec::new();
                for (name, value) in fields.iter() {
                    hole.variables.push(Text::literal(name.clone()));
                    forms.push(self.form(value, hole, builder)?);
                }
                Form::Record(forms)
            }
            value => {
                let text = self.step_text(value, hole.span, hole.folder, &mut builder.inputs)?;
                hole.variables.push(text);
                Form::Text
            }
        })
    }

    /// Refuses a number that would be another one in the script.
    fn exact(&mut self, number: i64, hole: &Hole<'_>) -> Evaluated<()> {
        if hole.dialect == Dialect::Python || number.unsigned_abs() <= MAX_SAFE_INTEGER {
            return Ok(());
        }
        let text = self.program.sources.text(hole.span);
        let message = format!("`{text}` is {number}, which Node can not tell from its neighbours");
        let as_text = match text.parse::<i64>() {
            Ok(_) => format!("{text:?}"),
            Err(_) => format!("\"{{{{{text}}}}}\""),
        };
        self.fail(
            Diagnostic::error(Code::NO_RESULT, hole.span, message)
                .help(format!("pass it as a text: {as_text}"))
                .edit(hole.span, as_text),
        )
    }
}
