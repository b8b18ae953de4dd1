//! The memory of files: what each file of the project held when it was last read. Knows stat data,
//! clocks and digests; does not know what the files are for.
//!
//! A digest is believed as long as device, inode, size, mode and both times are the same, and only
//! if the file was older than a tick of the filesystem's own clock when it was read: a later edit
//! then has another time. What was younger is read again.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

use super::stat::{Clock, Stat};

/// How files are opened to be read: no link is followed, and no pipe waited for.
const FILE_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// So many files are never a large part of a project.
const MUCH_NEWS: usize = 1000;

/// Files of at most so many bytes are read in one go.
const SMALL: usize = 16 * 1024;

/// How often a file that is edited while it is read is read again.
const MAX_READS: usize = 5;

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

/// What is known of the project's files. Shared by threads.
pub(crate) struct Memory {
    root: PathBuf,
    /// Read before the first file is: a run that reads none needs no clock.
    clock: OnceLock<Clock>,
    /// Where the clock is read; `None` where it is known or cannot be.
    clock_folder: Option<PathBuf>,
    /// As earlier runs left it, sorted by project path.
    old: Files,
    /// Looked at in this run: each path once, so that all steps of a run agree.
    now: Mutex<HashMap<Box<str>, Slot>>,
    /// Folders that were looked at as a whole.
    taken: Mutex<BTreeMap<Box<str>, Taken>>,
    /// What became of all files of earlier runs, once that was looked for.
    scan: OnceLock<Scan>,
    /// Whether a file became another one after it was looked at.
    is_unsteady: AtomicBool,
    /// Whether a folder was looked at as a whole, and was not as before.
    has_taken: AtomicBool,
}

/// Records of files, sorted by project path.
pub(super) type Files = Vec<(Box<str>, Record)>;

/// Changes of [`Files`], sorted; `None` for files of which nothing is known any more.
pub(super) type FileChanges = Vec<(Box<str>, Option<Record>)>;

