//! Files: the only door to the project's files. Knows folders, names and bytes; does not know the
//! language, and never writes.

mod glob;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub(crate) use glob::{GlobError, Globber, Pattern, Selection};

/// Reads the files of one project. Paths are project paths: relative to its root, with `/`,
/// without `.` and `..`; the root is the empty path.
pub(crate) trait Files: Sync {
    /// Returns the bytes of a regular file of at most `limit` bytes. Links are followed.
    ///
    /// # Errors
    /// [`FilesError::TooLarge`] if there are more, else what the file system says.
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, FilesError>;

    /// Returns what stands in a folder, sorted by name. Links to folders are not followed.
    ///
    /// # Errors
    /// What the file system says; a path that is no folder is an error.
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FilesError>;

    /// Returns what stands at a path, without following a link there; `None` for nothing.
    fn kind(&self, path: &str) -> Option<EntryKind>;
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name; what is not UTF-8 in it is replaced by U+FFFD.
    pub(crate) name: String,
    /// What stands there.
    pub(crate) kind: EntryKind,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, to whatever.
    Link,
    /// A socket, pipe, device, or a name that is not UTF-8: nothing a pipeline can take.
    Odd,
}

/// Why a file or folder could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// It is larger than the reader takes.
    #[error("`{path}` is larger than {limit} bytes")]
    TooLarge { path: String, limit: usize },
    /// The file system refused.
    #[error("cannot read `{path}`: {source}")]
    Io { path: String, source: io::Error },
}

/// The files below a folder of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Returns the files below `root`, an absolute path.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

impl Files for Disk {
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, FilesError> {
        let fail = |source| FilesError::Io { path: path.to_owned(), source };
        let place = self.at(path);
        // Opening a pipe would wait for a writer.
        let meta = place.metadata().map_err(fail)?;
        if !meta.is_file() {
            let what = if meta.is_dir() { "is a folder" } else { "is not a regular file" };
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        let mut bytes = Vec::with_capacity((meta.len() as usize).min(limit));
        let file = std::fs::File::open(&place).map_err(fail)?;
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() > limit {
            return Err(FilesError::TooLarge { path: path.to_owned(), limit });
        }
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, FilesError> {
        let fail = |source| FilesError::Io { path: folder.to_owned(), source };
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(self.at(folder)).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry_kind(entry.file_type().map_err(fail)?);
            entries.push(match entry.file_name().into_string() {
                Ok(name) => Entry { name, kind },
                Err(name) => {
                    Entry { name: name.to_string_lossy().into_owned(), kind: EntryKind::Odd }
                }
            });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn kind(&self, path: &str) -> Option<EntryKind> {
        std::fs::symlink_metadata(self.at(path)).ok().map(|meta| entry_kind(meta.file_type()))
    }
}

fn entry_kind(kind: std::fs::FileType) -> EntryKind {
    match kind {
        kind if kind.is_file() => EntryKind::File,
        kind if kind.is_dir() => EntryKind::Folder,
        kind if kind.is_symlink() => EntryKind::Link,
        _ => EntryKind::Odd,
    }
}

/// Files in memory: texts that an editor or a test holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    files: BTreeMap<String, Vec<u8>>,
}

impl Memory {
    /// Puts a file at a project path.
    pub(crate) fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), bytes.into());
    }

    /// Returns the paths below a folder, without the folder.
    fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = &'a str> {
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let len = start.len();
        let from = self.files.range(start.clone()..);
        from.map(|(path, _)| path.as_str())
            .take_while(move |path| path.starts_with(&start))
            .map(move |path| &path[len..])
    }
}

impl Files for Memory {
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, FilesError> {
        match self.files.get(path) {
            Some(bytes) if bytes.len() > limit => {
                Err(FilesError::TooLarge { path: path.to_owned(), limit })
            }
            Some(bytes) => Ok(bytes.clone()),
            None => Err(missing(path)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, FilesError> {
        let mut entries: Vec<Entry> = Vec::new();
        for rest in self.below(folder) {
            let (name, kind) = match rest.split_once('/') {
                Some((name, _)) => (name, EntryKind::Folder),
                None => (rest, EntryKind::File),
            };
            if entries.last().is_none_or(|last| last.name != name) {
                entries.push(Entry { name: name.to_owned(), kind });
            }
        }
        if entries.is_empty() && !folder.is_empty() {
            return Err(missing(folder));
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        entries.dedup_by(|a, b| a.name == b.name);
        Ok(entries)
    }

    fn kind(&self, path: &str) -> Option<EntryKind> {
        if self.files.contains_key(path) {
            Some(EntryKind::File)
        } else if path.is_empty() || self.below(path).next().is_some() {
            Some(EntryKind::Folder)
        } else {
            None
        }
    }
}

fn missing(path: &str) -> FilesError {
    FilesError::Io { path: path.to_owned(), source: io::ErrorKind::NotFound.into() }
}

/// Returns the project path of `path` as written in a file of `folder`: a leading `/` means the
/// project's root, `.` and `..` are resolved. `None` if it leaves the project.
pub(crate) fn project_path(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = match path.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns the folder that `path` stands in; the root is the empty path.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Returns `path` below `folder`; either may be empty.
pub(crate) fn join(folder: &str, path: &str) -> String {
    match (folder.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (_, true) => folder.to_owned(),
        _ => format!("{folder}/{path}"),
    }
}

/// Returns the part of `path` below `folder`: the empty path if they are equal, `None` if it is not
/// below.
pub(crate) fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    if folder.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Returns the folder of the nearest `pipeline.pipe`: `start` itself or one above it.
pub(crate) fn nearest_package(start: &Path) -> Option<PathBuf> {
    start.ancestors().find(|folder| folder.join("pipeline.pipe").is_file()).map(Path::to_owned)
}

/// Returns the root of the project that `package` is in: the nearest folder with `.git`, else the
/// outermost with a `pipeline.pipe`.
pub(crate) fn project_root(package: &Path) -> &Path {
    let has = |folder: &&Path, name: &str| folder.join(name).exists();
    package
        .ancestors()
        .find(|folder| has(folder, ".git"))
        .or_else(|| package.ancestors().filter(|folder| has(folder, "pipeline.pipe")).last())
        .unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_paths_stay_in_the_project() {
        assert_eq!(project_path("web", "src/../a.c").as_deref(), Some("web/a.c"));
        assert_eq!(project_path("web", "/lib/./x").as_deref(), Some("lib/x"));
        assert_eq!(project_path("web", "../lib").as_deref(), Some("lib"));
        assert_eq!(project_path("web", "../../etc"), None);
        assert_eq!(project_path("", "."), Some(String::new()));
    }

    #[test]
    fn memory_lists_like_a_disk() {
        let mut memory = Memory::default();
        let folder = tempfile::tempdir().unwrap();
        for path in ["a.c", "src/b.c", "src/deep/c.c", "src-old/d.c"] {
            memory.insert(path, *b"x");
            let place = folder.path().join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, "x").unwrap();
        }
        let disk = Disk::new(folder.path());
        for path in ["", "src", "src/deep"] {
            assert_eq!(memory.list(path).unwrap(), disk.list(path).unwrap(), "{path}");
        }
        for path in ["", "a.c", "src", "nothing", "src/b"] {
            assert_eq!(memory.kind(path), disk.kind(path), "{path}");
        }
        assert!(memory.list("nothing").is_err());
        assert!(disk.read("nothing", 9).is_err());
        assert!(matches!(disk.read("a.c", 0), Err(FilesError::TooLarge { .. })));
    }
}
