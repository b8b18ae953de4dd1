//! One run as Kiln lives it: asks a launcher, passes output on, and hears how it went.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;

use super::cancel::Cancel;
use super::cgroup::Group;
use super::error::SandboxError;
use super::launcher::Guise;
use super::outcome::{Enforced, Enforcement, Exit, Outcome, Stream};
use super::pool::{Cell, Pool, prepare};
use super::protocol::{self, Ran, Reply, Request, Stdin};
use super::scratch;
use super::spec::{Limits, MAX_LOWERS, Place, Scratch, Service, Spec};
use super::wire::Writer;

/// How many bytes of output are passed on at a time.
const CHUNK: usize = 64 * 1024;

/// How long output may still come once no process of the step is left: it is in the pipe already,
/// unless the step gave its end of the pipe away.
const LAST_OUTPUT: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Runs `spec` in a launcher of this guise.
pub(super) fn run(
    pool: &Pool,
    guise: Guise,
    spec: &Spec,
    cancel: &Cancel,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<Outcome, SandboxError> {
    if cancel.is_stopped() {
        return Ok(cancelled());
    }
    if spec.lowers.len() > MAX_LOWERS {
        let found = spec.lowers.len();
        return Err(SandboxError::TooManyLowers { found, most: MAX_LOWERS });
    }
    let mut cell = pool.take(guise)?;
    let keeper = keeper(&mut cell, spec)?;
    let on_disk = spec.scratch == Scratch::Disk || !cell.memory;
    let space = on_disk.then(|| pool.make_scratch()).transpose()?;
    let places = match (guise, &space) {
        (Guise::Weak, Some(space)) => {
            ["build", "home", "tmp", "files"].map(|name| space.join(name))
        }
        _ => ["/build", "/home/build", "/tmp", "/run/kiln"].map(PathBuf::from),
    };
    let path_of = |place| match place {
        Place::Build => places[0].as_os_str(),
        Place::Home => places[1].as_os_str(),
        Place::Temp => places[2].as_os_str(),
        Place::Files => places[3].as_os_str(),
    };
    let mut request = request(spec, path_of, space.clone());
    [request.each_memory, request.each_processes] = keeper.left_to_launcher(&spec.limits);
    let result = converse(&mut cell, &request, spec, cancel, output);
    let result = result.map(|outcome| keeper.judge(&mut cell, spec, outcome));
    if let Some(space) = space {
        drop(scratch::remove_tree(&space));
    }
    if !cell.is_spent && !matches!(result, Err(SandboxError::LauncherEnded)) {
        pool.put_back(cell);
    }
    result
}

/// Who keeps the limits of a step.
struct Keeper {
    memory: bool,
    processes: bool,
    killed_before: u64,
    refused_before: u64,
}

/// Sets the limits that control groups can keep.
fn keeper(cell: &mut Cell, spec: &Spec) -> Result<Keeper, SandboxError> {
    let group = cell
        .limit(&spec.limits)
        .map_err(|source| prepare("set the limits of", Path::new("/sys/fs/cgroup"), source))?;
    Ok(Keeper {
        memory: group.is_some_and(Group::limits_memory),
        processes: group.is_some_and(Group::limits_processes),
        killed_before: group.map_or(0, Group::killed_for_memory),
        refused_before: group.map_or(0, Group::refused_processes),
    })
}

impl Keeper {
    /// Returns the limits on memory and processes that no group keeps.
    fn left_to_launcher(&self, limits: &Limits) -> [Option<u64>; 2] {
        let processes = limits.processes.map(u64::from);
        [limits.memory.filter(|_| !self.memory), processes.filter(|_| !self.processes)]
    }

    /// Adds to `outcome` how far the limits held, and whether memory was what ended the step.
    fn judge(&self, cell: &mut Cell, spec: &Spec, mut outcome: Outcome) -> Outcome {
        let level = |asked, level| if asked { level } else { Enforcement::NotAsked };
        let memory = if self.memory { Enforcement::Whole } else { Enforcement::EachProcess };
        // The host's root has no limit on its processes, in whatever user namespace they are.
        let processes = if self.processes || !rustix::process::geteuid().is_root() {
            Enforcement::Whole
        } else {
            Enforcement::Nothing
        };
        outcome.enforced.memory = level(spec.limits.memory.is_some(), memory);
        outcome.enforced.processes = level(spec.limits.processes.is_some(), processes);
        let refused = cell.group().map_or(0, Group::refused_processes);
        outcome.processes_refused = refused > self.refused_before;
        let killed = cell.group().map_or(0, Group::killed_for_memory);
        if killed > self.killed_before && matches!(outcome.exit, Exit::Signal(_) | Exit::Code(1..))
        {
            outcome.exit = Exit::OutOfMemory;
        }
        outcome
    }
}

/// Returns what comes of a run that was stopped before it began.
fn cancelled() -> Outcome {
    let not_asked = Enforcement::NotAsked;
    Outcome {
        exit: Exit::Cancelled,
        elapsed: Duration::ZERO,
        peak_memory: None,
        captured: Vec::new(),
        log_truncated: false,
        scratch_full: false,
        processes_refused: false,
        enforced: Enforced { memory: not_asked, processes: not_asked, scratch: not_asked },
    }
}

fn request<'a>(
    spec: &Spec,
    path_of: impl Fn(Place) -> &'a OsStr + Copy,
    scratch: Option<PathBuf>,
) -> Request {
    let assignment = |(name, value): &(OsString, super::spec::Word)| {
        [name.as_bytes(), b"=", value.resolve(path_of).as_bytes()].concat()
    };
    Request {
        root: spec.root.clone(),
        lowers: spec.lowers.clone(),
        mounts: spec.mounts.clone(),
        host_paths: spec.host_paths.clone(),
        argv: spec.argv.iter().map(|word| word.resolve(path_of).into_vec()).collect(),
        env: spec.env.iter().map(assignment).collect(),
        cwd: spec.cwd.clone(),
        network: spec.network,
        timeout: spec.limits.timeout,
        scratch_limit: spec.limits.scratch,
        each_memory: None,
        each_processes: None,
        scratch,
        outs: spec.outs.clone(),
        files: spec.files.clone(),
        keep: spec.keep.clone(),
        services: spec.services.iter().map(|service| beside(service, path_of)).collect(),
        gone: spec.gone.clone(),
        stdin: match &spec.streams {
            None => Stdin::Null,
            Some(streams) if streams.is_terminal => Stdin::Terminal,
            Some(_) => Stdin::Given,
        },
    }
}

