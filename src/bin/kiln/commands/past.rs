//! The past runs of a pipeline: which step ended how, and when. Knows the journal's events; does not
//! know what is asked of them.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use kiln::event::{Outcome, StepFinished};
use kiln::session::{Facts, Workspace};
use kiln::timeline::Timeline;

use crate::cli::FileArgs;
use crate::exit::Exit;
use crate::ui;
use crate::ui::amount::{count, shell_word};

/// A step in the last run that had to do with it.
pub(crate) struct PastStep {
    /// The id of the run.
    pub(crate) run: String,
    /// When the run began.
    pub(crate) begin: String,
    /// Whether there was a later run, which did not get to the step.
    pub(crate) is_outdated: bool,
    pub(crate) step: StepFinished,
}

/// A run that was named on the command line.
pub(crate) struct Named {
    /// What became of it.
    pub(crate) timeline: Timeline,
    /// Its journal, if it is none of this project.
    pub(crate) file: Option<PathBuf>,
}

/// Returns the run that `text` means: `last`, `last-N`, how the id of only one begins, or the path of a
/// journal, which may be of another machine.
pub(crate) fn named(workspace: &Workspace, text: &str) -> Result<Named, Exit> {
    let path = Path::new(text);
    if text.ends_with(".jsonl") {
        let events = Workspace::foreign_run(path).map_err(|error| {
            ui::complain(&format!("the journal `{text}` cannot be read: {error}"), None);
            Exit::Usage
        })?;
        let timeline = Timeline::new(events);
        if timeline.run.is_empty() {
            let help = "a journal is what `kiln run --ui jsonl` writes, and `.kiln/runs` holds";
            ui::complain(&format!("`{text}` is no journal of a run"), Some(help));
            return Err(Exit::Usage);
        }
        return Ok(Named { timeline, file: Some(path.to_owned()) });
    }
    let run = id(workspace, text)?;
    Ok(Named { timeline: timeline(workspace, &run)?, file: None })
}

/// Returns what became of a run of this project.
pub(crate) fn timeline(workspace: &Workspace, run: &str) -> Result<Timeline, Exit> {
    let events = workspace.past_run(run).map_err(|error| {
        ui::complain(&format!("the journal of the run `{run}` cannot be read: {error}"), None);
        Exit::Machine
    })?;
    let timeline = Timeline::new(events);
    // A run that never got as far as a plan does not say its id.
    Ok(Timeline { run: run.to_owned(), ..timeline })
}

fn id(workspace: &Workspace, text: &str) -> Result<String, Exit> {
    let runs = workspace.past_runs();
    if runs.is_empty() {
        ui::complain("no run of this pipeline is known", Some("begin with: kiln run"));
        return Err(Exit::Usage);
    }
    let age = match text.strip_prefix("last") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix('-').and_then(|number| number.parse::<usize>().ok()),
        None => None,
    };
    if let Some(age) = age {
        return runs.get(age).cloned().ok_or_else(|| {
            let message = format!("`{text}`: only {} known", count(runs.len(), "run"));
            ui::complain(&message, Some("kiln history  lists them"));
            Exit::Usage
        });
    }
    let mut meant = runs.iter().filter(|run| run.starts_with(text));
    match (meant.next(), meant.next()) {
        (Some(run), None) => return Ok(run.clone()),
        (Some(run), Some(_)) if run == text => return Ok(run.clone()),
        (Some(_), Some(_)) => {
            let message = format!("the ids of several runs begin with `{text}`");
            ui::complain(&message, Some("kiln history  lists them"));
        }
        (None, _) => {
            let message = format!("no run `{text}` is known");
            let help = "kiln history  lists them; `last` and `last-1` are the latest two";
            ui::complain(&message, Some(help));
        }
    }
    Err(Exit::Usage)
}

/// Opens the workspace that the arguments mean.
pub(crate) fn workspace(arguments: &FileArgs) -> Result<Workspace, Exit> {
    Ok(Workspace::open(
        &super::project(arguments.file.as_deref())?,
        &IndexMap::new(),
        Facts::default(),
    ))
}

/// Returns the last run that got as far as a step.
pub(crate) fn last(workspace: &Workspace) -> Result<Timeline, Exit> {
    for run in workspace.past_runs() {
        let past = timeline(workspace, &run)?;
        if !past.ends.is_empty() {
            return Ok(past);
        }
    }
    ui::complain("no run of this pipeline is known", Some("begin with: kiln run"));
    Err(Exit::Usage)
}

/// Returns how the step of that name ended the last time that it began or was served. `is_meant`
/// says of such an end whether it is one to look at.
pub(crate) fn last_of(
    workspace: &Workspace,
    name: &str,
    is_meant: impl Fn(&StepFinished) -> bool,
) -> Result<Option<PastStep>, Exit> {
    for (age, run) in workspace.past_runs().into_iter().enumerate() {
        let past = timeline(workspace, &run)?;
        let meant = |step: &StepFinished| step.step == name && has_begun(step) && is_meant(step);
        if let Some(step) = past.ends.into_iter().rev().find(meant) {
            return Ok(Some(PastStep { run, begin: past.begin, is_outdated: age > 0, step }));
        }
    }
    Ok(None)
}

/// Returns the name of the one step that `name` means: its own, or that of its stage.
pub(crate) fn step_name(workspace: &Workspace, name: &str) -> Result<String, Exit> {
    let mut rows = Vec::new();
    for run in workspace.past_runs() {
        let past = timeline(workspace, &run)?;
        if past.ends.iter().any(|step| step.step == name) {
            return Ok(name.to_owned());
        }
        if rows.is_empty() {
            let rows_of = past.ends.iter().filter(|step| step.stage == name);
            rows.extend(rows_of.map(|step| step.step.clone()));
        }
    }
    match rows.as_slice() {
        [] => {
            let message = format!("no known run has a step `{name}`");
            ui::complain(&message, Some("kiln log  lists the steps of the last run"));
        }
        [one] => return Ok(one.clone()),
        [first, ..] => {
            let message = format!("the stage `{name}` has {} steps", rows.len());
            let help = format!("name one of them, as in: {}", shell_word(first));
            ui::complain(&message, Some(&help));
        }
    }
    Err(Exit::Usage)
}

/// Returns a time of an event as people read it.
pub(crate) fn moment(ts: &str) -> String {
    let (date, time) = ts.split_once('T').unwrap_or((ts, ""));
    format!("{date} {} UTC", time.get(..8).unwrap_or(time))
}

fn has_begun(step: &StepFinished) -> bool {
    !matches!(step.outcome, Outcome::Blocked | Outcome::Skipped)
}
