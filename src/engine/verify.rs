//! Verification: a step that passed runs once more, with nothing kept, and has to make the same. Knows
//! where two runs first differ; does not know what for the results are used.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};

use crate::cache::{CacheError, Node, Tree};
use crate::digest::Hasher;
use crate::event::{Cause, Change, Event, Failure, Outcome, Reason, What};
use crate::plan::artifact::OutKind;
use crate::plan::step::{Step, StepId};
use crate::sandbox::Exit;

use super::attempt::{Done, MAX_ROUNDS, Shop, send, started};
use super::error::StepError;
use super::outs::Made;
use super::ready::{Laid, Ready, Unlaid};
use super::run::Message;
use super::trial::{Trial, Tried};
use super::{failure, outs, platform, pools, revival, secrets};

/// The folder among the notes on the project for what two runs made, if that differs.
const FOLDER: &str = "verify";

/// How much of a file is shown before and after the first byte that differs.
const SHOWN: usize = 24;

/// Returns whether a run that verifies so many of 100 steps verifies that one. Which ones are chosen
/// goes by the run, so that in time all are.
pub(crate) fn is_chosen(share: u8, run: &str, step: &str) -> bool {
    let mut hasher = Hasher::tagged("kiln verify 1");
    hasher.field(run.as_bytes());
    hasher.field(step.as_bytes());
    let digest = hasher.finish();
    let [first, second, ..] = *digest.as_bytes();
    u16::from_le_bytes([first, second]) % 100 < share.into()
}

/// Runs a step that passed once more, if that is asked for; returns how it ended then.
pub(super) fn verify(
    shop: &Shop,
    id: StepId,
    done: Done,
    say: &SyncSender<Message>,
) -> Result<Done, StepError> {
    let step = shop.plan.step(id);
    let is_elsewhere = platform::foreign(step).is_some();
    if !shop.verifies[id.index()] || !done.has_passed() || is_elsewhere {
        return Ok(done);
    }
    let Some((ready, laid)) = lay_out(shop, step, &done, say)? else { return Ok(done) };
    if done.outcome == Outcome::Cached {
        let why = Reason { what: What::Result, name: String::new(), change: Change::Verified };
        send(say, Event::StepStarted(started(shop, step, 1, vec![why])));
    }
    let again = match run_again(shop, step, &ready, &laid, say) {
        Ok(again) => again,
        Err(StepError::Interrupted) => return Ok(done),
        Err(error) => return Err(error),
    };
    let made = match again {
        Again::Made(made) => made,
        Again::Failed(failure) => {
            return Ok(unlike_before(done, failure));
        }
    };
    match difference(shop, step, &done.made, &made)? {
        None => {
            forget_warmth(shop, &done)?;
            let _ = fs::remove_dir_all(shop.state.join(folder(step)));
            Ok(Done { verified: true, ..done })
        }
        Some(failure) => Ok(unlike_before(done, failure.into())),
    }
}

/// Returns the end of a step that did something else the second time: nobody is to use what it made.
fn unlike_before(done: Done, failure: Box<Failure>) -> Done {
    Done { outcome: Outcome::Failed, failure: Some(failure), made: Arc::default(), ..done }
}

/// Makes the step ready once more; `None` if what it is made of has changed in the meantime.
fn lay_out(
    shop: &Shop,
    step: &Step,
    done: &Done,
    say: &SyncSender<Message>,
) -> Result<Option<(Ready, Laid)>, StepError> {
    for _ in 0..MAX_ROUNDS {
        let ready = shop.pantry.ready(step, &|id| shop.made_by(id))?;
        if Some(ready.key) != done.key {
            return Ok(None);
        }
        match shop.pantry.lay_out(&ready) {
            Ok(laid) => return Ok(Some((ready, laid))),
            Err(Unlaid::Failed(error)) => return Err(error),
            Err(Unlaid::Stale) => {}
            Err(Unlaid::Lost(digest)) => {
                shop.pantry.take_again();
                revival::revive(shop, step, digest, say)?;
            }
        }
    }
    Ok(None)
}

/// What came of the second run.
enum Again {
    Made(Made),
    Failed(Box<Failure>),
}

