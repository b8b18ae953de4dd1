//! `kiln spec`: what it says and how it ends, and that a run does what a spec says of it.

use std::collections::BTreeMap;

use crate::kiln::{Kiln, Project, step_end};

const SHOP: &str = r#"
build lib {
  run sh "test {{trouble}} != lib; echo lib > {{out.obj}}; echo log > note"
  out obj: file
  out log: file? = "note"
}

param trouble: string = "none"

build style {
  may_fail = true
  run sh "test {{trouble}} != style; echo > {{out.report}}"
  out report: file
}

test reads_style {
  run sh "cat {{style.report}}"
}

test waits_for_style {
  require = [style]
  run sh "true"
}

test unit for (shard in 1..2) {
  run sh "cat {{lib.obj}}; test {{trouble}} != {{shard}}"
}

test ship when trouble != "skip" {
  require = [unit]
  run sh "true"
}

spec "all is well" {
  runs = [lib, style, reads_style, waits_for_style, unit, ship]
}

spec "lib" {
  given trouble = "lib"
  failing = [lib]
  runs    = [lib, style, reads_style, waits_for_style]
  blocked = [unit, ship]
}

spec "style" {
  given trouble = "style"
  failing = [style]
  runs    = [lib, style, waits_for_style, unit, ship]
  blocked = [reads_style]
}

spec "2" {
  given trouble = "2"
  failing = [unit[shard: 2]]
  runs    = [lib, style, reads_style, waits_for_style, unit]
  blocked = [ship]
}

spec "skip" {
  given trouble = "skip"
  runs    = [lib, style, reads_style, waits_for_style, unit]
  skipped = [ship]
}
"#;

/// How the steps ended that did not start, by name, in a run of the shop with this trouble.
fn endings(trouble: &str) -> BTreeMap<String, String> {
    let project = Project::of(SHOP);
    let call = Kiln::new(project.path()).arguments(["run", "--keep-going", "--ui", "jsonl"]);
    let done = call.arguments(["-p", &format!("trouble={trouble}")]).run();
    let ends = done.lines().iter().filter_map(step_end).collect::<BTreeMap<_, _>>();
    let starts = ["ran", "cached", "failed"];
    ends.into_iter().filter(|(_, outcome)| !starts.contains(&outcome.as_str())).collect()
}

#[test]
fn a_run_does_what_a_spec_says_of_it() {
    Project::of(SHOP).kiln("spec").exits(0);
    let all = |steps: &[&str], outcome: &str| {
        steps.iter().map(|step| ((*step).to_owned(), outcome.to_owned())).collect()
    };
    let none: BTreeMap<String, String> = BTreeMap::new();
    assert_eq!(endings("none"), none);
    assert_eq!(endings("lib"), all(&["ship", "unit[shard: 1]", "unit[shard: 2]"], "blocked"));
    assert_eq!(endings("style"), all(&["reads_style"], "blocked"));
    assert_eq!(endings("2"), all(&["ship"], "blocked"));
    assert_eq!(endings("skip"), all(&["ship"], "skipped"));
}

const UNMET: &str = r#"
test unit {
  run sh "touch ran-all-the-same"
}

spec "it runs" {
  runs = [unit]
}

spec "it is skipped" {
  skipped = [unit]
}
"#;

#[test]
fn each_spec_has_its_line_and_one_that_is_not_met_says_what_is_so() {
    let project = Project::of(UNMET);
    let done = project.kiln("spec").exits(1);
    done.says("met    it runs\nunmet  it is skipped\n1 of 2 specs not met\n")
        .tells("error[K0407]: `unit` runs, and is expected to be skipped");
    project.kiln("spec runs").exits(0).says("met    it runs\nok: 1 spec\n").says_nothing();
    project.kiln("spec --ui quiet runs").exits(0).says("").says_nothing();
    project.kiln("check").exits(3).tells("K0407");
    let done = project.kiln("spec --ui jsonl").exits(1);
    let lines = done.lines();
    let met: Vec<_> = lines.iter().filter(|line| line["type"] == "spec").collect();
    assert_eq!((met.len(), &met[1]["met"], &met[1]["line"]), (2, &false.into(), &10.into()));
    assert_eq!(done.diagnostics()[0]["code"], "K0407");
    project.kiln("run").exits(0);
}

#[test]
fn specs_of_other_files_count_and_bear_their_names() {
    let project = Project::of("use \"./web\"\n\ntest all {\n  require = [web.unit]\n  run sh \"true\"\n}\n\nspec \"web decides\" {\n  given web.level = 2\n  failing = [web.unit]\n  blocked = [all]\n}\n")
        .with("web/pipeline.pipe", "pub param level: int = 1\n\npub test unit {\n  run sh \"echo {{level}}\"\n}\n\nspec \"it runs\" {\n  given level = 3\n  runs = [unit]\n}\n");
    project.kiln("spec").exits(0).says("met    web decides\nmet    web: it runs\nok: 2 specs\n");
}

#[test]
fn no_spec_to_look_at_is_a_wrong_use() {
    let project = Project::of("test unit {\n  run sh \"true\"\n}\n");
    project.kiln("spec").exits(2).tells("the pipeline has no specs").tells("runs = [name]");
    let project = Project::of(UNMET);
    project.kiln("spec nothing").exits(2).tells("kiln spec  looks at all: there are 2 specs");
    project.kiln("spec -f no.pipe").exits(2);
    Project::of("test unit {").kiln("spec").exits(3).tells("K0005");
}
