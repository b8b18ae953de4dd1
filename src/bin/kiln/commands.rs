//! The commands: a file for each. This one sends each command to its file, and holds what all do
//! first: find the pipeline and load it.

mod check;
mod explain;
mod fmt;
mod graph;
mod list;
mod plan;

use indexmap::IndexMap;
use kiln::session::{self, Depth, Pipeline, Project};

use crate::cli::{Cli, Command, PipelineArgs, Ui};
use crate::exit::Exit;
use crate::ui;

/// Does what the command line asks for.
pub(crate) fn run(arguments: Cli) -> Exit {
    let form = arguments.ui;
    let done = match arguments.command {
        Command::Check(arguments) => check::run(&arguments, form),
        Command::List(arguments) => list::run(&arguments, form),
        Command::Plan(arguments) => plan::run(&arguments, form),
        Command::Graph(arguments) => graph::run(&arguments, form),
        Command::Fmt(arguments) => fmt::run(&arguments, form),
        Command::Explain(arguments) => explain::run(&arguments),
    };
    done.unwrap_or_else(|exit| exit)
}

/// Loads the pipeline that the arguments mean and shows what is wrong with it.
///
/// # Errors
/// How the command ends if there is no pipeline to go on with.
fn load(arguments: &PipelineArgs, depth: Depth, form: Ui) -> Result<Pipeline, Exit> {
    let folder = std::env::current_dir().map_err(|error| {
        ui::complain(&format!("the current folder cannot be read: {error}"), None);
        Exit::Machine
    })?;
    let project = Project::find(&folder, arguments.file.as_deref()).map_err(|error| {
        let help = match &error {
            session::FindError::NoPipeline(_) => {
                Some("create a `pipeline.pipe`, or name a file: kiln check -f ci.pipe")
            }
            _ => None,
        };
        ui::complain(&error.to_string(), help);
        Exit::Usage
    })?;
    let params = params(&project, arguments)?;
    let pipeline = session::load(&project, &params, depth).map_err(|error| {
        ui::complain(&error.to_string(), None);
        Exit::Machine
    })?;
    ui::diagnostics(&pipeline.sources, &pipeline.diagnostics, form);
    if pipeline.has_errors() { Err(Exit::Pipeline) } else { Ok(pipeline) }
}

/// The params of the command line, and below them those of the environment.
fn params(project: &Project, arguments: &PipelineArgs) -> Result<IndexMap<String, String>, Exit> {
    let mut params = IndexMap::new();
    let set: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("KILN_PARAM_"))
        .collect();
    if !set.is_empty() {
        // Only the pipeline knows the names that the variables mean.
        let catalog = session::load(project, &IndexMap::new(), Depth::Check).map_err(|error| {
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
