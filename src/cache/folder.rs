//! Folders: trees on disk, ready to be mounted as the lower layer of a step's inputs. Knows hard
//! links, inodes and leases; does not know mounts.
//!
//! `trees/<root digest>/` holds `root/`, the files, `manifest` and `seen`. It is built in scratch and
//! renamed, so it is there as a whole or not at all, and is never changed afterwards: what mounts
//! it relies on that. Files have mode 0644 or 0755, directories 0755, and all have the fixed time.
//! No two paths share an inode, because a step that writes to one must not see the other change.
//!
//! On first use in a run each node is compared by inode, size, mode and time with the manifest, the
//! tree and the rules above. A file whose change time is another one than it had when it was last
//! hashed is hashed again, and in another boot each file is: so a flipped bit is seen, whoever
//! flipped it. The change time also moves when the store notes a use or makes another link; the
//! first of these is known, and costs no second look.
//!
//! Whoever uses a folder holds a shared lock on its manifest; a collection takes no folder whose
//! manifest it cannot lock alone.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rustix::fs::{AtFlags, FlockOperation, Mode};
use rustix::io::retry_on_intr;

use super::blobs::{fixed_times, is_finished, open_file, unreadable};
use super::lease::Stamp;
use super::manifest::{self, Seen};
use super::{Blob, CacheError, Damage, FIXED_MTIME_SECS, Node, Store, Tree, failed, locked};
use crate::digest::Digest;
use crate::planted::{Bug, is_planted};

/// How many files one thread handles before it is worth asking another.
const FILES_PER_THREAD: usize = 64;

/// A tree on disk. Not to be written to; it stays at least as long as this value.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The manifest, locked.
    _lease: File,
}

impl Folder {
    /// Returns the directory that holds the tree's files.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A folder that was checked in this run.
pub(super) struct Checked {
    /// The inode of its manifest: another one is another folder.
    manifest: u64,
    folder: Weak<Folder>,
}

impl Store {
    /// Returns `tree` on disk: the folder of an earlier step or run if it is whole, else a new
    /// one. Large trees are built and checked on all cores.
    ///
    /// # Errors
    /// [`CacheError::Missing`] when a file's blob is gone or damaged; all files were then looked
    /// at, so [`Store::missing`] tells every such one. [`CacheError::Io`].
    pub(crate) fn materialise(&self, tree: &Tree) -> Result<Arc<Folder>, CacheError> {
        let root = tree.root().digest;
        if let Some(folder) = self.checked_folder(root)? {
            return Ok(folder);
        }
        let only_one = self.tree_locks.lock(root, || false)?;
        debug_assert!(only_one.is_some(), "the wait cannot be given up");
        if let Some(folder) = self.checked_folder(root)? {
            return Ok(folder);
        }
        let place = self.folder_place(root);
        if let Some(lease) = self.lease_folder(&place)?
            && self.check_folder(&place, &lease, tree)?
        {
            return self.remember_folder(root, lease);
        }
        if fs::symlink_metadata(&place).is_ok() {
            self.quarantine(&place, Damage::Altered)?;
        }
        let lease = self.build_folder(&place, tree)?;
        self.remember_folder(root, lease)
    }

    /// Returns the files of `tree` whose blobs are not there, and notes the use of the others.
    /// Cheap: bytes are not looked at.
    pub(crate) fn missing(&self, tree: &Tree) -> Vec<(PathBuf, Blob)> {
        let nodes: Vec<_> = tree.walk().collect();
        let gone = |(path, node): &(PathBuf, &Node)| match node {
            Node::File { blob, .. } if !self.has(*blob) => Some((path.clone(), *blob)),
            _ => None,
        };
        nodes.par_iter().with_min_len(FILES_PER_THREAD).filter_map(gone).collect()
    }

    fn folder_place(&self, root: Digest) -> PathBuf {
        self.root.join("trees").join(root.to_hex())
    }

