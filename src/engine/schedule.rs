//! The schedule: which step starts next. Knows order, priorities, room on the machine and what a
//! failure means for the others; starts nothing, and knows no clock and no thread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::plan::graph::Graph;
use crate::plan::step::StepId;

use super::pools::Pools;

/// What a step takes from the machine while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Processors, at least 1.
    pub(crate) cpus: u32,
    /// Bytes of memory it may use; 0 where nobody said.
    pub(crate) memory: u64,
}

/// What the machine has for steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Processors: as many steps of one processor run beside each other.
    pub(crate) cpus: u32,
    /// Bytes of memory.
    pub(crate) memory: u64,
}

/// What decides the order of the steps that could start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// The time it is thought to take, in any unit.
    pub(crate) time: u64,
    /// Whether people wait for its verdict more than for others: it failed the last time.
    pub(crate) is_urgent: bool,
}

/// How a step came out, as far as those that wait for it care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Those that wait for it may start.
    Passed,
    /// Those that wait for it never start.
    Failed,
    /// Those that wait for it never start, and the others are none the worse.
    Withheld,
}

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is not part of the run.
    Unwanted,
    /// It waits for that many others.
    Waiting(u32),
    /// It could start; it is in the heap.
    Ready,
    /// It was handed out.
    Running,
    /// It was handed out, and no longer takes anything from the machine.
    Leaving,
    /// It came to its end, whichever.
    Done,
}

/// A step that could start; the greatest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    is_urgent: bool,
    remaining: u64,
    id: Reverse<StepId>,
}

/// The steps of one run and where they are.
pub(crate) struct Schedule<'a> {
    graph: &'a Graph,
    states: Vec<State>,
    candidates: Vec<Candidate>,
    costs: Vec<Cost>,
    ready: BinaryHeap<Candidate>,
    free: Room,
    pools: Pools,
    /// Ready ones that found no place in a pool.
    parked: Vec<Candidate>,
    running: u32,
    keep_going: bool,
    is_stopped: bool,
}

impl<'a> Schedule<'a> {
    /// Returns the schedule of `wanted` and all they need, without those of which `has_passed` says
    /// that they passed already, and with them all that they need. `keep_going`: whether a failure lets
    /// steps start that do not wait for it.
    pub(crate) fn new(
        graph: &'a Graph,
        wanted: &[StepId],
        has_passed: impl Fn(StepId) -> bool,
        room: Room,
        keep_going: bool,
        weight: impl Fn(StepId) -> Weight,
        cost: impl Fn(StepId) -> Cost,
    ) -> Self {
        let is_wanted = graph.closure(wanted);
        let mut schedule = Self {
            candidates: candidates(graph, weight),
            costs: (0..is_wanted.len()).map(|at| bounded(cost(StepId::new(at)), room)).collect(),
            states: vec![State::Unwanted; is_wanted.len()],
            graph,
            ready: BinaryHeap::new(),
            free: room,
            pools: Pools::default(),
            parked: Vec::new(),
            running: 0,
            keep_going,
            is_stopped: false,
        };
        for &id in graph.order().iter().filter(|id| is_wanted[id.index()]) {
            if has_passed(id) {
                schedule.states[id.index()] = State::Done;
                continue;
            }
            let needs = graph.needs(id).into_iter().filter(|need| !has_passed(*need)).count();
            schedule.states[id.index()] = State::Waiting(needs as u32);
            schedule.make_ready(id);
        }
        schedule
    }

    /// Lets steps share these pools; before the first is handed out.
    pub(crate) fn share(&mut self, pools: Pools) {
        self.pools = pools;
    }

    /// Returns how many steps are part of the run.
    pub(crate) fn len(&self) -> usize {
        self.states.iter().filter(|state| **state != State::Unwanted).count()
    }

    /// Returns how many steps have not come to their end.
    pub(crate) fn left(&self) -> usize {
        let is_over = |state: &State| matches!(state, State::Unwanted | State::Done);
        self.states.iter().filter(|state| !is_over(state)).count()
    }

    /// Returns how many steps are handed out.
    pub(crate) fn running(&self) -> u32 {
        self.running
    }

