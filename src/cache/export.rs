//! Export: an out of a step written to the workspace. Knows files, reflinks and atomic renames;
//! does not know where outs belong.
//!
//! A new out is built under a hidden name beside its place, `.kiln-restore-…`, so a reader sees the
//! old one or the new. A file is then renamed to its place; a directory is built in a hidden one
//! and trades places with the old out. What is hidden is locked while in use; what a killed run
//! left is removed by the next run that writes to the same directory.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::{Errno, retry_on_intr};
use tempfile::TempDir;

use crate::planted::{Bug, is_planted};

use super::folder::first_error;
use super::{Blob, CacheError, Node, Store, failed, locked};

/// How hidden names begin.
const PREFIX: &str = ".kiln-restore-";

/// How many files one thread writes before it is worth asking another.
const FILES_PER_THREAD: usize = 16;

impl Store {
    /// Writes `node` to `to` in place of whatever is there; the directories above are made if need
    /// be. Files share their bytes with the store where the filesystem can, never an inode, and
    /// get the modes that the user's umask allows.
    ///
    /// # Errors
    /// [`CacheError::Missing`] when a blob is gone or damaged, [`CacheError::Io`]; in either case
    /// what was at `to` still is, unless only the old one could not be removed.
    pub(crate) fn restore(&self, node: &Node, to: &Path) -> Result<(), CacheError> {
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let is_new = make_directory(parent).map_err(failed("make", parent))?;
        if locked(&self.swept).insert(parent.to_owned()) && !is_new {
            sweep(parent);
        }
        if let Node::File { blob, executable } = node
            && !is_planted(Bug::LinkOuts)
            && self.restore_file(*blob, *executable, parent, to)?
        {
            return Ok(());
        }
        self.restore_node(node, parent, to)
    }

    /// Writes a file by rename, which is cheaper than making a directory; returns false when that
    /// cannot be, since a directory is there.
    fn restore_file(
        &self,
        blob: Blob,
        executable: bool,
        parent: &Path,
        to: &Path,
    ) -> Result<bool, CacheError> {
        let mode = fs::Permissions::from_mode(if executable { 0o777 } else { 0o666 });
        let (hidden, _lease) = hidden(parent, |name| {
            let file = name.permissions(mode.clone()).tempfile_in(parent)?;
            let lease = file.as_file().try_clone()?;
            Ok((file, lease))
        })?;
        self.copy_out(blob, hidden.as_file(), hidden.path())?;
        match hidden.persist(to) {
            Ok(_) => Ok(true),
            Err(error) if is_taken(&error.error) => Ok(false),
            Err(error) => Err(failed("replace", to)(error.error)),
        }
    }

    fn restore_node(&self, node: &Node, parent: &Path, to: &Path) -> Result<(), CacheError> {
        let (hidden, _lease) = hidden_directory(parent)?;
        let new = hidden.path().join("new");
        self.write_node(node, &new)?;
        replace(&new, to, &hidden.path().join("old")).map_err(failed("replace", to))?;
        remove(hidden)
    }

    fn write_node(&self, node: &Node, to: &Path) -> Result<(), CacheError> {
        match node {
            Node::Link { target } => {
                symlink(OsStr::from_bytes(target), to).map_err(failed("make", to))
            }
            Node::File { blob, executable } if is_planted(Bug::LinkOuts) => {
                self.link(*blob, *executable, to)
            }
            Node::File { blob, executable } => {
                let mut options = OpenOptions::new();
                options.mode(if *executable { 0o777 } else { 0o666 });
                let opened = options.read(true).write(true).create_new(true).open(to);
                self.copy_out(*blob, &opened.map_err(failed("write", to))?, to)
            }
            Node::Directory(tree) => {
                fs::create_dir(to).map_err(failed("make", to))?;
                let mut files: Vec<(PathBuf, &Node)> = Vec::new();
                for (path, node) in tree.walk() {
                    let path = to.join(path);
                    if let Node::Directory(_) = node {
                        fs::create_dir(&path).map_err(failed("make", &path))?;
                    } else {
                        files.push((path, node));
                    }
                }
                let write = |(path, node): &(PathBuf, &Node)| self.write_node(node, path);
                let files = files.par_iter().with_min_len(FILES_PER_THREAD);
                first_error(files.map(write).collect())
            }
        }
    }
}

/// Makes a directory with those above it; returns whether it is a new one.
fn make_directory(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(_) => fs::create_dir_all(path).map(|()| false),
    }
}

fn hidden_directory(parent: &Path) -> Result<(TempDir, File), CacheError> {
    hidden(parent, |name| {
        let hidden = name.tempdir_in(parent)?;
        let lease = File::open(hidden.path())?;
        Ok((hidden, lease))
    })
}

