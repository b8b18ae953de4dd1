//! The workspace: a project with what its last run left. Knows when a plan need not be made again
//! and when nothing is to be done; does not know how either is found out.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;

use crate::digest::{Digest, Hasher};
use crate::engine::journal::{self, Journal};
use crate::engine::why;
use crate::event::{Envelope, Event, Reason};
use crate::facts::Facts;
use crate::files::{self, Disk};
use crate::lang::late::LateData;
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::snapshot::watch::{FolderStates, FolderWatch};
use crate::snapshot::watched::{Notes, Watched};
use crate::snapshot::{IngredientBook, Learned, MadeFrom, NewPlan, Snapshot};

use super::{Depth, LoadError, OUT_FOLDER, Pipeline, Project, load_from, on_large_stack};

/// The folder of Kiln's own files, beside the pipeline's file.
pub const STATE_FOLDER: &str = ".kiln";

/// A project and what is known of it from earlier runs.
pub struct Workspace {
    pub(super) project: Project,
    pub(super) disk: Disk,
    pub(super) snapshot: Snapshot,
    facts: Facts,
    params: IndexMap<String, String>,
    /// All that a plan is made from beside files.
    settings: Digest,
    /// What a new plan was made from.
    made_from: Option<Notes>,
    /// Whether a plan would be that of the last run.
    is_current: OnceLock<bool>,
    /// Whether the plan is that of the last run.
    is_plan_kept: bool,
}

/// Where a plan came from.
#[derive(Debug)]
pub enum Planned {
    /// From the last run: all it was made from is as it was.
    Kept(Box<(Arc<Plan>, Graph)>),
    /// From the pipeline's files, with all that was found in them.
    Made(Box<Pipeline>),
}

impl Workspace {
    /// Opens the workspace of `project` for runs with these params and facts.
    pub fn open(project: &Project, params: &IndexMap<String, String>, facts: Facts) -> Self {
        // Without the folder there is no filesystem's clock to read, and nothing is believed.
        let folder = project.package().join(STATE_FOLDER);
        let _ = std::fs::create_dir_all(&folder);
        keep_from_git(&folder);
        Self::look(project, params, facts)
    }

    /// Opens the workspace of `project` to look at it: nothing is written.
    pub fn look(project: &Project, params: &IndexMap<String, String>, facts: Facts) -> Self {
        let file = project.package().join(STATE_FOLDER).join("snapshot");
        let snapshot = Snapshot::load(&file, &project.root);
        let disk = Disk::new(&project.root);
        let settings = settings(project, params);
        let (project, params) = (project.clone(), params.clone());
        Self {
            project,
            disk,
            snapshot,
            facts,
            params,
            settings,
            made_from: None,
            is_current: OnceLock::new(),
            is_plan_kept: false,
        }
    }

    /// Begins to watch the folders that the last run read from or looked for files in.
    ///
    /// # Errors
    /// When the system has no room for another watch: `/proc/sys/fs/inotify` has the limits.
    pub fn watch_folders(&self) -> io::Result<FolderWatch> {
        FolderWatch::new(&self.project.root, self.folders())
    }

    /// Looks into the same folders as [`Workspace::watch_folders`].
    pub fn folder_states(&self) -> FolderStates {
        FolderStates::now(&self.project.root, self.folders())
    }

    /// Returns the folders that the last run read from or looked for files in, relative to the project's
    /// root.
    fn folders(&self) -> BTreeSet<Box<str>> {
        let own = files::parent(&self.project.file).into();
        let is_hidden =
            |path: &str| path.split('/').any(|name| matches!(name, ".git" | STATE_FOLDER));
        let folders = self.snapshot.folders().filter(|folder| !is_hidden(folder));
        folders.chain([own]).collect()
    }

    /// Begins the record of a new run.
    pub fn record(&self) -> Record {
        Record(Journal::begin(&self.runs()))
    }

    /// Returns the ids of the runs that are kept, the latest first.
    pub fn past_runs(&self) -> Vec<String> {
        journal::list(&self.runs())
    }