fn beside<'a>(service: &Service, path_of: impl Fn(Place) -> &'a OsStr + Copy) -> protocol::Service {
    let word = |word: &super::spec::Word| word.resolve(path_of).into_vec();
    protocol::Service {
        request: request(&service.program, path_of, None),
        port: service.port,
        ready: service.ready.as_ref().map(|words| words.iter().map(word).collect()),
        within: service.within,
    }
}

/// Sends the request, passes output on until the launcher answers, and returns the answer.
fn converse(
    cell: &mut Cell,
    request: &Request,
    spec: &Spec,
    cancel: &Cancel,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<Outcome, SandboxError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let capture = rustix::fs::open(&spec.capture, flags, Mode::empty())
        .map_err(|error| prepare("open", &spec.capture, error.into()))?;
    let pipe = || {
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map_err(|error| prepare("make a pipe for", &spec.capture, error.into()))
    };
    let mut pipes = Vec::new();
    let mut ends = Vec::new();
    let streams = spec.streams.as_deref();
    if streams.is_none() {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let (output, to_output) = pipe()?;
            pipes.push((stream, Some(output)));
            ends.push(to_output);
        }
    }
    for place in 0..spec.services.len() {
        let (output, to_output) = pipe()?;
        let place = u8::try_from(place).expect("there are few");
        pipes.push((Stream::Service(place), Some(output)));
        ends.push(to_output);
    }
    let mut fds = Vec::new();
    if let Some(streams) = streams {
        fds.extend([streams.stdout.as_fd(), streams.stderr.as_fd()]);
    }
    fds.extend(ends.iter().map(AsFd::as_fd));
    // Behind the two outputs.
    fds.insert(2, capture.as_fd());
    fds.extend(streams.map(|streams| streams.stdin.as_fd()));
    request.write().send(&cell.socket, &fds).map_err(|_| SandboxError::LauncherEnded)?;
    drop(ends);
    let mut log = Log { output, left: spec.limits.log, truncated: false };
    let ran = listen(cell, cancel, &mut pipes, &mut log)?;
    Ok(outcome(ran, spec, log.truncated))
}

