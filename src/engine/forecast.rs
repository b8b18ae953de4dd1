//! The forecast: what a run would do, found out without doing any of it. Knows the cache and what
//! earlier runs left; starts nothing and files nothing.

use std::sync::Arc;

use super::inputs::Pantry;
use super::outs::{self, Made};
use super::taken::Taken;
use super::{platform, secrets, why};
use crate::event::Reason;
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::plan::step::{Root, Step, StepId, Tool};
use crate::snapshot::Snapshot;

/// What a run would do with a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// Its result is in the cache.
    Cached,
    /// It would run, for these reasons. There are none if an input of it cannot be read.
    Runs(Vec<Reason>),
    /// That depends on what a step makes that would run, or on a folder not yet taken in.
    Open,
}

/// Returns what a run would do with each of these steps and all they need, in an order that keeps
/// their needs.
pub(crate) fn forecast(
    plan: &Plan,
    graph: &Graph,
    wanted: &[StepId],
    pantry: &Pantry,
    snapshot: &Snapshot,
) -> Vec<(StepId, Forecast)> {
    let is_wanted = graph.closure(wanted);
    let (book, memories) = (snapshot.ingredients(), snapshot.steps());
    let mut made: Vec<Option<Arc<Made>>> = vec![None; plan.steps.len()];
    let mut found = Vec::new();
    for &id in graph.order().iter().filter(|id| is_wanted[id.index()]) {
        let step = plan.step(id);
        let forecast = if !can_be_known(step, pantry, &made) {
            Forecast::Open
        } else if let Ok(ready) =
            pantry.ready(step, &|id| made[id.index()].clone().unwrap_or_default())
        {
            let hit = pantry.store().lookup(ready.key);
            match hit.and_then(|hit| outs::of_hit(step, hit.outs)) {
                Some(outs) => {
                    made[id.index()] = Some(Arc::new(outs));
                    Forecast::Cached
                }
                None => {
                    let has_failed = memories.get(&step.name).is_some_and(|step| step.has_failed);
                    let sets = pantry.files_of(&ready);
                    let ingredients = &ready.ingredients;
                    let reasons = why::reasons(&step.name, ingredients, &sets, &book, has_failed);
                    Forecast::Runs(reasons)
                }
            }
        } else {
            Forecast::Runs(Vec::new())
        };
        found.push((id, forecast));
    }
    found
}

fn can_be_known(step: &Step, pantry: &Pantry, made: &[Option<Arc<Made>>]) -> bool {
    let is_taken = |tool: &Tool| match tool {
        Tool::Tree { path } => pantry.is_taken(&Taken::Folder { path }),
        Tool::Host { .. } | Tool::Artifact(_) => true,
    };
    let has_root = match &step.root {
        Root::Host | Root::Artifact(_) => true,
        Root::Tree { path } => pantry.is_taken(&Taken::of_root(path, &pantry.project)),
        Root::Layout { path } => {
            let platform = step.platform.clone().unwrap_or_else(platform::ours);
            pantry.is_taken(&Taken::Image { path, platform })
        }
    };
    // No secret is read to look ahead.
    if secrets::uses(pantry.plan, step).any(|used| used.affects_cache) {
        return false;
    }
    let has_inputs = step.needs().all(|need| made[need.index()].is_some());
    has_root && has_inputs && step.tools.iter().all(is_taken)
}
