//! The trial: one run of a step's commands in the sandbox. Knows what a sandbox is given and what comes
//! out of it; does not know whether the step passed.

use std::sync::mpsc::SyncSender;

use crate::plan::step::Step;
use crate::sandbox::{self, Scratch};

use super::attempt::Shop;
use super::captures::CaptureDir;
use super::error::StepError;
use super::hearing::Hearing;
use super::kept::{self, Keeping};
use super::log::Log;
use super::ready::{Laid, Ready};
use super::run::Message;
use super::secrets::Secrets;
use super::spec::spec;

/// What a step's commands run with.
pub(super) struct Trial<'a> {
    pub(super) shop: &'a Shop<'a>,
    pub(super) step: &'a Step,
    pub(super) ready: &'a Ready,
    pub(super) laid: &'a Laid,
    pub(super) secrets: Option<&'a Secrets>,
    /// Whether it finds nothing that an earlier run kept, and leaves nothing to the next.
    pub(super) is_cold: bool,
    /// Who hears what it writes.
    pub(super) say: &'a SyncSender<Message>,
}

/// What one run of a step's commands left.
pub(super) struct Tried<'a> {
    pub(super) outcome: sandbox::Outcome,
    pub(super) log: Log,
    /// Holds the captured files.
    pub(super) capture: CaptureDir<'a>,
    /// What it keeps for its next run, if it does.
    pub(super) keeping: Option<Keeping<'a>>,
}

impl<'a> Trial<'a> {
    /// Runs the commands; on disk, if they write more than memory holds, unless their author says that
    /// they must not. `begin` is called before each run.
    ///
    /// # Errors
    /// What the store and the sandbox say, as an error of the step.
    pub(super) fn run(&self, begin: &mut dyn FnMut()) -> Result<Tried<'a>, StepError> {
        let limit = self.step.limits.scratch_bytes;
        let is_beyond_memory = limit.is_some_and(|limit| limit > self.shop.memory_bytes / 2);
        let first = if is_beyond_memory { Scratch::Disk } else { Scratch::Memory };
        begin();
        let tried = self.once(first)?;
        if tried.outcome.scratch_full && limit.is_none() {
            begin();
            return self.once(Scratch::Disk);
        }
        Ok(tried)
    }

    fn once(&self, scratch: Scratch) -> Result<Tried<'a>, StepError> {
        self.in_sandbox(scratch).map_err(|error| error.of_step(self.step))
    }

    fn in_sandbox(&self, scratch: Scratch) -> Result<Tried<'a>, StepError> {
        let Self { shop, step, ready, laid, secrets, is_cold, say } = *self;
        let store = shop.pantry.store();
        let capture = shop.captures.take(store.scratch())?;
        let mut spec = spec(shop.plan, step, ready, laid, scratch, capture.path());
        if let Some(secrets) = secrets {
            secrets.give(shop.plan, step, &mut spec)?;
        }
        let keeping = if is_cold { None } else { kept::open(store, step, ready, laid)? };
        if let Some(keeping) = &keeping {
            keeping.add_to(&mut spec, step);
        }
        let mask = secrets.map(Secrets::mask);
        let mut hearing = Hearing::new(step, spec.limits.log, mask, say);
        let mut hear = |stream, bytes: &[u8]| hearing.hear(stream, bytes);
        let outcome = shop.sandbox.run(&spec, shop.stop.cancel(), &mut hear)?;
        let log = hearing.end(outcome.log_truncated);
        Ok(Tried { outcome, log, capture, keeping })
    }
}
