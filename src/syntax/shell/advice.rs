//! What to say and do where a hole can not stand. Knows the words of the diagnostics; the lexer
//! knows where they apply.

use super::Script;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Expr, ExprKind, Piece, StringLiteral};

/// Why a hole takes no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsafe {
    /// An argument of `eval`, `trap`, `alias` or another builtin (named) that runs its words.
    Evaluated(String),
    /// The program of `sh -c`, `python3 -c`, `perl -e`, ….
    Program { interpreter: String, option: String },
    /// The program of `awk` (named).
    Awk(String),
    /// The standard input of a shell or interpreter (named) that runs it.
    Input(String),
    /// The command of `ssh`, which the remote shell lexes once more.
    Remote,
    /// A heredoc with this delimiter in quotes, where nothing is expanded.
    QuotedHeredoc(String),
    /// The delimiter of a heredoc.
    HeredocDelimiter,
    /// `$'…'`
    DollarQuotes,
    /// `` `…` ``
    Backticks,
    /// The name of a variable.
    VariableName,
    /// The name of a function.
    FunctionName,
    /// A part of `${…}` that has no quotes of its own.
    Expansion,
    /// Behind a backslash that would escape the reference.
    AfterBackslash,
    /// Behind a `$` that would join the reference.
    AfterDollar,
    /// `$((` or `((` that turn out to run commands.
    Ambiguous,
    /// Behind the place where the script nests too deeply.
    TooDeep,
}

/// Returns the findings that do not depend on what the holes hold.
pub(crate) fn diagnostics(script: &StringLiteral, analysis: &Script) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let is_hole = |piece: &&Piece| matches!(piece, Piece::Hole { .. });
    for (piece, context) in script.pieces.iter().filter(is_hole).zip(&analysis.holes) {
        let Piece::Hole { expr, span } = piece else { continue };
        match &context.takes {
            super::Takes::Nothing(Unsafe::TooDeep) => {}
            super::Takes::Nothing(reason) => found.push(refusal(reason, &written(expr), *span)),
            _ => {}
        }
    }
    for unclosed in &analysis.unclosed {
        let closer = unclosed.closer;
        let message = format!("this script never closes what it opens here with `{closer}`");
        let problem = Diagnostic::error(Code::UNTERMINATED_STRING, unclosed.span, message)
            .help(format!("add the missing `{closer}`, or escape the opening one with `\\`"));
        found.push(match end_of_words(script, unclosed.span) {
            Some(end) if matches!(closer, "\"" | "'") => problem.edit(end, closer),
            _ => problem,
        });
    }
    for endless in &analysis.endless {
        let delimiter = &endless.delimiter;
        let message = format!("this heredoc never ends: no line is `{delimiter}`");
        let help = format!(
            "write `{delimiter}` alone on a line, with no blanks before it; in a `\"\"\"` block a line begins at the column of the closing quotes"
        );
        found.push(Diagnostic::error(Code::UNTERMINATED_STRING, endless.span, message).help(help));
    }
    found.extend(analysis.too_deep.map(|span| {
        let message = "this script nests over 128 levels deep";
        Diagnostic::error(Code::NESTED_TOO_DEEPLY, span, message)
            .help("move the inner commands to a script file of the project and run that")
    }));
    found
}

/// Returns the end of the line that begins behind a quote, if plain words alone stand on it.
fn end_of_words(script: &StringLiteral, quote: Span) -> Option<Span> {
    script.pieces.iter().find_map(|piece| match piece {
        Piece::Text { text, span }
            if text.len() == span.len() && span.range().contains(&(quote.start as usize)) =>
        {
            let rest = &text[(quote.end - span.start) as usize..];
            let line = &rest[..rest.find('\n')?];
            let is_plain = |c: char| c.is_alphanumeric() || " ._/:,!".contains(c);
            let end = quote.end as usize + line.trim_end().len();
            (!line.trim().is_empty() && line.chars().all(is_plain))
                .then(|| Span::at(quote.source, end))
        }
        _ => None,
    })
}

/// Returns the diagnostic for a list where the shell takes one word.
pub(crate) fn list_in_word(expr: &Expr, span: Span) -> Diagnostic {
    let hole = written(expr);
    let message = format!("`{hole}` is a list, but only one word fits here");
    Diagnostic::error(Code::LIST_IN_WORD, span, message).label("a list becomes separate words")
}

/// Returns the diagnostic for a value other than an `int` where the shell evaluates it.
pub(crate) fn not_an_int(expr: &Expr, span: Span, found: &str) -> Diagnostic {
    let hole = written(expr);
    let message =
        format!("the shell evaluates `{hole}` here, so it must be an `int`, and it is a `{found}`");
    Diagnostic::error(Code::UNSAFE_HOLE, span, message)
        .label("evaluated as arithmetic")
        .help("compute the number in Pipe and put an `int` into the script")
}

fn refusal(reason: &Unsafe, hole: &str, span: Span) -> Diagnostic {
    let (message, help) = reason.words(hole);
    Diagnostic::error(Code::UNSAFE_HOLE, span, message).help(help)
}

