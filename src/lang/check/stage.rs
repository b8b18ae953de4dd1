//! Checking stages: their matrix, clauses, fields and outs.

use std::collections::BTreeMap;

use super::cure::loosely;
use super::expr::list_of;
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::lang::builtins::{Accepts, fields};
use crate::lang::nearest::nearest;
use crate::lang::template;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{Clause, ClauseKind, Expr, ExprKind, Name, Stage, StageKind};

impl<'p> Checker<'p> {
    pub(super) fn stage(&mut self, item: ItemRef, stage: &'p Stage) {
        let mut scope = Scope::new(item);
        if let Some(parameters) = &stage.parameters {
            self.parameters(parameters, &mut scope);
        }
        self.matrix(stage, &mut scope);
        if let Some(condition) = &stage.condition {
            self.condition(condition, &mut scope);
        }
        self.learn_own(item, &mut scope);
        let is_service = stage.kind == StageKind::Service;
        if is_service {
            self.no_stage(stage);
        }
        if let Some(from) = &stage.from
            && let Some((template, arguments)) = self.template(item, from, &mut scope)
        {
            let tree = self.stage_tree(template);
            let parameters = tree.parameters.as_deref().unwrap_or_default();
            self.arguments(&tree.name.text, parameters, from.span, arguments, &mut scope);
        }
        if !is_service {
            scope.outs = self.outs_of(item);
            scope.locals.push("out", Type::Outs, None);
        }
        self.duplicate_clauses(&stage.clauses);
        self.services(stage, &mut scope);
        for clause in &stage.clauses {
            self.clause(stage.kind, clause, &mut scope);
        }
        let is_whole = self.program.module(item.module).is_whole;
        let has_command = self.has_command(item);
        // What is made from a template may bring the command; a service may be had as it is.
        if !has_command && (stage.parameters.is_none() || is_service) {
            let message = format!("`{}` runs nothing", stage.name.text);
            self.report(
                Diagnostic::error(Code::NOTHING_TO_RUN, stage.name.span, message)
                    .help("add a clause: run sh \"…\""),
            );
        }
        if is_whole && !is_service && has_command {
            self.unwritten_outs(stage, &scope);
        }
    }

    /// Returns whether a stage has a command, of its own or from a template; yes, where that cannot be
    /// told.
    fn has_command(&self, stage: ItemRef) -> bool {
        let chain = template::chain(self.program, &self.symbols, stage);
        let is_command =
            |it: &Clause| matches!(it.kind, ClauseKind::Script { .. } | ClauseKind::Argv(_));
        let has_own = |item: &ItemRef| {
            let is_whole = self.program.module(item.module).is_whole;
            !is_whole || self.stage_tree(*item).clauses.iter().any(is_command)
        };
        // What the last one is made from is not to be found.
        let is_open = chain.last().is_some_and(|last| self.stage_tree(*last).from.is_some());
        is_open || chain.iter().any(has_own)
    }

    fn duplicate_clauses(&mut self, clauses: &'p [Clause]) {
        let mut seen = BTreeMap::new();
        for clause in clauses {
            match &clause.kind {
                ClauseKind::Out { name, .. } => self.duplicate_clause(&mut seen, "out", name),
                ClauseKind::Env { name, .. } => self.duplicate_clause(&mut seen, "variable", name),
                ClauseKind::Field { name, .. } => self.duplicate_clause(&mut seen, "field", name),
                ClauseKind::Secret { uses, .. } => uses
                    .iter()
                    .for_each(|used| self.duplicate_clause(&mut seen, "variable", &used.name)),
                // Hiding one another is reported of services.
                ClauseKind::Service { .. }
                | ClauseKind::In { .. }
                | ClauseKind::Script { .. }
                | ClauseKind::Argv(_) => {}
            }
        }
    }

    fn duplicate_clause(
        &mut self,
        seen: &mut BTreeMap<(&'static str, &'p str), Span>,
        kind: &'static str,
        name: &'p Name,
    ) {
        if let Some(first) = seen.insert((kind, &name.text), name.span) {
            let message = format!("the {kind} `{}` is given twice", name.text);
            self.report(
                Diagnostic::error(Code::DUPLICATE, name.span, message)
                    .label("again here")
                    .also(first, "first here")
                    .help("delete one of the two"),
            );
        }
    }

    fn clause(&mut self, kind: StageKind, clause: &'p Clause, scope: &mut Scope) {
        match &clause.kind {
            ClauseKind::In { value, at } => self.input(value, at.as_ref(), scope),
            ClauseKind::Out { name, ty, path } if kind == StageKind::Service => {
                self.service_out(name, ty, path.as_ref(), scope);
            }
            ClauseKind::Out { ty, path, name } => self.out(name, ty, path.as_ref(), scope),
            ClauseKind::Env { name, value } => {
                let found = self.expr(value, scope);
                self.variable_name(name);
                if !self.refuse_uncertain(value)
                    && found != Type::None
                    && !matches!(&found, Type::Optional(inner) if inner.is_text())
                {
                    self.printable(&found, value);
                }
            }
            ClauseKind::Secret { uses, .. } => self.secrets(uses, scope),
            ClauseKind::Script { language, script } => self.script(*language, script, scope),
            ClauseKind::Argv(argv) => self.argv(argv, scope),
            ClauseKind::Field { name, value } => self.field(kind, name, value, scope),
            // They were put in scope before anything else.
            ClauseKind::Service { .. } => {}
        }
    }

