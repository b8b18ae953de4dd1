//! Durability: one `syncfs` for all who wait for one. Knows rounds of syncing; does not know what
//! was written.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::io::Errno;

use super::{CacheError, failed, locked};
use crate::planted::{Bug, is_planted};

/// The syncing of one filesystem by the threads of one process.
pub(super) struct GroupSync {
    /// Any directory on the filesystem, open since before the first write, so that the system
    /// reports every failed write-back to us.
    directory: File,
    rounds: Mutex<Rounds>,
    round_ended: Condvar,
}

/// Rounds are numbered from 1; at most one is under way.
#[derive(Default)]
struct Rounds {
    started: u64,
    ended: u64,
    /// The last round that failed, and how. The system reports a lost write once and forgets it,
    /// so a later round that succeeds proves nothing for those who waited for this one.
    failed: Option<(u64, Errno)>,
}

impl GroupSync {
    /// Returns the syncing of the filesystem that `directory` is on.
    pub(super) fn new(directory: &Path) -> Result<Self, CacheError> {
        let directory = File::open(directory).map_err(failed("open", directory))?;
        Ok(Self { directory, rounds: Mutex::default(), round_ended: Condvar::new() })
    }

    /// Returns when all that was written before the call is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        if is_planted(Bug::NeverSync) {
            return Ok(());
        }
        self.sync_by(|directory| rustix::fs::syncfs(directory))
    }

    fn sync_by(&self, syncfs: impl Fn(&File) -> Result<(), Errno>) -> io::Result<()> {
        let mut rounds = locked(&self.rounds);
        // A round under way may have begun before our last write; the one after it has not.
        let needed = rounds.started + 1;
        while rounds.ended < needed {
            if rounds.started > rounds.ended {
                let waited = self.round_ended.wait(rounds);
                rounds = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            rounds.started += 1;
            let round = rounds.started;
            drop(rounds);
            let result = syncfs(&self.directory);
            rounds = locked(&self.rounds);
            rounds.ended = round;
            if let Err(error) = result {
                rounds.failed = Some((round, error));
            }
            self.round_ended.notify_all();
        }
        match rounds.failed {
            Some((round, error)) if round >= needed => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn many_waiters_share_few_rounds_and_all_see_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let group = GroupSync::new(directory.path()).unwrap();
        group.sync().unwrap();
        let (rounds, waiting) = (AtomicU32::new(0), Barrier::new(16));
        let syncfs = |_: &File| {
            // The first round lasts until all others wait for the second.
            if rounds.fetch_add(1, Ordering::SeqCst) == 0 {
                waiting.wait();
                return Ok(());
            }
            Err(Errno::IO)
        };
        let failures = std::thread::scope(|scope| {
            let first = scope.spawn(|| group.sync_by(syncfs));
            while rounds.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            let others: Vec<_> = (0..15)
                .map(|_| {
                    scope.spawn(|| {
                        waiting.wait();
                        group.sync_by(syncfs)
                    })
                })
                .collect();
            first.join().unwrap().unwrap();
            others.into_iter().map(|other| other.join().unwrap().is_err()).collect::<Vec<_>>()
        });
        assert_eq!(failures, [true; 15]);
        assert!(rounds.load(Ordering::SeqCst) <= 16);
        group.sync().unwrap();
    }
}
