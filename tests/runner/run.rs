//! `kiln run`: what it says, in which form, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::kiln::{Kiln, Project};

const HELLO: &str = r#"
build greeting {
  in file("who.txt")
  run sh "sed 's/^/Hello, /' who.txt > {{out.text}}"
  out text: file
}

test is_friendly {
  run sh "grep Hello {{greeting.text}}"
}
"#;

const FAILING: &str = r#"
test bad {
  run sh """
    echo one
    printf '\033[2J\033]0;title\007##[error]two\n' >&2
    exit 7
  """
}

test after {
  require = [bad]
  run sh "true"
}

test missing {
  run sh "no-such-program"
}
"#;

fn hello() -> Project {
    Project::of(HELLO).with("who.txt", "you\n")
}

/// What was told, without times and amounts.
fn timeless(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_time = |at: usize| {
            let unit = words.get(at + 1).copied().unwrap_or_default();
            let number = words[at].chars().all(|char| char.is_ascii_digit() || char == '.');
            number && ["ms", "s", "ms,", "s,", "MiB"].contains(&unit)
        };
        let told = (0..words.len()).map(|at| if is_time(at) { "N" } else { words[at] });
        told.collect::<Vec<_>>().join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn a_first_run_does_all_and_a_second_nothing() {
    let project = hello();
    let first = project.kiln("run").exits(0).says("");
    assert_eq!(
        timeless(&first.stderr()),
        "ran N ms build greeting\nran N ms test is_friendly\ndone: 2 steps (2 ran) in N ms\n\
         out/greeting/text\n"
    );
    assert_eq!(std::fs::read_to_string(project.at("out/greeting/text")).unwrap(), "Hello, you\n");
    project.kiln("run").exits(0).tells("2 steps (2 cached)");
    project.kiln("run --rerun is_friendly").exits(0).tells("2 steps (1 ran, 1 cached)");
    project.kiln("run --ui quiet").exits(0).says("").says_nothing();
}

#[test]
fn a_fact_that_changes_runs_again_what_mentions_it() {
    const PIPELINE: &str = r#"
build about {
  run ["sh", "-c", "printf '%s\n' $2 >$1", "-", out.text, host.ci.pr ?? 0]
  out text: file
}

test other {
  run sh "true"
}
"#;
    let project = Project::of(PIPELINE);
    let request = |number: &str| {
        let kiln = Kiln::new(project.path()).arguments(["run"]);
        let kiln = kiln.env("GITHUB_ACTIONS", "true");
        kiln.env("GITHUB_REF", &format!("refs/pull/{number}/merge")).run().exits(0)
    };
    let about = || std::fs::read_to_string(project.at("out/about/text")).unwrap();
    project.kiln("run").exits(0).tells("2 steps (2 ran)");
    project.kiln("run").exits(0).tells("2 steps (2 cached)");
    assert_eq!(about(), "0\n");
    request("12").tells("2 steps (1 ran, 1 cached)");
    assert_eq!(about(), "12\n");
    request("12").tells("2 steps (2 cached)");
    request("13").tells("2 steps (1 ran, 1 cached)");
    assert_eq!(about(), "13\n");
    project.kiln("run").exits(0).tells("2 steps (2 cached)");
    assert_eq!(about(), "0\n");
}

#[test]
fn a_step_whose_condition_does_not_hold_is_skipped_and_says_why() {
    const PIPELINE: &str = r#"
param mode: "fast" | "full" = "fast"

build slow when mode == "full" {
  run sh "echo slow >{{out.o}}"
  out o: file
}

test rows for (n in 1..2) when n == 1 || mode == "full" {
  run sh "true"
}

test both {
  run ["grep", "o", slow.o ?? file("who.txt")]
}
"#;
    let project = Project::of(PIPELINE).with("who.txt", "you\n");
    let run = project.kiln("run").exits(0);
    let why = "skipped build slow `mode == \"full\"` does not hold: `mode` is \"fast\"";
    let told = timeless(&run.stderr());
    assert!(told.starts_with(why), "{told}");
    assert!(told.contains("done: 4 steps (2 ran, 2 skipped) in N ms"), "{told}");
    let told = timeless(&project.kiln("run").exits(0).stderr());
    assert!(told.starts_with(why), "{told}");
    assert!(told.contains("done: 4 steps (2 cached, 2 skipped) in N ms"), "{told}");
    let skip =
        "skip    build slow\n              `mode == \"full\"` does not hold: `mode` is \"fast\"\n";
    let plan = project.kiln("plan").exits(0).stdout();
    assert!(plan.contains(skip) && plan.ends_with("2 in the cache; 2 skipped\n"), "{plan}");
    project.kiln("run slow").exits(0).tells("1 step (1 skipped)");
    let why = project.kiln("why slow").exits(0).stdout();
    assert!(why.starts_with("`slow` did not run, since `mode == \"full\"`"), "{why}");
    project.kiln("run both --rerun slow").exits(2).tells("`mode == \"full\"` does not hold");
    project.kiln("run -p mode=full").exits(0).tells("4 steps (2 ran, 2 cached)");
    let list = project.kiln("list").exits(0).stdout();
    assert!(list.contains("build slow     when mode == \"full\""), "{list}");
}

#[test]
fn a_failure_is_reported_in_the_order_in_which_it_is_read() {
    let project = Project::of(FAILING);
    let run = project.kiln("run --keep-going -j 1").exits(1).says("");
    let told = run.stderr();
    let order = [
        "failed ",
        "step      pipeline.pipe:2  test bad {",
        "command   pipeline.pipe:3  echo one … (3 lines)",
        "ended     exit code 7 after ",
        "output    2 lines",
        "│ one",
        "│ ## [error]two",
        "full log  kiln log bad",
        "it ran    since ",
        "next      kiln shell bad",
        "          kiln why bad",
        "blocked   1 step that waits for it",
    ];
    let report = told.split("\n\n").find(|part| part.contains("test  bad")).unwrap();
    let mut from = 0;
    for part in order {
        let at = report[from..].find(part);
        from += at.unwrap_or_else(|| panic!("{part:?} is missing or early:\n{report}"));
    }
    assert!(!told.contains('\x1b'), "{told}");
    assert!(told.contains("no-such-program"), "{told}");
    assert!(told.contains("install it, or add it to `tools`"), "{told}");
    assert!(timeless(&told).ends_with("3 steps (2 failed, 1 blocked) in N ms\n"), "{told}");
}

#[test]
fn json_lines_are_one_stream_without_gaps() {
    let project = hello();
    let run = project.kiln("run --ui jsonl").exits(0).says_nothing();
    let lines = run.lines();
    for (seq, line) in lines.iter().enumerate() {
        assert_eq!(line["v"], 1);
        assert_eq!(line["seq"], seq);
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"run.started"));
    assert_eq!(kinds.last(), Some(&"run.finished"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "step.finished").count(), 2);
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let project = hello();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in ["run --ui jsonl", "list", "plan --json"] {
        let call = Kiln::new(project.path()).arguments(arguments.split(' '));
        let output = call.command().stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{arguments}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("standard output cannot be written to"), "{arguments}: {told}");
    }
    // A screen that is gone is no reason to stop.
    let call = Kiln::new(project.path()).arguments(["run"]);
    assert_eq!(call.command().stderr(full()).status().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_leaves_does_not_stop_the_run() {
    let project = hello();
    let mut call = Kiln::new(project.path()).arguments(["run", "--ui", "jsonl"]).command();
    let mut child = call.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(project.at("out/greeting/text").exists());
}

#[test]
fn an_interrupted_run_says_so_and_exits_with_its_signal() {
    let project = Project::of("test slow {\n  run sh \"echo begun; sleep 100\"\n}\n");
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut call = Kiln::new(project.path()).arguments(["run", "--ui", "jsonl"]).command();
        let mut child = call.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("begun")));
        let id = child.id().to_string();
        let kill = ["-s", signal, &id];
        assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
        let last = lines.last().unwrap();
        assert!(last.contains("\"run.finished\"") && last.contains(&code.to_string()), "{last}");
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn what_the_weak_sandbox_breaks_is_said_first() {
    let project = hello();
    let told = project.kiln("run --sandbox=weak").exits(0).stderr();
    assert!(told.starts_with("warning: the weak sandbox was asked for"), "{told}");
    project.kiln("run").exits(0).tells("2 ran");
}

