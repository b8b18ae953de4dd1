//! The voices of services in the log of a step: each line that one writes begins with its name, so
//! that it is told from the step's own. Knows lines; does not know where they go.

/// How long a line may be before it is passed on in parts.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// The services of one step.
pub(super) struct Voices<'a> {
    /// The name of each, and the line it has begun.
    services: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Voices<'a> {
    pub(super) fn new(names: impl Iterator<Item = &'a str>) -> Self {
        Self { services: names.map(|name| (name, Vec::new())).collect() }
    }

    /// Takes what the service at `place` wrote; returns the lines that are whole by now.
    pub(super) fn add(&mut self, place: u8, bytes: &[u8]) -> Vec<u8> {
        let (name, begun) = &mut self.services[usize::from(place)];
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(part);
            if part.ends_with(b"\n") || begun.len() >= MAX_LINE_BYTES {
                push_line(&mut lines, name, begun);
            }
        }
        lines
    }

    /// Returns the lines that were never ended.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (name, begun) in &mut self.services {
            if !begun.is_empty() {
                push_line(&mut lines, name, begun);
            }
        }
        lines
    }
}

fn push_line(lines: &mut Vec<u8>, name: &str, line: &mut Vec<u8>) {
    lines.extend_from_slice(name.as_bytes());
    lines.extend_from_slice(b" | ");
    lines.append(line);
    if !lines.ends_with(b"\n") {
        lines.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_service_bears_its_name_however_it_was_written() {
        let mut voices = Voices::new(["db", "cache"].into_iter());
        assert_eq!(voices.add(0, b"sta"), b"");
        assert_eq!(voices.add(1, b"a\n\nb"), b"cache | a\ncache | \n");
        assert_eq!(voices.add(0, b"rted\nready"), b"db | started\n");
        assert_eq!(voices.rest(), b"db | ready\ncache | b\n");
        assert_eq!(voices.rest(), b"");
    }

    #[test]
    fn a_line_without_end_is_not_held_for_ever() {
        let mut voices = Voices::new(["db"].into_iter());
        let line = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(voices.add(0, &line).len(), "db | ".len() + MAX_LINE_BYTES + 1);
    }
}
