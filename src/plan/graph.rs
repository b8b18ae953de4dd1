//! The graph of a plan: which step waits for which. Knows order, circles and the longest way to the
//! end; does not know what a step does.

use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use petgraph::{Direction, graph::EdgeIndex};

use super::Plan;
use super::step::StepId;

/// The steps of a plan with an edge from each step to those that wait for it. It has no circle.
#[derive(Clone, Debug)]
pub struct Graph {
    edges: DiGraph<(), ()>,
    /// All steps, each after those it needs; the plan's order where that leaves a choice.
    order: Vec<StepId>,
}

/// Steps that need each other in a circle: each needs the next, the last needs the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<StepId>);

impl Graph {
    /// Returns the graph of `plan`, or one shortest circle for each knot of steps in it.
    ///
    /// # Errors
    /// The circles, if there is one.
    pub fn new(plan: &Plan) -> Result<Self, Vec<Cycle>> {
        let mut edges = DiGraph::with_capacity(plan.steps.len(), plan.steps.len());
        for _ in &plan.steps {
            edges.add_node(());
        }
        let mut needs = Vec::new();
        for (id, step) in plan.iter() {
            needs.clear();
            needs.extend(step.needs());
            needs.sort_unstable();
            needs.dedup();
            for need in &needs {
                let _: EdgeIndex = edges.add_edge(node(*need), node(id), ());
            }
        }
        if toposort(&edges, None).is_err() {
            return Err(cycles(&edges));
        }
        let order = plan_order(&edges);
        Ok(Self { edges, order })
    }

    /// Returns all steps, each after those it needs.
    pub fn order(&self) -> &[StepId] {
        &self.order
    }

    /// Returns the steps that `id` waits for, ascending.
    pub fn needs(&self, id: StepId) -> Vec<StepId> {
        self.neighbours(id, Direction::Incoming)
    }

    /// Returns the steps that wait for `id`, ascending.
    pub fn dependents(&self, id: StepId) -> Vec<StepId> {
        self.neighbours(id, Direction::Outgoing)
    }

    fn neighbours(&self, id: StepId, direction: Direction) -> Vec<StepId> {
        let mut steps: Vec<_> =
            self.edges.neighbors_directed(node(id), direction).map(step).collect();
        steps.sort_unstable();
        steps
    }

    /// Returns for each step whether it is one of `wanted` or is needed by one.
    pub fn closure(&self, wanted: &[StepId]) -> Vec<bool> {
        let mut is_needed = vec![false; self.order.len()];
        let mut open = wanted.to_vec();
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut is_needed[id.index()], true) {
                open.extend(self.edges.neighbors_directed(node(id), Direction::Incoming).map(step));
            }
        }
        is_needed
    }

    /// Returns for each step its own cost plus the largest cost of a way from it to the end. The
    /// step with the largest number should start first.
    pub fn remaining(&self, cost: impl Fn(StepId) -> u64) -> Vec<u64> {
        let mut remaining = vec![0; self.order.len()];
        for &id in self.order.iter().rev() {
            let after = self.edges.neighbors(node(id)).map(|next| remaining[next.index()]).max();
            remaining[id.index()] = after.unwrap_or(0u64).saturating_add(cost(id));
        }
        remaining
    }

    /// Returns a way through the graph with the largest cost, from a first step to a last.
    pub fn critical_path(&self, cost: impl Fn(StepId) -> u64) -> Vec<StepId> {
        let remaining = self.remaining(cost);
        let longest = |steps: &mut dyn Iterator<Item = StepId>| {
            steps.max_by_key(|id| (remaining[id.index()], std::cmp::Reverse(*id)))
        };
        let mut path = Vec::new();
        let mut next = longest(&mut self.order.iter().copied());
        while let Some(id) = next {
            path.push(id);
            next = longest(&mut self.edges.neighbors(node(id)).map(step));
        }
        path
    }
}

fn node(id: StepId) -> NodeIndex {
    NodeIndex::new(id.index())
}

fn step(node: NodeIndex) -> StepId {
    StepId::new(node.index())
}

