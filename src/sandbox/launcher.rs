//! The launcher: a small process of Kiln's own executable that runs steps one after the other.
//! Knows one step at a time, and of Kiln only the socket to it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

use super::beside::{self, Beside, Net, Signs, Wait};
use super::cell::{self, Home, User, Wire};
use super::error::Feature;
use super::init::{Init, Step};
use super::outcome::{Exit, ServiceEnd};
use super::program::{Fence, Phase, Program, Stuck};
use super::protocol::{self, Fault, Ran, Reply, Request, Service, Stdin};
use super::root::{self, Room, Roots};
use super::space::{Space, Spaces};
use super::stage::Stage;
use super::system::Shared;
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
    /// A cell with namespaces, whose steps are this user.
    Cell(Wire, User),
    /// The weak sandbox.
    Weak,
}

impl Guise {
    const NAMES: [(Self, &str); 5] = [
        (Self::Cell(Wire::Cut, User::Build), "cut"),
        (Self::Cell(Wire::Host, User::Build), "host"),
        (Self::Cell(Wire::Cut, User::Root), "cut-root"),
        (Self::Cell(Wire::Host, User::Root), "host-root"),
        (Self::Weak, "weak"),
    ];

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
        Err(fault) => return protocol::write_reply(&Reply::Failed(fault), true).send(&socket, &[]),
    };
    // Entering a user namespace may have taken this back.
    die_with(parent);
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let memory = launcher.cell.as_ref().is_some_and(|cell| cell.memory);
    protocol::write_reply(&Reply::Ready { memory }, false).send(&socket, &[])?;
    while let Some((frame, fds)) = wire::receive(&socket)? {
        if frame.is_empty() {
            // A stop that crossed with the end of the step.
            continue;
        }
        let request = Request::read(&frame).ok_or(io::ErrorKind::InvalidData)?;
        let ends = Ends::of(fds, &request).ok_or(io::ErrorKind::InvalidData)?;
        let (ran, mut used) = launcher.run(&request, ends, &socket);
        if request.scratch.is_some() {
            // Kiln goes on to remove what is on disk.
            launcher.take_away(used.take());
        }
        let reply = ran.map_or_else(Reply::Failed, Reply::Ran);
        protocol::write_reply(&reply, launcher.is_spent()).send(&socket, &[])?;
        // It does not wait for the rest.
        launcher.take_away(used);
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
    /// `None` is the weak sandbox.
    cell: Option<Inside>,
}

/// The inside of a cell.
struct Inside {
    home: Home,
    init: Init,
    roots: Roots,
    spaces: Spaces,
    /// Whether a step's writes can go to memory.
    memory: bool,
    /// Whether the full network is the host's.
    networked: bool,
    /// Whether the host's root runs Kiln.
    for_root: bool,
}

/// The ends that Kiln gives a step: pipes to write to, and the directory for its outs.
pub(super) struct Ends {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) capture: OwnedFd,
    /// A pipe for each service.
    pub(super) services: Vec<OwnedFd>,
    /// The standard input, if the step has one.
    pub(super) stdin: Option<OwnedFd>,
}

impl Ends {
    fn of(fds: Vec<OwnedFd>, request: &Request) -> Option<Self> {
        let mut fds = fds.into_iter();
        let (stdout, stderr, capture) = (fds.next()?, fds.next()?, fds.next()?);
        let mut services: Vec<_> = fds.collect();
        let stdin = match request.stdin {
            Stdin::Null => None,
            Stdin::Given | Stdin::Terminal => Some(services.pop()?),
        };
        (services.len() == request.services.len()).then_some(Self {
            stdout,
            stderr,
            capture,
            services,
            stdin,
        })
    }
}

/// What a step has used.
struct Used {
    room: Room,
    space: Space,
    stage: Stage,
}

impl Launcher {
    fn new(guise: Guise) -> Result<Self, Fault> {
        let for_root = rustix::process::geteuid().is_root();
        let Guise::Cell(wire, user) = guise else {
            weak::adopt_orphans();
            cell::bar_capabilities(User::Build);
            return Ok(Self { cell: None });
        };
        cell::enter(wire, user)?;
        let refused = |feature| move |error| Fault::refused(feature, error);
        let init = Init::start().map_err(refused(Feature::OtherNamespaces))?;
        root::write_masks()?;
        Ok(Self {
            cell: Some(Inside {
                home: Home::new().map_err(refused(Feature::Mounts))?,
                init,
                roots: Roots::default(),
                spaces: Spaces::default(),
                memory: holds_attributes(),
                networked: wire == Wire::Host,
                for_root,
            }),
        })
    }