fn run_again(
    shop: &Shop,
    step: &Step,
    ready: &Ready,
    laid: &Laid,
    say: &SyncSender<Message>,
) -> Result<Again, StepError> {
    let store = shop.pantry.store();
    let _places = pools::take(store, step, shop.stop, say)?;
    let secrets = secrets::open(shop.plan, step, shop.vault)?;
    // What it says was heard the first time.
    let (nobody, _) = mpsc::sync_channel(1);
    let secrets = secrets.as_ref();
    let trial = Trial { shop, step, ready, laid, secrets, is_cold: true, say: &nobody };
    let Tried { outcome, log, capture, .. } = trial.run(&mut || {})?;
    if let Some(secrets) = secrets
        && let Some(leak) = secrets.leak(step, &outcome.captured, capture.path())?
    {
        return Ok(Again::Failed(leak.into()));
    }
    match outcome.exit {
        Exit::Cancelled => Err(StepError::Interrupted),
        Exit::Code(0) => {
            let captured = &outcome.captured;
            let made = outs::keep(store, step, ready.root(), captured, capture.path())?;
            Ok(Again::Made(made))
        }
        exit => {
            let mut failure = failure::of_exit(shop.plan, step, exit, None, &outcome, &log.end());
            failure.message = format!("it passed, and when it ran once more, {}", failure.message);
            if let Some(secrets) = secrets {
                failure.message = secrets.mask().cover(&failure.message);
            }
            Ok(Again::Failed(failure.into()))
        }
    }
}

/// Returns where what two runs made is put, below the notes on the project.
fn folder(step: &Step) -> PathBuf {
    Path::new(FOLDER).join(&step.stage).join(&step.row_dir)
}

/// A result that a run with nothing kept has made, too, is as good as one of its own.
fn forget_warmth(shop: &Shop, done: &Done) -> Result<(), StepError> {
    let store = shop.pantry.store();
    let hit = done.key.and_then(|key| store.lookup(key)).filter(|hit| hit.record.warm);
    if let Some(mut hit) = hit {
        hit.record.warm = false;
        store.put_record(&hit.record)?;
    }
    Ok(())
}

/// Returns the failure of a step that made something else the second time. What its reports say of
/// times is not looked at.
fn difference(
    shop: &Shop,
    step: &Step,
    first: &Made,
    second: &Made,
) -> Result<Option<Failure>, StepError> {
    let compared = step.outs.iter().filter(|out| out.kind != OutKind::Junit);
    let Some(out) =
        compared.map(|out| &out.name).find(|name| first.get(*name) != second.get(*name))
    else {
        return Ok(None);
    };
    let folder = folder(step);
    let state = shop.state.file_name().map(Path::new).unwrap_or(&shop.state);
    let shown = state.join(&folder).display().to_string().trim_end_matches('/').to_owned();
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| CacheError::Io { doing, path, source }
    };
    let whole = shop.state.join(&folder);
    match fs::remove_dir_all(&whole) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("clear", &whole)(error).into());
        }
        _ => {}
    }
    let [one, other] = [("first", first), ("second", second)].map(|(name, made)| {
        let place = whole.join(name).join(out);
        let restored = made.get(out).map(|node| shop.pantry.store().restore(node, &place));
        restored.transpose().map(|_| place)
    });
    let (one, other) = (one?, other?);
    let what = match (first.get(out), second.get(out)) {
        (Some(a), Some(b)) => unlike(a, b, (&one, &other)).map_err(failed("compare", &one))?,
        (Some(_), None) => "there is none then".to_owned(),
        _ => "there was none before".to_owned(),
    };
    let message = format!("its out `{out}` is another one when it runs once more: {what}");
    let kept = match step.keep.first() {
        None => String::new(),
        Some(kept) => format!("what it keeps in `{kept}` may change what it makes; "),
    };
    let help = format!(
        "{kept}look for the time, random numbers, the order of a folder's files, or threads in what \
         makes it; both are there: diff -r {shown}/first {shown}/second"
    );
    Ok(Some(Failure { help: Some(help), ..Failure::new(Cause::Difference, message) }))
}

