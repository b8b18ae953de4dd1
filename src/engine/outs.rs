//! Outs: what a step made, filed in the store. Knows captured files and trees; does not know the
//! sandbox that captured them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use indexmap::IndexMap;

use crate::cache::{self, Blob, Node, Store, Tree};
use crate::event::{Cause, Failure};
use crate::plan::artifact::{Out, OutKind};
use crate::plan::step::Step;
use crate::planted;
use crate::sandbox::{self, CapturedFile, CapturedOut};

use super::error::StepError;

/// How many paths a message shows of what stands where an out is missing.
const MAX_SHOWN: usize = 3;

/// The outs that a step made, by name, in the plan's order.
pub(crate) type Made = IndexMap<String, Node>;

/// Files all that was captured of the declared outs. `root` is what the step had as its root, on which
/// an out of kind [`OutKind::Image`] is based.
///
/// # Errors
/// What the store says.
pub(crate) fn keep(
    store: &Store,
    step: &Step,
    root: Option<&Tree>,
    captured: &[CapturedOut],
    capture: &Path,
) -> Result<Made, StepError> {
    let mut made = Made::new();
    for (out, captured) in step.outs.iter().zip(captured) {
        let node = match captured {
            CapturedOut::Missing { .. } => continue,
            CapturedOut::File(file) => adopt(store, file, capture)?,
            CapturedOut::Dir(entries) => {
                let base = root.filter(|_| out.kind == OutKind::Image).cloned();
                let base = base.unwrap_or_default();
                Node::Directory(changed(store, base, entries, capture)?)
            }
        };
        made.insert(out.name.clone(), node);
    }
    Ok(made)
}

/// Returns a tree, and files it, with these entries in place of what was there.
pub(super) fn changed(
    store: &Store,
    mut tree: Tree,
    entries: &[sandbox::Entry],
    capture: &Path,
) -> Result<Tree, StepError> {
    for entry in entries {
        let path = named(&entry.path);
        let node = match &entry.node {
            sandbox::Node::File(file) => adopt(store, file, capture)?,
            sandbox::Node::Link { target } => Node::Link { target: target.as_slice().into() },
            sandbox::Node::Dir if matches!(tree.get(&*path), Some(Node::Directory(_))) => continue,
            sandbox::Node::Dir | sandbox::Node::NewDir => Node::Directory(Tree::default()),
            sandbox::Node::Gone => {
                tree.remove(&*path);
                continue;
            }
        };
        tree.remove(&*path);
        tree.insert(path, node)?;
    }
    store.put_tree(&tree)?;
    Ok(tree)
}

/// Returns a name as it is: its bytes need not be text.
fn named(path: &[u8]) -> Cow<'_, OsStr> {
    if planted::is_planted(planted::Bug::LossyNames) {
        return Cow::Owned(String::from_utf8_lossy(path).into_owned().into());
    }
    Cow::Borrowed(OsStr::from_bytes(path))
}

fn adopt(store: &Store, file: &CapturedFile, capture: &Path) -> Result<Node, StepError> {
    let blob = Blob { digest: file.digest, size: file.size };
    store.adopt(&file.path_in(capture), blob, file.executable)?;
    Ok(Node::File { blob, executable: file.executable })
}

/// Returns the outs in the form of records.
pub(crate) fn recorded(made: &Made) -> BTreeMap<String, cache::Out> {
    let out = |node: &Node| match node {
        Node::File { blob, executable } => {
            cache::Out::File { blob: *blob, executable: *executable }
        }
        Node::Directory(tree) => cache::Out::Tree { root: tree.root() },
        Node::Link { .. } => unreachable!("an out is a file or a directory"),
    };
    made.iter().map(|(name, node)| (name.clone(), out(node))).collect()
}

/// Returns the outs of an earlier run in the plan's order, if they are all that the step declares
/// now.
pub(crate) fn of_hit(step: &Step, mut outs: BTreeMap<String, Node>) -> Option<Made> {
    if !is_complete(step, &outs) {
        return None;
    }
    let made = |out: &Out| Some((out.name.clone(), outs.remove(&out.name)?));
    Some(step.outs.iter().filter_map(made).collect())
}

fn is_complete(step: &Step, made: &BTreeMap<String, Node>) -> bool {
    step.outs.iter().all(|out| match (made.get(&out.name), out.kind) {
        (None, _) => out.is_optional,
        (Some(node), OutKind::Dir | OutKind::Image) => matches!(node, Node::Directory(_)),
        (Some(node), _) => matches!(node, Node::File { .. }),
    })
}

/// Returns the failure of a step that passed and did not make all it declares.
pub(crate) fn missing(step: &Step, made: &Made, captured: &[CapturedOut]) -> Option<Failure> {
    let is_missing =
        |(out, _): &(&Out, &CapturedOut)| !out.is_optional && !made.contains_key(&out.name);
    let missing: Vec<_> = step.outs.iter().zip(captured).filter(is_missing).collect();
    let (first, captured) = missing.first()?;
    let what = if first.kind == OutKind::Dir { "directory" } else { "file" };
    let others = match missing.len() - 1 {
        0 => String::new(),
        1 => "; another out is missing, too".to_owned(),
        count => format!("; {count} other outs are missing, too"),
    };
    let message = format!(
        "the step passed and did not make its out `{}`: there is no {what} `{}`{}{others}",
        first.name,
        first.path,
        instead(&first.path, captured)
    );
    let help = match first.is_placed {
        true => format!("write the {what} to `{{{{out.{}}}}}`", first.name),
        false => format!("let the script make `{}`, or correct the path of the out", first.path),
    };
    Some(Failure { help: Some(help), ..Failure::new(Cause::Out, message) })
}

/// Says what stands where an out is missing, the most similar names first.
fn instead(path: &str, captured: &CapturedOut) -> String {
    let CapturedOut::Missing { beside } = captured else { return String::new() };
    let mut found: Vec<_> = beside.iter().map(|path| String::from_utf8_lossy(path)).collect();
    found.sort_by_key(|found| std::cmp::Reverse(likeness(path, found)));
    found.truncate(MAX_SHOWN);
    let found: Vec<_> = found.iter().map(|path| format!("`{path}`")).collect();
    match &found[..] {
        [] => String::new(),
        [one] => format!("; there is {one}"),
        [first @ .., last] => format!("; there are {} and {last}", first.join(", ")),
    }
}

/// How much two paths have in common: letters regardless of case, at either end.
fn likeness(one: &str, other: &str) -> usize {
    let (one, other) = (one.to_lowercase(), other.to_lowercase());
    let common = |one: &mut dyn Iterator<Item = char>, other: &mut dyn Iterator<Item = char>| {
        one.zip(other).take_while(|(one, other)| one == other).count()
    };
    common(&mut one.chars(), &mut other.chars())
        + common(&mut one.chars().rev(), &mut other.chars().rev())
}