/// Makes something hidden in `parent` and locks it for as long as the returned file is open.
fn hidden<T: AsRef<Path>>(
    parent: &Path,
    make: impl Fn(&mut tempfile::Builder) -> io::Result<(T, File)>,
) -> Result<(T, File), CacheError> {
    // Before it is locked, another run may take it for a dead one's and remove it. Each round that
    // is lost that way is one that the other run has won.
    loop {
        let made = make(tempfile::Builder::new().prefix(PREFIX).rand_bytes(12));
        let (hidden, lease) = match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound && parent.exists() => continue,
            made => made.map_err(failed("write in", parent))?,
        };
        retry_on_intr(|| rustix::fs::flock(&lease, FlockOperation::LockExclusive))
            .map_err(|error| failed("lock", hidden.as_ref())(error.into()))?;
        if hidden.as_ref().exists() {
            return Ok((hidden, lease));
        }
    }
}

/// Puts `new` at `to`; what was there is at `new` or below `old` afterwards, if it is still anywhere.
fn replace(new: &Path, to: &Path, old: &Path) -> io::Result<()> {
    replace_by(exchange, new, to, old)
}

fn exchange(one: &Path, other: &Path) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}

/// As [`replace`], with the system's way to let two paths trade places.
fn replace_by(
    exchange: impl Fn(&Path, &Path) -> Result<(), Errno>,
    new: &Path,
    to: &Path,
    old: &Path,
) -> io::Result<()> {
    // Each round that is lost is one in which another run has put its out there.
    for round in 0_u64.. {
        match exchange(new, to) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT) => {}
            // Some network filesystems cannot exchange; a moment without the out is the best there is.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                set_aside(to, &old.join(round.to_string()))?;
            }
            Err(error) => return Err(error.into()),
        }
        match fs::rename(new, to) {
            Err(error) if is_taken(&error) => {}
            result => return result,
        }
    }
    unreachable!("there are more rounds than time")
}

/// Moves what is at `to`, if there is anything, to the new path `aside`.
fn set_aside(to: &Path, aside: &Path) -> io::Result<()> {
    fs::create_dir_all(aside.parent().expect("it is below a directory"))?;
    match fs::rename(to, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns whether a name that was free a moment ago no longer is: the errors differ with what is
/// there and with the filesystem.
fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | IsADirectory | NotADirectory)
}

