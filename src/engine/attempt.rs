//! The attempt: one step from its inputs to its outs. Knows the cache, single flight, retries and
//! what a sandbox says; does not know the order of steps.

use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::cache::{self, Blob, Hit};
use crate::digest::Digest;
use crate::event::{
    Cause, Change, Event, Failure, Outcome, Reason, StepRetried, StepStarted, Tests, Warning, What,
    WrittenOut,
};
use crate::plan::Plan;
use crate::plan::artifact::OutKind;
use crate::plan::step::{Step, StepId};
use crate::sandbox::{self, Exit, Sandbox};
use crate::secret::Vault;
use crate::snapshot::{IngredientBook, Ingredients, Snapshot};

use super::captures::CaptureDirs;
use super::error::StepError;
use super::failed;
use super::failure;
use super::inputs::Pantry;
use super::kept::Keeping;
use super::locked;
use super::log::replay;
use super::outs::{self, Made};
use super::platform;
use super::pools;
use super::ready::{Laid, Ready, Unlaid};
use super::reports;
use super::revival;
use super::run::Message;
use super::secrets::{self, Secrets};
use super::spared::Spared;
use super::stop::Stop;
use super::trial::{Trial, Tried};
use super::verify::verify;
use super::why;

/// How often a step is made ready again because what it is made of changed or was lost.
pub(super) const MAX_ROUNDS: usize = 8;

/// What all attempts of one run share.
pub(crate) struct Shop<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) pantry: Pantry<'a>,
    pub(crate) sandbox: &'a dyn Sandbox,
    /// Where the sandbox puts what it captures.
    pub(crate) captures: CaptureDirs,
    pub(crate) stop: &'a Stop,
    /// Steps that run even if their result is known.
    pub(crate) rerun: Vec<bool>,
    /// Steps that run once more when they have passed, and have to make the same.
    pub(crate) verifies: Vec<bool>,
    /// Where the outs of a step go; `None` for those nobody asked for.
    pub(crate) out_folders: Vec<Option<PathBuf>>,
    /// Whether hits say again what they said.
    pub(crate) replays: bool,
    /// What the steps made that are done; of a step that is spared, if another needs it.
    pub(crate) made: Vec<Mutex<Option<Arc<Made>>>>,
    /// The steps that need no look.
    pub(crate) spared: &'a Spared,
    /// The secrets that steps may have.
    pub(crate) vault: &'a Vault,
    /// Held while a lost result is made again: by one thread at a time.
    pub(crate) revival: Mutex<()>,
    /// What earlier runs left.
    pub(crate) snapshot: &'a Snapshot,
    /// What went into keys when steps last ran; decoded when the first step has to run.
    pub(crate) book: OnceLock<IngredientBook>,
    /// Whether steps did not pass the last time.
    pub(crate) has_failed: Vec<bool>,
    /// Bytes of memory of the machine, for all steps together.
    pub(crate) memory_bytes: u64,
    /// Where notes on the project are, absolute.
    pub(crate) state: PathBuf,
    /// The id of the run.
    pub(crate) run: String,
}

/// How a step came out.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) key: Option<Digest>,
    pub(crate) made: Arc<Made>,
    pub(crate) failure: Option<Box<Failure>>,
    /// The step that did not make what this one needs.
    pub(crate) blocked_by: Option<StepId>,
    /// Why it was left out, of a step that this run may not run.
    pub(crate) withheld: Option<String>,
    pub(crate) why: Vec<Reason>,
    pub(crate) attempts: u32,
    /// Whether it made the same when it ran once more.
    pub(crate) verified: bool,
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) log: Option<Blob>,
    /// How long its commands took, in this run or an earlier one.
    pub(crate) run_millis: u64,
    pub(crate) written: Vec<WrittenOut>,
    /// What its reports say, of a step that ran and made such.
    pub(crate) tests: Option<Tests>,
    /// What went into the key; `None` where it was never known.
    pub(crate) ingredients: Option<Ingredients>,
}

impl Shop<'_> {
    /// Returns whether it is known what a step made.
    pub(super) fn has_looked_at(&self, id: StepId) -> bool {
        locked(&self.made[id.index()]).is_some()
    }

    /// Returns what a step made; nothing for one that is not done, or was not supplied.
    pub(super) fn made_by(&self, id: StepId) -> Arc<Made> {
        locked(&self.made[id.index()]).clone().unwrap_or_default()
    }
}

