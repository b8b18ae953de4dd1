//! The workspace: a project with what its last run left. Knows when a plan need not be made again
//! and when nothing is to be done; does not know how either is found out.

use std::path::PathBuf;

use indexmap::IndexMap;

use crate::digest::{Digest, Hasher};
use crate::files::{self, Disk};
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::snapshot::watched::{Notes, Watched};
use crate::snapshot::{Learned, Snapshot};

use super::{Depth, LoadError, OUT_FOLDER, Pipeline, Project, load_from, on_large_stack};

/// The folder of Kiln's own files, beside the pipeline's file.
pub const STATE_FOLDER: &str = ".kiln";

/// A project and what is known of it from earlier runs.
pub struct Workspace {
    pub(super) project: Project,
    pub(super) disk: Disk,
    pub(super) snapshot: Snapshot,
    /// All that a plan is made from beside files.
    settings: Digest,
    /// What a new plan was made from.
    made_from: Option<Notes>,
}

/// Where a plan came from.
#[derive(Debug)]
pub enum Planned {
    /// From the last run: all it was made from is as it was.
    Kept(Plan, Graph),
    /// From the pipeline's files, with all that was found in them.
    Made(Box<Pipeline>),
}

impl Workspace {
    /// Opens the workspace of `project` for runs with these params.
    pub fn open(project: &Project, params: &IndexMap<String, String>) -> Self {
        // Without the folder there is no filesystem's clock to read, and nothing is believed.
        let _ = std::fs::create_dir_all(project.package().join(STATE_FOLDER));
        let file = project.package().join(STATE_FOLDER).join("snapshot");
        let snapshot = Snapshot::load(&file, &project.root);
        let disk = Disk::new(&project.root);
        let settings = settings(project, params);
        Self { project: project.clone(), disk, snapshot, settings, made_from: None }
    }

    /// Returns the folder of the journals of past runs.
    pub fn runs(&self) -> PathBuf {
        self.project.package().join(STATE_FOLDER).join("runs")
    }

    /// Returns whether a plan made now would be that of the last run.
    pub(super) fn is_current(&self) -> bool {
        self.snapshot.is_current(self.settings, &self.disk)
    }

    /// Returns the plan: that of the last run if it would be the same, else a new one.
    ///
    /// # Errors
    /// If the pipeline's own file cannot be read. Everything else is a diagnostic.
    pub fn plan(&mut self, params: &IndexMap<String, String>) -> Result<Planned, LoadError> {
        if self.is_current() {
            let kept = self.snapshot.plan().and_then(|plan| Some((Graph::new(&plan).ok()?, plan)));
            if let Some((graph, plan)) = kept {
                return Ok(Planned::Kept(plan, graph));
            }
        }
        let (root, file) = (&self.project.root, &self.project.file);
        let out = files::join(files::parent(file), OUT_FOLDER);
        let watched = Watched::new(&self.disk, root, self.snapshot.memory(), vec![out]);
        let pipeline = on_large_stack(|| load_from(&watched, file, params, Depth::Plan))?;
        // Findings are to be shown in each run, so a plan with any is made each time.
        if pipeline.diagnostics.is_empty() {
            self.made_from = Some(watched.notes());
        }
        Ok(Planned::Made(Box::new(pipeline)))
    }

    /// Remembers the plan, and what a run of it learned.
    pub(super) fn save(self, plan: &Plan, mut learned: Learned) -> std::io::Result<()> {
        learned.plan = self
            .made_from
            .map(|notes| (self.settings, notes, serde_json::to_vec(plan).unwrap_or_default()));
        self.snapshot.save(learned, &self.disk)
    }
}

fn settings(project: &Project, params: &IndexMap<String, String>) -> Digest {
    let mut hasher = Hasher::tagged("kiln plan settings 1");
    hasher.field(env!("CARGO_PKG_VERSION").as_bytes());
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
