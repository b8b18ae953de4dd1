//! What past runs left: `kiln log`, `kiln why`, `kiln history`, `kiln diff`, `kiln trace`, `kiln cache`,
//! `kiln doctor`.

use crate::kiln::{Done, Kiln, Project};

const PIPELINE: &str = r#"
build lib for (c in files("src/*.c")) {
  run sh "printf 'made \\377 {{c}}'; cat {{c}} > {{out.o}}"
  out o: file
}

test all {
  run sh "cat {{[lib[c: c].o for c in files("src/*.c")]}} >&2; test ! -e src/bad.c"
}

test quiet {
  run sh "true"
}
"#;

fn project() -> Project {
    Project::of(PIPELINE).with("src/a.c", "a\n").with("src/b.c", "b\n")
}

#[test]
fn a_log_is_what_the_step_wrote_byte_for_byte() {
    let project = project();
    project.kiln("log").exits(2).tells("no run of this pipeline is known");
    project.kiln("run").exits(0);
    project.kiln("log all").exits(0).says("a\nb\n").says_nothing();
    project.kiln("log quiet").exits(0).says("").tells("`quiet` wrote nothing");
    let list = project.kiln("log").exits(0).stdout();
    assert_eq!(list.lines().count(), 4, "{list}");
    // From the cache they have the same.
    project.kiln("run").exits(0).tells("4 cached");
    project.kiln("log all").exits(0).says("a\nb\n");
    project.kiln("log lib").exits(2).tells("the stage `lib` has 2 steps");
    project.kiln("log nothing").exits(2);
}

#[test]
fn a_log_outlives_its_cache_in_the_journal() {
    let project = project();
    project.kiln("run").exits(0);
    std::fs::remove_dir_all(project.at(".cache/kiln")).unwrap();
    project.kiln("log all").exits(0).says("a\nb\n");
}

#[test]
fn why_names_what_changed() {
    let project = project();
    project.kiln("run").exits(0);
    project.write("src/b.c", "c\n");
    project.kiln("run").exits(0).tells("(2 ran, 2 cached)");
    let why = project.kiln("why all").exits(0).stdout();
    assert!(why.contains("`all` ran, since"), "{why}");
    project.kiln("run").exits(0).tells("4 cached");
    let again = project.kiln("why all").exits(0).stdout();
    assert_eq!(again, why, "a run that does nothing at all is not kept");
    std::fs::remove_dir_all(project.at("out")).unwrap();
    project.kiln("run").exits(0).tells("4 cached");
    let why = project.kiln("why all").exits(0).stdout();
    assert!(why.contains("served from the cache") && why.contains("before that"), "{why}");
}

#[test]
fn a_cache_is_counted_checked_and_made_smaller() {
    let project = project();
    project.kiln("cache stats").exits(0).tells("does not exist yet");
    project.kiln("run").exits(0);
    let stats = project.kiln("cache stats").exits(0).stdout();
    assert!(stats.contains("       4  results of steps"), "{stats}");
    project.kiln("cache verify").exits(0).tells("");
    project.kiln("cache gc --max 0").exits(0);
    let stats = project.kiln("cache stats").exits(0).stdout();
    assert!(stats.contains("       0  results of steps"), "{stats}");
    project.kiln("cache gc --max much").exits(2);
}

#[test]
fn a_doctor_says_what_there_is() {
    let project = Project::new();
    let said = project.kiln("doctor").stdout();
    for part in ["Sandbox", "user namespaces", "Cache", "processor", "git"] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
}

/// A project of which a test fails if a file has something bad.
fn strict() -> Project {
    let pipeline = PIPELINE.replace(">&2; test ! -e src/bad.c", "| grep bad");
    Project::of(pipeline.replace("cat {{[lib", "! cat {{[lib"))
        .with("src/a.c", "a\n")
        .with("src/b.c", "b\n")
}

#[test]
fn a_history_lists_runs_and_tells_of_one() {
    let project = strict();
    project.kiln("history").exits(0).says("").tells("no run of this pipeline is known");
    project.kiln("history last").exits(2).tells("begin with: kiln run");
    project.kiln("run -j 2").exits(0);
    project.write("src/bad.c", "bad\n");
    project.kiln("run all").exits(1);
    let list = project.kiln("history").exits(0).stdout();
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].contains("exit code 1") && lines[0].ends_with("  all"), "{list}");
    assert!(lines[1].contains("done") && lines[1].contains("4 ran"), "{list}");
    let one = project.kiln("history last-1").exits(0).stdout();
    assert!(one.contains("2 at a time") && one.contains("the longest chain of steps"), "{one}");
    let id = lines[1].split(' ').next().unwrap();
    assert_eq!(project.kiln(&format!("history {id}")).exits(0).stdout(), one);
    project.kiln("history last-2").exits(2).tells("only 2 runs known");
    project.kiln("history nonsense").exits(2).tells("no run `nonsense` is known");
    project.kiln("history 2").exits(2).tells("several runs begin with `2`");
    project.kiln("history none.jsonl").exits(2).tells("cannot be read");
    project.kiln("history src/a.jsonl -f pipeline.pipe").exits(2);
    project.write("a.jsonl", "{}\n");
    project.kiln("history a.jsonl").exits(2).tells("`a.jsonl` is no journal of a run");
    let json = project.kiln("history last-1 --ui jsonl").exits(0).stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["run"], &json["counts"]["ran"]), (&id.into(), &4.into()));
    let path = json["critical_path"].as_array().unwrap();
    assert!((1..=2).contains(&path.len()), "{json}");
}

#[test]
fn a_critical_path_names_the_slow_chain_and_what_it_would_gain() {
    let project = Project::of(
        r#"
build slow {
  run sh "sleep 0.6; echo 1 >{{out.o}}"
  out o: file
}

build quick {
  run sh "echo 1 >{{out.o}}"
  out o: file
}

test both {
  run sh "sleep 0.2; cat {{slow.o}} {{quick.o}}"
}
"#,
    );
    project.kiln("run -j 2").exits(0);
    let told = project.kiln("history last").exits(0).stdout();
    let path: Vec<_> = told
        .lines()
        .skip_while(|line| !line.starts_with("the longest chain"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(path, ["slow", "both"], "{told}");
    let best = told.lines().skip_while(|line| !line.starts_with("what would")).nth(1);
    assert!(best.is_some_and(|line| line.starts_with("  `slow` in half the time: by 3")), "{told}");
    let trace = project.kiln("trace").exits(0).stdout();
    let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |name: &str| events.iter().find(|event| event["name"] == name).unwrap();
    assert_eq!((&of("slow")["cat"], &of("quick")["cat"]), (&"critical".into(), &"step".into()));
    assert_eq!(of("both")["args"]["needs"].as_array().unwrap().len(), 2);
    assert!(of("slow")["dur"].as_u64().unwrap() >= 600_000, "{trace}");
    assert!(of("both")["ts"].as_u64() >= of("slow")["ts"].as_u64());
    assert_ne!(of("slow")["tid"], of("quick")["tid"], "they ran beside each other");
}

#[test]
fn two_runs_differ_in_what_was_edited() {
    let project = strict();
    project.kiln("run").exits(0);
    project.write("src/b.c", "c\n");
    project.kiln("run").exits(0);
    project.write("src/c.c", "");
    project.write("src/bad.c", "bad\n");
    project.kiln("run").exits(1);
    let diff = project.kiln("diff last-2 last-1").exits(0);
    assert_eq!(
        diff.stdout().lines().filter(|line| !line.starts_with('~')).collect::<Vec<_>>(),
        ["    `lib[c: src/b.c].o` changed", "    the input `src/b.c` changed"],
        "{}",
        diff.stdout()
    );
    diff.tells("2 steps the same in both");
    let diff = project.kiln("diff last-1").exits(0).stdout();
    for line in ["+ lib[c: src/bad.c]\n", "+ lib[c: src/c.c]\n", "~ all: ran -> failed, "] {
        assert!(diff.contains(line), "{diff}");
    }
    let json = project.kiln("diff last-2 last-1 --ui jsonl").exits(0).stdout();
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{json}");
    assert!(lines.iter().any(|line| line["why"][0]["name"] == "src/b.c"), "{json}");
    project.kiln("diff last last").exits(0).says("").tells("same in both");
}

#[test]
fn a_step_is_compared_with_a_run_of_another_machine() {
    let (here, there) = (project(), project());
    there.kiln("run").exits(0);
    there.write("src/b.c", "c\n");
    there.kiln("run").exits(0);
    here.kiln("run").exits(0);
    let run = there.kiln("history").exits(0).stdout().split(' ').next().unwrap().to_owned();
    for name in [format!("{run}.jsonl"), format!("{run}.made-of")] {
        std::fs::copy(there.at(&format!(".kiln/runs/{name}")), here.at(&name)).unwrap();
    }
    let journal = format!("{run}.jsonl");
    let why = |step: &str| -> Done {
        Kiln::new(here.path()).arguments(["why", step, "--against", &journal]).run()
    };
    let edited = why("lib[c: src/b.c]").exits(0).stdout();
    assert!(edited.ends_with("since\n  the input `src/b.c` changed\n"), "{edited}");
    let other = why("lib[c: src/a.c]").exits(0).stdout();
    assert!(other.contains("is the same in the runs of"), "{other}");
    let diff = here.kiln(&format!("diff {run}.jsonl last")).exits(0).stdout();
    assert!(diff.contains("    the input `src/b.c` changed\n"), "{diff}");
    std::fs::remove_file(here.at(&format!("{run}.made-of"))).unwrap();
    why("lib[c: src/b.c]").exits(2).tells("no longer known of both runs");
    here.kiln("why all --against last-5").exits(2).tells("only 1 run known");
}
