//! Where user namespaces are refused, as in many containers: Kiln says so, with what cures it, and the
//! examples run in the weak sandbox.

use std::path::Path;
use std::process::Output;

use crate::kiln::{Kiln, Project, by_way_of, repository, skipped};
use crate::stdlib::missing;

/// Runs Kiln in a container without user namespaces: as a user of no rights in one that may have no more.
fn contained(folder: &Path, arguments: &[&str]) -> Output {
    let call = Kiln::new(folder).arguments(arguments.iter().copied()).command();
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let namespaces = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"];
    let arguments = [&namespaces[..], &["sh", "-c", script, "sh"]].concat();
    by_way_of("unshare", &arguments, &call).output().unwrap()
}

fn can_contain() -> bool {
    let tried = contained(Path::new("/"), &["--version"]);
    tried.status.success()
}

#[test]
fn refused_namespaces_are_told_with_both_ways_on() {
    if !can_contain() {
        return skipped("no container can be made here");
    }
    let project = Project::new().with_copy_of(&repository("examples/hello"));
    let refused = contained(project.path(), &["run"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{told}");
    for part in ["the system refuses user namespaces", "max_user_namespaces", "--sandbox weak"] {
        assert!(told.contains(part), "no word of `{part}`:\n{told}");
    }
}

#[test]
fn the_examples_run_in_the_weak_sandbox_of_a_container() {
    if !can_contain() {
        return skipped("no container can be made here");
    }
    // That in Python needs an index of packages.
    for (example, stages, needs) in [
        ("hello", &[][..], "sed,grep"),
        ("c-service", &["unit", "tallyd"], "cc,ar"),
        ("monorepo", &[], "gcc,ar"),
    ] {
        if let Some(program) = missing(needs) {
            skipped(&format!("examples/{example} needs `{program}`"));
            continue;
        }
        let project = Project::new().with_copy_of(&repository(&format!("examples/{example}")));
        let arguments = [&["run", "--sandbox", "weak"][..], stages].concat();
        let done = contained(project.path(), &arguments);
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(0), "examples/{example}: {told}");
        assert!(told.starts_with("warning: the weak sandbox was asked for"), "{told}");
        let again = contained(project.path(), &arguments);
        let told = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.success() && !told.contains("\nran "), "{told}");
    }
}
