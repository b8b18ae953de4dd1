//! The store as people keep it: what is in it, whether it is whole, and how it is made smaller.
//! Knows where it is; does not know how anything is said.

use std::path::Path;

use crate::cache::{CacheError, Store};

use super::RunError;

pub use crate::cache::{Checkup, Collected, Stats};

/// Returns what is in the store in that folder.
///
/// # Errors
/// If the folder is no store of this user's, or cannot be read.
pub fn stats(folder: &Path) -> Result<Stats, RunError> {
    open(folder)?.stats().map_err(fault)
}

/// Reads all that is in the store, and sets aside what is damaged: it will be made again.
///
/// # Errors
/// If the folder is no store of this user's, or cannot be read.
pub fn verify(folder: &Path) -> Result<Checkup, RunError> {
    open(folder)?.verify().map_err(fault)
}

/// Removes what was least recently used until the store takes at most `max_bytes`, but nothing that
/// a run uses now. Returns `None` if another Kiln is at it.
///
/// # Errors
/// If the folder is no store of this user's, or cannot be changed.
pub fn collect(folder: &Path, max_bytes: u64) -> Result<Option<Collected>, RunError> {
    open(folder)?.gc(max_bytes).map_err(fault)
}

pub(super) fn open(folder: &Path) -> Result<Store, RunError> {
    Store::open(folder).map_err(fault)
}

pub(super) fn fault(error: CacheError) -> RunError {
    RunError::Store(with_source(&error))
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
