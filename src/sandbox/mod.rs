//! Runs one program where it sees only what it was given, and captures what it leaves. Knows
//! directories, processes and digests; does not know plans, caches or the engine.
//!
//! Kiln (`pool`, `run`) talks to launchers (`launcher`), small processes of the same executable.
//! A launcher enters its namespaces once (`cell`), starts process 1 of them once (`init`), and makes
//! a root for each kind of step once (`root`). For each step it mounts a working tree (`stage`) over
//! scratch space (`space`), starts the programs that stay up beside it (`beside`) and the program
//! itself (`program`), waits for the end of all processes (`supervise`) and copies the outs (`capture`)
//! and what the step keeps for its next run (`keep`).

mod beside;
mod cancel;
mod capture;
mod cell;
mod cgroup;
mod error;
mod init;
mod keep;
mod landlock;
mod launcher;
mod mounts;
mod outcome;
mod pool;
mod probe;
mod program;
mod protocol;
mod root;
mod run;
mod scratch;
mod seccomp;
mod space;
mod spec;
mod stage;
mod supervise;
mod system;
mod weak;
mod wire;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub(crate) use cancel::Cancel;
pub(crate) use error::SandboxError;
pub use launcher::launch_if_asked;
pub(crate) use outcome::{
    CapturedFile, CapturedOut, Entry, Exit, Node, Outcome, ServiceEnd, Stream,
};
pub(crate) use pool::Launcher;
pub(crate) use probe::probe;
pub use probe::{Check, Found, Report};
pub(crate) use spec::{
    Keep, Limits, MAX_LOWERS, MAX_SERVICES, Mount, Network, OutKind, OutPath, Piece, Place, Root,
    Scratch, Service, Spec, Streams, Word,
};
pub(crate) use system::give_back_memory;

pub use weak::WEAK_BREAKS;

use cell::{User, Wire};
use launcher::Guise;
use pool::Pool;

/// Something that runs programs apart from the rest of the machine.
pub(crate) trait Sandbox: Sync {
    /// Runs the program of `spec` to its end, and returns when no process of it is left. Passes
    /// its output to `output` as it comes, on the calling thread. Several threads may call this
    /// at one time.
    ///
    /// # Errors
    /// When the sandbox could not do its part. A program that fails is an [`Outcome`].
    fn run(
        &self,
        spec: &Spec,
        cancel: &Cancel,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Outcome, SandboxError>;
}

/// The strong sandbox: cells of Linux namespaces.
pub(crate) struct Cells(Pool);

impl Cells {
    /// Returns a sandbox that starts a cell when a run finds none idle. `scratch` is a directory
    /// of the host for steps that write more than memory should hold; it is made when needed.
    ///
    /// # Errors
    /// [`SandboxError::Start`] when this process cannot have another thread.
    pub(crate) fn new(launcher: Launcher, scratch: PathBuf) -> Result<Self, SandboxError> {
        Ok(Self(Pool::new(launcher, scratch)?))
    }
}

impl Sandbox for Cells {
    fn run(
        &self,
        spec: &Spec,
        cancel: &Cancel,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Outcome, SandboxError> {
        let wire = if spec.network == Network::Full { Wire::Host } else { Wire::Cut };
        let user = if spec::keeps_root(&spec.outs) { User::Root } else { User::Build };
        run::run(&self.0, Guise::Cell(wire, user), spec, cancel, output)
    }
}

/// The weak sandbox, for users who ask for it by name: see [`WEAK_BREAKS`].
pub(crate) struct Weak(Pool);

impl Weak {
    /// Returns a sandbox that copies the inputs of each step below `scratch`, a directory of the
    /// host with a path of its own: no links.
    ///
    /// # Errors
    /// [`SandboxError::Start`] when this process cannot have another thread.
    pub(crate) fn new(launcher: Launcher, scratch: PathBuf) -> Result<Self, SandboxError> {
        Ok(Self(Pool::new(launcher, scratch)?))
    }
}

impl Sandbox for Weak {
    fn run(
        &self,
        spec: &Spec,
        cancel: &Cancel,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<Outcome, SandboxError> {
        run::run(&self.0, Guise::Weak, spec, cancel, output)
    }
}
