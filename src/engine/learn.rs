//! Learning: what a run leaves for the next one. Knows the snapshot; does not know how it is kept.

use std::ffi::OsString;
use std::path::Path;

use crate::digest::{Digest, Hasher};
use crate::event::{Counts, Event, Outcome, RunFinished, RunStarted, StepFinished, WrittenOut};
use crate::plan::Plan;
use crate::plan::step::{SecretUse, Step, StepId};
use crate::snapshot::stat::Stat;
use crate::snapshot::{
    Clean, CleanChange, CleanStep, Cleaned, IngredientBook, Learned, Snapshot, StepMemory,
};

use super::attempt::Done;
use super::host::Host;
use super::key::Level;
use super::run::{Machine, Request};
use super::secrets::uses;
use super::spared::{Spared, is_same_machine};
use super::taken::takes_of_project;
use super::verify::is_chosen;
use super::why::Sets;

impl Request {
    /// Returns whether a step has to make the same once more.
    pub(super) fn verifies(&self, step: &Step) -> bool {
        self.verify > 0 && is_chosen(self.verify, &self.run, &step.name)
    }

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
    if !request.rerun.is_empty() || request.verify > 0 {
        return None;
    }
    let look = snapshot.look(request.digest(level))?;
    // That there is nothing to run is worth a word each time, for which the plan is needed.
    let is_clean = look.clean.is_whole
        && !look.clean.steps.is_empty()
        && look.changed_outs.is_empty()
        && snapshot.memory().changed().is_empty()
        && is_same_machine(&look, host);
    if !is_clean {
        snapshot.keep_look(look);
        return None;
    }
    let clean = look.clean;
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

/// Returns the end of a step that passed before.
pub(super) fn finished(step: CleanStep) -> StepFinished {
    let CleanStep { name, stage, kind, place, key, log, written, paths: _ } = step;
    let written = written.into_iter().map(|(name, path)| WrittenOut { name, path });
    StepFinished {
        key: Some(key),
        log: log.map(|(digest, _)| digest),
        log_bytes: log.map(|(_, size)| size),
        outs: written.collect(),
        ..StepFinished::new(name, stage, kind, place, Outcome::Cached)
    }
}

/// Returns what is worth knowing of a run in the next one: of the steps that were looked at, and those
/// that were not.
pub(super) fn learned(
    plan: &Plan,
    request: &Request,
    machine: &Machine<'_>,
    (steps, spared): (&mut [(StepId, Done)], &Spared),
    sets: Sets,
) -> Learned {
    let mut learned = Learned { tools: machine.host.found(), ..Learned::default() };
    let mut book = IngredientBook::default();
    sets.iter().for_each(|(digest, files)| book.put_set(*digest, files));
    for (id, done) in steps.iter_mut() {
        let name = &plan.step(*id).name;
        if let Some(ingredients) = done.ingredients.take() {
            book.steps.insert(name.as_str().into(), ingredients);
        }
        let has_failed = done.outcome == Outcome::Failed;
        if done.has_passed() || (has_failed && !done.is_interrupted()) {
            let memory = StepMemory { run_millis: done.run_millis, has_failed };
            learned.steps.insert(name.clone(), memory);
        }
    }
    learned.ingredients = book;
    learned.clean = cleaned(plan, request, machine, steps, spared);
    learned
}

/// Returns for which steps nothing is left to do.
fn cleaned(
    plan: &Plan,
    request: &Request,
    machine: &Machine<'_>,
    steps: &[(StepId, Done)],
    spared: &Spared,
) -> Cleaned {
    // What is neither a file of the project nor a fact is not looked at before the next run.
    let depends = |used: &SecretUse| used.affects_cache;
    if takes_of_project(plan)
        || plan.iter().any(|(_, step)| uses(plan, step).any(depends))
        // Steps before and after such an edit may have had one file with two contents.
        || machine.snapshot.memory().is_unsteady()
    {
        return Cleaned::Nothing;
    }
    let (mut clean_steps, mut outs) = (Vec::with_capacity(steps.len()), Vec::new());
    for (id, done) in steps {
        if let Some((step, mut paths)) = clean_step(plan.step(*id), done, machine.project) {
            clean_steps.push(step);
            outs.append(&mut paths);
        }
    }
    let is_whole = clean_steps.len() == steps.len();
    if let Some((request, gone)) = &spared.base {
        let (request, gone) = (*request, gone.clone());
        return Cleaned::Change(CleanChange { request, is_whole, gone, steps: clean_steps, outs });
    }
    let tools = machine.host.found().into_iter().map(|(name, tool)| (name, tool.digest));
    Cleaned::All(Clean {
        request: request.digest(machine.level),
        is_whole,
        host: machine.host.digest(),
        tools: tools.collect(),
        steps: clean_steps,
        skipped: request.skipped.clone(),
        outs,
    })
}

/// Returns a step that passed, with the stat data of what it wrote; `None` for one that did not, or if
/// what it wrote is gone already.
fn clean_step(
    step: &Step,
    done: &Done,
    project: &Path,
) -> Option<(CleanStep, Vec<(OsString, Stat)>)> {
    let key = done.key.filter(|_| done.has_passed())?;
    let mut paths = Vec::new();
    for out in &done.written {
        stat_all(project, Path::new(&out.path), &mut paths)?;
    }
    let written = done.written.iter().map(|out| (out.name.clone(), out.path.clone()));
    let clean = CleanStep {
        name: step.name.clone(),
        stage: step.stage.clone(),
        kind: step.kind,
        place: step.place.clone(),
        key,
        log: done.log.map(|blob| (blob.digest, blob.size)),
        written: written.collect(),
        paths: u32::try_from(paths.len()).ok()?,
    };
    Some((clean, paths))
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
