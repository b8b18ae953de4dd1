//! `kiln shell`: a look into a step, in the state in which it failed.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::kiln::{Kiln, Project, skipped};

const BAD: &str = r#"
build dep {
  run sh "echo dep > {{out.o}}"
  out o: file
}

build bad {
  in files("src/**")
  in dep.o at "dep"
  env FLAVOUR = "sweet"
  run sh """
    echo made > made; mkdir -p target/x; echo o > target/x/o; ln -s made link
    echo more >> src/a; rm src/b; rm -r src/old; mkdir src/old; echo new > src/old/n
    echo part > {{out.o}}
    exit 3
  """
  out o: file
}
"#;

fn bad() -> Project {
    let project = Project::of(BAD);
    for path in ["src/a", "src/b", "src/old/c"] {
        project.write(path, "text\n");
    }
    project
}

/// Has a shell read these lines.
fn types(project: &Project, arguments: &str, lines: &str) -> Output {
    let arguments: Vec<_> = std::iter::once("shell").chain(arguments.split(' ')).collect();
    let mut call = Kiln::new(project.path()).arguments(arguments).command();
    call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = call.spawn().unwrap();
    // One that does not begin reads nothing.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn says(output: &Output, code: i32, stdout: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{errors}");
    assert_eq!(output.status.code(), Some(code), "{errors}");
}

fn tells(output: &Output, part: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(part), "{told}");
}

const LOOK: &str = "echo $FLAVOUR; pwd; find . -path ./.kiln/run -prune -o ! -type d -print | sort; cat src/a link; exit 7\n";

#[test]
fn a_shell_finds_what_a_failed_step_left_and_its_inputs_where_asked() {
    let project = bad();
    let unmade = types(&project, "bad", "echo here\n");
    says(&unmade, 2, "");
    tells(&unmade, "help: make it: kiln run dep");
    project.kiln("run").exits(1).tells("next      kiln shell bad");
    let left = types(&project, "bad", LOOK);
    let found = "./.kiln/out/o\n./dep\n./link\n./made\n./src/a\n./src/old/n\n./target/x/o\n";
    says(&left, 7, &format!("sweet\n/build\n{found}text\nmore\nmade\n"));
    // What is done there stays there.
    says(&types(&project, "bad", "rm -r src made; exit\n"), 0, "");
    says(&types(&project, "bad", LOOK), 7, &format!("sweet\n/build\n{found}text\nmore\nmade\n"));
    let fresh = types(
        &project,
        "--fresh bad",
        "find . -path ./.kiln/run -prune -o ! -type d -print | sort\n",
    );
    says(&fresh, 0, "./dep\n./src/a\n./src/b\n./src/old/c\n");
}

#[test]
fn what_is_not_as_it_failed_is_said_to_be_so() {
    let project = bad();
    project.kiln("run").exits(1);
    let elsewhere = types(&project, "--cache other bad", "ls\n");
    tells(&elsewhere, "help: make it: kiln run dep");
    project.write("src/a", "edited\n");
    let edited = types(&project, "bad", "cat src/a; ls src\n");
    says(&edited, 0, "edited\na\nb\nold\n");
    tells(&edited, "note: `bad` is shown with its inputs: it has changed since it failed");
    project.write("pipeline.pipe", BAD.replace("exit 3", "exit 0"));
    project.kiln("run").exits(0);
    tells(&types(&project, "bad", "true\n"), "nothing is kept of a failure");
    let notes = std::fs::read_dir(project.at(".kiln/failed")).unwrap();
    assert_eq!(notes.count(), 0, "a note of a failure outlives it");
}

#[test]
fn steps_are_named_as_runs_name_them() {
    let project = Project::of("test unit for (n in range(1, 3)) {\n  run sh \"exit {{n}}\"\n}\n");
    let many = types(&project, "unit", "");
    says(&many, 2, "");
    tells(&many, "`unit` is 3 steps:");
    tells(&many, "help: name one: kiln shell 'unit[n: 1]'");
    says(&types(&project, "unit[n:2]", "exit 4\n"), 4, "");
    tells(&types(&project, "unti", ""), "help: did you mean `unit`?");
}

