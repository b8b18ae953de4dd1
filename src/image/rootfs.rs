//! Root filesystems while their layers are laid over each other. Knows the entries of archives, and
//! what removes those of lower layers; follows no link out of the root, and makes no file but blobs.
//!
//! Owners, times, devices and the bits of modes other than "may be run" are left out: a tree has none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::{Archive, EntryType};

use super::ImageError;
use super::unzip::unzipped;
use crate::cache::{Node, Store, Tree};

/// The most bytes that the files of one root may have together.
const MAX_BYTES: u64 = 64 << 30;

/// The most entries that its archives may have together.
const MAX_ENTRIES: u64 = 4_000_000;

/// How many links one path may lead through, as Linux has it.
const MAX_LINKS: usize = 40;

/// The most names in a path.
const MAX_DEPTH: usize = 256;

/// A path below the root, as its names joined by `/`; empty for the root.
type Key = Vec<u8>;

/// A root while it is made.
#[derive(Default)]
pub(super) struct RootFs {
    /// All but directories as they are; directories without what is in them.
    nodes: BTreeMap<Key, Node>,
    bytes: u64,
    entries: u64,
}

/// Takes the archive of a root at `path` into the store; messages call it `called`.
///
/// # Errors
/// [`ImageError`].
pub(crate) fn read(store: &Store, path: &Path, called: &Path) -> Result<Tree, ImageError> {
    let failed = |source| ImageError::Read { path: called.to_owned(), source };
    let mut root = RootFs::default();
    root.add(store, File::open(path).map_err(failed)?, called, false)?;
    root.into_tree()
}

impl RootFs {
    /// Lays an archive over what is there; `path` is what messages call it. One whose digest the caller
    /// compares may end with its last file: some tools write no more.
    pub(super) fn add(
        &mut self,
        store: &Store,
        archive: impl Read,
        path: &Path,
        is_checked: bool,
    ) -> Result<(), ImageError> {
        let failed = |source| ImageError::Read { path: path.to_owned(), source };
        let mut archive = Archive::new(unzipped(archive).map_err(failed)?);
        // What this layer itself has made, which its own marks do not remove.
        let mut own = BTreeSet::new();
        let mut is_first = true;
        for entry in archive.entries().map_err(failed)? {
            if let Err(error) = &entry
                && is_checked
                && error.to_string().contains("unexpected EOF during skip")
            {
                break;
            }
            let entry = entry.map_err(|source| match is_first {
                true => ImageError::malformed(path, format!("is no tar archive: {source}")),
                false => failed(source),
            })?;
            is_first = false;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                let what = format!("has more than {MAX_ENTRIES} entries");
                return Err(ImageError::malformed(path, what));
            }
            self.entry(store, entry, path, &mut own)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        store: &Store,
        mut entry: tar::Entry<'_, impl Read>,
        archive: &Path,
        own: &mut BTreeSet<Key>,
    ) -> Result<(), ImageError> {
        let written = entry.path_bytes().into_owned();
        let bad = |what: &str| {
            let written = String::from_utf8_lossy(&written);
            ImageError::malformed(archive, format!("has an entry `{written}` {what}"))
        };
        let names = names(&written).ok_or_else(|| bad("whose path leaves the root"))?;
        let Some((last, parents)) = names.split_last() else { return Ok(()) };
        if names.len() > MAX_DEPTH {
            return Err(bad("whose path has too many names"));
        }
        let parent = self.resolve(parents).ok_or_else(|| bad("below links that lead nowhere"))?;
        if let Some(hidden) = last.strip_prefix(b".wh.") {
            match hidden {
                b".wh..opq" => self.remove(&parent, own, true),
                hidden => self.remove(&join(&parent, hidden), own, false),
            }
            return Ok(());
        }
        let key = join(&parent, last);
        let node = match entry.header().entry_type() {
            EntryType::Directory => Node::Directory(Tree::default()),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(|| bad("that links nothing"))?;
                if target.is_empty() || target.contains(&0) {
                    return Err(bad("that links nothing"));
                }
                Node::Link { target: Arc::from(&*target) }
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or_else(|| bad("that links nothing"))?;
                let names = self::names(&target).unwrap_or_default();
                let Some((last, parents)) = names.split_last() else {
                    return Err(bad("that is a hard link out of the root"));
                };
                let target = self.resolve(parents).map(|parent| join(&parent, last));
                match target.and_then(|target| self.nodes.get(&target)) {
                    Some(node @ (Node::File { .. } | Node::Link { .. })) => node.clone(),
                    _ => return Err(bad("that is a hard link to what is not there")),
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.bytes = self.bytes.saturating_add(entry.size());
                if self.bytes > MAX_BYTES {
                    return Err(ImageError::malformed(archive, "holds more than 64 GiB"));
                }
                let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
                let blob = store.put_reader(&mut entry, executable)?;
                if blob.size != entry.size() {
                    return Err(bad("in whose middle it ends"));
                }
                Node::File { blob, executable }
            }
            // Every step has devices of its own, and what talks through a pipe is not there yet.
            EntryType::Char | EntryType::Block | EntryType::Fifo => return Ok(()),
            _ => return Ok(()),
        };
        let is_directory = matches!(node, Node::Directory(_));
        if !(is_directory && matches!(self.nodes.get(&key), Some(Node::Directory(_)))) {
            self.remove(&key, &BTreeSet::new(), false);
        }
        own.insert(key.clone());
        self.nodes.insert(key, node);
        Ok(())
    }

