//! The inside of Kiln for its own benchmarks and fuzz targets, behind the feature `internals`. Knows
//! one function for each phase; nothing here is kept stable.

use crate::source::{SourceId, Sources};
use crate::syntax::{parse, scan};

/// Returns how many tokens `text` has.
pub fn scan(text: &str) -> usize {
    scan::scan(SourceId(0), text).0.len()
}

/// Returns how many items `text` has and how many mistakes were found in it. The thread needs a stack
/// of [`STACK_BYTES`].
pub fn parse(text: &str) -> (usize, usize) {
    let mut sources = Sources::default();
    let (module, diagnostics) = parse::parse(sources.add("pipeline.pipe", text.to_owned()), text);
    (module.items.len(), diagnostics.len())
}

/// The stack that a thread which parses needs.
pub const STACK_BYTES: usize = parse::PARSE_STACK_BYTES;