    fn checked_folder(&self, root: Digest) -> Result<Option<Arc<Folder>>, CacheError> {
        let manifest = {
            let folders = locked(&self.folders);
            let Some(checked) = folders.get(&root) else { return Ok(None) };
            if let Some(folder) = checked.folder.upgrade() {
                return Ok(Some(folder));
            }
            checked.manifest
        };
        let place = self.folder_place(root);
        match self.lease_folder(&place)? {
            Some(lease) if inode(&lease, &place)? == manifest => {
                self.remember_folder(root, lease).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn remember_folder(&self, root: Digest, lease: File) -> Result<Arc<Folder>, CacheError> {
        let place = self.folder_place(root);
        let manifest = inode(&lease, &place)?;
        let folder = Arc::new(Folder { path: place.join("root"), _lease: lease });
        let checked = Checked { manifest, folder: Arc::downgrade(&folder) };
        locked(&self.folders).insert(root, checked);
        Ok(folder)
    }

    /// Opens and locks the manifest of the folder at `place`, and notes the use; `None` if there
    /// is no such folder, or none that can be read.
    fn lease_folder(&self, place: &Path) -> Result<Option<File>, CacheError> {
        let path = place.join("manifest");
        let lease = match open_file(&path) {
            Ok(lease) => lease,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return unreadable(error).map(|_| None).map_err(failed("open", &path)),
        };
        share(&lease, &path)?;
        // A collection may have had the lock before, and have taken the folder away.
        let Ok(there) = fs::symlink_metadata(&path) else { return Ok(None) };
        let is_there = there.ino() == inode(&lease, &path)? && self.touch(&path, &there);
        Ok(is_there.then_some(lease))
    }

    /// Returns whether the folder at `place` is what was built for `tree`.
    fn check_folder(&self, place: &Path, lease: &File, tree: &Tree) -> Result<bool, CacheError> {
        let Some(inodes) = manifest::read(lease) else { return Ok(false) };
        let nodes: Vec<_> = tree.walk().collect();
        if inodes.len() != nodes.len() + 1 {
            return Ok(false);
        }
        let root = place.join("root");
        if !fs::symlink_metadata(&root)
            .is_ok_and(|metadata| metadata.ino() == inodes[0] && is_directory(&metadata))
        {
            return Ok(false);
        }
        let is_trusted = |seen: &Seen| seen.boot == self.boot && seen.changed.len() == nodes.len();
        let seen = Seen::read(place).filter(is_trusted);
        let before = |at: usize| seen.as_ref().map(|seen| seen.changed[at]);
        let check = |(at, ((path, node), inode)): (usize, (&(PathBuf, &Node), &u64))| {
            self.check_node(&root.join(path), node, *inode, before(at))
        };
        let checks = nodes.par_iter().zip(&inodes[1..]).enumerate();
        let changed: Vec<Result<Option<i64>, CacheError>> =
            checks.with_min_len(FILES_PER_THREAD).map(check).collect();
        let changed = changed.into_iter().collect::<Result<Option<Vec<i64>>, CacheError>>()?;
        let Some(changed) = changed else { return Ok(false) };
        if seen.is_none_or(|seen| seen.changed != changed) {
            // Without the note all is hashed again the next time.
            let _ = self.note_seen(place, changed);
        }
        Ok(true)
    }

    /// Notes that the files of the folder at `place` were found whole.
    fn note_seen(&self, place: &Path, changed: Vec<i64>) -> Result<(), CacheError> {
        self.lease.make_scratch()?;
        let seen = Seen { boot: self.boot, changed };
        let unfinished = self.lease.fresh_path();
        fs::write(&unfinished, seen.encode()).map_err(failed("write", &unfinished))?;
        self.rename_into(&unfinished, &place.join("seen"))
    }

    /// Returns when the node at `path` was last changed if it is what it should be; else `None`.
    /// `before` is the same from when it was last hashed.
    fn check_node(
        &self,
        path: &Path,
        node: &Node,
        inode: u64,
        before: Option<i64>,
    ) -> Result<Option<i64>, CacheError> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return unreadable(error).map(|_| None).map_err(failed("look at", path));
            }
        };
        if metadata.ino() != inode {
            return Ok(None);
        }
        let changed = noted_change(node, &metadata);
        let is_whole = match node {
            Node::Directory(_) => is_directory(&metadata),
            Node::Link { target } => {
                metadata.is_symlink()
                    && has_fixed_time(&metadata)
                    && fs::read_link(path)
                        .is_ok_and(|found| found.as_os_str().as_bytes() == &**target)
            }
            Node::File { blob, executable } => {
                let is_seen =
                    before.is_some_and(|before| self.is_only_touched(inode, before, changed));
                metadata.is_file()
                    && metadata.len() == blob.size
                    && is_finished(&metadata, *executable)
                    && (is_seen
                        || is_planted(Bug::BelieveTrees)
                        || self.check(path, *blob, *executable)?.is_none())
            }
        };
        Ok(is_whole.then_some(changed))
    }

