//! A cursor in a text that is being written: the word under it, and what is open there. Works on
//! tokens alone, so it knows no tree and needs none; does not know what a word means.

use std::ops::Range;

use crate::syntax::outline::looks_like_item;
use crate::syntax::scan::{is_word_byte, partner};

/// Stands for the word that is being written. No author has a reason to call anything so.
pub(super) const MARK: &str = "kiln_cursor_";

/// What is open at a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// A bracket.
    Bracket(u8),
    /// A string; whether it is one of several lines, and whether it has no holes.
    Text { is_block: bool, is_raw: bool },
    /// A hole.
    Hole,
}

/// A place in a text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) offset: usize,
    /// The word under it; empty between words.
    pub(super) word: Range<usize>,
    /// What is open there, innermost last.
    pub(super) open: Vec<Open>,
    pub(super) is_in_comment: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, offset: usize) -> Self {
        let bytes = text.as_bytes();
        let before = bytes[..offset].iter().rev().take_while(|byte| is_word_byte(**byte)).count();
        let after = bytes[offset..].iter().take_while(|byte| is_word_byte(**byte)).count();
        let word = offset - before..offset + after;
        let start = item_start(text, offset);
        let (open, is_in_comment) = open_at(&bytes[start..offset]);
        Self { text, offset, word, open, is_in_comment }
    }

    /// Returns what stands on the line before the word.
    pub(super) fn line_before(&self) -> &'a str {
        let before = &self.text[..self.word.start];
        before[before.rfind('\n').map_or(0, |newline| newline + 1)..].trim_start()
    }

    /// Returns what stands on the line behind the word.
    pub(super) fn line_after(&self) -> &'a str {
        self.text[self.word.end..].lines().next().unwrap_or_default()
    }

    /// Returns whether it stands in the text of a string.
    pub(super) fn is_in_text(&self) -> bool {
        matches!(self.open.last(), Some(Open::Text { .. }))
    }

    /// Returns the text with the mark in place of the word.
    pub(super) fn marked(&self) -> String {
        let (before, after) = (&self.text[..self.word.start], &self.text[self.word.end..]);
        format!("{before}{MARK}{after}")
    }

    /// As [`Self::marked`], with all that is open closed behind the mark, and without the rest of the
    /// line, save in a text of several lines.
    pub(super) fn repaired(&self) -> String {
        let is_block = |open: &Open| matches!(open, Open::Text { is_block: true, .. });
        let floor = match self.open.iter().rposition(is_block) {
            Some(block) => block + 1,
            // The braces of a stage hold what comes below.
            None => usize::from(self.open.first() == Some(&Open::Bracket(b'}'))),
        };
        let is_in_block = self.open.iter().any(is_block);
        let closers = self.open.iter().skip(floor).rev().map(|open| match open {
            Open::Bracket(close) => char::from(*close).to_string(),
            Open::Text { .. } => "\"".to_owned(),
            Open::Hole => "}}".to_owned(),
        });
        let after = &self.text[self.word.end..];
        let line = after.find('\n').unwrap_or(after.len());
        let rest = if is_in_block { after } else { &after[line..] };
        // What a spec gives has a value, which is written last.
        let before = self.line_before();
        let is_given = before.starts_with("given ") || before.starts_with("takes ");
        let value = if is_given && !before.contains('=') { " = none" } else { "" };
        let closers: String = closers.collect();
        format!("{}{MARK}{closers}{value}{rest}", &self.text[..self.word.start])
    }
}

/// Where the item begins that a place is in.
fn item_start(text: &str, offset: usize) -> usize {
    let mut end = offset;
    while let Some(newline) = text[..end].rfind('\n') {
        let line = &text[newline + 1..];
        if looks_like_item(line.lines().next().unwrap_or_default()) {
            return newline + 1;
        }
        end = newline;
    }
    0
}

/// Returns what is open at the end of a text, and whether that end is in a comment.
fn open_at(bytes: &[u8]) -> (Vec<Open>, bool) {
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at = match open.last().copied() {
            Some(Open::Text { is_block, is_raw }) => {
                text_step(bytes, at, (is_block, is_raw), &mut open)
            }
            _ if bytes[at] == b'#' && !open.contains(&Open::Hole) => {
                match bytes[at..].iter().position(|byte| *byte == b'\n') {
                    Some(newline) => at + newline,
                    None => return (open, true),
                }
            }
            _ => code_step(bytes, at, &mut open),
        };
    }
    (open, false)
}

