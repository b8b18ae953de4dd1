//! Trees: directories as data, each named by the digest of its listing. Knows names, files, links
//! and how two trees become one; does not know the disk.
//!
//! A tree is shared, not copied: a clone costs a counter, a change copies the directories on the
//! way to it, and a listing is encoded once however many trees hold it.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::reapi::{Entry, decode_directory, encode_directory};
use super::{Blob, CacheError, Damage, Store, locked};

/// The most names in one path of a tree.
pub(crate) const MAX_DEPTH: usize = 1000;

/// The most entries in a tree that is read from a store: more than any disk we know serves well,
/// and few enough to count before the first is looked at.
pub(crate) const MAX_ENTRIES: u64 = 10_000_000;

/// The most bytes in the listing of one directory that is read from a store (about two million
/// files).
pub(crate) const MAX_LISTING_BYTES: u64 = 256 << 20;

/// What a tree holds under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A regular file.
    File {
        /// Its bytes.
        blob: Blob,
        /// Whether it may be run: its mode is then 0755, else 0644.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// The path it holds, as it is; not empty, without NUL bytes.
        target: Arc<[u8]>,
    },
    /// A directory, maybe an empty one.
    Directory(Tree),
}

/// A directory with all below it. Names are bytes, as Linux has them, and are kept sorted.
#[derive(Clone, Default)]
pub(crate) struct Tree(Arc<Listing>);

#[derive(Default)]
struct Listing {
    nodes: BTreeMap<Arc<[u8]>, Node>,
    /// Filled when first asked for; a changed listing has a new one.
    summary: OnceLock<Summary>,
}

impl Clone for Listing {
    fn clone(&self) -> Self {
        Self { nodes: self.nodes.clone(), summary: OnceLock::new() }
    }
}

#[derive(Clone, Copy)]
struct Summary {
    root: Blob,
    /// How many names there are, at all depths.
    entries: u64,
}

/// Why a node cannot be in a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TreeError {
    /// Two sources have something different at the same place.
    #[error("two inputs differ at `{}`", path.display())]
    Conflict {
        /// The place.
        path: PathBuf,
    },
    /// One source has a file or a link where the other has a directory.
    #[error("`{}` is a directory in one input and none in the other", path.display())]
    NotADirectory {
        /// The place.
        path: PathBuf,
    },
    /// The path is absolute, has `..`, a NUL byte or a name of more than 255 bytes.
    #[error("expected a relative path of plain names, found `{}`", path.display())]
    NotAPath {
        /// The path.
        path: PathBuf,
    },
    /// The path has more than [`MAX_DEPTH`] names.
    #[error("a path has more than {MAX_DEPTH} names: `{}`", path.display())]
    TooDeep {
        /// The path.
        path: PathBuf,
    },
}

impl Tree {
    /// Puts `node` at `path`, with the directories on the way. A directory is merged into the one
    /// that is there; putting what is there already changes nothing.
    ///
    /// # Errors
    /// A [`TreeError`] naming the path; the tree may then hold a part of `node`.
    pub(crate) fn insert(&mut self, path: impl AsRef<Path>, node: Node) -> Result<(), TreeError> {
        let path = path.as_ref();
        let names = names(path)?;
        let Some((last, parents)) = names.split_last() else {
            return match node {
                Node::Directory(tree) => merge(self, &tree, path),
                _ => Err(TreeError::NotADirectory { path: path.to_owned() }),
            };
        };
        let mut tree = self;
        for (depth, name) in parents.iter().enumerate() {
            let inner = tree.nodes_mut().entry((*name).into());
            match inner.or_insert_with(|| Node::Directory(Tree::default())) {
                Node::Directory(inner) => tree = inner,
                _ => return Err(TreeError::NotADirectory { path: join(&names[..=depth]) }),
            }
        }
        match tree.nodes_mut().entry((*last).into()) {
            btree_map::Entry::Vacant(place) => {
                place.insert(node);
                Ok(())
            }
            btree_map::Entry::Occupied(mut place) => meet(place.get_mut(), &node, path),
        }
    }

