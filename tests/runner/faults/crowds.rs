//! Row 8: runs at once, of one project and of clones of it, run no step twice and make the same.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::faults::{Subject, notices, soaked, times};
use crate::kiln::{Project, count_runs, wait_at_most};

const KILNS: usize = 8;

const PIPELINE: &str = r#"
build part for (n in range(1, 4)) {
  in file("source")
  run sh "cat source source > {{out.o}}; echo {{n}} >> {{out.o}}"
  out o: file
}

build all {
  run sh "cat {{[part[n: n].o for n in range(1, 4)]}} > {{out.d}}/all"
  out d: dir
}
"#;

fn start(subject: &Subject, project: &Project, store: &str) -> Child {
    let call = subject.kiln(project.path()).arguments(["run", "-j", "2", "--ui", "jsonl"]);
    let mut command = call.env("KILN_CACHE", store).command();
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Lets kilns run at once in each of these projects and returns how often each step ran.
fn run_at_once(subject: &Subject, projects: &[&Project], store: &str) -> BTreeMap<String, usize> {
    let mut kilns: Vec<_> = projects.iter().map(|project| start(subject, project, store)).collect();
    // What they say is far less than a pipe holds.
    for kiln in &mut kilns {
        let status = wait_at_most(kiln, Duration::from_secs(60));
        assert!(status.is_some(), "a run waits for ever");
    }
    count_runs(kilns)
}

fn a_crowd_runs_each_step_once(subject: &Subject) {
    let store = tempfile::tempdir().unwrap();
    let store = store.path().to_str().unwrap();
    let projects: Vec<_> = (0..KILNS).map(|_| Project::of(PIPELINE)).collect();
    let rounds = times(50, 200);
    for round in 0..rounds {
        // One project for all in the even rounds, a clone for each in the odd ones.
        let chosen = |at: usize| &projects[if round % 2 == 0 { 0 } else { at }];
        let chosen: Vec<_> = (0..KILNS).map(chosen).collect();
        let source = format!("round {round}\n");
        chosen.iter().for_each(|project| project.write("source", &source));
        let runs = run_at_once(subject, &chosen, store);
        assert_eq!(runs.len(), 5);
        assert!(runs.values().all(|count| *count == 1), "more than one ran a step: {runs:?}");
        let expected: String = (1..=4).map(|n| format!("{source}{source}{n}\n")).collect();
        for project in chosen {
            let out = std::fs::read_to_string(project.at("out/all/d/all")).unwrap();
            assert_eq!(out, expected, "round {round}");
            let names = std::fs::read_dir(project.at("out/all")).unwrap().count();
            assert_eq!(names, 1, "litter beside the out");
        }
    }
    soaked(&format!("{rounds} rounds of {KILNS} runs at once: each step ran once, 0 wrong outs"));
}

#[test]
fn eight_runs_at_once_run_each_step_once() {
    a_crowd_runs_each_step_once(&Subject::real());
}

#[test]
fn two_runs_of_one_step_are_noticed() {
    notices("NoSingleFlight", "more than one ran a step", a_crowd_runs_each_step_once);
}
