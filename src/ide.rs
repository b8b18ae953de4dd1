//! What editors ask about `.pipe` files: mistakes, meanings, completions, renames. Plain data out, by
//! project path and bytes. Knows the language; does not know any editor or its protocol.

mod analysis;
mod complete;
mod desk;
mod drafts;
mod hover;
mod outline;
mod place;
mod rename;
#[cfg(test)]
mod tests;
mod tree;

use std::ops::Range;

use crate::diagnostic::{Code, Severity};

pub use complete::Completion;
pub use desk::Desk;
pub use rename::RenameError;

/// A range of bytes in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as a path below the project's root with `/`.
    pub file: String,
    /// The bytes.
    pub range: Range<usize>,
}

/// A change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The bytes to replace; empty to insert.
    pub place: Place,
    /// What to put there.
    pub text: String,
}

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong, and what stands there.
    pub message: String,
    /// Other places that explain it.
    pub related: Vec<(Place, String)>,
    /// What to do about it.
    pub help: Option<String>,
    /// The help as a change, where there is exactly one.
    pub cure: Option<Change>,
}

/// What there is to know of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    /// The name.
    pub place: Place,
    /// What it is, in Markdown.
    pub text: String,
}

/// An item of a file, or an out of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its signature in a few words.
    pub detail: String,
    /// All of it.
    pub range: Range<usize>,
    /// Its name.
    pub name_range: Range<usize>,
    /// The outs of a stage.
    pub children: Vec<Symbol>,
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file that is used.
    Module,
    /// A param of the pipeline.
    Param,
    /// A `let`.
    Value,
    /// A function, of the pipeline or of the language.
    Function,
    /// A `build` or `test`.
    Stage,
    /// A stage with parameters.
    Template,
    /// An out of a stage.
    Out,
    /// An axis, a parameter, a name of a comprehension.
    Local,
    /// A field of a stage or a record, a member of a file, a named argument.
    Field,
    /// A fact of the machine.
    Fact,
    /// A type.
    Type,
    /// One of the texts that fit.
    Text,
    /// A word of the language.
    Keyword,
    /// A file of the project.
    File,
    /// A folder of the project.
    Folder,
}

/// A stage that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lens {
    /// The name of the stage.
    pub range: Range<usize>,
    /// The stage, as commands take it.
    pub stage: String,
}
