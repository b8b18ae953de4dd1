//! The programs beside a step: a network that they share with it and with nobody else, and each of
//! them from its start until it is ready, and to its end. Knows processes and ports; does not know
//! what is served there.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::process::Signal;
use rustix::thread::LinkNameSpaceType;

use super::error::Feature;
use super::outcome::ServiceEnd;
use super::program::Stuck;
use super::protocol::Fault;
use super::system::{self, Shared};
use super::wire;

/// How long is waited between two looks at a program that is not ready: at first, and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];

/// How long a port may take to answer before it is asked again.
const ANSWER: Duration = Duration::from_millis(500);

/// How much of what the last check wrote is passed on when a program never was ready.
const MAX_CHECK_BYTES: u64 = 4096;

/// A network of its own with the loopback interface up.
pub(super) struct Net {
    own: OwnedFd,
    home: OwnedFd,
}

impl Net {
    /// Makes a network. `proc` is the host's `/proc`. This process, which must have one thread, is
    /// where it was afterwards.
    pub(super) fn new(proc: &OwnedFd) -> Result<Self, Fault> {
        let refused = |error: io::Error| Fault::refused(Feature::OtherNamespaces, error);
        let home = network_of_this_process(proc).map_err(refused)?;
        system::unshare(libc::CLONE_NEWNET).map_err(refused)?;
        let made = system::bring_up_loopback().and_then(|()| network_of_this_process(proc));
        come_back(&home);
        Ok(Self { own: made.map_err(refused)?, home })
    }

    /// Calls `act` with this process in the network.
    pub(super) fn within<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        enter(&self.own)?;
        let result = act();
        come_back(&self.home);
        Ok(result)
    }

    /// Returns whether something listens on that port of the loopback interface.
    fn answers(&self, port: u16) -> bool {
        let addresses: [SocketAddr; 2] =
            [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
        let answers = |address| TcpStream::connect_timeout(address, ANSWER).is_ok();
        self.within(|| addresses.iter().any(answers)).unwrap_or(false)
    }
}

fn network_of_this_process(proc: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(proc, "self/ns/net", flags, Mode::empty())?)
}

fn enter(network: &OwnedFd) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Network);
    Ok(rustix::thread::move_into_link_name_space(network.as_fd(), kind)?)
}

fn come_back(home: &OwnedFd) {
    if enter(home).is_err() {
        // No other step could be given the network it asks for.
        system::leave(1);
    }
}

/// The programs that are up, by their places.
#[derive(Default)]
pub(super) struct Beside(Vec<Shared>);

impl Beside {
    /// Takes in a program that was started.
    pub(super) fn push(&mut self, program: Shared) {
        self.0.push(program);
    }

    /// Returns what can be read when a program has ended, for each.
    pub(super) fn processes(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(|program| program.process.as_fd()).collect()
    }

    /// Returns how the program at that place, which has ended, did so.
    pub(super) fn fallen(&mut self, place: usize) -> ServiceEnd {
        let program = self.0.remove(place);
        match system::wait_for(program.pid) {
            Ok((status, _)) if libc::WIFSIGNALED(status) => {
                ServiceEnd::Signal(libc::WTERMSIG(status))
            }
            Ok((status, _)) => ServiceEnd::Code(libc::WEXITSTATUS(status)),
            // It was one of this process's children.
            Err(_) => ServiceEnd::Code(0),
        }
    }

    /// Ends all programs at once, and returns when they are gone. What they have started is process
    /// 1's to end.
    pub(super) fn end(&mut self) {
        for program in &self.0 {
            let _ = rustix::process::pidfd_send_signal(&program.process, Signal::KILL);
        }
        for program in self.0.drain(..) {
            let _ = system::wait_for(program.pid);
        }
    }
}

/// What came of waiting for a program to be ready.
pub(super) enum Wait {
    Ready,
    /// It has ended.
    Ended,
    /// The time it had is over.
    TooLate,
    /// Kiln asks to stop.
    Cancelled,
}

/// Starts a check whose output goes to the file.
pub(super) type Check<'a> = dyn Fn(&File) -> Result<Result<Shared, Stuck>, Fault> + 'a;

