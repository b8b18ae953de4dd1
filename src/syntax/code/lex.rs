//! What the lexers of both languages find: words, strings and marks, and which holes stand where no
//! expression can. Knows what stands beside what; does not know where a string ends.

use super::{Code, Dollar, Literal, MAX_DEPTH, Part, Refusal, TextAround};
use crate::source::Span;
use crate::syntax::ast::Dialect;
use crate::syntax::text::{HOLE, Text};

/// A word, string or mark of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The kinds of tokens. Blanks and comments are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    /// A string; its text stands between these offsets from its ends.
    Text(usize, usize),
    /// A string with fields, a template, a regular expression.
    Odd,
    Hole,
    Mark(u8),
    Line,
}

/// What a lexer has found so far.
pub(super) struct Lexed<'t> {
    pub(super) text: &'t Text,
    pub(super) tokens: Vec<Token>,
    pub(super) refused: Vec<Option<Refusal>>,
    pub(super) dollars: Vec<Dollar>,
    pub(super) unclosed: Vec<(Span, &'static str)>,
    pub(super) too_deep: Option<Span>,
    pub(super) is_module: bool,
    /// Strings with holes: the token and the length of the quotes before and behind the text.
    strings: Vec<(Token, usize, usize)>,
}

impl<'t> Lexed<'t> {
    pub(super) fn new(text: &'t Text) -> Self {
        Self {
            text,
            tokens: Vec::new(),
            refused: vec![None; text.holes.len()],
            dollars: Vec::new(),
            unclosed: Vec::new(),
            too_deep: None,
            is_module: false,
            strings: Vec::new(),
        }
    }

