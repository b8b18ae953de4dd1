//! A terminal for a program that is not this one's child: a pseudo-terminal, with the user's own at its
//! near end. Knows bytes and the size of windows; does not know what runs there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};

/// How often the size of the window is looked at, and whether the program has ended.
const OFTEN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How many bytes are passed on at a time.
const CHUNK: usize = 16 << 10;

/// The user's terminal, passed on to a program until this is dropped.
pub(super) struct Terminal {
    before: Termios,
    is_over: Arc<AtomicBool>,
    /// From the user to the program, and back.
    threads: Vec<JoinHandle<()>>,
}

impl Terminal {
    /// Returns whether both the standard input and the standard output are a terminal.
    pub(super) fn is_there() -> bool {
        let streams = [rustix::stdio::stdin(), rustix::stdio::stdout()];
        streams.into_iter().all(rustix::termios::isatty)
    }

    /// Passes the user's terminal on; returns the far end as well, for the program.
    ///
    /// # Errors
    /// When there is none, or the machine has no other for the program.
    pub(super) fn pass_on() -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&near)?;
        rustix::pty::unlockpt(&near)?;
        let name = rustix::pty::ptsname(&near, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let far = rustix::fs::open(name, flags, Mode::empty())?;
        let user = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(user)?;
        rustix::termios::tcsetattr(&far, OptionalActions::Now, &before)?;
        same_size(user, near.as_fd());
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(user, OptionalActions::Flush, &raw)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let mut terminal = Self { before, is_over, threads: Vec::new() };
        let (to, from) = (near.try_clone()?, near);
        let (is_over, also) = (Arc::clone(&terminal.is_over), Arc::clone(&terminal.is_over));
        terminal.threads.push(std::thread::spawn(move || listen(&to, &is_over)));
        terminal.threads.push(std::thread::spawn(move || show(&from, &also)));
        Ok((terminal, far))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let user = rustix::stdio::stdin();
        let _ = rustix::termios::tcsetattr(user, OptionalActions::Drain, &self.before);
    }
}

/// Passes on what the user types, and the size of the window.
fn listen(to: &OwnedFd, is_over: &AtomicBool) {
    let user = rustix::stdio::stdin();
    let mut buffer = [0; CHUNK];
    while !is_over.load(Ordering::Relaxed) {
        same_size(user, to.as_fd());
        if !can_read(user) {
            continue;
        }
        match rustix::io::read(user, &mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => drop(write_all(to.as_fd(), &buffer[..count])),
        }
    }
}

/// Shows what the program writes; all of it, also after its end.
fn show(from: &OwnedFd, is_over: &AtomicBool) {
    let mut buffer = [0; CHUNK];
    loop {
        if !can_read(from.as_fd()) {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            continue;
        }
        match rustix::io::read(from, &mut buffer) {
            // An error is the end: nobody has the far end open.
            Ok(0) | Err(_) => return,
            Ok(count) => drop(write_all(rustix::stdio::stdout(), &buffer[..count])),
        }
    }
}

fn can_read(from: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(from, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&OFTEN)) == Ok(1)
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::write(to, bytes)?;
        bytes = &bytes[count..];
    }
    Ok(())
}

/// Gives a terminal the size of the user's.
fn same_size(user: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let Ok(size) = rustix::termios::tcgetwinsize(user) else { return };
    let known = rustix::termios::tcgetwinsize(to);
    if known.is_ok_and(|known| (known.ws_row, known.ws_col) != (size.ws_row, size.ws_col)) {
        let _ = rustix::termios::tcsetwinsize(to, size);
    }
}
