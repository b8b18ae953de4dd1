//! Holes in scripts of Python and Node: where each one stands, and the expression that reads its
//! value. Knows how both languages are lexed; does not know what a name means, what a value is, or
//! how a script is run.
//!
//! A hole becomes an expression that reads environment variables, so the script's text depends on
//! the form of a value only, and a value can not become code whatever it holds:
//!
//! | value | in Python | in Node |
//! |---|---|---|
//! | a text | `….environb[b"KILN_1"].decode()` | `….process.env.KILN_1` |
//! | a number, `true` | `….loads(….environb[b"KILN_1"])` | `….parse(….process.env.KILN_1)` |
//! | `none` | `None` | `null` |
//! | a list | `[…, …]` | `[…, …]` |
//! | a record | `{…: …}` | `({[…]: …})` |
//!
//! Inside a string, a comment or a regular expression no expression stands, and the hole is refused.

mod advice;
mod javascript;
mod lex;
mod python;
#[cfg(test)]
mod tests;

pub(crate) use advice::diagnostics;

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::source::Span;
use crate::syntax::ast::{Dialect, Piece, StringLiteral};
use crate::syntax::text::Text;

/// The most brackets, strings and their fields that may stand in one another.
const MAX_DEPTH: usize = 128;

/// Returns what a script says about its holes, texts and names. Takes linear time, whatever the
/// script holds; a script with syntax errors has an analysis, too.
pub(crate) fn analyse(dialect: Dialect, script: &StringLiteral) -> Code {
    let text = Text::new(script);
    let lexed = match dialect {
        Dialect::Python => python::lex(&text),
        Dialect::JavaScript => javascript::lex(&text),
    };
    lexed.finish(dialect)
}

/// What is known about a script without running it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Code {
    pub(crate) dialect: Dialect,
    /// For each hole, in their order, why it takes no value; `None` where an expression may stand.
    pub(crate) holes: Vec<Option<Refusal>>,
    /// The strings without a hole, an escape or a field of their own.
    pub(crate) texts: Vec<Literal>,
    /// The names that the script uses in any way, without those behind a dot.
    pub(crate) names: BTreeSet<String>,
    /// Shell variables where Python has none: `$name`, `${name}`.
    pub(crate) dollars: Vec<Dollar>,
    /// Whether it may run in another folder than the step's, or run others there.
    pub(crate) moves: bool,
    /// Strings and comments that the script opens and never closes; the interpreter refuses them.
    pub(crate) unclosed: Vec<(Span, &'static str)>,
    /// Where the script nests over 128 levels deep. The analysis ends there, and the holes behind
    /// are refused.
    pub(crate) too_deep: Option<Span>,
    /// Whether it is an ES module: it imports, exports or awaits outside of all functions.
    pub(crate) is_module: bool,
}

/// A string of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    /// Its text without its quotes.
    pub(crate) value: String,
    /// Its place, with the quotes.
    pub(crate) span: Span,
    /// Whether it seems to name what is to be made or taken away.
    pub(crate) is_target: bool,
}

/// A variable as a shell writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dollar {
    pub(crate) name: String,
    pub(crate) span: Span,
}

/// Why a hole takes no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It stands in a string.
    Text(TextAround),
    /// It stands in an f-string, or a t-string.
    Formatted,
    /// It stands in a template literal.
    Template,
    /// It stands in a regular expression.
    Pattern,
    /// It stands in a comment.
    Comment,
    /// A letter, a digit or a string stands right beside it.
    Joined,
    /// A dot stands before it, where a member's name is written.
    Member,
    /// The word before it wants a name.
    Name(&'static str),
    /// It stands behind the place where the script nests too deeply.
    TooDeep,
}

/// A string with holes, and what to write in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextAround {
    /// Its place, with the quotes.
    pub(crate) span: Span,
    /// The strings and holes that the expression adds up; never empty.
    pub(crate) parts: Vec<Part>,
    /// Whether it is a string of bytes.
    pub(crate) is_bytes: bool,
    /// Whether the sum needs brackets where it stands.
    pub(crate) needs_brackets: bool,
}

/// A part of a string with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text, with its quotes.
    Text(String),
    /// A hole, by number.
    Hole(usize),
}

/// What a hole holds, as far as the script's text depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A text in the next variable.
    Text,
    /// A number or truth value in the next variable, as JSON writes it.
    Json,
    /// `none`
    Nothing,
    /// A list.
    List(Vec<Self>),
    /// A record: for each field, its name in the next variable, then its value.
    Record(Vec<Self>),
}

impl Form {
    fn is_scalar(&self) -> bool {
        matches!(self, Self::Text | Self::Json)
    }
}

/// Returns the name of a variable: the only one of a hole with one text or number, else the one of
/// that number. Both are counted from 0.
pub(crate) fn variable(hole: usize, form: &Form, number: usize) -> String {
    match form.is_scalar() {
        true => format!("KILN_{}", hole + 1),
        false => format!("KILN_{}_{}", hole + 1, number + 1),
    }
}

