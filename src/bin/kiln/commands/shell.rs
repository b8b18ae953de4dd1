//! `kiln shell`: a look into a step, with all that it has.

use std::sync::Arc;

use kiln::plan::Plan;
use kiln::plan::step::StepId;
use kiln::session::{self, Interrupt, Left, Planned, RunOptions, Seen, ShellError, Workspace};

use crate::cli::{ShellArgs, Ui};
use crate::exit::Exit;
use crate::signals::Watch;
use crate::ui;
use crate::ui::amount::{count, shell_word};

/// The most steps, and removed files, that are named.
const MOST_NAMED: usize = 5;

pub(crate) fn run(arguments: &ShellArgs, form: Ui) -> Result<Exit, Exit> {
    let project = super::project(arguments.pipeline.file.as_deref())?;
    let params = super::params(&project, &arguments.pipeline)?;
    let mut workspace = Workspace::open(&project, &params, super::facts(&project.root));
    let planned = match workspace.plan() {
        Ok(Planned::Kept(planned)) => *planned,
        Ok(Planned::Made(pipeline)) => {
            let has_errors = pipeline.has_errors();
            if has_errors {
                ui::diagnostics(&pipeline.sources, &pipeline.diagnostics, form);
            }
            pipeline.plan.filter(|_| !has_errors).ok_or(Exit::Pipeline)?
        }
        Err(error) => {
            ui::complain(&error.to_string(), None);
            return Err(Exit::Machine);
        }
    };
    let step = step(&planned.0, &arguments.step)?;
    let options = RunOptions {
        secrets: arguments.secrets.iter().cloned().collect(),
        folder: super::current_folder()?,
        environment: super::environment(),
        ..RunOptions::new(super::store(&arguments.cache)?)
    };
    let fault = |error: std::io::Error| {
        ui::complain(&format!("the machine has no room for a shell: {error}"), None);
        Exit::Machine
    };
    let interrupt = Interrupt::new().map_err(fault)?;
    let _watch = Watch::begin(interrupt.clone()).map_err(fault)?;
    let name = planned.0.step(step).name.clone();
    let mut begin = |seen: &Seen<'_>| {
        if seen.is_terminal {
            ui::tell(&welcome(&name, seen));
        } else if matches!(seen.left, Left::NeverFailed | Left::Changed | Left::Lost) {
            ui::tell(&format!("note: `{name}` is shown {}", state(seen.left)));
        }
    };
    let look = (step, arguments.fresh);
    match session::shell(&workspace, &planned, &options, look, &interrupt, &mut begin) {
        Ok(code) => Ok(Exit::Run(u8::try_from(code).unwrap_or(1))),
        Err(error) => Err(complain(&error)),
    }
}

fn complain(error: &ShellError) -> Exit {
    let help = match error {
        ShellError::NotMade { stage, .. } => {
            Some(format!("make it: kiln run {}", shell_word(stage)))
        }
        ShellError::Elsewhere { .. } => Some("ask for it on a machine of that kind".to_owned()),
        ShellError::Step { help, .. } => help.clone(),
    };
    ui::complain(&error.to_string(), help.as_deref());
    match error {
        ShellError::NotMade { .. } | ShellError::Elsewhere { .. } => Exit::Usage,
        ShellError::Step { .. } => Exit::Machine,
    }
}

/// Returns the step that a name means.
fn step(plan: &Arc<Plan>, name: &str) -> Result<StepId, Exit> {
    let plain = |text: &str| text.replace(' ', "");
    if let Some((id, _)) = plan.iter().find(|(_, step)| plain(&step.name) == plain(name)) {
        return Ok(id);
    }
    let selected = super::select(plan, &[name.to_owned()])?;
    match &selected.steps[..] {
        [only] => return Ok(*only),
        [] => {
            let why = selected.skipped.first().map_or("", |skipped| skipped.why.as_str());
            ui::complain(
                &format!("`{name}` has no steps now: {why}"),
                Some("kiln plan  shows all"),
            );
        }
        [first, ..] => {
            let names = selected.steps.iter().take(MOST_NAMED);
            let names: Vec<_> = names.map(|id| format!("  {}", plan.step(*id).name)).collect();
            let more = selected.steps.len() - names.len();
            let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
            let number = selected.steps.len();
            let first = shell_word(&plan.step(*first).name);
            let message = format!("`{name}` is {number} steps:\n{}{more}", names.join("\n"));
            ui::complain(&message, Some(&format!("name one: kiln shell {first}")));
        }
    }
    Err(Exit::Usage)
}

/// What is said before a shell begins.
fn welcome(name: &str, seen: &Seen<'_>) -> String {
    format!(
        "shell in `{name}`, {}\n  it runs  {}\n  leave    exit, or Ctrl-D; what you change here is gone then",
        state(seen.left),
        seen.line
    )
}

/// In what state a step is found.
fn state(left: &Left) -> String {
    match left {
        Left::Failed { run, changed, gone } => {
            let mut told = format!("as it failed in run {run}, {}", count(*changed, "file"));
            told.push_str(" of its own");
            if !gone.is_empty() {
                let named = gone.iter().take(MOST_NAMED).map(|path| path.display().to_string());
                let named = named.collect::<Vec<_>>().join(", ");
                let more = if gone.len() > MOST_NAMED { " and others" } else { "" };
                told.push_str(&format!(", without {named}{more}"));
            }
            told
        }
        Left::Fresh => "with its inputs".to_owned(),
        Left::NeverFailed => "with its inputs: nothing is kept of a failure".to_owned(),
        Left::Changed => "with its inputs: it has changed since it failed".to_owned(),
        Left::Lost => "with its inputs: this cache does not have what it left".to_owned(),
    }
}
