//! Knows the words and marks of other tools, and what Pipe says instead. Where the meaning is certain
//! it lets the grammar read the Pipe form, so that one habit is one finding.

use std::ops::Range;

use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};
use crate::syntax::outline::{ItemOutline, Outline};
use crate::syntax::scan::{Patch, Token, TokenKind};

/// Item kinds of other tools: the word, and the Pipe word for it.
const ITEM_KINDS: [(&str, &str); 18] = [
    ("job", "build"),
    ("task", "build"),
    ("step", "build"),
    ("stage", "build"),
    ("target", "build"),
    ("rule", "build"),
    ("pipeline", "build"),
    ("workflow", "build"),
    ("check", "test"),
    ("func", "fn"),
    ("function", "fn"),
    ("def", "fn"),
    ("var", "let"),
    ("const", "let"),
    ("variable", "param"),
    ("input", "param"),
    ("import", "use"),
    ("include", "use"),
];

/// Keys of other tools that no stage has: the word, why, and what to do.
const KEYS: [(&str, &str, &str); 28] = [
    ("needs", NEEDS, USE_OUT),
    ("depends_on", NEEDS, USE_OUT),
    ("dependencies", NEEDS, USE_OUT),
    (
        "requires",
        NEEDS,
        "write `require = [other]` to wait for a test, or use an out such as `other.bin`",
    ),
    ("script", SCRIPT, RUN),
    ("command", SCRIPT, RUN),
    ("commands", SCRIPT, RUN),
    ("cmds", SCRIPT, RUN),
    ("shell", SCRIPT, RUN),
    ("before_script", SCRIPT, RUN),
    ("after_script", SCRIPT, RUN),
    ("steps", "a stage has no list of steps: it runs its `run` clauses in order", RUN),
    ("stage", "stages are not grouped by name: the graph gives their order", "remove the line"),
    ("run", SCRIPT, RUN),
    ("out", OUT, "write `out name: file = \"path\"`, a line for each file"),
    ("env", ENV, "write `env NAME = \"value\"`, a line for each variable"),
    ("environment", ENV, "write `env NAME = \"value\"`, a line for each variable"),
    ("variables", ENV, "write `env NAME = \"value\"`, a line for each variable"),
    ("artifacts", OUT, "write `out name: file = \"path\"`, a line for each file"),
    ("outputs", OUT, "write `out name: file = \"path\"`, a line for each file"),
    ("inputs", "what a stage reads is named by `in`", "write `in files(\"src/**\")`"),
    ("if", WHEN, WRITE_WHEN),
    ("only", WHEN, WRITE_WHEN),
    ("rules", WHEN, WRITE_WHEN),
    ("when", WHEN, WRITE_WHEN),
    ("matrix", MATRIX, "write `for (x in [1, 2])` after the name of the stage"),
    ("strategy", MATRIX, "write `for (x in [1, 2])` after the name of the stage"),
    ("runs_on", "a stage runs wherever its `platform` fits", "write `platform = \"linux/amd64\"`"),
];
const NEEDS: &str = "a stage depends on what it mentions, not on a list of names";
const USE_OUT: &str = "remove the line, and use an out such as `other.bin` where it is needed";
const SCRIPT: &str = "what a stage runs stands after `run`";
const RUN: &str = "write `run sh \"…\"`, or `run sh \"\"\"` for several lines";
const ENV: &str = "variables of the environment are set by `env`";
const OUT: &str = "what a stage makes is named by `out`";
const WHEN: &str = "the condition of a stage stands in its head";
const WRITE_WHEN: &str = "write it before the `{`: build name when host.git.branch == \"main\" {";
const MATRIX: &str = "the rows of a stage stand after its name";

/// What the tokens say in another tool's words.
#[derive(Default)]
pub(super) struct Habits {
    pub(super) findings: Vec<Diagnostic>,
    pub(super) patches: Vec<Patch>,
}

/// Returns the habits that can be told from the tokens alone, with what the grammar shall read.
pub(super) fn habits(source: SourceId, text: &str, tokens: &[Token], outline: &Outline) -> Habits {
    let mut reader = Reader { source, text, tokens, found: Habits::default() };
    for item in &outline.items {
        reader.item(item);
    }
    reader.found
}

