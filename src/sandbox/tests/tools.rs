//! Real tools at work in a step. One that this machine does not have is passed over.

use super::*;

/// Whether the host has this program among its system directories.
fn has(program: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

#[test]
fn a_c_program_is_made() {
    if !(has("gcc") && has("make")) {
        return;
    }
    let tried = Try::shell("make -s prog && ./prog")
        .lower(&[
            ("prog.c", "#include <stdio.h>\nint main(void) { puts(\"made\"); return 0; }\n"),
            ("Makefile", "prog: prog.c\n\tgcc -O1 -pipe -o $@ $<\n"),
        ])
        .run();
    assert_eq!(tried.text(), "made\n");
}

#[test]
fn python_starts_processes_and_threads() {
    let program = "import subprocess, threading, multiprocessing, tempfile, sqlite3\n\
        print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout, end='')\n\
        t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()\n\
        print(multiprocessing.get_context('fork').Pool(2).map(abs, [-1, -2]))\n\
        tempfile.TemporaryFile().write(b'x')";
    assert_eq!(
        Try::new(["/usr/bin/python3", "-c", program]).run().text(),
        "child\nthread\n[1, 2]\n"
    );
}

#[test]
fn git_makes_a_commit() {
    if !has("git") {
        return;
    }
    let script = "git init -q . && git add a && \
        git -c user.name=a -c user.email=b commit -q -m first && git log --format=%s";
    assert_eq!(Try::shell(script).lower(&[("a", "x")]).run().text(), "first\n");
}

#[test]
fn node_runs_with_its_workers() {
    if !has("node") {
        return;
    }
    let script = "node -e 'const {Worker} = require(\"worker_threads\"); \
        new Worker(\"console.log(1 + 1)\", {eval: true})'";
    assert_eq!(Try::shell(script).run().text(), "2\n");
}

/// Returns the directory of the Rust toolchain that built this test.
fn sysroot() -> Option<std::path::PathBuf> {
    let said = command("rustc").args(["--print", "sysroot"]).output().ok()?;
    let path = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    Path::new(&path).join("bin/cargo").exists().then(|| path.into())
}

#[test]
fn cargo_builds_and_tests() {
    let Some(sysroot) = sysroot().filter(|_| has("cc")) else { return };
    let path = format!("{}/bin:/usr/bin:/bin", sysroot.display());
    let tried = Try::shell("cargo test --offline -q 2>&1 | grep -c 'test result: ok. 1 passed'")
        .lower(&[
            ("Cargo.toml", "[package]\nname = \"a\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
            ("src/lib.rs", "#[test]\nfn one() { assert_eq!(1, 1) }\n"),
        ])
        .with(|spec| {
            spec.host_paths.push(sysroot);
            spec.env[0].1 = path.as_str().into();
        })
        .run();
    assert_eq!(tried.text(), "1\n");
}
