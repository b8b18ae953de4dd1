//! The session: one pipeline of one project, from its files to a plan. The façade that the faces of
//! Kiln call, and the embedding API. Knows the order of the phases; does not know how anything is
//! shown.

mod late;
mod library;
mod machine;
mod run;
mod shell;
mod slice;
mod spec;
mod store;
mod terminal;
mod workspace;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use crate::diagnostic::{Diagnostic, Severity};
use crate::files::{self, Disk, Files, FilesError, Memory};
use crate::lang::late::LateData;
use crate::lang::pipeline::{self, Loaded, Wanted};
use crate::lang::{eval, module};
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::plan::step::{SkippedStep, StepId};
use crate::source::Sources;
use crate::syntax::fmt;

pub use library::{library_copy, library_text};
pub use machine::{Check, Found, FoundTool, Machine, Report, StoreState, examine};
pub use run::{
    DEFAULT_STORE_BYTES, Ended, Interrupt, RunError, RunOptions, StepLog, forecast, read_log, run,
    served, unbound,
};
pub use shell::{Left, SMALL_SHELL, Seen, ShellError, shell};
pub use slice::Slice;
pub use spec::{SpecResult, Specs, specs};
pub use store::{Checkup, Collected, Stats, collect, stats, verify};
pub use workspace::{Planned, Record, STATE_FOLDER, Workspace};

pub use crate::facts::{Fact, Facts, Finding};

pub use crate::engine::forecast::Forecast;
pub use crate::engine::key::Level;
pub use crate::sandbox::WEAK_BREAKS;
pub use crate::snapshot::watch::{FolderStates, FolderWatch, Waited};

pub use crate::secret::{Source, variable as secret_variable};

pub use crate::lang::catalog::{Catalog, CatalogParam, CatalogStage};
pub use crate::lang::pipeline::{Depth, OUT_FOLDER};

/// A project and the pipeline in it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The project's root: an absolute path.
    pub root: PathBuf,
    /// The pipeline's file, as a path below the root with `/`.
    pub file: String,
}

/// Why no pipeline was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Neither the folder nor one above it has a `pipeline.pipe`.
    #[error("no `pipeline.pipe` in `{}` or any folder above it", .0.display())]
    NoPipeline(PathBuf),
    /// The file that was named cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// The path of the file is not UTF-8, so no message could name it.
    #[error("the path `{}` is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
}

impl Project {
    /// Finds the pipeline: `file` if one is named (relative to `folder`), else the `pipeline.pipe`
    /// of `folder` or of the nearest folder above it.
    ///
    /// The project's root is the nearest folder at or above the pipeline that holds `.git`; without
    /// one, the outermost folder above it that has a `pipeline.pipe`.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn find(folder: &Path, file: Option<&Path>) -> Result<Self, FindError> {
        let path = match file {
            Some(file) => folder.join(file),
            None => {
                let package = files::nearest_package(folder);
                let package = package.ok_or_else(|| FindError::NoPipeline(folder.to_owned()))?;
                package.join(module::PACKAGE_FILE)
            }
        };
        let unreadable = |source| FindError::Unreadable { path: path.clone(), source };
        let path = path.canonicalize().map_err(unreadable)?;
        if path.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(FindError::Unreadable { path, source });
        }
        let package = path.parent().unwrap_or(&path);
        let root = files::project_root(package).to_owned();
        let file = path
            .strip_prefix(&root)
            .expect("the root is above the file")
            .to_str()
            .map(str::to_owned);
        match file {
            Some(file) => Ok(Self { root, file }),
            None => Err(FindError::NotUtf8(path)),
        }
    }

    /// Returns the folder of the pipeline's file: an absolute path. Outs and state stand in it.
    pub fn package(&self) -> PathBuf {
        let folder = files::parent(&self.file);
        if folder.is_empty() { self.root.clone() } else { self.root.join(folder) }
    }
}

/// What became of a pipeline's files.
#[derive(Debug)]
pub struct Pipeline {
    /// The texts that diagnostics point into.
    pub sources: Sources,
    /// All that was found, by place.
    pub diagnostics: Vec<Diagnostic>,
    /// What the pipeline offers; complete only without errors.
    pub catalog: Catalog,
    /// The plan and its graph, unless there were errors or only a check was wanted and params have
    /// no value.
    pub plan: Option<(Arc<Plan>, Graph)>,
}

impl Pipeline {
    /// Returns whether anything found keeps the pipeline from running.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }
}

/// A pipeline's file could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LoadError(#[from] FilesError);

/// Loads, checks and evaluates the pipeline of `project` with params given as text, by name.
/// `facts` are what it may ask of the machine.
///
/// # Errors
/// If the pipeline's own file cannot be read. Everything else is a diagnostic.
pub fn load(
    project: &Project,
    params: &IndexMap<String, String>,
    facts: &Facts,
    depth: Depth,
) -> Result<Pipeline, LoadError> {
    let disk = Disk::new(&project.root);
    let late = LateData::default();
    on_large_stack(|| load_from(&disk, &project.file, params, (facts, &late), depth))
}

