//! How steps end, and that nothing of them is left.

use std::time::{Duration, Instant};

use super::*;
use crate::sandbox::outcome::Enforcement;

/// Returns how many processes of this machine have `mark` in their arguments or environment.
pub(super) fn survivors(mark: &str) -> usize {
    let has_mark = |dir: std::fs::DirEntry| {
        ["cmdline", "environ"].iter().any(|name| {
            std::fs::read(dir.path().join(name))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(mark))
        })
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|dir| has_mark(dir).then_some(()))
        .count()
}

/// Adds a variable that all processes of the step carry.
fn marked(mut attempt: Try, mark: &str) -> Try {
    attempt.spec.env.push(("MARK".into(), mark.into()));
    attempt
}

#[test]
fn what_stays_in_the_background_is_ended_soon() {
    for (name, script) in [
        ("daemon", "sleep 1000 & echo done"),
        ("session", "setsid sleep 1000 & echo done"),
        ("forked", "(setsid sh -c '(sleep 1000 &) ; sleep 1000' &); echo done"),
        ("stubborn", "(trap '' TERM HUP INT; while :; do sleep 1000; done) & echo done"),
    ] {
        let mark = format!("kiln-ends-{name}-{}", std::process::id());
        let start = Instant::now();
        let tried = marked(Try::shell(script), &mark).run();
        assert_eq!(tried.text(), "done\n");
        assert!(start.elapsed() < Duration::from_millis(1000), "{name}: {:?}", start.elapsed());
        assert_eq!(survivors(&mark), 0, "{name}");
    }
}

#[test]
fn output_from_the_background_still_arrives() {
    let tried = Try::shell("(sleep 0.1; echo late) & echo early").run();
    assert_eq!(tried.text(), "early\nlate\n");
}

#[test]
fn outs_are_those_of_the_end() {
    let script = "(while :; do echo x >> f; done) & sleep 0.05";
    let tried = Try::shell(script).out("f", OutKind::File).run();
    tried.text();
    assert!(tried.file(0).len() > 2);
}

