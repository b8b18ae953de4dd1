//! Kept folders: what one run of a step leaves for the next run of the same step, such as a
//! compiler's cache. Knows folders, times and which inputs there were; does not know which step it is.
//!
//! A kept folder `keep/<id>` holds `now/`: a `manifest` and the `tree`, as it stands in the working
//! tree. A new one is put together beside it and takes its place as a whole, so that a manifest and a
//! tree are always of one run. The files of a tree are never written to: a new tree may link them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use serde::{Deserialize, Serialize};

use super::lock::KeyLock;
use super::{CacheError, Store, failed};
use crate::digest::Digest;

/// Grows when the form of a manifest changes: older ones are then as good as none.
const VERSION: u32 = 1;

/// A modification time: seconds since 1970, and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Time {
    pub(crate) secs: i64,
    pub(crate) nanos: i64,
}

impl Time {
    /// Returns the time that many nanoseconds later, less than a second.
    pub(crate) fn later(self, nanos: i64) -> Self {
        let nanos = self.nanos + nanos;
        Self { secs: self.secs.saturating_add(nanos / 1_000_000_000), nanos: nanos % 1_000_000_000 }
    }

    pub(crate) fn timestamps(self) -> Timestamps {
        let time = Timespec { tv_sec: self.secs, tv_nsec: self.nanos as _ };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// The inputs that a step had, by build path: what each was, and the time it bore.
pub(crate) type KeptInputs = BTreeMap<String, (Digest, Time)>;

#[derive(Serialize, Deserialize)]
struct Manifest {
    version: u32,
    /// The latest time of a file in the tree or of an input.
    newest: Time,
    inputs: KeptInputs,
}

/// A kept folder, for this holder alone.
pub(crate) struct Kept<'a> {
    place: PathBuf,
    found: Option<Manifest>,
    /// Where the new one is put together.
    next: PathBuf,
    _lock: KeyLock<'a>,
}

impl Store {
    /// Returns the kept folder `id`; `None` while somebody else has it.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub(crate) fn kept(&self, id: Digest) -> Result<Option<Kept<'_>>, CacheError> {
        let Some(lock) = self.keep_locks.try_lock(id)? else { return Ok(None) };
        let place = self.root.join("keep").join(id.to_hex());
        let next = self.lease.fresh_path();
        fs::create_dir_all(&place).map_err(failed("make", &place))?;
        fs::create_dir_all(next.join("tree")).map_err(failed("make", &next))?;
        let found = read(&place.join("now/manifest"));
        if found.is_some() {
            note_use(&place.join("now")).map_err(failed("date", &place))?;
        }
        Ok(Some(Kept { place, found, next, _lock: lock }))
    }
}

impl Kept<'_> {
    /// Returns the tree that the last run left, if there is one.
    pub(crate) fn tree(&self) -> Option<PathBuf> {
        self.found.as_ref().map(|_| self.place.join("now/tree"))
    }

    /// Returns the directory that takes the tree of this run.
    pub(crate) fn next_tree(&self) -> PathBuf {
        self.next.join("tree")
    }

    /// Returns what the last run had, and the latest time of all it had and left.
    pub(crate) fn last(&self) -> Option<(&KeptInputs, Time)> {
        self.found.as_ref().map(|found| (&found.inputs, found.newest))
    }

    /// Puts the new tree in the place of the old one, with the inputs that it was made from.
    ///
    /// # Errors
    /// [`CacheError::Io`]; there is no kept folder then, or the old one.
    pub(crate) fn replace(self, inputs: KeptInputs) -> Result<(), CacheError> {
        let mut newest = Time { secs: 0, nanos: 0 };
        look_through(&self.next_tree(), &mut newest).map_err(failed("look through", &self.next))?;
        newest = inputs.values().map(|(_, time)| *time).fold(newest, Time::max);
        let manifest = Manifest { version: VERSION, newest, inputs };
        let bytes = serde_json::to_vec(&manifest).expect("it is plain data");
        fs::write(self.next.join("manifest"), bytes).map_err(failed("write in", &self.next))?;
        let (now, old) = (self.place.join("now"), self.place.join("old"));
        remove(&old).map_err(failed("remove", &old))?;
        match fs::rename(&now, &old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("move aside", &now)(error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::rename(&self.next, &now).map_err(failed("put in place", &now))?;
        remove(&old).map_err(failed("remove", &old))
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        // What could not be removed goes with the run's other scratch.
        drop(remove(&self.next));
    }
}

/// Reads a manifest; one that is torn or of another version is none.
fn read(path: &Path) -> Option<Manifest> {
    let manifest: Manifest = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (manifest.version == VERSION).then_some(manifest)
}

/// Sets the times of a folder to now, which tells a collection that it is used.
fn note_use(folder: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW as _ };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::futimens(File::open(folder)?, &times)?)
}

