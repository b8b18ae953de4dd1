//! Checking conditions: what is known to hold where an expression stands, and which stages run there
//! for certain. Knows which stage a mention is of; does not know what makes two conditions the same.

use indexmap::IndexMap;

use super::claim::{Claim, Meaning, Names};
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::template;
use crate::lang::ty::{ItemRef, ModuleId, Type};
use crate::source::Span;
use crate::syntax::ast::{Argument, BinaryOperator, Expr, ExprKind, ItemKind, Parameter};

impl<'p> Checker<'p> {
    /// Checks something in whose place `condition` is known to hold, or not to.
    pub(super) fn knowing<T>(
        &mut self,
        condition: &'p Expr,
        holds: bool,
        scope: &mut Scope,
        check: impl FnOnce(&mut Self, &mut Scope) -> T,
    ) -> T {
        let before = scope.known.len();
        self.learn(condition, holds, scope);
        let result = check(self, scope);
        scope.known.truncate(before);
        result
    }

    /// Notes that `condition` holds, or not, in all that is checked in `scope` from here on.
    pub(super) fn learn(&mut self, condition: &'p Expr, holds: bool, scope: &mut Scope) {
        let names = Names::of_scope(scope);
        scope.known.extend(self.claims(condition, holds, &names, 0));
    }

    /// Notes that the conditions of a stage hold: its own and those of the templates it is made from.
    pub(super) fn learn_own(&mut self, item: ItemRef, scope: &mut Scope) {
        if self.stage_tree(item).always_runs() {
            return;
        }
        let chain = self.chain_of(item);
        let mut names = Names::of_scope(scope);
        for (at, item) in chain.iter().enumerate() {
            if at > 0 {
                names = self.names_in_template(&chain[at - 1..], &names);
            }
            if let Some(condition) = self.stage_tree(*item).condition.as_deref() {
                scope.known.extend(self.claims(condition, true, &names, 0));
            }
        }
    }

    /// Returns the type of an expression that may be `none`, if it is known not to be here.
    pub(super) fn narrowed(&mut self, expr: &'p Expr, ty: Type, scope: &Scope) -> Type {
        let Type::Optional(inner) = &ty else { return ty };
        if scope.known.is_empty() {
            return ty;
        }
        let Some(claim) = self.claim(expr, &Names::of_scope(scope), 0) else { return ty };
        if !scope.known.contains(&Claim::is_there(claim)) {
            return ty;
        }
        self.uncertain.remove(&expr.span);
        (**inner).clone()
    }

