//! Checking matrices: the axes of a stage, the rows that are dropped, and rows that others name.

use std::sync::Arc;

use super::cure::{loosely, quoted};
use super::expr::list_of;
use super::{AxisInfo, Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::late;
use crate::lang::meaning::Meaning;
use crate::lang::nearest::nearest;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{Axis, ClauseKind, Expr, ExprKind, Name, Stage};

impl<'p> Checker<'p> {
    pub(super) fn matrix(&mut self, stage: &'p Stage, scope: &mut Scope) {
        for axis in &stage.axes {
            let element = self.axis_type(stage, axis, scope);
            if !is_axis(&element) {
                let message = format!(
                    "a matrix goes through texts, numbers, files or records, found {}",
                    loosely(&element)
                );
                let problem = Diagnostic::error(Code::TYPE_MISMATCH, axis.values.span, message);
                self.report(match &element {
                    Type::List(inner) if inner.is_text() && late::source(axis).is_none() => {
                        let (name, span) = (&axis.name.text, axis.values.span);
                        let text = self.program.sources.text(span);
                        let list = format!("[join({name}, \" \") for {name} in {text}]");
                        problem.help(format!("make a text of each: {list}")).edit(span, list)
                    }
                    Type::List(_) => {
                        problem.help("make a text of each: [join(x, \" \") for x in …]")
                    }
                    _ => problem,
                });
            } else if matches!(element, Type::Record(_)) && stage.axes.len() > 1 {
                let message = "an axis over records is the only one of its matrix";
                let help = format!("make one list of all: {}", self.one_axis(stage, scope));
                self.report(
                    Diagnostic::error(Code::TYPE_MISMATCH, axis.values.span, message).help(help),
                );
            }
            let whole = self.tree(scope.item).span;
            self.bind(&axis.name, element, true, Some((&stage.axes, whole)), scope);
        }
        if let Some(except) = &stage.except {
            self.except(&stage.name.text, except, scope);
        }
        if let Some(max) = &stage.max {
            let found = self.expr(max, scope);
            self.expect(&found, &Type::Int(1, 100_000), max.span, "`max`", None);
        }
    }

    /// Returns the type of the values that an axis goes through.
    fn axis_type(&mut self, stage: &'p Stage, axis: &'p Axis, scope: &mut Scope) -> Type {
        let Some((_, source)) = late::source(axis) else { return self.known_axis(axis, scope) };
        // The list is asked for where the stage runs.
        let found = match &stage.condition {
            Some(condition) => {
                self.knowing(condition, true, scope, |checker, scope| checker.expr(source, scope))
            }
            None => self.expr(source, scope),
        };
        let text = self.program.sources.text(source.span);
        if !self.refused(source.span) && !matches!(found, Type::File | Type::Unknown) {
            let message = format!(
                "a list that is known only later stands in a file that a stage makes, found {}",
                quoted(&found)
            );
            let problem = Diagnostic::error(Code::TYPE_MISMATCH, source.span, message);
            let problem = match self.out_type(source, scope) {
                Some((name, place)) => {
                    let problem =
                        problem.help(format!("declare the out of that stage so: out {name}: file"));
                    // Who reads a folder's files says so elsewhere, too.
                    match found.certain() {
                        Type::File => problem.edit(place, "file"),
                        _ => problem,
                    }
                }
                None => problem.help("declare the out of that stage so: out shards: file"),
            };
            self.report(problem);
        }
        if stage.max.is_none() {
            let name = &stage.name.text;
            let message = format!("how many rows `{name}` has is known only when `{text}` is made");
            let end = stage.axes.last().map_or(axis.values.span, |last| last.values.span);
            self.report(
                Diagnostic::error(Code::MATRIX_TOO_LARGE, axis.values.span, message)
                    .help("say behind the axes how many you expect at most: max: 64")
                    .edit(Span::at(end.source, end.end as usize), ", max: 64"),
            );
        }
        axis.ty.as_ref().map_or(Type::String, |ty| self.written(ty))
    }

    /// Returns the out that `stage.name` mentions, and where its type is declared.
    fn out_type(&mut self, mention: &'p Expr, scope: &mut Scope) -> Option<(&'p str, Span)> {
        let ExprKind::Member { base, name, .. } = &mention.kind else { return None };
        let found = self.silently(|checker| checker.expr(base, scope));
        let Type::Stage(stage) = found else { return None };
        let clauses = &self.stage_tree(stage).clauses;
        clauses.iter().find_map(|clause| match &clause.kind {
            ClauseKind::Out { name: own, ty, .. } if own.text == name.text => {
                Some((own.text.as_str(), ty.span))
            }
            _ => None,
        })
    }

    /// Returns the type of the values that an axis goes through, whose list is written in the pipeline.
    pub(super) fn known_axis(&mut self, axis: &'p Axis, scope: &mut Scope) -> Type {
        let found = self.elements(&axis.values, scope);
        let Some(ty) = &axis.ty else { return found };
        let wanted = self.written(ty);
        let declared = Some((ty.span, "its type is declared here"));
        let what = format!("`{}`", axis.name.text);
        self.expect(&found, &wanted, axis.values.span, &what, declared);
        wanted
    }

    /// Returns a matrix of one axis that has the rows of `stage`, as it is written.
    fn one_axis(&mut self, stage: &'p Stage, scope: &mut Scope) -> String {
        let (mut fields, mut axes) = (Vec::new(), Vec::new());
        for axis in &stage.axes {
            let name = &axis.name.text;
            axes.push(format!("{name} in {}", self.program.sources.text(axis.values.span)));
            match self.silently(|checker| checker.axis_type(stage, axis, scope)) {
                Type::Record(own) => {
                    fields.extend(own.keys().map(|field| format!("{field}: {name}.{field}")));
                }
                _ => fields.push(format!("{name}: {name}")),
            }
        }
        format!("for (row in [{{{}}} for {}])", fields.join(", "), axes.join(", "))
    }

    /// Checks the rows that are dropped; each value on its own where they are written out.
    fn except(&mut self, stage: &str, except: &'p Expr, scope: &mut Scope) {
        let found = self.expr(except, scope);
        let axes = self.axes_of(scope.item);
        let records: Option<Vec<_>> = match &except.kind {
            ExprKind::List(elements) => elements.iter().map(fields_of).collect(),
            _ => None,
        };
        let Some(records) = records else {
            let row = axes.iter().map(|axis| (axis.name.clone(), Type::optional(axis.ty.clone())));
            let wanted = Type::list(Type::Record(Arc::new(row.collect())));
            self.expect(&found, &wanted, except.span, "`except`", None);
            return;
        };
        for (name, value) in records.into_iter().flatten() {
            let found = self.silently(|checker| checker.expr(value, scope));
            match self.axis_named(&axes, name) {
                Some(axis) if comparable_axis(&found, &axis.ty) => {}
                Some(axis) => {
                    let message = format!("`except` drops no row of `{stage}`");
                    self.no_value(Code::DEAD_EXCEPT, &message, axis, &found, value.span);
                }
                None => self.no_axis(stage, &axes, name, &found),
            }
        }
    }

    /// Returns the axes of a stage as its users name them: those of a record are its fields.
    pub(super) fn axes_of(&mut self, stage: ItemRef) -> Arc<Vec<AxisInfo>> {
        if let Some(axes) = self.axes.get(&stage) {
            return Arc::clone(axes);
        }
        // While they are being found, a mention of the stage in its own axes sees none.
        self.axes.insert(stage, Arc::default());
        let tree = self.stage_tree(stage);
        let axes =
            self.silently(|checker| {
                let mut scope = Scope::new(stage);
                let mut axes = Vec::new();
                for axis in &tree.axes {
                    let ty = checker.axis_type(tree, axis, &mut scope);
                    match &ty {
                        Type::Record(fields) => axes.extend(fields.iter().map(|(name, ty)| {
                            AxisInfo { name: name.clone(), ty: ty.clone(), span: None }
                        })),
                        ty => axes.push(AxisInfo {
                            name: axis.name.text.clone(),
                            ty: ty.clone(),
                            span: Some(axis.name.span),
                        }),
                    }
                    scope.locals.push(axis.name.text.clone(), ty, Some(axis.name.span));
                }
                axes
            });
        let axes = Arc::new(axes);
        self.axes.insert(stage, Arc::clone(&axes));
        axes
    }

    /// Returns the type of `stage[axis: value, …]`.
    pub(super) fn row(
        &mut self,
        whole: &Expr,
        base: &'p Expr,
        given: &'p [(Name, Expr)],
        scope: &mut Scope,
    ) -> Type {
        let ty = self.expr(base, scope);
        let values: Vec<_> = given.iter().map(|(_, value)| self.expr(value, scope)).collect();
        let stage = match ty {
            Type::Stage(stage) => stage,
            Type::Unknown => return Type::Unknown,
            ty => {
                let message = format!("only a matrix has rows, found {}", quoted(&ty));
                self.report(Diagnostic::error(Code::NO_SUCH_ROW, base.span, message));
                return Type::Unknown;
            }
        };
        let axes = self.axes_of(stage);
        let base = self.program.sources.text(base.span);
        let mut is_row = !axes.is_empty();
        if axes.is_empty() {
            let message = format!("`{base}` is one step, not a matrix");
            self.report(
                Diagnostic::error(Code::NO_SUCH_ROW, whole.span, message)
                    .help(format!("write only: {base}"))
                    .edit(whole.span, base),
            );
        }
        for ((name, value), found) in given.iter().zip(&values).filter(|_| !axes.is_empty()) {
            match self.axis_named(&axes, name) {
                Some(axis) if comparable_axis(found, &axis.ty) => {}
                Some(axis) => {
                    is_row = false;
                    let message = format!("`{base}` has no such row");
                    self.no_value(Code::NO_SUCH_ROW, &message, axis, found, value.span);
                }
                None => {
                    is_row = false;
                    self.no_axis(base, &axes, name, found);
                }
            }
        }
        let missing =
            axes.iter().filter(|axis| !given.iter().any(|(name, _)| name.text == axis.name));
        let missing: Vec<_> = missing.map(|axis| axis.name.clone()).collect();
        if is_row && !missing.is_empty() {
            is_row = false;
            let message = format!(
                "a row of `{base}` is named by all its axes; {} is missing",
                list_of(&missing)
            );
            self.report(
                Diagnostic::error(Code::NO_SUCH_ROW, whole.span, message)
                    .help(format!("add its value: {}: …", missing[0])),
            );
        }
        if is_row { Type::Row(stage) } else { Type::Unknown }
    }

    /// Returns the row at a place that is written out, counted from 0, of axes that are.
    pub(super) fn written_row(&self, stage: ItemRef, place: &Expr) -> Option<String> {
        let tree = self.stage_tree(stage);
        let ExprKind::Int(place) = &place.kind else { return None };
        let mut place = usize::try_from(*place).ok().filter(|_| tree.except.is_none())?;
        let mut row = Vec::new();
        // The last axis is the fastest.
        for axis in tree.axes.iter().rev() {
            let ExprKind::List(values) = &axis.values.kind else { return None };
            let value =
                values.get(place.checked_rem(values.len())?).filter(|it| it.is_literal())?;
            row.push(format!("{}: {}", axis.name.text, self.program.sources.text(value.span)));
            place /= values.len();
        }
        row.reverse();
        (place == 0).then(|| row.join(", "))
    }

    /// Returns the axis that a row or an `except` names.
    fn axis_named<'a>(&mut self, axes: &'a [AxisInfo], name: &Name) -> Option<&'a AxisInfo> {
        let axis = axes.iter().find(|axis| axis.name == name.text)?;
        self.note(name.span, &axis.ty, || axis.span.map_or(Meaning::Member, Meaning::Local));
        Some(axis)
    }

    /// Reports the name of an axis that there is not, whose value has the type `found`.
    fn no_axis(&mut self, stage: &str, axes: &[AxisInfo], name: &Name, found: &Type) {
        let names: Vec<_> = axes.iter().map(|axis| axis.name.clone()).collect();
        let message = format!("`{stage}` has no axis `{}`", name.text);
        let problem = Diagnostic::error(Code::UNKNOWN_FIELD, name.span, message);
        let only = match axes {
            [only] if comparable_axis(found, &only.ty) => Some(only.name.as_str()),
            _ => None,
        };
        let near = nearest(&name.text, names.iter().map(String::as_str)).or(only);
        self.report(match near {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(name.span, near),
            None => problem.help(format!("it has {}", list_of(&names))),
        });
    }

    /// Reports a value that an axis does not have.
    fn no_value(&mut self, code: Code, what: &str, axis: &AxisInfo, found: &Type, span: Span) {
        let value = match found {
            Type::Enum(texts) if texts.len() == 1 => format!("{:?}", texts[0]),
            Type::Int(low, high) if low == high => low.to_string(),
            found => quoted(found),
        };
        let message = format!("{what}: `{}` is never {value}", axis.name);
        let problem = Diagnostic::error(code, span, message);
        self.report(match (found, &axis.ty) {
            (Type::Enum(found), Type::Enum(known)) => {
                match nearest(&found[0], known.iter().map(String::as_str)) {
                    Some(near) => problem
                        .help(format!("did you mean {near:?}?"))
                        .edit(span, format!("{near:?}")),
                    None => problem.help(format!("`{}` is {}", axis.name, texts(known))),
                }
            }
            (_, Type::Int(low, high)) if axis.ty != Type::INT => {
                problem.help(format!("`{}` goes from {low} to {high}", axis.name))
            }
            (_, ty) => problem.help(format!("`{}` is of type {}", axis.name, quoted(ty))),
        });
    }
}

/// Returns at most four texts for a message: `"a", "b" or "c"`.
fn texts(texts: &[String]) -> String {
    let shown: Vec<_> = texts.iter().take(4).map(|text| format!("{text:?}")).collect();
    match (&shown[..], texts.len() - shown.len()) {
        ([most @ .., last], 0) if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        (shown, 0) => shown.join(", "),
        (shown, more) => format!("{} or one of {more} more", shown.join(", ")),
    }
}

/// Returns whether a matrix may go through values of this type.
fn is_axis(ty: &Type) -> bool {
    match ty {
        Type::Record(fields) => fields.values().all(|ty| ty.certain().is_text()),
        ty => ty.is_text(),
    }
}

fn fields_of(record: &Expr) -> Option<&Vec<(Name, Expr)>> {
    match &record.kind {
        ExprKind::Record(fields) => Some(fields),
        _ => None,
    }
}

fn comparable_axis(found: &Type, axis: &Type) -> bool {
    match (found, axis) {
        (Type::Enum(own), Type::Enum(other)) => own.iter().any(|text| other.contains(text)),
        (Type::Int(low, high), Type::Int(min, max)) => low <= max && min <= high,
        (own, other) => own.join(other).is_some(),
    }
}
