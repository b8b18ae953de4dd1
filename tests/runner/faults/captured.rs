//! Row 17: outs that somebody changes after they were captured.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use crate::faults::{Subject, notices};
use crate::kiln::{Project, files_below};

/// A step with a file and a folder.
const MADE: &str = r#"
build made {
  run sh """
    echo one >{{out.f}}
    mkdir -p {{out.d}}
    echo two >{{out.d}}/two
    echo '#!/bin/sh' >{{out.d}}/program
    chmod +x {{out.d}}/program
  """
  out f: file
  out d: dir
}
"#;

/// The blobs of a project's store.
fn blobs(project: &Project) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_below(&project.at(".cache/kiln/v1/cas"));
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// Writes into all outs of a project, in place.
fn edit_outs(project: &Project) {
    for path in ["out/made/f", "out/made/d/two", "out/made/d/program"] {
        let mut file = std::fs::File::options().append(true).open(project.at(path)).unwrap();
        file.write_all(b"edited\n").unwrap();
    }
}

/// Outs in the project are the user's own, and no way into the store.
fn edits_do_not_reach_the_store(subject: &Subject) {
    let project = Project::of(MADE);
    for round in ["made", "restored"] {
        subject.kiln(project.path()).arguments(["run"]).run().exits(0);
        let before = blobs(&project);
        edit_outs(&project);
        assert!(before == blobs(&project), "an edit of an out changed a blob when {round}");
        std::fs::remove_dir_all(project.at("out")).unwrap();
    }
    project.kiln("run").exits(0).tells("1 cached");
    assert_eq!(std::fs::read_to_string(project.at("out/made/f")).unwrap(), "one\n");
    assert_eq!(std::fs::read_to_string(project.at("out/made/d/two")).unwrap(), "two\n");
}

#[test]
fn an_edit_of_an_out_does_not_reach_the_store() {
    edits_do_not_reach_the_store(&Subject::real());
}

#[test]
fn outs_that_are_files_of_the_store_are_noticed() {
    notices("LinkOuts", "an edit of an out changed a blob", edits_do_not_reach_the_store);
}

#[test]
fn an_edited_out_is_put_right_by_the_next_run() {
    let project = Project::of(MADE);
    project.kiln("run").exits(0);
    edit_outs(&project);
    project.kiln("run").exits(0).tells("1 cached");
    assert_eq!(std::fs::read_to_string(project.at("out/made/f")).unwrap(), "one\n");
    assert_eq!(std::fs::read_to_string(project.at("out/made/d/two")).unwrap(), "two\n");
}

/// A process that still has an out open when the step's script ends. It is dead before the out is
/// read, so what is captured is whole, and stays.
#[test]
fn what_keeps_an_out_open_is_dead_before_it_is_captured() {
    let text = r#"
build made {
  run sh """
    exec 3>{{out.f}}
    echo begin >&3
    (trap '' TERM HUP INT; while :; do echo more >&3; done) >/dev/null 2>&1 &
    setsid sh -c 'while :; do echo more >&3; done' >/dev/null 2>&1 &
    sleep 0.05
  """
  out f: file
}

build copy {
  run sh "cat {{made.f}} >{{out.f}}"
  out f: file
}
"#;
    let project = Project::of(text);
    project.kiln("run").exits(0);
    let before = blobs(&project);
    let made = std::fs::read(project.at("out/made/f")).unwrap();
    assert!(made.starts_with(b"begin\nmore\n"));
    assert!(made == std::fs::read(project.at("out/copy/f")).unwrap());
    std::fs::remove_dir_all(project.at("out")).unwrap();
    project.kiln("run").exits(0).tells("2 cached");
    assert!(made == std::fs::read(project.at("out/made/f")).unwrap());
    assert!(before == blobs(&project));
    project.kiln("cache verify").exits(0);
}
