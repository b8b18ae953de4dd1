//! The timeline of a run: when its steps ran, what each waited for, and what would make the run
//! shorter. Knows events and times; does not know how either is kept or shown.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::event::{Counts, Envelope, Event, Outcome, StepFinished};

/// A run as its events tell it.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The id of the run.
    pub run: String,
    /// When it began: RFC 3339, as its first event says.
    pub begin: String,
    /// How many steps could run beside each other.
    pub jobs: u32,
    /// The stages that were asked for; none for all.
    pub stages: Vec<String>,
    /// How long it took; until its last event, if it was killed.
    pub took: Duration,
    /// What it exited with; `None` if it was killed.
    pub exit: Option<u8>,
    /// How many of its steps ended in which way.
    pub counts: Counts,
    /// The ends of all its steps, in the order in which they came.
    pub ends: Vec<StepFinished>,
    /// The steps that ran their commands, in the order in which they were done.
    pub steps: Vec<TimedStep>,
}

/// A step that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedStep {
    /// Its name.
    pub name: String,
    /// How long after the begin of the run it began.
    pub begin: Duration,
    /// How long after the begin of the run it was at its end.
    pub end: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// The steps that it waited for and that ran, too, by their places in [`Timeline::steps`].
    pub needs: Vec<usize>,
}

impl TimedStep {
    /// Returns how long it took.
    pub fn time(&self) -> Duration {
        self.end.saturating_sub(self.begin)
    }
}

impl Timeline {
    /// Returns the timeline of a run from its events.
    pub fn new(events: impl IntoIterator<Item = Envelope>) -> Self {
        let mut timeline = Self::default();
        let (mut origin, mut open, mut places) = (None, HashMap::new(), HashMap::new());
        for envelope in events {
            let now = millis_of(&envelope.ts).unwrap_or_default();
            let since = Duration::from_millis(now.saturating_sub(*origin.get_or_insert(now)));
            if timeline.begin.is_empty() {
                timeline.begin = envelope.ts;
            }
            timeline.took = timeline.took.max(since);
            match envelope.event {
                Event::RunStarted(run) => {
                    (timeline.run, timeline.jobs, timeline.stages) =
                        (run.run, run.jobs, run.stages);
                }
                Event::StepStarted(step) => {
                    open.entry(step.step).or_insert((since, step.needs));
                }
                Event::StepFinished(step) => {
                    timeline.counts.add(&step);
                    if let Some((begin, needs)) = open.remove(&step.step) {
                        // That it is done is said when it is safe on disk, which may be later.
                        let end = since.min(begin + Duration::from_millis(step.millis));
                        let place = |need: &String| places.get(need).copied();
                        let needs = needs.iter().filter_map(place).collect();
                        let (name, outcome) = (step.step.clone(), step.outcome);
                        places.insert(name.clone(), timeline.steps.len());
                        timeline.steps.push(TimedStep { name, begin, end, outcome, needs });
                    }
                    timeline.ends.push(*step);
                }
                Event::RunFinished(run) => timeline.exit = Some(run.exit),
                Event::RunGrown(_)
                | Event::Diagnostic(_)
                | Event::Warning(_)
                | Event::StepOutput(_)
                | Event::StepRetried(_)
                | Event::RunStopping(_) => {}
            }
        }
        timeline
    }

    /// Returns how long all steps took together.
    pub fn work(&self) -> Duration {
        self.steps.iter().map(TimedStep::time).sum()
    }

