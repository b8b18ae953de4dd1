//! The time between the start of a step and the end of its last process, as a launcher lives it.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::planted::{Bug, is_planted};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::outcome::{Exit, ServiceEnd};
use super::program::Stuck;
use super::{system, wire};

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

/// How a main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Main {
    /// Its wait status.
    pub(super) status: i32,
    /// The largest resident size in bytes of it and of the descendants it waited for.
    pub(super) peak: u64,
}

/// The processes of a step.
pub(super) trait Watched {
    /// What can be read when [`Self::hear`] has something to say.
    fn main(&self) -> BorrowedFd<'_>;

    /// What can be read when no process is left, after the main process was heard of, or when what
    /// keeps the others is gone.
    fn all(&self) -> BorrowedFd<'_>;

    /// Returns how the main process ended, or what kept it from starting.
    fn hear(&mut self) -> Option<Result<Main, Stuck>>;

    /// What can be read when one of the programs beside the step has ended.
    fn beside(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// Returns how the program at that place beside the step, which has ended, did so.
    fn fallen(&mut self, _place: usize) -> ServiceEnd {
        unreachable!("there are no programs beside the step")
    }

    /// Asks all processes with SIGTERM to end.
    fn terminate(&self);

    /// Ends all processes there are, and returns when they are gone. `is_over` is whether
    /// [`Self::all`] can be read. Returns what there was to hear of the main process.
    fn bury(&mut self, is_over: bool) -> Option<Result<Main, Stuck>>;
}

/// Waits for the end of a step, and returns when no process of it is left.
pub(super) fn follow(
    step: &mut dyn Watched,
    timeout: Option<Duration>,
    start: Instant,
    socket: &UnixStream,
) -> Result<End, Stuck> {
    let mut watch = Watch { socket, start, ended: None, stop: None, kill_at: None };
    watch.until_over(step, timeout);
    watch.end()
}

/// What a launcher that waits was woken by.
struct Woken {
    /// No process of the step is left.
    over: bool,
    /// There is news of the main process.
    told: bool,
    /// Kiln asks for something.
    asked: bool,
    /// The program at this place beside the step has ended.
    fallen: Option<usize>,
}

/// Why a launcher ends a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Timeout,
    Cancel,
    /// A program beside the step has ended.
    Service {
        service: u8,
        end: ServiceEnd,
    },
}

/// A step that runs.
struct Watch<'a> {
    socket: &'a UnixStream,
    start: Instant,
    /// How the main process ended, and after what time.
    ended: Option<(Result<Main, Stuck>, Duration)>,
    stop: Option<Stop>,
    kill_at: Option<Instant>,
}

impl Watch<'_> {
    fn until_over(&mut self, step: &mut dyn Watched, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| self.start.checked_add(timeout));
        let is_over = loop {
            let wake_at = match self.kill_at {
                None if self.ended.is_none() => timeout,
                kill_at => kill_at,
            };
            let Woken { over, told, asked, fallen } = self.poll(step, wake_at);
            if told {
                let news = step.hear();
                self.note(news);
            }
            if over {
                break true;
            }
            if asked {
                self.obey(step);
            }
            let now = Instant::now();
            if let Some(place) = fallen.filter(|_| self.ended.is_none() && self.stop.is_none()) {
                let service = u8::try_from(place).expect("there are few");
                let end = step.fallen(place);
                self.stop(step, Stop::Service { service, end }, now);
            }
            if self.kill_at.is_some_and(|kill_at| kill_at <= now) {
                break false;
            }
            if self.kill_at.is_none() && timeout.is_some_and(|timeout| timeout <= now) {
                self.stop(step, Stop::Timeout, now);
            }
        };
        let news = step.bury(is_over);
        self.note(news);
    }

    /// Waits for the end of the step, for news and for Kiln, at most until `wake_at`.
    fn poll(&self, step: &dyn Watched, wake_at: Option<Instant>) -> Woken {
        let timeout = wake_at.map(|wake_at| {
            let left = wake_at.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        let all = step.all();
        // Once it has ended it has no more to tell, and would wake us for ever.
        let main = if self.ended.is_some() { all } else { step.main() };
        let is_on = self.ended.is_none() && self.stop.is_none();
        let beside = if is_on { step.beside() } else { Vec::new() };
        let fds = [all, main, self.socket.as_fd()].into_iter().chain(beside);
        let mut polled: Vec<_> =
            fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let _ = rustix::event::poll(&mut polled, timeout.as_ref());
        let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        Woken {
            over: is_ready(&polled[0]),
            told: is_ready(&polled[1]) && self.ended.is_none(),
            asked: is_ready(&polled[2]),
            fallen: polled[3..].iter().position(is_ready),
        }
    }

    /// Notes how the main process ended, unless that is known.
    fn note(&mut self, news: Option<Result<Main, Stuck>>) {
        if let (None, Some(news)) = (&self.ended, news) {
            let now = Instant::now();
            self.ended = Some((news, now - self.start));
            if !is_planted(Bug::WaitForBackground) {
                self.kill_at = Some(now + DRAIN);
            }
        }
    }

    /// Does what Kiln asks: the first time to stop, the second to stop at once. If Kiln is gone,
    /// so is this process, and the kernel ends the step.
    fn obey(&mut self, step: &dyn Watched) {
        let now = Instant::now();
        match wire::receive(self.socket) {
            Ok(Some(_)) if is_planted(Bug::DeafLaunchers) => {}
            Ok(Some(_)) if self.stop.is_none() && self.ended.is_none() => {
                self.stop(step, Stop::Cancel, now);
            }
            Ok(Some(_)) => self.kill_at = Some(now),
            Ok(None) | Err(_) => system::leave(0),
        }
    }

    fn stop(&mut self, step: &dyn Watched, reason: Stop, now: Instant) {
        self.stop = Some(reason);
        self.kill_at = Some(now + GRACE);
        step.terminate();
    }

    fn end(self) -> Result<End, Stuck> {
        let whole = self.start.elapsed();
        let (exit, elapsed, peak_memory) = match self.ended {
            Some((Err(stuck), _)) => return Err(stuck),
            Some((Ok(Main { status, peak }), elapsed)) => (exit_of(status), elapsed, peak),
            None => (Exit::Signal(libc::SIGKILL), whole, 0),
        };
        let exit = match self.stop {
            None => exit,
            Some(Stop::Timeout) => Exit::TimedOut,
            Some(Stop::Cancel) => Exit::Cancelled,
            Some(Stop::Service { service, end }) => Exit::Service { service, end },
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