impl Done {
    fn new(outcome: Outcome, key: Option<Digest>) -> Self {
        Self {
            outcome,
            key,
            made: Arc::default(),
            failure: None,
            blocked_by: None,
            withheld: None,
            why: Vec::new(),
            attempts: 1,
            verified: false,
            peak_memory_bytes: None,
            log: None,
            run_millis: 0,
            written: Vec::new(),
            tests: None,
            ingredients: None,
        }
    }

    fn failed(failure: Failure, key: Option<Digest>) -> Self {
        Self { failure: Some(failure.into()), ..Self::new(Outcome::Failed, key) }
    }

    /// Returns the end of a step that never began, since the run stopped before.
    pub(crate) fn skipped() -> Self {
        Self::new(Outcome::Skipped, None)
    }

    /// Returns the end of a step that this run may not run.
    fn withheld(secret: &str) -> Self {
        let why = format!("the run is not trusted, and nothing gives the secret `{secret}`");
        Self { withheld: Some(why), ..Self::new(Outcome::Skipped, None) }
    }

    /// Returns the end of a step for another machine.
    fn elsewhere(platform: &str) -> Self {
        let ours = platform::ours();
        let why = format!("it runs on {platform}, and this machine is {ours}");
        Self { withheld: Some(why), ..Self::new(Outcome::Skipped, None) }
    }

    /// Returns the end of a step that never began, since that one failed.
    pub(crate) fn blocked(culprit: StepId) -> Self {
        Self { blocked_by: Some(culprit), ..Self::new(Outcome::Blocked, None) }
    }

    /// Returns whether it began, and was ended because the run was interrupted.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.cause == Cause::Interrupted)
    }

    /// Returns whether steps that wait for this one may start.
    pub(crate) fn has_passed(&self) -> bool {
        matches!(self.outcome, Outcome::Ran | Outcome::Cached)
    }
}

/// Brings a step to its end, whichever that is.
pub(crate) fn settle(shop: &Shop, id: StepId, say: &SyncSender<Message>) -> Done {
    let may_hit = !shop.rerun[id.index()];
    loop {
        let store = shop.pantry.store();
        let brought = bring(shop, id, may_hit, say)
            .and_then(|done| verify(shop, id, done, say))
            .and_then(|done| write(shop, id, done, say));
        let error = match brought {
            Ok(done) => return done,
            Err(StepError::NoOut { producer, .. }) => return Done::blocked(producer),
            Err(StepError::Interrupted) => return Done::skipped(),
            Err(error) => error,
        };
        let warn = |warning| send(say, Event::Warning(warning));
        if !shop.pantry.stores.leave(store, &error, warn) {
            return Done::failed(error.failure(), None);
        }
    }
}

fn bring(
    shop: &Shop,
    id: StepId,
    may_hit: bool,
    say: &SyncSender<Message>,
) -> Result<Done, StepError> {
    let step = shop.plan.step(id);
    if !shop.vault.is_trusted
        && let Some(secret) = secrets::unbound(shop.plan, step, shop.vault).next()
    {
        return Ok(Done::withheld(secret));
    }
    let store = shop.pantry.store();
    let mut lost = None;
    for _ in 0..MAX_ROUNDS {
        let ready = shop.pantry.ready(step, &|id| shop.made_by(id))?;
        if let Some(done) = served(shop, step, &ready, may_hit, say) {
            return Ok(done);
        }
        if let Some(platform) = platform::foreign(step) {
            return Ok(Done::elsewhere(platform));
        }
        let only_one = store.lock(ready.key, || shop.stop.is_stopped())?;
        let Some(only_one) = only_one else { return Err(StepError::Interrupted) };
        // Another kiln may have had the lock, and have made it.
        if let Some(done) = served(shop, step, &ready, may_hit, say) {
            return Ok(done);
        }
        let laid = shop.pantry.lay_out(&ready);
        match laid {
            Ok(laid) => return execute(shop, id, &ready, &laid, say),
            Err(Unlaid::Failed(error)) => return Err(error),
            Err(Unlaid::Stale) => {}
            Err(Unlaid::Lost(digest)) => {
                // A thread that waits for a lock must hold no other.
                drop(only_one);
                shop.pantry.take_again();
                revival::revive(shop, step, digest, say)?;
                lost = Some(digest);
            }
        }
    }
    Err(match lost {
        Some(digest) => StepError::Lost { digest },
        None => StepError::Restless { path: step.name.clone() },
    })
}