/// Returns the script as the interpreter gets it: every hole an expression. `forms` has one for each
/// hole, and no hole is refused.
pub(crate) fn render(script: &StringLiteral, dialect: Dialect, forms: &[Form]) -> String {
    let mut rendered = String::new();
    let mut holes = forms.iter().enumerate();
    for piece in &script.pieces {
        match piece {
            Piece::Text { text, .. } => rendered.push_str(text),
            Piece::Hole { .. } => {
                let (hole, form) = holes.next().expect("a form for each hole");
                let prefix = format!("KILN_{}", hole + 1);
                let mut reader = Reader { dialect, prefix, next: 0, rendered };
                match form.is_scalar() {
                    true => reader.scalar(form, ""),
                    false => reader.value(form),
                }
                rendered = reader.rendered;
            }
        }
    }
    match dialect {
        Dialect::Python => dedented(&rendered),
        Dialect::JavaScript => rendered,
    }
}

/// Returns a script without the blanks that its first line begins with, in which authors set it off
/// from the clause around it. Python would take them for the body of something.
fn dedented(script: &str) -> String {
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let first = script.split('\n').find(is_code).unwrap_or_default();
    let indent = &first[..first.len() - first.trim_start_matches([' ', '\t']).len()];
    let line = |line: &'_ str| {
        let shared = line.bytes().zip(indent.bytes()).take_while(|(own, other)| own == other);
        line[shared.count()..].to_owned()
    };
    script.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Writes the expression for one hole.
struct Reader {
    dialect: Dialect,
    prefix: String,
    /// The number of the next variable, from 0.
    next: usize,
    rendered: String,
}

impl Reader {
    fn value(&mut self, form: &Form) {
        match form {
            Form::Nothing => self.rendered.push_str(match self.dialect {
                Dialect::Python => "None",
                Dialect::JavaScript => "null",
            }),
            Form::Text | Form::Json => {
                self.next += 1;
                let suffix = format!("_{}", self.next);
                self.scalar(form, &suffix);
            }
            Form::List(elements) if is_long_list_of_texts(elements) => self.texts(elements.len()),
            Form::List(elements) => {
                self.rendered.push('[');
                for element in elements {
                    self.value(element);
                    self.rendered.push_str(", ");
                }
                self.rendered.push(']');
            }
            Form::Record(values) => self.record(values),
        }
    }

    fn scalar(&mut self, form: &Form, suffix: &str) {
        let prefix = &self.prefix;
        // Whole names, since a script may have a `json`, an `os` or a `process` of its own; and no
        // brackets around, which would call what stands before.
        let _ = match (self.dialect, form) {
            (Dialect::Python, Form::Text) => {
                write!(self.rendered, "__import__(\"os\").environb[b\"{prefix}{suffix}\"].decode()")
            }
            (Dialect::Python, _) => write!(
                self.rendered,
                "__import__(\"json\").loads(__import__(\"os\").environb[b\"{prefix}{suffix}\"])"
            ),
            (Dialect::JavaScript, Form::Text) => {
                write!(self.rendered, "globalThis.process.env.{prefix}{suffix}")
            }
            (Dialect::JavaScript, _) => write!(
                self.rendered,
                "globalThis.JSON.parse(globalThis.process.env.{prefix}{suffix})"
            ),
        };
    }

    /// Writes a list of texts at a length that does not depend on theirs: interpreters show the line
    /// that fails.
    fn texts(&mut self, count: usize) {
        let (prefix, first) = (&self.prefix, self.next + 1);
        self.next += count;
        let _ = match self.dialect {
            Dialect::Python => write!(
                self.rendered,
                "[__import__(\"os\").environb[b\"{prefix}_%d\" % kiln].decode() for kiln in __import__(\"builtins\").range({first}, {})]",
                first + count
            ),
            Dialect::JavaScript => write!(
                self.rendered,
                "globalThis.Array.from({{length: {count}}}, (_, kiln) => globalThis.process.env[\"{prefix}_\" + ({first} + kiln)])"
            ),
        };
    }

    /// Names of fields are data, too: they may come from a file of the project.
    fn record(&mut self, values: &[Form]) {
        let (open, close, key, value) = match self.dialect {
            Dialect::Python => ("{", "}", "", ": "),
            // A brace alone may begin a block; a name in brackets is a field of the record itself,
            // even `__proto__`.
            Dialect::JavaScript => ("({", "})", "[", "]: "),
        };
        self.rendered.push_str(open);
        for form in values {
            self.rendered.push_str(key);
            self.value(&Form::Text);
            self.rendered.push_str(value);
            self.value(form);
            self.rendered.push_str(", ");
        }
        self.rendered.push_str(close);
    }
}

fn is_long_list_of_texts(elements: &[Form]) -> bool {
    elements.len() > 2 && elements.iter().all(|element| *element == Form::Text)
}