/// Kahn's algorithm with the smallest id first, so that the order is a function of the plan.
fn plan_order(edges: &DiGraph<(), ()>) -> Vec<StepId> {
    let mut waits: Vec<usize> = edges
        .node_indices()
        .map(|node| edges.neighbors_directed(node, Direction::Incoming).count())
        .collect();
    let mut ready: std::collections::BinaryHeap<_> = edges
        .node_indices()
        .filter(|node| waits[node.index()] == 0)
        .map(std::cmp::Reverse)
        .collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(std::cmp::Reverse(next)) = ready.pop() {
        order.push(step(next));
        for edge in edges.edges(next) {
            let waiting = &mut waits[edge.target().index()];
            *waiting -= 1;
            if *waiting == 0 {
                ready.push(std::cmp::Reverse(edge.target()));
            }
        }
    }
    order
}

/// Returns one shortest circle for each knot, smallest first step first.
fn cycles(edges: &DiGraph<(), ()>) -> Vec<Cycle> {
    let mut cycles: Vec<_> = tarjan_scc(edges)
        .into_iter()
        .filter(|knot| knot.len() > 1 || edges.contains_edge(knot[0], knot[0]))
        .map(|knot| {
            let first = knot.iter().copied().min().expect("a knot has a step");
            Cycle(shortest_cycle(edges, first).into_iter().map(step).collect())
        })
        .collect();
    cycles.sort_by_key(|cycle| cycle.0[0]);
    cycles
}

/// Breadth first against the edges, from `first` back to itself: each step needs the next.
fn shortest_cycle(edges: &DiGraph<(), ()>, first: NodeIndex) -> Vec<NodeIndex> {
    let mut came_from = vec![None; edges.node_count()];
    let mut queue = std::collections::VecDeque::from([first]);
    while let Some(here) = queue.pop_front() {
        let mut needs: Vec<_> = edges.neighbors_directed(here, Direction::Incoming).collect();
        needs.sort_unstable();
        for need in needs {
            if need == first {
                let mut path = vec![here];
                while let Some(before) = came_from[path[path.len() - 1].index()] {
                    path.push(before);
                }
                path.reverse();
                return path;
            }
            if came_from[need.index()].is_none() {
                came_from[need.index()] = Some(here);
                queue.push_back(need);
            }
        }
    }
    unreachable!("a step of a knot is on a circle")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::testing;

    fn graph(needs: &[&[usize]]) -> Result<Graph, Vec<Cycle>> {
        Graph::new(&testing::plan(needs))
    }

    fn ids(ids: &[usize]) -> Vec<StepId> {
        ids.iter().copied().map(StepId::new).collect()
    }

    #[test]
    fn order_puts_needs_first_and_is_the_plans_where_free() {
        let graph = graph(&[&[2], &[], &[1], &[]]).unwrap();
        assert_eq!(graph.order(), ids(&[1, 2, 0, 3]));
        assert_eq!(graph.needs(StepId::new(0)), ids(&[2]));
        assert_eq!(graph.dependents(StepId::new(1)), ids(&[2]));
    }

    #[test]
    fn closure_holds_all_that_is_needed_and_no_more() {
        let graph = graph(&[&[], &[0], &[1], &[0]]).unwrap();
        assert_eq!(graph.closure(&ids(&[1])), [true, true, false, false]);
    }

    #[test]
    fn the_critical_path_is_the_longest_by_cost() {
        let graph = graph(&[&[], &[0], &[0], &[1, 2]]).unwrap();
        let cost = |id: StepId| [1, 5, 2, 1][id.index()];
        assert_eq!(graph.remaining(cost), [7, 6, 3, 1]);
        assert_eq!(graph.critical_path(cost), ids(&[0, 1, 3]));
    }

    #[test]
    fn each_knot_gives_one_shortest_circle() {
        let cycles = graph(&[&[1], &[2, 0], &[0], &[3], &[]]).unwrap_err();
        assert_eq!(cycles, [Cycle(ids(&[0, 1])), Cycle(ids(&[3]))]);
    }

    #[test]
    fn a_chain_of_100_000_steps_is_no_deep_recursion() {
        let needs: Vec<Vec<usize>> =
            (0..100_000).map(|at| if at == 0 { vec![] } else { vec![at - 1] }).collect();
        let needs: Vec<&[usize]> = needs.iter().map(Vec::as_slice).collect();
        assert_eq!(graph(&needs).unwrap().critical_path(|_| 1).len(), 100_000);
    }
}
