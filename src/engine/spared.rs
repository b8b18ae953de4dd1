//! Spared steps: those that passed when the same was last asked for, and of which nothing that they
//! depend on has changed since, nor anything that they wrote. Knows the plan, the snapshot and what the
//! project's files say; asks the store only for what the other steps need of them.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::cache::Store;
use crate::digest::Digest;
use crate::plan::Plan;
use crate::plan::artifact::Input;
use crate::plan::graph::Graph;
use crate::plan::step::{Step, StepId};
use crate::snapshot::{CleanStep, Look, Snapshot};

use super::host::Host;
use super::outs::{self, Made};
use super::run::{Machine, Request};

/// The steps of a run that need no look.
#[derive(Default)]
pub(crate) struct Spared {
    /// In the order in which they once finished.
    pub(super) steps: Vec<(StepId, CleanStep)>,
    keys: Vec<Option<Digest>>,
    /// What those made that other steps need.
    made: HashMap<StepId, Arc<Made>>,
    /// What was asked for, and the names of the steps that passed then and are not spared; `None` if
    /// nothing is known of earlier runs.
    pub(super) base: Option<(Digest, Vec<String>)>,
}

impl Spared {
    /// Returns the key of a spared step.
    pub(super) fn key(&self, id: StepId) -> Option<Digest> {
        self.keys.get(id.index()).copied().flatten()
    }

    /// Returns what a spared step made, if others need it.
    pub(super) fn made(&self, id: StepId) -> Option<Arc<Made>> {
        self.made.get(&id).cloned()
    }
}

/// Returns the steps that need no look. None of them needs one that is not spared.
pub(super) fn spared(
    plan: &Plan,
    graph: &Graph,
    request: &Request,
    machine: &Machine<'_>,
) -> Spared {
    // What is said again is read from the store.
    if !machine.is_plan_kept || request.replays {
        return Spared::default();
    }
    let asked = request.digest(machine.level);
    let Some(look) = machine.snapshot.look(asked) else { return Spared::default() };
    if !is_same_machine(&look, machine.host) {
        return Spared::default();
    }
    let mut is_spared = unchanged(plan, &look, machine.snapshot);
    for id in &request.rerun {
        is_spared[id.index()] = false;
    }
    if request.verify > 0 {
        for (id, _) in plan.iter().filter(|(_, step)| request.verifies(step)) {
            is_spared[id.index()] = false;
        }
    }
    let ids = ids(plan);
    let mut keys = vec![None; plan.steps.len()];
    for step in &look.clean.steps {
        if let Some(id) = ids.get(step.name.as_str()) {
            keys[id.index()] = Some(step.key);
        }
    }
    let made = supplied(plan, graph, request, (machine.store, &keys), &mut is_spared);
    keys.iter_mut()
        .zip(&is_spared)
        .filter(|(_, spared)| !**spared)
        .for_each(|(key, _)| *key = None);
    let mut spared = Spared { keys, made, ..Spared::default() };
    let mut gone = Vec::new();
    for step in look.clean.steps {
        match ids.get(step.name.as_str()).filter(|id| is_spared[id.index()]) {
            Some(id) => spared.steps.push((*id, step)),
            None => gone.push(step.name),
        }
    }
    spared.base = Some((asked, gone));
    spared
}

/// Finds in the store what the steps that are not spared need of those that are. A step of which the
/// store has lost that is not spared, and none that needs it.
fn supplied(
    plan: &Plan,
    graph: &Graph,
    request: &Request,
    (store, keys): (&Store, &[Option<Digest>]),
    is_spared: &mut [bool],
) -> HashMap<StepId, Arc<Made>> {
    let is_wanted = graph.closure(&request.wanted);
    let mut made = HashMap::new();
    loop {
        let mut asked = Vec::new();
        for &id in graph.order().iter().filter(|id| is_wanted[id.index()]) {
            let needs = graph.needs(id);
            is_spared[id.index()] &= needs.iter().all(|need| is_spared[need.index()]);
            if !is_spared[id.index()] {
                asked.extend(needs.into_iter().filter(|need| is_spared[need.index()]));
            }
        }
        asked.sort_unstable();
        asked.dedup();
        asked.retain(|id| !made.contains_key(id));
        let find = |id: &StepId| {
            let hit = store.lookup(keys[id.index()]?)?;
            outs::of_hit(plan.step(*id), hit.outs).map(Arc::new)
        };
        let found: Vec<_> = asked.par_iter().with_min_len(16).map(find).collect();
        let mut has_lost = false;
        for (id, found) in asked.into_iter().zip(found) {
            match found {
                Some(found) => drop(made.insert(id, found)),
                None => {
                    is_spared[id.index()] = false;
                    has_lost = true;
                }
            }
        }
        if !has_lost {
            return made;
        }
    }
}

/// Returns whether the machine has the system and the tools that it had.
pub(super) fn is_same_machine(look: &Look, host: &Host) -> bool {
    let is_same = |(name, digest): &(String, Digest)| {
        host.tool(name).is_ok_and(|tool| tool.digest == *digest)
    };
    look.clean.host == host.digest() && look.clean.tools.iter().all(is_same)
}

/// Returns for each step whether it passed, what it wrote is there, and its files are as they were.
fn unchanged(plan: &Plan, look: &Look, snapshot: &Snapshot) -> Vec<bool> {
    let memory = snapshot.memory();
    let changed = memory.changed();
    let is_changed =
        |path: &String| changed.binary_search_by(|other| (**other).cmp(path.as_str())).is_ok();
    let is_set_same: Vec<_> = plan
        .file_sets
        .iter()
        .map(|set| {
            let is_same = changed.is_empty() || !set.paths.iter().any(is_changed);
            is_same && memory.knows_all(&set.paths)
        })
        .collect();
    let has_same_files = |step: &Step| {
        step.inputs.iter().all(|input| match input {
            Input::Files { set, .. } => is_set_same[set.index()],
            Input::Artifact { .. } | Input::History { .. } => true,
        })
    };
    let ids = ids(plan);
    let mut is_unchanged = vec![false; plan.steps.len()];
    let (mut place, mut changed_outs) = (0, look.changed_outs.iter().peekable());
    for clean in &look.clean.steps {
        place += clean.paths as usize;
        let mut has_same_outs = true;
        while changed_outs.next_if(|changed| **changed < place).is_some() {
            has_same_outs = false;
        }
        let Some(&id) = ids.get(clean.name.as_str()) else { continue };
        let step = plan.step(id);
        let mut programs = plan.services_of(step).map(|(_, service)| &service.program);
        is_unchanged[id.index()] =
            has_same_outs && has_same_files(step) && programs.all(has_same_files);
    }
    is_unchanged
}

fn ids(plan: &Plan) -> HashMap<&str, StepId> {
    plan.iter().map(|(id, step)| (step.name.as_str(), id)).collect()
}