    /// Builds the folder of `tree` and gives it its `place`, which is empty; returns its lease.
    fn build_folder(&self, place: &Path, tree: &Tree) -> Result<File, CacheError> {
        self.lease.make_scratch()?;
        let unfinished = UnfinishedFolder(self.lease.fresh_path());
        make_directory(&unfinished.0)?;
        let root = unfinished.0.join("root");
        let nodes: Vec<_> = tree.walk().collect();
        let (inodes, changed) = self.fill_folder(&root, &nodes)?;
        let seen = unfinished.0.join("seen");
        fs::write(&seen, Seen { boot: self.boot, changed }.encode())
            .map_err(failed("write", &seen))?;
        let manifest = unfinished.0.join("manifest");
        fs::write(&manifest, manifest::encode(&inodes)).map_err(failed("write", &manifest))?;
        let lease = File::open(&manifest).map_err(failed("open", &manifest))?;
        share(&lease, &manifest)?;
        self.note_use(&manifest);
        self.rename_into(&unfinished.0, place)?;
        Ok(lease)
    }

    /// Makes all nodes below `root`; returns the inodes of `root` and of each node, and when each
    /// node that is a file was last changed.
    fn fill_folder(
        &self,
        root: &Path,
        nodes: &[(PathBuf, &Node)],
    ) -> Result<(Vec<u64>, Vec<i64>), CacheError> {
        make_directory(root)?;
        let mut seen = HashSet::new();
        let mut work = Vec::with_capacity(nodes.len());
        for (path, node) in nodes {
            let path = root.join(path);
            let is_first = match node {
                Node::File { blob, executable } => seen.insert((blob.digest, *executable)),
                Node::Link { .. } => true,
                Node::Directory(_) => {
                    make_directory(&path)?;
                    true
                }
            };
            work.push((path, *node, is_first));
        }
        let make =
            |(path, node, is_first): &(PathBuf, &Node, bool)| self.make_node(path, node, *is_first);
        let made: Vec<Result<(), CacheError>> =
            work.par_iter().with_min_len(FILES_PER_THREAD).map(make).collect();
        first_error(made)?;
        // A directory's time moves with each name that it gets, so it is set last.
        let paths = std::iter::once((root, None))
            .chain(work.iter().map(|(path, node, _)| (&**path, Some(*node))));
        let mut inodes = Vec::with_capacity(nodes.len() + 1);
        let mut changed = Vec::with_capacity(nodes.len());
        for (path, node) in paths {
            if matches!(node, None | Some(Node::Directory(_))) {
                finish_directory(path)?;
            }
            let metadata = fs::symlink_metadata(path).map_err(failed("look at", path))?;
            inodes.push(metadata.ino());
            changed.extend(node.map(|node| noted_change(node, &metadata)));
        }
        Ok((inodes, changed))
    }

