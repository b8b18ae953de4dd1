//! Spans of a program as places that mean something outside of it. Knows files and bytes; does not know
//! what stands there.

use crate::lang::module::Program;
use crate::source::{SourceId, Span};

use super::Place;

/// Returns where a span of `program` is.
pub(super) fn place(program: &Program, span: Span) -> Place {
    Place { file: program.sources.get(span.source).name.clone(), range: span.range() }
}

/// Returns the source of a file of `program`.
pub(super) fn source(program: &Program, file: &str) -> Option<SourceId> {
    Some(program.find(file)?.1.ast.source)
}
