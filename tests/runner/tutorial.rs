//! The tutorial, command by command: its files are written, its commands run, and their output compared
//! with what stands on the page. `KILN_BLESS=1` rewrites that.

use std::process::Command;

use crate::kiln::{Project, blesses, repository};

const PAGE: &str = "docs/tutorial.md";

const MOST_COMMANDS: usize = 20;

/// A block of the page: what stands behind its backticks, and its lines.
struct Block {
    fence: String,
    text: String,
}

impl Block {
    fn setting(&self, name: &str) -> Option<&str> {
        self.fence.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn kind(&self) -> &str {
        self.fence.split_whitespace().next().unwrap_or_default()
    }
}

/// Returns the text between blocks and the blocks: one more of the former.
fn parts(page: &str) -> (Vec<String>, Vec<Block>) {
    let (mut texts, mut blocks) = (vec![String::new()], Vec::new());
    let mut open: Option<Block> = None;
    for line in page.split_inclusive('\n') {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(fence)) => {
                open = Some(Block { fence: fence.trim_end().to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => {
                blocks.extend(open.take());
                texts.push(String::new());
            }
            (Some(block), None) => block.text.push_str(line),
            (None, None) => texts.last_mut().unwrap().push_str(line),
        }
    }
    assert!(open.is_none(), "a block of {PAGE} has no end");
    (texts, blocks)
}

/// Returns a text without what differs from run to run: times, amounts, and the order of its lines, for
/// steps that need not wait for each other end in any.
fn neutral(text: &str) -> Vec<String> {
    let amount = regex::Regex::new(r" *\b[0-9.]+ (ms|s|MiB)\b").unwrap();
    let moment = regex::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC").unwrap();
    let text = amount.replace_all(text, " N");
    let mut lines: Vec<_> = moment.replace_all(&text, "then").lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Runs the commands of a block, each in the folder; returns all that they wrote.
fn run(project: &Project, block: &Block) -> String {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_kiln")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut path: Vec<_> = std::env::split_paths(&path).collect();
    path.insert(0, folder.to_owned());
    let mut wrote = String::new();
    let exit = block.setting("exit").map_or(0, |exit| exit.parse().unwrap());
    for line in block.text.lines() {
        let done = Command::new("sh")
            .args(["-c", &format!("{line} 2>&1")])
            .current_dir(project.path())
            .env("PATH", std::env::join_paths(&path).unwrap())
            .env("HOME", project.path())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("KILN_CACHE")
            .output()
            .unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert_eq!(done.status.code(), Some(exit), "{line}:\n{said}");
        wrote.push_str(&said);
    }
    wrote
}

#[test]
fn every_command_of_the_tutorial_does_what_it_says() {
    let file = repository(PAGE);
    let page = std::fs::read_to_string(&file).unwrap();
    let (texts, mut blocks) = parts(&page);
    let project = Project::new();
    let (mut commands, mut wrote) = (0, None);
    let mut problems = Vec::new();
    for block in &mut blocks {
        match (block.kind(), block.setting("file")) {
            (_, Some(name)) => project.write(name, &block.text),
            ("sh", None) => {
                commands += block.text.lines().count();
                wrote = Some(run(&project, block));
            }
            ("text", None) => {
                let wrote = wrote.take().expect("output stands below its command");
                if neutral(&wrote) != neutral(&block.text) {
                    problems.push(format!("wrote:\n{wrote}\ninstead of:\n{}", block.text));
                    block.text = wrote;
                }
            }
            (kind, None) => panic!("a block of {PAGE} is of no known kind: {kind}"),
        }
    }
    if blesses() {
        let mut page = texts[0].clone();
        for (block, text) in blocks.iter().zip(&texts[1..]) {
            let end = if block.text.is_empty() || block.text.ends_with('\n') { "" } else { "\n" };
            page.push_str(&format!("```{}\n{}{end}```\n{text}", block.fence, block.text));
        }
        std::fs::write(&file, page).unwrap();
    }
    assert!(commands <= MOST_COMMANDS, "{commands} commands are too many for a first time");
    assert!(commands > 10 && blocks.len() > 20, "the page was read");
    assert!(problems.is_empty() || blesses(), "{PAGE}: {}", problems.join("\n"));
}