impl Unsafe {
    /// Returns what is wrong and what to do.
    fn words(&self, hole: &str) -> (String, String) {
        let as_code =
            |place: &str| format!("`{hole}` stands {place}, where its value would run as code");
        let assign = |rest: &str| format!("set a variable before: `value={hole}`, then {rest}");
        match self {
            Self::Evaluated(name) if name == "trap" => (
                as_code("inside `trap`"),
                format!(
                    "put the commands in a function: `clean() {{ rm -f {hole}; }}; trap clean EXIT`"
                ),
            ),
            Self::Evaluated(name) if name == "alias" => (
                as_code("inside `alias`"),
                format!("write a function: `name() {{ program {hole} \"$@\"; }}`"),
            ),
            Self::Evaluated(name) => (
                as_code(&format!("inside `{name}`")),
                format!("run the command itself, without `{name}`; the hole is safe there"),
            ),
            Self::Program { interpreter, option } => (
                as_code(&format!("inside `{interpreter} {option} '…'`")),
                format!("pass it as an argument: `{}`", program_call(interpreter, option, hole)),
            ),
            Self::Awk(name) => (
                as_code(&format!("inside a program of `{name}`")),
                format!(
                    "pass it through the environment: `value={hole} {name} '{{ print ENVIRON[\"value\"] }}'`"
                ),
            ),
            Self::Input(name) => (
                as_code(&format!("in text that `{name}` reads as its program")),
                input_help(name, hole),
            ),
            Self::Remote => (
                format!(
                    "`{hole}` stands in a command of `ssh`, where the other host's shell would run its value as code"
                ),
                remote_help(hole),
            ),
            Self::QuotedHeredoc(delimiter) => (
                format!(
                    "`{hole}` stands in the heredoc `'{delimiter}'`, and nothing is expanded in a quoted heredoc"
                ),
                format!(
                    "write `<<{delimiter}` without quotes and a `\\` before each `$` and backtick that is meant literally"
                ),
            ),
            Self::HeredocDelimiter => (
                format!(
                    "`{hole}` stands in the delimiter of a heredoc, which the shell takes literally"
                ),
                "write a fixed delimiter: `<<EOF`".to_owned(),
            ),
            Self::DollarQuotes => (
                format!("`{hole}` stands inside `$'…'`, which ends at no reference"),
                format!("end the quotes before the hole: `$'…'{hole}$'…'`"),
            ),
            Self::Backticks => (
                format!("`{hole}` stands inside backticks, where shells read quotes twice"),
                format!("write `$(…)` instead: `$(command {hole})`"),
            ),
            Self::VariableName => (
                format!("`{hole}` stands where the shell takes the name of a variable"),
                format!("write the name out: `name={hole}`"),
            ),
            Self::FunctionName => (
                format!("`{hole}` stands where the shell takes the name of a function"),
                format!(
                    "write the name out and pass the value: `name() {{ echo \"$1\"; }}; name {hole}`"
                ),
            ),
            Self::Expansion => (
                format!("`{hole}` stands in a part of `${{…}}` where shells disagree on quotes"),
                assign("use `$value` in the braces"),
            ),
            Self::AfterBackslash => (
                format!("the backslash before `{hole}` would escape the reference to its value"),
                "remove the backslash; a value needs no escaping".to_owned(),
            ),
            Self::AfterDollar => (
                format!("the `$` before `{hole}` would join the reference to its value"),
                format!("remove the `$`: `{hole}`, or write `\\$` for a dollar"),
            ),
            Self::Ambiguous => (
                format!(
                    "`{hole}` stands in `((` that ends like commands, and shells disagree on that"
                ),
                "write `$( (…) … )` with a space for commands, `$((…))` for arithmetic".to_owned(),
            ),
            Self::TooDeep => (
                format!("`{hole}` stands where the script nests too deeply"),
                "move the inner commands to a script file of the project and run that".to_owned(),
            ),
        }
    }
}

fn program_call(interpreter: &str, option: &str, hole: &str) -> String {
    let read = match interpreter {
        "python" | "python3" => "import sys; print(sys.argv[1])",
        "perl" => "print $ARGV[0]",
        "ruby" => "puts ARGV[0]",
        "node" => "console.log(process.argv[1])",
        "php" => "echo $argv[1];",
        "lua" => return format!("value={hole} lua -e 'print(os.getenv(\"value\"))'"),
        "su" | "runuser" => {
            return format!("{interpreter} user -c '… \"$1\"' -- sh {hole}");
        }
        "script" | "flock" | "sg" => {
            return format!("value={hole} {interpreter} … -c '… \"$value\"'");
        }
        _ => return format!("{interpreter} {option} '… \"$1\"' {interpreter} {hole}"),
    };
    format!("{interpreter} {option} '{read}' {hole}")
}

fn input_help(name: &str, hole: &str) -> String {
    match name {
        "ssh" => remote_help(hole),
        "python" | "python3" | "perl" | "ruby" | "node" | "php" | "lua" => {
            format!("pass it as an argument: `{name} - {hole} <<'EOF'`, and read it from there")
        }
        _ => format!(
            "pass it as an argument: `{name} -s -- {hole} <<'EOF'`, and write `\"$1\"` in the text"
        ),
    }
}

fn remote_help(hole: &str) -> String {
    format!("send it as input: `printf '%s\\n' {hole} | ssh host 'read -r value; echo \"$value\"'`")
}

/// Returns a hole as the author wrote it, where that is short.
pub(in crate::syntax) fn written(expr: &Expr) -> String {
    let mut names = Vec::new();
    let mut rest = expr;
    loop {
        match &rest.kind {
            ExprKind::Name(name) => {
                names.push(name.as_str());
                names.reverse();
                return format!("{{{{{}}}}}", names.join("."));
            }
            ExprKind::Member { base, name, is_optional: false } if names.len() < 8 => {
                names.push(&name.text);
                rest = base;
            }
            _ => return "{{…}}".to_owned(),
        }
    }
}
