//! How JavaScript is lexed: comments, strings, templates with their expressions, and regular
//! expressions; and whether a script is an ES module. Does not know the rest of its grammar.

use super::lex::{Kind, Lexed, is_name};
use super::{MAX_DEPTH, Refusal};
use crate::syntax::text::{HOLE, Text};

/// Words behind which a value begins.
const BEFORE_VALUES: [&str; 17] = [
    "return",
    "typeof",
    "instanceof",
    "in",
    "of",
    "new",
    "delete",
    "void",
    "throw",
    "case",
    "do",
    "else",
    "yield",
    "await",
    "default",
    "extends",
    "export",
];

/// Words whose brackets hold the head of a statement.
const HEADS: [&str; 6] = ["if", "while", "for", "with", "switch", "catch"];

pub(super) fn lex(text: &Text) -> Lexed<'_> {
    let mut lexer = Lexer {
        lexed: Lexed::new(text),
        frames: vec![Frame { opener: Opener::Block, start: 0, is_arrow: false }],
        ends_value: false,
        begins_head: false,
        closed_head: false,
        after_arrow: false,
        after_line: false,
        no_pattern_before: 0,
    };
    let mut at = 0;
    if lexer.lexed.starts(0, b"#!") {
        at = lexer.comment(0);
    }
    while at < lexer.lexed.len() && lexer.lexed.too_deep.is_none() {
        at = lexer.token(at);
    }
    lexer.unclosed_template();
    lexer.lexed
}

struct Lexer<'t> {
    lexed: Lexed<'t>,
    /// What is open; the script itself is the first.
    frames: Vec<Frame>,
    /// Whether what was read last ends a value, so that a `/` divides.
    ends_value: bool,
    /// Whether the next `(` opens the head of a statement.
    begins_head: bool,
    /// Whether the last `)` closed one.
    closed_head: bool,
    /// Whether the last token is `=>`.
    after_arrow: bool,
    /// Whether a line ended behind the last token.
    after_line: bool,
    /// Before this offset no regular expression ends: one was looked for.
    no_pattern_before: usize,
}

struct Frame {
    opener: Opener,
    start: usize,
    /// Whether the rest of it, up to a comma, is the body of an arrow function.
    is_arrow: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Opener {
    /// `(` of the head of a statement.
    Head,
    /// Another `(`, or `[`.
    Group,
    Block,
    Function,
    Object,
    /// `${` of a template.
    Template,
}

impl Lexer<'_> {
    /// Reads one token and returns the offset behind it.
    fn token(&mut self, at: usize) -> usize {
        let byte = self.lexed.byte(at);
        match byte {
            b' ' | b'\t' | b'\r' => return at + 1,
            b'\n' => {
                self.after_line = true;
                return self.lexed.push(Kind::Line, at, at + 1);
            }
            b'/' if self.lexed.byte(at + 1) == b'/' => return self.comment(at),
            b'/' if self.lexed.byte(at + 1) == b'*' => return self.long_comment(at),
            _ => {}
        }
        let begins_value = byte == HOLE || is_word(byte) || matches!(byte, b'"' | b'\'' | b'`');
        self.arrow(byte, begins_value);
        let end = match byte {
            HOLE => {
                self.ends_value = true;
                self.lexed.push(Kind::Hole, at, at + 1)
            }
            b'"' | b'\'' => self.string(at),
            b'`' => self.template(at, at + 1),
            b'}' if self.is_in(Opener::Template) => {
                let start = self.frames.pop().map_or(at, |frame| frame.start);
                self.template(start, at + 1)
            }
            b'/' if !self.ends_value => self.pattern(at),
            byte if is_word(byte) => self.word(at),
            byte => self.mark(byte, at),
        };
        self.after_line = false;
        end
    }

    /// Begins and ends the bodies of arrow functions that have no braces.
    fn arrow(&mut self, byte: u8, begins_value: bool) {
        let ends_statement = self.after_line && self.ends_value && begins_value;
        let is_body = self.after_arrow && byte != b'{';
        let frame = self.frames.last_mut().expect("the script itself");
        if is_body {
            frame.is_arrow = true;
        } else if ends_statement || matches!(byte, b',' | b';') {
            frame.is_arrow = false;
        }
        if self.after_arrow && byte != b'{' {
            self.after_arrow = false;
        }
    }

