//! Endings: what becomes of the steps of a plan when some of them fail. Knows which step waits for
//! which; runs nothing.

use super::Plan;
use super::artifact::{Artifact, Input};
use super::graph::Graph;
use super::step::{Root, Step, StepId, Tool};

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Passes,
    /// It is started and fails.
    Fails,
    /// It is never started, since that one, which it needs, gives it nothing.
    Blocked(StepId),
}

/// Returns what becomes of each step of a run of them all that goes on after failures, if exactly
/// those of `failing` fail that are started.
pub(crate) fn endings(plan: &Plan, graph: &Graph, failing: &[StepId]) -> Vec<Ending> {
    let mut endings = vec![Ending::Passes; plan.steps.len()];
    for &id in graph.order() {
        let blocks = |need: &StepId| match endings[need.index()] {
            Ending::Passes => false,
            Ending::Blocked(_) => true,
            Ending::Fails => {
                let failed = plan.step(*need);
                !failed.may_fail || lacks(plan.step(id), *need, failed)
            }
        };
        endings[id.index()] = match graph.needs(id).into_iter().find(blocks) {
            Some(need) => Ending::Blocked(need),
            None if failing.contains(&id) => Ending::Fails,
            None => Ending::Passes,
        };
    }
    endings
}

/// Claims that a step takes what `failed`, the step `id`, makes only when it passes.
fn lacks(step: &Step, id: StepId, failed: &Step) -> bool {
    artifacts(step)
        .filter(|artifact| artifact.step == id)
        .any(|artifact| failed.out(&artifact.out).is_some_and(|out| !out.is_optional))
}

/// Returns all that a step takes of other steps.
fn artifacts(step: &Step) -> impl Iterator<Item = &Artifact> {
    let inputs = step.inputs.iter().filter_map(|input| match input {
        Input::Artifact { artifact, .. } => Some(artifact),
        Input::Files { .. } | Input::History { .. } => None,
    });
    let root = match &step.root {
        Root::Artifact(artifact) => Some(artifact),
        Root::Host | Root::Tree { .. } | Root::Layout { .. } => None,
    };
    let tools = step.tools.iter().filter_map(|tool| match tool {
        Tool::Artifact(artifact) => Some(artifact),
        Tool::Host { .. } | Tool::Tree { .. } => None,
    });
    inputs.chain(root).chain(tools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::artifact::{Out, OutKind};
    use crate::plan::step::testing;

    fn id(at: usize) -> StepId {
        StepId::new(at)
    }

    fn found(plan: &Plan, failing: &[StepId]) -> Vec<Ending> {
        endings(plan, &Graph::new(plan).unwrap(), failing)
    }

    #[test]
    fn a_failure_blocks_all_that_needs_it_and_nothing_else() {
        let plan = testing::plan(&[&[], &[0], &[1], &[]]);
        let blocked = [Ending::Fails, Ending::Blocked(id(0)), Ending::Blocked(id(1))];
        assert_eq!(found(&plan, &[id(0)]), [&blocked[..], &[Ending::Passes]].concat());
        assert_eq!(found(&plan, &[id(0), id(2)])[2], Ending::Blocked(id(1)), "it never starts");
        assert_eq!(found(&plan, &[]), [Ending::Passes; 4]);
    }

    #[test]
    fn a_tolerated_failure_blocks_only_what_takes_what_it_did_not_make() {
        let mut plan = testing::plan(&[&[], &[0], &[], &[]]);
        plan.steps[0].may_fail = true;
        let out = |name: &str, is_optional| Out {
            name: name.into(),
            kind: OutKind::File,
            path: name.into(),
            is_placed: false,
            is_optional,
        };
        plan.steps[0].outs = vec![out("bin", false), out("log", true)];
        let take = |out: &str| Input::Artifact {
            artifact: Artifact { step: id(0), out: out.into(), part: String::new() },
            at: out.into(),
        };
        plan.steps[2].inputs.push(take("bin"));
        plan.steps[3].inputs.push(take("log"));
        let (passes, blocked) = (Ending::Passes, Ending::Blocked(id(0)));
        assert_eq!(found(&plan, &[id(0)]), [Ending::Fails, passes, blocked, passes]);
    }
}