/// Returns the result of an earlier run, if there is one.
fn served(
    shop: &Shop,
    step: &Step,
    ready: &Ready,
    may_hit: bool,
    say: &SyncSender<Message>,
) -> Option<Done> {
    let Hit { record, outs } = shop.pantry.store().lookup(ready.key).filter(|_| may_hit)?;
    let made = outs::of_hit(step, outs)?;
    if let Some(log) = record.log.filter(|_| shop.replays) {
        // A log that is damaged is a miss like any other blob.
        let bytes = shop.pantry.store().read(log).ok()?;
        for event in replay(&step.name, &bytes) {
            send(say, event);
        }
    }
    Some(Done {
        made: made.into(),
        log: record.log,
        run_millis: record.elapsed_millis,
        peak_memory_bytes: record.peak_memory_bytes,
        ingredients: Some(ready.ingredients.clone()),
        ..Done::new(Outcome::Cached, Some(ready.key))
    })
}

/// Runs the commands, as often as the step may try.
pub(super) fn execute(
    shop: &Shop,
    id: StepId,
    ready: &Ready,
    laid: &Laid,
    say: &SyncSender<Message>,
) -> Result<Done, StepError> {
    let step = shop.plan.step(id);
    let why = why(shop, id, ready);
    let secrets = secrets::open(shop.plan, step, shop.vault)?;
    for short in secrets.iter().flat_map(|secrets| secrets.mask().short()) {
        send(say, Event::Warning(short_secret(step, short)));
    }
    let _places = pools::take(shop.pantry.store(), step, shop.stop, say)?;
    let mut attempt = 1;
    loop {
        if shop.stop.is_stopped() {
            return Err(StepError::Interrupted);
        }
        let mut begin = || {
            send(say, Event::StepStarted(started(shop, step, attempt, why.clone())));
        };
        let secrets = secrets.as_ref();
        let trial = Trial { shop, step, ready, laid, secrets, is_cold: false, say };
        let tried = trial.run(&mut begin)?;
        let is_over = attempt > step.retries && tried.outcome.exit == Exit::Code(0);
        if is_over && !shop.verifies[id.index()] {
            let _ = say.send(Message::Over(id));
        }
        let done = finish(shop, step, ready, tried, secrets, say)?;
        if done.has_passed() && shop.has_failed[id.index()] {
            failed::forget(&shop.state, &step.name);
        }
        match &done.failure {
            Some(failure) if attempt <= step.retries && failure.cause != Cause::Interrupted => {
                let (step, failure) = (step.name.clone(), failure.clone());
                send(say, Event::StepRetried(StepRetried { step, attempt, failure: *failure }));
                attempt += 1;
            }
            _ => return Ok(Done { why, attempts: attempt, ..done }),
        }
    }
}

/// Returns the event of a step that begins.
pub(super) fn started(shop: &Shop, step: &Step, attempt: u32, why: Vec<Reason>) -> StepStarted {
    let needs = revival::producers(step).into_iter();
    StepStarted {
        step: step.name.clone(),
        stage: step.stage.clone(),
        kind: step.kind,
        attempt,
        why,
        needs: needs.map(|id| shop.plan.step(id).name.clone()).collect(),
    }
}

/// Returns the warning of a secret that is too short to be covered in whatever form it is written.
fn short_secret(step: &Step, name: &str) -> Warning {
    let message =
        format!("the secret `{name}` is so short that it is covered only as it is, if at all");
    let help = "make it 8 bytes long or more".to_owned();
    Warning { message, help: Some(help), step: Some(step.name.clone()) }
}

/// Returns why a step has to run.
fn why(shop: &Shop, id: StepId, ready: &Ready) -> Vec<Reason> {
    if shop.rerun[id.index()] {
        let (what, change) = (What::Result, Change::Forced);
        return vec![Reason { what, name: String::new(), change }];
    }
    let name = &shop.plan.step(id).name;
    let sets = shop.pantry.files_of(ready);
    let book = shop.book.get_or_init(|| shop.snapshot.ingredients());
    why::reasons(name, &ready.ingredients, &sets, book, shop.has_failed[id.index()])
}

