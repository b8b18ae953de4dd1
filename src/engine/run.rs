//! The run: all steps that were asked for, in the order the schedule says, to one exit code. Knows
//! threads, and when a result may be called done; does not know how a step is run.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::cache::Store;
use crate::event::{
    Cause, Counts, Event, Outcome, RunFinished, RunStarted, RunStopping, StepFinished, StopReason,
    Warning,
};
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::plan::step::{SkippedStep, Step, StepId, StepKind};
use crate::sandbox::Sandbox;
use crate::secret::Vault;
use crate::snapshot::{Learned, Snapshot};

use super::attempt::{Done, Shop, millis, millis_since, settle};
use super::captures::CaptureDirs;
use super::host::Host;
use super::inputs::Pantry;
use super::key::Level;
use super::learn::{finished, learned};
use super::locked;
use super::pools::Pools;
use super::schedule::{Cost, Room, Schedule, Verdict, Weight};
use super::spared::{Spared, spared};
use super::stop::Stop;
use super::stores::Stores;

/// How many events may wait for the listener: then steps wait, too, and memory stays bounded.
const MAX_WAITING: usize = 64;

/// How often the run looks whether it was interrupted.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// The least time from one sync of the store to the next: a sync slows down all that write.
const SYNC_PAUSE: Duration = Duration::from_millis(500);

/// What a run has to do.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The id of the run.
    pub(crate) run: String,
    /// The stages that were asked for, for people.
    pub(crate) stages: Vec<String>,
    /// The steps that were asked for; what they need runs, too.
    pub(crate) wanted: Vec<StepId>,
    /// What was asked for and is no step, since a condition does not hold.
    pub(crate) skipped: Vec<SkippedStep>,
    /// How many steps of one processor run beside each other, at least 1.
    pub(crate) jobs: u32,
    /// Whether a failure lets steps start that do not wait for it.
    pub(crate) keep_going: bool,
    /// Steps that run even if their result is known.
    pub(crate) rerun: Vec<StepId>,
    /// Of how many of 100 steps it is seen whether they make the same once more, 0 to 100.
    pub(crate) verify: u8,
    /// Which part this is of how many, if the run is one of several.
    pub(crate) slice: Option<(u32, u32)>,
    /// Where notes on the project are, absolute.
    pub(crate) state: PathBuf,
    /// The folder for outs, relative to the project; `None` for none.
    pub(crate) out: Option<PathBuf>,
    /// The steps whose outs are written there, if they run: those that were asked for.
    pub(crate) written: Vec<StepId>,
    /// Whether steps served from the cache say again what they said.
    pub(crate) replays: bool,
}

/// What a run works with.
pub(crate) struct Machine<'a> {
    /// The folder of the project, absolute.
    pub(crate) project: &'a Path,
    /// What earlier runs left.
    pub(crate) snapshot: &'a Snapshot,
    /// The store.
    pub(crate) store: &'a Store,
    /// Where a temporary store goes if that one fails.
    pub(crate) spare: &'a Path,
    /// Where steps run.
    pub(crate) sandbox: &'a dyn Sandbox,
    /// How well it walls them in.
    pub(crate) level: Level,
    /// The machine's own system and tools.
    pub(crate) host: &'a Host,
    /// The secrets that steps may have.
    pub(crate) vault: &'a Vault,
    /// How the run is interrupted.
    pub(crate) stop: &'a Stop,
    /// Bytes of memory for steps together.
    pub(crate) memory_bytes: u64,
    /// Whether the plan is the one that the snapshot has, and all it was made from is as it was.
    pub(crate) is_plan_kept: bool,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct RunResult {
    /// What Kiln exits with.
    pub(crate) exit: u8,
    /// What is worth knowing in the next run: for [`Snapshot::save`].
    pub(crate) learned: Learned,
    /// The steps, and how they ended.
    pub(crate) steps: Vec<(StepId, Done)>,
}

/// What threads tell the run.
pub(crate) enum Message {
    /// Something to pass on.
    Said(Event),
    /// The commands of a step passed and it will not try again: what is left is to file what they
    /// made.
    Over(StepId),
    /// A step is at its end.
    Done(StepId, Box<Done>, Duration),
    /// All results up to this number survive a power cut.
    Synced(u64),
}

