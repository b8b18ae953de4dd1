//! The one style: `tests/fmt/NAME.pipe` and what `kiln fmt` makes of it, `NAME.expected`.

use crate::kiln::{
    Project, assert_none, assert_same, difference, difference_to_file, files_below, relative,
    repository,
};

/// Returns a text in the one style.
#[track_caller]
fn formatted(text: &str) -> String {
    let project = Project::of(text);
    project.kiln("fmt pipeline.pipe").exits(0);
    std::fs::read_to_string(project.at("pipeline.pipe")).unwrap()
}

#[test]
fn every_file_comes_out_in_the_one_style() {
    let mut problems = Vec::new();
    for file in files_below(&repository("tests/fmt")) {
        let name = relative(&file);
        match name.rsplit_once('.') {
            Some((_, "pipe")) => {
                let text = formatted(&std::fs::read_to_string(&file).unwrap());
                problems.extend(difference_to_file(&file.with_extension("expected"), &text));
                problems.extend(difference(&format!("{name}, twice"), &text, &formatted(&text)));
            }
            Some((start, "expected")) if repository(&format!("{start}.pipe")).exists() => {}
            _ => problems.push(format!("{name} is read by no test")),
        }
    }
    assert_none(&problems);
}

#[test]
fn a_check_tells_and_changes_nothing() {
    let text = "build  app { run sh \"make\" }\n";
    let project = Project::of(text);
    project.kiln("fmt --check").exits(6);
    let after = std::fs::read_to_string(project.at("pipeline.pipe")).unwrap();
    assert_same("the file", text, &after);
    project.kiln("fmt").exits(0);
    project.kiln("fmt --check").exits(0).says_nothing();
}

#[test]
fn a_file_with_a_mistake_stays_as_it_is() {
    let text = "build  app { run sh \"make }\n";
    let project = Project::of(text);
    project.kiln("fmt").exits(3).tells("K0004");
    let after = std::fs::read_to_string(project.at("pipeline.pipe")).unwrap();
    assert_same("the file", text, &after);
}
