//! `kiln diff RUN RUN`: in what two runs differ, step by step, and why.

use std::collections::BTreeMap;

use kiln::event::{Outcome, Reason, StepFinished};
use kiln::session::Workspace;
use serde_json::json;

use super::past::{self, Named};
use crate::cli::{DiffArgs, Ui};
use crate::exit::Exit;
use crate::ui;
use crate::ui::amount::{count, duration};
use crate::ui::clean;
use crate::ui::lines;
use crate::ui::reason;

/// A step that both runs have and that is not the same in them.
struct Changed<'a> {
    before: &'a StepFinished,
    now: &'a StepFinished,
    /// What differs in what went into it; `None` if it has the same key, or it is no longer known.
    why: Option<Vec<Reason>>,
}

pub(crate) fn run(arguments: &DiffArgs, form: Ui) -> Result<Exit, Exit> {
    let workspace = past::workspace(&arguments.pipeline)?;
    let before = past::named(&workspace, &arguments.before)?;
    let now = past::named(&workspace, &arguments.now)?;
    let (old, new) = (ends(&before), ends(&now));
    let gone: Vec<_> = old.values().filter(|step| !new.contains_key(&*step.step)).collect();
    let added: Vec<_> = new.values().filter(|step| !old.contains_key(&*step.step)).collect();
    let both = new.iter().filter_map(|(name, now)| Some((*old.get(name)?, *now)));
    let (changed, same): (Vec<_>, Vec<_>) =
        both.partition(|(before, now)| before.key != now.key || verdict(before) != verdict(now));
    let changed: Vec<_> = changed
        .into_iter()
        .map(|(old, new)| {
            let why = why(&workspace, (&before, old), (&now, new));
            Changed { before: old, now: new, why }
        })
        .collect();
    if form == Ui::Jsonl {
        gone.iter()
            .for_each(|step| ui::json(&json!({ "v": 1, "step": step.step, "in": "before" })));
        added.iter().for_each(|step| ui::json(&json!({ "v": 1, "step": step.step, "in": "now" })));
        changed.iter().for_each(|step| ui::json(&step.json()));
        return Ok(Exit::Done);
    }
    for (sign, run) in [("-", &before), ("+", &now)] {
        let timeline = &run.timeline;
        ui::tell(&format!("{sign} run {} of {}", timeline.run, past::moment(&timeline.begin)));
    }
    gone.iter().for_each(|step| ui::say(&format!("- {}", step.step)));
    added.iter().for_each(|step| ui::say(&format!("+ {}", step.step)));
    changed.iter().for_each(Changed::tell);
    ui::tell(&format!("{} the same in both", count(same.len(), "step")));
    Ok(Exit::Done)
}

/// Returns the steps of a run by name.
fn ends(run: &Named) -> BTreeMap<&str, &StepFinished> {
    run.timeline.ends.iter().map(|step| (step.step.as_str(), step)).collect()
}

/// Returns how a step ended, where it does not matter whether it had to run for that.
fn verdict(step: &StepFinished) -> Outcome {
    match step.outcome {
        Outcome::Cached => Outcome::Ran,
        outcome => outcome,
    }
}

fn why(
    workspace: &Workspace,
    (before, old): (&Named, &StepFinished),
    (now, new): (&Named, &StepFinished),
) -> Option<Vec<Reason>> {
    let keys = (old.key?, new.key?);
    let foreign: Vec<_> = [&before.file, &now.file].into_iter().flatten().cloned().collect();
    (keys.0 != keys.1).then(|| workspace.differences(&new.step, keys, &foreign))?
}

impl Changed<'_> {
    fn tell(&self) {
        let (before, now) = (lines::word(self.before).0, lines::word(self.now).0);
        let times = match (self.before.outcome, self.now.outcome) {
            (Outcome::Ran | Outcome::Failed, Outcome::Ran | Outcome::Failed) => {
                format!(", {} -> {}", duration(self.before.millis), duration(self.now.millis))
            }
            _ => String::new(),
        };
        let ends = if before == now { now.to_owned() } else { format!("{before} -> {now}") };
        ui::say(&format!("~ {}: {ends}{times}", self.now.step));
        for reason in self.why.iter().flatten() {
            ui::say(&format!("    {}", clean::message(&reason::one(reason))));
        }
        if self.why.is_none() && self.before.key != self.now.key {
            ui::say("    its key is another; what went into it is no longer known");
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "v": 1, "step": self.now.step, "in": "both",
            "outcome": [self.before.outcome, self.now.outcome],
            "key": [self.before.key, self.now.key],
            "millis": [self.before.millis, self.now.millis],
            "why": self.why,
        })
    }
}
