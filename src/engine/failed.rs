//! What a failed step left in its working tree, kept for a look at it. Knows the folder of such notes and
//! the store; does not know who looks.
//!
//! A note is a file of JSON in the folder `failed` of the project's notes, named by the digest of the
//! step's name. The files themselves are in the store, and go as anything there does.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{Blob, Store, Tree};
use crate::digest::Digest;
use crate::plan::step::Step;
use crate::sandbox::{self, CapturedOut, Entry};

use super::attempt::Shop;
use super::error::StepError;
use super::outs;
use super::ready::Ready;
use super::spec::changes_at;

/// The folder of notes.
const FOLDER: &str = "failed";

/// What a failed step left.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Leftover {
    /// The step with all that it had.
    key: Digest,
    /// The run it failed in.
    pub(crate) run: String,
    /// The tree of what it changed: its digest and size.
    tree: (Digest, u64),
    /// How many files that are.
    pub(crate) changed: usize,
    /// The inputs that it removed: paths in its working tree, as bytes.
    pub(crate) gone: Vec<Vec<u8>>,
}

impl Leftover {
    /// Returns whether it is of that very step.
    pub(crate) fn is_of(&self, key: Digest) -> bool {
        self.key == key
    }

    /// Returns what the step changed, if the store has all of it yet.
    pub(crate) fn tree(&self, store: &Store) -> Option<Tree> {
        let (digest, size) = self.tree;
        let tree = store.tree(Blob { digest, size }).ok()?;
        store.missing(&tree).is_empty().then_some(tree)
    }
}

/// Keeps what a step left that did not pass, and had no secrets. Nothing is kept where that is very
/// much.
pub(super) fn keep(
    shop: &Shop,
    step: &Step,
    ready: &Ready,
    outcome: &sandbox::Outcome,
    capture: &Path,
) -> Result<(), StepError> {
    let Some(CapturedOut::Dir(entries)) = outcome.captured.get(changes_at(step, ready)) else {
        forget(&shop.state, &step.name);
        return Ok(());
    };
    let store = shop.pantry.store();
    let tree = outs::changed(store, Tree::default(), entries, capture)?;
    let is_file = |entry: &&Entry| matches!(entry.node, sandbox::Node::File(_));
    let changed = entries.iter().filter(is_file).count();
    let paths = |node: &sandbox::Node| -> Vec<Vec<u8>> {
        let entries = entries.iter().filter(|entry| entry.node == *node);
        entries.map(|entry| entry.path.clone()).collect()
    };
    let (mut gone, renewed) = (paths(&sandbox::Node::Gone), paths(&sandbox::Node::NewDir));
    // Of a directory that was made anew nothing is left of what stood there before.
    let is_renewed = |path: &[u8]| {
        let rest = |dir: &Vec<u8>| path.strip_prefix(&**dir).map(|rest| rest.starts_with(b"/"));
        renewed.iter().any(|dir| rest(dir) == Some(true))
    };
    let inputs = ready.files().into_keys();
    let lost = inputs.filter(|path| is_renewed(path.as_bytes()) && tree.get(path).is_none());
    gone.extend(lost.map(String::into_bytes));
    let Blob { digest, size } = tree.root();
    let run = shop.run.clone();
    let left = Leftover { key: ready.key, run, tree: (digest, size), changed, gone };
    // A note that cannot be written costs a look, and is no reason to fail.
    let note = note(&shop.state, &step.name);
    let folder = note.parent().expect("it is in the folder of notes");
    if let Ok(text) = serde_json::to_vec(&left)
        && fs::create_dir_all(folder).is_ok()
    {
        let _ = fs::write(note, text);
    }
    Ok(())
}

/// Forgets what a step left.
pub(super) fn forget(state: &Path, step: &str) {
    let _ = fs::remove_file(note(state, step));
}

/// Returns what a step left when it last failed.
pub(crate) fn find(state: &Path, step: &str) -> Option<Leftover> {
    serde_json::from_slice(&fs::read(note(state, step)).ok()?).ok()
}

fn note(state: &Path, step: &str) -> PathBuf {
    state.join(FOLDER).join(format!("{}.json", Digest::of(step.as_bytes())))
}
