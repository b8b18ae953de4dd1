//! What is noted of a folder beside its tree: which inodes it has, and when they were last seen to
//! hold what they should. Knows two small files; does not know what they are compared with.
//!
//! `manifest` never changes: a digest (32 bytes) and, covered by it, the inode numbers (8 bytes
//! each, little-endian) of the root and of all nodes in the order of [`Tree::walk`]. `seen` is
//! replaced as a whole: the boot id (36 bytes), a digest of what follows, and the change times of
//! the nodes in the same order, in nanoseconds since 1970 (8 bytes each). Without a good one, or in
//! another boot, every file is hashed again. No time is noted of what is not a file: 0.
//!
//! [`Tree::walk`]: super::Tree::walk

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::digest::Digest;

/// The length of a boot id.
pub(super) const BOOT_BYTES: usize = 36;

/// The files of a folder as they were when they were last found whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The boot in which that was.
    pub(super) boot: [u8; BOOT_BYTES],
    /// When each node had last been changed in any way.
    pub(super) changed: Vec<i64>,
}

impl Seen {
    /// Reads the `seen` of the folder at `place`; `None` for one that is not there or is none.
    pub(super) fn read(place: &Path) -> Option<Self> {
        let bytes = fs::read(place.join("seen")).ok()?;
        let (boot, rest) = bytes.split_first_chunk::<BOOT_BYTES>()?;
        let changed = read_list(rest, i64::from_le_bytes)?;
        Some(Self { boot: *boot, changed })
    }

    /// Returns it as the bytes of its file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.boot.to_vec();
        push_list(&mut bytes, self.changed.iter().map(|time| time.to_le_bytes()));
        bytes
    }
}

/// Makes the files of the folder at `place` be hashed again on their next use.
pub(super) fn distrust(place: &Path) -> io::Result<()> {
    fs::remove_file(place.join("seen"))
}

/// Returns the bytes of a manifest.
pub(super) fn encode(inodes: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_list(&mut bytes, inodes.iter().map(|inode| inode.to_le_bytes()));
    bytes
}

/// Returns the inodes of a manifest; `None` for what is none.
pub(super) fn read(mut file: &File) -> Option<Vec<u64>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    read_list(&bytes, u64::from_le_bytes)
}

fn push_list(bytes: &mut Vec<u8>, numbers: impl Iterator<Item = [u8; 8]>) {
    let list: Vec<u8> = numbers.flatten().collect();
    bytes.extend_from_slice(Digest::of(&list).as_bytes());
    bytes.extend(list);
}

fn read_list<T>(bytes: &[u8], number: impl Fn([u8; 8]) -> T) -> Option<Vec<T>> {
    let (sum, list) = bytes.split_first_chunk::<32>()?;
    let (numbers, rest) = list.as_chunks::<8>();
    let is_whole = rest.is_empty() && Digest::of(list).as_bytes() == sum;
    is_whole.then(|| numbers.iter().map(|bytes| number(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    #[test]
    fn what_was_noted_is_read_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let seen = Seen { boot: [b'b'; BOOT_BYTES], changed: vec![0, -1, i64::MAX] };
        assert_eq!(Seen::read(folder.path()), None);
        let bytes = seen.encode();
        fs::write(folder.path().join("seen"), &bytes).unwrap();
        assert_eq!(Seen::read(folder.path()), Some(seen));
        for at in BOOT_BYTES..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            fs::write(folder.path().join("seen"), &torn).unwrap();
            assert_eq!(Seen::read(folder.path()), None, "byte {at}");
        }
        distrust(folder.path()).unwrap();
        assert_eq!(Seen::read(folder.path()), None);
    }

    proptest! {
        #[test]
        fn hostile_manifests_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let path = tempfile::NamedTempFile::new().unwrap();
            fs::write(&path, &bytes).unwrap();
            assert!(read(path.as_file()).is_none());
        }
    }
}
