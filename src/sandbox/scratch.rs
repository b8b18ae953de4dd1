//! Scratch space on disk: a directory for each run, and no trace of runs that were killed. Knows
//! directories only.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where one process makes its scratch directories.
pub(super) struct ScratchSpace {
    /// Shared with other processes.
    base: PathBuf,
    home: Mutex<Option<Home>>,
    next: AtomicU64,
}

/// A process's own directory in the base; it is in use while it is locked.
struct Home {
    path: PathBuf,
    _lock: File,
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(remove_tree(&self.path));
    }
}

impl ScratchSpace {
    /// Returns a space below `base`; makes nothing yet.
    pub(super) fn new(base: PathBuf) -> Self {
        Self { base, home: Mutex::new(None), next: AtomicU64::new(0) }
    }

    /// Makes a new directory, in which only this user can look.
    pub(super) fn make(&self) -> io::Result<PathBuf> {
        let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if home.is_none() {
            sweep(&self.base);
            *home = Some(make_home(&self.base)?);
        }
        let home = &home.as_ref().expect("it was just made").path;
        let dir = home.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(dir)
    }
}

fn make_home(base: &Path) -> io::Result<Home> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    fs::create_dir_all(base)?;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            result => result?,
        }
        // Another process may have swept it away before it was locked.
        let Ok(lock) = File::open(&path) else { continue };
        lock.lock()?;
        let inode = lock.metadata()?.ino();
        if fs::metadata(&path).is_ok_and(|found| found.ino() == inode) {
            return Ok(Home { path, _lock: lock });
        }
    }
}

/// Removes the directories of processes that ended without doing so.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let Ok(lock) = File::open(entry.path()) else { continue };
        match lock.try_lock() {
            Ok(()) => drop(remove_tree(&entry.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// Removes a directory with all in it, even directories a step took its own rights on from.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    open_up(path)?;
    fs::remove_dir_all(path)
}

fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_swept_away_and_what_is_in_use_is_not() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir_all(base.path().join("1-0/0/shut")).unwrap();
        let shut = base.path().join("1-0/0");
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
        let (first, second) = [(); 2].map(|()| ScratchSpace::new(base.path().to_owned())).into();
        let kept = first.make().unwrap();
        second.make().unwrap();
        assert!(kept.exists());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 2);
        drop((first, second));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