    /// Runs a step; returns how that went, and what is yet to be taken away.
    fn run(
        &mut self,
        request: &Request,
        ends: Ends,
        socket: &UnixStream,
    ) -> (Result<Ran, Fault>, Option<Used>) {
        match &mut self.cell {
            None => (weak::run(request, ends, socket), None),
            Some(cell) => match cell.prepare(request, None) {
                Ok(used) => (cell.run(request, &used, ends, socket), Some(used)),
                Err(fault) => (Err(fault), None),
            },
        }
    }

    /// Returns whether no other step can run here.
    fn is_spent(&self) -> bool {
        self.cell.as_ref().is_some_and(|cell| !cell.init.is_good())
    }

    fn take_away(&mut self, used: Option<Used>) {
        if let (Some(cell), Some(used)) = (&mut self.cell, used) {
            cell.take_away(used);
        }
    }
}

impl Inside {
    /// Makes what a step needs, or the program at that place beside it.
    fn prepare(&mut self, request: &Request, beside: Option<usize>) -> Result<Used, Fault> {
        let kind = root::Kind {
            root: request.root.clone(),
            host_paths: request.host_paths.clone(),
            networked: self.networked,
        };
        let space = match beside {
            None => self.spaces.open(request)?,
            Some(place) => self.spaces.open_beside(place)?,
        };
        match self.furnish(request, kind, &space) {
            Ok((room, stage)) => Ok(Used { room, space, stage }),
            Err(fault) => {
                self.spaces.close(&space);
                Err(fault)
            }
        }
    }

    /// Makes a root of this kind and a working tree; what is written goes to `space`.
    fn furnish(
        &mut self,
        request: &Request,
        kind: root::Kind,
        space: &Space,
    ) -> Result<(Room, Stage), Fault> {
        let room = match space.of_root() {
            None => self.roots.take(kind, &self.home, &mut self.init, self.for_root)?,
            Some(writes) => self.roots.take_writable(
                &kind,
                &writes,
                &self.home,
                &mut self.init,
                self.for_root,
            )?,
        };
        match Stage::make(request, space) {
            Ok(stage) => Ok((room, stage)),
            Err(fault) => {
                self.roots.put_back(room);
                Err(fault)
            }
        }
    }

    fn run(
        &mut self,
        request: &Request,
        used: &Used,
        ends: Ends,
        socket: &UnixStream,
    ) -> Result<Ran, Fault> {
        if request.services.is_empty() {
            return self.run_among(request, used, ends, socket, None, &mut Beside::default());
        }
        let net = Net::new(&self.home.proc)?;
        let (mut beside, mut rooms) = (Beside::default(), Vec::new());
        let ran = match self.start_services(request, &ends, socket, &net, &mut beside, &mut rooms) {
            Ok(None) => self.run_among(request, used, ends, socket, Some(&net), &mut beside),
            Ok(Some(exit)) => Ok(Ran::never(exit)),
            Err(fault) => Err(fault),
        };
        beside.end();
        self.init.end_all();
        for used in rooms {
            self.take_away(used);
        }
        ran
    }

    /// Runs the step, with what is up beside it in `net`.
    fn run_among(
        &mut self,
        request: &Request,
        used: &Used,
        Ends { stdout, stderr, capture, services, stdin }: Ends,
        socket: &UnixStream,
        net: Option<&Net>,
        beside: &mut Beside,
    ) -> Result<Ran, Fault> {
        // Theirs are the only ends left.
        drop(services);
        let program = Program::new(request, Fence::Cell, stdout, stderr)?;
        let program = program.with_input(stdin, request.stdin == Stdin::Terminal);
        let program = if net.is_some() { program.stay_in_network() } else { program };
        let start = Instant::now();
        let main = self.start(used, true, &program, net);
        let main = main.and_then(|main| main.map_err(|stuck| stuck.fault(request)));
        // Also a process that never became the program has used a number.
        let main = main.inspect_err(|_| {
            beside.end();
            self.init.end_all();
        })?;
        // The output ends when the step's own processes have let go of it.
        drop(program);
        let mut step = Step { main, init: &mut self.init, beside };
        let end = supervise::follow(&mut step, request.timeout, start, socket)
            .map_err(|stuck| stuck.fault(request))?;
        used.stage.finish(request, &used.space, end, capture.as_fd())
    }

