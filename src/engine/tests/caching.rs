//! What runs again, and what does not.

use super::*;
use crate::engine::learn::serve;
use crate::event::Outcome::{Cached, Ran};

/// `lib` makes a file of `a.c` without its comments, `app` one of that, `check` looks at it.
fn chain() -> Bench {
    let mut bench = Bench::of([
        step("lib", "grep -v '^//' a.c >lib.o", &["lib.o"]),
        takes(step("app", "cat lib.o lib.o >app.bin; echo linked", &["app.bin"]), 0, "lib.o"),
        takes(test("check", "grep -q main app.bin"), 1, "app.bin"),
    ]);
    bench.write("a.c", "int main;\n");
    bench.sources(0, &["a.c"]);
    bench
}

#[test]
fn a_second_run_does_nothing() {
    let bench = chain();
    let cold = bench.run();
    cold.expect(0, &[("lib", Ran), ("app", Ran), ("check", Ran)]);
    assert_eq!(bench.out("app/app.bin"), "int main;\nint main;\n");
    bench.remove_outs();
    let warm = bench.run();
    warm.expect(0, &[("lib", Cached), ("app", Cached), ("check", Cached)]);
    assert_eq!(bench.out("app/app.bin"), "int main;\nint main;\n", "restored");
    assert_eq!(warm.finished("app").key, cold.finished("app").key);
    assert!(!warm.events.iter().any(|event| matches!(event, Event::StepStarted(_))));
}

#[test]
fn touching_does_nothing() {
    let bench = chain();
    bench.run();
    bench.write("a.c", "int main;\n");
    bench.run().expect(0, &[("lib", Cached), ("app", Cached), ("check", Cached)]);
}

#[test]
fn a_change_that_ends_in_the_same_bytes_stops_there() {
    let bench = chain();
    bench.run();
    bench.write("a.c", "// new\nint main;\n");
    bench.run().expect(0, &[("lib", Ran), ("app", Cached), ("check", Cached)]);
    bench.write("a.c", "// new\nlong main;\n");
    bench.run().expect(0, &[("lib", Ran), ("app", Ran), ("check", Ran)]);
}

#[test]
fn a_changed_environment_misses() {
    let mut bench = chain();
    bench.run();
    bench.plan.steps[0].env.insert("CFLAGS".into(), Text::literal("-O2"));
    bench.run().expect(0, &[("lib", Ran), ("app", Cached)]);
}

#[test]
fn a_clone_in_another_folder_hits() {
    let bench = chain();
    let cold = bench.run();
    let mut other = chain();
    std::fs::remove_dir_all(other.store()).ok();
    std::fs::rename(bench.store(), other.store()).unwrap();
    other.run().expect(0, &[("lib", Cached), ("app", Cached), ("check", Cached)]);
    other.plan.steps[0].name = "renamed".into();
    let renamed = other.run();
    assert_eq!(renamed.finished("renamed").key, cold.finished("lib").key);
}

#[test]
fn what_was_written_is_said_again_if_asked() {
    let bench = chain();
    assert_eq!(bench.run().output("app"), "linked\n");
    assert_eq!(bench.run().output("app"), "");
    let replayed = bench.run_with(|request| request.replays = true, |_, _| {});
    assert_eq!(replayed.output("app"), "linked\n");
    assert!(replayed.finished("app").log.is_some() && replayed.finished("lib").log.is_none());
}

#[test]
fn rerun_runs_a_step_whose_result_is_known() {
    let bench = chain();
    bench.run();
    let again = bench.run_with(|request| request.rerun = vec![StepId::new(1)], |_, _| {});
    again.expect(0, &[("lib", Cached), ("app", Ran), ("check", Cached)]);
}

#[test]
fn only_what_was_asked_for_is_written_out() {
    let bench = chain();
    let ran = bench.run_with(Bench::only(1), |_, _| {});
    assert_eq!(ran.finished("app").outs[0].path, "out/app/app.bin");
    assert!(!bench.project().join("out/lib").exists());
    assert_eq!(ran.counts().ran, 2);
}