/// Output on its way to the caller.
struct Log<'a> {
    output: &'a mut dyn FnMut(Stream, &[u8]),
    /// Bytes that may still pass.
    left: Option<u64>,
    truncated: bool,
}

impl Log<'_> {
    fn pass(&mut self, stream: Stream, bytes: &[u8]) {
        let most = self.left.map_or(bytes.len(), |left| {
            usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
        });
        self.truncated |= most < bytes.len();
        self.left = self.left.map(|left| left - most as u64);
        if most > 0 {
            (self.output)(stream, &bytes[..most]);
        }
    }
}

/// The reading ends of the outputs of a step and what is beside it; `None` once closed.
type Pipes = [(Stream, Option<OwnedFd>)];

fn listen(
    cell: &mut Cell,
    cancel: &Cancel,
    pipes: &mut Pipes,
    log: &mut Log<'_>,
) -> Result<Ran, SandboxError> {
    let mut buffer = vec![0; CHUNK];
    let mut stops = 0;
    loop {
        let ready = wait(Some(cell.socket.as_fd()), cancel.wait_for(stops), pipes, None);
        read_ready(pipes, &ready.pipes, &mut buffer, log);
        if ready.socket {
            break;
        }
        if ready.stop {
            stops += 1;
            Writer::new().send(&cell.socket, &[]).map_err(|_| SandboxError::LauncherEnded)?;
        }
    }
    let reply = cell.reply();
    while pipes.iter().any(|(_, pipe)| pipe.is_some()) {
        let ready = wait(None, None, pipes, Some(&LAST_OUTPUT));
        if !ready.pipes.contains(&true) {
            break;
        }
        read_ready(pipes, &ready.pipes, &mut buffer, log);
    }
    match reply? {
        Reply::Ran(ran) => Ok(ran),
        Reply::Failed(fault) => Err(fault.into()),
        Reply::Ready { .. } => Err(SandboxError::LauncherEnded),
    }
}

/// What can be read.
struct Readable {
    /// For each pipe.
    pipes: Vec<bool>,
    socket: bool,
    stop: bool,
}

/// Waits until one of the pipes, the socket and the stop can be read, and says which.
fn wait(
    socket: Option<BorrowedFd<'_>>,
    stop: Option<BorrowedFd<'_>>,
    pipes: &Pipes,
    timeout: Option<&Timespec>,
) -> Readable {
    let fds = || pipes.iter().map(|(_, pipe)| pipe.as_ref().map(AsFd::as_fd));
    let mut polled: Vec<_> = fds()
        .chain([socket, stop])
        .flatten()
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    let _ = rustix::event::poll(&mut polled, timeout);
    let mut results = polled.iter().map(|polled| !polled.revents().is_empty());
    let mut next = |is_there: bool| is_there && results.next().expect("one result for each");
    Readable {
        pipes: fds().map(|fd| next(fd.is_some())).collect(),
        socket: next(socket.is_some()),
        stop: next(stop.is_some()),
    }
}

fn read_ready(pipes: &mut Pipes, ready: &[bool], buffer: &mut [u8], log: &mut Log<'_>) {
    for ((stream, pipe), &ready) in pipes.iter_mut().zip(ready) {
        let Some(fd) = pipe.as_ref().filter(|_| ready) else { continue };
        match rustix::io::read(fd, &mut *buffer) {
            Ok(0) => *pipe = None,
            Ok(count) => log.pass(*stream, &buffer[..count]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => *pipe = None,
        }
    }
}

fn outcome(ran: Ran, spec: &Spec, log_truncated: bool) -> Outcome {
    let level = |asked: bool, level| if asked { level } else { Enforcement::NotAsked };
    let scratch = if ran.in_memory { Enforcement::Whole } else { Enforcement::EachFile };
    Outcome {
        exit: ran.exit,
        elapsed: ran.elapsed,
        peak_memory: (ran.peak_memory > 0).then_some(ran.peak_memory),
        captured: ran.captured,
        log_truncated,
        scratch_full: ran.scratch_full,
        processes_refused: false,
        enforced: Enforced {
            memory: Enforcement::NotAsked,
            processes: Enforcement::NotAsked,
            scratch: level(spec.limits.scratch.is_some(), scratch),
        },
    }
}
