//! Late lists: what matrices go through is made first, and the plan made again, until all that is
//! wanted is known. Knows which steps make the lists; does not know what a list may hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::cache::{Node, Store};
use crate::engine::attempt::Done;
use crate::engine::run::{Machine, Request};
use crate::event::{Counts, Event, Outcome, RunFinished, RunGrown, StepFinished};
use crate::lang::late::{LateData, LateKey};
use crate::plan::Plan;
use crate::plan::artifact::Artifact;
use crate::plan::graph::Graph;
use crate::plan::step::{LateStage, StepId};
use crate::snapshot::watched::Notes;
use crate::source::MAX_SOURCE_BYTES;

use super::{Pipeline, RunError, Selection, Slice, Workspace, select};

/// How far a run got before all its steps were known.
#[derive(Default)]
pub(super) struct Early {
    /// The steps that are at their end, by name.
    finished: BTreeMap<String, StepFinished>,
    counts: Counts,
    has_begun: bool,
    /// How many steps the whole run has.
    steps: u32,
    begin: Option<Instant>,
    /// What the run exits with for what failed so far.
    exit: u8,
}

/// What became of the lists.
pub(super) enum Lists {
    /// All steps that are wanted are known. The request is that of the rest of the run.
    Known(Box<Known>),
    /// The run ended before, with this exit code.
    Ended(u8),
    /// A list is not as its matrix says; or a row that it has is wrong.
    Mistaken(Box<Pipeline>),
}

/// A plan with all that is wanted.
pub(super) struct Known {
    pub(super) planned: (Arc<Plan>, Graph),
    /// What a plan that was made again was made from.
    pub(super) notes: Option<Notes>,
    pub(super) request: Request,
}

/// What was asked for.
pub(super) struct Asked<'a> {
    /// The request, whose steps are those of the first plan.
    pub(super) request: &'a Request,
    /// The stages to run again.
    pub(super) rerun: &'a [String],
    pub(super) slice: Option<Slice>,
}

/// Makes all lists that the wanted stages wait for.
///
/// # Errors
/// If the store does not give what it was given, or the pipeline can no longer be read.
pub(super) fn lists(
    workspace: &Workspace,
    planned: (Arc<Plan>, Graph),
    asked: &Asked<'_>,
    machine: &Machine<'_>,
    known: &mut dyn FnMut(&Arc<Plan>),
    emit: &mut dyn FnMut(Event),
) -> Result<(Lists, Early), RunError> {
    let (mut early, mut data) = (Early::default(), LateData::default());
    let (mut planned, mut notes, mut request) = (planned, None, asked.request.clone());
    loop {
        let (plan, graph) = &planned;
        let named = |names: &[String]| select(plan, names).unwrap_or_default();
        let Selection { steps, skipped, late } = named(&request.stages);
        let steps = asked.slice.map_or_else(|| steps.clone(), |slice| slice.of(graph, &steps));
        request.written.clone_from(&steps);
        (request.wanted, request.skipped) = (steps, skipped);
        request.rerun = if asked.rerun.is_empty() { Vec::new() } else { named(asked.rerun).steps };
        let is_new = |id: &StepId| !early.finished.contains_key(&plan.step(*id).name);
        request.rerun.retain(is_new);
        let awaited = awaited(plan, &late, &data);
        if awaited.is_empty() {
            early.foresee(plan, graph, &request);
            let known = Known { planned, notes, request };
            return Ok((Lists::Known(Box::new(known)), early));
        }
        let mut first = Request { skipped: Vec::new(), ..request.clone() };
        first.wanted = awaited.iter().map(|artifact| artifact.step).collect();
        first.wanted.sort_unstable();
        first.wanted.dedup();
        let ran = crate::engine::run::run(plan, graph, &first, machine, &mut |event| {
            early.pass(event, emit);
        });
        early.exit = ran.exit;
        if ran.exit != 0 {
            let failed =
                |id: &StepId| ran.steps.iter().any(|(own, done)| own == id && !is_passed(done));
            let culprit = first.wanted.iter().copied().find(failed);
            early.block(plan, &late, culprit, emit);
            // What does not need the lists goes on, if that was asked for.
            if !request.keep_going || ran.exit > 127 {
                return Ok((Lists::Ended(early.end(emit)), early));
            }
            let is_failed = |id: StepId| {
                early
                    .finished
                    .get(&plan.step(id).name)
                    .is_some_and(|step| matches!(step.outcome, Outcome::Failed | Outcome::Blocked))
            };
            let free = |id: &StepId| {
                let closure = graph.closure(&[*id]);
                !graph.order().iter().any(|id| closure[id.index()] && is_failed(*id))
            };
            let (free, held): (Vec<_>, Vec<_>) = request.wanted.iter().copied().partition(free);
            early.hold(plan, &held, culprit, emit);
            request.wanted = free;
            early.foresee(plan, graph, &request);
            let known = Known { planned, notes, request };
            return Ok((Lists::Known(Box::new(known)), early));
        }
        for artifact in awaited {
            let key = key(plan, &artifact);
            let done = ran.steps.iter().find(|(id, _)| *id == artifact.step);
            let bytes = bytes(machine.store, done.map(|(_, done)| done), &artifact)?;
            data.insert(key, bytes);
        }
        let (pipeline, again) =
            workspace.make(&data).map_err(|error| RunError::Pipeline(error.to_string()))?;
        if pipeline.plan.is_none() {
            return Ok((Lists::Mistaken(Box::new(pipeline)), early));
        }
        planned = pipeline.plan.expect("it was asked");
        notes = again;
        known(&planned.0);
    }
}

