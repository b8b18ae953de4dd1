//! Collection: keeps the store below a size, least recently used first, and looks whether what is
//! left is whole. Knows sizes, stamps and leases; does not know which step made what.
//!
//! It runs beside other kilns. Every run stamps what it uses, so what is older than the begin of the
//! oldest live run is used by none. Whoever uses an entry stamps it under
//! its name; the collection first moves the entry aside and then looks at the stamp once more, so
//! no use can fall between the look and the removal. Folders are also locked while in use.
//!
//! Space is counted by inode: a blob and its links in folders are counted once, and are freed with
//! the last of them. What a folder links is as recent as the folder.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use serde::Serialize;

use super::copy::hash;
use super::lease::{self, Stamp};
use super::manifest::distrust;
use super::records::{is_record, read_record};
use super::{CacheError, Damage, Store, failed, locked};
use crate::digest::Digest;

/// What is in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// How many results are recorded.
    pub records: u64,
    /// How many blobs there are; an executable twin is one more.
    pub blobs: u64,
    /// How many trees are laid out as folders.
    pub folders: u64,
    /// How many steps have left something for their own next run.
    pub kept: u64,
    /// How many damaged entries wait for removal.
    pub quarantined: u64,
    /// How much of the disk all of it takes, in bytes, without directories.
    pub bytes: u64,
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// How many records, blobs and folders were removed.
    pub removed: u64,
    /// How many bytes of the disk were freed.
    pub freed_bytes: u64,
    /// How many bytes of the disk the store takes now.
    pub bytes: u64,
}

/// What a verification found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checkup {
    /// How many blobs and records were read.
    pub checked: u64,
    /// How many of them were damaged, and set aside.
    pub damaged: u64,
}

/// In the order in which entries of one age are removed: a record before what it promises, a
/// folder before the blobs that it alone keeps on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Record,
    Kept,
    Folder,
    Blob,
}

struct Entry {
    kind: Kind,
    used: Stamp,
    path: PathBuf,
    inode: u64,
}

#[derive(Default)]
struct Census {
    entries: Vec<Entry>,
    /// The inodes that were counted.
    counted: HashSet<u64>,
    /// When a folder that links an inode was last used.
    linked: HashMap<u64, Stamp>,
    stats: Stats,
}