/// Runs what `request` asks for; returns when nothing it started is left.
pub(crate) fn run(
    plan: &Plan,
    graph: &Graph,
    request: &Request,
    machine: &Machine,
    emit: &mut dyn FnMut(Event),
) -> RunResult {
    let start = Instant::now();
    let room = Room { cpus: request.jobs.max(1), memory: machine.memory_bytes };
    let cost = |id: StepId| cost(plan.step(id));
    let known = machine.snapshot.steps();
    let remembered = |id: StepId| known.get(&plan.step(id).name).cloned().unwrap_or_default();
    let weight = |id: StepId| Weight {
        time: remembered(id).run_millis,
        is_urgent: remembered(id).has_failed && plan.step(id).kind == StepKind::Test,
    };
    let spared = spared(plan, graph, request, machine);
    let has_passed = |id: StepId| spared.key(id).is_some();
    let (wanted, keep_going) = (&request.wanted, request.keep_going);
    let mut schedule = Schedule::new(graph, wanted, has_passed, room, keep_going, weight, cost);
    schedule.share(Pools::new(plan));
    emit(Event::RunStarted(RunStarted {
        run: request.run.clone(),
        kiln: env!("CARGO_PKG_VERSION").to_owned(),
        steps: u32::try_from(schedule.len() + request.skipped.len()).unwrap_or(u32::MAX),
        jobs: room.cpus,
        sandbox: machine.level.name().to_owned(),
        stages: request.stages.clone(),
    }));
    let has_failed = plan.iter().map(|(id, _)| remembered(id).has_failed).collect();
    let shop = shop(plan, request, machine, has_failed, &spared);
    let mut course = Course {
        shop: &shop,
        schedule,
        emit,
        unsynced: VecDeque::new(),
        next_ticket: 0,
        counts: Counts::default(),
        steps: Vec::new(),
        machine_failed: false,
        step_failed: false,
        has_said_stop: false,
    };
    course.skip(&request.skipped);
    course.spare(&spared);
    course.drive();
    for warning in machine.store.take_warnings() {
        course.warn(warning.to_string());
    }
    let exit = course.exit();
    let counts = course.counts;
    let mut steps = course.steps;
    let sets = shop.pantry.set_files();
    drop(shop);
    let learned = learned(plan, request, machine, (&mut steps, &spared), sets);
    emit(Event::RunFinished(RunFinished { exit, counts, millis: millis_since(start) }));
    RunResult { exit, learned, steps }
}

fn shop<'a>(
    plan: &'a Plan,
    request: &Request,
    machine: &Machine<'a>,
    has_failed: Vec<bool>,
    spared: &'a Spared,
) -> Shop<'a> {
    let mut rerun = vec![false; plan.steps.len()];
    for id in &request.rerun {
        rerun[id.index()] = true;
    }
    let mut out_folders = vec![None; plan.steps.len()];
    for id in &request.written {
        let step = plan.step(*id);
        out_folders[id.index()] =
            request.out.as_ref().map(|out| out.join(&step.stage).join(&step.row_dir));
    }
    let project = machine.project.to_owned();
    let stores = Stores::new(machine.store, machine.spare);
    let (memory, host, level) = (machine.snapshot.memory(), machine.host, machine.level);
    Shop {
        plan,
        pantry: Pantry::new(plan, project, memory, stores, (host, level), machine.vault),
        sandbox: machine.sandbox,
        captures: CaptureDirs::default(),
        vault: machine.vault,
        stop: machine.stop,
        rerun,
        verifies: plan.iter().map(|(_, step)| request.verifies(step)).collect(),
        out_folders,
        replays: request.replays,
        made: plan.iter().map(|(id, _)| Mutex::new(spared.made(id))).collect(),
        spared,
        revival: Mutex::default(),
        snapshot: machine.snapshot,
        book: OnceLock::new(),
        has_failed,
        memory_bytes: machine.memory_bytes,
        state: request.state.clone(),
        run: request.run.clone(),
    }
}

fn cost(step: &Step) -> Cost {
    let limits = &step.limits;
    Cost { cpus: limits.cpus.unwrap_or(1), memory: limits.memory_bytes.unwrap_or(0) }
}

/// A run under way.
struct Course<'a, 'b> {
    shop: &'b Shop<'a>,
    schedule: Schedule<'b>,
    emit: &'b mut dyn FnMut(Event),
    /// Steps that passed, each with its number, whose results are not known to be on disk yet.
    unsynced: VecDeque<(u64, StepId, Done, Duration)>,
    next_ticket: u64,
    counts: Counts,
    steps: Vec<(StepId, Done)>,
    machine_failed: bool,
    step_failed: bool,
    has_said_stop: bool,
}