    fn is_in(&self, opener: Opener) -> bool {
        self.frames.last().is_some_and(|frame| frame.opener == opener)
    }

    fn is_in_function(&self) -> bool {
        self.frames.iter().any(|frame| frame.is_arrow || frame.opener == Opener::Function)
    }

    fn comment(&mut self, at: usize) -> usize {
        let end = self.lexed.while_at(at, |byte| byte != b'\n');
        self.lexed.refuse(at, end, &Refusal::Comment);
        end
    }

    fn long_comment(&mut self, at: usize) -> usize {
        let mut end = at + 2;
        while end < self.lexed.len() && !self.lexed.starts(end, b"*/") {
            end += 1;
        }
        if end == self.lexed.len() {
            self.lexed.unclosed(at, at + 2, "*/");
        }
        end = (end + 2).min(self.lexed.len());
        self.lexed.refuse(at, end, &Refusal::Comment);
        end
    }

    fn string(&mut self, start: usize) -> usize {
        self.ends_value = true;
        let quote = self.lexed.byte(start);
        let mut at = start + 1;
        while at < self.lexed.len() {
            match self.lexed.byte(at) {
                b'\\' => at += 2,
                b'\n' => break,
                byte if byte == quote => {
                    self.lexed.push_text((start, at + 1), 1, 1);
                    return at + 1;
                }
                _ => at += 1,
            }
        }
        let end = at.min(self.lexed.len());
        self.lexed.unclosed(start, start + 1, if quote == b'"' { "\"" } else { "'" });
        self.lexed.push(Kind::Odd, start, end)
    }

    /// Reads the text of a template that began at `start`, from `at` to its end or its next
    /// expression.
    fn template(&mut self, start: usize, at: usize) -> usize {
        let mut end = at;
        while end < self.lexed.len() {
            match self.lexed.byte(end) {
                b'\\' => end += 2,
                b'`' => {
                    self.ends_value = true;
                    self.lexed.refuse(at, end, &Refusal::Template);
                    return self.lexed.push(Kind::Odd, at - 1, end + 1);
                }
                b'$' if self.lexed.byte(end + 1) == b'{' => {
                    self.ends_value = false;
                    self.lexed.refuse(at, end, &Refusal::Template);
                    self.open(Opener::Template, start);
                    // A mark, so that what stands in the braces is beside no string.
                    return self.lexed.push(Kind::Mark(b'{'), end + 1, end + 2);
                }
                _ => end += 1,
            }
        }
        let end = end.min(self.lexed.len());
        self.lexed.refuse(at, end, &Refusal::Template);
        self.lexed.unclosed(start, start + 1, "`");
        end
    }

    fn unclosed_template(&mut self) {
        let open = self.frames.iter().find(|frame| frame.opener == Opener::Template);
        if let Some(start) = open.map(|frame| frame.start)
            && self.lexed.unclosed.is_empty()
            && self.lexed.too_deep.is_none()
        {
            self.lexed.unclosed(start, start + 1, "`");
        }
    }

    /// Reads a regular expression, or a `/` where none ends on its line.
    fn pattern(&mut self, start: usize) -> usize {
        let (mut at, mut in_class) = (start + 1, false);
        while start >= self.no_pattern_before && at < self.lexed.len() {
            match self.lexed.byte(at) {
                b'\n' => break,
                b'\\' => at += 2,
                b'/' if !in_class => {
                    let end = self.lexed.while_at(at + 1, is_name);
                    self.ends_value = true;
                    self.lexed.refuse(start, end, &Refusal::Pattern);
                    return self.lexed.push(Kind::Odd, start, end);
                }
                byte => {
                    in_class = byte == b'[' || (in_class && byte != b']');
                    at += 1;
                }
            }
        }
        self.no_pattern_before = self.no_pattern_before.max(at);
        self.mark(b'/', start)
    }

