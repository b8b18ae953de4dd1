//! Holes in shell scripts: in which quotes each one stands, and the script that hands its value to
//! the shell as data. Knows how `sh` (POSIX, as dash reads it) and `bash` are lexed; does not know
//! what a name means, what a value is, or how a script is run.
//!
//! A hole becomes a reference to an environment variable, so the script's text is the same for
//! every scalar value, and a value can not become code whatever it holds:
//!
//! | in the script | becomes |
//! |---|---|
//! | `cp {{a}} b` | `cp "${KILN_1}" b` |
//! | `cp {{list}} b` | `cp "${KILN_1_1}" "${KILN_1_2}" b` |
//! | `"a {{b}}"`, `$(( {{n}} ))`, a heredoc's text | `${KILN_1}` |
//! | `'a {{b}}'` | `'a '"${KILN_1}"''` |
//!
//! Where the value would be read as code after all (`eval`, `sh -c`, `ssh`), as a name, or not at
//! all (`<<'EOF'`), the hole is refused.

mod advice;
mod commands;
mod expand;
mod lex;
mod programs;
mod redirect;
#[cfg(test)]
mod tests;
mod word;

pub(in crate::syntax) use advice::written;
pub(crate) use advice::{Unsafe, diagnostics, list_in_word, not_an_int};

use crate::source::Span;
use crate::syntax::ast::{Piece, Shell, StringLiteral};

/// The most quotes, substitutions and compound commands that may stand in one another.
const MAX_DEPTH: usize = 128;

/// Returns what a script of `language` says about its holes, words and variables. Takes linear
/// time, whatever the script holds; a script with syntax errors has an analysis, too.
pub(crate) fn analyse(language: Shell, script: &StringLiteral) -> Script {
    lex::Lexer::new(language, &crate::syntax::text::Text::new(script)).run()
}

/// What is known about a script without running it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Script {
    /// The context of each hole, in their order.
    pub(crate) holes: Vec<Context>,
    /// The words without an expansion or a hole.
    pub(crate) words: Vec<Word>,
    /// The uses of variables: `$name`, `${name…}`. Not `$1`, `$@` and their like.
    pub(crate) variables: Vec<Variable>,
    /// The names that the script gives a value itself, in no order, some more than once.
    pub(crate) sets: Vec<String>,
    /// Whether the script may set names that nobody can see: it runs `eval`, `.` or `source`.
    pub(crate) sets_unknown: bool,
    /// Quotes and substitutions that the script opens and never closes; the shell refuses them.
    pub(crate) unclosed: Vec<Unclosed>,
    /// Heredocs whose delimiter never comes; the shell takes the rest of the script as their text.
    pub(crate) endless: Vec<Endless>,
    /// Where the script nests over 128 levels deep. The analysis ends there, and the holes
    /// behind take [`Takes::Nothing`].
    pub(crate) too_deep: Option<Span>,
}

/// How a hole stands in its script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The quotes around it: how its value is written.
    pub(crate) quoting: Quoting,
    /// Which values may stand there.
    pub(crate) takes: Takes,
}

/// The quotes around a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quoting {
    /// None, where the shell would split a value at spaces: `"${KILN_1}"`.
    Bare,
    /// Double quotes, an unquoted heredoc, arithmetic or a comment, where it would not: `${KILN_1}`.
    Plain,
    /// Single quotes, which end before the reference and begin anew behind it: `'"${KILN_1}"'`.
    Single,
}

/// The values that a context takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A scalar or a list; each element becomes a word. The hole is a bare word of its own where
    /// any number of words may stand.
    Words,
    /// A scalar. A list gets [`list_in_word`].
    Word,
    /// An `int`, because the shell evaluates what stands there. Others get [`not_an_int`].
    Int,
    /// No value; [`diagnostics`] reports it.
    Nothing(Unsafe),
}

/// A word whose text is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The text without its quotes; of an assignment, what stands after the `=`.
    pub(crate) value: String,
    /// Its place, with the quotes.
    pub(crate) span: Span,
    /// What it is to its command.
    pub(crate) role: Role,
    /// Whether the shell would expand it as a pattern (an unquoted `*`, `?` or `[`).
    pub(crate) is_pattern: bool,
    /// The number of its simple command in the script. Words of one command share it.
    pub(crate) command: u32,
}

/// What a word is to its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The program, function or builtin to run.
    Command,
    /// A word behind it, or of `for … in`, `[[ … ]]` or an array.
    Argument,
    /// The value of `name=value` before a command.
    Assignment,
    /// The file that `<` reads.
    Input,
    /// The file that `>`, `>>`, `>|` or `<>` writes.
    Output,
}

/// A use of a shell variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: String,
    /// `$name` or `${name}`; with an operator, `${name` up to that.
    pub(crate) span: Span,
    /// Whether the script says what holds if the variable is not set: `${x:-1}`, `${x+1}`, `${x=1}`.
    pub(crate) has_default: bool,
}

/// A quote or substitution without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unclosed {
    /// Where it opens.
    pub(crate) span: Span,
    /// What would close it.
    pub(crate) closer: &'static str,
}

/// A heredoc without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endless {
    /// Its `<<`.
    pub(crate) span: Span,
    /// The line that would end it.
    pub(crate) delimiter: String,
}

/// What a hole holds, as far as the script's text depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A scalar, in `variable(hole, None)`.
    One,
    /// A list of so many, in `variable(hole, Some(0))` and so on.
    Words(usize),
    /// `none`. `variable(hole, None)` must be set, to nothing: inside a word the script uses it.
    Nothing,
}

/// Returns the name of the environment variable for a hole and, in a list, its element; both
/// are counted from 0.
pub(crate) fn variable(hole: usize, element: Option<usize>) -> String {
    match element {
        None => format!("KILN_{}", hole + 1),
        Some(element) => format!("KILN_{}_{}", hole + 1, element + 1),
    }
}

/// Returns the script as the shell gets it: every hole a reference to its [`variable`]. `values`
/// has one value for each hole, and each is one that the hole's context takes.
pub(crate) fn render(script: &StringLiteral, analysis: &Script, values: &[Value]) -> String {
    let mut rendered = String::new();
    let mut holes = analysis.holes.iter().zip(values).enumerate();
    for piece in &script.pieces {
        match piece {
            Piece::Text { text, .. } => rendered.push_str(text),
            Piece::Hole { .. } => {
                let (hole, (context, value)) = holes.next().expect("a value for each hole");
                rendered.push_str(&reference(hole, context, *value));
            }
        }
    }
    rendered
}

/// Returns what stands in the script instead of a hole.
fn reference(hole: usize, context: &Context, value: Value) -> String {
    let quoted = |names: &str| match context.quoting {
        Quoting::Bare => format!("\"{names}\""),
        Quoting::Plain => names.to_owned(),
        Quoting::Single => format!("'\"{names}\"'"),
    };
    let one = |element| format!("${{{}}}", variable(hole, element));
    match (value, &context.takes) {
        (Value::One, _) => quoted(&one(None)),
        (Value::Nothing, Takes::Words) => String::new(),
        // Not left out: in `$a{{none}}b` the reference keeps `$a` apart from `b`.
        (Value::Nothing, _) => quoted(&one(None)),
        (Value::Words(count), Takes::Words) => {
            let words: Vec<_> = (0..count).map(|element| quoted(&one(Some(element)))).collect();
            words.join(" ")
        }
        (Value::Words(count), _) => {
            let words: Vec<_> = (0..count).map(|element| one(Some(element))).collect();
            quoted(&words.join(" "))
        }
    }
}
