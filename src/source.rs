//! Sources and spans: the text of `.pipe` files and places in it. Knows bytes, lines and columns;
//! does not know the language, nor where a text came from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most bytes a source may hold: 4 MiB.
pub const MAX_SOURCE_BYTES: usize = 4 << 20;

/// Returns whether a character turns the direction of writing, so that a text does not read as it is.
pub fn turns_direction(character: char) -> bool {
    matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Which source of a [`Sources`] a span lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceId(pub(crate) u32);

/// A half-open range of bytes in one source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The source the range lies in.
    pub source: SourceId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte; equal to `start` for a place between two bytes.
    pub end: u32,
}

impl Span {
    /// Returns the range from `start` to `end` of `source`.
    pub fn new(source: SourceId, start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u32::MAX as usize, "a span runs forward");
        Self { source, start: start as u32, end: end as u32 }
    }

    /// Returns the empty range at `at`.
    pub(crate) fn at(source: SourceId, at: usize) -> Self {
        Self::new(source, at, at)
    }

    /// Returns the smallest span that covers both. Both must lie in one source.
    pub(crate) fn to(self, other: Self) -> Self {
        debug_assert_eq!(self.source, other.source, "spans of one source");
        Self { end: self.end.max(other.end), start: self.start.min(other.start), ..self }
    }

    /// Returns the byte offsets as a range.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Returns the length in bytes.
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}..{}", self.source.0, self.start, self.end)
    }
}

/// One text and its name.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as people see it, relative to the project's root, with `/`.
    pub name: String,
    /// The whole text, as it is in the file.
    pub text: String,
    /// Offset of the first byte of each line, ascending; the first is 0.
    line_starts: Vec<u32>,
}

impl Source {
    /// Returns a text under its name.
    pub fn new(name: String, text: String) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at as u32 + 1);
        let line_starts = std::iter::once(0).chain(after_newlines).collect();
        Self { name, text, line_starts }
    }

    /// Returns the line and column of a byte offset, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|&start| start as usize <= offset) - 1;
        let start = self.line_starts[line] as usize;
        let before = self.text.get(start..offset).unwrap_or_default();
        (line + 1, before.chars().count() + 1)
    }
}

/// All texts of one run, in the order they were added.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text of at most [`MAX_SOURCE_BYTES`] and returns its id.
    pub(crate) fn add(&mut self, name: impl Into<String>, text: String) -> SourceId {
        let id = SourceId(u32::try_from(self.0.len()).expect("fewer than 2^32 sources"));
        self.0.push(Source::new(name.into(), text));
        id
    }

    /// Returns the source with that id.
    ///
    /// # Panics
    /// If the id is of another `Sources`.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.0[id.0 as usize]
    }

    /// Returns the bytes that a span covers.
    pub fn text(&self, span: Span) -> &str {
        &self.get(span.source).text[span.range()]
    }

    /// Returns all sources in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_newlines() {
        let mut sources = Sources::default();
        let id = sources.add("a.pipe", "one\nzwölf x\n".into());
        let source = sources.get(id);
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(4), (2, 1));
        assert_eq!(source.line_column(11), (2, 7));
        assert_eq!(source.line_column(source.text.len()), (3, 1));
    }

    #[test]
    fn joining_spans_covers_both() {
        let id = SourceId(0);
        assert_eq!(Span::new(id, 5, 6).to(Span::new(id, 1, 3)), Span::new(id, 1, 6));
    }
}
