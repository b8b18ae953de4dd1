//! Checking specs: that each gives params and facts, and expects something of steps. Knows the words
//! of specs; does not know what a plan comes to.

use std::collections::BTreeMap;

use super::cure::quoted;
use super::expr::list_of;
use super::stage::is_input;
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::nearest::nearest;
use crate::lang::scope::item_of;
use crate::lang::spec::{self, Subject, Word};
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{Expr, ExprKind, ItemKind, Name, Piece, Spec, SpecClauseKind};

/// What other tools and habits call the fields.
const FOREIGN: [(&str, &str); 11] = [
    ("block", "blocked"),
    ("blocks", "blocked"),
    ("fail", "failing"),
    ("failed", "failing"),
    ("fails", "failing"),
    ("passes", "runs"),
    ("ran", "runs"),
    ("run", "runs"),
    ("running", "runs"),
    ("skip", "skipped"),
    ("skips", "skipped"),
];

impl<'p> Checker<'p> {
    pub(super) fn spec(&mut self, item: ItemRef, spec: &'p Spec) {
        let mut scope = Scope::new(item);
        self.title(item, &spec.title);
        let mut seen = BTreeMap::new();
        let mut expects = false;
        for clause in &spec.clauses {
            match &clause.kind {
                SpecClauseKind::Given { what, value } => {
                    self.given(what, value, &mut seen, &mut scope);
                }
                SpecClauseKind::Takes { step, inputs } => {
                    expects = true;
                    let found = self.expr(step, &mut scope);
                    self.expect(&found, &Type::Verdict, step.span, "`takes`", None);
                    self.all_inputs(inputs, &mut scope);
                }
                SpecClauseKind::Field { name, value } => {
                    expects |= Word::named(&name.text) != Some(Word::Failing);
                    if Word::named(&name.text).is_some() {
                        self.once(&name.text, name.span, &mut seen);
                    }
                    self.spec_field(name, value, &mut scope);
                }
            }
        }
        if !expects && self.program.module(item.module).is_whole {
            let message = format!("the spec {:?} expects nothing", spec.title.text);
            let problem = Diagnostic::error(Code::BAD_SPEC, spec.title.span, message);
            self.report(problem.help("say what becomes of a stage: runs = [name]"));
        }
    }

    /// Reports a title that is none, or that a spec before has.
    fn title(&mut self, item: ItemRef, title: &Name) {
        if title.text.trim().is_empty() {
            let problem = Diagnostic::error(Code::BAD_SPEC, title.span, "a spec needs a title");
            self.report(problem.help("say in a few words what is to be so"));
            return;
        }
        let items = &self.program.module(item.module).ast.items[..item.item];
        let first = items.iter().find_map(|item| match &item.kind {
            ItemKind::Spec(other) if other.title.text == title.text => Some(other.title.span),
            _ => None,
        });
        if let Some(first) = first {
            let message = format!("two specs are called {:?}", title.text);
            self.report(
                Diagnostic::error(Code::DUPLICATE, title.span, message)
                    .label("again here")
                    .also(first, "first here")
                    .help("rename one of the two"),
            );
        }
    }

    fn once(&mut self, name: &str, span: Span, seen: &mut BTreeMap<String, Span>) {
        if let Some(first) = seen.insert(name.to_owned(), span) {
            let message = format!("`{name}` is given twice");
            self.report(
                Diagnostic::error(Code::DUPLICATE, span, message)
                    .label("again here")
                    .also(first, "first here")
                    .help("delete one of the two"),
            );
        }
    }

