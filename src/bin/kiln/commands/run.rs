//! `kiln run`: runs stages and all they need, and shows how it goes.

mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use kiln::event::{Event, Warning};
use kiln::plan::Plan;
use kiln::plan::graph::Graph;
use kiln::session::{
    self, Ended, Fact, Finding, Interrupt, Level, Pipeline, Planned, Project, Record, RunOptions,
    Selection, Workspace,
};
use kiln::source::Sources;

use crate::cli::{PipelineArgs, RunArgs, Sandbox, Ui};
use crate::exit::Exit;
use crate::signals::Watch;
use crate::ui;
use crate::ui::amount::shell_word;
use crate::ui::reader::AtOnce;
use crate::ui::scene::Scene;
use crate::ui::screen::Screen;

pub(crate) fn run(arguments: &RunArgs, form: Ui) -> Result<Exit, Exit> {
    match arguments.watch {
        true => watch::run(arguments, form),
        false => once(arguments, form),
    }
}

/// Runs what the arguments ask for.
fn once(arguments: &RunArgs, form: Ui) -> Result<Exit, Exit> {
    let project = super::project(arguments.pipeline.file.as_deref())?;
    let params = super::params(&project, &arguments.pipeline)?;
    let mut workspace = Workspace::open(&project, &params, super::facts(&project.root));
    let mut unkept = Record::unkept();
    let mut options = options(arguments, unkept.run(), is_trusted(&project))?;
    let mut at_once = AtOnce::new(form, scene(arguments, &project)?);
    if arguments.rerun.is_empty() {
        session::served(&workspace, &options, &mut |event| at_once.hear(unkept.add(event)));
    }
    let Some(mut scene) = at_once.end() else { return Ok(Exit::Done) };
    let mut record = workspace.record();
    record.run().clone_into(&mut options.run);
    let planned = workspace.plan().map_err(|error| {
        ui::complain(&error.to_string(), None);
        Exit::Machine
    })?;
    let (sources, planned) = usable(planned, &mut record, form)?;
    let (plan, graph) = &planned;
    options.wanted = super::select(plan, &arguments.stages)?;
    may_rerun(arguments, plan, graph, &options.wanted)?;
    scene.sources = sources;
    let board = Arc::clone(&scene.plan);
    let known = |plan: &Arc<Plan>| {
        *board.lock().expect("no holder panics") = Some(Arc::clone(plan));
    };
    known(plan);
    all_given(plan, graph, &options)?;
    let fault = |error: std::io::Error| {
        ui::complain(&format!("the machine has no room for a run: {error}"), None);
        Exit::Machine
    };
    let interrupt = Interrupt::new().map_err(fault)?;
    let _watch = Watch::begin(interrupt.clone()).map_err(fault)?;
    let done = ui::reader::shown(form, scene, |emit| {
        let mut emit = |event| emit(record.add(event));
        if options.level == Level::Weak {
            emit(Event::Warning(broken_promises()));
        }
        if options.wanted == Selection::default() {
            emit(Event::Warning(no_steps()));
        }
        session::run(workspace, planned, &options, &interrupt, &mut { known }, &mut emit)
    });
    if let Some(fault) = record.take_fault().filter(|_| form != Ui::Jsonl) {
        ui::tell(&format!("warning: `kiln log` will not know this run, or not all of it: {fault}"));
    }
    let ended = done.map_err(|error| {
        ui::complain(&error.to_string(), Some("`kiln doctor` says what this machine can do"));
        Exit::Machine
    })?;
    match ended {
        Ended::Exit(exit) => Ok(Exit::Run(exit)),
        Ended::Mistaken(pipeline) => {
            ui::diagnostics(&pipeline.sources, &pipeline.diagnostics, form);
            Err(Exit::Pipeline)
        }
    }
}

/// Shows what was found in a new plan's pipeline; returns the plan if it can run.
fn usable(
    planned: Planned,
    record: &mut Record,
    form: Ui,
) -> Result<(Sources, (Arc<Plan>, Graph)), Exit> {
    match planned {
        Planned::Kept(planned) => Ok((Sources::default(), *planned)),
        Planned::Made(pipeline) => {
            match form {
                Ui::Jsonl => pipeline.diagnostics.iter().for_each(|found| {
                    ui::json(&record.add(Event::diagnostic(found, &pipeline.sources)));
                }),
                form => ui::diagnostics(&pipeline.sources, &pipeline.diagnostics, form),
            }
            let Pipeline { sources, plan, .. } = *pipeline;
            Ok((sources, plan.ok_or(Exit::Pipeline)?))
        }
    }
}

