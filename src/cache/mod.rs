//! The store: what past steps read and made, on disk, shared by all kilns of one user. Knows
//! bytes, trees of files and records of results; does not know plans, steps or sandboxes.
//!
//! Everything lies under `v1/` of the store's directory:
//!
//! | path | holds |
//! |---|---|
//! | `cas/<2 hex>/<digest>`, `….x` | blobs, and their executable twins (`blobs`) |
//! | `ac/<2 hex>/<key>` | records of results (`records`) |
//! | `trees/<root digest>/` | trees of files ready to be mounted (`folder`) |
//! | `leases/<run>`, `tmp/<run>/` | the live runs and their unfinished files (`lease`) |
//! | `keep/<id>/` | what a step leaves for its own next run (`kept`) |
//! | `locks/` | locks for single flight (`lock`) |
//! | `quarantine/` | what did not match its digest, until the next collection (`gc`) |
//!
//! Two rules hold throughout. A file under a final name was complete when it got that name. And
//! nothing read from the store is believed: a blob that does not match its digest is set aside
//! with a [`Warning`], and is then [`CacheError::Missing`], as if it had never been there.

mod blobs;
mod copy;
mod disk;
mod export;
#[cfg(test)]
mod faults;
mod folder;
mod gc;
mod kept;
mod lease;
mod lock;
mod manifest;
mod proto;
mod reapi;
mod records;
mod sync;
mod tree;

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};

use crate::digest::Digest;
use crate::planted::{Bug, is_planted};

pub(crate) use blobs::{Blob, FIXED_MTIME_SECS};
pub(crate) use disk::{file_system, free_bytes};
pub(crate) use folder::Folder;
pub use gc::{Checkup, Collected, Stats};
pub(crate) use kept::{Kept, KeptInputs, Time};
pub(crate) use lock::KeyLock;
pub(crate) use proto::Writer;
pub(crate) use reapi::write_digest;
pub(crate) use records::{Hit, Out, Record};
pub(crate) use tree::{Node, Tree, TreeError};

/// An open store. Shared by the threads of a kiln; several kilns may have the same one open.
pub(crate) struct Store {
    /// The `v1` directory.
    root: PathBuf,
    lease: lease::Lease,
    /// What was hashed in this run, by inode.
    verified: Mutex<HashMap<u64, blobs::Verified>>,
    /// The change times that noting a use moved in this run, by inode: before and after.
    touched: Mutex<HashMap<u64, (i64, i64)>>,
    /// The trees whose listings were all filed in this run.
    filed_trees: Mutex<HashSet<Digest>>,
    /// The folders that were checked in this run, by the digest of their tree.
    folders: Mutex<HashMap<Digest, folder::Checked>>,
    /// The id of this boot: files are hashed again after a reboot.
    boot: [u8; manifest::BOOT_BYTES],
    /// The directories of the workspace that were swept in this run.
    swept: Mutex<HashSet<PathBuf>>,
    step_locks: lock::Locks,
    /// A step holds its own lock while it tries for one of these.
    keep_locks: lock::Locks,
    /// Apart from the steps' locks, because a step holds its own while it waits for a tree's.
    tree_locks: lock::Locks,
    /// Tried for only, never waited for: a step holds its own lock meanwhile.
    pool_locks: lock::Locks,
    durability: sync::GroupSync,
    warnings: Mutex<Vec<Warning>>,
    /// Held for a private store: removes it when dropped.
    temporary: Option<tempfile::TempDir>,
}

