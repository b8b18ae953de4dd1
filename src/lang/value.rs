//! Values: what expressions come to. Knows their forms and how they read as text; does not know how
//! they are computed.

use std::sync::Arc;

use indexmap::IndexMap;

use super::ty::{ItemRef, ModuleId, Type};
use crate::files;
use crate::plan::artifact::OutKind;
use crate::plan::step::{Root, Tool};

/// A value. Cloning one is cheap.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// In milliseconds.
    Duration(u64),
    /// In bytes.
    Size(u64),
    Percent(u32),
    String(Arc<str>),
    /// A text with files or artifacts in it; at least one part is no string.
    Text(Arc<Vec<Self>>),
    /// A file of the project, by its project path.
    File(Arc<str>),
    /// A folder of the project.
    Folder(Arc<str>),
    /// The history of the project's repository.
    History,
    /// An out of another step.
    Artifact(Arc<ArtifactValue>),
    /// An out of the step itself: its build path.
    OwnOut(Arc<str>),
    Tool(Arc<Tool>),
    /// A root that steps may have.
    Root(Arc<Root>),
    List(Arc<Vec<Self>>),
    Record(Arc<IndexMap<String, Self>>),
    /// One row of a matrix, or the only one of a stage without.
    Row(RowRef),
    /// A service with its arguments.
    Service(Arc<ServiceValue>),
    /// What has a name and no value: stages, functions, modules and the like.
    Named(Type),
}

/// A row of a stage: the stage and the place among its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowRef {
    pub(crate) stage: ItemRef,
    pub(crate) row: u32,
}

/// A service with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceValue {
    pub(crate) item: ItemRef,
    /// The module whose folder it works in.
    pub(crate) home: ModuleId,
    /// For each parameter.
    pub(crate) arguments: Vec<Value>,
}

/// An out of a row, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ArtifactValue {
    pub(crate) row: RowRef,
    pub(crate) out: String,
    pub(crate) kind: OutKind,
    /// The last name of the path that its step writes it to.
    pub(crate) file_name: String,
    /// A path inside it; empty for the whole.
    pub(crate) part: String,
}

impl Value {
    /// Returns a string.
    pub(crate) fn string(text: impl Into<Arc<str>>) -> Self {
        Self::String(text.into())
    }

    /// Returns a list.
    pub(crate) fn list(elements: Vec<Self>) -> Self {
        Self::List(Arc::new(elements))
    }

    /// Returns the text of the value in a file of `folder`; `None` if it has none before its step
    /// runs. A file outside the folder begins with `/`, as globs and paths take it.
    pub(crate) fn text(&self, folder: &str) -> Option<String> {
        Some(match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Duration(millis) => duration(*millis),
            Self::Size(bytes) => size(*bytes),
            Self::Percent(value) => format!("{value}%"),
            Self::String(text) => text.to_string(),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts.iter() {
                    text.push_str(&part.text(folder)?);
                }
                text
            }
            Self::File(path) | Self::Folder(path) => relative(folder, path),
            _ => return None,
        })
    }
}

/// Returns a project path as a file of `folder` writes it.
pub(crate) fn relative(folder: &str, path: &str) -> String {
    match files::below(folder, path) {
        Some("") => ".".to_owned(),
        Some(rest) => rest.to_owned(),
        None => format!("/{path}"),
    }
}

/// Returns a part of the name of a file or folder at a project path: its `name`, `stem`, `parent` or `path`.
pub(crate) fn path_member(path: &str, member: &str, folder: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    match member {
        "name" => name.to_owned(),
        "stem" => match name.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
            _ => name.to_owned(),
        },
        "parent" => relative(folder, files::parent(path)),
        _ => relative(folder, path),
    }
}

/// Returns a duration as the language writes it: `1h30m`, `250ms`.
pub(crate) fn duration(millis: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let mut left = millis;
    let mut text = String::new();
    for (unit, name) in UNITS {
        if left >= unit {
            text.push_str(&format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Returns a size as the language writes it, in the largest unit that divides it: `512MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 8] = [
        (1 << 40, "TiB"),
        (1_000_000_000_000, "TB"),
        (1 << 30, "GiB"),
        (1_000_000_000, "GB"),
        (1 << 20, "MiB"),
        (1_000_000, "MB"),
        (1 << 10, "KiB"),
        (1000, "KB"),
    ];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_as_they_are_written() {
        assert_eq!(duration(5_400_000), "1h30m");
        assert_eq!(duration(250), "250ms");
        assert_eq!(duration(0), "0s");
        assert_eq!(size(512 << 20), "512MiB");
        assert_eq!(size(2_000_000_000), "2GB");
        assert_eq!(size(3000), "3KB");
        assert_eq!(size(7), "7B");
    }

    #[test]
    fn files_outside_the_folder_count_from_the_root() {
        assert_eq!(Value::File("web/src/a.ts".into()).text("web").unwrap(), "src/a.ts");
        assert_eq!(Value::File("lib/a.ts".into()).text("web").unwrap(), "/lib/a.ts");
    }
}