    /// Takes away what is at `path`, with all below it. Returns it; `None` if there was nothing.
    pub(crate) fn remove(&mut self, path: impl AsRef<Path>) -> Option<Node> {
        self.get(path.as_ref())?;
        let names = names(path.as_ref()).ok()?;
        let (last, parents) = names.split_last()?;
        let mut tree = self;
        for name in parents {
            match tree.nodes_mut().get_mut(*name)? {
                Node::Directory(inner) => tree = inner,
                _ => return None,
            }
        }
        tree.nodes_mut().remove(*last)
    }

    /// Merges all of `other` into the directory at `path`, which is made if need be; the empty
    /// path is the root.
    ///
    /// # Errors
    /// A [`TreeError`] naming the path; the tree may then hold a part of `other`.
    pub(crate) fn merge(&mut self, path: impl AsRef<Path>, other: &Tree) -> Result<(), TreeError> {
        self.insert(path, Node::Directory(other.clone()))
    }

    /// Returns what is at `path`; `None` also for the root, which is no node.
    pub(crate) fn get(&self, path: impl AsRef<Path>) -> Option<&Node> {
        let names = names(path.as_ref()).ok()?;
        let (last, parents) = names.split_last()?;
        let mut tree = self;
        for name in parents {
            match tree.0.nodes.get(*name)? {
                Node::Directory(inner) => tree = inner,
                _ => return None,
            }
        }
        tree.0.nodes.get(*last)
    }

    /// Returns the names in this directory with what they hold, sorted by name.
    pub(crate) fn nodes(&self) -> impl ExactSizeIterator<Item = (&[u8], &Node)> {
        self.0.nodes.iter().map(|(name, node)| (&**name, node))
    }

    /// Returns all nodes at all depths with their paths: each directory before what is in it,
    /// sorted by name within it.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk { path: PathBuf::new(), open: vec![self.0.nodes.iter()] }
    }

    /// Returns whether there is nothing in the directory.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.nodes.is_empty()
    }

    /// Returns the number of names at all depths.
    pub(crate) fn entries(&self) -> u64 {
        self.summary().entries
    }

    /// Returns the name of the root's listing: the digest that stands for the whole tree.
    pub(crate) fn root(&self) -> Blob {
        self.summary().root
    }

    /// Returns the listing of the root as REAPI's `Directory` message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_directory(&self.0.nodes)
    }

    fn summary(&self) -> Summary {
        *self.0.summary.get_or_init(|| {
            let below = |node: &Node| match node {
                Node::Directory(tree) => tree.entries().saturating_add(1),
                Node::File { .. } | Node::Link { .. } => 1,
            };
            let entries = self.0.nodes.values().map(below).fold(0, u64::saturating_add);
            Summary { root: Blob::of(&self.encode()), entries }
        })
    }

    /// Returns the entries to change: a copy of them if another tree shares them.
    fn nodes_mut(&mut self) -> &mut BTreeMap<Arc<[u8]>, Node> {
        let listing = Arc::make_mut(&mut self.0);
        listing.summary = OnceLock::new();
        &mut listing.nodes
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.root() == other.root()
    }
}

impl Eq for Tree {}

impl std::fmt::Debug for Tree {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_map().entries(self.walk()).finish()
    }
}

/// The walk over a tree, see [`Tree::walk`].
pub(crate) struct Walk<'a> {
    path: PathBuf,
    /// The directories from the root to the current one, each with what is still to come.
    open: Vec<btree_map::Iter<'a, Arc<[u8]>, Node>>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (PathBuf, &'a Node);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((name, node)) = self.open.last_mut()?.next() else {
                self.open.pop();
                self.path.pop();
                continue;
            };
            let path = self.path.join(OsStr::from_bytes(name));
            if let Node::Directory(tree) = node {
                self.open.push(tree.0.nodes.iter());
                self.path.clone_from(&path);
            }
            return Some((path, node));
        }
    }
}

impl Store {
    /// Files the listings of `tree`, so that [`Store::tree`] can read it again. The files in it
    /// are not looked at.
    ///
    /// # Errors
    /// [`CacheError::Io`].
    pub(crate) fn put_tree(&self, tree: &Tree) -> Result<Blob, CacheError> {
        let root = tree.root();
        if locked(&self.filed_trees).contains(&root.digest) && self.has(root) {
            return Ok(root);
        }
        for (_, node) in tree.nodes() {
            if let Node::Directory(inner) = node {
                self.put_tree(inner)?;
            }
        }
        self.put(&tree.encode())?;
        locked(&self.filed_trees).insert(root.digest);
        Ok(root)
    }

