//! `kiln plan`: the steps that would run, in an order that keeps their needs.

use std::sync::Arc;

use indexmap::IndexMap;
use kiln::event::{Change, What};
use kiln::plan::Plan;
use kiln::plan::artifact::Input;
use kiln::plan::graph::Graph;
use kiln::plan::step::{LateStage, Step, StepId};
use kiln::session::{self, Depth, Facts, Forecast, Workspace};

use crate::cli::{PlanArgs, Ui};
use crate::exit::Exit;
use crate::ui;
use crate::ui::{clean, reason};

pub(crate) fn run(arguments: &PlanArgs, form: Ui) -> Result<Exit, Exit> {
    let pipeline = super::load(&arguments.pipeline, Depth::Plan, form)?;
    let (plan, graph) = pipeline.plan.expect("a pipeline without errors has a plan");
    if arguments.json || form == Ui::Jsonl {
        ui::json(&plan);
        return Ok(Exit::Done);
    }
    let selected = super::select(&plan, &arguments.stages)?;
    let needed = graph.closure(&selected.steps);
    let planned = (plan, graph);
    let steps = forecast(arguments, &planned, &selected.steps)?;
    let (plan, graph) = &planned;
    for (id, forecast) in &steps {
        ui::say(&format!("{:8}{}", word(forecast), line(plan, plan.step(*id))));
        // That nothing is known of a step goes without saying.
        if let Forecast::Runs(reasons) = forecast
            && reasons.iter().any(|reason| (reason.what, reason.change) != NEW)
        {
            ui::say(&format!("{:14}{}", "", clean::message(&reason::line(reasons))));
        }
    }
    for skipped in &selected.skipped {
        ui::say(&format!("{:8}{:5} {}", "skip", skipped.kind.keyword(), skipped.name));
        ui::say(&format!("{:14}{}", "", clean::message(&skipped.why)));
    }
    let late = plan.late_stages.iter().filter(|late| selected.late.contains(&late.stage));
    for late in late.clone() {
        ui::say(&format!("{:8}{:5} {}", "late", late.kind.keyword(), late.stage));
        ui::say(&format!("{:14}{}", "", clean::message(&awaited(plan, late))));
    }
    let longest = graph.critical_path(|id| u64::from(needed[id.index()])).len();
    let waits = match steps.len() {
        0 => String::new(),
        _ => format!(", at most {longest} in a row"),
    };
    let skipped = match selected.skipped.len() {
        0 => String::new(),
        skipped => format!("; {skipped} skipped"),
    };
    let late = match late.count() {
        0 => String::new(),
        late => format!("; {} late", ui::count(late, "stage")),
    };
    ui::say(&format!(
        "{}{waits}{}{skipped}{late}",
        ui::count(steps.len(), "step"),
        summary(&steps)
    ));
    Ok(Exit::Done)
}

fn forecast(
    arguments: &PlanArgs,
    planned: &(Arc<Plan>, Graph),
    wanted: &[StepId],
) -> Result<Vec<(StepId, Forecast)>, Exit> {
    let project = super::project(arguments.pipeline.file.as_deref())?;
    let workspace = Workspace::look(&project, &IndexMap::new(), Facts::default());
    let store = super::known_store(&arguments.cache)?;
    let environment = super::environment();
    session::forecast(&workspace, planned, wanted, store.as_deref(), environment).map_err(|error| {
        ui::complain(&error.to_string(), Some("name another store: --cache DIR"));
        Exit::Machine
    })
}

/// What the steps of a late stage are known by.
fn awaited(plan: &Plan, late: &LateStage) -> String {
    let outs = late
        .awaits
        .iter()
        .map(|artifact| format!("`{}` has made `{}`", plan.step(artifact.step).name, artifact.out));
    let outs: Vec<_> = outs.collect();
    let when = match &outs[..] {
        [] => "another late stage is".to_owned(),
        outs => outs.join(" and "),
    };
    let most = late.max_rows.map(|max| format!("; at most {max} rows")).unwrap_or_default();
    format!("known when {when}{most}")
}

/// That a step never ran.
const NEW: (What, Change) = (What::Result, Change::Added);

fn word(forecast: &Forecast) -> &'static str {
    match forecast {
        Forecast::Cached => "cached",
        Forecast::Runs(_) => "run",
        Forecast::Open => "open",
    }
}

fn summary(steps: &[(StepId, Forecast)]) -> String {
    let count = |is_meant: fn(&Forecast) -> bool| {
        steps.iter().filter(|(_, forecast)| is_meant(forecast)).count()
    };
    let parts = [
        (count(|found| matches!(found, Forecast::Cached)), "in the cache"),
        (count(|found| matches!(found, Forecast::Runs(_))), "would run"),
        (count(|found| matches!(found, Forecast::Open)), "open"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

fn line(plan: &Plan, step: &Step) -> String {
    let files: usize = step
        .inputs
        .iter()
        .map(|input| match input {
            Input::Files { set, .. } => plan.file_set(*set).paths.len(),
            Input::Artifact { .. } | Input::History { .. } => 0,
        })
        .sum();
    let mut from: Vec<_> = step.needs().map(|need| plan.step(need).name.as_str()).collect();
    from.sort_unstable();
    from.dedup();
    let mut parts = Vec::new();
    if files > 0 {
        parts.push(ui::count(files, "file"));
    }
    parts.extend(match from.len() {
        0 => None,
        1..=3 => Some(format!("after {}", from.join(", "))),
        more => Some(format!("after {} and {} more", from[..2].join(", "), more - 2)),
    });
    let outs: Vec<_> = step.outs.iter().map(|out| out.name.as_str()).collect();
    if !outs.is_empty() {
        parts.push(format!("makes {}", outs.join(", ")));
    }
    let more = if parts.is_empty() { String::new() } else { format!("  ({})", parts.join("; ")) };
    format!("{:5} {}{more}", step.kind.keyword(), step.name)
}
