//! The examples: each pipeline checks without a word, stands in the one style, plans, and keeps its
//! plan when it is written anew.

use std::path::PathBuf;

use crate::kiln::{Project, files_below, repository};

fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository("examples")).expect("there are examples");
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
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