    /// Returns the critical path: of the chains of steps each of which waited for the one before it, the
    /// one that took longest, by the places of its steps. With however many processors the run would take
    /// that long.
    pub fn critical_path(&self) -> Vec<usize> {
        // Steps stand in the order of their ends, so what one waited for stands before it.
        let mut chains: Vec<(Duration, Option<usize>)> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let before =
                step.needs.iter().copied().max_by_key(|need| (chains[*need].0, Reverse(*need)));
            let time = before.map_or(Duration::ZERO, |before| chains[before].0);
            chains.push((time + step.time(), before));
        }
        let longest = (0..chains.len()).max_by_key(|place| (chains[*place].0, Reverse(*place)));
        let mut path: Vec<_> = std::iter::successors(longest, |place| chains[*place].1).collect();
        path.reverse();
        path
    }

    /// Returns how much shorter the run would be if the step at `place` took half its time. It is worked
    /// out as a run of all steps that ran, with their times, each as soon as there is a processor.
    pub fn gain_of_half(&self, place: usize) -> Duration {
        let times: Vec<_> = self.steps.iter().map(TimedStep::time).collect();
        let mut quicker = times.clone();
        quicker[place] /= 2;
        let jobs = self.jobs.max(1);
        self.replay(&times, jobs).saturating_sub(self.replay(&quicker, jobs))
    }

    /// Returns how much shorter the run would be with so many steps beside each other.
    pub fn gain_of_jobs(&self, jobs: u32) -> Duration {
        let times: Vec<_> = self.steps.iter().map(TimedStep::time).collect();
        self.replay(&times, self.jobs.max(1)).saturating_sub(self.replay(&times, jobs.max(1)))
    }

    /// Returns how long the steps would take, with the longest way to the end first.
    fn replay(&self, times: &[Duration], jobs: u32) -> Duration {
        let mut waits: Vec<_> = self.steps.iter().map(|step| step.needs.len()).collect();
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); times.len()];
        for (place, step) in self.steps.iter().enumerate() {
            step.needs.iter().for_each(|need| next[*need].push(place));
        }
        // Steps stand in the order of their ends, so what waits for one stands behind it.
        let mut remaining = times.to_vec();
        for place in (0..times.len()).rev() {
            let after = next[place].iter().map(|next| remaining[*next]).max();
            remaining[place] += after.unwrap_or_default();
        }
        let ready = |place: usize| (remaining[place], Reverse(place));
        let first = (0..times.len()).filter(|place| waits[*place] == 0).map(ready);
        let mut waiting: BinaryHeap<_> = first.collect();
        let mut running: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
        let mut now = Duration::ZERO;
        loop {
            while running.len() < jobs as usize
                && let Some((_, Reverse(place))) = waiting.pop()
            {
                running.push(Reverse((now + times[place], place)));
            }
            let Some(Reverse((end, place))) = running.pop() else { return now };
            now = end;
            for &next in &next[place] {
                waits[next] -= 1;
                if waits[next] == 0 {
                    waiting.push(ready(next));
                }
            }
        }
    }
}