impl Store {
    /// Returns what is in the store.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub(crate) fn stats(&self) -> Result<Stats, CacheError> {
        let mut stats = census(&self.root)?.stats;
        stats.quarantined = list(&self.root.join("quarantine"))?.len() as u64;
        Ok(stats)
    }

    /// Returns whether the last collection of this store was at least `every` before this run.
    pub(crate) fn is_collection_due(&self, every: Duration) -> bool {
        fs::metadata(self.root.join("collected"))
            .map_or(true, |metadata| self.lease.start() >= Stamp::modified(&metadata).later(every))
    }

    /// Removes what was least recently used until the store takes at most `max_bytes` of the disk,
    /// or until only what live runs use is left; and all that was set aside before they began.
    /// Returns `None` when another kiln is collecting.
    ///
    /// # Errors
    /// [`CacheError::Io`]; what was removed until then stays removed.
    pub(crate) fn gc(&self, max_bytes: u64) -> Result<Option<Collected>, CacheError> {
        let path = self.root.join("collected");
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let marker = opened.map_err(failed("open", &path))?;
        match rustix::fs::flock(&marker, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
        // Our own lease is among the live ones.
        let cutoff = lease::oldest(&self.root)?.unwrap_or(self.lease.start());
        self.lease.make_scratch()?;
        self.empty_quarantine(cutoff)?;
        let collected = self.collect(max_bytes, cutoff)?;
        let now = rustix::fs::Timestamps {
            last_access: self.lease.start().timespec(),
            last_modification: self.lease.start().timespec(),
        };
        let dated = rustix::fs::futimens(&marker, &now);
        dated.map_err(|error| failed("date", &path)(error.into()))?;
        Ok(Some(collected))
    }

    /// Returns whether what is not there may be put back at once by a collection, which moves an entry
    /// aside before it looks for the last time whether that is used. Waits a little if so; `look` counts
    /// the looks that were taken.
    pub(super) fn may_be_aside(&self, look: u32) -> bool {
        const MAX_LOOKS: u32 = 50;
        const PAUSE: Duration = Duration::from_millis(2);
        let Ok(marker) = File::open(self.root.join("collected")) else { return false };
        match rustix::fs::flock(&marker, FlockOperation::NonBlockingLockShared) {
            // One that has just ended may have put it back.
            Ok(()) => look == 1,
            Err(_) => {
                std::thread::sleep(PAUSE);
                look < MAX_LOOKS
            }
        }
    }

    /// Reads every blob and every record, on all cores, and sets aside what is damaged. Folders
    /// are hashed on their next use.
    ///
    /// # Errors
    /// [`CacheError::Io`] for what says nothing about the entries themselves.
    pub(crate) fn verify(&self) -> Result<Checkup, CacheError> {
        let mut checkup = Checkup::default();
        type Check = fn(&Path) -> io::Result<Option<Damage>>;
        for (part, check) in [("cas", check_blob as Check), ("ac", check_record)] {
            let paths = list_sharded(&self.root.join(part))?;
            let look = |path: &PathBuf| -> Result<u64, CacheError> {
                match check(path) {
                    Ok(None) => Ok(0),
                    Ok(Some(damage)) => self.quarantine(path, damage).map(|()| 1),
                    // Collected meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
                    Err(error) => Err(failed("read", path)(error)),
                }
            };
            checkup.checked += paths.len() as u64;
            checkup.damaged += paths.par_iter().map(look).try_reduce(|| 0, |a, b| Ok(a + b))?;
        }
        for folder in list(&self.root.join("trees"))? {
            // One without a manifest is built anew in any case.
            let _ = distrust(&folder);
        }
        locked(&self.folders).clear();
        locked(&self.verified).clear();
        Ok(checkup)
    }

    fn collect(&self, max_bytes: u64, cutoff: Stamp) -> Result<Collected, CacheError> {
        let mut census = census(&self.root)?;
        for entry in &mut census.entries {
            if let (Kind::Blob, Some(linked)) = (entry.kind, census.linked.get(&entry.inode)) {
                entry.used = entry.used.max(*linked);
            }
        }
        census.entries.sort_by(|one, other| {
            (one.used, one.kind, &one.path).cmp(&(other.used, other.kind, &other.path))
        });
        let mut collected = Collected { bytes: census.stats.bytes, ..Collected::default() };
        for entry in census.entries {
            if collected.bytes <= max_bytes || entry.used >= cutoff {
                break;
            }
            let freed = match entry.kind {
                Kind::Record | Kind::Blob => self.remove_file(&entry.path, cutoff)?,
                Kind::Kept => self.remove_kept(&entry.path, cutoff)?,
                Kind::Folder => self.remove_folder(&entry.path, cutoff)?,
            };
            if let Some(bytes) = freed {
                collected.removed += 1;
                collected.freed_bytes += bytes;
                collected.bytes = collected.bytes.saturating_sub(bytes);
            }
        }
        Ok(collected)
    }

    /// Removes a record or a blob, unless it was used since the census; returns the bytes freed.
    fn remove_file(&self, path: &Path, cutoff: Stamp) -> Result<Option<u64>, CacheError> {
        let is_used = |path: &Path| {
            fs::symlink_metadata(path).map(|metadata| Stamp::accessed(&metadata) >= cutoff)
        };
        // The first look only keeps a used entry from being away for a moment.
        if is_used(path).unwrap_or(true) {
            return Ok(None);
        }
        let aside = self.lease.fresh_path();
        match fs::rename(path, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("move aside", path)(error)),
        }
        if is_used(&aside).map_err(failed("look at", &aside))? {
            // If a new one took the name meanwhile, it is as good.
            let _ = rustix::fs::renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE);
            let _ = fs::remove_file(&aside);
            return Ok(None);
        }
        remove_all(&aside).map(Some)
    }

    /// Removes a folder, unless someone has it or has used it since the census; returns the bytes
    /// freed.
    fn remove_folder(&self, place: &Path, cutoff: Stamp) -> Result<Option<u64>, CacheError> {
        let manifest = File::open(place.join("manifest"));
        if let Ok(manifest) = &manifest
            && rustix::fs::flock(manifest, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            return Ok(None);
        }
        match folder_used(place) {
            Ok(used) if used < cutoff => {}
            Ok(_) | Err(_) => return Ok(None),
        }
        let aside = self.lease.fresh_path();
        match fs::rename(place, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("move aside", place)(error)),
        }
        drop(manifest);
        remove_all(&aside).map(Some)
    }

    /// Removes what a step kept, unless someone has it or has used it since the census; returns the
    /// bytes freed.
    fn remove_kept(&self, place: &Path, cutoff: Stamp) -> Result<Option<u64>, CacheError> {
        let id = place.file_name().and_then(|name| name.to_str()?.parse::<Digest>().ok());
        if let Some(id) = id {
            let Some(_lock) = self.keep_locks.try_lock(id)? else { return Ok(None) };
            if kept_used(place).is_ok_and(|used| used < cutoff) {
                return remove_all(place).map(Some);
            }
        }
        Ok(None)
    }

    fn empty_quarantine(&self, cutoff: Stamp) -> Result<(), CacheError> {
        for path in list(&self.root.join("quarantine"))? {
            // A folder in it may still be mounted by the run that set it aside, or by another.
            let is_old = fs::symlink_metadata(&path)
                .is_ok_and(|metadata| Stamp::changed(&metadata) < cutoff);
            if is_old {
                remove_all(&path)?;
            }
        }
        Ok(())
    }
}

