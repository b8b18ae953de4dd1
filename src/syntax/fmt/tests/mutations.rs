//! What formatting keeps of real files, however they were written: the whole corpus with blanks, newlines,
//! commas and comments put in and taken out between any two tokens.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rayon::prelude::*;

use super::{checked, format, tree};
use crate::source::SourceId;
use crate::syntax::scan::{self, Token, TokenKind};

/// The folders that hold files of the language, and pages with pieces of them.
const FOLDERS: [&str; 8] = [
    "docs",
    "examples",
    "stdlib",
    "tests/fmt",
    "tests/golden",
    "tests/pipelines",
    "tests/real",
    "tests/syntax",
];

/// A file, or a piece of one in a page.
struct Sample {
    name: String,
    text: String,
}

/// Returns every file of the corpus that has no mistake of its text.
fn corpus() -> &'static [Sample] {
    static CORPUS: OnceLock<Vec<Sample>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut samples = Vec::new();
        for path in FOLDERS.iter().flat_map(|folder| files_below(&root.join(folder))) {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("pipe" | "expected") => samples.push(Sample { name, text }),
                Some("md") => samples.extend(pieces(&name, &text)),
                _ => {}
            }
        }
        samples.retain(|sample| tree(&sample.text).1 == 0);
        samples
    })
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// Returns the blocks of Pipe in a page.
fn pieces(name: &str, page: &str) -> Vec<Sample> {
    let mut pieces = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.trim_start().strip_prefix("```") else { continue };
        let block = lines.by_ref().take_while(|line| line.trim_start() != "```");
        let text = block.flat_map(|line| [line, "\n"]).collect();
        if fence.split_whitespace().next() == Some("pipe") {
            pieces.push(Sample { name: name.to_owned(), text });
        }
    }
    pieces
}

/// What is done to the gap before a token.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Blanks are put in.
    Blanks(&'static str),
    /// The blanks are taken out.
    Tight,
    /// Empty lines are put in where a line ends.
    EmptyLines,
    /// The line goes on with the next.
    Join,
    /// The line ends.
    Break,
    /// A comment ends the line.
    Comment(&'static str),
    /// A comma stands before a closing bracket.
    Comma,
    /// No comma stands there.
    NoComma,
    /// The line ends as on another system.
    Return,
}

fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let change = proptest::sample::select(vec![
        Change::Blanks(" "),
        Change::Blanks("   "),
        Change::Blanks("\t"),
        Change::Tight,
        Change::EmptyLines,
        Change::Join,
        Change::Break,
        Change::Comment("# one"),
        Change::Comment("#two  "),
        Change::Comment("## three"),
        Change::Comment("#"),
        Change::Comma,
        Change::NoComma,
        Change::Return,
    ]);
    proptest::collection::vec((any::<Index>(), change), 1..12)
}

/// Returns a text with changes between its tokens.
fn changed(text: &str, changes: &[(Index, Change)]) -> String {
    let tokens = scan::lex(SourceId(0), text).tokens;
    let mut own: Vec<Vec<Change>> = vec![Vec::new(); tokens.len() + 1];
    for (at, change) in changes {
        own[at.index(tokens.len() + 1)].push(*change);
    }
    let mut new = String::new();
    for (at, changes) in own.iter().enumerate() {
        let token = tokens.get(at);
        let mut written = token.map_or("", |token| token.text(text)).to_owned();
        for change in changes {
            written = change.of(&written, token.copied());
        }
        new.push_str(&written);
    }
    new
}

impl Change {
    /// Returns what stands in the place of a token; there is none at the end of the file.
    fn of(self, written: &str, token: Option<Token>) -> String {
        let kind = token.map(|token| token.kind);
        let before = |text: &str| format!("{text}{written}");
        match (self, kind) {
            (Self::Blanks(blanks), _) => before(blanks),
            (Self::Tight, Some(TokenKind::Space)) => String::new(),
            (Self::EmptyLines, Some(TokenKind::Newline)) => before("\n \n\n"),
            (Self::Join, Some(TokenKind::Newline)) => " ".to_owned(),
            (Self::Break, _) => before("\n"),
            (Self::Comment(comment), _) => before(&format!(" {comment}\n")),
            (Self::Comma, Some(TokenKind::Close)) => before(","),
            (Self::NoComma, Some(TokenKind::Punctuation)) if written == "," => String::new(),
            (Self::Return, Some(TokenKind::Newline)) => "\r\n".to_owned(),
            _ => written.to_owned(),
        }
    }
}

#[test]
fn the_corpus_is_kept_as_it_is() {
    assert!(corpus().len() > 150, "found only {}", corpus().len());
    for sample in corpus() {
        let once = checked(&sample.text);
        assert_eq!(tree(&once), tree(&sample.text), "{}:\n{once}", sample.name);
    }
}

#[test]
fn a_comment_between_any_two_tokens_is_kept() {
    let (sound, all) = corpus()
        .par_iter()
        .map(|sample| {
            let (mut sound, mut all) = (0, 0);
            let tokens = scan::lex(SourceId(0), &sample.text).tokens;
            // Of long files, which say much the same, a part is enough.
            for token in tokens.iter().step_by(1 + tokens.len() / 200) {
                let (before, behind) = sample.text.split_at(token.start as usize);
                let changed = format!("{before} # c\n{behind}");
                sound += usize::from(still_means_the_same(&sample.name, &changed));
                all += 1;
            }
            (sound, all)
        })
        .reduce(|| (0, 0), |one, two| (one.0 + two.0, one.1 + two.1));
    // The others end a line where none may end: those keep their tokens.
    assert!(sound * 3 > all, "only {sound} of {all} comments stand where one may");
}

/// Checks what must hold of a changed text. Returns whether it has no mistake.
#[track_caller]
fn still_means_the_same(name: &str, text: &str) -> bool {
    if !scan::scan(SourceId(0), text).1.is_empty() {
        format(text);
        return false;
    }
    let once = checked(text);
    let before = tree(text);
    if before.1 == 0 {
        assert_eq!(tree(&once), before, "{name}\n{text}\n->\n{once}");
    }
    before.1 == 0
}

#[test]
fn most_changes_make_no_mistake() {
    let mut runner = TestRunner::deterministic();
    let strategy = (any::<Index>(), changes());
    let is_sound = |(at, changes): (Index, Vec<(Index, Change)>)| {
        let sample = at.get(corpus());
        still_means_the_same(&sample.name, &changed(&sample.text, &changes))
    };
    let cases = (0..200).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let sound = cases.filter(|case| is_sound(case.clone())).count();
    assert!(sound > 40, "only {sound} of 200 changed files are read to their end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn real_files_are_kept_however_they_are_changed(at in any::<Index>(), changes in changes()) {
        let sample = at.get(corpus());
        still_means_the_same(&sample.name, &changed(&sample.text, &changes));
    }
}
