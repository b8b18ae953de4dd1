//! Capture directories: where a sandbox puts the files it captures. Kept from step to step, since
//! to make and remove a directory can cost as much as all else that is done to a small step's
//! outs. Knows nothing of what is captured.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::locked;
use crate::cache::CacheError;

/// The capture directories of one run that no step uses: as many as ran at once, at the most.
#[derive(Default)]
pub(crate) struct CaptureDirs(Mutex<Vec<TempDir>>);

/// An empty directory for one try of a step. It is emptied and kept when this is dropped.
pub(crate) struct CaptureDir<'a> {
    kept: &'a CaptureDirs,
    /// Always there until the drop.
    directory: Option<TempDir>,
}

impl CaptureDirs {
    /// Returns one that is free, or else a new one in `parent`.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub(crate) fn take(&self, parent: &Path) -> Result<CaptureDir<'_>, CacheError> {
        let is_there = |directory: &TempDir| {
            directory.path().parent() == Some(parent) && directory.path().is_dir()
        };
        let free = locked(&self.0).pop().filter(is_there);
        let directory = match free {
            Some(directory) => directory,
            None => tempfile::tempdir_in(parent).map_err(|source| CacheError::Io {
                doing: "make a directory in",
                path: parent.to_owned(),
                source,
            })?,
        };
        Ok(CaptureDir { kept: self, directory: Some(directory) })
    }
}

impl CaptureDir<'_> {
    pub(crate) fn path(&self) -> &Path {
        self.directory.as_ref().expect("it is there until the drop").path()
    }
}

impl Drop for CaptureDir<'_> {
    fn drop(&mut self) {
        let directory = self.directory.take().expect("it is dropped once");
        // One that cannot be emptied is removed as far as it can be, by its own drop.
        if empty(directory.path()).is_ok() {
            locked(&self.kept.0).push(directory);
        }
    }
}

/// Removes the files of a directory; what is captured of a step lies flat.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_again_and_always_empty() {
        let parent = tempfile::tempdir().unwrap();
        let kept = CaptureDirs::default();
        let first = kept.take(parent.path()).unwrap();
        let second = kept.take(parent.path()).unwrap();
        assert_ne!(first.path(), second.path());
        fs::write(first.path().join("0"), "left").unwrap();
        let path = first.path().to_owned();
        drop(first);
        let again = kept.take(parent.path()).unwrap();
        assert_eq!(again.path(), path);
        assert_eq!(fs::read_dir(again.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_was_lost_or_is_odd_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let kept = CaptureDirs::default();
        let odd = kept.take(parent.path()).unwrap();
        fs::create_dir(odd.path().join("inner")).unwrap();
        drop(odd);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        let lost = kept.take(parent.path()).unwrap();
        let path = lost.path().to_owned();
        drop(lost);
        fs::remove_dir(&path).unwrap();
        let fresh = kept.take(parent.path()).unwrap();
        assert!(fresh.path() != path && fresh.path().is_dir());
    }
}
