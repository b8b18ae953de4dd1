//! What fails, and what that means for others.

use super::*;
use crate::event::Cause;
use crate::event::Outcome::{Blocked, Cached, Failed, Ran, Skipped};
use crate::plan::step::Network;

#[test]
fn a_failure_is_said_and_never_cached() {
    let bench = Bench::of([test("a", "echo out; echo err >&2; exit 3")]);
    for _ in 0..2 {
        let ran = bench.run();
        ran.expect(1, &[("a", Failed)]);
        let failure = ran.finished("a").failure.clone().unwrap();
        assert_eq!((failure.cause, failure.exit), (Cause::Command, Some(3)));
        assert_eq!(failure.command.as_deref(), Some("echo out; echo err >&2; exit 3"));
        assert!(ran.output("a").contains("out\n") && ran.output("a").contains("err\n"));
        assert!(ran.finished("a").log.is_some());
    }
}

#[test]
fn what_waits_for_a_failure_is_blocked_by_name() {
    let mut last = test("last", "true");
    last.require = vec![StepId::new(1)];
    let bench = Bench::of([
        step("a", "false", &["x"]),
        takes(step("b", "cp x y", &["y"]), 0, "x"),
        last,
        test("other", "true"),
    ]);
    let ran = bench.run_with(|request| request.keep_going = true, |_, _| {});
    ran.expect(1, &[("a", Failed), ("b", Blocked), ("last", Blocked), ("other", Ran)]);
    assert_eq!(ran.finished("last").blocked_by, ["a"]);
    assert_eq!(ran.finished("a").blocks, 2);
    assert_eq!(ran.counts().blocked, 2);
}

#[test]
fn nothing_new_starts_after_a_failure_unless_asked() {
    let mut slow = test("slow", "exit 0");
    slow.require = vec![StepId::new(1)];
    let bench = Bench::of([test("bad", "false"), test("good", "true"), slow]);
    let one = |request: &mut Request| request.jobs = 1;
    let ran = bench.run_with(one, |_, _| {});
    // The longest way goes first.
    ran.expect(1, &[("good", Ran), ("bad", Failed), ("slow", Skipped)]);
    assert!(ran.events.iter().any(|event| matches!(event, Event::RunStopping(_))));
    let all = |request: &mut Request| {
        request.jobs = 1;
        request.keep_going = true;
    };
    bench.run_with(all, |_, _| {}).expect(1, &[("bad", Failed), ("slow", Ran)]);
}

#[test]
fn a_placed_out_that_is_odd_is_called_by_its_name_with_a_help() {
    for (script, what) in [
        ("mkdir .kiln/out/o", "the out `o` is a directory, expected a file"),
        ("ln -s x .kiln/out/o", "the out `o` is a symbolic link, expected what it leads to"),
    ] {
        let mut step = step("a", script, &["o"]);
        step.outs[0].path = ".kiln/out/o".to_owned();
        step.outs[0].is_placed = true;
        let ran = Bench::of([step]).run();
        let failure = ran.finished("a").failure.clone().unwrap();
        assert_eq!((failure.cause, &*failure.message), (Cause::Out, what));
        assert!(failure.help.is_some());
    }
}

#[test]
fn a_pass_after_a_failure_is_flaky() {
    // A step sees nothing that outlives a try, but a step with the full network can ask.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let answers = std::thread::spawn(move || {
        for answer in ["1\n", "1\n", "0\n"] {
            std::io::Write::write_all(&mut server.accept().unwrap().0, answer.as_bytes()).unwrap();
        }
    });
    let mut flaky = test("flaky", "");
    flaky.commands = vec![Command::Script {
        language: Language::Bash,
        text: format!("read -r answer < /dev/tcp/127.0.0.1/{port}; exit $answer"),
        holes: IndexMap::new(),
        place: place(),
    }];
    flaky.network = Network::Full;
    flaky.retries = 5;
    let bench = Bench::of([flaky]);
    let ran = bench.run();
    answers.join().unwrap();
    ran.expect(0, &[("flaky", Ran)]);
    let is_retry = |event: &&Event| matches!(event, Event::StepRetried(_));
    assert_eq!(ran.events.iter().filter(is_retry).count(), 2);
    assert!(ran.finished("flaky").flaky);
    assert_eq!(ran.finished("flaky").attempts, Some(3));
    bench.run().expect(0, &[("flaky", Cached)]);
}

