//! Rows 2 and 3: a run that is killed at any system call which changes something, and one in which any
//! such call fails, leave nothing wrong: not now, and not for the next run.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::faults::{Subject, is_soak, notices, soaked};
use crate::kiln::{Project, by_way_of, skipped, step_end, wait_at_most};

const PIPELINE: &str = r#"
build part for (n in range(1, 2)) {
  in file("source")
  run sh "printf %0SIZEd 7 > {{out.o}}; cat source >> {{out.o}}; echo {{n}} >> {{out.o}}"
  out o: file
}

build all {
  run sh "mkdir {{out.d}}/sub; cat {{[part[n: n].o for n in range(1, 2)]}} > {{out.d}}/sub/all"
  out d: dir
}
"#;

/// How long the outs of the parts are: as few writes as can be, or many that may fail.
#[derive(Clone, Copy)]
enum Length {
    Short = 10,
    Long = 300_000,
}

impl Length {
    fn project(self) -> Project {
        let pipeline = PIPELINE.replace("SIZE", &(self as usize).to_string());
        Project::of(pipeline).with("source", "text\n")
    }
}

/// Claims that the out of the last step is right.
fn is_right(project: &Project, length: Length) -> bool {
    let parts = ["1", "2"].map(|n| format!("{}7text\n{n}\n", "0".repeat(length as usize - 1)));
    let out = std::fs::read_to_string(project.at("out/all/d/sub/all"));
    out.is_ok_and(|out| out == parts.concat())
}

/// The calls that change something.
const CHANGING: &str = "write,pwrite64,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,\
    mkdirat,symlink,symlinkat,ftruncate,fsync,fdatasync,syncfs,copy_file_range,utimensat,fchmod,\
    fchmodat,openat";

/// What a call can fail with, and the calls that can.
const ERRORS: [(&str, &str); 6] = [
    ("ENOSPC", "write,pwrite64,rename,renameat2,link,linkat,mkdir,mkdirat,openat,copy_file_range"),
    ("EDQUOT", "write,pwrite64,link,linkat,mkdir,mkdirat,openat"),
    (
        "EIO",
        "write,read,pread64,rename,unlink,unlinkat,fsync,fdatasync,syncfs,openat,statx,getdents64",
    ),
    ("EMFILE", "openat,openat2,socketpair,pipe2,fcntl"),
    ("EINTR", "write,read,openat,wait4,ppoll,poll,flock,sendmsg,recvmsg"),
    ("EROFS", "openat,mkdir,mkdirat,rename,renameat2,link,linkat,unlink,unlinkat"),
];

/// The outcomes of the steps that a run told of, by their names.
type Outcomes = BTreeMap<String, String>;

/// Runs Kiln with the calls injected that are said; returns how it ended, the outcomes of steps, and
/// what it told.
fn run(subject: &Subject, project: &Project, inject: &[String]) -> (Option<i32>, Outcomes, String) {
    let call = subject.kiln(project.path()).arguments(["run", "-j", "2", "--ui", "jsonl"]);
    let call = call.command();
    let mut command = match inject {
        [] => call,
        inject => {
            let mut arguments = vec!["-f", "-qq", "--output=/dev/null"];
            arguments.extend(inject.iter().map(String::as_str).chain(["--"]));
            by_way_of("strace", &arguments, &call)
        }
    };
    let told = tempfile::NamedTempFile::new().unwrap();
    let events = tempfile::NamedTempFile::new().unwrap();
    command.stdin(Stdio::null());
    command.stdout(events.reopen().unwrap()).stderr(told.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let status = wait_at_most(&mut child, Duration::from_secs(60));
    let told = std::fs::read_to_string(told.path()).unwrap();
    let status = status.unwrap_or_else(|| panic!("it never ends with {inject:?}: {told}"));
    let events = std::fs::read(events.path()).unwrap();
    let lines = String::from_utf8_lossy(&events).into_owned();
    let events = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
    let outcomes = events.filter_map(|event: serde_json::Value| step_end(&event)).collect();
    (status.code(), outcomes, told)
}

/// Returns the most of these calls that a thread of a run makes, or of those who are meant.
fn most_calls(subject: &Subject, length: Length, calls: &str, whom: &[String]) -> usize {
    let project = length.project();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let to = format!("--output={}", trace.path().display());
    run(subject, &project, &[whom, &[to, format!("--trace={calls}")]].concat());
    let text = String::from_utf8_lossy(&std::fs::read(trace.path()).unwrap()).into_owned();
    let mut counts = BTreeMap::<&str, usize>::new();
    let threads = text.lines().filter_map(|line| line.split_whitespace().next());
    threads.for_each(|thread| *counts.entry(thread).or_default() += 1);
    counts.into_values().max().expect("a run makes calls")
}

/// Injects something at the calls by number, up to the last one; in a soak at each.
fn sweep(last: usize, every: usize, at: impl FnMut(usize)) {
    let every = if is_soak() { 1 } else { every };
    (1..=last).step_by(every).for_each(at);
}

fn has_strace() -> bool {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).status();
    tried.is_ok_and(|status| status.success())
}