impl Store {
    /// Opens the store in `directory`, which is made (mode 0700) when it is not there.
    ///
    /// # Errors
    /// [`CacheError::Refused`] when `directory` is not a directory that is ours alone,
    /// [`CacheError::Io`] when it cannot be made or written to. Either way the caller can go on
    /// with [`Store::open_private`].
    pub(crate) fn open(directory: &Path) -> Result<Self, CacheError> {
        // Without a trailing slash, which would make the system follow a link.
        let directory: PathBuf = directory.components().collect();
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(failed("make", parent))?;
        }
        own_directory(&directory)?;
        let root = directory.join("v1");
        own_directory(&root)?;
        for part in ["ac", "cas", "keep", "leases", "locks", "quarantine", "tmp", "trees"] {
            own_directory(&root.join(part))?;
        }
        Ok(Self {
            lease: lease::Lease::take(&root)?,
            folders: Mutex::default(),
            boot: boot_id(),
            swept: Mutex::default(),
            step_locks: lock::Locks::new(&root.join("locks"), "step"),
            keep_locks: lock::Locks::new(&root.join("locks"), "keep"),
            tree_locks: lock::Locks::new(&root.join("locks"), "tree"),
            pool_locks: lock::Locks::new(&root.join("locks"), "pool"),
            durability: sync::GroupSync::new(&root)?,
            root,
            verified: Mutex::default(),
            touched: Mutex::default(),
            filed_trees: Mutex::default(),
            warnings: Mutex::default(),
            temporary: None,
        })
    }

    /// Opens an empty store of this process's own below `parent` (the system's directory for
    /// temporary files); it is removed when dropped.
    ///
    /// # Errors
    /// [`CacheError::Io`] when `parent` cannot be written to.
    pub(crate) fn open_private(parent: &Path) -> Result<Self, CacheError> {
        let made = tempfile::Builder::new().prefix("kiln-store-").tempdir_in(parent);
        let temporary = made.map_err(failed("make a private store in", parent))?;
        let store = Self::open(temporary.path())?;
        Ok(Self { temporary: Some(temporary), ..store })
    }

    /// Opens the store in `directory` or, when that one cannot be used, a private one below
    /// `parent`, together with the reason: the one warning to show.
    ///
    /// # Errors
    /// [`CacheError::Io`] when neither can be had.
    pub(crate) fn open_or_private(
        directory: &Path,
        parent: &Path,
    ) -> Result<(Self, Option<CacheError>), CacheError> {
        match Self::open(directory) {
            Ok(store) => Ok((store, None)),
            Err(reason) if is_planted(Bug::InsistOnStore) => Err(reason),
            Err(reason) => Ok((Self::open_private(parent)?, Some(reason))),
        }
    }

    /// Returns whether the store is a private one, gone when this process ends.
    pub(crate) fn is_private(&self) -> bool {
        self.temporary.is_some()
    }

    /// Returns the directory that all of the store lies in.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Returns a directory on the store's filesystem for this run's unfinished files; files in it
    /// can be renamed into the store. It is removed when the store is dropped, or by the next
    /// kiln if this one is killed.
    pub(crate) fn scratch(&self) -> &Path {
        self.lease.scratch()
    }

    /// Takes the lock of a step's key if no thread of any kiln has it.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    #[cfg(test)]
    fn try_lock(&self, key: Digest) -> Result<Option<KeyLock<'_>>, CacheError> {
        self.step_locks.try_lock(key)
    }

    /// Waits for the lock of a step's key; returns `None` if `stop` says so first. The thread must
    /// not hold the lock of another key while it waits.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub(crate) fn lock(
        &self,
        key: Digest,
        stop: impl Fn() -> bool,
    ) -> Result<Option<KeyLock<'_>>, CacheError> {
        let key = match is_planted(Bug::NoSingleFlight) {
            true => Digest::of(self.lease.fresh_name().as_os_str().as_bytes()),
            false => key,
        };
        self.step_locks.lock(key, stop)
    }

    /// Takes one of the `places` of the pool `name` if one is free among all who share the store.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub(crate) fn try_take(
        &self,
        name: &str,
        places: u32,
    ) -> Result<Option<KeyLock<'_>>, CacheError> {
        for place in 0..places {
            let key = Digest::of(format!("pool {place} {name}").as_bytes());
            if let Some(taken) = self.pool_locks.try_lock(key)? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Returns what was found damaged since the last call.
    pub(crate) fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut *locked(&self.warnings))
    }

    /// Moves `path`, which does not hold what its name says, out of the way, and notes why.
    ///
    /// Several processes may find the same damage: not finding it any more is fine.
    fn quarantine(&self, path: &Path, why: Damage) -> Result<(), CacheError> {
        let mut name = self.lease.fresh_name().into_os_string();
        if let Some(old) = path.file_name() {
            name.push("-");
            name.push(old);
        }
        let aside = self.root.join("quarantine").join(name);
        match fs::rename(path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("set aside", path)(error)),
        }
        // It may have been a listing: nothing counts as filed any more.
        locked(&self.filed_trees).clear();
        locked(&self.warnings).push(Warning { path: path.to_owned(), why });
        Ok(())
    }
}

/// Something in the store was not what it should be; it was set aside and will be made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cache entry `{}` {why}; it was set aside and is made again", path.display())]
pub(crate) struct Warning {
    /// Where the damage was found.
    pub(crate) path: PathBuf,
    /// What was wrong.
    pub(crate) why: Damage,
}

/// In which way an entry of the store is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// The bytes have another digest or another size.
    #[error("does not match its digest")]
    Mismatch,
    /// The system could not read it, or it is not a regular file.
    #[error("cannot be read")]
    Unreadable,
    /// A record or a directory listing that does not parse, or is another one's.
    #[error("is not a valid entry")]
    Malformed,
    /// A file of a tree was changed, added or removed after the tree was built.
    #[error("was changed after it was built")]
    Altered,
}

