//! Leases: which runs are alive, since when, and where their unfinished files are. Knows one
//! locked file and one directory a run; does not know what the files are for.
//!
//! `leases/<name>` is locked (flock) as long as the store is open, so the kernel ends the lease
//! of a killed process. `tmp/<name>/` is the run's scratch: whoever finds it without a live lease
//! removes it. The file's modification time is when the run began, by the filesystem's own clock.
//!
//! Every entry of the store that a run uses is stamped with the time of its first use in the run, which
//! is never before the run's begin, whatever the wall clock does. So "used since the oldest live run
//! began" is one comparison.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW};
use rustix::io::retry_on_intr;

use super::{CacheError, failed};

/// When something was last used, by the clock of filesystems. To the nanosecond where they can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    secs: i64,
    nanos: i64,
}

impl Stamp {
    /// Returns when the file was last modified.
    pub(super) fn modified(metadata: &Metadata) -> Self {
        Self { secs: metadata.mtime(), nanos: metadata.mtime_nsec() }
    }

    /// Returns when the file was last read, or said to be.
    pub(super) fn accessed(metadata: &Metadata) -> Self {
        Self { secs: metadata.atime(), nanos: metadata.atime_nsec() }
    }

    /// Returns when the file was last changed in any way, a rename among them.
    pub(super) fn changed(metadata: &Metadata) -> Self {
        Self { secs: metadata.ctime(), nanos: metadata.ctime_nsec() }
    }

    /// Returns the time that is `duration` later.
    pub(super) fn later(self, duration: std::time::Duration) -> Self {
        let secs = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self { secs: self.secs.saturating_add(secs), nanos: self.nanos }
    }

    /// Returns the time in nanoseconds since 1970, as far as they can be counted.
    pub(super) fn nanos(self) -> i64 {
        self.secs.saturating_mul(1_000_000_000).saturating_add(self.nanos)
    }

    /// Returns the time as the system takes it.
    pub(super) fn timespec(self) -> Timespec {
        Timespec { tv_sec: self.secs, tv_nsec: self.nanos as _ }
    }
}

/// The proof that this run is alive. Ends when dropped or when the process does.
pub(super) struct Lease {
    path: PathBuf,
    scratch: PathBuf,
    start: Stamp,
    next_name: AtomicU64,
    /// The lock lasts as long as the file is open.
    _locked: File,
}

impl Lease {
    /// Takes a new lease in the store `root`, and removes what dead runs left.
    pub(super) fn take(root: &Path) -> Result<Self, CacheError> {
        sweep(root)?;
        let leases = root.join("leases");
        let (path, locked) = create_locked(&leases).map_err(failed("write in", &leases))?;
        let metadata = locked.metadata().map_err(failed("look at", &path))?;
        let name = path.file_name().expect("a lease has a name");
        let lease = Self {
            scratch: root.join("tmp").join(name),
            start: Stamp::modified(&metadata),
            next_name: AtomicU64::new(0),
            _locked: locked,
            path,
        };
        lease.make_scratch()?;
        Ok(lease)
    }

    /// Returns when the run began.
    pub(super) fn start(&self) -> Stamp {
        self.start
    }

    /// Returns a time that no stamp made before is later than: what filesystems call now is never ahead
    /// of this clock, though it may lag behind. It is the begin of the run if the clock was set back.
    pub(super) fn now(&self) -> Stamp {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        self.start.max(Stamp { secs: now.tv_sec, nanos: now.tv_nsec })
    }