    /// Returns the tree whose root has this listing.
    ///
    /// # Errors
    /// [`CacheError::Missing`] when a listing is gone or is none; [`CacheError::Io`].
    pub(crate) fn tree(&self, root: Blob) -> Result<Tree, CacheError> {
        self.read_tree(root, &mut HashMap::new(), 0)
    }

    fn read_tree(
        &self,
        root: Blob,
        known: &mut HashMap<Blob, Tree>,
        depth: usize,
    ) -> Result<Tree, CacheError> {
        if let Some(tree) = known.get(&root) {
            return Ok(tree.clone());
        }
        if root.size > MAX_LISTING_BYTES || depth > MAX_DEPTH {
            return self.refuse_listing(root);
        }
        let Ok(entries) = decode_directory(&self.read(root)?) else {
            return self.refuse_listing(root);
        };
        let mut nodes = BTreeMap::new();
        for (name, entry) in entries {
            let node = match entry {
                Entry::File { blob, executable } => Node::File { blob, executable },
                Entry::Link { target } => Node::Link { target },
                Entry::Directory(inner) => {
                    Node::Directory(self.read_tree(inner, known, depth + 1)?)
                }
            };
            nodes.insert(name, node);
        }
        let tree = Tree(Arc::new(Listing { nodes, summary: OnceLock::new() }));
        // A listing in another form than ours would be a tree with two names.
        if tree.root() != root || tree.entries() > MAX_ENTRIES {
            return self.refuse_listing(root);
        }
        known.insert(root, tree.clone());
        Ok(tree)
    }

    fn refuse_listing(&self, root: Blob) -> Result<Tree, CacheError> {
        for executable in [false, true] {
            self.quarantine(&self.blob_path(root.digest, executable), Damage::Malformed)?;
        }
        Err(CacheError::Missing { digest: root.digest })
    }
}

/// Merges `from` into `into`, which lies at `path`.
fn merge(into: &mut Tree, from: &Tree, path: &Path) -> Result<(), TreeError> {
    if Arc::ptr_eq(&into.0, &from.0) {
        return Ok(());
    }
    if into.is_empty() {
        into.clone_from(from);
        return Ok(());
    }
    let nodes = into.nodes_mut();
    for (name, node) in &from.0.nodes {
        match nodes.get_mut(name) {
            Some(there) => meet(there, node, &path.join(OsStr::from_bytes(name)))?,
            None => {
                nodes.insert(name.clone(), node.clone());
            }
        }
    }
    Ok(())
}

/// Makes one of two nodes that want to be at `path`.
fn meet(there: &mut Node, new: &Node, path: &Path) -> Result<(), TreeError> {
    match (there, new) {
        (Node::Directory(there), Node::Directory(new)) => merge(there, new, path),
        (Node::Directory(_), _) | (_, Node::Directory(_)) => {
            Err(TreeError::NotADirectory { path: path.to_owned() })
        }
        (there, new) if there == new => Ok(()),
        _ => Err(TreeError::Conflict { path: path.to_owned() }),
    }
}

/// Returns the names that make up a relative path.
fn names(path: &Path) -> Result<Vec<&[u8]>, TreeError> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if is_name(name.as_bytes()) => names.push(name.as_bytes()),
            Component::CurDir => {}
            _ => return Err(TreeError::NotAPath { path: path.to_owned() }),
        }
    }
    match names.len() {
        0..=MAX_DEPTH => Ok(names),
        _ => Err(TreeError::TooDeep { path: path.to_owned() }),
    }
}

fn join(names: &[&[u8]]) -> PathBuf {
    names.iter().map(|name| OsStr::from_bytes(name)).collect()
}

