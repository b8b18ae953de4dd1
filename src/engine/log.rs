//! The log of a step: what it wrote, in frames that tell its two outputs apart. Knows frames and
//! where characters end; does not know who reads them.
//!
//! A frame is a byte (1 standard output, 2 standard error), the length of its bytes as 4 bytes,
//! little-endian, and the bytes. Frames are kept in the store, so that a hit can replay them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};

use crate::cache::{Blob, CacheError, Store};
use crate::event::{Event, StepOutput, Stream};
use crate::planted::{Bug, is_planted};

/// The most bytes of output that are kept of one try of a step which does not say how many; what comes after is dropped, and
/// the log says so.
pub(crate) const MAX_LOG_BYTES: u64 = 64 << 20;

/// Logs up to this size never touch the disk before they are filed.
const SPILL_BYTES: usize = 256 * 1024;

/// How much of its end is at hand.
const LAST_BYTES: usize = 8 * 1024;

/// The log of a running step.
pub(crate) struct Log {
    frames: Vec<u8>,
    /// Frames that were too many to hold.
    spilled: Option<BufWriter<File>>,
    /// Why the log is not whole, if it is not.
    fault: Option<io::Error>,
    /// The begin of a character whose end has not come yet, for each output.
    half: [Vec<u8>; 2],
    /// What came last, of both outputs.
    last: VecDeque<u8>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let (frames, last) = (Vec::new(), VecDeque::new());
        Self { frames, spilled: None, fault: None, half: Default::default(), last }
    }

    /// Adds what a step wrote; returns what can be shown of it: whole characters.
    pub(crate) fn add(&mut self, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        if bytes.is_empty() {
            return Vec::new();
        }
        self.frame(stream, bytes);
        self.last.extend(&bytes[bytes.len().saturating_sub(LAST_BYTES)..]);
        self.last.drain(..self.last.len().saturating_sub(LAST_BYTES));
        let half = &mut self.half[index(stream)];
        let mut shown = std::mem::take(half);
        shown.extend_from_slice(bytes);
        *half = shown.split_off(whole_characters(&shown));
        shown
    }

    /// Returns what was never completed, for each output.
    pub(crate) fn take_halves(&mut self) -> Vec<(Stream, Vec<u8>)> {
        let halves = [Stream::Stdout, Stream::Stderr]
            .map(|stream| (stream, std::mem::take(&mut self.half[index(stream)])));
        halves.into_iter().filter(|(_, half)| !half.is_empty()).collect()
    }

    /// Returns the end of what was written, as text.
    pub(crate) fn end(&self) -> String {
        String::from_utf8_lossy(&self.last.iter().copied().collect::<Vec<_>>()).into_owned()
    }

    /// Files the log; `None` if nothing was written.
    ///
    /// # Errors
    /// What the store says; also when a long log could not be held on disk.
    pub(crate) fn file(mut self, store: &Store) -> Result<Option<Blob>, CacheError> {
        let failed = |source| CacheError::Io {
            doing: "keep a log in",
            path: store.scratch().to_owned(),
            source,
        };
        if let Some(fault) = self.fault {
            return Err(failed(fault));
        }
        let Some(mut spilled) = self.spilled.take() else {
            return (!self.frames.is_empty()).then(|| store.put(&self.frames)).transpose();
        };
        spilled.write_all(&self.frames).map_err(failed)?;
        let mut file = spilled.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        store.put_reader(file, false).map(Some)
    }

    fn frame(&mut self, stream: Stream, bytes: &[u8]) {
        self.frames.push(index(stream) as u8 + 1);
        let len = u32::try_from(bytes.len()).expect("output comes in small parts");
        self.frames.extend_from_slice(&len.to_le_bytes());
        self.frames.extend_from_slice(bytes);
        if self.frames.len() >= SPILL_BYTES && self.fault.is_none() && !is_planted(Bug::HoardLogs) {
            self.fault = self.spill().err();
            self.frames.clear();
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match self.spilled.take() {
            Some(file) => file,
            None => BufWriter::new(tempfile::tempfile()?),
        };
        self.spilled.insert(file).write_all(&self.frames)
    }
}

/// Returns the frames of a log; stops at the first that is none.
pub(crate) fn frames(bytes: &[u8]) -> impl Iterator<Item = (Stream, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<5>()?;
        let stream = match head[0] {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => return None,
        };
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let (bytes, after) = after.split_at_checked(len as usize)?;
        rest = after;
        Some((stream, bytes))
    })
}

/// Returns the output events of a log kept from an earlier run.
pub(crate) fn replay(step: &str, bytes: &[u8]) -> Vec<Event> {
    let mut log = Log::new();
    let mut events = Vec::new();
    let mut say = |stream, bytes: &[u8]| {
        let output = StepOutput { replayed: true, ..StepOutput::new(step, stream, bytes) };
        events.push(Event::StepOutput(output));
    };
    for (stream, bytes) in frames(bytes) {
        let half = &mut log.half[index(stream)];
        let mut shown = std::mem::take(half);
        shown.extend_from_slice(bytes);
        *half = shown.split_off(whole_characters(&shown));
        if !shown.is_empty() {
            say(stream, &shown);
        }
    }
    for (stream, half) in log.take_halves() {
        say(stream, &half);
    }
    events
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

/// Returns how many bytes come before a character that is cut off at the end. Bytes that begin no
/// character count as whole.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let len = match bytes[at] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if len > back { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_never_cut_and_bytes_never_lost() {
        let text = "a€ü🦀z".as_bytes();
        let bytes = [text, b"\xff\xe2\x82", text, b"\xf0\x9f"].concat();
        for size in 1..8 {
            let mut log = Log::new();
            let mut shown = Vec::new();
            for part in bytes.chunks(size) {
                let part = log.add(Stream::Stdout, part);
                if let Err(error) = std::str::from_utf8(&part) {
                    assert!(error.error_len().is_some(), "cut in the middle: {part:?}");
                }
                shown.extend(part);
            }
            for (_, half) in log.take_halves() {
                shown.extend(half);
            }
            assert_eq!(shown, bytes);
            let kept: Vec<u8> = frames(&log.frames).flat_map(|(_, bytes)| bytes.to_vec()).collect();
            assert_eq!(kept, bytes);
        }
    }

    #[test]
    fn a_long_log_is_filed_whole_and_replays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut log = Log::new();
        for number in 0..100_000 {
            let stream = if number % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
            log.add(stream, format!("line {number}\n").as_bytes());
        }
        let blob = log.file(&store).unwrap().unwrap();
        let bytes = store.read(blob).unwrap();
        assert_eq!(frames(&bytes).count(), 100_000);
        let events = replay("a", &bytes);
        assert!(matches!(&events[3], Event::StepOutput(output)
            if output.replayed && output.text == "line 3\n" && output.stream == Stream::Stderr));
        assert!(Log::new().file(&store).unwrap().is_none());
    }

    #[test]
    fn a_torn_log_ends_at_the_tear() {
        let mut log = Log::new();
        log.add(Stream::Stdout, b"one");
        log.add(Stream::Stdout, b"two");
        for len in 0..log.frames.len() {
            assert!(frames(&log.frames[..len]).count() < 2);
        }
    }
}
