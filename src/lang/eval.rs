//! The evaluator: a checked program in, a plan out. Knows values, files and rows; does not know how
//! a step is run. It trusts what the checker proved and reports only what needs values to be known.

mod call;
mod clash;
mod code;
mod condition;
mod expr;
mod files;
mod keep;
mod label;
mod late;
mod limits;
mod origin;
mod param;
mod platform;
mod root;
mod rows;
mod script;
mod secret;
mod service;
mod spec;
mod step;
mod text;

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::check::Checked;
use super::late::LateData;
use super::module::Program;
use super::ty::{ItemRef, ModuleId, Type};
use super::value::{RowRef, ServiceValue, Value};
use crate::diagnostic::{Code, Diagnostic, Search, Severity};
use crate::facts::Facts;
use crate::files::{GlobError, Globber, Pattern, Selection};
use crate::plan::artifact::{FileSet, FileSetId};
use crate::plan::graph::{Cycle, Graph};
use crate::plan::step::{LateStage, Service, SkippedStep, Step, StepId};
use crate::plan::{Plan, VERSION};
use crate::source::Span;
use crate::syntax::ast::{Item, ItemKind, Stage, StageKind};

pub(crate) use param::variable;
pub(crate) use spec::{SpecOutcome, specs};

use late::Awaited;
use rows::Rows;

/// The most steps a plan may have.
pub(crate) const MAX_STEPS: usize = 100_000;

/// The most operations one evaluation may take.
const MAX_OPERATIONS: u64 = 10_000_000;

/// The most bytes of text that an evaluation may make.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// The most elements a list may have.
const MAX_ELEMENTS: usize = 1_000_000;

/// How many calls and values may need one another in a row.
const MAX_DEPTH: usize = 1000;

/// An evaluation ended early; the reason was reported.
#[derive(Clone, Copy, Debug)]
struct Stop;

type Evaluated<T> = Result<T, Stop>;

/// The steps that a step needs, each with the place that says so.
type Needs = Vec<(StepId, Span)>;

/// The ids of the rows of stages; `None` for one that is no step.
type StepIds = HashMap<ItemRef, Vec<Option<StepId>>>;

/// All stages, evaluated as far as they are known.
struct Steps {
    steps: Vec<Step>,
    /// For each step which others it needs and why.
    reasons: Vec<Needs>,
    ids: StepIds,
    late_stages: Vec<LateStage>,
}

/// Evaluates `program` for params given as text, by name. `globber` finds its files; `known` are what it asks
/// of the machine, and the lists of matrices that steps have made by now.
///
/// Returns the plan and its graph, or none of both if there were errors.
pub(crate) fn evaluate(
    program: &Program,
    checked: &Checked,
    globber: &Globber<'_>,
    known: (&Facts, &LateData),
    params: &IndexMap<String, String>,
) -> (Option<(Arc<Plan>, Graph)>, Vec<Diagnostic>) {
    let mut evaluator = Evaluator::new(program, checked, globber, known);
    evaluator.params(params);
    let plan = evaluator.plan();
    let mut diagnostics = evaluator.diagnostics;
    let mut seen = IndexSet::new();
    diagnostics.retain(|found| seen.insert((found.code, found.span)));
    (plan, diagnostics)
}

/// Evaluates as much of `program` as its mistakes and missing params allow, and returns what is wrong
/// with its files and matrices, which no such mistake causes.
pub(crate) fn survey(
    program: &Program,
    checked: &Checked,
    globber: &Globber<'_>,
    known: (&Facts, &LateData),
    params: &IndexMap<String, String>,
) -> Vec<Diagnostic> {
    const INDEPENDENT: [Code; 5] = [
        Code::EMPTY_GLOB,
        Code::BAD_PATH,
        Code::UNREADABLE,
        Code::MATRIX_TOO_LARGE,
        Code::DUPLICATE_ROW,
    ];
    let mut evaluator = Evaluator::new(program, checked, globber, known);
    evaluator.params(params);
    evaluator.steps();
    let mut seen = IndexSet::new();
    let mut diagnostics = evaluator.diagnostics;
    diagnostics
        .retain(|found| INDEPENDENT.contains(&found.code) && seen.insert((found.code, found.span)));
    diagnostics
}

