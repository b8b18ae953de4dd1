//! The floors: the least work that finds out whether there is anything to do. Knows files; does not
//! know how any tool works.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Times;
use crate::case::{Case, Phase};
use crate::tool::{Tool, time};

/// Adds, for a folder that was built: a look at the times of all sources and of all that was made,
/// as the floor of a null build; and with it a look into each source, as that of a touched one. Two
/// threads, as the tools have.
pub(crate) fn measure(case: &Case, folder: &Path, times: &mut Times) {
    let mut paths: Vec<_> = case.sources().map(|path| folder.join(path)).collect();
    let made = fs::read_dir(folder.join("made")).into_iter().flatten().flatten();
    paths.extend(made.map(|entry| entry.path()));
    let halves = paths.split_at(paths.len() / 2);
    let each = |look: &(dyn Fn(&Path) + Sync)| {
        std::thread::scope(|scope| {
            scope.spawn(|| halves.0.iter().for_each(|path| look(path)));
            halves.1.iter().for_each(|path| look(path));
        });
    };
    let stat = |path: &Path| {
        std::hint::black_box(fs::metadata(path).map(|file| file.mtime_nsec()).ok());
    };
    let read = |path: &Path| {
        stat(path);
        std::hint::black_box(fs::read(path).map(Sha256::digest).ok());
    };
    each(&stat);
    let mut add = |phase: Phase, look: &(dyn Fn(&Path) + Sync)| {
        if case.phases.contains(&phase) {
            times.entry((phase, Tool::Exec)).or_default().push(time(|| each(look)));
        }
    };
    add(Phase::Null, &stat);
    add(Phase::Touched, &read);
}
