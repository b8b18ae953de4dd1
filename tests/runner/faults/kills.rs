//! Row 1: runs that are killed at any moment lose nothing that they said was done, and leave
//! nothing that stands in the way of the next.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults::{Subject, notices, soaked, times};
use crate::kiln::{Project, step_end, wait_at_most};

/// Eight steps that each need the source, and one that needs them all.
const PIPELINE: &str = r#"
build part for (n in range(1, 8)) {
  in file("source")
  run sh "for i in 1 2 3 4 5 6 7 8 9; do cat source; done > {{out.o}}; echo {{n}} >> {{out.o}}"
  out o: file
}

build all {
  run sh "cat {{[part[n: n].o for n in range(1, 8)]}} > {{out.o}}"
  out o: file
}
"#;

fn all_of(source: &str) -> String {
    (1..=8).map(|n| format!("{}{n}\n", source.repeat(9))).collect()
}

/// The outcomes of the steps that a run told of, by their names, and how long it took.
fn run(subject: &Subject, project: &Project, kill_after: Option<Duration>) -> (Outcomes, Duration) {
    let call = subject.kiln(project.path()).arguments(["run", "-j", "3", "--ui", "jsonl"]);
    let begin = Instant::now();
    let mut child = call.command().stdout(Stdio::piped()).spawn().unwrap();
    let events = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut outcomes = Outcomes::new();
        for line in events.lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            outcomes.extend(step_end(&event));
        }
        outcomes
    });
    match kill_after {
        Some(time) => {
            std::thread::park_timeout(time.saturating_sub(begin.elapsed()));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        None => {
            let status = wait_at_most(&mut child, Duration::from_secs(30));
            assert!(status.is_some_and(|status| status.success()), "the resumed run: {status:?}");
        }
    }
    (reader.join().unwrap(), begin.elapsed())
}

type Outcomes = BTreeMap<String, String>;

fn nothing_is_lost(subject: &Subject) {
    let kills = u32::try_from(times(60, 1000)).unwrap();
    let project = Project::of(PIPELINE).with("source", "0\n");
    run(subject, &project, None);
    project.write("source", "1\n");
    let (_, mut whole) = run(subject, &project, None);
    let mut acknowledged = 0;
    let mut kill = 0;
    // On a machine that got slower meanwhile they would all come before the end of any step.
    while kill < kills || (acknowledged <= kills / 6 && kill < 4 * kills) {
        if kill > 0 && kill % kills == 0 {
            whole *= 2;
        }
        let source = format!("kill {kill}\n");
        project.write("source", &source);
        // The kills are spread over the whole run.
        let (killed, _) = run(subject, &project, Some(whole * (kill % kills) / kills));
        let (resumed, _) = run(subject, &project, None);
        for (step, outcome) in killed.iter().filter(|(_, outcome)| *outcome == "ran") {
            acknowledged += 1;
            assert_eq!(resumed[step], "cached", "lost: `{step}`, which {outcome}, in kill {kill}");
        }
        let out = std::fs::read_to_string(project.at("out/all/o")).unwrap();
        assert_eq!(out, all_of(&source), "wrong after kill {kill}");
        kill += 1;
    }
    assert!(acknowledged > kills / 6, "few kills came after the end of a step: {acknowledged}");
    // A sandbox of the last kill may have written a file while the run after it swept.
    project.write("source", "the end\n");
    run(subject, &project, None);
    let left = std::fs::read_dir(project.at(".cache/kiln/v1/tmp")).unwrap().count();
    assert_eq!(left, 0, "unfinished files are left of killed runs");
    soaked(&format!("{kill} kills: {acknowledged} steps were done before, 0 lost, 0 wrong outs"));
}

#[test]
fn a_killed_run_loses_nothing_it_acknowledged() {
    nothing_is_lost(&Subject::real());
}

#[test]
fn a_lost_result_is_noticed() {
    notices("ForgetRecords", "lost: ", nothing_is_lost);
}