    fn make_node(&self, path: &Path, node: &Node, is_first: bool) -> Result<(), CacheError> {
        match node {
            Node::Directory(_) => Ok(()),
            Node::Link { target } => {
                symlink(std::ffi::OsStr::from_bytes(target), path).map_err(failed("make", path))?;
                set_fixed_time(path)
            }
            Node::File { blob, executable } if is_first => self.link(*blob, *executable, path),
            Node::File { blob, executable } => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create_new(true).mode(0o600);
                let file = options.open(path).map_err(failed("write", path))?;
                self.copy_out(*blob, &file, path)?;
                self.finish(&file, *executable).map_err(failed("date", path))
            }
        }
    }
}

/// A folder that is not finished: removed when dropped, unless it was renamed away.
struct UnfinishedFolder(PathBuf);

impl Drop for UnfinishedFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the first error, those before the misses that say more than a miss.
pub(super) fn first_error(results: Vec<Result<(), CacheError>>) -> Result<(), CacheError> {
    let mut first_miss = Ok(());
    for result in results {
        match result {
            Err(error) if !error.is_miss() => return Err(error),
            Err(error) if first_miss.is_ok() => first_miss = Err(error),
            Err(_) | Ok(()) => {}
        }
    }
    first_miss
}

/// Locks a manifest together with all others who use the folder.
fn share(manifest: &File, path: &Path) -> Result<(), CacheError> {
    let shared = retry_on_intr(|| rustix::fs::flock(manifest, FlockOperation::LockShared));
    shared.map_err(|error| failed("lock", path)(error.into()))
}

fn inode(file: &File, path: &Path) -> Result<u64, CacheError> {
    file.metadata().map(|metadata| metadata.ino()).map_err(failed("look at", path))
}

fn make_directory(path: &Path) -> Result<(), CacheError> {
    DirBuilder::new().mode(0o700).create(path).map_err(failed("make", path))
}

fn finish_directory(path: &Path) -> Result<(), CacheError> {
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::chmod(path, mode).map_err(|error| failed("finish", path)(error.into()))?;
    set_fixed_time(path)
}

fn set_fixed_time(path: &Path) -> Result<(), CacheError> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &fixed_times(), flags)
        .map_err(|error| failed("date", path)(error.into()))
}

/// Returns the change time that is noted of a node: that of a file, and 0 of all else.
fn noted_change(node: &Node, metadata: &Metadata) -> i64 {
    match node {
        Node::File { .. } => Stamp::changed(metadata).nanos(),
        Node::Directory(_) | Node::Link { .. } => 0,
    }
}

fn is_directory(metadata: &Metadata) -> bool {
    metadata.is_dir() && metadata.mode() & 0o7777 == 0o755 && has_fixed_time(metadata)
}

