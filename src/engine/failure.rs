//! Failures of commands, in words. Knows exits, signals and limits; does not know what happens
//! next.

use std::io;

use crate::event::{Cause, Failure};
use crate::plan::Plan;
use crate::plan::step::{Command, Place, Service, Step, Text, TextPiece};
use crate::sandbox::{self, Exit, ServiceEnd};

use super::reach;

/// How shells and libraries say that there can be no more processes.
const NO_PROCESSES: [&str; 3] =
    ["Cannot fork", "Resource temporarily unavailable", "can't start new thread"];

/// The signal of a file that grew beyond what it may.
const SIGXFSZ: i32 = 25;

/// The most characters of a command that a message shows.
const MAX_COMMAND_CHARS: usize = 200;

/// Returns the failure of a step whose program ended like that; `current` is the number of the
/// command that ran, of a step with several, and `said` the end of what it wrote.
pub(crate) fn of_exit(
    plan: &Plan,
    step: &Step,
    exit: Exit,
    current: Option<usize>,
    outcome: &sandbox::Outcome,
    said: &str,
) -> Failure {
    if let Exit::Service { service, end } = exit {
        let mut services = plan.services_of(step);
        let (name, service) = services.nth(service.into()).expect("it is one of the step's");
        return of_service(name, service, end);
    }
    let at = if step.commands.len() == 1 { Some(0) } else { current };
    let command = at.and_then(|at| step.commands.get(at));
    let hit = hit(step, exit, outcome, said);
    let cause = match exit {
        Exit::Code(_) | Exit::Signal(_) if hit.is_some() => Cause::Limit,
        Exit::Code(_) | Exit::Signal(_) => Cause::Command,
        Exit::TimedOut => Cause::Timeout,
        Exit::OutOfMemory => Cause::Limit,
        Exit::Cancelled => Cause::Interrupted,
        Exit::Service { .. } => Cause::Service,
    };
    let mut failure = Failure {
        command: command.map(shown),
        place: command.map(place),
        ..Failure::new(cause, message(step, exit, hit))
    };
    match exit {
        Exit::Code(code) => failure.exit = Some(code),
        Exit::Signal(signal) => failure.signal = Some(signal),
        Exit::TimedOut | Exit::OutOfMemory | Exit::Cancelled | Exit::Service { .. } => {}
    }
    failure.help = help(step, exit, hit, said).or_else(|| reach::help(step.network, said));
    failure
}

/// A limit that a step's author set, and that ended it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    Processes(u32),
    Scratch(u64),
}

/// Returns the limit that a step which exited or was ended seems to have met.
fn hit(step: &Step, exit: Exit, outcome: &sandbox::Outcome, said: &str) -> Option<Limit> {
    if !matches!(exit, Exit::Code(_) | Exit::Signal(_)) {
        return None;
    }
    let limits = &step.limits;
    if let Some(processes) = limits.processes
        && (outcome.processes_refused || complains(said, &NO_PROCESSES))
    {
        return Some(Limit::Processes(processes));
    }
    let is_full = outcome.scratch_full || exit == Exit::Signal(SIGXFSZ);
    limits
        .scratch_bytes
        .filter(|_| is_full || complains(said, &["File too large"]))
        .map(Limit::Scratch)
}

fn complains(said: &str, complaints: &[&str]) -> bool {
    complaints.iter().any(|complaint| said.contains(complaint))
}

fn message(step: &Step, exit: Exit, hit: Option<Limit>) -> String {
    let end = ending(step, exit);
    match hit {
        None => end,
        Some(Limit::Processes(most)) => {
            format!("{end}, at its limit of {most} processes")
        }
        Some(Limit::Scratch(most)) => {
            format!("{end}, having written as much as its limit of {}", size(most))
        }
    }
}

fn ending(step: &Step, exit: Exit) -> String {
    match exit {
        Exit::Code(127) => "a program was not found (exit code 127)".to_owned(),
        Exit::Code(code) => format!("it exited with code {code}"),
        Exit::Signal(signal) => format!("it was ended by {}", signal_name(signal)),
        Exit::TimedOut => {
            let millis = step.limits.timeout_millis.unwrap_or_default();
            format!("it took longer than its timeout of {}", duration(millis))
        }
        Exit::OutOfMemory => {
            let limit = step.limits.memory_bytes.unwrap_or_default();
            format!("it used more memory than its limit of {}", size(limit))
        }
        Exit::Cancelled => "it was interrupted".to_owned(),
        Exit::Service { .. } => "a service was not there for it".to_owned(),
    }
}

/// Returns the failure of a step whose service `name` was not there for it.
fn of_service(name: &str, service: &Service, end: ServiceEnd) -> Failure {
    let within = duration(service.within_millis);
    let (what, help) = match end {
        ServiceEnd::NotStarted(errno) => (
            format!("could not be started: {}", io::Error::from_raw_os_error(errno)),
            "check the name of its program, or add what has it to the service's `tools`".to_owned(),
        ),
        ServiceEnd::NotReady if !service.ready.is_empty() => {
            let check = service.ready.iter().map(|word| quoted(&plain(word)));
            let check = check.collect::<Vec<_>>().join(" ");
            let port = service.port.map(|port| format!("port {port} and ")).unwrap_or_default();
            (
                format!("was not ready within {within}: {port}`{check}` never passed"),
                format!("what it wrote may say why; if it only needs longer: within = {}", longer(service)),
            )
        }
        ServiceEnd::NotReady => {
            let port = service.port.unwrap_or_default();
            (
                format!("was not ready within {within}: nothing listens on port {port} of 127.0.0.1"),
                format!("have it listen there, or, if it only needs longer: within = {}", longer(service)),
            )
        }
        ServiceEnd::Code(code) => (
            format!("exited with code {code} before the step had ended"),
            "a service stays up until its step has ended: see what it wrote, and keep it from going to the background".to_owned(),
        ),
        ServiceEnd::Signal(signal) => (
            format!("was ended by {} before the step had ended", signal_name(signal)),
            "what it wrote may say why; a step that stops its own service fails, too".to_owned(),
        ),
    };
    Failure {
        place: Some(service.program.place.clone()),
        help: Some(help),
        ..Failure::new(Cause::Service, format!("its service `{name}` {what}"))
    }
}