/// Returns whether these bytes can name a file on Linux.
pub(super) fn is_name(name: &[u8]) -> bool {
    (1..=255).contains(&name.len())
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::{Strategy, any, prop, proptest};

    use super::*;
    use crate::cache::Writer;

    impl Tree {
        /// Returns the directory at `path`; the empty path is the root.
        fn subtree(&self, path: impl AsRef<Path>) -> Option<Tree> {
            let path = path.as_ref();
            match self.get(path) {
                Some(Node::Directory(tree)) => Some(tree.clone()),
                Some(_) => None,
                None => names(path).is_ok_and(|names| names.is_empty()).then(|| self.clone()),
            }
        }
    }

    pub(in crate::cache) fn file(text: &str) -> Node {
        Node::File { blob: Blob::of(text.as_bytes()), executable: false }
    }

    pub(in crate::cache) fn link(target: &str) -> Node {
        Node::Link { target: target.as_bytes().into() }
    }

    fn nodes() -> impl Strategy<Value = Node> {
        (0..4_u8, any::<bool>()).prop_map(|(text, executable)| match text {
            3 => link("else/where"),
            _ => Node::File { blob: Blob::of(&[text]), executable },
        })
    }

    /// Trees of a few files at paths that match the pattern; what conflicts is left out.
    pub(in crate::cache) fn trees(names: &'static str) -> impl Strategy<Value = Tree> {
        let path = prop::collection::vec(names, 1..4).prop_map(|names| names.join("/"));
        prop::collection::vec((path, nodes()), 0..20).prop_map(|nodes| {
            let mut tree = Tree::default();
            for (path, node) in nodes {
                let _ = tree.insert(path, node);
            }
            tree
        })
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    proptest! {
        #[test]
        fn listings_come_back_as_they_were_encoded(tree in trees("[a-c\u{e9}\n]{1,2}")) {
            let entries = decode_directory(&tree.encode()).unwrap();
            assert_eq!(entries.len(), tree.nodes().len());
            for (name, node) in tree.nodes() {
                let entry = match node.clone() {
                    Node::File { blob, executable } => Entry::File { blob, executable },
                    Node::Link { target } => Entry::Link { target },
                    Node::Directory(inner) => Entry::Directory(inner.root()),
                };
                assert_eq!(entries[name], entry);
            }
        }

        #[test]
        fn a_merge_is_the_same_whichever_comes_first(
            one in trees("[ab]{1}"), other in trees("[ab]{1}"),
        ) {
            let (mut forth, mut back) = (one.clone(), other.clone());
            let (to, fro) = (forth.merge("", &other), back.merge("", &one));
            assert_eq!(to.is_ok(), fro.is_ok());
            if to.is_ok() {
                assert_eq!(forth.root(), back.root());
                let mut by_hand = one.clone();
                for (path, node) in other.walk() {
                    by_hand.insert(&path, node.clone()).unwrap();
                    assert!(forth.get(&path).is_some());
                }
                assert_eq!(by_hand, forth);
            }
        }

        #[test]
        fn the_order_of_inserts_does_not_matter(tree in trees("[a-d]{1}")) {
            let mut nodes: Vec<_> = tree.walk().collect();
            nodes.reverse();
            let mut again = Tree::default();
            for (path, node) in nodes {
                again.insert(path, node.clone()).unwrap();
            }
            assert_eq!(again.root(), tree.root());
            assert_eq!(again.entries(), tree.walk().count() as u64);
        }
    }

    #[test]
    fn what_is_removed_is_gone_with_all_below_it() {
        let file = Node::File { blob: Blob::of(b"x"), executable: false };
        let mut tree = Tree::default();
        for path in ["a/b/c", "a/d"] {
            tree.insert(path, file.clone()).unwrap();
        }
        let before = tree.clone();
        assert_eq!(tree.remove("a/x"), None);
        assert_eq!(tree.remove("a/d/x"), None);
        assert_eq!(tree, before);
        assert!(matches!(tree.remove("a/b"), Some(Node::Directory(_))));
        assert!(tree.get("a/b").is_none() && tree.get("a/d").is_some());
        assert!(before.get("a/b/c").is_some(), "a tree is a value");
    }

    #[test]
    fn different_content_at_one_place_is_a_conflict() {
        let mut tree = Tree::default();
        tree.insert("a/b", file("one")).unwrap();
        tree.insert("a/./b", file("one")).unwrap();
        let path = || PathBuf::from("a/b");
        for node in [file("two"), link("one")] {
            assert_eq!(tree.insert("a/b", node), Err(TreeError::Conflict { path: path() }));
        }
        let executable = Node::File { blob: Blob::of(b"one"), executable: true };
        assert_eq!(tree.insert("a/b", executable), Err(TreeError::Conflict { path: path() }));
        let below = TreeError::NotADirectory { path: path() };
        assert_eq!(tree.insert("a/b/c", file("")), Err(below.clone()));
        assert_eq!(tree.insert("a/b", Node::Directory(Tree::default())), Err(below));
        let over = TreeError::NotADirectory { path: "a".into() };
        assert_eq!(tree.insert("a", file("")), Err(over));
        assert_eq!(tree.entries(), 2);
    }

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        let long = "n".repeat(256);
        for path in ["/a", "../a", "a/../b", "a\0", &long] {
            let refused = Tree::default().insert(path, file(""));
            assert_eq!(refused, Err(TreeError::NotAPath { path: path.into() }));
        }
        let deep = "d/".repeat(MAX_DEPTH + 1);
        assert_eq!(
            Tree::default().insert(&deep, file("")),
            Err(TreeError::TooDeep { path: deep.into() })
        );
        Tree::default().insert("d/".repeat(MAX_DEPTH), file("")).unwrap();
    }

    #[test]
    fn a_change_to_a_clone_leaves_the_original() {
        let mut tree = Tree::default();
        tree.insert("a/b", file("1")).unwrap();
        tree.insert("c/d", file("2")).unwrap();
        let before = tree.root();
        let mut clone = tree.clone();
        clone.insert("a/new", file("3")).unwrap();
        assert_eq!(tree.root(), before);
        assert_ne!(clone.root(), before);
        let shared = |tree: &Tree| Arc::as_ptr(&tree.subtree("c").unwrap().0);
        assert_eq!(shared(&tree), shared(&clone), "what did not change is shared");
        assert_eq!(tree.subtree(""), Some(tree.clone()));
        assert_eq!(tree.subtree("a/b"), None);
    }

    #[test]
    fn odd_names_come_back_byte_for_byte() {
        let (_directory, store) = store();
        let mut tree = Tree::default();
        let long = [b'x'; 255];
        for name in [&b"new\nline"[..], b"\xff\xfe not utf-8", &long, b" ", b"-rf", b"\\"] {
            tree.insert(Path::new("d").join(OsStr::from_bytes(name)), file("x")).unwrap();
            tree.insert(OsStr::from_bytes(name), Node::Link { target: name.into() }).unwrap();
        }
        let root = store.put_tree(&tree).unwrap();
        let again = store.tree(root).unwrap();
        assert!(again.walk().eq(tree.walk()));
    }

    #[test]
    fn a_hundred_thousand_files_are_one_walk() {
        let mut tree = Tree::default();
        for number in (0..100_000).rev() {
            tree.insert(format!("flat/{number}"), file("")).unwrap();
        }
        let mut steps: Vec<Tree> = Vec::new();
        for step in 0..1000 {
            let mut inputs = Tree::default();
            inputs.merge("build", &tree).unwrap();
            inputs.insert(format!("build/.kiln/in/{step}"), file("in")).unwrap();
            inputs.root();
            steps.push(inputs);
        }
        let flat = |tree: &Tree| Arc::as_ptr(&tree.subtree("build/flat").unwrap().0);
        let first = flat(&steps[0]);
        assert!(steps.iter().all(|step| flat(step) == first), "one listing for all steps");
        assert_eq!(steps[0].entries(), 100_005);
        assert_eq!(steps[0].walk().count(), 100_005);
    }

    #[test]
    fn a_blob_that_is_no_listing_is_a_miss() {
        let (_directory, store) = store();
        let mut unsorted = Writer::new();
        for name in [b"b", b"a"] {
            unsorted.field_message(3, |link| {
                link.field_bytes(1, name);
                link.field_bytes(2, b"target");
            });
        }
        for bytes in [&b"no listing"[..], &unsorted.finish(), b"\x22\x01x"] {
            let blob = store.put(bytes).unwrap();
            assert!(store.tree(blob).unwrap_err().is_miss(), "{bytes:?}");
            assert_eq!(store.take_warnings().len(), 1);
        }
    }

    #[test]
    fn a_tree_that_unfolds_to_too_many_entries_is_refused() {
        let (_directory, store) = store();
        let mut tree = Tree::default();
        for _ in 0..60 {
            let mut outer = Tree::default();
            outer.insert("a", Node::Directory(tree.clone())).unwrap();
            outer.insert("b", Node::Directory(tree)).unwrap();
            tree = outer;
        }
        let root = store.put_tree(&tree).unwrap();
        assert!(store.tree(root).unwrap_err().is_miss());
    }
}
