//! The commands that run nothing: their exit codes, what goes to stdout and what to stderr, and how
//! params are given.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::kiln::{Kiln, Project, assert_same};

const SHOP: &str = r#"## Which profile is built.
param profile: "dev" | "release" = "dev"
param jobs: int(1..64)? = none

## The program itself,
## with its symbols.
build app {
  in files("src/**")
  run sh "make {{profile}} -j {{jobs}} -o {{out.bin}}"
  out bin: file
}

test unit for (os in ["a", "b"]) {
  run sh "{{app.bin}} --test {{os}}"
}
"#;

fn shop() -> Project {
    Project::of(SHOP).with("src/main.c", "int main(void) {}\n")
}

/// Returns the value of a param in the plan.
#[track_caller]
fn param(call: Kiln, name: &str) -> String {
    let done = call.arguments(["plan", "--json"]).run().exits(0);
    let plan: Value = serde_json::from_str(&done.stdout()).unwrap();
    plan["params"][name].as_str().expect("the plan names its params").to_owned()
}

#[test]
fn check_says_in_a_line_that_all_is_well() {
    shop().kiln("check").exits(0).says_nothing().says("ok: 1 file, 2 stages, 3 steps\n");
}

#[test]
fn list_shows_stages_and_params_with_their_comments() {
    shop().kiln("list").exits(0).says_nothing().says(
        "Stages:\n  build app       The program itself,\n                  with its symbols.\n  \
         test  unit[os]\n\nParams, set by -p NAME=VALUE:\n  \
         profile: \"dev\" | \"release\" = \"dev\"  Which profile is built.\n  \
         jobs: int(1..64)? = none\n",
    );
    let done = shop().kiln("list --json").exits(0);
    let catalog: Value = serde_json::from_str(&done.stdout()).unwrap();
    assert_eq!(catalog["stages"][1]["axes"], json!(["os"]));
    assert_eq!(catalog["params"][0]["default"], json!("\"dev\""));
}

#[test]
fn plan_shows_what_would_run() {
    let all = shop().kiln("plan").exits(0);
    let lines: Vec<_> = all.stdout().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("run     build app"), "{lines:?}");
    assert!(
        lines[1].starts_with("open    test  unit[os: a]") && lines[1].contains("after app"),
        "{lines:?}"
    );
    assert!(lines.last().unwrap().starts_with("3 steps"), "{lines:?}");
    let one = shop().kiln("plan app").exits(0).stdout();
    assert!(one.contains("build app") && !one.contains("unit"), "{one}");
}

#[test]
fn a_run_of_nothing_says_so_each_time() {
    let project = Project::of("let idle = 1\n");
    for _ in 0..2 {
        project.kiln("run").exits(0).tells("nothing to run").tells("0 steps");
    }
}

#[test]
fn plan_asks_the_cache_and_changes_nothing() {
    let pipeline = "build one {\n  in file(\"a\")\n  run sh \"cat a > {{out.o}}\"\n  out o: file\n}\n\
                    build two {\n  run sh \"cat {{one.o}} > {{out.o}}\"\n  out o: file\n}\n";
    let project = Project::of(pipeline).with("a", "text");
    let last = |arguments: &str| {
        let said = project.kiln(arguments).exits(0).says_nothing().stdout();
        said.lines().last().unwrap().to_owned()
    };
    let steps = "2 steps, at most 2 in a row";
    assert_eq!(last("plan"), format!("{steps}: 1 would run, 1 open"));
    assert!(!project.at(".kiln").exists() && !project.at(".cache").exists());
    project.kiln("run").exits(0);
    assert_eq!(last("plan"), format!("{steps}: 2 in the cache"));
    project.write("a", "other");
    let said = project.kiln("plan").exits(0).stdout();
    assert!(said.contains("run     build one  (1 file; makes o)\n"), "{said}");
    assert!(said.contains("the input `a` changed"), "{said}");
    project.kiln("run").exits(0).tells("2 ran");
    assert_eq!(last("plan --cache other"), format!("{steps}: 1 would run, 1 open"));
    assert!(!project.at("other").exists());
}

#[test]
fn graph_has_three_forms() {
    shop()
        .kiln("graph")
        .exits(0)
        .says_nothing()
        .says("build app\ntest unit[os: a]\n  after app\ntest unit[os: b]\n  after app\n");
    let dot = shop().kiln("graph --format dot").exits(0).stdout();
    assert!(dot.starts_with("digraph") && dot.contains("\"app\" -> \"unit[os: a]\";"), "{dot}");
    let json = shop().kiln("graph --format json").exits(0);
    assert_eq!(json.lines()[0]["steps"][1]["needs"], json!(["app"]));
}

#[test]
fn explain_knows_every_code() {
    let list = Project::new().kiln("explain").exits(0).says_nothing().stdout();
    for line in list.lines() {
        let code = &line[..5];
        let page = Project::new().kiln(&format!("explain {code}")).exits(0).says_nothing().stdout();
        assert!(page.starts_with(&format!("# {code}")), "{page}");
    }
    Project::new().kiln("explain k0202").exits(0);
    Project::new().kiln("explain K9999").exits(2).tells("K9999").says("");
}

#[test]
fn a_wrong_command_line_is_2() {
    for arguments in ["", "nonsense", "check --nonsense", "plan nothing", "check -p jobs"] {
        let done = shop().kiln(arguments).exits(2);
        assert_same("stdout", "", &done.stdout());
        assert!(!done.stderr().is_empty());
    }
    shop().kiln("plan apq").exits(2).tells("did you mean `app`?");
}

#[test]
fn help_and_version_are_data() {
    let help = Project::new().kiln("--help").exits(0).says_nothing().stdout();
    assert!(help.contains("check") && help.contains("plan"), "{help}");
    let version = Project::new().kiln("--version").exits(0).says_nothing().stdout();
    assert!(version.starts_with("kiln "), "{version}");
}

