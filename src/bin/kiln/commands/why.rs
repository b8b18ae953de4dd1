//! `kiln why STEP`: what made a step run again, by name.

use kiln::event::{Outcome, Reason, StepFinished, What};
use kiln::session::Workspace;
use serde_json::json;

use super::past::{self, PastStep};
use crate::cli::{Ui, WhyArgs};
use crate::exit::Exit;
use crate::ui;
use crate::ui::amount::shell_word;
use crate::ui::clean;
use crate::ui::reason;

pub(crate) fn run(arguments: &WhyArgs, form: Ui) -> Result<Exit, Exit> {
    let workspace = past::workspace(&arguments.pipeline)?;
    let name = past::step_name(&workspace, &arguments.step)?;
    if let Some(run) = &arguments.against {
        return against(&workspace, &name, run, form);
    }
    let found = last(&workspace, &name)?;
    let ran = match found.step.outcome {
        Outcome::Cached => past::last_of(&workspace, &name, has_run)?,
        _ => None,
    };
    if form == Ui::Jsonl {
        let step = ran.as_ref().map_or(&found.step, |ran| &ran.step);
        ui::json(&json!({
            "v": 1, "step": name, "outcome": found.step.outcome, "why": step.why,
            "blocked_by": found.step.blocked_by,
        }));
        return Ok(Exit::Done);
    }
    tell(&found);
    if let Some(ran) = ran {
        ui::say(&format!("before that, in the run of {}:", past::moment(&ran.begin)));
        tell(&ran);
    }
    Ok(Exit::Done)
}

/// Tells what differs between the last run of a step and its run in `run`.
fn against(workspace: &Workspace, name: &str, run: &str, form: Ui) -> Result<Exit, Exit> {
    let other = past::named(workspace, run)?;
    let ends = &other.timeline.ends;
    let Some(before) = ends.iter().rev().find(|step| step.step == name) else {
        let message = format!("the run `{}` has no step `{name}`", other.timeline.run);
        let help = format!("kiln history {}  shows what it did", shell_word(run));
        ui::complain(&message, Some(&help));
        return Err(Exit::Usage);
    };
    let now = last(workspace, name)?;
    let unknown = |step: &StepFinished, when: &str| {
        let message = format!("`{name}` never began in the run of {}", past::moment(when));
        let help = step.condition.as_deref().map(clean::message);
        ui::complain(&message, help.as_deref());
        Exit::Usage
    };
    let old = before.key.ok_or_else(|| unknown(before, &other.timeline.begin))?;
    let new = now.step.key.ok_or_else(|| unknown(&now.step, &now.begin))?;
    let foreign: Vec<_> = other.file.clone().into_iter().collect();
    let why = match old == new {
        true => Some(Vec::new()),
        false => workspace.differences(name, (old, new), &foreign),
    };
    if form == Ui::Jsonl {
        ui::json(&json!({ "v": 1, "step": name, "against": other.timeline.run, "why": why }));
        return Ok(Exit::Done);
    }
    let (then, now) = (past::moment(&other.timeline.begin), past::moment(&now.begin));
    match why {
        Some(why) if why.is_empty() => {
            ui::say(&format!("`{name}` is the same in the runs of {then} and {now}"));
        }
        Some(why) => {
            ui::say(&format!("`{name}` differs between the runs of {then} and {now}, since"));
            for reason in &why {
                ui::say(&format!("  {}", clean::message(&reason::one(reason))));
            }
        }
        None => {
            let message = format!("what went into `{name}` is no longer known of both runs");
            let help = "each run keeps it beside its journal, `.kiln/runs/ID.made-of`; of another \
                        machine, copy both";
            ui::complain(&message, Some(help));
            return Err(Exit::Usage);
        }
    }
    Ok(Exit::Done)
}

/// Returns how the step ended in the last run that knew it.
fn last(workspace: &Workspace, name: &str) -> Result<PastStep, Exit> {
    let past = past::last(workspace)?;
    if let Some(step) = past.ends.iter().rev().find(|step| step.step == name) {
        let (run, begin, step) = (past.run.clone(), past.begin.clone(), step.clone());
        return Ok(PastStep { run, begin, is_outdated: false, step });
    }
    past::last_of(workspace, name, |_| true)?.ok_or_else(|| {
        ui::complain(&format!("`{name}` never began in any known run"), None);
        Exit::Usage
    })
}

fn has_run(step: &StepFinished) -> bool {
    matches!(step.outcome, Outcome::Ran | Outcome::Failed)
}

fn tell(found: &PastStep) {
    let step = &found.step;
    let name = &step.step;
    match step.outcome {
        Outcome::Cached => ui::say(&format!(
            "`{name}` was served from the cache: all it is made of is as it was when it last ran"
        )),
        Outcome::Blocked => {
            ui::say(&format!("`{name}` did not run, since what it needs failed:"));
            step.blocked_by.iter().for_each(|failed| {
                ui::say(&format!("  `{failed}`; kiln log {}", shell_word(failed)));
            });
        }
        Outcome::Skipped if step.condition.is_some() => {
            let why = step.condition.as_deref().unwrap_or_default();
            ui::say(&format!("`{name}` did not run, since {}", clean::message(why)));
        }
        Outcome::Skipped => {
            ui::say(&format!("`{name}` did not run, since the run stopped before it could"));
        }
        Outcome::Ran | Outcome::Failed if step.why.is_empty() => {
            ui::say(&format!("`{name}` was to run, and failed before it was known why"));
        }
        Outcome::Ran | Outcome::Failed => {
            ui::say(&format!("`{name}` ran, since"));
            step.why.iter().for_each(|reason| {
                ui::say(&format!("  {}", clean::message(&reason::one(reason))));
            });
            upstream(&step.why);
        }
    }
}

/// What changed upstream has a reason of its own.
fn upstream(reasons: &[Reason]) {
    let is_upstream = |reason: &&Reason| reason.what == What::Upstream;
    if let Some(reason) = reasons.iter().find(is_upstream) {
        let step = reason.name.rsplit_once('.').map_or(reason.name.as_str(), |(step, _)| step);
        ui::say(&format!("what made that: kiln why {}", shell_word(step)));
    }
}
