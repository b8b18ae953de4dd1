//! What a step asks of a sandbox: plain data. Knows neither plans nor caches, and starts nothing.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How many [`Spec::lowers`] one step may have. Callers with more merge some of them first.
///
/// Overlayfs stacks at most 500 layers, and before Linux 6.8 all their names share one 4 KiB page.
pub(crate) const MAX_LOWERS: usize = 128;

/// How many [`Spec::services`] one step may have: each needs descriptors, a root and scratch space.
pub(crate) const MAX_SERVICES: usize = 16;

/// The modification time of every captured file, in seconds since 1970: 2000-01-01T00:00:00Z, a
/// time that archives of every kind can hold.
pub(crate) const FIXED_MTIME_SECS: i64 = 946_684_800;

/// Everything one run of one step needs. Nothing is taken from the surroundings but what is here.
#[derive(Clone)]
pub(crate) struct Spec {
    /// What the step sees as `/`, below its working tree.
    pub(crate) root: Root,
    /// Immutable directories, laid over each other as the working tree; the first one wins where
    /// two hold the same path. May be empty; at most [`MAX_LOWERS`]. Nothing a step does reaches
    /// them.
    pub(crate) lowers: Vec<PathBuf>,
    /// Trees bound read-only inside the working tree, such as tools.
    pub(crate) mounts: Vec<Mount>,
    /// Absolute paths of the host bound read-only at their own path, such as a toolchain. None may
    /// be in a place of the step's own: `/build`, `/home/build`, `/tmp`, `/dev` or `/proc`.
    pub(crate) host_paths: Vec<PathBuf>,
    /// The program and its arguments. A program without `/` is looked for in the `PATH` of `env`.
    pub(crate) argv: Vec<Word>,
    /// The whole environment: the step sees these variables and no others.
    pub(crate) env: Vec<(OsString, Word)>,
    /// The first working directory, relative to the working tree; empty for the tree itself.
    pub(crate) cwd: String,
    /// What the step can reach.
    pub(crate) network: Network,
    /// What the step may use up.
    pub(crate) limits: Limits,
    /// Where the step's writes go while it runs.
    pub(crate) scratch: Scratch,
    /// What is captured after the step has ended, in this order.
    pub(crate) outs: Vec<OutPath>,
    /// An empty directory of the host that takes the captured files; best on the file system where
    /// they are to stay, for then they can be renamed into place.
    pub(crate) capture: PathBuf,
    /// Files that only the step's own user can read, by name; in memory, and gone when it ends.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// What the step leaves for its own next run, if it does.
    pub(crate) keep: Option<Keep>,
    /// What is taken out of the working tree before the step: paths relative to it.
    pub(crate) gone: Vec<Vec<u8>>,
    /// What the program has as its standard streams instead of what [`Spec`] says; its output is then
    /// heard by nobody else.
    pub(crate) streams: Option<Arc<Streams>>,
    /// Programs that are up while the step runs, started in this order, each when the one before it
    /// is ready; at most [`MAX_SERVICES`]. Needs [`Network::Loopback`], and a cell.
    pub(crate) services: Vec<Service>,
}

/// The standard streams of a program that somebody talks to.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    /// Whether the first is the far end of a terminal, which rules over the program then.
    pub(crate) is_terminal: bool,
}

/// What a step that exits with 0 leaves for its own next run. Its lowers hold what the last one left.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    /// Directories, relative to the working tree. Not an error if one is not there.
    pub(crate) paths: Vec<String>,
    /// What the last run left, one of the lowers; what the step has not touched is linked from there.
    pub(crate) old: Option<PathBuf>,
    /// An empty directory on the same file system that takes it, laid out like the working tree and
    /// with the times that files had.
    pub(crate) new: PathBuf,
}

/// A program that stays up beside a step, in the step's network and in a root and a working tree of
/// its own. It is killed when the step has ended.
#[derive(Clone)]
pub(crate) struct Service {
    /// What it runs and sees. Its network, limits, outs, capture and services mean nothing.
    pub(crate) program: Spec,
    /// It is ready when something listens on this port of the loopback interface…
    pub(crate) port: Option<u16>,
    /// … and this program, run beside it again and again, has exited with 0.
    pub(crate) ready: Option<Vec<Word>>,
    /// How long it may take to be ready.
    pub(crate) within: Duration,
}

