//! An analysis: one pipeline with all its files, and what each name in them means. Knows what stands
//! at a place and who else means the same; does not know how that is told.

use crate::diagnostic::Diagnostic;
use crate::files::{Files, FilesError};
use crate::lang::meaning::{Meaning, Mention};
use crate::lang::module::{Module, Program};
use crate::lang::pipeline::{self, Loaded, Wanted};
use crate::lang::scope::declared;
use crate::lang::ty::{ItemRef, ModuleId, Type};
use crate::source::{SourceId, Span};
use crate::syntax::ast::{ClauseKind, Item, ItemKind};

use super::place::{place, source};
use super::{Change, Finding, Place, tree};

/// What became of the files of a pipeline.
#[derive(Debug)]
pub(super) struct Analysis {
    /// The first of its files.
    pub(super) root: String,
    pub(super) loaded: Loaded,
}

/// What can stand under a cursor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Thing {
    /// A name, and what it means.
    Name(Meaning, Type),
    /// The path of a `use`.
    Import(ModuleId),
    /// A field of stages.
    Field(&'static str),
    /// The first word of a type.
    TypeName(String),
}

impl Analysis {
    /// Loads the pipeline of `root`, a project path.
    ///
    /// # Errors
    /// If that file cannot be read.
    pub(super) fn new(
        files: &dyn Files,
        root: &str,
        wanted: Wanted<'_>,
    ) -> Result<Self, FilesError> {
        let loaded = pipeline::load(files, root, wanted)?;
        Ok(Self { root: root.to_owned(), loaded })
    }

    pub(super) fn program(&self) -> &Program {
        &self.loaded.program
    }

    pub(super) fn source(&self, file: &str) -> Option<SourceId> {
        source(self.program(), file)
    }

    pub(super) fn module(&self, source: SourceId) -> &Module {
        let found = self.program().modules.iter().find(|module| module.ast.source == source);
        found.expect("each source is of a module")
    }

    pub(super) fn module_id(&self, source: SourceId) -> ModuleId {
        let found = self.program().iter().find(|(_, module)| module.ast.source == source);
        found.expect("each source is of a module").0
    }

    pub(super) fn item(&self, item: ItemRef) -> &Item {
        &self.program().module(item.module).ast.items[item.item]
    }

    /// Returns what was found in a file.
    pub(super) fn findings(&self, file: &str) -> Vec<Finding> {
        let Some(source) = self.source(file) else { return Vec::new() };
        let own = self.loaded.diagnostics.iter().filter(|found| found.span.source == source);
        own.map(|found| self.finding(found)).collect()
    }

    fn finding(&self, found: &Diagnostic) -> Finding {
        let place = |span| place(self.program(), span);
        let message = match &found.label {
            Some(label) => format!("{}: {label}", found.message),
            None => found.message.clone(),
        };
        let edit = found.edit.as_ref();
        Finding {
            code: found.code,
            severity: found.severity,
            place: place(found.span),
            message,
            related: found
                .labels
                .iter()
                .map(|label| (place(label.span), label.text.clone()))
                .collect(),
            help: found.help.clone(),
            cure: edit.map(|edit| Change { place: place(edit.span), text: edit.text.clone() }),
        }
    }

    /// Returns what stands at a place and where it begins and ends.
    pub(super) fn thing_at(&self, source: SourceId, offset: usize) -> Option<(Span, Thing)> {
        let noted = self.mention_at(source, offset);
        let noted = noted.map(|it| (it.span, Thing::Name(it.meaning.clone(), it.ty.clone())));
        noted
            .or_else(|| self.declaration_at(source, offset))
            .or_else(|| self.word_at(source, offset))
    }

    /// Returns the name that the checker noted at a place; both ends belong to it.
    fn mention_at(&self, source: SourceId, offset: usize) -> Option<&Mention> {
        let mentions = self.loaded.meanings.mentions();
        let key = (source, offset as u32);
        let after = mentions.partition_point(|it| (it.span.source, it.span.start) <= key);
        let before = mentions[..after].iter().rev().take(2);
        before.into_iter().find(|it| it.span.source == source && offset <= it.span.end as usize)
    }

