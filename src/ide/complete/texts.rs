//! What could stand in a string: one of the texts that fit, a key of a record, a path of the project.
//! Knows which calls take paths; does not know what becomes of them.

use std::ops::Range;

use crate::files::{self, EntryKind};
use crate::lang::module::PACKAGE_FILE;
use crate::lang::ty::Type;
use crate::syntax::ast::{ClauseKind, Expr, ExprKind, Item, ItemKind};

use super::super::Kind;
use super::super::tree::Node;
use super::words::plain;
use super::{Completion, Spot};

/// Which paths fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paths {
    /// Files and folders.
    All,
    /// Folders.
    Folders,
    /// Packages and `.pipe` files.
    Modules,
}

impl Spot<'_> {
    /// Returns what could stand in the string at the cursor; `None` if it is none.
    pub(super) fn texts(&self) -> Option<Vec<Completion>> {
        if !self.cursor.is_in_text() {
            return None;
        }
        let inner = self.inner();
        if let Some(paths) = self.takes_paths() {
            return Some(self.paths(paths, &inner));
        }
        let texts = match self.wanted(self.path.len() - 1) {
            Some(ty) => match ty.certain() {
                Type::Enum(texts) => texts.clone(),
                _ => Vec::new(),
            },
            None => self.keys(),
        };
        let offer = |text: String| Completion {
            kind: Kind::Text,
            replace: inner.clone(),
            ..plain(self.cursor, &text)
        };
        Some(texts.into_iter().map(offer).collect())
    }

    /// The bytes between the quotes, as far as they are on the cursor's line.
    fn inner(&self) -> Range<usize> {
        let (text, offset) = (self.cursor.text, self.cursor.offset);
        let is_end = |c: char| matches!(c, '"' | '\n' | '\r');
        let start = text[..offset].rfind(is_end).map_or(0, |quote| quote + 1);
        let end = text[offset..].find(is_end).map_or(text.len(), |quote| offset + quote);
        start..end
    }

    /// The keys of the record that the string picks from.
    fn keys(&self) -> Vec<String> {
        match self.above(1) {
            Some(Node::Expr(Expr { kind: ExprKind::Index { base, .. }, .. })) => {
                match self.type_of(base) {
                    Type::Record(fields) => fields.keys().cloned().collect(),
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    fn takes_paths(&self) -> Option<Paths> {
        for node in self.path.iter().rev() {
            match node {
                Node::Item(Item { kind: ItemKind::Use(_), .. }) => return Some(Paths::Modules),
                Node::Expr(Expr { kind: ExprKind::Call { callee, .. }, .. }) => {
                    return match &callee.kind {
                        ExprKind::Name(name) => match name.as_str() {
                            "files" | "file" => Some(Paths::All),
                            "dir" | "tree" => Some(Paths::Folders),
                            _ => None,
                        },
                        _ => None,
                    };
                }
                Node::Expr(Expr { kind: ExprKind::List(_) | ExprKind::String(_), .. })
                | Node::Argument(_) => {}
                Node::Clause(clause) if matches!(clause.kind, ClauseKind::In { .. }) => {}
                _ => return None,
            }
        }
        None
    }

    /// Returns the names in the folder that the path before the cursor leads to.
    fn paths(&self, paths: Paths, inner: &Range<usize>) -> Vec<Completion> {
        let written = &self.cursor.text[inner.start..self.cursor.offset];
        let (folder, name) = match written.rfind('/') {
            Some(slash) => (&written[..=slash], &written[slash + 1..]),
            None => ("", written),
        };
        let Some(Node::Item(item)) = self.path.first() else { return Vec::new() };
        let own = self.analysis.module(item.span.source).folder();
        let Some(path) = files::project_path(own, folder) else { return Vec::new() };
        let start = self.cursor.offset - name.len();
        let rest = &self.cursor.text[self.cursor.offset..inner.end];
        let end = self.cursor.offset + rest.find('/').unwrap_or(rest.len());
        let dot = if paths == Paths::Modules && folder.is_empty() { "./" } else { "" };
        let entries = self.files.list(&path).unwrap_or_default().into_iter();
        let shown = entries.filter(|entry| {
            !matches!(entry.name.as_str(), ".git" | ".kiln")
                && (!entry.name.starts_with('.') || name.starts_with('.'))
        });
        let offer = |entry: files::Entry| {
            let is_folder = entry.kind == EntryKind::Folder;
            let inner = files::join(&path, &entry.name);
            let fits = match paths {
                Paths::All => is_folder || entry.kind != EntryKind::Odd,
                Paths::Folders => is_folder,
                Paths::Modules => is_folder || entry.name.ends_with(".pipe"),
            };
            let is_package = is_folder
                && paths == Paths::Modules
                && self.files.kind(&files::join(&inner, PACKAGE_FILE)).is_some();
            fits.then(|| Completion {
                kind: if is_folder { Kind::Folder } else { Kind::File },
                insert: format!("{dot}{}", entry.name),
                filter: (!dot.is_empty()).then(|| format!("{dot}{}", entry.name)),
                replace: start..end,
                is_likely: is_package,
                ..plain(self.cursor, &entry.name)
            })
        };
        shown.filter_map(offer).collect()
    }
}
