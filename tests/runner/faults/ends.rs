//! Rows 9 and 13: nothing of a step outlives it or the run, however the run ends, and nobody waits
//! for what stays in the background.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::faults::terminal::Terminal;
use crate::faults::{Subject, as_ordinary_user, notices};
use crate::kiln::Project;

/// Steps that are hard to end. None goes on for ever, so that a bug is seen and not waited for.
const STEPS: [(&str, &str); 4] = [
    ("plain", "echo begun; exec sleep 20"),
    ("daemon", "(setsid sh -c 'sleep 20 & sleep 20' & :) >/dev/null 2>&1; echo begun; sleep 20"),
    ("session", "setsid sleep 20 & echo begun; sleep 20"),
    ("stubborn", "trap '' TERM INT HUP; echo begun; for i in 1 2 3 4 5; do sleep 4; done"),
];

/// A variable that all processes of a run's steps carry.
struct Mark(String);

impl Mark {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(format!("kiln-faults-{}-{number}", std::process::id()))
    }

    /// Returns the processes of this machine that carry it.
    fn processes(&self) -> Vec<PathBuf> {
        let has_mark = |folder: &PathBuf| {
            let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
            environment.windows(self.0.len()).any(|part| part == self.0.as_bytes())
        };
        let folders = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        folders.filter(has_mark).collect()
    }

    /// Waits until so many carry it as are wanted, or it is too late; returns them.
    fn await_processes(&self, are_wanted: impl Fn(usize) -> bool) -> Vec<PathBuf> {
        let begin = Instant::now();
        loop {
            let found = self.processes();
            if are_wanted(found.len()) || begin.elapsed() > Duration::from_secs(5) {
                return found;
            }
            std::thread::yield_now();
        }
    }

    /// Asserts that nothing carries it any more.
    #[track_caller]
    fn is_gone(&self, ended_by: &str) {
        let left = self.await_processes(|count| count == 0);
        assert!(left.is_empty(), "{ended_by}: {} processes survived", left.len());
    }

    /// Returns a pipeline of all the steps, whose processes carry it.
    fn pipeline(&self) -> String {
        let stage = |(name, script): &(&str, &str)| {
            format!("test {name} {{\n  env MARK = \"{}\"\n  run sh \"{script}\"\n}}\n", self.0)
        };
        STEPS.iter().map(stage).collect()
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for folder in self.processes() {
            let id = folder.file_name().unwrap();
            let _ = Command::new("kill").arg("-KILL").arg(id).stderr(Stdio::null()).status();
        }
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

/// Reads a run's events until all steps have begun.
fn wait_for_begin(events: impl std::io::Read, mark: &Mark) -> BufReader<impl std::io::Read> {
    let mut events = BufReader::new(events);
    let mut begun = 0;
    while begun < STEPS.len() {
        let mut line = String::new();
        assert!(events.read_line(&mut line).unwrap() > 0, "the run ended early");
        begun += usize::from(line.contains("\"step.output\"") && line.contains("begun"));
    }
    let seen = mark.await_processes(|count| count >= 2 * STEPS.len());
    assert!(seen.len() >= 2 * STEPS.len(), "the processes cannot be seen");
    events
}

/// Ends a run with these signals, one at once after the other; returns how long that took, and the
/// exit code.
fn ended_by(subject: &Subject, signals: &[&str]) -> (Duration, Option<i32>) {
    ended_in(subject, "--sandbox=namespaces", signals)
}

/// Does what [`ended_by`] does in one of the sandboxes.
fn ended_in(subject: &Subject, sandbox: &str, signals: &[&str]) -> (Duration, Option<i32>) {
    let mark = Mark::new();
    let project = Project::of(mark.pipeline());
    let call = subject.kiln(project.path());
    let call = call.arguments(["run", "-j", "4", "--ui", "jsonl", sandbox]);
    let mut child = call.command().stdout(Stdio::piped()).spawn().unwrap();
    let events = wait_for_begin(child.stdout.take().unwrap(), &mark);
    let begin = Instant::now();
    signal(&child, signals[0]);
    let mut lines = events.lines().map_while(Result::ok);
    for next in &signals[1..] {
        assert!(lines.any(|line| line.contains("\"run.stopping\"")));
        signal(&child, next);
    }
    lines.for_each(drop);
    let code = child.wait().unwrap().code();
    let time = begin.elapsed();
    mark.is_gone(&signals.join(", "));
    (time, code)
}

/// A stubborn step has 2 seconds after the first signal.
fn a_signal_ends_the_run_soon(subject: &Subject) {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let (time, found) = ended_by(subject, &[name]);
        assert_eq!(found, Some(code), "{name}");
        assert!(time < Duration::from_secs(5), "{name}: the end took {time:?}");
    }
}