#[test]
fn retries_are_bounded() {
    let mut bad = test("bad", "exit 9");
    bad.retries = 2;
    let ran = Bench::of([bad]).run();
    ran.expect(1, &[("bad", Failed)]);
    assert_eq!(ran.finished("bad").attempts, Some(3));
}

#[test]
fn a_step_that_may_fail_is_tolerated() {
    let mut lint = test("lint", "exit 1");
    lint.may_fail = true;
    let mut after = test("after", "true");
    after.require = vec![StepId::new(0)];
    let bench = Bench::of([lint, after]);
    let ran = bench.run();
    ran.expect(0, &[("lint", Failed), ("after", Ran)]);
    assert!(ran.finished("lint").tolerated);
    assert_eq!(ran.counts().tolerated, 1);
}

#[test]
fn what_a_tolerated_step_did_not_make_blocks_those_that_take_it() {
    let mut make = step("make", "exit 1", &["x"]);
    make.may_fail = true;
    let bench = Bench::of([make, takes(test("use", "cat x"), 0, "x")]);
    let ran = bench.run();
    ran.expect(1, &[("make", Failed), ("use", Blocked)]);
    assert_eq!(ran.finished("use").blocked_by, ["make"]);
}

#[test]
fn optional_outs_are_taken_from_failed_steps() {
    let mut test = step("test", "echo report >r.xml; echo no >x; exit 1", &["r.xml", "x", "none"]);
    test.outs[0].is_optional = true;
    test.outs[0].kind = OutKind::Junit;
    test.outs[2].is_optional = true;
    let bench = Bench::of([test]);
    let ran = bench.run();
    ran.expect(1, &[("test", Failed)]);
    assert_eq!(bench.out("test/r.xml"), "report\n");
    assert!(!bench.project().join("out/test/x").exists());
}

/// Returns a test that writes a report and exits like that.
fn reporting(report: &str, exit: u8) -> Step {
    let mut step = test("test", &format!("echo '{report}' >r.xml; exit {exit}"));
    step.outs = self::step("", "", &["r.xml"]).outs;
    step.outs[0].is_optional = true;
    step.outs[0].kind = OutKind::Junit;
    step
}

const MIXED: &str = "<testsuite><testcase name=\"good\"/><testcase name=\"bad\" classname=\"sums\">\
                     <failure message=\"1 is not 2\"/></testcase>\
                     <testcase name=\"later\"><skipped/></testcase></testsuite>";

#[test]
fn reports_say_which_tests_failed() {
    let ran = Bench::of([reporting(MIXED, 1)]).run();
    ran.expect(1, &[("test", Failed)]);
    let tests = ran.finished("test").tests.as_ref().unwrap();
    assert_eq!((tests.total, tests.failed, tests.skipped), (3, 1, 1));
    assert_eq!((&*tests.failures[0].name, &*tests.failures[0].message), ("bad", "1 is not 2"));
    let good = "<testsuite><testcase name=\"good\"/></testsuite>";
    let ran = Bench::of([reporting(good, 0)]).run();
    ran.expect(0, &[("test", Ran)]);
    assert_eq!(ran.finished("test").tests.as_ref().unwrap().total, 1);
}

#[test]
fn no_test_passes_against_its_own_report() {
    let bench = Bench::of([reporting(MIXED, 0)]);
    let ran = bench.run();
    ran.expect(1, &[("test", Failed)]);
    let said = ran.message("test");
    assert_eq!(said, "it exited with 0, and its report says that 1 of its 3 tests failed");
    assert!(bench.project().join("out/test/r.xml").exists());
    // Nothing passed, so nothing is served.
    bench.run().expect(1, &[("test", Failed)]);
    // What a build makes of tests is not its verdict.
    let mut build = reporting(MIXED, 0);
    build.kind = StepKind::Build;
    Bench::of([build]).run().expect(0, &[("test", Ran)]);
}

