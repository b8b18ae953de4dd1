//! What Kiln says about mistakes. A fixture is a `.pipe` file below `tests/diagnostics/`, or a folder
//! with a `pipeline.pipe`. Above each offending line stands what is expected there, in order:
//!
//! ```text
//! #! error K0202 at `binn`: `api` has no out `binn`
//!   run sh "{{api.binn}}"
//! ```
//!
//! `+2` after the code means two lines below the next line, for places inside a script. One of the first
//! lines `#! kiln plan -p jobs=3` names another command than `kiln check`, `# files: a.c web/` the files and
//! folders beside it. The `.stderr` beside a fixture is what people read. `KILN_BLESS=1` rewrites both.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use crate::kiln::{
    Project, assert_none, blesses, difference, difference_to_file, files_below, relative,
    repository, tell,
};

const FOLDER: &str = "tests/diagnostics";

/// The most alternatives a message may list.
const MOST_ALTERNATIVES: usize = 4;

/// The least share, in percent, of the fixtures with an edit.
const LEAST_CURED: usize = 70;

/// A pipeline with mistakes.
struct Fixture {
    /// The file, or the `pipeline.pipe` of the folder.
    file: PathBuf,
    /// The folder of a fixture of several files.
    folder: Option<PathBuf>,
}

impl Fixture {
    fn all() -> Vec<Self> {
        let files = files_below(&repository(FOLDER));
        let is_root = |path: &&PathBuf| path.ends_with("pipeline.pipe");
        let folders: Vec<_> =
            files.iter().filter(is_root).filter_map(|path| path.parent()).collect();
        let is_inside = |path: &Path| folders.iter().any(|folder| path.starts_with(folder));
        let single = files.iter().filter(|path| {
            path.extension().is_some_and(|extension| extension == "pipe") && !is_inside(path)
        });
        let single = single.map(|file| Self { file: file.clone(), folder: None });
        let folders = files
            .iter()
            .filter(is_root)
            .map(|file| Self { file: file.clone(), folder: file.parent().map(Path::to_owned) });
        single.chain(folders).collect()
    }

    fn stderr(&self) -> PathBuf {
        self.file.with_extension("stderr")
    }

    /// Returns the files of the fixture that hold Pipe, by their path in the project.
    fn sources(&self) -> Vec<(String, PathBuf)> {
        let Some(folder) = &self.folder else {
            return vec![("pipeline.pipe".to_owned(), self.file.clone())];
        };
        let files = files_below(folder).into_iter();
        files
            .filter(|file| file.extension().is_some_and(|extension| extension == "pipe"))
            .map(|file| (file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), file))
            .collect()
    }

    fn project(&self) -> Project {
        let project = match &self.folder {
            Some(folder) => Project::new().with_copy_of(folder),
            None => Project::of(std::fs::read(&self.file).unwrap()),
        };
        project.with_files_of(&self.text())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    /// The command that one of its first lines names.
    fn command(&self) -> String {
        let text = self.text();
        let named = text.lines().take(5).find_map(|line| line.strip_prefix("#! kiln "));
        named.unwrap_or("check").to_owned()
    }

    fn found(&self, project: &Project) -> Vec<Found> {
        let done = project.kiln(&format!("{} --ui jsonl", self.command()));
        done.diagnostics().iter().map(|event| Found::new(event, project)).collect()
    }

    fn problems(&self) -> Vec<String> {
        if blesses() {
            self.bless();
        }
        let mut problems = Vec::new();
        let project = self.project();
        let found = self.found(&project);
        if found.is_empty() {
            problems.push("it has no mistake".to_owned());
        }
        for (name, file) in self.sources() {
            let text = std::fs::read_to_string(&file).unwrap();
            let here: Vec<_> = found.iter().filter(|found| found.file == name).collect();
            let expected = expectations(&text).join("\n");
            let found: Vec<_> = here.iter().map(|found| found.line_for(&text)).collect();
            problems.extend(difference(&name, &expected, &found.join("\n")));
        }
        let done = project.kiln(&self.command());
        if !matches!(done.code(), Some(0 | 3)) || done.stderr().contains("panicked") {
            problems.push(format!("kiln failed:\n{}", done.stderr()));
        }
        problems.extend(difference_to_file(&self.stderr(), &done.stderr()));
        problems.extend(found.iter().filter_map(|found| self.edit_problem(&project, found)));
        problems.into_iter().map(|problem| format!("{}: {problem}", relative(&self.file))).collect()
    }

    /// Applies the edit of a diagnostic: it must be gone then, and nothing new there.
    fn edit_problem(&self, project: &Project, cured: &Found) -> Option<String> {
        let edit = &cured.event["edit"];
        let file = edit["file"].as_str()?;
        let before = std::fs::read_to_string(project.at(file)).unwrap();
        let (start, end) = (offset(&edit["start"]), offset(&edit["end"]));
        let after = [&before[..start], edit["text"].as_str()?, &before[end..]].concat();
        let expected: Vec<_> = self.found(project).iter().map(Found::what).collect();
        project.write(file, &after);
        let found: Vec<_> = self.found(project).iter().map(Found::what).collect();
        project.write(file, &before);
        let mut left = expected;
        left.remove(left.iter().position(|what| *what == cured.what())?);
        let mut is_new = |what: &String| match left.iter().position(|known| known == what) {
            Some(at) => {
                left.remove(at);
                false
            }
            None => true,
        };
        let new: Vec<_> = found.into_iter().filter(|what| is_new(what)).collect();
        if new.is_empty() {
            return None;
        }
        let line = after.lines().nth(before[..start].matches('\n').count()).unwrap_or_default();
        Some(format!("the edit of {} gives\n    {line}\n  and then {new:#?}", cured.what()))
    }

    /// Writes what is found into the fixture.
    fn bless(&self) {
        for (name, file) in self.sources() {
            let text = std::fs::read_to_string(&file).unwrap();
            let bare: String =
                text.split_inclusive('\n').filter(|line| !is_expectation(line)).collect();
            std::fs::write(&file, &bare).unwrap();
            let found = self.found(&self.project());
            let here: Vec<_> = found.iter().filter(|found| found.file == name).collect();
            std::fs::write(&file, annotated(&bare, &here)).unwrap();
        }
    }
}

