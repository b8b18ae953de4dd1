//! Input that is broken or hostile: a clear error with the right code, in bounded time and memory,
//! and never a crash.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::kiln::{Kiln, Project, assert_same};

/// More than any of these takes without optimization on a machine that does much else; alone, most take
/// a second or two.
const MOST: Duration = Duration::from_secs(60);

/// The most address space, in KiB; the stacks that the parser reserves are a part of it.
const MOST_KIB: u64 = 3 << 20;

/// What Kiln says about a project, each code once.
struct Verdict {
    exit: i32,
    codes: Vec<String>,
    messages: Vec<String>,
}

/// Runs a command of `kiln` within the limits.
#[track_caller]
fn verdict(project: &Project, command: &str) -> Verdict {
    let begin = Instant::now();
    let limited = format!("ulimit -v {MOST_KIB}; exec \"$0\" {command} --ui jsonl");
    let done = Kiln::through_shell(project.path(), &limited).run();
    let took = begin.elapsed();
    assert!(took < MOST, "it took {took:?}");
    let exit = done.code().expect("it ended by itself");
    let found = done.diagnostics();
    let texts = |field: &str| -> Vec<String> {
        found.iter().map(|found| found[field].as_str().unwrap().to_owned()).collect()
    };
    let (mut codes, messages) = (texts("code"), texts("message"));
    codes.sort();
    codes.dedup();
    assert!(messages.iter().all(|message| message.len() < 1000), "a message is short");
    assert!(!done.stderr().contains("panicked"), "{}", done.stderr());
    Verdict { exit, codes, messages }
}

/// Asserts that `kiln plan` says `code` and nothing else about a text.
#[track_caller]
fn yields(code: &str, text: impl AsRef<[u8]>) -> Vec<String> {
    let found = verdict(&Project::of(text), "plan");
    assert_eq!((found.exit, found.codes), (3, vec![code.to_owned()]), "{:?}", found.messages);
    found.messages
}

/// Asserts that nothing is wrong with a text.
#[track_caller]
fn is_fine(text: impl AsRef<[u8]>) {
    let found = verdict(&Project::of(text), "plan");
    assert_eq!((found.exit, found.messages), (0, Vec::new()));
}

/// Asserts that a text neither breaks Kiln nor takes it long, whatever it says.
#[track_caller]
fn is_survived(text: impl AsRef<[u8]>) {
    let found = verdict(&Project::of(text), "plan");
    assert!([0, 3].contains(&found.exit), "ended with {}", found.exit);
}

const APP: &str = "build app {\n  run sh \"make\"\n}\n";

#[test]
fn a_missing_file_is_named() {
    let done = Project::new().kiln("check -f none.pipe").exits(2);
    done.tells("cannot read").tells("none.pipe").tells("help: ");
}

#[test]
fn a_folder_is_no_pipeline() {
    Project::new()
        .with("x.pipe/", "")
        .kiln("check -f x.pipe")
        .exits(2)
        .tells("x.pipe")
        .tells("not a folder");
    Project::new().with("x/pipeline.pipe", "").kiln("run -f x").exits(2).tells("x/pipeline.pipe");
}

#[test]
fn a_named_pipe_is_not_waited_for() {
    let project = Project::new();
    project.make_pipe("x.pipe");
    project.kiln("check -f x.pipe").exits(4).tells("not a regular file");
}

#[test]
fn used_files_that_cannot_be_read_are_named() {
    let project = Project::of(format!("use \"./queue.pipe\" as q\nuse \"./box.pipe\" as b\n{APP}"));
    project.make_pipe("queue.pipe");
    project.write("box.pipe/", "");
    let found = verdict(&project, "check");
    assert_eq!((found.exit, found.codes), (3, vec!["K0210".to_owned()]), "{:?}", found.messages);
    assert_eq!(found.messages.len(), 2);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    yields("K0001", b"build app {\n  run sh \"\xff\xfe\"\n}\n");
    yields("K0001", b"\xc3");
    yields("K0002", "build app {\n  run sh \"a\0b\"\n}\n");
    yields("K0003", format!("{APP}#{}\n", "x".repeat(4 << 20)));
}

#[test]
fn marks_and_line_ends_of_other_systems_are_taken() {
    is_fine(format!("\u{feff}{APP}"));
    is_fine(APP.replace('\n', "\r\n"));
    is_fine("");
    is_fine("\n\n# nothing\n");
    is_fine(APP.trim_end());
}

#[test]
fn a_carriage_return_is_no_part_of_a_script() {
    let text = "build app {\n  run sh \"\"\"\n    make\n    make install\n  \"\"\"\n}\n";
    let script = |text: &str| {
        let done = Project::of(text).kiln("plan --json").exits(0);
        let plan: serde_json::Value = serde_json::from_str(&done.stdout()).unwrap();
        plan["steps"][0]["commands"][0]["script"]["text"].as_str().map(str::to_owned)
    };
    assert_eq!(script(text), script(&text.replace('\n', "\r\n")));
}

