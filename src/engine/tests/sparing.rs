//! Steps that need no look, since nothing that they depend on has changed.

use super::*;
use crate::event::Outcome::{Blocked, Cached, Failed, Ran};

/// `left` and `right` each copy a file, `both` joins them, `lone` copies a third.
fn diamond() -> Bench {
    let both = takes(step("both", "cat l r >b", &["b"]), 0, "l");
    let mut bench = Bench::of([
        step("left", "cat left.txt >l", &["l"]),
        step("right", "! grep wrong right.txt && cat right.txt >r", &["r"]),
        takes(both, 1, "r"),
        step("lone", "cat lone.txt >o", &["o"]),
    ]);
    for (at, name) in ["left.txt", "right.txt"].into_iter().enumerate() {
        bench.write(name, "one\n");
        bench.sources(at, &[name]);
    }
    bench.write("lone.txt", "one\n");
    bench.sources(3, &["lone.txt"]);
    bench
}

/// Removes the results of these steps from the store.
fn forget(bench: &Bench, ran: &super::Ran, names: &[&str]) {
    for name in names {
        let key = ran.finished(name).key.unwrap().to_hex();
        std::fs::remove_file(bench.store().join("v1/ac").join(&key[..2]).join(&key)).unwrap();
    }
}

#[test]
fn only_what_an_edit_reaches_is_looked_at() {
    let bench = diamond();
    let cold = bench.run();
    forget(&bench, &cold, &["both", "lone"]);
    bench.write("left.txt", "two\n");
    let warm = bench.run();
    warm.expect(0, &[("left", Ran), ("right", Cached), ("both", Ran), ("lone", Cached)]);
    assert_eq!(bench.out("both/b"), "two\none\n");
    assert_eq!(warm.finished("lone").key, cold.finished("lone").key);
    assert_eq!(warm.finished("lone").outs[0].path, "out/lone/o");
    assert_eq!(warm.counts().cached, 2);
    bench.run().expect(0, &[("left", Cached), ("both", Cached), ("lone", Cached)]);
}

#[test]
fn what_a_failed_run_brought_to_its_end_is_spared_too() {
    let bench = diamond();
    let cold = bench.run();
    forget(&bench, &cold, &["lone"]);
    bench.write("right.txt", "wrong\n");
    let failed = bench.run_with(|request| request.keep_going = true, |_, _| {});
    failed.expect(1, &[("left", Cached), ("right", Failed), ("both", Blocked), ("lone", Cached)]);
    bench.write("right.txt", "two\n");
    let cured = bench.run();
    cured.expect(0, &[("left", Cached), ("right", Ran), ("both", Ran), ("lone", Cached)]);
    assert_eq!(bench.out("both/b"), "one\ntwo\n");
}

#[test]
fn a_failed_step_is_not_forgotten() {
    let bench = diamond();
    bench.write("right.txt", "wrong\n");
    let keep_going = |request: &mut Request| request.keep_going = true;
    bench.run_with(keep_going, |_, _| {}).expect(1, &[("right", Failed), ("lone", Ran)]);
    let again = bench.run_with(keep_going, |_, _| {});
    again.expect(1, &[("right", Failed), ("both", Blocked), ("lone", Cached)]);
}

#[test]
fn an_out_that_was_changed_is_written_again() {
    let bench = diamond();
    bench.run();
    bench.write("out/left/l", "mine");
    std::fs::remove_file(bench.project().join("out/lone/o")).unwrap();
    let outcomes = [("left", Cached), ("right", Cached), ("both", Cached), ("lone", Cached)];
    bench.run().expect(0, &outcomes);
    assert_eq!((bench.out("left/l"), bench.out("lone/o")), ("one\n".into(), "one\n".into()));
}

#[test]
fn what_another_step_needs_is_made_again_if_the_store_lost_it() {
    let bench = diamond();
    let cold = bench.run();
    forget(&bench, &cold, &["right", "lone"]);
    bench.write("left.txt", "two\n");
    let outcomes = [("left", Ran), ("right", Ran), ("both", Ran), ("lone", Cached)];
    bench.run().expect(0, &outcomes);
    assert_eq!(bench.out("both/b"), "two\none\n");
}

#[test]
fn steps_to_run_again_are_not_spared() {
    let bench = diamond();
    bench.run();
    let again = |request: &mut Request| request.rerun = vec![StepId::new(0)];
    let outcomes = [("left", Ran), ("right", Cached), ("both", Cached), ("lone", Cached)];
    bench.run_with(again, |_, _| {}).expect(0, &outcomes);
}

