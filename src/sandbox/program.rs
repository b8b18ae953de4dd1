//! The program of a step, from the clone of its process to its execution. Everything here but
//! [`Program::new`] runs in the new process, which may share memory with the launcher: it allocates
//! nothing that it does not let go of.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::planted::{Bug, is_planted};

use super::cell::User;
use super::error::Feature;
use super::protocol::{Fault, Request};
use super::seccomp::{self, Sockets};
use super::spec::{self, Network};
use super::system::{self, Shared, Strings};

/// A program, and the state it starts in.
pub(super) struct Program {
    /// Where it may be: the first of these that is there is it.
    files: Vec<CString>,
    argv: Strings,
    env: Strings,
    /// Relative to the working tree.
    cwd: PathBuf,
    /// The network it is given; with [`Network::None`] that of whoever starts it.
    network: Network,
    /// What the program may do beyond what the namespaces let it.
    pub(super) fence: Fence,
    /// The user it believes to be.
    user: User,
    each_memory: Option<u64>,
    each_processes: Option<u64>,
    /// Where nothing bounds the whole scratch space: what each file in it may have.
    each_file: Option<u64>,
    /// `None` is nothing to read.
    stdin: Option<OwnedFd>,
    /// Whether that is a terminal which is to rule over the program.
    is_terminal: bool,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// How a program is kept in, besides by namespaces.
pub(super) enum Fence {
    /// Namespaces and the filter of the cell keep it in.
    Cell,
    /// A filter of its own, and these files and no others, where the kernel has Landlock.
    Files(Option<OwnedFd>),
}

/// How far a new process had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Loopback,
    Rights,
    Fork,
    Cwd,
    Filter,
    Exec,
}

/// What kept a process from becoming the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) phase: Phase,
    pub(super) errno: i32,
}

impl Phase {
    pub(super) const ALL: [Self; 6] =
        [Self::Loopback, Self::Rights, Self::Fork, Self::Cwd, Self::Filter, Self::Exec];

    /// Returns a function that says what kept a process in this phase.
    pub(super) fn stuck<E: Into<io::Error>>(self) -> impl Fn(E) -> Stuck {
        move |error| Stuck { phase: self, errno: error.into().raw_os_error().unwrap_or(libc::EIO) }
    }
}

impl Stuck {
    /// Returns the fault that this amounts to.
    pub(super) fn fault(self, request: &Request) -> Fault {
        let error = io::Error::from_raw_os_error(self.errno);
        match self.phase {
            Phase::Exec => {
                let program = request.argv.first().cloned().unwrap_or_default();
                let program: std::ffi::OsString =
                    std::os::unix::ffi::OsStringExt::from_vec(program);
                Fault::Exec { program: program.into(), errno: self.errno }
            }
            Phase::Cwd => Fault::prepare("enter", &*request.cwd, error),
            Phase::Filter => Fault::refused(Feature::Seccomp, error),
            Phase::Loopback | Phase::Rights | Phase::Fork => {
                Fault::refused(Feature::OtherNamespaces, error)
            }
        }
    }
}