/// What became of the files of earlier runs.
#[derive(Default)]
struct Scan {
    /// The paths of those that are not as they were, sorted.
    changed: Vec<Box<str>>,
    /// Those that had to be read, by their places, ascending.
    again: Vec<(usize, Record)>,
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
        Self::new(root, clock, Files::new(), BTreeMap::new())
    }

    pub(super) fn new(
        root: &Path,
        clock: Clock,
        old: Files,
        taken: BTreeMap<Box<str>, Taken>,
    ) -> Self {
        let taken = Mutex::new(taken);
        let (root, now, scan) = (root.to_owned(), Mutex::default(), OnceLock::new());
        let (is_unsteady, has_taken) = Default::default();
        let (clock, clock_folder) = (clock.into(), None);
        Self { root, clock, clock_folder, old, now, taken, scan, is_unsteady, has_taken }
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
        let known = self.read_in_scan(path).or_else(|| self.old(path));
        let record = match known {
            Some(record) if record.stat == stat && !record.is_racy => record.clone(),
            _ => read(&place, self.clock())?,
        };
        let seen = record.seen.clone();
        *slot = Some(record);
        Ok(seen)
    }

    /// Returns what earlier runs found at a project path.
    fn old(&self, path: &str) -> Option<&Record> {
        Some(&self.old[self.place(path)?].1)
    }

    fn place(&self, path: &str) -> Option<usize> {
        self.old.binary_search_by(|(other, _)| (**other).cmp(path)).ok()
    }

    /// Returns what was read at a project path when all files were looked at.
    fn read_in_scan(&self, path: &str) -> Option<&Record> {
        let again = &self.scan.get()?.again;
        let place = self.place(path)?;
        let found = again.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        Some(&again[found].1)
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

    /// Returns the paths of the files that earlier runs looked at.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.old.iter().map(|(path, _)| &**path)
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
        self.old(path).map(|record| &record.seen)
    }

    /// Returns whether all files that earlier runs looked at, among them `paths`, are as they
    /// were. Files that are too young to tell are read.
    pub(crate) fn is_unchanged<'a>(&self, mut paths: impl Iterator<Item = &'a str>) -> bool {
        paths.all(|path| {
            self.old(path).is_some_and(|record| match Stat::of(&self.root.join(path)) {
                Ok(stat) if stat == record.stat && !record.is_racy => true,
                _ => self.look(path).is_ok_and(|seen| seen == record.seen),
            })
        })
    }

    /// Returns the files that are not as earlier runs left them, sorted by path. They are looked for
    /// once; what is edited later is the next run's affair.
    pub(crate) fn changed(&self) -> &[Box<str>] {
        let scan = || {
            let places: Vec<_> = (0..self.old.len()).collect();
            let scans = in_halves(&places, |part| vec![self.scan(part)]);
            let mut whole = Scan::default();
            for mut scan in scans {
                whole.changed.append(&mut scan.changed);
                whole.again.append(&mut scan.again);
            }
            whole
        };
        &self.scan.get_or_init(scan).changed
    }

    /// Returns whether a file had to be read in this run, or was looked at by name.
    pub(crate) fn has_looked(&self) -> bool {
        self.scan.get().is_some_and(|scan| !scan.again.is_empty()) || !lock(&self.now).is_empty()
    }

    /// Returns whether [`Memory::news`] may be about a large part of what is known.
    pub(super) fn has_much_news(&self) -> bool {
        let again = self.scan.get().map_or(0, |scan| scan.again.len());
        again + lock(&self.now).len() > MUCH_NEWS.max(self.old.len() / 4)
    }

    /// Returns whether earlier runs looked at all of these paths, which are sorted.
    pub(crate) fn knows_all(&self, paths: &[String]) -> bool {
        let mut next = 0;
        paths.iter().all(|path| {
            // Most stand beside each other.
            let is_next = self.old.get(next).is_some_and(|(known, _)| **known == **path);
            let place = if is_next { Some(next) } else { self.place(path) };
            next = place.map_or(next, |place| place + 1);
            place.is_some()
        })
    }

    /// Looks at files by their places, which are sorted. Paths that stand together by folder have it
    /// opened once.
    fn scan(&self, places: &[usize]) -> Scan {
        let mut open: Option<(&str, Option<OwnedFd>)> = None;
        let mut scan = Scan::default();
        for &place in places {
            let (path, record) = &self.old[place];
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            if open.as_ref().is_none_or(|(opened, _)| *opened != folder) {
                open = Some((folder, open_folder(&self.root.join(folder)).ok()));
            }
            let handle = open.as_ref().and_then(|(_, handle)| handle.as_ref());
            let stat = handle.and_then(|handle| Stat::below(handle, Path::new(name)).ok());
            let is_same = match (handle, stat) {
                (Some(_), Some(stat)) if stat == record.stat && !record.is_racy => true,
                (Some(handle), Some(stat)) => match read_below(handle, name, stat, self.clock()) {
                    Some(again) => {
                        let is_same = again.seen == record.seen;
                        scan.again.push((place, again));
                        is_same
                    }
                    None => self.look(path).is_ok_and(|seen| seen == record.seen),
                },
                _ => false,
            };
            if !is_same {
                scan.changed.push(path.clone());
            }
        }
        scan
    }

    /// Returns what is known with the changes that this run made.
    pub(super) fn with<'a>(&'a self, news: &'a FileChanges) -> Vec<(&'a str, &'a Record)> {
        let mut all = Vec::with_capacity(self.old.len() + news.len());
        let mut news = news.iter().peekable();
        let mut take = |before: Option<&str>, all: &mut Vec<_>| {
            let is_due = |(path, _): &&(Box<str>, _)| before.is_none_or(|before| **path <= *before);
            let mut last = None;
            while let Some((path, record)) = news.next_if(is_due) {
                last = Some(&**path);
                all.extend(record.as_ref().map(|record| (&**path, record)));
            }
            last
        };
        for (path, record) in &self.old {
            if take(Some(path), &mut all) != Some(path) {
                all.push((path, record));
            }
        }
        take(None, &mut all);
        all
    }

    /// Returns the records of this run that differ from those of earlier ones, and whether one of them
    /// has another content. What was too young is read once more if it no longer is, so that the next
    /// run need not.
    pub(super) fn news(&self, clock: Clock) -> (FileChanges, bool) {
        let mut slots: Vec<_> =
            lock(&self.now).iter().map(|(path, slot)| (path.clone(), Arc::clone(slot))).collect();
        slots.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let scanned = self.scan.get().map_or(&[][..], |scan| &scan.again);
        let is_asked =
            |path: &str| slots.binary_search_by(|(other, _)| (**other).cmp(path)).is_ok();
        let scanned = scanned.iter().filter_map(|(place, record)| {
            let path = &self.old[*place].0;
            // What was looked at by name later counts.
            (!is_asked(path)).then(|| (path.clone(), Some(record.clone()), Some(*place)))
        });
        let named =
            slots.iter().map(|(path, slot)| (path.clone(), lock(slot).clone(), self.place(path)));
        let (mut news, mut has_news) = (FileChanges::new(), false);
        for (path, record, place) in scanned.chain(named) {
            let record =
                record.map(|record| match record.is_racy && !clock.is_racy(&record.stat) {
                    // Another content is the next run's affair: it must see the change.
                    true => read(&self.root.join(&*path), clock)
                        .ok()
                        .filter(|again| again.seen == record.seen)
                        .unwrap_or(record),
                    false => record,
                });
            let old = place.map(|place| &self.old[place].1);
            if record.as_ref() != old {
                // A file that is new is nobody's news: no earlier run has seen it.
                has_news |= old.is_some_and(|old| {
                    record.as_ref().is_none_or(|record| record.seen != old.seen)
                });
                news.push((path, record));
            }
        }
        if !slots.is_empty() {
            news.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        (news, has_news)
    }
}