    /// Returns how many processors are free.
    pub(crate) fn free_cpus(&self) -> usize {
        self.free.cpus as usize
    }

    /// Returns whether nothing more will start.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Hands out a step that may start now. `None` if there is none: then wait for one to finish.
    ///
    /// The first in line is never passed by, so one that needs the whole machine gets it; but what
    /// finds no place in a pool stands aside until there is one.
    pub(crate) fn next(&mut self) -> Option<StepId> {
        let (id, cost) = loop {
            let id = self.ready.peek().filter(|_| !self.is_stopped)?.id.0;
            let cost = self.costs[id.index()];
            if cost.cpus > self.free.cpus || cost.memory > self.free.memory {
                return None;
            }
            let first = self.ready.pop()?;
            if self.pools.take(id) {
                break (id, cost);
            }
            self.parked.push(first);
        };
        self.free.cpus -= cost.cpus;
        self.free.memory -= cost.memory;
        self.running += 1;
        self.states[id.index()] = State::Running;
        Some(id)
    }

    /// Gives the room of a step that was handed out to others before it is at its end. Does nothing
    /// the second time.
    pub(crate) fn leave(&mut self, id: StepId) {
        if self.states[id.index()] == State::Running {
            self.states[id.index()] = State::Leaving;
            let cost = self.costs[id.index()];
            self.free.cpus += cost.cpus;
            self.free.memory += cost.memory;
            if self.pools.give_back(id) {
                self.ready.extend(self.parked.drain(..));
            }
        }
    }

    /// Takes back a step that was handed out; returns the steps that can never start now, in
    /// order, each after those it needs.
    pub(crate) fn finish(&mut self, id: StepId, verdict: Verdict) -> Vec<StepId> {
        self.leave(id);
        debug_assert_eq!(self.states[id.index()], State::Leaving, "it was handed out");
        self.running -= 1;
        self.states[id.index()] = State::Done;
        match verdict {
            Verdict::Passed => {
                self.release(id);
                Vec::new()
            }
            Verdict::Failed => {
                self.is_stopped |= !self.keep_going;
                self.block(id)
            }
            Verdict::Withheld => self.block(id),
        }
    }

    /// Lets nothing more start.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Returns the steps that have not started, in order; for the end of a stopped run.
    pub(crate) fn rest(&self) -> Vec<StepId> {
        let is_left =
            |id: &&StepId| matches!(self.states[id.index()], State::Waiting(_) | State::Ready);
        self.graph.order().iter().filter(is_left).copied().collect()
    }

    /// Tells those that wait for `id` that it passed.
    fn release(&mut self, id: StepId) {
        for next in self.graph.dependents(id) {
            if let State::Waiting(count) = &mut self.states[next.index()] {
                *count -= 1;
                self.make_ready(next);
            }
        }
    }

    fn make_ready(&mut self, id: StepId) {
        if self.states[id.index()] == State::Waiting(0) {
            self.states[id.index()] = State::Ready;
            self.ready.push(self.candidates[id.index()]);
        }
    }

    /// Ends all that wait for `id`, however far away.
    fn block(&mut self, id: StepId) -> Vec<StepId> {
        let mut blocked = Vec::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            for next in self.graph.dependents(id) {
                if let State::Waiting(_) = self.states[next.index()] {
                    self.states[next.index()] = State::Done;
                    blocked.push(next);
                    open.push(next);
                }
            }
        }
        blocked.sort_unstable();
        blocked
    }
}

/// The longest time from each step to the end. What an urgent step needs is urgent too.
fn candidates(graph: &Graph, weight: impl Fn(StepId) -> Weight) -> Vec<Candidate> {
    let remaining = graph.remaining(|id| weight(id).time.max(1));
    let urgent: Vec<_> =
        graph.order().iter().filter(|id| weight(**id).is_urgent).copied().collect();
    let is_urgent = graph.closure(&urgent);
    let candidate = |(at, remaining)| Candidate {
        is_urgent: is_urgent[at],
        remaining,
        id: Reverse(StepId::new(at)),
    };
    remaining.into_iter().enumerate().map(candidate).collect()
}