impl Course<'_, '_> {
    /// Says which steps are none, since the condition of their stage does not hold.
    fn skip(&mut self, skipped: &[SkippedStep]) {
        for skipped in skipped {
            let finished = StepFinished::skipped(skipped);
            self.counts.add(&finished);
            (self.emit)(Event::StepFinished(Box::new(finished)));
        }
    }

    /// Says which steps passed before and need no look now.
    fn spare(&mut self, spared: &Spared) {
        for (_, step) in &spared.steps {
            let finished = finished(step.clone());
            self.counts.add(&finished);
            (self.emit)(Event::StepFinished(Box::new(finished)));
        }
    }

    fn drive(&mut self) {
        let (say, hear) = mpsc::sync_channel(MAX_WAITING);
        let (ask, asked) = mpsc::channel();
        let work = Work::default();
        let shop = self.shop;
        // While the commands of some run, the results of as many others are filed.
        let threads = self.schedule.left().min(self.schedule.free_cpus() * 2);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let say = say.clone();
                let work = &work;
                scope.spawn(move || labour(shop, work, &say));
            }
            scope.spawn(move || keep_synced(&shop.pantry.stores, &asked, &say));
            self.steer(&work, &hear, &ask);
            work.close();
            drop(ask);
        });
        for id in self.schedule.rest() {
            let done = Done::skipped();
            self.finish(id, done, Duration::ZERO, 0);
        }
    }

    fn steer(&mut self, work: &Work, hear: &Receiver<Message>, ask: &Sender<Wish>) {
        loop {
            self.look_for_stop();
            while let Some(id) = self.schedule.next() {
                work.put(id);
            }
            if self.schedule.running() == 0 {
                if self.unsynced.is_empty() {
                    return;
                }
                let _ = ask.send(Wish::Now);
            }
            match hear.recv_timeout(LOOK_AROUND) {
                Ok(Message::Said(event)) => (self.emit)(event),
                Ok(Message::Over(id)) => self.schedule.leave(id),
                Ok(Message::Done(id, done, time)) => self.take(id, *done, time, ask),
                Ok(Message::Synced(ticket)) => self.acknowledge(ticket),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the syncing thread lives"),
            }
        }
    }

    /// Takes the end of a step: others may start at once, the listener hears of a success when it
    /// is safe on disk.
    fn take(&mut self, id: StepId, done: Done, time: Duration, ask: &Sender<Wish>) {
        *locked(&self.shop.made[id.index()]) = Some(Arc::clone(&done.made));
        let is_tolerated = done.outcome == Outcome::Failed && self.tolerates(id, &done);
        let has_passed = done.has_passed() || is_tolerated;
        let verdict = if has_passed { Verdict::Passed } else { Verdict::Failed };
        let blocked = match done.outcome {
            Outcome::Skipped if done.withheld.is_some() => {
                self.schedule.finish(id, Verdict::Withheld)
            }
            // It began too late: nobody is to blame.
            Outcome::Skipped => {
                self.schedule.stop();
                self.schedule.finish(id, Verdict::Failed)
            }
            _ => self.schedule.finish(id, verdict),
        };
        let blocks = u32::try_from(blocked.len()).unwrap_or(u32::MAX);
        let is_skipped =
            done.outcome == Outcome::Skipped && done.withheld.is_none() || done.is_interrupted();
        let culprit = done.blocked_by.unwrap_or(id);
        if done.outcome == Outcome::Ran {
            let _ = ask.send(Wish::Ticket(self.next_ticket));
            self.unsynced.push_back((self.next_ticket, id, done, time));
            self.next_ticket += 1;
        } else {
            self.finish(id, done, time, blocks);
        }
        for id in blocked {
            let done = if is_skipped { Done::skipped() } else { Done::blocked(culprit) };
            self.finish(id, done, Duration::ZERO, 0);
        }
    }

    fn tolerates(&self, id: StepId, done: &Done) -> bool {
        let is_the_steps = |cause| !matches!(cause, Cause::Machine | Cause::Interrupted);
        self.shop.plan.step(id).may_fail
            && done.failure.as_ref().is_some_and(|failure| is_the_steps(failure.cause))
    }

    fn acknowledge(&mut self, ticket: u64) {
        while self.unsynced.front().is_some_and(|(number, ..)| *number <= ticket) {
            let Some((_, id, done, time)) = self.unsynced.pop_front() else { return };
            self.finish(id, done, time, 0);
        }
    }

    /// Says that a step is at its end.
    fn finish(&mut self, id: StepId, mut done: Done, time: Duration, blocks: u32) {
        let step = self.shop.plan.step(id);
        let tolerated = done.outcome == Outcome::Failed && self.tolerates(id, &done);
        if let Some(failure) = &done.failure {
            self.machine_failed |= failure.cause == Cause::Machine;
            self.step_failed |= failure.cause != Cause::Machine && !tolerated;
        }
        self.step_failed |=
            done.outcome == Outcome::Blocked && done.blocked_by.is_some() && !self.machine_failed;
        let blocker = done.blocked_by.map(|id| self.shop.plan.step(id).name.clone());
        let finished = StepFinished {
            key: done.key,
            millis: millis(time),
            why: std::mem::take(&mut done.why),
            blocked_by: blocker.into_iter().collect(),
            failure: done.failure.as_deref().cloned(),
            attempts: (done.attempts > 1).then_some(done.attempts),
            verified: done.verified,
            flaky: done.attempts > 1 && done.outcome == Outcome::Ran,
            tolerated,
            peak_memory_bytes: done.peak_memory_bytes,
            log: done.log.map(|blob| blob.digest),
            log_bytes: done.log.map(|blob| blob.size),
            blocks,
            condition: done.withheld.clone(),
            outs: done.written.clone(),
            tests: done.tests.take(),
            ..StepFinished::new(
                step.name.clone(),
                step.stage.clone(),
                step.kind,
                step.place.clone(),
                done.outcome,
            )
        };
        self.counts.add(&finished);
        (self.emit)(Event::StepFinished(Box::new(finished)));
        self.steps.push((id, done));
    }

    fn look_for_stop(&mut self) {
        let is_interrupted = self.shop.stop.is_stopped();
        if is_interrupted {
            self.schedule.stop();
        }
        if !self.schedule.is_stopped() || self.has_said_stop {
            return;
        }
        self.has_said_stop = true;
        let reason = if is_interrupted { StopReason::Interrupted } else { StopReason::Failure };
        let running = self.schedule.running();
        (self.emit)(Event::RunStopping(RunStopping { reason, running }));
    }

    fn warn(&mut self, message: String) {
        (self.emit)(Event::Warning(Warning { message, help: None, step: None }));
    }

    fn exit(&self) -> u8 {
        match self.shop.stop.exit() {
            Some(exit) => exit,
            None if self.step_failed => 1,
            None if self.machine_failed => 4,
            None => 0,
        }
    }
}

