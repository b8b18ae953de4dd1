//! `kiln run`: runs stages and all they need, and shows how it goes.

use std::path::{Path, PathBuf};

use kiln::event::{Event, Warning};
use kiln::plan::step::StepId;
use kiln::session::{self, Depth, Interrupt, Level, Pipeline, Project, RunOptions};

use crate::cli::{CacheArgs, PipelineArgs, RunArgs, Sandbox, Ui};
use crate::exit::Exit;
use crate::signals::Watch;
use crate::ui;
use crate::ui::amount::shell_word;
use crate::ui::scene::Scene;
use crate::ui::screen::Screen;

pub(crate) fn run(arguments: &RunArgs, form: Ui) -> Result<Exit, Exit> {
    let (project, pipeline) = super::load_in(&arguments.pipeline, Depth::Plan, form)?;
    let planned = pipeline.plan.as_ref().expect("a pipeline without errors has a plan");
    let folder = super::current_folder()?;
    let options = options(arguments, &pipeline, &folder)?;
    let scene = scene(arguments, &project, &pipeline, folder);
    let fault = |error: std::io::Error| {
        ui::complain(&format!("the machine has no room for a run: {error}"), None);
        Exit::Machine
    };
    let interrupt = Interrupt::new().map_err(fault)?;
    let _watch = Watch::begin(interrupt.clone()).map_err(fault)?;
    let done = ui::reader::shown(form, scene, |emit| {
        if options.level == Level::Weak {
            emit(Event::Warning(broken_promises()));
        }
        session::run(&project, planned, &options, &interrupt, emit)
    });
    done.map(Exit::Run).map_err(|error| {
        ui::complain(&error.to_string(), Some("`kiln doctor` says what this machine can do"));
        Exit::Machine
    })
}

fn options(arguments: &RunArgs, pipeline: &Pipeline, folder: &Path) -> Result<RunOptions, Exit> {
    let (plan, graph) = pipeline.plan.as_ref().expect("a pipeline without errors has a plan");
    let wanted = super::select(plan, &arguments.stages)?;
    let is_needed = graph.closure(&wanted);
    let rerun = match arguments.rerun.is_empty() {
        true => Vec::new(),
        false => super::select(plan, &arguments.rerun)?,
    };
    if let Some(astray) = rerun.iter().find(|id: &&StepId| !is_needed[id.index()]) {
        let name = &plan.step(*astray).stage;
        ui::complain(
            &format!("`--rerun {name}`: none of the stages to run needs `{name}`"),
            Some(&format!("run it, too: kiln run {} {name}", arguments.stages.join(" "))),
        );
        return Err(Exit::Usage);
    }
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(RunOptions {
        run: ui::run_id(),
        stages: arguments.stages.clone(),
        wanted,
        rerun,
        jobs: arguments
            .jobs
            .map_or_else(|| u32::try_from(processors()).unwrap_or(1), std::num::NonZero::get),
        keep_going: arguments.keep_going,
        out: Some(match &arguments.out {
            Some(out) => folder.join(out),
            None => PathBuf::from(session::OUT_FOLDER),
        }),
        replays: false,
        store: super::store(&arguments.cache)?,
        level: match arguments.sandbox {
            Sandbox::Namespaces => Level::Namespaces,
            Sandbox::Weak => Level::Weak,
        },
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect(),
    })
}

fn scene<'a>(
    arguments: &RunArgs,
    project: &Project,
    pipeline: &'a Pipeline,
    folder: PathBuf,
) -> Scene<'a> {
    let (plan, _) = pipeline.plan.as_ref().expect("a pipeline without errors has a plan");
    Scene {
        screen: Screen::of_stderr(),
        sources: &pipeline.sources,
        plan,
        root: project.root.clone(),
        folder,
        options: next_options(&arguments.pipeline, &arguments.cache),
    }
}

/// The options that another command needs to speak of the same run.
fn next_options(pipeline: &PipelineArgs, cache: &CacheArgs) -> String {
    let mut options = String::new();
    for (flag, path) in [("-f", &pipeline.file), ("--cache", &cache.cache)] {
        if let Some(path) = path {
            options.push_str(&format!(" {flag} {}", shell_word(&path.to_string_lossy())));
        }
    }
    options
}

fn broken_promises() -> Warning {
    let promises = session::WEAK_BREAKS.join("\n  - ");
    Warning {
        message: format!("the weak sandbox was asked for, so in this run:\n  - {promises}"),
        help: None,
        step: None,
    }
}
