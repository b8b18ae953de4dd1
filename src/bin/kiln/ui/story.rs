//! The story: what of a run is worth keeping until its end. Knows the events so far; does not know
//! how they are shown.

use std::time::Instant;

use indexmap::IndexMap;
use kiln::event::{
    Cause, Event, Outcome, RunFinished, RunStarted, StepFinished, StepStarted, StopReason,
};
use kiln::plan::step::StepKind;

use super::tail::Tail;

/// How much of a step's output is kept while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// A run so far.
#[derive(Debug)]
pub(crate) struct Story {
    keep: Keep,
    begin: Instant,
    pub(crate) run: Option<RunStarted>,
    /// By name, the longest-running first.
    pub(crate) running: IndexMap<String, Running>,
    /// Steps that failed for good, but for tolerated ones and those that were interrupted.
    pub(crate) failures: Vec<StepFinished>,
    /// How many steps made the same once more.
    pub(crate) verified: u32,
    /// How many steps were interrupted.
    pub(crate) interrupted: u32,
    /// Where the outs that were asked for are.
    pub(crate) outs: Vec<String>,
    pub(crate) done: Done,
    /// How long the steps took that ran, together.
    pub(crate) ran_millis: u64,
    pub(crate) stop: Option<StopReason>,
}

/// Steps at their end, by how it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) ran: u32,
    pub(crate) cached: u32,
    pub(crate) failed: u32,
    pub(crate) others: u32,
}

impl Done {
    /// Returns how many there are.
    pub(crate) fn all(&self) -> u32 {
        self.ran + self.cached + self.failed + self.others
    }
}

/// A step that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) kind: StepKind,
    pub(crate) since: Instant,
    pub(crate) tail: Tail,
}

impl Story {
    /// Returns the story of a run that begins.
    pub(crate) fn new(keep: Keep) -> Self {
        Self {
            keep,
            begin: Instant::now(),
            run: None,
            running: IndexMap::new(),
            failures: Vec::new(),
            verified: 0,
            interrupted: 0,
            outs: Vec::new(),
            done: Done::default(),
            ran_millis: 0,
            stop: None,
        }
    }

    /// Takes in an event; returns what a step had written, when it is at its end.
    pub(crate) fn hear(&mut self, event: &Event) -> Option<Tail> {
        match event {
            Event::RunStarted(run) => self.run = Some(run.clone()),
            Event::RunGrown(grown) => {
                if let Some(run) = &mut self.run {
                    run.steps = grown.steps;
                }
            }
            Event::StepStarted(step) => self.start(step),
            Event::StepOutput(output) => {
                if let Some(step) = self.running.get_mut(&output.step) {
                    step.tail.add(output.stream, &output.text);
                }
            }
            Event::StepFinished(step) => return self.finish(step),
            Event::RunStopping(stopping) => self.stop = Some(stopping.reason),
            Event::Diagnostic(_)
            | Event::Warning(_)
            | Event::StepRetried(_)
            | Event::RunFinished(_) => {}
        }
        None
    }

    /// Returns how many steps the run has.
    pub(crate) fn steps(&self) -> u32 {
        self.run.as_ref().map_or(0, |run| run.steps)
    }

    /// Returns how long the run has taken.
    pub(crate) fn millis(&self) -> u64 {
        millis_since(self.begin)
    }

    /// Returns about how long the run will go on, once there is something to judge by.
    pub(crate) fn millis_left(&self) -> Option<u64> {
        const ENOUGH_MILLIS: u64 = 2000;
        let run = self.run.as_ref()?;
        let ran = u64::from(self.done.ran + self.done.failed);
        if ran == 0 || self.millis() < ENOUGH_MILLIS || self.stop.is_some() {
            return None;
        }
        let left = u64::from(run.steps.saturating_sub(self.done.all()));
        let at_once = left.clamp(1, u64::from(run.jobs.max(1)));
        Some(left * (self.ran_millis / ran) / at_once)
    }

    fn start(&mut self, step: &StepStarted) {
        let Keep { lines, bytes } = self.keep;
        // What earlier tries wrote stays: it tells why there was another.
        self.running.entry(step.step.clone()).or_insert_with(|| Running {
            kind: step.kind,
            since: Instant::now(),
            tail: Tail::new(lines, bytes),
        });
    }

    fn finish(&mut self, step: &StepFinished) -> Option<Tail> {
        match step.outcome {
            Outcome::Ran => self.done.ran += 1,
            Outcome::Cached => self.done.cached += 1,
            Outcome::Failed => self.done.failed += 1,
            Outcome::Blocked | Outcome::Skipped => self.done.others += 1,
        }
        if matches!(step.outcome, Outcome::Ran | Outcome::Failed) {
            self.ran_millis += step.millis;
        }
        if is_failure(step) {
            self.failures.push(step.clone());
        }
        self.verified += u32::from(step.verified);
        self.interrupted += u32::from(is_interrupted(step));
        self.outs.extend(step.outs.iter().map(|out| out.path.clone()));
        self.running.shift_remove(&step.step).map(|step| step.tail)
    }
}

/// Returns whether a step failed in a way that makes the run fail, and not by interruption.
pub(crate) fn is_failure(step: &StepFinished) -> bool {
    step.outcome == Outcome::Failed && !step.tolerated && !is_interrupted(step)
}

/// Returns whether a step was ended because the run was.
pub(crate) fn is_interrupted(step: &StepFinished) -> bool {
    step.failure.as_ref().is_some_and(|failure| failure.cause == Cause::Interrupted)
}

/// Returns the milliseconds since `start`.
pub(crate) fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// How a run ended, in a word that is also its tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Failed,
    Machine,
    Interrupted,
}

impl Ending {
    /// Returns the ending that an exit code means.
    pub(crate) fn of(run: &RunFinished) -> Self {
        match run.exit {
            0 => Self::Done,
            4 => Self::Machine,
            129.. => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}
