//! The memory of files: what each file of the project held when it was last read. Knows stat data,
//! clocks and digests; does not know what the files are for.
//!
//! A digest is believed as long as device, inode, size, mode and both times are the same, and only
//! if the file was older than a tick of the filesystem's own clock when it was read: a later edit
//! then has another time. What was younger is read again.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::planted::{Bug, is_planted};

/// Two times of one filesystem closer than this may be equal on disk: Linux stamps files with the
/// time of the last timer tick, at most 10 ms ago.
const TICK_NANOS: i64 = 20_000_000;

/// The same for filesystems that are not the project's own, whose clock we do not know.
const FOREIGN_TICK_NANOS: i64 = 3_000_000_000;

/// How files are opened to be read: no link is followed, and no pipe waited for.
const FILE_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// How often a file that is edited while it is read is read again.
const MAX_READS: usize = 5;

/// What the filesystem says of a file without reading it; by default of no file at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stat {
    dev: u64,
    ino: u64,
    size: u64,
    mode: u32,
    /// Nanoseconds since 1970.
    mtime: i64,
    /// Nanoseconds since 1970.
    ctime: i64,
}

impl Stat {
    /// Returns the stat data of what is at `path`, links not followed.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::lstat(path)?))
    }

    fn from(stat: &rustix::fs::Stat) -> Self {
        let nanos =
            |secs: i64, nanos: u64| secs.saturating_mul(1_000_000_000).saturating_add(nanos as i64);
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size as u64,
            mode: stat.st_mode,
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime: match is_planted(Bug::IgnoreChangeTimes) {
                true => 0,
                false => nanos(stat.st_ctime, stat.st_ctime_nsec),
            },
        }
    }

    /// Returns the stat data of what is at `path` below the open folder `root`, links not followed.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn below(root: impl AsFd, path: &Path) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Returns when it was last changed in any way, in nanoseconds since 1970.
    pub(crate) fn changed(&self) -> i64 {
        self.ctime
    }

    /// Returns whether it is of a directory.
    pub(crate) fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    fn last_change(&self) -> i64 {
        self.mtime.max(self.ctime)
    }
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Seen {
    /// A regular file.
    File {
        /// The digest of its bytes.
        digest: Digest,
        /// How many there are.
        size: u64,
        /// Whether its owner may run it.
        executable: bool,
    },
    /// A symbolic link and what it holds.
    Link(Box<[u8]>),
    /// A folder, a pipe or another thing that is no input.
    Odd,
}

/// A file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    stat: Stat,
    seen: Seen,
    /// Whether it was so young that an edit might not have changed its times.
    is_racy: bool,
}

/// The clock of the project's filesystem at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    dev: u64,
    nanos: i64,
}

impl Clock {
    /// Reads the clock of the filesystem that `folder` is on, by making a file there.
    ///
    /// # Errors
    /// If no file can be made there.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let stat = Stat::from(&rustix::fs::fstat(&tempfile::tempfile_in(folder)?)?);
        Ok(Self { dev: stat.dev, nanos: stat.mtime })
    }

    /// Returns a clock before all times: with it nothing is believed.
    pub(crate) fn unknown() -> Self {
        Self { dev: 0, nanos: i64::MIN }
    }

    /// Returns a clock for which everything in `folder` is long ago.
    #[cfg(test)]
    pub(crate) fn far_ahead(folder: &Path) -> Self {
        let clock = Self::read(folder).unwrap();
        Self { nanos: clock.nanos + 10_000_000_000, ..clock }
    }

    /// Returns whether a file with these times, read now, may be edited without a change of them.
    pub(crate) fn is_racy(&self, stat: &Stat) -> bool {
        let tick = if stat.dev == self.dev { TICK_NANOS } else { FOREIGN_TICK_NANOS };
        stat.last_change() >= self.nanos.saturating_sub(tick)
    }
}

