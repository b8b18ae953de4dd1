//! What Kiln and a launcher say to each other. Knows the fields, not what they lead to.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Feature, Oddity, SandboxError};
use super::outcome::{CapturedFile, CapturedOut, Entry, Exit, Node, ServiceEnd};
use super::spec::{Keep, Mount, Network, OutKind, OutPath, Root};
use super::wire::{Reader, Writer};

/// One step, as a launcher is told of it. The descriptors stdout, stderr, capture directory and one
/// output for each service travel with it, in this order, and what is to be the standard input, if any is.
pub(super) struct Request {
    pub(super) root: Root,
    pub(super) lowers: Vec<PathBuf>,
    pub(super) mounts: Vec<Mount>,
    pub(super) host_paths: Vec<PathBuf>,
    pub(super) argv: Vec<Vec<u8>>,
    /// `NAME=value` each.
    pub(super) env: Vec<Vec<u8>>,
    pub(super) cwd: String,
    pub(super) network: Network,
    pub(super) timeout: Option<Duration>,
    pub(super) scratch_limit: Option<u64>,
    /// Limits for each process by itself, where nothing better can be had.
    pub(super) each_memory: Option<u64>,
    pub(super) each_processes: Option<u64>,
    /// A directory of the host for the step's writes; `None` is memory.
    pub(super) scratch: Option<PathBuf>,
    pub(super) outs: Vec<OutPath>,
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) keep: Option<Keep>,
    pub(super) services: Vec<Service>,
    pub(super) gone: Vec<Vec<u8>>,
    pub(super) stdin: Stdin,
}

/// What a program finds at its standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stdin {
    Null,
    /// What travels with the request, last of all.
    Given,
    /// The same, which is a terminal that is to rule over it.
    Terminal,
}

/// A program beside a step, as a launcher is told of it.
pub(super) struct Service {
    /// Without outs, limits and services.
    pub(super) request: Request,
    pub(super) port: Option<u16>,
    pub(super) ready: Option<Vec<Vec<u8>>>,
    pub(super) within: Duration,
}

impl Service {
    fn write(&self, to: &mut Writer) {
        self.request.write_to(to);
        to.option(self.port.map(u64::from));
        to.u8(self.ready.is_some().into());
        to.list(self.ready.as_deref().unwrap_or_default(), |to, word| to.bytes(word));
        to.u64(nanoseconds(self.within));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            request: Request::read_from(from)?,
            port: from.option()?.map(u16::try_from).transpose().ok()?,
            ready: {
                let is_there = from.u8()? == 1;
                Some(from.list(Reader::bytes)?).filter(|_| is_there)
            },
            within: Duration::from_nanos(from.u64()?),
        })
    }
}

impl Request {
    pub(super) fn write(&self) -> Writer {
        let mut to = Writer::new();
        self.write_to(&mut to);
        to
    }

    /// Returns another program in the same surroundings.
    pub(super) fn of(&self, argv: &[Vec<u8>]) -> Self {
        Self {
            root: self.root.clone(),
            lowers: Vec::new(),
            mounts: Vec::new(),
            host_paths: Vec::new(),
            argv: argv.to_vec(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            network: self.network,
            timeout: None,
            scratch_limit: None,
            each_memory: None,
            each_processes: None,
            scratch: None,
            outs: Vec::new(),
            files: Vec::new(),
            keep: None,
            services: Vec::new(),
            gone: Vec::new(),
            stdin: Stdin::Null,
        }
    }

    fn write_to(&self, to: &mut Writer) {
        match &self.root {
            Root::Host => to.bytes(b""),
            Root::Tree(path) => to.path(path),
        }
        to.list(&self.lowers, |to, path| to.path(path));
        to.list(&self.mounts, |to, mount| {
            to.bytes(mount.at.as_bytes());
            to.path(&mount.tree);
        });
        to.list(&self.host_paths, |to, path| to.path(path));
        to.list(&self.argv, |to, word| to.bytes(word));
        to.list(&self.env, |to, word| to.bytes(word));
        to.bytes(self.cwd.as_bytes());
        to.u8(self.network as u8);
        to.option(self.timeout.map(nanoseconds));
        to.option(self.scratch_limit);
        to.option(self.each_memory);
        to.option(self.each_processes);
        to.path(self.scratch.as_deref().unwrap_or("".as_ref()));
        to.list(&self.outs, |to, out| {
            to.bytes(out.path.as_bytes());
            to.u8(out.kind as u8);
            to.u8(out.placed.into());
        });
        to.list(&self.files, |to, (name, bytes)| {
            to.bytes(name.as_bytes());
            to.bytes(bytes);
        });
        to.list(self.keep.as_slice(), |to, keep| {
            to.list(&keep.paths, |to, path| to.bytes(path.as_bytes()));
            to.list(keep.old.as_slice(), |to, old| to.path(old));
            to.path(&keep.new);
        });
        to.list(&self.services, |to, service| service.write(to));
        to.list(&self.gone, |to, path| to.bytes(path));
        to.u8(self.stdin as u8);
    }

    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        Self::read_from(&mut Reader::new(frame))
    }

