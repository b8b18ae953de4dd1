//! The line: what a step runs as one program with its arguments, its environment and the script
//! files that stand in its working tree. Knows how many commands become one; does not know where
//! the working tree is.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::plan::step::{Command, Step, Text, TextPiece};

/// Where scripts stand, by number; also the one that runs the others, `all`.
const SCRIPTS: &str = ".kiln/run";

/// Where a step with several commands leaves the number of the one it runs, from 0.
pub(crate) const CURRENT: &str = ".kiln/run/current";

/// Where tools stand, by name or number.
pub(crate) const TOOLS: &str = ".kiln/tools";

/// The system's own places for programs, in the usual order.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What each step finds in its environment, unless its author says otherwise. `PATH`, `HOME` and
/// `TMPDIR` come on top.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("SHELL", "/bin/sh"),
    // 2000-01-01, the modification time of every file that a step is given.
    ("SOURCE_DATE_EPOCH", "946684800"),
    ("TERM", "dumb"),
    ("TZ", "UTC"),
    ("USER", "build"),
];

/// One program that runs all commands of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The program and its arguments.
    pub(crate) argv: Vec<Text>,
    /// The environment without `HOME` and `TMPDIR`, which are the sandbox's to place.
    pub(crate) env: BTreeMap<String, Text>,
    /// The files it needs, by build path.
    pub(crate) scripts: Vec<(String, String)>,
    /// Whether [`CURRENT`] says which command failed.
    pub(crate) has_current: bool,
}

/// Returns the line of `step`, with `path` before the system's own directories for programs.
pub(crate) fn line(step: &Step, path: &[Text]) -> Line {
    let mut env = environment(step, path);
    let mut scripts = Vec::new();
    let mut lines = Vec::new();
    for (number, command) in step.commands.iter().enumerate() {
        lines.push(match command {
            Command::Argv { arguments, .. } => arguments.clone(),
            Command::Script { language, text, .. } => {
                let at = format!("{SCRIPTS}/{number}");
                scripts.push((at.clone(), text.clone()));
                let words = language.interpreter().iter().map(|word| Text::literal(*word));
                words.chain([Text::path(at)]).collect()
            }
        });
    }
    if let ([command], [argv]) = (&step.commands[..], &lines[..]) {
        env.extend(variables(step, command));
        return Line { argv: argv.clone(), env, scripts, has_current: false };
    }
    let all = format!("{SCRIPTS}/all");
    scripts.push((all.clone(), driver(step, &lines)));
    let argv = vec![Text::literal("sh"), Text::path(all)];
    Line { argv, env, scripts, has_current: !step.commands.is_empty() }
}

