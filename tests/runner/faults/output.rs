//! Row 12: outputs that are closed or full, and bytes that are no text: the log has them as they
//! are, and the terminal is safe from them.

use std::io::Read;

use crate::faults::terminal::Terminal;
use crate::faults::{Subject, notices};
use crate::kiln::{Kiln, Project};

/// A step that writes a file and leaves one with a hostile name where its out is missing.
const HOSTILE: &str = r#"
test bytes {
  in file("bytes")
  run sh "cat bytes; exit 1"
}

test inputs {
  in files("in/**")
  run sh "echo end of it; exit 1"
}

build names {
  run sh "touch \"$(printf 'd\\033[2J\\033]0;title\\007')\""
  out d: file = "d"
}
"#;

/// All bytes there are, and what terminals obey.
fn bytes() -> Vec<u8> {
    let all: Vec<u8> = (0..=255).collect();
    let orders = b"\x1b[2J\x1b[H\x1b]0;title\x07\x1b]52;c;aGk=\x07\x1b[?1049h\xc2\x9b2J\x1bc\x0e";
    [&all, b"\n".as_slice(), orders, b"\xff\xfe\xc0\x80end of it\n"].concat()
}

fn project() -> Project {
    Project::of(HOSTILE).with("bytes", bytes()).with("in/a", "")
}

/// Asserts that there are no orders to a terminal but those of Kiln's own.
#[track_caller]
fn assert_safe(screen: &str) {
    assert!(screen.contains("end of it"), "the output is not shown: {screen:?}");
    let mut parts = screen.split('\x1b');
    let mut plain = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part.find(|char: char| char.is_ascii_alphabetic()).unwrap_or(0);
        let order = &part[..=end];
        let is_ours = order == "[2K" || order == "[1A" || order.ends_with('m');
        assert!(is_ours, "{order:?} reached the screen");
        plain.push_str(&part[end + 1..]);
    }
    let is_odd = |char: &char| char.is_control() && !"\r\n".contains(*char);
    let odd: Vec<_> = plain.chars().filter(is_odd).collect();
    assert!(odd.is_empty(), "{odd:?} reached the screen");
}

/// Nothing that a step writes, or names a file, orders the terminal about.
fn a_screen_is_safe(subject: &Subject) {
    let project = project();
    let call = subject.kiln(project.path()).arguments(["run", "--keep-going"]);
    let output = call.command().output().unwrap();
    let told = String::from_utf8(output.stderr).expect("kiln writes UTF-8");
    assert!(!told.contains('\x1b'), "an escape reached the screen: {told:?}");
    assert_safe(&told);
    project.write("in/\x1b[2J\n::warning::x", "");
    let call = subject.kiln(project.path()).arguments(["run", "inputs"]);
    let told = [call.run().exits(1).stderr(), project.kiln("why inputs").exits(0).stdout()];
    for told in told {
        assert!(told.contains("the input `in/?[2J?::warning::x` is new"), "{told:?}");
        assert!(!told.contains('\x1b'), "an escape reached the screen: {told:?}");
    }
}

#[test]
fn nothing_that_a_step_writes_moves_a_plain_screen() {
    a_screen_is_safe(&Subject::real());
}

#[test]
fn escapes_that_reach_the_screen_are_noticed() {
    notices("PassEscapes", "reached the screen", a_screen_is_safe);
}

#[test]
fn nothing_that_a_step_writes_moves_a_live_screen() {
    let project = project();
    let call = Subject::real().kiln(project.path()).arguments(["run", "--keep-going"]);
    let (mut terminal, mut child) = Terminal::of(&call.command());
    let mut screen = Vec::new();
    terminal.read_to_end(&mut screen).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_safe(&String::from_utf8(screen).expect("kiln writes UTF-8"));
}

/// A name that is made of others' names: that of a row is a part of its step's.
#[test]
fn no_name_of_a_row_moves_a_screen() {
    let rows = "test row for (f in files(\"in/*\")) {\n  run sh \"cat {{f}}; exit 1\"\n}\n";
    let project = Project::of(rows).with("in/\x1b[2J\n::error::x\u{202e}", "");
    let name = "row[f: in/\\u{1b}[2J\\n::error::x\\u{202e}]";
    let said = |arguments: &[&str], code| {
        let call = Kiln::new(project.path()).arguments(arguments.iter().copied());
        let done = call.run().exits(code);
        format!("{}{}", done.stdout(), done.stderr())
    };
    for (arguments, code) in [
        (&["run"][..], 1),
        (&["run", "--ui", "quiet"], 1),
        (&["plan"], 0),
        (&["graph"], 0),
        (&["log"], 0),
        (&["why", "row"], 0),
        (&["why", name], 0),
        (&["log", name], 0),
    ] {
        let told = said(arguments, code);
        assert!(told.contains(name), "{arguments:?}: {told:?}");
        assert!(!told.contains('\x1b') && !told.contains("\n::error"), "{arguments:?}: {told:?}");
    }
}

#[test]
fn a_log_has_the_bytes_as_they_are() {
    let project = project();
    project.kiln("run bytes").exits(1);
    let log = || {
        let call = Kiln::new(project.path()).arguments(["log", "bytes"]);
        call.command().output().unwrap()
    };
    assert_eq!(log().stdout, bytes());
    // What the store has lost, the journal still has.
    std::fs::remove_dir_all(project.at(".cache")).unwrap();
    assert_eq!(log().stdout, bytes());
}

#[test]
fn closed_outputs_do_no_harm() {
    let copy = "build copy {\n  in file(\"bytes\")\n  run sh \"cat bytes; cat bytes >{{out.b}}\"\n  \
                out b: file\n}\n";
    let project = Project::of(copy).with("bytes", bytes());
    for form in ["plain", "jsonl", "quiet", "live"] {
        let line = format!("\"$0\" run --rerun copy --ui {form} <&- >&- 2>&-");
        Kiln::through_shell(project.path(), &line).run().exits(0);
        assert_eq!(std::fs::read(project.at("out/copy/b")).unwrap(), bytes());
        let log = Kiln::new(project.path()).arguments(["log", "copy"]).command().output().unwrap();
        assert_eq!(log.stdout, bytes(), "{form}");
    }
    Kiln::through_shell(project.path(), "\"$0\" log copy >/dev/full").run().exits(4);
}
