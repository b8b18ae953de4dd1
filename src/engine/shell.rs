//! A program of the user's in the place of a step: with all that the step has, and what it left when it
//! last failed. Knows what a step sees; does not know who talks to the program, and files nothing.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::{Folder, Tree};
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::plan::step::{Step, StepId};
use crate::sandbox::{self, Exit, Mount, Sandbox, Scratch, Spec, Streams};
use crate::secret::Vault;

use super::error::StepError;
use super::failed::{self, Leftover};
use super::inputs::Pantry;
use super::outs::{self, Made};
use super::platform;
use super::ready::{Laid, Ready, Unlaid};
use super::secrets::{self, Secrets};
use super::spec::spec;
use super::stop::Stop;

/// Shells that are asked for by name, the best first.
const SHELLS: [&str; 2] = ["bash", "sh"];

/// Where a shell of Kiln's own stands in the working tree, if there is no other.
const OWN_PLACE: &str = ".kiln/shell";

/// The working tree of a step as the user finds it.
#[derive(Debug)]
pub enum Left {
    /// As it was when the step failed in that run: so many files changed, and these inputs removed.
    Failed {
        /// The run.
        run: String,
        /// How many files the step changed or made.
        changed: usize,
        /// What it removed, as paths.
        gone: Vec<PathBuf>,
    },
    /// With the inputs only, since that was asked for.
    Fresh,
    /// With the inputs only: nothing is known of a failure.
    NeverFailed,
    /// With the inputs only: the step has changed since it failed.
    Changed,
    /// With the inputs only: the store no longer has what the step left.
    Lost,
}

/// Why a step cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// What the step is made of is not there yet.
    #[error("`{step}` needs what `{producer}` makes, and the cache does not have it")]
    NotMade {
        /// The step.
        step: String,
        /// The step that makes it.
        producer: String,
        /// The stage of that.
        stage: String,
    },
    /// The step is for another machine.
    #[error("`{step}` runs on {platform}, and this machine is another")]
    Elsewhere {
        /// The step.
        step: String,
        /// Its platform.
        platform: String,
    },
    /// It cannot be made ready, or its sandbox cannot be had.
    #[error("{message}")]
    Step {
        /// What is wrong.
        message: String,
        /// What to do about it, if that is known.
        help: Option<String>,
    },
}

impl From<StepError> for ShellError {
    fn from(error: StepError) -> Self {
        let failure = error.failure();
        Self::Step { message: failure.message, help: failure.help }
    }
}

/// The files of a shell for roots that have none: a folder, and the words that start it, of which those
/// that begin with `./` are in it.
pub(crate) struct OwnShell {
    pub(crate) folder: PathBuf,
    pub(crate) argv: Vec<String>,
}

/// What a step changed in its working tree, and the paths that it removed.
type Changes = (Tree, Vec<Vec<u8>>);

/// What a look into a step works with.
pub(crate) struct Place<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) graph: &'a Graph,
    pub(crate) pantry: &'a Pantry<'a>,
    pub(crate) vault: &'a Vault,
    /// Where notes on the project are.
    pub(crate) state: &'a Path,
}

/// A step that can be looked into.
pub(crate) struct Look {
    spec: Spec,
    /// What it finds.
    pub(crate) left: Left,
    /// What the step itself would run, as one would type it there.
    pub(crate) line: String,
    /// Held while it is looked at.
    _laid: Laid,
    _left: Option<Arc<Folder>>,
    _secrets: Option<Secrets>,
}