/// Complains of stages to run again that are not among those that run at all.
fn may_rerun(
    arguments: &RunArgs,
    plan: &Plan,
    graph: &Graph,
    wanted: &Selection,
) -> Result<(), Exit> {
    if arguments.rerun.is_empty() {
        return Ok(());
    }
    let is_needed = graph.closure(&wanted.steps);
    let Selection { steps: rerun, skipped, late } = super::select(plan, &arguments.rerun)?;
    if let Some(skipped) = skipped.first().filter(|_| rerun.is_empty() && late.is_empty()) {
        let message = format!("`--rerun {}`: {}", skipped.name, skipped.why);
        ui::complain(&message, Some("kiln plan  shows which steps there are"));
        return Err(Exit::Usage);
    }
    let astray = rerun.iter().find(|id| !is_needed[id.index()]);
    // What a late stage needs is not known yet.
    if let Some(astray) = astray.filter(|_| wanted.late.is_empty()) {
        let name = &plan.step(*astray).stage;
        ui::complain(
            &format!("`--rerun {name}`: none of the stages to run needs `{name}`"),
            Some(&format!("run it, too: kiln run {} {name}", arguments.stages.join(" "))),
        );
        return Err(Exit::Usage);
    }
    Ok(())
}

/// Returns whether the CI, if there is one, lets the run have secrets.
fn is_trusted(project: &Project) -> bool {
    super::facts(&project.root).find(Fact::CiTrusted) != Finding::Flag(false)
}

/// Complains of secrets that nothing gives.
fn all_given(plan: &Plan, graph: &Graph, options: &RunOptions) -> Result<(), Exit> {
    let unbound = session::unbound(plan, graph, options);
    if unbound.is_empty() {
        return Ok(());
    }
    let each: Vec<_> =
        unbound.iter().map(|(secret, step)| format!("`{secret}`, for `{step}`")).collect();
    let message = match &each[..] {
        [only] => format!("nothing gives the secret {only}"),
        all => format!("nothing gives these secrets:\n  - {}", all.join("\n  - ")),
    };
    let names = unbound.iter().map(|(secret, _)| secret);
    let variables: Vec<_> = names.clone().map(|name| session::secret_variable(name)).collect();
    let sources: Vec<_> = names.map(|name| format!("--secret {name}=file:PATH")).collect();
    let help = format!(
        "set {}, or say where it comes from: {}",
        variables.join(" and "),
        sources.join(" ")
    );
    ui::complain(&message, Some(&help));
    Err(Exit::Usage)
}

/// Returns all options but the steps, which only a plan knows.
fn options(arguments: &RunArgs, run: &str, is_trusted: bool) -> Result<RunOptions, Exit> {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(RunOptions {
        run: run.to_owned(),
        stages: arguments.stages.clone(),
        wanted: Selection::default(),
        rerun: arguments.rerun.clone(),
        verify: arguments.verify.unwrap_or(0),
        slice: arguments.slice,
        jobs: arguments
            .jobs
            .map_or_else(|| u32::try_from(processors()).unwrap_or(1), std::num::NonZero::get),
        keep_going: arguments.keep_going,
        out: Some(match &arguments.out {
            Some(out) => super::current_folder()?.join(out),
            None => PathBuf::from(session::OUT_FOLDER),
        }),
        replays: false,
        store: super::store(&arguments.cache)?,
        level: match arguments.sandbox {
            Sandbox::Namespaces => Level::Namespaces,
            Sandbox::Weak => Level::Weak,
        },
        secrets: arguments.secrets.iter().cloned().collect(),
        folder: super::current_folder()?,
        is_trusted,
        environment: super::environment(),
    })
}

fn scene(arguments: &RunArgs, project: &Project) -> Result<Scene, Exit> {
    Ok(Scene {
        screen: Screen::of_stderr(),
        sources: Sources::default(),
        plan: Arc::default(),
        root: project.root.clone(),
        folder: super::current_folder()?,
        param_options: param_options(&arguments.pipeline),
        has_shells: matches!(arguments.sandbox, Sandbox::Namespaces),
        file_option: option("-f", arguments.pipeline.file.as_ref()),
        cache_option: option("--cache", arguments.cache.cache.as_ref()),
    })
}

/// The params as a next command needs them, with a blank before each.
fn param_options(arguments: &PipelineArgs) -> String {
    let files = arguments.param_files.iter().map(|file| option("--params", Some(file)));
    let params = arguments.params.iter();
    let params =
        params.map(|(name, value)| format!(" -p {}", shell_word(&format!("{name}={value}"))));
    files.chain(params).collect()
}

/// An option as a next command needs it, with a blank before it.
fn option(flag: &str, path: Option<&PathBuf>) -> String {
    path.map(|path| format!(" {flag} {}", shell_word(&path.to_string_lossy()))).unwrap_or_default()
}

fn no_steps() -> Warning {
    Warning {
        message: "there is nothing to run: the pipeline has no steps".to_owned(),
        help: Some(
            "kiln list  shows its stages; one whose matrix has no rows has no steps".to_owned(),
        ),
        step: None,
    }
}

fn broken_promises() -> Warning {
    let promises = session::WEAK_BREAKS.join("\n  - ");
    Warning {
        message: format!("the weak sandbox was asked for, so in this run:\n  - {promises}"),
        help: None,
        step: None,
    }
}