/// Finds the latest time of a file at any depth.
fn look_through(folder: &Path, newest: &mut Time) -> io::Result<()> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                open.push(entry.path());
            } else {
                *newest = (*newest).max(Time { secs: found.mtime(), nanos: found.mtime_nsec() });
            }
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(secs: i64) -> Time {
        Time { secs, nanos: 0 }
    }

    fn leave(store: &Store, text: &str, inputs: KeptInputs) {
        let kept = store.kept(Digest::of(b"step")).unwrap().unwrap();
        fs::write(kept.next_tree().join("a"), text).unwrap();
        kept.replace(inputs).unwrap();
    }

    #[test]
    fn a_run_finds_what_the_last_one_left() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("store")).unwrap();
        let id = Digest::of(b"step");
        assert!(store.kept(id).unwrap().unwrap().tree().is_none());
        let inputs: KeptInputs = [("a.c".to_owned(), (Digest::of(b"a"), time(5)))].into();
        leave(&store, "one", inputs.clone());
        leave(&store, "two", inputs.clone());
        let kept = store.kept(id).unwrap().unwrap();
        assert_eq!(fs::read_to_string(kept.tree().unwrap().join("a")).unwrap(), "two");
        let (found, newest) = kept.last().unwrap();
        assert_eq!(*found, inputs);
        assert!(newest > time(5), "{newest:?}");
    }

    #[test]
    fn only_one_has_a_kept_folder_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("store")).unwrap();
        let first = store.kept(Digest::of(b"step")).unwrap();
        assert!(first.is_some() && store.kept(Digest::of(b"step")).unwrap().is_none());
        assert!(store.kept(Digest::of(b"other")).unwrap().is_some());
        drop(first);
        assert!(store.kept(Digest::of(b"step")).unwrap().is_some());
    }

    #[test]
    fn a_torn_manifest_is_none() {
        let parent = tempfile::tempdir().unwrap();
        let store = Store::open(&parent.path().join("store")).unwrap();
        leave(&store, "one", KeptInputs::new());
        let id = Digest::of(b"step");
        let manifest = store.root.join("keep").join(id.to_hex()).join("now/manifest");
        fs::write(manifest, "{\"version\":1,").unwrap();
        assert!(store.kept(id).unwrap().unwrap().tree().is_none());
    }

    #[test]
    fn a_kept_folder_is_collected_like_all_else_but_not_while_it_is_used() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("store");
        let store = Store::open(&directory).unwrap();
        leave(&store, "one", KeptInputs::new());
        assert!(store.stats().unwrap().bytes > 0);
        store.gc(0).unwrap().unwrap();
        assert!(store.kept(Digest::of(b"step")).unwrap().unwrap().tree().is_some());
        drop(store);
        let store = Store::open(&directory).unwrap();
        store.gc(0).unwrap().unwrap();
        assert!(store.kept(Digest::of(b"step")).unwrap().unwrap().tree().is_none());
    }
}
