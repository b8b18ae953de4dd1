//! Templates: which stage is made from which. Knows names at the top level of modules; does not know
//! types, nor what a template's parameters come to.

use super::module::Program;
use super::scope::{Symbols, item_of};
use super::ty::ItemRef;
use crate::syntax::ast::{Argument, Expr, ExprKind, ItemKind, Stage};

/// How many templates may be made from one another in a row.
pub(crate) const MAX_TEMPLATES: usize = 64;

/// Returns the call that a stage is made by: what is called, and the arguments.
pub(crate) fn call(stage: &Stage) -> Option<(&Expr, &[Argument])> {
    match &stage.from.as_ref()?.kind {
        ExprKind::Call { callee, arguments } => Some((callee, arguments)),
        _ => None,
    }
}

/// Returns a stage and the templates it is made from, each from the next. Of more than
/// [`MAX_TEMPLATES`], which the checker reports, the first ones.
pub(crate) fn chain(program: &Program, symbols: &[Symbols], stage: ItemRef) -> Vec<ItemRef> {
    let tree = |item: ItemRef| match &program.module(item.module).ast.items[item.item].kind {
        ItemKind::Stage(stage) => Some(stage),
        _ => None,
    };
    let mut chain = vec![stage];
    while chain.len() <= MAX_TEMPLATES {
        let last = chain[chain.len() - 1];
        let callee = tree(last).and_then(call).map(|(callee, _)| callee);
        let next = callee.and_then(|callee| item_of(program, symbols, last.module, callee));
        let is_template =
            |item: &ItemRef| tree(*item).is_some_and(|stage| stage.parameters.is_some());
        match next.filter(is_template) {
            Some(template) => chain.push(template),
            None => break,
        }
    }
    chain
}