/// Returns the finding for an item that begins with a kind of another tool.
pub(super) fn item_kind(word: &str, span: Span) -> Option<Diagnostic> {
    let (_, ours) = ITEM_KINDS.iter().find(|(foreign, _)| *foreign == word)?;
    let help = match *ours {
        "build" => "write `build` for a stage that makes files, `test` for one that checks",
        "test" => "write `test`",
        "fn" => "write `fn name(a: int) -> int = a + 1`",
        "let" => "write `let`",
        "param" => "write `param name: string = \"default\"`",
        _ => "write `use \"./path\" as name`",
    };
    let message = format!("`{word}` is a word of other tools; Pipe says `{ours}`");
    Some(Diagnostic::error(Code::FOREIGN_HABIT, span, message).help(help).edit(span, *ours))
}

/// Returns the finding for a field whose name is a key of another tool.
pub(super) fn key(word: &str, span: Span) -> Option<Diagnostic> {
    let (_, why, help) = KEYS.iter().find(|(foreign, ..)| *foreign == word)?;
    let message = format!("`{word}` is a key of other tools: {why}");
    Some(Diagnostic::error(Code::FOREIGN_HABIT, span, message).help(*help))
}

/// Returns the Pipe word for a constant of another language.
pub(super) fn constant(word: &str) -> Option<&'static str> {
    match word {
        "null" | "nil" | "None" | "undefined" => Some("none"),
        "True" | "TRUE" => Some("true"),
        "False" | "FALSE" => Some("false"),
        _ => None,
    }
}

struct Reader<'a> {
    source: SourceId,
    text: &'a str,
    tokens: &'a [Token],
    found: Habits,
}

