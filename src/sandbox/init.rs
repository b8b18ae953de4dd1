//! The inside of a step: process 1 of its namespaces, which makes the last mounts, starts the
//! program and outlives it by a moment. Everything here runs after the clone and ends in an exit;
//! what went wrong is told through the status pipe.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::planted::{Bug, is_planted};

use super::seccomp::{self, Sockets};
use super::spec::Network;
use super::system::Children;
use super::{cell, mounts, root, system};

/// All that process 1 needs, made ready before the clone.
pub(super) struct Step {
    /// Where the root is mounted in the cell.
    pub(super) root: PathBuf,
    /// Whether the host knows the step's user as its root.
    pub(super) for_root: bool,
    /// The working tree, detached.
    pub(super) build: OwnedFd,
    /// Detached trees and where in the working tree they go.
    pub(super) trees: Vec<(OwnedFd, PathBuf)>,
    pub(super) program: Program,
    /// Where the news goes: see [`News`].
    pub(super) status: OwnedFd,
}

/// A program, and the state it starts in.
pub(super) struct Program {
    pub(super) argv: Vec<CString>,
    pub(super) env: Vec<CString>,
    /// Relative to the working tree.
    pub(super) cwd: PathBuf,
    pub(super) network: Network,
    /// What the program may do beyond what the namespaces let it.
    pub(super) fence: Fence,
    pub(super) each_memory: Option<u64>,
    pub(super) each_processes: Option<u64>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// How a program is kept in, besides by namespaces.
pub(super) enum Fence {
    /// Namespaces keep it in.
    Cell,
    /// These files and no others, where the kernel has Landlock.
    Files(Option<OwnedFd>),
}

/// What the inside tells the launcher: 16 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// This stage did not work, for this reason.
    Stuck { stage: Stage, errno: i32 },
    /// The main process ended with this wait status; the peak is in bytes.
    Ended { status: i32, peak: u64 },
}

/// How far the inside has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Loopback,
    Trees,
    Places,
    Proc,
    Root,
    Rights,
    Fork,
    Cwd,
    Filter,
    Exec,
}

const STAGES: [Stage; 10] = [
    Stage::Loopback,
    Stage::Trees,
    Stage::Places,
    Stage::Proc,
    Stage::Root,
    Stage::Rights,
    Stage::Fork,
    Stage::Cwd,
    Stage::Filter,
    Stage::Exec,
];

impl News {
    pub(super) const LENGTH: usize = 16;

    fn to_bytes(self) -> [u8; Self::LENGTH] {
        let (kind, number, peak) = match self {
            Self::Stuck { stage, errno } => (stage as i32, errno, 0),
            Self::Ended { status, peak } => (-1, status, peak),
        };
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..].copy_from_slice(&peak.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let (kind, rest) = bytes.split_first_chunk()?;
        let (number, peak) = rest.split_first_chunk()?;
        let number = i32::from_le_bytes(*number);
        let peak = u64::from_le_bytes(peak.try_into().ok()?);
        Some(match usize::try_from(i32::from_le_bytes(*kind)) {
            Err(_) => Self::Ended { status: number, peak },
            Ok(stage) => Self::Stuck { stage: *STAGES.get(stage)?, errno: number },
        })
    }
}

/// Runs as process 1 of a step.
pub(super) fn run(step: Step) -> ! {
    // The clone does not inherit it; should the launcher have ended before, its pipe tells.
    if !is_planted(Bug::Orphans) {
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    }
    if !has_reader(&step.status) {
        system::leave(1);
    }
    if let Err((stage, error)) = prepare(&step) {
        tell_stuck(&step.status, stage, &error);
        system::leave(1);
    }
    let Step { program, status, .. } = step;
    look_after(program, &status, Path::new("/build"), 0, || system::signal_all(libc::SIGTERM))
}

