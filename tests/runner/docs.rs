//! The pipelines in the docs: each block is a project, right or wrong as its fence says. The rules
//! are in `docs/errors/README.md`.

use std::path::Path;

use rayon::prelude::*;

use crate::history::git;
use crate::kiln::{Project, assert_none, files_below, relative, repository};

/// A block of Pipe in a Markdown file.
pub(crate) struct Block {
    /// The file and line of the fence.
    pub(crate) place: String,
    /// What stands behind the backticks: `pipe wrong code=K0202`.
    fence: String,
    pub(crate) text: String,
    /// The code of the page it stands in.
    page: Option<String>,
}

pub(crate) fn blocks() -> Vec<Block> {
    let mut files = files_below(&repository("docs"));
    files.push(repository("README.md"));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    // Its blocks are those of one project, and are run in their order.
    files.retain(|file| !file.ends_with("tutorial.md"));
    files.iter().filter(|file| file.exists()).flat_map(|file| blocks_of(file)).collect()
}

pub(crate) fn blocks_of(file: &Path) -> Vec<Block> {
    let stem = file.file_stem().unwrap().to_str().unwrap();
    let is_code = |stem: &&str| {
        stem.strip_prefix('K').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let page = Some(stem).filter(is_code).map(str::to_owned);
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in std::fs::read_to_string(file).unwrap().lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(fence)) => {
                let place = format!("{}:{}", relative(file), at + 1);
                let (fence, page) = (fence.to_owned(), page.clone());
                open = Some(Block { place, fence, text: String::new(), page });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    blocks.retain(|block| block.fence.split_whitespace().next() == Some("pipe"));
    blocks
}

impl Block {
    fn has(&self, word: &str) -> bool {
        self.fence.split_whitespace().any(|own| own == word)
    }

    /// Returns what follows `name=` in the fence, in quotes or up to a blank.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fence.split_once(&format!(" {name}="))?;
        match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => value.split_whitespace().next(),
        }
    }

    pub(crate) fn project(&self) -> Project {
        let project = Project::new().with_files_of(&self.text);
        let (mut name, mut text) = ("pipeline.pipe", String::new());
        for line in self.text.lines() {
            match line.strip_prefix("# file: ") {
                Some(next) => {
                    project.write(name, self.bytes(&text));
                    (name, text) = (next.trim(), String::new());
                }
                None => text.extend([line, "\n"]),
            }
        }
        project.write(name, self.bytes(&text));
        if self.has("repository") {
            for line in ["init --quiet", "commit --quiet --allow-empty --message=first"] {
                git(&project, line);
            }
        }
        project
    }

    /// Claims that nothing is wrong with it.
    pub(crate) fn is_right(&self) -> bool {
        !self.has("wrong")
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        match self.setting("as") {
            Some("latin1") => text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
            Some("nul") => text.replace('␀', "\0").into_bytes(),
            Some("5MiB") => format!("{text}#{}\n", "x".repeat(5 << 20)).into_bytes(),
            Some(other) => panic!("{}: as={other} has no meaning", self.place),
            None => text.as_bytes().to_vec(),
        }
    }

    fn problem(&self) -> Option<String> {
        let arguments = self.setting("args").unwrap_or_default();
        let done = self.project().kiln(&format!("check --ui jsonl {arguments}"));
        let found = done.diagnostics();
        let codes: Vec<_> = found.iter().map(|found| found["code"].as_str().unwrap()).collect();
        let wanted = self.setting("code").or(self.page.as_deref());
        let is_as_said = match (self.has("wrong"), wanted) {
            (false, _) => codes.is_empty(),
            (true, Some(wanted)) => !codes.is_empty() && codes.iter().all(|code| *code == wanted),
            (true, None) => panic!("{}: the fence names no code", self.place),
        };
        let messages =
            found.iter().map(|found| format!("\n  {} {}", found["code"], found["message"]));
        (!is_as_said).then(|| {
            let said = if self.has("wrong") { wanted.unwrap_or_default() } else { "nothing" };
            format!("{} should yield {said}, but: {}", self.place, messages.collect::<String>())
        })
    }
}

#[test]
fn every_pipeline_in_the_docs_does_what_its_fence_says() {
    let blocks = blocks();
    assert!(blocks.len() > 50, "the docs have pipelines, found {}", blocks.len());
    let problems: Vec<_> = blocks.par_iter().filter_map(Block::problem).collect();
    assert_none(&problems);
}

#[test]
fn every_page_shows_what_is_wrong_and_what_is_right() {
    let blocks = blocks();
    let pages = files_below(&repository("docs/errors"));
    let mut problems = Vec::new();
    for page in pages.iter().map(|page| relative(page)).filter(|page| !page.ends_with("README.md"))
    {
        let own: Vec<_> = blocks.iter().filter(|block| block.place.starts_with(&page)).collect();
        if !own.iter().any(|block| block.has("wrong"))
            || !own.iter().any(|block| !block.has("wrong"))
        {
            problems.push(format!("{page} lacks a wrong or a right block"));
        }
    }
    assert_none(&problems);
}
