//! Running a pipeline: a plan, a store and a sandbox brought together. Knows what the engine needs;
//! does not know how a run is shown, nor how its options are written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::{Blob, CacheError, Store};
use crate::digest::Digest;
use crate::engine;
use crate::engine::forecast::Forecast;
use crate::engine::host::Host;
use crate::engine::inputs::Pantry;
use crate::engine::key::Level;
use crate::engine::learn::serve;
use crate::engine::log::frames;
use crate::engine::run::{Machine, Request};
use crate::engine::stop::Stop;
use crate::engine::stores::Stores;
use crate::event::{Event, Stream, Warning};
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::plan::step::StepId;
use crate::sandbox::{Cells, Launcher, Sandbox, SandboxError, Weak, give_back_memory};
use crate::secret::{Source, Vault};
use crate::snapshot::Cleaned;

use super::late::{self, Asked, Known, Lists};
use super::workspace::STATE_FOLDER;
use super::{Pipeline, Project, Record, Selection, Slice, Workspace};

/// The bytes that a store takes at most after a day's first run: 20 GiB.
pub const DEFAULT_STORE_BYTES: u64 = 20 << 30;

/// From so many steps on, what it took to make the plan is worth giving back before they run.
const LARGE_PLAN: usize = 1_000;

/// The name of the file with the project's key, in its state folder.
const PROJECT_KEY: &str = "project-key";

/// How a pipeline is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The id of the run; unique among the runs of the project.
    pub run: String,
    /// The stages that were asked for, by name; none for all there are.
    pub stages: Vec<String>,
    /// The steps that these are in the plan; what they need runs, too.
    pub wanted: Selection,
    /// The stages that run even if their results are known, by name.
    pub rerun: Vec<String>,
    /// Of how many of 100 steps it is seen whether they make the same when they run once more, 0 to 100.
    pub verify: u8,
    /// Which part of what was asked for runs here; all of it without.
    pub slice: Option<Slice>,
    /// How many steps of one processor run beside each other, at least 1.
    pub jobs: u32,
    /// Whether a failure lets steps start that do not wait for it.
    pub keep_going: bool,
    /// The folder for the outs of the wanted steps; relative ones count from the pipeline's folder.
    /// `None` for none.
    pub out: Option<PathBuf>,
    /// Whether steps served from the cache say again what they said.
    pub replays: bool,
    /// The folder of the store.
    pub store: PathBuf,
    /// How well steps are walled in.
    pub level: Level,
    /// Where the secrets come from whose source is given, by name with their module; others come from
    /// the variable [`secret_variable`](super::secret_variable).
    pub secrets: BTreeMap<String, Source>,
    /// The folder that relative paths of secrets count from.
    pub folder: PathBuf,
    /// Whether the run is trusted. In one that is not, a step without a secret that it needs is skipped.
    pub is_trusted: bool,
    /// Kiln's own environment: tools of the machine are found through its `PATH`.
    pub environment: BTreeMap<String, OsString>,
}

impl RunOptions {
    /// Returns the options of a trusted run with the store in this folder: of nothing yet
    /// ([`RunOptions::wanted`] says what), on all processors, with the outs in `out` beside the pipeline,
    /// and without any environment, so without tools of the machine that are not in its system
    /// directories.
    pub fn new(store: PathBuf) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            run: Record::unkept().run().to_owned(),
            stages: Vec::new(),
            wanted: Selection::default(),
            rerun: Vec::new(),
            verify: 0,
            slice: None,
            jobs: u32::try_from(processors).unwrap_or(u32::MAX),
            keep_going: false,
            out: Some(PathBuf::from(super::OUT_FOLDER)),
            replays: false,
            store,
            level: Level::Namespaces,
            secrets: BTreeMap::new(),
            folder: PathBuf::from("."),
            is_trusted: true,
            environment: BTreeMap::new(),
        }
    }
}

/// Interrupts a run from another thread. The first time asks all steps to end and kills them after a
/// grace of two seconds; the second time kills them at once.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<Stop>);

impl Interrupt {
    /// Returns an interrupt that nobody has used.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(Arc::new(Stop::new()?)))
    }

    /// Interrupts the run as the signal with that number would.
    pub fn interrupt(&self, signal: i32) {
        self.0.interrupt(signal);
    }

    /// Returns what a step in a sandbox hears.
    pub(super) fn stop(&self) -> &Stop {
        &self.0
    }

    /// Returns what Kiln exits with for it; `None` before it was used.
    pub fn exit(&self) -> Option<u8> {
        self.0.exit()
    }
}

/// Why a run could not begin. A retry is sensible once the cause is gone.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store cannot be used, and neither can a temporary one.
    #[error("the store cannot be used: {0}")]
    Store(String),
    /// The sandbox cannot be started.
    #[error("the sandbox cannot be started: {0}")]
    Sandbox(String),
    /// The pipeline's folder cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// The pipeline could not be read once more.
    #[error("the plan cannot be made again: {0}")]
    Pipeline(String),
}

