//! `kiln list`: the stages and params of a pipeline with their doc comments.

use kiln::session::{Catalog, CatalogParam, CatalogStage, Depth};

use crate::cli::{ListArgs, Ui};
use crate::exit::Exit;
use crate::ui;

pub(crate) fn run(arguments: &ListArgs, form: Ui) -> Result<Exit, Exit> {
    let pipeline = super::load(&arguments.pipeline, Depth::Check, form)?;
    if arguments.json || form == Ui::Jsonl {
        ui::json(&pipeline.catalog);
    } else {
        show(&pipeline.catalog);
    }
    Ok(Exit::Done)
}

fn show(catalog: &Catalog) {
    let rows: Vec<_> =
        catalog.stages.iter().map(|stage| (stage_name(stage), stage_doc(stage))).collect();
    section("Stages", &rows);
    let doc = |param: &CatalogParam| param.doc.clone().unwrap_or_default();
    let rows: Vec<_> = catalog.params.iter().map(|param| (param_name(param), doc(param))).collect();
    if !rows.is_empty() {
        ui::say("");
        section("Params, set by -p NAME=VALUE", &rows);
    }
}

fn stage_name(stage: &CatalogStage) -> String {
    let axes =
        if stage.axes.is_empty() { String::new() } else { format!("[{}]", stage.axes.join(", ")) };
    format!("{:5} {}{axes}", stage.kind.keyword(), stage.name)
}

/// The doc comment of a stage, and below it when it runs.
fn stage_doc(stage: &CatalogStage) -> String {
    let condition = stage.condition.as_ref().map(|condition| format!("when {condition}"));
    let lines: Vec<_> = stage.doc.iter().chain(&condition).map(String::as_str).collect();
    lines.join("\n")
}

fn param_name(param: &CatalogParam) -> String {
    let default = param.default.as_ref().map(|default| format!(" = {default}")).unwrap_or_default();
    format!("{}: {}{default}", param.name, param.ty)
}

/// Names on the left, the first line of each description on the right of the widest.
fn section(title: &str, rows: &[(String, String)]) {
    const WIDEST: usize = 40;
    ui::say(&format!("{title}:"));
    if rows.is_empty() {
        ui::say("  none");
    }
    let fitting =
        rows.iter().map(|(name, _)| name.chars().count()).filter(|width| *width <= WIDEST);
    let width = fitting.max().unwrap_or(0);
    for (name, doc) in rows {
        let mut lines = doc.lines();
        let first = lines.next().unwrap_or_default();
        ui::say(format!("  {name:width$}  {first}").trim_end());
        for line in lines {
            ui::say(format!("  {:width$}  {line}", "").trim_end());
        }
    }
}
