//! `kiln run --watch`: runs once more whenever a file has changed that the pipeline reads.

use kiln::session::{FolderStates, Interrupt, Waited, Workspace};

use crate::cli::{RunArgs, Ui};
use crate::commands;
use crate::exit::Exit;
use crate::signals::Watch;
use crate::ui;
use crate::ui::amount::count;

/// How many changed files are named.
const MOST: usize = 3;

/// What cures most of what can go wrong.
const LIMIT: &str = "sudo sysctl -w fs.inotify.max_user_watches=524288";

pub(super) fn run(arguments: &RunArgs, form: Ui) -> Result<Exit, Exit> {
    let mut seen = workspace(arguments)?.folder_states();
    loop {
        // A pipeline that is wrong, or a step that failed, is what an author is about to edit.
        let ended = super::once(arguments, form).unwrap_or_else(|exit| exit);
        if matches!(ended, Exit::Usage | Exit::Run(130..)) {
            return Ok(ended);
        }
        if let Some(exit) = wait(arguments, form, &mut seen)? {
            return Ok(Exit::Run(exit));
        }
    }
}

/// Waits until something is other than it was `seen` before the last run; returns what Kiln exits with
/// if it is interrupted.
fn wait(arguments: &RunArgs, form: Ui, seen: &mut FolderStates) -> Result<Option<u8>, Exit> {
    let fault = |error: std::io::Error| {
        ui::complain(&format!("the project cannot be watched: {error}"), Some(LIMIT));
        Exit::Machine
    };
    let interrupt = Interrupt::new().map_err(fault)?;
    let _signals = Watch::begin(interrupt.clone()).map_err(fault)?;
    let mut has_told = false;
    loop {
        let workspace = workspace(arguments)?;
        // What happens from here on is seen below, or by the watch.
        let folders = workspace.watch_folders().map_err(fault)?;
        let now = workspace.folder_states();
        let changed = now.changed_since(seen);
        *seen = now;
        if !changed.is_empty() {
            tell(form, &names(&changed));
            return Ok(None);
        }
        if !std::mem::replace(&mut has_told, true) {
            let number = count(folders.folders(), "folder");
            tell(form, &format!("watching {number} for changes; Ctrl-C ends"));
        }
        if let Waited::Interrupted(exit) = folders.wait(|| interrupt.exit()).map_err(fault)? {
            return Ok(Some(exit));
        }
    }
}

fn names(changed: &[String]) -> String {
    let told = changed.iter().take(MOST).map(|path| format!("`{path}`"));
    let told = told.collect::<Vec<_>>().join(", ");
    match changed.len().saturating_sub(MOST) {
        0 => format!("changed: {told}"),
        more => format!("changed: {told} and {more} more"),
    }
}

fn workspace(arguments: &RunArgs) -> Result<Workspace, Exit> {
    let project = commands::project(arguments.pipeline.file.as_deref())?;
    let params = commands::params(&project, &arguments.pipeline)?;
    Ok(Workspace::open(&project, &params, commands::facts(&project.root)))
}

fn tell(form: Ui, line: &str) {
    if matches!(form, Ui::Live | Ui::Plain) {
        ui::tell(line);
    }
}