    fn word(&mut self, at: usize) -> usize {
        let end = self.lexed.while_at(at, is_word);
        if self.lexed.byte(at).is_ascii_digit() {
            self.ends_value = true;
            return self.lexed.push(Kind::Number, at, end);
        }
        let is_member = self.lexed.tokens.last().is_some_and(|token| {
            token.kind == Kind::Mark(b'.')
                && !self.lexed.starts(token.start.saturating_sub(2), b"...")
        });
        self.lexed.push(Kind::Word, at, end);
        let token = *self.lexed.tokens.last().expect("it was just added");
        let word = self.lexed.word(&token).to_owned();
        self.ends_value = is_member || !BEFORE_VALUES.contains(&word.as_str());
        if !is_member {
            self.begins_head =
                HEADS.contains(&word.as_str()) || (self.begins_head && word == "await");
            self.module(&word, end);
        }
        end
    }

    /// Finds what only a module may have.
    fn module(&mut self, word: &str, end: usize) {
        let next = self.lexed.while_at(end, |byte| byte.is_ascii_whitespace());
        let next = self.lexed.byte(next);
        let is_top = self.frames.len() == 1;
        self.lexed.is_module |= match word {
            "import" => is_top && !matches!(next, b'(' | b'.' | b':' | b'='),
            "export" => is_top && (matches!(next, b'{' | b'*') || is_word(next)),
            "await" => !self.is_in_function() && !b"=,;.):".contains(&next) && next != 0,
            _ => false,
        };
    }

    fn open(&mut self, opener: Opener, start: usize) {
        self.frames.push(Frame { opener, start, is_arrow: false });
        self.lexed.is_too_deep(self.frames.len() - 1, start);
        debug_assert!(self.frames.len() <= MAX_DEPTH + 2, "the analysis ends at the first");
    }

    fn mark(&mut self, byte: u8, at: usize) -> usize {
        let ended_value = std::mem::replace(&mut self.ends_value, false);
        match byte {
            b'(' => {
                let is_head = std::mem::take(&mut self.begins_head);
                self.open(if is_head { Opener::Head } else { Opener::Group }, at);
            }
            b'[' => self.open(Opener::Group, at),
            b'{' => self.brace(at),
            b')' | b']' | b'}' => {
                let closed = if self.frames.len() > 1 { self.frames.pop() } else { None };
                let opener = closed.map_or(Opener::Group, |frame| frame.opener);
                self.closed_head = opener == Opener::Head;
                self.ends_value = matches!(opener, Opener::Group | Opener::Object);
            }
            // `a++` ends a value as `a` does.
            b'+' | b'-' if self.lexed.byte(at + 1) == byte => {
                self.ends_value = ended_value;
                self.lexed.push(Kind::Mark(byte), at, at + 1);
                return self.lexed.push(Kind::Mark(byte), at + 1, at + 2);
            }
            b'=' if self.lexed.byte(at + 1) == b'>' => {
                self.lexed.push(Kind::Mark(b'='), at, at + 1);
                self.after_arrow = true;
                return self.lexed.push(Kind::Mark(b'>'), at + 1, at + 2);
            }
            _ => {}
        }
        self.lexed.push(Kind::Mark(byte), at, at + 1)
    }

    fn brace(&mut self, at: usize) {
        let last = self.lexed.tokens.iter().rev().find(|token| token.kind != Kind::Line).copied();
        let opener = match last.map(|token| (token.kind, token)) {
            _ if std::mem::take(&mut self.after_arrow) => Opener::Function,
            Some((Kind::Mark(b')'), _)) if !self.closed_head => Opener::Function,
            Some((Kind::Mark(b')' | b';' | b'{' | b'}'), _)) | None => Opener::Block,
            Some((Kind::Mark(_), _)) => Opener::Object,
            Some((Kind::Word, token)) => match self.lexed.word(&token) {
                "else" | "do" => Opener::Block,
                word if BEFORE_VALUES.contains(&word) => Opener::Object,
                _ => Opener::Block,
            },
            Some(_) => Opener::Block,
        };
        self.open(opener, at);
    }
}

/// Returns whether a byte may stand in a name or a number.
fn is_word(byte: u8) -> bool {
    is_name(byte) || byte == b'$'
}
