//! Ways through the syntax tree: what stands at a place, from the outside in. Knows the shape of the
//! tree; does not know what a name means.

use crate::source::Span;
use crate::syntax::ast::{
    Argument, Axis, Clause, ClauseKind, Expr, ExprKind, Item, ItemKind, Module, Name, Parameter,
    Piece, SpecClause, SpecClauseKind, TypeExpr, TypeKind,
};

/// A part of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node<'a> {
    Item(&'a Item),
    Clause(&'a Clause),
    SpecClause(&'a SpecClause),
    Parameter(&'a Parameter),
    Axis(&'a Axis),
    Argument(&'a Argument),
    /// A value with its key: of a record, of the axes of a row.
    Entry(&'a Name, &'a Expr),
    Expr(&'a Expr),
    Type(&'a TypeExpr),
}

impl<'a> Node<'a> {
    pub(super) fn span(self) -> Span {
        match self {
            Self::Item(item) => item.span,
            Self::Clause(clause) => clause.span,
            Self::SpecClause(clause) => clause.span,
            Self::Parameter(parameter) => {
                let end = parameter.default.as_ref().map_or(parameter.ty.span, |value| value.span);
                parameter.name.span.to(end)
            }
            Self::Axis(axis) => axis.name.span.to(axis.values.span),
            Self::Argument(argument) => {
                let start = argument.name.as_ref().map_or(argument.value.span, |name| name.span);
                start.to(argument.value.span)
            }
            Self::Entry(name, value) => name.span.to(value.span),
            Self::Expr(expr) => expr.span,
            Self::Type(ty) => ty.span,
        }
    }

    /// Calls `each` with every part right below this one.
    pub(super) fn children(self, each: &mut dyn FnMut(Node<'a>)) {
        match self {
            Self::Item(item) => item_children(item, each),
            Self::Clause(clause) => clause_children(clause, each),
            Self::SpecClause(clause) => spec_clause_children(clause, each),
            Self::Parameter(parameter) => {
                each(Node::Type(&parameter.ty));
                parameter.default.iter().for_each(|value| each(Node::Expr(value)));
            }
            Self::Axis(axis) => {
                axis.ty.iter().for_each(|ty| each(Node::Type(ty)));
                each(Node::Expr(&axis.values));
            }
            Self::Argument(argument) => each(Node::Expr(&argument.value)),
            Self::Entry(_, value) => each(Node::Expr(value)),
            Self::Expr(expr) => expr_children(expr, each),
            Self::Type(ty) => type_children(ty, each),
        }
    }
}

fn item_children<'a>(item: &'a Item, each: &mut dyn FnMut(Node<'a>)) {
    match &item.kind {
        ItemKind::Use(_) | ItemKind::Secret(_) | ItemKind::Broken(_) => {}
        ItemKind::Param(param) => {
            each(Node::Type(&param.ty));
            param.default.iter().for_each(|value| each(Node::Expr(value)));
        }
        ItemKind::Let(binding) => {
            binding.ty.iter().for_each(|ty| each(Node::Type(ty)));
            each(Node::Expr(&binding.value));
        }
        ItemKind::Function(function) => {
            function.parameters.iter().for_each(|parameter| each(Node::Parameter(parameter)));
            each(Node::Type(&function.result));
            each(Node::Expr(&function.body));
        }
        ItemKind::Stage(stage) => {
            stage.parameters.iter().flatten().for_each(|it| each(Node::Parameter(it)));
            stage.axes.iter().for_each(|axis| each(Node::Axis(axis)));
            let heads = [stage.except.as_ref(), stage.max.as_ref(), stage.condition.as_deref()];
            let heads = heads.into_iter().chain([stage.from.as_ref()]);
            heads.flatten().for_each(|expr| each(Node::Expr(expr)));
            stage.clauses.iter().for_each(|clause| each(Node::Clause(clause)));
        }
        ItemKind::Spec(spec) => {
            spec.clauses.iter().for_each(|clause| each(Node::SpecClause(clause)));
        }
    }
}

fn spec_clause_children<'a>(clause: &'a SpecClause, each: &mut dyn FnMut(Node<'a>)) {
    match &clause.kind {
        SpecClauseKind::Given { what: first, value }
        | SpecClauseKind::Takes { step: first, inputs: value } => {
            each(Node::Expr(first));
            each(Node::Expr(value));
        }
        SpecClauseKind::Field { value, .. } => each(Node::Expr(value)),
    }
}

fn clause_children<'a>(clause: &'a Clause, each: &mut dyn FnMut(Node<'a>)) {
    match &clause.kind {
        ClauseKind::In { value, at } => {
            each(Node::Expr(value));
            at.iter().for_each(|at| each(Node::Expr(at)));
        }
        ClauseKind::Out { ty, path, .. } => {
            each(Node::Type(ty));
            path.iter().for_each(|path| each(Node::Expr(path)));
        }
        ClauseKind::Secret { uses, .. } => {
            let values = uses.iter().filter_map(|used| used.value.as_ref());
            values.for_each(|value| each(Node::Expr(value)));
        }
        ClauseKind::Service { value, .. } => value.iter().for_each(|value| each(Node::Expr(value))),
        ClauseKind::Env { value, .. }
        | ClauseKind::Field { value, .. }
        | ClauseKind::Script { script: value, .. }
        | ClauseKind::Argv(value) => each(Node::Expr(value)),
    }
}

fn expr_children<'a>(expr: &'a Expr, each: &mut dyn FnMut(Node<'a>)) {
    match &expr.kind {
        ExprKind::None
        | ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::Duration(_)
        | ExprKind::Size(_)
        | ExprKind::Percent(_)
        | ExprKind::Name(_)
        | ExprKind::Broken => {}
        ExprKind::Range(left, right)
        | ExprKind::Binary { left, right, .. }
        | ExprKind::Index { base: left, index: right } => {
            each(Node::Expr(left));
            each(Node::Expr(right));
        }
        ExprKind::String(literal) => {
            for piece in &literal.pieces {
                if let Piece::Hole { expr, .. } = piece {
                    each(Node::Expr(expr));
                }
            }
        }
        ExprKind::List(elements) => elements.iter().for_each(|it| each(Node::Expr(it))),
        ExprKind::Record(entries) => {
            entries.iter().for_each(|(name, value)| each(Node::Entry(name, value)));
        }
        ExprKind::Member { base, .. } => each(Node::Expr(base)),
        ExprKind::Row { base, axes } => {
            each(Node::Expr(base));
            axes.iter().for_each(|(name, value)| each(Node::Entry(name, value)));
        }
        ExprKind::Call { callee, arguments } => {
            each(Node::Expr(callee));
            arguments.iter().for_each(|argument| each(Node::Argument(argument)));
        }
        ExprKind::Unary { operand, .. } => each(Node::Expr(operand)),
        ExprKind::If { condition, then, otherwise } => {
            [condition, then, otherwise].into_iter().for_each(|it| each(Node::Expr(it)));
        }
        ExprKind::ListFor { element, axes, condition } => {
            each(Node::Expr(element));
            axes.iter().for_each(|axis| each(Node::Axis(axis)));
            condition.iter().for_each(|condition| each(Node::Expr(condition)));
        }
        ExprKind::MapFor { key, value, axes, condition } => {
            each(Node::Expr(key));
            each(Node::Expr(value));
            axes.iter().for_each(|axis| each(Node::Axis(axis)));
            condition.iter().for_each(|condition| each(Node::Expr(condition)));
        }
    }
}

fn type_children<'a>(ty: &'a TypeExpr, each: &mut dyn FnMut(Node<'a>)) {
    match &ty.kind {
        TypeKind::Name(_) | TypeKind::IntRange(..) | TypeKind::Enum(_) => {}
        TypeKind::List(inner) | TypeKind::Map(inner) | TypeKind::Optional(inner) => {
            each(Node::Type(inner));
        }
        TypeKind::Record(fields) => fields.iter().for_each(|(_, ty)| each(Node::Type(ty))),
    }
}

/// Returns the parts that hold a place, from the item in; both ends of a part belong to it. Of two
/// parts that meet there, the later one.
pub(super) fn path(module: &Module, offset: usize) -> Vec<Node<'_>> {
    let holds = |node: &Node<'_>| {
        let span = node.span();
        span.start as usize <= offset && offset <= span.end as usize
    };
    let mut path: Vec<Node<'_>> = Vec::new();
    let mut next = module.items.iter().map(Node::Item).rfind(holds);
    while let Some(node) = next {
        path.push(node);
        next = None;
        node.children(&mut |child| {
            if holds(&child) {
                next = Some(child);
            }
        });
    }
    path
}

/// Returns the names that the parts of a path declare for what stands at `offset`, outermost first.
pub(super) fn locals<'a>(path: &[Node<'a>], offset: usize) -> Vec<&'a Name> {
    let mut locals = Vec::new();
    for node in path {
        let (parameters, axes) = match node {
            Node::Item(Item { kind: ItemKind::Function(function), .. }) => {
                (Some(&function.parameters), None)
            }
            Node::Item(Item { kind: ItemKind::Stage(stage), .. }) => {
                (stage.parameters.as_ref(), Some(&stage.axes))
            }
            Node::Expr(Expr {
                kind: ExprKind::ListFor { axes, .. } | ExprKind::MapFor { axes, .. },
                ..
            }) => (None, Some(axes)),
            _ => continue,
        };
        let parameters = parameters.into_iter().flatten().map(|parameter| &parameter.name);
        locals.extend(parameters.filter(|name| (name.span.end as usize) < offset));
        // What a comprehension makes stands before its names and sees all of them; the values of an
        // axis see the axes before it.
        let holds = |axis: &Axis| {
            let span = Node::Axis(axis).span();
            span.start as usize <= offset && offset <= span.end as usize
        };
        let current = axes.into_iter().flatten().position(holds).unwrap_or(usize::MAX);
        locals.extend(axes.into_iter().flatten().take(current).map(|axis| &axis.name));
    }
    locals
}