fn environment(step: &Step, path: &[Text]) -> BTreeMap<String, Text> {
    let fixed = ENVIRONMENT.iter().map(|(name, value)| ((*name).to_owned(), Text::literal(*value)));
    let mut env: BTreeMap<_, _> = fixed.collect();
    let mut places = Text::default();
    for folder in path {
        places.pieces.extend(folder.pieces.iter().cloned());
        places.pieces.push(TextPiece::Literal(":".to_owned()));
    }
    places.pieces.push(TextPiece::Literal(SYSTEM_PATH.to_owned()));
    env.insert("PATH".to_owned(), places);
    if step.keeps_root() {
        env.insert("USER".to_owned(), Text::literal("root"));
    }
    env.extend(step.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

/// What one command finds in its environment beside what its step does: what its language wants, and
/// the values of its holes.
fn variables(step: &Step, command: &Command) -> Vec<(String, Text)> {
    let Command::Script { language, holes, .. } = command else { return Vec::new() };
    let own = language.variables(&step.folder).into_iter();
    let own = own.filter(|(name, _)| !step.env.contains_key(*name));
    let own = own.map(|(name, value)| (name.to_owned(), value));
    own.chain(holes.iter().map(|(name, value)| (name.clone(), value.clone()))).collect()
}

/// A shell script that runs the commands one after the other, each with holes of its own. It finds
/// the working tree from its own place, so it holds no absolute path.
fn driver(step: &Step, lines: &[Vec<Text>]) -> String {
    let mut script =
        String::from("set -eu\nhere=$PWD\ncd \"${0%/*}/../..\"\nbuild=$PWD\ncd \"$here\"\n");
    for (number, (command, argv)) in step.commands.iter().zip(lines).enumerate() {
        let _ = write!(script, "echo {number} >\"$build/{CURRENT}\"\n(");
        for (name, value) in variables(step, command) {
            let _ = write!(script, "export {name}={}; ", word(&value));
        }
        let words: Vec<_> = argv.iter().map(word).collect();
        let _ = writeln!(script, "exec {})", words.join(" "));
    }
    script
}

/// A text as one word of a shell.
fn word(text: &Text) -> String {
    let mut word = String::new();
    for piece in &text.pieces {
        match piece {
            TextPiece::Literal(literal) => word.push_str(&quoted(literal)),
            TextPiece::Path { path } if path.is_empty() => word.push_str("\"$build\""),
            TextPiece::Path { path } => {
                word.push_str("\"$build\"");
                word.push_str(&quoted(&format!("/{path}")));
            }
        }
    }
    if word.is_empty() { "''".to_owned() } else { word }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::{Language, Place, testing};

    fn place() -> Place {
        Place { file: "pipeline.pipe".into(), line: 1, start: 0, end: 0 }
    }

    fn script(text: &str, holes: &[(&str, Text)]) -> Command {
        Command::Script {
            language: Language::Sh,
            text: text.into(),
            holes: holes.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
            place: place(),
        }
    }

    #[test]
    fn one_script_runs_by_itself_with_its_holes_in_the_environment() {
        let mut step = testing::step("a");
        step.commands = vec![script("make $1", &[("in", Text::path("a.c"))])];
        let line = line(&step, &[Text::path(".kiln/tools/0/bin")]);
        let argv: Vec<_> = line.argv.iter().map(|word| word.resolve("/build")).collect();
        assert_eq!(argv, ["sh", "-eu", "/build/.kiln/run/0"]);
        assert_eq!(line.scripts, [(".kiln/run/0".into(), "make $1".into())]);
        assert_eq!(line.env["in"].resolve("/build"), "/build/a.c");
        let path = line.env["PATH"].resolve("/build");
        assert!(path.starts_with("/build/.kiln/tools/0/bin:/usr/local/sbin:"), "{path}");
    }

    #[test]
    fn several_commands_become_one_that_keeps_their_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut step = testing::step("a");
        let odd = Text::literal("it's $HOME \"`x`\"\n");
        let argv = ["printf", "%s|", "", "$(no)"].map(Text::literal).to_vec();
        step.commands = vec![
            script(
                "printf '%s|%s|' \"$hole\" \"$path\"",
                &[("hole", odd), ("path", Text::path("x y"))],
            ),
            Command::Argv { arguments: argv, place: place() },
            script("exit 7", &[]),
            script("echo never", &[]),
        ];
        let line = line(&step, &[]);
        for (path, text) in &line.scripts {
            let at = folder.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, text).unwrap();
        }
        let build = folder.path().to_str().unwrap();
        #[expect(clippy::disallowed_methods, reason = "the very thing to be tested")]
        let done = std::process::Command::new("sh")
            .args(line.argv[1..].iter().map(|word| word.resolve(build)))
            .current_dir("/")
            .output()
            .unwrap();
        let expected = format!("it's $HOME \"`x`\"\n|{build}/x y||$(no)|");
        assert_eq!(String::from_utf8_lossy(&done.stdout), expected);
        assert_eq!(done.status.code(), Some(7));
        assert_eq!(std::fs::read_to_string(folder.path().join(CURRENT)).unwrap(), "2\n");
    }
}
