//! The tail: the last lines that a step wrote, within limits. Knows lines; does not know screens, nor
//! where the whole log is.

use std::collections::VecDeque;

use kiln::event::Stream;

/// The longest line that is kept, in bytes; the rest of a longer one is counted only.
const MAX_LINE_BYTES: usize = 4096;

/// What a line takes beside its text, in bytes.
const LINE_BYTES: usize = 96;

/// The last lines of a step's output.
#[derive(Debug)]
pub(crate) struct Tail {
    lines: VecDeque<Line>,
    /// What the lines take, with all that holds them.
    bytes: usize,
    /// Lines without their end yet, one for each output.
    open: [Line; 2],
    /// The output that was written to last.
    last: usize,
    /// How many lines were dropped.
    dropped: usize,
    most_lines: usize,
    most_bytes: usize,
}

/// A line that a step wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// How it begins.
    pub(crate) text: String,
    /// How many bytes of it are not kept.
    pub(crate) cut: usize,
}

impl Tail {
    /// Returns an empty tail that keeps at most so many lines and bytes.
    pub(crate) fn new(most_lines: usize, most_bytes: usize) -> Self {
        let open = [Line::default(), Line::default()];
        let lines = VecDeque::new();
        Self { lines, bytes: 0, open, last: 0, dropped: 0, most_lines, most_bytes }
    }

    /// Adds what a step wrote.
    pub(crate) fn add(&mut self, stream: Stream, text: &str) {
        let at = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        self.last = at;
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(end) => {
                    self.open[at].add(end);
                    let line = std::mem::take(&mut self.open[at]);
                    self.push(line);
                }
                None => self.open[at].add(piece),
            }
        }
    }

    /// Returns the lines that are kept, in order; those without an end last.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().chain(self.open.iter().filter(|line| !line.is_empty()))
    }

    /// Returns how many lines came before those that are kept.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped
    }

    /// Returns what was written last.
    pub(crate) fn last(&self) -> Option<&str> {
        let open = &self.open[self.last];
        if open.is_empty() {
            self.lines
                .iter()
                .rev()
                .map(|line| line.text.as_str())
                .find(|line| !line.trim().is_empty())
        } else {
            Some(&open.text)
        }
    }

    fn push(&mut self, line: Line) {
        self.bytes += line.cost();
        self.lines.push_back(line);
        while self.lines.len() > self.most_lines || self.bytes > self.most_bytes {
            let Some(line) = self.lines.pop_front() else { break };
            self.bytes -= line.cost();
            self.dropped += 1;
        }
    }
}

impl Line {
    /// Returns about how many bytes of memory it takes: short lines are many, and each has its
    /// place in the list, in the heap and in what is made of it to be shown.
    fn cost(&self) -> usize {
        self.text.len() + LINE_BYTES
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.cut == 0
    }

    fn add(&mut self, text: &str) {
        // Of a line that is drawn again and again, only the last state will be seen.
        let text = match text.trim_end_matches('\r').rsplit_once('\r') {
            Some((_, state)) => {
                *self = Self::default();
                state
            }
            None => text,
        };
        let room = MAX_LINE_BYTES.saturating_sub(self.text.len());
        let end = if self.cut > 0 { 0 } else { text.floor_char_boundary(room) };
        self.text.push_str(&text[..end]);
        self.cut += text.len() - end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tail: &Tail) -> Vec<&str> {
        tail.lines().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn the_last_lines_are_kept_and_the_others_counted() {
        let mut tail = Tail::new(3, 1000);
        for number in 0..10 {
            tail.add(Stream::Stdout, &format!("line {number}\n"));
        }
        assert_eq!(texts(&tail), ["line 7", "line 8", "line 9"]);
        assert_eq!(tail.dropped(), 7);
        assert_eq!(tail.last(), Some("line 9"));
    }

    #[test]
    fn the_two_outputs_do_not_mix_within_a_line() {
        let mut tail = Tail::new(10, 1000);
        tail.add(Stream::Stdout, "one ");
        tail.add(Stream::Stderr, "oops\nmore");
        tail.add(Stream::Stdout, "two\n");
        assert_eq!(texts(&tail), ["oops", "one two", "more"]);
        assert_eq!(tail.last(), Some("one two"));
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut tail = Tail::new(10, 100_000);
        for _ in 0..1000 {
            tail.add(Stream::Stdout, &"é".repeat(1000));
        }
        let line = tail.lines().next().unwrap();
        assert!(line.text.len() <= MAX_LINE_BYTES);
        assert_eq!(line.text.len() + line.cut, 2_000_000);
        tail.add(Stream::Stdout, "\rdone\n");
        assert_eq!(texts(&tail), ["done"]);
    }

    #[test]
    fn many_bytes_are_bounded() {
        let most = 10 * (10 + LINE_BYTES);
        let mut tail = Tail::new(usize::MAX, most);
        for _ in 0..1000 {
            tail.add(Stream::Stderr, "0123456789\n");
        }
        assert_eq!(tail.lines().count(), 10);
        assert_eq!(tail.dropped(), 990);
    }
}