/// Removes the hidden directory; one that is gone already is no fault.
fn remove(hidden: TempDir) -> Result<(), CacheError> {
    let path = hidden.path().to_owned();
    match hidden.close() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", &path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes what dead runs left hidden. What resists is only litter.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(lease) = File::open(entry.path()) else { continue };
        if rustix::fs::flock(&lease, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let path = entry.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::cache::Tree;
    use crate::cache::tree::tests::link;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        (directory, store)
    }

    fn file(store: &Store, text: &str, executable: bool) -> Node {
        Node::File { blob: store.put(text.as_bytes()).unwrap(), executable }
    }

    #[test]
    fn an_out_takes_the_place_of_whatever_is_there() {
        let (directory, store) = store();
        let to = directory.path().join("out/site/pages");
        let mut tree = Tree::default();
        tree.insert("index", file(&store, "index", false)).unwrap();
        tree.insert("bin/tool", file(&store, "tool", true)).unwrap();
        tree.insert("latest", link("index")).unwrap();
        let nodes = [
            file(&store, "one", false),
            Node::Directory(tree),
            file(&store, "two", true),
            link("elsewhere"),
            Node::Directory(Tree::default()),
        ];
        for node in nodes.iter().chain(nodes.iter().rev()) {
            store.restore(node, &to).unwrap();
            let metadata = fs::symlink_metadata(&to).unwrap();
            match node {
                Node::Link { .. } => assert!(metadata.is_symlink()),
                Node::File { blob, executable } => {
                    assert_eq!(Blob::of(&fs::read(&to).unwrap()), *blob);
                    assert_eq!(metadata.mode() & 0o100 != 0, *executable);
                    assert_eq!(metadata.nlink(), 1, "no inode is shared with the store");
                }
                Node::Directory(tree) => {
                    let names = fs::read_dir(&to).unwrap().count();
                    assert_eq!(names, tree.nodes().len());
                    if !tree.is_empty() {
                        assert_eq!(fs::read(to.join("latest")).unwrap(), b"index");
                        assert!(fs::metadata(to.join("bin/tool")).unwrap().mode() & 0o100 != 0);
                    }
                }
            }
            assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1, "no litter");
        }
    }

    #[test]
    fn exports_beside_each_other_do_not_sweep_each_other() {
        let (directory, store) = store();
        let outs = directory.path().join("outs");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (store, outs) = (&store, &outs);
                scope.spawn(move || {
                    let mut tree = Tree::default();
                    tree.insert("index", file(store, "text", false)).unwrap();
                    let node = Node::Directory(tree);
                    for round in 0..100 {
                        store
                            .restore(&node, &outs.join(format!("{}", (thread + round) % 3)))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(&outs).unwrap().count(), 3, "no litter");
    }

    #[test]
    fn outs_of_runs_at_once_take_each_others_place_also_where_paths_cannot_trade_places() {
        type Exchange = fn(&Path, &Path) -> Result<(), Errno>;
        for exchange in [exchange as Exchange, |_, _| Err(Errno::INVAL)] {
            let directory = tempfile::tempdir().unwrap();
            let to = directory.path().join("out");
            std::thread::scope(|scope| {
                for thread in 0..8 {
                    let (folder, to) = (directory.path().join(format!("{thread}")), &to);
                    scope.spawn(move || {
                        for round in 0..300 {
                            let new = folder.join("new");
                            // A directory or a file: the pipeline may have changed in between.
                            match (thread + round) % 4 {
                                0 => fs::create_dir_all(&folder).and_then(|()| fs::write(&new, "")),
                                _ => fs::create_dir_all(new.join("deep")),
                            }
                            .unwrap();
                            replace_by(exchange, &new, to, &folder.join("old")).unwrap();
                            fs::remove_dir_all(&folder).unwrap();
                            if round % 3 == 0 {
                                let _ = fs::rename(to, folder.with_extension("gone"));
                                let _ = fs::remove_dir_all(folder.with_extension("gone"));
                                let _ = fs::remove_file(folder.with_extension("gone"));
                            }
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn a_damaged_blob_leaves_nothing_where_nothing_was() {
        let (directory, store) = store();
        fs::create_dir(directory.path().join("out")).unwrap();
        for text in ["small".to_owned(), "large".repeat(10_000)] {
            let node = file(&store, &text, false);
            let Node::File { blob, .. } = node else { unreachable!("it is a file") };
            fs::write(store.blob_path(blob.digest, false), "other bytes").unwrap();
            let to = directory.path().join("out").join(text.len().to_string()).join("o");
            assert!(store.restore(&node, &to).unwrap_err().is_miss());
            assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 0);
            // The next one finds the directory there.
            let node = file(&store, &text, false);
            store.restore(&node, &to).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), text);
        }
    }

    #[test]
    fn a_damaged_blob_leaves_the_old_out_in_place() {
        let (directory, store) = store();
        let to = directory.path().join("out");
        let mut tree = Tree::default();
        tree.insert("good", file(&store, "good", false)).unwrap();
        tree.insert("bad", file(&store, "bad", false)).unwrap();
        store.restore(&Node::Directory(tree.clone()), &to).unwrap();
        let bad = store.blob_path(Blob::of(b"bad").digest, false);
        fs::write(&bad, "BAD").unwrap();
        fs::write(to.join("good"), "edited").unwrap();
        assert!(store.restore(&Node::Directory(tree.clone()), &to).unwrap_err().is_miss());
        assert_eq!(fs::read(to.join("good")).unwrap(), b"edited");
        store.put(b"bad").unwrap();
        store.restore(&Node::Directory(tree), &to).unwrap();
        assert_eq!(fs::read(to.join("good")).unwrap(), b"good");
    }

    #[test]
    fn what_a_killed_run_left_is_removed() {
        let (directory, store) = store();
        let to = directory.path().join("outs/out");
        let left = directory.path().join("outs/.kiln-restore-123456789012");
        let left_file = directory.path().join("outs/.kiln-restore-345678901234");
        let in_use = directory.path().join("outs/.kiln-restore-210987654321");
        for path in [&left, &in_use] {
            fs::create_dir_all(path.join("new/deep")).unwrap();
        }
        let lease = File::open(&in_use).unwrap();
        rustix::fs::flock(&lease, FlockOperation::LockExclusive).unwrap();
        fs::write(&left_file, "half").unwrap();
        store.restore(&file(&store, "out", false), &to).unwrap();
        assert!(!left.exists() && !left_file.exists() && in_use.exists());
    }

    #[test]
    fn writing_to_a_restored_out_leaves_the_store_whole() {
        let (directory, store) = store();
        let to = directory.path().join("out");
        let node = file(&store, "out", false);
        store.restore(&node, &to).unwrap();
        fs::write(&to, "edited").unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(store.read(Blob::of(b"out")).unwrap(), b"out");
        store.restore(&node, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"out");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_with_its_name() {
        let (directory, store) = store();
        fs::write(directory.path().join("file"), "").unwrap();
        let error = store.restore(&link("x"), &directory.path().join("file/out")).unwrap_err();
        let parent = directory.path().join("file");
        assert!(matches!(error, CacheError::Io { path, .. } if path == parent));
    }
}
