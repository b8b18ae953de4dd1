//! What came of a run in a sandbox: plain data. Does not know what the outs are for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;

/// Which of its two outputs a step wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both outputs of a program beside the step, by its place in [`super::Spec::services`].
    Service(u8),
}

/// What came of a run. A step that fails is an outcome, not an error.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How the main process ended.
    pub(crate) exit: Exit,
    /// From the start of the program to the end of its main process.
    pub(crate) elapsed: Duration,
    /// The largest memory of one process in bytes; `None` where it could not be had.
    pub(crate) peak_memory: Option<u64>,
    /// The outs, in the order of the spec; empty unless the exit is [`Exit::Code`]. After a code
    /// other than 0, an out that cannot be captured is [`CapturedOut::Missing`].
    pub(crate) captured: Vec<CapturedOut>,
    /// Whether output was dropped at the log limit.
    pub(crate) log_truncated: bool,
    /// Whether the scratch space was full at the end: the likely cause of a failure.
    pub(crate) scratch_full: bool,
    /// Whether the kernel refused it a process at the limit.
    pub(crate) processes_refused: bool,
    /// How far each limit asked for could be enforced.
    pub(crate) enforced: Enforced,
}

/// How a step's main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The timeout passed, and Kiln ended it.
    TimedOut,
    /// The memory limit was reached, and the kernel ended a process of the step.
    OutOfMemory,
    /// The run was cancelled, and Kiln ended it.
    Cancelled,
    /// A program beside the step, by its place in [`super::Spec::services`], was not there for it:
    /// Kiln ended the step, or never started it.
    Service { service: u8, end: ServiceEnd },
}

/// Why a program beside a step was not there for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceEnd {
    /// It could not be started; the number says why.
    NotStarted(i32),
    /// It was not ready in the time it had.
    NotReady,
    /// It exited with this code, before the step did.
    Code(i32),
    /// This signal ended it before the step.
    Signal(i32),
}

/// How far a limit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforcement {
    /// No limit was asked for.
    NotAsked,
    /// It holds for all processes of the step together.
    Whole,
    /// It holds for each process by itself.
    EachProcess,
    /// It holds for each file by itself.
    EachFile,
    /// It does not hold: the system offers no means.
    Nothing,
}

/// How far each limit asked for could be enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Enforced {
    pub(crate) memory: Enforcement,
    pub(crate) processes: Enforcement,
    pub(crate) scratch: Enforcement,
}

impl CapturedOut {
    /// Returns an out that is missing, and nobody knows what is there instead.
    pub(crate) fn missing() -> Self {
        Self::Missing { beside: Vec::new() }
    }
}

/// What was found at an out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CapturedOut {
    /// Nothing is there. Whether that is an error is the caller's to say.
    Missing {
        /// What stands in the nearest directory above that is there: paths relative to the working
        /// tree, sorted, a bounded number of them.
        beside: Vec<Vec<u8>>,
    },
    /// A regular file.
    File(CapturedFile),
    /// A directory: all below it, parents before children, siblings sorted by their bytes. Of a root,
    /// what was changed in it.
    Dir(Vec<Entry>),
}

/// One thing in a captured directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path relative to the out, `/` between its parts, each byte as the step wrote it.
    pub(crate) path: Vec<u8>,
    /// What is there.
    pub(crate) node: Node,
}

/// What an [`Entry`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A regular file.
    File(CapturedFile),
    /// A directory; what it holds are entries of their own.
    Dir,
    /// A symbolic link that stays inside the out; in a root, any.
    Link {
        /// The text of the link: relative, each byte as the step wrote it.
        target: Vec<u8>,
    },
    /// A directory of a root in which nothing is left of one that stood there before.
    NewDir,
    /// Nothing, in a root that had something there.
    Gone,
}

/// A file copied into the capture directory, with mode 0644 or 0755 and a fixed time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CapturedFile {
    /// The digest of its bytes, taken while they were copied.
    pub(crate) digest: Digest,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Whether its owner may execute it.
    pub(crate) executable: bool,
    /// Which file of the capture directory holds it: see [`CapturedFile::path_in`].
    pub(crate) number: u32,
}

impl CapturedFile {
    /// Returns where the bytes are, in the `capture` directory of the spec.
    pub(crate) fn path_in(&self, capture: &Path) -> PathBuf {
        capture.join(self.number.to_string())
    }
}
