//! Runs as events, and what the forms make of them.

use std::sync::Arc;

use kiln::event::{Event, Stream};
use kiln::source::Sources;
use serde_json::{Value, json};

use super::live;
use super::plain::Plain;
use super::quiet::Quiet;
use super::scene::Scene;
use super::screen::Screen;
use super::story::{Keep, Story};

fn scene() -> Scene {
    Scene {
        screen: Screen::bare(),
        sources: Sources::default(),
        plan: Arc::default(),
        root: "/project".into(),
        folder: "/project".into(),
        file_option: " -f ci.pipe".into(),
        param_options: " -p level=3".into(),
        has_shells: true,
        cache_option: " --cache c".into(),
    }
}

fn event(kind: &str, fields: Value) -> Event {
    let mut event = fields;
    event["type"] = json!(kind);
    serde_json::from_value(event).unwrap()
}

fn started(step: &str) -> Event {
    event("step.started", json!({"step": step, "stage": step, "kind": "test", "attempt": 1}))
}

fn output(step: &str, stream: Stream, text: &str) -> Event {
    event("step.output", json!({"step": step, "stream": stream, "text": text}))
}

fn finished(step: &str, outcome: &str, more: Value) -> Event {
    let mut fields = json!({
        "step": step, "stage": step, "kind": "test", "outcome": outcome, "key": null,
        "millis": 1234, "place": {"file": "ci.pipe", "line": 7, "start": 0, "end": 1},
    });
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    event("step.finished", fields)
}

fn failed(step: &str) -> Event {
    let failure = json!({
        "cause": "command", "message": "it exited with code 2", "exit": 2, "command": "sh make",
        "place": {"file": "ci.pipe", "line": 9, "start": 5, "end": 6},
    });
    finished(
        step,
        "failed",
        json!({
            "failure": failure, "blocks": 3, "peak_memory_bytes": 5 << 20, "log_bytes": 9,
            "log": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "why": [{"what": "input", "name": "a.c", "change": "changed"}],
        }),
    )
}

fn begin(steps: u32) -> Event {
    let run = json!({
        "run": "r", "kiln": "0", "steps": steps, "jobs": 2, "sandbox": "namespaces", "stages": [],
    });
    event("run.started", run)
}

fn end(exit: u8, counts: Value) -> Event {
    let mut all = json!({"ran": 0, "cached": 0, "failed": 0, "blocked": 0, "skipped": 0});
    for (name, value) in counts.as_object().unwrap() {
        all[name] = value.clone();
    }
    event("run.finished", json!({"exit": exit, "counts": all, "millis": 65_000}))
}

/// A run in which two steps write at once and one of them fails.
fn failing_run() -> Vec<Event> {
    vec![
        begin(6),
        finished("old", "cached", json!({})),
        started("good"),
        started("bad"),
        output("bad", Stream::Stdout, "one\ntw"),
        output("good", Stream::Stdout, "\x1b[2Jnever seen\n"),
        output("bad", Stream::Stderr, "\x1b[31moops\x1b[0m ##[error]\n"),
        output("bad", Stream::Stdout, "o\n"),
        finished("good", "ran", json!({"outs": [{"name": "x", "path": "out/good/x"}]})),
        failed("bad"),
        finished("after", "blocked", json!({"blocked_by": ["bad"]})),
        end(1, json!({"ran": 1, "cached": 1, "failed": 1, "blocked": 3})),
    ]
}

const REPORT: &str = "\
failed      1.2 s  test  bad  it exited with code 2
  step      ci.pipe:7  \n  command   ci.pipe:9  sh make
  ended     exit code 2 after 1.2 s, peak memory 5.0 MiB
  output    3 lines
  │ one
  │ oops ## [error]
  │ two
  full log  kiln log -f ci.pipe --cache c bad
  it ran    since the input `a.c` changed
  next      kiln shell -f ci.pipe -p level=3 --cache c bad
            kiln why -f ci.pipe bad
  blocked   3 steps that wait for it
";

const END: &str = "\
failed             test  bad  it exited with code 2  ci.pipe:7
failed: 6 steps (1 ran, 1 cached, 1 failed, 3 blocked) in 1 min 05 s
  out/good/x";

#[test]
fn a_plain_log_has_a_line_a_step_and_the_failure_whole_and_again_at_the_end() {
    let mut plain = Plain::new(scene());
    let said: Vec<_> = failing_run().iter().filter_map(|event| plain.hear(event)).collect();
    let expected = ["cached             test  old", "ran         1.2 s  test  good", REPORT, END];
    assert_eq!(said, expected);
    assert!(plain.wait().is_none(), "it has just spoken");
}