/// What a step sees as `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    /// The host's system directories (`/usr`, `/bin`, `/sbin`, `/lib*`), read-only, and a minimal
    /// `/etc`.
    Host,
    /// This directory, read-only, with the places every step has laid over it.
    Tree(PathBuf),
}

/// A tree bound read-only inside the working tree.
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    /// Where, relative to the working tree. Missing directories are made.
    pub(crate) at: String,
    /// A file or directory of the host.
    pub(crate) tree: PathBuf,
}

/// One argument or value: text with holes for directories only the sandbox knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) Vec<Piece>);

/// A part of a [`Word`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// These bytes.
    Text(OsString),
    /// The absolute path of one of the step's own directories.
    Place(Place),
}

/// A directory of the step's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The working tree: `/build` in a cell.
    Build,
    /// A writable home: `/home/build` in a cell.
    Home,
    /// A writable directory for temporary files: `/tmp` in a cell.
    Temp,
    /// The directory of [`Spec::files`]: `/run/kiln` in a cell. Only where there are any.
    Files,
}

impl Word {
    /// Returns the word with each place filled in by `path_of`.
    pub(crate) fn resolve<'a>(&self, path_of: impl Fn(Place) -> &'a OsStr) -> OsString {
        let mut text = OsString::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(part) => text.push(part),
                Piece::Place(place) => text.push(path_of(*place)),
            }
        }
        text
    }
}

impl<T: Into<OsString>> From<T> for Word {
    fn from(text: T) -> Self {
        Self(vec![Piece::Text(text.into())])
    }
}

impl From<Place> for Word {
    fn from(place: Place) -> Self {
        Self(vec![Piece::Place(place)])
    }
}

/// What a step can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    /// Nothing: no interface is up, not even the loopback one.
    None,
    /// Itself: a fresh network with only the loopback interface.
    Loopback,
    /// All that the host reaches, with the host's resolver files and CA certificates.
    Full,
}

/// What a step may use up. `None` is no limit of Kiln's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// From the start of the program; then SIGTERM, and 2 s later SIGKILL.
    pub(crate) timeout: Option<Duration>,
    /// Bytes of memory of all processes together, files in memory included.
    pub(crate) memory: Option<u64>,
    /// Processes and threads at one time.
    pub(crate) processes: Option<u32>,
    /// Bytes written below the working tree, the home and the temporary directory; with
    /// [`Scratch::Disk`] of each file there.
    pub(crate) scratch: Option<u64>,
    /// Bytes of output passed on. What comes after is read and dropped.
    pub(crate) log: Option<u64>,
}

/// Where a step's writes go while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scratch {
    /// Memory: fast, and limited to [`Limits::scratch`] or else half of the machine's memory. Where
    /// the kernel cannot (before Linux 6.6), the disk is used.
    Memory,
    /// The scratch directory the sandbox was made with: for steps that write much.
    Disk,
}

/// A path to capture after the step.
#[derive(Clone, Debug)]
pub(crate) struct OutPath {
    /// Relative to the working tree; of a [`OutKind::Root`] it means nothing.
    pub(crate) path: String,
    /// What must be there.
    pub(crate) kind: OutKind,
    /// Whether Kiln makes room before the step: the parent directory exists, and a
    /// [`OutKind::Dir`] exists and is empty.
    pub(crate) placed: bool,
}

/// What an out must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutKind {
    /// One regular file.
    File,
    /// A directory with all below it.
    Dir,
    /// What the step changed of its [`Root::Tree`], which it then can write to as user 0: all but the
    /// working tree, the home, and what is temporary or the kernel's. In a cell only.
    Root,
    /// What a step that did not exit with 0 has changed in its working tree, as a layer over its
    /// inputs; missing where that is very much, and of one that exited with 0. In a cell only.
    Changes,
}

/// Returns whether a step with these outs runs as user 0 in a root that it can write to.
pub(super) fn keeps_root(outs: &[OutPath]) -> bool {
    outs.iter().any(|out| out.kind == OutKind::Root)
}
