//! Matrices that go through what a step makes: all of it runs with one command, and nothing twice.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kiln::{Kiln, Project, step_end};

const SHOP: &str = r#"
build shards {
  in file("list.json")
  run sh "cp list.json {{out.list}}; echo made >> /tmp/count"
  out list: file
}

build lib {
  run sh "echo lib > {{out.obj}}"
  out obj: file
}

test unit for (shard in json(shards.list), max: 4) {
  run sh "cat {{lib.obj}}; echo {{shard}} > {{out.report}}; test {{shard}} != bad"
  out report: file
}

build report {
  run sh "cat {{unit.all.report}} > {{out.all}}"
  out all: file
}

build boxes {
  run sh "sed 's/.*/{\"name\": \"&\"}/' {{report.all}} | paste -sd, | sed 's/.*/[&]/' > {{out.list}}"
  out list: file
}

test again for (box: {name: string, size: int?} in json(boxes.list), max: 8) {
  run sh "echo {{box.name}} {{box.size ?? 0}}"
}

test alone {
  run sh "true"
}
"#;

fn shop(list: &str) -> Project {
    Project::of(SHOP).with("list.json", list)
}

/// How each step ended, by name.
fn ends(project: &Project, arguments: &[&str], code: i32) -> BTreeMap<String, String> {
    let call = Kiln::new(project.path()).arguments(["run", "--ui", "jsonl"]);
    let done = call.arguments(arguments.iter().copied()).run().exits(code);
    let lines = done.lines();
    let ends: Vec<_> = lines.iter().filter_map(step_end).collect();
    let by_name: BTreeMap<_, _> = ends.iter().cloned().collect();
    assert_eq!(ends.len(), by_name.len(), "each step ends once: {ends:?}");
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    assert_eq!((of("run.started").len(), of("run.finished").len()), (1, 1));
    let counts = of("run.finished")[0]["counts"].as_object().unwrap();
    let all = ["ran", "cached", "failed", "blocked", "skipped"];
    let all: u64 = all.iter().filter_map(|name| counts[*name].as_u64()).sum();
    assert_eq!(all, ends.len() as u64, "{counts:?}");
    if let Some(Value::Number(steps)) = of("run.grown").last().map(|line| line["steps"].clone()) {
        assert_eq!(steps.as_u64(), Some(ends.len() as u64));
    }
    by_name
}

fn all(steps: &[(&str, &str)]) -> BTreeMap<String, String> {
    steps.iter().map(|(step, end)| ((*step).to_owned(), (*end).to_owned())).collect()
}

#[test]
fn a_matrix_goes_through_what_a_step_makes() {
    let project = shop(r#"["a", "b"]"#);
    let steps = ["alone", "again[name: a, size: ]", "again[name: b, size: ]", "boxes", "lib"];
    let steps = [&steps[..], &["report", "shards", "unit[shard: a]", "unit[shard: b]"]].concat();
    let every = |end| all(&steps.iter().map(|step| (*step, end)).collect::<Vec<_>>());
    assert_eq!(ends(&project, &[], 0), every("ran"));
    let read = |path: &str| std::fs::read_to_string(project.at(path)).unwrap();
    assert_eq!(
        (read("out/report/all"), read("out/unit/b/report")),
        ("a\nb\n".into(), "b\n".into())
    );
    assert_eq!(ends(&project, &[], 0), every("cached"), "served without a look");
    std::fs::remove_dir_all(project.at("out")).unwrap();
    assert_eq!(ends(&project, &[], 0), every("cached"), "made again from the store");
    assert_eq!((read("out/report/all"), read("out/lib/obj")), ("a\nb\n".into(), "lib\n".into()));

    project.write("list.json", r#"["b", "c"]"#);
    let found = ends(&project, &["report"], 0);
    let expected = [("lib", "cached"), ("report", "ran"), ("shards", "ran")];
    let rows = [("unit[shard: b]", "cached"), ("unit[shard: c]", "ran")];
    assert_eq!(found, all(&[&expected[..], &rows].concat()));
    assert_eq!(read("out/report/all"), "b\nc\n");
    let found = ends(&project, &["report", "--rerun", "unit"], 0);
    assert_eq!((&*found["unit[shard: b]"], &*found["shards"]), ("ran", "cached"));
}

#[test]
fn an_edit_of_the_list_alone_is_seen_by_those_that_only_have_its_words() {
    let project = shop(r#"["a"]"#);
    ends(&project, &["unit"], 0);
    project.write("list.json", r#"["a", "z"]"#);
    assert_eq!(ends(&project, &["unit"], 0)["unit[shard: z]"], "ran");
}

#[test]
fn what_fails_blocks_the_stages_that_are_not_known_yet() {
    let project = shop(r#"["a"]"#);
    project.write("pipeline.pipe", SHOP.replace("cp list.json", "false; cp list.json"));
    let failed = [("shards", "failed"), ("unit", "blocked"), ("report", "blocked")];
    let failed = [&failed[..], &[("boxes", "blocked"), ("again", "blocked")]].concat();
    assert_eq!(ends(&project, &[], 1), all(&failed));
    let more = [&failed[..], &[("lib", "ran"), ("alone", "ran")]].concat();
    assert_eq!(ends(&project, &["--keep-going"], 1), all(&more));
    let found = ends(&project, &["--keep-going"], 1);
    assert_eq!((&*found["shards"], &*found["lib"]), ("failed", "cached"), "that is not all done");

    let project = shop(r#"["a", "bad"]"#);
    let found = ends(&project, &["--keep-going"], 1);
    assert_eq!((&*found["unit[shard: bad]"], &*found["report"]), ("failed", "blocked"));
    assert_eq!((&*found["again"], &*found["alone"]), ("blocked", "ran"));
}

#[test]
fn a_list_that_does_not_fit_is_told_with_its_matrix() {
    for (list, told) in [
        ("[1]", "`shards.list` holds at [0] the number 1, where a text is wanted"),
        ("{", "`shards.list` is no JSON: EOF"),
        ("{}", "`shards.list` holds an object, and no list"),
        (r#"["a", "b", "c", "d", "e"]"#, "`unit` has more than 4 rows"),
        (r#"["a", "a"]"#, "`unit` has the row [shard: a] twice"),
    ] {
        shop(list).kiln("run").exits(3).tells(told);
    }
    let large = format!("[\"{}\"]", "x".repeat(5 << 20));
    shop(&large).kiln("run").exits(3).tells("`shards.list` is larger than 4 MiB");
}

#[test]
fn what_is_known_later_is_said_before() {
    let project = shop("[]");
    project
        .kiln("check")
        .exits(0)
        .says("ok: 1 file, 7 stages, 3 steps and 4 stages whose steps are known later\n");
    let plan = project.kiln("plan unit again").exits(0).stdout();
    assert!(plan.contains("late    test  unit\n              known when `shards` has made `list`; at most 4 rows\n"), "{plan}");
    assert!(plan.contains("known when another late stage is; at most 8 rows\n"), "{plan}");
    project.kiln("plan units").exits(2).tells("did you mean `unit`?");
    ends(&project, &[], 0);
}