    /// Reports what can be no name of a variable of a step.
    pub(super) fn variable_name(&mut self, name: &Name) {
        let problem = if !name.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            let message = format!("`{}` is no name of an environment variable", name.text);
            Diagnostic::error(Code::SYNTAX, name.span, message).help("use letters, digits and `_`")
        } else if name.text.starts_with("KILN_") {
            let message =
                format!("`{}` begins with `KILN_`, which Kiln keeps for itself", name.text);
            Diagnostic::error(Code::SHADOWING, name.span, message).help("choose another name")
        } else {
            return;
        };
        self.report(problem);
    }

    fn input(&mut self, value: &'p Expr, at: Option<&'p Expr>, scope: &mut Scope) {
        let found = self.expr(value, scope);
        if self.refuse_uncertain(value) {
            // That was reported.
        } else if !is_input(&found) {
            let text = self.program.sources.text(value.span);
            let problem = Diagnostic::error(
                Code::TYPE_MISMATCH,
                value.span,
                format!("`in` takes files, folders and lists of them, found {}", loosely(&found)),
            );
            let problem = match &found {
                found if Accepts::Paths.fits(found) => {
                    let is_list = matches!(value.kind, ExprKind::List(_));
                    let globs = if is_list { &text[1..text.len() - 1] } else { text };
                    problem
                        .help(format!("write: files({})", globs.trim()))
                        .edit(value.span, format!("files({})", globs.trim()))
                }
                Type::Stage(_) | Type::Row(_) => {
                    self.name_an_out(&found, text).of(problem, value.span)
                }
                Type::Image => {
                    let problem = problem.help(format!("a stage runs on an image: image = {text}"));
                    let before = &self.program.sources.get(value.span.source).text;
                    let before = before[..value.span.start as usize].trim_end().strip_suffix("in");
                    match before.filter(|_| at.is_none()) {
                        Some(before) => {
                            let clause = Span { start: before.len() as u32, ..value.span };
                            problem.edit(clause, format!("image = {text}"))
                        }
                        None => problem,
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

    fn field(&mut self, kind: StageKind, name: &'p Name, value: &'p Expr, scope: &mut Scope) {
        let Some(field) = fields::find(&name.text).filter(|field| field.is_of(kind)) else {
            self.expr(value, scope);
            let problem = self.unknown_field(kind, name, value);
            self.report(problem);
            return;
        };
        if field.name == "require" {
            self.requirements(value, scope);
        }
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
        let known = self.diagnostics.len();
        self.expect(&found, &wanted, value.span, &what, None);
        if field.name == "pools"
            && let Some(problem) = self.diagnostics.get_mut(known)
        {
            let help = "name each with its number of places, 1 to 1024: {phones: 3}";
            problem.help = Some(help.to_owned());
        }
        // Who wants more than there is wants all there is. Of ports none is like another.
        if let (Type::Int(low, high), Type::Int(min, max)) = (&found, &wanted)
            && low == high
            && matches!(field.name, "cpus" | "processes" | "retries")
            && let Some(problem) = self.diagnostics.get_mut(known)
        {
            let near = (*low).clamp(*min, *max).to_string();
            problem.edit = Some(Edit { span: value.span, text: near });
        }
    }

    fn unknown_field(&self, kind: StageKind, name: &Name, value: &Expr) -> Diagnostic {
        let text = &name.text;
        let who = if kind == StageKind::Service { "service" } else { "stage" };
        let own = || fields::FIELDS.iter().filter(|field| field.is_of(kind));
        if let Some(cure) = fields::foreign(text) {
            let problem = Diagnostic::error(
                Code::FOREIGN_HABIT,
                name.span,
                format!("a {who} has no field `{text}`"),
            )
            .help(cure);
            return match text == "retry" && matches!(value.kind, ExprKind::Int(_)) {
                true => problem.edit(name.span, "retries"),
                false => problem,
            };
        }
        let problem = Diagnostic::error(
            Code::UNKNOWN_FIELD,
            name.span,
            format!("a {who} has no field `{text}`"),
        );
        if let Some(other) = fields::find(text) {
            return problem.help(other.why_not(kind));
        }
        if let Some(near) = nearest(text, own().map(|field| field.name)) {
            return problem.help(format!("did you mean `{near}`?")).edit(name.span, near);
        }
        if text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            return problem
                .help(format!("a variable of the environment is set by: env {text} = …"))
                .edit(Span::at(name.span.source, name.span.start as usize), "env ");
        }
        let by_type = match &value.kind {
            ExprKind::Duration(_) if kind == StageKind::Service => Some("within"),
            ExprKind::Duration(_) => Some("timeout"),
            ExprKind::Size(_) if kind != StageKind::Service => Some("memory"),
            _ => None,
        };
        match by_type {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(name.span, near),
            None => {
                let names: Vec<_> = own().map(|field| field.name.to_owned()).collect();
                problem.help(format!("its fields are {}", list_of(&names)))
            }
        }
    }
}

pub(super) fn is_input(ty: &Type) -> bool {
    match ty {
        Type::List(element) | Type::Optional(element) => is_input(element),
        ty => matches!(ty, Type::File | Type::Dir | Type::Junit | Type::None | Type::Unknown),
    }
}