#[test]
fn outs_of_rows_stand_apart_and_own_their_bytes() {
    let row = |name: &str| Step {
        stage: "build".into(),
        row_dir: name.into(),
        ..step(&format!("build[{name}]"), &format!("echo {name} >x"), &["x"])
    };
    let bench = Bench::of([row("a"), row("b")]);
    bench.run();
    assert_eq!((bench.out("build/a/x"), bench.out("build/b/x")), ("a\n".into(), "b\n".into()));
    std::fs::write(bench.project().join("out/build/a/x"), "mine").unwrap();
    let again = bench.run();
    again.expect(0, &[("build[a]", Cached)]);
    assert_eq!(bench.out("build/a/x"), "a\n", "the store did not change with it");
}

#[test]
fn a_directory_passes_from_step_to_step() {
    let text = "mkdir -p d/sub; echo 1 >d/sub/f; ln -s sub/f d/l; chmod +x d/sub/f";
    let mut make = step("make", text, &["d"]);
    make.outs[0].kind = OutKind::Dir;
    let mut part = step("part", "cat f >x", &["x"]);
    let artifact = Artifact { step: StepId::new(0), out: "d".into(), part: "sub/f".into() };
    part.inputs.push(Input::Artifact { artifact, at: "f".into() });
    let whole = takes(step("whole", "test -x d/l; cat d/l d/sub/f >y", &["y"]), 0, "d");
    let bench = Bench::of([make, part, whole]);
    bench.run().expect(0, &[("make", Ran), ("part", Ran), ("whole", Ran)]);
    assert_eq!((bench.out("part/x"), bench.out("whole/y")), ("1\n".into(), "1\n1\n".into()));
    bench.run().expect(0, &[("make", Cached), ("part", Cached), ("whole", Cached)]);
}

#[test]
fn outs_that_kiln_places_have_room() {
    let mut step =
        step("a", "echo x >$OUT; echo y >$DIR/f; test -z \"$(ls $DIR | grep -v f)\"", &["o", "d"]);
    for (at, out) in step.outs.iter_mut().enumerate() {
        out.path = format!(".kiln/out/{}", out.name);
        out.is_placed = true;
        if at == 1 {
            out.kind = OutKind::Dir;
        }
    }
    step.env.insert("OUT".into(), Text::path(".kiln/out/o"));
    step.env.insert("DIR".into(), Text::path(".kiln/out/d"));
    let bench = Bench::of([step]);
    bench.run().expect(0, &[("a", Ran)]);
    assert_eq!((bench.out("a/o"), bench.out("a/d/f")), ("x\n".into(), "y\n".into()));
}

#[test]
fn a_step_runs_in_the_folder_of_its_file_with_inputs_at_their_places() {
    let mut one =
        step("one", "test \"$(pwd)\" = /build/web; cat a.txt ../lib/b.txt >x", &["web/x"]);
    one.folder = "web".into();
    let mut bench = Bench::of([one]);
    bench.write("web/a.txt", "a");
    bench.write("lib/b.txt", "b");
    bench.sources(0, &["web/a.txt", "lib/b.txt"]);
    bench.run().expect(0, &[("one", Ran)]);
    assert_eq!(bench.out("one/web/x"), "ab");
    bench.plan.steps[0].inputs.clear();
    bench.plan.steps[0].commands = vec![script("cat ../moved/b.txt >x")];
    bench.sources(0, &["lib/b.txt"]);
    if let Input::Files { strip, at, .. } = &mut bench.plan.steps[0].inputs[0] {
        (*strip, *at) = ("lib/".into(), "moved/".into());
    }
    bench.run().expect(0, &[("one", Ran)]);
    assert_eq!(bench.out("one/web/x"), "b");
}