fn text_step(
    bytes: &[u8],
    at: usize,
    (is_block, is_raw): (bool, bool),
    open: &mut Vec<Open>,
) -> usize {
    let rest = &bytes[at..];
    let quotes = if is_block { 3 } else { 1 };
    if rest.starts_with(&b"\"\"\""[..quotes]) || (rest[0] == b'\n' && !is_block) {
        open.pop();
        return at + if rest[0] == b'\n' { 1 } else { quotes };
    }
    if is_raw {
        return at + 1;
    }
    if rest.starts_with(b"\\{{") {
        return at + 3;
    }
    if rest.starts_with(b"{{") {
        open.push(Open::Hole);
        return at + 2;
    }
    at + if rest[0] == b'\\' && !is_block { 2 } else { 1 }
}

fn code_step(bytes: &[u8], at: usize, open: &mut Vec<Open>) -> usize {
    let rest = &bytes[at..];
    match rest[0] {
        b'"' => {
            let is_word = |at: Option<usize>| at.is_some_and(|at| is_word_byte(bytes[at]));
            let is_raw = at > 0 && bytes[at - 1] == b'r' && !is_word(at.checked_sub(2));
            let is_block = rest.starts_with(b"\"\"\"");
            open.push(Open::Text { is_block, is_raw });
            return at + if is_block { 3 } else { 1 };
        }
        b'(' => open.push(Open::Bracket(b')')),
        b'[' => open.push(Open::Bracket(b']')),
        b'{' => open.push(Open::Bracket(b'}')),
        b'}' if open.last() == Some(&Open::Hole) => {
            open.pop();
            return at + if rest.starts_with(b"}}") { 2 } else { 1 };
        }
        close @ (b')' | b']' | b'}') => {
            let is_partner = |it: &Open| matches!(it, Open::Bracket(own) if *own == close);
            debug_assert_ne!(partner(close), close, "brackets come in pairs");
            if let Some(found) = open.iter().rposition(is_partner) {
                open.truncate(found);
            }
        }
        // A hole or a string of one line that is left open ends with it.
        b'\n' => {
            let is_block = |it: &Open| matches!(it, Open::Text { is_block: true, .. });
            if let Some(hole) = open.iter().position(|it| *it == Open::Hole) {
                let outer = open[..hole].last().is_some_and(is_block);
                open.truncate(if outer { hole } else { hole.saturating_sub(1) });
            }
        }
        _ => {}
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_closed_behind_the_mark() {
        for (text, repaired) in [
            ("let a = b.|", "let a = b.MARK"),
            ("let a = f(x, [b.|  rest", "let a = f(x, [b.MARK])"),
            (
                "build a {\n  in files(\"x\", |\n  run sh \"\"\n}",
                "build a {\n  in files(\"x\", MARK)\n  run sh \"\"\n}",
            ),
            ("build a {\n  run sh \"{{x.ab|c\"\n}", "build a {\n  run sh \"{{x.MARK}}\"\n}"),
            (
                "build a {\n  run sh \"\"\"\n    {{f(x.| y\n  \"\"\"\n}",
                "build a {\n  run sh \"\"\"\n    {{f(x.MARK)}} y\n  \"\"\"\n}",
            ),
            ("let a = \"\\\"{{b}} |", "let a = \"\\\"{{b}} MARK\""),
            ("let b = (\nlet a = r\"{{|", "let b = (\nlet a = r\"{{MARK\""),
        ] {
            let offset = text.find('|').unwrap();
            let text = text.replace('|', "");
            let found = Cursor::new(&text, offset).repaired();
            assert_eq!(found, repaired.replace("MARK", MARK), "{text}");
        }
    }

    #[test]
    fn comments_and_texts_are_known() {
        for (text, is_in_comment, is_in_text) in [
            ("let a = 1 # x|", true, false),
            ("let a = \"# x|\"", false, true),
            ("let a = \"{{x|}}\"", false, false),
            ("let a = \"{{ \"x|\" }}\"", false, true),
            ("# a\nlet a = |", false, false),
        ] {
            let offset = text.find('|').unwrap();
            let text = text.replace('|', "");
            let cursor = Cursor::new(&text, offset);
            assert_eq!(
                (cursor.is_in_comment, cursor.is_in_text()),
                (is_in_comment, is_in_text),
                "{text}"
            );
        }
    }
}
