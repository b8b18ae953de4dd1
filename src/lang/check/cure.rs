//! Words and cures for values of the wrong type: how a type is named in a message, and what to write
//! in the value's place. Knows pairs of types; does not know where they met.

use super::Checker;
use super::expr::list_of;
use crate::diagnostic::Diagnostic;
use crate::lang::nearest::nearest;
use crate::lang::ty::Type;
use crate::source::Span;
use crate::syntax::ast::{ExprKind, ItemKind};
use crate::syntax::parse;

/// What to do about a value, and the text to put in its place where there is only one.
pub(super) struct Cure {
    pub(super) help: String,
    pub(super) edit: Option<String>,
    /// Where that text goes, if not in the value's place.
    pub(super) place: Option<Span>,
}

impl Cure {
    /// Returns a diagnostic about what stands at `span` with this cure.
    pub(super) fn of(self, problem: Diagnostic, span: Span) -> Diagnostic {
        let problem = problem.help(self.help);
        match self.edit {
            Some(edit) => problem.edit(self.place.unwrap_or(span), edit),
            None => problem,
        }
    }

    /// Says what to do.
    fn say(help: impl Into<String>) -> Option<Self> {
        Some(Self { help: help.into(), edit: None, place: None })
    }

    /// Says what to write.
    fn write(edit: impl Into<String>) -> Option<Self> {
        let edit = edit.into();
        Some(Self { help: format!("write: {edit}"), edit: Some(edit), place: None })
    }

    /// Says what was likely meant.
    fn guess(edit: impl Into<String>) -> Option<Self> {
        let edit = edit.into();
        Some(Self { help: format!("did you mean {edit}?"), edit: Some(edit), place: None })
    }
}

impl Checker<'_> {
    /// Returns what to do about a value of type `found` where `wanted` is wanted.
    pub(super) fn cure(&mut self, found: &Type, wanted: &Type, span: Span) -> Option<Cure> {
        let text = self.program.sources.text(span);
        match (found, wanted.certain()) {
            (Type::Optional(inner), place) if inner.fits(place) => {
                let other = example(place);
                let help = format!("say what stands in for `none`: {text} ?? {other}");
                // Of other types nothing says which value that is.
                let is_empty = matches!(place, Type::Bool | Type::String | Type::List(_));
                let edit = is_empty.then(|| format!("{} ?? {other}", operand(text)));
                match self.as_key(text, span) {
                    Some(cure) => Some(cure),
                    None => Some(Cure { help, edit, place: None }),
                }
            }
            (Type::String, Type::Bool) => {
                self.as_switch(text, span).or_else(|| plain(found, &Type::Bool, text))
            }
            (Type::Optional(_), Type::Bool) => Cure::write(format!("{} != none", operand(text))),
            (found, Type::List(element)) if found.fits(element) => Cure::write(format!("[{text}]")),
            (found, Type::List(element)) => {
                let cure = self.cure(found, element, span)?;
                match (cure.edit, cure.place) {
                    (Some(edit), None) => Cure::write(format!("[{edit}]")),
                    (edit, place) => Some(Cure { edit, place, ..cure }),
                }
            }
            (Type::Enum(found), Type::Verdict) if found.len() == 1 => {
                match self.is_stage(&found[0], span) {
                    true => Cure::write(&*found[0]),
                    false => Cure::say("name the stage itself, without quotes"),
                }
            }
            (Type::Stage(_) | Type::Row(_), Type::File | Type::Dir | Type::Tool) => {
                Some(self.name_an_out(found, text))
            }
            (found, place) => plain(found, place, text),
        }
    }

    fn is_stage(&self, name: &str, span: Span) -> bool {
        let item = self.item_called(name, span);
        item.is_some_and(|item| matches!(&item.kind, ItemKind::Stage(stage) if stage.is_run()))
    }

    /// Says which out of a stage or row to name; `text` is the stage as it is written.
    pub(super) fn name_an_out(&mut self, stage: &Type, text: &str) -> Cure {
        let (stage, is_matrix) = match stage {
            Type::Stage(stage) => (*stage, !self.axes_of(*stage).is_empty()),
            Type::Row(stage) => (*stage, false),
            _ => unreachable!("only stages and rows have outs"),
        };
        let outs = self.outs_of(stage);
        let row = if is_matrix { ".all" } else { "" };
        let names: Vec<_> = outs.keys().map(|out| format!("{text}{row}.{out}")).collect();
        match &names[..] {
            [] => Cure {
                help: format!("`{text}` makes nothing; to wait for it, write: require = [{text}]"),
                edit: None,
                place: None,
            },
            [only] => Cure {
                help: format!("name what it makes: {only}"),
                edit: (!is_matrix).then(|| only.clone()),
                place: None,
            },
            names => Cure {
                help: format!("name one of its outs: {}", list_of(names)),
                edit: None,
                place: None,
            },
        }
    }
}