/// Starts the program and stays until nothing is left of it. When the process `launcher` sends
/// SIGTERM, calls `pass_on`.
pub(super) fn look_after(
    program: Program,
    status: &OwnedFd,
    build: &Path,
    launcher: i32,
    pass_on: impl Fn(),
) -> ! {
    system::block_signals(&[libc::SIGCHLD, libc::SIGTERM]);
    match system::start_sharing(&mut || start(&program, status, build)) {
        Err(error) => tell_stuck(status, Stage::Fork, &error),
        Ok(main) => {
            // The output ends when the step's own processes have let go of it.
            drop(program);
            watch(status, main, launcher, pass_on);
        }
    }
    system::leave(0)
}

pub(super) fn has_reader(status: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(status, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = rustix::event::poll(&mut polled, Some(&now));
    !polled[0].revents().contains(PollFlags::ERR)
}

/// Says what is stuck, to whom it may concern.
pub(super) fn tell_stuck(status: &OwnedFd, stage: Stage, error: &io::Error) {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    tell(status, News::Stuck { stage, errno });
}

fn tell(status: &OwnedFd, news: News) {
    // Shorter than PIPE_BUF, so it is written whole or not at all.
    let _ = rustix::io::write(status, &news.to_bytes());
}

fn prepare(step: &Step) -> Result<(), (Stage, io::Error)> {
    let at = |stage| move |error| (stage, error);
    if step.program.network == Network::Loopback {
        system::bring_up_loopback().map_err(at(Stage::Loopback))?;
    }
    // When memory runs out, a step goes first: before its launcher, and before the user's own work.
    drop(std::fs::write(format!("{}/proc/self/oom_score_adj", mounts::HOST), "1000"));
    attach_trees(step).map_err(at(Stage::Trees))?;
    bind_places(&step.root).map_err(at(Stage::Places))?;
    mount_proc(&step.root, step.for_root).map_err(at(Stage::Proc))?;
    cell::move_to_root(&step.root).map_err(at(Stage::Root))?;
    drop_rights().map_err(at(Stage::Rights))
}

fn attach_trees(step: &Step) -> io::Result<()> {
    mounts::attach_at(&step.build, &step.root.join("build"))?;
    for (tree, path) in &step.trees {
        let place = mounts::open_beneath(step.build.as_fd(), path, OFlags::PATH)?;
        mounts::attach(tree, place)?;
    }
    Ok(())
}

/// Binds the step's own directories over the places a root has for them.
fn bind_places(root: &Path) -> io::Result<()> {
    for (from, to) in [("tmp", "tmp"), ("home", "home/build"), ("shm", "dev/shm")] {
        rustix::mount::mount_bind(Path::new("/scratch").join(from), root.join(to))?;
    }
    Ok(())
}

/// Mounts `/proc` of this PID namespace. It is read-only: a step that Kiln runs for the host's
/// root has that user's number, and `/proc/sys` asks for no more.
fn mount_proc(root: &Path, for_root: bool) -> io::Result<()> {
    let at = root.join("proc");
    let flags = rustix::mount::MountFlags::NOSUID
        | rustix::mount::MountFlags::NODEV
        | rustix::mount::MountFlags::NOEXEC
        | rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount("proc", &at, "proc", flags, None)?;
    let mask = |index: usize, name: &str| {
        let mask = Path::new(root::MASKS).join(index.to_string());
        match rustix::mount::mount_bind(mask, at.join(name)) {
            Err(error) if error != rustix::io::Errno::NOENT => Err(error),
            _ => Ok(()),
        }
    };
    for (index, (name, _)) in root::MASKED.iter().enumerate() {
        mask(index, name)?;
    }
    if for_root {
        // The first mask is empty.
        root::MASKED_FROM_ROOT.iter().try_for_each(|name| mask(0, name))?;
    }
    Ok(())
}

/// Drops all capabilities, which the cell has already barred programs from, and hides this process
/// from those it starts.
pub(super) fn drop_rights() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Waits for the main process, tells of it, and goes on until nothing is left of the step. To be
/// killed before that is usual.
fn watch(status_pipe: &OwnedFd, main: i32, launcher: i32, pass_on: impl Fn()) {
    loop {
        match system::wait_signal(&[libc::SIGCHLD, libc::SIGTERM]) {
            // A step's own has no effect.
            (libc::SIGTERM, sender) if sender == launcher => pass_on(),
            _ => {}
        }
        loop {
            match system::look_for_child() {
                Children::Ended { pid, status, peak } if pid == main => {
                    tell(status_pipe, News::Ended { status, peak });
                }
                Children::Ended { .. } => {}
                Children::Running => break,
                Children::None => return,
            }
        }
    }
}

/// Becomes the program, in a session of its own. `build` is the working tree.
pub(super) fn start(program: &Program, status: &OwnedFd, build: &Path) -> ! {
    let stuck = match set_state(program, build) {
        Err((stage, error)) => (stage, error),
        Ok(()) => (Stage::Exec, execute(program)),
    };
    tell_stuck(status, stuck.0, &stuck.1);
    system::leave(127)
}

fn set_state(program: &Program, build: &Path) -> Result<(), (Stage, io::Error)> {
    let at = |stage| move |error| (stage, error);
    let state = || {
        let _ = rustix::process::setsid();
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        system::duplicate_as(null.as_fd(), 0)?;
        system::duplicate_as(program.stdout.as_fd(), 1)?;
        system::duplicate_as(program.stderr.as_fd(), 2)?;
        system::close_on_exec_from_3()?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        set_limits(program);
        system::block_signals(&[]);
        Ok(())
    };
    state().map_err(at(Stage::Fork))?;
    rustix::process::chdir(build.join(&program.cwd)).map_err(|error| (Stage::Cwd, error.into()))?;
    let filter = || {
        rustix::thread::set_no_new_privs(true)?;
        let sockets = match (&program.fence, program.network) {
            (Fence::Files(_), Network::None) => Sockets::UnixOnly,
            _ => Sockets::Namespaced,
        };
        match &program.fence {
            Fence::Files(Some(ruleset)) => system::landlock_restrict(ruleset.as_fd())?,
            Fence::Cell if program.network == Network::Full => {
                super::landlock::scope_abstract_sockets()?;
            }
            Fence::Files(None) | Fence::Cell => {}
        }
        system::install_filter(seccomp::filter(sockets))
    };
    filter().map_err(at(Stage::Filter))
}

/// Sets the limits of a process to the same everywhere, as far as the host allows.
fn set_limits(program: &Program) {
    let limits = [
        // At 0 a program that takes core dumps from the kernel would still get them.
        (Resource::Core, Some(1), Some(1)),
        (Resource::Stack, Some(8 << 20), None),
        (Resource::Nofile, Some(1024), Some(1 << 19)),
        (Resource::Data, program.each_memory, program.each_memory),
        (Resource::Nproc, program.each_processes, program.each_processes),
    ];
    for (resource, soft, hard) in limits {
        let old = rustix::process::getrlimit(resource);
        let within = |wanted: Option<u64>, old: Option<u64>| match (wanted, old) {
            (Some(wanted), Some(old)) => Some(wanted.min(old)),
            (wanted, old) => wanted.or(old),
        };
        let maximum = within(hard, old.maximum);
        let current = within(soft.or(old.current), maximum);
        let _ = rustix::process::setrlimit(resource, Rlimit { current, maximum });
    }
}

/// Executes the program, looked for in the `PATH` of its own environment. Returns why it could
/// not.
fn execute(program: &Program) -> io::Error {
    let argv: Vec<&CStr> = program.argv.iter().map(CString::as_c_str).collect();
    let env: Vec<&CStr> = program.env.iter().map(CString::as_c_str).collect();
    let Some(name) = argv.first() else { return io::ErrorKind::InvalidInput.into() };
    if name.to_bytes().contains(&b'/') {
        return system::execute(name, &argv, &env);
    }
    let path = env.iter().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let mut found = io::Error::from_raw_os_error(libc::ENOENT);
    for dir in path.unwrap_or_default().split(|byte| *byte == b':') {
        let mut full = if dir.is_empty() { b".".to_vec() } else { dir.to_vec() };
        full.push(b'/');
        full.extend_from_slice(name.to_bytes());
        let Ok(full) = CString::new(full) else { continue };
        let error = system::execute(&full, &argv, &env);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => found = error,
            _ => return error,
        }
    }
    found
}