/// Says in what two nodes first differ, which lie at these places.
fn unlike(first: &Node, second: &Node, places: (&Path, &Path)) -> io::Result<String> {
    match (first, second) {
        (Node::Directory(first), Node::Directory(second)) => {
            let (path, a, b) = first_unlike(first, second, PathBuf::new());
            let name = format!("`{}`", path.display());
            match (a, b) {
                (Some(a), Some(b)) => {
                    let places = (&*places.0.join(&path), &*places.1.join(&path));
                    unlike(a, b, places).map(|what| format!("{name}: {what}"))
                }
                (Some(_), None) => Ok(format!("{name} is missing then")),
                _ => Ok(format!("{name} was not there before")),
            }
        }
        (Node::File { blob: a, executable: x }, Node::File { blob: b, executable: y }) => {
            if a == b && x != y {
                let may = |is| if is { "executable" } else { "not executable" };
                return Ok(format!("first {}, then {}", may(*x), may(*y)));
            }
            bytes(places.0, places.1)
        }
        (Node::Link { target: a }, Node::Link { target: b }) => {
            Ok(format!("a link to `{}`, then to `{}`", a.escape_ascii(), b.escape_ascii()))
        }
        (a, b) => Ok(format!("{}, then {}", kind(a), kind(b))),
    }
}

fn kind(node: &Node) -> &'static str {
    match node {
        Node::File { .. } => "a file",
        Node::Link { .. } => "a link",
        Node::Directory(_) => "a directory",
    }
}

/// Returns the first path by name at which two trees differ, and what is there.
fn first_unlike<'a>(
    first: &'a Tree,
    second: &'a Tree,
    path: PathBuf,
) -> (PathBuf, Option<&'a Node>, Option<&'a Node>) {
    let (mut one, mut other) = (first.nodes().peekable(), second.nodes().peekable());
    loop {
        let (a, b) = (one.peek().copied(), other.peek().copied());
        let name = match (a, b) {
            (Some((a, _)), Some((b, _))) => a.min(b),
            (Some((name, _)), None) | (None, Some((name, _))) => name,
            (None, None) => return (path, None, None),
        };
        let at = |found: Option<(&[u8], &'a Node)>| {
            found.filter(|(found, _)| *found == name).map(|(_, node)| node)
        };
        let (a, b) = (at(a), at(b));
        if a != b {
            let path = path.join(std::ffi::OsStr::from_bytes(name));
            return match (a, b) {
                (Some(Node::Directory(a)), Some(Node::Directory(b))) => first_unlike(a, b, path),
                _ => (path, a, b),
            };
        }
        one.next();
        other.next();
    }
}

/// Says at which byte two files differ, from 1 as `cmp` counts, and what stands there.
fn bytes(first: &Path, second: &Path) -> io::Result<String> {
    let [mut one, mut other] =
        [BufReader::new(File::open(first)?), BufReader::new(File::open(second)?)];
    let (mut before, mut offset) = (Vec::new(), 0_u64);
    loop {
        let (a, b) = (next(&mut one)?, next(&mut other)?);
        if a != b {
            let lead = std::mem::take(&mut before);
            let shown = |byte: Option<u8>, rest: &mut BufReader<File>| {
                let Some(byte) = byte else { return Ok("the end".to_owned()) };
                let mut after = Vec::new();
                rest.take(SHOWN as u64).read_to_end(&mut after)?;
                let line: Vec<u8> =
                    std::iter::once(byte).chain(after).take_while(|b| *b != b'\n').collect();
                io::Result::Ok(format!("`{}{}`", lead.escape_ascii(), line.escape_ascii()))
            };
            let (a, b) = (shown(a, &mut one)?, shown(b, &mut other)?);
            return Ok(format!("it differs at byte {}: {a}, then {b}", offset + 1));
        }
        match a {
            None => return Ok("it is the same".to_owned()),
            Some(b'\n') => before.clear(),
            Some(byte) => {
                before.push(byte);
                if before.len() > SHOWN {
                    before.remove(0);
                }
            }
        }
        offset += 1;
    }
}

fn next(from: &mut BufReader<File>) -> io::Result<Option<u8>> {
    let mut byte = [0];
    Ok((from.read(&mut byte)? == 1).then_some(byte[0]))
}