/// What is known of the project's files. Shared by threads.
pub(crate) struct Memory {
    root: PathBuf,
    /// Read before the first file is: a run that reads none needs no clock.
    clock: OnceLock<Clock>,
    /// Where the clock is read; `None` where it is known or cannot be.
    clock_folder: Option<PathBuf>,
    /// As earlier runs left it, by project path.
    old: BTreeMap<Box<str>, Record>,
    /// Looked at in this run: each path once, so that all steps of a run agree.
    now: Mutex<HashMap<Box<str>, Slot>>,
    /// Folders that were looked at as a whole.
    taken: Mutex<BTreeMap<Box<str>, Taken>>,
    /// The files that are not as earlier runs left them, once they were looked for.
    changed: OnceLock<Vec<Box<str>>>,
    /// Whether a file became another one after it was looked at.
    is_unsteady: AtomicBool,
    /// Whether a folder was looked at as a whole, and was not as before.
    has_taken: AtomicBool,
}

/// What stands at a path, once it was looked at; locked while someone looks.
type Slot = Arc<Mutex<Option<Record>>>;

/// A folder that was looked at as a whole: never looked into again as long as the folder itself is
/// the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    stat: Stat,
    digest: Digest,
    size: u64,
}

impl Memory {
    /// Returns a memory that knows nothing yet.
    #[cfg(test)]
    pub(crate) fn empty(root: &Path, clock: Clock) -> Self {
        Self::new(root, clock, BTreeMap::new(), BTreeMap::new())
    }

    pub(super) fn new(
        root: &Path,
        clock: Clock,
        old: BTreeMap<Box<str>, Record>,
        taken: BTreeMap<Box<str>, Taken>,
    ) -> Self {
        let taken = Mutex::new(taken);
        let (root, now, changed) = (root.to_owned(), Mutex::default(), OnceLock::new());
        let (is_unsteady, has_taken) = Default::default();
        let (clock, clock_folder) = (clock.into(), None);
        Self { root, clock, clock_folder, old, now, taken, changed, is_unsteady, has_taken }
    }

    /// Returns the memory with the clock of the filesystem that `folder` is on, instead of its own.
    pub(super) fn with_clock_of(self, folder: &Path) -> Self {
        Self { clock: OnceLock::new(), clock_folder: Some(folder.to_owned()), ..self }
    }

    /// Returns what stands at a project path; reads it only if it is new, changed or too young.
    ///
    /// # Errors
    /// What the file system says; [`io::ErrorKind::ResourceBusy`] for a file that is edited all
    /// the time.
    pub(crate) fn look(&self, path: &str) -> io::Result<Seen> {
        let slot = self.slot(path);
        let mut slot = lock(&slot);
        if let Some(record) = &*slot {
            return Ok(record.seen.clone());
        }
        let place = self.root.join(path);
        let stat = Stat::of(&place)?;
        let record = match self.old.get(path) {
            Some(record) if record.stat == stat && !record.is_racy => record.clone(),
            _ => read(&place, self.clock())?,
        };
        let seen = record.seen.clone();
        *slot = Some(record);
        Ok(seen)
    }

    fn slot(&self, path: &str) -> Slot {
        let mut now = lock(&self.now);
        match now.get(path) {
            Some(slot) => Arc::clone(slot),
            None => Arc::clone(now.entry(path.into()).or_default()),
        }
    }

    /// Reads what stands at a project path, whatever is remembered of it.
    ///
    /// # Errors
    /// As of [`Memory::look`].
    pub(crate) fn read_again(&self, path: &str) -> io::Result<Seen> {
        let slot = self.slot(path);
        let mut slot = lock(&slot);
        let before = slot.take();
        let record = read(&self.root.join(path), self.clock())?;
        if before.is_some_and(|before| before.seen != record.seen) {
            self.is_unsteady.store(true, Ordering::Relaxed);
        }
        Ok(slot.insert(record).seen.clone())
    }

    /// Returns whether a file became another one after it was looked at in this run: then some of what
    /// the run did may be of the one, and some of the other.
    pub(crate) fn is_unsteady(&self) -> bool {
        self.is_unsteady.load(Ordering::Relaxed)
    }

    /// Returns the clock that tells what is too young to be believed.
    pub(super) fn clock(&self) -> Clock {
        let read = || self.clock_folder.as_deref().and_then(|folder| Clock::read(folder).ok());
        *self.clock.get_or_init(|| read().unwrap_or(Clock::unknown()))
    }

    /// Notes that a reader saw these bytes at a project path.
    pub(super) fn note(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        if let Seen::File { digest, .. } = self.look(path)?
            && digest != Digest::of(bytes)
        {
            // It was edited in between: the reader's bytes are not to be believed next time.
            *lock(&self.slot(path)) = None;
        }
        Ok(())
    }