#[test]
fn a_file_that_two_steps_saw_differently_is_looked_at_again() {
    let copy = |name: &str| step(name, &format!("sed 's/^/{name} /' in.txt >x"), &["x"]);
    let mut bench =
        Bench::of([copy("first"), Step { require: vec![StepId::new(0)], ..copy("second") }]);
    bench.write("in.txt", "one\n");
    bench.sources(0, &["in.txt"]);
    bench.plan.steps[1].inputs = bench.plan.steps[0].inputs.clone();
    bench.run_with(Bench::only(0), |_, _| {});
    // `first` is a hit, and the file that `second` takes in is another one by then.
    bench.remove_outs();
    let blob = Digest::of(b"one\n").to_hex();
    std::fs::remove_file(bench.store().join("v1/cas").join(&blob[..2]).join(&blob)).unwrap();
    std::fs::remove_dir_all(bench.store().join("v1/trees")).unwrap();
    let project = bench.project();
    let edit = |event: &Event, _: &Stop| {
        if matches!(event, Event::StepFinished(step) if step.step == "first") {
            std::fs::write(project.join("in.txt"), "two\n").unwrap();
        }
    };
    bench.run_with(|_| {}, edit).expect(0, &[("first", Cached), ("second", Ran)]);
    bench.run();
    let made = (bench.out("first/x"), bench.out("second/x"));
    assert_eq!(made, ("first two\n".into(), "second two\n".into()));
}

/// A generator of numbers that look random (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Steps of a graph, each of which joins its own file with what the steps made that it needs.
struct Web {
    bench: Bench,
    needs: Vec<Vec<usize>>,
    texts: Vec<String>,
}

impl Web {
    const STEPS: usize = 9;

    fn new(dice: &mut Dice) -> Self {
        let mut needs: Vec<Vec<usize>> = Vec::new();
        let mut bench = Bench::new();
        for at in 0..Self::STEPS {
            let own: Vec<_> = (0..at).filter(|_| dice.roll(3) == 0).collect();
            let outs: String = own.iter().map(|need| format!(" o{need}")).collect();
            let script = format!("! grep -q wrong f{at} && cat f{at}{outs} >o{at}");
            let name = format!("o{at}");
            let step = step(&format!("s{at}"), &script, &[&name]);
            let step = own.iter().fold(step, |step, need| takes(step, *need, &format!("o{need}")));
            bench.plan.steps.push(step);
            bench.write(&format!("f{at}"), "0\n");
            bench.sources(at, &[&format!("f{at}")]);
            needs.push(own);
        }
        Self { bench, needs, texts: vec!["0\n".into(); Self::STEPS] }
    }

    /// Returns what a step must make; `None` if it cannot.
    fn made(&self, at: usize) -> Option<String> {
        let own = Some(self.texts[at].clone()).filter(|text| text != "wrong\n");
        let needs = self.needs[at].iter().map(|need| self.made(*need));
        own.into_iter()
            .map(Some)
            .chain(needs)
            .collect::<Option<String>>()
            .filter(|_| self.texts[at] != "wrong\n")
    }

    fn write(&mut self, at: usize, text: &str) {
        text.clone_into(&mut self.texts[at]);
        self.bench.write(&format!("f{at}"), text);
    }

    /// Does to the project, or to what Kiln knows of it, what may happen to it.
    fn disturb(&mut self, dice: &mut Dice) {
        let at = dice.roll(Self::STEPS);
        let out = self.bench.project().join(format!("out/s{at}/o{at}"));
        match dice.roll(12) {
            0..=4 => self.write(at, ["1\n", "2\n", "3\n"][dice.roll(3)]),
            5 => self.write(at, "wrong\n"),
            6 => self.write(at, &self.texts[at].clone()),
            7 => drop(std::fs::remove_file(out)),
            8 => drop(std::fs::write(out, "other")),
            9 => drop(std::fs::remove_dir_all(self.bench.store().join("v1/ac"))),
            10 => drop(std::fs::remove_dir_all(self.bench.store().join("v1/cas"))),
            _ => drop(std::fs::remove_file(self.bench.folder().join("snapshot"))),
        }
    }
}

#[test]
fn whatever_happened_the_outs_are_those_of_the_files() {
    let mut dice = Dice(7);
    for _ in 0..6 {
        let mut web = Web::new(&mut dice);
        for round in 0..15 {
            for _ in 0..dice.roll(3) {
                web.disturb(&mut dice);
            }
            let ran = web.bench.run_with(|request| request.keep_going = true, |_, _| {});
            let made: Vec<_> = (0..Web::STEPS).map(|at| web.made(at)).collect();
            assert_eq!(ran.result.exit, u8::from(made.contains(&None)), "round {round}");
            for (at, made) in made.into_iter().enumerate() {
                let outcome = ran.outcome(&format!("s{at}"));
                let Some(made) = made else {
                    assert!(matches!(outcome, Failed | Blocked), "round {round}, s{at}");
                    continue;
                };
                assert!(matches!(outcome, Ran | Cached), "round {round}, s{at}: {outcome:?}");
                assert_eq!(web.bench.out(&format!("s{at}/o{at}")), made, "round {round}");
            }
        }
    }
}
