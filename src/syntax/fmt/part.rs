//! The tokens of a file that stay, with what the formatter must know of each: where lines begin, what
//! a bracket holds, which `<` and `-` are no operators. Does not know how any of it is written.

use crate::syntax::scan::{Token, TokenKind};

/// A token that stays.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) kind: TokenKind,
    /// Its text, without blanks at the end.
    pub(super) text: &'a str,
    /// How many newlines stand before it.
    pub(super) newlines: u32,
    /// Whether blanks stand before it.
    pub(super) has_space: bool,
    /// The blanks at the beginning of its line, if it is the first there.
    pub(super) indent: &'a str,
    pub(super) role: Role,
    /// Whether a comma belongs behind it.
    pub(super) gets_comma: bool,
}

/// What a token is to the formatter beyond its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// What its kind says.
    Plain,
    /// A brace of a stage's body.
    Body,
    /// A bracket around elements: of a list, a record, a call, parameters or a matrix.
    Elements,
    /// The parentheses or brackets of an index, a group or a comprehension.
    Group,
    /// The `<` or `>` of `list<T>`.
    Angle,
    /// `-` or `!` before its operand.
    Sign,
    /// A word that an expression or clause gives a meaning: `if`, `in`, `at`, ….
    Keyword,
    /// A comma that goes away.
    Dropped,
}

/// How far the `>` of a type may stand from its `<`, in tokens.
const MAX_TYPE: usize = 256;

impl Part<'_> {
    pub(super) fn begins_line(&self) -> bool {
        self.newlines > 0
    }

    pub(super) fn is_comment(&self) -> bool {
        matches!(self.kind, TokenKind::Comment | TokenKind::DocComment)
    }

    pub(super) fn is(&self, text: &str) -> bool {
        self.kind == TokenKind::Punctuation && self.text == text
    }

    pub(super) fn is_any(&self, texts: &[&str]) -> bool {
        self.kind == TokenKind::Punctuation && texts.contains(&self.text)
    }

    /// Whether a value may end with it.
    pub(super) fn ends_value(&self) -> bool {
        match self.kind {
            TokenKind::Word => self.role != Role::Keyword,
            TokenKind::Number | TokenKind::String | TokenKind::Close => true,
            TokenKind::Punctuation => self.text == "?" || self.role == Role::Angle,
            _ => false,
        }
    }
}

/// Returns the tokens of `text` that stay.
pub(super) fn parts<'a>(text: &'a str, tokens: &[Token]) -> Vec<Part<'a>> {
    let mut parts = Vec::with_capacity(tokens.len() / 2);
    let (mut newlines, mut has_space, mut indent) = (1, false, "");
    for token in tokens {
        let written = token.text(text);
        match token.kind {
            TokenKind::Newline => {
                newlines += 1;
                indent = "";
            }
            TokenKind::Space => {
                has_space = true;
                if !written.starts_with('\u{feff}') {
                    indent = written;
                }
            }
            kind => {
                let indent = if newlines > 0 { indent } else { "" };
                let text = if kind == TokenKind::String {
                    written
                } else {
                    written.trim_end_matches([' ', '\t', '\r'])
                };
                let (role, gets_comma) = (Role::Plain, false);
                parts.push(Part { kind, text, newlines, has_space, indent, role, gets_comma });
                (newlines, has_space) = (0, false);
            }
        }
    }
    Marker { parts: &mut parts, open: Vec::new(), before: None, item: Item::default() }.run();
    parts
}

/// Gives the parts their roles.
struct Marker<'a, 'p> {
    parts: &'p mut Vec<Part<'a>>,
    /// Where the open brackets stand.
    open: Vec<usize>,
    /// The last part that is no comment.
    before: Option<usize>,
    item: Item,
}

/// The item under way.
#[derive(Default)]
struct Item {
    /// Whether its first brace outside brackets opens a body.
    awaits_body: bool,
    /// The first part of the line.
    line: usize,
}

impl Marker<'_, '_> {
    fn run(mut self) {
        for at in 0..self.parts.len() {
            if self.parts[at].is_comment() {
                continue;
            }
            if self.parts[at].begins_line() {
                self.begin_line(at);
            }
            match self.parts[at].kind {
                TokenKind::Open => self.open(at),
                TokenKind::Close => self.close(at),
                TokenKind::Word => self.word(at),
                TokenKind::Punctuation => self.punctuation(at),
                _ => {}
            }
            self.before = Some(at);
        }
    }

    fn begin_line(&mut self, at: usize) {
        self.item.line = at;
        if self.open.is_empty() && !goes_on(self.parts, self.before, at, false) {
            let words = self.parts[at..].iter().map(|part| part.text);
            let first = words.into_iter().find(|&word| word != "pub").unwrap_or_default();
            let is_stage = !["use", "param", "let", "fn", "secret", "kiln"].contains(&first);
            self.item.awaits_body = is_stage && self.parts[at].kind == TokenKind::Word;
        }
    }

