//! What a step keeps for its own next run, and the times its files bear for it. Knows what the last
//! run had; does not know what is kept, nor how it is used.
//!
//! Compilers that keep something look at times to see what was edited. All inputs of a step bear one
//! and the same time, so a step that keeps something finds those that differ from the last run's newer
//! than all that it finds kept, and the others with the time they had.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cache::{CacheError, FIXED_MTIME_SECS, Kept, KeptInputs, Store, Time};
use crate::digest::Digest;
use crate::plan::step::Step;
use crate::planted::{Bug, is_planted};
use crate::sandbox;

use super::ready::{Laid, Ready};

/// The time that inputs bear otherwise.
const FIXED: Time = Time { secs: FIXED_MTIME_SECS, nanos: 0 };

/// A step's kept folder, while the step runs.
pub(crate) struct Keeping<'a> {
    kept: Kept<'a>,
    /// The inputs that bear another time than all others, laid over them.
    dated: TempDir,
    inputs: KeptInputs,
}

/// Opens what `step` keeps; `None` if that is nothing, or somebody else has it.
///
/// # Errors
/// [`CacheError::Io`].
pub(crate) fn open<'a>(
    store: &'a Store,
    step: &Step,
    ready: &Ready,
    laid: &Laid,
) -> Result<Option<Keeping<'a>>, CacheError> {
    if step.keep.is_empty() {
        return Ok(None);
    }
    let Some(kept) = store.kept(ready.kept)? else { return Ok(None) };
    let failed = |source| CacheError::Io {
        doing: "lay out inputs in",
        path: store.scratch().to_owned(),
        source,
    };
    let dated = tempfile::tempdir_in(store.scratch()).map_err(failed)?;
    let inputs = dates(&kept, ready, now(dated.path()).map_err(failed)?);
    for (path, (_, time)) in inputs.iter().filter(|(_, (_, time))| *time != FIXED) {
        lay(path, *time, laid, dated.path()).map_err(failed)?;
    }
    Ok(Some(Keeping { kept, dated, inputs }))
}

impl Keeping<'_> {
    /// Returns whether the step finds something that an earlier run left.
    pub(crate) fn is_warm(&self) -> bool {
        self.kept.tree().is_some()
    }

    /// Adds it to what a sandbox is asked for.
    pub(crate) fn add_to(&self, spec: &mut sandbox::Spec, step: &Step) {
        spec.lowers.insert(0, self.dated.path().to_owned());
        let old = self.kept.tree();
        spec.lowers.extend(old.clone());
        spec.keep =
            Some(sandbox::Keep { paths: step.keep.clone(), old, new: self.kept.next_tree() });
    }

    /// Leaves what the sandbox has put together to the next run.
    ///
    /// # Errors
    /// [`CacheError::Io`]; the next run may find nothing then.
    pub(crate) fn save(self) -> Result<(), CacheError> {
        self.kept.replace(self.inputs)
    }
}

/// Returns the inputs of this run with the times they bear.
fn dates(kept: &Kept<'_>, ready: &Ready, now: Time) -> KeptInputs {
    let new = kept.last().map(|(_, newest)| {
        // Newer than all there is, and older than what the step will write.
        newest.later(1_000_000).max(now.min(newest.later(999_000_000)))
    });
    let time_of = |path: &str, digest| match (kept.last(), new) {
        (Some((last, _)), Some(new)) => match last.get(path) {
            Some((known, time)) if *known == digest => *time,
            Some(_) | None if is_planted(Bug::OldClocks) => FIXED,
            Some(_) | None => new,
        },
        _ => FIXED,
    };
    let dated = |(path, digest): (String, Digest)| {
        let time = time_of(&path, digest);
        (path, (digest, time))
    };
    ready.files().into_iter().map(dated).collect()
}

/// Returns the time on the file system of a folder that was just made.
fn now(folder: &Path) -> io::Result<Time> {
    let found = fs::metadata(folder)?;
    Ok(Time { secs: found.mtime(), nanos: found.mtime_nsec() })
}

/// Copies an input to where it lies over itself, with the time it is to bear.
fn lay(path: &str, time: Time, laid: &Laid, dated: &Path) -> io::Result<()> {
    let places = laid.layers.iter().map(|folder| folder.path().join(path));
    let Some(from) = places.into_iter().find(|place: &PathBuf| place.is_file()) else {
        return Ok(());
    };
    let to = dated.join(path);
    fs::create_dir_all(to.parent().expect("it is below the folder"))?;
    fs::copy(&from, &to)?;
    let is_executable = from.metadata()?.mode() & 0o100 != 0;
    fs::set_permissions(&to, Permissions::from_mode(if is_executable { 0o755 } else { 0o644 }))?;
    let file = File::options().write(true).open(&to)?;
    Ok(rustix::fs::futimens(&file, &time.timestamps())?)
}
