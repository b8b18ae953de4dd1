//! What the names and expressions of a pipeline mean, as the checker found out while it checked
//! them. Knows places, meanings and types; does not know who wants to know.

use super::ty::{ItemRef, Type};
use crate::source::Span;

/// What a name means where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    /// An item of this or another file.
    Item(ItemRef),
    /// An axis, a parameter or a name of a comprehension, by the place that declares it.
    Local(Span),
    /// An out of a stage, by the place that declares it.
    Out(Span),
    /// `out`, the outs of the stage it stands in.
    OwnOuts,
    /// `all`, the rows of a matrix.
    AllRows,
    /// `host`, the machine.
    Host,
    /// A group of facts: `git` of `host.git`.
    Facts(&'static str),
    /// A fact, by what stands behind `host.`.
    Fact(String),
    /// A function of the language.
    Builtin(&'static str),
    /// A named argument of a function of the language: the function and the argument.
    Argument(&'static str, &'static str),
    /// A member that nothing declares by itself: of a record or a file.
    Member,
}

/// A name with its place.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) span: Span,
    pub(crate) meaning: Meaning,
    pub(crate) ty: Type,
}

/// All names of a pipeline that mean something, and the types of its expressions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meanings {
    mentions: Vec<Mention>,
    types: Vec<(Span, Type)>,
}

impl Meanings {
    pub(crate) fn add(&mut self, span: Span, meaning: Meaning, ty: Type) {
        self.mentions.push(Mention { span, meaning, ty });
    }

    pub(crate) fn add_type(&mut self, span: Span, ty: Type) {
        self.types.push((span, ty));
    }

    /// Puts all in the order of their places. What was checked twice counts as it was found last.
    pub(crate) fn sort(&mut self) {
        self.mentions.reverse();
        self.mentions.sort_by_key(|mention| mention.span);
        self.mentions.dedup_by_key(|mention| mention.span);
        self.types.reverse();
        self.types.sort_by_key(|(span, _)| *span);
        self.types.dedup_by_key(|(span, _)| *span);
    }

    /// Returns all names in the order of their places.
    pub(crate) fn mentions(&self) -> &[Mention] {
        &self.mentions
    }

    /// Returns the name that stands at exactly that place.
    pub(crate) fn at(&self, span: Span) -> Option<&Mention> {
        let at = self.mentions.binary_search_by_key(&span, |mention| mention.span);
        at.ok().map(|at| &self.mentions[at])
    }

    /// Returns the type of the expression that stands at exactly that place.
    pub(crate) fn type_of(&self, span: Span) -> Option<&Type> {
        let at = self.types.binary_search_by_key(&span, |(span, _)| *span);
        at.ok().map(|at| &self.types[at].1)
    }
}