/// A `diagnostic` event and the text it is about.
struct Found {
    event: Value,
    file: String,
    /// From 1.
    line: usize,
    /// The text of its span, up to the first newline.
    span: String,
}

impl Found {
    fn new(event: &Value, project: &Project) -> Self {
        let file = event["file"].as_str().unwrap().to_owned();
        let text = std::fs::read(project.at(&file)).unwrap();
        let span = String::from_utf8_lossy(&text[offset(&event["start"])..offset(&event["end"])]);
        let span = span.lines().next().unwrap_or_default().to_owned();
        Self { file, line: offset(&event["line"]), span, event: event.clone() }
    }

    fn field(&self, name: &str) -> &str {
        self.event[name].as_str().unwrap_or_default()
    }

    /// The diagnostic without its place.
    fn what(&self) -> String {
        format!("{} {}: {}", self.field("severity"), self.field("code"), self.field("message"))
    }

    /// The expectation that fits, without its place.
    fn expectation(&self, below: i64) -> String {
        let below = if below == 0 { String::new() } else { format!(" {below:+}") };
        let message = self.field("message").replace('\n', "⏎");
        let (severity, code) = (self.field("severity"), self.field("code"));
        format!("{severity} {code}{below} at `{}`: {message}", self.span)
    }

    /// The expectation that fits, with its line, as [`expectations`] gives it.
    fn line_for(&self, text: &str) -> String {
        let lines: Vec<_> = text.lines().collect();
        let host = host(&lines, self.line);
        format!("line {host}: {}", self.expectation(lines_below(host, self.line)))
    }
}

fn lines_below(host: usize, line: usize) -> i64 {
    i64::try_from(line).unwrap() - i64::try_from(host).unwrap()
}

fn offset(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a number")).unwrap()
}

fn is_expectation(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("#! error ") || line.starts_with("#! warning ")
}

/// Returns what a text expects, each with the line it stands above.
fn expectations(text: &str) -> Vec<String> {
    let mut expected = Vec::new();
    let mut waiting = Vec::new();
    for (at, line) in text.lines().enumerate() {
        match is_expectation(line) {
            true => waiting.push(line.trim_start().trim_start_matches("#! ")),
            false => {
                let here = waiting.drain(..);
                expected.extend(here.map(|line| format!("line {}: {line}", at + 1)));
            }
        }
    }
    expected.extend(waiting.into_iter().map(|line| format!("at the end: {line}")));
    expected
}

/// Returns the line, from 1, that expectations of `line` stand above: one outside of any block.
fn host(lines: &[&str], line: usize) -> usize {
    let mut opened = None;
    for (at, text) in lines.iter().enumerate().take(line - 1) {
        if text.matches("\"\"\"").count() % 2 == 1 {
            opened = match opened {
                None => Some(at + 1),
                Some(_) => None,
            };
        }
    }
    opened.unwrap_or(line)
}

/// Returns a text with the expectations of what was found in it.
fn annotated(text: &str, found: &[&Found]) -> String {
    let lines: Vec<_> = text.lines().collect();
    let mut annotated = String::new();
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let indent = &line[..line.len() - line.trim_start_matches(' ').len()];
        for found in found.iter().filter(|found| host(&lines, found.line) == at + 1) {
            let expected = found.expectation(lines_below(at + 1, found.line));
            let _ = writeln!(annotated, "{indent}#! {expected}");
        }
        annotated.push_str(line);
    }
    annotated
}

#[test]
fn every_mistake_is_found_where_it_is_and_nothing_else() {
    let problems: Vec<_> = Fixture::all().par_iter().flat_map(Fixture::problems).collect();
    assert_none(&problems);
}

