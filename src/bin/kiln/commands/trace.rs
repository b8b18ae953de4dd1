//! `kiln trace`: a run in the Trace Event Format of Chromium, for its viewer and for Perfetto.
//!
//! The format: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::time::Duration;

use kiln::event::Outcome;
use kiln::timeline::{TimedStep, Timeline};
use serde_json::{Value, json};

use super::past;
use crate::cli::TraceArgs;
use crate::exit::Exit;
use crate::ui;

pub(crate) fn run(arguments: &TraceArgs) -> Result<Exit, Exit> {
    let workspace = past::workspace(&arguments.pipeline)?;
    let timeline = past::named(&workspace, &arguments.run)?.timeline;
    ui::json(&trace(&timeline));
    Ok(Exit::Done)
}

/// Steps that ran stand in lanes, as few as were needed; those that were served are counted only.
fn trace(timeline: &Timeline) -> Value {
    let path = timeline.critical_path();
    let mut order: Vec<usize> = (0..timeline.steps.len()).collect();
    order.sort_by_key(|place| timeline.steps[*place].begin);
    let mut lanes: Vec<Duration> = Vec::new();
    let mut events = vec![json!({
        "ph": "M", "pid": 1, "name": "process_name",
        "args": { "name": format!("kiln run {}", timeline.run) },
    })];
    for place in order {
        let step = &timeline.steps[place];
        let free = lanes.iter().position(|end| *end <= step.begin);
        let lane = free.unwrap_or_else(|| {
            lanes.push(Duration::ZERO);
            lanes.len() - 1
        });
        lanes[lane] = step.end;
        events.push(event(timeline, step, lane, path.contains(&place)));
    }
    json!({ "displayTimeUnit": "ms", "traceEvents": events })
}

fn event(timeline: &Timeline, step: &TimedStep, lane: usize, is_critical: bool) -> Value {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let needs: Vec<_> = step.needs.iter().map(|need| &timeline.steps[*need].name).collect();
    let category = match (step.outcome, is_critical) {
        (Outcome::Failed, _) => "failed",
        (_, true) => "critical",
        (_, false) => "step",
    };
    json!({
        "ph": "X", "pid": 1, "tid": lane + 1, "name": step.name, "cat": category,
        "ts": micros(step.begin), "dur": micros(step.time()),
        "args": { "outcome": step.outcome, "needs": needs, "critical": is_critical },
    })
}
