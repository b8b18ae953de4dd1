//! Specs: the plan under what each gives, held against what it expects. Knows params, facts and the
//! endings of steps; runs nothing, and asks nothing of the machine but its files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use indexmap::{IndexMap, IndexSet};

use super::{Evaluated, Evaluator, Frame, StepIds, Stop};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::facts::{Fact, Facts, Finding};
use crate::files::Globber;
use crate::lang::check::Checked;
use crate::lang::late::LateData;
use crate::lang::module::Program;
use crate::lang::spec::{self, Subject, Word};
use crate::lang::ty::{ItemRef, Type};
use crate::lang::value::{RowRef, Value};
use crate::plan::Plan;
use crate::plan::artifact::{Artifact, Input};
use crate::plan::ending::{Ending, endings};
use crate::plan::step::StepId;
use crate::source::Span;
use crate::syntax::ast::{Expr, ExprKind, ItemKind, Spec, SpecClause, SpecClauseKind};

/// The most inputs that a message names.
const MAX_NAMED: usize = 6;

/// How a spec came out.
#[derive(Debug)]
pub(crate) struct SpecOutcome {
    /// What it is called, with its module.
    pub(crate) title: String,
    /// Where its title stands.
    pub(crate) place: Span,
    /// What is not as it expects; empty if it is met.
    pub(crate) findings: Vec<Diagnostic>,
}

/// Holds the pipeline against all specs of its own files, in their order.
pub(crate) fn specs(
    program: &Program,
    checked: &Checked,
    globber: &Globber<'_>,
) -> Vec<SpecOutcome> {
    let mut outcomes = Vec::new();
    for (module, tree) in program.iter().filter(|(_, tree)| !tree.is_library) {
        for (item, kind) in tree.ast.items.iter().enumerate() {
            let ItemKind::Spec(spec) = &kind.kind else { continue };
            let item = ItemRef { module, item };
            outcomes.push(SpecOutcome {
                title: match tree.prefix.strip_suffix('.') {
                    Some(module) => format!("{module}: {}", spec.title.text),
                    None => spec.title.text.clone(),
                },
                place: spec.title.span,
                findings: findings(program, checked, globber, item, spec),
            });
        }
    }
    outcomes
}

/// Returns what is not as a spec expects.
fn findings<'p>(
    program: &'p Program,
    checked: &'p Checked,
    globber: &'p Globber<'p>,
    item: ItemRef,
    spec: &'p Spec,
) -> Vec<Diagnostic> {
    let (none, late) = (Facts::default(), LateData::default());
    let mut reader = Evaluator::new(program, checked, globber, (&none, &late));
    let (mut facts, mut params) = (BTreeMap::new(), HashMap::new());
    for clause in &spec.clauses {
        let SpecClauseKind::Given { what, value } = &clause.kind else { continue };
        let subject = spec::subject(program, &checked.symbols, item.module, what);
        let found = reader.expr(value, &mut Frame::new(program, item.module));
        match (subject, found) {
            (Some(Subject::Fact(fact)), Ok(found)) => drop(facts.insert(fact, finding(&found))),
            (Some(Subject::Param(param)), Ok(found)) => {
                params.insert(param, (found, value.span));
            }
            // It was reported of the expression, or by the checker.
            _ => {}
        }
    }
    let mut findings = reader.diagnostics;
    let facts = Facts::given(facts);
    let mut evaluator = Evaluator::new(program, checked, globber, (&facts, &late));
    evaluator.given_params(&params);
    let _ = evaluator.meet(item, spec);
    findings.append(&mut evaluator.diagnostics);
    let mut seen = IndexSet::new();
    findings
        .retain(|found| found.severity == Severity::Error && seen.insert((found.code, found.span)));
    for found in &mut findings {
        if found.code != Code::UNMET_SPEC {
            let own = std::mem::replace(found, Diagnostic::error(Code::UNMET_SPEC, spec.body, ""));
            let own = match own.code {
                Code::PARAM_VALUE => {
                    let name = program.sources.text(own.span);
                    let help = format!("give it one in the spec: given {name} = …");
                    own.help(help)
                }
                _ => own,
            };
            *found = own.also(spec.title.span, "under what this spec gives");
        }
        found.shorten();
    }
    findings.sort_by_key(|found| (found.span, found.code));
    findings
}

