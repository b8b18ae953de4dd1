//! The tools: how each is started, and how long it takes. Knows command lines; does not know what is
//! built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::case::Case;

/// How many steps run beside each other.
const JOBS: usize = 2;

/// What builds a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// Bare processes, of cases without edges; for other phases, the least work that finds out.
    Exec,
    /// `ninja`.
    Ninja,
    /// `n2`, where there is one.
    N2,
    /// Kiln.
    Kiln,
}

impl Tool {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let has_n2 = Command::new("n2").arg("--version").stdout(Stdio::null()).status().is_ok();
        [Self::Exec, Self::Ninja, Self::N2, Self::Kiln]
            .into_iter()
            .filter(move |tool| has_n2 || *tool != Self::N2)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Ninja => "ninja",
            Self::N2 => "n2",
            Self::Kiln => "kiln",
        }
    }

    /// Builds what is in the folder; returns the time and the most memory it held, in KiB.
    pub(crate) fn build(self, folder: &Path, case: &Case) -> (Duration, u64) {
        match self {
            Self::Exec => (time(|| exec(folder, &case.scripts)), 0),
            Self::Ninja => run(Command::new("ninja").arg("--quiet").arg("-j").arg(jobs()), folder),
            Self::N2 => run(Command::new("n2").arg("-j").arg(jobs()), folder),
            Self::Kiln => {
                let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
                kiln.args(["run", "--ui", "quiet", "-j"]).arg(jobs()).args(case.stages);
                run(kiln.env("KILN_CACHE", store(folder)), folder)
            }
        }
    }
}

/// Returns the store of the Kiln that builds in this folder.
pub(crate) fn store(folder: &Path) -> PathBuf {
    folder.with_extension("store")
}

/// Has the disk written what others left: Kiln waits until its results are on disk, and would wait
/// for that, too.
pub(crate) fn settle() {
    assert!(Command::new("sync").status().expect("it is installed").success());
}

fn jobs() -> String {
    JOBS.to_string()
}

pub(crate) fn time(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// Runs a command to its end. Its own memory is looked at, not that of what it starts.
fn run(command: &mut Command, folder: &Path) -> (Duration, u64) {
    let start = Instant::now();
    let mut child =
        command.current_dir(folder).stdout(Stdio::null()).spawn().expect("it is installed");
    let process = child.id();
    let is_over = AtomicBool::new(false);
    let (status, time, peak) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(process, &is_over));
        let status = child.wait().expect("it is our child");
        let time = start.elapsed();
        is_over.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        (status, time, watcher.join().expect("it only looks"))
    });
    assert!(status.success(), "{command:?} failed in {}", folder.display());
    (time, peak)
}

/// Returns the most memory that a process was seen to hold. To look costs it some time, so the first
/// look comes late and the others seldom.
fn watch(process: u32, is_over: &AtomicBool) -> u64 {
    let mut peak = 0;
    let mut pause = Duration::from_millis(4);
    while !is_over.load(Ordering::Relaxed) {
        std::thread::park_timeout(pause);
        peak = peak_kib(process).max(peak);
        pause = (pause * 5 / 4).min(Duration::from_millis(20));
    }
    peak
}

fn peak_kib(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// Runs scripts as bare processes, as many at a time as the others do.
fn exec(folder: &Path, scripts: &[String]) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut shell = Command::new("/bin/sh");
                    let status = shell.args(["-c", script]).current_dir(folder).status();
                    assert!(status.expect("it is installed").success(), "{script} failed");
                }
            });
        }
    });
}