/// Cures that need nothing but the types and the text.
fn plain(found: &Type, place: &Type, text: &str) -> Option<Cure> {
    match (found, place) {
        (Type::Int(low, high), Type::Int(min, max)) if low == high => {
            Cure::say(format!("use a number from {min} to {max}"))
        }
        (Type::Enum(found), Type::Enum(known)) if text.starts_with('"') => {
            let near = nearest(found.first()?, known.iter().map(String::as_str))?;
            Cure::guess(format!("{near:?}"))
        }
        (Type::List(_), place) if place.is_text() && *place != Type::File => Some(Cure {
            help: format!("make one text of the list: join({text}, \" \")"),
            edit: Some(format!("join({text}, \" \")")),
            place: None,
        }),
        (Type::Dir, Type::File) => {
            Cure::say(format!("name the file in it: {text} / \"index.html\""))
        }
        (Type::String | Type::Enum(_), Type::File) => Cure::write(format!("file({text})")),
        (Type::String | Type::Enum(_), Type::Dir) => Cure::write(format!("dir({text})")),
        (Type::Enum(_), Type::Tool) => Cure::write(format!("host.tool({text})")),
        (Type::Enum(_) | Type::String, Type::Image) => Cure::say(
            "an image is a file of the project: oci(\"image.tar\"), which docker save NAME -o image.tar writes",
        ),
        (Type::Enum(texts), place) if texts.len() == 1 && reads_as(&texts[0], place) => {
            Some(Cure {
                help: format!("write it without the quotes: {}", texts[0]),
                edit: text.starts_with('"').then(|| texts[0].clone()),
                place: None,
            })
        }
        (Type::Int(..), Type::Duration) if is_number(text) => Cure::write(format!("{text}s")),
        (Type::Int(..), Type::Size) if is_number(text) => Cure::write(format!("{text}MiB")),
        (Type::Int(..), Type::Percent) if is_number(text) => Cure::write(format!("{text}%")),
        (Type::Int(..), Type::Duration) => Cure::write(format!("{} * 1s", operand(text))),
        (Type::Int(..), Type::Size) => Cure::write(format!("{} * 1MiB", operand(text))),
        (Type::Int(low, high), Type::Bool) if low == high => {
            Cure::say(format!("compare it: {text} > 0"))
        }
        (Type::Int(..), Type::Bool) => Cure::write(format!("{} > 0", operand(text))),
        (Type::Bool, Type::Enum(known)) if known.iter().any(|text| text == "full") => match text {
            "true" => Cure::write("\"full\""),
            "false" => Cure::write("\"none\""),
            _ => Cure::say(format!("choose: if {text} then \"full\" else \"none\"")),
        },
        (Type::String | Type::Enum(_), Type::Bool) => {
            Cure::say(format!("compare it: {text} == \"…\""))
        }
        (found, Type::String) if found.is_text() && parse::literal(text).is_some() => {
            Cure::write(format!("{text:?}"))
        }
        (found, Type::String) if found.is_text() => Cure::write(format!("\"{{{{{text}}}}}\"")),
        _ => None,
    }
}

/// Returns whether a text would be a value of type `place` without its quotes.
pub(super) fn reads_as(text: &str, place: &Type) -> bool {
    matches!(
        (parse::literal(text), place),
        (Some(ExprKind::Duration(_)), Type::Duration)
            | (Some(ExprKind::Size(_)), Type::Size)
            | (Some(ExprKind::Percent(_)), Type::Percent)
            | (Some(ExprKind::Bool(_)), Type::Bool)
            | (Some(ExprKind::Int(_)), Type::Int(..))
    )
}

/// Returns an expression as one side of an operator.
pub(super) fn operand(text: &str) -> String {
    if text.contains(' ') { format!("({text})") } else { text.to_owned() }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// Returns a value of a type, as it is written.
fn example(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "false",
        Type::Int(..) => "1",
        Type::Duration => "10m",
        Type::Size => "512MiB",
        Type::Percent => "50%",
        Type::List(_) => "[]",
        Type::String => "\"\"",
        _ => "other",
    }
}

/// Returns the type for a message.
pub(super) fn quoted(ty: &Type) -> String {
    match ty {
        Type::Enum(texts) if texts.len() == 1 => format!("the text {:?}", texts[0]),
        Type::Int(low, high) if low == high => format!("the number {low}"),
        Type::Stage(_)
        | Type::Template(_)
        | Type::Secret(_)
        | Type::Service(_)
        | Type::Module(_)
        | Type::Function(_)
        | Type::Builtin(_) => format!("a {ty}"),
        Type::Verdict => "a stage".to_owned(),
        Type::List(element) if **element == Type::Verdict => "a list of stages".to_owned(),
        Type::Row(_) => "a row of a stage".to_owned(),
        Type::AllRows(_) | Type::Outs => ty.to_string(),
        Type::Record(fields) if fields.len() > 2 => "a record".to_owned(),
        ty => format!("`{ty}`"),
    }
}

/// Returns the type of a value for a message that does not ask for certain texts: a list of the texts
/// "a" and "b" is a list of texts there.
pub(super) fn loosely(ty: &Type) -> String {
    match ty {
        Type::List(_) | Type::Map(_) | Type::Optional(_) => quoted(&loose(ty)),
        ty => quoted(ty),
    }
}

fn loose(ty: &Type) -> Type {
    match ty {
        Type::Enum(_) => Type::String,
        Type::Int(..) => Type::INT,
        Type::List(element) => Type::list(loose(element)),
        Type::Map(element) => Type::Map(loose(element).into()),
        Type::Optional(inner) => Type::optional(loose(inner)),
        ty => ty.clone(),
    }
}
