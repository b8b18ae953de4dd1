//! The commands: a file for each. This one sends each command to its file, and holds what all do
//! first: find the pipeline and load it.

mod cache;
mod check;
mod diff;
mod doctor;
mod explain;
mod fmt;
mod graph;
mod history;
mod list;
mod log;
mod past;
mod plan;
mod run;
mod shell;
mod spec;
mod trace;
mod why;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use indexmap::IndexMap;
use kiln::plan::Plan;
use kiln::session::{self, Depth, Facts, FindError, Pipeline, Project, Selection};

use crate::cli::{CacheArgs, Cli, Command, PipelineArgs, Ui, name_and_value};
use crate::exit::Exit;
use crate::lsp;
use crate::ui;
use crate::ui::amount::shell_word;

/// Does what the command line asks for.
pub(crate) fn run(arguments: Cli) -> Exit {
    let form = arguments.ui.unwrap_or_else(ui::usual_form);
    let done = match arguments.command {
        Command::Check(arguments) => check::run(&arguments, form),
        Command::Run(arguments) => run::run(&arguments, form),
        Command::List(arguments) => list::run(&arguments, form),
        Command::Plan(arguments) => plan::run(&arguments, form),
        Command::Graph(arguments) => graph::run(&arguments, form),
        Command::Spec(arguments) => spec::run(&arguments, form),
        Command::Fmt(arguments) => fmt::run(&arguments, form),
        Command::Log(arguments) => log::run(&arguments, form),
        Command::Shell(arguments) => shell::run(&arguments, form),
        Command::Why(arguments) => why::run(&arguments, form),
        Command::History(arguments) => history::run(&arguments, form),
        Command::Diff(arguments) => diff::run(&arguments, form),
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Cache(arguments) => cache::run(&arguments, form),
        Command::Doctor(arguments) => doctor::run(&arguments, form),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Lsp(_) => Ok(lsp::run()),
    };
    ui::end(done.unwrap_or_else(|exit| exit))
}

/// Loads the pipeline that the arguments mean and shows what is wrong with it.
///
/// # Errors
/// How the command ends if there is no pipeline to go on with.
fn load(arguments: &PipelineArgs, depth: Depth, form: Ui) -> Result<Pipeline, Exit> {
    let project = project(arguments.file.as_deref())?;
    let params = params(&project, arguments)?;
    let pipeline =
        session::load(&project, &params, &facts(&project.root), depth).map_err(|error| {
            ui::complain(&error.to_string(), None);
            Exit::Machine
        })?;
    ui::diagnostics(&pipeline.sources, &pipeline.diagnostics, form);
    if pipeline.has_errors() { Err(Exit::Pipeline) } else { Ok(pipeline) }
}

/// Finds the project of the pipeline's file, if one is named, or of the current folder.
fn project(file: Option<&Path>) -> Result<Project, Exit> {
    Project::find(&current_folder()?, file).map_err(|error| {
        let (help, exit) = match &error {
            FindError::NoPipeline(_) => (
                "create a `pipeline.pipe`, or name a file: kiln check -f ci.pipe".to_owned(),
                Exit::Usage,
            ),
            FindError::NotUtf8(_) => ("rename it, or a folder above it".to_owned(), Exit::Usage),
            FindError::Unreadable { path, source } => match source.kind() {
                io::ErrorKind::IsADirectory => (of_folder(path), Exit::Usage),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    ("a path counts from the current folder".to_owned(), Exit::Usage)
                }
                _ => (
                    "see whether you may read it, and all folders above it".to_owned(),
                    Exit::Machine,
                ),
            },
        };
        ui::complain(&error.to_string(), Some(&help));
        exit
    })
}

/// What to do about a folder where a file was to be named.
fn of_folder(path: &Path) -> String {
    let inner = path.join("pipeline.pipe");
    match inner.is_file() {
        true => format!("name the file in it: -f {}", shell_word(&inner.to_string_lossy())),
        false => "name a pipeline's file, not a folder".to_owned(),
    }
}

