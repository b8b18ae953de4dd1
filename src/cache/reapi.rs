//! The REAPI v2 messages that name files: `Digest` and `Directory`. Knows their fields and their
//! canonical form; does not know where the bytes are kept.
//!
//! One thing goes beyond REAPI: its strings are UTF-8, and ours are the bytes that Linux has. A
//! name that is UTF-8 has the bytes, and so the digest, that every other implementation gives it;
//! any other name works locally all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Blob;
use super::proto::{Malformed, Reader, Value, Writer};
use super::tree::{Node, is_name};
use crate::digest::Digest;

/// What a `Directory` message says about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A regular file.
    File {
        /// Its bytes.
        blob: Blob,
        /// Whether it may be run.
        executable: bool,
    },
    /// A directory: the name of its own message.
    Directory(Blob),
    /// A symbolic link.
    Link {
        /// The path it holds, as it is.
        target: Arc<[u8]>,
    },
}

/// Adds a `Digest` message.
pub(crate) fn write_digest(writer: &mut Writer, field: u32, blob: Blob) {
    writer.field_message(field, |digest| {
        digest.field_bytes(1, blob.digest.to_hex().as_bytes());
        digest.field_varint(2, blob.size);
    });
}

/// Returns the `Directory` message with these entries: files, directories and links, each list
/// sorted by the bytes of the names.
pub(super) fn encode_directory(nodes: &BTreeMap<Arc<[u8]>, Node>) -> Vec<u8> {
    let mut directory = Writer::new();
    for (name, node) in nodes {
        if let Node::File { blob, executable } = node {
            directory.field_message(1, |file| {
                file.field_bytes(1, name);
                write_digest(file, 2, *blob);
                file.field_varint(4, u64::from(*executable));
            });
        }
    }
    for (name, node) in nodes {
        if let Node::Directory(tree) = node {
            directory.field_message(2, |inner| {
                inner.field_bytes(1, name);
                write_digest(inner, 2, tree.root());
            });
        }
    }
    for (name, node) in nodes {
        if let Node::Link { target } = node {
            directory.field_message(3, |link| {
                link.field_bytes(1, name);
                link.field_bytes(2, target);
            });
        }
    }
    directory.finish()
}

/// Reads a `Directory` message. Fields that Kiln does not know are skipped.
///
/// # Errors
/// [`Malformed`] for bytes that are not one, for names that could leave the directory (`..`, or
/// with a slash) and for a name that comes twice.
pub(super) fn decode_directory(bytes: &[u8]) -> Result<BTreeMap<Arc<[u8]>, Entry>, Malformed> {
    let mut entries = BTreeMap::new();
    for field in Reader::new(bytes) {
        let (field, value) = field?;
        let (name, entry) = match field {
            1 => decode_file(value.bytes("FileNode")?)?,
            2 => decode_inner(value.bytes("DirectoryNode")?)?,
            3 => decode_link(value.bytes("SymlinkNode")?)?,
            _ => continue,
        };
        if !is_name(name) {
            return Err(Malformed { expected: "plain file name" });
        }
        if entries.insert(name.into(), entry).is_some() {
            return Err(Malformed { expected: "directory with each name once" });
        }
    }
    Ok(entries)
}

fn decode_file(bytes: &[u8]) -> Result<(&[u8], Entry), Malformed> {
    let (mut name, mut blob, mut executable) = (&b""[..], None, false);
    for field in Reader::new(bytes) {
        match field? {
            (1, value) => name = value.bytes("file name")?,
            (2, value) => blob = Some(decode_digest(value)?),
            (4, value) => executable = value.varint("executable bit")? != 0,
            _ => {}
        }
    }
    let blob = blob.ok_or(Malformed { expected: "FileNode with a digest" })?;
    Ok((name, Entry::File { blob, executable }))
}

fn decode_inner(bytes: &[u8]) -> Result<(&[u8], Entry), Malformed> {
    let (mut name, mut blob) = (&b""[..], None);
    for field in Reader::new(bytes) {
        match field? {
            (1, value) => name = value.bytes("directory name")?,
            (2, value) => blob = Some(decode_digest(value)?),
            _ => {}
        }
    }
    let blob = blob.ok_or(Malformed { expected: "DirectoryNode with a digest" })?;
    Ok((name, Entry::Directory(blob)))
}