fn has_fixed_time(metadata: &Metadata) -> bool {
    (metadata.mtime(), metadata.mtime_nsec()) == (FIXED_MTIME_SECS, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::manifest::BOOT_BYTES;
    use crate::cache::tree::tests::link;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    fn file(store: &Store, text: &str, executable: bool) -> Node {
        Node::File { blob: store.put(text.as_bytes()).unwrap(), executable }
    }

    fn sample(store: &Store) -> Tree {
        let mut tree = Tree::default();
        tree.insert("src/main.c", file(store, "int main;", false)).unwrap();
        tree.insert("src/copy.c", file(store, "int main;", false)).unwrap();
        tree.insert("configure", file(store, "#!/bin/sh", true)).unwrap();
        tree.insert("link", link("src/main.c")).unwrap();
        tree.insert("empty", Node::Directory(Tree::default())).unwrap();
        tree
    }

    /// Compares what is on disk with the tree, byte by byte.
    fn assert_holds(path: &Path, tree: &Tree) {
        let mut inodes = HashSet::new();
        let mut names = 0;
        for (name, node) in tree.walk() {
            let path = path.join(name);
            let metadata = fs::symlink_metadata(&path).unwrap();
            assert!(inodes.insert(metadata.ino()), "{path:?} shares an inode");
            assert!(has_fixed_time(&metadata), "{path:?}");
            match node {
                Node::File { blob, executable } => {
                    assert_eq!(Blob::of(&fs::read(&path).unwrap()), *blob, "{path:?}");
                    assert!(is_finished(&metadata, *executable));
                }
                Node::Link { target } => {
                    assert_eq!(fs::read_link(&path).unwrap().as_os_str().as_bytes(), &**target);
                }
                Node::Directory(inner) => {
                    assert_eq!(fs::read_dir(&path).unwrap().count(), inner.nodes().len());
                }
            }
            names += 1;
        }
        assert_eq!(names, tree.entries());
    }

    #[test]
    fn a_folder_holds_its_tree_and_the_next_run_finds_it() {
        let (directory, store) = store();
        let tree = sample(&store);
        let folder = store.materialise(&tree).unwrap();
        assert_holds(folder.path(), &tree);
        let inode = fs::metadata(folder.path()).unwrap().ino();
        assert!(Arc::ptr_eq(&folder, &store.materialise(&tree).unwrap()));
        drop(folder);
        let folder = store.materialise(&tree).unwrap();
        drop((folder, store));
        let store = Store::open(directory.path()).unwrap();
        let folder = store.materialise(&tree).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().ino(), inode);
        assert!(store.take_warnings().is_empty());
    }

    #[test]
    fn a_change_to_any_node_of_a_folder_is_seen_and_healed_in_the_next_run() {
        let (directory, store) = store();
        let tree = sample(&store);
        let path = store.materialise(&tree).unwrap().path().to_owned();
        drop(store);
        let changes: [&dyn Fn(); 8] = [
            &|| fs::write(path.join("configure"), "#!/bin/no").unwrap(),
            &|| fs::write(path.join("src/copy.c"), "int evil;").unwrap(),
            &|| fs::write(path.join("src/added"), "").unwrap(),
            &|| fs::remove_dir(path.join("empty")).unwrap(),
            &|| fs::remove_file(path.join("src/main.c")).unwrap(),
            &|| {
                fs::remove_file(path.join("link")).unwrap();
                symlink("/etc/passwd", path.join("link")).unwrap();
            },
            &|| fs::rename(path.join("src"), path.join("gone")).unwrap(),
            &|| fs::write(path.join("../manifest"), "garbage").unwrap(),
        ];
        for (number, change) in changes.iter().enumerate() {
            change();
            let store = Store::open(directory.path()).unwrap();
            let folder = loop {
                match store.materialise(&tree) {
                    Ok(folder) => break folder,
                    // A file of the folder may be the blob itself: it is made again.
                    Err(error) => assert!(error.is_miss(), "{error}"),
                }
                sample(&store);
            };
            assert_holds(folder.path(), &tree);
            assert!(!store.take_warnings().is_empty(), "change {number}");
        }
    }

    #[test]
    fn rot_that_keeps_size_and_time_is_seen_in_the_next_run_and_after_a_reboot() {
        let (directory, store) = store();
        let tree = sample(&store);
        let path = store.materialise(&tree).unwrap().path().to_owned();
        drop(store);
        let names = ["configure", "src/main.c", "src/copy.c"];
        for (round, name) in names.into_iter().chain(names).enumerate() {
            let bytes = fs::read(path.join(name)).unwrap();
            let rotten: Vec<u8> = bytes.iter().map(|byte| byte ^ 1).collect();
            let time = fs::metadata(path.join(name)).unwrap().modified().unwrap();
            fs::write(path.join(name), rotten).unwrap();
            File::open(path.join(name)).unwrap().set_modified(time).unwrap();
            let mut store = Store::open(directory.path()).unwrap();
            // Another boot for each in the first half, the last of them for all in the second.
            store.boot = [b'0' + round.min(names.len() - 1) as u8; BOOT_BYTES];
            sample(&store);
            let folder = store.materialise(&tree).unwrap();
            assert_holds(folder.path(), &tree);
            assert!(!store.take_warnings().is_empty(), "{name}");
        }
    }

    #[test]
    fn only_what_others_changed_is_hashed_again() {
        let (directory, store) = store();
        let tree = sample(&store);
        let path = store.materialise(&tree).unwrap().path().to_owned();
        drop(store);
        let hashed = |store: &Store| locked(&store.verified).len();
        let store = Store::open(directory.path()).unwrap();
        assert!(store.missing(&tree).is_empty());
        assert!(!locked(&store.touched).is_empty(), "uses were noted");
        store.materialise(&tree).unwrap();
        assert_eq!(hashed(&store), 0);
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        store.materialise(&tree).unwrap();
        assert_eq!(hashed(&store), 0, "the last run noted what it saw");
        drop(store);
        fs::hard_link(path.join("configure"), directory.path().join("linked")).unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.materialise(&tree).unwrap();
        assert_eq!(hashed(&store), 1);
        assert!(store.take_warnings().is_empty());
    }

    #[test]
    fn a_whole_folder_outlives_a_reboot() {
        let (directory, store) = store();
        let tree = sample(&store);
        let before = fs::metadata(store.materialise(&tree).unwrap().path()).unwrap().ino();
        drop(store);
        let mut store = Store::open(directory.path()).unwrap();
        store.boot = [b'0'; BOOT_BYTES];
        let folder = store.materialise(&tree).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().ino(), before);
        let seen = Seen::read(&folder.path().join("..")).unwrap();
        assert_eq!(seen.boot, store.boot);
    }

    #[test]
    fn all_missing_files_are_told_at_once() {
        let (_directory, store) = store();
        let tree = sample(&store);
        assert!(store.missing(&tree).is_empty());
        for text in ["int main;", "#!/bin/sh"] {
            fs::remove_file(store.blob_path(Digest::of(text.as_bytes()), false)).unwrap();
        }
        assert!(store.materialise(&tree).unwrap_err().is_miss());
        let missing: Vec<_> = store.missing(&tree).into_iter().map(|(path, _)| path).collect();
        assert_eq!(missing, ["configure", "src/copy.c", "src/main.c"].map(PathBuf::from));
        assert_eq!(fs::read_dir(store.scratch()).unwrap().count(), 0);
    }

    #[test]
    fn eight_threads_of_two_runs_build_one_folder() {
        let (directory, store) = store();
        let other = Store::open(directory.path()).unwrap();
        let tree = sample(&store);
        let inodes = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| if thread % 2 == 0 { &store } else { &other })
                .map(|store| scope.spawn(|| store.materialise(&tree).unwrap()))
                .collect();
            threads
                .into_iter()
                .map(|thread| fs::metadata(thread.join().unwrap().path()).unwrap().ino())
                .collect::<HashSet<_>>()
        });
        assert_eq!(inodes.len(), 1);
    }

    #[test]
    fn odd_names_and_many_files_are_built() {
        let (_directory, store) = store();
        let mut tree = Tree::default();
        let long = [b'x'; 255];
        for name in [&b"new\nline"[..], b"\xff\xfe", &long, b"-rf", b"\\"] {
            tree.insert(std::ffi::OsStr::from_bytes(name), file(&store, "odd", false)).unwrap();
        }
        for number in 0..2000 {
            let node = file(&store, &format!("{}", number % 1500), number % 3 == 0);
            tree.insert(format!("many/{}/{number}", number % 7), node).unwrap();
        }
        assert_holds(store.materialise(&tree).unwrap().path(), &tree);
    }

    #[test]
    fn a_path_that_is_too_long_for_the_system_is_an_error_with_its_name() {
        let (_directory, store) = store();
        let mut tree = Tree::default();
        let path = vec!["d".repeat(200); 25].join("/");
        tree.insert(&path, file(&store, "deep", false)).unwrap();
        assert!(matches!(store.materialise(&tree), Err(CacheError::Io { .. })));
        assert_eq!(fs::read_dir(store.scratch()).unwrap().count(), 0);
    }
}
