//! What could be written at a cursor. The text is checked once more with a mark in place of the word
//! that is being written, and once more with what is open closed behind it if that does not parse:
//! then the tree and the checker say what the mark is. Knows contexts; what is offered in each is
//! next door.

mod cursor;
mod names;
mod texts;
mod words;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::files::Files;
use crate::lang::ty::Type;
use crate::lang::{check, module, pipeline};
use crate::syntax::ast::{ClauseKind, Expr, ExprKind, ItemKind, SpecClauseKind, TypeKind};

use super::Kind;
use super::analysis::Analysis;
use super::drafts::Changed;
use super::tree::{self, Node};
use cursor::{Cursor, MARK};

/// Something that could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What is shown.
    pub label: String,
    /// What it is.
    pub kind: Kind,
    /// Its type or form, in a few words.
    pub detail: String,
    /// What there is to know of it, in Markdown; may be empty.
    pub doc: String,
    /// What is written in place of `replace`.
    pub insert: String,
    /// Whether it is called, so that brackets follow.
    pub is_called: bool,
    /// The bytes that it takes the place of.
    pub replace: Range<usize>,
    /// What is compared with what stands there already; the label if `None`.
    pub filter: Option<String>,
    /// Whether it fits better than those that do not say so.
    pub is_likely: bool,
}

/// Where something is to be written: the marked pipeline and the way to the mark.
struct Spot<'a> {
    cursor: &'a Cursor<'a>,
    files: &'a dyn Files,
    analysis: &'a Analysis,
    /// The parts that the mark stands in, from the item in.
    path: Vec<Node<'a>>,
    /// The mark's first byte.
    at: usize,
}

/// Returns what could be written at `offset` of `file`, which has `text`, in the pipeline of `root`.
/// The thread needs the stack of [`pipeline::load`].
pub(super) fn complete(
    files: &dyn Files,
    root: &str,
    file: &str,
    text: &str,
    offset: usize,
) -> Vec<Completion> {
    let cursor = Cursor::new(text, offset);
    if cursor.is_in_comment {
        return Vec::new();
    }
    if let Some(words) = words::at_start(&cursor) {
        return words;
    }
    let texts = [cursor.marked(), cursor.repaired()];
    let found = texts.iter().find_map(|marked| {
        let marked = BTreeMap::from([(file, marked.clone())]);
        let changed = Changed { files, texts: &marked };
        let analysis = analyse(&changed, root, file, cursor.word.start)?;
        let source = analysis.source(file)?;
        let path = tree::path(&analysis.module(source).ast, cursor.word.start);
        let spot =
            Spot { cursor: &cursor, files, analysis: &analysis, path, at: cursor.word.start };
        spot.offers()
    });
    found.or_else(|| words::within(&cursor)).unwrap_or_default()
}

/// Checks a marked pipeline; `None` if the mark is in no tree, which spares the check.
fn analyse(files: &dyn Files, root: &str, file: &str, at: usize) -> Option<Analysis> {
    let (program, _) = module::load(files, root).ok()?;
    let (_, module) = program.find(file)?;
    let path = tree::path(&module.ast, at);
    if matches!(path.last(), None | Some(Node::Item(_))) && !is_import(path.last()) {
        return None;
    }
    let (_, meanings, _) = check::check_and_explain(&program);
    let loaded = pipeline::Loaded {
        program,
        meanings,
        diagnostics: Vec::new(),
        catalog: crate::lang::catalog::Catalog::default(),
        plan: None,
    };
    Some(Analysis { root: root.to_owned(), loaded })
}

fn is_import(node: Option<&Node<'_>>) -> bool {
    matches!(node, Some(Node::Item(item)) if matches!(item.kind, ItemKind::Use(_)))
}

fn is_mark(text: &str) -> bool {
    text == MARK
}

