//! Row 6: stores that are read-only, full, another's or lost. The outs are right and there is one
//! warning.

use std::path::Path;
use std::process::Command;

use crate::faults::{ORDINARY, Subject, as_ordinary_user, notices};
use crate::kiln::{Done, Kiln, Project, skipped};

/// The second step needs what the first made, and has an input of its own.
const PIPELINE: &str = r#"
build first {
  in file("a")
  run sh "head -c 400000 /dev/zero | tr '\\0' a > {{out.o}}; cat a >> {{out.o}}"
  out o: file
}

build second {
  in file("b")
  run sh "tail -n 1 {{first.o}} > {{out.o}}; cat b >> {{out.o}}"
  out o: file
}
"#;

fn project() -> Project {
    Project::of(PIPELINE).with("a", "one\n").with("b", "two\n")
}

#[track_caller]
fn is_right(project: &Project, done: Done, warning: &str) {
    let done = done.exits(0).tells(warning);
    let told = done.stderr();
    assert_eq!(told.matches("warning").count(), 1, "more than one warning:\n{told}");
    let out = std::fs::read_to_string(project.at("out/second/o")).unwrap();
    assert!(out.ends_with("aone\ntwo\n"), "a wrong out");
}

/// A store that may be read and not written.
fn a_read_only_store_is_no_trouble(subject: &Subject) {
    let project = project();
    subject.kiln(project.path()).arguments(["run"]).run().exits(0);
    std::fs::remove_dir_all(project.at("out")).unwrap();
    std::fs::remove_dir_all(project.at(".kiln")).unwrap();
    let store = project.at(".cache/kiln/v1");
    let set_mode = |folder: &Path, mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(folder, mode).unwrap();
    };
    for folder in ["leases", "tmp", ""] {
        set_mode(&store.join(folder), 0o500);
    }
    let done = subject.kiln(project.path()).arguments(["run"]).run();
    for folder in ["", "leases", "tmp"] {
        set_mode(&store.join(folder), 0o700);
    }
    is_right(&project, done, "temporary store");
}

/// A file where the store should be.
fn a_store_that_cannot_be_made_is_no_trouble(subject: &Subject) {
    let project = project().with("file", "");
    let done = subject.kiln(project.path()).arguments(["run", "--cache", "file"]).run();
    is_right(&project, done, "temporary store");
}

#[test]
fn a_store_that_cannot_be_had_gives_a_warning() {
    a_store_that_cannot_be_made_is_no_trouble(&Subject::real());
}

#[test]
fn a_run_that_ends_without_its_store_is_noticed() {
    notices("InsistOnStore", "not 0", a_store_that_cannot_be_made_is_no_trouble);
}

#[test]
fn a_read_only_store_gives_a_warning() {
    match rustix::process::geteuid().is_root() {
        // The modes of files mean nothing to root.
        true => as_ordinary_user(a_read_only_store_is_no_trouble),
        false => a_read_only_store_is_no_trouble(&Subject::real()),
    }
}

#[test]
fn another_users_store_gives_a_warning() {
    let project = project().with("store/", "");
    let given = Command::new("chown").arg(ORDINARY).arg(project.at("store")).status();
    if !given.is_ok_and(|status| status.success()) {
        return skipped("only root can give a folder to another user");
    }
    let done = project.kiln("run --cache store");
    is_right(&project, done, "temporary store");
}

/// Returns a call with a file system of its own in `store`; `None` where none can be mounted.
fn on_mount(project: &Project, options: &str, script: &str) -> Option<Kiln> {
    let root = if rustix::process::geteuid().is_root() { "" } else { " --user --map-root-user" };
    let inner = format!("mount -t tmpfs -o {options} none store && {{ {script}; }}");
    let line = format!("exec unshare --mount{root} sh -c '{inner}' \"$0\"");
    let can = Kiln::through_shell(project.path(), &line.replace(script, "true")).run().code();
    if can != Some(0) {
        skipped("no file system can be mounted for a process of its own");
        return None;
    }
    Some(Kiln::through_shell(project.path(), &line))
}

#[test]
fn a_store_on_a_read_only_file_system_gives_a_warning() {
    let project = project().with("store/", "");
    let run = "\"$0\" run --cache store";
    let Some(call) = on_mount(&project, "ro,size=64m,mode=700", run) else { return };
    is_right(&project, call.run(), "temporary store");
}

/// From no room at all to room for almost everything: it is full at any moment of the run.
#[test]
fn a_store_that_is_full_or_fills_up_gives_a_warning() {
    for kib in [4, 64, 128, 256, 400, 440] {
        let project = project().with("store/", "");
        let (options, run) = (format!("size={kib}k,mode=700"), "\"$0\" run --cache store");
        let Some(call) = on_mount(&project, &options, run) else { return };
        is_right(&project, call.run(), "temporary store");
    }
}

/// A store that someone removes while a run uses it.
#[test]
fn a_store_that_is_lost_during_the_run_gives_a_warning() {
    let project = Project::of(format!(
        "{PIPELINE}\nbuild slow {{\n  in file(\"a\")\n  run sh \"echo begun; sleep 1; \
         cat {{{{second.o}}}} > {{{{out.o}}}}\"\n  out o: file\n}}\n"
    ));
    let project = project.with("a", "one\n").with("b", "two\n");
    let store = project.at(".cache/kiln");
    let mut kiln = Kiln::new(project.path()).arguments(["run", "--ui", "jsonl"]).command();
    let mut child = kiln.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let events = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(events).map_while(Result::ok);
    assert!(lines.any(|line| line.contains("begun")));
    std::fs::rename(&store, project.at("lost")).unwrap();
    let rest: Vec<_> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:#?}");
    let warnings = rest.iter().filter(|line| line.contains("\"warning\"")).count();
    assert_eq!(warnings, 1, "{rest:#?}");
    let out = std::fs::read_to_string(project.at("out/slow/o")).unwrap();
    assert!(out.ends_with("aone\ntwo\n"));
}
