//! Reasons: why a step ran instead of being served. Knows kinds of things and how they differ; does not
//! know how that is found out.

use serde::{Deserialize, Serialize};

/// One reason for which a step ran.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reason {
    /// What kind of thing differs from the last run.
    pub what: What,
    /// Which one: a path, a variable, a tool, an out (`stage.out`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How it differs.
    pub change: Change,
}

/// What kind of thing a [`Reason`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A file of the project.
    Input,
    /// What another step made.
    Upstream,
    /// A variable of the environment.
    Env,
    /// What the step runs.
    Command,
    /// The paths of the outs.
    Outs,
    /// A tool.
    Tool,
    /// A service beside the step.
    Service,
    /// A part of the machine's system directories.
    Host,
    /// The network, the platform, the sandbox or Kiln itself.
    Setting,
    /// The step's earlier result, all else being equal.
    Result,
}

/// How a thing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there before.
    Added,
    /// It was there before.
    Removed,
    /// It is another now.
    Changed,
    /// There is no earlier one to compare with; of results: none is in the store.
    Unknown,
    /// It failed; of results.
    Failed,
    /// It was asked to run again; of results.
    Forced,
    /// It runs once more to see whether it makes the same; of results.
    Verified,
}
