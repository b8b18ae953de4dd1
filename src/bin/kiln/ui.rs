//! What people and programs read: data on stdout, everything else on stderr. A reader that goes away
//! ends the output, not the work.

mod jsonl;
mod report;

use std::io::Write;

use kiln::diagnostic::Diagnostic;
use kiln::source::Sources;
use serde::Serialize;

use crate::cli::Ui;

/// Writes a line of data.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Writes bytes of data as they are.
pub(crate) fn data(bytes: &[u8]) {
    let _ = std::io::stdout().lock().write_all(bytes);
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) {
    say(&serde_json::to_string(value).expect("our own data has a JSON form"));
}

/// Writes a line for people.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes why a command cannot go on, and what to do about it.
pub(crate) fn complain(message: &str, help: Option<&str>) {
    tell(&format!("error: {message}"));
    if let Some(help) = help {
        tell(&format!("  help: {help}"));
    }
}

/// Shows diagnostics in the form that was asked for.
pub(crate) fn diagnostics(sources: &Sources, diagnostics: &[Diagnostic], form: Ui) {
    match form {
        Ui::Plain => report::show(sources, diagnostics),
        Ui::Jsonl => jsonl::diagnostics(sources, diagnostics),
    }
}

/// Returns a number with its noun: `1 step`, `3 steps`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