#[test]
fn brackets_nest_to_a_limit() {
    for (open, close) in [("[", "]"), ("(", ")"), ("{a: ", "}"), ("f(", ")"), ("[x for x in ", "]")]
    {
        let (open, close) = (open.repeat(10_000), close.repeat(10_000));
        let messages = yields("K0006", format!("pub let x = {open}1{close}\n{APP}"));
        assert_eq!(messages.len(), 1, "{messages:?}");
        is_survived(format!("pub let x = {open}\n{APP}"));
        is_survived(format!("pub let x = {close}\n{APP}"));
    }
    let holes = "\"{{".repeat(10_000);
    is_survived(format!("pub let x = {holes}\n{APP}"));
    is_survived(format!("build app {{\n  run sh \"{}\"\n}}\n", "$(".repeat(10_000)));
}

#[test]
fn deep_expressions_are_refused() {
    for text in [
        format!("{}1", "-".repeat(100_000)),
        format!("{}true", "!".repeat(100_000)),
        format!("{}1", "1 + ".repeat(100_000)),
        format!("{}1", "if true then 1 else ".repeat(20_000)),
        format!("a{}", ".b".repeat(100_000)),
        format!("a{}", "[0]".repeat(100_000)),
        format!("a{}", "()".repeat(100_000)),
        format!("{}1", "1 ?? ".repeat(100_000)),
    ] {
        is_survived(format!("pub let x = {text}\n{APP}"));
    }
    is_survived(format!("param x: {}int{} = 1\n{APP}", "list<".repeat(10_000), ">".repeat(10_000)));
    is_survived(format!("param x: int{} = 1\n{APP}", "?".repeat(100_000)));
}

#[test]
fn input_that_looks_exponential_takes_linear_time() {
    for text in ["((((((((((((((((1", "[[[[[[[[[[[[[[[[[[1", "{a:{a:{a:{a:{a:{a:{a:{a:{a:{a:1"] {
        is_survived(format!("let x = {text}\n"));
    }
    is_survived(format!("pub let x = {}1{}\n", "(".repeat(100), ")".repeat(100)));
    is_survived(format!("pub let x = {}\n", "if a then ".repeat(100)));
    is_survived("build ".repeat(50_000));
    is_survived("build a {\n".repeat(20_000));
    is_survived("}\n".repeat(50_000));
    is_survived("\"\"\"\n".repeat(50_001));
    is_survived("{{".repeat(50_000));
    is_survived("for (x in ".repeat(20_000));
    is_survived(format!("build a {{ run sh \"{}\" }}", "{{a".repeat(20_000)));
}

#[test]
fn chains_of_values_end() {
    let mut text = String::new();
    for at in 0..100_000 {
        let _ = writeln!(text, "let v{at} = v{}", at + 1);
    }
    let _ = writeln!(text, "let v100000 = 1\n{}", APP.replace("make", "make {{v0}}"));
    let messages = yields("K0006", text);
    assert_eq!(messages.len(), 1, "{messages:?}");
}

#[test]
fn long_circles_of_values_are_told_shortly() {
    let mut text = String::new();
    for at in 0..900 {
        let _ = writeln!(text, "let v{at} = v{}", (at + 1) % 900);
    }
    let messages = yields("K0211", format!("{text}{}", APP.replace("make", "make {{v0}}")));
    assert_eq!(messages.len(), 1, "{messages:?}");
}

#[test]
fn values_that_double_each_time_are_refused() {
    let doubling = |start: &str, next: &dyn Fn(usize) -> String, used: &str| {
        let mut text = format!("let v0 = {start}\n");
        for at in 1..64 {
            let _ = writeln!(text, "let v{at} = {}", next(at - 1));
        }
        format!("{text}{}", APP.replace("make", used))
    };
    yields(
        "K0802",
        doubling("\"ha\"", &|at| format!("\"{{{{v{at}}}}}{{{{v{at}}}}}\""), "make {{v63}}"),
    );
    yields("K0802", doubling("\"ha\"", &|at| format!("v{at} + v{at}"), "make {{v63}}"));
    yields("K0802", doubling("[1]", &|at| format!("v{at} + v{at}"), "make {{len(v63)}}"));
    is_survived(doubling("[1]", &|at| format!("[v{at}, v{at}]"), "make {{len(v63)}}"));
    yields(
        "K0802",
        doubling(
            "[1]",
            &|at| format!("[x for x in v{at}, y in v{at}, z in [1, 2]]"),
            "make {{len(v63)}}",
        ),
    );
    yields(
        "K0802",
        doubling("\"ha\"", &|at| format!("replace(v{at}, \"a\", v{at})"), "make {{v63}}"),
    );
}

#[test]
fn functions_that_call_each_other_twice_are_refused() {
    let mut text = "fn f0(n: int) -> int = n\n".to_owned();
    for at in 1..64 {
        let before = at - 1;
        let _ = writeln!(text, "fn f{at}(n: int) -> int = f{before}(n) + f{before}(n)");
    }
    yields("K0802", format!("{text}{}", APP.replace("make", "make {{f63(0)}}")));
}

