//! Finds where a string ends, through its holes and the strings inside them. Knows the four forms
//! and guesses where a missing end was meant to be; does not know what the text says.

use super::{Lexer, MAX_NESTING, TokenKind, is_word_byte};
use crate::diagnostic::{Code, Diagnostic};
use crate::syntax::outline::looks_like_item;

/// What is open inside a string, innermost last.
enum Frame {
    /// The text of a string that began at `start`.
    Text { start: usize, is_block: bool, is_raw: bool, limit: usize },
    /// A hole that began at `start`, with the brackets open in it.
    Hole { start: usize, brackets: Vec<u8> },
}

impl Lexer<'_> {
    /// A string whose quotes stand `prefix` bytes ahead.
    pub(super) fn string(&mut self, prefix: usize) -> TokenKind {
        let start = self.at;
        if let Some(end) = self.several_lines(start + prefix) {
            return self.quotes_over_lines(start, end);
        }
        let mut frames = Vec::new();
        let reported = self.lexed.diagnostics.len();
        self.open_string(prefix, &mut frames);
        let limit = self.limit(&frames);
        while let Some(frame) = frames.last() {
            match frame {
                Frame::Text { .. } => self.text_step(&mut frames),
                Frame::Hole { .. } => self.hole_step(&mut frames),
            }
            if self.is_too_deep(&frames) {
                self.at = limit;
                frames.clear();
            }
        }
        if self.at == limit && self.lexed.diagnostics.len() > reported {
            let text = self.text[start..self.at].trim_end_matches(['\r', '\n', ' ', '\t']);
            self.at = start + text.len();
            self.broken(start);
        }
        TokenKind::String
    }

    /// Where a text ends whose author wrote `"` around several lines: nothing follows the opening mark on its
    /// line, nothing the next mark, and no item begins between.
    fn several_lines(&self, quote: usize) -> Option<usize> {
        let rest = self.text[quote..].strip_prefix('"')?;
        let inner = &rest[..rest.find('"')?];
        let first = inner.split_inclusive('\n').next().filter(|line| line.ends_with('\n'))?;
        let after = &rest[inner.len() + 1..];
        let is_alone = after.lines().next().is_none_or(|line| line.trim().is_empty());
        let holds_item = inner.lines().any(|line| looks_like_item(line) || line.starts_with('}'));
        let is_text = first.trim().is_empty() && is_alone && !holds_item;
        is_text.then_some(quote + inner.len() + 2)
    }

    fn quotes_over_lines(&mut self, start: usize, end: usize) -> TokenKind {
        self.at = end;
        self.broken(start);
        let finding = Diagnostic::error(
            Code::UNTERMINATED_STRING,
            self.span(start, start + 1),
            "a string in `\"` ends on its line",
        )
        .label("opens here")
        .also(self.span(end - 1, end), "seems to end here")
        .help("write `\"\"\"` at both ends of a text of several lines");
        self.report(finding);
        TokenKind::String
    }

    /// Reports nesting over the cap. Constant work: no more than the cap is ever open.
    fn is_too_deep(&mut self, frames: &[Frame]) -> bool {
        let inner = frames.iter().map(|frame| match frame {
            Frame::Text { .. } => 1,
            Frame::Hole { brackets, .. } => 1 + brackets.len(),
        });
        let depth = self.depth + inner.sum::<usize>();
        self.check_depth(depth, self.at.saturating_sub(1));
        depth > MAX_NESTING
    }

    fn open_string(&mut self, prefix: usize, frames: &mut Vec<Frame>) {
        let start = self.at;
        self.at += prefix;
        let is_block = self.text[self.at..].starts_with("\"\"\"");
        self.at += if is_block { 3 } else { 1 };
        let limit = if is_block { self.block_limit() } else { self.line_end() };
        let limit = limit.min(self.limit(frames)).max(self.at);
        frames.push(Frame::Text { start, is_block, is_raw: prefix > 0, limit });
    }

    /// The offset that the innermost open string cannot pass.
    fn limit(&self, frames: &[Frame]) -> usize {
        let limit = frames.iter().rev().find_map(|frame| match frame {
            Frame::Text { limit, .. } => Some(*limit),
            Frame::Hole { .. } => None,
        });
        limit.unwrap_or(self.text.len())
    }

    /// Where a block string must have ended: before an item that it seems to have swallowed, or at the
    /// end of the file where no quotes follow.
    fn block_limit(&self) -> usize {
        let rest = &self.text[self.at..];
        let close = rest.find("\"\"\"");
        let inner = &rest[..close.unwrap_or(rest.len())];
        let last_line = inner.rfind('\n').map_or(inner, |newline| &inner[newline + 1..]);
        if close.is_some() && inner.contains('\n') && last_line.is_empty() {
            return self.text.len();
        }
        let mut line_start = 0;
        let mut brace = None;
        for line in inner.split_inclusive('\n') {
            if line_start > 0 && looks_like_item(line) {
                return self.at + brace.unwrap_or(line_start);
            }
            if line.starts_with('}') {
                brace = Some(line_start);
            }
            line_start += line.len();
        }
        let end = if close.is_some() { None } else { brace };
        end.map_or(self.text.len(), |brace| self.at + brace)
    }

    /// Goes on in the text of a string to its end, its next hole or its limit.
    fn text_step(&mut self, frames: &mut Vec<Frame>) {
        let Some(&Frame::Text { start, is_block, is_raw, limit }) = frames.last() else {
            return;
        };
        while self.at < limit {
            let rest = &self.bytes[self.at..limit];
            match rest[0] {
                b'"' if !is_block || rest.starts_with(b"\"\"\"") => {
                    self.at += if is_block { 3 } else { 1 };
                    frames.pop();
                    return;
                }
                b'\\' if is_raw => self.at += 1,
                b'\\' if rest.starts_with(b"\\{{") => self.at += 3,
                b'\\' if !is_block => {
                    self.at += 1;
                    let escaped = self.text[self.at..limit].chars().next();
                    self.at += escaped.filter(|&c| c != '\r').map_or(0, char::len_utf8);
                }
                b'{' if !is_raw && rest.starts_with(b"{{") => {
                    self.report_dollar();
                    frames.push(Frame::Hole { start: self.at, brackets: Vec::new() });
                    self.at += 2;
                    return;
                }
                _ => self.at += 1,
            }
        }
        self.at = limit;
        self.text_not_closed(frames, start, is_block, is_raw);
        self.give_up(frames);
    }

    /// Reports the innermost string, or the hole around it if that is likelier the one left open.
    fn text_not_closed(&mut self, frames: &[Frame], start: usize, is_block: bool, is_raw: bool) {
        let around = match frames.iter().rev().nth(1) {
            Some(Frame::Hole { start, .. }) => Some(*start),
            _ => None,
        };
        match around {
            // `"a {{ b"`: the quotes were meant to end the outer string.
            Some(hole) if !self.text[start..self.at].contains("}}") => {
                self.unclosed_hole(hole, start);
            }
            _ => self.unterminated(start, is_block, is_raw),
        }
    }

    /// After a missing end was reported: leaves the string or hole, and all around it that cannot go
    /// on from here.
    fn give_up(&self, frames: &mut Vec<Frame>) {
        frames.pop();
        loop {
            match frames.last() {
                Some(Frame::Hole { .. }) => {}
                Some(Frame::Text { limit, .. }) if self.at >= *limit => {}
                _ => return,
            }
            frames.pop();
        }
    }

    fn report_dollar(&mut self) {
        let before = self.at.wrapping_sub(1);
        if self.bytes.get(before) == Some(&b'$') {
            let dollar = self.span(before, self.at);
            let finding = Diagnostic::error(
                Code::DOLLAR_HOLE,
                dollar,
                "a hole is written `{{…}}`, without a `$`",
            )
            .help("remove the `$`; for the shell's own `${…}` write one brace")
            .edit(dollar, "");
            self.report(finding);
        }
    }

    fn unterminated(&mut self, start: usize, is_block: bool, is_raw: bool) {
        let open = start + usize::from(is_raw);
        let len = if is_block { 3 } else { 1 };
        let end =
            self.text[..self.at].trim_end_matches(['\r', '\n', ' ', '\t']).len().max(open + len);
        let quotes = &self.text[open..open + len];
        let (place, help) = if is_block {
            ("it seems to end before here", "write `\"\"\"` alone on the line after the text")
        } else {
            (
                "the line ends here",
                "write `\"` at the end of the text; `\"\"\"` begins one of several lines",
            )
        };
        let message = format!("string is not closed: no `{quotes}` follows");
        let finding =
            Diagnostic::error(Code::UNTERMINATED_STRING, self.span(open, open + len), message)
                .label("opens here")
                .also(self.span(end, end), place)
                .help(help);
        // What could belong behind the text leaves open where it ends.
        let rest = self.text[open + len..end].replace("}}", "");
        let finding = match is_block || rest.contains([')', ']', '}']) || rest.ends_with(',') {
            true => finding,
            false => finding.edit(self.span(end, end), "\""),
        };
        self.report(finding);
    }

    /// Goes on in a hole by one token.
    fn hole_step(&mut self, frames: &mut Vec<Frame>) {
        let limit = self.limit(frames);
        let Some(Frame::Hole { start, brackets }) = frames.last_mut() else { return };
        let start = *start;
        if self.at >= limit {
            self.unclosed_hole(start, limit);
            self.give_up(frames);
            return;
        }
        match self.bytes[self.at] {
            b'\n' | b'\r' if !brackets.is_empty() => {
                self.blank(self.at, self.at + 1);
                self.at += 1;
            }
            b'\n' | b'\r' => {
                self.unclosed_hole(start, self.at);
                self.give_up(frames);
            }
            b'}' if !brackets.contains(&b'{') => {
                let len = if self.byte(1) == Some(b'}') { 2 } else { 1 };
                self.at += len;
                if len == 2 {
                    frames.pop();
                }
            }
            b'"' if self.ends_block_around_hole() => {
                self.unclosed_hole(start, self.at);
                self.give_up(frames);
            }
            b'"' => self.open_string(0, frames),
            b'r' if self.byte(1) == Some(b'"') => self.open_string(1, frames),
            byte if is_word_byte(byte) => self.skip_while(is_word_byte),
            byte => {
                bracket_step(brackets, byte);
                self.at += 1;
            }
        }
    }

    /// Claims that the quotes here, alone at the start of a line, end the block string around a hole
    /// that was left open.
    fn ends_block_around_hole(&self) -> bool {
        self.text[self.at..].starts_with("\"\"\"")
            && self.text[..self.at].trim_end_matches([' ', '\t']).ends_with('\n')
    }

    fn unclosed_hole(&mut self, start: usize, end: usize) {
        let end = self.text[..end].trim_end().len().max(start + 2);
        let finding = Diagnostic::error(
            Code::UNTERMINATED_STRING,
            self.span(start, start + 2),
            "hole is not closed: no `}}` follows on its line",
        )
        .label("opens here")
        .also(self.span(end, end), "the line ends here")
        .help("write `}}` after the expression; to write the two braces themselves, put `\\` before them");
        self.report(finding);
    }
}

/// Opens or closes a bracket of a hole; the grammar tells of one without a partner.
fn bracket_step(brackets: &mut Vec<u8>, byte: u8) {
    match byte {
        b'(' | b'[' | b'{' => brackets.push(byte),
        b')' | b']' | b'}' => {
            if let Some(at) = brackets.iter().rposition(|&open| open == partner(byte)) {
                brackets.truncate(at);
            }
        }
        _ => {}
    }
}

/// Returns the bracket that `close` closes.
pub(crate) fn partner(close: u8) -> u8 {
    match close {
        b')' => b'(',
        b']' => b'[',
        _ => b'{',
    }
}