fn current_folder() -> Result<PathBuf, Exit> {
    std::env::current_dir().map_err(|error| {
        ui::complain(&format!("the current folder cannot be read: {error}"), None);
        Exit::Machine
    })
}

/// Returns what stages on the command line mean; without any, all there is.
fn select(plan: &Plan, stages: &[String]) -> Result<Selection, Exit> {
    session::select(plan, stages).map_err(|error| {
        let help = match &error.nearest {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "kiln list  shows all stages; one whose matrix has no rows has no steps".to_owned()
            }
        };
        ui::complain(&error.to_string(), Some(&help));
        Exit::Usage
    })
}

/// Returns the folder of the cache: an absolute path.
fn store(arguments: &CacheArgs) -> Result<PathBuf, Exit> {
    known_store(arguments)?.ok_or_else(|| {
        let message = "neither KILN_CACHE, XDG_CACHE_HOME nor HOME says where the cache is";
        ui::complain(message, Some("name a folder: --cache DIR"));
        Exit::Usage
    })
}

/// Returns the folder of the cache, if anything says where it is.
fn known_store(arguments: &CacheArgs) -> Result<Option<PathBuf>, Exit> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = arguments.cache.clone().or_else(|| variable("KILN_CACHE").map(PathBuf::from));
    if let Some(named) = named {
        return Ok(Some(current_folder()?.join(named)));
    }
    let folder = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Ok(folder.or_else(home).map(|folder| folder.join("kiln")))
}

/// Returns Kiln's own environment, but for names that no program could ask for.
fn environment() -> BTreeMap<String, OsString> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect()
}

/// The params that the lines of a file set.
fn params_of(file: &Path) -> Result<Vec<(String, String)>, Exit> {
    const MAX_BYTES: u64 = 4 << 20;
    let too_large = || io::Error::other(format!("it has more than {} MiB", MAX_BYTES >> 20));
    let refuse = |what: String, help: Option<&str>| {
        ui::complain(&what, help);
        Exit::Usage
    };
    let read = || -> io::Result<String> {
        let mut text = String::new();
        let read = File::open(file)?.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64;
        if read > MAX_BYTES { Err(too_large()) } else { Ok(text) }
    };
    let name = file.display();
    let text = read().map_err(|error| refuse(format!("`{name}` cannot be read: {error}"), None))?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let param = |(at, line): (usize, &str)| {
        name_and_value(line).map_err(|what| {
            let help = "a line sets one param, jobs=8; one that begins with # is left out";
            refuse(format!("{name}:{at}: {what}"), Some(help))
        })
    };
    lines.map(param).collect()
}

/// Returns the facts that pipelines of the project at `root` may ask for.
pub(crate) fn facts(root: &Path) -> Facts {
    Facts::of_machine(root, environment(), SystemTime::now())
}

/// The params of the command line, and below them those of the environment, and of files.
fn params(project: &Project, arguments: &PipelineArgs) -> Result<IndexMap<String, String>, Exit> {
    let mut params = IndexMap::new();
    for file in &arguments.param_files {
        params.extend(params_of(file)?);
    }
    let set: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("KILN_PARAM_"))
        .collect();
    if !set.is_empty() {
        // Only the pipeline knows the names that the variables mean.
        let none = Facts::default();
        let catalog = session::load(project, &IndexMap::new(), &none, Depth::Check);
        let catalog = catalog.map_err(|error| {
            ui::complain(&error.to_string(), None);
            Exit::Machine
        })?;
        for param in catalog.catalog.params {
            let variable = session::param_variable(&param.name);
            if let Some((_, value)) = set.iter().find(|(name, _)| *name == variable) {
                params.insert(param.name, value.clone());
            }
        }
    }
    for (name, value) in &arguments.params {
        params.insert(name.clone(), value.clone());
    }
    Ok(params)
}
