//! What people and programs read: data on stdout, everything else on stderr. A reader that goes away
//! ends the output, not the work; data that could not be written is no success.

pub(crate) mod amount;
pub(crate) mod clean;
mod failure;
mod jsonl;
pub(crate) mod lines;
mod live;
mod plain;
mod quiet;
pub(crate) mod reader;
pub(crate) mod reason;
mod report;
pub(crate) mod scene;
pub(crate) mod screen;
mod story;
mod tail;

use std::io::{self, Write};
use std::sync::OnceLock;

use kiln::diagnostic::Diagnostic;
use kiln::source::Sources;
use serde::Serialize;

use crate::cli::Ui;
use crate::exit::Exit;

pub(crate) use amount::count;

/// Why data could not be written, the first time.
static FAULT: OnceLock<io::Error> = OnceLock::new();

/// Writes a line of data.
pub(crate) fn say(line: &str) {
    data(format!("{line}\n").as_bytes());
}

/// Writes bytes of data as they are.
pub(crate) fn data(bytes: &[u8]) {
    if FAULT.get().is_none() {
        note(io::stdout().lock().write_all(bytes));
    }
}

fn note(written: io::Result<()>) {
    if let Err(error) = written {
        let _ = FAULT.set(error);
    }
}

/// Ends the output: what a command did without its data being read is no success, unless the reader
/// had enough of it.
pub(crate) fn end(exit: Exit) -> Exit {
    note(io::stdout().lock().flush());
    match FAULT.get() {
        Some(fault) if fault.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("standard output cannot be written to: {fault}"), None);
            if exit == Exit::Done || exit == Exit::Run(0) { Exit::Machine } else { exit }
        }
        _ => exit,
    }
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
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes why a command cannot go on, and what to do about it.
pub(crate) fn complain(message: &str, help: Option<&str>) {
    tell(&format!("error: {}", clean::printable(message)));
    if let Some(help) = help {
        tell(&format!("  help: {}", clean::printable(help)));
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

#[cfg(test)]
mod tests;