    /// Whether the bracket at `at` stands behind a value: a call or an index.
    fn follows_value(&self, at: usize) -> bool {
        let before = self.before.map(|before| &self.parts[before]);
        before.is_some_and(|part| part.ends_value() && part.kind != TokenKind::Number)
            && !self.parts[at].begins_line()
    }

    fn open(&mut self, at: usize) {
        let follows_value = self.follows_value(at);
        let before = self.before.map_or("", |before| self.parts[before].text);
        self.parts[at].role = match self.parts[at].text {
            "{" if self.open.is_empty() && self.item.awaits_body => {
                self.item.awaits_body = false;
                Role::Body
            }
            "{" => Role::Elements,
            "[" if !follows_value => Role::Elements,
            "(" if follows_value && before != "int" => Role::Elements,
            "(" if before == "for" => Role::Elements,
            _ => Role::Group,
        };
        self.open.push(at);
    }

    fn close(&mut self, at: usize) {
        let Some(open) = self.open.pop() else { return };
        let role = self.parts[open].role;
        self.parts[at].role = role;
        let Some(last) = self.before.filter(|&last| last > open) else { return };
        let is_comma = self.parts[last].is(",");
        if self.parts[at].begins_line() {
            self.parts[last].gets_comma |= role == Role::Elements && self.parts[last].ends_value();
        } else if is_comma && !self.parts[last].begins_line() && self.parts[last - 1].ends_value() {
            self.parts[last].role = Role::Dropped;
        }
    }

    fn word(&mut self, at: usize) {
        let line = self.item.line;
        let first = self.parts[line].text;
        let is_in_body = self.open.last().is_none_or(|&open| self.parts[open].role == Role::Body);
        let is_name = self.before.is_some_and(|before| self.parts[before].is_any(&[".", "?."]))
            || self.parts.get(at + 1).is_some_and(|next| next.is(":"));
        let is_keyword = match self.parts[at].text {
            _ if is_name => false,
            "if" | "then" | "else" | "for" | "in" => true,
            "at" => is_in_body && first == "in" && at > line,
            "run" => is_in_body && at == line,
            _ => is_in_body && first == "run" && at == line + 1,
        };
        if !is_keyword {
            return;
        }
        self.parts[at].role = Role::Keyword;
        // A comprehension takes no comma at its end.
        if let Some(&open) = self.open.last()
            && self.parts[at].text == "for"
            && self.parts[open].role == Role::Elements
        {
            self.parts[open].role = Role::Group;
        }
    }

    fn punctuation(&mut self, at: usize) {
        let part = &self.parts[at];
        match part.text {
            "-" | "!" => {
                let before = self.before.map(|before| &self.parts[before]);
                let is_sign = part.text == "!" || !before.is_some_and(Part::ends_value);
                if is_sign {
                    self.parts[at].role = Role::Sign;
                }
            }
            "<" if part.role == Role::Plain => {
                let before = self.before.map_or("", |before| self.parts[before].text);
                if matches!(before, "list" | "map") {
                    self.angle(at);
                }
            }
            _ => {}
        }
    }

    /// Marks the `<` at `at` and the brackets of types inside it, if its `>` follows.
    fn angle(&mut self, at: usize) {
        let mut open = Vec::new();
        let mut angles = Vec::new();
        let end = self.parts.len().min(at + MAX_TYPE);
        for (index, part) in self.parts[at..end].iter().enumerate() {
            match part.kind {
                TokenKind::Punctuation if part.text == "<" => open.push(at + index),
                TokenKind::Punctuation if part.text == ">" => {
                    angles.extend(open.pop());
                    angles.push(at + index);
                    if open.is_empty() {
                        break;
                    }
                }
                TokenKind::Punctuation if !matches!(part.text, "," | "?" | "|" | ":" | "..") => {
                    return;
                }
                TokenKind::Unknown => return,
                _ => {}
            }
        }
        if open.is_empty() {
            angles.into_iter().for_each(|angle| self.parts[angle].role = Role::Angle);
        }
    }
}

/// Whether the line of part `at` goes on with the line before; `before` is the last part there.
pub(super) fn goes_on(
    parts: &[Part<'_>],
    before: Option<usize>,
    at: usize,
    is_in_brackets: bool,
) -> bool {
    let Some(before) = before.map(|before| &parts[before]) else { return false };
    let part = &parts[at];
    if part.kind == TokenKind::Word && matches!(part.text, "then" | "else") {
        return !(is_in_brackets && before.is(","));
    }
    match before.kind {
        TokenKind::Punctuation if is_in_brackets => {
            before.role != Role::Angle && !matches!(before.text, "," | "?" | ";")
        }
        TokenKind::Punctuation => !matches!(before.text, "?" | ">" | "," | "." | "?." | ":" | ";"),
        TokenKind::Word if matches!(before.text, "then" | "else" | "if") => true,
        _ => {
            let continues = part.kind == TokenKind::Punctuation && part.text != ",";
            is_in_brackets && continues && before.ends_value()
        }
    }
}
