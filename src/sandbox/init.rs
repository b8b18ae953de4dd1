//! Process 1 of a cell's PID namespace. It outlives the steps of its cell, adopts what they leave in
//! the background, and ends it. Starts nothing; knows no step.

use std::io;
use std::iter;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::CapabilitySet;

use crate::planted::{Bug, is_planted};

use super::beside::Beside;
use super::mounts;
use super::outcome::ServiceEnd;
use super::program::{self, Stuck};
use super::supervise::{Main, Watched};
use super::system::{self, Children, Shared, Side};

/// How many processes and threads a step can have at a time, those of its cell among them.
pub(super) const MAX_PROCESSES: u32 = 16_384;

/// What the launcher may ask for, a byte each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Ask all others with SIGTERM to end.
    Terminate = b't' as isize,
    /// Say [`ALONE`] when none is left, unless something else is asked for before that.
    TellWhenAlone = b'w' as isize,
    /// End all others at once, and say [`ENDED`] when none is left.
    EndAll = b'e' as isize,
}

/// What process 1 says, a byte each. The first is one of these two.
const READY_TO_COUNT: u8 = b'c';
const READY: u8 = b'r';
const ALONE: u8 = b'a';
const ENDED: u8 = b'd';

/// The launcher's side: process 1, which ends when this is dropped.
pub(super) struct Init {
    process: OwnedFd,
    socket: OwnedFd,
    /// Whether it lives, and gives each step the process numbers that the first had.
    is_good: bool,
}

impl Init {
    /// Starts process 1 of the PID namespace that is set for the children of this process.
    pub(super) fn start() -> io::Result<Self> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (socket, theirs) = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
        match system::fork()? {
            Side::Child => {
                drop(socket);
                let _ = serve(&theirs);
                system::leave(1)
            }
            Side::Parent { process } => {
                drop(theirs);
                match receive(&socket)? {
                    Some(answer) => Ok(Self { process, socket, is_good: answer == READY_TO_COUNT }),
                    None => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        }
    }

    /// Calls `act` in a process of the namespace, which is gone afterwards. It shares all else with
    /// this one.
    pub(super) fn visit(&mut self, act: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::Interrupted.into());
        let visitor = system::start_sharing(0, &mut || {
            result = act();
            system::leave(0);
        })?;
        system::wait_for(visitor.pid)?;
        self.end_all();
        result
    }

    /// Hears that none is left, which can be read; false when process 1 is gone.
    pub(super) fn is_alone(&mut self) -> bool {
        let is_alone = matches!(receive(&self.socket), Ok(Some(_)));
        self.is_good &= is_alone;
        is_alone
    }

    /// Ends all other processes, and returns when they are gone. The main process of a step is not
    /// process 1's child: it must be gone before.
    pub(super) fn end_all(&mut self) {
        self.wish(Wish::EndAll);
        loop {
            match receive(&self.socket) {
                Ok(Some(ENDED)) => return,
                // It said that before it was asked to end them.
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    self.is_good = false;
                    return;
                }
            }
        }
    }

    /// Returns whether another step can run here.
    pub(super) fn is_good(&self) -> bool {
        self.is_good
    }

    fn wish(&self, wish: Wish) {
        // Should it be gone, its answers end.
        let _ = send(&self.socket, wish as u8);
    }
}

fn send(socket: &OwnedFd, byte: u8) -> rustix::io::Result<usize> {
    rustix::net::send(socket, &[byte], SendFlags::NOSIGNAL)
}

/// Returns what the other side says next; `None` when it is gone.
fn receive(socket: &OwnedFd) -> rustix::io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match rustix::net::recv(socket, &mut byte, RecvFlags::empty()) {
            Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A step of a cell: its main process is the launcher's child, and what that leaves behind becomes
/// process 1's.
pub(super) struct Step<'a> {
    pub(super) main: Shared,
    pub(super) init: &'a mut Init,
    pub(super) beside: &'a mut Beside,
}