#[test]
fn a_cache_is_named_where_the_user_says() {
    let project = hello();
    let cache = |arguments: &str, name: &str, value: &str| {
        let call = Kiln::new(project.path()).arguments(arguments.split(' '));
        call.env(name, value).run().exits(0);
    };
    cache("run", "KILN_CACHE", "one");
    assert!(project.at("one/v1").exists());
    cache("run --rerun greeting --cache two", "KILN_CACHE", "three");
    assert!(project.at("two/v1").exists() && !project.at("three").exists());
    let xdg = project.at("xdg");
    cache("run --rerun greeting", "XDG_CACHE_HOME", xdg.to_str().unwrap());
    assert!(xdg.join("kiln/v1").exists());
    project.kiln("run --rerun greeting").exits(0);
    assert!(project.at(".cache/kiln/v1").exists());
}

#[test]
fn parts_of_a_run_have_all_steps_between_them() {
    let project = Project::of(
        "build lib {\n  run sh \"echo lib > {{out.obj}}\"\n  out obj: file\n}\n\n\
         test unit for (n in 1..5) {\n  run sh \"cat {{lib.obj}}; echo {{n}}\"\n}\n",
    );
    let plain = |arguments: &str| {
        let told = project.kiln(&format!("run --ui plain {arguments}")).exits(0).stderr();
        let steps =
            told.lines().filter(|line| line.contains("unit[") || line.contains("build lib"));
        steps.map(|line| line.split_whitespace().last().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = (1..=2).flat_map(|part| plain(&format!("--slice {part}/2"))).collect();
    assert_eq!(all.len(), 7, "{all:?}");
    all.sort();
    all.dedup();
    assert_eq!(all, ["1]", "2]", "3]", "4]", "5]", "lib"]);
    assert_eq!(plain("--slice 2/2").len(), 3, "served, and the same part");
    assert_eq!(plain("").len(), 6, "the whole is more than its part");
    assert_eq!(plain("--slice 1/3 unit").len(), 3);
    project.kiln("run --slice 3/2").exits(2).tells("N from 1 to M");
    project.kiln("run --slice 7/7").exits(0).tells("0 steps");
}

#[test]
fn what_runs_on_another_machine_is_left_out_and_says_so() {
    let ours = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
    let project = Project::of(format!(
        "build here {{\n  platform = \"{ours}\"\n  run sh \"true\"\n}}\n\n\
         build elsewhere {{\n  platform = \"macos/arm64\"\n  run sh \"echo > {{{{out.app}}}}\"\n  \
         out app: file\n}}\n\ntest app {{\n  run sh \"{{{{elsewhere.app}}}}\"\n}}\n\n\
         build same {{\n  run sh \"true\"\n}}\n",
    ));
    let done = project.kiln("run --keep-going").exits(1);
    let why = format!("elsewhere  it runs on macos/arm64, and this machine is {ours}");
    done.tells(&why).tells("1 ran, 1 cached, 1 blocked, 1 skipped");
    project.kiln("run here elsewhere").exits(0).tells(&why);
}

#[test]
fn wrong_stages_are_a_wrong_use() {
    let project = hello();
    project.kiln("run is_freindly").exits(2).tells("did you mean `is_friendly`?");
    project
        .kiln("run greeting --rerun is_friendly")
        .exits(2)
        .tells("kiln run greeting is_friendly");
    project.kiln("run -j 0").exits(2);
}

/// A `kiln run --watch` under way, whose lines are read one by one.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn begin(project: &Project) -> Self {
        let call = Kiln::new(project.path()).arguments(["run", "--watch", "--ui", "plain"]);
        let mut child = call.command().stderr(Stdio::piped()).spawn().unwrap();
        let all = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (say, lines) = mpsc::channel();
        std::thread::spawn(move || all.for_each(|line| drop(say.send(line))));
        Self { child, lines }
    }

    /// Reads on until a line has all of these parts; it may take half a minute.
    #[track_caller]
    fn tells(&mut self, parts: &[&str]) {
        let mut read = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(30)) {
            let has_all = parts.iter().all(|part| line.contains(part));
            read.push(line);
            if has_all {
                return;
            }
        }
        panic!("{parts:?} was not told:\n{}", read.join("\n"));
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_runs_what_an_edit_reaches_until_it_is_interrupted() {
    let project = Project::of(
        r#"
build upper for (name in files("src/*.txt")) {
  run sh "! grep bad {{name}} && tr a-z A-Z <{{name}} >{{out.text}}"
  out text: file
}
"#,
    );
    project.write("src/a.txt", "a\n");
    project.write("src/b.txt", "b\n");
    project.kiln("run").exits(0);
    let mut watch = Watching::begin(&project);
    watch.tells(&["2 cached"]);
    watch.tells(&["watching ", " folders for changes; Ctrl-C ends"]);
    project.write("src/a.txt", "bad\n");
    watch.tells(&["changed: `src/a.txt`"]);
    watch.tells(&["1 failed"]);
    watch.tells(&["watching"]);
    project.write("src/a.txt", "c\n");
    watch.tells(&["1 ran", "1 cached"]);
    watch.tells(&["watching"]);
    project.write("src/c.txt", "d\n");
    watch.tells(&["changed: `src/c.txt`"]);
    watch.tells(&["1 ran", "2 cached"]);
    watch.tells(&["watching"]);
    project.write("pipeline.pipe", "build upper {\n");
    watch.tells(&["changed: `pipeline.pipe`"]);
    watch.tells(&["error"]);
    watch.tells(&["watching"]);
    project.write("pipeline.pipe", "test one {\n  run sh \"sleep 0.5\"\n}\n");
    watch.tells(&["changed: `pipeline.pipe`"]);
    // What is edited during a run is taken up after it.
    watch.tells(&["1 ran"]);
    watch.tells(&["watching"]);
    let id = watch.child.id().to_string();
    let kill = std::process::Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(kill.unwrap().success());
    assert_eq!(watch.child.wait().unwrap().code(), Some(130));
}

#[test]
fn an_edit_during_a_run_is_taken_up_after_it() {
    let project = Project::of("test slow {\n  in files(\"a\")\n  run sh \"sleep 0.6; cat a\"\n}\n");
    project.write("a", "one\n");
    let mut watch = Watching::begin(&project);
    watch.tells(&["watching"]);
    project.write("a", "two\n");
    watch.tells(&["changed: `a`"]);
    // By now the run has begun, and looked at the file.
    std::thread::park_timeout(Duration::from_millis(400));
    project.write("a", "three\n");
    watch.tells(&["1 ran"]);
    watch.tells(&["changed: `a`"]);
    watch.tells(&["1 ran"]);
    watch.tells(&["watching"]);
}