/// As [`load`], from texts in memory: what a benchmark or a fuzz target has.
///
/// # Errors
/// If `file` is none of the texts.
pub fn load_texts(
    texts: &IndexMap<String, String>,
    file: &str,
    params: &IndexMap<String, String>,
    facts: &Facts,
    depth: Depth,
) -> Result<Pipeline, LoadError> {
    let mut memory = Memory::default();
    for (path, text) in texts {
        memory.insert(path.as_str(), text.as_str());
    }
    let late = LateData::default();
    on_large_stack(|| load_from(&memory, file, params, (facts, &late), depth))
}

fn load_from(
    disk: &dyn Files,
    file: &str,
    params: &IndexMap<String, String>,
    (facts, late): (&Facts, &LateData),
    depth: Depth,
) -> Result<Pipeline, LoadError> {
    let wanted = Wanted { params, facts, late, depth, explained: false };
    let Loaded { program, diagnostics, catalog, plan, .. } = pipeline::load(disk, file, wanted)?;
    Ok(Pipeline { sources: program.sources, diagnostics, catalog, plan })
}

/// A `.pipe` file made over in the one style.
#[derive(Debug)]
pub struct Formatted {
    /// The text that diagnostics point into, under the name it was given.
    pub sources: Sources,
    /// What keeps it from being formatted: mistakes of its text.
    pub diagnostics: Vec<Diagnostic>,
    /// The text in the one style; `None` if there were mistakes.
    pub text: Option<String>,
}

/// Writes `bytes`, the `.pipe` file called `name`, in the one style. Names, types and other files do
/// not matter.
pub fn format(name: &str, bytes: Vec<u8>) -> Formatted {
    on_large_stack(|| {
        let (old, formatted) = fmt::format_file(bytes);
        let (text, diagnostics) = match formatted {
            Ok(text) => (Some(text), Vec::new()),
            Err(diagnostics) => (None, diagnostics),
        };
        let mut sources = Sources::default();
        sources.add(name, old);
        Formatted { sources, diagnostics, text }
    })
}

/// Does something on threads whose stacks fit the trees of the language.
pub(crate) fn on_large_stack<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    pipeline::threads().install(act)
}

/// A name on the command line that means no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no stage is called `{name}`")]
pub struct NoSuchStage {
    /// The name.
    pub name: String,
    /// The nearest name there is.
    pub nearest: Option<String>,
}

/// What names on the command line mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The steps, in the order of their ids.
    pub steps: Vec<StepId>,
    /// What would be a step if the condition of its stage held.
    pub skipped: Vec<SkippedStep>,
    /// The stages, with their modules, whose rows are not all known before others have run.
    pub late: Vec<String>,
}

/// Returns what names on the command line mean: a stage with all its rows, one row as it is named in
/// the plan, or all stages of a module. No names mean all there is.
///
/// # Errors
/// If a name means nothing.
pub fn select(plan: &Plan, names: &[String]) -> Result<Selection, NoSuchStage> {
    let mut is_used = vec![false; names.len()];
    let mut is_meant = |step: &str, stage: &str| {
        let mut is_meant = names.is_empty();
        for (name, is_used) in names.iter().zip(&mut is_used) {
            let is_within = || stage.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            if step == name || stage == name || is_within() {
                (is_meant, *is_used) = (true, true);
            }
        }
        is_meant
    };
    let steps = plan.iter().filter(|(_, step)| is_meant(&step.name, &step.stage));
    let steps = steps.map(|(id, _)| id).collect();
    let skipped = plan.skipped.iter().filter(|step| is_meant(&step.name, &step.stage));
    let skipped = skipped.cloned().collect();
    let late = plan.late_stages.iter().filter(|late| late.is_open);
    let late = late.filter(|late| is_meant(&late.stage, &late.stage));
    let late = late.map(|late| late.stage.clone()).collect();
    let selection = Selection { steps, skipped, late };
    match names.iter().zip(is_used).find(|(_, is_used)| !is_used) {
        Some((name, _)) => {
            let known = plan.steps.iter().map(|step| step.stage.as_str());
            let known = known.chain(plan.skipped.iter().map(|step| step.stage.as_str()));
            let known = known.chain(plan.late_stages.iter().map(|late| late.stage.as_str()));
            let nearest = crate::lang::nearest::nearest(name, known).map(str::to_owned);
            Err(NoSuchStage { name: name.clone(), nearest })
        }
        None => Ok(selection),
    }
}

/// Returns what there is to know of a function, a stage's field, a fact or a part of the standard
/// library, by its name.
pub fn reference(name: &str) -> Option<String> {
    crate::lang::builtins::reference(name)
        .or_else(|| on_large_stack(|| crate::lang::library::page(name)))
}

/// Returns the name of the variable `KILN_PARAM_…` that sets a param.
pub fn param_variable(name: &str) -> String {
    format!("KILN_PARAM_{}", eval::variable(name))
}
