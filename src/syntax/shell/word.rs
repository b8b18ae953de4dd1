//! A word of a script while it is read. Knows its text, its holes and whether it assigns; does not
//! know which command it belongs to.

use crate::syntax::text::{EXPANSION, HOLE};

/// A word, unquoted.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Offset of its first byte.
    pub(super) start: usize,
    /// The text without quotes; [`HOLE`] for a hole, [`EXPANSION`] for `$x`, `$(…)` and their like.
    pub(super) text: Vec<u8>,
    /// The numbers of the holes in it, not of those inside its `$(…)`.
    pub(super) holes: Vec<usize>,
    /// Whether any of it is quoted or escaped.
    pub(super) is_quoted: bool,
    /// Whether an unquoted `*`, `?` or `[` stands in it.
    pub(super) is_pattern: bool,
    /// The array before a `[index]` at the word's beginning; empty in `([index]=…)`.
    pub(super) array: Option<String>,
    /// Where it assigns, for `name=value`.
    pub(super) assignment: Option<Assignment>,
    /// How many `(` of an extended pattern, `@(a|b)`, are open.
    pub(super) parens: usize,
}

/// The `name=` of a word.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) name: String,
    /// How much of the word's text stands before the value.
    pub(super) text_len: usize,
    /// How many of the word's holes do.
    pub(super) holes: usize,
    /// Offset in the script of the value's first byte.
    pub(super) value: usize,
}

impl Draft {
    /// Returns the text if it has no hole and no expansion.
    pub(super) fn literal(&self) -> Option<&str> {
        std::str::from_utf8(&self.text).ok()
    }

    /// Returns the text if it is literal and unquoted, as reserved words must be.
    pub(super) fn bare(&self) -> Option<&str> {
        if self.is_quoted { None } else { self.literal() }
    }

    /// Returns the text up to the first hole or expansion.
    pub(super) fn prefix(&self) -> &str {
        let is_known = |byte: &&u8| !matches!(**byte, HOLE | EXPANSION);
        let len = self.text.iter().take_while(is_known).count();
        std::str::from_utf8(&self.text[..len]).expect("literal text is UTF-8")
    }

    /// Whether the word is one bare hole and nothing else.
    pub(super) fn is_hole(&self) -> bool {
        self.text == [HOLE] && !self.is_quoted
    }

    /// Returns the last part of a literal path: `bash` of `/bin/bash`.
    pub(super) fn program(&self) -> Option<&str> {
        self.literal().map(|text| text.rsplit('/').next().unwrap_or(text))
    }

    /// Takes note of an unquoted `=` that is about to be added; `at` is its offset.
    pub(super) fn equals(&mut self, at: usize) {
        if self.assignment.is_some() || self.is_quoted && self.array.is_none() {
            return;
        }
        let name = match &self.array {
            Some(array) if self.text.ends_with(b"]") || self.text.ends_with(b"]+") => array.clone(),
            Some(_) => return,
            None => match self.literal().map(|text| text.strip_suffix('+').unwrap_or(text)) {
                Some(name) if is_name(name) => name.to_owned(),
                _ => return,
            },
        };
        let (text_len, holes) = (self.text.len() + 1, self.holes.len());
        self.assignment = Some(Assignment { name, text_len, holes, value: at + 1 });
    }

    /// Whether a hole stands in what would be the name of an assignment: `{{x}}=1`, `a{{x}}=1`.
    pub(super) fn names_by_hole(&self) -> bool {
        let Some(equals) = self.text.iter().position(|&byte| byte == b'=') else { return false };
        let name = &self.text[..equals];
        let is_name = |&byte: &u8| matches!(byte, HOLE | b'_') || byte.is_ascii_alphanumeric();
        !self.is_quoted && name.contains(&HOLE) && name.iter().all(is_name)
    }
}

/// Whether a text is the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(is_name_start) && text.bytes().all(is_name_byte)
}

/// Whether a name may begin with the byte.
pub(super) fn is_name_start(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic()
}

/// Whether a name may contain the byte.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}