impl Program {
    /// Puts the program of `request` in the form the kernel takes it.
    pub(super) fn new(
        request: &Request,
        fence: Fence,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> Result<Self, Fault> {
        let strings = |words: &[Vec<u8>]| {
            words.iter().map(|word| CString::new(word.clone())).collect::<Result<Vec<_>, _>>()
        };
        let invalid =
            |_| Fault::prepare("pass a zero byte to", &*request.cwd, io::ErrorKind::InvalidInput);
        Ok(Self {
            files: strings(&files(request)).map_err(invalid)?,
            argv: Strings::new(strings(&request.argv).map_err(invalid)?),
            env: Strings::new(strings(&request.env).map_err(invalid)?),
            cwd: Path::new(&request.cwd).to_owned(),
            network: request.network,
            fence,
            user: if spec::keeps_root(&request.outs) { User::Root } else { User::Build },
            each_memory: request.each_memory,
            each_processes: request.each_processes,
            each_file: request.scratch_limit.filter(|_| request.scratch.is_some()),
            stdin: None,
            is_terminal: false,
            stdout,
            stderr,
        })
    }

    /// Has the program read that, if it is something, and be ruled by it, if it is a terminal.
    pub(super) fn with_input(mut self, stdin: Option<OwnedFd>, is_terminal: bool) -> Self {
        self.stdin = stdin;
        self.is_terminal = is_terminal;
        self
    }

    /// Has the program stay in the network of the process that starts it.
    pub(super) fn stay_in_network(mut self) -> Self {
        self.network = Network::None;
        self
    }

    /// Starts the program where the caller is, in a cell with a working tree at `/build`. `proc` is
    /// the host's `/proc`.
    pub(super) fn start_in_cell(&self, proc: &OwnedFd) -> Result<Shared, Stuck> {
        let mut namespaces = if is_planted(Bug::SharedMemory) { 0 } else { libc::CLONE_NEWIPC };
        if self.network == Network::Loopback {
            namespaces |= libc::CLONE_NEWNET;
        }
        let mut stuck = None;
        let main = system::start_sharing(namespaces, &mut || {
            stuck = Some(match self.enter_cell(proc) {
                Ok(()) => self.start(Path::new("/build")),
                Err(stuck) => stuck,
            });
            system::leave(127);
        });
        let main = main.map_err(Phase::Fork.stuck())?;
        match stuck {
            None => Ok(main),
            Some(stuck) => {
                // It is about to be gone.
                let _ = system::wait_for(main.pid);
                Err(stuck)
            }
        }
    }

    /// Makes this process one of a step.
    fn enter_cell(&self, proc: &OwnedFd) -> Result<(), Stuck> {
        if self.network == Network::Loopback {
            system::bring_up_loopback().map_err(Phase::Loopback.stuck())?;
        }
        // When memory runs out, a step goes first: before its launcher, and before the user's work.
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(proc, "self/oom_score_adj", flags, Mode::empty()) {
            let _ = rustix::io::write(file, b"1000");
        }
        drop_rights(self.user.rights()).map_err(Phase::Rights.stuck())
    }

    /// Becomes the program, in a session of its own. `build` is the working tree. Returns what kept
    /// it.
    pub(super) fn start(&self, build: &Path) -> Stuck {
        match self.set_state(build) {
            Err(stuck) => stuck,
            Ok(()) => Phase::Exec.stuck()(self.execute()),
        }
    }

    fn set_state(&self, build: &Path) -> Result<(), Stuck> {
        let state = || {
            let _ = rustix::process::setsid();
            let null =
                rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            match &self.stdin {
                Some(stdin) => {
                    system::duplicate_as(stdin.as_fd(), 0)?;
                    if self.is_terminal {
                        rustix::process::ioctl_tiocsctty(stdin)?;
                    }
                }
                None => system::duplicate_as(null?.as_fd(), 0)?,
            }
            system::duplicate_as(self.stdout.as_fd(), 1)?;
            system::duplicate_as(self.stderr.as_fd(), 2)?;
            if !is_planted(Bug::KeepDescriptors) {
                system::close_on_exec_from_3()?;
            }
            rustix::process::umask(Mode::from_raw_mode(0o022));
            self.set_limits();
            system::block_signals(&[]);
            Ok(())
        };
        state().map_err(Phase::Fork.stuck::<io::Error>())?;
        rustix::process::chdir(build.join(&self.cwd)).map_err(Phase::Cwd.stuck())?;
        self.put_up_fence().map_err(Phase::Filter.stuck())
    }

    fn put_up_fence(&self) -> io::Result<()> {
        match &self.fence {
            Fence::Cell if self.network == Network::Full => {
                super::landlock::scope_abstract_sockets()
            }
            Fence::Cell => Ok(()),
            Fence::Files(ruleset) => {
                rustix::thread::set_no_new_privs(true)?;
                if let Some(ruleset) = ruleset {
                    system::landlock_restrict(ruleset.as_fd())?;
                }
                let sockets = match self.network {
                    Network::None => Sockets::UnixOnly,
                    Network::Loopback | Network::Full => Sockets::Namespaced,
                };
                system::install_filter(seccomp::filter(sockets, User::Build))
            }
        }
    }

    /// Sets the limits of a process to the same everywhere, as far as the host allows.
    fn set_limits(&self) {
        if is_planted(Bug::OwnLimits) {
            return;
        }
        let limits = [
            // At 0 a program that takes core dumps from the kernel would still get them.
            (Resource::Core, Some(1), Some(1)),
            (Resource::Stack, Some(8 << 20), None),
            (Resource::Nofile, Some(1024), Some(1 << 19)),
            (Resource::Data, self.each_memory, self.each_memory),
            (Resource::Fsize, self.each_file, self.each_file),
            (Resource::Nproc, self.each_processes, self.each_processes),
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

    /// Executes the program. Returns why it could not.
    fn execute(&self) -> io::Error {
        let mut found = io::Error::from_raw_os_error(libc::ENOENT);
        for file in &self.files {
            let error = system::execute(file, &self.argv, &self.env);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => found = error,
                _ => return error,
            }
        }
        found
    }
}

/// Returns where the program may be: what it is called by, or that in the `PATH` of its own
/// environment.
fn files(request: &Request) -> Vec<Vec<u8>> {
    let Some(name) = request.argv.first() else { return Vec::new() };
    if name.contains(&b'/') {
        return vec![name.clone()];
    }
    let path = request.env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let below = |dir: &[u8]| {
        let dir = if dir.is_empty() { b"." } else { dir };
        [dir, b"/", name].concat()
    };
    path.unwrap_or_default().split(|byte| *byte == b':').map(below).collect()
}

/// Drops all capabilities but `kept` for this process. Programs are barred from them before.
pub(super) fn drop_rights(kept: CapabilitySet) -> io::Result<()> {
    if is_planted(Bug::KeepRights) {
        let all = CapabilitySets {
            inheritable: CapabilitySet::all(),
            ..rustix::thread::capabilities(None)?
        };
        rustix::thread::set_capabilities(
            None,
            CapabilitySets { inheritable: all.permitted, ..all },
        )?;
        for right in all.permitted.iter() {
            let _ = rustix::thread::configure_capability_in_ambient_set(right, true);
        }
        return Ok(());
    }
    rustix::thread::clear_ambient_capability_set()?;
    let inheritable = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}
