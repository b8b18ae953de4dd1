//! The first process of a step in the weak sandbox: it starts the program, adopts what that leaves
//! behind, and ends it all when the launcher is gone. What it has to tell goes through a pipe.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Signal, WaitId, WaitIdOptions};
use rustix::thread::CapabilitySet;

use crate::sandbox::program::{self, Phase, Program, Stuck};
use crate::sandbox::supervise::{Main, Watched};
use crate::sandbox::system::{self, Children, Side};

/// How long the processes a step leaves are hunted for. Each round ends all there are, so that
/// only what starts new ones without end lasts longer than a moment.
const HUNT: Duration = Duration::from_secs(5);

/// The launcher's side.
pub(super) struct Keeper {
    process: OwnedFd,
    /// Where [`News`] come from.
    news: OwnedFd,
}

/// What a keeper tells: 16 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// The program could not be started.
    Stuck(Stuck),
    Ended(Main),
}

impl Keeper {
    /// Starts a keeper that starts `program`; `build` is the working tree.
    pub(super) fn start(program: Program, build: &Path) -> io::Result<Self> {
        let (news, status) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let launcher = std::process::id().cast_signed();
        match system::fork()? {
            Side::Child => {
                keep(program, &status, build, launcher);
                system::leave(0)
            }
            Side::Parent { process } => Ok(Self { process, news }),
        }
    }
}

impl Watched for Keeper {
    fn main(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }

    fn all(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    fn hear(&mut self) -> Option<Result<Main, Stuck>> {
        let mut bytes = [0; News::LENGTH];
        let count = rustix::io::read(&self.news, &mut bytes);
        let news = News::from_bytes(bytes).filter(|_| count == Ok(News::LENGTH))?;
        Some(match news {
            News::Stuck(stuck) => Err(stuck),
            News::Ended(main) => Ok(main),
        })
    }

    fn terminate(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::TERM);
    }

    fn bury(&mut self, _: bool) -> Option<Result<Main, Stuck>> {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        let id = WaitId::PidFd(self.process.as_fd());
        while matches!(
            rustix::process::waitid(id.clone(), WaitIdOptions::EXITED),
            Err(rustix::io::Errno::INTR)
        ) {}
        end_descendants();
        self.hear()
    }
}

impl News {
    const LENGTH: usize = 16;

    fn to_bytes(self) -> [u8; Self::LENGTH] {
        let (kind, number, peak) = match self {
            Self::Stuck(Stuck { phase, errno }) => (phase as i32, errno, 0),
            Self::Ended(Main { status, peak }) => (-1, status, peak),
        };
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..].copy_from_slice(&peak.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let (kind, rest) = bytes.split_first_chunk()?;
        let (number, peak) = rest.split_first_chunk()?;
        let number = i32::from_le_bytes(*number);
        let peak = u64::from_le_bytes(peak.try_into().ok()?);
        Some(match usize::try_from(i32::from_le_bytes(*kind)) {
            Err(_) => Self::Ended(Main { status: number, peak }),
            Ok(phase) => Self::Stuck(Stuck { phase: *Phase::ALL.get(phase)?, errno: number }),
        })
    }
}

/// Lives as the keeper. When the launcher is gone, it hears so, and ends what is left: no namespace
/// does.
fn keep(program: Program, status: &OwnedFd, build: &Path, launcher: i32) {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    adopt_orphans();
    if !has_reader(status) {
        return;
    }
    let rights = program::drop_rights(CapabilitySet::empty())
        .and_then(|()| Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?));
    if let Err(error) = rights {
        return tell(status, News::Stuck(Phase::Rights.stuck()(error)));
    }
    system::block_signals(&[libc::SIGCHLD, libc::SIGTERM]);
    let mut start = || {
        tell(status, News::Stuck(program.start(build)));
        system::leave(127)
    };
    match system::start_sharing(0, &mut start) {
        Err(error) => tell(status, News::Stuck(Phase::Fork.stuck()(error))),
        Ok(main) => {
            // The output ends when the step's own processes have let go of it.
            drop(program);
            watch(status, main.pid, launcher);
        }
    }
}

/// Waits for the main process, tells of it, and goes on until nothing is left of the step. To be
/// killed before that is usual.
fn watch(status_pipe: &OwnedFd, main: i32, launcher: i32) {
    loop {
        match system::wait_signal(&[libc::SIGCHLD, libc::SIGTERM]) {
            // A step's own has no effect.
            (libc::SIGTERM, sender) if sender == launcher => pass_on(launcher),
            _ => {}
        }
        loop {
            match system::look_for_child() {
                Children::Ended { pid, status, peak } if pid == main => {
                    tell(status_pipe, News::Ended(Main { status, peak }));
                }
                Children::Ended { .. } => {}
                Children::Running => break,
                Children::None => return,
            }
        }
    }
}

/// Asks all of the step to end, or ends it if the launcher is gone.
fn pass_on(launcher: i32) {
    if rustix::process::Pid::as_raw(rustix::process::getppid()) != launcher {
        end_descendants();
        system::leave(1);
    }
    let own = descendants(std::process::id());
    own.iter().for_each(|pid| system::signal_one(*pid, libc::SIGTERM));
}

fn has_reader(status: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(status, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = rustix::event::poll(&mut polled, Some(&now));
    !polled[0].revents().contains(PollFlags::ERR)
}

fn tell(status: &OwnedFd, news: News) {
    // Shorter than PIPE_BUF, so it is written whole or not at all.
    let _ = rustix::io::write(status, &news.to_bytes());
}

/// Makes this process the parent of what its descendants leave behind.
pub(in crate::sandbox) fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Ends all descendants of this process, which adopts orphans.
fn end_descendants() {
    let start = Instant::now();
    while start.elapsed() < HUNT {
        let left = descendants(std::process::id());
        left.iter().for_each(|pid| system::signal_one(*pid, libc::SIGKILL));
        loop {
            match system::look_for_child() {
                Children::Ended { .. } => {}
                Children::Running => break,
                Children::None => return,
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the ids of all descendants of `of`.
fn descendants(of: u32) -> Vec<i32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(entry.path().join("stat")).ok()?;
            Some((pid, parent_in(&String::from_utf8_lossy(&stat))?))
        })
        .collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, other)| *other == parent).map(|(pid, _)| pid));
        next += 1;
    }
    found.into_iter().skip(1).map(u32::cast_signed).collect()
}

/// Returns the parent in a line of `/proc/PID/stat`: the second field after the name, which is in
/// parentheses and can hold any.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_hide_its_parent_behind_its_name() {
        assert_eq!(parent_in("7 (a) S 9) S 42 7 7 0"), Some(42));
    }
}
