//! What goes wrong beside the steps themselves.

use std::time::{Duration, Instant};

use super::*;
use crate::event::Outcome::{Cached, Failed, Ran};

#[test]
fn an_input_edited_during_a_run_cannot_poison_the_cache() {
    let mut bench = Bench::of([step("a", "sleep 0.3; cat in.txt >x", &["x"])]);
    bench.write("in.txt", "one\n");
    bench.sources(0, &["in.txt"]);
    let project = bench.project();
    let edit = |event: &Event, _: &Stop| {
        if let Event::StepStarted(_) = event {
            std::fs::write(project.join("in.txt"), "two\n").unwrap();
        }
    };
    bench.run_with(|_| {}, edit).expect(0, &[("a", Ran)]);
    assert_eq!(bench.out("a/x"), "one\n", "it saw what its key says");
    bench.run().expect(0, &[("a", Ran)]);
    assert_eq!(bench.out("a/x"), "two\n");
    bench.write("in.txt", "one\n");
    bench.run().expect(0, &[("a", Cached)]);
    assert_eq!(bench.out("a/x"), "one\n");
}

fn all_files(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// `a` makes a file that `b` takes and adds the project's `n` to.
fn pair() -> Bench {
    let mut bench = Bench::of([
        step("a", "echo made by a >x", &["x"]),
        takes(step("b", "cat x n >y", &["y"]), 0, "x"),
    ]);
    bench.write("n", "1\n");
    bench.sources(1, &["n"]);
    bench
}

#[test]
fn a_result_whose_bytes_are_gone_runs_again() {
    let bench = pair();
    bench.run();
    bench.remove_outs();
    for file in all_files(&bench.store().join("v1/cas")) {
        std::fs::remove_file(file).unwrap();
    }
    bench.run().expect(0, &[("a", Ran), ("b", Ran)]);
    assert_eq!(bench.out("b/y"), "made by a\n1\n");
}

#[test]
fn a_damaged_result_makes_its_producer_run_again_in_the_same_run() {
    let bench = pair();
    bench.run();
    let blob = crate::digest::Digest::of(b"made by a\n").to_hex();
    for file in all_files(&bench.store().join("v1/cas")) {
        if file.to_str().unwrap().contains(&blob) {
            std::fs::write(file, "made by b\n").unwrap();
        }
    }
    bench.write("n", "2\n");
    let none = Bench::only(1);
    let ran = bench.run_with(none, |_, _| {});
    ran.expect(0, &[("a", Cached), ("b", Ran)]);
    assert_eq!(bench.out("b/y"), "made by a\n2\n");
    let warned = |event: &Event| matches!(event, Event::Warning(warning) if warning.step.as_deref() == Some("a"));
    assert!(ran.events.iter().any(warned));
}

#[test]
fn a_damaged_result_is_never_written_out() {
    let bench = pair();
    bench.run();
    bench.remove_outs();
    let blob = crate::digest::Digest::of(b"made by a\n1\n").to_hex();
    for file in all_files(&bench.store().join("v1/cas")) {
        if file.to_str().unwrap().contains(&blob) {
            std::fs::write(file, "made by x\n1\n").unwrap();
        }
    }
    bench.run().expect(0, &[("a", Cached), ("b", Ran)]);
    assert_eq!(bench.out("b/y"), "made by a\n1\n");
}

#[test]
fn two_runs_at_once_run_no_step_twice() {
    let steps = (0..6).map(|at| {
        let name = format!("s{at}");
        step(&name, &format!("sleep 0.05; echo {at} >x"), &["x"])
    });
    let bench = Bench::of(steps);
    let runs: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|at| {
                let bench = &bench;
                scope.spawn(move || {
                    let out = format!("out{at}");
                    bench.run_with(|request| request.out = Some(out.into()), |_, _| {})
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for at in 0..6 {
        let name = format!("s{at}");
        let ran = runs.iter().filter(|run| run.outcome(&name) == Ran).count();
        assert_eq!(ran, 1, "{name}");
        assert!(runs.iter().all(|run| run.result.exit == 0));
    }
}

/// Returns how many processes have this in their command line.
fn processes(mark: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}

#[test]
fn an_interrupt_ends_all_steps_and_leaves_nothing() {
    let mark = format!("77{}", std::process::id());
    let text = format!("(setsid sleep {mark} &) ; echo up; sleep {mark}");
    let mut last = test("last", "true");
    last.require = vec![StepId::new(0)];
    let bench = Bench::of([test("a", &text), last]);
    let start = Instant::now();
    let ran = bench.run_with(
        |_| {},
        |event, stop| {
            if matches!(event, Event::StepOutput(_)) {
                stop.interrupt(2);
            }
        },
    );
    assert_eq!(ran.result.exit, 130);
    ran.expect(130, &[("a", Failed), ("last", Outcome::Skipped)]);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(processes(&mark), 0);
}

#[test]
fn a_second_interrupt_kills_at_once() {
    let bench = Bench::of([test("a", "trap '' TERM INT; echo up; while :; do sleep 1; done")]);
    let mut since = None;
    let ran = bench.run_with(
        |_| {},
        |event, stop| {
            if matches!(event, Event::StepOutput(_)) {
                stop.interrupt(15);
                stop.interrupt(15);
                since = Some(Instant::now());
            }
        },
    );
    assert_eq!(ran.result.exit, 143);
    assert!(
        since.unwrap().elapsed() < Duration::from_millis(1500),
        "{:?}",
        since.unwrap().elapsed()
    );
}

#[test]
fn a_step_never_sees_the_network_or_the_project() {
    let bench =
        Bench::of([test("a", "test \"$(ls -A)\" = .kiln; ! ls /work; ! cat </dev/tcp/1.1.1.1/80")]);
    bench.write("secret.txt", "x");
    bench.run().expect(0, &[("a", Ran)]);
}

#[test]
fn an_endless_log_is_cut_and_kept() {
    let bench = Bench::of([test("a", "yes | head -c 80000000")]);
    let ran = bench.run();
    ran.expect(0, &[("a", Ran)]);
    assert!(
        ran.output("a")
            .ends_with("the output was cut off at 64 MiB: the stage's `log` raises the limit\n")
    );
}

#[test]
fn bytes_of_output_that_are_not_utf8_are_kept() {
    let bench = Bench::of([test("a", "printf '\\377\\0x\\033[31m'")]);
    let ran = bench.run();
    let bytes: Vec<u8> = ran
        .events
        .iter()
        .filter_map(|event| match event {
            Event::StepOutput(output) => Some(output.to_bytes()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(bytes, b"\xff\0x\x1b[31m");
}

/// What a child of the test below does: it kills itself at an event. By itself it does nothing.
#[test]
fn the_run_that_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "the way to tell a child of the test what to do")]
    let Some(told) = std::env::var("KILN_TEST_KILLED_RUN").ok() else { return };
    let (at, folder) = told.split_once(' ').unwrap();
    let mut left: usize = at.parse().unwrap();
    let mut bench = thirty();
    bench.at = Some(folder.into());
    let kill = |_: &Event, _: &Stop| {
        left -= 1;
        if left == 0 {
            let this = rustix::process::getpid();
            rustix::process::kill_process(this, rustix::process::Signal::KILL).unwrap();
        }
    };
    bench.run_with(|_| {}, kill);
}

fn thirty() -> Bench {
    let steps = (0..30).map(|at| {
        let name = format!("s{at}");
        let made = step(&name, &format!("sleep 0.01; echo {at} >x"), &["x"]);
        if at % 3 == 0 {
            made
        } else {
            takes(
                step(&name, &format!("cat x >y{at}; echo {at} >>y{at}"), &[&format!("y{at}")]),
                at / 3 * 3,
                "x",
            )
        }
    });
    Bench::of(steps)
}

#[test]
fn a_killed_run_loses_nothing_it_said_and_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("project")).unwrap();
    let program = std::env::current_exe().unwrap();
    for at in [1, 2, 5, 11, 20, 30] {
        #[expect(clippy::disallowed_methods, reason = "a run has to be killed")]
        let status = std::process::Command::new(&program)
            .args(["--exact", "engine::tests::faults::the_run_that_is_killed"])
            .env("KILN_TEST_KILLED_RUN", format!("{at} {}", folder.path().display()))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "at {at}");
    }
    let mut bench = thirty();
    bench.at = Some(folder.path().to_owned());
    let ran = bench.run();
    assert_eq!(ran.result.exit, 0, "{:?}", ran.events);
    // The last one said 30 of the 62 events of a run that has all to do.
    assert!(ran.counts().cached >= 5, "{:?}", ran.counts());
    for at in 0..30 {
        let (name, text) = if at % 3 == 0 {
            ("x".to_owned(), format!("{at}\n"))
        } else {
            (format!("y{at}"), format!("{}\n{at}\n", at / 3 * 3))
        };
        let path = folder.path().join(format!("project/out/s{at}/{name}"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
}
