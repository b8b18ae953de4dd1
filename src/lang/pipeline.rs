//! A pipeline from its files to its plan: load, check, evaluate. Knows the order of the phases and
//! which findings of one make those of the next worthless; does not know who asks.

use std::sync::Arc;

use indexmap::IndexMap;

use super::catalog::{Catalog, catalog};
use super::eval::SpecOutcome;
use super::late::LateData;
use super::meaning::Meanings;
use super::module::Program;
use super::{check, eval, module};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::facts::Facts;
use crate::files::{self, Files, FilesError, Globber};
use crate::plan::Plan;
use crate::plan::graph::Graph;
use crate::syntax::parse::PARSE_STACK_BYTES;

/// The folder that outs are written to, beside the pipeline's file.
pub const OUT_FOLDER: &str = "out";

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Find all mistakes. Params that have no value are no mistake.
    Check,
    /// Find all mistakes, and what specs expect and is not so.
    Specs,
    /// Make a plan.
    Plan,
}

/// What is known of a pipeline.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) program: Program,
    /// What its names mean; empty unless asked for.
    pub(crate) meanings: Meanings,
    /// All that was found, by place.
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) catalog: Catalog,
    /// The plan and its graph, unless there were errors or only a check was wanted and params have
    /// no value.
    pub(crate) plan: Option<(Arc<Plan>, Graph)>,
}

/// What a pipeline is given, and how much of it is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Params as text, by name.
    pub(crate) params: &'a IndexMap<String, String>,
    pub(crate) facts: &'a Facts,
    /// The lists of matrices that steps have made by now.
    pub(crate) late: &'a LateData,
    pub(crate) depth: Depth,
    /// Whether what names mean is wanted, too.
    pub(crate) explained: bool,
}

/// Loads, checks and evaluates the pipeline of `file`, a project path. The thread is to be
/// one of [`threads`].
///
/// # Errors
/// If the file itself cannot be read. Everything else is a diagnostic.
pub(crate) fn load(disk: &dyn Files, file: &str, wanted: Wanted<'_>) -> Result<Loaded, FilesError> {
    let (program, mut diagnostics) = module::load(disk, file)?;
    let (checked, meanings, found) = match wanted.explained {
        true => check::check_and_explain(&program),
        false => {
            let (checked, found) = check::check(&program);
            (checked, Meanings::default(), found)
        }
    };
    diagnostics.extend(found);
    let catalog = catalog(&program);
    let has_errors = diagnostics.iter().any(|found| found.severity == Severity::Error);
    let lacks_params = catalog
        .params
        .iter()
        .any(|param| param.default.is_none() && !wanted.params.contains_key(&param.name));
    let is_complete = wanted.depth == Depth::Plan || !lacks_params;
    let globber = globber(disk, &program);
    let known = (wanted.facts, wanted.late);
    let plan = if !has_errors && is_complete {
        let (plan, found) = eval::evaluate(&program, &checked, &globber, known, wanted.params);
        diagnostics.extend(found);
        plan
    } else {
        let found = eval::survey(&program, &checked, &globber, known, wanted.params);
        diagnostics.extend(found);
        None
    };
    let has_errors = diagnostics.iter().any(|found| found.severity == Severity::Error);
    if wanted.depth == Depth::Specs && !has_errors {
        let outcomes = eval::specs(&program, &checked, &globber);
        diagnostics.extend(outcomes.into_iter().flat_map(|outcome| outcome.findings));
    }
    tidy(&mut diagnostics);
    Ok(Loaded { program, meanings, diagnostics, catalog, plan })
}

/// Loads and checks the pipeline of `file`, and holds it against its specs unless it has mistakes.
/// The thread is to be one of [`threads`].
///
/// # Errors
/// If the file itself cannot be read. Everything else is a diagnostic.
pub(crate) fn specs(
    disk: &dyn Files,
    file: &str,
) -> Result<(Program, Vec<Diagnostic>, Vec<SpecOutcome>), FilesError> {
    let (program, mut diagnostics) = module::load(disk, file)?;
    let (checked, found) = check::check(&program);
    diagnostics.extend(found);
    tidy(&mut diagnostics);
    let has_errors = diagnostics.iter().any(|found| found.severity == Severity::Error);
    let globber = globber(disk, &program);
    let outcomes = if has_errors { Vec::new() } else { eval::specs(&program, &checked, &globber) };
    drop(globber);
    Ok((program, diagnostics, outcomes))
}

/// Returns what finds the files of a pipeline: all but those that its runs write.
fn globber<'a>(disk: &'a dyn Files, program: &Program) -> Globber<'a> {
    let outs = program.modules.iter().map(|module| files::join(module.folder(), OUT_FOLDER));
    Globber::new(disk, outs.collect())
}

/// Returns as many threads as there are processors, each with the stack that [`load`] needs: trees of
/// the language are walked by recursion, within limits that fit it.
pub(crate) fn threads() -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().stack_size(4 * PARSE_STACK_BYTES).build();
    pool.expect("threads can be started")
}

/// Puts findings in the order of their places, and takes away those that others may have caused.
fn tidy(diagnostics: &mut Vec<Diagnostic>) {
    // What a mistake hides may be what uses a name.
    if diagnostics.iter().any(|found| found.severity == Severity::Error) {
        diagnostics.retain(|found| found.code != Code::UNUSED);
    }
    diagnostics.iter_mut().for_each(Diagnostic::shorten);
    diagnostics.sort_by_key(|found| (found.span, found.code));
    diagnostics.dedup();
}
