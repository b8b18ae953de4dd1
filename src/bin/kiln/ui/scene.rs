//! The scene of a run: what its readers need to know beside the events. Knows the screen, the texts
//! of the pipeline and how Kiln was called; knows nothing that happens.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kiln::plan::Plan;
use kiln::plan::step::Step;
use kiln::source::{Source, Sources};

use super::amount::shell_word;
use super::screen::Screen;

/// What is around a run.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) screen: Screen,
    /// The texts of the pipeline; those that are not here are read when they are needed.
    pub(crate) sources: Sources,
    /// The plan, as far as it is known by now; `None` where it was not needed, since all is as it was.
    pub(crate) plan: Arc<Mutex<Option<Arc<Plan>>>>,
    /// The project's root.
    pub(crate) root: PathBuf,
    /// The folder in which Kiln was called.
    pub(crate) folder: PathBuf,
    /// The option that names the pipeline's file in a next call, with a blank before it.
    pub(crate) file_option: String,
    /// Its params, as options of a command, each with a blank before it.
    pub(crate) param_options: String,
    /// Whether one can look into its steps: not where they run in the weak sandbox.
    pub(crate) has_shells: bool,
    /// The same for the cache.
    pub(crate) cache_option: String,
}

impl Scene {
    /// Returns the command that shows what a step of this run wrote.
    pub(crate) fn log_command(&self, step: &str) -> String {
        format!("kiln log{}{} {}", self.file_option, self.cache_option, shell_word(step))
    }

    /// Returns the command that looks into a step of this run, if one can.
    pub(crate) fn shell_command(&self, step: &str) -> Option<String> {
        let options = [&self.file_option, &self.param_options, &self.cache_option];
        let options = options.map(String::as_str).concat();
        self.has_shells.then(|| format!("kiln shell{options} {}", shell_word(step)))
    }

    /// Returns the command that shows why a step of this run ran.
    pub(crate) fn why_command(&self, step: &str) -> String {
        format!("kiln why{} {}", self.file_option, shell_word(step))
    }

    /// Returns a step of the plan by its name.
    pub(crate) fn step(&self, name: &str) -> Option<Step> {
        let plan = self.plan.lock().expect("no holder panics");
        plan.as_ref()?.steps.iter().find(|step| step.name == name).cloned()
    }

    /// Returns the text of a pipeline's file, as it is now if nobody had to read it before.
    pub(crate) fn source(&self, file: &str) -> Option<Source> {
        let known = self.sources.iter().find(|source| source.name == file).cloned();
        known.or_else(|| {
            let text = std::fs::read_to_string(self.root.join(file)).ok();
            let text = text.or_else(|| kiln::session::library_text(file).map(str::to_owned))?;
            Some(Source::new(file.to_owned(), text))
        })
    }

    /// Returns a path relative to the project's root as one types it where Kiln was called.
    pub(crate) fn path(&self, path: &str) -> String {
        let path = self.root.join(path);
        let near = path.strip_prefix(&self.folder).unwrap_or(&path);
        near.display().to_string()
    }
}
