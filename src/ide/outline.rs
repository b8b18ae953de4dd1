//! What a file holds: its items, their outs, and the stages that can be run. Knows the tree of one
//! file; does not know what its names mean.

use crate::lang::scope::declared;
use crate::source::SourceId;
use crate::syntax::ast::{ClauseKind, Item, ItemKind, Stage};

use super::analysis::Analysis;
use super::hover::signature;
use super::{Kind, Lens, Symbol};

/// Returns the items of a file, in their order.
pub(super) fn symbols(analysis: &Analysis, source: SourceId) -> Vec<Symbol> {
    let items = analysis.module(source).ast.items.iter();
    items.filter_map(|item| symbol(analysis, item)).collect()
}

fn symbol(analysis: &Analysis, item: &Item) -> Option<Symbol> {
    let (name, span) = declared(item)?;
    let children = match &item.kind {
        ItemKind::Stage(stage) => outs(analysis, stage),
        _ => Vec::new(),
    };
    Some(Symbol {
        name,
        kind: kind(item),
        detail: signature(analysis, item),
        range: item.span.range(),
        name_range: span.range(),
        children,
    })
}

/// Returns what an item is.
pub(super) fn kind(item: &Item) -> Kind {
    match &item.kind {
        ItemKind::Use(_) => Kind::Module,
        ItemKind::Param(_) => Kind::Param,
        ItemKind::Secret(_) | ItemKind::Let(_) | ItemKind::Spec(_) | ItemKind::Broken(_) => {
            Kind::Value
        }
        ItemKind::Function(_) => Kind::Function,
        ItemKind::Stage(stage) if stage.parameters.is_some() => Kind::Template,
        ItemKind::Stage(_) => Kind::Stage,
    }
}

fn outs(analysis: &Analysis, stage: &Stage) -> Vec<Symbol> {
    let out = |clause: &crate::syntax::ast::Clause| match &clause.kind {
        ClauseKind::Out { name, ty, .. } => Some(Symbol {
            name: name.text.clone(),
            kind: Kind::Out,
            detail: analysis.program().sources.text(ty.span).to_owned(),
            range: clause.span.range(),
            name_range: name.span.range(),
            children: Vec::new(),
        }),
        _ => None,
    };
    stage.clauses.iter().filter_map(out).collect()
}

/// Returns the stages of a file that can be run, in their order.
pub(super) fn lenses(analysis: &Analysis, source: SourceId) -> Vec<Lens> {
    let stage = |item: &Item| match &item.kind {
        ItemKind::Stage(stage) if stage.is_run() => {
            Some(Lens { range: stage.name.span.range(), stage: stage.name.text.clone() })
        }
        _ => None,
    };
    analysis.module(source).ast.items.iter().filter_map(stage).collect()
}
