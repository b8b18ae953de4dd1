//! Slices: a part of a run for each of several machines. Knows which steps wait for which; does not
//! know the machines.

use crate::plan::graph::Graph;
use crate::plan::step::StepId;

/// One of several parts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    part: u32,
    of: u32,
}

impl Slice {
    /// Reads `3/7`, the third of seven; both from 1. `None` if that is no part.
    pub fn parse(text: &str) -> Option<Self> {
        let (part, of) = text.split_once('/')?;
        let (part, of) = (part.parse().ok()?, of.parse().ok()?);
        (1 <= part && part <= of).then_some(Self { part, of })
    }

    /// Returns the part and how many there are.
    pub(super) fn numbers(self) -> (u32, u32) {
        (self.part, self.of)
    }

    /// Returns the steps of this part: those that no other wanted step waits for are dealt out in the
    /// order of the plan, and each comes with all wanted steps that it needs. All parts together have
    /// every step; one that several need is in each of theirs.
    pub(super) fn of(self, graph: &Graph, wanted: &[StepId]) -> Vec<StepId> {
        let is_inner = |id: &StepId| {
            let mut open = graph.dependents(*id);
            let mut seen = vec![false; graph.order().len()];
            while let Some(next) = open.pop() {
                if wanted.binary_search(&next).is_ok() {
                    return true;
                }
                if !std::mem::replace(&mut seen[next.index()], true) {
                    open.extend(graph.dependents(next));
                }
            }
            false
        };
        let ends = wanted.iter().filter(|id| !is_inner(id));
        let own: Vec<_> =
            ends.skip(self.part as usize - 1).step_by(self.of as usize).copied().collect();
        let closure = graph.closure(&own);
        wanted.iter().filter(|id| closure[id.index()]).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::testing;

    fn ids(steps: &[usize]) -> Vec<StepId> {
        steps.iter().map(|at| StepId::new(*at)).collect()
    }

    #[test]
    fn a_part_is_one_of_as_many_as_there_are() {
        assert_eq!(Slice::parse("3/7").unwrap().numbers(), (3, 7));
        for text in ["0/3", "4/3", "3", "a/3", "1/0", "-1/3", "1/3/4"] {
            assert_eq!(Slice::parse(text), None, "{text}");
        }
    }

    #[test]
    fn parts_share_what_they_need_and_have_all_between_them() {
        let graph = Graph::new(&testing::plan(&[&[], &[0], &[0], &[0], &[], &[3]])).unwrap();
        let part = |part, of, wanted: &[usize]| Slice { part, of }.of(&graph, &ids(wanted));
        assert_eq!(part(1, 2, &[0, 1, 2, 3, 4, 5]), ids(&[0, 1, 4]));
        assert_eq!(part(2, 2, &[0, 1, 2, 3, 4, 5]), ids(&[0, 2, 3, 5]));
        assert_eq!(part(1, 1, &[0, 1, 2, 3, 4, 5]), ids(&[0, 1, 2, 3, 4, 5]));
        assert_eq!(part(5, 5, &[1, 2]), ids(&[]), "more machines than steps");
        assert_eq!(part(1, 2, &[0, 5]), ids(&[0, 5]), "what lies between need not be wanted");
        assert_eq!(part(2, 2, &[0, 5]), ids(&[]));
    }
}
