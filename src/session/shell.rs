//! A look into a step: a shell with all that the step has. Knows the project, its store and where a
//! shell comes from; does not know what is typed there.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::inputs::Pantry;
use crate::engine::shell::{OwnShell, Place};
use crate::engine::stores::Stores;
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::plan::step::StepId;
use crate::sandbox::Streams;

use super::run::{Interrupt, RunError, RunOptions, host, open_store, sandbox, vault};
use super::terminal::Terminal;
use super::workspace::{STATE_FOLDER, Workspace};

pub use crate::engine::shell::{Left, ShellError};

/// The name that a small shell goes by: a program that embeds Kiln and is called so is to be one.
pub const SMALL_SHELL: &str = "kiln-shell";

/// What a shell is about to show.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The state of its working tree.
    pub left: &'a Left,
    /// What the step itself runs, as one would type it.
    pub line: &'a str,
    /// Whether somebody types: else commands are read from the standard input.
    pub is_terminal: bool,
}

/// Runs a shell in the place of a step, with this process's standard streams; returns what it exits
/// with. `begin` hears of it before. What the step left when it failed is there again, unless
/// `is_fresh`.
///
/// # Errors
/// [`ShellError`].
pub fn shell(
    workspace: &Workspace,
    (plan, graph): &(Arc<Plan>, Graph),
    options: &RunOptions,
    (step, is_fresh): (StepId, bool),
    interrupt: &Interrupt,
    begin: &mut dyn FnMut(&Seen<'_>),
) -> Result<i32, ShellError> {
    let fault = |error: RunError| told(&error.to_string());
    let spare = std::env::temp_dir();
    let store = open_store(&options.store, &spare, &mut |_| {}).map_err(fault)?;
    let sandbox = sandbox(&store, options.level).map_err(|error| told(&error.to_string()))?;
    let host = host(workspace, options);
    let state = workspace.project.package().join(STATE_FOLDER);
    let vault = vault(options, &state);
    let memory = workspace.snapshot.memory();
    let stores = Stores::new(&store, &spare);
    let root = workspace.project.root.clone();
    let pantry = Pantry::new(plan, root, memory, stores, (&host, options.level), &vault);
    let place = Place { plan, graph, pantry: &pantry, vault: &vault, state: &state };
    let failed = |error: io::Error| told(&format!("no shell can be started: {error}"));
    let folder = tempfile::tempdir_in(store.scratch()).map_err(failed)?;
    let mut own = || own_shell(&folder.path().join("shell"));
    let look = place.look(step, is_fresh, &mut own)?;
    let is_terminal = Terminal::is_there();
    begin(&Seen { left: &look.left, line: &look.line, is_terminal });
    let capture = folder.path().join("capture");
    fs::create_dir(&capture).map_err(failed)?;
    let (terminal, streams) = streams(is_terminal).map_err(failed)?;
    let result = look.run(&*sandbox, streams, &capture, interrupt.stop());
    drop(terminal);
    Ok(result?)
}

fn told(message: &str) -> ShellError {
    ShellError::Step { message: message.to_owned(), help: None }
}

/// Returns the streams of the shell, and the user's terminal while it is passed on.
fn streams(is_terminal: bool) -> io::Result<(Option<Terminal>, Streams)> {
    if is_terminal {
        let (terminal, far) = Terminal::pass_on()?;
        let (stdout, stderr) = (far.try_clone()?, far.try_clone()?);
        return Ok((Some(terminal), Streams { stdin: far, stdout, stderr, is_terminal }));
    }
    let own = |stream: &dyn AsFd| -> io::Result<OwnedFd> { stream.as_fd().try_clone_to_owned() };
    let (stdin, stdout) = (own(&io::stdin())?, own(&io::stdout())?);
    Ok((None, Streams { stdin, stdout, stderr: own(&io::stderr())?, is_terminal }))
}

/// Puts this program with the libraries it uses into a folder, from where it runs in any root.
fn own_shell(folder: &Path) -> io::Result<OwnShell> {
    fs::create_dir(folder)?;
    fs::copy("/proc/self/exe", folder.join(SMALL_SHELL))?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut loader = None;
    for path in libraries(&maps) {
        let Some(name) = path.file_name() else { continue };
        fs::copy(&path, folder.join(name))?;
        if name.to_string_lossy().starts_with("ld-") {
            loader = Some(name.to_string_lossy().into_owned());
        }
    }
    let program = format!("./{SMALL_SHELL}");
    let argv = match loader {
        Some(loader) => {
            let words = [&format!("./{loader}"), "--library-path", ".", &program];
            words.map(str::to_owned).to_vec()
        }
        None => vec![program],
    };
    Ok(OwnShell { folder: folder.to_owned(), argv })
}

/// Returns the libraries among the files that a process has in its memory.
fn libraries(maps: &str) -> Vec<PathBuf> {
    let paths =
        maps.lines().filter_map(|line| line.split_once('/').map(|(_, path)| format!("/{path}")));
    let mut paths: Vec<_> = paths.filter(|path| path.contains(".so")).map(PathBuf::from).collect();
    paths.sort();
    paths.dedup();
    paths
}
