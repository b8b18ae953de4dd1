//! Single flight: one at a time for each key, among the threads of this process and among all
//! processes that share the store. Knows keys and lock files; does not know what is done under
//! the lock.
//!
//! The processes share a fixed set of files that are locked with flock and never removed, so a
//! killed process leaves nothing locked. Two keys may share a file: they then wait for each other
//! between processes, though not within one. So a thread that waits for a lock must hold no other
//! of the same set, or two processes could wait for each other for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::{CacheError, failed, locked};
use crate::digest::Digest;

/// How many files a set has: enough that 64 steps at once seldom meet.
const STRIPES: u16 = 4096;

/// The longest pause between two tries to get a lock.
const MAX_PAUSE: Duration = Duration::from_millis(25);

/// A set of locks, one for each key.
pub(super) struct Locks {
    /// The set's files are named `<prefix>-<stripe>`.
    prefix: PathBuf,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: BTreeSet<Digest>,
    /// The locked files, each with the number of keys that need it.
    stripes: BTreeMap<u16, (File, usize)>,
}

/// A held lock; released when dropped, or when the process ends.
#[must_use]
pub(crate) struct KeyLock<'a> {
    locks: &'a Locks,
    key: Digest,
}

impl Locks {
    /// Returns the set of locks with files in `directory` whose names begin with `name`.
    pub(super) fn new(directory: &Path, name: &str) -> Self {
        Self { prefix: directory.join(name), held: Mutex::default() }
    }

    /// Takes the lock of `key` if nobody has it.
    ///
    /// # Errors
    /// [`CacheError::Io`] when the lock file cannot be opened or locked.
    pub(super) fn try_lock(&self, key: Digest) -> Result<Option<KeyLock<'_>>, CacheError> {
        let mut held = locked(&self.held);
        if held.keys.contains(&key) {
            return Ok(None);
        }
        let stripe = stripe(key);
        match held.stripes.get_mut(&stripe) {
            Some((_, users)) => *users += 1,
            None => match self.lock_stripe(stripe)? {
                Some(file) => drop(held.stripes.insert(stripe, (file, 1))),
                None => return Ok(None),
            },
        }
        held.keys.insert(key);
        Ok(Some(KeyLock { locks: self, key }))
    }

    /// Waits for the lock of `key`; returns `None` if `stop` says so first.
    ///
    /// # Errors
    /// [`CacheError::Io`] when the lock file cannot be opened or locked.
    pub(super) fn lock(
        &self,
        key: Digest,
        stop: impl Fn() -> bool,
    ) -> Result<Option<KeyLock<'_>>, CacheError> {
        let mut pause = Duration::from_micros(500);
        while !stop() {
            if let Some(held) = self.try_lock(key)? {
                return Ok(Some(held));
            }
            // A wait in flock could not be given up, and a run must be able to end at once.
            std::thread::sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
        Ok(None)
    }

    fn lock_stripe(&self, stripe: u16) -> Result<Option<File>, CacheError> {
        let mut path = self.prefix.clone().into_os_string();
        path.push(format!("-{stripe:03x}"));
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(failed("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("lock", &path)(error.into())),
        }
    }
}

impl Drop for KeyLock<'_> {
    fn drop(&mut self) {
        let mut held = locked(&self.locks.held);
        held.keys.remove(&self.key);
        let stripe = stripe(self.key);
        if let Some((_, users)) = held.stripes.get_mut(&stripe) {
            *users -= 1;
            if *users == 0 {
                held.stripes.remove(&stripe);
            }
        }
    }
}

fn stripe(key: Digest) -> u16 {
    let [first, second, ..] = *key.as_bytes();
    u16::from_le_bytes([first, second]) % STRIPES
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_key_is_held_once_within_and_between_processes() {
        let directory = tempfile::tempdir().unwrap();
        // Two sets on the same files are to each other what two processes are.
        let [ours, theirs] = [(); 2].map(|()| Locks::new(directory.path(), "step"));
        let key = Digest::of(b"key");
        let held = ours.try_lock(key).unwrap().unwrap();
        assert!(ours.try_lock(key).unwrap().is_none());
        assert!(theirs.try_lock(key).unwrap().is_none());
        assert!(theirs.lock(key, || true).unwrap().is_none(), "a wait can be given up");
        drop(held);
        assert!(theirs.try_lock(key).unwrap().is_some());
        assert!(ours.try_lock(key).unwrap().is_some());
    }

    #[test]
    fn keys_that_share_a_file_do_not_wait_for_each_other_in_one_process() {
        let directory = tempfile::tempdir().unwrap();
        let [ours, theirs] = [(); 2].map(|()| Locks::new(directory.path(), "step"));
        let first = Digest::of(b"key");
        let second = (0_u32..)
            .map(|number| Digest::of(&number.to_le_bytes()))
            .find(|other| stripe(*other) == stripe(first))
            .unwrap();
        let held =
            (ours.try_lock(first).unwrap().unwrap(), ours.try_lock(second).unwrap().unwrap());
        drop(held.0);
        assert!(theirs.try_lock(first).unwrap().is_none(), "the second still needs the file");
        drop(held.1);
        assert!(theirs.try_lock(first).unwrap().is_some());
    }

    #[test]
    fn many_threads_of_two_processes_enter_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let sets = [(); 2].map(|()| Locks::new(directory.path(), "step"));
        let (inside, entered) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (locks, inside, entered) = (&sets[thread % 2], &inside, &entered);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let held = locks.lock(Digest::of(b"key"), || false).unwrap().unwrap();
                        assert!(!inside.swap(true, Ordering::SeqCst));
                        entered.fetch_add(1, Ordering::SeqCst);
                        assert!(inside.swap(false, Ordering::SeqCst));
                        drop(held);
                    }
                });
            }
        });
        assert_eq!(entered.into_inner(), 160);
    }
}