/// Steps on their way to a thread.
#[derive(Default)]
struct Work {
    queue: Mutex<(VecDeque<StepId>, bool)>,
    changed: Condvar,
}

impl Work {
    fn put(&self, id: StepId) {
        locked(&self.queue).0.push_back(id);
        self.changed.notify_one();
    }

    fn close(&self) {
        locked(&self.queue).1 = true;
        self.changed.notify_all();
    }

    fn take(&self) -> Option<StepId> {
        let mut queue = locked(&self.queue);
        loop {
            if let Some(id) = queue.0.pop_front() {
                return Some(id);
            }
            if queue.1 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

/// The life of a thread that brings steps to their end. It waits for processes, so it is no thread
/// of the pool for CPU work.
fn labour(shop: &Shop, work: &Work, say: &SyncSender<Message>) {
    while let Some(id) = work.take() {
        let start = Instant::now();
        let done = settle(shop, id, say);
        if say.send(Message::Done(id, Box::new(done), start.elapsed())).is_err() {
            return;
        }
    }
}

/// What the run wants of the syncing thread.
enum Wish {
    /// The result of this number is to be synced, soon.
    Ticket(u64),
    /// All results so far are to be synced at once.
    Now,
}

/// The life of the thread that syncs results: many with one sync, so that small steps do not wait
/// for the disk.
fn keep_synced(stores: &Stores, asked: &Receiver<Wish>, say: &SyncSender<Message>) {
    let mut pause_until = Instant::now();
    while let Ok(wish) = asked.recv() {
        let Wish::Ticket(mut last) = wish else { continue };
        loop {
            let left = pause_until.saturating_duration_since(Instant::now());
            match asked.recv_timeout(left) {
                Ok(Wish::Ticket(ticket)) => last = ticket,
                Ok(Wish::Now) | Err(_) => break,
            }
        }
        let start = Instant::now();
        let result = stores.now().sync();
        if let Err(error) = result
            && !stores.have_moved()
        {
            let message = format!("results may not survive a power cut: {error}");
            let warning = Warning { message, help: None, step: None };
            let _ = say.send(Message::Said(Event::Warning(warning)));
        }
        pause_until = Instant::now() + SYNC_PAUSE.max(start.elapsed() * 3);
        if say.send(Message::Synced(last)).is_err() {
            return;
        }
    }
}