struct Evaluator<'p> {
    program: &'p Program,
    checked: &'p Checked,
    globber: &'p Globber<'p>,
    facts: &'p Facts,
    diagnostics: Vec<Diagnostic>,
    /// Values of lets and params; `None` for one that could not be computed.
    values: HashMap<ItemRef, Option<Value>>,
    /// The params that have a value, as text, for the plan.
    params: IndexMap<String, String>,
    /// The rows of stages.
    matrices: HashMap<ItemRef, Rows>,
    /// The rows that are no steps, since a condition does not hold.
    skipped: Vec<SkippedStep>,
    /// What globs have found, so that rows share it.
    globs: HashMap<(String, String, bool), Arc<Vec<Value>>>,
    file_sets: IndexSet<FileSet>,
    /// The services that steps have, by their serialised form.
    services: IndexMap<String, Service>,
    /// File sets of lists already seen, by the list's address; the list is kept alive beside it.
    set_of_list: HashMap<usize, (Arc<Vec<Value>>, FileSetId)>,
    /// The files that matrices go through, as far as they are known.
    late: &'p LateData,
    /// What the part that is being evaluated cannot be known without.
    awaited: Awaited,
    /// Values of lets that are not known before others are made.
    late_values: HashMap<ItemRef, Awaited>,
    /// Rows of known matrices that need what is not known yet.
    late_rows: IndexMap<RowRef, Awaited>,
    operations: u64,
    text_bytes: u64,
    depth: usize,
    /// How many places each pool has, and where that is said first.
    pools: HashMap<String, (u32, Span)>,
    /// What has been searched for cures.
    search: Search,
}

/// What an expression can see while it is evaluated.
struct Frame<'a> {
    /// The module whose names it sees.
    module: ModuleId,
    /// The module whose folder is [`Self::folder`].
    home: ModuleId,
    /// The folder that its globs and paths start from.
    folder: &'a str,
    /// Axes, parameters and the names of comprehensions, innermost last.
    locals: Vec<(&'a str, Value)>,
    /// The build paths of the outs of the step it stands in.
    outs: Arc<IndexMap<String, Arc<str>>>,
}

impl<'a> Frame<'a> {
    fn new(program: &'a Program, module: ModuleId) -> Self {
        let folder = program.module(module).folder();
        Self { module, home: module, folder, locals: Vec::new(), outs: Arc::default() }
    }
}

impl<'p> Evaluator<'p> {
    fn new(
        program: &'p Program,
        checked: &'p Checked,
        globber: &'p Globber<'p>,
        (facts, late): (&'p Facts, &'p LateData),
    ) -> Self {
        Self {
            program,
            checked,
            globber,
            facts,
            diagnostics: Vec::new(),
            values: HashMap::new(),
            params: IndexMap::new(),
            matrices: HashMap::new(),
            skipped: Vec::new(),
            globs: HashMap::new(),
            file_sets: IndexSet::new(),
            services: IndexMap::new(),
            set_of_list: HashMap::new(),
            late,
            awaited: Awaited::new(),
            late_values: HashMap::new(),
            late_rows: IndexMap::new(),
            operations: 0,
            text_bytes: 0,
            depth: 0,
            pools: HashMap::new(),
            search: Search::default(),
        }
    }

