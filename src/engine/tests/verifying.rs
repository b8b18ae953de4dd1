//! What runs once more, and has to make the same.

use super::*;
use crate::event::Cause;
use crate::event::Outcome::{Blocked, Cached, Failed, Ran, Skipped};

fn all(request: &mut Request) {
    request.verify = 100;
    request.keep_going = true;
}

/// A step whose out changes with each run, in its second line.
fn restless(name: &str) -> Step {
    step(name, "printf 'same\\nabc ' > o; od -An -N4 -tx4 /dev/urandom >> o", &["o"])
}

#[test]
fn what_makes_the_same_once_more_is_verified_whether_it_ran_or_not() {
    let bench = Bench::of([
        step("a", "echo a | tee o", &["o"]),
        takes(step("b", "cat o > p", &["p"]), 0, "o"),
    ]);
    for outcome in [Ran, Cached] {
        let ran = bench.run_with(all, |_, _| {});
        ran.expect(0, &[("a", outcome), ("b", outcome)]);
        assert!(ran.finished("a").verified && ran.finished("b").verified);
        let output = if outcome == Ran { "a\n" } else { "" };
        assert_eq!(ran.output("a"), output, "what it says is told once");
    }
    let unasked = bench.run();
    unasked.expect(0, &[("a", Cached)]);
    assert!(!unasked.finished("a").verified);
}

#[test]
fn what_makes_something_else_fails_and_says_where() {
    let mut dir = step("d", "mkdir d; echo x > d/a; echo $(date +%N) > d/t; echo z > d/z", &["d"]);
    dir.outs[0].kind = OutKind::Dir;
    let bench = Bench::of([restless("a"), takes(step("b", "cp o p", &["p"]), 0, "o"), dir]);
    let ran = bench.run_with(all, |_, _| {});
    ran.expect(1, &[("a", Failed), ("b", Blocked), ("d", Failed)]);
    let failure = ran.finished("a").failure.clone().unwrap();
    assert_eq!(failure.cause, Cause::Difference);
    let (at, text) = ("it differs at byte ", failure.message);
    let begin = "its out `o` is another one when it runs once more: it differs at byte 1";
    assert!(text.starts_with(begin), "{text}");
    let byte: usize = text.split_once(at).unwrap().1.split_once(':').unwrap().0.parse().unwrap();
    let [first, second] = ["first", "second"].map(|name| {
        std::fs::read(bench.project().join(".kiln/verify/a").join(name).join("o")).unwrap()
    });
    assert_eq!(first[..byte - 1], second[..byte - 1]);
    assert_ne!(first[byte - 1], second[byte - 1]);
    let [line, then] =
        [&first, &second].map(|bytes| String::from_utf8_lossy(&bytes[5..]).trim_end().to_owned());
    assert!(text.ends_with(&format!("`{line}`, then `{then}`")), "{text}");
    assert!(ran.message("d").contains(": `t`: it differs at byte"), "{}", ran.message("d"));
    assert!(!bench.project().join("out/a").exists(), "nobody is given what cannot be trusted");
}

#[test]
fn a_result_of_before_is_compared_with_what_is_made_now() {
    let bench = Bench::of([restless("a")]);
    bench.run().expect(0, &[("a", Ran)]);
    let first = bench.out("a/o");
    bench.run_with(all, |_, _| {}).expect(1, &[("a", Failed)]);
    assert_eq!(
        std::fs::read_to_string(bench.project().join(".kiln/verify/a/first/o")).unwrap(),
        first
    );
    bench.run().expect(0, &[("a", Cached)]);
    assert_eq!(bench.out("a/o"), first, "the result of before is as good as it was");
    let mut bench = bench;
    bench.plan.steps[0] = step("a", "echo calm > o", &["o"]);
    bench.run_with(all, |_, _| {}).expect(0, &[("a", Ran)]);
    assert!(!bench.project().join(".kiln/verify/a").exists(), "what differed once is not left");
}

