//! Named pools: steps that name the same one run no more at a time than it has places; a lock is a
//! pool of one. Knows which steps share what; does not know why they do.
//!
//! Within a run the [`super::schedule::Schedule`] holds back a step until it finds a place, so no
//! processor waits. Between runs, places are locks in the store: [`take`].

use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::cache::{KeyLock, Store};
use crate::event::{Event, Warning};
use crate::plan::Plan;
use crate::plan::step::{Step, StepId};

use crate::planted::{Bug, is_planted};

use super::attempt::send;
use super::error::StepError;
use super::run::Message;
use super::stop::Stop;

/// How long another run may have all places before people are told what is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest pause between two looks for a place.
const MAX_PAUSE: Duration = Duration::from_millis(25);

/// The pools of one run and how many of their places are free.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    free: Vec<u32>,
    /// By step: those it takes a place of.
    of_steps: IndexMap<StepId, Vec<usize>>,
}

impl Pools {
    /// Returns the pools of a plan, with all places free. Of one that is said to have several sizes,
    /// the smallest holds.
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut sizes: IndexMap<&str, u32> = IndexMap::new();
        let mut of_steps = IndexMap::new();
        for (id, step) in plan.iter().filter(|(_, step)| !step.pools.is_empty()) {
            let pools = step.pools.iter().map(|(name, places)| {
                let entry = sizes.entry(name);
                let at = entry.index();
                let size = entry.or_insert(*places);
                *size = (*size).min(*places);
                at
            });
            of_steps.insert(id, pools.collect());
        }
        Self { free: sizes.into_values().collect(), of_steps }
    }

    /// Takes a place of each pool that the step names, or of none and says so.
    pub(super) fn take(&mut self, id: StepId) -> bool {
        let Some(pools) = self.of_steps.get(&id).filter(|_| !is_planted(Bug::IgnorePools)) else {
            return true;
        };
        if pools.iter().any(|pool| self.free[*pool] == 0) {
            return false;
        }
        pools.iter().for_each(|pool| self.free[*pool] -= 1);
        true
    }

    /// Gives back what a step took; returns whether there is more room now.
    pub(super) fn give_back(&mut self, id: StepId) -> bool {
        let pools = self.of_steps.get(&id).filter(|_| !is_planted(Bug::IgnorePools));
        pools.into_iter().flatten().for_each(|pool| self.free[*pool] += 1);
        pools.is_some()
    }
}

/// Waits for a place in each pool of the step, among all runs that share the store.
///
/// It takes all places or none, so no two runs can wait for each other.
///
/// # Errors
/// [`StepError::Interrupted`], and what the store says.
pub(super) fn take<'a>(
    store: &'a Store,
    step: &Step,
    stop: &Stop,
    say: &SyncSender<Message>,
) -> Result<Vec<KeyLock<'a>>, StepError> {
    if is_planted(Bug::IgnorePools) {
        return Ok(Vec::new());
    }
    let start = Instant::now();
    let mut has_told = false;
    let mut pause = Duration::from_micros(500);
    loop {
        let mut taken = Vec::with_capacity(step.pools.len());
        let mut full = None;
        for (name, places) in &step.pools {
            match store.try_take(name, *places)? {
                Some(place) => taken.push(place),
                None => {
                    full = Some((name, *places));
                    break;
                }
            }
        }
        let Some((name, places)) = full else { return Ok(taken) };
        drop(taken);
        if stop.is_stopped() {
            return Err(StepError::Interrupted);
        }
        if !has_told && start.elapsed() > PATIENCE {
            has_told = true;
            send(say, Event::Warning(waiting(step, name, places)));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

fn waiting(step: &Step, name: &str, places: u32) -> Warning {
    let what = match places {
        1 => format!("the lock `{name}`, which another run on this machine holds"),
        _ => format!("the pool `{name}`: other runs on this machine have its {places} places"),
    };
    let message = format!("`{}` waits for {what}", step.name);
    Warning { message, help: None, step: Some(step.name.clone()) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::plan::step::testing;

    fn plan(pools: &[&[(&str, u32)]]) -> Plan {
        let mut plan = testing::plan(&vec![&[][..]; pools.len()]);
        for (step, pools) in plan.steps.iter_mut().zip(pools) {
            step.pools = pools.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        }
        plan
    }

    #[test]
    fn a_step_takes_all_places_or_none() {
        let plan = plan(&[&[("db", 1)], &[("db", 1), ("phone", 2)], &[("phone", 2)], &[]]);
        let mut pools = Pools::new(&plan);
        let [first, both, phone, free] = [0, 1, 2, 3].map(StepId::new);
        assert!(pools.take(first) && !pools.take(both));
        assert!(pools.take(phone) && pools.take(phone) && !pools.take(phone), "none was kept");
        assert!(pools.take(free) && !pools.give_back(free));
        assert!(pools.give_back(first) && !pools.take(both));
        assert!(pools.give_back(phone) && pools.take(both));
    }

    #[test]
    fn the_smallest_size_holds() {
        let mut pools = Pools::new(&plan(&[&[("phone", 3)], &[("phone", 1)]]));
        assert!(pools.take(StepId::new(0)) && !pools.take(StepId::new(1)));
    }

    #[test]
    fn runs_that_share_a_store_share_its_places() {
        let directory = tempfile::tempdir().unwrap();
        let [ours, theirs] = [(); 2].map(|()| Store::open(directory.path()).unwrap());
        let plan = plan(&[&[("phone", 2), ("db", 1)], &[("phone", 2)]]);
        let [both, phone] = [0, 1].map(|at| plan.step(StepId::new(at)));
        let (say, hear) = mpsc::sync_channel(8);
        let stopped = Stop::new().unwrap();
        stopped.interrupt(2);
        let held = take(&ours, both, &stopped, &say).unwrap();
        let _also = take(&theirs, phone, &stopped, &say).unwrap();
        for store in [&ours, &theirs] {
            for step in [both, phone] {
                assert!(matches!(take(store, step, &stopped, &say), Err(StepError::Interrupted)));
            }
        }
        std::thread::scope(|scope| {
            let waits =
                scope.spawn(|| take(&theirs, both, &Stop::new().unwrap(), &say).unwrap().len());
            let Ok(Message::Said(Event::Warning(told))) = hear.recv() else { panic!() };
            assert_eq!(
                told.message,
                "`step0` waits for the pool `phone`: other runs on this machine have its 2 places"
            );
            drop(held);
            assert_eq!(waits.join().unwrap(), 2);
        });
    }
}