#[test]
fn a_tree_is_a_tool_and_is_taken_in_once() {
    let mut bench = Bench::of([step("a", "hello >x", &["x"])]);
    bench.plan.steps[0].tools = vec![crate::plan::step::Tool::Tree { path: "sdk".into() }];
    bench.write("sdk/bin/hello", "#!/bin/sh\necho hello from $0\n");
    let program = bench.project().join("sdk/bin/hello");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    bench.run().expect(0, &[("a", Ran)]);
    assert_eq!(bench.out("a/x"), "hello from /build/.kiln/tools/0-sdk/bin/hello\n");
    bench.run().expect(0, &[("a", Cached)]);
}

/// Returns why a step ran, as `what name change`.
fn why(ran: &super::Ran, step: &str) -> Vec<String> {
    let why = ran.finished(step).why.iter();
    why.map(|why| format!("{:?} {} {:?}", why.what, why.name, why.change)).collect()
}

#[test]
fn a_step_that_runs_again_says_why() {
    let mut bench = chain();
    assert_eq!(why(&bench.run(), "lib"), ["Result  Added"]);
    bench.write("a.c", "// new\nlong main;\n");
    bench.plan.steps[0].env.insert("CC".into(), Text::literal("cc"));
    let ran = bench.run();
    assert_eq!(why(&ran, "lib"), ["Env CC Added", "Input a.c Changed"]);
    assert_eq!(why(&ran, "app"), ["Upstream lib.lib.o Changed"]);
    bench.plan.steps[2].commands = vec![script("false")];
    assert_eq!(why(&bench.run(), "check"), ["Command  Changed"]);
    assert_eq!(why(&bench.run(), "check"), ["Result  Failed"]);
    std::fs::remove_dir_all(bench.store()).unwrap();
    assert_eq!(why(&bench.run(), "lib"), ["Result  Unknown"]);
}

/// Serves a run from the snapshot alone; returns its events.
fn served(bench: &Bench) -> Option<Vec<Event>> {
    let project = bench.project();
    let snapshot = Snapshot::load(&bench.dir.path().join("snapshot"), &project);
    let environment = [("PATH".to_owned(), "/usr/bin:/bin".into())].into();
    let tools = snapshot.tools().clone();
    let host = Host::look(&project, environment, snapshot.memory(), tools);
    let mut events = Vec::new();
    let mut emit = |event| events.push(event);
    let request = bench.request();
    let served = serve(&snapshot, &request, Level::Namespaces, &host, &mut emit);
    served.map(|_| events)
}

#[test]
fn a_run_with_nothing_to_do_is_served_without_plan_and_store() {
    let bench = chain();
    assert!(served(&bench).is_none());
    bench.run();
    std::fs::remove_dir_all(bench.store()).unwrap();
    let events = served(&bench).unwrap();
    assert_eq!(events.len(), 5);
    assert!(matches!(&events[1], Event::StepFinished(step)
        if step.outcome == Cached && step.outs[0].path == "out/lib/lib.o"));
    assert!(matches!(&events[4], Event::RunFinished(run) if run.counts.cached == 3));
    bench.write("a.c", "int main;\n");
    assert!(served(&bench).is_some(), "touched");
    bench.write("a.c", "int next;\n");
    assert!(served(&bench).is_none(), "edited");
    bench.write("a.c", "int main;\n");
    assert!(served(&bench).is_some());
    bench.write("out/app/app.bin", "mine");
    assert!(served(&bench).is_none(), "an out was changed");
    bench.run().expect(0, &[("lib", Ran)]);
    assert!(served(&bench).is_some());
    std::fs::remove_file(bench.project().join("out/app/app.bin")).unwrap();
    assert!(served(&bench).is_none(), "an out is gone");
}

#[test]
fn a_run_that_failed_is_never_served() {
    let mut bench = chain();
    bench.run();
    assert!(served(&bench).is_some());
    bench.plan.steps[2].commands = vec![script("false")];
    bench.run();
    assert!(served(&bench).is_none());
}
