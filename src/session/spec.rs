//! Specs: a pipeline held against what it says of itself. Knows which belong to a pipeline; does not
//! know how one is met.

use super::{LoadError, Project, on_large_stack};
use crate::diagnostic::{Diagnostic, Severity};
use crate::files::Disk;
use crate::lang::pipeline;
use crate::source::Sources;

/// The specs of a pipeline, and how each came out.
#[derive(Debug)]
pub struct Specs {
    /// The texts that diagnostics point into.
    pub sources: Sources,
    /// What is wrong with the pipeline itself. With an error among it, no spec was looked at.
    pub diagnostics: Vec<Diagnostic>,
    /// The specs in their order: those of the pipeline's own file first.
    pub specs: Vec<SpecResult>,
}

/// How a spec came out.
#[derive(Debug)]
pub struct SpecResult {
    /// What it is called; one of another file has the name of that before it.
    pub title: String,
    /// The project path of its file.
    pub file: String,
    /// The line of its title, from 1.
    pub line: usize,
    /// What is not as it expects; empty if it is met.
    pub findings: Vec<Diagnostic>,
}

impl Specs {
    /// Returns whether the pipeline has a mistake that keeps it from being held against its specs.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }
}

/// Holds the pipeline of `project` against its specs. Params and facts are those that each spec
/// gives; nothing runs, and nothing is asked of the machine but the project's files.
///
/// # Errors
/// If the pipeline's own file cannot be read. Everything else is a diagnostic.
pub fn specs(project: &Project) -> Result<Specs, LoadError> {
    let disk = Disk::new(&project.root);
    let (program, diagnostics, outcomes) =
        on_large_stack(|| pipeline::specs(&disk, &project.file))?;
    let sources = program.sources;
    let result = |outcome: crate::lang::eval::SpecOutcome| {
        let source = sources.get(outcome.place.source);
        let (line, _) = source.line_column(outcome.place.start as usize);
        let file = source.name.clone();
        SpecResult { title: outcome.title, file, line, findings: outcome.findings }
    };
    let specs = outcomes.into_iter().map(result).collect();
    Ok(Specs { sources, diagnostics, specs })
}
