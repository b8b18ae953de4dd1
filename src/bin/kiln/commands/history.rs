//! `kiln history`: which runs there were; of one, its critical path and what would make it shorter.

use std::time::Duration;

use kiln::event::Counts;
use kiln::session::Workspace;
use kiln::timeline::Timeline;
use serde_json::{Value, json};

use super::past;
use crate::cli::{HistoryArgs, Ui};
use crate::exit::Exit;
use crate::ui;
use crate::ui::amount::duration;

/// How many ways to make a run shorter are told.
const MOST_GAINS: usize = 3;

/// The least gain that is worth telling, as a part of the run's time.
const LEAST_GAIN: u32 = 50;

pub(crate) fn run(arguments: &HistoryArgs, form: Ui) -> Result<Exit, Exit> {
    let workspace = past::workspace(&arguments.pipeline)?;
    match &arguments.run {
        None => list(&workspace, form)?,
        Some(run) => {
            let timeline = past::named(&workspace, run)?.timeline;
            match form {
                Ui::Jsonl => ui::json(&details(&timeline)),
                _ => tell(&timeline),
            }
        }
    }
    Ok(Exit::Done)
}

fn list(workspace: &Workspace, form: Ui) -> Result<(), Exit> {
    let runs = workspace.past_runs();
    if runs.is_empty() && form != Ui::Jsonl {
        ui::tell("note: no run of this pipeline is known; begin with: kiln run");
    }
    for run in runs {
        let timeline = past::timeline(workspace, &run)?;
        match form {
            Ui::Jsonl => ui::json(&summary(&timeline)),
            _ => ui::say(&line(&timeline)),
        }
    }
    Ok(())
}

/// Returns a run in one line.
fn line(timeline: &Timeline) -> String {
    let stages = match timeline.stages.as_slice() {
        [] => String::new(),
        stages => format!("  {}", stages.join(" ")),
    };
    format!(
        "{:24} {}  {:>11}  {:14} {}{stages}",
        timeline.run,
        past::moment(&timeline.begin),
        duration(millis(timeline.took)),
        end(timeline),
        counts(&timeline.counts),
    )
}

fn end(timeline: &Timeline) -> String {
    match timeline.exit {
        Some(0) => "done".to_owned(),
        Some(exit) => format!("exit code {exit}"),
        None => "not finished".to_owned(),
    }
}

fn counts(counts: &Counts) -> String {
    let parts = [
        (counts.ran, "ran"),
        (counts.cached, "cached"),
        (counts.failed, "failed"),
        (counts.blocked, "blocked"),
        (counts.skipped, "skipped"),
    ];
    let told = parts.iter().filter(|(number, _)| *number > 0);
    let told: Vec<_> = told.map(|(number, what)| format!("{number} {what}")).collect();
    if told.is_empty() { "no steps".to_owned() } else { told.join(", ") }
}

fn tell(timeline: &Timeline) {
    ui::say(&format!(
        "run {} of {}: {}, {}, {} at a time",
        timeline.run,
        past::moment(&timeline.begin),
        end(timeline),
        duration(millis(timeline.took)),
        timeline.jobs,
    ));
    let work = duration(millis(timeline.work()));
    ui::say(&format!("{}; the steps took {work} together", counts(&timeline.counts)));
    let path = timeline.critical_path();
    if path.is_empty() {
        return;
    }
    let chain: Duration = path.iter().map(|place| timeline.steps[*place].time()).sum();
    let chain = duration(millis(chain));
    ui::say(&format!(
        "the longest chain of steps, each of which waits for the one before, {chain}:"
    ));
    let width = path.iter().map(|place| timeline.steps[*place].name.chars().count()).max();
    let mut before = Duration::ZERO;
    for place in &path {
        let step = &timeline.steps[*place];
        let waited = step.begin.saturating_sub(before);
        let waited = match millis(waited) {
            // Less is the time that it takes to find out what a step needs.
            100.. if before > Duration::ZERO => {
                format!("  after {} in which others ran", duration(millis(waited)))
            }
            _ => String::new(),
        };
        let (name, time) = (&step.name, duration(millis(step.time())));
        ui::say(&format!("  {name:width$}  {time:>9}{waited}", width = width.unwrap_or(0)));
        before = step.end;
    }
    let gains = gains(timeline);
    if !gains.is_empty() {
        ui::say("what would make it shorter:");
        for (how, gain) in gains {
            ui::say(&format!("  {how}: by {}", duration(millis(gain))));
        }
    }
}

/// Returns what would make a run shorter, and by how much, the most first.
fn gains(timeline: &Timeline) -> Vec<(String, Duration)> {
    let more = timeline.jobs.saturating_mul(2);
    let jobs = (format!("{more} steps at a time"), timeline.gain_of_jobs(more));
    let path = timeline.critical_path();
    let mut longest: Vec<_> =
        path.into_iter().map(|place| (timeline.steps[place].time(), place)).collect();
    longest.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(*time));
    let halves = longest.into_iter().take(MOST_GAINS).map(|(_, place)| {
        let how = format!("`{}` in half the time", timeline.steps[place].name);
        (how, timeline.gain_of_half(place))
    });
    let mut gains: Vec<_> = halves.chain([jobs]).collect();
    gains.retain(|(_, gain)| *gain * LEAST_GAIN >= timeline.took && !gain.is_zero());
    gains.sort_by_key(|(_, gain)| std::cmp::Reverse(*gain));
    gains
}

fn summary(timeline: &Timeline) -> Value {
    json!({
        "v": 1, "run": timeline.run, "begin": timeline.begin, "millis": millis(timeline.took),
        "exit": timeline.exit, "stages": timeline.stages, "jobs": timeline.jobs,
        "counts": timeline.counts,
    })
}

fn details(timeline: &Timeline) -> Value {
    let mut details = summary(timeline);
    let step = |place: &usize| {
        let step = &timeline.steps[*place];
        let (begin, time) = (millis(step.begin), millis(step.time()));
        json!({ "step": step.name, "begin_millis": begin, "millis": time })
    };
    let path: Vec<_> = timeline.critical_path().iter().map(step).collect();
    let gain =
        |(how, gain): (String, Duration)| json!({ "change": how, "gain_millis": millis(gain) });
    let gains: Vec<_> = gains(timeline).into_iter().map(gain).collect();
    details["work_millis"] = millis(timeline.work()).into();
    details["critical_path"] = path.into();
    details["gains"] = gains.into();
    details
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
