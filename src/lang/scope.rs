//! Scopes: which name means what. Knows declarations and how near two words are; does not know
//! types of expressions.

use indexmap::IndexMap;

use super::module::{Module, Program, alias};
use super::ty::{ItemRef, ModuleId, Type};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Expr, ExprKind, Item, ItemKind};

/// The top-level names of a module: name → place in its items.
#[derive(Clone, Debug, Default)]
pub(crate) struct Symbols {
    names: IndexMap<String, usize>,
}

impl Symbols {
    /// Returns the names of `module`, and a diagnostic for each that is declared twice or hides a
    /// name of the language.
    pub(crate) fn of(module: &Module) -> (Self, Vec<Diagnostic>) {
        let mut symbols = Self::default();
        let mut diagnostics = Vec::new();
        for (at, item) in module.ast.items.iter().enumerate() {
            let Some((name, span)) = declared(item) else { continue };
            if let Some(&first) = symbols.names.get(&name) {
                let (_, first) = declared(&module.ast.items[first]).expect("it has that name");
                diagnostics.push(
                    Diagnostic::error(Code::DUPLICATE, span, format!("`{name}` is declared twice"))
                        .label("again here")
                        .also(first, "first here")
                        .help("rename one of the two"),
                );
                continue;
            }
            if super::builtins::find(&name).is_some() {
                diagnostics.push(hides_builtin(&name, span));
            }
            symbols.names.insert(name, at);
        }
        (symbols, diagnostics)
    }

    /// Returns the place of the item that declares `name`.
    pub(crate) fn get(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Returns all names in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}

/// Returns the item that an expression in `module` names, if it is a top-level name of that module or
/// of one that it uses. `symbols` are those of all modules.
pub(crate) fn item_of(
    program: &Program,
    symbols: &[Symbols],
    module: ModuleId,
    expr: &Expr,
) -> Option<ItemRef> {
    let find = |module: ModuleId, name: &str| {
        let item = symbols[module.index()].get(name)?;
        Some(ItemRef { module, item })
    };
    match &expr.kind {
        ExprKind::Name(name) => find(module, name),
        ExprKind::Member { base, name, .. } => {
            let ItemRef { item, .. } = item_of(program, symbols, module, base)?;
            let user = program.module(module);
            let ItemKind::Use(used) = &user.ast.items[item].kind else { return None };
            find(user.imports.get(&alias(used)?)?.module?, &name.text)
        }
        _ => None,
    }
}

/// Returns the name that an item declares and where it says so.
pub(crate) fn declared(item: &Item) -> Option<(String, Span)> {
    let name = match &item.kind {
        ItemKind::Use(used) => {
            let span = used.alias.as_ref().map_or(used.path.span, |alias| alias.span);
            return Some((alias(used)?, span));
        }
        ItemKind::Param(param) => &param.name,
        ItemKind::Secret(secret) => &secret.name,
        ItemKind::Let(binding) => &binding.name,
        ItemKind::Function(function) => &function.name,
        ItemKind::Stage(stage) => &stage.name,
        ItemKind::Spec(_) => return None,
        ItemKind::Broken(name) => name.as_ref()?,
    };
    Some((name.text.clone(), name.span))
}

fn hides_builtin(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error(Code::SHADOWING, span, format!("`{name}` is a name of the language itself"))
        .help(format!("choose another name, such as `my_{name}`"))
}

/// The names inside one item: axes, parameters and the names of comprehensions, innermost last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locals {
    locals: Vec<Local>,
}

/// One such name.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) name: String,
    pub(crate) ty: Type,
    /// Where it is declared; `None` for `out`.
    pub(crate) span: Option<Span>,
}

impl Locals {
    /// Adds a name.
    pub(crate) fn push(&mut self, name: impl Into<String>, ty: Type, span: Option<Span>) {
        self.locals.push(Local { name: name.into(), ty, span });
    }

    /// Returns how many names there are, for [`Self::truncate`].
    pub(crate) fn len(&self) -> usize {
        self.locals.len()
    }

    /// Forgets all but the first `len` names.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.locals.truncate(len);
    }

    /// Returns the innermost local with that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    /// Returns them all, outermost first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Local> {
        self.locals.iter()
    }

    /// Returns all names, outermost first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.locals.iter().map(|local| local.name.as_str())
    }
}
