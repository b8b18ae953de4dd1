//! What disks, other processes and steps do to a run. Each row is shown twice: the real binary
//! holds it, and a binary with a bug planted for it does not, so the test can see the fault.
//!
//! A claim is a function that asserts on a [`Subject`]. The bugs are those of `src/planted.rs`;
//! `tests/run` builds the binary that has them. The numbers are the rows of the fault catalogue.

mod calls;
mod captured;
mod clocks;
mod crowds;
mod damage;
mod ends;
mod escapes;
mod floods;
mod keep;
mod kills;
mod large;
mod limits;
mod names;
mod network;
mod output;
mod power;
mod races;
mod same;
mod secrets;
mod stores;
mod terminal;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kiln::{Kiln, files_below, repository, skipped, tell};

/// A binary that is put to the test, maybe with a bug.
pub(crate) struct Subject {
    program: PathBuf,
    bug: Option<&'static str>,
    /// Whether a user without any rights runs it.
    is_ordinary: bool,
}

impl Subject {
    /// Returns the binary under test.
    pub(crate) fn real() -> Self {
        Self { program: env!("CARGO_BIN_EXE_kiln").into(), bug: None, is_ordinary: false }
    }

    /// Returns a call in `folder`.
    pub(crate) fn kiln(&self, folder: &Path) -> Kiln {
        let call = match self.is_ordinary {
            true => self.ordinary(folder),
            false => Kiln::of(&self.program, folder),
        };
        match self.bug {
            Some(bug) => call.env("KILN_PLANTED_BUG", bug),
            None => call,
        }
    }

    /// Returns a call by the ordinary user, who gets the folder.
    fn ordinary(&self, folder: &Path) -> Kiln {
        let mut chown = Command::new("chown");
        let given = chown.args(["-R", ORDINARY]).arg(folder).status();
        assert!(given.is_ok_and(|status| status.success()));
        let user = format!("--reuid={ORDINARY}");
        let group = format!("--regid={ORDINARY}");
        let program = self.program.to_str().expect("names are UTF-8");
        let call = Kiln::of(Path::new("setpriv"), folder);
        call.arguments([&user, &group, "--clear-groups", program])
    }
}

/// Returns whether the faults are tried in full numbers, which takes hours: `tests/soak` does.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("KILN_SOAK").is_some()
}

/// Returns how often something is tried: in each run of the tests, or in a soak.
pub(crate) fn times(each: usize, soak: usize) -> usize {
    if is_soak() { soak } else { each }
}

/// Tells what came of a soak.
pub(crate) fn soaked(what: &str) {
    if is_soak() {
        tell(&format!("soaked: {what}"));
    }
}

/// A user, and a group, that owns nothing.
const ORDINARY: &str = "65534";

/// Puts `claim` to the test for an ordinary user, too, where root runs the tests.
#[track_caller]
pub(crate) fn as_ordinary_user(claim: fn(&Subject)) {
    let subject = Subject { is_ordinary: true, ..Subject::real() };
    let folder = tempfile::tempdir().unwrap();
    if !rustix::process::geteuid().is_root() {
        // The claim was put to the test for one already.
        return;
    }
    match subject.kiln(folder.path()).arguments(["--version"]).run().code() {
        Some(0) => claim(&subject),
        _ => skipped("no ordinary user can call the binary where it is"),
    }
}

/// Returns a binary with a bug, if there is one.
pub(crate) fn planted(bug: &'static str) -> Option<Subject> {
    let program = std::env::var_os("KILN_PLANTED")?;
    Some(Subject { program: program.into(), bug: Some(bug), is_ordinary: false })
}

/// Asserts that `claim` fails for a binary with `bug`, with a message that has `symptom` in it.
#[track_caller]
pub(crate) fn notices(bug: &'static str, symptom: &str, claim: fn(&Subject)) {
    let Some(subject) = planted(bug) else {
        return skipped("no binary with bugs; `tests/run` builds it");
    };
    let failure = catch_unwind(AssertUnwindSafe(|| claim(&subject)));
    let Err(failure) = failure else { panic!("nobody noticed the bug {bug}") };
    let told = match (failure.downcast_ref::<String>(), failure.downcast_ref::<&str>()) {
        (Some(told), _) => told.as_str(),
        (None, Some(told)) => told,
        (None, None) => "",
    };
    assert!(told.contains(symptom), "the bug {bug} was noticed by something else: {told}");
}

/// Each planted bug has a test that notices it, and each test plants one that there is.
#[test]
fn every_planted_bug_is_noticed() {
    let source = std::fs::read_to_string(repository("src/planted.rs")).unwrap();
    let body = source.split("pub enum Bug {").nth(1).unwrap();
    let names = body.lines().take_while(|line| *line != "}").map(str::trim);
    let mut bugs: Vec<String> =
        names.filter_map(|line| line.strip_suffix(',')).map(str::to_owned).collect();
    let mut noticed = Vec::new();
    for file in files_below(&repository("tests/runner/faults")) {
        let text = std::fs::read_to_string(file).unwrap();
        let calls = text.split("notices(").skip(1);
        let called = calls.filter_map(|call| call.split('"').nth(1));
        noticed.extend(called.flat_map(|names| names.split(',')).map(str::to_owned));
        // A table of bugs, each at the begin of a tuple.
        if let Some(table) = text.split("const TWINS").nth(1) {
            let names = table.split("];\n").next().unwrap_or_default().lines();
            let names = names.filter_map(|line| line.split('"').nth(1));
            let names = names.filter(|name| name.starts_with(char::is_uppercase));
            noticed.extend(names.flat_map(|names| names.split(',')).map(str::to_owned));
        }
    }
    bugs.sort();
    noticed.sort();
    noticed.dedup();
    assert_eq!(bugs, noticed);
}
