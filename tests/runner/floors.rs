//! The house: which module may know which, where each outside package lives, and the shape of files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::kiln::{assert_none, files_below, relative, repository};

/// The modules of the library by floor, lowest first. An import points down or sideways.
const FLOORS: &[&[&str]] = &[
    &["source", "digest", "planted"],
    &["diagnostic", "files", "process"],
    &["syntax", "plan", "facts"],
    &["lang", "event"],
    &["ide", "cache", "snapshot", "secret", "sandbox", "junit", "timeline"],
    &["image"],
    &["engine"],
    &["session"],
    &["internals"],
];

/// The one home of each outside package: the starts of the paths that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("aho_corasick", &["src/secret/"]),
    ("clap", &["src/bin/kiln/cli.rs", "src/bin/kiln/exit.rs", "src/bin/kiln/main.rs"]),
    ("console", &["src/bin/kiln/ui/live.rs", "src/bin/kiln/ui/screen.rs"]),
    ("flate2", &["src/image/"]),
    ("globset", &["src/files/"]),
    ("hmac", &["src/digest.rs"]),
    ("ignore", &["src/files/"]),
    ("landlock", &["src/sandbox/"]),
    ("libc", &["src/sandbox/"]),
    ("lsp_server", &["src/bin/kiln/lsp"]),
    ("lsp_types", &["src/bin/kiln/lsp"]),
    ("miette", &["src/bin/kiln/ui/report.rs"]),
    ("pest", &["src/syntax/parse"]),
    ("pest_derive", &["src/syntax/parse"]),
    ("petgraph", &["src/plan/graph.rs"]),
    ("postcard", &["src/snapshot"]),
    ("quick_xml", &["src/junit.rs"]),
    ("regex", &["src/lang/eval/call.rs"]),
    (
        "rustix",
        &["src/sandbox/", "src/cache/", "src/snapshot", "src/engine/", "src/session/terminal.rs"],
    ),
    ("ruzstd", &["src/image/"]),
    ("seccompiler", &["src/sandbox/"]),
    ("sha2", &["src/digest.rs"]),
    ("signal_hook", &["src/bin/kiln/signals.rs"]),
    ("strsim", &["src/lang/nearest.rs", "src/syntax/parse"]),
    ("tar", &["src/image/"]),
    ("toml", &["src/lang/data.rs"]),
    ("time", &["src/facts.rs"]),
];

/// Files that may be longer than 600 lines: tables.
const LONG: &[&str] = &[];

const MOST_LINES: usize = 600;

/// A file of `src/` without its tests and comments.
struct File {
    path: String,
    text: String,
    code: String,
}

fn files() -> Vec<File> {
    let paths = files_below(&repository("src")).into_iter();
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path: PathBuf| (relative(&path), std::fs::read_to_string(path).unwrap()))
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| {
            let own = without_tests(&text);
            let lines = own.lines().filter(|line| !line.trim_start().starts_with("//"));
            File { path, code: lines.collect::<Vec<_>>().join("\n"), text }
        })
        .collect()
}

/// Returns what stands before the module of tests.
fn without_tests(text: &str) -> &str {
    let starts = ["mod ", "pub(super) mod "].map(|start| format!("\n#[cfg(test)]\n{start}"));
    let first = starts.iter().filter_map(|start| text.find(start)).min();
    &text[..first.unwrap_or(text.len())]
}

/// Returns the modules that follow `crate::`, in braces or not.
fn imports(code: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(elements(group).into_iter().map(first_word)),
            None => {
                modules.insert(first_word(rest));
            }
        }
    }
    modules
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Returns the elements of a group up to the brace that closes it.
fn elements(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut elements) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                elements.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                elements.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.retain(|element| !element.trim().is_empty());
    elements
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn imports_point_down_or_sideways_without_a_circle() {
    let mut problems = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let library = files().into_iter();
    for file in
        library.filter(|file| !file.path.starts_with("src/bin/") && file.path != "src/lib.rs")
    {
        let module = file.path["src/".len()..].split(['/', '.']).next().unwrap().to_owned();
        let Some(own) = floor(&module) else {
            problems.push(format!("{}: `{module}` has no floor", file.path));
            continue;
        };
        for other in imports(&file.code).into_iter().filter(|other| *other != module) {
            match floor(&other) {
                Some(other_floor) if other_floor <= own => {
                    edges.entry(module.clone()).or_default().insert(other);
                }
                Some(_) => problems.push(format!("{}: `{other}` is a floor above", file.path)),
                None => problems.push(format!("{}: `{other}` has no floor", file.path)),
            }
        }
    }
    problems.extend(circles(&edges));
    assert_none(&problems);
}

/// Returns the modules that are left when all that import nothing are taken away, again and again.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let mut left = edges.clone();
    loop {
        let before = left.len();
        let open: BTreeSet<_> = left.keys().cloned().collect();
        left.retain(|_, others| others.iter().any(|other| open.contains(other)));
        match left.len() {
            0 => return None,
            after if after == before => return Some(format!("a circle among {:?}", left.keys())),
            _ => {}
        }
    }
}

#[test]
fn each_outside_package_has_one_home() {
    let mut problems = Vec::new();
    for file in files() {
        for (package, homes) in HOMES {
            let is_named = [format!("{package}::"), format!("use {package};")]
                .iter()
                .any(|name| names(&file.code, name));
            if is_named && !homes.iter().any(|home| file.path.starts_with(home)) {
                problems.push(format!("{}: `{package}` lives in {homes:?}", file.path));
            }
        }
    }
    assert_none(&problems);
}

/// Returns whether `path` stands in `code` as a word of its own.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().last().unwrap_or(' ');
        !(before.is_alphanumeric() || before == '_' || before == ':')
    })
}

#[test]
fn each_file_says_what_it_is_and_is_short() {
    let mut problems = Vec::new();
    for file in files() {
        if !file.text.starts_with("//!") {
            problems.push(format!("{} does not begin with `//!`", file.path));
        }
        let own = without_tests(&file.text);
        let lines = own.lines().count();
        if lines > MOST_LINES && !LONG.contains(&file.path.as_str()) {
            problems.push(format!("{} has {lines} lines, over {MOST_LINES}", file.path));
        }
    }
    assert_none(&problems);
}

#[test]
fn the_walk_of_one_datum_names_files_that_exist() {
    let text = std::fs::read_to_string(repository("src/lib.rs")).unwrap();
    let docs: String = text.lines().filter(|line| line.starts_with("//!")).collect();
    let named = docs.split('`').skip(1).step_by(2);
    let named: Vec<_> =
        named.filter(|name| name.ends_with(".rs") && !name.starts_with("tests/")).collect();
    assert!((8..=12).contains(&named.len()), "a walk of 8 to 12 files, found {named:?}");
    for name in named {
        assert!(repository("src").join(name).is_file(), "src/{name} does not exist");
    }
}

#[test]
fn imports_are_found_in_braces_too() {
    let code = "use crate::source::Span;\nuse crate::{digest::{self, Digest}, files};\n\
                fn f() -> crate::lang::ty::Type { crate::plan::VERSION }";
    let found: Vec<_> = imports(code).into_iter().collect();
    assert_eq!(found, ["digest", "files", "lang", "plan", "source"]);
}
