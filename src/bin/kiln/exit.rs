//! Exit codes: the only place that gives them their numbers.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked for is done.
    Done,
    /// A spec is not met.
    Unmet,
    /// The command line is wrong.
    Usage,
    /// The pipeline is wrong.
    Pipeline,
    /// The machine, sandbox, cache or network failed; trying again is sensible.
    Machine,
    /// A check found a difference.
    Difference,
    /// What the engine says of a run: 0, 1 or 4, or 128 and the signal that interrupted it.
    Run(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Unmet => 1,
            Exit::Usage => 2,
            Exit::Pipeline => 3,
            Exit::Machine => 4,
            Exit::Difference => 6,
            Exit::Run(code) => code,
        })
    }
}

/// Shows what clap has to say: help and version go to stdout, mistakes to stderr.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let is_mistake = error.use_stderr();
    // Nobody is left to tell that the screen is gone.
    let _ = error.print();
    if is_mistake { Exit::Usage.into() } else { Exit::Done.into() }
}