#[test]
fn a_timeout_asks_first() {
    let script = "trap 'echo asked; exit 0' TERM; sleep 1000 & wait";
    let start = Instant::now();
    let tried = Try::shell(script)
        .with(|spec| spec.limits.timeout = Some(Duration::from_millis(100)))
        .run();
    assert_eq!(tried.outcome.exit, Exit::TimedOut);
    assert_eq!(tried.stdout, b"asked\n");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_timeout_insists_after_two_seconds() {
    let start = Instant::now();
    let tried = Try::shell("trap '' TERM; while :; do sleep 1; done")
        .with(|spec| spec.limits.timeout = Some(Duration::from_millis(100)))
        .run();
    assert_eq!(tried.outcome.exit, Exit::TimedOut);
    let elapsed = start.elapsed();
    assert!(elapsed > Duration::from_secs(2) && elapsed < Duration::from_secs(3), "{elapsed:?}");
}

/// Runs `script`, and calls [`Cancel::stop`] as often as `stops` says once it has printed a line.
fn cancelled(script: &str, stops: usize) -> (Exit, Duration) {
    let cancel = Cancel::new().unwrap();
    let mut asked = None;
    let outcome = cells()
        .run(&Try::shell(script).spec_alone(), &cancel, &mut |_, _| {
            if asked.is_none() {
                asked = Some(Instant::now());
                (0..stops).for_each(|_| cancel.stop());
            }
        })
        .unwrap();
    (outcome.exit, asked.unwrap().elapsed())
}

#[test]
fn a_first_stop_asks_and_a_second_insists() {
    let polite = cancelled("echo; exec sleep 1000", 1);
    assert_eq!(polite.0, Exit::Cancelled);
    assert!(polite.1 < Duration::from_millis(500), "{polite:?}");
    let stubborn = "trap '' TERM INT HUP; echo; while :; do sleep 1; done";
    let waited = cancelled(stubborn, 1);
    assert!(
        waited.1 > Duration::from_secs(2) && waited.1 < Duration::from_millis(2500),
        "{waited:?}"
    );
    let at_once = cancelled(stubborn, 2);
    assert_eq!(at_once.0, Exit::Cancelled);
    assert!(at_once.1 < Duration::from_millis(300), "{at_once:?}");
}

#[test]
fn a_stopped_handle_starts_nothing() {
    let cancel = Cancel::new().unwrap();
    cancel.stop();
    let tried = Try::shell("echo ran").run_in(cells(), &cancel).unwrap();
    assert_eq!((tried.outcome.exit, tried.stdout.len()), (Exit::Cancelled, 0));
}

#[test]
fn output_beyond_the_limit_is_dropped_and_the_step_goes_on() {
    let tried = Try::shell("head -c 1000000000 /dev/zero; echo end > f")
        .out("f", OutKind::File)
        .with(|spec| spec.limits.log = Some(1000))
        .run();
    tried.text();
    assert!(tried.outcome.log_truncated);
    assert_eq!((tried.stdout.len(), tried.file(0)), (1000, b"end\n".to_vec()));
}

#[test]
fn a_full_scratch_space_is_said_to_be_full() {
    let tried = Try::shell("head -c 10000000 /dev/zero > f")
        .with(|spec| spec.limits.scratch = Some(1 << 20))
        .run();
    assert_eq!(tried.outcome.exit, Exit::Code(1));
    assert!(tried.outcome.scratch_full);
    assert_eq!(tried.outcome.enforced.scratch, Enforcement::Whole);
}

#[test]
fn on_disk_each_file_has_the_limit() {
    let tried = Try::shell("ulimit -f; head -c 10000000 /dev/zero > f")
        .with(|spec| {
            spec.limits.scratch = Some(1 << 20);
            spec.scratch = Scratch::Disk;
        })
        .run();
    assert_eq!(String::from_utf8_lossy(&tried.stdout), "2048\n");
    assert!(
        matches!(tried.outcome.exit, Exit::Code(153) | Exit::Signal(25)),
        "{:?}",
        tried.outcome
    );
    assert_eq!(tried.outcome.enforced.scratch, Enforcement::EachFile);
}

#[test]
fn a_fork_bomb_is_over_in_time() {
    let mark = format!("kiln-ends-bomb-{}", std::process::id());
    let bomb = "b() { b | b & }; b; sleep 1000";
    let tried = marked(Try::shell(bomb), &mark).with(|spec| {
        spec.limits.processes = Some(200);
        spec.limits.timeout = Some(Duration::from_millis(300));
    });
    let start = Instant::now();
    let tried = tried.run_in(&own_cells(), &Cancel::new().unwrap()).unwrap();
    assert!(start.elapsed() < Duration::from_millis(3500), "{:?}", start.elapsed());
    assert!(matches!(tried.outcome.exit, Exit::TimedOut | Exit::Code(_)));
    assert_eq!(survivors(&mark), 0);
}

#[test]
fn memory_has_a_limit_where_the_system_offers_one() {
    let cells = own_cells();
    let hog = "python3 -c 'x = bytearray(400 << 20)'";
    let limits = Limits { memory: Some(100 << 20), ..Limits::default() };
    let hog = Try::shell(hog).with(|spec| spec.limits = limits);
    let tried = hog.run_in(&cells, &Cancel::new().unwrap()).unwrap();
    match tried.outcome.enforced.memory {
        Enforcement::Whole => assert_eq!(tried.outcome.exit, Exit::OutOfMemory),
        _ => assert_eq!(tried.outcome.exit, Exit::Code(1)),
    }
    // The next step in the same cell has none.
    let tried = Try::shell("python3 -c 'x = bytearray(200 << 20)'");
    tried.run_in(&cells, &Cancel::new().unwrap()).unwrap().text();
}

#[test]
fn processes_have_a_limit_where_the_system_offers_one() {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2 & done; wait";
    let tried = Try::shell(script).with(|spec| spec.limits.processes = Some(5));
    let tried = tried.run_in(&own_cells(), &Cancel::new().unwrap()).unwrap();
    let refused = String::from_utf8_lossy(&tried.stderr).contains("Cannot fork");
    assert_eq!(refused, tried.outcome.enforced.processes == Enforcement::Whole);
}

/// The other half of the next test: a Kiln that is killed while a step runs.
#[test]
fn a_kiln_to_kill() {
    let Some(mark) =
        std::env::args().find_map(|argument| Some(argument.strip_prefix("mark=")?.to_owned()))
    else {
        return;
    };
    marked(Try::shell("setsid sleep 1000 & sleep 1000 & sleep 1000"), &mark).run();
}

#[test]
fn nothing_is_left_of_a_killed_kiln() {
    let mark = format!("kiln-ends-kill-{}", std::process::id());
    let exe = std::env::current_exe().unwrap();
    let mut kiln = command(exe)
        .args(["sandbox::tests::ends::a_kiln_to_kill", &format!("mark={mark}")])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let wait_for = |wanted: &dyn Fn(usize) -> bool| {
        let start = Instant::now();
        while !wanted(survivors(&mark)) {
            assert!(start.elapsed() < Duration::from_secs(10), "{} left", survivors(&mark));
            std::thread::sleep(Duration::from_millis(5));
        }
        start.elapsed()
    };
    wait_for(&|count| count >= 5);
    kiln.kill().unwrap();
    kiln.wait().unwrap();
    assert!(wait_for(&|count| count == 0) < Duration::from_secs(1));
}

#[test]
fn a_launcher_that_is_killed_takes_its_step_along_and_is_replaced() {
    let mark = format!("kiln-ends-launcher-{}", std::process::id());
    let cells = own_cells();
    let guise = Guise::Cell(Wire::Cut, User::Build);
    let cell = cells.0.take(guise).unwrap();
    let launcher = rustix::process::Pid::from_child(&cell.child);
    // A session of its own; that of this process may be out of sight and have no number here.
    assert_eq!(rustix::process::getsid(Some(launcher)), Ok(launcher));
    cells.0.put_back(cell);
    let attempt = marked(Try::shell("echo; setsid sleep 1000 & sleep 1000"), &mark);
    let spec = attempt.spec_alone();
    let result = cells.run(&spec, &Cancel::new().unwrap(), &mut |_, _| {
        rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
    });
    assert!(matches!(result, Err(SandboxError::LauncherEnded)));
    let start = Instant::now();
    while survivors(&mark) > 0 {
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    Try::shell("true").run_in(&cells, &Cancel::new().unwrap()).unwrap().text();
}