    /// Returns the events of a run that is kept. The logs of steps that were served from the cache
    /// are not among them: [`read_log`](super::read_log) has them.
    ///
    /// # Errors
    /// If there is no such run, or it cannot be read.
    pub fn past_run(&self, run: &str) -> io::Result<impl Iterator<Item = Envelope> + use<>> {
        journal::read(&self.runs(), run)
    }

    /// Returns the events of a journal that may be of another machine.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn foreign_run(file: &Path) -> io::Result<impl Iterator<Item = Envelope> + use<>> {
        journal::read_file(file)
    }

    /// Returns what differs between two keys of a step, if it is still known what went into both. What
    /// is known is kept with the runs of this project, and beside the journals `foreign`.
    pub fn differences(
        &self,
        step: &str,
        (before, now): (Digest, Digest),
        foreign: &[PathBuf],
    ) -> Option<Vec<Reason>> {
        let runs = self.runs();
        let own = self.past_runs().into_iter().map(|run| journal::path(&runs, &run));
        let kept = foreign.iter().cloned().chain(own);
        let mut books = kept
            .filter_map(|file| IngredientBook::of_bytes(&journal::read_book(&file)?))
            .chain(std::iter::once_with(|| self.snapshot.ingredients()));
        let is_known = |book: &IngredientBook, key| {
            book.steps.get(step).is_some_and(|known| known.key == Some(key))
        };
        let (mut old, mut new) = (None, None);
        while let Some(book) = books.next().filter(|_| old.is_none() || new.is_none()) {
            let book = Arc::new(book);
            if old.is_none() && is_known(&book, before) {
                old = Some(Arc::clone(&book));
            }
            if new.is_none() && is_known(&book, now) {
                new = Some(book);
            }
        }
        let (old, new) = (old?, new?);
        let (files_before, files_now) = (|set: &Digest| old.set(set), |set: &Digest| new.set(set));
        let known = (old.steps.get(step)?, new.steps.get(step)?);
        Some(why::differences((known.0, &files_before), (known.1, &files_now)))
    }

    /// Keeps what went into the keys of a run's steps, if its journal is kept.
    pub(super) fn keep_book(&self, run: &str, learned: &Learned) {
        if !journal::path(&self.runs(), run).exists() {
            return;
        }
        // Without it less can be said later, and nothing else.
        let _ = journal::write_book(&self.runs(), run, &learned.ingredients.to_bytes());
    }

    fn runs(&self) -> PathBuf {
        self.project.package().join(STATE_FOLDER).join("runs")
    }

    /// Returns whether a plan made now would be that of the last run. Found out once.
    pub(super) fn is_current(&self) -> bool {
        *self
            .is_current
            .get_or_init(|| self.snapshot.is_current(self.settings, &self.facts, &self.disk))
    }

    /// Returns the plan: that of the last run if it would be the same, else a new one.
    ///
    /// # Errors
    /// If the pipeline's own file cannot be read. Everything else is a diagnostic.
    pub fn plan(&mut self) -> Result<Planned, LoadError> {
        if self.is_current() {
            let kept = self.snapshot.plan().and_then(|plan| Some((Graph::new(&plan).ok()?, plan)));
            // Rows that came from a step's out may be others when the step has run again.
            if let Some((graph, plan)) = kept.filter(|(_, plan)| plan.late_stages.is_empty()) {
                self.is_plan_kept = true;
                return Ok(Planned::Kept(Box::new((Arc::new(plan), graph))));
            }
        }
        let (pipeline, notes) = self.make(&LateData::default())?;
        self.made_from = notes;
        Ok(Planned::Made(Box::new(pipeline)))
    }

    /// Returns whether the plan that was last asked for is that of the last run.
    pub(super) fn is_plan_kept(&self) -> bool {
        self.is_plan_kept
    }

    /// Remembers the times of files that were read once more and held what they held.
    pub(super) fn save_times(&self) -> io::Result<()> {
        match self.snapshot.memory().has_looked() {
            true => self.snapshot.save_times(&self.disk),
            false => Ok(()),
        }
    }

    /// Makes the plan from the pipeline's files, with the lists that are known by now, and returns what
    /// it was made from.
    pub(super) fn make(&self, late: &LateData) -> Result<(Pipeline, Option<Notes>), LoadError> {
        let (root, file) = (&self.project.root, &self.project.file);
        let out = files::join(files::parent(file), OUT_FOLDER);
        let watched = Watched::new(&self.disk, root, self.snapshot.memory(), vec![out]);
        let known = (&self.facts, late);
        let pipeline =
            on_large_stack(|| load_from(&watched, file, &self.params, known, Depth::Plan))?;
        // Findings are to be shown in each run, so a plan with any is made each time.
        let notes = pipeline.diagnostics.is_empty().then(|| watched.notes());
        Ok((pipeline, notes))
    }

    /// Remembers the plan, and what a run of it learned. `made_from` are the notes of a plan that was made
    /// again on the way.
    pub(super) fn save(
        self,
        plan: &Arc<Plan>,
        made_from: Option<Notes>,
        mut learned: Learned,
    ) -> io::Result<()> {
        learned.plan = made_from.or(self.made_from).map(|notes| NewPlan {
            plan: Arc::clone(plan),
            made_from: MadeFrom { settings: self.settings, facts: self.facts.asked(), notes },
        });
        self.snapshot.save(learned, &self.disk)
    }
}

