//! The event stream for programs: one JSON object a line.

use kiln::diagnostic::Diagnostic;
use kiln::source::Sources;

pub(crate) fn diagnostics(_sources: &Sources, _diagnostics: &[Diagnostic]) {}