/// Makes changes in what is known of files.
pub(super) fn change(files: &mut Files, changes: &FileChanges) {
    for (path, record) in changes {
        match (files.binary_search_by(|(other, _)| other.cmp(path)), record) {
            (Ok(place), Some(record)) => files[place].1 = record.clone(),
            (Ok(place), None) => drop(files.remove(place)),
            (Err(place), Some(record)) => files.insert(place, (path.clone(), record.clone())),
            (Err(_), None) => {}
        }
    }
}

/// Reads what stands at `path`, and once more if it was edited meanwhile.
fn read(path: &Path, clock: Clock) -> io::Result<Record> {
    for _ in 0..MAX_READS {
        let stat = Stat::of(path)?;
        let seen = match stat.file_type() {
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
    if stat.file_type() != FileType::RegularFile {
        return None;
    }
    let mut file = File::from(rustix::fs::openat(folder, name, FILE_FLAGS, Mode::empty()).ok()?);
    let mut buffer = [0; SMALL];
    let (digest, size) = match usize::try_from(stat.size()) {
        // One look at the end tells whether this was the file, and all of it.
        Ok(size) if size <= SMALL => {
            file.read_exact(&mut buffer[..size]).ok()?;
            (Digest::of(&buffer[..size]), stat.size())
        }
        _ => Digest::of_reader(&file).ok()?,
    };
    let is_whole = size == stat.size() && Stat::of_open(&file).is_ok_and(|after| after == stat);
    let seen = Seen::File { digest, size, executable: stat.is_executable() };
    is_whole.then(|| Record { stat, seen, is_racy: clock.is_racy(&stat) })
}

/// Returns `None` for a file that was edited while it was read.
fn read_file(path: &Path) -> io::Result<Option<Seen>> {
    let file = rustix::fs::open(path, FILE_FLAGS, Mode::empty())?;
    read_open(&File::from(file))
}

/// Returns what an open file holds; `None` if it is no regular file, or was edited while it was read.
fn read_open(file: &File) -> io::Result<Option<Seen>> {
    let before = Stat::of_open(file)?;
    if before.file_type() != FileType::RegularFile {
        return Ok(None);
    }
    let (digest, size) = Digest::of_reader(file)?;
    let after = Stat::of_open(file)?;
    let is_whole = before == after && size == after.size();
    let executable = before.is_executable();
    Ok(is_whole.then_some(Seen::File { digest, size, executable }))
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

    /// Returns what the next run would know of files.
    fn kept(memory: &Memory, clock: Clock) -> Files {
        let (news, _) = memory.news(clock);
        memory.with(&news).into_iter().map(|(path, record)| (path.into(), record.clone())).collect()
    }

    fn memory(root: &Path, old: Files) -> Memory {
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
            let first = memory(folder.path(), Files::new());
            assert_eq!(first.look("a").unwrap(), file(&[round]));
            let records = kept(&first, Clock::read(folder.path()).unwrap());
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
            Files::new(),
            BTreeMap::new(),
        );
        first.look("d/a").unwrap();
        let mut records = kept(&first, Clock::far_ahead(folder.path()));
        let record = &mut records[0].1;
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
            Files::new(),
            BTreeMap::new(),
        );
        first.look("a").unwrap();
        let records = kept(&first, Clock::far_ahead(folder.path()));
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
        let first = memory(folder.path(), Files::new());
        first.look("a").unwrap();
        let records = kept(&first, Clock::far_ahead(folder.path()));
        let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
        assert!(memory(folder.path(), records).changed().is_empty());
    }

    #[test]
    fn what_is_gone_is_a_change_and_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "x").unwrap();
        let first = memory(folder.path(), Files::new());
        first.look("a").unwrap();
        let records = kept(&first, Clock::far_ahead(folder.path()));
        std::fs::remove_file(&path).unwrap();
        let second = memory(folder.path(), records);
        assert!(!second.changed().is_empty());
        assert!(second.look("a").is_err());
        assert!(kept(&second, Clock::far_ahead(folder.path())).is_empty());
    }

    #[test]
    fn links_are_links() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("b", folder.path().join("a")).unwrap();
        let memory = memory(folder.path(), Files::new());
        assert_eq!(memory.look("a").unwrap(), Seen::Link((*b"b").into()));
        assert_eq!(memory.look("").unwrap(), Seen::Odd);
    }
}