fn is_passed(done: &Done) -> bool {
    matches!(done.outcome, Outcome::Ran | Outcome::Cached)
}

/// Returns what is to be made first for the stages `late` to be known.
fn awaited(plan: &Plan, late: &[String], data: &LateData) -> Vec<Artifact> {
    if late.is_empty() {
        return Vec::new();
    }
    let of = |is_meant: &dyn Fn(&LateStage) -> bool| {
        let stages = plan.late_stages.iter().filter(|stage| stage.is_open && is_meant(stage));
        let mut awaited: Vec<_> = stages.flat_map(|stage| stage.awaits.clone()).collect();
        awaited.retain(|artifact| !data.contains_key(&key(plan, artifact)));
        awaited.sort_unstable();
        awaited.dedup();
        awaited
    };
    let own = of(&|stage| late.contains(&stage.stage));
    // One that waits for the rows of another one names none of its own.
    if own.is_empty() { of(&|_| true) } else { own }
}

fn key(plan: &Plan, artifact: &Artifact) -> LateKey {
    let step = plan.step(artifact.step).name.clone();
    LateKey { step, out: artifact.out.clone(), part: artifact.part.clone() }
}

/// Returns the bytes of what a step made, or why there are none.
fn bytes(
    store: &Store,
    done: Option<&Done>,
    artifact: &Artifact,
) -> Result<Result<Vec<u8>, String>, RunError> {
    let made = done.and_then(|done| done.made.get(&artifact.out));
    let node = match (made, artifact.part.as_str()) {
        (Some(Node::Directory(tree)), part) if !part.is_empty() => tree.get(part),
        (made, _) => made,
    };
    let blob = match node {
        Some(Node::File { blob, .. }) => *blob,
        Some(_) => return Ok(Err("is no file".to_owned())),
        None => return Ok(Err("was not made".to_owned())),
    };
    if blob.size > MAX_SOURCE_BYTES as u64 {
        return Ok(Err("is larger than 4 MiB".to_owned()));
    }
    store.read(blob).map(Ok).map_err(super::store::fault)
}

impl Early {
    /// Passes an event on that belongs to the whole run, and notes it.
    fn pass(&mut self, event: Event, emit: &mut dyn FnMut(Event)) {
        self.begin.get_or_insert_with(Instant::now);
        match event {
            Event::RunStarted(run) => {
                if !std::mem::replace(&mut self.has_begun, true) {
                    emit(Event::RunStarted(run));
                }
            }
            Event::RunFinished(_) => {}
            Event::StepFinished(step) => self.finish(*step, emit),
            event => emit(event),
        }
    }