/// Says all that a run would, if there is nothing to do: nothing at all has changed since the last
/// run that was asked for the same and ended well. Then Kiln exits with 0. Neither the pipeline nor
/// the store is opened.
pub fn served(workspace: &Workspace, options: &RunOptions, emit: &mut dyn FnMut(Event)) -> bool {
    if !workspace.is_current() {
        return false;
    }
    let host = host(workspace, options);
    let request = request(&workspace.project, options);
    let is_served = serve(&workspace.snapshot, &request, options.level, &host, emit).is_some();
    if is_served {
        // Should it fail, the next run reads the files once more.
        let _ = workspace.save_times();
    }
    is_served
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// With this exit code.
    Exit(u8),
    /// With exit code 3: what a step made does not fit the matrix that goes through it. This is the
    /// pipeline with what was found.
    Mistaken(Box<Pipeline>),
}

/// Runs the wanted steps of a plan and says what happens through `emit`; returns when nothing it started
/// is left. Where a matrix goes through what a step makes, that step runs first and the plan is made
/// again: `known` is told of each.
///
/// # Errors
/// If the run could not begin.
pub fn run(
    workspace: Workspace,
    planned: (Arc<Plan>, Graph),
    options: &RunOptions,
    interrupt: &Interrupt,
    known: &mut dyn FnMut(&Arc<Plan>),
    emit: &mut dyn FnMut(Event),
) -> Result<Ended, RunError> {
    let spare = std::env::temp_dir();
    let store = open_store(&options.store, &spare, emit)?;
    let sandbox =
        sandbox(&store, options.level).map_err(|error| RunError::Sandbox(error.to_string()))?;
    let host = host(&workspace, options);
    let vault = vault(options, &workspace.project.package().join(STATE_FOLDER));
    let machine = Machine {
        vault: &vault,
        project: &workspace.project.root,
        snapshot: &workspace.snapshot,
        store: &store,
        spare: &spare,
        sandbox: &*sandbox,
        level: options.level,
        host: &host,
        stop: &interrupt.0,
        memory_bytes: engine::host::memory_bytes(),
        is_plan_kept: workspace.is_plan_kept(),
    };
    let request = request(&workspace.project, options);
    let asked = Asked { request: &request, rerun: &options.rerun, slice: options.slice };
    let (lists, mut early) = late::lists(&workspace, planned, &asked, &machine, known, emit)?;
    let Known { planned: (plan, graph), notes, request } = match lists {
        Lists::Known(known) => *known,
        Lists::Ended(exit) => return Ok(Ended::Exit(exit)),
        Lists::Mistaken(pipeline) => {
            early.end_mistaken(emit);
            return Ok(Ended::Mistaken(pipeline));
        }
    };
    let is_large = plan.steps.len() > LARGE_PLAN;
    if is_large && !workspace.is_plan_kept() {
        give_back_memory();
    }
    let mut emit = |event| early.pass_rest(event, emit);
    let mut result = crate::engine::run::run(&plan, &graph, &request, &machine, &mut emit);
    if early.exit(0) != 0 {
        // The rest was done, and not all.
        result.learned.clean = Cleaned::Nothing;
    }
    drop(result.steps);
    if is_large {
        give_back_memory();
    }
    collect_garbage(&store);
    super::workspace::keep_from_git(&workspace.project.package().join(super::OUT_FOLDER));
    workspace.keep_book(&options.run, &result.learned);
    // A snapshot that cannot be written costs the next run some time, and nothing else.
    let _ = workspace.save(&plan, notes, result.learned);
    Ok(Ended::Exit(early.exit(result.exit)))
}

/// Returns the secrets that a run gets; the folder `state` has the project's key.
pub(super) fn vault(options: &RunOptions, state: &Path) -> Vault {
    let (sources, environment) = (options.secrets.clone(), options.environment.clone());
    let (folder, key_file) = (options.folder.clone(), state.join(PROJECT_KEY));
    Vault::new(sources, environment, folder, options.is_trusted, key_file)
}

/// Returns the secrets that the wanted steps and what they need would have, and that nothing gives:
/// each with the first step that has it. In a run that is not trusted there are none.
pub fn unbound(plan: &Plan, graph: &Graph, options: &RunOptions) -> Vec<(String, String)> {
    let mut unbound: Vec<(String, String)> = Vec::new();
    if !options.is_trusted {
        return unbound;
    }
    // Nothing is asked for its value.
    let vault = vault(options, Path::new(""));
    let wanted = &options.wanted.steps;
    let wanted = options.slice.map_or_else(|| wanted.clone(), |slice| slice.of(graph, wanted));
    let is_needed = graph.closure(&wanted);
    for (_, step) in plan.iter().filter(|(id, _)| is_needed[id.index()]) {
        for name in engine::secrets::unbound(plan, step, &vault) {
            if !unbound.iter().any(|(known, _)| known == name) {
                unbound.push((name.to_owned(), step.name.clone()));
            }
        }
    }
    unbound
}

