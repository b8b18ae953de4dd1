//! `kiln check`: finds every mistake in the pipeline; nothing runs.

use kiln::session::Depth;

use crate::cli::{PipelineArgs, Ui};
use crate::exit::Exit;
use crate::ui;

pub(crate) fn run(arguments: &PipelineArgs, form: Ui) -> Result<Exit, Exit> {
    let pipeline = super::load(arguments, Depth::Specs, form)?;
    if matches!(form, Ui::Live | Ui::Plain) {
        let files = ui::count(pipeline.sources.iter().count(), "file");
        let stages = ui::count(pipeline.catalog.stages.len(), "stage");
        let steps = pipeline
            .plan
            .as_ref()
            .map(|(plan, _)| format!(", {}", ui::count(plan.steps.len(), "step")));
        let late = pipeline.plan.iter().flat_map(|(plan, _)| &plan.late_stages);
        let late = match late.filter(|late| late.is_open).count() {
            0 => String::new(),
            late => format!(" and {} whose steps are known later", ui::count(late, "stage")),
        };
        ui::say(&format!("ok: {files}, {stages}{}{late}", steps.unwrap_or_default()));
    }
    Ok(Exit::Done)
}
