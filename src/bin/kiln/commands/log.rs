//! `kiln log`: what a step wrote, byte for byte; without a step, which there are.

use std::path::Path;

use kiln::event::{Event, Outcome, StepFinished};
use kiln::session::{self, Workspace};
use kiln::timeline::Timeline;

use super::past::{self, PastStep};
use crate::cli::{LogArgs, Ui};
use crate::exit::Exit;
use crate::ui;
use crate::ui::amount::{bytes, duration, shell_word};
use crate::ui::lines;

pub(crate) fn run(arguments: &LogArgs, form: Ui) -> Result<Exit, Exit> {
    let workspace = past::workspace(&arguments.pipeline)?;
    let Some(name) = &arguments.step else {
        list(&past::last(&workspace)?, form);
        return Ok(Exit::Done);
    };
    let name = past::step_name(&workspace, name)?;
    let Some(found) = past::last_of(&workspace, &name, |_| true)? else {
        let help = format!("kiln why {}", shell_word(&name));
        ui::complain(&format!("`{name}` never began in any known run"), Some(&help));
        return Err(Exit::Usage);
    };
    if found.is_outdated {
        let begin = past::moment(&found.begin);
        ui::tell(&format!("note: from the run of {begin}; no later run got to this step"));
    }
    show(&workspace, &found, &super::store(&arguments.cache)?)
}

/// Writes the log from the store or, where that has lost it, from the journal.
fn show(workspace: &Workspace, found: &PastStep, store: &Path) -> Result<Exit, Exit> {
    let (Some(digest), Some(len)) = (found.step.log, found.step.log_bytes) else {
        ui::tell(&format!("note: `{}` wrote nothing", found.step.step));
        return Ok(Exit::Done);
    };
    match session::read_log(store, digest, len) {
        Ok(log) => {
            log.pieces().for_each(|(_, bytes)| ui::data(bytes));
            Ok(Exit::Done)
        }
        Err(_) if replay(workspace, found) => Ok(Exit::Done),
        Err(error) => {
            let message = format!("the log of `{}` is lost: {error}", found.step.step);
            ui::complain(&message, Some("--cache DIR names the cache that the run had"));
            Err(Exit::Machine)
        }
    }
}

/// Writes what the journal has of the step's output; returns whether it has any.
fn replay(workspace: &Workspace, found: &PastStep) -> bool {
    let Ok(events) = workspace.past_run(&found.run) else { return false };
    let mut has_any = false;
    for envelope in events {
        if let Event::StepOutput(output) = envelope.event
            && output.step == found.step.step
        {
            ui::data(&output.to_bytes());
            has_any = true;
        }
    }
    has_any
}

fn list(past: &Timeline, form: Ui) {
    if form == Ui::Jsonl {
        past.ends.iter().for_each(ui::json);
        return;
    }
    let end = match past.exit {
        Some(exit) => format!("exit code {exit}"),
        None => "not finished".to_owned(),
    };
    ui::tell(&format!("run {} of {}, {end}", past.run, past::moment(&past.begin)));
    past.ends.iter().for_each(|step| ui::say(&line(step)));
}

fn line(step: &StepFinished) -> String {
    let (word, _) = lines::word(step);
    let time = match step.outcome {
        Outcome::Ran | Outcome::Failed => duration(step.millis),
        Outcome::Cached | Outcome::Blocked | Outcome::Skipped => String::new(),
    };
    let size = match (step.log, step.log_bytes) {
        (Some(_), Some(size)) => format!("  {}", bytes(size)),
        (Some(_), None) => "  some output".to_owned(),
        (None, _) => String::new(),
    };
    format!("{word:7} {time:>9}  {:5} {}{size}", step.kind.keyword(), step.step)
}
