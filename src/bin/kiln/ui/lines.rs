//! The lines of a run: what is said about a finished step, a warning, the end. Knows words and
//! order; does not know when they are shown.

use kiln::event::{
    Outcome, RunFinished, RunStopping, StepFinished, StepRetried, StopReason, Tests, Warning,
};
use kiln::plan::step::StepKind;

use super::amount::{count, duration};
use super::clean;
use super::scene::Scene;
use super::screen::{Screen, Tone};
use super::story::{Ending, Story, is_interrupted};

/// The most outs that are named at the end.
const MOST_OUTS: usize = 6;

/// Returns the line of a step at its end; `None` for those that a failure or the end of the run kept
/// from beginning, which counts them.
pub(crate) fn finished(scene: &Scene, step: &StepFinished) -> Option<String> {
    let (word, tone) = word(step);
    let is_told_by_another = step.condition.is_none();
    if matches!(step.outcome, Outcome::Blocked | Outcome::Skipped) && is_told_by_another {
        return None;
    }
    let time = match step.outcome {
        Outcome::Cached | Outcome::Skipped => String::new(),
        _ => duration(step.millis),
    };
    let line = line(&scene.screen, tone, word, &time, step.kind, &step.step);
    Some(format!("{line}{}", note(scene, step)))
}

/// Returns how a step ended, in a word.
pub(crate) fn word(step: &StepFinished) -> (&'static str, Tone) {
    match step.outcome {
        Outcome::Ran if step.flaky => ("flaky", Tone::Odd),
        Outcome::Ran => ("ran", Tone::Good),
        Outcome::Cached => ("cached", Tone::Faint),
        Outcome::Failed if is_interrupted(step) => ("stopped", Tone::Odd),
        Outcome::Failed if step.tolerated => ("failed", Tone::Odd),
        Outcome::Failed => ("failed", Tone::Bad),
        Outcome::Blocked => ("blocked", Tone::Odd),
        Outcome::Skipped if step.condition.is_some() => ("skipped", Tone::Faint),
        Outcome::Skipped => ("not run", Tone::Odd),
    }
}

/// Returns the line of a step: how it stands, for how long, what it is for and its name.
pub(crate) fn line(
    screen: &Screen,
    tone: Tone,
    word: &str,
    time: &str,
    kind: StepKind,
    name: &str,
) -> String {
    let word = screen.paint(tone, &format!("{word:7}"));
    format!("{word} {time:>9}  {:5} {name}", kind.keyword())
}

fn note(scene: &Scene, step: &StepFinished) -> String {
    let tries = step.attempts.unwrap_or(1);
    let how = step.failure.as_ref().map(|failure| clean::message(&failure.message));
    let how = how.unwrap_or_default();
    match step.outcome {
        Outcome::Ran if step.flaky => format!("  passed at try {tries} only"),
        Outcome::Failed if is_interrupted(step) => String::new(),
        Outcome::Failed if step.tolerated => {
            let log = scene.log_command(&step.step);
            let log = if step.log.is_some() { format!("; {log}") } else { String::new() };
            format!("  {how}, which `may_fail` tolerates{log}")
        }
        Outcome::Failed => format!("  {how}"),
        Outcome::Skipped => {
            let why = step.condition.as_deref().map(clean::message);
            why.map(|why| format!("  {why}")).unwrap_or_default()
        }
        Outcome::Cached if step.verified => "  made the same once more".to_owned(),
        Outcome::Ran => {
            let same = if step.verified { "  made the same once more" } else { "" };
            let tests = step.tests.as_ref().map(|tests| format!("  {}", tests_told(tests)));
            tests.unwrap_or_default() + same
        }
        _ => String::new(),
    }
}

/// Returns what reports say of tests, in numbers: `2 of 40 tests failed, 1 skipped`.
pub(crate) fn tests_told(tests: &Tests) -> String {
    let all = count(tests.total as usize, "test");
    let told = match tests.failed {
        0 => all,
        failed => format!("{failed} of {all} failed"),
    };
    match tests.skipped {
        0 => told,
        skipped => format!("{told}, {skipped} skipped"),
    }
}