/// Returns the milliseconds from 1970 to a time as [`Envelope::ts`] has it; `None` for what is none.
fn millis_of(ts: &str) -> Option<u64> {
    let number = |from: usize, to: usize| ts.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let clock = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    // The days of the Gregorian calendar; years begin with March, so that leap days are last.
    let (year, month) =
        if month < 3 { (year.checked_sub(1)?, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)? * 86_400 + clock) * 1000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{RunFinished, RunStarted, StepStarted, VERSION};
    use crate::plan::step::{Place, StepKind};

    /// Events of a run with two processors: name, begin and time in milliseconds, needs.
    fn timeline(steps: &[(&str, u64, u64, &[&str])]) -> Timeline {
        let place = Place { file: "pipeline.pipe".into(), line: 1, start: 0, end: 0 };
        let at = |millis: u64, event| {
            let ts = format!("2026-11-27T10:00:{:02}.{:03}Z", millis / 1000, millis % 1000);
            (millis, Envelope { v: VERSION, seq: 0, ts, event })
        };
        let mut events = vec![at(
            0,
            Event::RunStarted(RunStarted {
                run: "r".into(),
                kiln: "0".into(),
                steps: 1,
                jobs: 2,
                sandbox: "namespaces".into(),
                stages: Vec::new(),
            }),
        )];
        for (name, begin, millis, needs) in steps {
            let (step, stage, kind) = ((*name).to_owned(), (*name).to_owned(), StepKind::Build);
            let needs = needs.iter().map(|need| (*need).to_owned()).collect();
            let (attempt, why) = (1, Vec::new());
            let started = StepStarted { step, stage, kind, attempt, why, needs };
            events.push(at(*begin, Event::StepStarted(started)));
            let (name, stage) = ((*name).to_owned(), (*name).to_owned());
            let end = StepFinished::new(name, stage, kind, place.clone(), Outcome::Ran);
            let end = StepFinished { millis: *millis, ..end };
            // It is safe on disk a little later.
            events.push(at(begin + millis + 70, Event::StepFinished(Box::new(end))));
        }
        events.sort_by_key(|(millis, _)| *millis);
        let counts = Counts::default();
        events.push(at(9_000, Event::RunFinished(RunFinished { exit: 0, counts, millis: 9_000 })));
        Timeline::new(events.into_iter().map(|(_, envelope)| envelope))
    }

    fn names(timeline: &Timeline, places: &[usize]) -> Vec<String> {
        places.iter().map(|place| timeline.steps[*place].name.clone()).collect()
    }

    #[test]
    fn a_timeline_has_the_times_of_the_steps() {
        let timeline = timeline(&[("a", 100, 400, &[]), ("b", 600, 1_000, &["a", "unknown"])]);
        assert_eq!((timeline.run.as_str(), timeline.jobs, timeline.exit), ("r", 2, Some(0)));
        assert_eq!(timeline.took, Duration::from_secs(9));
        assert_eq!(timeline.counts.ran, 2);
        let b = &timeline.steps[1];
        assert_eq!((b.begin.as_millis(), b.end.as_millis()), (600, 1_600));
        assert_eq!((b.time().as_millis(), &b.needs), (1_000, &vec![0]));
        assert_eq!(timeline.work().as_millis(), 1_400);
    }

    #[test]
    fn the_critical_path_is_the_chain_that_took_longest() {
        let timeline = timeline(&[
            ("quick", 0, 100, &[]),
            ("slow", 0, 3_000, &[]),
            ("lone", 100, 3_500, &[]),
            ("join", 3_100, 1_000, &["quick", "slow"]),
            ("after", 4_200, 500, &["quick"]),
        ]);
        assert_eq!(names(&timeline, &timeline.critical_path()), ["slow", "join"]);
        assert!(Timeline::default().critical_path().is_empty());
    }

    #[test]
    fn gains_are_those_of_the_whole_run() {
        let timeline = timeline(&[
            ("a", 0, 1_000, &[]),
            ("b", 0, 1_000, &[]),
            ("c", 1_000, 3_000, &["a"]),
            ("d", 1_000, 1_000, &["b"]),
        ]);
        let place = |name| timeline.steps.iter().position(|step| step.name == name).unwrap();
        assert_eq!(timeline.gain_of_half(place("a")).as_millis(), 500);
        assert_eq!(timeline.gain_of_half(place("c")).as_millis(), 1_500);
        assert_eq!(timeline.gain_of_half(place("d")).as_millis(), 0, "nothing waits for it");
        assert_eq!(timeline.gain_of_jobs(4).as_millis(), 0);
        let one = Timeline { jobs: 1, ..timeline };
        assert_eq!(one.gain_of_jobs(2).as_millis(), 2_000);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ts, millis) in [
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("2000-02-29T00:00:00.001Z", Some(951_782_400_001)),
            ("2026-12-31T23:59:59.000Z", Some(1_798_761_599_000)),
            ("2100-03-01T00:00:00.001Z", Some(4_107_542_400_001)),
            ("1969-12-31T23:59:59.000Z", None),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(millis_of(ts), millis, "{ts}");
        }
    }
}
