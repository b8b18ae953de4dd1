//! Lines: their indentation, the empty ones between them, and what is aligned across them. Knows
//! roles of tokens; does not know strings or which neighbours have blanks between them.

use std::ops::Range;

use super::part::{Part, Role, goes_on};
use super::space::has_blank;
use super::string;
use crate::syntax::scan::TokenKind;

/// A line as it is written.
struct Line<'a> {
    /// How many steps it is indented.
    indent: usize,
    /// The code, without indentation; a string in it may hold newlines.
    code: String,
    comment: Option<&'a str>,
    /// Whether an empty line stands before it.
    is_apart: bool,
    /// Whether its comment documents the item below.
    is_doc: bool,
    /// The place of the `=` in the code of a field.
    equals: Option<usize>,
    /// Whether what it says ends in a later line.
    is_open: bool,
}

/// Returns the text of a file.
pub(super) fn layout(parts: &[Part<'_>]) -> String {
    let mut layout = Layout { parts, lines: Vec::new(), open: Vec::new(), bodies: Vec::new() };
    layout.read();
    layout.set_bodies_apart();
    layout.align_fields();
    layout.write()
}

struct Layout<'a, 'p> {
    parts: &'p [Part<'a>],
    lines: Vec<Line<'a>>,
    open: Vec<Open>,
    /// The first and last line of each item with a body of several lines.
    bodies: Vec<(usize, usize)>,
}

/// An open bracket.
struct Open {
    /// The indentation of its line.
    indent: usize,
    is_body: bool,
}

/// What is known at the end of a line.
#[derive(Default)]
struct Walk {
    /// The last part that is no comment.
    before: Option<usize>,
    /// The first line of the item under way.
    item: usize,
    /// The comments since the last line of code.
    comments: Vec<usize>,
}

