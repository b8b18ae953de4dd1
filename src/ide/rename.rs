//! Renaming: all places that mean the same get another name, unless that would mean something else.
//! Knows what a name would hide or be hidden by; does not change a file.

use std::collections::BTreeSet;

use crate::lang::builtins;
use crate::lang::scope::declared;
use crate::source::Span;
use crate::syntax::ast::{ClauseKind, ItemKind};
use crate::syntax::scan::{RESERVED, is_word};

use super::analysis::{Analysis, Thing};
use super::desk::Desk;
use super::place::place;
use super::tree::{self, Node};
use super::{Change, Place};
use crate::lang::meaning::Meaning;
use crate::lang::ty::{ItemRef, Type};

/// Why something is not renamed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// There is no name at that place.
    #[error("nothing that has a name stands here")]
    NoName,
    /// It is a word of the language.
    #[error("`{0}` is a name of the language itself")]
    OfTheLanguage(String),
    /// It is of the standard library.
    #[error("`{0}` is a name of the standard library")]
    OfTheLibrary(String),
    /// It is a field of a record, which has no declaration.
    #[error("`{0}` is a key of a record; rename it where the record is written")]
    OfARecord(String),
    /// The new name is none.
    #[error("`{0}` is no name: names are ASCII letters, digits and `_`")]
    NotAName(String),
    /// The new name is taken.
    #[error("`{0}` is taken: {1}")]
    Taken(String, &'static str),
    /// The pipeline would have a new mistake.
    #[error("`{0}` would not do: {1}")]
    Breaks(String, String),
}

/// Returns the name at a place that can be renamed.
///
/// # Errors
/// Why it cannot.
pub(super) fn prepare(
    analysis: &Analysis,
    source: crate::source::SourceId,
    offset: usize,
) -> Result<(Place, Thing), RenameError> {
    let (span, thing) = analysis.thing_at(source, offset).ok_or(RenameError::NoName)?;
    let text = || analysis.program().sources.text(span).to_owned();
    let declared = analysis.declaration(&thing);
    if declared.is_some_and(|span| analysis.module(span.source).is_library) {
        return Err(RenameError::OfTheLibrary(text()));
    }
    match &thing {
        Thing::Name(Meaning::Item(_) | Meaning::Local(_) | Meaning::Out(_), _) => {
            Ok((place(analysis.program(), span), thing))
        }
        Thing::Name(Meaning::Member, Type::String)
            if ["name", "stem", "parent", "path"].contains(&text().as_str()) =>
        {
            Err(RenameError::OfTheLanguage(text()))
        }
        Thing::Name(Meaning::Member, _) => Err(RenameError::OfARecord(text())),
        Thing::Import(_) => Err(RenameError::NoName),
        _ => Err(RenameError::OfTheLanguage(text())),
    }
}

impl Desk {
    /// Returns the name at a place, if it can be renamed.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn prepare_rename(&self, file: &str, offset: usize) -> Result<Place, RenameError> {
        let (analysis, source) = self.of(file).ok_or(RenameError::NoName)?;
        prepare(analysis, source, offset).map(|(place, _)| place)
    }

    /// Returns all changes that give what stands at a place the name `new`, in all pipelines on the
    /// desk.
    ///
    /// # Errors
    /// Why it cannot be renamed so.
    pub fn rename(&self, file: &str, offset: usize, new: &str) -> Result<Vec<Change>, RenameError> {
        let (analysis, source) = self.of(file).ok_or(RenameError::NoName)?;
        let (_, thing) = prepare(analysis, source, offset)?;
        if !is_word(new) {
            return Err(RenameError::NotAName(new.to_owned()));
        }
        if RESERVED.contains(&new) || builtins::find(new).is_some() || new == "out" {
            return Err(RenameError::Taken(new.to_owned(), "it is a name of the language itself"));
        }
        let declaration = analysis.declaration(&thing).ok_or(RenameError::NoName)?;
        if analysis.program().sources.text(declaration) == new {
            return Ok(Vec::new());
        }
        clash(analysis, &thing, new)?;
        let mut changes = Vec::new();
        let declared = place(analysis.program(), declaration);
        for analysis in &self.analyses {
            changes.extend(changes_in(analysis, &declared, new));
        }
        changes.sort_by_key(|change| (change.place.file.clone(), change.place.range.start));
        changes.dedup();
        self.try_out(&changes, new)?;
        Ok(changes)
    }

    /// Returns all places that mean what stands at one, in all pipelines on the desk.
    pub fn references(&self, file: &str, offset: usize, with_declaration: bool) -> Vec<Place> {
        let found = self.of(file).and_then(|(analysis, source)| {
            let (_, thing) = analysis.thing_at(source, offset)?;
            Some(place(analysis.program(), analysis.declaration(&thing)?))
        });
        let Some(declared) = found else { return Vec::new() };
        let mut places = Vec::new();
        for analysis in &self.analyses {
            let Some(span) = own_span(analysis, &declared) else { continue };
            let spans = analysis.mentions_of(span).into_iter();
            let spans = spans.filter(|it| with_declaration || *it != span);
            places.extend(spans.map(|span| place(analysis.program(), span)));
        }
        places.sort_by_key(|place| (place.file.clone(), place.range.start));
        places.dedup();
        places
    }
}

