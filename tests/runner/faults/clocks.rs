//! Row 7: clocks that go back or ahead by years, files that get older, and edits that leave size and
//! time of a file as they were. Each edit is seen, and what was not edited is not made again.

use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::faults::{Subject, notices};
use crate::kiln::{Project, by_way_of, skipped};

const PIPELINE: &str = r#"
build copy {
  in file("source")
  run sh "cat source > {{out.o}}"
  out o: file
}
"#;

/// The clocks that runs have, one after the other; none is the machine's.
const CLOCKS: [Option<&str>; 7] = [
    None,
    Some("2001-01-01 00:00:00"),
    None,
    Some("2040-06-01 00:00:00"),
    Some("2001-01-01 00:00:00"),
    Some("2001-01-01 00:00:00"),
    None,
];

fn run(subject: &Subject, project: &Project, clock: Option<&str>) -> String {
    let call = subject.kiln(project.path()).arguments(["run"]).command();
    let mut command = match clock {
        None => call,
        Some(clock) => by_way_of("faketime", &[clock], &call),
    };
    let done = command.output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "at {clock:?}: {told}");
    told
}

fn edits_are_seen_at_any_time(subject: &Subject) {
    let project = Project::of(PIPELINE);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
    for (round, clock) in CLOCKS.iter().enumerate() {
        for (edit, time) in [None, Some(old), Some(old - Duration::from_secs(9))].iter().enumerate()
        {
            let text = format!("round {round}, edit {edit}\n");
            project.write("source", &text);
            if let Some(time) = time {
                let file = std::fs::File::options().write(true).open(project.at("source"));
                file.unwrap().set_modified(*time).unwrap();
            }
            run(subject, &project, *clock);
            let out = std::fs::read_to_string(project.at("out/copy/o")).unwrap();
            assert_eq!(out, text, "stale: at {clock:?}, edit {edit}");
            let again = run(subject, &project, *clock);
            assert!(again.contains("1 cached"), "made again: at {clock:?}: {again}");
        }
    }
}

#[test]
fn edits_are_seen_whatever_the_clock_says() {
    if !Command::new("faketime").args(["2001-01-01", "true"]).status().is_ok_and(|s| s.success()) {
        return skipped("no `faketime`");
    }
    edits_are_seen_at_any_time(&Subject::real());
}

#[test]
fn an_edit_that_hides_its_time_is_noticed() {
    notices("IgnoreChangeTimes", "stale: ", |subject| {
        let project = Project::of(PIPELINE);
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
        for text in ["one\n", "two\n"] {
            project.write("source", text);
            let file = std::fs::File::options().write(true).open(project.at("source")).unwrap();
            file.set_modified(old).unwrap();
            run(subject, &project, None);
            let out = std::fs::read_to_string(project.at("out/copy/o")).unwrap();
            assert_eq!(out, text, "stale: {text}");
        }
    });
}
