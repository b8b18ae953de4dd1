//! Learning: what a run leaves for the next one. Knows the snapshot; does not know how it is kept.

use std::ffi::OsString;
use std::path::Path;

use crate::digest::{Digest, Hasher};
use crate::event::{Counts, Event, Outcome, RunFinished, RunStarted, StepFinished, WrittenOut};
use crate::plan::Plan;
use crate::plan::step::{SecretUse, StepId};
use crate::snapshot::memory::Stat;
use crate::snapshot::{Clean, CleanStep, IngredientBook, Learned, Snapshot, StepMemory};

use super::attempt::Done;
use super::host::Host;
use super::key::Level;
use super::run::{Machine, Request};
use super::secrets::uses;
use super::taken::takes_of_project;
use super::why::Sets;

impl Request {
    /// Returns the digest of all that decides which steps run and what they leave, beside the plan.
    pub(crate) fn digest(&self, level: Level) -> Digest {
        let mut hasher = Hasher::tagged("kiln request 1");
        hasher.field(level.name().as_bytes());
        let out = self.out.as_deref().unwrap_or(Path::new("/"));
        hasher.field(out.as_os_str().as_encoded_bytes());
        let mut stages: Vec<_> = self.stages.iter().map(String::as_bytes).collect();
        stages.sort_unstable();
        stages.dedup();
        stages.into_iter().for_each(|stage| hasher.field(stage));
        if let Some((part, of)) = self.slice {
            hasher.field(format!("slice {part} of {of}").as_bytes());
        }
        hasher.finish()
    }
}

/// Serves a whole run from the snapshot, if nothing at all has changed since the last run that was
/// asked for the same and ended well; returns how many steps that were. The plan in the snapshot
/// must be current. Opens neither the plan nor the store.
pub(crate) fn serve(
    snapshot: &Snapshot,
    request: &Request,
    level: Level,
    host: &Host,
    emit: &mut dyn FnMut(Event),
) -> Option<Counts> {
    if !request.rerun.is_empty() {
        return None;
    }
    let clean = snapshot.clean(request.digest(level)).filter(|clean| {
        let is_same = |(name, digest): &(String, Digest)| {
            host.tool(name).is_ok_and(|tool| tool.digest == *digest)
        };
        // That there is nothing to run is worth a word each time, for which the plan is needed.
        !clean.steps.is_empty() && clean.host == host.digest() && clean.tools.iter().all(is_same)
    })?;
    if request.replays && clean.steps.iter().any(|step| step.log.is_some()) {
        return None;
    }
    let steps = u32::try_from(clean.steps.len() + clean.skipped.len()).unwrap_or(u32::MAX);
    emit(Event::RunStarted(RunStarted {
        run: request.run.clone(),
        kiln: env!("CARGO_PKG_VERSION").to_owned(),
        steps,
        jobs: request.jobs,
        sandbox: level.name().to_owned(),
        stages: request.stages.clone(),
    }));
    let mut counts = Counts::default();
    let skipped = clean.skipped.iter().map(StepFinished::skipped);
    for step in skipped.chain(clean.steps.into_iter().map(finished)) {
        counts.add(&step);
        emit(Event::StepFinished(Box::new(step)));
    }
    emit(Event::RunFinished(RunFinished { exit: 0, counts, millis: 0 }));
    Some(counts)
}

fn finished(step: CleanStep) -> StepFinished {
    let CleanStep { name, stage, kind, place, key, log, written } = step;
    let written = written.into_iter().map(|(name, path)| WrittenOut { name, path });
    StepFinished {
        key: Some(key),
        log: log.map(|(digest, _)| digest),
        log_bytes: log.map(|(_, size)| size),
        outs: written.collect(),
        ..StepFinished::new(name, stage, kind, place, Outcome::Cached)
    }
}

/// Returns what is worth knowing of a run in the next one.
pub(super) fn learned(
    plan: &Plan,
    request: &Request,
    machine: &Machine<'_>,
    steps: &[(StepId, Done)],
    sets: Sets,
) -> Learned {
    let mut learned = Learned { tools: machine.host.found(), ..Learned::default() };
    let mut book = IngredientBook { sets, ..IngredientBook::default() };
    for (id, done) in steps {
        let name = &plan.step(*id).name;
        if let Some(ingredients) = &done.ingredients {
            book.steps.insert(name.as_str().into(), ingredients.clone());
        }
        let has_failed = done.outcome == Outcome::Failed;
        if done.has_passed() || (has_failed && !done.is_interrupted()) {
            let memory = StepMemory { run_millis: done.run_millis, has_failed };
            learned.steps.insert(name.clone(), memory);
        }
    }
    learned.ingredients = book;
    learned.clean = clean(plan, request, machine, steps);
    learned
}

/// Returns the run as one that left nothing to do; `None` if it left something.
fn clean(
    plan: &Plan,
    request: &Request,
    machine: &Machine<'_>,
    steps: &[(StepId, Done)],
) -> Option<Clean> {
    // What is neither a file of the project nor a fact is not looked at before the next run.
    let depends = |used: &SecretUse| used.affects_cache;
    if takes_of_project(plan) || plan.iter().any(|(_, step)| uses(plan, step).any(depends)) {
        return None;
    }
    let mut outs = Vec::new();
    let mut clean_steps = Vec::with_capacity(steps.len());
    for (id, done) in steps {
        let step = plan.step(*id);
        let key = done.key.filter(|_| done.has_passed())?;
        for out in &done.written {
            stat_all(machine.project, Path::new(&out.path), &mut outs)?;
        }
        let written = done.written.iter().map(|out| (out.name.clone(), out.path.clone()));
        clean_steps.push(CleanStep {
            name: step.name.clone(),
            stage: step.stage.clone(),
            kind: step.kind,
            place: step.place.clone(),
            key,
            log: done.log.map(|blob| (blob.digest, blob.size)),
            written: written.collect(),
        });
    }
    let tools = machine.host.found().into_iter().map(|(name, tool)| (name, tool.digest));
    Some(Clean {
        request: request.digest(machine.level),
        host: machine.host.digest(),
        tools: tools.collect(),
        steps: clean_steps,
        skipped: request.skipped.clone(),
        outs,
    })
}

/// Notes the stat data of all that is at `path`, relative to the project.
fn stat_all(project: &Path, path: &Path, outs: &mut Vec<(OsString, Stat)>) -> Option<()> {
    let place = project.join(path);
    let stat = Stat::of(&place).ok()?;
    outs.push((path.into(), stat));
    if stat.is_dir() {
        let mut names: Vec<_> =
            std::fs::read_dir(place).ok()?.flatten().map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        for name in names {
            stat_all(project, &path.join(name), outs)?;
        }
    }
    Some(())
}
