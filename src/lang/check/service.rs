//! Checking services: what one may have and say, and the clauses by which a stage has them.

use super::cure::quoted;
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::edit;
use crate::lang::meaning::Meaning;
use crate::lang::ty::{ItemRef, Type};
use crate::plan::step::MAX_SERVICES;
use crate::source::Span;
use crate::syntax::ast::{ClauseKind, Expr, ExprKind, Name, Stage, StageKind, TypeExpr};

impl<'p> Checker<'p> {
    /// Puts the services that a stage has in scope, in their order: a later one may be given what an
    /// earlier one says.
    pub(super) fn services(&mut self, stage: &'p Stage, scope: &mut Scope) {
        let mut count = 0;
        for clause in &stage.clauses {
            let ClauseKind::Service { name, value } = &clause.kind else { continue };
            count += 1;
            if stage.kind == StageKind::Service {
                let message = "a service has no services of its own";
                let help = "give them to the stage: all that it has can reach each other";
                self.no_line(
                    Diagnostic::error(Code::BAD_SERVICE, clause.span, message).help(help),
                    clause.span,
                );
            }
            if count == MAX_SERVICES + 1 {
                let message = format!("a stage has at most {MAX_SERVICES} services");
                let help = "start some of them in one service, or split the stage";
                self.report(Diagnostic::error(Code::BAD_SERVICE, clause.span, message).help(help));
            }
            let found = match value {
                Some(value) => self.expr(value, scope),
                None => self.name(&name.text, name.span, scope),
            };
            let span = value.as_ref().map_or(name.span, |value| value.span);
            let ty = self.beside(found, span);
            // It may go by the name of what it is.
            if value.as_ref().is_none_or(|value| is_named(value, &name.text)) {
                scope.locals.push(name.text.clone(), ty, Some(name.span));
            } else {
                self.bind(name, ty, false, None, scope);
            }
        }
    }

    /// Returns the type of a service that a stage has.
    fn beside(&mut self, found: Type, span: Span) -> Type {
        let text = self.program.sources.text(span);
        let problem = match found {
            Type::Service(service) => return Type::Beside(service),
            Type::Unknown => return Type::Unknown,
            Type::Template(item) if self.stage_tree(item).kind == StageKind::Service => {
                self.uncalled(item, span)
            }
            Type::Beside(_) => {
                let message = format!("this stage has `{text}` already");
                Diagnostic::error(Code::BAD_SERVICE, span, message)
                    .help("delete the line, and use it by the name it has")
            }
            found => {
                let message = format!("a service is wanted, found {}", quoted(&found));
                Diagnostic::error(Code::BAD_SERVICE, span, message).help(
                    "declare one: service name { port = 8080, run sh \"…\" }  on lines of its own",
                )
            }
        };
        self.report(problem);
        Type::Unknown
    }

    /// Reports what a line is too much for; to delete it cures that.
    fn no_line(&mut self, problem: Diagnostic, line: Span) {
        let text = &self.program.sources.get(line.source).text;
        self.report(match edit::lines_of(text, line) {
            Some(lines) => problem.edit(lines, ""),
            None => problem,
        });
    }

    /// Returns the diagnostic for a service with parameters that is not called.
    fn uncalled(&self, service: ItemRef, span: Span) -> Diagnostic {
        let text = self.program.sources.text(span);
        let message = format!("`{text}` has parameters, and is called");
        let problem = Diagnostic::error(Code::BAD_SERVICE, span, message);
        let parameters = self.stage_tree(service).parameters.iter().flatten();
        let must: Vec<_> = parameters
            .filter(|parameter| parameter.default.is_none())
            .map(|parameter| format!("{}: …", parameter.name.text))
            .collect();
        let problem = problem.help(format!("write: {text}({})", must.join(", ")));
        match must.is_empty() {
            true => problem.edit(Span::at(span.source, span.end as usize), "()"),
            false => problem,
        }
    }

    /// Reports what the head of a service cannot have.
    pub(super) fn no_stage(&mut self, service: &'p Stage) {
        let name = &service.name.text;
        let rows = service.axes.first().map(|axis| axis.name.span);
        let when = service.condition.as_ref().map(|condition| condition.span);
        let problems = [
            (rows, "has no rows", "leave out the `for`: each step that has it gets one of its own"),
            (when, "has no condition", "leave out the `when`: it is up where a step has it"),
        ];
        for (span, what, help) in problems {
            if let Some(span) = span {
                let message = format!("the service `{name}` {what}");
                self.report(Diagnostic::error(Code::BAD_SERVICE, span, message).help(help));
            }
        }
    }

    /// Checks what a service says to its users.
    pub(super) fn service_out(
        &mut self,
        name: &'p Name,
        ty: &'p TypeExpr,
        value: Option<&'p Expr>,
        scope: &mut Scope,
    ) {
        let written = self.written(ty);
        self.note(name.span, &written, || Meaning::Out(name.span));
        if !is_said(&written) {
            let message = format!(
                "a service says texts and numbers to its stage, and makes no {}",
                quoted(&written)
            );
            self.report(
                Diagnostic::error(Code::BAD_SERVICE, ty.span, message)
                    .help(format!("write: out {}: string = \"…\"", name.text)),
            );
        }
        let Some(value) = value else {
            let message = format!("nothing says what `{}` is", name.text);
            self.report(Diagnostic::error(Code::BAD_SERVICE, name.span, message).help(format!(
                "give it a value: out {}: {written} = \"http://127.0.0.1:8080\"",
                name.text
            )));
            return;
        };
        let found = self.expr(value, scope);
        let declared = Some((ty.span, "its type is declared here"));
        self.expect(&found, &written, value.span, &format!("`{}`", name.text), declared);
    }

    /// Reports a service that is asked for something without being up.
    pub(super) fn service_apart(&mut self, service: ItemRef, base: &Expr, name: &Name) -> Type {
        let text = self.program.sources.text(base.span);
        let short = &self.stage_tree(service).name.text;
        let message = format!("`{text}` is up only in a stage that has it");
        let help =
            format!("add a clause, and use that name: service own = {text}  and own.{}", name.text);
        let help =
            if text == short { format!("add a clause to the stage: service {text}") } else { help };
        self.report(Diagnostic::error(Code::BAD_SERVICE, base.span, message).help(help));
        Type::Unknown
    }
}

/// Returns whether `value` is what has that name, or a call of it.
fn is_named(value: &Expr, name: &str) -> bool {
    match &value.kind {
        ExprKind::Name(own) => own == name,
        ExprKind::Call { callee, .. } => is_named(callee, name),
        _ => false,
    }
}

/// Returns whether a service may say a value of that type.
fn is_said(ty: &Type) -> bool {
    ty.is_text() && !matches!(ty, Type::File | Type::Dir | Type::Junit)
}
