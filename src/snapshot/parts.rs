//! The file of a snapshot. Layout: a line with the version, a table of the parts' lengths and digests,
//! the parts, and what was added later: each addition with its length and digest before it. Knows
//! bytes and digests; does not know what the parts mean.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IntoInnerError, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::{Digest, Hasher};

/// Grows when the layout changes.
const VERSION: &str = "kiln snapshot 4";

/// The parts of the file, in order.
const PARTS: usize = 5;
pub(super) const PLAN: usize = 0;
pub(super) const STATE: usize = 1;
pub(super) const CLEAN: usize = 2;
pub(super) const STEPS: usize = 3;
pub(super) const INGREDIENTS: usize = 4;

/// An entry of the table: a length and a digest.
const ENTRY: usize = 40;

/// How many additions a file takes before it is written anew.
const MAX_ADDED: usize = 64;

/// What a file that is added to may grow by: this part of what it was.
const MAX_GROWTH: u64 = 4;

/// The parts of the file.
#[derive(Default)]
pub(super) struct Parts {
    /// The file, which another Kiln may have replaced meanwhile; `None` where there was none.
    file: Option<File>,
    /// Where each part lies in it, and its digest, which is looked at when the part is.
    places: [Place; PARTS],
    /// What was added later.
    added: Vec<Place>,
    /// Where the file as it was first written ends, and where it ends now.
    ends: (u64, u64),
    /// Whether all that was added is whole.
    is_whole: bool,
}

/// Where a part lies: its first byte, its length, and its digest.
type Place = (u64, usize, [u8; 32]);

/// A new file that is to take the place of the old one. Its parts are written one by one, in order, so
/// that no two of them are held in memory.
pub(super) struct New<'a> {
    old: &'a Parts,
    file: tempfile::NamedTempFile,
    entries: Vec<Vec<u8>>,
}

impl<'a> New<'a> {
    /// Begins a file that takes the place of `path`.
    pub(super) fn begin(old: &'a Parts, path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&header())?;
        file.write_all(&[0; PARTS * ENTRY])?;
        Ok(Self { old, file, entries: Vec::new() })
    }

    /// Writes a part; `None` takes it over from the old file.
    pub(super) fn put<T: Serialize>(&mut self, part: usize, value: Option<&T>) -> io::Result<()> {
        let old = self.old;
        self.put_by(part, |writer| match value {
            Some(value) => encode_into(value, writer),
            None => writer.write_all(&old.get(part).unwrap_or_default()),
        })
    }

    /// As [`New::put`], for a part that `write` writes.
    pub(super) fn put_by(
        &mut self,
        part: usize,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        debug_assert_eq!(part, self.entries.len(), "the parts have an order");
        let hashed = Hashed { file: self.file.as_file(), hasher: Hasher::new(), len: 0 };
        let mut writer = BufWriter::with_capacity(1 << 16, hashed);
        write(&mut writer)?;
        let Hashed { hasher, len, .. } = writer.into_inner().map_err(IntoInnerError::into_error)?;
        let mut entry = len.to_le_bytes().to_vec();
        entry.extend_from_slice(hasher.finish().as_bytes());
        self.entries.push(entry);
        Ok(())
    }

    /// Returns whether a part that was written is another than in the old file.
    pub(super) fn has_changed(&self, part: usize) -> bool {
        self.old.file.is_none() || self.entries[part][8..] != self.old.places[part].2
    }

    /// Lets the file take the place of the one at `path`.
    pub(super) fn end(self, path: &Path) -> io::Result<()> {
        self.file.as_file().write_all_at(&self.entries.concat(), header().len() as u64)?;
        // Where it replaced another, ext4 would write all of it to disk at once.
        let _ = std::fs::remove_file(path);
        self.file.persist(path)?;
        Ok(())
    }
}