    /// Returns the byte at an offset; 0 behind the end. A script holds no such byte.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.text.bytes.get(at).copied().unwrap_or(0)
    }

    pub(super) fn starts(&self, at: usize, what: &[u8]) -> bool {
        self.text.bytes[at.min(self.text.bytes.len())..].starts_with(what)
    }

    pub(super) fn len(&self) -> usize {
        self.text.bytes.len()
    }

    /// Returns the offset behind the bytes from `start` that fit.
    pub(super) fn while_at(&self, start: usize, fits: impl Fn(u8) -> bool) -> usize {
        let rest = &self.text.bytes[start.min(self.len())..];
        start + rest.iter().position(|byte| !fits(*byte)).unwrap_or(rest.len())
    }

    pub(super) fn push(&mut self, kind: Kind, start: usize, end: usize) -> usize {
        self.tokens.push(Token { kind, start, end });
        end
    }

    /// Adds a string whose text begins and ends so many bytes from its ends.
    pub(super) fn push_text(&mut self, token: (usize, usize), before: usize, behind: usize) {
        let (start, end) = token;
        self.push(Kind::Text(before, behind), start, end);
        if !self.text.holes_in(start, end).is_empty() {
            let token = *self.tokens.last().expect("it was just added");
            self.strings.push((token, before, behind));
        }
    }

    /// Refuses the holes between two offsets.
    pub(super) fn refuse(&mut self, start: usize, end: usize, refusal: &Refusal) {
        for hole in self.text.holes_in(start, end) {
            self.refused[hole] = Some(refusal.clone());
        }
    }

    /// Notes a string or comment without its end.
    pub(super) fn unclosed(&mut self, start: usize, end: usize, closer: &'static str) {
        let open = self.text.place(start, end.min(self.len()).max(start + 1));
        self.unclosed.push((open, closer));
    }

    /// Returns whether `depth` is too much, which ends the analysis.
    pub(super) fn is_too_deep(&mut self, depth: usize, at: usize) -> bool {
        if depth > MAX_DEPTH && self.too_deep.is_none() && at < self.len() {
            self.too_deep = Some(self.text.place(at, at + 1));
            self.refuse(at, self.len(), &Refusal::TooDeep);
        }
        self.too_deep.is_some()
    }

    pub(super) fn word(&self, token: &Token) -> &str {
        std::str::from_utf8(&self.text.bytes[token.start..token.end]).unwrap_or_default()
    }

    /// Returns the token so many before the one at `at`, lines aside.
    fn before(&self, at: usize) -> Option<&Token> {
        self.tokens[..at].last().filter(|token| token.kind != Kind::Line)
    }

    pub(super) fn finish(mut self, dialect: Dialect) -> Code {
        let strings = std::mem::take(&mut self.strings);
        for (token, before, behind) in strings {
            let around = self.around(&token, before, behind);
            self.refuse(token.start, token.end, &Refusal::Text(around));
        }
        for at in 0..self.tokens.len() {
            if self.tokens[at].kind == Kind::Hole {
                let hole = self.text.hole(self.tokens[at].start);
                if self.refused[hole].is_none() {
                    self.refused[hole] = self.beside(at, dialect);
                }
            }
        }
        let texts = self.literals();
        let is_own = |at: usize| !matches!(self.before(at), Some(token) if self.is_dot(token));
        let words = self.tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Word);
        let names = words.filter(|(at, _)| is_own(*at)).map(|(_, word)| self.word(word).to_owned());
        let names = names.collect();
        let moving = ["chdir", "fchdir", "cwd"];
        let moves = self.tokens.iter().any(|token| moving.contains(&self.word(token)));
        let Self { refused, dollars, unclosed, too_deep, is_module, .. } = self;
        Code {
            dialect,
            holes: refused,
            texts,
            names,
            dollars,
            moves,
            unclosed,
            too_deep,
            is_module,
        }
    }

    fn is_dot(&self, token: &Token) -> bool {
        // `...` takes the elements of a list.
        token.kind == Kind::Mark(b'.') && !self.starts(token.start.saturating_sub(1), b"..")
    }

    /// Returns why the hole at a token takes no value, as far as its neighbours tell.
    fn beside(&self, at: usize, dialect: Dialect) -> Option<Refusal> {
        let token = self.tokens[at];
        let is_operand = |token: &Token| {
            matches!(
                token.kind,
                Kind::Word | Kind::Number | Kind::Text(..) | Kind::Odd | Kind::Hole
            )
        };
        let before = self.before(at);
        if let Some(before) = before {
            let is_text = matches!(before.kind, Kind::Text(..));
            if (before.end == token.start && is_operand(before)) || is_text {
                return Some(Refusal::Joined);
            }
            if self.is_dot(before) {
                return Some(Refusal::Member);
            }
            if before.kind == Kind::Word && self.before(at - 1).is_none_or(|it| !self.is_dot(it)) {
                let word = self.word(before);
                let naming = dialect.naming().iter().find(|naming| **naming == word);
                if let Some(naming) = naming {
                    return Some(Refusal::Name(naming));
                }
            }
        }
        let next = self.tokens.get(at + 1)?;
        let is_text = matches!(next.kind, Kind::Text(..));
        ((next.start == token.end && is_operand(next)) || is_text).then_some(Refusal::Joined)
    }

    /// Returns the strings whose text is what it says.
    fn literals(&self) -> Vec<Literal> {
        let mut literals = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let Kind::Text(before, behind) = token.kind else { continue };
            let bytes = &self.text.bytes[token.start + before..token.end - behind];
            if bytes.is_empty() || bytes.iter().any(|byte| [b'\\', b'\n', HOLE].contains(byte)) {
                continue;
            }
            literals.push(Literal {
                value: String::from_utf8_lossy(bytes).into_owned(),
                span: self.text.place(token.start, token.end),
                is_target: self.is_target(at),
            });
        }
        literals
    }

    /// Returns whether the string at a token seems to name what is made: `open("a", "w")`,
    /// `writeFileSync("a", …)`, `Path("a").mkdir()`.
    fn is_target(&self, at: usize) -> bool {
        const MAKES: [&str; 10] = [
            "write", "mkdir", "makedirs", "touch", "append", "create", "unlink", "rm", "remove",
            "copy",
        ];
        let makes = |token: &Token| {
            let word = self.word(token).to_ascii_lowercase();
            token.kind == Kind::Word && MAKES.iter().any(|makes| word.contains(makes))
        };
        let token = |at: usize| self.tokens.get(at);
        let mark = |at: usize, mark: u8| token(at).is_some_and(|it| it.kind == Kind::Mark(mark));
        let is_argument = |back: usize| at >= back && mark(at + 1 - back, b'(');
        let called = is_argument(2) && token(at - 2).is_some_and(makes);
        let mode = token(at + 2).filter(|_| mark(at + 1, b','));
        let opened = mode.is_some_and(|mode| match mode.kind {
            Kind::Text(before, _) => [b'w', b'a', b'x'].contains(&self.byte(mode.start + before)),
            _ => false,
        });
        let method = mark(at + 1, b')') && mark(at + 2, b'.') && token(at + 3).is_some_and(makes);
        called || opened || method
    }

    /// Returns a string with holes as the sum to write in its place.
    fn around(&self, token: &Token, before: usize, behind: usize) -> TextAround {
        let text = |start: usize, end: usize| {
            String::from_utf8_lossy(&self.text.bytes[start..end]).into_owned()
        };
        let (inner, outer) = (token.start + before, token.end - behind);
        let (open, close) = (text(token.start, inner), text(outer, token.end));
        let mut parts = Vec::new();
        let mut start = inner;
        let add = |parts: &mut Vec<Part>, start: usize, end: usize| {
            if start < end {
                parts.push(Part::Text(format!("{open}{}{close}", text(start, end))));
            }
        };
        for hole in self.text.holes_in(inner, outer) {
            let at = self.text.holes[hole];
            add(&mut parts, start, at);
            parts.push(Part::Hole(hole));
            start = at + 1;
        }
        add(&mut parts, start, outer);
        TextAround {
            span: self.text.place(token.start, token.end),
            parts,
            is_bytes: open.contains(['b', 'B']),
            needs_brackets: self.binds_tightly(token),
        }
    }

    /// Returns whether what stands beside a string may bind it tighter than a `+`.
    fn binds_tightly(&self, token: &Token) -> bool {
        let blank = |byte: &&u8| **byte != b' ' && **byte != b'\t';
        let before = self.text.bytes[..token.start].iter().rev().find(blank);
        let behind = self.text.bytes[token.end..].iter().find(blank);
        let is_free = |byte: Option<&u8>, free: &[u8]| byte.is_none_or(|byte| free.contains(byte));
        !is_free(before, b"\n(,=[:{;+") || !is_free(behind, b"\n),]};:+#")
    }
}

impl Dialect {
    /// Words behind which a name stands and no value.
    fn naming(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["import", "from", "as", "def", "class", "global", "nonlocal"],
            Self::JavaScript => {
                &["import", "from", "as", "function", "class", "const", "let", "var"]
            }
        }
    }
}

/// Returns whether a byte may stand in a name, numbers included.
pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || (byte >= 0x80 && byte != HOLE)
}
