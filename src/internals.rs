//! The inside of Kiln for its own benchmarks and fuzz targets, behind the feature `internals`. Knows
//! one function for each phase; nothing here is kept stable.

use std::ops::Range;

use indexmap::IndexMap;

use crate::facts::Facts;
use crate::files::{Globber, Memory};
use crate::lang::late::LateData;
use crate::lang::module::Program;
use crate::lang::{check, eval, module};
use crate::session::on_large_stack;
use crate::source::SourceId;
use crate::syntax::{fmt, parse, scan};

/// Returns the bytes of a file as a text, or `None` if they are none.
pub fn decode(bytes: Vec<u8>) -> Option<String> {
    scan::decode(SourceId(0), bytes).ok()
}

/// Returns the tokens of `text`, each with whether it means something.
pub fn scan(text: &str) -> Vec<(bool, &str)> {
    let tokens = scan::scan(SourceId(0), text).0;
    tokens.iter().map(|token| (!token.is_trivia(), token.text(text))).collect()
}

/// Returns where mistakes were found in `text`. The thread needs a stack of [`STACK_BYTES`].
pub fn parse(text: &str) -> Vec<Range<usize>> {
    let (_, diagnostics) = parse::parse(SourceId(0), text);
    diagnostics.iter().map(|found| found.span.range()).collect()
}

/// Returns `text` in the one way to write it.
pub fn format(text: &str) -> String {
    fmt::format(text)
}

/// A pipeline that was parsed.
pub struct Parsed {
    files: Memory,
    program: Program,
}

impl Parsed {
    /// Reads and parses the file `pipeline.pipe` of `texts` and all it uses.
    ///
    /// # Panics
    /// If there is no such file or it has mistakes.
    pub fn new(texts: &IndexMap<String, String>) -> Self {
        let mut files = Memory::default();
        for (path, text) in texts {
            files.insert(path.as_str(), text.as_str());
        }
        let loaded = on_large_stack(|| module::load(&files, module::PACKAGE_FILE));
        let (program, diagnostics) = loaded.expect("the file is there");
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        Self { files, program }
    }

    /// Checks and evaluates it, and returns how many steps its plan has.
    ///
    /// # Panics
    /// If it has mistakes.
    pub fn plan(&self) -> usize {
        on_large_stack(|| {
            let (checked, diagnostics) = check::check(&self.program);
            assert!(diagnostics.is_empty(), "{diagnostics:?}");
            let globber = Globber::new(&self.files, Vec::new());
            let params = IndexMap::new();
            let (facts, late) = (Facts::default(), LateData::default());
            let known = (&facts, &late);
            let (plan, diagnostics) =
                eval::evaluate(&self.program, &checked, &globber, known, &params);
            plan.unwrap_or_else(|| panic!("{diagnostics:?}")).0.steps.len()
        })
    }
}

/// The stack that a thread which parses needs.
pub const STACK_BYTES: usize = parse::PARSE_STACK_BYTES;