impl<'a> Layout<'a, '_> {
    /// Makes the lines.
    fn read(&mut self) {
        let mut walk = Walk::default();
        let mut start = 0;
        while start < self.parts.len() {
            let rest = &self.parts[start + 1..];
            let len = 1 + rest.iter().take_while(|part| !part.begins_line()).count();
            if self.parts[start].is_comment() {
                walk.comments.push(self.lines.len());
                self.comment_line(start);
            } else {
                self.code_line(start..start + len, &mut walk);
            }
            start += len;
        }
        let inner = self.inner();
        walk.comments.into_iter().for_each(|line| self.lines[line].indent = inner);
    }

    /// The indentation inside the innermost bracket.
    fn inner(&self) -> usize {
        self.open.last().map_or(0, |open| open.indent + 1)
    }

    /// Whether the line that begins with part `at` has an empty one before it. `before` is the last
    /// part of the line before.
    fn is_apart(&self, at: usize) -> bool {
        let Some(last) = self.lines.last() else { return false };
        let before = self.parts[..at].iter().rev();
        let opens = before.take(2).find(|part| !part.is_comment());
        let follows_open =
            !last.code.is_empty() && opens.is_some_and(|part| part.kind == TokenKind::Open);
        self.parts[at].newlines > 1
            && !follows_open
            && !last.is_doc
            && self.parts[at].kind != TokenKind::Close
    }

    fn comment_line(&mut self, at: usize) {
        let part = &self.parts[at];
        self.lines.push(Line {
            indent: 0,
            code: String::new(),
            comment: Some(part.text),
            is_apart: self.is_apart(at),
            is_doc: part.kind == TokenKind::DocComment && self.open.is_empty(),
            equals: None,
            is_open: false,
        });
    }

    fn code_line(&mut self, range: Range<usize>, walk: &mut Walk) {
        let parts = &self.parts[range.clone()];
        let is_apart = self.is_apart(range.start);
        let in_body = self.open.last().is_some_and(|open| open.is_body);
        let in_brackets = !self.open.is_empty() && !in_body;
        let is_continued = goes_on(self.parts, walk.before, range.start, in_brackets);
        let is_field = in_body
            && !is_continued
            && parts[0].kind == TokenKind::Word
            && parts.get(1).is_some_and(|part| part.is("="));
        if is_continued {
            let before = self.lines.iter_mut().rfind(|line| !line.code.is_empty());
            before.into_iter().for_each(|line| line.is_open = true);
        } else if self.open.is_empty() {
            walk.item = self.lines.len();
        }
        let indent = self.indent(parts, is_continued, &mut walk.comments);
        let depth = self.open.len();
        let closes_body = self.brackets(parts, indent);
        let code = code(parts, indent);
        if closes_body && depth > 0 {
            self.bodies.push((walk.item, self.lines.len()));
        }
        let comment = parts.last().filter(|part| part.is_comment());
        self.lines.push(Line {
            indent,
            equals: is_field.then(|| parts[0].text.len() + 1),
            is_open: self.open.len() > depth || code.contains('\n'),
            code,
            comment: comment.map(|part| part.text),
            is_apart,
            is_doc: false,
        });
        walk.before = range.rev().find(|&at| !self.parts[at].is_comment());
    }

    /// Returns the indentation of a line of code and sets that of the `comments` above it.
    fn indent(
        &mut self,
        parts: &[Part<'_>],
        is_continued: bool,
        comments: &mut Vec<usize>,
    ) -> usize {
        let kept = parts.iter().filter(|part| part.role != Role::Dropped);
        let closing = kept.take_while(|part| part.kind == TokenKind::Close).count();
        let inner = self.inner() + usize::from(is_continued && closing == 0);
        comments.drain(..).for_each(|line| self.lines[line].indent = inner);
        if closing == 0 {
            return inner;
        }
        let outermost = self.open.len().saturating_sub(closing);
        self.open.get(outermost).map_or(0, |open| open.indent)
    }

    /// Opens and closes the brackets of a line. Returns whether the brace of a body is closed.
    fn brackets(&mut self, parts: &[Part<'_>], indent: usize) -> bool {
        let mut indent = indent;
        let mut closes_body = false;
        for part in parts {
            match part.kind {
                TokenKind::Open => {
                    let is_body = part.role == Role::Body;
                    // Items are not indented, whatever the last line of their head is.
                    let indent = if is_body { 0 } else { indent };
                    self.open.push(Open { indent, is_body });
                }
                TokenKind::Close => {
                    if let Some(open) = self.open.pop() {
                        indent = open.indent;
                        closes_body |= open.is_body;
                    }
                }
                _ => {}
            }
        }
        closes_body
    }

    /// Sets each item with a body of several lines apart from its neighbours.
    fn set_bodies_apart(&mut self) {
        for &(first, last) in &self.bodies {
            let mut top = first;
            while top > 0 && !self.lines[top].is_apart && self.lines[top - 1].code.is_empty() {
                top -= 1;
            }
            for line in [top, last + 1] {
                if line > 0 && line < self.lines.len() {
                    self.lines[line].is_apart = true;
                }
            }
        }
    }

    /// Puts the `=` of adjacent fields into one column.
    fn align_fields(&mut self) {
        let mut start = 0;
        while start < self.lines.len() {
            let mut end = start + 1;
            let joins = |line: &Line<'_>, before: &Line<'_>| {
                line.equals.is_some() && !line.is_apart && !before.is_open
            };
            while end < self.lines.len()
                && self.lines[start].equals.is_some()
                && joins(&self.lines[end], &self.lines[end - 1])
            {
                end += 1;
            }
            let run = &mut self.lines[start..end];
            let column = run.iter().filter_map(|line| line.equals).max().unwrap_or(0);
            for line in run {
                if let Some(equals) = line.equals {
                    line.code.insert_str(equals, &" ".repeat(column - equals));
                }
            }
            start = end;
        }
    }

    /// Returns the column for the comments from line `start` on, and the line after them.
    fn comment_column(&self, start: usize) -> (usize, usize) {
        let has_both = |line: &Line<'_>| {
            line.comment.is_some() && !line.code.is_empty() && !line.code.contains('\n')
        };
        let is_first = |line: &&Line<'_>| has_both(line);
        let lines = &self.lines[start..];
        let mut run = lines.iter().take(1).filter(is_first).count();
        if run > 0 {
            let more = |line: &&Line<'_>| has_both(line) && !line.is_apart;
            run += lines[1..].iter().take_while(more).count();
        }
        let width = |line: &Line<'_>| 2 * line.indent + line.code.chars().count();
        (lines[..run].iter().map(width).max().unwrap_or(0) + 2, start + run)
    }

    fn write(&self) -> String {
        let mut text = String::new();
        let (mut column, mut aligned) = (0, 0);
        for (number, line) in self.lines.iter().enumerate() {
            if number >= aligned {
                (column, aligned) = self.comment_column(number);
            }
            if line.is_apart {
                text.push('\n');
            }
            let start = text.len();
            text.push_str(&"  ".repeat(line.indent));
            text.push_str(&line.code);
            if let Some(comment) = line.comment {
                if !line.code.is_empty() {
                    let is_aligned = number < aligned;
                    let width = text[start..].chars().count();
                    let blanks = if is_aligned { column - width } else { 2 };
                    text.push_str(&" ".repeat(blanks));
                }
                text.push_str(comment);
            }
            text.push('\n');
        }
        text
    }
}

/// Returns the code of a line.
fn code(parts: &[Part<'_>], indent: usize) -> String {
    let (old, new) = (parts[0].indent, "  ".repeat(indent));
    let mut code = String::new();
    let mut left: Option<&Part<'_>> = None;
    for part in parts.iter().filter(|part| !part.is_comment() && part.role != Role::Dropped) {
        if left.is_some_and(|left| has_blank(left, part)) {
            code.push(' ');
        }
        match part.kind {
            TokenKind::String => code.push_str(&string::moved(part.text, old, &new)),
            _ => code.push_str(part.text),
        }
        if part.gets_comma {
            code.push(',');
        }
        left = Some(part);
    }
    code
}