fn kills_at_calls_lose_nothing(subject: &Subject) {
    let last = most_calls(subject, Length::Short, CHANGING, &[]);
    sweep(last, 3, |number| {
        let project = Length::Short.project();
        let inject = [
            format!("--trace={CHANGING}"),
            format!("--inject={CHANGING}:signal=KILL:when={number}"),
        ];
        let (_, killed, _) = run(subject, &project, &inject);
        let (resumed_code, resumed, told) = run(subject, &project, &[]);
        assert_eq!(resumed_code, Some(0), "the run after a kill at call {number}: {told}");
        assert!(is_right(&project, Length::Short), "wrong after a kill at call {number}");
        for (step, _) in killed.iter().filter(|(_, outcome)| *outcome == "ran") {
            assert_eq!(resumed[step], "cached", "lost: `{step}`, after a kill at call {number}");
        }
    });
    soaked(&format!("a kill at each of {last} calls: 0 lost, 0 wrong outs"));
}

#[test]
fn a_kill_at_any_call_loses_nothing() {
    if !has_strace() {
        return skipped("`strace` does not work here");
    }
    kills_at_calls_lose_nothing(&Subject::real());
}

#[test]
fn a_result_that_a_kill_loses_is_noticed() {
    if !has_strace() {
        return skipped("`strace` does not work here");
    }
    notices("ForgetRecords", "lost: ", kills_at_calls_lose_nothing);
}

/// Has strace let go of a process that becomes another program: of launchers and steps.
const ALONE: &str = "--detach-on=execve";

fn failing_calls_make_nothing_wrong(subject: &Subject) {
    // In a soak calls fail in launchers and steps as well.
    let whom = [vec![ALONE.to_owned()], Vec::new()];
    let whom = whom.into_iter().take(if is_soak() { 2 } else { 1 });
    for (whom, (error, calls)) in whom.flat_map(|whom| ERRORS.map(|error| (whom.clone(), error))) {
        let last = most_calls(subject, Length::Long, calls, &whom);
        sweep(last, 7, |number| {
            let project = Length::Long.project();
            let trace = format!("--trace={calls}");
            let inject = format!("--inject={calls}:error={error}:when={number}");
            let inject = [whom.clone(), vec![trace, inject]].concat();
            let (code, _, told) = run(subject, &project, &inject);
            let at = format!("{error} at call {number}");
            assert!(!told.contains("panicked"), "a panic at {at}: {told}");
            assert!(code.is_some(), "a signal ended it at {at}: {told}");
            if code == Some(0) {
                assert!(is_right(&project, Length::Long), "a wrong out at {at}");
            }
            let (code, _, told) = run(subject, &project, &[]);
            assert_eq!(code, Some(0), "the run after {at}: {told}");
            assert!(is_right(&project, Length::Long), "wrong after {at}");
        });
        let whose = if whom.is_empty() { "any process" } else { "Kiln" };
        soaked(&format!("{error} at each of {last} calls of {whose}: 0 wrong outs, 0 panics"));
    }
}

#[test]
fn an_error_that_nobody_looks_at_is_noticed() {
    if !has_strace() {
        return skipped("`strace` does not work here");
    }
    notices("IgnoreFullDisks", "wrong", failing_calls_make_nothing_wrong);
}

#[test]
fn a_call_that_fails_makes_nothing_wrong() {
    if !has_strace() {
        return skipped("`strace` does not work here");
    }
    failing_calls_make_nothing_wrong(&Subject::real());
}