#[test]
fn no_pipeline_is_2_and_says_what_to_do() {
    let done = Project::new().kiln("check").exits(2).tells("pipeline.pipe").tells("help:");
    assert_same("stdout", "", &done.stdout());
}

#[test]
fn a_wrong_pipeline_is_3_for_every_command() {
    let project = Project::of("build app {\n  run sh \"{{nothing}}\"\n}\n");
    for command in ["check", "list", "plan", "plan --json", "graph"] {
        let done = project.kiln(command).exits(3).tells("K0201");
        assert_same("stdout", "", &done.stdout());
    }
}

#[test]
fn warnings_go_to_stderr_and_stop_nothing() {
    let done = Project::of("let x = 1\nbuild app {\n  run sh \"make\"\n}\n").kiln("check").exits(0);
    assert!(done.stderr().contains("warning[K0207]") && done.stderr().contains("1 warning"));
    assert_same("stdout", "ok: 1 file, 1 stage, 1 step\n", &done.stdout());
}

#[test]
fn the_pipeline_is_found_from_below_and_by_its_name() {
    let project = shop().with("other/ci.pipe", "test t {\n  run sh \"make\"\n}\n");
    let below = Kiln::new(&project.at("src")).arguments(["list"]).run().exits(0).stdout();
    assert!(below.contains("app"), "{below}");
    let named = project.kiln("list -f other/ci.pipe").exits(0).stdout();
    assert!(named.contains("test  t") && !named.contains("app"), "{named}");
}

#[test]
fn params_come_from_the_command_line_then_the_environment_then_the_default() {
    let project = shop();
    let kiln = || Kiln::new(project.path());
    assert_eq!(param(kiln(), "profile"), "dev");
    assert_eq!(param(kiln().env("KILN_PARAM_PROFILE", "release"), "profile"), "release");
    let both = kiln().env("KILN_PARAM_PROFILE", "nonsense").arguments(["-p", "profile=release"]);
    let done = both.arguments(["plan"]).run();
    assert_eq!(done.code(), Some(2), "options stand behind the command");
    let both = kiln().env("KILN_PARAM_PROFILE", "nonsense");
    both.arguments(["plan", "-p", "profile=release"]).run().exits(0);
    kiln().env("KILN_PARAM_JOBS", "99").arguments(["plan"]).run().exits(3).tells("K0304");
    kiln().env("KILN_PARAM_NONE", "1").arguments(["plan"]).run().exits(0);
    project.kiln("plan -p nothing=1").exits(3).tells("nothing");
    project.kiln("plan -p jobs=8 --json").exits(0);
    // Below all of these stand files.
    project.write("ci.params", "# for the CI\n\n  profile=release\njobs=3\n");
    let listed = |call: Kiln| {
        let said = call.arguments(["plan", "--json", "--params", "ci.params"]).run().exits(0);
        let plan: serde_json::Value = serde_json::from_str(&said.stdout()).unwrap();
        let param = |name: &str| plan["params"][name].as_str().unwrap().to_owned();
        (param("profile"), param("jobs"))
    };
    let of = |profile: &str, jobs: &str| (profile.to_owned(), jobs.to_owned());
    assert_eq!(listed(kiln()), of("release", "3"));
    assert_eq!(listed(kiln().env("KILN_PARAM_JOBS", "5")), of("release", "5"));
    project.kiln("plan --params ci.params -p jobs=99").exits(3).tells("K0304");
    project.kiln("plan --params nowhere").exits(2).tells("`nowhere` cannot be read");
    project.write("ci.params", "jobs=3\nprofile: release\n");
    project.kiln("plan --params ci.params").exits(2).tells("ci.params:2: expected NAME=VALUE");
    project.write("ci.params", "# long\n".repeat(1 << 20));
    project.kiln("plan --params ci.params").exits(2).tells("it has more than 4 MiB");
}

#[test]
fn jsonl_is_the_event_stream() {
    let project = Project::of("let x = 1\nbuild app {\n  run sh \"{{y}} {{z}}\"\n}\n");
    let done = project.kiln("check --ui jsonl").exits(3).says_nothing();
    let lines = done.lines();
    for (at, line) in lines.iter().enumerate() {
        assert_eq!((&line["v"], &line["seq"]), (&json!(1), &json!(at)));
        let ts = line["ts"].as_str().unwrap();
        assert!(ts.len() == 24 && ts.starts_with("20") && ts.ends_with('Z'), "{ts}");
        for field in ["type", "code", "severity", "file", "start", "end", "message", "help"] {
            assert!(!line[field].is_null(), "{field} of {line}");
        }
    }
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["start"], json!(34));
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let stages: String =
        (0..2000).map(|at| format!("build b{at} {{\n  run sh \"make {at}\"\n}}\n")).collect();
    let project = Project::of(stages);
    for arguments in [["plan", "--json"], ["list", "--json"], ["graph", "--format=dot"]] {
        let mut command = Kiln::new(project.path()).arguments(arguments).command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        child.wait().unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let done = Project::of("build app {\n}\n").kiln("check").exits(3);
    assert!(!done.stderr().contains('\x1b'), "{}", done.stderr());
}

#[test]
fn plain_screens_get_plain_letters() {
    let project = Project::of("build app {\n  run sh \"{{x}}\"\n}\n");
    let done = Kiln::new(project.path()).env("LC_ALL", "C").arguments(["check"]).run().exits(3);
    let frame: Vec<_> = done.stderr().chars().filter(|c| "╭─╰│·".contains(*c)).collect();
    assert!(frame.is_empty(), "{}", done.stderr());
}
