//! Scripts: the text that the shell gets, the values of its holes, and the project's paths in it. Knows
//! what a step takes in; does not know how a shell reads.

use indexmap::IndexMap;

use super::step::Builder;
use super::{Evaluated, Evaluator, Frame};
use crate::diagnostic::{Code, Diagnostic};
use crate::files;
use crate::lang::value::Value;
use crate::plan::artifact::Out;
use crate::plan::step::{Command, Language, Place, Text};
use crate::source::Span;
use crate::syntax::ast::{Piece, ScriptLanguage, StringLiteral};
use crate::syntax::shell;

impl<'p> Evaluator<'p> {
    pub(super) fn script(
        &mut self,
        language: ScriptLanguage,
        script: &'p StringLiteral,
        place: Place,
        frame: &mut Frame<'p>,
        builder: &mut Builder<'p>,
    ) -> Evaluated<Command> {
        let analysis = shell::analyse(language, script);
        let mut holes = IndexMap::new();
        let mut values = Vec::new();
        for piece in &script.pieces {
            let Piece::Hole { expr, .. } = piece else { continue };
            let found = self.expr(expr, frame)?;
            let hole = values.len();
            values.push(match &found {
                Value::None => {
                    holes.insert(shell::variable(hole, None), Text::default());
                    shell::Value::Nothing
                }
                Value::List(_) => {
                    let mut words = Vec::new();
                    self.words(&found, expr.span, frame.folder, builder, &mut words)?;
                    let count = words.len();
                    let named = words.into_iter().enumerate();
                    holes.extend(named.map(|(at, word)| (shell::variable(hole, Some(at)), word)));
                    shell::Value::Words(count)
                }
                found => {
                    let text =
                        self.step_text(found, expr.span, frame.folder, &mut builder.inputs)?;
                    holes.insert(shell::variable(hole, None), text);
                    shell::Value::One
                }
            });
        }
        let text = shell::render(script, &analysis, &values);
        self.spend_text(
            text.len(),
            script.pieces.first().map_or(Span::at(self.tree_source(frame), 0), piece_span),
        )?;
        self.uncovered(&analysis, frame.folder, builder);
        let language = match language {
            ScriptLanguage::Sh => Language::Sh,
            ScriptLanguage::Bash => Language::Bash,
        };
        Ok(Command::Script { language, text, holes, place })
    }

    fn tree_source(&self, frame: &Frame<'p>) -> crate::source::SourceId {
        self.program.module(frame.module).ast.source
    }

    /// Warns of words that name a file of the project which the step does not have.
    fn uncovered(&mut self, analysis: &shell::Script, folder: &str, builder: &Builder) {
        // After a `cd` a word may mean something else.
        let moves = |word: &shell::Word| {
            word.role == shell::Role::Command && ["cd", "pushd"].contains(&word.value.as_str())
        };
        if analysis.words.iter().any(moves) {
            return;
        }
        let sets = &self.file_sets;
        let paths = |id: crate::plan::artifact::FileSetId| sets[id.index()].paths.clone();
        let mut found = Vec::new();
        for word in analysis
            .words
            .iter()
            .filter(|word| word.role != shell::Role::Output && !word.is_pattern)
        {
            let is_path = word.value.contains('/') || word.value.contains('.');
            if !is_path || word.value.starts_with(['/', '-', '~']) {
                continue;
            }
            let Some(path) =
                files::project_path(folder, &word.value).filter(|path| !path.is_empty())
            else {
                continue;
            };
            let is_made = |out: &Out| {
                files::below(&out.path, &path).is_some() || files::below(&path, &out.path).is_some()
            };
            if builder.step.outs.iter().any(is_made) || builder.inputs.covers(paths, &path) {
                continue;
            }
            found.extend(self.globber.kind(&path).map(|kind| (word, kind)));
        }
        for (word, kind) in found {
            let cure = match kind {
                files::EntryKind::Folder => {
                    format!("in files(\"{}/**\")", word.value.trim_end_matches('/'))
                }
                _ => format!("in file({:?})", word.value),
            };
            let message = format!("the step does not have `{}`: no input covers it", word.value);
            let problem = Diagnostic::warning(Code::UNCOVERED_PATH, word.span, message)
                .help(format!("add a clause: {cure}"));
            self.diagnostics.push(problem);
        }
    }
}

fn piece_span(piece: &Piece) -> Span {
    match piece {
        Piece::Text { span, .. } | Piece::Hole { span, .. } => *span,
    }
}