fn decode_link(bytes: &[u8]) -> Result<(&[u8], Entry), Malformed> {
    let (mut name, mut target) = (&b""[..], &b""[..]);
    for field in Reader::new(bytes) {
        match field? {
            (1, value) => name = value.bytes("link name")?,
            (2, value) => target = value.bytes("link target")?,
            _ => {}
        }
    }
    if target.is_empty() || target.contains(&0) {
        return Err(Malformed { expected: "SymlinkNode with a target" });
    }
    Ok((name, Entry::Link { target: target.into() }))
}

fn decode_digest(value: Value<'_>) -> Result<Blob, Malformed> {
    let malformed = Malformed { expected: "Digest of SHA-256" };
    let (mut digest, mut size) = (None, 0);
    for field in Reader::new(value.bytes("Digest")?) {
        match field? {
            (1, value) => {
                let text = std::str::from_utf8(value.bytes("hash")?).map_err(|_| malformed)?;
                digest = Some(text.parse::<Digest>().map_err(|_| malformed)?);
            }
            (2, value) => size = value.varint("size")?,
            _ => {}
        }
    }
    let size = i64::try_from(size).map_err(|_| malformed)?.unsigned_abs();
    Ok(Blob { digest: digest.ok_or(malformed)?, size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use prost::Message;

    use super::*;
    use crate::cache::tree::Tree;
    use crate::cache::tree::tests::trees;

    #[derive(Clone, PartialEq, Message)]
    struct DigestMessage {
        #[prost(string, tag = "1")]
        hash: String,
        #[prost(int64, tag = "2")]
        size_bytes: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    struct FileNode {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "2")]
        digest: Option<DigestMessage>,
        #[prost(bool, tag = "4")]
        is_executable: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    struct DirectoryNode {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "2")]
        digest: Option<DigestMessage>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct SymlinkNode {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        target: String,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Directory {
        #[prost(message, repeated, tag = "1")]
        files: Vec<FileNode>,
        #[prost(message, repeated, tag = "2")]
        directories: Vec<DirectoryNode>,
        #[prost(message, repeated, tag = "3")]
        symlinks: Vec<SymlinkNode>,
    }

    fn message(tree: &Tree) -> Vec<u8> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let digest = |blob: Blob| {
            Some(DigestMessage { hash: blob.digest.to_hex(), size_bytes: blob.size as i64 })
        };
        let mut directory = Directory::default();
        for (name, node) in tree.nodes() {
            let name = text(name);
            match node {
                Node::File { blob, executable } => directory.files.push(FileNode {
                    name,
                    digest: digest(*blob),
                    is_executable: *executable,
                }),
                Node::Directory(inner) => {
                    let inner = digest(Blob::of(&message(inner)));
                    directory.directories.push(DirectoryNode { name, digest: inner });
                }
                Node::Link { target } => {
                    directory.symlinks.push(SymlinkNode { name, target: text(target) });
                }
            }
        }
        directory.encode_to_vec()
    }

    proptest! {
        #[test]
        fn trees_have_the_digest_that_prost_gives_them(tree in trees("[a-z0é.]{3,5}")) {
            assert_eq!(tree.root(), Blob::of(&message(&tree)));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_directory(&bytes);
        }

        #[test]
        fn flipped_bits_never_panic_or_let_a_name_escape(
            tree in trees("[a-z/.]{2,5}"), flips in prop::collection::vec(any::<usize>(), 1..4),
        ) {
            let mut bytes = tree.encode();
            for flip in flips.into_iter().filter(|_| !tree.is_empty()) {
                let at = flip / 8 % bytes.len();
                bytes[at] ^= 1 << (flip % 8);
            }
            for name in decode_directory(&bytes).unwrap_or_default().keys() {
                assert!(is_name(name));
            }
        }
    }

    #[test]
    fn the_empty_directory_is_the_empty_message() {
        assert_eq!(Tree::default().root(), Blob::of(b""));
    }

    #[test]
    fn names_that_leave_the_directory_are_malformed() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", &[b'a'; 256]] {
            let mut writer = Writer::new();
            writer.field_message(3, |link| {
                link.field_bytes(1, name);
                link.field_bytes(2, b"target");
            });
            assert!(decode_directory(&writer.finish()).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_is_malformed() {
        let mut writer = Writer::new();
        for field in [1, 2] {
            writer.field_message(field, |file| {
                file.field_bytes(1, b"same");
                write_digest(file, 2, Blob::of(b""));
            });
        }
        assert!(decode_directory(&writer.finish()).is_err());
    }
}
