//! A handle to stop runs with. Knows none of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

/// Stops all runs it is given to. Clones stop the same runs.
#[derive(Clone, Debug)]
pub(crate) struct Cancel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asked: AtomicU32,
    /// Readable from the first and from the second call of [`Cancel::stop`] on.
    levels: [OwnedFd; 2],
}

impl Cancel {
    /// Returns a handle nobody has stopped.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let level = || rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Self(Arc::new(Inner { asked: AtomicU32::new(0), levels: [level()?, level()?] })))
    }

    /// Stops the runs. The first call sends SIGTERM to their processes and kills them 2 s later;
    /// the second kills them at once; later calls do nothing.
    pub(crate) fn stop(&self) {
        let earlier = self.0.asked.fetch_add(1, Ordering::Relaxed).min(2);
        if let Some(level) = self.0.levels.get(earlier as usize) {
            let _ = rustix::io::write(level, &1_u64.to_ne_bytes());
        }
    }

    /// Returns whether [`Cancel::stop`] was called.
    pub(crate) fn is_stopped(&self) -> bool {
        let mut polled = [PollFd::new(&self.0.levels[0], PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
    }

    /// Returns what becomes readable when stop number `after + 1` comes; `None` after the second.
    pub(super) fn wait_for(&self, after: usize) -> Option<BorrowedFd<'_>> {
        Some(self.0.levels.get(after)?.as_fd())
    }
}