#[test]
fn the_quiet_form_speaks_of_failures_only() {
    let mut quiet = Quiet::new(scene());
    let said: Vec<_> = failing_run().iter().filter_map(|event| quiet.hear(event)).collect();
    assert_eq!(said, [REPORT.to_owned(), format!("\n{END}")]);
    let mut quiet = Quiet::new(scene());
    let good = [begin(1), finished("a", "ran", json!({})), end(0, json!({"ran": 1}))];
    assert!(good.iter().all(|event| quiet.hear(event).is_none()));
}

#[test]
fn steps_that_passed_late_or_may_fail_or_were_interrupted_are_said_to_be_so() {
    let mut plain = Plain::new(scene());
    let interrupted = json!({"cause": "interrupted", "message": "it was interrupted"});
    let tolerated = json!({"cause": "command", "message": "it exited with code 1", "exit": 1});
    let events = [
        begin(3),
        finished("late", "ran", json!({"flaky": true, "attempts": 3})),
        finished("lint", "failed", json!({"tolerated": true, "failure": tolerated})),
        finished("slow", "failed", json!({"failure": interrupted})),
        end(130, json!({"ran": 1, "failed": 2, "flaky": 1, "tolerated": 1})),
    ];
    let said: Vec<_> = events.iter().filter_map(|event| plain.hear(event)).collect();
    assert_eq!(
        said,
        [
            "flaky       1.2 s  test  late  passed at try 3 only",
            "failed      1.2 s  test  lint  it exited with code 1, which `may_fail` tolerates",
            "stopped     1.2 s  test  slow",
            "interrupted: 3 steps (1 flaky, 1 stopped, 1 failed and tolerated) in 1 min 05 s",
        ]
    );
}

#[test]
fn tests_that_failed_are_named_and_those_that_passed_counted() {
    let mut plain = Plain::new(scene());
    let failures: Vec<_> = (0..12)
        .map(|number| {
            json!({"name": format!("adds\x1b[2J {number}"), "group": "sums",
                             "file": "sums.py", "line": 3, "message": "\n 1 is not 2\nmore"})
        })
        .collect();
    let bad = json!({"total": 40, "failed": 12, "skipped": 1, "failures": failures});
    let failure = json!({"cause": "command", "message": "it exited with code 1", "exit": 1});
    let good = json!({"total": 1, "failed": 0, "skipped": 0});
    let good = plain.hear(&finished("good", "ran", json!({"tests": good}))).unwrap();
    assert_eq!(good, "ran         1.2 s  test  good  1 test");
    let bad = json!({"tests": bad, "failure": failure});
    let bad = plain.hear(&finished("bad", "failed", bad)).unwrap();
    let lines: Vec<_> = bad.lines().skip_while(|line| !line.contains("tests  ")).take(12).collect();
    assert_eq!(lines[0], "  tests     12 of 40 tests failed, 1 skipped");
    assert_eq!(lines[1], "            sums adds 0  sums.py:3  1 is not 2");
    assert_eq!(lines[10], "            sums adds 9  sums.py:3  1 is not 2");
    assert_eq!(lines[11], "            and 2 more");
}

#[test]
fn no_line_of_the_block_is_wider_than_the_screen() {
    let mut story = Story::new(Keep { lines: 4, bytes: 1000 });
    story.hear(&begin(40));
    for number in 0..12 {
        let name = format!("a.rather.long.name.of.a.step[row: {number}]");
        story.hear(&started(&name));
        story.hear(&output(&name, Stream::Stdout, &"wide 漢字 ".repeat(40)));
    }
    for is_utf8 in [true, false] {
        let screen = Screen { is_utf8, ..Screen::bare() };
        for (rows, columns) in [(1, 80), (3, 1), (4, 10), (10, 20), (24, 40), (50, 80), (50, 300)] {
            let block = live::block(&screen, &story, (rows, columns));
            assert!(block.len() < rows || block.is_empty(), "{rows} rows: {block:?}");
            for line in &block {
                let width = console::measure_text_width(line);
                assert!(width < columns.max(2), "{columns} columns: {line:?}");
                assert!(is_utf8 || line.is_ascii(), "{line:?}");
            }
        }
    }
    let block = live::block(&Screen::bare(), &story, (24, 80));
    assert_eq!(block.len(), 10);
    assert_eq!(block[8], "  … and 4 running steps more");
    assert!(block[9].contains("0/40 done"), "{block:?}");
}