/// Counts all that is in the store `root`. Entries that vanish meanwhile are left out.
fn census(root: &Path) -> Result<Census, CacheError> {
    let mut census = Census::default();
    for (part, kind) in [("ac", Kind::Record), ("cas", Kind::Blob)] {
        for path in list_sharded(&root.join(part))? {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            census.count(&metadata);
            match kind {
                Kind::Record => census.stats.records += 1,
                Kind::Blob | Kind::Folder | Kind::Kept => census.stats.blobs += 1,
            }
            let (used, inode) = (Stamp::accessed(&metadata), metadata.ino());
            census.entries.push(Entry { kind, used, path, inode });
        }
    }
    for path in list(&root.join("trees"))? {
        let Ok(used) = folder_used(&path) else { continue };
        census.stats.folders += 1;
        for_each_file(&path, &mut |_, metadata| {
            census.count(metadata);
            if metadata.nlink() > 1 {
                let linked = census.linked.entry(metadata.ino()).or_insert(used);
                *linked = used.max(*linked);
            }
            Ok(())
        })?;
        census.entries.push(Entry { kind: Kind::Folder, used, path, inode: 0 });
    }
    for path in list(&root.join("keep"))? {
        let Ok(used) = kept_used(&path) else { continue };
        census.stats.kept += 1;
        for_each_file(&path, &mut |_, metadata| {
            census.count(metadata);
            Ok(())
        })?;
        census.entries.push(Entry { kind: Kind::Kept, used, path, inode: 0 });
    }
    Ok(census)
}

impl Census {
    fn count(&mut self, metadata: &Metadata) {
        if self.counted.insert(metadata.ino()) {
            self.stats.bytes += metadata.blocks() * 512;
        }
    }
}

/// Returns when what is kept at `place` was last used.
fn kept_used(place: &Path) -> io::Result<Stamp> {
    let now = fs::symlink_metadata(place.join("now"));
    now.or_else(|_| fs::symlink_metadata(place)).map(|metadata| Stamp::changed(&metadata))
}

