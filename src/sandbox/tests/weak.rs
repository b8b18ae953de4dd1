//! What still holds in the weak sandbox.

use std::time::{Duration, Instant};

use super::*;

fn weak(attempt: Try) -> Result<Tried, SandboxError> {
    // A directory of its own: the tests run at one time, and one looks at what is left.
    let scratch = tempfile::tempdir().unwrap();
    let sandbox = Weak::new(Launcher::this_program().unwrap(), scratch.path().to_owned()).unwrap();
    let tried = attempt.run_in(&sandbox, &Cancel::new().unwrap());
    drop(sandbox);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    tried
}

#[test]
fn a_weak_step_has_inputs_and_outs() {
    let tried = weak(
        Try::shell("cat a b d/x; echo more >> a; cat a > d/out; pwd; echo $HOME; echo x > ~/f")
            .lower(&[("a", "first "), ("d/x", "x ")])
            .lower(&[("a", "second "), ("b", "below ")])
            .out("d", OutKind::Dir),
    )
    .unwrap();
    let text = tried.text();
    let (first, rest) = text.split_once('/').unwrap();
    assert_eq!(first, "first below x ");
    assert!(rest.contains("/build\n/") && rest.ends_with("/home\n"), "{text}");
    assert_eq!(tried.entries(0), ["out first more\\n", "x x "]);
    assert_eq!(std::fs::read(tried.dir().join("lower-0/a")).unwrap(), b"first ");
}

#[test]
fn a_weak_step_without_network_has_no_sockets() {
    let program = "import socket\ntry: socket.socket()\nexcept OSError as e: print(e.strerror)";
    let tried = weak(Try::new(["/usr/bin/python3", "-c", program])).unwrap();
    assert_eq!(tried.text(), "Address family not supported by protocol\n");
}

#[test]
fn a_weak_step_cannot_read_other_files() {
    if system::landlock_version() < 2 {
        return;
    }
    let canary = tempfile::tempdir().unwrap();
    std::fs::write(canary.path().join("canary"), "secret").unwrap();
    let script = format!(
        "cat {0}/canary; ls {0}; echo > {0}/new; cat /etc/shadow; mv a b; cat b",
        canary.path().display()
    );
    let tried = weak(Try::shell(&script).lower(&[("a", "mine")])).unwrap();
    assert_eq!(tried.text(), "mine");
    assert!(!canary.path().join("new").exists());
}

#[test]
fn a_weak_step_leaves_no_process() {
    let mark = format!("kiln-weak-{}", std::process::id());
    let script = "(setsid sh -c 'trap \"\" TERM; (sleep 1000 &); sleep 1000' &); echo done";
    let mut attempt = Try::shell(script);
    attempt.spec.env.push(("MARK".into(), mark.as_str().into()));
    let start = Instant::now();
    assert_eq!(weak(attempt).unwrap().text(), "done\n");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(super::ends::survivors(&mark), 0);
}

#[test]
fn a_weak_step_can_be_stopped() {
    let start = Instant::now();
    let script = "trap 'echo asked; exit' TERM; sleep 1000 & wait";
    let tried = weak(
        Try::shell(script).with(|spec| spec.limits.timeout = Some(Duration::from_millis(100))),
    )
    .unwrap();
    assert_eq!((tried.outcome.exit, &tried.stdout[..]), (Exit::TimedOut, &b"asked\n"[..]));
    assert!(start.elapsed() < Duration::from_secs(1));
}