/// The record of a run: numbers and dates its events, and keeps them.
pub struct Record(Journal);

impl Record {
    /// Returns a record that numbers and dates events and keeps none: of what is no run, or of one
    /// that does nothing.
    pub fn unkept() -> Self {
        Self(Journal::unkept())
    }

    /// Returns the id of the run.
    pub fn run(&self) -> &str {
        self.0.run()
    }

    /// Adds an event; returns it as listeners are told of it.
    pub fn add(&mut self, event: Event) -> Envelope {
        self.0.add(event)
    }

    /// Returns why the run is not kept, or not as a whole, once.
    pub fn take_fault(&mut self) -> Option<io::Error> {
        self.0.take_fault()
    }
}

/// Keeps a folder of Kiln's own out of the project's history, unless its owner decided about that.
pub(super) fn keep_from_git(folder: &Path) {
    let path = folder.join(".gitignore");
    if folder.is_dir() && !path.exists() {
        // Nothing depends on it.
        let _ = std::fs::write(path, "*\n");
    }
}

fn settings(project: &Project, params: &IndexMap<String, String>) -> Digest {
    let mut hasher = Hasher::tagged("kiln plan settings 1");
    hasher.field(env!("CARGO_PKG_VERSION").as_bytes());
    // One version may be built more than once while it is worked on; the standard library is in it.
    if let Ok(program) = std::fs::metadata("/proc/self/exe") {
        hasher.field(&program.len().to_le_bytes());
        hasher.field(&program.mtime_nsec().to_le_bytes());
        hasher.field(&program.mtime().to_le_bytes());
    }
    hasher.field(project.root.as_os_str().as_encoded_bytes());
    hasher.field(project.file.as_bytes());
    let mut params: Vec<_> = params.iter().collect();
    params.sort_unstable();
    for (name, value) in params {
        hasher.field(name.as_bytes());
        hasher.field(value.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::event::{Counts, Outcome};
    use crate::session::{Interrupt, RunOptions, Selection, read_log, run, select, served};

    const PIPELINE: &str = r#"
build lib for (c in files("src/*.c")) {
  run sh "cat {{c}} >{{out.o}}; echo made {{c}}"
  out o: file
}

test all {
  run sh "cat {{[lib[c: c].o for c in files("src/*.c")]}}"
}
"#;

    fn options(root: &Path) -> RunOptions {
        RunOptions {
            secrets: BTreeMap::new(),
            folder: root.to_owned(),
            is_trusted: true,
            run: "r".into(),
            level: crate::session::Level::Namespaces,
            stages: Vec::new(),
            wanted: Selection::default(),
            rerun: Vec::new(),
            verify: 0,
            slice: None,
            jobs: 2,
            keep_going: false,
            out: Some("out".into()),
            replays: false,
            store: root.join("store"),
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".into())]),
        }
    }

    /// Runs the pipeline as a face does; returns whether the plan was kept, and the counts.
    fn go(root: &Path) -> (&'static str, Counts) {
        let project = Project::find(&root.join("project"), None).unwrap();
        let params = IndexMap::new();
        let mut workspace = Workspace::open(&project, &params, Facts::default());
        let mut counts = None;
        let mut note = |event: Event| {
            if let Event::RunFinished(run) = &event {
                counts = Some(run.counts);
            }
            event
        };
        let mut options = options(root);
        let mut how = "served";
        if !served(&workspace, &options, &mut |event| drop(note(event))) {
            let mut record = workspace.record();
            let mut emit = |event| drop(record.add(note(event)));
            let planned = workspace.plan().unwrap();
            how = if matches!(planned, Planned::Kept(..)) { "kept" } else { "made" };
            let plan = match planned {
                Planned::Kept(planned) => *planned,
                Planned::Made(pipeline) => {
                    assert!(pipeline.diagnostics.is_empty(), "{:?}", pipeline.diagnostics);
                    pipeline.plan.unwrap()
                }
            };
            options.wanted = select(&plan.0, &[]).unwrap();
            let interrupt = Interrupt::new().unwrap();
            run(workspace, plan, &options, &interrupt, &mut |_| {}, &mut emit).unwrap();
        }
        (how, counts.unwrap())
    }

    fn ran(ran: u32, cached: u32) -> Counts {
        Counts { ran, cached, ..Counts::default() }
    }

    #[test]
    fn a_workspace_does_only_what_is_left_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.join("project").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("pipeline.pipe", PIPELINE);
        write("src/a.c", "a\n");
        write("src/b.c", "b\n");
        assert_eq!(go(&root), ("made", ran(3, 0)));
        assert_eq!(go(&root), ("served", ran(0, 3)));
        write("src/a.c", "a\n");
        assert_eq!(go(&root), ("served", ran(0, 3)), "touched");
        write("src/a.c", "x\n");
        assert_eq!(go(&root), ("kept", ran(2, 1)), "edited");
        write("src/c.c", "c\n");
        assert_eq!(go(&root), ("made", ran(2, 2)), "a new file for the glob");
        std::fs::remove_file(root.join("project/src/c.c")).unwrap();
        assert_eq!(go(&root), ("made", ran(0, 3)), "gone again");
        write("pipeline.pipe", &PIPELINE.replace("echo made", "echo done"));
        assert_eq!(go(&root), ("made", ran(2, 1)), "edited pipeline");
        std::fs::remove_dir_all(root.join("project/out")).unwrap();
        assert_eq!(go(&root), ("kept", ran(0, 3)), "no outs");
        std::fs::remove_dir_all(root.join("project/.kiln")).unwrap();
        assert_eq!(go(&root), ("made", ran(0, 3)), "no snapshot");
        std::fs::remove_dir_all(root.join("store")).unwrap();
        assert_eq!(go(&root), ("served", ran(0, 3)), "nothing is needed of the store");
        write("src/b.c", "y\n");
        assert_eq!(go(&root), ("kept", ran(3, 0)), "now it is");
    }

    #[test]
    fn past_runs_and_logs_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("project/src")).unwrap();
        std::fs::write(root.join("project/src/a.c"), "a").unwrap();
        std::fs::write(root.join("project/pipeline.pipe"), PIPELINE).unwrap();
        go(&root);
        std::fs::remove_dir_all(root.join("project/out")).unwrap();
        assert_eq!(go(&root).0, "kept");
        assert_eq!(go(&root).0, "served", "which is not worth keeping");
        let project = Project::find(&root.join("project"), None).unwrap();
        let workspace = Workspace::open(&project, &IndexMap::new(), Facts::default());
        let runs = workspace.past_runs();
        assert_eq!(runs.len(), 2);
        let events: Vec<_> = workspace.past_run(&runs[0]).unwrap().collect();
        let log = events.iter().find_map(|envelope| match &envelope.event {
            Event::StepFinished(step) if step.stage == "lib" => {
                assert_eq!(step.outcome, Outcome::Cached);
                Some((step.log?, step.log_bytes?))
            }
            _ => None,
        });
        let (digest, bytes) = log.unwrap();
        let log = read_log(&root.join("store"), digest, bytes).unwrap();
        assert_eq!(log.pieces().next().unwrap().1, b"made src/a.c\n");
    }
}