/// Returns a place as a span of an analysis.
fn own_span(analysis: &Analysis, place: &Place) -> Option<Span> {
    let source = analysis.source(&place.file).or_else(|| {
        let mut modules = analysis.program().modules.iter();
        let found = modules.find(|module| module.is_library && module.path == place.file);
        found.map(|module| module.ast.source)
    })?;
    Some(Span::new(source, place.range.start, place.range.end))
}

fn changes_in(analysis: &Analysis, declared: &Place, new: &str) -> Vec<Change> {
    let Some(span) = own_span(analysis, declared) else { return Vec::new() };
    let change = |at: Span| {
        let text = analysis.program().sources.text(at);
        let place = place(analysis.program(), at);
        // A `use` without `as` is declared by its path.
        if at == span && text.contains(['"', '.']) {
            let end = place.range.end;
            return Change {
                place: Place { range: end..end, ..place },
                text: format!(" as {new}"),
            };
        }
        Change { place, text: new.to_owned() }
    };
    analysis.mentions_of(span).into_iter().map(change).collect()
}

/// Returns what has the name already where it would be declared.
fn clash(analysis: &Analysis, thing: &Thing, new: &str) -> Result<(), RenameError> {
    let taken = |what| Err(RenameError::Taken(new.to_owned(), what));
    match thing {
        Thing::Name(Meaning::Item(ItemRef { module, .. }), _) => {
            let module = analysis.program().module(*module);
            let mut names = module.ast.items.iter().filter_map(declared);
            if names.any(|(name, _)| name == new) {
                return taken("another item of the file has that name");
            }
            if locals_below(module.ast.items.iter().map(Node::Item)).contains(new) {
                return taken("a name inside an item would hide it");
            }
            Ok(())
        }
        Thing::Name(Meaning::Local(span), _) => {
            let module = analysis.module(span.source);
            let mut names = module.ast.items.iter().filter_map(declared);
            if names.any(|(name, _)| name == new) {
                return taken("an item of the file has that name");
            }
            let path = tree::path(&module.ast, span.start as usize);
            if locals_below(path.first().copied().into_iter()).contains(new) {
                return taken("another name of the item is called so");
            }
            Ok(())
        }
        Thing::Name(Meaning::Out(span), _) => {
            let path = tree::path(&analysis.module(span.source).ast, span.start as usize);
            let Some(Node::Item(item)) = path.first() else { return Ok(()) };
            let ItemKind::Stage(stage) = &item.kind else { return Ok(()) };
            let is_new = |clause: &crate::syntax::ast::Clause| match &clause.kind {
                ClauseKind::Out { name, .. } => name.text == new,
                _ => false,
            };
            if new == "all" {
                return taken("`all` names the rows of a matrix");
            }
            if stage.clauses.iter().any(is_new) {
                return taken("another out of the stage has that name");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns the names that parts declare inside them.
fn locals_below<'a>(nodes: impl Iterator<Item = Node<'a>>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    let mut open: Vec<Node<'a>> = nodes.collect();
    while let Some(node) = open.pop() {
        match node {
            Node::Axis(axis) => names.insert(axis.name.text.as_str()),
            Node::Parameter(parameter) => names.insert(parameter.name.text.as_str()),
            _ => false,
        };
        node.children(&mut |child| open.push(child));
    }
    names
}
