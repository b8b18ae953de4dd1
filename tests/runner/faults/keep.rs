//! Folders that a step keeps for its own next run: compilers must see each edit, and nothing else.

use crate::faults::{Subject, as_ordinary_user, notices};
use crate::kiln::{Project, skipped};

/// Two objects, a program of both, and what it said when it was run.
const MAKE: &str = r#"
build app {
  keep = ["obj"]
  in files("*.c", "Makefile")
  run sh """
    mkdir -p obj
    make -s -C obj -f ../Makefile VPATH=.. app
    ./obj/app
    cp obj/app {{out.bin}}
  """
  out bin: file
}
"#;

const MAKEFILE: &str = "app: a.o b.o\n\tcc -o $@ $^\n\
                        %.o: %.c\n\t@echo compiles $(notdir $<)\n\tcc -c $< -o $@\n";

const MAIN: &str = "#include <stdio.h>\nconst char *b(void);\n\
                    int main(void) { printf(\"app says %s\\n\", b()); return 0; }\n";

fn b(word: &str) -> String {
    format!("const char *b(void) {{ return \"{word}\"; }}\n")
}

/// Runs the stage `app`; returns what it wrote.
fn said(subject: &Subject, project: &Project) -> String {
    let done = subject.kiln(project.path()).arguments(["run", "--ui", "plain"]).run().exits(0);
    assert!(done.stderr().contains("(1 ran)"), "{}", done.stderr());
    subject.kiln(project.path()).arguments(["log", "app"]).run().exits(0).stdout()
}

fn make_sees_edits(subject: &Subject) {
    let project =
        Project::of(MAKE).with("Makefile", MAKEFILE).with("a.c", MAIN).with("b.c", b("one"));
    let all = "compiles a.c\ncompiles b.c\napp says one\n";
    assert_eq!(said(subject, &project), all, "the first time");
    project.write("b.c", b("two"));
    assert_eq!(said(subject, &project), "compiles b.c\napp says two\n", "after an edit");
    // As long, and back to what the object before the last was made from.
    project.write("b.c", b("six"));
    assert_eq!(said(subject, &project), "compiles b.c\napp says six\n", "after another edit");
    // A new file is no reason to compile the others.
    project.write("c.c", "");
    assert_eq!(said(subject, &project), "app says six\n", "beside a new file");
    // Another command finds nothing that this one left.
    project.write("pipeline.pipe", MAKE.replace("VPATH", "CFLAGS=-O2 VPATH"));
    let all = "compiles a.c\ncompiles b.c\napp says six\n";
    assert_eq!(said(subject, &project), all, "with other flags");
}

#[test]
fn make_sees_what_was_edited_and_nothing_else() {
    make_sees_edits(&Subject::real());
    as_ordinary_user(make_sees_edits);
}

#[test]
fn inputs_with_old_times_are_noticed() {
    notices("OldClocks", "after an edit", make_sees_edits);
}

#[test]
fn a_step_that_fails_leaves_nothing_to_the_next() {
    let project = Project::of(
        r#"
build app {
  keep = ["kept"]
  in file("verdict")
  run sh """
    cat kept/runs 2>/dev/null || echo none
    mkdir -p kept
    cat verdict >>kept/runs
    grep -q good verdict
    cp kept/runs {{out.runs}}
  """
  out runs: file
}
"#,
    )
    .with("verdict", "good\n");
    let log = || project.kiln("log app").exits(0).stdout();
    project.kiln("run").exits(0);
    assert_eq!(log(), "none\n");
    project.write("verdict", "bad\n");
    project.kiln("run").exits(1);
    assert_eq!(log(), "good\n");
    project.write("verdict", "good again\n");
    project.kiln("run").exits(0);
    assert_eq!(log(), "good\n", "what the failed run left was found");
    project.kiln("run --rerun app").exits(0);
    assert_eq!(log(), "good\ngood again\n");
}

#[test]
fn what_another_tool_left_is_not_found() {
    let project = Project::of(
        r#"
build tool {
  in file("version")
  run sh "mkdir {{out.folder}}/bin; cp version {{out.folder}}/bin/data"
  out folder: dir
}

build made {
  tools = [tool.folder, tree("own")]
  keep  = ["kept"]
  run sh """
    mkdir -p kept
    cat kept/runs 2>/dev/null || echo none
    echo ran >>kept/runs
  """
}
"#,
    )
    .with("version", "1")
    .with("own/bin/tool", "1");
    let said = || {
        project.kiln("run --rerun made").exits(0);
        project.kiln("log made").exits(0).stdout()
    };
    assert_eq!((said(), said()), ("none\n".to_owned(), "ran\n".to_owned()));
    project.write("version", "2");
    assert_eq!(said(), "none\n", "a tool that a step made is another one");
    project.write("own/bin/tool", "2");
    assert_eq!(said(), "none\n", "a tool of the project is another one");
    assert_eq!(said(), "ran\n");
}

#[test]
fn two_runs_at_once_do_not_share_what_is_kept() {
    let text = r#"
build app {
  keep = ["kept"]
  in file("number")
  run sh """
    mkdir -p kept
    test ! -e kept/held
    touch kept/held
    sleep 0.5
    rm kept/held
    cat number >{{out.text}}
  """
  out text: file
}
"#;
    let project = Project::of(text).with("number", "1\n");
    project.kiln("run").exits(0);
    let mut children = Vec::new();
    for number in 2..5 {
        project.write("number", format!("{number}\n"));
        let call = crate::kiln::Kiln::new(project.path()).arguments(["run", "--ui", "quiet"]);
        children.push(call.command().spawn().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn cargo_sees_what_was_edited() {
    let has_cargo = std::process::Command::new("cargo").arg("--version").output();
    if !has_cargo.is_ok_and(|done| done.status.success()) {
        return skipped("no cargo");
    }
    let project = Project::of(
        r#"
build app {
  tools = [host.tool("cargo"), host.tool("rustc")]
  keep  = ["target"]
  in files("Cargo.toml", "src/**")
  run sh "cargo run --quiet --offline; cp target/debug/app {{out.bin}}"
  out bin: file
}
"#,
    )
    .with("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n")
    .with("src/main.rs", "mod word;\nfn main() { println!(\"app says {}\", word::WORD); }\n");
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = project.at("cache");
    for word in ["one", "two", "six"] {
        project.write("src/word.rs", format!("pub const WORD: &str = \"{word}\";\n"));
        // The tools of the machine are found as its user finds them.
        let call = Subject::real().kiln(project.path()).env("HOME", &home);
        let call = call.env("KILN_CACHE", cache.to_str().unwrap());
        let done = call.arguments(["run", "--ui", "plain"]).run().exits(0);
        assert!(done.stderr().contains("(1 ran)"), "{}", done.stderr());
        let log = Subject::real().kiln(project.path()).env("KILN_CACHE", cache.to_str().unwrap());
        let log = log.arguments(["log", "app"]).run().exits(0).stdout();
        assert_eq!(log, format!("app says {word}\n"));
    }
}
