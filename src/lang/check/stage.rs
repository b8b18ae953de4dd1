//! Checking stages: their matrix, clauses, fields and outs.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::cure::quoted;
use super::expr::list_of;
use super::{AxisInfo, Checker, OutInfo, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::builtins::fields;
use crate::lang::nearest::nearest;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{Clause, ClauseKind, Expr, ExprKind, Name, Stage, TypeExpr};

/// How many templates may be made from one another in a row.
const MAX_TEMPLATES: usize = 64;

impl<'p> Checker<'p> {
    pub(super) fn stage(&mut self, item: ItemRef, stage: &'p Stage) {
        let mut scope = Scope::new(item);
        if let Some(parameters) = &stage.parameters {
            self.parameters(parameters, &mut scope);
        }
        self.matrix(stage, &mut scope);
        let mut runs = false;
        if let Some(from) = &stage.from
            && let Some((template, arguments)) = self.template(item, from, &mut scope)
        {
            let tree = self.stage_tree(template);
            let parameters = tree.parameters.as_deref().unwrap_or_default();
            self.arguments(&tree.name.text, parameters, from.span, arguments, &mut scope);
            runs = true;
        }
        scope.outs = self.outs_of(item);
        scope.locals.push("out", Type::Outs, None);
        self.duplicate_clauses(&stage.clauses);
        for clause in &stage.clauses {
            self.clause(clause, &mut scope);
            runs |= matches!(clause.kind, ClauseKind::Script { .. } | ClauseKind::Argv(_));
        }
        let is_whole = self.program.module(item.module).is_whole;
        if !runs && stage.from.is_none() && is_whole {
            let message = format!("`{}` runs nothing", stage.name.text);
            self.report(
                Diagnostic::error(Code::NOTHING_TO_RUN, stage.name.span, message)
                    .help("add a clause: run sh \"…\""),
            );
        }
        if is_whole {
            self.unwritten_outs(stage, &scope);
        }
    }

    fn matrix(&mut self, stage: &'p Stage, scope: &mut Scope) {
        for axis in &stage.axes {
            let element = self.elements(&axis.values, scope);
            if !is_axis(&element) {
                let message = format!(
                    "a matrix goes through texts, numbers, files or records, found {}",
                    quoted(&element)
                );
                self.report(Diagnostic::error(Code::TYPE_MISMATCH, axis.values.span, message));
            } else if matches!(element, Type::Record(_)) && stage.axes.len() > 1 {
                let message = "an axis over records is the only one of its matrix";
                let help =
                    "go through the records with two `for` of one list: [{…} for a in as, b in bs]";
                self.report(
                    Diagnostic::error(Code::TYPE_MISMATCH, axis.values.span, message).help(help),
                );
            }
            self.bind(&axis.name, element, true, scope);
        }
        if let Some(except) = &stage.except {
            self.except(&stage.name.text, except, scope);
        }
        if let Some(max) = &stage.max {
            let found = self.expr(max, scope);
            self.expect(&found, &Type::Int(1, 100_000), max.span, "`max`", None);
        }
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
            match axes.iter().find(|axis| axis.name == name.text) {
                Some(axis) if comparable_axis(&found, &axis.ty) => {}
                Some(axis) => {
                    let message = format!("`except` drops no row of `{stage}`");
                    self.no_value(Code::DEAD_EXCEPT, &message, axis, &found, value.span);
                }
                None => self.no_axis(stage, &axes, name),
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
        let axes = self.silently(|checker| {
            let mut scope = Scope::new(stage);
            let mut axes = Vec::new();
            for axis in &tree.axes {
                let ty = checker.elements(&axis.values, &mut scope);
                match &ty {
                    Type::Record(fields) => axes.extend(
                        fields
                            .iter()
                            .map(|(name, ty)| AxisInfo { name: name.clone(), ty: ty.clone() }),
                    ),
                    ty => axes.push(AxisInfo { name: axis.name.text.clone(), ty: ty.clone() }),
                }
                scope.locals.push(axis.name.text.clone(), ty, Some(axis.name.span));
            }
            axes
        });
        let axes = Arc::new(axes);
        self.axes.insert(stage, Arc::clone(&axes));
        axes
    }

    /// Returns the outs of a stage, those of its template first.
    pub(super) fn outs_of(&mut self, stage: ItemRef) -> Arc<IndexMap<String, OutInfo>> {
        self.outs_within(stage, MAX_TEMPLATES)
    }

    fn outs_within(&mut self, stage: ItemRef, templates: usize) -> Arc<IndexMap<String, OutInfo>> {
        if let Some(outs) = self.outs.get(&stage) {
            return Arc::clone(outs);
        }
        let tree = self.stage_tree(stage);
        let mut outs = IndexMap::new();
        if let Some(Expr { kind: ExprKind::Call { callee, .. }, span }) = &tree.from {
            let callee = self.silently(|checker| checker.expr(callee, &mut Scope::new(stage)));
            match (callee, templates) {
                (Type::Template(_), 0) => {
                    let message =
                        "templates are made from one another in a circle, or more than 64 in a row";
                    self.report(Diagnostic::error(Code::RECURSION, *span, message));
                }
                (Type::Template(template), left) => {
                    let template = self.outs_within(template, left - 1);
                    outs.extend(template.iter().map(|(name, out)| (name.clone(), out.clone())));
                }
                _ => {}
            }
        }
        for clause in &tree.clauses {
            if let ClauseKind::Out { name, ty, path } = &clause.kind {
                let ty = self.silently(|checker| checker.written(ty));
                outs.insert(
                    name.text.clone(),
                    OutInfo { ty, span: name.span, has_path: path.is_some() },
                );
            }
        }
        let outs = Arc::new(outs);
        self.outs.insert(stage, Arc::clone(&outs));
        outs
    }

    fn duplicate_clauses(&mut self, clauses: &'p [Clause]) {
        let mut seen: BTreeMap<(&str, &str), Span> = BTreeMap::new();
        for clause in clauses {
            let (kind, name) = match &clause.kind {
                ClauseKind::Out { name, .. } => ("out", name),
                ClauseKind::Env { name, .. } => ("variable", name),
                ClauseKind::Field { name, .. } => ("field", name),
                ClauseKind::In { .. } | ClauseKind::Script { .. } | ClauseKind::Argv(_) => continue,
            };
            if let Some(first) = seen.insert((kind, &name.text), name.span) {
                self.report(
                    Diagnostic::error(
                        Code::DUPLICATE,
                        name.span,
                        format!("the {kind} `{}` is given twice", name.text),
                    )
                    .label("again here")
                    .also(first, "first here")
                    .help("delete one of the two"),
                );
            }
        }
    }

    fn clause(&mut self, clause: &'p Clause, scope: &mut Scope) {
        match &clause.kind {
            ClauseKind::In { value, at } => self.input(value, at.as_ref(), scope),
            ClauseKind::Out { ty, path, name } => self.out(name, ty, path.as_ref(), scope),
            ClauseKind::Env { name, value } => {
                let found = self.expr(value, scope);
                if !name.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    let message = format!("`{}` is no name of an environment variable", name.text);
                    self.report(
                        Diagnostic::error(Code::SYNTAX, name.span, message)
                            .help("use letters, digits and `_`"),
                    );
                } else if name.text.starts_with("KILN_") {
                    let message =
                        format!("`{}` begins with `KILN_`, which Kiln keeps for itself", name.text);
                    self.report(
                        Diagnostic::error(Code::SHADOWING, name.span, message)
                            .help("choose another name"),
                    );
                }
                if found != Type::None
                    && !matches!(&found, Type::Optional(inner) if inner.is_text())
                {
                    self.printable(&found, value, scope);
                }
            }
            ClauseKind::Script { language, script } => self.script(*language, script, scope),
            ClauseKind::Argv(argv) => self.argv(argv, scope),
            ClauseKind::Field { name, value } => self.field(name, value, scope),
        }
    }

    fn input(&mut self, value: &'p Expr, at: Option<&'p Expr>, scope: &mut Scope) {
        let found = self.expr(value, scope);
        if !is_input(&found) {
            let text = self.program.sources.text(value.span);
            let problem = Diagnostic::error(
                Code::TYPE_MISMATCH,
                value.span,
                format!("`in` takes files, folders and lists of them, found {}", quoted(&found)),
            )
            .label(format!("this is {}", quoted(&found)));
            let problem = match &found {
                Type::String | Type::Enum(_) => problem
                    .help(format!("write: files({text})"))
                    .edit(value.span, format!("files({text})")),
                Type::Stage(stage) => {
                    let outs: Vec<_> =
                        self.outs_of(*stage).keys().map(|out| format!("{text}.{out}")).collect();
                    match outs.is_empty() {
                        true => problem.help(format!(
                            "`{text}` makes nothing; to wait for it, write: require = [{text}]"
                        )),
                        false => problem.help(format!("name one of its outs: {}", list_of(&outs))),
                    }
                }
                _ => problem,
            };
            self.report(problem);
        }
        if let Some(at) = at {
            let place = self.expr(at, scope);
            self.expect(&place, &Type::String, at.span, "`at`", None);
        }
    }

    fn out(&mut self, name: &'p Name, ty: &'p TypeExpr, path: Option<&'p Expr>, scope: &mut Scope) {
        match self.written(ty).certain() {
            Type::File | Type::Dir | Type::Junit | Type::Unknown => {}
            Type::Image => {
                let message = "outs of type `image` are not in this version of Kiln";
                self.report(Diagnostic::error(Code::NOT_IN_THIS_VERSION, ty.span, message));
            }
            found => {
                let message =
                    format!("an out is a `file`, a `dir` or a `junit`, found {}", quoted(found));
                let edit = if matches!(found, Type::List(_)) { "dir" } else { "file" };
                self.report(
                    Diagnostic::error(Code::TYPE_MISMATCH, ty.span, message)
                        .help(format!("write: out {}: {edit}", name.text))
                        .edit(ty.span, edit),
                );
            }
        }
        if let Some(path) = path {
            let found = self.expr(path, scope);
            self.expect(&found, &Type::String, path.span, "the path of an out", None);
        }
    }

    fn field(&mut self, name: &'p Name, value: &'p Expr, scope: &mut Scope) {
        let Some(field) = fields::find(&name.text) else {
            self.expr(value, scope);
            let problem = self.unknown_field(name, value);
            self.report(problem);
            return;
        };
        let wanted = field.ty();
        let what = format!("`{}`", field.name);
        // `require` and `tools` may hold stages and trees that no type joins.
        if let (Type::List(wanted), ExprKind::List(elements)) = (&wanted, &value.kind) {
            for element in elements {
                let found = self.expr(element, scope);
                self.expect(&found, wanted, element.span, &what, None);
            }
            return;
        }
        let found = self.expr(value, scope);
        self.expect(&found, &wanted, value.span, &what, None);
    }

    fn unknown_field(&self, name: &Name, value: &Expr) -> Diagnostic {
        let text = &name.text;
        if fields::is_later(text) {
            return Diagnostic::error(
                Code::NOT_IN_THIS_VERSION,
                name.span,
                format!("the field `{text}` is not in this version of Kiln"),
            );
        }
        if let Some(cure) = fields::foreign(text) {
            return Diagnostic::error(
                Code::FOREIGN_HABIT,
                name.span,
                format!("a stage has no field `{text}`"),
            )
            .help(cure);
        }
        let problem = Diagnostic::error(
            Code::UNKNOWN_FIELD,
            name.span,
            format!("a stage has no field `{text}`"),
        );
        if let Some(near) = nearest(text, fields::FIELDS.iter().map(|field| field.name)) {
            return problem.help(format!("did you mean `{near}`?")).edit(name.span, near);
        }
        if text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            return problem
                .help(format!("a variable of the environment is set by: env {text} = …"))
                .edit(Span::at(name.span.source, name.span.start as usize), "env ");
        }
        let by_type = match &value.kind {
            ExprKind::Duration(_) => Some("timeout"),
            ExprKind::Size(_) => Some("memory"),
            _ => None,
        };
        match by_type {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(name.span, near),
            None => {
                let names: Vec<_> =
                    fields::FIELDS.iter().map(|field| field.name.to_owned()).collect();
                problem.help(format!("its fields are {}", list_of(&names)))
            }
        }
    }

    /// Reports outs without a path that nothing of the stage writes.
    fn unwritten_outs(&mut self, stage: &'p Stage, scope: &Scope) {
        // The clauses of a template may write them.
        if stage.from.is_some() {
            return;
        }
        let outs = Arc::clone(&scope.outs);
        for (name, out) in
            outs.iter().filter(|(name, out)| !out.has_path && !scope.written.contains(*name))
        {
            let message = format!("nothing writes the out `{name}`");
            let is_dir = matches!(out.ty.certain(), Type::Dir);
            let example = if is_dir { "…/" } else { "" };
            self.report(
                Diagnostic::error(Code::OUT_NEVER_WRITTEN, out.span, message)
                    .label("it has no path, so the script must write to where Kiln puts it")
                    .help(format!("write to {{{{out.{name}}}}}{example} in the script, or say where it is: out {name}: {} = \"path\"", out.ty)),
            );
        }
    }

    /// Returns the type of `stage.name`.
    pub(super) fn stage_member(&mut self, stage: ItemRef, base: &'p Expr, name: &'p Name) -> Type {
        let is_matrix = !self.stage_tree(stage).axes.is_empty();
        if !is_matrix {
            return self.out_of(stage, name);
        }
        if name.text == "all" {
            return Type::AllRows(stage);
        }
        let outs = self.outs_of(stage);
        if !outs.contains_key(&name.text) {
            return self.no_out(&outs, &format!("`{}`", self.stage_tree(stage).name.text), name);
        }
        let text = self.program.sources.text(base.span);
        let axes: Vec<_> =
            self.axes_of(stage).iter().map(|axis| format!("{}: …", axis.name)).collect();
        let message =
            format!("`{text}` is a matrix, and each of its rows has its own `{}`", name.text);
        self.report(Diagnostic::error(Code::NO_SUCH_ROW, base.span, message).help(format!(
            "name the row, {text}[{}].{1}, or take them all: {text}.all.{1}",
            axes.join(", "),
            name.text
        )));
        Type::Unknown
    }

    /// Returns the type of an out of one row.
    pub(super) fn out_of(&mut self, stage: ItemRef, name: &Name) -> Type {
        let outs = self.outs_of(stage);
        match outs.get(&name.text) {
            Some(out) => out.ty.clone(),
            None if name.text == "all" => {
                let stage = &self.stage_tree(stage).name.text;
                let message = format!("`{stage}` is one step, so it has no `all`");
                self.report(
                    Diagnostic::error(Code::UNKNOWN_OUT, name.span, message)
                        .help("mention its outs without `.all`"),
                );
                Type::Unknown
            }
            None => self.no_out(&outs, &format!("`{}`", self.stage_tree(stage).name.text), name),
        }
    }

    pub(super) fn no_out(
        &mut self,
        outs: &IndexMap<String, OutInfo>,
        what: &str,
        name: &Name,
    ) -> Type {
        let names: Vec<_> = outs.keys().cloned().collect();
        let mut problem = Diagnostic::error(
            Code::UNKNOWN_OUT,
            name.span,
            format!("{what} has no out `{}`", name.text),
        );
        problem = match (nearest(&name.text, outs.keys().map(String::as_str)), &names[..]) {
            (Some(near), _) => problem
                .help(format!("did you mean `{near}`?"))
                .edit(name.span, near)
                .also(outs[near].span, "declared here"),
            (None, [only]) => problem
                .help(format!("did you mean `{only}`?"))
                .edit(name.span, only.clone())
                .also(outs[only].span, "its only out"),
            (None, []) => problem.help(format!(
                "it makes nothing yet; declare what it makes: out {}: file",
                name.text
            )),
            (None, names) => problem.help(format!("it has {}", list_of(names))),
        };
        self.report(problem);
        Type::Unknown
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
                    .help(format!("mention its outs without an index: {base}.name")),
            );
        }
        for ((name, value), found) in given.iter().zip(&values).filter(|_| !axes.is_empty()) {
            match axes.iter().find(|axis| axis.name == name.text) {
                Some(axis) if comparable_axis(found, &axis.ty) => {}
                Some(axis) => {
                    is_row = false;
                    let message = format!("`{base}` has no row with this `{}`", axis.name);
                    self.no_value(Code::NO_SUCH_ROW, &message, axis, found, value.span);
                }
                None => {
                    is_row = false;
                    self.no_axis(base, &axes, name);
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
                    .help(format!("add {}: …", missing[0])),
            );
        }
        if is_row { Type::Row(stage) } else { Type::Unknown }
    }

    fn no_axis(&mut self, stage: &str, axes: &[AxisInfo], name: &Name) {
        let names: Vec<_> = axes.iter().map(|axis| axis.name.clone()).collect();
        let message = format!("`{stage}` has no axis `{}`", name.text);
        let problem = Diagnostic::error(Code::UNKNOWN_FIELD, name.span, message);
        self.report(match nearest(&name.text, names.iter().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(name.span, near),
            None => problem.help(format!("it has {}", list_of(&names))),
        });
    }

    /// Reports a value that an axis does not have.
    fn no_value(&mut self, code: Code, what: &str, axis: &AxisInfo, found: &Type, span: Span) {
        let message =
            format!("{what}: `{}` is {}, found {}", axis.name, quoted(&axis.ty), quoted(found));
        let problem = Diagnostic::error(code, span, message);
        let near = match (found, &axis.ty) {
            (Type::Enum(found), Type::Enum(known)) => {
                nearest(&found[0], known.iter().map(String::as_str))
            }
            _ => None,
        };
        self.report(match near {
            Some(near) => {
                problem.help(format!("did you mean {near:?}?")).edit(span, format!("{near:?}"))
            }
            None => problem,
        });
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

fn is_input(ty: &Type) -> bool {
    match ty {
        Type::List(element) | Type::Optional(element) => is_input(element),
        ty => matches!(ty, Type::File | Type::Dir | Type::Junit | Type::None | Type::Unknown),
    }
}