/// A file whose new bytes are hashed.
struct Hashed<'a> {
    file: &'a File,
    hasher: Hasher,
    len: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.len += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Parts {
    /// Finds the parts of a file; `None` if it is none of this version, or not whole. Of additions,
    /// those before the first that is not whole count.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let header = header();
        let mut head = vec![0; header.len() + PARTS * ENTRY];
        file.read_exact_at(&mut head, 0).ok()?;
        let table = head.strip_prefix(header.as_slice())?;
        let mut places = <[Place; PARTS]>::default();
        let len = file.metadata().ok()?.len();
        let mut start = head.len() as u64;
        for (entry, place) in table.chunks_exact(ENTRY).zip(&mut places) {
            *place = parse(entry, start, len)?;
            start += place.1 as u64;
        }
        let (mut added, end) = (Vec::new(), start);
        let mut entry = [0; ENTRY];
        while file.read_exact_at(&mut entry, start).is_ok() {
            let Some(place) = parse(&entry, start + ENTRY as u64, len) else { break };
            start = place.0 + place.1 as u64;
            added.push(place);
        }
        Some(Self { file: Some(file), places, added, ends: (end, len), is_whole: start == len })
    }

    /// Returns a part; `None` if any byte of it is not what was written.
    pub(super) fn get(&self, part: usize) -> Option<Vec<u8>> {
        self.at(&self.places[part])
    }

    pub(super) fn decode<T: DeserializeOwned>(&self, part: usize) -> Option<T> {
        postcard::from_bytes(&self.get(part)?).ok()
    }

    /// Returns what was added to the file, in order, up to the first that is damaged.
    pub(super) fn added<T: DeserializeOwned>(&self) -> Vec<T> {
        let decode = |place| postcard::from_bytes(&self.at(place)?).ok();
        self.added.iter().map_while(decode).collect()
    }

    fn at(&self, (start, len, digest): &Place) -> Option<Vec<u8>> {
        let mut bytes = vec![0; *len];
        self.file.as_ref()?.read_exact_at(&mut bytes, *start).ok()?;
        (Digest::of(&bytes).as_bytes() == digest).then_some(bytes)
    }

    /// Adds something to the end of the file; returns false, and does nothing, if it is better written
    /// anew, or if it is no longer the file that was read.
    pub(super) fn add<T: Serialize>(&self, path: &Path, addition: &T) -> bool {
        let Some(file) = &self.file else { return false };
        // What comes after a torn addition would be lost.
        if !self.is_whole || self.added.len() >= MAX_ADDED {
            return false;
        }
        let bytes = encode(addition);
        let (first, end) = self.ends;
        if end - first + bytes.len() as u64 > first / MAX_GROWTH {
            return false;
        }
        let add = || {
            let mut there = OpenOptions::new().append(true).open(path)?;
            // Of two runs that read the same file one adds to it; the other finds it longer.
            there.lock()?;
            let (now, then) = (there.metadata()?, file.metadata()?);
            if (now.dev(), now.ino(), now.len()) != (then.dev(), then.ino(), end) {
                return Ok(false);
            }
            let mut whole = entry(&bytes);
            whole.extend_from_slice(&bytes);
            Ok::<_, io::Error>(there.write(&whole)? == whole.len())
        };
        add().unwrap_or(false)
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("the parts are plain data")
}

/// Writes a value as [`Parts::decode`] reads it.
pub(super) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    writer: &mut dyn Write,
) -> io::Result<()> {
    // The encoder does not tell what went wrong with its writer.
    postcard::to_io(value, writer).map(drop).map_err(io::Error::other)
}

fn entry(part: &[u8]) -> Vec<u8> {
    let mut entry = (part.len() as u64).to_le_bytes().to_vec();
    entry.extend_from_slice(Digest::of(part).as_bytes());
    entry
}

/// Returns the place that an entry names, of a part that begins at `start` of a file of `len` bytes.
fn parse(entry: &[u8], start: u64, len: u64) -> Option<Place> {
    let (part, digest) = entry.split_first_chunk::<8>()?;
    let part = u64::from_le_bytes(*part);
    start.checked_add(part).filter(|end| *end <= len)?;
    Some((start, usize::try_from(part).ok()?, digest.try_into().ok()?))
}

pub(super) fn header() -> Vec<u8> {
    format!("{VERSION} {}\n", env!("CARGO_PKG_VERSION")).into_bytes()
}
