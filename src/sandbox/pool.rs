//! Kiln's side of the launchers: starts them, keeps the idle ones, and ends them. Knows that a
//! launcher answers, not what a step is.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

use super::cgroup::Group;
use super::error::SandboxError;
use super::launcher::{self, Guise};
use super::protocol::{self, Reply};
use super::scratch::ScratchSpace;
use super::spec::Limits;
use super::wire;
use crate::planted;

/// How launchers are started.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    /// A program that calls [`kiln::launch_if_asked`](crate::launch_if_asked) first in `main`.
    pub(crate) program: PathBuf,
}

impl Launcher {
    /// Returns the running program as its own launcher, even if its file has been replaced.
    ///
    /// # Errors
    /// [`SandboxError::NotAsked`] when it has not called [`crate::launch_if_asked`].
    pub(crate) fn this_program() -> Result<Self, SandboxError> {
        if !launcher::is_prepared() {
            return Err(SandboxError::NotAsked);
        }
        Ok(Self { program: "/proc/self/exe".into() })
    }
}

/// What a launcher can do beyond what it must.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Whether a step's writes can go to memory.
    pub(super) memory_scratch: bool,
    /// Whether the memory of a step as a whole can be limited.
    pub(super) memory_limit: bool,
    /// Whether the processes of a step can be limited.
    pub(super) process_limit: bool,
}

/// The launchers of one sandbox.
pub(super) struct Pool {
    idle: Mutex<HashMap<Guise, Vec<Cell>>>,
    starter: Sender<Order>,
    program: PathBuf,
    scratch: ScratchSpace,
    /// The directory the scratch space is below.
    base: PathBuf,
}

/// A wish for a launcher, and where it is to be sent.
type Order = (Guise, Sender<io::Result<(UnixStream, Child)>>);

/// A launcher that waits for a step. It ends when this is dropped.
pub(super) struct Cell {
    pub(super) socket: UnixStream,
    pub(super) child: Child,
    guise: Guise,
    /// Whether a step's writes can go to memory.
    pub(super) memory: bool,
    /// Whether it can run no other step.
    pub(super) is_spent: bool,
    /// Its control groups, from the first step on that had a limit.
    group: Option<Group>,
}

impl Drop for Cell {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Pool {
    /// Starts the thread that starts launchers. Scratch space on disk is made below `scratch`.
    pub(super) fn new(launcher: Launcher, scratch: PathBuf) -> Result<Self, SandboxError> {
        let (starter, orders) = mpsc::channel::<Order>();
        let program = launcher.program.clone();
        // The kernel ends a launcher with the *thread* that started it, so they share one that
        // lives as long as this pool.
        let start = move || {
            for (guise, reply) in orders {
                drop(reply.send(start_launcher(&launcher.program, guise)));
            }
        };
        std::thread::Builder::new()
            .name("kiln-cells".into())
            .spawn(start)
            .map_err(|source| SandboxError::Start { program: program.clone(), source })?;
        let (idle, base) = (Mutex::default(), scratch.clone());
        Ok(Self { idle, starter, program, scratch: ScratchSpace::new(scratch), base })
    }

    /// Returns an idle launcher that lives, or starts one.
    pub(super) fn take(&self, guise: Guise) -> Result<Cell, SandboxError> {
        loop {
            let idle =
                self.idle.lock().expect("no holder panics").get_mut(&guise).and_then(Vec::pop);
            match idle {
                None => return self.start(guise),
                Some(mut cell) => {
                    if matches!(cell.child.try_wait(), Ok(None)) {
                        return Ok(cell);
                    }
                }
            }
        }
    }

    /// Returns what a launcher of this guise can do here; `None` when it does not start.
    pub(super) fn facts(&self, guise: Guise) -> Option<Facts> {
        let mut cell = self.take(guise).ok()?;
        let memory_scratch = cell.memory;
        let group = cell.make_group();
        let root = rustix::process::geteuid().is_root();
        Some(Facts {
            memory_scratch,
            memory_limit: group.limits_memory(),
            process_limit: group.limits_processes() || !root,
        })
    }

    /// Takes back a launcher that can run another step.
    pub(super) fn put_back(&self, cell: Cell) {
        let guise = cell.guise;
        self.idle.lock().expect("no holder panics").entry(guise).or_default().push(cell);
    }

    #[cfg(test)]
    pub(super) fn idle_count(&self, guise: Guise) -> usize {
        self.idle.lock().expect("no holder panics").get(&guise).map_or(0, Vec::len)
    }

    fn start(&self, guise: Guise) -> Result<Cell, SandboxError> {
        let fault = |source| SandboxError::Start { program: self.program.clone(), source };
        let (reply, started) = mpsc::channel();
        self.starter.send((guise, reply)).map_err(|_| SandboxError::LauncherEnded)?;
        let started = started.recv().map_err(|_| SandboxError::LauncherEnded)?;
        let (socket, child) = started.map_err(fault)?;
        let mut cell = Cell { socket, child, guise, memory: false, is_spent: false, group: None };
        match cell.reply()? {
            Reply::Ready { memory } => cell.memory = memory,
            Reply::Failed(fault) => return Err(fault.into()),
            Reply::Ran(_) => return Err(SandboxError::LauncherEnded),
        }
        Ok(cell)
    }

    /// Makes a new directory on disk for one step's writes.
    pub(super) fn make_scratch(&self) -> Result<PathBuf, SandboxError> {
        self.scratch.make().map_err(|source| prepare("make a directory in", &self.base, source))
    }
}

impl Cell {
    /// Sets limits for the step to come, and returns the groups that keep them. There are none
    /// until a step asks for a limit: to move a process into one takes milliseconds.
    pub(super) fn limit(&mut self, limits: &Limits) -> io::Result<Option<&Group>> {
        if limits.memory.is_some() || limits.processes.is_some() {
            self.make_group();
        }
        if let Some(group) = &self.group {
            group.set(limits.memory, limits.processes.map(u64::from))?;
        }
        Ok(self.group.as_ref())
    }

    fn make_group(&mut self) -> &Group {
        // The launcher; process 1 of a cell was there before the group, a keeper comes after it.
        let own = if self.guise == Guise::Weak { 2 } else { 1 };
        self.group.get_or_insert_with(|| Group::of(self.child.id(), own))
    }

    /// Returns its control groups, if it has any.
    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// Waits for what the launcher says next.
    pub(super) fn reply(&mut self) -> Result<Reply, SandboxError> {
        let reply = wire::receive(&self.socket)
            .ok()
            .flatten()
            .and_then(|(frame, _)| protocol::read_reply(&frame));
        self.is_spent = reply.as_ref().is_none_or(|(_, is_last)| *is_last);
        reply.map(|(reply, _)| reply).ok_or(SandboxError::LauncherEnded)
    }
}

/// Returns the error for a path that could not be made ready.
pub(super) fn prepare(action: &str, path: &Path, source: io::Error) -> SandboxError {
    SandboxError::Prepare { action: action.to_owned(), path: path.to_owned(), source }
}

#[expect(clippy::disallowed_methods, reason = "the sandbox starts its launchers")]
fn start_launcher(program: &Path, guise: Guise) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    // Nothing here makes the standard library fork: it uses `posix_spawn`, so the size of this
    // process does not matter.
    let mut command = Command::new(program);
    command.arg0(launcher::NAME).args([guise.name(), &std::process::id().to_string()]).env_clear();
    planted::inherit(&mut command);
    let stdin = Stdio::from(OwnedFd::from(theirs));
    let child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok((ours, child))
}