impl Reader<'_> {
    fn item(&mut self, item: &ItemOutline) {
        let words: Vec<usize> =
            item.tokens.clone().filter(|&at| !self.tokens[at].is_trivia()).collect();
        for (index, &at) in words.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| words[before]);
            self.token(before, at, words.get(index + 1).copied());
        }
        let skip = usize::from(words.first().is_some_and(|&at| self.word(at) == "pub"));
        if let [keyword, name, rest @ ..] = &words[skip.min(words.len())..]
            && matches!(self.word(*keyword), "let" | "param")
            && self.tokens[*name].kind == TokenKind::Word
        {
            self.assignment(rest);
        }
        for clause in &item.clauses {
            self.clause(clause);
        }
    }

    fn word(&self, at: usize) -> &str {
        self.tokens[at].text(self.text)
    }

    fn span(&self, tokens: Range<usize>) -> Span {
        let (start, end) = (self.tokens[tokens.start].start, self.tokens[tokens.end - 1].end);
        Span::new(self.source, start as usize, end as usize)
    }

    fn report(
        &mut self,
        span: Span,
        message: &str,
        help: &str,
        edit: &str,
        read: Option<&'static str>,
    ) {
        let finding = Diagnostic::error(Code::FOREIGN_HABIT, span, message).help(help);
        self.found.findings.push(finding.edit(span, edit));
        let (start, end) = (span.start, span.end);
        self.found.patches.push(match read {
            Some(text) => Patch::Text { start, end, text },
            None => Patch::Blank { start, end },
        });
    }

    /// `and`, `or`, `not`, `f"…"`, `;` at a line's end.
    fn token(&mut self, before: Option<usize>, at: usize, after: Option<usize>) {
        let token = self.tokens[at];
        let span = self.span(at..at + 1);
        let ends_line = after.is_none_or(|after| {
            let between = &self.tokens[at + 1..after];
            between.iter().any(|token| token.kind == TokenKind::Newline)
        });
        match self.word(at) {
            ";" if ends_line => {
                let help = "remove the `;`";
                self.report(span, "a line needs no `;` at its end", help, "", None);
            }
            "or" if self.is_string(before) && self.is_string(after) => {
                let message = "a choice of texts is written with `|`";
                self.report(span, message, "write `|`", "|", Some("|"));
            }
            word @ ("and" | "or")
                if before.is_some_and(|it| self.ends_value(it))
                    && after.is_some_and(|after| self.begins_value(after)) =>
            {
                let ours = if word == "and" { "&&" } else { "||" };
                let message = format!("`{word}` is written `{ours}`");
                self.report(span, &message, &format!("write `{ours}`"), ours, Some(ours));
            }
            "not"
                if before.is_some_and(|it| self.wants_value(it))
                    && after.is_some_and(|after| self.begins_value(after))
                    && !ends_line =>
            {
                self.report(span, "`not` is written `!`", "write `!`", "!", Some("!"));
            }
            "f" if token.kind == TokenKind::Word => {
                let glued =
                    self.tokens.get(at + 1).is_some_and(|next| next.kind == TokenKind::String);
                if glued {
                    let message = "a string needs no `f`: `{{…}}` is a hole in every string";
                    self.report(span, message, "remove the `f`", "", None);
                }
            }
            _ => {}
        }
    }

    fn is_string(&self, at: Option<usize>) -> bool {
        at.is_some_and(|at| self.tokens[at].kind == TokenKind::String)
    }

    fn ends_value(&self, at: usize) -> bool {
        match self.tokens[at].kind {
            TokenKind::Word => !matches!(
                self.word(at),
                "in" | "out"
                    | "env"
                    | "run"
                    | "if"
                    | "then"
                    | "else"
                    | "for"
                    | "let"
                    | "param"
                    | "fn"
                    | "build"
                    | "test"
                    | "use"
                    | "as"
                    | "at"
                    | "not"
                    | "and"
                    | "or"
            ),
            TokenKind::Number | TokenKind::String | TokenKind::Close => true,
            _ => false,
        }
    }

    fn begins_value(&self, at: usize) -> bool {
        match self.tokens[at].kind {
            TokenKind::Word => !matches!(self.word(at), "in" | "at" | "then" | "else" | "for"),
            TokenKind::Number | TokenKind::String | TokenKind::Open => true,
            TokenKind::Punctuation => matches!(self.word(at), "!" | "-"),
            _ => false,
        }
    }

    /// Claims that only a value may follow the token.
    fn wants_value(&self, at: usize) -> bool {
        match self.tokens[at].kind {
            TokenKind::Open => self.word(at) != "{",
            TokenKind::Punctuation => {
                matches!(self.word(at), "=" | "&&" | "||" | "??" | "," | "==" | "!=")
            }
            TokenKind::Word => matches!(self.word(at), "if" | "then" | "else" | "and" | "or"),
            _ => false,
        }
    }

    /// `==` and `:=` where `=` belongs, in what follows the name of a `let` or a field.
    fn assignment(&mut self, rest: &[usize]) {
        let (Some(&first), second) = (rest.first(), rest.get(1).copied()) else { return };
        if self.word(first) == "==" {
            let span = self.span(first..first + 1);
            self.report(span, "a value is set by `=`; `==` compares", "write `=`", "=", Some("="));
        } else if self.word(first) == ":"
            && second == Some(first + 1)
            && self.word(first + 1) == "="
        {
            let span = self.span(first..first + 2);
            self.report(span, "a value is set by `=`, not by `:=`", "write `=`", "=", Some(" ="));
        }
    }

    /// `key: value`, and `==` after a field's or a variable's name.
    fn clause(&mut self, clause: &Range<usize>) {
        let mut words = clause.clone().filter(|&at| !self.tokens[at].is_trivia());
        let words: Vec<usize> = words.by_ref().take(4).collect();
        let [first, rest @ ..] = &words[..] else { return };
        if self.tokens[*first].kind != TokenKind::Word {
            return;
        }
        match self.word(*first) {
            "env" if rest.len() > 1 && self.tokens[rest[0]].kind == TokenKind::Word => {
                return self.assignment(&rest[1..]);
            }
            "in" => return,
            _ => self.assignment(rest),
        }
        let next = |index: usize| rest.get(index).map(|&at| self.word(at));
        let name = self.word(*first);
        if next(0) == Some(":")
            && next(1) != Some("=")
            && key(name, self.span(*first..*first + 1)).is_none()
        {
            let span = self.span(rest[0]..rest[0] + 1);
            let message = format!("a field is set by `=`: `{name}` is followed by `:`");
            let help = format!("write `{name} = …`");
            self.report(span, &message, &help, " =", Some("="));
        }
    }
}