/// Returns what a run of these steps with the store in the folder `store` would do, in an order that
/// keeps their needs. Nothing is run, and nothing in the project is changed.
///
/// # Errors
/// If neither that store nor an empty temporary one can be opened.
pub fn forecast(
    workspace: &Workspace,
    (plan, graph): &(Arc<Plan>, Graph),
    wanted: &[StepId],
    store: Option<&Path>,
    environment: BTreeMap<String, OsString>,
) -> Result<Vec<(StepId, Forecast)>, RunError> {
    let snapshot = &workspace.snapshot;
    let (root, memory) = (&workspace.project.root, snapshot.memory());
    let spare = std::env::temp_dir();
    // One that is not there is not made: it would only be empty.
    let store = match store.filter(|store| store.is_dir()) {
        Some(store) => Store::open_or_private(store, &spare).map(|(store, _)| store),
        None => Store::open_private(&spare),
    };
    let store = store.map_err(super::store::fault)?;
    let host = Host::look(root, environment, memory, snapshot.tools().clone());
    let stores = Stores::new(&store, &spare);
    // What depends on a secret is not looked at, so that none is read.
    let folder = PathBuf::new();
    let vault = Vault::new(BTreeMap::new(), BTreeMap::new(), folder.clone(), true, folder);
    let host = (&host, Level::Namespaces);
    let pantry = Pantry::new(plan, root.clone(), memory, stores, host, &vault);
    Ok(engine::forecast::forecast(plan, graph, wanted, &pantry, snapshot))
}

/// What a step wrote, as the store keeps it.
#[derive(Debug)]
pub struct StepLog(Vec<u8>);

impl StepLog {
    /// Returns the pieces that it was written in, and where each was written to.
    pub fn pieces(&self) -> impl Iterator<Item = (Stream, &[u8])> {
        frames(&self.0)
    }
}

/// Returns what a step wrote, from the store in the folder `store`, by the digest and the length that
/// the step's last event names.
///
/// # Errors
/// If the store cannot be used or no longer has the log.
pub fn read_log(store: &Path, digest: Digest, bytes: u64) -> Result<StepLog, RunError> {
    let store = super::store::open(store)?;
    store.read(Blob { digest, size: bytes }).map(StepLog).map_err(super::store::fault)
}

pub(super) fn host(workspace: &Workspace, options: &RunOptions) -> Host {
    let snapshot = &workspace.snapshot;
    let (root, environment) = (&workspace.project.root, options.environment.clone());
    Host::look(root, environment, snapshot.memory(), snapshot.tools().clone())
}

fn request(project: &Project, options: &RunOptions) -> Request {
    Request {
        run: options.run.clone(),
        stages: options.stages.clone(),
        wanted: options.wanted.steps.clone(),
        written: options.wanted.steps.clone(),
        skipped: options.wanted.skipped.clone(),
        jobs: options.jobs,
        keep_going: options.keep_going,
        rerun: Vec::new(),
        verify: options.verify.min(100),
        slice: options.slice.map(Slice::numbers),
        state: project.package().join(STATE_FOLDER),
        out: options.out.as_ref().map(|out| below_root(project, out)),
        replays: options.replays,
    }
}

/// Keeps the store below its size, once a day.
fn collect_garbage(store: &Store) {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    if store.is_collection_due(DAY) {
        // A store that is too large is no reason to fail a run; `kiln cache gc` says what is wrong.
        let _ = store.gc(DEFAULT_STORE_BYTES);
    }
}

/// A store that cannot be used slows a run down, and is no reason to fail it.
pub(super) fn open_store(
    path: &Path,
    spare: &Path,
    emit: &mut dyn FnMut(Event),
) -> Result<Store, RunError> {
    let fail = |error: CacheError| RunError::Store(error.to_string());
    let (store, refused) = Store::open_or_private(path, spare).map_err(fail)?;
    if let Some(refused) = refused {
        emit(Event::Warning(Warning {
            message: format!("{refused}; this run keeps its results in a temporary store"),
            help: Some("name another store: --cache DIR".to_owned()),
            step: None,
        }));
    }
    Ok(store)
}

pub(super) fn sandbox(store: &Store, level: Level) -> Result<Box<dyn Sandbox>, SandboxError> {
    let (launcher, scratch) = (Launcher::this_program()?, store.scratch().join("steps"));
    Ok(match level {
        Level::Namespaces => Box::new(Cells::new(launcher, scratch)?),
        Level::Weak => Box::new(Weak::new(launcher, scratch)?),
    })
}

/// The engine counts from the project's root.
fn below_root(project: &Project, out: &Path) -> PathBuf {
    Path::new(crate::files::parent(&project.file)).join(out)
}