#[test]
fn nothing_survives_a_signal() {
    a_signal_ends_the_run_soon(&Subject::real());
}

#[test]
fn nothing_of_an_ordinary_user_survives_a_signal() {
    as_ordinary_user(a_signal_ends_the_run_soon);
}

#[test]
fn a_signal_that_ends_nothing_is_noticed() {
    notices("DeafLaunchers", "the end took", a_signal_ends_the_run_soon);
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let (time, code) = ended_by(&Subject::real(), &["INT", "INT"]);
    assert_eq!(code, Some(130));
    assert!(time < Duration::from_millis(1500), "the end took {time:?}, as if it were the first");
}

/// Even a Kiln that can do nothing any more takes all with it.
fn nothing_survives_a_kill(subject: &Subject) {
    assert_eq!(ended_by(subject, &["KILL"]).1, None);
}

#[test]
fn nothing_survives_a_killed_run() {
    nothing_survives_a_kill(&Subject::real());
}

#[test]
fn nothing_survives_in_the_weak_sandbox_either() {
    for signals in [&["INT"][..], &["INT", "INT"], &["KILL"]] {
        ended_in(&Subject::real(), "--sandbox=weak", signals);
    }
}

#[test]
fn nothing_survives_a_killed_run_of_an_ordinary_user() {
    as_ordinary_user(nothing_survives_a_kill);
}

#[test]
fn orphans_are_noticed() {
    notices("Orphans", "processes survived", nothing_survives_a_kill);
}

fn nothing_survives_without_a_terminal(subject: &Subject) {
    let mark = Mark::new();
    let project = Project::of(mark.pipeline());
    let call = subject.kiln(project.path());
    let call = call.arguments(["run", "-j", "4", "--ui", "jsonl"]);
    let (terminal, mut child) = Terminal::of(&call.command());
    let events = wait_for_begin(terminal, &mark);
    drop(events);
    assert_eq!(child.wait().unwrap().code(), Some(129));
    mark.is_gone("a closed terminal");
}

#[test]
fn nothing_survives_a_closed_terminal() {
    nothing_survives_without_a_terminal(&Subject::real());
    as_ordinary_user(nothing_survives_without_a_terminal);
}

/// The shortest time of a few runs of a script, which passes.
fn shortest(subject: &Subject, script: &str) -> Duration {
    let project = Project::of(format!("test quick {{\n  run sh \"{script}\"\n}}\n"));
    let time = |_| {
        let begin = Instant::now();
        subject.kiln(project.path()).arguments(["run", "--rerun", "quick"]).run().exits(0);
        begin.elapsed()
    };
    (0..3).map(time).min().unwrap()
}

/// A child that keeps the step's outputs open does not hold up the step: it has 250 ms.
fn the_background_is_not_waited_for(subject: &Subject) {
    let usual = shortest(subject, "echo done");
    let held = shortest(subject, "sleep 5 & echo done");
    let extra = held.saturating_sub(usual);
    assert!(extra < Duration::from_millis(1500), "the background took {extra:?}");
}

#[test]
fn what_stays_in_the_background_holds_nothing_up() {
    the_background_is_not_waited_for(&Subject::real());
}

#[test]
fn waiting_for_the_background_is_noticed() {
    notices("WaitForBackground", "the background took", the_background_is_not_waited_for);
}