    fn tree(&self, item: ItemRef) -> &'p Item {
        &self.program.module(item.module).ast.items[item.item]
    }

    fn stage(&self, item: ItemRef) -> &'p Stage {
        match &self.tree(item).kind {
            ItemKind::Stage(stage) => stage,
            _ => unreachable!("the checker saw a stage"),
        }
    }

    /// Reports a mistake and stops what needs the value.
    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Evaluated<T> {
        self.diagnostics.push(diagnostic);
        Err(Stop)
    }

    /// Counts one operation against the budget.
    fn spend(&mut self, span: Span) -> Evaluated<()> {
        self.operations += 1;
        if self.operations <= MAX_OPERATIONS {
            return Ok(());
        }
        if self.operations == MAX_OPERATIONS + 1 {
            let message =
                format!("the pipeline takes more than {MAX_OPERATIONS} operations to evaluate");
            return self.fail(
                Diagnostic::error(Code::OVER_BUDGET, span, message)
                    .help("make its lists and matrices smaller"),
            );
        }
        Err(Stop)
    }

    /// Counts text against the budget.
    fn spend_text(&mut self, bytes: usize, span: Span) -> Evaluated<()> {
        let before = self.text_bytes;
        self.text_bytes += bytes as u64;
        if self.text_bytes <= MAX_TEXT_BYTES {
            return Ok(());
        }
        if before <= MAX_TEXT_BYTES {
            let message = "the pipeline makes more than 64 MiB of text".to_owned();
            return self.fail(
                Diagnostic::error(Code::OVER_BUDGET, span, message)
                    .help("make its texts and lists smaller"),
            );
        }
        Err(Stop)
    }

    /// Returns the value of what an item declares.
    fn item(&mut self, item: ItemRef, span: Span) -> Evaluated<Value> {
        if let Some(value) = self.values.get(&item) {
            return value.clone().ok_or(Stop);
        }
        if let Some(awaited) = self.late_values.get(&item) {
            self.awaited.extend(awaited.iter().cloned());
            return Err(Stop);
        }
        let value = match &self.tree(item).kind {
            ItemKind::Let(binding) => {
                let mut frame = Frame::new(self.program, item.module);
                self.deeper(span, |evaluator| evaluator.expr(&binding.value, &mut frame))
            }
            // Params were set before; one that is not there has no value.
            ItemKind::Param(_) | ItemKind::Secret(_) | ItemKind::Spec(_) | ItemKind::Broken(_) => {
                Err(Stop)
            }
            ItemKind::Function(_) => Ok(Value::Named(Type::Function(item))),
            ItemKind::Stage(stage) if stage.parameters.is_some() => {
                Ok(Value::Named(Type::Template(item)))
            }
            ItemKind::Stage(stage) if stage.kind == StageKind::Service => {
                let (home, arguments) = (item.module, Vec::new());
                Ok(Value::Service(Arc::new(ServiceValue { item, home, arguments })))
            }
            ItemKind::Stage(_) => Ok(Value::Named(Type::Stage(item))),
            ItemKind::Use(used) => {
                let imports = &self.program.module(item.module).imports;
                let import = super::module::alias(used).and_then(|alias| imports.get(&alias));
                import
                    .and_then(|import| import.module)
                    .map(|module| Value::Named(Type::Module(module)))
                    .ok_or(Stop)
            }
        };
        match value.is_err() && !self.awaited.is_empty() {
            true => drop(self.late_values.insert(item, self.awaited.clone())),
            false => drop(self.values.insert(item, value.as_ref().ok().cloned())),
        }
        value
    }

    /// Does something one level deeper, within the limit.
    fn deeper<T>(
        &mut self,
        span: Span,
        act: impl FnOnce(&mut Self) -> Evaluated<T>,
    ) -> Evaluated<T> {
        if self.depth >= MAX_DEPTH {
            let message =
                format!("more than {MAX_DEPTH} calls and values need one another in a row");
            return self.fail(Diagnostic::error(Code::OVER_BUDGET, span, message));
        }
        self.depth += 1;
        let result = act(self);
        self.depth -= 1;
        result
    }

    /// Returns the files that a glob in a file of `folder` matches, sorted.
    fn glob(
        &mut self,
        folder: &str,
        glob: &str,
        span: Span,
        with_ignored: bool,
    ) -> Evaluated<Arc<Vec<Value>>> {
        let key = (folder.to_owned(), glob.to_owned(), with_ignored);
        if let Some(known) = self.globs.get(&key) {
            return Ok(Arc::clone(known));
        }
        let pattern = match Pattern::new(folder, glob) {
            Ok(pattern) => pattern,
            Err(error @ GlobError::Malformed(_)) => {
                let near = self.without_bracket(folder, glob, span);
                let Some(near) = near else {
                    return self.bad_glob(Code::BAD_PATH, glob, &error, span);
                };
                let message = format!("`{glob}` {error}");
                let problem = Diagnostic::error(Code::BAD_PATH, span, message);
                return self.fail(problem.help(format!("did you mean {near}?")).edit(span, near));
            }
            Err(error) => return self.bad_glob(Code::BAD_PATH, glob, &error, span),
        };
        let paths = match self.globber.find(&pattern, Selection { with_ignored }) {
            Ok(paths) => paths,
            Err(error) => return self.bad_glob(Code::UNREADABLE, glob, &error, span),
        };
        let files =
            Arc::new(paths.into_iter().map(|path| Value::File(path.into())).collect::<Vec<_>>());
        self.globs.insert(key, Arc::clone(&files));
        Ok(files)
    }

    /// Reports a glob that is none or cannot be followed.
    fn bad_glob<T>(
        &mut self,
        code: Code,
        glob: &str,
        error: &GlobError,
        span: Span,
    ) -> Evaluated<T> {
        let problem = Diagnostic::error(code, span, format!("`{glob}` {error}"));
        self.fail(match error {
            GlobError::LeavesProject => problem.help(
                "a step takes files of its own project; start the glob with `/` to count from the project's root",
            ),
            GlobError::Odd(_) => {
                problem.help("remove or rename it, or write globs that do not match it")
            }
            GlobError::Unreadable(_) => {
                problem.help("give yourself the permission, or write globs that do not enter it")
            }
            GlobError::Malformed(_) if glob.contains('[') => {
                problem.help("a `[` that is meant literally is written `[[]`")
            }
            GlobError::Malformed(_) => {
                problem.help("a `{` that is meant literally is written `[{]`")
            }
        })
    }

    /// Returns the stages that become steps, in the order of their steps.
    fn run_stages(&self) -> Vec<ItemRef> {
        let items = self.program.iter().flat_map(|(module, tree)| {
            (0..tree.ast.items.len()).map(move |item| ItemRef { module, item })
        });
        let is_run =
            |item: &ItemRef| matches!(&self.tree(*item).kind, ItemKind::Stage(it) if it.is_run());
        items.filter(is_run).collect()
    }

    /// Evaluates all stages: their steps, and for each which others it needs and why. `None` if a step
    /// could not be made. What is late is left out.
    fn steps(&mut self) -> Option<Steps> {
        let stages = self.run_stages();
        loop {
            let ids = self.number(&stages)?;
            let late = self.late_rows.len();
            let made = self.steps_of(&stages, &ids);
            // What needs a late row is late, too: the others have other numbers then.
            if self.late_rows.len() == late {
                let late_stages = self.late_stages(&stages, &ids);
                let (steps, reasons) = made?;
                return Some(Steps { steps, reasons, ids, late_stages });
            }
            self.file_sets.clear();
            self.set_of_list.clear();
            self.services.clear();
            self.skipped.clear();
        }
    }

    fn steps_of(&mut self, stages: &[ItemRef], ids: &StepIds) -> Option<(Vec<Step>, Vec<Needs>)> {
        let mut steps = Vec::new();
        let mut reasons = Vec::new();
        let mut is_whole = true;
        for &stage in stages {
            let Some(matrix) = self.known_matrix(stage) else { continue };
            for (at, row) in (0..).zip(&matrix.rows) {
                let own = RowRef { stage, row: at };
                if let Some(why) = &row.skipped {
                    let skipped = self.skipped(stage, row, why);
                    self.skipped.push(skipped);
                    continue;
                }
                if self.late_rows.contains_key(&own) {
                    continue;
                }
                let made = self.row_step(stage, row, ids);
                let awaited = std::mem::take(&mut self.awaited);
                match made {
                    Ok((step, needs)) => {
                        steps.push(step);
                        reasons.push(needs);
                    }
                    Err(Stop) if awaited.is_empty() => is_whole = false,
                    Err(Stop) => drop(self.late_rows.insert(own, awaited)),
                }
            }
        }
        is_whole.then_some((steps, reasons))
    }

    fn plan(&mut self) -> Option<(Arc<Plan>, Graph)> {
        let steps = self.steps()?;
        self.finish_plan(steps)
    }

    /// Makes the plan of all steps, and takes what was noted for it.
    fn finish_plan(&mut self, steps: Steps) -> Option<(Arc<Plan>, Graph)> {
        let Steps { mut steps, reasons, late_stages, .. } = steps;
        steps.shrink_to_fit();
        if self.diagnostics.iter().any(|found| found.severity == Severity::Error) {
            return None;
        }
        let plan = Plan {
            version: VERSION,
            params: std::mem::take(&mut self.params),
            facts: self
                .facts
                .asked()
                .into_iter()
                .map(|(fact, found)| (fact.full_name(), found.to_string()))
                .collect(),
            file_sets: std::mem::take(&mut self.file_sets).into_iter().collect(),
            steps,
            skipped: std::mem::take(&mut self.skipped),
            late_stages,
            services: std::mem::take(&mut self.services).into_values().collect(),
        };
        match Graph::new(&plan) {
            Ok(graph) => Some((Arc::new(plan), graph)),
            Err(cycles) => {
                for cycle in cycles {
                    let problem = self.cycle(&plan.steps, &reasons, &cycle);
                    self.diagnostics.push(problem);
                }
                None
            }
        }
    }

    /// Finds the rows of all stages and returns the ids of those that are steps.
    fn number(&mut self, stages: &[ItemRef]) -> Option<StepIds> {
        let mut ids = HashMap::new();
        let mut next = 0;
        for &stage in stages {
            let matrix = self.matrix(stage).ok();
            self.awaited.clear();
            let rows = (0..).zip(matrix.iter().flat_map(|matrix| &matrix.rows));
            let id = |(at, row): (u32, &rows::Row)| {
                let is_step = row.skipped.is_none()
                    && !self.late_rows.contains_key(&RowRef { stage, row: at });
                let id = StepId::new(next);
                next += usize::from(is_step);
                is_step.then_some(id)
            };
            ids.insert(stage, rows.map(id).collect());
            if next > MAX_STEPS {
                let span = self.stage(stage).name.span;
                let message = format!("the pipeline has more than {MAX_STEPS} steps");
                let _ = self.fail::<()>(Diagnostic::error(Code::MATRIX_TOO_LARGE, span, message));
                return None;
            }
        }
        Some(ids)
    }

    fn cycle(&self, steps: &[Step], reasons: &[Needs], cycle: &Cycle) -> Diagnostic {
        /// The most edges that are shown.
        const MOST: usize = 8;
        let Cycle(ids) = cycle;
        let name = |at: usize| &steps[ids[at % ids.len()].index()].name;
        let edge = |at: usize| {
            let (from, to) = (ids[at], ids[(at + 1) % ids.len()]);
            let reason = reasons[from.index()].iter().find(|(need, _)| *need == to);
            reason.expect("every need has its reason").1
        };
        let words = |at: usize| format!("`{}` needs `{}`", name(at), name(at + 1));
        if ids.len() == 1 {
            return self.own_out(name(0), edge(0));
        }
        let path: Vec<_> = (0..=ids.len()).map(|at| format!("`{}`", name(at))).collect();
        let message = match ids.len() {
            len if len > MOST => {
                let start = path[..MOST].join(" → ");
                format!("{len} steps need each other in a circle: {start} → … → {}", path[0])
            }
            _ => format!("stages need each other in a circle: {}", path.join(" → ")),
        };
        let mut problem = Diagnostic::error(Code::STAGE_CYCLE, edge(0), message)
            .help("take one of these away, or split the stage that both need");
        let mut seen = vec![edge(0)];
        for at in 1..ids.len().min(MOST) {
            // Rows need each other at one place.
            if !seen.contains(&edge(at)) {
                seen.push(edge(at));
                problem = problem.also(edge(at), words(at));
            }
        }
        if seen.len() > 1 { problem.label(words(0)) } else { problem }
    }

    /// A step that takes what it makes itself.
    fn own_out(&self, step: &str, span: Span) -> Diagnostic {
        let text = self.program.sources.text(span);
        let problem = Diagnostic::error(Code::STAGE_CYCLE, span, format!("`{step}` needs itself"));
        match text.strip_prefix(step).and_then(|rest| rest.strip_prefix('.')) {
            Some(out) => problem
                .help(format!("where it writes its own out is: out.{out}"))
                .edit(span, format!("out.{out}")),
            None => problem.help("take this away, or move what it needs into a stage of its own"),
        }
    }
}