    /// Returns the directory that names lead to, through the links that are there; makes what is not
    /// there. `None` if they lead in a circle.
    fn resolve(&mut self, names: &[Vec<u8>]) -> Option<Key> {
        let mut open: Vec<Vec<u8>> = names.iter().rev().cloned().collect();
        let (mut here, mut links) = (Key::new(), 0);
        while let Some(name) = open.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    let end = here.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                    here.truncate(end);
                    continue;
                }
                _ => {}
            }
            let next = join(&here, &name);
            match self.nodes.get(&next) {
                Some(Node::Directory(_)) => here = next,
                Some(Node::Link { target }) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.first() == Some(&b'/') {
                        here.clear();
                    }
                    open.extend(target.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec));
                }
                // A file gives way to a directory, as it does to a new file.
                Some(Node::File { .. }) | None => {
                    self.nodes.insert(next.clone(), Node::Directory(Tree::default()));
                    here = next;
                }
            }
            if open.len() > 2 * MAX_DEPTH {
                return None;
            }
        }
        Some(here)
    }

    /// Removes what is at a place and all below it, or only the latter, but for what is in `but`.
    fn remove(&mut self, key: &[u8], but: &BTreeSet<Key>, only_below: bool) {
        let (mut low, mut high) = (key.to_vec(), key.to_vec());
        if !key.is_empty() {
            low.push(b'/');
            high.push(b'/' + 1);
        }
        let below: Vec<_> = match key.is_empty() {
            true => self.nodes.keys().cloned().collect(),
            false => self.nodes.range(low..high).map(|(key, _)| key.clone()).collect(),
        };
        for key in below.iter().filter(|key| !but.contains(*key)) {
            self.nodes.remove(key);
        }
        if !only_below && !but.contains(key) {
            self.nodes.remove(key);
        }
    }

    /// Returns all of it as a tree.
    pub(super) fn into_tree(self) -> Result<Tree, ImageError> {
        let mut tree = Tree::default();
        for (key, node) in self.nodes {
            tree.insert(PathBuf::from(OsStr::from_bytes(&key)), node)?;
        }
        Ok(tree)
    }
}

/// Returns the names of a path in an archive, `/` and `.` left out; `None` if it has `..` or a NUL.
fn names(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let is_plain = |name: &&[u8]| **name != *b".." && !name.contains(&0) && name.len() <= 255;
    let names: Vec<_> = names.collect();
    names.iter().all(is_plain).then(|| names.into_iter().map(<[u8]>::to_vec).collect())
}

