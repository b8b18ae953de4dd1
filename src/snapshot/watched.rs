//! Watched files: the project's files, with a note of each question that was asked of them. Knows
//! what a plan was made from; does not know the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::files::{Entry, EntryKind, Files, FilesError, join};

use super::memory::{Memory, lock};
use super::stat::{Clock, Stat};

/// Files whose readers are watched, so that it can be found out later, without reading and
/// listing again, whether they would see the same.
pub(crate) struct Watched<'a> {
    files: &'a dyn Files,
    root: PathBuf,
    memory: &'a Memory,
    clock: Clock,
    /// Project paths whose coming and going does not matter: the out folders.
    ignored: Vec<String>,
    notes: Mutex<Notes>,
}

/// The questions that were asked, and the answers in short.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Notes {
    ignored: Vec<Box<str>>,
    /// Files that were read. What they held is in the memory of files.
    reads: BTreeSet<Box<str>>,
    /// Folders that were listed.
    folders: Folders,
    /// What stood at other paths: 0 nothing, then a file, a folder, a link, something odd.
    kinds: BTreeMap<Box<str>, u8>,
}

/// Folders by path.
pub(super) type Folders = BTreeMap<Box<str>, Folder>;

/// A folder as it was when it was listed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Folder {
    stat: Stat,
    /// Whether it was so young that a new name might not have changed its times.
    is_racy: bool,
    /// The digest of the names and kinds in it.
    entries: Digest,
}

impl<'a> Watched<'a> {
    /// Returns `files`, which stand below `root`, with an eye on their readers. Whether there is
    /// something at the project paths `ignored`, as at any `.kiln` and `.git`, does not matter.
    pub(crate) fn new(
        files: &'a dyn Files,
        root: &Path,
        memory: &'a Memory,
        ignored: Vec<String>,
    ) -> Self {
        let (root, clock, notes) = (root.to_owned(), memory.clock(), Mutex::default());
        Self { files, root, memory, clock, ignored, notes }
    }

    /// Returns what was asked so far.
    pub(crate) fn notes(&self) -> Notes {
        let ignored = self.ignored.iter().map(|path| path.as_str().into()).collect();
        Notes { ignored, ..lock(&self.notes).clone() }
    }
}

impl Files for Watched<'_> {
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, FilesError> {
        let bytes = self.files.read(path, limit)?;
        // Links are followed here and not by the memory, so what they lead to is noted, too.
        let real = self.root.join(path).canonicalize().ok();
        let real =
            real.and_then(|real| real.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned));
        for path in [Some(path), real.as_deref()].into_iter().flatten() {
            let _ = self.memory.note(path, &bytes);
            lock(&self.notes).reads.insert(path.into());
        }
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, FilesError> {
        let stat = Stat::of(&self.root.join(folder)).ok();
        let listed = self.files.list(folder);
        match (&listed, stat) {
            (Ok(entries), Some(stat)) => {
                let is_racy = self.clock.is_racy(&stat);
                let note =
                    Folder { stat, is_racy, entries: digest(folder, entries, &self.ignored) };
                lock(&self.notes).folders.insert(folder.into(), note);
            }
            _ => drop(self.kind(folder)),
        }
        listed
    }

    fn kind(&self, path: &str) -> Option<EntryKind> {
        let kind = self.files.kind(path);
        lock(&self.notes).kinds.insert(path.into(), number(kind));
        kind
    }
}

impl Notes {
    /// Returns whether the same questions would get the same answers now. Folders that changed
    /// are listed again: only names and kinds count.
    pub(super) fn still_hold(&self, files: &dyn Files, root: &Path, memory: &Memory) -> bool {
        memory.is_unchanged(self.reads.iter().map(|path| &**path))
            && self.folders.iter().all(|(path, folder)| {
                let is_same = Stat::of(&root.join(&**path)).is_ok_and(|stat| stat == folder.stat);
                (is_same && !folder.is_racy)
                    || files.list(path).is_ok_and(|entries| {
                        digest(path, &entries, &self.ignored) == folder.entries
                    })
            })
            && self.kinds.iter().all(|(path, kind)| number(files.kind(path)) == *kind)
    }

