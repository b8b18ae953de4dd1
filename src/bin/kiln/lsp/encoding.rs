//! Places as editors count them: lines from 0, and columns in units of UTF-16 or bytes. Knows texts;
//! does not know the language.

use std::ops::Range;

use lsp_types::{Position, PositionEncodingKind};

/// What a column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Bytes.
    Utf8,
    /// Units of UTF-16, which is what the protocol means unless both sides agree on bytes.
    Utf16,
}

impl Encoding {
    /// Returns bytes if the other side can count them.
    pub(super) fn of(offered: &[PositionEncodingKind]) -> Self {
        if offered.contains(&PositionEncodingKind::UTF8) { Self::Utf8 } else { Self::Utf16 }
    }

    /// Returns its name in the protocol.
    pub(super) fn kind(self) -> PositionEncodingKind {
        match self {
            Self::Utf8 => PositionEncodingKind::UTF8,
            Self::Utf16 => PositionEncodingKind::UTF16,
        }
    }

    fn width(self, character: char) -> usize {
        match self {
            Self::Utf8 => character.len_utf8(),
            Self::Utf16 => character.len_utf16(),
        }
    }
}

/// A text and where its lines begin.
#[derive(Debug)]
pub(super) struct Lines {
    text: String,
    starts: Vec<usize>,
    encoding: Encoding,
}

impl Lines {
    pub(super) fn new(text: String, encoding: Encoding) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(after_newlines).collect();
        Self { text, starts, encoding }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of a line, without its end.
    fn line(&self, line: usize) -> Option<Range<usize>> {
        let start = *self.starts.get(line)?;
        let end = self.starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        Some(start..end)
    }

    /// Returns the byte at a position. What is beyond a line is at its end, what is beyond the text at
    /// that one's: the protocol says so of columns.
    pub(super) fn offset(&self, position: Position) -> usize {
        let Some(line) = self.line(position.line as usize) else { return self.text.len() };
        let mut column = position.character as usize;
        for (at, character) in self.text[line.clone()].char_indices() {
            let width = self.encoding.width(character);
            if column < width {
                return line.start + at;
            }
            column -= width;
        }
        line.end
    }

    pub(super) fn offsets(&self, range: lsp_types::Range) -> Range<usize> {
        let start = self.offset(range.start);
        start..self.offset(range.end).max(start)
    }

    /// Returns the position of a byte; one within a character counts as that character's first.
    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let before = &self.text[self.starts[line]..offset];
        let column: usize = before.chars().map(|it| self.encoding.width(it)).sum();
        Position { line: line as u32, character: column as u32 }
    }

    pub(super) fn range(&self, range: Range<usize>) -> lsp_types::Range {
        lsp_types::Range { start: self.position(range.start), end: self.position(range.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_as_was_agreed() {
        let text = "aü𝄞b\r\nx\n";
        for (encoding, columns) in
            [(Encoding::Utf16, [0, 1, 2, 4, 5]), (Encoding::Utf8, [0, 1, 3, 7, 8])]
        {
            let lines = Lines::new(text.to_owned(), encoding);
            for (offset, column) in [0, 1, 3, 7, 8].into_iter().zip(columns) {
                let position = Position { line: 0, character: column };
                assert_eq!(lines.position(offset), position, "{encoding:?}");
                assert_eq!(lines.offset(position), offset, "{encoding:?}");
            }
        }
        let lines = Lines::new(text.to_owned(), Encoding::Utf16);
        for (line, character, offset) in [(0, 99, 8), (0, 3, 3), (1, 0, 10), (2, 0, 12), (9, 9, 12)]
        {
            assert_eq!(lines.offset(Position { line, character }), offset, "{line}:{character}");
        }
    }
}
