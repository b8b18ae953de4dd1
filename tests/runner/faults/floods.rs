//! Row 11: output without end, and a line without end.

use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use crate::faults::{Subject, notices};
use crate::kiln::{Kiln, Project};

/// What Kiln and each of its launchers may take, in KiB.
const MOST_KIB: u64 = 64 << 10;

/// The forms that a run can be shown in.
const FORMS: [&str; 4] = ["plain", "live", "quiet", "jsonl"];

/// How often the memory is looked at.
const OFTEN: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// A field of a process's state, which is gone with it.
fn field(process: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The processes that another has started.
fn children(of: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// Waits for the end of a call; returns the most memory that it or one of its launchers took, in
/// KiB, as far as one can see from outside.
pub(crate) fn peak(child: &mut Child) -> u64 {
    let id = child.id();
    let process = Pid::from_raw(id.cast_signed()).unwrap();
    let process = rustix::process::pidfd_open(process, PidfdFlags::empty()).unwrap();
    let mut most = 0;
    loop {
        let seen = children(id).into_iter().chain([id]).filter_map(|id| field(id, "VmHWM"));
        most = seen.fold(most, u64::max);
        let mut end = [PollFd::new(&process, PollFlags::IN)];
        if rustix::event::poll(&mut end, Some(&OFTEN)) == Ok(1) {
            return most;
        }
    }
}

/// Asserts that a run of the script, which fails, takes little memory in that form.
fn takes_little(subject: &Subject, form: &str, script: &str) -> Project {
    let project = Project::of(format!("test flood {{\n  run sh \"{script}; exit 1\"\n}}\n"));
    let call = subject.kiln(project.path()).arguments(["run", "--ui", form]);
    let mut child = call.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let peak = peak(&mut child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(peak > 1024, "the memory was not seen: {peak} KiB");
    assert!(peak <= MOST_KIB, "{form}: Kiln took {peak} KiB of memory for a flood");
    project
}

#[test]
fn many_short_lines_take_little_memory_in_every_form() {
    for form in FORMS {
        takes_little(&Subject::real(), form, "yes | head -c 8000000");
    }
}

#[test]
fn bytes_that_are_no_text_take_little_memory() {
    for form in ["plain", "jsonl"] {
        takes_little(&Subject::real(), form, "head -c 8000000 /dev/urandom");
    }
}

/// A line that is longer than any log may be, in any form.
fn a_long_line_takes_little_memory(subject: &Subject) {
    takes_little(subject, "quiet", "head -c 1000000000 /dev/zero | tr '\\\\0' x");
}

#[test]
fn a_line_of_a_gigabyte_takes_little_memory() {
    a_long_line_takes_little_memory(&Subject::real());
    takes_little(&Subject::real(), "plain", "head -c 70000000 /dev/zero | tr '\\\\0' x");
}

#[test]
fn logs_that_are_held_in_memory_are_noticed() {
    notices("HoardLogs", "of memory for a flood", a_long_line_takes_little_memory);
}

/// A log ends at some length, and says so where it is read.
fn a_long_log_is_cut_off_and_says_so(subject: &Subject) {
    let project = Project::of("test flood {\n  run sh \"yes | head -c 80000000; exit 1\"\n}\n");
    let told = subject.kiln(project.path()).arguments(["run", "--ui", "quiet"]).run().exits(1);
    let mark = "[kiln] the output was cut off at 64 MiB: the stage's `log` raises the limit\n";
    assert!(told.stderr().contains(mark), "no word that the log is cut off");
    let log = Kiln::new(project.path()).arguments(["log", "flood"]).command().output().unwrap();
    assert!(log.stdout.ends_with(mark.as_bytes()));
    assert_eq!(log.stdout.len() as u64, (64 << 20) + 1 + mark.len() as u64);
}

#[test]
fn a_log_is_capped_and_marked() {
    a_long_log_is_cut_off_and_says_so(&Subject::real());
}

#[test]
fn logs_without_end_are_noticed() {
    notices("EndlessLogs", "no word that the log is cut off", a_long_log_is_cut_off_and_says_so);
}