#[test]
fn a_step_with_secrets_leaves_nothing() {
    let text =
        "secret TOKEN\n\ntest bad {\n  secret TOKEN\n  run sh \"echo $TOKEN > made; exit 1\"\n}\n";
    let project = Project::of(text);
    let run = Kiln::new(project.path()).arguments(["run"]);
    run.env("KILN_SECRET_TOKEN", "hunter2hunter2").run().exits(1);
    for file in crate::kiln::files_below(project.path()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let has_it = bytes.windows(14).any(|bytes| bytes == b"hunter2hunter2");
        assert!(!has_it, "{}", file.display());
    }
    let ungiven = types(&project, "bad", "ls\n");
    assert_ne!(ungiven.status.code(), Some(0));
    let arguments = ["shell", "--secret", "TOKEN=env:OTHER", "bad"];
    let call = Kiln::new(project.path()).arguments(arguments).env("OTHER", "abcdefghijk");
    let mut child = call.command();
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"echo $TOKEN\n").unwrap();
    says(&child.wait_with_output().unwrap(), 0, "abcdefghijk\n");
}

#[test]
fn a_root_without_a_shell_gets_a_small_one() {
    let project =
        Project::of("test t {\n  image = rootfs(\"root\")\n  run [\"/bin/hello\", \"x\"]\n}\n");
    project.write("root/etc/motd", "good day\n");
    let source = tempfile::tempdir().unwrap();
    let source = source.path().join("hello.c");
    std::fs::write(
        &source,
        "#include <stdio.h>\nint main(int n) { puts(\"hello\"); return n > 1 ? 3 : 0; }\n",
    )
    .unwrap();
    std::fs::create_dir_all(project.at("root/bin")).unwrap();
    let built = Command::new("cc")
        .args(["-static", "-o"])
        .arg(project.at("root/bin/hello"))
        .arg(&source)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return skipped("no `cc` that links statically");
    }
    project.kiln("run").exits(1);
    let output =
        types(&project, "t", "pwd\ncat /etc/motd\nhello\ncd /etc\nls\ncat no\nhello x\nexit\n");
    says(&output, 3, "/build\ngood day\nhello\n-0644            9 motd\nhello\n");
    tells(&output, "kiln-shell: cat: No such file or directory");
}

#[test]
fn a_terminal_is_passed_on() {
    let project = bad();
    project.kiln("run").exits(1);
    let kiln = Kiln::new(project.path()).arguments(["shell", "bad"]).command();
    let line = format!("{} shell bad", kiln.get_program().to_str().unwrap());
    let mut call = Command::new("script");
    call.args(["-qec", &line, "/dev/null"]).current_dir(project.path()).env_clear();
    call.envs(kiln.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "xterm");
    call.stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = call.spawn() else { return skipped("no `script`") };
    let mut stdin = child.stdin.take().unwrap();
    let shown = Arc::new(Mutex::new(Vec::new()));
    let (mut stdout, to) = (child.stdout.take().unwrap(), Arc::clone(&shown));
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            to.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    let text = || String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    let waits_for = |what: &str| {
        let is_there = (0..300).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            text().contains(what)
        });
        assert!(is_there, "no `{what}`: {}", text());
    };
    waits_for("what you change here is gone then");
    stdin.write_all(b"test -t 0 && echo $((40+2)) $TERM; sleep 100\n").unwrap();
    waits_for("42 xterm-256color");
    std::thread::sleep(Duration::from_millis(300));
    stdin.write_all(b"\x03").unwrap();
    stdin.write_all(b"cat made; exit 5\n").unwrap();
    let status = crate::kiln::wait_at_most(&mut child, Duration::from_secs(30));
    drop(stdin);
    reader.join().unwrap();
    let shown = text();
    assert_eq!(status.and_then(|status| status.code()), Some(5), "{shown}");
    assert!(shown.contains("shell in `bad`, as it failed in run "), "{shown}");
    assert!(shown.contains(" 5 files of its own, without src/b, src/old/c"), "{shown}");
    assert!(shown.contains("42 xterm-256color") && shown.contains("made\r\n"), "{shown}");
}
