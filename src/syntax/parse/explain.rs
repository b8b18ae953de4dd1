//! Says in the author's words why a text does not fit the grammar. Knows what the grammar expected at
//! the furthest place it reached and the tokens around it; does not parse.

use std::ops::Range;

use super::Failure;
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::source::{SourceId, Span};
use crate::syntax::scan::{self, RESERVED, Token, TokenKind};

/// The most things a message says were expected.
const MAX_ALTERNATIVES: usize = 4;

/// A part of a file that was parsed alone.
#[derive(Clone)]
pub(super) struct Part<'a> {
    pub(super) source: SourceId,
    pub(super) text: &'a str,
    pub(super) tokens: &'a [Token],
    /// The tokens of the part.
    pub(super) range: Range<usize>,
    /// What the part is.
    pub(super) kind: PartKind,
}

/// What a part of a file was parsed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartKind {
    Item,
    StageHead,
    Clause,
}

/// What stands at the place of a failure.
enum Found {
    /// A token, or a piece of a string's hole: its kind and place.
    Token(TokenKind, Span),
    /// The end of a line or of the part; the place is after the last token.
    End(Span),
}

/// What the grammar would have taken.
#[derive(Default)]
struct Expected {
    value: bool,
    operator: bool,
    /// The end of a type, where a `?` may stand.
    after_type: bool,
    name: bool,
    ty: bool,
    string: bool,
    digits: bool,
    language: bool,
    /// Marks and keywords.
    words: Vec<&'static str>,
}

/// The marks and keywords that a message may name, the likeliest first.
const WORDS: [&str; 31] = [
    "{", "=", ":", ",", ")", "]", "}", "}}", ">", "->", "..", "then", "else", "at", "in", "for",
    "if", "(", "[", "as", "when", "<", "?", "|", "except", "max", ".", "\"\"\"", "use", "let",
    "param",
];

impl Expected {
    /// Claims that the part might as well have ended.
    fn may_end(&self) -> bool {
        let is_complete = self.operator || self.after_type;
        let wanted =
            self.value || self.name || self.ty || self.string || self.digits || self.language;
        !wanted && self.words.iter().all(|word| is_complete && matches!(*word, "at" | "="))
    }
}