impl Watched for Step<'_> {
    fn main(&self) -> BorrowedFd<'_> {
        self.main.process.as_fd()
    }

    fn all(&self) -> BorrowedFd<'_> {
        self.init.socket.as_fd()
    }

    fn hear(&mut self) -> Option<Result<Main, Stuck>> {
        let (status, peak) = system::wait_for(self.main.pid).ok()?;
        self.beside.end();
        self.init.wish(Wish::TellWhenAlone);
        Some(Ok(Main { status, peak }))
    }

    fn beside(&self) -> Vec<BorrowedFd<'_>> {
        self.beside.processes()
    }

    fn fallen(&mut self, place: usize) -> ServiceEnd {
        self.beside.fallen(place)
    }

    fn terminate(&self) {
        self.init.wish(Wish::Terminate);
    }

    fn bury(&mut self, is_over: bool) -> Option<Result<Main, Stuck>> {
        if is_over && self.init.is_alone() {
            return None;
        }
        let _ = rustix::process::pidfd_send_signal(&self.main.process, Signal::KILL);
        // Unless it was heard of before.
        let main = system::wait_for(self.main.pid).ok();
        self.beside.end();
        self.init.end_all();
        main.map(|(status, peak)| Ok(Main { status, peak }))
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
    }
}

/// Lives as process 1 until the launcher is gone.
fn serve(launcher: &OwnedFd) -> io::Result<()> {
    // The clone does not inherit it; should the launcher have ended before, the socket tells.
    if !is_planted(Bug::Orphans) {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    system::let_children_go();
    bound_numbers();
    let counter = open_counter().ok();
    let kept: Vec<_> = iter::once(launcher).chain(&counter).map(AsFd::as_fd).collect();
    system::close_all_but(&kept)?;
    // To set the counter is the one right it needs. Steps have none, and cannot look into it.
    program::drop_rights(CapabilitySet::CHECKPOINT_RESTORE)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let rewind = || counter.as_ref().is_some_and(|counter| rewind(counter).is_ok());
    send(launcher, if rewind() { READY_TO_COUNT } else { READY })?;
    loop {
        let Some(wish) = receive(launcher)? else {
            if is_planted(Bug::Orphans) {
                system::wait_until_childless();
            }
            return Ok(());
        };
        let answer = if wish == Wish::Terminate as u8 {
            system::signal_all(libc::SIGTERM);
            None
        } else if wish == Wish::TellWhenAlone as u8 {
            is_alone_before_next(launcher).then_some(ALONE)
        } else {
            system::signal_all(libc::SIGKILL);
            system::wait_until_childless();
            Some(ENDED)
        };
        if let Some(answer) = answer {
            rewind();
            send(launcher, answer)?;
        }
    }
}

/// Bounds how many processes and threads there can be at a time, by the highest number that one can
/// have. Before Linux 6.14 that number is the machine's, and must be left alone.
fn bound_numbers() {
    let release = rustix::system::uname();
    if has_own_numbers(&release.release().to_string_lossy()) {
        let file = Path::new(mounts::HOST).join("proc/sys/kernel/pid_max");
        // Where it cannot be written, bombs meet the limits of the user and the machine.
        let _ = std::fs::write(file, MAX_PROCESSES.to_string());
    }
}

/// Returns whether a kernel of that release has a highest number for each namespace.
pub(super) fn has_own_numbers(release: &str) -> bool {
    let mut parts = release.split(|char: char| !char.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { return false };
    (major, minor) >= (6, 14)
}

/// Waits until no child is left, and returns true; returns false when there is another wish before.
fn is_alone_before_next(launcher: &OwnedFd) -> bool {
    loop {
        if matches!(system::look_for_child(), Children::None) {
            return true;
        }
        if system::is_readable_before_child_ends(launcher.as_fd()) {
            return false;
        }
    }
}

/// Opens the counter of process numbers of this namespace, through a `/proc` of its own: the
/// host's may be read-only.
fn open_counter() -> io::Result<OwnedFd> {
    let proc = mounts::make("proc", &[])?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(proc, "sys/kernel/ns_last_pid", flags, Mode::empty())?)
}

/// Sets the counter so that the next process has number 2.
fn rewind(counter: &OwnedFd) -> rustix::io::Result<usize> {
    rustix::io::pwrite(counter, b"1", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_tells_whether_namespaces_have_their_own_numbers() {
        let known = ["6.14.0", "6.18.44-fc-v669", "7.0-rc1", "10.2.3"];
        assert!(known.into_iter().all(has_own_numbers));
        let others = ["6.13.9", "5.15.0-91-generic", "6", "", "linux"];
        assert!(!others.into_iter().any(has_own_numbers));
    }
}