/// Files what a run of the commands left, and finds out whether the step passed.
fn finish(
    shop: &Shop,
    step: &Step,
    ready: &Ready,
    tried: Tried<'_>,
    secrets: Option<&Secrets>,
    say: &SyncSender<Message>,
) -> Result<Done, StepError> {
    let store = shop.pantry.store();
    let Tried { outcome, log, capture, keeping } = tried;
    let leak = match secrets {
        Some(secrets) => secrets.leak(step, &outcome.captured, capture.path())?,
        None => None,
    };
    let made = match &leak {
        None => outs::keep(store, step, ready.root(), &outcome.captured, capture.path())?,
        Some(_) => Made::new(),
    };
    let tests = reports::read(store, step, &made, secrets.map(Secrets::mask), say)?;
    let end = log.end();
    let log = log.file(store)?;
    let failure = match outcome.exit {
        Exit::Code(0) if leak.is_some() => leak,
        Exit::Code(0) => outs::missing(step, &made, &outcome.captured)
            .or_else(|| reports::gainsaid(step, tests.as_ref())),
        exit => {
            let current = ready.line.has_current.then(|| current(&outcome, step, capture.path()));
            Some(failure::of_exit(shop.plan, step, exit, current.flatten(), &outcome, &end))
        }
    };
    let run_millis = millis(outcome.elapsed);
    let done = Done {
        log,
        peak_memory_bytes: outcome.peak_memory,
        run_millis,
        tests,
        ingredients: Some(ready.ingredients.clone()),
        ..Done::new(Outcome::Ran, Some(ready.key))
    };
    if let Some(mut failure) = failure {
        if let Some(secrets) = secrets {
            failure.message = secrets.mask().cover(&failure.message);
        } else if failure.cause != Cause::Interrupted {
            failed::keep(shop, step, ready, &outcome, capture.path())?;
        }
        let kept = |out: &&crate::plan::artifact::Out| out.is_optional;
        let optional = step.outs.iter().filter(kept);
        let made = optional.filter_map(|out| made.get_key_value(&out.name));
        let made = made.map(|(name, node)| (name.clone(), node.clone())).collect::<Made>().into();
        return Ok(Done { outcome: Outcome::Failed, failure: Some(failure.into()), made, ..done });
    }
    let is_warm = keeping.as_ref().is_some_and(Keeping::is_warm);
    if let Some(Err(error)) = keeping.map(Keeping::save) {
        let message =
            format!("what `{}` keeps for its next run could not be stored: {error}", step.name);
        send(say, Event::Warning(Warning { message, help: None, step: Some(step.name.clone()) }));
    }
    let marks = Marks { warm: is_warm, had_secrets: secrets.is_some_and(Secrets::may_tell) };
    record(shop, ready, &made, log, marks, &done)?;
    Ok(Done { made: made.into(), ..done })
}

/// What keeps a result on this machine.
#[derive(Clone, Copy)]
struct Marks {
    warm: bool,
    had_secrets: bool,
}

fn record(
    shop: &Shop,
    ready: &Ready,
    made: &Made,
    log: Option<Blob>,
    marks: Marks,
    done: &Done,
) -> Result<(), StepError> {
    let record = cache::Record {
        key: ready.key,
        outs: outs::recorded(made),
        log,
        action: None,
        exit_code: 0,
        elapsed_millis: done.run_millis,
        peak_memory_bytes: done.peak_memory_bytes,
        level: shop.pantry.level.name().to_owned(),
        warm: marks.warm,
        had_secrets: marks.had_secrets,
    };
    Ok(shop.pantry.store().put_record(&record)?)
}

/// Returns which command was running, from 0, of a step with several.
fn current(outcome: &sandbox::Outcome, step: &Step, capture: &Path) -> Option<usize> {
    let sandbox::CapturedOut::File(file) = outcome.captured.get(step.outs.len())? else {
        return None;
    };
    let text = std::fs::read_to_string(file.path_in(capture)).ok()?;
    text.trim().parse().ok()
}

/// Writes the outs that were asked for into the project. A result that turns out to be damaged is
/// made again.
fn write(
    shop: &Shop,
    id: StepId,
    mut done: Done,
    say: &SyncSender<Message>,
) -> Result<Done, StepError> {
    let Some(folder) = &shop.out_folders[id.index()] else { return Ok(done) };
    let project = &shop.pantry.project;
    for round in 0..2 {
        done.written.clear();
        let mut is_lost = false;
        let outs = shop.plan.step(id).outs.iter().filter(|out| out.kind != OutKind::Image);
        for (name, node) in outs.filter_map(|out| done.made.get_key_value(&out.name)) {
            let path = folder.join(name);
            match shop.pantry.store().restore(node, &project.join(&path)) {
                Ok(()) => {
                    let path = path.to_string_lossy().into_owned();
                    done.written.push(WrittenOut { name: name.clone(), path });
                }
                Err(error) if error.is_miss() && round == 0 && done.has_passed() => is_lost = true,
                Err(error) => return Err(error.into()),
            }
        }
        if !is_lost {
            break;
        }
        done = bring(shop, id, false, say)?;
    }
    Ok(done)
}

/// Passes an event on. A listener that is gone does not matter: the run ends anyway.
pub(super) fn send(say: &SyncSender<Message>, event: Event) {
    let _ = say.send(Message::Said(event));
}

/// Returns whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the milliseconds since `start`.
pub(crate) fn millis_since(start: Instant) -> u64 {
    millis(start.elapsed())
}