    /// Items whose own names no one has to look up: those that nothing mentions among them.
    fn declaration_at(&self, source: SourceId, offset: usize) -> Option<(Span, Thing)> {
        let module = self.module_id(source);
        let items = self.program().module(module).ast.items.iter().enumerate();
        for (item, tree) in items {
            let holds = |span: Span| span.start as usize <= offset && offset <= span.end as usize;
            if let ItemKind::Use(used) = &tree.kind
                && holds(used.path.span)
            {
                return Some((used.path.span, Thing::Import(self.imported(module, item)?)));
            }
            if let Some((_, span)) = declared(tree).filter(|(_, span)| holds(*span)) {
                let item = ItemRef { module, item };
                return Some((span, Thing::Name(Meaning::Item(item), self.own_type(item))));
            }
        }
        None
    }

    fn own_type(&self, item: ItemRef) -> Type {
        match &self.item(item).kind {
            ItemKind::Function(_) => Type::Function(item),
            ItemKind::Stage(stage) if stage.parameters.is_some() => Type::Template(item),
            ItemKind::Stage(stage) => Type::of_stage(item, stage.kind),
            ItemKind::Use(_) => {
                self.imported(item.module, item.item).map_or(Type::Unknown, Type::Module)
            }
            _ => Type::Unknown,
        }
    }

    /// Returns the file that a `use` brings.
    pub(super) fn imported(&self, module: ModuleId, item: usize) -> Option<ModuleId> {
        let imports = &self.program().module(module).imports;
        imports.values().find(|import| import.item == item)?.module
    }

    /// Fields and types, which mean the same everywhere.
    fn word_at(&self, source: SourceId, offset: usize) -> Option<(Span, Thing)> {
        use crate::lang::builtins::fields;
        use crate::syntax::ast::TypeKind;
        let path = tree::path(&self.module(source).ast, offset);
        match path.last()? {
            tree::Node::Clause(clause) => match &clause.kind {
                ClauseKind::Field { name, .. } if offset <= name.span.end as usize => {
                    Some((name.span, Thing::Field(fields::find(&name.text)?.name)))
                }
                _ => None,
            },
            tree::Node::Type(ty) => {
                let name = match &ty.kind {
                    TypeKind::Name(name) => name.clone(),
                    TypeKind::List(_) => "list".to_owned(),
                    TypeKind::Map(_) => "map".to_owned(),
                    TypeKind::IntRange(..) => "int".to_owned(),
                    _ => return None,
                };
                Some((ty.span, Thing::TypeName(name)))
            }
            _ => None,
        }
    }

    /// Returns the place that declares a thing of the pipeline.
    pub(super) fn declaration(&self, thing: &Thing) -> Option<Span> {
        match thing {
            Thing::Name(Meaning::Item(item), _) => declared(self.item(*item)).map(|(_, span)| span),
            Thing::Name(Meaning::Local(span) | Meaning::Out(span), _) => Some(*span),
            Thing::Import(module) => {
                let source = self.program().module(*module).ast.source;
                Some(Span::at(source, 0))
            }
            _ => None,
        }
    }

    /// Returns where to go from a name: a `use` leads on to its file.
    pub(super) fn target(&self, thing: &Thing) -> Option<Place> {
        let span = self.declaration(thing)?;
        Some(place(self.program(), span))
    }

    /// Returns all places that mean what is declared at `span`, that one among them, by place.
    pub(super) fn mentions_of(&self, span: Span) -> Vec<Span> {
        let is_same = |mention: &&Mention| {
            let thing = Thing::Name(mention.meaning.clone(), Type::Unknown);
            self.declaration(&thing) == Some(span)
        };
        let mentions = self.loaded.meanings.mentions().iter().filter(is_same);
        let mut spans: Vec<_> = mentions.map(|mention| mention.span).collect();
        spans.push(span);
        spans.sort_unstable();
        spans.dedup();
        spans
    }
}