#[test]
fn lists_and_matrices_have_limits() {
    yields("K0802", APP.replace("make", "make {{len(1..1_000_001)}}"));
    yields("K0802", APP.replace("make", "make {{len(0..9223372036854775807)}}"));
    yields("K0802", APP.replace("make", "make {{len([1 for x in 1..2000, y in 1..2000])}}"));
    yields("K0601", APP.replace("app", "app for (n in 1..1_000_000)"));
    yields("K0601", APP.replace("app", "app for (n in 1..1000, m in 1..1000, max: 100000)"));
    let many: String = (0..11)
        .map(|at| {
            format!("build b{at} for (n in 1..10000, max: 10000) {{\n  run sh \"make\"\n}}\n")
        })
        .collect();
    yields("K0601", many);
}

#[test]
fn a_million_rows_in_a_file_are_taken() {
    let mut text = "pub let rows = [\n".to_owned();
    for _ in 0..300_000 {
        text.push_str("  1,\n");
    }
    is_survived(format!("{text}]\n{APP}"));
}

#[test]
fn thousands_of_stages_are_taken() {
    let stages: String =
        (0..5000).map(|at| format!("build b{at} {{\n  run sh \"make {at}\"\n}}\n")).collect();
    is_fine(stages);
}

#[test]
fn thousands_of_mistakes_are_told() {
    let stages: String =
        (0..5000).map(|at| format!("build b{at} {{\n  run sh \"{{{{x{at}}}}}\"\n}}\n")).collect();
    let found = verdict(&Project::of(&stages), "check");
    assert_eq!((found.exit, found.messages.len()), (3, 5000));
    Project::of(&stages).kiln("check").exits(3).tells("5000 errors, 4950 of them not shown");
}

#[test]
fn files_that_use_each_other_are_a_circle() {
    let project = Project::of("use \"./a.pipe\" as a\n")
        .with("a.pipe", "use \"./b.pipe\" as b\npub let x = b.x\n")
        .with("b.pipe", "use \"./a.pipe\" as a\npub let x = a.x\n");
    let found = verdict(&project, "check");
    assert_eq!(found.codes[0], "K0208", "{:?}", found.messages);
    let itself = Project::of("use \"./pipeline.pipe\" as me\n");
    assert_eq!(verdict(&itself, "check").codes, ["K0208"]);
}

#[test]
fn a_pipeline_has_at_most_1024_files() {
    let uses: String = (0..1025).map(|at| format!("use \"./m{at}.pipe\" as m{at}\n")).collect();
    let project = Project::of(uses);
    for at in 0..1025 {
        project.write(&format!("m{at}.pipe"), format!("test t{at} {{\n  run sh \"make\"\n}}\n"));
    }
    let found = verdict(&project, "check");
    assert_eq!(found.codes, ["K0802"], "{:?}", found.messages);
}

#[test]
fn names_and_texts_may_be_long() {
    let name = "n".repeat(100_000);
    is_survived(format!(
        "let {name} = \"{name}\"\n{}",
        APP.replace("make", &format!("{{{{{name}x}}}}"))
    ));
    is_survived(format!("let x = \"{}\"\n", "\\u{1f600}".repeat(100_000)));
    is_survived(format!("let x = {}\n", "9".repeat(100_000)));
    is_survived(format!("let x = matches(\"a\", \"{}\")\n", "(a*)*".repeat(1000)));
    is_survived(format!(
        "build app {{\n  in files(\"{}\")\n  run sh \"make\"\n}}\n",
        "**/".repeat(10_000)
    ));
    is_survived(format!(
        "build app {{\n  in files(\"{}\")\n  run sh \"make\"\n}}\n",
        "{a,".repeat(10_000)
    ));
}

#[test]
fn a_report_never_speaks_to_the_terminal() {
    let text = "build app {\n  run sh \"make \x1b[2J{{nothing}}\"\n}\n";
    let done = Project::of(text).kiln("check").exits(3);
    assert!(!done.stderr().contains('\x1b'), "{:?}", done.stderr());
}

#[test]
fn a_long_line_is_shown_in_part() {
    let text = format!("pub let x = [{}nothing]\n", "1, ".repeat(100_000));
    let done = Project::of(text).kiln("check").exits(3);
    assert!(done.stderr().len() < 4000, "{} bytes", done.stderr().len());
}

#[test]
fn what_is_told_does_not_depend_on_the_run() {
    let text =
        "build a {\n  run sh \"{{b.x}} {{c}}\"\n}\ntest b for (x in [1, 1]) {\n  run sh \"y\"\n}\n";
    let project = Project::of(text);
    let first = project.kiln("check").exits(3).stderr();
    for _ in 0..3 {
        assert_same("the report", &first, &project.kiln("check").exits(3).stderr());
    }
}
