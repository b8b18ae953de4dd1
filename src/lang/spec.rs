//! The words of specs: what one may give, and what it may say of steps. Knows their meaning; does
//! not know how either is checked.

use super::builtins::facts;
use super::module::Program;
use super::scope::{Symbols, item_of};
use super::ty::{ItemRef, ModuleId};
use crate::facts::Fact;
use crate::syntax::ast::{Expr, ExprKind, ItemKind};

/// What a field of a spec says of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// They never start, since something that they need fails.
    Blocked,
    /// They fail, if they are started: this is given, not expected.
    Failing,
    /// They are started.
    Runs,
    /// They are no part of the run, since a condition does not hold.
    Skipped,
}

impl Word {
    /// All words, in their order.
    pub(crate) const ALL: [(&str, Self); 4] = [
        ("blocked", Self::Blocked),
        ("failing", Self::Failing),
        ("runs", Self::Runs),
        ("skipped", Self::Skipped),
    ];

    /// Returns what it says, in a sentence.
    pub(crate) fn doc(self) -> &'static str {
        match self {
            Self::Blocked => "Stages that never start, since something that they need fails.",
            Self::Failing => {
                "Stages that fail, if they start: what is given, not what is expected."
            }
            Self::Runs => "Stages that start.",
            Self::Skipped => "Stages that are no part of the run, since a condition does not hold.",
        }
    }

    /// Returns what a word means.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == word).map(|(_, word)| *word)
    }
}

/// What a spec gives a value to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Param(ItemRef),
    Fact(Fact),
}

/// Returns what an expression in `module` names, if a spec may give it.
pub(crate) fn subject(
    program: &Program,
    symbols: &[Symbols],
    module: ModuleId,
    expr: &Expr,
) -> Option<Subject> {
    if let Some(item) = item_of(program, symbols, module, expr) {
        let tree = &program.module(item.module).ast.items[item.item].kind;
        return matches!(tree, ItemKind::Param(_)).then_some(Subject::Param(item));
    }
    let name = dotted(expr)?;
    facts::find(name.strip_prefix("host.")?).map(|entry| Subject::Fact(entry.fact))
}

/// Returns the names of `a.b.c`, as they are written without blanks.
fn dotted(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Member { base, name, is_optional: false } => {
            Some(format!("{}.{}", dotted(base)?, name.text))
        }
        _ => None,
    }
}