    /// Returns the folders whose times are others now, if their names still are the same.
    pub(super) fn moved(&self, files: &dyn Files, root: &Path, clock: Clock) -> Folders {
        let mut moved = Folders::new();
        for (path, folder) in &self.folders {
            let Ok(stat) = Stat::of(&root.join(&**path)) else { continue };
            if (stat == folder.stat && !folder.is_racy) || clock.is_racy(&stat) {
                continue;
            }
            let same =
                |entries: Vec<Entry>| digest(path, &entries, &self.ignored) == folder.entries;
            if files.list(path).is_ok_and(same) {
                moved.insert(path.clone(), Folder { stat, is_racy: false, ..*folder });
            }
        }
        moved
    }

    /// Returns the folders that were listed.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        self.folders.keys().map(|path| &**path)
    }

    /// Takes note of folders as they are now.
    pub(super) fn note(&mut self, folders: Folders) {
        self.folders.extend(folders);
    }
}

/// The digest of what stands in `folder`, as far as it matters.
fn digest(folder: &str, entries: &[Entry], ignored: &[impl AsRef<str>]) -> Digest {
    let mut hasher = Hasher::tagged("kiln folder 1");
    let matters = |entry: &&Entry| {
        let path = join(folder, &entry.name);
        !matches!(entry.name.as_str(), ".git" | ".kiln")
            && !ignored.iter().any(|ignored| ignored.as_ref() == path)
    };
    for entry in entries.iter().filter(matters) {
        hasher.field(entry.name.as_bytes());
        hasher.update(&[number(Some(entry.kind))]);
    }
    hasher.finish()
}

fn number(kind: Option<EntryKind>) -> u8 {
    match kind {
        None => 0,
        Some(EntryKind::File) => 1,
        Some(EntryKind::Folder) => 2,
        Some(EntryKind::Link) => 3,
        Some(EntryKind::Odd) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Disk, Globber, Pattern, Selection};

    /// Globs `src/**/*.c` and returns what it was found from.
    fn glob(root: &Path) -> (Memory, Notes) {
        let memory = Memory::empty(root, Clock::unknown());
        let disk = Disk::new(root);
        let watched = Watched::new(&disk, root, &memory, vec!["out".to_owned()]);
        let globber = Globber::new(&watched, vec!["out".to_owned()]);
        let pattern = Pattern::new("", "src/**/*.c").unwrap();
        globber.find(&pattern, Selection { with_ignored: false }).unwrap();
        let _ = watched.read("src/.gitignore", 100);
        let notes = watched.notes();
        drop(globber);
        (memory, notes)
    }

    #[test]
    fn what_a_glob_would_see_differently_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let make = |path: &str, text: &str| {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        };
        make("src/a.c", "a");
        make("src/deep/b.c", "b");
        make("src/.gitignore", "*.o\n");
        let (memory, notes) = glob(&root);
        let later = super::super::Snapshot::remembered(&root, &memory);
        let check = || {
            let later = super::super::Snapshot::remembered(&root, &later);
            notes.still_hold(&Disk::new(&root), &root, &later)
        };
        assert!(check());
        make("src/a.c", "edited");
        make("out/x", "made");
        make(".kiln/x", "made");
        assert!(check(), "bytes of matched files and what Kiln makes do not matter");
        make("src/deep/c.c", "");
        assert!(!check(), "a new file");
        std::fs::remove_file(root.join("src/deep/c.c")).unwrap();
        assert!(check(), "gone again");
        make("src/.gitignore", "*.c\n");
        assert!(!check(), "other rules");
        make("src/.gitignore", "*.o\n");
        assert!(check());
        std::fs::remove_dir_all(root.join("src")).unwrap();
        assert!(!check());
    }

    #[test]
    fn a_folder_that_appears_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (memory, notes) = glob(&root);
        let disk = Disk::new(&root);
        assert!(notes.still_hold(&disk, &root, &memory));
        std::fs::create_dir(root.join("src")).unwrap();
        assert!(!notes.still_hold(&disk, &root, &memory));
    }
}
