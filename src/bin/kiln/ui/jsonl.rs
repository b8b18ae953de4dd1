//! The event stream for programs: one JSON object a line, as `docs/events.schema.json` says. Knows
//! the findings of commands that run nothing; a run numbers its events itself.

use kiln::diagnostic::Diagnostic;
use kiln::event::Event;
use kiln::session::Record;
use kiln::source::Sources;

/// Writes an event for each diagnostic.
pub(crate) fn diagnostics(sources: &Sources, diagnostics: &[Diagnostic]) {
    let mut record = Record::unkept();
    for found in diagnostics {
        super::json(&record.add(Event::diagnostic(found, sources)));
    }
}