impl Part<'_> {
    /// Returns the finding for a failure in this part.
    pub(super) fn explain(&self, failure: &Failure) -> Diagnostic {
        let found = self.found(failure.at);
        let is_in_string = self.is_in_string(failure.at);
        let before = self.before(failure.at).filter(|_| !is_in_string);
        let expected = self.expected(failure);
        if let Some(finding) = self.second_item(&found, &expected) {
            return finding;
        }
        let special = self.reserved_name(before, &expected);
        let special = special.or_else(|| self.special(&found, before, &expected));
        if let Some(finding) = special.or_else(|| self.too_many(&found, &expected)) {
            return finding;
        }
        let span = self.place(&found, before, &expected);
        let message = format!(
            "expected {}{}, found {}",
            self.alternatives(&expected),
            self.after(before),
            self.shown(&found)
        );
        let finding = Diagnostic::error(Code::SYNTAX, span, message);
        match self.advice(&found, before, &expected) {
            Some(help) => finding.help(help),
            None => finding,
        }
    }

    /// Returns the change that mends a part, if there is only one thing to write, or to take away.
    /// Whether the part then fits is not known here.
    pub(super) fn mending(&self, failure: &Failure, finding: &Diagnostic) -> Option<Edit> {
        let Found::Token(_, found) = self.found(failure.at) else { return None };
        if self.is_in_string(failure.at) || finding.span != found {
            return None;
        }
        let text = &self.text[found.range()];
        let before = self.before(failure.at);
        let edit = |span, text: &str| Some(Edit { span, text: text.to_owned() });
        if text == "-" && before.is_none() {
            let rest = &self.text[found.end as usize..];
            let blanks = rest.len() - rest.trim_start_matches(' ').len();
            return edit(Span { end: found.end + blanks as u32, ..found }, "");
        }
        let expected = self.expected(failure);
        let end = Span::at(self.source, self.tokens[before?].end as usize);
        match (text, &expected.words[..]) {
            ("=", [":"]) => edit(found, ":"),
            (":", ["="]) => edit(found, "="),
            (",", _) if expected.may_end() => edit(found, ""),
            (_, [mark @ (":" | ",")]) if !expected.value && !expected.name => edit(end, mark),
            (_, ["="]) if !expected.value && !expected.name => edit(end, " ="),
            _ => None,
        }
    }

    pub(super) fn token_span(&self, at: usize) -> Span {
        let token = self.tokens[at];
        Span::new(self.source, token.start as usize, token.end as usize)
    }

    fn word(&self, at: usize) -> &str {
        self.tokens[at].text(self.text)
    }

    /// Claims that byte `at` is inside a string, so in one of its holes.
    fn is_in_string(&self, at: usize) -> bool {
        let index = self.tokens.partition_point(|token| token.end as usize <= at);
        let token = self.tokens.get(index);
        token.is_some_and(|token| token.kind == TokenKind::String && (token.start as usize) < at)
    }

    /// What stands at byte `at` of the file or after the blanks there.
    fn found(&self, at: usize) -> Found {
        let mut index = self.tokens.partition_point(|token| token.end as usize <= at);
        while index < self.range.end {
            let token = self.tokens[index];
            match token.kind {
                TokenKind::Newline => break,
                TokenKind::String if (token.start as usize) < at => {
                    return self.found_in_string(token, at);
                }
                _ if token.is_trivia() => index += 1,
                _ => return Found::Token(token.kind, self.token_span(index)),
            }
        }
        let last = self.tokens[..index].iter().rposition(|token| !token.is_trivia());
        let end = last.map_or(0, |last| self.tokens[last].end as usize);
        Found::End(Span::at(self.source, end))
    }

    fn found_in_string(&self, string: Token, at: usize) -> Found {
        let rest = &self.text[at..string.end as usize];
        let skipped = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let start = at + skipped;
        let rest = &self.text[start..string.end as usize];
        let near: usize = rest.chars().take(64).map(char::len_utf8).sum();
        match scan::lex(self.source, &rest[..near]).tokens.first() {
            Some(_) if rest.starts_with("}}") => {
                Found::Token(TokenKind::Close, Span::new(self.source, start, start + 2))
            }
            Some(token) => {
                let span = Span::new(self.source, start, start + token.end as usize);
                Found::Token(token.kind, span)
            }
            None => Found::End(Span::at(self.source, start)),
        }
    }

    /// The last token of the part that ends at or before byte `at`.
    fn before(&self, at: usize) -> Option<usize> {
        let end = self.tokens.partition_point(|token| token.end as usize <= at).min(self.range.end);
        (self.range.start..end).rev().find(|&index| !self.tokens[index].is_trivia())
    }

    fn expected(&self, failure: &Failure) -> Expected {
        let has = |word: &str| failure.expected.iter().any(|token| token == word);
        let runs_on = self.text[..failure.at].bytes().next_back().is_some_and(scan::is_word_byte);
        let letters = has("a..z") && !(runs_on && has("0..9"));
        let value = has("!") && has("true");
        let operator = has("??");
        let ty = !value && letters && has("{") && has("\"\"");
        let string = !value && has("r\"\"\"");
        let hides = |word: &str| match word {
            "(" => value || operator || has("?"),
            "[" => value || operator,
            "{" | "if" => value || ty,
            "in" | ">" | "|" => operator,
            "<" | "?" => true,
            "." => true,
            ".." => operator || letters,
            "=" => has("sh"),
            // An axis seldom says the type of its values.
            ":" => has("in") && !operator,
            "\"\"\"" => true,
            "?." => true,
            _ => false,
        };
        let is_use = !operator && !letters && has(".") && !has("..");
        let words = WORDS.into_iter().filter(|word| has(word) && !hides(word)).collect();
        let digits = has("0..9") && !letters && !value && !runs_on;
        let name = letters && !value && !ty && !string;
        let string = string || is_use;
        let (after_type, language) = (has("?"), has("sh"));
        Expected { value, operator, after_type, name, ty, string, digits, language, words }
    }

    /// Where the reader should look first.
    fn place(&self, found: &Found, before: Option<usize>, expected: &Expected) -> Span {
        let end = match found {
            Found::Token(_, span) => return *span,
            Found::End(end) => end,
        };
        let needs_branch = expected.words.iter().any(|word| matches!(*word, "then" | "else"));
        if needs_branch {
            let range = self.range.start..before.map_or(self.range.start, |before| before + 1);
            let open = range.rev().find(|&at| self.word(at) == "if");
            if let Some(open) = open {
                return self.token_span(open);
            }
        }
        *end
    }

    fn shown(&self, found: &Found) -> String {
        let Found::Token(kind, span) = found else {
            return match self.kind {
                PartKind::Clause => "the end of the clause".into(),
                _ => "the end of the line".into(),
            };
        };
        let text = &self.text[span.range()];
        match kind {
            TokenKind::String if text.len() > 24 || text.contains('\n') => "a string".into(),
            _ => format!("`{text}`"),
        }
    }

    fn after(&self, before: Option<usize>) -> String {
        match before.map(|before| self.word(before)) {
            Some(text) if text.len() <= 24 && !text.contains(['\n', '`']) => {
                format!(" after `{text}`")
            }
            _ => String::new(),
        }
    }

    /// Claims that the first word of the part is one of these.
    fn begins_with(&self, words: &[&str]) -> bool {
        let first = self.range.clone().find(|&at| !self.tokens[at].is_trivia());
        first.is_some_and(|at| words.contains(&self.word(at)))
    }

    fn alternatives(&self, expected: &Expected) -> String {
        let mut all: Vec<String> = Vec::new();
        let kinds = [
            (expected.value, "a value"),
            (expected.ty, "a type"),
            (expected.string && self.begins_with(&["spec"]), "a title in quotes"),
            (expected.string && !self.begins_with(&["spec"]), "a path in quotes"),
            (expected.name, "a name"),
            (expected.digits, "a number"),
            (expected.language, "a language"),
        ];
        all.extend(kinds.into_iter().filter(|(is, _)| *is).map(|(_, name)| name.to_owned()));
        let at_end_of_head = self.kind == PartKind::StageHead && expected.words.contains(&"=")
            || self.kind == PartKind::StageHead && expected.words.is_empty() && expected.operator;
        if at_end_of_head && !expected.words.contains(&"{") {
            all.push("`{`".into());
        }
        if expected.words.contains(&"use") && expected.words.contains(&"let") {
            return "an item".into();
        }
        all.extend(expected.words.iter().map(|word| format!("`{word}`")));
        if expected.may_end() && !self.begins_with(&["given", "takes"]) {
            all.push(
                if self.kind == PartKind::Clause {
                    "the end of the clause"
                } else {
                    "the end of the line"
                }
                .into(),
            );
        }
        all.truncate(MAX_ALTERNATIVES);
        match all.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }

    /// Mistakes that have a name of their own.
    fn special(
        &self,
        found: &Found,
        before: Option<usize>,
        expected: &Expected,
    ) -> Option<Diagnostic> {
        let Found::Token(kind, span) = found else { return None };
        let habit = |message: &str, help: &str| {
            Some(Diagnostic::error(Code::FOREIGN_HABIT, *span, message).help(help))
        };
        match &self.text[span.range()] {
            text if text.starts_with('\'') => habit(
                "strings stand in double quotes, not in single quotes",
                "put the text between `\"` marks",
            ),
            "-" if before.is_none() && self.kind == PartKind::Clause => habit(
                "a clause has no `-` before it: a stage is not a list",
                "remove the `-`, and write a clause such as `run sh \"…\"`",
            ),
            "if" if self.kind == PartKind::StageHead && expected.words.contains(&"when") => {
                let finding = habit("the condition of a stage begins with `when`", "write `when`");
                finding.map(|finding| finding.edit(*span, "when"))
            }
            "for" if self.kind == PartKind::StageHead && expected.operator => {
                let message = "the axes of a stage stand before its condition";
                let finding = Diagnostic::error(Code::SYNTAX, *span, message);
                Some(finding.help("write: build name for (x in xs) when condition {"))
            }
            "if" if expected.operator => habit(
                "a choice begins with its condition",
                "write `if condition then value else other`",
            ),
            "=" if before.is_some_and(|at| self.word(at) == "==") => {
                let finding = habit("`===` is written `==`", "remove one `=`");
                finding.map(|finding| finding.edit(*span, ""))
            }
            ";" => habit(
                "parts are not separated by `;`",
                "write each clause and item on its own line",
            ),
            "elif" | "elsif" | "elseif" => {
                let finding = habit("a second condition is written `else if`", "write `else if`");
                finding.map(|finding| finding.edit(*span, "else if"))
            }
            "?" if expected.operator => {
                habit("there is no `a ? b : c`", "write `if a then b else c`")
            }
            "=" if expected.operator && expected.words.contains(&"then") => {
                let finding =
                    Diagnostic::error(Code::SYNTAX, *span, "`=` sets a value and does not compare");
                Some(finding.help("write `==`").edit(*span, "=="))
            }
            ":" if expected.operator && expected.words.contains(&"then") => {
                habit("a condition ends with `then`, not with `:`", "write `if a then b else c`")
            }
            "-" if *kind == TokenKind::Punctuation && expected.words.contains(&"=") => {
                self.hyphen(before?, *span)
            }
            _ => None,
        }
    }

    /// `my-app` where a name is declared.
    fn hyphen(&self, before: usize, hyphen: Span) -> Option<Diagnostic> {
        if self.tokens[before].end != hyphen.start {
            return None;
        }
        let message = format!("a name has no `-`: `{}-…`", self.word(before));
        let finding = Diagnostic::error(Code::SYNTAX, hyphen, message);
        Some(finding.help("write `_` in place of the `-`").edit(hyphen, "_"))
    }

    /// A line that goes on after an item that was complete.
    fn second_item(&self, found: &Found, expected: &Expected) -> Option<Diagnostic> {
        let Found::End(end) = found else { return None };
        if self.kind != PartKind::Item || !expected.operator || !expected.words.is_empty() {
            return None;
        }
        let from = self.tokens.partition_point(|token| token.start < end.start);
        let next = (from..self.range.end).find(|&at| !self.tokens[at].is_trivia())?;
        let is_operator = self.tokens[next].kind == TokenKind::Punctuation;
        let word = self.word(next);
        let (message, help) = if is_operator {
            (
                format!("a line cannot begin with `{word}`"),
                format!("write `{word}` at the end of the line before"),
            )
        } else {
            let found = self.shown(&Found::Token(self.tokens[next].kind, self.token_span(next)));
            let help = "begin it with `use`, `param`, `let`, `fn`, `build` or `test`";
            (format!("expected an item, found {found}"), help.to_owned())
        };
        Some(Diagnostic::error(Code::SYNTAX, self.token_span(next), message).help(help))
    }

    /// A second value in brackets that hold one: `(a, b)`, `c["a", "b"]`.
    fn too_many(&self, found: &Found, expected: &Expected) -> Option<Diagnostic> {
        let Found::Token(_, comma) = found else { return None };
        let close = *expected.words.iter().find(|word| matches!(**word, ")" | "]"))?;
        if &self.text[comma.range()] != "," || expected.value || expected.words.contains(&",") {
            return None;
        }
        let open = self.innermost_open(comma.start)?;
        let (message, help) = match close {
            ")" => (
                "`(…)` holds one value unless a function's name stands before it",
                "write the function's name right before the `(`, or `[…]` for a list",
            ),
            _ => (
                "an index holds one value",
                "write `name: value` for each axis of a row, or remove what stands before the list",
            ),
        };
        let finding = Diagnostic::error(Code::SYNTAX, self.token_span(open), message);
        Some(finding.also(*comma, "a second value begins here").help(help))
    }

    /// The bracket around byte `at` of the file.
    fn innermost_open(&self, at: u32) -> Option<usize> {
        let mut depth = 0_usize;
        let before = self.range.clone().rev().skip_while(|&index| self.tokens[index].start >= at);
        for index in before {
            match self.tokens[index].kind {
                TokenKind::Close => depth += 1,
                TokenKind::Open if depth == 0 => return Some(index),
                TokenKind::Open => depth -= 1,
                _ => {}
            }
        }
        None
    }

    /// A keyword where a name was wanted: the grammar reads it and then has no wish left.
    fn reserved_name(&self, before: Option<usize>, expected: &Expected) -> Option<Diagnostic> {
        let before = before
            .filter(|_| !expected.operator && !expected.value && expected.words.is_empty())?;
        let word = self.word(before);
        if !RESERVED.contains(&word) {
            return None;
        }
        let span = self.token_span(before);
        let ahead = (self.range.start..before).rev().find(|&at| !self.tokens[at].is_trivia());
        if ahead.is_some_and(|ahead| self.tokens[ahead].kind != TokenKind::Word) {
            let message = format!("expected a value, found `{word}`");
            let finding = Diagnostic::error(Code::SYNTAX, span, message);
            return Some(match word {
                "for" => finding.help("write `[value for x in xs]`"),
                _ => finding,
            });
        }
        let message = format!("`{word}` is a word of the language and cannot be a name");
        let finding = Diagnostic::error(Code::SYNTAX, span, message);
        Some(finding.help(format!("write another name, such as `{word}_`")))
    }

    /// What to do, where the grammar's wish alone does not say it.
    fn advice(&self, found: &Found, before: Option<usize>, expected: &Expected) -> Option<String> {
        let before = before.map(|before| self.word(before));
        let has = |word: &str| expected.words.contains(&word);
        let (kind, text) = match found {
            Found::Token(kind, span) => (Some(*kind), &self.text[span.range()]),
            Found::End(_) => (None, ""),
        };
        let is_value = matches!(
            kind,
            Some(TokenKind::Word | TokenKind::Number | TokenKind::String | TokenKind::Open)
        );
        let missing_value = match text {
            "" if expected.value && before == Some("=") => Some("write a value after `=`".into()),
            "" if expected.value => Some("write a value before the end of the line".into()),
            "," | ")" | "]" | "}" | "}}" if expected.value => {
                Some(format!("write a value before `{text}`, or remove what asks for one"))
            }
            _ => None,
        };
        if missing_value.is_some() {
            return missing_value;
        }
        let between = match () {
            () if text == "=" && has(":") => return Some("write `:` in place of `=`".into()),
            () if text == "," && expected.may_end() => return Some("remove the `,`".into()),
            () if has(",") => format!("write `,` before `{text}`"),
            () if has("as") => format!("write `as` before `{text}`"),
            () if has("at") => {
                format!("write `at` before the path, or `{text}` on a line of its own")
            }
            () if expected.operator && expected.words.is_empty() => {
                format!("write an operator before `{text}`, or begin a new line")
            }
            () => return self.form(before, expected).map(str::to_owned),
        };
        is_value.then_some(between)
    }

    /// The form that what is being written should have.
    fn form(&self, before: Option<&str>, expected: &Expected) -> Option<&'static str> {
        let has = |word: &str| expected.words.contains(&word);
        Some(match () {
            () if has("(") && before == Some("for") => "write `for (x in [1, 2])`",
            () if has("in") && !expected.operator => {
                "write `for x in xs`, or `(x in xs)` for the rows of a stage"
            }
            () if has("then") || has("else") => "write `if condition then value else other`",
            () if self.kind == PartKind::StageHead && has("=") => {
                "write `{` on this line, and the clauses of the stage below"
            }
            () if has(":") && has("=") => "write `: type` or `= value` after the name",
            () if has(":") => "write `:` and a type or value after the name",
            () if has("=") && !expected.operator => "write `=` and a value",
            () if expected.language => {
                "write `run sh \"…\"`, with `sh`, `bash`, `python` or `node`, or `run [\"program\", \"argument\"]`"
            }
            () if has("}}") => "write `}}` after the expression, or an operator between two values",
            () if expected.string && self.begins_with(&["spec"]) => {
                "write what is to be so: spec \"a branch ships nothing\" {"
            }
            () if expected.string => {
                "write a path in quotes, `use \"./folder\"`, or a module of the library, `use std.rust`"
            }
            () if has("..") => "write `int(1..50)`",
            () if has("(") => "write `(` and the parameters, or `()` for none",
            () if has("->") => "write `-> type = value` after the parameters",
            () if expected.ty => "write a type such as `string`, `int`, `file` or `list<file>`",
            () if expected.name && before.is_some() => "write a name of letters, digits and `_`",
            () => return None,
        })
    }
}