    fn given(
        &mut self,
        what: &'p Expr,
        value: &'p Expr,
        seen: &mut BTreeMap<String, Span>,
        scope: &mut Scope,
    ) {
        let item = item_of(self.program, &self.symbols, scope.item.module, what);
        let was_used = item.is_none_or(|item| self.used.contains(&item));
        let reported = self.diagnostics.len();
        let wanted = self.expr(what, scope);
        // A param that only specs mention decides nothing.
        if let Some(item) = item.filter(|_| !was_used) {
            self.used.remove(&item);
        }
        let text = self.program.sources.text(what.span);
        match spec::subject(self.program, &self.symbols, scope.item.module, what) {
            _ if self.diagnostics.len() > reported => {}
            Some(Subject::Param(_) | Subject::Fact(_)) => self.once(text, what.span, seen),
            None => {
                let message = format!("a spec gives params and facts, found {}", quoted(&wanted));
                let problem = Diagnostic::error(Code::BAD_SPEC, what.span, message);
                self.report(
                    problem.help("name a param of the pipeline, or a fact such as host.git.branch"),
                );
                return;
            }
        }
        if let Some(part) = varying(value) {
            let message = "what a spec gives is written out, so that it is the same everywhere";
            let problem = Diagnostic::error(Code::BAD_SPEC, part, message);
            self.report(problem.help("write the value itself: a text, a number, a list of them"));
            return;
        }
        let found = self.expr(value, scope);
        self.expect(&found, &wanted, value.span, &format!("`{text}`"), None);
    }

    fn spec_field(&mut self, name: &'p Name, value: &'p Expr, scope: &mut Scope) {
        let wanted = Type::list(Type::Verdict);
        if Word::named(&name.text).is_none() {
            self.expr(value, scope);
            let problem = self.unknown_word(name, scope.item);
            return self.report(problem);
        }
        let what = format!("`{}`", name.text);
        // Stages and rows have no type in common.
        let ExprKind::List(elements) = &value.kind else {
            let found = self.expr(value, scope);
            return self.expect(&found, &wanted, value.span, &what, None);
        };
        for element in elements {
            let found = self.expr(element, scope);
            self.expect(&found, &Type::Verdict, element.span, &what, None);
        }
    }

    fn unknown_word(&self, name: &Name, item: ItemRef) -> Diagnostic {
        let text = name.text.as_str();
        let message = format!("a spec has no `{text}`");
        let problem = Diagnostic::error(Code::UNKNOWN_FIELD, name.span, message);
        let param = self.symbols[item.module.index()].get(text);
        let param = param.map(|at| &self.program.module(item.module).ast.items[at].kind);
        if let Some(ItemKind::Param(_)) = param {
            return problem
                .help(format!("a param is given: given {text} = …"))
                .edit(Span::at(name.span.source, name.span.start as usize), "given ");
        }
        let words = Word::ALL.map(|(word, _)| word);
        let own = FOREIGN.iter().find(|(word, _)| *word == text).map(|(_, own)| *own);
        match own.or_else(|| nearest(text, words)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(name.span, near),
            None => {
                let words = words.map(|word| format!("{word} = […]"));
                problem.help(format!("it has {}", list_of(&words)))
            }
        }
    }

    fn all_inputs(&mut self, inputs: &'p Expr, scope: &mut Scope) {
        let ExprKind::List(elements) = &inputs.kind else {
            let found = self.expr(inputs, scope);
            return self.one_input(&found, inputs);
        };
        for element in elements {
            let found = self.expr(element, scope);
            self.one_input(&found, element);
        }
    }

    fn one_input(&mut self, found: &Type, expr: &Expr) {
        if is_input(found) {
            return;
        }
        let message = format!("inputs are files, folders and outs, found {}", quoted(found));
        let problem = Diagnostic::error(Code::TYPE_MISMATCH, expr.span, message);
        self.report(problem.help("write: takes stage = [files(\"src/**\"), other.out]"));
    }
}

/// Returns the first part of an expression that is not written out.
fn varying(expr: &Expr) -> Option<Span> {
    match &expr.kind {
        ExprKind::None
        | ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::Duration(_)
        | ExprKind::Size(_)
        | ExprKind::Percent(_)
        | ExprKind::Broken => None,
        ExprKind::String(literal) => literal.pieces.iter().find_map(|piece| match piece {
            Piece::Text { .. } => None,
            Piece::Hole { span, .. } => Some(*span),
        }),
        ExprKind::List(elements) => elements.iter().find_map(varying),
        ExprKind::Unary { operand, .. } => varying(operand),
        _ => Some(expr.span),
    }
}