#[test]
fn a_report_that_cannot_be_read_is_a_warning() {
    let ran = Bench::of([reporting("3 passed", 0)]).run();
    ran.expect(0, &[("test", Ran)]);
    assert_eq!(ran.finished("test").tests, None);
    let warnings: Vec<_> = ran.warnings().collect();
    let expected = "the report `r.xml` of `test` was not read: it holds no XML element";
    assert_eq!(warnings, [expected]);
}

#[test]
fn an_optional_out_may_be_missing_for_those_that_take_it() {
    let mut make = step("make", "true", &["x"]);
    make.outs[0].is_optional = true;
    let bench = Bench::of([make, takes(test("use", "! test -e x"), 0, "x")]);
    bench.run().expect(0, &[("make", Ran), ("use", Ran)]);
}

#[test]
fn a_missing_out_is_a_failure_that_names_it() {
    let bench = Bench::of([step("a", "mkdir bin; touch bin/App bin/other", &["bin/app"])]);
    let ran = bench.run();
    ran.expect(1, &[("a", Failed)]);
    let message = ran.message("a");
    assert_eq!(
        message,
        "the step passed and did not make its out `bin/app`: there is no file `bin/app`; \
         there are `bin/App` and `bin/other`"
    );
    assert_eq!(ran.finished("a").failure.as_ref().unwrap().cause, Cause::Out);
    bench.run().expect(1, &[("a", Failed)]);
}

#[test]
fn an_odd_out_is_a_failure_that_names_it() {
    let ran = Bench::of([step("a", "mkfifo x", &["x"])]).run();
    ran.expect(1, &[("a", Failed)]);
    assert!(ran.message("a").contains("a named pipe"), "{}", ran.message("a"));
}

#[test]
fn a_timeout_ends_a_step_and_all_it_started() {
    let mut slow = test("slow", "sleep 1000 & trap '' TERM; sleep 1000");
    slow.limits.timeout_millis = Some(200);
    let start = std::time::Instant::now();
    let ran = Bench::of([slow]).run();
    ran.expect(1, &[("slow", Failed)]);
    assert_eq!(ran.message("slow"), "it took longer than its timeout of 200 ms");
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
}

#[test]
fn of_several_commands_the_one_that_failed_is_named() {
    let mut step = test("a", "");
    let at = |line| Place { line, ..place() };
    step.commands = vec![
        script("true"),
        Command::Argv {
            arguments: vec![Text::literal("sh"), Text::literal("-c"), Text::literal("exit 5")],
            place: at(7),
        },
        script("true"),
    ];
    let ran = Bench::of([step]).run();
    ran.expect(1, &[("a", Failed)]);
    let failure = ran.finished("a").failure.clone().unwrap();
    assert_eq!((failure.exit, failure.place.unwrap().line), (Some(5), 7));
    assert_eq!(failure.command.as_deref(), Some("sh -c 'exit 5'"));
}

#[test]
fn a_program_that_is_not_there_is_a_failure_of_the_step() {
    let mut step = test("a", "");
    step.commands =
        vec![Command::Argv { arguments: vec![Text::literal("no-such-program")], place: place() }];
    let ran = Bench::of([step, test("b", "no-such-program")])
        .run_with(|request| request.keep_going = true, |_, _| {});
    ran.expect(1, &[("a", Failed), ("b", Failed)]);
    assert!(ran.message("a").contains("no-such-program"), "{}", ran.message("a"));
}

#[test]
fn an_input_that_is_gone_or_leads_astray_is_a_failure_of_the_step() {
    let mut bench = Bench::of([test("a", "true"), test("b", "true")]);
    bench.sources(0, &["gone.c"]);
    std::os::unix::fs::symlink("/etc/passwd", bench.project().join("link")).unwrap();
    bench.sources(1, &["link"]);
    let ran = bench.run_with(|request| request.keep_going = true, |_, _| {});
    ran.expect(1, &[("a", Failed), ("b", Failed)]);
    assert!(ran.message("a").contains("`gone.c`"), "{}", ran.message("a"));
    assert!(ran.message("b").contains("`/etc/passwd`"), "{}", ran.message("b"));
}