/// Returns the line of a step that is tried again.
pub(crate) fn retried(scene: &Scene, step: &StepRetried) -> String {
    let word = scene.screen.paint(Tone::Odd, &format!("{:17}", "retry"));
    let how = clean::message(&step.failure.message);
    format!("{word}  {}, since at try {} {how}", step.step, step.attempt)
}

/// Returns a warning with its help.
pub(crate) fn warning(scene: &Scene, warning: &Warning) -> String {
    let mut text = scene.screen.paint(Tone::Odd, "warning: ");
    text.push_str(&clean::line(&warning.message, &scene.screen));
    if let Some(help) = &warning.help {
        text.push_str(&format!("\n  help: {help}"));
    }
    text
}

/// Returns how the run ended: its failures once more, in short, then the counts and the time.
pub(crate) fn end(scene: &Scene, story: &Story, run: &RunFinished) -> String {
    let mut lines = Vec::new();
    lines.extend(story.failures.iter().map(|step| failure(scene, step)));
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    let (word, tone) = match Ending::of(run) {
        Ending::Done => ("done", Tone::Good),
        Ending::Failed => ("failed", Tone::Bad),
        Ending::Machine => ("failed on this machine", Tone::Bad),
        Ending::Interrupted => ("interrupted", Tone::Odd),
    };
    let word = scene.screen.paint(tone, &format!("{word}:"));
    lines.push(format!("{word} {} in {}", counts(story, run), duration(run.millis)));
    lines.extend(outs(scene, story));
    lines.join("\n")
}

/// A failure once more.
fn failure(scene: &Scene, step: &StepFinished) -> String {
    let line = line(&scene.screen, Tone::Bad, "failed", "", step.kind, &step.step);
    let place = format!("{}:{}", scene.path(&step.place.file), step.place.line);
    format!("{line}{}  {place}", note(scene, step))
}

fn counts(story: &Story, run: &RunFinished) -> String {
    let counts = &run.counts;
    let parts = [
        (counts.ran - counts.flaky, "ran"),
        (counts.flaky, "flaky"),
        (counts.cached, "cached"),
        (counts.failed.saturating_sub(counts.tolerated + story.interrupted), "failed"),
        (story.interrupted, "stopped"),
        (counts.tolerated, "failed and tolerated"),
        (counts.blocked, "blocked"),
        (counts.unmet, "skipped"),
        (counts.skipped - counts.unmet, "not started"),
        (story.verified, "verified"),
    ];
    let all = counts.ran + counts.cached + counts.failed + counts.blocked + counts.skipped;
    let told: Vec<_> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
    format!("{}{told}", count(all as usize, "step"))
}

/// Where the outs are: each of a few, the folder of many.
fn outs(scene: &Scene, story: &Story) -> Vec<String> {
    let paths: Vec<_> = story.outs.iter().map(|path| scene.path(path)).collect();
    if paths.len() <= MOST_OUTS {
        return paths.iter().map(|path| format!("  {path}")).collect();
    }
    let folder = common_folder(&paths);
    vec![format!("  {} in {folder}", count(paths.len(), "out"))]
}

/// The folder that holds all of `paths`, as far as their whole components agree.
fn common_folder(paths: &[String]) -> String {
    let mut folder: Vec<&str> = paths[0].split('/').collect();
    for path in paths {
        let agree = folder.iter().zip(path.split('/')).take_while(|(one, other)| **one == *other);
        folder.truncate(agree.count());
    }
    format!("{}/", folder.join("/"))
}

/// Returns what is said when nothing more starts; `None` where the rest says it.
pub(crate) fn stopping(stopping: &RunStopping) -> Option<String> {
    let running = count(stopping.running as usize, "running step");
    match (stopping.reason, stopping.running) {
        (StopReason::Failure, 0) => None,
        (StopReason::Failure, _) => Some(format!(
            "stopping after a failure: {running} may finish (--keep-going starts the others, too)"
        )),
        (StopReason::Interrupted, 0) => Some("interrupted".to_owned()),
        (StopReason::Interrupted, _) => {
            Some(format!("interrupted: {running} asked to end; once more kills at once"))
        }
        (StopReason::Killed, _) => Some(format!("interrupted again: {running} killed")),
    }
}
