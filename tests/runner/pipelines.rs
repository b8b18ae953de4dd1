//! Real pipelines of other projects, rewritten: `tests/pipelines/NAME/pipeline.pipe` beside the few files that
//! it needs and the plan it comes to, `plan.txt`. Each is sound and in the one style, meets its specs, and plans
//! the steps that were approved. Adding a case is adding a folder.
//!
//! A line `# files: …` names files that are there and empty. A line `# runs: STAGE …` says that these stages run
//! here, all of them if it names none, with the programs of a line `# needs: cc,ar`: then `run.txt` says what came
//! of each step, and a second run must do nothing. Where one is missing, a test says `skipped: …` in a line and passes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::kiln::{
    Done, Kiln, Project, assert_none, difference_to_file, repository, skipped, step_end,
};
use crate::stdlib::missing;

const FOLDER: &str = "tests/pipelines";

/// The fewest kinds of pipelines.
const FEWEST: usize = 8;

/// What is expected of a case: no files of its project.
const EXPECTATIONS: [&str; 2] = ["plan.txt", "run.txt"];

struct Case {
    name: String,
    folder: PathBuf,
    text: String,
    project: Project,
}

impl Case {
    fn of(folder: PathBuf) -> Self {
        let text = std::fs::read_to_string(folder.join("pipeline.pipe")).unwrap();
        let project = Project::new().with_copy_of(&folder).with_files_of(&text);
        for expectation in EXPECTATIONS {
            let _ = std::fs::remove_file(project.at(expectation));
        }
        let name = folder.file_name().unwrap().to_str().expect("names are UTF-8").to_owned();
        Self { name, folder, text, project }
    }

    /// Returns what a comment says behind its first word.
    fn setting(&self, word: &str) -> Option<&str> {
        let line = |line: &'_ str| line.starts_with(&format!("# {word}:"));
        self.text.lines().find(|text| line(text))?.split_once(':').map(|(_, said)| said.trim())
    }
}

fn cases() -> Vec<Case> {
    let entries = std::fs::read_dir(repository(FOLDER)).expect("there are pipelines");
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= FEWEST, "{folders:?}");
    folders.into_iter().map(Case::of).collect()
}

fn problems(case: &Case) -> Vec<String> {
    let project = &case.project;
    let mut problems = Vec::new();
    let mut claim = |holds: bool, what: &str, said: String| {
        if !holds {
            problems.push(format!("{}: {what}:\n{said}", case.name));
        }
    };
    let checked = project.kiln("check");
    claim(checked.code() == Some(0) && checked.stderr().is_empty(), "check", checked.stderr());
    let formatted = project.kiln("fmt --check");
    claim(formatted.code() == Some(0), "fmt", formatted.stderr());
    if case.text.contains("\nspec \"") {
        let met = project.kiln("spec");
        claim(met.code() == Some(0), "spec", met.stdout() + &met.stderr());
    }
    let is_run = case.folder.join("run.txt").exists();
    claim(!is_run || case.setting("runs").is_some(), "`run.txt` is not read", String::new());
    let planned = project.kiln("plan");
    claim(planned.code() == Some(0), "plan", planned.stderr());
    problems.extend(difference_to_file(&case.folder.join("plan.txt"), &planned.stdout()));
    problems
}

#[test]
fn real_pipelines_are_sound_and_plan_what_was_approved() {
    assert_none(&cases().par_iter().flat_map(problems).collect::<Vec<_>>());
}

/// Returns what came of each step.
fn outcomes(done: &Done) -> BTreeMap<String, String> {
    done.lines().iter().filter_map(step_end).collect()
}

/// Returns the words of a line; blanks in brackets, as of `unit[level: 2]`, are a part of their word.
fn words(line: &str) -> Vec<&str> {
    let mut depth = 0;
    let words = line.split(|letter: char| {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        depth == 0 && letter == ' '
    });
    words.filter(|word| !word.is_empty()).collect()
}

/// Runs a case, then once more, which must do nothing, and returns how that is not as it was approved.
fn run_problems(case: &Case, stages: &str) -> Vec<String> {
    let store = case.project.at(".kiln/store").to_str().expect("it is UTF-8").to_owned();
    // Shims of toolchains ask for the home.
    let home = std::env::var("HOME").unwrap_or_default();
    let kiln = || Kiln::new(case.project.path()).env("HOME", &home).env("KILN_CACHE", &store);
    let run = || kiln().arguments(["run", "--ui", "jsonl"]).arguments(words(stages)).run();
    let first = run();
    if first.code() != Some(0) {
        let mut said = first.stderr();
        for (step, _) in outcomes(&first).iter().filter(|(_, outcome)| *outcome == "failed") {
            let log = kiln().arguments(["log", step]).run();
            said += &format!("{step} says:\n{}", log.stdout());
        }
        return vec![format!("{} fails:\n{said}", case.name)];
    }
    let mut text = String::new();
    for (step, outcome) in outcomes(&first) {
        // Of steps that are alike, any may be the one that runs.
        let outcome = if matches!(&*outcome, "ran" | "cached") { "passed" } else { &outcome };
        let _ = writeln!(text, "{outcome:8}{step}");
    }
    let mut problems: Vec<_> =
        difference_to_file(&case.folder.join("run.txt"), &text).into_iter().collect();
    let again = outcomes(&run().exits(0));
    if again.values().any(|outcome| outcome == "ran") {
        problems.push(format!("{} runs again:\n{again:#?}", case.name));
    }
    problems
}

#[test]
fn real_pipelines_run_where_their_tools_are() {
    let problems = |case: &Case| {
        let stages = case.setting("runs")?;
        match case.setting("needs").and_then(missing) {
            Some(missing) => skipped(&format!("`{FOLDER}/{}` needs `{missing}`", case.name)),
            None => return Some(run_problems(case, stages)),
        }
        None
    };
    let problems: Vec<_> = cases().par_iter().filter_map(problems).flatten().collect();
    assert_none(&problems);
}

#[test]
fn each_real_pipeline_is_told_of() {
    let page = std::fs::read_to_string(repository(FOLDER).join("README.md")).unwrap();
    let names = cases().into_iter().map(|case| case.name);
    assert_none(&names.filter(|name| !page.contains(&format!("`{name}`"))).collect::<Vec<_>>());
    // Only folders are cases.
    let files = std::fs::read_dir(repository(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
    let strays: Vec<_> =
        files.filter(|path| !path.is_dir() && !path.ends_with("README.md")).collect();
    assert!(strays.is_empty(), "{strays:?}");
}