/// What shows that a program is ready.
pub(super) struct Signs<'a> {
    pub(super) net: &'a Net,
    /// Something listens here…
    pub(super) port: Option<u16>,
    /// … and this check exits with 0.
    pub(super) check: Option<&'a Check<'a>>,
    /// Takes what the last check wrote, if the program never is ready.
    pub(super) output: BorrowedFd<'a>,
}

/// Waits until `program` is ready, at most until `deadline`.
pub(super) fn wait_until_ready(
    program: &Shared,
    signs: &Signs<'_>,
    deadline: Instant,
    socket: &UnixStream,
) -> Result<Wait, Fault> {
    let [mut pause, longest] = PAUSE;
    let mut listens = signs.port.is_none();
    let mut said = None;
    loop {
        listens = listens || signs.port.is_some_and(|port| signs.net.answers(port));
        if listens {
            match &signs.check {
                None => return Ok(Wait::Ready),
                Some(check) => {
                    let file = scratch_file()?;
                    match passes(check(&file)?, program, deadline, socket) {
                        Some(Wait::Ready) => return Ok(Wait::Ready),
                        // One that is cut short at the end may have had no time to say anything.
                        Some(Wait::TooLate) | None if has_text(&file) => said = Some(file),
                        Some(Wait::TooLate) | None => {}
                        Some(other) => return Ok(other),
                    }
                }
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            pass_on(said, signs.output);
            return Ok(Wait::TooLate);
        }
        match look([program.process.as_fd(), socket.as_fd()], pause.min(left)) {
            [true, _] => return Ok(Wait::Ended),
            [_, true] if is_asked_to_stop(socket) => return Ok(Wait::Cancelled),
            _ => pause = (pause * 2).min(longest),
        }
    }
}

/// Waits for a check to end; `None` is one that did not pass.
fn passes(
    started: Result<Shared, Stuck>,
    program: &Shared,
    deadline: Instant,
    socket: &UnixStream,
) -> Option<Wait> {
    let check = started.ok()?;
    let fds = [check.process.as_fd(), program.process.as_fd(), socket.as_fd()];
    let wait = match look(fds, deadline.saturating_duration_since(Instant::now())) {
        [true, ..] => None,
        [_, true, _] => Some(Wait::Ended),
        [.., true] if is_asked_to_stop(socket) => Some(Wait::Cancelled),
        _ => Some(Wait::TooLate),
    };
    if wait.is_some() {
        let _ = rustix::process::pidfd_send_signal(&check.process, Signal::KILL);
    }
    let status = system::wait_for(check.pid).map(|(status, _)| status);
    wait.or_else(|| status.is_ok_and(|status| status == 0).then_some(Wait::Ready))
}

/// Waits until one of `fds` can be read, at most for `time`, and says which.
fn look<const N: usize>(fds: [BorrowedFd<'_>; N], time: Duration) -> [bool; N] {
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
    let _ = rustix::event::poll(&mut polled, Some(&time));
    polled.map(|polled| !polled.revents().is_empty())
}

/// Hears what Kiln says. If it is gone, so is this process, and the kernel ends all it started.
fn is_asked_to_stop(socket: &UnixStream) -> bool {
    match wire::receive(socket) {
        Ok(Some(_)) => true,
        Ok(None) | Err(_) => system::leave(0),
    }
}

fn has_text(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.len() > 0)
}

fn scratch_file() -> Result<File, Fault> {
    let made = rustix::fs::memfd_create("check", MemfdFlags::CLOEXEC);
    made.map(File::from).map_err(|error| Fault::prepare("make a file for", "/build", error))
}

/// Writes what a check said to where its program writes; that may be closed by now.
fn pass_on(said: Option<File>, output: BorrowedFd<'_>) {
    let Some(mut file) = said else { return };
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(MAX_CHECK_BYTES).read_to_end(&mut text));
    if read.is_ok()
        && let Ok(output) = output.try_clone_to_owned()
    {
        let _ = File::from(output).write_all(&text);
    }
}