#[test]
fn most_fixtures_come_with_an_edit_that_cures_them() {
    let all: Vec<_> = Fixture::all()
        .par_iter()
        .map(|fixture| (relative(&fixture.file), fixture.found(&fixture.project())))
        .collect();
    let has_edit = |found: &Found| found.event["edit"].is_object();
    let is_cured = |found: &[Found]| found.iter().any(has_edit);
    let fixtures = Share { part: all.iter().filter(|(_, it)| is_cured(it)).count(), of: all.len() };
    let findings = || all.iter().flat_map(|(_, found)| found);
    let findings =
        Share { part: findings().filter(|it| has_edit(it)).count(), of: findings().count() };
    tell(&format!("with an edit: {fixtures} of the fixtures, {findings} of what is found"));
    let bare = all.iter().filter(|(_, found)| !is_cured(found)).flat_map(|(name, found)| {
        found.iter().map(move |found| {
            format!("{name}:{}: {} (help: {})", found.line, found.what(), found.field("help"))
        })
    });
    assert!(
        fixtures.percent() >= LEAST_CURED,
        "with an edit: {fixtures} of the fixtures, which should be {LEAST_CURED} %; without:\n{}",
        bare.collect::<Vec<_>>().join("\n")
    );
}

/// A part of a whole.
struct Share {
    part: usize,
    of: usize,
}

impl Share {
    /// Rounded down.
    fn percent(&self) -> usize {
        self.part * 100 / self.of
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of {} ({} %)", self.part, self.of, self.percent())
    }
}

#[test]
fn every_file_of_the_fixtures_is_read() {
    let mut read = BTreeSet::new();
    for fixture in Fixture::all() {
        read.insert(fixture.stderr());
        match &fixture.folder {
            Some(folder) => {
                read.extend(
                    files_below(folder).into_iter().filter(|file| {
                        file.extension().is_none_or(|extension| extension != "stderr")
                    }),
                );
            }
            None => {
                read.insert(fixture.file);
            }
        }
    }
    let files = files_below(&repository(FOLDER)).into_iter();
    let unread = files.filter(|file| !read.contains(file)).map(|file| relative(&file));
    assert_none(&unread.collect::<Vec<_>>());
}

#[test]
fn messages_keep_to_the_house_style() {
    let problems: Vec<_> = Fixture::all()
        .par_iter()
        .flat_map(|fixture| {
            let found = fixture.found(&fixture.project());
            let problems = found.iter().flat_map(style_problems);
            let name = relative(&fixture.file);
            problems.map(|problem| format!("{name}: {problem}")).collect::<Vec<_>>()
        })
        .collect();
    assert_none(&problems);
}

/// A message is one lower-case sentence without a full stop; a help that guesses comes with its edit;
/// nothing lists more than four alternatives.
fn style_problems(found: &Found) -> Vec<String> {
    let mut problems = Vec::new();
    let (message, help) = (found.field("message"), found.field("help"));
    let mut claim = |holds: bool, claim: &str| {
        if !holds {
            problems.push(format!("{claim}: {} (help: {help})", found.what()));
        }
    };
    claim(!message.starts_with(|c: char| c.is_uppercase()), "a message begins in lower case");
    claim(!message.ends_with(['.', '!']), "a message ends without a full stop");
    claim(!message.contains('\n'), "a message is one line");
    let is_guess = help.starts_with("did you mean `") || help.starts_with("did you mean \"");
    claim(!is_guess || found.event["edit"].is_object(), "a guess comes with its edit");
    for text in [message, help] {
        claim(alternatives(text) <= MOST_ALTERNATIVES, "at most four alternatives");
    }
    problems
}

/// Returns the length of the longest list `a, b and c` in a text; what is quoted counts as one word.
fn alternatives(text: &str) -> usize {
    let quoted = regex::Regex::new("`[^`]*`|\"[^\"]*\"").unwrap();
    let text = quoted.replace_all(text, "Q");
    let list = regex::Regex::new(r"(?:[\w?]+, )*[\w?]+,? (?:or|and) (\d+ more|[\w?]+)").unwrap();
    let len = |found: regex::Captures<'_>| {
        let last = usize::from(!found[1].ends_with(" more"));
        found[0].replace(", or", " or").matches(", ").count() + 1 + last
    };
    list.captures_iter(&text).map(len).max().unwrap_or(0)
}

#[test]
fn alternatives_are_counted() {
    assert_eq!(alternatives("expected `a`, `b`, `c` or `d`"), 4);
    assert_eq!(alternatives("it has `a`, `b`, `c`, `d` and 12 more"), 4);
    assert_eq!(alternatives("one thing only"), 0);
    assert_eq!(alternatives("a, b, c, d, or e"), 5);
}

#[test]
fn five_broken_stages_give_five_errors() {
    let file = repository(FOLDER).join("five_broken_stages.pipe");
    let project = Project::of(std::fs::read(file).unwrap());
    let found = project.kiln("check --ui jsonl").exits(3).diagnostics();
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|found| found["severity"] == "error"), "{found:#?}");
}