/// Returns when the folder at `place` was last used.
fn folder_used(place: &Path) -> io::Result<Stamp> {
    match fs::symlink_metadata(place.join("manifest")) {
        Ok(metadata) => Ok(Stamp::accessed(&metadata)),
        // A torn one: nobody can use it.
        Err(_) => fs::symlink_metadata(place).map(|metadata| Stamp::changed(&metadata)),
    }
}

/// Removes a file or directory; returns the bytes that this freed.
fn remove_all(path: &Path) -> Result<u64, CacheError> {
    let mut freed = 0;
    for_each_file(path, &mut |path, metadata| {
        fs::remove_file(path).map_err(failed("remove", path))?;
        if metadata.nlink() == 1 {
            freed += metadata.blocks() * 512;
        }
        Ok(())
    })?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        Ok(()) | Err(_) => Ok(freed),
    }
}

/// Calls `visit` for `path` or, if it is a directory, for all files and links at any depth in it.
/// What vanishes meanwhile is left out.
fn for_each_file(
    path: &Path,
    visit: &mut impl FnMut(&Path, &Metadata) -> Result<(), CacheError>,
) -> Result<(), CacheError> {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => open.extend(list(&path)?),
            Ok(metadata) => visit(&path, &metadata)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at", &path)(error)),
        }
    }
    Ok(())
}

/// Returns the paths of what is in `directory`; none if it is not there.
fn list(directory: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", directory)(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<io::Result<_>>().map_err(failed("list", directory))
}

/// Returns the paths of what is in the directories in `directory`.
fn list_sharded(directory: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let mut paths = Vec::new();
    for shard in list(directory)? {
        if shard.is_dir() {
            paths.extend(list(&shard)?);
        }
    }
    Ok(paths)
}

fn check_blob(path: &Path) -> io::Result<Option<Damage>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Ok(digest) = name.strip_suffix(".x").unwrap_or(name).parse::<Digest>() else {
        return Ok(Some(Damage::Malformed));
    };
    let file = match open_unnoticed(path) {
        Ok(file) if file.metadata()?.is_file() => file,
        Ok(_) => return Ok(Some(Damage::Unreadable)),
        Err(error) => return super::blobs::unreadable(error).map(Some),
    };
    match hash(&file) {
        Ok((found, _)) => Ok((found != digest).then_some(Damage::Mismatch)),
        Err(error) => super::blobs::unreadable(error).map(Some),
    }
}

fn check_record(path: &Path) -> io::Result<Option<Damage>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Ok(key) = name.parse() else { return Ok(Some(Damage::Malformed)) };
    match open_unnoticed(path).and_then(read_record) {
        Ok(bytes) => Ok((!is_record(key, &bytes)).then_some(Damage::Malformed)),
        Err(error) => super::blobs::unreadable(error).map(Some),
    }
}