fn join(parent: &[u8], name: &[u8]) -> Key {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of an archive: a path, and a text, `-> target`, `=> hard link`, or `/`.
    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, what) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(if what.starts_with("#!") { 0o755 } else { 0o644 });
            // The crate refuses such paths, and an attacker does not use it.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            let mut link = |kind, target: &str| {
                header.set_entry_type(kind);
                header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            };
            let text = match what {
                what if what.starts_with("-> ") => {
                    link(EntryType::Symlink, &what[3..]);
                    ""
                }
                what if what.starts_with("=> ") => {
                    link(EntryType::Link, &what[3..]);
                    ""
                }
                what if *what == "/" => {
                    header.set_entry_type(EntryType::Directory);
                    ""
                }
                what if *what == "|" => {
                    header.set_entry_type(EntryType::Fifo);
                    ""
                }
                what => what,
            };
            header.set_size(text.len() as u64);
            header.set_cksum();
            builder.append(&header, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn laid(layers: &[&[(&str, &str)]]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut root = RootFs::default();
        for layer in layers {
            let added = root.add(&store, &archive(layer)[..], Path::new("a.tar"), false);
            added.map_err(|error| error.to_string())?;
        }
        let tree = root.into_tree().map_err(|error| error.to_string())?;
        let shown = tree.walk().map(|(path, node)| {
            let path = path.display();
            match node {
                Node::Directory(_) => format!("{path}/"),
                Node::Link { target } => format!("{path} -> {}", String::from_utf8_lossy(target)),
                Node::File { blob, executable } => {
                    let text = String::from_utf8(store.read(*blob).unwrap()).unwrap();
                    format!("{path}{} {text}", if *executable { "*" } else { "" })
                }
            }
        });
        Ok(shown.collect())
    }

    #[test]
    fn an_archive_becomes_a_tree() {
        let layer: &[(&str, &str)] = &[
            ("./", "/"),
            ("./usr/bin/", "/"),
            ("./usr/bin/sh", "#!x"),
            ("bin", "-> usr/bin"),
            ("./usr/bin/dash", "=> ./usr/bin/sh"),
            ("/etc/passwd", "root"),
            ("dev/pipe", "|"),
        ];
        let expected = ["bin -> usr/bin", "dev/", "etc/", "etc/passwd root", "usr/", "usr/bin/"];
        let expected = [&expected[..], &["usr/bin/dash* #!x", "usr/bin/sh* #!x"]].concat();
        assert_eq!(laid(&[layer]).unwrap(), expected);
    }

    #[test]
    fn an_upper_layer_replaces_removes_and_goes_through_links() {
        let lower: &[(&str, &str)] = &[
            ("usr/lib/", "/"),
            ("lib", "-> usr/lib"),
            ("etc/a", "1"),
            ("etc/b", "1"),
            ("var/x/y", "1"),
            ("var-2", "1"),
        ];
        let upper: &[(&str, &str)] = &[
            ("lib/so", "2"),
            ("etc/.wh.a", ""),
            ("etc/b", "/"),
            ("var/new", "2"),
            ("var/.wh..wh..opq", ""),
            ("dir", "-> /etc/../usr"),
            ("dir/made", "2"),
        ];
        let expected = ["dir -> /etc/../usr", "etc/", "etc/b/", "lib -> usr/lib", "usr/"];
        let expected = [&expected[..], &["usr/lib/", "usr/lib/so 2", "usr/made 2"]].concat();
        let expected = [&expected[..], &["var/", "var/new 2", "var-2 1"]].concat();
        assert_eq!(laid(&[lower, upper]).unwrap(), expected);
    }

    #[test]
    fn an_archive_that_is_cut_off_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let archive = archive(&[("a", "whole"), ("b", "this, too")]);
        let add = |length: usize, is_checked| {
            let mut root = RootFs::default();
            root.add(&store, &archive[..length], Path::new("a.tar"), is_checked)?;
            root.into_tree().map(|tree| tree.entries())
        };
        // Each entry has a header of 512 bytes and so many for its text.
        assert_eq!(add(2048, false).unwrap(), 2, "without the two empty blocks at the end");
        assert_eq!(add(1545, true).unwrap(), 2, "without the rest of the last block");
        for (length, is_checked) in [(1545, false), (1540, true), (1540, false), (516, true)] {
            assert!(add(length, is_checked).is_err(), "{length}");
        }
    }

    #[test]
    fn what_would_leave_the_root_is_refused() {
        for (entries, told) in [
            (&[("../x", "1")][..], "has an entry `../x` whose path leaves the root"),
            (&[("a/../../x", "1")], "whose path leaves the root"),
            (&[("x", "=> ../y")], "that is a hard link out of the root"),
            (&[("x", "=> y")], "that is a hard link to what is not there"),
            (&[("a", "-> b"), ("b", "-> a"), ("a/x", "1")], "below links that lead nowhere"),
            (&[("x", "-> ")], "that links nothing"),
        ] {
            let error = laid(&[entries]).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        // A link out of the root leads to the root's own place.
        let shown = laid(&[&[("up", "-> ../../.."), ("up/x", "1")]]).unwrap();
        assert_eq!(shown, ["up -> ../../..", "x 1"]);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut root = RootFs::default();
        let error = root.add(&store, &[b'x'; 2048][..], Path::new("a.tar"), false).unwrap_err();
        assert!(error.to_string().contains("`a.tar` is no tar archive"), "{error}");
    }
}
