//! Signals: what interrupts a run. Knows which signals mean what; does not know what is running.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use kiln::session::Interrupt;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// Lets signals interrupt a run until dropped: the first kindly, the second at once, the third ends
/// Kiln itself, whatever it is waiting for.
pub(crate) struct Watch(Handle);

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the system has no more threads or handles.
    pub(crate) fn begin(interrupt: Interrupt) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP].into_iter().filter(is_wanted))?;
        let handle = signals.handle();
        let watch = move || {
            for (number, signal) in signals.forever().enumerate() {
                match number {
                    0 | 1 => interrupt.interrupt(signal),
                    // The launchers of the sandbox end with Kiln, and all steps with them.
                    _ => drop(signal_hook::low_level::emulate_default_handler(signal)),
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
        Ok(Self(handle))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Returns what is set whenever Kiln goes on after it was stopped from the keyboard.
pub(crate) fn resumed() -> Arc<AtomicBool> {
    let is_resumed = Arc::new(AtomicBool::new(false));
    // Without it the screen is a little less tidy after a stop.
    let _ = signal_hook::flag::register(SIGCONT, Arc::clone(&is_resumed));
    is_resumed
}

/// Returns whether whoever started Kiln left that signal to it: `nohup` wants hang-ups ignored, and
/// shells want a Ctrl-C ignored by what they run in the background.
fn is_wanted(signal: &i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.unwrap_or(0) & (1 << (signal - 1)) == 0
}
