//! `kiln plan`: the steps that would run, in an order that keeps their needs.

use kiln::plan::Plan;
use kiln::plan::artifact::Input;
use kiln::plan::graph::Graph;
use kiln::plan::step::Step;
use kiln::session::Depth;

use crate::cli::{PlanArgs, Ui};
use crate::exit::Exit;
use crate::ui;

pub(crate) fn run(arguments: &PlanArgs, form: Ui) -> Result<Exit, Exit> {
    let pipeline = super::load(&arguments.pipeline, Depth::Plan, form)?;
    let (plan, graph) = pipeline.plan.expect("a pipeline without errors has a plan");
    if arguments.json || form == Ui::Jsonl {
        ui::json(&plan);
        return Ok(Exit::Done);
    }
    let needed = needed(&plan, &graph, &arguments.stages)?;
    let steps: Vec<_> = graph.order().iter().copied().filter(|id| needed[id.index()]).collect();
    for id in &steps {
        ui::say(&line(&plan, plan.step(*id)));
    }
    let longest = graph.critical_path(|id| u64::from(needed[id.index()])).len();
    let waits = match steps.len() {
        0 => String::new(),
        _ => format!(", at most {longest} in a row"),
    };
    ui::say(&format!("{}{waits}", ui::count(steps.len(), "step")));
    Ok(Exit::Done)
}

/// Returns which steps the named stages need.
pub(crate) fn needed(plan: &Plan, graph: &Graph, stages: &[String]) -> Result<Vec<bool>, Exit> {
    let selected = super::select(plan, stages)?;
    Ok(graph.closure(&selected))
}

fn line(plan: &Plan, step: &Step) -> String {
    let files: usize = step
        .inputs
        .iter()
        .map(|input| match input {
            Input::Files { set, .. } => plan.file_set(*set).paths.len(),
            Input::Artifact { .. } => 0,
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
