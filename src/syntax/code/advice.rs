//! What to say and write where a hole can not stand in a script of Python or Node. Knows the words of
//! the diagnostics; the lexers know where they apply.

use super::{Code, Part, Refusal, TextAround};
use crate::diagnostic::{self, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Dialect, Expr, Piece, StringLiteral};
use crate::syntax::shell::written;

/// Returns the findings about holes and strings. `is_text` has for each hole whether its value is
/// read as a string, for which no conversion is advised.
pub(crate) fn diagnostics(
    script: &StringLiteral,
    code: &Code,
    is_text: &[bool],
) -> Vec<Diagnostic> {
    let holes: Vec<_> = script
        .pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Hole { expr, span } => Some((expr, *span)),
            Piece::Text { .. } => None,
        })
        .collect();
    let advice = Advice { dialect: code.dialect, script, holes: &holes, is_text };
    let mut found: Vec<_> = (0..holes.len())
        .filter_map(|hole| advice.refusal(hole, code.holes[hole].as_ref()?))
        .collect();
    for (span, closer) in &code.unclosed {
        let closer = match *closer {
            "`" => "backtick".to_owned(),
            closer => format!("`{closer}`"),
        };
        let message = format!("this script never closes what it opens here: no {closer} follows");
        found.push(
            Diagnostic::error(diagnostic::Code::UNTERMINATED_STRING, *span, message)
                .help(format!("add the missing {closer}")),
        );
    }
    found.extend(code.too_deep.map(|span| {
        let message = "this script nests over 128 levels deep";
        Diagnostic::error(diagnostic::Code::NESTED_TOO_DEEPLY, span, message)
            .help("move the inner parts to a file of the project and import that")
    }));
    found
}

struct Advice<'a> {
    dialect: Dialect,
    script: &'a StringLiteral,
    holes: &'a [(&'a Expr, Span)],
    is_text: &'a [bool],
}

impl Advice<'_> {
    fn refusal(&self, hole: usize, refusal: &Refusal) -> Option<Diagnostic> {
        let (expr, span) = self.holes[hole];
        let shown = written(expr);
        let problem = |what: &str| {
            let message = format!("`{shown}` stands {what}");
            Diagnostic::error(diagnostic::Code::HOLE_IN_TEXT, span, message)
        };
        Some(match refusal {
            Refusal::TooDeep => return None,
            Refusal::Text(around) => {
                let problem = problem("inside a string, where the language reads no expression");
                self.instead(problem, around)
            }
            Refusal::Formatted => problem("inside an f-string, whose fields are braces, too")
                .help(format!("set a variable before: `value = {shown}`, and write `{{value}}` there")),
            Refusal::Template => {
                let field = format!("${{ {shown} }}");
                let problem = problem("in the text of a template, where it is read as it stands")
                    .help(format!("write: {field}"));
                self.edit(problem, hole, span, field)
            }
            Refusal::Pattern => problem("inside a regular expression")
                .help(format!("build it from a string: `new RegExp(\"…\" + {shown})`")),
            Refusal::Comment => {
                let name = shown.trim_matches(['{', '}']).to_owned();
                let problem = problem("in a comment, which nothing reads")
                    .help(format!("name it without braces: {name}"));
                self.edit(problem, hole, span, name)
            }
            Refusal::Joined => problem("right beside another value")
                .help(format!("say what joins the two: … + {}", self.read(hole, false))),
            Refusal::Member => {
                let problem = problem("where the name of a member is written");
                match self.dialect {
                    Dialect::Python => problem
                        .help(format!("read it by its name: `getattr(object, {shown})`")),
                    Dialect::JavaScript => {
                        let problem =
                            problem.help(format!("read it by its name: `object[{shown}]`"));
                        match self.is_behind_dot(span) {
                            true => {
                                let place = Span { start: span.start - 1, ..span };
                                self.edit(problem, hole, place, format!("[{shown}]"))
                            }
                            false => problem,
                        }
                    }
                }
            }
            Refusal::Name(word) => problem(&format!("behind `{word}`, where a name is written"))
                .help(match (self.dialect, *word) {
                    (Dialect::Python, "import" | "from") => {
                        format!("import it by its name: `__import__(\"importlib\").import_module({shown})`")
                    }
                    (Dialect::JavaScript, "import" | "from") => {
                        format!("import it by its name: `await import({shown})`")
                    }
                    _ => format!("write the name out, and use the value: `value = {shown}`"),
                }),
        })
    }

    /// Claims that a single dot stands right before a place.
    fn is_behind_dot(&self, place: Span) -> bool {
        let end = |piece: &Piece| match piece {
            Piece::Text { span, .. } | Piece::Hole { span, .. } => span.end,
        };
        let at = self.script.pieces.partition_point(|piece| end(piece) < place.start);
        match self.script.pieces.get(at) {
            Some(Piece::Text { text, span }) => {
                span.end == place.start && text.ends_with('.') && !text.ends_with("?.")
            }
            _ => false,
        }
    }

    /// Adds the sum that says what a string with holes means to.
    fn instead(&self, problem: Diagnostic, around: &TextAround) -> Diagnostic {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Hole(hole) => self.read(*hole, around.is_bytes),
        };
        let parts: Vec<_> = around.parts.iter().map(part).collect();
        let mut sum = parts.join(" + ");
        if around.needs_brackets && parts.len() > 1 {
            sum = format!("({sum})");
        }
        let problem = problem.help(format!("write: {sum}"));
        let holes = around.parts.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(*hole),
            Part::Text(_) => None,
        });
        match holes.into_iter().all(|hole| self.is_short(hole)) {
            true => problem.edit(around.span, sum),
            false => problem,
        }
    }

    fn edit(&self, problem: Diagnostic, hole: usize, span: Span, text: String) -> Diagnostic {
        if self.is_short(hole) { problem.edit(span, text) } else { problem }
    }

    /// Returns whether a hole is shown as it was written.
    fn is_short(&self, hole: usize) -> bool {
        written(self.holes[hole].0) != "{{…}}"
    }

    /// Returns how a hole is written where a string is wanted.
    fn read(&self, hole: usize, is_bytes: bool) -> String {
        let shown = written(self.holes[hole].0);
        let text = match (self.dialect, self.is_text[hole]) {
            (Dialect::Python, false) => format!("str({shown})"),
            _ => shown,
        };
        if is_bytes { format!("{text}.encode()") } else { text }
    }
}