    /// Returns the name that a folder, looked at as a whole, had when it was in that state.
    pub(crate) fn taken(&self, path: &str, stat: &Stat) -> Option<(Digest, u64)> {
        let taken = lock(&self.taken);
        let taken = taken.get(path).filter(|taken| taken.stat == *stat);
        if taken.is_none() {
            // What is looked at now is judged by a clock from before.
            self.clock();
        }
        taken.map(|taken| (taken.digest, taken.size))
    }

    /// Notes the name of a folder that was looked at as a whole, unless it is so young that a change
    /// might not show.
    pub(crate) fn note_taken(&self, path: &str, stat: Stat, (digest, size): (Digest, u64)) {
        if self.clock().is_racy(&stat) {
            return;
        }
        let mut taken = lock(&self.taken);
        // A name has the state before the last blank, and nobody asks for an older one again.
        let place = |name: &str| name.rsplit(' ').next().map(str::to_owned);
        taken.retain(|name, _| place(name) != place(path));
        taken.insert(path.into(), Taken { stat, digest, size });
        self.has_taken.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`Memory::note_taken`] noted anything in this run.
    pub(super) fn has_newly_taken(&self) -> bool {
        self.has_taken.load(Ordering::Relaxed)
    }

    /// Returns all that [`Memory::note_taken`] noted.
    pub(super) fn all_taken(&self) -> BTreeMap<Box<str>, Taken> {
        lock(&self.taken).clone()
    }

    /// Returns what stood at a project path when an earlier run looked.
    #[cfg(test)]
    pub(crate) fn before(&self, path: &str) -> Option<&Seen> {
        self.old.get(path).map(|record| &record.seen)
    }

    /// Returns whether a file that was looked at in this run is another one than before.
    pub(super) fn has_news(&self) -> bool {
        let now = lock(&self.now);
        let mut slots = now.iter().map(|(path, slot)| (path, lock(slot)));
        slots.any(|(path, slot)| match (&*slot, self.old.get(path)) {
            (Some(record), Some(old)) => record.seen != old.seen,
            (None, old) => old.is_some(),
            (Some(_), None) => false,
        })
    }

