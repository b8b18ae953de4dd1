//! The examples: each pipeline checks without a word, stands in the one style, plans, and keeps its
//! plan when it is written anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kiln::{Project, files_below, repository, skipped};

fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository("examples")).expect("there are examples");
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[test]
fn every_example_checks_plans_and_stands_in_the_one_style() {
    for example in examples() {
        let project = Project::new().with_copy_of(&example);
        let pipelines =
            files_below(&example).into_iter().filter(|file| file.ends_with("pipeline.pipe"));
        for file in pipelines {
            let name = file.strip_prefix(&example).unwrap().to_str().unwrap();
            project.kiln(&format!("check -f {name}")).exits(0).says_nothing();
            project.kiln(&format!("plan --json -f {name}")).exits(0).says_nothing();
            project.kiln(&format!("list -f {name}")).exits(0).says_nothing();
        }
        project.kiln("fmt --check").exits(0).says_nothing();
    }
}

#[test]
fn hello_is_ten_lines() {
    let text = std::fs::read_to_string(repository("examples/hello/pipeline.pipe")).unwrap();
    assert!(text.lines().count() <= 12, "hello is for a first look:\n{text}");
}

#[test]
fn a_program_that_embeds_kiln_runs_a_stage_and_reads_its_out() {
    // Cargo builds examples for the tests, beside the binaries.
    let kiln = Path::new(env!("CARGO_BIN_EXE_kiln"));
    let embed = kiln.with_file_name("examples").join("embed");
    if !embed.exists() {
        return skipped("`cargo test` without `--test` builds the example");
    }
    let project = Project::new().with_copy_of(&repository("examples/hello"));
    let run = |stage: &str| {
        let output = Command::new(&embed).arg(project.path()).arg(stage).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (is_done, out, said) = run("greeting");
    assert!(is_done, "{said}");
    assert_eq!(
        (out.as_str(), said.as_str()),
        ("text of 13 bytes:\nHello, world\n", "greeting: Ran\n")
    );
    assert_eq!(run("greeting").2, "greeting: Cached\n");
    let (is_done, _, said) = run("nothing");
    assert!(!is_done && said.contains("nothing"), "{said}");
}