    /// Returns the condition of a stage, or of a template of it, that is not known to hold where
    /// `base`, the stage or a row of it, is mentioned.
    pub(super) fn open_condition(
        &mut self,
        stage: ItemRef,
        base: &'p Expr,
        scope: &Scope,
    ) -> Option<&'p Expr> {
        if self.stage_tree(stage).always_runs() {
            return None;
        }
        let chain = self.chain_of(stage);
        let mut conditions =
            chain.iter().filter_map(|item| self.stage_tree(*item).condition.as_deref());
        let first = conditions.next()?;
        let mut names = self.names_of_row(stage, base, scope);
        for (at, item) in chain.iter().enumerate() {
            if at > 0 {
                names = self.names_in_template(&chain[at - 1..], &names);
            }
            let condition = self.stage_tree(*item).condition.as_deref();
            if condition
                .is_some_and(|condition| !self.is_known(condition, true, (&names, &scope.known), 0))
            {
                return Some(first);
            }
        }
        None
    }

    /// Returns the stage and the templates it is made from, each from the next.
    pub(super) fn chain_of(&self, stage: ItemRef) -> Vec<ItemRef> {
        template::chain(self.program, &self.symbols, stage)
    }

    /// Returns what the parameters of the second of `chain`, the template of the first, stand for where
    /// the names of the first mean `names`.
    fn names_in_template(&mut self, chain: &[ItemRef], names: &Names) -> Names {
        let (user, tree) = (self.stage_tree(chain[0]), self.stage_tree(chain[1]));
        let arguments = template::call(user).map_or(&[][..], |(_, arguments)| arguments);
        let parameters = tree.parameters.as_deref().unwrap_or_default();
        self.names_of_call(chain[1].module, parameters, arguments, names)
    }

    fn names_of_call(
        &mut self,
        module: ModuleId,
        parameters: &'p [Parameter],
        arguments: &'p [Argument],
        user: &Names,
    ) -> Names {
        let mut names = Names::of_module(module);
        for (at, parameter) in parameters.iter().enumerate() {
            let given =
                arguments.iter().enumerate().find(|(place, argument)| match &argument.name {
                    Some(name) => name.text == parameter.name.text,
                    None => *place == at,
                });
            let claim = match (given, &parameter.default) {
                (Some((_, argument)), _) => self.claim(&argument.value, user, 0),
                (None, Some(default)) => self.claim(default, &Names::of_module(module), 0),
                (None, None) => None,
            };
            let meaning = claim.map_or(Meaning::Untold, Meaning::Plain);
            names.locals.push((parameter.name.text.clone(), meaning));
        }
        names
    }

    /// Returns what the axes of a stage stand for in the row that `base` names.
    fn names_of_row(&mut self, stage: ItemRef, base: &'p Expr, scope: &Scope) -> Names {
        let mut names = Names::of_module(stage.module);
        let axes = self.stage_tree(stage).axes.iter().map(|axis| axis.name.text.clone());
        let ExprKind::Row { axes: given, .. } = &base.kind else {
            names.locals.extend(axes.map(|name| (name, Meaning::Untold)));
            return names;
        };
        let user = Names::of_scope(scope);
        let mut values = IndexMap::new();
        for (name, value) in given {
            values.insert(name.text.clone(), self.claim(value, &user, 0));
        }
        for name in axes {
            let meaning = match values.get(&name) {
                Some(claim) => claim.map_or(Meaning::Untold, Meaning::Plain),
                // The fields of its records are what a row is named by.
                None => Meaning::Record(values.clone()),
            };
            names.locals.push((name, meaning));
        }
        names
    }

    /// Reports a value that is `none` where a stage does not run, if what stands at `span` is one.
    /// Returns whether it is. Each user of a stage hears of it once.
    pub(super) fn refused(&mut self, span: Span) -> bool {
        let Some(&Uncertain { user, stage, condition }) = self.uncertain.get(&span) else {
            return false;
        };
        if self.is_silent || !self.told.insert((user, stage)) {
            return true;
        }
        let text = self.program.sources.text(span);
        let message = format!(
            "`{}` does not always run, and then `{text}` is `none`",
            self.stage_tree(stage).name.text
        );
        let problem = Diagnostic::error(Code::CONDITIONAL_STAGE, span, message);
        let stands_in = format!("say what stands in: {text} ?? other");
        let problem = self.with_condition(problem, condition, user, &stands_in);
        self.report(problem);
        true
    }

    /// Reports the parts of a list or choice that are `none` where a stage does not run: where each part
    /// is taken if it is there, that it is not always there is to be said. Returns whether there is any.
    pub(super) fn refuse_uncertain(&mut self, expr: &Expr) -> bool {
        let parts: Vec<&Expr> = match &expr.kind {
            ExprKind::List(elements) => elements.iter().collect(),
            ExprKind::Binary { operator: BinaryOperator::Add, left, right, .. } => {
                vec![left, right]
            }
            ExprKind::If { then, otherwise, .. } => vec![then, otherwise],
            _ => return self.refused(expr.span),
        };
        let refused: Vec<_> = parts.into_iter().map(|part| self.refuse_uncertain(part)).collect();
        refused.contains(&true)
    }

    /// Reports stages that a stage requires and that do not run whenever it does.
    pub(super) fn requirements(&mut self, expr: &'p Expr, scope: &mut Scope) {
        match &expr.kind {
            ExprKind::List(elements) => {
                elements.iter().for_each(|element| self.requirements(element, scope));
            }
            ExprKind::Binary { operator: BinaryOperator::Add, left, right, .. } => {
                self.requirements(left, scope);
                self.requirements(right, scope);
            }
            ExprKind::If { condition, then, otherwise } => {
                self.knowing(condition, true, scope, |checker, scope| {
                    checker.requirements(then, scope);
                });
                self.knowing(condition, false, scope, |checker, scope| {
                    checker.requirements(otherwise, scope);
                });
            }
            _ => self.requirement(expr, scope),
        }
    }

    fn requirement(&mut self, expr: &'p Expr, scope: &mut Scope) {
        let (Type::Stage(stage) | Type::Row(stage)) =
            self.silently(|checker| checker.expr(expr, scope))
        else {
            return;
        };
        let Some(condition) = self.open_condition(stage, expr, scope) else { return };
        if self.is_silent || !self.told.insert((scope.item, stage)) {
            return;
        }
        let text = self.program.sources.text(expr.span);
        let message = format!("`{text}` does not always run, and then nothing can wait for it");
        let problem = Diagnostic::error(Code::CONDITIONAL_STAGE, expr.span, message);
        let waits = match &self.stage_tree(stage).axes[..] {
            [] => format!("wait only then: require = if … then [{text}] else []"),
            _ => format!("wait for the rows that run: {}.all", self.stage_tree(stage).name.text),
        };
        let problem = self.with_condition(problem, condition, scope.item, &waits);
        self.report(problem);
    }

    /// Adds where a condition stands, and what follows for `user`: the same condition, or `other`.
    fn with_condition(
        &mut self,
        problem: Diagnostic,
        condition: &'p Expr,
        user: ItemRef,
        other: &str,
    ) -> Diagnostic {
        let text = self.program.sources.text(condition.span);
        let problem = problem.also(condition.span, "it runs only when this holds");
        let module = user.module;
        let is_same_file = condition.span.source == self.tree(user).span.source;
        // One that mentions axes or parameters says nothing elsewhere.
        let can_move = is_same_file
            && !text.contains('\n')
            && self.claim(condition, &Names::of_module(module), 0).is_some();
        if !can_move {
            return problem.help(other);
        }
        let help = format!("give this stage the same condition, when {text}; or {other}");
        match &self.tree(user).kind {
            ItemKind::Stage(own)
                if own.condition.is_none()
                    && own.from.is_none()
                    && own.body.start < own.body.end =>
            {
                let at = Span::at(own.body.source, own.body.start as usize);
                problem.help(help).edit(at, format!("when {text} "))
            }
            ItemKind::Stage(_) => problem.help(help),
            _ => problem.help(other),
        }
    }

    /// Notes that what stands at `span` is `none` where `stage` does not run, and returns its type.
    pub(super) fn maybe(
        &mut self,
        stage: ItemRef,
        base: &'p Expr,
        (span, ty): (Span, Type),
        scope: &Scope,
    ) -> Type {
        match self.open_condition(stage, base, scope) {
            Some(condition) if ty != Type::Unknown => {
                self.uncertain.insert(span, Uncertain { user: scope.item, stage, condition });
                Type::optional(ty)
            }
            _ => {
                self.uncertain.remove(&span);
                ty
            }
        }
    }
}

/// A mention of what is `none` where a stage does not run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uncertain<'p> {
    /// The item that mentions it.
    user: ItemRef,
    stage: ItemRef,
    condition: &'p Expr,
}