    /// Returns whether all files that earlier runs looked at, among them `paths`, are as they
    /// were. Files that are too young to tell are read.
    pub(crate) fn is_unchanged<'a>(&self, paths: impl Iterator<Item = &'a str>) -> bool {
        let records: Option<Vec<_>> = paths.map(|path| Some((path, self.old.get(path)?))).collect();
        records.is_some_and(|records| self.changed_of(&records).is_empty())
    }

    /// Returns the files that are not as earlier runs left them, sorted by path. They are looked for
    /// once; what is edited later is the next run's affair.
    pub(crate) fn changed(&self) -> &[Box<str>] {
        self.changed.get_or_init(|| {
            let records: Vec<_> = self.old.iter().map(|(path, record)| (&**path, record)).collect();
            in_halves(&records, |part| self.changed_of(part))
        })
    }

    /// Returns whether a file had to be read in this run, or was looked at by name.
    pub(crate) fn has_looked(&self) -> bool {
        !lock(&self.now).is_empty()
    }

    /// Returns whether earlier runs looked at all of these paths, which are sorted.
    pub(crate) fn knows_all(&self, paths: &[String]) -> bool {
        let Some(first) = paths.first() else { return true };
        let from = |path: &String| {
            let path = Bound::Included(path.as_str());
            self.old.range::<str, _>((path, Bound::Unbounded))
        };
        // Most stand beside each other.
        let mut known = from(first);
        paths.iter().all(|path| {
            known.next().is_some_and(|(found, _)| **found == **path) || {
                known = from(path);
                known.next().is_some_and(|(found, _)| **found == **path)
            }
        })
    }

    /// Sorted paths stand together by folder, so a folder is opened once for all in it.
    fn changed_of(&self, records: &[(&str, &Record)]) -> Vec<Box<str>> {
        let mut open: Option<(&str, Option<OwnedFd>)> = None;
        let mut changed = Vec::new();
        for (path, record) in records {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            if open.as_ref().is_none_or(|(opened, _)| *opened != folder) {
                open = Some((folder, open_folder(&self.root.join(folder)).ok()));
            }
            let handle = open.as_ref().and_then(|(_, handle)| handle.as_ref());
            let is_same = handle.is_some_and(|handle| self.is_same(path, (handle, name), record));
            if !is_same {
                changed.push((*path).into());
            }
        }
        changed
    }

    /// Returns whether the file `name` in an open folder holds what its record says.
    fn is_same(&self, path: &str, (folder, name): (&OwnedFd, &str), record: &Record) -> bool {
        let Ok(stat) = Stat::below(folder, Path::new(name)) else { return false };
        if stat == record.stat && !record.is_racy {
            return true;
        }
        let slot = self.slot(path);
        let mut slot = lock(&slot);
        if slot.is_none() {
            *slot = read_below(folder, name, stat, self.clock());
        }
        match &*slot {
            Some(again) => again.seen == record.seen,
            None => {
                drop(slot);
                self.look(path).is_ok_and(|seen| seen == record.seen)
            }
        }
    }

    /// Returns the records to keep: those of this run over those of earlier ones.
    pub(super) fn records(&self, clock: Clock) -> BTreeMap<Box<str>, Record> {
        let mut records = self.old.clone();
        for (path, record) in self.news(clock) {
            match record {
                Some(record) => records.insert(path, record),
                None => records.remove(&path),
            };
        }
        records
    }

    /// Returns the records of this run that differ from those of earlier ones; `None` for files of
    /// which nothing is known any more. What was too young is read once more if it no longer is, so
    /// that the next run need not.
    pub(super) fn news(&self, clock: Clock) -> BTreeMap<Box<str>, Option<Record>> {
        let slots: Vec<_> =
            lock(&self.now).iter().map(|(path, slot)| (path.clone(), Arc::clone(slot))).collect();
        let mut news = BTreeMap::new();
        for (path, slot) in slots {
            let record = lock(&slot).clone();
            let record =
                record.map(|record| match record.is_racy && !clock.is_racy(&record.stat) {
                    // Another content is the next run's affair: it must see the change.
                    true => read(&self.root.join(&*path), clock)
                        .ok()
                        .filter(|again| again.seen == record.seen)
                        .unwrap_or(record),
                    false => record,
                });
            if record.as_ref() != self.old.get(&path) {
                news.insert(path, record);
            }
        }
        news
    }
}

/// Reads what stands at `path`, and once more if it was edited meanwhile.
fn read(path: &Path, clock: Clock) -> io::Result<Record> {
    for _ in 0..MAX_READS {
        let stat = Stat::of(path)?;
        let seen = match FileType::from_raw_mode(stat.mode) {
            FileType::RegularFile => read_file(path)?,
            FileType::Symlink => {
                let target = std::fs::read_link(path)?;
                Some(Seen::Link(target.as_os_str().as_bytes().into()))
            }
            _ => Some(Seen::Odd),
        };
        if let Some(seen) = seen.filter(|_| Stat::of(path).is_ok_and(|after| after == stat)) {
            return Ok(Record { stat, seen, is_racy: clock.is_racy(&stat) });
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is edited all the time"))
}

/// Reads a regular file in an open folder; `None` if it is none, or no longer the one with that stat
/// data.
fn read_below(folder: &OwnedFd, name: &str, stat: Stat, clock: Clock) -> Option<Record> {
    if FileType::from_raw_mode(stat.mode) != FileType::RegularFile {
        return None;
    }
    let file = rustix::fs::openat(folder, name, FILE_FLAGS, Mode::empty()).ok()?;
    let (seen, before) = read_open(&File::from(file)).ok()??;
    (before == stat).then(|| Record { stat, seen, is_racy: clock.is_racy(&stat) })
}

/// Returns `None` for a file that was edited while it was read.
fn read_file(path: &Path) -> io::Result<Option<Seen>> {
    let file = rustix::fs::open(path, FILE_FLAGS, Mode::empty())?;
    Ok(read_open(&File::from(file))?.map(|(seen, _)| seen))
}

/// Returns what an open file holds, with its stat data; `None` if it is no regular file, or was edited
/// while it was read.
fn read_open(file: &File) -> io::Result<Option<(Seen, Stat)>> {
    let before = Stat::from(&rustix::fs::fstat(file)?);
    if FileType::from_raw_mode(before.mode) != FileType::RegularFile {
        return Ok(None);
    }
    let (digest, size) = Digest::of_reader(file)?;
    let after = Stat::from(&rustix::fs::fstat(file)?);
    let executable = before.mode & 0o100 != 0;
    let is_whole = before == after && size == after.size;
    Ok(is_whole.then_some((Seen::File { digest, size, executable }, before)))
}

/// Returns what `look` finds in `list`, in order; two threads look if it is long.
pub(super) fn in_halves<T: Sync, R: Send>(
    list: &[T],
    look: impl Fn(&[T]) -> Vec<R> + Sync,
) -> Vec<R> {
    const WORTH_IT: usize = 256;
    if list.len() < WORTH_IT {
        return look(list);
    }
    let (front, back) = list.split_at(list.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| look(back));
        let mut found = look(front);
        found.extend(other.join().expect("to look does not panic"));
        found
    })
}