/// Returns a value as what was found out about a fact.
fn finding(value: &Value) -> Finding {
    match value {
        Value::Bool(flag) => Finding::Flag(*flag),
        Value::Int(number) => Finding::Number(*number),
        Value::String(text) => Finding::Text(text.to_string()),
        _ => Finding::Absent,
    }
}

/// Rows that a clause names, and where.
type Named = Vec<(RowRef, Span)>;

/// What a spec says, with values.
#[derive(Default)]
struct Expected {
    failing: Named,
    /// What is to become of rows.
    endings: Vec<(RowRef, Span, Word)>,
    /// What rows are to take, each with the place of the list.
    inputs: Vec<(RowRef, Span, Rc<Taken>)>,
}

/// All that a step takes.
#[derive(Default)]
struct Taken {
    files: BTreeSet<String>,
    artifacts: BTreeSet<Artifact>,
    history: bool,
}

impl Taken {
    /// Returns all that a step of `plan` takes.
    fn of(plan: &Plan, step: StepId) -> Self {
        let mut taken = Self::default();
        for input in &plan.step(step).inputs {
            match input {
                Input::Files { set, .. } => {
                    taken.files.extend(plan.file_sets[set.index()].paths.iter().cloned());
                }
                Input::Artifact { artifact, .. } => {
                    taken.artifacts.insert(artifact.clone());
                }
                Input::History { .. } => taken.history = true,
            }
        }
        taken
    }

    /// Returns what is in one and not in the other, as authors write it.
    fn without(&self, other: &Self, plan: &Plan) -> Vec<String> {
        let artifact = |artifact: &&Artifact| {
            let step = &plan.step(artifact.step).name;
            match artifact.part.as_str() {
                "" => format!("{step}.{}", artifact.out),
                part => format!("{step}.{} / {part:?}", artifact.out),
            }
        };
        let artifacts = self.artifacts.difference(&other.artifacts).map(|it| artifact(&it));
        let history = self.history && !other.history;
        let history = history.then(|| Fact::GitRepo.full_name());
        artifacts.chain(self.files.difference(&other.files).cloned()).chain(history).collect()
    }
}

