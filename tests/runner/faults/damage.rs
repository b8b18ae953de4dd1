//! Row 5: stores that are damaged, also where inputs are laid out already.

use std::path::{Path, PathBuf};

use crate::faults::{Subject, notices, soaked, times};
use crate::kiln::{Done, Project, files_below};

/// With each `round` the last step runs again, on inputs that are laid out already: files of the
/// project, a folder that a step made, files that steps made, and a tool.
const PIPELINE: &str = r#"
param round: int = 0

build part for (n in range(1, 3)) {
  in file("src/{{n}}")
  run sh "cat src/* > {{out.o}}; echo {{n}} >> {{out.o}}"
  out o: file
}

build folder {
  in file("src/1")
  run sh "for n in 1 2 3 4; do cat src/1 > {{out.d}}/$n; echo folder $n >> {{out.d}}/$n; done"
  out d: dir
}

build all {
  in files("src/*")
  tools = [tree("tool")]
  run sh "cat src/* {{[part[n: n].o for n in range(1, 3)]}} {{folder.d}}/* > {{out.o}}; say {{round}} >> {{out.o}}"
  out o: file
}
"#;

const COPY: &str =
    "build copy {\n  in file(\"a\")\n  run sh \"cat a a > {{out.b}}\"\n  out b: file\n}\n";

/// A bit that flipped in any blob of the store reaches no out.
fn flipped_blobs_are_not_used(subject: &Subject) {
    let project = Project::of(COPY).with("a", "some text\n");
    subject.kiln(project.path()).arguments(["run"]).run().exits(0);
    for blob in files_below(&project.at(".cache/kiln/v1/cas")) {
        let mut bytes = std::fs::read(&blob).unwrap();
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 1;
        }
        std::fs::write(&blob, bytes).unwrap();
    }
    std::fs::remove_dir_all(project.at("out")).unwrap();
    subject.kiln(project.path()).arguments(["run"]).run().exits(0);
    let out = std::fs::read_to_string(project.at("out/copy/b")).unwrap();
    assert_eq!(out, "some text\nsome text\n", "a damaged blob was used");
}

#[test]
fn a_damaged_blob_is_not_used() {
    flipped_blobs_are_not_used(&Subject::real());
}

#[test]
fn a_damaged_blob_that_is_believed_is_noticed() {
    notices("BelieveBlobs", "a damaged blob was used", flipped_blobs_are_not_used);
}

/// What the last step makes of these three sources.
fn all_of(round: usize) -> String {
    let source = |n: usize| format!("source {n}\n");
    let sources: String = (1..=3).map(source).collect();
    let parts: String = (1..=3).map(|n| format!("{}{n}\n", source(n))).collect();
    let folder: String = (1..=4).map(|n| format!("{}folder {n}\n", source(1))).collect();
    format!("{sources}{parts}{folder}{round}\n")
}

/// All files of the store that say or hold something.
fn entries(store: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        ["ac", "cas", "trees"].iter().flat_map(|part| files_below(&store.join(part))).collect();
    files.sort();
    files
}

/// Damages the bytes of a file in place and gives it its old modification time.
fn damage(file: &Path, other: &Path, way: usize) {
    let good = std::fs::read(file).unwrap();
    let time = std::fs::metadata(file).unwrap().modified().unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    match way {
        // Half of them flip a bit, which no size tells.
        0 | 2 | 4 if !bad.is_empty() => bad[middle] ^= 1 << (way % 8),
        1 => bad.truncate(middle),
        3 => bad.clear(),
        _ => bad = std::fs::read(other).unwrap(),
    }
    std::fs::write(file, bad).unwrap();
    std::fs::File::open(file).unwrap().set_modified(time).unwrap();
}

/// Returns a project of the pipeline with all files that it needs.
fn project() -> Project {
    let tool = "tool/bin/say";
    let mut project = Project::of(PIPELINE).with(tool, "#!/bin/sh\necho \"$@\"\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(project.at(tool), mode).unwrap();
    for n in 1..=3 {
        project = project.with(&format!("src/{n}"), format!("source {n}\n"));
    }
    project
}

fn run(subject: &Subject, project: &Project, round: usize) -> Done {
    let round = format!("round={round}");
    subject.kiln(project.path()).arguments(["run", "-p", &round]).run()
}

fn damage_reaches_no_out(subject: &Subject) {
    let project = project();
    let run = |round: usize| run(subject, &project, round);
    run(0).exits(0);
    let store = project.at(".cache/kiln/v1");
    let damages = times(200, 1000);
    for round in 1..=damages {
        let entries = entries(&store);
        let at = |step: usize| &entries[round * step % entries.len()];
        damage(at(7919), at(104_729), round % 6);
        // One in five runs finds all in the cache, and none of its outs in the project.
        let asked = if round % 5 == 0 { round - 1 } else { round };
        if round % 5 == 0 {
            std::fs::remove_dir_all(project.at("out")).unwrap();
            std::fs::remove_dir_all(project.at(".kiln")).unwrap();
        }
        let damaged = at(7919).strip_prefix(&store).unwrap().display();
        let done = run(asked);
        // What a step does with a damaged tool is to fail.
        let told = done.stderr();
        assert_eq!(done.code(), Some(0), "damage {round} of {damaged} was used:\n{told}");
        let out = std::fs::read_to_string(project.at("out/all/o")).unwrap();
        assert_eq!(out, all_of(asked), "damage {round} of {damaged} was used");
    }
    // What no run came across is found by a look at everything, once.
    let verify = || subject.kiln(project.path()).arguments(["cache", "verify"]).run();
    verify().exits(4);
    verify().exits(0);
    run(damages + 1).exits(0);
    soaked(&format!("{damages} damages to the store: 0 wrong outs, all healed"));
}

/// Nothing makes a tool again: it is in the project.
#[test]
fn a_damaged_tool_is_taken_in_again() {
    let project = project();
    // In the first runs the folder is so young that it is not remembered.
    for round in 0..6 {
        run(&Subject::real(), &project, round).exits(0);
    }
    let blobs = files_below(&project.at(".cache/kiln/v1/cas"));
    let programs: Vec<_> =
        blobs.iter().filter(|blob| blob.extension().is_some_and(|end| end == "x")).collect();
    assert!(!programs.is_empty());
    programs.iter().for_each(|blob| damage(blob, blob, 0));
    run(&Subject::real(), &project, 6).exits(0);
    assert_eq!(std::fs::read_to_string(project.at("out/all/o")).unwrap(), all_of(6));
}

#[test]
fn no_damage_of_a_store_reaches_an_out() {
    damage_reaches_no_out(&Subject::real());
}

#[test]
fn damage_of_inputs_that_are_laid_out_already_is_noticed() {
    notices("BelieveTrees", "was used", damage_reaches_no_out);
}
