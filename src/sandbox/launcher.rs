//! The launcher: a small process of Kiln's own executable that runs steps one after the other.
//! Knows one step at a time, and of Kiln only the socket to it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

use super::cell::{self, Wire};
use super::init::{Fence, Program};
use super::protocol::{self, Fault, Ran, Reply, Request};
use super::root::{self, Roots};
use super::stage::Stage;
use super::{supervise, system, weak, wire};

/// The name a launcher goes by in place of the program's.
pub(super) const NAME: &str = "kiln-cell";

/// Whether this program has come past [`launch_if_asked`], and so can be a launcher.
static IS_PREPARED: AtomicBool = AtomicBool::new(false);

/// Turns this process into a sandbox launcher if it was started as one, and otherwise returns.
///
/// A program that runs pipelines calls this before anything else in `main`: Kiln starts the
/// program's own executable again for each of its sandboxes. Without it, they refuse to start.
///
/// # Examples
/// ```
/// kiln::launch_if_asked();
/// // The program's own work starts here.
/// ```
pub fn launch_if_asked() {
    IS_PREPARED.store(true, Ordering::Relaxed);
    let mut arguments = std::env::args_os();
    if arguments.next().is_none_or(|name| name != NAME) {
        return;
    }
    let mut text = || arguments.next()?.into_string().ok();
    let guise = text().and_then(|guise| Guise::parse(&guise));
    let parent = text().and_then(|parent| parent.parse().ok());
    let code = match (guise, parent) {
        (Some(guise), Some(parent)) => serve(guise, parent).map_or(1, |()| 0),
        _ => 2,
    };
    system::leave(code)
}

/// Returns whether this program calls [`launch_if_asked`].
pub(super) fn is_prepared() -> bool {
    IS_PREPARED.load(Ordering::Relaxed)
}

/// What kind of launcher to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guise {
    /// A cell with namespaces.
    Cell(Wire),
    /// The weak sandbox.
    Weak,
}

impl Guise {
    const NAMES: [(Self, &str); 3] =
        [(Self::Cell(Wire::Cut), "cut"), (Self::Cell(Wire::Host), "host"), (Self::Weak, "weak")];

    fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(guise, _)| *guise)
    }

    pub(super) fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(guise, _)| *guise == self);
        found.expect("every guise has a name").1
    }
}

/// Runs steps until Kiln closes the socket.
fn serve(guise: Guise, parent: i32) -> io::Result<()> {
    die_with(parent);
    let socket = UnixStream::from(system::take_stdin()?);
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, Mode::empty())?;
    system::duplicate_as(null.as_fd(), 0)?;
    drop(null);
    stand_alone();
    rustix::process::umask(Mode::empty());
    // Every program to come inherits these two.
    system::reset_signal_actions();
    system::fix_addresses();
    let mut launcher = match Launcher::new(guise) {
        Ok(launcher) => launcher,
        Err(fault) => return protocol::write_reply(&Reply::Failed(fault)).send(&socket, &[]),
    };
    // Entering a user namespace may have taken this back.
    die_with(parent);
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    protocol::write_reply(&Reply::Ready { memory: launcher.memory }).send(&socket, &[])?;
    while let Some((frame, fds)) = wire::receive(&socket)? {
        if frame.is_empty() {
            // A stop that crossed with the end of the step.
            continue;
        }
        let request = Request::read(&frame).ok_or(io::ErrorKind::InvalidData)?;
        let fds = <[OwnedFd; 3]>::try_from(fds).map_err(|_| io::ErrorKind::InvalidData)?;
        let (ran, stage) = launcher.run(&request, fds, &socket);
        // Kiln removes what is on disk. It does not wait for the rest to be taken away.
        let in_memory = stage.filter(|_| request.scratch.is_none());
        let reply = ran.map_or_else(Reply::Failed, Reply::Ran);
        protocol::write_reply(&reply).send(&socket, &[])?;
        drop(in_memory);
    }
    Ok(())
}

/// Lets go of what this process shares with Kiln's user.
fn stand_alone() {
    // Ctrl-C at the terminal is Kiln's to hear: it asks steps to stop, and waits.
    let _ = rustix::process::setsid();
    system::leave_keyring();
    let files = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit { current: files.maximum, maximum: files.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, most);
}

/// Has the kernel end this process with its parent, even if that has ended by now.
fn die_with(parent: i32) {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if rustix::process::Pid::as_raw(rustix::process::getppid()) != parent {
        system::leave(1);
    }
}

/// What a launcher keeps from one step to the next.
struct Launcher {
    guise: Guise,
    roots: Roots,
    memory: bool,
    /// Whether the host's root runs Kiln.
    for_root: bool,
}

impl Launcher {
    fn new(guise: Guise) -> Result<Self, Fault> {
        let roots = Roots::default();
        let for_root = rustix::process::geteuid().is_root();
        let Guise::Cell(wire) = guise else {
            weak::adopt_orphans();
            cell::bar_capabilities();
            return Ok(Self { guise, roots, memory: false, for_root });
        };
        cell::enter(wire)?;
        root::write_masks()?;
        Ok(Self { guise, roots, memory: holds_attributes(), for_root })
    }

    /// Runs a step; returns how that went, and what is yet to be taken away.
    fn run(
        &mut self,
        request: &Request,
        fds: [OwnedFd; 3],
        socket: &UnixStream,
    ) -> (Result<Ran, Fault>, Option<Stage>) {
        let [stdout, stderr, capture] = fds;
        let program = match program(request, stdout, stderr) {
            Ok(program) => program,
            Err(fault) => return (Err(fault), None),
        };
        if self.guise == Guise::Weak {
            return (weak::run(request, program, capture.as_fd(), socket), None);
        }
        let stage = match self.stage(request) {
            Ok(stage) => stage,
            Err(fault) => return (Err(fault), None),
        };
        let ran = supervise::run(request, &stage, program, self.for_root, socket)
            .and_then(|end| stage.finish(request, end, capture.as_fd()));
        (ran, Some(stage))
    }

    fn stage(&mut self, request: &Request) -> Result<Stage, Fault> {
        let kind = root::Kind {
            root: request.root.clone(),
            host_paths: request.host_paths.clone(),
            networked: self.guise == Guise::Cell(Wire::Host),
        };
        let root = self.roots.get(kind)?;
        Stage::make(request, root)
    }
}

/// Returns what to start, in the form the kernel takes it.
fn program(request: &Request, stdout: OwnedFd, stderr: OwnedFd) -> Result<Program, Fault> {
    let strings = |words: &[Vec<u8>]| {
        words.iter().map(|word| CString::new(word.clone())).collect::<Result<Vec<_>, _>>()
    };
    let invalid =
        |_| Fault::prepare("pass a zero byte to", &*request.cwd, io::ErrorKind::InvalidInput);
    Ok(Program {
        argv: strings(&request.argv).map_err(invalid)?,
        env: strings(&request.env).map_err(invalid)?,
        cwd: Path::new(&request.cwd).to_owned(),
        network: request.network,
        fence: Fence::Cell,
        each_memory: request.each_memory,
        each_processes: request.each_processes,
        stdout,
        stderr,
    })
}

/// Returns whether files in memory can have the attributes an overlay marks them with.
fn holds_attributes() -> bool {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr("/empty", "user.overlay.test", b"y", flags).is_ok()
        && rustix::fs::removexattr("/empty", "user.overlay.test").is_ok()
}
