//! Artifacts: what goes into a step and what comes out. Knows paths and which step makes what;
//! does not know bytes.
//!
//! Every path here is relative, with `/`, and has neither `.` nor `..`. A *project path* starts at
//! the project's root. A *build path* starts at the step's working tree, which mirrors the project:
//! sources stand at their own project path, and Kiln's own places are below `.kiln/`.

use serde::{Deserialize, Serialize};

use super::step::StepId;

/// The place of a [`FileSet`] in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileSetId(u32);

impl FileSetId {
    /// Returns the id of the file set at `index`, below 2^32.
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2^32 file sets"))
    }

    /// Returns the place in `Plan::file_sets`.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Source files that steps take together. Equal sets of one plan are one set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileSet {
    /// Project paths, sorted by bytes, without duplicates.
    pub paths: Vec<String>,
}

/// Something that stands in a step's working tree before it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Input {
    /// Files of the project. A file `strip + rest` stands at `at + rest`.
    Files {
        /// Which files.
        set: FileSetId,
        /// The start of the project path that `at` replaces; empty to replace nothing.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        strip: String,
        /// The build path put in its place.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        at: String,
    },
    /// The history of the project's git repository, as the plan's fact `host.git.repo` describes it.
    History {
        /// The build path at which it stands.
        at: String,
    },
    /// What another step made.
    Artifact {
        /// The out.
        #[serde(flatten)]
        artifact: Artifact,
        /// The build path at which it stands.
        at: String,
    },
}

/// An out of a step, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Artifact {
    /// The step that makes it.
    pub step: StepId,
    /// The name of the out.
    pub out: String,
    /// A path inside the out, which is then a directory; empty for the whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
}

/// Something a step makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Out {
    /// Its name, unique in the step.
    pub name: String,
    /// What it must be.
    pub kind: OutKind,
    /// The build path it is taken from.
    pub path: String,
    /// Whether Kiln chose the path. Then its parent exists when the step starts, and a directory
    /// exists and is empty.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_placed: bool,
    /// Whether it may be missing. Optional outs are taken from failed steps too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_optional: bool,
}

/// What an out must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A regular file with test results as JUnit XML.
    Junit,
    /// The step's root, as it left it.
    Image,
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