#[test]
fn a_step_that_passes_by_luck_fails() {
    let mut luck = test("luck", "exit $(( $(od -An -N1 -tu1 /dev/urandom) % 2 ))");
    luck.retries = 100;
    let bench = Bench::of([luck]);
    let mut messages = Vec::new();
    for _ in 0..20 {
        let ran = bench.run_with(all, |_, _| {});
        messages.extend(ran.finished("luck").failure.clone().map(|failure| failure.message));
    }
    assert!(messages.len() > 2, "{messages:?}");
    let message = "it passed, and when it ran once more, it exited with code 1";
    assert!(messages.iter().all(|found| found == message), "{messages:?}");
}

#[test]
fn what_is_kept_is_not_there_the_second_time() {
    let mut keeps = step("a", "mkdir -p k; cat i >> k/all; cp k/all o", &["o"]);
    keeps.keep = vec!["k".to_owned()];
    let mut bench = Bench::of([keeps]);
    bench.sources(0, &["i"]);
    bench.write("i", "1\n");
    bench.run_with(all, |_, _| {}).expect(0, &[("a", Ran)]);
    bench.write("i", "2\n");
    let ran = bench.run_with(all, |_, _| {});
    ran.expect(1, &[("a", Failed)]);
    let failure = ran.finished("a").failure.clone().unwrap();
    assert!(
        failure.message.ends_with("it differs at byte 1: `1`, then `2`"),
        "{}",
        failure.message
    );
    let help = failure.help.unwrap();
    assert!(help.starts_with("what it keeps in `k` may change what it makes"), "{help}");
}

#[test]
fn a_warm_result_that_is_made_cold_too_is_as_good_as_a_cold_one() {
    let mut keeps = step("a", "mkdir -p k; echo >> k/all; cp i o", &["o"]);
    keeps.keep = vec!["k".to_owned()];
    let mut bench = Bench::of([keeps]);
    bench.sources(0, &["i"]);
    let warm = |ran: &super::Ran| {
        let store = Store::open(&bench.store()).unwrap();
        store.lookup(ran.finished("a").key.unwrap()).unwrap().record.warm
    };
    for (text, is_verified) in [("1", false), ("2", false), ("3", true)] {
        bench.write("i", text);
        let ran =
            bench.run_with(|request| request.verify = if is_verified { 100 } else { 0 }, |_, _| {});
        ran.expect(0, &[("a", Ran)]);
        assert_eq!(warm(&ran), text == "2");
    }
    bench.write("i", "2");
    let ran = bench.run_with(all, |_, _| {});
    ran.expect(0, &[("a", Cached)]);
    assert!(!warm(&ran));
}

#[test]
fn reports_may_tell_other_times() {
    let mut report = test("a", "echo \"<testsuite time='$(date +%N)'/>\" > o");
    let mut out = step("", "", &["o"]).outs.remove(0);
    out.kind = OutKind::Junit;
    report.outs.push(out);
    let ran = Bench::of([report]).run_with(all, |_, _| {});
    ran.expect(0, &[("a", Ran)]);
    assert!(ran.finished("a").verified);
}

#[test]
fn a_share_chooses_others_in_each_run() {
    let names: Vec<_> = (0..1000).map(|at| format!("step{at}")).collect();
    let chosen = |run: &str, share: u8| -> Vec<&String> {
        names.iter().filter(|name| super::super::verify::is_chosen(share, run, name)).collect()
    };
    assert_eq!((chosen("a", 100).len(), chosen("a", 0).len()), (1000, 0));
    let (one, other) = (chosen("a", 20), chosen("b", 20));
    assert!((150..250).contains(&one.len()) && one != other, "{}", one.len());
    assert_eq!(one, chosen("a", 20));
}

#[test]
fn an_interrupted_run_verifies_nothing_more() {
    let bench = Bench::of([step("a", "sleep 0.1; echo a > o", &["o"]), test("b", "true")]);
    bench.run().expect(0, &[("a", Ran)]);
    let mut has_begun = false;
    let ran = bench.run_with(all, |event, stop| {
        if matches!(event, Event::StepStarted(started) if started.step == "a") && !has_begun {
            has_begun = true;
            stop.interrupt(2);
        }
    });
    assert_eq!(ran.result.exit, 130);
    assert!(matches!(ran.outcome("a"), Cached | Skipped) && !ran.finished("a").verified);
}
