//! The time between the start of a step and the end of its last process, as a launcher lives it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::planted::{Bug, is_planted};

use super::error::Feature;
use super::init::{self, News, Program, Step};
use super::outcome::Exit;
use super::protocol::{Fault, Request};
use super::spec::Network;
use super::stage::Stage;
use super::system::{self, Side};
use super::wire;

/// How long a step has after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// How long what a step leaves in the background may still write.
const DRAIN: Duration = Duration::from_millis(250);

/// How a step ended.
pub(super) struct End {
    pub(super) exit: Exit,
    pub(super) elapsed: Duration,
    /// In bytes.
    pub(super) peak_memory: u64,
}

/// Runs the step, and returns when no process of it is left.
pub(super) fn run(
    request: &Request,
    stage: &Stage,
    program: Program,
    for_root: bool,
    socket: &UnixStream,
) -> Result<End, Fault> {
    let (build, trees) = (stage.build()?, stage.trees(request)?);
    let refused = |error: io::Error| Fault::refused(Feature::OtherNamespaces, error);
    let (news, status) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| refused(error.into()))?;
    let mut namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    if request.network == Network::Loopback {
        namespaces |= libc::CLONE_NEWNET;
    }
    let start = Instant::now();
    let step = Step { root: stage.root.clone(), for_root, build, trees, program, status };
    match system::clone_process(namespaces).map_err(refused)? {
        Side::Child => init::run(step),
        Side::Parent { process } => {
            drop(step);
            follow(request, Started { process, news, start }, socket, || {})
        }
    }
}

/// A step that has just been started.
pub(super) struct Started {
    /// Its first process, a child of this one.
    pub(super) process: OwnedFd,
    /// Where the first process tells [`News`].
    pub(super) news: OwnedFd,
    pub(super) start: Instant,
}

/// Waits for the end of a step. When its first process is gone, `bury` ends what is left.
pub(super) fn follow(
    request: &Request,
    started: Started,
    socket: &UnixStream,
    bury: impl Fn(),
) -> Result<End, Fault> {
    let Started { process, news, start } = started;
    let watch = Watch { process, news, socket, start, ended: None, stop: None, kill_at: None };
    watch.until_gone(request, bury)
}

/// Why a launcher ends a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Timeout,
    Cancel,
}

/// A step that runs.
struct Watch<'a> {
    process: OwnedFd,
    news: OwnedFd,
    socket: &'a UnixStream,
    start: Instant,
    ended: Option<(News, Duration)>,
    stop: Option<Stop>,
    kill_at: Option<Instant>,
}

impl Watch<'_> {
    fn until_gone(mut self, request: &Request, bury: impl Fn()) -> Result<End, Fault> {
        let timeout = request.timeout.and_then(|timeout| self.start.checked_add(timeout));
        loop {
            let wake_at = match self.kill_at {
                None if self.ended.is_none() => timeout,
                kill_at => kill_at,
            };
            let [gone, told, asked] = self.poll(wake_at);
            if told {
                self.read_news();
            }
            if gone {
                break;
            }
            if asked {
                self.obey();
            }
            let now = Instant::now();
            if self.kill_at.is_some_and(|kill_at| kill_at <= now) {
                break;
            }
            if self.kill_at.is_none() && timeout.is_some_and(|timeout| timeout <= now) {
                self.stop(Stop::Timeout, now);
            }
        }
        self.bury();
        bury();
        self.end(request)
    }

    /// Waits for the end of the step, for news and for Kiln, at most until `wake_at`.
    fn poll(&self, wake_at: Option<Instant>) -> [bool; 3] {
        let timeout = wake_at.map(|wake_at| {
            let left = wake_at.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        let mut polled = [
            PollFd::new(&self.process, PollFlags::IN),
            PollFd::new(&self.news, PollFlags::IN),
            PollFd::new(self.socket, PollFlags::IN),
        ];
        if self.ended.is_some() {
            // It has no more to tell, and its closed end would wake us for ever.
            polled[1] = PollFd::new(&self.process, PollFlags::IN);
        }
        let _ = rustix::event::poll(&mut polled, timeout.as_ref());
        polled.map(|polled| !polled.revents().is_empty())
    }

    fn read_news(&mut self) {
        let mut bytes = [0; News::LENGTH];
        if self.ended.is_none()
            && rustix::io::read(&self.news, &mut bytes) == Ok(News::LENGTH)
            && let Some(news) = News::from_bytes(bytes)
        {
            let now = Instant::now();
            self.ended = Some((news, now - self.start));
            if !is_planted(Bug::WaitForBackground) {
                self.kill_at = Some(now + DRAIN);
            }
        }
    }

    /// Does what Kiln asks: the first time to stop, the second to stop at once. If Kiln is gone,
    /// so is this process, and the kernel ends the step.
    fn obey(&mut self) {
        let now = Instant::now();
        match wire::receive(self.socket) {
            Ok(Some(_)) if is_planted(Bug::DeafLaunchers) => {}
            Ok(Some(_)) if self.stop.is_none() && self.ended.is_none() => {
                self.stop(Stop::Cancel, now);
            }
            Ok(Some(_)) => self.kill_at = Some(now),
            Ok(None) | Err(_) => system::leave(0),
        }
    }

    fn stop(&mut self, reason: Stop, now: Instant) {
        self.stop = Some(reason);
        self.kill_at = Some(now + GRACE);
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::TERM);
    }

    /// Ends what is left and waits until it is gone.
    fn bury(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        let id = WaitId::PidFd(self.process.as_fd());
        while matches!(
            rustix::process::waitid(id.clone(), WaitIdOptions::EXITED),
            Err(rustix::io::Errno::INTR)
        ) {}
        self.read_news();
    }

    fn end(self, request: &Request) -> Result<End, Fault> {
        let whole = self.start.elapsed();
        let (exit, elapsed, peak_memory) = match self.ended {
            Some((News::Stuck { stage, errno }, _)) => return Err(stuck(request, stage, errno)),
            Some((News::Ended { status, peak }, elapsed)) => (exit_of(status), elapsed, peak),
            None => (Exit::Signal(libc::SIGKILL), whole, 0),
        };
        let exit = match self.stop {
            None => exit,
            Some(Stop::Timeout) => Exit::TimedOut,
            Some(Stop::Cancel) => Exit::Cancelled,
        };
        Ok(End { exit, elapsed, peak_memory })
    }
}

fn exit_of(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    }
}

/// Returns the fault that a stage of the inside amounts to.
fn stuck(request: &Request, stage: init::Stage, errno: i32) -> Fault {
    let error = io::Error::from_raw_os_error(errno);
    match stage {
        init::Stage::Exec => {
            let program = request.argv.first().cloned().unwrap_or_default();
            let program = std::os::unix::ffi::OsStringExt::from_vec(program);
            Fault::Exec { program: std::ffi::OsString::into(program), errno }
        }
        init::Stage::Cwd => Fault::prepare("enter", &*request.cwd, error),
        init::Stage::Trees => Fault::prepare("mount a tree in", "/build", error),
        init::Stage::Proc => Fault::refused(Feature::Proc, error),
        init::Stage::Filter => Fault::refused(Feature::Seccomp, error),
        init::Stage::Places | init::Stage::Root => Fault::refused(Feature::Mounts, error),
        init::Stage::Loopback | init::Stage::Rights | init::Stage::Fork => {
            Fault::refused(Feature::OtherNamespaces, error)
        }
    }
}
