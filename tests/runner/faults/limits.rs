//! Row 10: a step that takes too much is ended by a message that names the limit and how to raise it,
//! and others go on. And what steps share, they use one after the other, in all runs.

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::faults::{Subject, as_ordinary_user, notices};
use crate::kiln::{Done, Project, wait_at_most};

fn run(subject: &Subject, field: &str, script: &str) -> (Done, Project) {
    let project = Project::of(format!(
        "test hog {{\n  {field}\n  run sh \"\"\"\n    {script}\n  \"\"\"\n}}\n\n\
         test sibling {{\n  run sh \"sleep 1; echo done\"\n}}\n"
    ));
    let start = Instant::now();
    let call = subject.kiln(project.path()).arguments(["run", "--keep-going", "-j2"]);
    let done = call.run().exits(1).tells("2 steps (1 ran, 1 failed)");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    (done, project)
}

fn what_takes_too_much_is_told_its_limit(subject: &Subject) {
    let bomb = "b() { b | b & }; b; for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait";
    let (done, _) = run(subject, "processes = 8", bomb);
    done.tells("at its limit of 8 processes").tells("raise `processes`");
    let (done, _) = run(subject, "scratch = 4MiB", "head -c 8000000 /dev/zero > big");
    done.tells("having written as much as its limit of 4 MiB").tells("raise `scratch`");
    let (done, _) = run(subject, "scratch = 4MiB", "head -c 8000000 /dev/zero > /tmp/big");
    done.tells("its limit of 4 MiB");
    let (done, _) = run(subject, "log = 1KiB", "head -c 2000 /dev/zero | tr '\\\\0' x; exit 1");
    done.tells("[kiln] the output was cut off at 1 KiB: the stage's `log` raises the limit");
}

#[test]
fn a_limit_ends_a_step_and_says_how_to_raise_it() {
    what_takes_too_much_is_told_its_limit(&Subject::real());
    as_ordinary_user(what_takes_too_much_is_told_its_limit);
}

#[test]
fn a_bomb_without_a_limit_leaves_room_for_others() {
    let bomb = "b() { b | b & }; b; sleep 60";
    let (done, _) = run(&Subject::real(), "timeout = 3s", bomb);
    done.tells("it took longer than its timeout of 3 s");
}

#[test]
fn files_without_end_are_told_their_limit() {
    let hog = "exec python3 -c 'f = [open(\"/dev/null\") for n in range(2000)]'";
    let (done, _) = run(&Subject::real(), "log = 1MiB", hog);
    done.tells("a process may have 1024 files open").tells("ulimit -n 65536");
}

#[test]
fn memory_without_end_is_told_its_limit() {
    let hog = "exec python3 -c 'x = bytearray(400 << 20)'";
    let (done, _) = run(&Subject::real(), "memory = 64MiB", hog);
    if !done.stderr().contains("MemoryError") {
        done.tells("it used more memory than its limit of 64 MiB").tells("raise `memory`");
    }
}

#[test]
fn a_limit_beyond_the_memory_bounds_each_file_on_the_disk() {
    let project = Project::of(
        "test big {\n  scratch = 1024GiB\n  run bash \"test $(ulimit -f) -le $((1 << 30))\"\n}\n",
    );
    project.kiln("run").exits(0);
}

/// Two steps that need the same, and that a run would have beside each other.
const SHARED: &str = r#"
param port: int
param own: string

test one {
  NEEDS
  network = "full"
  run bash "exec 3<>/dev/tcp/127.0.0.1/{{port}}; echo {{own}}; sleep 0.2; echo bye >&3; sleep 0.1"
}

test two {
  NEEDS
  network = "full"
  run bash "exec 3<>/dev/tcp/127.0.0.1/{{port}}; echo {{own}} again; sleep 0.2; echo bye >&3; sleep 0.1"
}
"#;

/// Returns how many of the steps of two runs were connected at one time at most.
fn most_at_once(subject: &Subject, needs: &str) -> u32 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let store = tempfile::tempdir().unwrap();
    let projects = [(); 2].map(|()| Project::of(SHARED.replace("NEEDS", needs)));
    let start = |(own, project): (usize, &Project)| {
        let params = [format!("port={port}"), format!("own=run{own}")];
        let arguments = ["run", "-j2", "-p", &params[0], "-p", &params[1]];
        let call = subject.kiln(project.path()).arguments(arguments);
        let mut call = call.env("KILN_CACHE", store.path().to_str().unwrap()).command();
        call.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let kilns: Vec<_> = projects.iter().enumerate().map(start).collect();
    let (now, most, total) = (Arc::new(now), Arc::new(most), Arc::new(AtomicU32::new(0)));
    let counts = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&total));
    // It outlives the test, which must end whether or not all steps call.
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let (now, most, total) = counts.clone();
            total.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::spawn(move || {
                // Until the step says that it goes.
                let _ = connection.read(&mut [0]);
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    for mut kiln in kilns {
        let status = wait_at_most(&mut kiln, Duration::from_secs(60));
        assert_eq!(status.and_then(|status| status.code()), Some(0));
    }
    assert_eq!(total.load(Ordering::SeqCst), 4, "not all steps ran");
    most.load(Ordering::SeqCst)
}

fn steps_of_one_lock_run_one_after_the_other(subject: &Subject) {
    let most = most_at_once(subject, "locks = [\"database\"]");
    assert_eq!(most, 1, "{most} had the lock at once");
}

#[test]
fn a_lock_holds_in_all_runs() {
    steps_of_one_lock_run_one_after_the_other(&Subject::real());
    let most = most_at_once(&Subject::real(), "pools = {phones: 2}");
    assert!(most <= 2, "{most} had places of two at once");
}

#[test]
fn a_lock_that_holds_nobody_back_is_noticed() {
    notices("IgnorePools", "had the lock at once", steps_of_one_lock_run_one_after_the_other);
}
