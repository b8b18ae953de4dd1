//! What stops a step that is not the step's own doing, or is, before it could run. Knows the
//! faults of the modules below; does not know how they are shown.

use std::io;
use std::path::Path;

use crate::cache::{CacheError, TreeError};
use crate::digest::Digest;
use crate::event::{Cause, Failure};
use crate::image::ImageError;
use crate::plan::step::{Step, StepId};
use crate::sandbox::SandboxError;
use crate::secret::SecretError;

/// Why a step could not be run, or what it made could not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// An input is no longer there.
    #[error("the input `{path}` cannot be read: {source}")]
    Source { path: String, source: io::Error },
    /// The history of the project cannot be made into one of a step.
    #[error("the history of the project cannot be had: {source}")]
    History { source: io::Error },
    /// An input is a folder, a pipe or another thing.
    #[error("the input `{path}` is not a regular file")]
    Odd { path: String },
    /// An input is a link that leads to nothing that the step is given.
    #[error("the input `{path}` is a link to `{target}`, which is not among the inputs")]
    Astray { path: String, target: String },
    /// Inputs that cannot stand beside each other.
    #[error(transparent)]
    Clash(#[from] TreeError),
    /// A file was edited each time it was read.
    #[error("the input `{path}` is edited all the time")]
    Restless { path: String },
    /// A part of an out that the out does not have.
    #[error("the out `{out}` of `{step}` holds no `{part}`")]
    NoPart { step: String, out: String, part: String },
    /// An out that a tolerated or optional step did not make.
    #[error("`{step}` did not make its out `{out}`")]
    NoOut { producer: StepId, step: String, out: String },
    /// A tool of the machine that cannot be used.
    #[error("the tool `{name}` cannot be used: {why}")]
    Tool { name: String, why: String },
    /// Something that this version cannot do.
    #[error("this version of Kiln cannot run {what}")]
    Unsupported { what: String },
    /// A blob that a result or an input consists of is gone.
    #[error("the cache lost `{digest}`, and it could not be made again")]
    Lost { digest: Digest },
    /// A secret that cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A secret that no variable can hold.
    #[error("the secret `{secret}` holds a zero byte, which the variable `{variable}` cannot hold")]
    ZeroByte { secret: String, variable: String },
    /// A root that cannot be taken out of its archive or image layout.
    #[error(transparent)]
    Image(ImageError),
    /// The store failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The run was interrupted before the step ran.
    #[error("interrupted")]
    Interrupted,
}

impl StepError {
    /// Returns the failure of the step: the one place where the world's faults meet a step.
    pub(crate) fn failure(&self) -> Failure {
        let (cause, help) = match self {
            Self::Source { .. } | Self::Odd { .. } | Self::Astray { .. } | Self::Clash(_) => {
                (Cause::Input, None)
            }
            Self::History { .. } => {
                (Cause::Input, Some("`git fsck` in the project says more".to_owned()))
            }
            Self::NoPart { .. } | Self::NoOut { .. } | Self::Image(_) => (Cause::Input, None),
            Self::Interrupted => (Cause::Interrupted, None),
            Self::Sandbox(error @ SandboxError::OddOut { .. }) => (Cause::Out, cure(error)),
            Self::Sandbox(error @ SandboxError::Exec { .. }) => (Cause::Command, cure(error)),
            Self::Sandbox(error) => (Cause::Machine, cure(error)),
            Self::Cache(CacheError::Io { source, .. }) => (Cause::Machine, space(source)),
            Self::ZeroByte { variable, .. } => {
                (Cause::Machine, Some(format!("have it as a file: secret file {variable}")))
            }
            Self::Restless { .. }
            | Self::Secret(_)
            | Self::Tool { .. }
            | Self::Unsupported { .. }
            | Self::Lost { .. }
            | Self::Cache(_) => (Cause::Machine, None),
        };
        Failure { help, ..Failure::new(cause, self.text()) }
    }

    /// Returns the error as one of `step`, whose placed outs go by their names: nobody wrote their
    /// paths.
    pub(crate) fn of_step(mut self, step: &Step) -> Self {
        if let Self::Sandbox(
            SandboxError::OddOut { path, .. } | SandboxError::Capture { path, .. },
        ) = &mut self
        {
            let mut placed = step.outs.iter().filter(|out| out.is_placed);
            let named = placed.find_map(|out| Some((out, path.strip_prefix(&out.path).ok()?)));
            if let Some((out, rest)) = named {
                // Joined with nothing it would end in a slash.
                *path = Path::new(&out.name).join(rest).components().collect();
            }
        }
        self
    }

    /// Returns the error and what lies under it, as one sentence.
    pub(crate) fn text(&self) -> String {
        with_sources(self)
    }
}

/// What to do about a full disk.
fn space(source: &io::Error) -> Option<String> {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let is_full = matches!(source.kind(), StorageFull | QuotaExceeded);
    is_full.then(|| "free some space: `kiln cache gc` removes old results".to_owned())
}

fn cure(error: &SandboxError) -> Option<String> {
    match error {
        SandboxError::Refused { .. } => error.help().map(|help| {
            format!("{help}, or go on with fewer promises: --sandbox weak")
        }),
        SandboxError::OddOut { .. } => error.help(),
        SandboxError::Exec { program, .. } => Some(match program.to_str() {
            // A system without a shell is rare; an `env PATH` that hides it is not.
            Some("sh" | "bash") => {
                "see whether its root has it, if the stage has an `image`, and whether the step sets `PATH`; \
                 `tools` adds to it"
                    .to_owned()
            }
            Some(name) if !name.contains(['/', '"']) => {
                format!("check its spelling, or add it: tools = [host.tool(\"{name}\")]")
            }
            _ => "check its path: it counts from the folder of the pipeline's file".to_owned(),
        }),
        SandboxError::Prepare { source, .. } | SandboxError::Capture { source, .. } => {
            space(source)
        }
        _ => None,
    }
}

/// The error and what lies under it, as one sentence.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let under = error.to_string();
        if !text.ends_with(&under) {
            text = format!("{text}: {under}");
        }
        source = error.source();
    }
    text
}

impl From<ImageError> for StepError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Cache(error) => Self::Cache(error),
            error => Self::Image(error),
        }
    }
}
