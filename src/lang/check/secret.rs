//! Checking secrets: each goes only where a `secret` clause puts it, and into no expression. Knows names
//! and clauses; does not know values, nor where they come from.

use super::cure::quoted;
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::edit;
use crate::lang::nearest::nearest;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{ClauseKind, Expr, ExprKind, ItemKind, Name, Secret, SecretUse, Stage};

impl<'p> Checker<'p> {
    pub(super) fn secret_item(&mut self, secret: &'p Secret) {
        self.variable_name(&secret.name);
        for (at, mark) in secret.marks.iter().enumerate() {
            let error = |message| Diagnostic::error(Code::SECRET, mark.span, message);
            let before = secret.marks[..at].last().unwrap_or(&secret.name);
            let whole = Span { start: before.span.end, ..mark.span };
            if secret.marks[..at].iter().any(|other| other.text == mark.text) {
                let problem = error(format!("`{}` is said twice", mark.text));
                self.report(problem.help("once is enough").edit(whole, ""));
            } else if !Secret::MARKS.contains(&mark.text.as_str()) {
                let problem = error(format!("`{}` says nothing of a secret", mark.text));
                self.report(match nearest(&mark.text, Secret::MARKS.iter().copied()) {
                    Some(near) => {
                        problem.help(format!("did you mean `{near}`?")).edit(mark.span, near)
                    }
                    None => problem
                        .help("`pure` and `affects_cache` do; another secret has a line of its own")
                        .edit(whole, format!("\nsecret {}", mark.text)),
                });
            }
        }
    }

    /// Checks the secrets that a clause gives to its stage.
    pub(super) fn secrets(&mut self, uses: &'p [SecretUse], scope: &mut Scope) {
        for used in uses {
            self.variable_name(&used.name);
            let Some(value) = &used.value else {
                self.secret_called(&used.name, scope);
                continue;
            };
            let found = match &value.kind {
                ExprKind::Name(name) => self.name(name, value.span, scope),
                ExprKind::Member { base, name, is_optional } => {
                    self.member(value.span, base, name, *is_optional, scope)
                }
                _ => self.expr(value, scope),
            };
            if !matches!(found, Type::Secret(_) | Type::Unknown) {
                let message = format!("a secret is wanted, found {}", quoted(&found));
                self.report(Diagnostic::error(Code::SECRET, value.span, message).help(
                    "name one that is declared: secret TOKEN  on a line of its own; what is no secret goes by `env`",
                ));
            }
        }
    }

    /// Checks `secret NAME`, which goes by its own name.
    fn secret_called(&mut self, name: &'p Name, scope: &mut Scope) {
        if self.is_secret(&name.text, scope) {
            self.name(&name.text, name.span, scope);
            return;
        }
        let module = scope.item.module;
        let message = format!("no secret is called `{}`", name.text);
        let problem = Diagnostic::error(Code::SECRET, name.span, message);
        let items = self.symbols[module.index()].names();
        let secrets = items.filter(|other| self.is_secret(other, scope));
        let problem = match nearest(&name.text, secrets) {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(name.span, near),
            None => problem.help(format!(
                "declare it on a line of its own, outside of stages: secret {}",
                name.text
            )),
        };
        self.report(problem);
    }

    /// Returns whether the file of `scope` declares a secret of that name.
    pub(super) fn is_secret(&self, name: &str, scope: &Scope) -> bool {
        let module = scope.item.module;
        let item = self.symbols[module.index()].get(name).map(|item| ItemRef { module, item });
        item.is_some_and(|item| matches!(self.tree(item).kind, ItemKind::Secret(_)))
    }

    /// Reports a secret that an expression mentions.
    pub(super) fn no_secret(&mut self, found: Type, expr: &Expr, scope: &Scope) -> Type {
        let Type::Secret(_) = found else { return found };
        let text = self.program.sources.text(expr.span);
        let name = text.rsplit('.').next().unwrap_or(text);
        let own = if name == text { name.to_owned() } else { format!("{name} = {text}") };
        let message = format!("`{text}` is a secret, and no value of the pipeline may hold it");
        let help = match &self.tree(scope.item).kind {
            ItemKind::Stage(_) => format!(
                "give it to the commands of the stage, by the clause  secret {own}  : they find it in the variable ${name}"
            ),
            _ => format!("give it to the stages that need it, by a clause of theirs: secret {own}"),
        };
        self.report(Diagnostic::error(Code::SECRET, expr.span, message).help(help));
        Type::Unknown
    }

    /// Reports a secret in a hole of a script, where a variable of the environment does. It is
    /// `written` so, `how` a language does; in the place of the hole, if it `fits`.
    pub(super) fn secret_in_hole(
        &mut self,
        (name, written): (&'p str, &str),
        (span, hole): (Span, Span),
        (how, fits): (&str, bool),
        scope: &mut Scope,
    ) {
        self.name(name, span, scope);
        let message = format!("`{name}` is a secret, and a hole would make it a part of the step");
        let problem = Diagnostic::error(Code::SECRET, span, message);
        self.report(match self.takes(name, scope) {
            true if fits => problem.help(format!("write it {how}: {written}")).edit(hole, written),
            true => problem.help(format!("write it {how}: {written}")),
            false => problem
                .help(format!("add the clause  secret {name}  and write it {how}: {written}")),
        });
    }

    /// Returns whether a clause of the stage gives it that variable.
    fn takes(&self, name: &str, scope: &Scope) -> bool {
        let ItemKind::Stage(stage) = &self.tree(scope.item).kind else { return false };
        let mut uses = stage.clauses.iter().filter_map(|clause| match &clause.kind {
            ClauseKind::Secret { uses, .. } => Some(uses),
            _ => None,
        });
        uses.any(|uses| uses.iter().any(|used| used.name.text == name))
    }

    /// Returns the diagnostic for a variable of the shell that is a secret nobody gave to the stage.
    pub(super) fn not_taken(&self, name: &str, span: Span, stage: &Stage) -> Diagnostic {
        let message = format!("`{name}` is a secret that this stage does not have");
        let clause = format!("secret {name}");
        let problem = Diagnostic::error(Code::SECRET, span, message)
            .help(format!("give it to the stage by a clause: {clause}"));
        let text = &self.program.sources.get(stage.name.span.source).text;
        match edit::new_clause(text, stage, &clause) {
            Some(edit) => problem.edit(edit.span, edit.text),
            None => problem,
        }
    }
}