/// What the store could not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// The blob is not in the store, or no longer whole: a miss. What made it must run again.
    #[error("the cache no longer holds `{digest}`")]
    Missing {
        /// The digest of the blob.
        digest: Digest,
    },
    /// A file of the workspace was edited while it was read: worth another try.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Only regular files can be taken in.
    #[error("expected `{}` to be a regular file", path.display())]
    NotAFile {
        /// What was not one.
        path: PathBuf,
    },
    /// The directory is not one to keep a store in.
    #[error("the cache directory `{}` cannot be used: {why}", path.display())]
    Refused {
        /// The directory, or the part of the store that was refused.
        path: PathBuf,
        /// What is wrong with it.
        why: Refusal,
    },
    /// The system failed.
    #[error("could not {doing} `{}`", path.display())]
    Io {
        /// The verb of what was tried.
        doing: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl CacheError {
    /// Returns whether the entry is simply not there: what made it must run again.
    pub(crate) fn is_miss(&self) -> bool {
        matches!(self, CacheError::Missing { .. })
    }
}

/// Why a directory cannot hold a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is a link, or not a directory at all.
    #[error("it is not a directory but a link or a file")]
    NotADirectory,
    /// Another user could plant results in it.
    #[error("it belongs to user {owner}, not to you")]
    Foreign {
        /// The user id of the owner.
        owner: u32,
    },
    /// Other users may write to it.
    #[error("other users may write to it (mode {mode:04o})")]
    Open {
        /// The permission bits.
        mode: u32,
    },
}

/// Returns the function that turns the system's error into ours: could not `doing` `path`.
fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Io { doing, path, source }
}

/// Makes sure that `path` is a directory that only we can enter, and makes it if need be.
fn own_directory(path: &Path) -> Result<(), CacheError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("make", path)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let refused = |why| CacheError::Refused { path: path.to_owned(), why };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
    let directory = match opened {
        Ok(directory) => File::from(directory),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(refused(Refusal::NotADirectory));
        }
        Err(error) => return Err(failed("open", path)(error)),
    };
    let metadata = directory.metadata().map_err(failed("look at", path))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused(Refusal::Foreign { owner: metadata.uid() }));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(refused(Refusal::Open { mode }));
    }
    if mode & 0o077 != 0 {
        let tightened = rustix::fs::fchmod(&directory, Mode::RWXU);
        tightened.map_err(|error| failed("make private", path)(error.into()))?;
    }
    Ok(())
}

/// Returns the id of this boot. Where the system does not tell, one that no manifest has: all
/// trees are then hashed in each run.
fn boot_id() -> [u8; manifest::BOOT_BYTES] {
    let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.first_chunk().copied().unwrap_or_else(|| {
        let number = format!("{:0>36x}", std::process::id());
        number.as_bytes().first_chunk().copied().expect("padded to the length")
    })
}

/// Locks a table that is whole between any two statements, also after a panic elsewhere.
fn locked<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_new_store_is_ours_alone() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b/store");
        let store = Store::open(&directory).unwrap();
        assert!(!store.is_private());
        for path in [&directory, &directory.join("v1"), &directory.join("v1/cas")] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o700, "{path:?}");
        }
    }

    #[test]
    fn a_store_of_another_user_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("store");
        fs::create_dir(&directory).unwrap();
        let owner = rustix::process::geteuid().as_raw() + 1;
        if chown(&directory, Some(owner), None).is_err() {
            return; // Only root can give a directory away.
        }
        let (store, reason) = Store::open_or_private(&directory, parent.path()).unwrap();
        let why = Refusal::Foreign { owner };
        assert!(matches!(reason, Some(CacheError::Refused { why: found, .. }) if found == why));
        assert!(store.is_private());
        assert!(fs::read_dir(&directory).unwrap().next().is_none());
    }

    #[test]
    fn a_linked_store_is_refused_with_or_without_a_slash() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("real")).unwrap();
        symlink("real", parent.path().join("store")).unwrap();
        for name in ["store", "store/", "store/."] {
            let refused = Store::open(&parent.path().join(name)).map(|_| ());
            let why = Refusal::NotADirectory;
            assert!(matches!(refused, Err(CacheError::Refused { why: found, .. }) if found == why));
        }
    }

    #[test]
    fn a_store_that_others_may_write_to_is_refused_and_a_readable_one_made_private() {
        let parent = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(parent.path(), fs::Permissions::from_mode(mode));
        mode(0o770).unwrap();
        let refused = Store::open(parent.path()).map(|_| ());
        assert!(matches!(
            refused,
            Err(CacheError::Refused { why: Refusal::Open { mode: 0o770 }, .. })
        ));
        mode(0o755).unwrap();
        Store::open(parent.path()).unwrap();
        assert_eq!(fs::metadata(parent.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_store_that_cannot_be_written_gives_way_to_a_private_one() {
        let parent = tempfile::tempdir().unwrap();
        // Not even root can make directories in /proc.
        let directory = Path::new("/proc/self/store");
        let (store, reason) = Store::open_or_private(directory, parent.path()).unwrap();
        assert!(matches!(reason, Some(CacheError::Io { path, .. }) if path == directory));
        let blob = store.put(b"still works").unwrap();
        assert_eq!(store.read(blob).unwrap(), b"still works");
        drop(store);
        assert!(fs::read_dir(parent.path()).unwrap().next().is_none(), "it is removed again");
    }
}
