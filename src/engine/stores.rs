//! The store of a run, and the temporary one that takes its place when it fails: a cache is no
//! reason to fail a step. Knows which faults are a store's own; does not know steps.
//!
//! A temporary store begins empty. To a step it is as if the cache had lost everything: files of
//! the project are taken in again, and what other steps made is made again.

use std::io;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, OnceLock};

use super::error::StepError;
use super::locked;
use crate::cache::{CacheError, Store};
use crate::event::Warning;
use crate::sandbox::SandboxError;

/// The stores of one run. Shared by threads.
pub(crate) struct Stores<'a> {
    main: &'a Store,
    spare: OnceLock<Store>,
    /// Where the temporary store goes.
    parent: PathBuf,
    /// Held by the thread that opens it.
    opening: Mutex<()>,
}

impl<'a> Stores<'a> {
    /// Returns the stores of a run that uses `main` as long as it can, and then one below `parent`.
    pub(crate) fn new(main: &'a Store, parent: &Path) -> Self {
        Self { main, spare: OnceLock::new(), parent: parent.to_owned(), opening: Mutex::default() }
    }

    /// Returns the store that is in use now.
    pub(crate) fn now(&self) -> &Store {
        self.spare.get().unwrap_or(self.main)
    }

    /// Returns whether the temporary store is in use.
    pub(crate) fn have_moved(&self) -> bool {
        self.spare.get().is_some()
    }

    /// Returns whether what failed with `error` while `used` was in use is to be tried again, since
    /// that was the fault of the store and another one is in use now. Warns when it opens that.
    pub(crate) fn leave(
        &self,
        used: &Store,
        error: &StepError,
        warn: impl FnOnce(Warning),
    ) -> bool {
        if used.is_private() || !is_fault_of(used, error) {
            return false;
        }
        let _one = locked(&self.opening);
        if !ptr::eq(used, self.now()) {
            return true;
        }
        let Ok(spare) = Store::open_private(&self.parent) else { return false };
        let _ = self.spare.set(spare);
        let message = format!(
            "the store failed: {}; the rest of this run keeps its results in a temporary store",
            error.text()
        );
        let help = Some(
            "`kiln doctor` says how much room there is; `kiln cache gc` makes some".to_owned(),
        );
        warn(Warning { message, help, step: None });
        true
    }
}

fn is_fault_of(store: &Store, error: &StepError) -> bool {
    match error {
        StepError::Cache(CacheError::Io { path, .. })
        | StepError::Sandbox(SandboxError::Prepare { path, .. }) => path.starts_with(store.path()),
        // What is captured goes to the store's file system.
        StepError::Sandbox(SandboxError::Capture { source, .. }) => matches!(
            source.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
        ),
        _ => false,
    }
}