    /// Starts a program in its root, and in `net` if there is one. `is_first` is whether none was
    /// started there before.
    fn start(
        &self,
        used: &Used,
        is_first: bool,
        program: &Program,
        net: Option<&Net>,
    ) -> Result<Result<Shared, Stuck>, Fault> {
        self.home.within(&used.room.mounts, || {
            if is_first {
                used.stage.attach()?;
            }
            let start = || program.start_in_cell(&self.home.proc);
            match net {
                None => Ok(start()),
                Some(net) => net
                    .within(start)
                    .map_err(|error| Fault::refused(Feature::OtherNamespaces, error)),
            }
        })
    }

    /// Starts the programs beside a step, each when the one before it is ready. Returns how the step
    /// ends if one of them cannot be had.
    fn start_services(
        &mut self,
        request: &Request,
        ends: &Ends,
        socket: &UnixStream,
        net: &Net,
        beside: &mut Beside,
        rooms: &mut Vec<Used>,
    ) -> Result<Option<Exit>, Fault> {
        // All roots first: to make one ends all processes there are.
        for (place, service) in request.services.iter().enumerate() {
            rooms.push(self.prepare(&service.request, Some(place))?);
        }
        for (place, (service, output)) in request.services.iter().zip(&ends.services).enumerate() {
            let used = &rooms[place];
            let number = u8::try_from(place).expect("there are few");
            let exit = |end| Ok(Some(Exit::Service { service: number, end }));
            let program = beside_program(&service.request, output)?;
            let shared = match self.start(used, true, &program, Some(net))? {
                Ok(shared) => shared,
                Err(Stuck { phase: Phase::Exec, errno }) => {
                    return exit(ServiceEnd::NotStarted(errno));
                }
                Err(stuck) => return Err(stuck.fault(&service.request)),
            };
            let wait = self.wait_for(service, used, &shared, output, net, socket);
            beside.push(shared);
            match wait? {
                Wait::Ready => {}
                Wait::Ended => return exit(beside.fallen(place)),
                Wait::TooLate => return exit(ServiceEnd::NotReady),
                Wait::Cancelled => return Ok(Some(Exit::Cancelled)),
            }
        }
        Ok(None)
    }

    /// Waits until a program beside a step is ready.
    fn wait_for(
        &self,
        service: &Service,
        used: &Used,
        shared: &Shared,
        output: &OwnedFd,
        net: &Net,
        socket: &UnixStream,
    ) -> Result<Wait, Fault> {
        let deadline = Instant::now() + service.within;
        let check = service.ready.as_ref().map(|argv| service.request.of(argv));
        let check = check.as_ref().map(|request| {
            move |file: &File| {
                let file = file.as_fd().try_clone_to_owned();
                let file = file.map_err(|error| Fault::prepare("check", "/build", error))?;
                let program = beside_program(request, &file)?;
                self.start(used, false, &program, Some(net))
            }
        });
        let check = check.as_ref().map(|check| check as &beside::Check<'_>);
        let signs = Signs { net, port: service.port, check, output: output.as_fd() };
        beside::wait_until_ready(shared, &signs, deadline, socket)
    }

    /// Takes away what no process uses any more.
    fn take_away(&mut self, Used { room, space, stage }: Used) {
        let detached = self.home.within(&room.mounts, || {
            stage.detach().map_err(|error| Fault::refused(Feature::Mounts, error))
        });
        if detached.is_ok() {
            self.roots.put_back(room);
        }
        drop(stage);
        self.spaces.close(&space);
    }
}

/// Returns a program beside a step; all it writes goes to `output`.
fn beside_program(request: &Request, output: &OwnedFd) -> Result<Program, Fault> {
    let copy = || {
        let copy = output.try_clone();
        copy.map_err(|error| Fault::prepare("pass output to", "/build", error))
    };
    Ok(Program::new(request, Fence::Cell, copy()?, copy()?)?.stay_in_network())
}

/// Returns whether files in memory can have the attributes an overlay marks them with.
fn holds_attributes() -> bool {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr("/empty", "user.overlay.test", b"y", flags).is_ok()
        && rustix::fs::removexattr("/empty", "user.overlay.test").is_ok()
}
