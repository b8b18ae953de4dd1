//! The standard library: each module is sound, each export has an example that runs, and
//! `docs/stdlib.md` says what `kiln explain` does.

use std::process::Command;

use crate::docs::blocks_of;
use crate::kiln::{
    Kiln, Project, assert_none, difference_to_file, files_below, repository, skipped,
};

const PAGE: &str = "docs/stdlib.md";

fn modules() -> Vec<(String, String)> {
    let files = files_below(&repository("stdlib"));
    let module = |file: &std::path::PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(file).unwrap())
    };
    files.iter().map(module).collect()
}

fn explained(name: &str) -> String {
    Project::new().kiln(&format!("explain {name}")).exits(0).stdout()
}

/// Puts headings one level down, save in blocks of code.
fn demoted(page: &str) -> String {
    let mut is_code = false;
    let mut demoted = String::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if line.starts_with('#') && !is_code {
            demoted.push('#');
        }
        demoted.extend([line, "\n"]);
    }
    demoted
}

#[test]
fn the_page_of_the_library_says_what_explain_does() {
    let text = std::fs::read_to_string(repository(PAGE)).unwrap();
    let intro = text.split("\n## std.").next().unwrap().trim_end();
    let mut expected = format!("{intro}\n");
    for (name, _) in modules() {
        expected += &format!("\n{}", demoted(&explained(&format!("std.{name}"))));
    }
    let problem = difference_to_file(&repository(PAGE), &expected);
    assert_none(&problem.into_iter().collect::<Vec<_>>());
}

#[test]
fn each_module_is_sound_and_stands_in_the_one_style() {
    for (name, text) in modules() {
        let project = Project::of(&text);
        project.kiln("check").exits(0).says_nothing();
        project.kiln("fmt --check").exits(0).says_nothing();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("# ") && first.ends_with('.'), "{name} says what it is for");
        // Only templates see the folder of who uses them.
        for line in text.lines().filter(|line| !line.starts_with([' ', '#', ')', '}'])) {
            let is_item = line.is_empty()
                || ["pub build ", "pub service ", "pub test ", "fn "]
                    .iter()
                    .any(|it| line.starts_with(it));
            assert!(is_item, "{name}: {line}");
        }
    }
}

#[test]
fn each_export_is_documented_and_in_an_example() {
    let examples: String =
        blocks_of(&repository(PAGE)).into_iter().map(|block| block.text).collect();
    let mut problems = Vec::new();
    for (name, text) in modules() {
        let mut last = "";
        for line in text.lines() {
            if let Some(export) =
                line.strip_prefix("pub ").and_then(|rest| rest.split([' ', '(']).nth(1))
            {
                if !last.starts_with("##") {
                    problems.push(format!("std.{name}.{export} has no doc comment"));
                }
                if !examples.contains(&format!("= {name}.{export}(")) {
                    problems.push(format!("no example uses std.{name}.{export}"));
                }
            }
            last = line;
        }
    }
    assert_none(&problems);
}

/// Asks the Python that a step is given for a module: the one that links and environments lead to.
const OF_PYTHON: &str = "import os, sys; os.execv(os.path.realpath(sys.executable), ['python3', '-m', sys.argv[1], '--version'])";

/// Returns a program that an example needs and the machine does not have, or a host that it does not
/// reach.
pub(crate) fn missing(needs: &str) -> Option<&str> {
    let is_there = |need: &&str| {
        let words = match *need {
            "pip" | "pytest" => vec!["python3", "-c", OF_PYTHON, need],
            "clippy" => vec!["cargo", "clippy", "--version"],
            "go" => vec!["go", "version"],
            host if host.contains('.') => {
                let address = format!("https://{host}/");
                let curl = ["curl", "--silent", "--show-error", "--max-time", "30"];
                let asked = Command::new(curl[0]).args(&curl[1..]).arg(address).output();
                return asked.is_ok_and(|said| said.status.success());
            }
            "postgres" => vec!["sh", "-c", "ls /usr/lib/postgresql/*/bin/postgres"],
            program => vec![program, "--version"],
        };
        let asked = Command::new(words[0]).args(&words[1..]).output();
        asked.is_ok_and(|said| said.status.success())
    };
    needs.split(',').find(|need| !is_there(need))
}

/// Runs a project twice: the first time its steps run, the second time none does.
fn runs_and_is_cached(project: &Project, place: &str) {
    let home = std::env::var("HOME").unwrap_or_default();
    let store = project.at(".kiln/store").to_str().unwrap().to_owned();
    // Shims of toolchains ask for the home.
    let kiln = || Kiln::new(project.path()).env("HOME", &home).env("KILN_CACHE", &store);
    let run = || kiln().arguments(["run"]).run();
    let first = run();
    assert_eq!(first.code(), Some(0), "{place}:\n{}", first.stderr());
    let again = run().exits(0).stderr();
    assert!(again.contains(" cached)") && !again.contains(" ran"), "{place}:\n{again}");
}

#[test]
fn each_example_of_the_library_runs_and_is_cached() {
    for block in blocks_of(&repository(PAGE)) {
        match missing(block.setting("needs").unwrap_or("cc")) {
            Some(missing) => skipped(&format!("{} needs `{missing}`", block.place)),
            None => runs_and_is_cached(&block.project(), &block.place),
        }
    }
}

#[test]
fn the_example_in_python_runs_and_is_cached() {
    if let Some(missing) = missing("python3,pip,node") {
        return skipped(&format!("`examples/python-app` needs `{missing}`"));
    }
    let project = Project::new().with_copy_of(&repository("examples/python-app"));
    runs_and_is_cached(&project, "examples/python-app");
    let page = std::fs::read_to_string(project.at("out/page/html")).unwrap();
    assert!(page.contains("<li>Hello, it's \"me\"!</li>"), "{page}");
}
