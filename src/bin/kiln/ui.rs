//! What people and programs read: data on stdout, everything else on stderr. A reader that goes away
//! ends the output, not the work.

pub(crate) mod amount;
mod clean;
mod failure;
mod jsonl;
mod lines;
mod live;
mod plain;
mod quiet;
pub(crate) mod reader;
mod reason;
mod report;
pub(crate) mod scene;
pub(crate) mod screen;
mod story;
mod tail;

use std::io::Write;

use kiln::diagnostic::Diagnostic;
use kiln::source::Sources;
use serde::Serialize;

use crate::cli::Ui;

pub(crate) use amount::count;

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
    tell_raw(&format!("{line}\n"));
}

/// Writes text for people as it is, at once.
fn tell_raw(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
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
        Ui::Live | Ui::Plain | Ui::Quiet => report::show(sources, diagnostics),
        Ui::Jsonl => jsonl::diagnostics(sources, diagnostics),
    }
}

/// Returns the form for those who asked for none.
pub(crate) fn usual_form() -> Ui {
    if screen::Screen::of_stderr().is_live { Ui::Live } else { Ui::Plain }
}
