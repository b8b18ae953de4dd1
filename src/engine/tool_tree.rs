//! Tool trees: whole directories of the machine taken into the store. Knows walking and ingesting;
//! does not know what the tools are for.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::cache::{CacheError, Node, Store, Tree};
use crate::digest::{Digest, Hasher};
use crate::snapshot::stat::Stat;

use super::error::StepError;

/// Takes all of `folder` into the store.
pub(crate) fn take(store: &Store, folder: &Path) -> Result<Tree, StepError> {
    let paths = walk(folder)?;
    let nodes: Vec<_> = paths.par_iter().map(|path| node(store, &folder.join(path))).collect();
    let mut tree = Tree::default();
    for (path, node) in paths.into_iter().zip(nodes) {
        tree.insert(path, node?)?;
    }
    Ok(tree)
}

/// Returns what names the state of all that is in `folder`, by its stat data alone, and the stat data of
/// what was changed last.
pub(crate) fn state(folder: &Path) -> Result<(Digest, Stat), StepError> {
    let failed =
        |path: &Path, source| StepError::Source { path: path.display().to_string(), source };
    let mut last = Stat::of(folder).map_err(|source| failed(folder, source))?;
    let mut hasher = Hasher::tagged("kiln folder 1");
    for path in walk(folder)? {
        let place = folder.join(&path);
        let stat = Stat::of(&place).map_err(|source| failed(&place, source))?;
        hasher.field(path.as_os_str().as_bytes());
        hasher.field(format!("{stat:?}").as_bytes());
        if stat.changed() > last.changed() {
            last = stat;
        }
    }
    Ok((hasher.finish(), last))
}

/// Returns the paths of all that is in `folder`, relative to it, but for devices, pipes and sockets: a
/// step has its own, as it has on the root of an archive.
fn walk(folder: &Path) -> Result<Vec<PathBuf>, StepError> {
    let mut paths = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        let place = folder.join(&inner);
        let failed = |source| StepError::Source { path: place.display().to_string(), source };
        for entry in std::fs::read_dir(&place).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = inner.join(entry.file_name());
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                open.push(path.clone());
            }
            if kind.is_dir() || kind.is_file() || kind.is_symlink() {
                paths.push(path);
            }
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn node(store: &Store, path: &Path) -> Result<Node, StepError> {
    let failed = |source| StepError::Source { path: path.display().to_string(), source };
    let kind = path.symlink_metadata().map_err(failed)?.file_type();
    if kind.is_symlink() {
        let target = path.read_link().map_err(failed)?;
        return Ok(Node::Link { target: target.as_os_str().as_bytes().into() });
    }
    if kind.is_dir() {
        return Ok(Node::Directory(Tree::default()));
    }
    match store.ingest(path) {
        Ok((blob, executable)) => Ok(Node::File { blob, executable }),
        Err(CacheError::NotAFile { path }) => {
            Err(StepError::Odd { path: path.display().to_string() })
        }
        Err(error) => Err(error.into()),
    }
}