impl Place<'_> {
    /// Makes a look into the step ready; `own` gives a shell where its root has none.
    ///
    /// # Errors
    /// [`ShellError`].
    pub(crate) fn look(
        &self,
        id: StepId,
        is_fresh: bool,
        own: &mut dyn FnMut() -> std::io::Result<OwnShell>,
    ) -> Result<Look, ShellError> {
        let step = self.plan.step(id);
        if let Some(platform) = platform::foreign(step) {
            let (step, platform) = (step.name.clone(), platform.to_owned());
            return Err(ShellError::Elsewhere { step, platform });
        }
        let ready = self.ready(id)?;
        let laid = match self.pantry.lay_out(&ready) {
            Ok(laid) => laid,
            Err(Unlaid::Failed(error)) => return Err(error.into()),
            Err(Unlaid::Stale) => {
                return Err(StepError::Restless { path: step.name.clone() }.into());
            }
            Err(Unlaid::Lost(digest)) => return Err(StepError::Lost { digest }.into()),
        };
        let (left, found) = self.left(step, &ready, is_fresh);
        let mut spec = spec(self.plan, step, &ready, &laid, Scratch::Disk, Path::new(""));
        spec.limits = sandbox::Limits { memory: spec.limits.memory, ..sandbox::Limits::default() };
        let keeps_root = step.keeps_root();
        spec.outs.retain(|out| match out.kind {
            sandbox::OutKind::Root => keeps_root,
            // They would be emptied, and what the step left of them is there.
            _ => found.is_none() && out.placed,
        });
        let mut kept = None;
        if let Some((tree, gone)) = found {
            let folder = self.pantry.store().materialise(&tree).map_err(StepError::from)?;
            spec.lowers.insert(0, folder.path().to_owned());
            spec.gone = gone;
            kept = Some(folder);
        }
        let secrets = secrets::open(self.plan, step, self.vault)?;
        if let Some(secrets) = &secrets {
            secrets.give(self.plan, step, &mut spec)?;
        }
        let line = shown(&spec);
        let failed = |error: std::io::Error| ShellError::Step {
            message: format!("no shell can be had for `{}`: {error}", step.name),
            help: None,
        };
        match shell(&spec) {
            Some(program) => spec.argv = vec![program.as_str().into()],
            None => {
                let OwnShell { folder, argv } = own().map_err(failed)?;
                spec.mounts.push(Mount { at: OWN_PLACE.to_owned(), tree: folder });
                let place = format!("/build/{OWN_PLACE}");
                let word = |word: String| match word.strip_prefix("./") {
                    Some(name) => format!("{place}/{name}").as_str().into(),
                    None if word == "." => place.as_str().into(),
                    None => word.as_str().into(),
                };
                spec.argv = argv.into_iter().map(word).collect();
            }
        }
        Ok(Look { spec, left, line, _laid: laid, _left: kept, _secrets: secrets })
    }

    /// Makes the step ready of what the store has.
    fn ready(&self, wanted: StepId) -> Result<Ready, ShellError> {
        let is_needed = self.graph.closure(&[wanted]);
        let mut made: Vec<Option<Arc<Made>>> = vec![None; self.plan.steps.len()];
        for &id in self.graph.order().iter().filter(|id| is_needed[id.index()]) {
            let step = self.plan.step(id);
            let outs_of = |id: StepId| made[id.index()].clone().unwrap_or_default();
            let ready = self.pantry.ready(step, &outs_of)?;
            if id == wanted {
                return Ok(ready);
            }
            let hit = self.pantry.store().lookup(ready.key);
            let found = hit.and_then(|hit| outs::of_hit(step, hit.outs));
            if found.is_none() && !step.may_fail {
                return Err(ShellError::NotMade {
                    step: self.plan.step(wanted).name.clone(),
                    producer: step.name.clone(),
                    stage: step.stage.clone(),
                });
            }
            made[id.index()] = found.map(Arc::new);
        }
        unreachable!("a step is part of what it needs")
    }

    /// Returns what the step left, in words and as files.
    fn left(&self, step: &Step, ready: &Ready, is_fresh: bool) -> (Left, Option<Changes>) {
        if is_fresh {
            return (Left::Fresh, None);
        }
        let Some(left) = failed::find(self.state, &step.name) else {
            return (Left::NeverFailed, None);
        };
        if !left.is_of(ready.key) {
            return (Left::Changed, None);
        }
        let Some(tree) = left.tree(self.pantry.store()) else { return (Left::Lost, None) };
        let Leftover { run, changed, gone, .. } = left;
        let path = |path: &Vec<u8>| PathBuf::from(std::ffi::OsString::from_vec(path.clone()));
        let told = gone.iter().map(path).collect();
        (Left::Failed { run, changed, gone: told }, Some((tree, gone)))
    }
}

impl Look {
    /// Runs the shell, or what it reads, with these streams; returns what it exits with.
    ///
    /// # Errors
    /// When the sandbox fails.
    pub(crate) fn run(
        mut self,
        sandbox: &dyn Sandbox,
        streams: Streams,
        capture: &Path,
        stop: &Stop,
    ) -> Result<i32, StepError> {
        self.spec.env.retain(|(name, _)| name != "TERM" || !streams.is_terminal);
        if streams.is_terminal {
            self.spec.env.push(("TERM".into(), "xterm-256color".into()));
        }
        self.spec.streams = Some(Arc::new(streams));
        self.spec.capture = capture.to_owned();
        let outcome = sandbox.run(&self.spec, stop.cancel(), &mut |_, _| {})?;
        Ok(match outcome.exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::OutOfMemory => 137,
            Exit::TimedOut | Exit::Cancelled | Exit::Service { .. } => 1,
        })
    }
}

/// Returns the shell that the step's root has.
fn shell(spec: &Spec) -> Option<String> {
    let places = ["usr/local/bin", "usr/bin", "bin"];
    let root = match &spec.root {
        sandbox::Root::Host => Path::new("/"),
        sandbox::Root::Tree(tree) => tree,
    };
    let is_there =
        |place: &&&str, name: &str| root.join(place).join(name).symlink_metadata().is_ok();
    SHELLS.iter().find_map(|name| {
        let place = places.iter().find(|place| is_there(place, name))?;
        Some(format!("/{place}/{name}"))
    })
}

/// Returns what the step runs, as one would type it.
fn shown(spec: &Spec) -> String {
    let place = |place: sandbox::Place| {
        std::ffi::OsStr::new(match place {
            sandbox::Place::Build => "/build",
            sandbox::Place::Home => "/home/build",
            sandbox::Place::Temp => "/tmp",
            sandbox::Place::Files => "/run/kiln",
        })
    };
    let word = |word: &sandbox::Word| {
        let text = word.resolve(place).to_string_lossy().into_owned();
        super::failure::quoted(&text)
    };
    spec.argv.iter().map(word).collect::<Vec<_>>().join(" ")
}