/// Opens a folder to look at what is in it.
pub(super) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

pub(super) fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(root: &Path, old: BTreeMap<Box<str>, Record>) -> Memory {
        Memory::new(root, Clock::read(root).unwrap(), old, BTreeMap::new())
    }

    fn file(bytes: &[u8]) -> Seen {
        Seen::File { digest: Digest::of(bytes), size: bytes.len() as u64, executable: false }
    }

    #[test]
    fn an_edit_of_equal_size_within_a_tick_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for round in 0..50_u8 {
            std::fs::write(&path, [round]).unwrap();
            let first = memory(folder.path(), BTreeMap::new());
            assert_eq!(first.look("a").unwrap(), file(&[round]));
            let records = first.records(Clock::read(folder.path()).unwrap());
            std::fs::write(&path, [round + 100]).unwrap();
            let second = memory(folder.path(), records);
            assert!(!second.changed().is_empty());
            assert_eq!(second.look("a").unwrap(), file(&[round + 100]));
        }
    }

    #[test]
    fn old_files_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        std::fs::write(folder.path().join("d/a"), "x").unwrap();
        let first = Memory::new(
            folder.path(),
            Clock::far_ahead(folder.path()),
            BTreeMap::new(),
            BTreeMap::new(),
        );
        first.look("d/a").unwrap();
        let mut records = first.records(Clock::far_ahead(folder.path()));
        let Some(record) = records.get_mut("d/a") else { panic!("it was looked at") };
        assert!(!record.is_racy);
        record.seen = file(b"planted");
        let second = memory(folder.path(), records);
        assert!(second.changed().is_empty());
        assert_eq!(second.look("d/a").unwrap(), file(b"planted"), "believed, not read");
    }

    #[test]
    fn times_that_go_backward_are_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "x").unwrap();
        let first = Memory::new(
            folder.path(),
            Clock::far_ahead(folder.path()),
            BTreeMap::new(),
            BTreeMap::new(),
        );
        first.look("a").unwrap();
        let records = first.records(Clock::far_ahead(folder.path()));
        std::fs::write(&path, "y").unwrap();
        let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
        assert!(!memory(folder.path(), records).changed().is_empty());
    }

    #[test]
    fn a_touched_file_is_read_and_found_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "x").unwrap();
        let first = memory(folder.path(), BTreeMap::new());
        first.look("a").unwrap();
        let records = first.records(Clock::far_ahead(folder.path()));
        let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
        assert!(memory(folder.path(), records).changed().is_empty());
    }

    #[test]
    fn what_is_gone_is_a_change_and_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "x").unwrap();
        let first = memory(folder.path(), BTreeMap::new());
        first.look("a").unwrap();
        let records = first.records(Clock::far_ahead(folder.path()));
        std::fs::remove_file(&path).unwrap();
        let second = memory(folder.path(), records);
        assert!(!second.changed().is_empty());
        assert!(second.look("a").is_err());
        assert!(second.records(Clock::far_ahead(folder.path())).is_empty());
    }

    #[test]
    fn links_are_links() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("b", folder.path().join("a")).unwrap();
        let memory = memory(folder.path(), BTreeMap::new());
        assert_eq!(memory.look("a").unwrap(), Seen::Link((*b"b").into()));
        assert_eq!(memory.look("").unwrap(), Seen::Odd);
    }
}
