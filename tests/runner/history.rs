//! The history of the project in its steps.

use std::process::Command;

use crate::kiln::Project;

/// Runs git in a project, as somebody.
pub(crate) fn git(project: &Project, line: &str) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=A", "-c", "user.email=a@example.org"]);
    let done = git.args(line.split(' ')).current_dir(project.path()).output().unwrap();
    assert!(done.status.success(), "git {line}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_step_has_the_history_that_it_takes_and_runs_again_when_it_goes_on() {
    let project = Project::of(
        r#"
build version {
  in host.git.repo
  run sh "git describe --dirty >{{out.text}}; git status --porcelain"
  out text: file
}

test elsewhere {
  run sh """
    git --git-dir {{host.git.repo}} log --format=%s
    git --git-dir {{host.git.repo}} rev-parse --abbrev-ref HEAD
    touch {{host.git.repo}}/changed
  """
}

test without {
  run sh "ls -A"
}
"#,
    );
    git(&project, "init --quiet --initial-branch=main");
    git(&project, "add .");
    git(&project, "commit --quiet --message=first");
    git(&project, "tag --annotate --message=x v1.0");
    let version = || std::fs::read_to_string(project.at("out/version/text")).unwrap();
    let run = || {
        let done = project.kiln("run --ui plain").exits(0);
        let told = done.stderr();
        let words = |name: &str| {
            let line = told.lines().find(|line| line.split_whitespace().last() == Some(name));
            line.unwrap_or_else(|| panic!("{told}")).split(' ').next().unwrap().to_owned()
        };
        ["version", "elsewhere", "without"].map(words)
    };
    assert_eq!(run(), ["ran", "ran", "ran"]);
    assert_eq!(version(), "v1.0\n");
    project.kiln("log version").exits(0).says("");
    project.kiln("log without").exits(0).says(".kiln\n");
    let planned = project.kiln("plan").exits(0).stdout();
    assert!(planned.ends_with("3 in the cache\n"), "{planned}");
    // Neither an edit nor another branch at another commit is a part of it; nor how it is packed.
    project.write("note", "not committed");
    git(&project, "branch other");
    git(&project, "gc --quiet");
    assert_eq!(run(), ["cached", "cached", "cached"]);
    git(&project, "add note");
    git(&project, "commit --quiet --message=second");
    assert_eq!(run(), ["ran", "ran", "cached"]);
    assert!(version().starts_with("v1.0-1-g"), "{}", version());
    project
        .kiln("why version")
        .exits(0)
        .says("`version` ran, since\n  the input `host.git.repo` changed\n");
    git(&project, "tag --annotate --message=x v1.1");
    assert_eq!(run(), ["ran", "ran", "cached"]);
    assert_eq!(version(), "v1.1\n");
    // What the store lost is made again.
    git(&project, "commit --quiet --allow-empty --message=third");
    std::fs::remove_dir_all(project.at(".kiln")).unwrap();
    run();
    assert!(version().starts_with("v1.1-1-g"), "{}", version());
}

#[test]
fn where_there_is_no_history_the_reason_is_told() {
    let text = "test unit {\n  in host.git.repo\n  run sh \"git log\"\n}\n";
    let project = Project::of(text);
    let done = project.kiln("run").exits(3);
    assert!(done.stderr().contains("the project is no git repository"), "{}", done.stderr());
    let part = text.replace("host.git.repo", "host.git.repo / \"HEAD\"");
    let project = Project::of(part);
    git(&project, "init --quiet --initial-branch=main");
    git(&project, "commit --quiet --allow-empty --message=first");
    let done = project.kiln("run").exits(3);
    assert!(done.stderr().contains("the history is taken as a whole"), "{}", done.stderr());
}