/// Twice the time that a service has to be ready, as an author writes it.
fn longer(service: &Service) -> String {
    format!("{}s", (service.within_millis / 500).max(1))
}

fn help(step: &Step, exit: Exit, hit: Option<Limit>, said: &str) -> Option<String> {
    let text = match exit {
        _ if matches!(hit, Some(Limit::Processes(_))) => {
            "raise `processes`, or let it start fewer at a time: make -j2"
        }
        _ if matches!(hit, Some(Limit::Scratch(_))) => "raise `scratch`, or let it write less",
        Exit::Code(127) => "add what it needs to `tools`, or install it on this machine",
        Exit::TimedOut => "raise `timeout`, or find out what it waits for",
        Exit::OutOfMemory => "raise `memory`, or let it use less",
        Exit::Code(_) if complains(said, &NO_PROCESSES) => {
            "a step may have 16384 processes and threads at a time: let it start fewer, make -j2"
        }
        Exit::Code(_) if complains(said, &["Too many open files"]) => {
            "a process may have 1024 files open: the script can raise that, ulimit -n 65536"
        }
        Exit::Code(_) if complains(said, &["No space left on device"]) => {
            "the disk is full: free some space, for example with `kiln cache gc`"
        }
        Exit::Signal(9) if step.limits.memory_bytes.is_none() => {
            "the machine may be out of memory: give the step `memory`, or run fewer with `-j`"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Returns a number of bytes as an author writes it.
pub(super) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift)) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

fn duration(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        _ if millis.is_multiple_of(60_000) => format!("{} min", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{} s", millis / 1000),
        _ => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        25 => "SIGXFSZ",
        31 => "SIGSYS: it made a system call that the sandbox refuses",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

fn place(command: &Command) -> Place {
    match command {
        Command::Script { place, .. } | Command::Argv { place, .. } => place.clone(),
    }
}

/// A command as one would type it; of a script its first line, with the values of its holes.
fn shown(command: &Command) -> String {
    let text = match command {
        Command::Argv { arguments, .. } => {
            arguments.iter().map(|word| quoted(&plain(word))).collect::<Vec<_>>().join(" ")
        }
        Command::Script { text, holes, .. } => {
            let mut lines = text.lines().map(str::trim);
            let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
            let mut first = first.to_owned();
            for (name, value) in holes {
                let value = plain(value);
                first = first.replace(&format!("\"${{{name}}}\""), &quoted(&value));
                first = first.replace(&format!("${{{name}}}"), &value);
                for reads in [
                    format!("__import__(\"os\").environb[b\"{name}\"].decode()"),
                    format!("globalThis.process.env.{name}"),
                ] {
                    first = first.replace(&reads, &format!("{value:?}"));
                }
            }
            first
        }
    };
    match text.char_indices().nth(MAX_COMMAND_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A word as the shell reads it as one.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/=:@%+,".contains(&byte);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

fn plain(text: &Text) -> String {
    let piece = |piece: &TextPiece| match piece {
        TextPiece::Literal(text) => text.clone(),
        TextPiece::Path { path } => path.clone(),
    };
    text.pieces.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::Language;

    #[test]
    fn a_script_is_shown_with_the_values_of_its_holes() {
        let holes = [
            ("KILN_1", Text::literal("a b")),
            ("KILN_2", Text::literal("O2")),
            ("KILN_3", Text::path("src/a.c")),
        ];
        let command = Command::Script {
            language: Language::Sh,
            text:
                "\n cc \"${KILN_1}\" -\"${KILN_2}\" -DX=${KILN_2} \"${KILN_3}\" \"$HOME\"\n more\n"
                    .into(),
            holes: holes.map(|(name, text)| (name.to_owned(), text)).into_iter().collect(),
            place: Place { file: "pipeline.pipe".into(), line: 1, start: 0, end: 0 },
        };
        assert_eq!(shown(&command), r#"cc 'a b' -O2 -DX=O2 src/a.c "$HOME""#);
    }

    #[test]
    fn texts_of_other_languages_are_shown_in_quotes() {
        let command = |language, text: &str| Command::Script {
            language,
            text: text.to_owned(),
            holes: [("KILN_1".to_owned(), Text::literal("a\"b"))].into_iter().collect(),
            place: Place { file: "pipeline.pipe".into(), line: 1, start: 0, end: 0 },
        };
        let python = r#"print(__import__("os").environb[b"KILN_1"].decode())"#;
        assert_eq!(shown(&command(Language::Python, python)), r#"print("a\"b")"#);
        let node = "console.log(globalThis.process.env.KILN_1)";
        assert_eq!(shown(&command(Language::Node, node)), r#"console.log("a\"b")"#);
    }
}
