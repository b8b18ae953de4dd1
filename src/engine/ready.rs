//! A step with all that it needs: by content, and laid out on disk. Knows trees and what they are made
//! from; does not know where any of it is found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::{Folder, Node, Tree};
use crate::digest::Digest;
use crate::plan::artifact::FileSetId;
use crate::snapshot::Ingredients;

use super::error::StepError;
use super::host::HostTool;
use super::line::Line;

/// Files of the project at one place in the working tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Placed {
    pub(super) set: FileSetId,
    pub(super) strip: String,
    pub(super) at: String,
}

/// A part of a step's working tree, laid out as one layer.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) tree: Tree,
    /// Where the history of the project stands, if it is that: its tree holds the description instead,
    /// which names it in keys, until it is laid out.
    pub(super) history: Option<String>,
    /// Where its files come from, if they are the project's; else from steps of this run.
    pub(super) source: Option<Placed>,
    /// The links among the project's files and what they hold.
    pub(super) links: Arc<[(String, String)]>,
}

impl Layer {
    /// Returns a layer of what steps of this run made.
    pub(super) fn made(tree: Tree) -> Self {
        Self { tree, history: None, source: None, links: Arc::default() }
    }
}

/// All that a step needs to run, by content.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The digest of the step with all of this.
    pub(crate) key: Digest,
    /// What it runs.
    pub(crate) line: Line,
    /// What went into the key, by name.
    pub(crate) ingredients: Ingredients,
    pub(super) layers: Vec<Layer>,
    pub(super) tools: Vec<(String, Tree)>,
    pub(super) host_tools: Vec<HostTool>,
    pub(super) root: Option<Tree>,
    pub(super) scripts: Vec<Vec<u8>>,
    /// Names what it keeps for its next run: all that went into the key but the inputs.
    pub(crate) kept: Digest,
    /// Its services.
    pub(crate) services: Vec<Ready>,
}

impl Ready {
    /// Returns its root; `None` is the machine's.
    pub(crate) fn root(&self) -> Option<&Tree> {
        self.root.as_ref()
    }

    /// Returns what each file in the working tree is, by build path. Those whose paths are not UTF-8
    /// are left out.
    pub(crate) fn files(&self) -> BTreeMap<String, Digest> {
        let mut files = BTreeMap::new();
        for layer in self.layers.iter().filter(|layer| layer.history.is_none()) {
            for (path, node) in layer.tree.walk() {
                if let (Node::File { .. }, Some(path)) = (node, path.to_str()) {
                    files.entry(path.to_owned()).or_insert_with(|| digest_of(Some(node)));
                }
            }
        }
        files
    }
}

/// A step laid out on disk.
pub(crate) struct Laid {
    /// The layers of the working tree.
    pub(crate) layers: Vec<Arc<Folder>>,
    /// Tools and where they stand in the working tree.
    pub(crate) tools: Vec<(String, Arc<Folder>)>,
    /// The root; `None` for the machine's own.
    pub(crate) root: Option<Arc<Folder>>,
    /// Paths of the machine that tools need.
    pub(crate) host_paths: Vec<PathBuf>,
    /// Its services.
    pub(crate) services: Vec<Laid>,
}

/// Why a step could not be laid out.
#[derive(Debug)]
pub(crate) enum Unlaid {
    /// A file of the project is another one now: make the step ready again.
    Stale,
    /// A blob that another step made is gone: that step must run again.
    Lost(Digest),
    /// Something else.
    Failed(StepError),
}

impl<E: Into<StepError>> From<E> for Unlaid {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// One digest for all that a node is.
pub(super) fn digest_of(node: Option<&Node>) -> Digest {
    match node {
        None => Digest::of(b"nothing"),
        Some(Node::File { blob, executable: false }) => blob.digest,
        Some(Node::File { blob, executable: true }) => {
            Digest::of(format!("executable {}", blob.digest).as_bytes())
        }
        Some(Node::Link { target }) => Digest::of(target),
        Some(Node::Directory(tree)) => tree.root().digest,
    }
}