/// Opens a file without moving its access time: to verify is not to use.
fn open_unnoticed(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOATIME;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Blob, Node, Out, Record, Tree};

    const BLOB_BYTES: usize = 64 * 1024;

    /// A blob of its own for each number, of [`BLOB_BYTES`].
    fn put(store: &Store, number: u8) -> Blob {
        store.put(&[number; BLOB_BYTES]).unwrap()
    }

    fn record(store: &Store, key: &[u8], blob: Blob) -> Digest {
        let key = Digest::of(key);
        let record = Record {
            key,
            outs: [("out".to_owned(), Out::File { blob, executable: false })].into(),
            log: None,
            action: None,
            exit_code: 0,
            elapsed_millis: 1,
            peak_memory_bytes: None,
            level: "full".to_owned(),
            warm: false,
            had_secrets: false,
        };
        store.put_record(&record).unwrap();
        key
    }

    fn tree(blobs: &[Blob]) -> Tree {
        let mut tree = Tree::default();
        for (number, blob) in blobs.iter().enumerate() {
            let node = Node::File { blob: *blob, executable: false };
            tree.insert(number.to_string(), node).unwrap();
        }
        tree
    }

    /// Opens the store for a run that begins after all that was done so far, by the clock of the
    /// filesystem: it ticks a few hundred times a second.
    fn later_run(directory: &Path) -> Store {
        let file = tempfile::NamedTempFile::new_in(directory).unwrap();
        let now = Stamp::changed(&file.as_file().metadata().unwrap());
        loop {
            let store = Store::open(directory).unwrap();
            if store.lease.start() > now {
                return store;
            }
        }
    }

    #[test]
    fn the_least_recently_used_goes_first_and_only_as_much_as_needed() {
        let directory = tempfile::tempdir().unwrap();
        let [old, young] = {
            let store = Store::open(directory.path()).unwrap();
            [1, 2].map(|number| put(&store, number))
        };
        let next = later_run(directory.path());
        assert!(next.has(young));
        drop(next);
        let store = later_run(directory.path());
        let before = store.stats().unwrap();
        assert_eq!((before.blobs, before.bytes), (2, 2 * BLOB_BYTES as u64));
        let collected = store.gc(before.bytes - 1).unwrap().unwrap();
        let bytes = BLOB_BYTES as u64;
        assert_eq!(collected, Collected { removed: 1, freed_bytes: bytes, bytes });
        assert!(!store.has(old) && store.has(young));
    }

    #[test]
    fn a_store_below_its_size_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let blob = put(&Store::open(directory.path()).unwrap(), 1);
        let store = later_run(directory.path());
        assert_eq!(store.gc(1 << 20).unwrap().unwrap().removed, 0);
        assert!(store.has(blob));
    }

    #[test]
    fn nothing_that_a_live_run_made_or_used_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (used, unused, recorded, listed, key);
        {
            let store = Store::open(directory.path()).unwrap();
            [used, unused, recorded, listed] = [1, 2, 3, 4].map(|number| put(&store, number));
            key = record(&store, b"key", recorded);
            store.materialise(&tree(&[listed])).unwrap();
        }
        let live = later_run(directory.path());
        let made = put(&live, 5);
        assert_eq!(live.read(used).unwrap().len(), BLOB_BYTES);
        assert!(live.lookup(key).is_some());
        let folder = live.materialise(&tree(&[listed])).unwrap();
        let collector = Store::open(directory.path()).unwrap();
        collector.gc(0).unwrap().unwrap();
        assert!(live.has(made) && live.has(used) && !live.has(unused) && live.has(listed));
        assert!(live.lookup(key).is_some());
        assert_eq!(fs::read(folder.path().join("0")).unwrap().len(), BLOB_BYTES);
    }

    #[test]
    fn a_folder_that_is_held_stays_even_if_its_stamp_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let folder = store.materialise(&tree(&[put(&store, 1)])).unwrap();
        let place = folder.path().parent().unwrap();
        let future = Stamp::changed(&fs::metadata(place).unwrap()).later(Duration::from_secs(9));
        assert_eq!(store.remove_folder(place, future).unwrap(), None);
        let place = place.to_owned();
        drop(folder);
        assert!(store.remove_folder(&place, future).unwrap().is_some());
    }

    #[test]
    fn everything_goes_when_nobody_uses_it_and_space_is_counted_once() {
        let directory = tempfile::tempdir().unwrap();
        {
            let store = Store::open(directory.path()).unwrap();
            let blobs = [1, 2, 1].map(|number| put(&store, number));
            store.materialise(&tree(&blobs)).unwrap();
            record(&store, b"key", blobs[0]);
            fs::write(store.root.join("quarantine/bad"), "bad").unwrap();
        }
        let store = later_run(directory.path());
        let before = store.stats().unwrap();
        assert_eq!((before.records, before.blobs, before.folders), (1, 2, 1));
        let bytes = 3 * BLOB_BYTES as u64;
        assert!((bytes..bytes + 32 * 1024).contains(&before.bytes), "{before:?}");
        assert_eq!(before.quarantined, 1);
        let collected = store.gc(0).unwrap().unwrap();
        assert_eq!((collected.freed_bytes, collected.bytes), (before.bytes, 0));
        assert_eq!(store.stats().unwrap(), Stats::default());
    }

    #[test]
    fn two_collections_do_not_run_at_once_and_one_is_not_due_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let day = Duration::from_secs(24 * 3600);
        assert!(store.is_collection_due(day));
        store.gc(0).unwrap().unwrap();
        assert!(!store.is_collection_due(day));
        let marker = File::open(store.root.join("collected")).unwrap();
        rustix::fs::flock(&marker, FlockOperation::LockExclusive).unwrap();
        assert_eq!(store.gc(0).unwrap(), None);
    }

    #[test]
    fn an_older_run_does_not_hide_what_a_younger_one_uses() {
        let directory = tempfile::tempdir().unwrap();
        let older = Store::open(directory.path()).unwrap();
        let untouched = put(&older, 2);
        std::thread::sleep(Duration::from_millis(20));
        let younger = Store::open(directory.path()).unwrap();
        let made = put(&younger, 1);
        assert_eq!(put(&older, 1), made);
        drop(older);
        Store::open(directory.path()).unwrap().gc(0).unwrap().unwrap();
        assert!(younger.has(made) && !younger.has(untouched));
    }

    #[test]
    fn what_a_collection_puts_back_was_never_away() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.gc(u64::MAX).unwrap().unwrap();
        let blob = put(&store, 1);
        let (place, aside) = (store.blob_path(blob.digest, false), store.lease.fresh_path());
        let looks: [fn(&Store, crate::cache::Blob) -> bool; 2] =
            [|store, blob| store.has(blob), |store, blob| store.read(blob).is_ok()];
        for look in looks {
            let marker = File::open(store.root.join("collected")).unwrap();
            rustix::fs::flock(&marker, FlockOperation::LockExclusive).unwrap();
            fs::rename(&place, &aside).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(20));
                    fs::rename(&aside, &place).unwrap();
                    drop(marker);
                });
                assert!(look(&store, blob));
            });
        }
        fs::remove_file(&place).unwrap();
        assert!(!store.has(blob) && store.read(blob).is_err());
    }

    #[test]
    fn verification_finds_every_damaged_blob_record_and_folder() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let blobs = [1, 2, 3].map(|number| put(&store, number));
        let keys = [b"a", b"b"].map(|key| record(&store, key, blobs[0]));
        let tree = tree(&blobs);
        let folder = store.materialise(&tree).unwrap();
        assert_eq!(store.verify().unwrap(), Checkup { checked: 5, damaged: 0 });
        // The blob is also a file of the folder.
        let time = fs::metadata(folder.path().join("1")).unwrap().modified().unwrap();
        fs::write(folder.path().join("1"), [9; BLOB_BYTES]).unwrap();
        File::open(folder.path().join("1")).unwrap().set_modified(time).unwrap();
        fs::write(store.record_path(keys[1]), "garbage").unwrap();
        fs::write(store.root.join("cas/garbage"), "garbage").unwrap();
        drop(folder);
        assert_eq!(store.verify().unwrap(), Checkup { checked: 5, damaged: 2 });
        assert_eq!(store.take_warnings().len(), 2);
        assert!(store.materialise(&tree).unwrap_err().is_miss());
        put(&store, 2);
        let folder = store.materialise(&tree).unwrap();
        assert_eq!(fs::read(folder.path().join("1")).unwrap(), [2; BLOB_BYTES]);
    }

    #[test]
    fn collecting_beside_busy_runs_costs_no_run_a_blob() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let directory = directory.path();
                scope.spawn(move || {
                    for round in 0..30_u8 {
                        let store = Store::open(directory).unwrap();
                        if thread == 0 {
                            store.gc(0).unwrap();
                            continue;
                        }
                        let blobs = [1, 2, 3 + round % 3].map(|number| put(&store, number));
                        let folder = store.materialise(&tree(&blobs)).unwrap();
                        assert!(blobs.iter().all(|blob| store.has(*blob)));
                        assert_eq!(fs::read(folder.path().join("0")).unwrap(), [1; BLOB_BYTES]);
                        assert!(store.take_warnings().is_empty());
                    }
                });
            }
        });
    }
}