    fn read_from(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            root: Some(from.path()?)
                .filter(|path| !path.as_os_str().is_empty())
                .map_or(Root::Host, Root::Tree),
            lowers: from.list(Reader::path)?,
            mounts: from.list(|from| Some(Mount { at: from.text()?, tree: from.path()? }))?,
            host_paths: from.list(Reader::path)?,
            argv: from.list(Reader::bytes)?,
            env: from.list(Reader::bytes)?,
            cwd: from.text()?,
            network: network(from.u8()?)?,
            timeout: from.option()?.map(Duration::from_nanos),
            scratch_limit: from.option()?,
            each_memory: from.option()?,
            each_processes: from.option()?,
            scratch: Some(from.path()?).filter(|path| !path.as_os_str().is_empty()),
            outs: from.list(|from| {
                Some(OutPath {
                    path: from.text()?,
                    kind: out_kind(from.u8()?)?,
                    placed: from.u8()? == 1,
                })
            })?,
            files: from.list(|from| Some((from.text()?, from.bytes()?)))?,
            keep: from
                .list(|from| {
                    Some(Keep {
                        paths: from.list(Reader::text)?,
                        old: from.list(Reader::path)?.pop(),
                        new: from.path()?,
                    })
                })?
                .pop(),
            services: from.list(Service::read)?,
            gone: from.list(Reader::bytes)?,
            stdin: stdin(from.u8()?)?,
        })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn out_kind(byte: u8) -> Option<OutKind> {
    [OutKind::File, OutKind::Dir, OutKind::Root, OutKind::Changes]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
}

fn stdin(byte: u8) -> Option<Stdin> {
    [Stdin::Null, Stdin::Given, Stdin::Terminal].into_iter().find(|stdin| *stdin as u8 == byte)
}

fn network(byte: u8) -> Option<Network> {
    [Network::None, Network::Loopback, Network::Full]
        .into_iter()
        .find(|network| *network as u8 == byte)
}

/// What a launcher says of a step that ran.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) exit: Exit,
    pub(super) elapsed: Duration,
    pub(super) peak_memory: u64,
    pub(super) scratch_full: bool,
    pub(super) in_memory: bool,
    pub(super) captured: Vec<CapturedOut>,
}

impl Ran {
    /// Returns the end of a step that never was started.
    pub(super) fn never(exit: Exit) -> Self {
        Self {
            exit,
            elapsed: Duration::ZERO,
            peak_memory: 0,
            scratch_full: false,
            in_memory: true,
            captured: Vec::new(),
        }
    }
}

/// A [`SandboxError`] as a launcher can say it.
#[derive(Debug)]
pub(super) enum Fault {
    Refused { feature: Feature, errno: i32 },
    Prepare { action: String, path: PathBuf, errno: i32 },
    Exec { program: PathBuf, errno: i32 },
    OddOut { path: PathBuf, oddity: Oddity },
    Capture { path: PathBuf, errno: i32 },
}