impl<'p> Evaluator<'p> {
    /// Evaluates the plan and reports what is not as `spec` expects.
    fn meet(&mut self, item: ItemRef, spec: &'p Spec) -> Evaluated<()> {
        let steps = self.steps().ok_or(Stop)?;
        let ids = steps.ids.clone();
        let mut expected = Expected::default();
        let mut frame = Frame::new(self.program, item.module);
        for clause in &spec.clauses {
            match self.expected(clause, &mut frame, &ids, &mut expected) {
                Err(Stop) if !self.awaited.is_empty() => {
                    self.awaited.clear();
                    self.late_clause(clause.span);
                }
                done => done?,
            }
        }
        let (plan, graph) = self.finish_plan(steps).ok_or(Stop)?;
        let id = |row: RowRef| ids[&row.stage][row.row as usize];
        let failing: Vec<_> = expected.failing.iter().filter_map(|(row, _)| id(*row)).collect();
        let endings = endings(&plan, &graph, &failing);
        for (row, span) in &expected.failing {
            let fate = self.fate(&plan, &endings, *row, id(*row));
            if !matches!(fate, Fate::Starts) {
                self.unmet(*row, *span, fate, "cannot fail");
            }
        }
        for (row, span, word) in &expected.endings {
            let fate = self.fate(&plan, &endings, *row, id(*row));
            let (is_met, wanted) = match word {
                Word::Runs => (matches!(fate, Fate::Starts), "is expected to run"),
                Word::Skipped => (matches!(fate, Fate::Skipped(_)), "is expected to be skipped"),
                Word::Blocked => (matches!(fate, Fate::Blocked(_)), "is expected to be blocked"),
                Word::Failing => continue,
            };
            if !is_met {
                self.unmet(*row, *span, fate, wanted);
            }
        }
        for (row, span, wanted) in &expected.inputs {
            let Some(id) = id(*row) else {
                let fate = self.fate(&plan, &endings, *row, None);
                self.unmet(*row, *span, fate, "takes nothing");
                continue;
            };
            let taken = Taken::of(&plan, id);
            let (more, less) = (taken.without(wanted, &plan), wanted.without(&taken, &plan));
            if more.is_empty() && less.is_empty() {
                continue;
            }
            let name = &plan.step(id).name;
            let says = [("also takes", more), ("does not take", less)];
            let says: Vec<_> = says
                .iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(verb, names)| format!("{verb} {}", some_of(names)))
                .collect();
            let message = format!("`{name}` takes other inputs than it is expected to");
            let problem = Diagnostic::error(Code::UNMET_SPEC, *span, message)
                .label(format!("it {}", says.join(", and ")))
                .also(self.stage(row.stage).name.span, "its stage is declared here");
            self.diagnostics.push(problem);
        }
        Ok(())
    }

    /// Reports a clause about what no plan knows before a step has run.
    fn late_clause(&mut self, span: Span) {
        let message = "what this names is known only when a stage has run";
        let problem = Diagnostic::error(Code::BAD_SPEC, span, message);
        self.diagnostics.push(problem.help(
            "name the stage that makes the list; what its list becomes is known in a run only",
        ));
    }

    /// Takes in what a clause expects.
    fn expected(
        &mut self,
        clause: &'p SpecClause,
        frame: &mut Frame<'p>,
        ids: &StepIds,
        expected: &mut Expected,
    ) -> Evaluated<()> {
        match &clause.kind {
            SpecClauseKind::Given { .. } => {}
            SpecClauseKind::Field { name, value } => {
                let Some(word) = Word::named(&name.text) else { return Err(Stop) };
                let mut named = Named::new();
                self.named_rows(value, frame, &mut named)?;
                match word {
                    Word::Failing => expected.failing.extend(named),
                    word => {
                        let endings = named.into_iter().map(|(row, span)| (row, span, word));
                        expected.endings.extend(endings);
                    }
                }
            }
            SpecClauseKind::Takes { step, inputs } => {
                let mut named = Named::new();
                self.named_rows(step, frame, &mut named)?;
                let value = self.expr(inputs, frame)?;
                let mut taken = Taken::default();
                self.taken(&value, inputs.span, ids, &mut taken)?;
                let taken = Rc::new(taken);
                let rows = named.iter().map(|(row, _)| (*row, inputs.span, Rc::clone(&taken)));
                expected.inputs.extend(rows);
            }
        }
        Ok(())
    }

    /// Adds all that a value holds.
    fn taken(
        &mut self,
        value: &Value,
        span: Span,
        ids: &StepIds,
        taken: &mut Taken,
    ) -> Evaluated<()> {
        match value {
            Value::None => {}
            Value::History => taken.history = true,
            Value::File(path) => drop(taken.files.insert(path.to_string())),
            Value::Folder(path) => {
                let files = self.glob(path, "**", span, false)?;
                self.taken(&Value::List(files), span, ids, taken)?;
            }
            Value::Artifact(artifact) => {
                let step = ids[&artifact.row.stage][artifact.row.row as usize];
                taken.artifacts.insert(Artifact {
                    step: step.expect("the outs of a row that is no step are `none`"),
                    out: artifact.out.clone(),
                    part: artifact.part.clone(),
                });
            }
            Value::List(elements) => {
                for element in elements.iter() {
                    self.spend(span)?;
                    self.taken(element, span, ids, taken)?;
                }
            }
            _ => return Err(Stop),
        }
        Ok(())
    }

    /// Adds the rows that an expression names, each with its own place in a list that is written out.
    fn named_rows(
        &mut self,
        expr: &'p Expr,
        frame: &mut Frame<'p>,
        named: &mut Named,
    ) -> Evaluated<()> {
        if let ExprKind::List(elements) = &expr.kind {
            return elements.iter().try_for_each(|element| self.named_rows(element, frame, named));
        }
        let value = self.expr(expr, frame)?;
        self.rows_of(&value, expr.span, named)
    }

    fn rows_of(&mut self, value: &Value, span: Span, named: &mut Named) -> Evaluated<()> {
        match value {
            Value::Row(row) => {
                self.await_rows([*row].into_iter())?;
                named.push((*row, span));
            }
            Value::Named(Type::Stage(stage) | Type::AllRows(stage)) => {
                let count = self.matrix(*stage)?.rows.len() as u32;
                let rows = (0..count).map(|row| RowRef { stage: *stage, row });
                self.await_rows(rows.clone())?;
                named.extend(rows.map(|row| (row, span)));
            }
            Value::List(elements) => {
                for element in elements.iter() {
                    self.rows_of(element, span, named)?;
                }
            }
            _ => return Err(Stop),
        }
        Ok(())
    }

    /// Returns what becomes of a row; `id` is its step, if it is one.
    fn fate(&self, plan: &Plan, endings: &[Ending], row: RowRef, id: Option<StepId>) -> Fate {
        let Some(mut id) = id else {
            let matrix = self.known_matrix(row.stage);
            let why = matrix.and_then(|matrix| matrix.rows[row.row as usize].skipped.clone());
            return Fate::Skipped(why.unwrap_or_default());
        };
        if !matches!(endings[id.index()], Ending::Blocked(_)) {
            return Fate::Starts;
        }
        while let Ending::Blocked(need) = endings[id.index()] {
            id = need;
        }
        Fate::Blocked(plan.step(id).name.clone())
    }

    fn unmet(&mut self, row: RowRef, span: Span, fate: Fate, wanted: &str) {
        let name = match self.known_matrix(row.stage) {
            Some(matrix) => self.row_name(row.stage, &matrix.rows[row.row as usize]),
            None => self.stage_name(row.stage),
        };
        let (is, label) = match fate {
            Fate::Starts if wanted.ends_with("skipped") => {
                ("runs", "no condition keeps it from that".to_owned())
            }
            Fate::Starts => ("runs", "all that it needs passes".to_owned()),
            Fate::Skipped(why) => ("is skipped", why),
            Fate::Blocked(by) => ("is blocked", format!("`{by}` fails, which it needs")),
        };
        let message = format!("`{name}` {is}, and {wanted}");
        let problem = Diagnostic::error(Code::UNMET_SPEC, span, message)
            .label(label)
            .also(self.stage(row.stage).name.span, "its stage is declared here");
        self.diagnostics.push(problem);
    }

    /// Sets all params: to what is given, else to their defaults.
    fn given_params(&mut self, given: &HashMap<ItemRef, (Value, Span)>) {
        let none = IndexMap::new();
        self.params(&none);
        for (module, tree) in self.program.iter() {
            for (item, kind) in tree.ast.items.iter().enumerate() {
                let (ItemKind::Param(param), item) = (&kind.kind, ItemRef { module, item }) else {
                    continue;
                };
                let Some((value, span)) = given.get(&item) else { continue };
                self.diagnostics.retain(|found| found.span != param.name.span);
                if self.conform(value, &param.ty, *span).is_ok() {
                    self.values.insert(item, Some(value.clone()));
                }
            }
        }
    }
}

/// What becomes of a row.
enum Fate {
    Starts,
    /// It is no step, for this reason.
    Skipped(String),
    /// The step of that name fails, which it needs.
    Blocked(String),
}

/// Returns the first of some names, and how many more there are.
fn some_of(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(MAX_NAMED).map(|name| format!("`{name}`")).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