    /// Returns the run's directory for unfinished files.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Makes the scratch directory if it is not there.
    pub(super) fn make_scratch(&self) -> Result<(), CacheError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.scratch);
        made.map_err(failed("make", &self.scratch))
    }

    /// Returns a file name that no other call of any live run returns.
    pub(super) fn fresh_name(&self) -> PathBuf {
        let number = self.next_name.fetch_add(1, Ordering::Relaxed);
        let mut name = self.path.file_name().expect("a lease has a name").to_owned();
        name.push(format!("-{number}"));
        name.into()
    }

    /// Returns the path of a new unfinished file or directory, which the caller makes.
    pub(super) fn fresh_path(&self) -> PathBuf {
        self.scratch.join(self.fresh_name())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run's sweep.
        let _ = fs::remove_dir_all(&self.scratch);
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns when the oldest live run of the store `root` began; `None` when there is no live run.
pub(super) fn oldest(root: &Path) -> Result<Option<Stamp>, CacheError> {
    let leases = root.join("leases");
    let mut oldest = None;
    for entry in fs::read_dir(&leases).map_err(failed("list", &leases))? {
        let path = entry.map_err(failed("list", &leases))?.path();
        if let Probe::Live(metadata) = probe(&path).map_err(failed("look at", &path))? {
            let start = Stamp::modified(&metadata);
            oldest = Some(oldest.map_or(start, |oldest: Stamp| oldest.min(start)));
        }
    }
    Ok(oldest)
}

/// Removes the scratch directories and the leases of dead runs from the store `root`.
///
/// A lease is taken before its scratch directory is made and ends after it is removed, so a
/// scratch directory without a live lease belongs to nobody.
fn sweep(root: &Path) -> Result<(), CacheError> {
    for part in ["tmp", "leases"] {
        let directory = root.join(part);
        for entry in fs::read_dir(&directory).map_err(failed("list", &directory))? {
            let name = entry.map_err(failed("list", &directory))?.file_name();
            let path = root.join("leases").join(&name);
            match probe(&path).map_err(failed("look at", &path))? {
                Probe::Live(_) => {}
                // Another run may be sweeping too; what stays is swept by the next one.
                Probe::Dead(_) | Probe::Gone => {
                    let _ = fs::remove_dir_all(root.join("tmp").join(&name));
                    let _ = fs::remove_file(&path);
                }
            }
        }
    }
    Ok(())
}

/// What became of a lease.
enum Probe {
    /// Its run is alive; the metadata tell since when.
    Live(Metadata),
    /// Its run is dead. As long as the file is open, no new run can take the lease.
    Dead(#[expect(dead_code, reason = "held for its lock")] File),
    /// There is no such lease.
    Gone,
}

fn probe(path: &Path) -> io::Result<Probe> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Probe::Gone),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Probe::Dead(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => file.metadata().map(Probe::Live),
        Err(error) => Err(error.into()),
    }
}

/// Makes a file of a new name and locks it.
fn create_locked(leases: &Path) -> io::Result<(PathBuf, File)> {
    // The process id is for people only: containers that share a store have their own.
    let prefix = format!("{}-", std::process::id());
    loop {
        let made = tempfile::Builder::new().prefix(&prefix).rand_bytes(12).tempfile_in(leases)?;
        let (file, path) = made.keep().map_err(|error| error.error)?;
        retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))?;
        // The run begins now: a collection that saw the file before it was locked took it for that of a
        // dead run, and takes all that was last used before it began itself.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        rustix::fs::futimens(&file, &Timestamps { last_access: now, last_modification: now })?;
        // A sweep may have seen the file before it was locked, and have removed it.
        if fs::exists(&path)? {
            return Ok((path, file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Store;

    fn names(path: &Path) -> usize {
        fs::read_dir(path).unwrap().count()
    }

    #[test]
    fn leftovers_of_dead_runs_are_removed_and_those_of_live_runs_kept() {
        let directory = tempfile::tempdir().unwrap();
        let live = Store::open(directory.path()).unwrap();
        fs::write(live.scratch().join("half"), "written").unwrap();
        let root = directory.path().join("v1");
        fs::create_dir_all(root.join("tmp/999-0/tree")).unwrap();
        fs::write(root.join("leases/999-0"), "").unwrap();
        fs::write(root.join("leases/998-0"), "").unwrap();
        fs::create_dir_all(root.join("tmp/997-0")).unwrap();
        let other = Store::open(directory.path()).unwrap();
        assert_eq!((names(&root.join("tmp")), names(&root.join("leases"))), (2, 2));
        assert!(live.scratch().join("half").exists());
        drop((live, other));
        assert_eq!((names(&root.join("tmp")), names(&root.join("leases"))), (0, 0));
    }

    #[test]
    fn the_oldest_live_run_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("v1");
        let first = Store::open(directory.path()).unwrap();
        let second = Store::open(directory.path()).unwrap();
        assert_eq!(oldest(&root).unwrap(), Some(first.lease.start()));
        let start = second.lease.start();
        drop(first);
        assert_eq!(oldest(&root).unwrap(), Some(start));
        drop(second);
        assert_eq!(oldest(&root).unwrap(), None);
    }

    #[test]
    fn many_threads_take_and_drop_leases_at_once() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let store = Store::open(directory.path()).unwrap();
                        fs::write(store.scratch().join("file"), "mine").unwrap();
                    }
                });
            }
        });
        assert_eq!(names(&directory.path().join("v1/leases")), 0);
    }
}
