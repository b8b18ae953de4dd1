//! `kiln graph`: which step waits for which, as text, for Graphviz or for programs.

use kiln::plan::Plan;
use kiln::plan::graph::Graph;
use kiln::session::Depth;
use serde_json::json;

use crate::cli::{GraphArgs, GraphFormat, Ui};
use crate::exit::Exit;
use crate::ui;

pub(crate) fn run(arguments: &GraphArgs, form: Ui) -> Result<Exit, Exit> {
    let pipeline = super::load(&arguments.pipeline, Depth::Plan, form)?;
    let (plan, graph) = pipeline.plan.expect("a pipeline without errors has a plan");
    let needed = graph.closure(&super::select(&plan, &arguments.stages)?.steps);
    match arguments.format {
        _ if form == Ui::Jsonl => as_json(&plan, &graph, &needed),
        GraphFormat::Json => as_json(&plan, &graph, &needed),
        GraphFormat::Dot => as_dot(&plan, &graph, &needed),
        GraphFormat::Text => as_text(&plan, &graph, &needed),
    }
    Ok(Exit::Done)
}

fn as_text(plan: &Plan, graph: &Graph, needed: &[bool]) {
    for id in graph.order().iter().filter(|id| needed[id.index()]) {
        let step = plan.step(*id);
        ui::say(&format!("{} {}", step.kind.keyword(), step.name));
        for need in graph.needs(*id) {
            ui::say(&format!("  after {}", plan.step(need).name));
        }
    }
}

fn as_dot(plan: &Plan, graph: &Graph, needed: &[bool]) {
    // Graphviz reads a text as JSON writes it, but for the escape of what is not ASCII.
    let quoted = |name: &str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    ui::say("digraph pipeline {");
    ui::say("  rankdir=LR;");
    ui::say("  node [shape=box];");
    for id in graph.order().iter().filter(|id| needed[id.index()]) {
        let step = plan.step(*id);
        ui::say(&format!("  {} [tooltip={}];", quoted(&step.name), quoted(step.kind.keyword())));
        for need in graph.needs(*id) {
            ui::say(&format!("  {} -> {};", quoted(&plan.step(need).name), quoted(&step.name)));
        }
    }
    ui::say("}");
}

fn as_json(plan: &Plan, graph: &Graph, needed: &[bool]) {
    let steps: Vec<_> = graph
        .order()
        .iter()
        .filter(|id| needed[id.index()])
        .map(|id| {
            let step = plan.step(*id);
            let needs: Vec<_> =
                graph.needs(*id).into_iter().map(|need| &plan.step(need).name).collect();
            json!({ "name": step.name, "stage": step.stage, "kind": step.kind, "needs": needs })
        })
        .collect();
    ui::json(&json!({ "v": 1, "steps": steps }));
}