/// A step that asks for more than there is gets all there is.
fn bounded(cost: Cost, room: Room) -> Cost {
    Cost { cpus: cost.cpus.clamp(1, room.cpus), memory: cost.memory.min(room.memory) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::testing;

    const ONE: Cost = Cost { cpus: 1, memory: 0 };

    const NONE: fn(StepId) -> bool = |_| false;

    #[test]
    fn steps_that_passed_before_are_not_handed_out_and_not_waited_for() {
        let graph = graph(&[&[], &[0], &[0, 1], &[]]);
        let has_passed = |id: StepId| id.index() < 2;
        let weight = |_| Weight::default();
        let mut schedule =
            Schedule::new(&graph, graph.order(), has_passed, room(4), false, weight, |_| ONE);
        assert_eq!((schedule.len(), schedule.left()), (4, 2));
        assert_eq!(
            [schedule.next(), schedule.next(), schedule.next()],
            [Some(id(2)), Some(id(3)), None]
        );
    }

    fn id(at: usize) -> StepId {
        StepId::new(at)
    }

    fn graph(needs: &[&[usize]]) -> Graph {
        Graph::new(&testing::plan(needs)).unwrap()
    }

    fn room(cpus: u32) -> Room {
        Room { cpus, memory: 100 }
    }

    fn plain(graph: &Graph, cpus: u32, keep_going: bool) -> Schedule<'_> {
        let all: Vec<_> = graph.order().to_vec();
        Schedule::new(graph, &all, NONE, room(cpus), keep_going, |_| Weight::default(), |_| ONE)
    }

    fn take(schedule: &mut Schedule) -> Vec<usize> {
        std::iter::from_fn(|| schedule.next()).map(StepId::index).collect()
    }

    #[test]
    fn the_longest_way_to_the_end_goes_first() {
        let graph = graph(&[&[], &[], &[1], &[]]);
        let time = |id: StepId| Weight { time: [3, 1, 9, 4][id.index()], is_urgent: false };
        let mut schedule =
            Schedule::new(&graph, graph.order(), NONE, room(1), false, time, |_| ONE);
        let mut order = Vec::new();
        while let Some(next) = schedule.next() {
            order.push(next.index());
            assert!(schedule.finish(next, Verdict::Passed).is_empty());
        }
        assert_eq!(order, [1, 2, 3, 0]);
    }

    #[test]
    fn what_failed_last_time_goes_first_with_all_it_needs() {
        let graph = graph(&[&[], &[], &[1], &[]]);
        let weight =
            |id: StepId| Weight { time: 1000 - id.index() as u64, is_urgent: id.index() == 2 };
        let mut schedule =
            Schedule::new(&graph, graph.order(), NONE, room(1), false, weight, |_| ONE);
        assert_eq!(take(&mut schedule), [1]);
        schedule.finish(id(1), Verdict::Passed);
        assert_eq!(take(&mut schedule), [2]);
    }

    #[test]
    fn only_what_is_wanted_runs_with_all_it_needs() {
        let graph = graph(&[&[], &[0], &[]]);
        let mut schedule =
            Schedule::new(&graph, &[id(1)], NONE, room(4), false, |_| Weight::default(), |_| ONE);
        assert_eq!(schedule.len(), 2);
        assert_eq!(take(&mut schedule), [0]);
        schedule.finish(id(0), Verdict::Passed);
        assert_eq!(take(&mut schedule), [1]);
    }

    #[test]
    fn a_failure_blocks_all_that_wait_and_nothing_else() {
        let graph = graph(&[&[], &[0], &[1], &[], &[3, 0]]);
        let mut schedule = plain(&graph, 1, true);
        assert_eq!(take(&mut schedule), [0]);
        assert_eq!(schedule.finish(id(0), Verdict::Failed), [id(1), id(2), id(4)]);
        assert_eq!(take(&mut schedule), [3]);
        assert!(schedule.finish(id(3), Verdict::Passed).is_empty());
        assert!(schedule.rest().is_empty() && schedule.next().is_none());
    }

    #[test]
    fn without_keep_going_nothing_starts_after_a_failure() {
        let graph = graph(&[&[], &[], &[], &[1]]);
        let mut schedule = plain(&graph, 2, false);
        let running = take(&mut schedule);
        assert_eq!(running, [1, 0]);
        assert_eq!(schedule.finish(id(0), Verdict::Failed), []);
        assert!(take(&mut schedule).is_empty() && schedule.is_stopped());
        assert_eq!(schedule.running(), 1);
        schedule.finish(id(1), Verdict::Passed);
        assert_eq!(schedule.rest(), [id(2), id(3)]);
    }

    #[test]
    fn no_more_runs_than_the_machine_has_room_for() {
        let graph = graph(&[&[], &[], &[], &[]]);
        let cost = |id: StepId| match id.index() {
            0 => Cost { cpus: 3, memory: 0 },
            1 => Cost { cpus: 99, memory: 0 },
            2 => Cost { cpus: 1, memory: 80 },
            _ => Cost { cpus: 1, memory: 300 },
        };
        let mut schedule =
            Schedule::new(&graph, graph.order(), NONE, room(4), false, |_| Weight::default(), cost);
        assert_eq!(take(&mut schedule), [0], "one that needs all is not passed by");
        schedule.finish(id(0), Verdict::Passed);
        assert_eq!(take(&mut schedule), [1], "asks for more than there is");
        schedule.finish(id(1), Verdict::Passed);
        assert_eq!(take(&mut schedule), [2], "memory is room, too");
        schedule.finish(id(2), Verdict::Passed);
        assert_eq!(take(&mut schedule), [3]);
    }

    #[test]
    fn one_without_a_place_stands_aside_until_there_is_one() {
        let mut plan = testing::plan(&[&[], &[], &[], &[1]]);
        for at in [0, 1] {
            plan.steps[at].pools.insert("db".to_owned(), 1);
        }
        let graph = Graph::new(&plan).unwrap();
        let mut schedule = plain(&graph, 4, true);
        schedule.share(Pools::new(&plan));
        assert_eq!(take(&mut schedule), [1, 2], "the others go on");
        schedule.leave(id(1));
        assert_eq!(take(&mut schedule), [0], "its commands are over, so the place is free");
        schedule.finish(id(1), Verdict::Failed);
        schedule.finish(id(0), Verdict::Passed);
        schedule.finish(id(2), Verdict::Passed);
        assert!(schedule.rest().is_empty() && schedule.next().is_none());
    }

    #[test]
    fn one_that_leaves_makes_room_and_holds_back_what_needs_it() {
        let graph = graph(&[&[], &[0], &[]]);
        let mut schedule = plain(&graph, 1, false);
        assert_eq!(take(&mut schedule), [0]);
        schedule.leave(id(0));
        assert_eq!(take(&mut schedule), [2]);
        schedule.leave(id(0));
        assert!(take(&mut schedule).is_empty(), "room is given once");
        schedule.finish(id(2), Verdict::Passed);
        assert!(take(&mut schedule).is_empty(), "what it makes is not there yet");
        assert_eq!(schedule.running(), 1);
        schedule.finish(id(0), Verdict::Passed);
        assert_eq!(take(&mut schedule), [1]);
        assert!(take(&mut schedule).is_empty(), "room is given once");
    }

    #[test]
    fn every_order_of_ends_runs_each_step_once_after_its_needs() {
        let mut needs: Vec<Vec<usize>> = Vec::new();
        for at in 0..200usize {
            needs.push((0..3).map(|k| at.wrapping_mul(7 + k) % 211).filter(|n| *n < at).collect());
        }
        let needs: Vec<&[usize]> = needs.iter().map(Vec::as_slice).collect();
        let graph = graph(&needs);
        for seed in 0..20usize {
            let mut schedule = plain(&graph, 3, true);
            let (mut running, mut done) = (Vec::new(), vec![false; 200]);
            loop {
                running.extend(take(&mut schedule));
                assert!(running.len() <= 3);
                if running.is_empty() {
                    break;
                }
                let at = running.swap_remove((seed * 31 + done.len()) % running.len());
                assert!(needs[at].iter().all(|need| done[*need]));
                assert!(!std::mem::replace(&mut done[at], true));
                schedule.finish(id(at), Verdict::Passed);
            }
            assert!(done.into_iter().all(|is_done| is_done));
        }
    }
}
