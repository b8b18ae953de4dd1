//! Copying: the bytes of one file into another, hashed on the way. Knows holes and reflinks; does
//! not know where the files belong.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::digest::{Digest, Hasher};
use crate::planted::{Bug, is_planted};

/// How much is read at a time, into the stack since most files are small; also the smallest run of
/// zeros that becomes a hole.
const CHUNK_BYTES: usize = 32 * 1024;

/// Which side of a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    /// The reader.
    Read(io::Error),
    /// The file written to.
    Write(io::Error),
}

impl CopyError {
    /// Returns what the system said, whichever side it was about.
    pub(super) fn into_io(self) -> io::Error {
        match self {
            CopyError::Read(error) | CopyError::Write(error) => error,
        }
    }
}

/// Copies all of `from` into the empty file `to`; returns the digest of the bytes and their
/// number. Long runs of zeros become holes.
pub(super) fn copy_hashed(mut from: impl Read, to: &File) -> Result<(Digest, u64), CopyError> {
    let mut hasher = Hasher::new();
    let mut buffer = [0; CHUNK_BYTES];
    let mut len = 0;
    let mut ends_in_hole = false;
    let mut writer = to;
    loop {
        let count = read_full(&mut from, &mut buffer).map_err(CopyError::Read)?;
        if count == 0 {
            break;
        }
        let chunk = &buffer[..count];
        hasher.update(chunk);
        len += count as u64;
        ends_in_hole = count == CHUNK_BYTES && chunk.iter().all(|byte| *byte == 0);
        if ends_in_hole {
            writer.seek(SeekFrom::Current(count as i64)).map_err(CopyError::Write)?;
        } else {
            match writer.write_all(chunk) {
                Err(_) if is_planted(Bug::IgnoreFullDisks) => {}
                written => written.map_err(CopyError::Write)?,
            }
        }
        if count < CHUNK_BYTES {
            break;
        }
    }
    if ends_in_hole {
        to.set_len(len).map_err(CopyError::Write)?;
    }
    Ok((hasher.finish(), len))
}

/// Makes `to` share the bytes of `from` on disk; returns whether the filesystem could.
pub(super) fn reflink(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Returns the digest and the number of the bytes of `file` from its beginning on.
pub(super) fn hash(mut file: &File) -> io::Result<(Digest, u64)> {
    file.rewind()?;
    Digest::of_reader(file)
}

/// Empties `file`, to write it anew.
pub(super) fn empty(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()
}

/// Fills as much of `buffer` as the reader has bytes.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_copy_has_the_bytes_and_their_digest() {
        for len in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let copy = tempfile::tempfile().unwrap();
            let copied = copy_hashed(&bytes[..], &copy).unwrap();
            assert_eq!(copied, (Digest::of(&bytes), len as u64));
            assert_eq!(hash(&copy).unwrap(), copied);
        }
    }

    #[test]
    fn sparse_files_stay_sparse() {
        let copy = tempfile::tempfile().unwrap();
        let zeros = io::repeat(0).take(64 << 20);
        let (_, len) =
            copy_hashed(zeros.chain(&b"end"[..]).chain(io::repeat(0).take(1 << 20)), &copy)
                .unwrap();
        let metadata = copy.metadata().unwrap();
        assert_eq!((len, metadata.len()), ((65 << 20) + 3, len));
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        assert_eq!(hash(&copy).unwrap().1, len);
    }
}
