//! Real pipelines of other projects, rewritten: `tests/pipelines/NAME.pipe` beside the plan it comes to. Each
//! is sound and in the one style, meets its specs, and plans the steps that were approved. Nothing of them
//! runs: the files that their first line names are empty.

use rayon::prelude::*;

use crate::kiln::{Project, assert_none, difference_to_file, files_below, relative, repository};

const FOLDER: &str = "tests/pipelines";

/// The fewest kinds of pipelines.
const FEWEST: usize = 8;

fn problems(file: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let project = Project::of(&text).with_files_of(&text);
    let mut problems = Vec::new();
    let mut claim = |holds: bool, what: &str, said: String| {
        if !holds {
            problems.push(format!("{}: {what}:\n{said}", relative(file)));
        }
    };
    let checked = project.kiln("check");
    claim(checked.code() == Some(0) && checked.stderr().is_empty(), "check", checked.stderr());
    let formatted = project.kiln("fmt --check");
    claim(formatted.code() == Some(0), "fmt", formatted.stderr());
    if text.contains("\nspec \"") {
        let met = project.kiln("spec");
        claim(met.code() == Some(0), "spec", met.stdout() + &met.stderr());
    }
    let planned = project.kiln("plan");
    claim(planned.code() == Some(0), "plan", planned.stderr());
    problems.extend(difference_to_file(&file.with_extension("plan.txt"), &planned.stdout()));
    problems
}

#[test]
fn real_pipelines_are_sound_and_plan_what_was_approved() {
    let mut files = files_below(&repository(FOLDER));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pipe"));
    assert!(files.len() >= FEWEST, "{files:?}");
    assert_none(&files.par_iter().flat_map(|file| problems(file)).collect::<Vec<_>>());
}

#[test]
fn each_real_pipeline_is_told_of() {
    let page = std::fs::read_to_string(repository(FOLDER).join("README.md")).unwrap();
    let untold = files_below(&repository(FOLDER)).into_iter().filter_map(|file| {
        let name = file.file_name()?.to_str()?.to_owned();
        (name.ends_with(".pipe") && !page.contains(&format!("`{name}`"))).then_some(name)
    });
    assert_none(&untold.collect::<Vec<_>>());
}