    fn finish(&mut self, step: StepFinished, emit: &mut dyn FnMut(Event)) {
        // A later plan has it again, and then it is served.
        if self.finished.contains_key(&step.step) {
            return;
        }
        self.counts.add(&step);
        self.finished.insert(step.step.clone(), step.clone());
        emit(Event::StepFinished(Box::new(step)));
    }

    /// Notes how many steps there are with those of the rest of the run.
    fn foresee(&mut self, plan: &Plan, graph: &Graph, rest: &Request) {
        let closure = graph.closure(&rest.wanted);
        let names = plan.iter().filter(|(id, _)| closure[id.index()]).map(|(_, step)| &step.name);
        let names = names.chain(rest.skipped.iter().map(|step| &step.name));
        let new = names.filter(|name| !self.finished.contains_key(*name)).count();
        self.steps = u32::try_from(self.finished.len() + new).unwrap_or(u32::MAX);
    }

    /// Says of late stages that they never begin.
    fn block(
        &mut self,
        plan: &Plan,
        late: &[String],
        culprit: Option<StepId>,
        emit: &mut dyn FnMut(Event),
    ) {
        for stage in plan.late_stages.iter().filter(|stage| late.contains(&stage.stage)) {
            let (name, place) = (stage.stage.clone(), stage.place.clone());
            let step = StepFinished::new(name.clone(), name, stage.kind, place, Outcome::Blocked);
            self.finish(StepFinished { blocked_by: blocker(plan, culprit), ..step }, emit);
        }
    }

    /// Says of steps that they never begin.
    fn hold(
        &mut self,
        plan: &Plan,
        held: &[StepId],
        culprit: Option<StepId>,
        emit: &mut dyn FnMut(Event),
    ) {
        for step in held.iter().map(|id| plan.step(*id)) {
            let (name, stage, place) = (step.name.clone(), step.stage.clone(), step.place.clone());
            let step = StepFinished::new(name, stage, step.kind, place, Outcome::Blocked);
            self.finish(StepFinished { blocked_by: blocker(plan, culprit), ..step }, emit);
        }
    }

    /// Ends the run; returns what it exits with.
    fn end(&mut self, emit: &mut dyn FnMut(Event)) -> u8 {
        let (exit, counts, millis) = (self.exit, self.counts, self.millis());
        emit(Event::RunFinished(RunFinished { exit, counts, millis }));
        exit
    }

    /// Ends the run, since a list is not as its matrix says.
    pub(super) fn end_mistaken(&mut self, emit: &mut dyn FnMut(Event)) {
        self.exit = 3;
        self.end(emit);
    }

    fn millis(&self) -> u64 {
        let taken = self.begin.map(|begin| begin.elapsed()).unwrap_or_default();
        u64::try_from(taken.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the exit code of the run whose rest exits with `exit`.
    pub(super) fn exit(&self, exit: u8) -> u8 {
        if exit == 0 { self.exit } else { exit }
    }

    /// Passes an event of the rest of the run on, as one of the whole.
    pub(super) fn pass_rest(&mut self, event: Event, emit: &mut dyn FnMut(Event)) {
        match event {
            Event::RunStarted(_) if self.has_begun => {
                emit(Event::RunGrown(RunGrown { steps: self.steps }));
            }
            Event::StepFinished(step) => {
                if self.has_begun {
                    self.finish(*step, emit);
                } else {
                    emit(Event::StepFinished(step));
                }
            }
            Event::RunFinished(run) if self.has_begun => {
                self.exit = self.exit(run.exit);
                self.end(emit);
            }
            event => emit(event),
        }
    }
}

fn blocker(plan: &Plan, culprit: Option<StepId>) -> Vec<String> {
    culprit.into_iter().map(|id| plan.step(id).name.clone()).collect()
}