impl<'a> Spot<'a> {
    /// The part that stands `above` places above the innermost one.
    fn above(&self, above: usize) -> Option<Node<'a>> {
        self.path.len().checked_sub(above + 1).map(|at| self.path[at])
    }

    fn type_of(&self, expr: &Expr) -> Type {
        self.analysis.loaded.meanings.type_of(expr.span).cloned().unwrap_or(Type::Unknown)
    }

    /// Returns what fits; `None` if the mark is nothing that the tree knows.
    fn offers(&self) -> Option<Vec<Completion>> {
        match self.above(0)? {
            Node::Item(_) => self.texts(),
            Node::Clause(clause) => match &clause.kind {
                ClauseKind::Field { name, .. } if is_mark(&name.text) => {
                    Some(words::clauses(self.cursor))
                }
                _ => None,
            },
            Node::SpecClause(clause) => match &clause.kind {
                SpecClauseKind::Field { name, .. } if is_mark(&name.text) => {
                    Some(words::clauses(self.cursor))
                }
                _ => None,
            },
            Node::Argument(argument) => {
                let is_name = argument.name.as_ref().is_some_and(|name| is_mark(&name.text));
                is_name.then(|| self.arguments(1))
            }
            Node::Entry(name, _) if is_mark(&name.text) => match self.above(1)? {
                Node::Expr(Expr { kind: ExprKind::Row { base, .. }, .. }) => {
                    Some(self.axes(&self.type_of(base)))
                }
                _ => None,
            },
            Node::Type(ty) => match &ty.kind {
                TypeKind::Name(name) if is_mark(name) => {
                    Some(words::types(self.cursor, matches!(self.above(1), Some(Node::Clause(_)))))
                }
                _ => None,
            },
            Node::Expr(expr) => self.expression(expr),
            Node::Entry(..) | Node::Parameter(_) | Node::Axis(_) => None,
        }
    }

    fn expression(&self, expr: &Expr) -> Option<Vec<Completion>> {
        match &expr.kind {
            ExprKind::Member { base, name, is_optional } if is_mark(&name.text) => {
                Some(self.members(base, *is_optional))
            }
            ExprKind::Name(name) if is_mark(name) => {
                let mut offers = match self.above(1) {
                    Some(Node::Argument(_)) => self.arguments(2),
                    Some(Node::Expr(Expr { kind: ExprKind::Index { base, .. }, .. })) => {
                        self.axes(&self.type_of(base))
                    }
                    _ => Vec::new(),
                };
                offers.extend(self.names());
                Some(offers)
            }
            ExprKind::String(_) if self.cursor.is_in_text() => self.texts(),
            _ => None,
        }
    }

    /// Returns the type that is wanted of the part at that place of the path.
    fn wanted(&self, at: usize) -> Option<Type> {
        let meanings = &self.analysis.loaded.meanings;
        let noted = |span| meanings.at(span).map(|mention| mention.ty.clone());
        let Node::Expr(own) = self.path[at] else { return None };
        let parent = at.checked_sub(1)?;
        match self.path[parent] {
            Node::Item(item) => match &item.kind {
                ItemKind::Param(param) => noted(param.name.span),
                ItemKind::Let(binding) if binding.ty.is_some() => noted(binding.name.span),
                _ => None,
            },
            Node::Parameter(parameter) => noted(parameter.name.span),
            Node::Clause(clause) => match &clause.kind {
                ClauseKind::Field { name, .. } => {
                    crate::lang::builtins::fields::find(&name.text).map(|field| field.ty())
                }
                _ => None,
            },
            Node::SpecClause(clause) => match &clause.kind {
                SpecClauseKind::Given { what, value } if value.span == own.span => {
                    Some(self.type_of(what))
                }
                SpecClauseKind::Field { .. } => Some(Type::list(Type::Verdict)),
                SpecClauseKind::Given { .. } | SpecClauseKind::Takes { .. } => None,
            },
            Node::Entry(name, _) => noted(name.span),
            Node::Argument(argument) => self.wanted_of(argument, parent),
            Node::Expr(expr) => match &expr.kind {
                ExprKind::Binary { left, right, .. } => {
                    let other = if left.span == own.span { right } else { left };
                    Some(self.type_of(other))
                }
                ExprKind::List(_) => match self.wanted(parent)? {
                    Type::List(element) => Some((*element).clone()),
                    _ => None,
                },
                ExprKind::If { condition, .. } if condition.span == own.span => Some(Type::Bool),
                ExprKind::If { .. } => self.wanted(parent),
                _ => None,
            },
            Node::Axis(_) | Node::Type(_) => None,
        }
    }
}
