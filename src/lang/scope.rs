//! Scopes: which name means what. Knows declarations and how near two words are; does not know
//! types of expressions.

use indexmap::IndexMap;

use super::module::{Module, alias};
use super::ty::Type;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Item, ItemKind};

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

/// Returns the name that an item declares and where it says so.
pub(crate) fn declared(item: &Item) -> Option<(String, Span)> {
    let name = match &item.kind {
        ItemKind::Use(used) => {
            let span = used.alias.as_ref().map_or(used.path.span, |alias| alias.span);
            return Some((alias(used)?, span));
        }
        ItemKind::Param(param) => &param.name,
        ItemKind::Let(binding) => &binding.name,
        ItemKind::Function(function) => &function.name,
        ItemKind::Stage(stage) => &stage.name,
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

    /// Returns all names, outermost first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.locals.iter().map(|local| local.name.as_str())
    }
}

/// Returns the word among `candidates` that `word` was likely meant to be: at most a third of its
/// letters differ, the nearest first, then the alphabet.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Longer words cost quadratic time and are no slips of the finger.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word && candidate.len() <= LONGEST)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= allowed || (word.len() >= 3 && candidate.starts_with(word))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_a_slip_away() {
        let words = ["binary", "library", "report"];
        assert_eq!(nearest("binray", words), Some("binary"));
        assert_eq!(nearest("Report", words), Some("report"));
        assert_eq!(nearest("lib", words), Some("library"));
        assert_eq!(nearest("x", words), None);
        assert_eq!(nearest(&"b".repeat(100_000), words), None);
    }
}