impl From<Fault> for SandboxError {
    fn from(fault: Fault) -> Self {
        let error = io::Error::from_raw_os_error;
        match fault {
            Fault::Refused { feature, errno } => Self::Refused { feature, source: error(errno) },
            Fault::Prepare { action, path, errno } => {
                Self::Prepare { action, path, source: error(errno) }
            }
            Fault::Exec { program, errno } => {
                Self::Exec { program: program.into(), source: error(errno) }
            }
            Fault::OddOut { path, oddity } => Self::OddOut { path, oddity },
            Fault::Capture { path, errno } => Self::Capture { path, source: error(errno) },
        }
    }
}

impl Fault {
    pub(super) fn prepare(
        action: &str,
        path: impl Into<PathBuf>,
        error: impl Into<io::Error>,
    ) -> Self {
        Self::Prepare { action: action.to_owned(), path: path.into(), errno: errno(error) }
    }

    pub(super) fn refused(feature: Feature, error: impl Into<io::Error>) -> Self {
        Self::Refused { feature, errno: errno(error) }
    }

    pub(super) fn capture(path: impl Into<PathBuf>, error: impl Into<io::Error>) -> Self {
        Self::Capture { path: path.into(), errno: errno(error) }
    }

    pub(super) fn write(&self, to: &mut Writer) {
        match self {
            Self::Refused { feature, errno } => {
                to.u8(0);
                to.u8(*feature as u8);
                to.i32(*errno);
            }
            Self::Prepare { action, path, errno } => {
                to.u8(1);
                to.bytes(action.as_bytes());
                to.path(path);
                to.i32(*errno);
            }
            Self::Exec { program, errno } => {
                to.u8(2);
                to.path(program);
                to.i32(*errno);
            }
            Self::OddOut { path, oddity } => {
                to.u8(3);
                to.path(path);
                to.u8(*oddity as u8);
            }
            Self::Capture { path, errno } => {
                to.u8(4);
                to.path(path);
                to.i32(*errno);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.u8()? {
            0 => Self::Refused {
                feature: *Feature::ALL.get(usize::from(from.u8()?))?,
                errno: from.i32()?,
            },
            1 => Self::Prepare { action: from.text()?, path: from.path()?, errno: from.i32()? },
            2 => Self::Exec { program: from.path()?, errno: from.i32()? },
            3 => Self::OddOut {
                path: from.path()?,
                oddity: *Oddity::ALL.get(usize::from(from.u8()?))?,
            },
            4 => Self::Capture { path: from.path()?, errno: from.i32()? },
            _ => return None,
        })
    }
}

fn errno(error: impl Into<io::Error>) -> i32 {
    error.into().raw_os_error().unwrap_or(libc::EIO)
}

/// What a launcher says.
#[derive(Debug)]
pub(super) enum Reply {
    /// It waits for steps.
    Ready {
        /// Whether a step's writes can go to memory.
        memory: bool,
    },
    /// A step ran.
    Ran(Ran),
    /// It could not start, or could not run the step.
    Failed(Fault),
}

/// Returns the frame that says `reply`. `is_last` is whether the launcher can run no other step.
pub(super) fn write_reply(reply: &Reply, is_last: bool) -> Writer {
    let mut to = Writer::new();
    to.u8(is_last.into());
    match reply {
        Reply::Ready { memory } => {
            to.u8(0);
            to.u8((*memory).into());
        }
        Reply::Ran(ran) => {
            to.u8(1);
            write_exit(&mut to, ran.exit);
            to.u64(nanoseconds(ran.elapsed));
            to.u64(ran.peak_memory);
            to.u8(ran.scratch_full.into());
            to.u8(ran.in_memory.into());
            to.list(&ran.captured, write_out);
        }
        Reply::Failed(fault) => {
            to.u8(2);
            fault.write(&mut to);
        }
    }
    to
}

/// Reads what [`write_reply`] wrote. `None` is a frame that is no reply.
pub(super) fn read_reply(frame: &[u8]) -> Option<(Reply, bool)> {
    let from = &mut Reader::new(frame);
    let is_last = from.u8()? == 1;
    let reply = match from.u8()? {
        0 => Reply::Ready { memory: from.u8()? == 1 },
        1 => Reply::Ran(Ran {
            exit: read_exit(from)?,
            elapsed: Duration::from_nanos(from.u64()?),
            peak_memory: from.u64()?,
            scratch_full: from.u8()? == 1,
            in_memory: from.u8()? == 1,
            captured: from.list(read_out)?,
        }),
        2 => Reply::Failed(Fault::read(from)?),
        _ => return None,
    };
    Some((reply, is_last))
}

fn write_exit(to: &mut Writer, exit: Exit) {
    let (kind, number) = match exit {
        Exit::Code(code) => (0, code),
        Exit::Signal(signal) => (1, signal),
        Exit::TimedOut => (2, 0),
        Exit::OutOfMemory => (3, 0),
        Exit::Cancelled => (4, 0),
        Exit::Service { service, .. } => (5, service.into()),
    };
    to.u8(kind);
    to.i32(number);
    if let Exit::Service { end, .. } = exit {
        let (kind, number) = match end {
            ServiceEnd::NotStarted(errno) => (0, errno),
            ServiceEnd::NotReady => (1, 0),
            ServiceEnd::Code(code) => (2, code),
            ServiceEnd::Signal(signal) => (3, signal),
        };
        to.u8(kind);
        to.i32(number);
    }
}

fn read_exit(from: &mut Reader<'_>) -> Option<Exit> {
    Some(match (from.u8()?, from.i32()?) {
        (0, code) => Exit::Code(code),
        (1, signal) => Exit::Signal(signal),
        (2, _) => Exit::TimedOut,
        (3, _) => Exit::OutOfMemory,
        (4, _) => Exit::Cancelled,
        (5, service) => {
            let end = match (from.u8()?, from.i32()?) {
                (0, errno) => ServiceEnd::NotStarted(errno),
                (1, _) => ServiceEnd::NotReady,
                (2, code) => ServiceEnd::Code(code),
                (3, signal) => ServiceEnd::Signal(signal),
                _ => return None,
            };
            Exit::Service { service: u8::try_from(service).ok()?, end }
        }
        _ => return None,
    })
}

fn write_out(to: &mut Writer, out: &CapturedOut) {
    match out {
        CapturedOut::Missing { beside } => {
            to.u8(0);
            to.list(beside, |to, path| to.bytes(path));
        }
        CapturedOut::File(file) => {
            to.u8(1);
            write_file(to, file);
        }
        CapturedOut::Dir(entries) => {
            to.u8(2);
            to.list(entries, |to, entry| {
                to.bytes(&entry.path);
                match &entry.node {
                    Node::Dir => to.u8(0),
                    Node::File(file) => {
                        to.u8(1);
                        write_file(to, file);
                    }
                    Node::Link { target } => {
                        to.u8(2);
                        to.bytes(target);
                    }
                    Node::NewDir => to.u8(3),
                    Node::Gone => to.u8(4),
                }
            });
        }
    }
}

fn read_out(from: &mut Reader<'_>) -> Option<CapturedOut> {
    Some(match from.u8()? {
        0 => CapturedOut::Missing { beside: from.list(Reader::bytes)? },
        1 => CapturedOut::File(read_file(from)?),
        2 => CapturedOut::Dir(from.list(|from| {
            Some(Entry {
                path: from.bytes()?,
                node: match from.u8()? {
                    0 => Node::Dir,
                    1 => Node::File(read_file(from)?),
                    2 => Node::Link { target: from.bytes()? },
                    3 => Node::NewDir,
                    4 => Node::Gone,
                    _ => return None,
                },
            })
        })?),
        _ => return None,
    })
}

fn write_file(to: &mut Writer, file: &CapturedFile) {
    to.bytes(file.digest.to_hex().as_bytes());
    to.u64(file.size);
    to.u8(file.executable.into());
    to.i32(file.number.cast_signed());
}

fn read_file(from: &mut Reader<'_>) -> Option<CapturedFile> {
    Some(CapturedFile {
        digest: from.text()?.parse().ok()?,
        size: from.u64()?,
        executable: from.u8()? == 1,
        number: from.i32()?.cast_unsigned(),
    })
}
