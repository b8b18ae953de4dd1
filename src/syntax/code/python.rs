//! How Python is lexed: comments, numbers, and strings of all prefixes with the fields of f-strings.
//! Does not know its grammar, nor indentation.

use super::lex::{Kind, Lexed, is_name};
use super::{Dollar, Refusal};
use crate::syntax::text::{HOLE, Text};

pub(super) fn lex(text: &Text) -> Lexed<'_> {
    let mut lexer = Lexer { lexed: Lexed::new(text) };
    let mut at = 0;
    while at < lexer.lexed.len() && lexer.lexed.too_deep.is_none() {
        at = lexer.token(at);
    }
    lexer.lexed
}

struct Lexer<'t> {
    lexed: Lexed<'t>,
}

/// The prefix and the quotes of a string.
#[derive(Clone, Copy)]
struct Quotes {
    /// Where the prefix begins.
    start: usize,
    /// Where the text begins.
    inner: usize,
    quote: u8,
    /// 1, or 3.
    count: usize,
    has_fields: bool,
}

impl Quotes {
    fn closer(&self) -> &'static str {
        match (self.quote, self.count) {
            (b'"', 1) => "\"",
            (b'"', _) => "\"\"\"",
            (_, 1) => "'",
            _ => "'''",
        }
    }
}

impl Lexer<'_> {
    /// Reads one token and returns the offset behind it.
    fn token(&mut self, at: usize) -> usize {
        let lexed = &mut self.lexed;
        match lexed.byte(at) {
            b'\n' => lexed.push(Kind::Line, at, at + 1),
            b'#' => {
                let end = lexed.while_at(at, |byte| byte != b'\n');
                lexed.refuse(at, end, &Refusal::Comment);
                end
            }
            b'\\' if lexed.byte(at + 1) == b'\n' => at + 2,
            b' ' | b'\t' | b'\r' => at + 1,
            HOLE => lexed.push(Kind::Hole, at, at + 1),
            b'$' => self.dollar(at),
            byte if is_name(byte) || matches!(byte, b'"' | b'\'') => match self.quotes(at) {
                Some(quotes) => self.string(quotes, 0),
                None => self.word(at),
            },
            byte => lexed.push(Kind::Mark(byte), at, at + 1),
        }
    }

    fn word(&mut self, at: usize) -> usize {
        let end = self.lexed.while_at(at, is_name);
        let is_number = self.lexed.byte(at).is_ascii_digit();
        self.lexed.push(if is_number { Kind::Number } else { Kind::Word }, at, end)
    }

    /// Python has no `$`, so it can only be meant for a shell.
    fn dollar(&mut self, at: usize) -> usize {
        let lexed = &mut self.lexed;
        let open = at + 1 + usize::from(lexed.byte(at + 1) == b'{');
        let close = lexed.while_at(open, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let end = close + (open - at - 1);
        if close > open && (end == close || lexed.byte(close) == b'}') {
            let name = String::from_utf8_lossy(&lexed.text.bytes[open..close]).into_owned();
            let span = lexed.text.place(at, end);
            lexed.dollars.push(Dollar { name, span });
            return lexed.push(Kind::Odd, at, end);
        }
        lexed.push(Kind::Mark(b'$'), at, at + 1)
    }

    /// Returns the quotes that open at an offset, with what stands before them.
    fn quotes(&self, start: usize) -> Option<Quotes> {
        let lexed = &self.lexed;
        let open = lexed.while_at(start, |byte| byte.is_ascii_alphabetic());
        let prefix = lexed.text.bytes[start..open].to_ascii_lowercase();
        let is_prefix = matches!(
            &prefix[..],
            b"" | b"r" | b"u" | b"b" | b"br" | b"rb" | b"f" | b"fr" | b"rf" | b"t" | b"tr" | b"rt"
        );
        let quote = lexed.byte(open);
        if !is_prefix || !matches!(quote, b'"' | b'\'') {
            return None;
        }
        let count = if lexed.starts(open, &[quote; 3]) { 3 } else { 1 };
        let has_fields = prefix.contains(&b'f') || prefix.contains(&b't');
        Some(Quotes { start, inner: open + count, quote, count, has_fields })
    }

    /// Reads a string and returns the offset behind it.
    fn string(&mut self, quotes: Quotes, depth: usize) -> usize {
        if self.lexed.is_too_deep(depth, quotes.start) {
            return self.lexed.len();
        }
        let (mut at, mut is_closed) = (quotes.inner, false);
        while at < self.lexed.len() && self.lexed.too_deep.is_none() {
            match self.lexed.byte(at) {
                b'\\' => at += 2,
                b'\n' if quotes.count == 1 => break,
                byte if byte == quotes.quote
                    && self.lexed.starts(at, &[quotes.quote; 3][..quotes.count]) =>
                {
                    at += quotes.count;
                    is_closed = true;
                    break;
                }
                b'{' if quotes.has_fields && self.lexed.byte(at + 1) == b'{' => at += 2,
                b'{' if quotes.has_fields => at = self.field(at + 1, quotes, depth + 1),
                _ => at += 1,
            }
        }
        let end = at.min(self.lexed.len());
        // A field may hold the end of the line.
        let may_go_on = quotes.has_fields && quotes.count == 1;
        if !is_closed && !may_go_on && self.lexed.too_deep.is_none() {
            self.lexed.unclosed(quotes.start, quotes.inner, quotes.closer());
        }
        match is_closed && !quotes.has_fields {
            true if depth == 0 => {
                let before = quotes.inner - quotes.start;
                self.lexed.push_text((quotes.start, end), before, quotes.count);
            }
            _ if depth == 0 => {
                self.lexed.push(Kind::Odd, quotes.start, end);
                self.lexed.refuse(quotes.start, end, &Refusal::Formatted);
            }
            _ => {}
        }
        end
    }

    /// Reads a field of a string, from behind its brace to behind the one that closes it.
    fn field(&mut self, start: usize, around: Quotes, depth: usize) -> usize {
        if self.lexed.is_too_deep(depth, start.saturating_sub(1)) {
            return self.lexed.len();
        }
        let (mut at, mut open, mut is_format) = (start, 0_usize, false);
        while at < self.lexed.len() && self.lexed.too_deep.is_none() {
            let byte = self.lexed.byte(at);
            match byte {
                b'\n' if around.count == 1 => return at,
                b'}' if open == 0 => return at + 1,
                b'{' if is_format => at = self.field(at + 1, around, depth + 1),
                _ if is_format && byte == around.quote && around.count == 1 => return at,
                _ if is_format => at += 1,
                b'(' | b'[' | b'{' => {
                    open += 1;
                    at += 1;
                }
                b')' | b']' | b'}' => {
                    open = open.saturating_sub(1);
                    at += 1;
                }
                b':' if open == 0 => {
                    is_format = true;
                    at += 1;
                }
                _ if is_name(byte) || matches!(byte, b'"' | b'\'') => {
                    at = match self.quotes(at) {
                        Some(quotes) => self.string(quotes, depth + 1),
                        None => self.lexed.while_at(at, is_name),
                    };
                }
                _ => at += 1,
            }
        }
        at
    }
}
