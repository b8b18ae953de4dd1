//! The stop: how a run is interrupted from outside. Knows which signal came first; does not know
//! what is running.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::sandbox::Cancel;

/// Interrupts a run. The first interruption asks all steps to end, the second kills them.
#[derive(Debug)]
pub(crate) struct Stop {
    cancel: Cancel,
    /// The first signal; 0 for none yet.
    signal: AtomicI32,
}

impl Stop {
    /// Returns a stop that nobody has used.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { cancel: Cancel::new()?, signal: AtomicI32::new(0) })
    }

    /// Interrupts the run as that signal would.
    pub(crate) fn interrupt(&self, signal: i32) {
        let _ = self.signal.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
        self.cancel.stop();
    }

    /// Returns whether the run is interrupted.
    pub(crate) fn is_stopped(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Returns what an interrupted run exits with; `None` if it is not interrupted.
    pub(crate) fn exit(&self) -> Option<u8> {
        let signal = self.signal.load(Ordering::Relaxed);
        (signal != 0).then(|| u8::try_from(128 + signal).unwrap_or(130))
    }

    /// Returns what stops a step in a sandbox.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}
