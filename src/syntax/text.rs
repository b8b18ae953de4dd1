//! The bytes of a script with a mark for each hole. Knows where each byte stands in the file; does
//! not know what the bytes mean.

use crate::source::Span;
use crate::syntax::ast::{Piece, StringLiteral};

/// The byte that stands for a hole. UTF-8 has no such byte.
pub(in crate::syntax) const HOLE: u8 = 0xff;

/// The byte that stands for an expansion in the text of a word. UTF-8 has no such byte.
pub(in crate::syntax) const EXPANSION: u8 = 0xfe;

/// A script as bytes.
pub(in crate::syntax) struct Text {
    pub(in crate::syntax) bytes: Vec<u8>,
    /// The offset of each hole, ascending.
    pub(in crate::syntax) holes: Vec<usize>,
    parts: Vec<Part>,
}

/// A stretch of bytes of one piece.
struct Part {
    start: usize,
    span: Span,
    /// Whether byte `start + i` stands at `span.start + i` of the file.
    is_exact: bool,
}

impl Text {
    /// Joins the pieces of a script.
    pub(in crate::syntax) fn new(script: &StringLiteral) -> Self {
        let mut new = Self { bytes: Vec::new(), holes: Vec::new(), parts: Vec::new() };
        for piece in &script.pieces {
            let start = new.bytes.len();
            match piece {
                Piece::Text { text, span } => {
                    new.parts.push(Part { start, span: *span, is_exact: text.len() == span.len() });
                    new.bytes.extend_from_slice(text.as_bytes());
                }
                Piece::Hole { span, .. } => {
                    new.parts.push(Part { start, span: *span, is_exact: false });
                    new.holes.push(start);
                    new.bytes.push(HOLE);
                }
            }
        }
        new
    }

    /// Returns the number of the hole at an offset.
    pub(in crate::syntax) fn hole(&self, offset: usize) -> usize {
        self.holes.binary_search(&offset).expect("the byte there is a hole")
    }

    /// Returns the numbers of the holes between two offsets.
    pub(in crate::syntax) fn holes_in(&self, start: usize, end: usize) -> std::ops::Range<usize> {
        let number = |offset| self.holes.partition_point(|&hole| hole < offset);
        number(start)..number(end)
    }

    /// Returns the place in the file of the bytes from `start` to before `end`, at least one.
    pub(in crate::syntax) fn place(&self, start: usize, end: usize) -> Span {
        self.byte_place(start).to(self.byte_place(end - 1))
    }

    fn byte_place(&self, offset: usize) -> Span {
        let part = &self.parts[self.parts.partition_point(|part| part.start <= offset) - 1];
        if !part.is_exact {
            return part.span;
        }
        let at = part.span.start as usize + offset - part.start;
        Span::new(part.span.source, at, at + 1)
    }
}
