//! Drafts: the files of a project with unsaved texts laid over them. Remembers what folders hold, so
//! that a keystroke lists none again; does not know when something on the disk has changed.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::files::{Disk, Entry, EntryKind, Files, FilesError, parent};

/// The files of a project as an editor has them.
#[derive(Debug)]
pub(super) struct Drafts {
    disk: Disk,
    texts: BTreeMap<String, String>,
    seen: Mutex<Seen>,
}

/// What was found on the disk.
#[derive(Debug, Default)]
struct Seen {
    folders: BTreeMap<String, Vec<Entry>>,
    kinds: BTreeMap<String, Option<EntryKind>>,
}

impl Drafts {
    /// Returns the files below `root`, an absolute path.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { disk: Disk::new(root), texts: BTreeMap::new(), seen: Mutex::default() }
    }

    /// Lays a text over the file at a project path.
    pub(super) fn insert(&mut self, file: &str, text: String) {
        if self.texts.insert(file.to_owned(), text).is_none() {
            self.seen().folders.remove(parent(file));
        }
    }

    /// Takes the text over a file away.
    pub(super) fn remove(&mut self, file: &str) {
        self.texts.remove(file);
        self.seen().folders.remove(parent(file));
    }

    /// Returns the text over a file.
    pub(super) fn get(&self, file: &str) -> Option<&String> {
        self.texts.get(file)
    }

    /// Returns the files with a text over them, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// Forgets what was found on the disk.
    pub(super) fn forget(&mut self) {
        *self.seen() = Seen::default();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the folder of a file is known, and the file is not in it.
    fn is_known_missing(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        let seen = self.seen();
        let folder = seen.folders.get(parent(path));
        folder.is_some_and(|entries| !entries.iter().any(|entry| entry.name == name))
    }
}

impl Files for Drafts {
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, FilesError> {
        match self.texts.get(path) {
            Some(text) if text.len() > limit => {
                Err(FilesError::TooLarge { path: path.to_owned(), limit })
            }
            Some(text) => Ok(text.clone().into_bytes()),
            None if self.is_known_missing(path) => {
                let source = io::ErrorKind::NotFound.into();
                Err(FilesError::Io { path: path.to_owned(), source })
            }
            None => self.disk.read(path, limit),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, FilesError> {
        if let Some(entries) = self.seen().folders.get(folder) {
            return Ok(entries.clone());
        }
        let mut entries = self.disk.list(folder)?;
        for path in self.texts.keys().filter(|path| parent(path) == folder) {
            let name = path.rsplit('/').next().unwrap_or_default();
            if !entries.iter().any(|entry| entry.name == name) {
                entries.push(Entry { name: name.to_owned(), kind: EntryKind::File });
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.seen().folders.insert(folder.to_owned(), entries.clone());
        Ok(entries)
    }

    fn kind(&self, path: &str) -> Option<EntryKind> {
        if self.texts.contains_key(path) {
            return Some(EntryKind::File);
        }
        if let Some(kind) = self.seen().kinds.get(path) {
            return *kind;
        }
        let kind = self.disk.kind(path);
        self.seen().kinds.insert(path.to_owned(), kind);
        kind
    }
}

/// The files of a project, some of them with other texts.
pub(super) struct Changed<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) texts: &'a BTreeMap<&'a str, String>,
}

impl Files for Changed<'_> {
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, FilesError> {
        match self.texts.get(path) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => self.files.read(path, limit),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, FilesError> {
        self.files.list(folder)
    }

    fn kind(&self, path: &str) -> Option<EntryKind> {
        self.files.kind(path)
    }
}
