//! The report of a failure: what a tired reader needs, in the order in which it is needed. Knows one
//! failed step and what it wrote; does not know the rest of the run.

use kiln::event::{Cause, Failure, StepFinished, Tests};
use kiln::plan::step::{Command, Place, Root, Step, Tool};

use super::amount::{bytes, count, duration};
use super::scene::Scene;
use super::screen::Tone;
use super::tail::Tail;
use super::{clean, lines, reason};

/// The most characters of a line of output that are shown; logs have all of them.
const MAX_LINE_CHARS: usize = 1000;

/// The most failed tests that are named; the report has all of them.
const MOST_TESTS: usize = 10;

/// How far in the text of a line begins, after its name.
const INDENT: usize = 12;

/// Returns the whole report below the line of the failed step. `most`: how many lines of output.
pub(crate) fn report(
    scene: &Scene,
    step: &StepFinished,
    tail: Option<&Tail>,
    most: usize,
) -> String {
    let mut report = Report { scene, text: String::new() };
    let declared = source_line(scene, &step.place);
    report.say("step", &format!("{}  {declared}", place(scene, &step.place)));
    if let Some(failure) = &step.failure {
        if let Some(command) = command(scene, step, failure) {
            report.say("command", &command);
        }
        if failure.cause == Cause::Service
            && let Some(at) = &failure.place
        {
            report.say("service", &format!("{}  {}", place(scene, at), source_line(scene, at)));
        }
        report.say("ended", &ended(step, failure));
        if let Some(help) = help(scene, step, failure) {
            report.say("help", &help);
        }
    }
    if let Some(tests) = step.tests.as_ref().filter(|tests| tests.failed > 0) {
        report.say("tests", &lines::tests_told(tests));
        failed_tests(scene, tests, &mut report.text);
    }
    match tail.filter(|tail| tail.lines().next().is_some()) {
        Some(tail) => {
            report.say("output", &extent(tail, most));
            output(scene, tail, most, &mut report.text);
        }
        None => report.say("output", "none"),
    }
    if step.log.is_some() {
        report.say("full log", &scene.log_command(&step.step));
    }
    if !step.why.is_empty() {
        report.say("it ran", &format!("since {}", clean::message(&reason::line(&step.why))));
    }
    let has_run = step.failure.as_ref().is_some_and(|failure| {
        !matches!(failure.cause, Cause::Machine | Cause::Input | Cause::Interrupted)
    });
    let shell = scene.shell_command(&step.step).filter(|_| has_run);
    let next = [shell, Some(scene.why_command(&step.step))];
    for (at, command) in next.into_iter().flatten().enumerate() {
        report.say(if at == 0 { "next" } else { "" }, &command);
    }
    match step.blocks {
        0 => {}
        1 => report.say("blocked", "1 step that waits for it"),
        more => report.say("blocked", &format!("{more} steps that wait for it")),
    }
    report.text
}

/// A report in the making.
struct Report<'a> {
    scene: &'a Scene,
    text: String,
}

impl Report<'_> {
    /// Adds a line with its name on the left.
    fn say(&mut self, name: &str, what: &str) {
        let name = self.scene.screen.paint(Tone::Strong, &format!("{name:8}"));
        let (_, columns) = self.scene.screen.size();
        let what = wrapped(what, columns.saturating_sub(INDENT)).join(&format!("\n{:INDENT$}", ""));
        self.text.push_str(&format!("  {name}  {what}\n"));
    }
}

/// Returns a text in lines of at most so many characters, as far as its words allow.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        let is_full = line.chars().count() + 1 + word.chars().count() > columns.max(20);
        match line.is_empty() {
            true => line.push_str(word),
            false if is_full => lines.push(word.to_owned()),
            false => {
                line.push(' ');
                line.push_str(word);
            }
        }
    }
    lines
}

/// A place as editors and terminals take it.
fn place(scene: &Scene, place: &Place) -> String {
    format!("{}:{}", scene.path(&place.file), place.line)
}

/// What stands at a place.
fn source_line(scene: &Scene, place: &Place) -> String {
    let source = scene.source(&place.file);
    let index = (place.line as usize).saturating_sub(1);
    let line = source.as_ref().and_then(|source| source.text.lines().nth(index));
    clean::line(line.unwrap_or_default().trim(), &scene.screen)
}

/// Where the command stands, and itself as one would type it; of a script of several lines also how
/// long it is, since nobody knows which of them failed.
fn command(scene: &Scene, step: &StepFinished, failure: &Failure) -> Option<String> {
    let at = failure.place.as_ref()?;
    let commands = scene.step(&step.step).map(|step| step.commands).unwrap_or_default();
    let script = commands.iter().find_map(|command| match command {
        Command::Script { text, place, .. } if place == at => Some(text),
        Command::Script { .. } | Command::Argv { .. } => None,
    });
    let typed = failure.command.as_deref()?;
    let mut more = String::new();
    if let Some(text) = script {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > 1 {
            more = format!(" {} ({lines} lines)", scene.screen.ellipsis());
        }
    }
    Some(format!("{}  {}{more}", place(scene, at), clean::line(typed, &scene.screen)))
}

fn ended(step: &StepFinished, failure: &Failure) -> String {
    let how = match (failure.exit, failure.signal) {
        (Some(exit), _) => format!("exit code {exit} "),
        (None, Some(signal)) => format!("signal {signal} "),
        (None, None) => String::new(),
    };
    let memory = step.peak_memory_bytes.filter(|memory| *memory > 0);
    let memory = memory.map(|memory| format!(", peak memory {}", bytes(memory)));
    let tries = step.attempts.map(|attempts| format!(", in {attempts} tries"));
    format!(
        "{how}after {}{}{}",
        duration(step.millis),
        memory.unwrap_or_default(),
        tries.unwrap_or_default()
    )
}

/// What to do: what the engine knows, and what shells mean by their own exit codes.
fn help(scene: &Scene, step: &StepFinished, failure: &Failure) -> Option<String> {
    let seen = || scene.step(&step.step).map(|step| programs(&step)).unwrap_or_default();
    match failure.exit {
        Some(127) => Some(format!(
            "the output names a program that is not there: {}; install it, or add it to `tools`",
            seen()
        )),
        Some(126) => Some(
            "the output names a file that is no program: make it executable (`chmod +x`), or call \
             its interpreter"
                .to_owned(),
        ),
        _ => failure.help.as_deref().map(clean::message),
    }
}

/// Where a step's programs come from, as a clause.
fn programs(step: &Step) -> String {
    let root = match &step.root {
        Root::Host => "this machine's system folders".to_owned(),
        Root::Tree { path } | Root::Layout { path } => format!("the root `{path}`"),
        Root::Artifact(_) => "its own root".to_owned(),
    };
    let tools: Vec<_> = step
        .tools
        .iter()
        .map(|tool| match tool {
            Tool::Host { name } => format!("`{name}`"),
            Tool::Tree { path } => format!("`{path}`"),
            Tool::Artifact(artifact) => format!("`{}`", artifact.out),
        })
        .collect();
    match tools.len() {
        0 => format!("the step sees {root} and no tools"),
        _ => format!("the step sees {root} and the tools {}", tools.join(", ")),
    }
}

/// The tests that failed: a line each with name, place and the first line of what it says.
fn failed_tests(scene: &Scene, tests: &Tests, text: &mut String) {
    let shown = |text: &str| clean::line(text, &scene.screen);
    for test in tests.failures.iter().take(MOST_TESTS) {
        let group = test.group.as_deref().map(|group| format!("{} ", shown(group)));
        let place = match (&test.file, test.line) {
            (Some(file), Some(line)) => format!("  {}:{line}", shown(file)),
            (Some(file), None) => format!("  {}", shown(file)),
            (None, _) => String::new(),
        };
        let said = test.message.lines().map(str::trim).find(|line| !line.is_empty());
        let said = said.map(|said| format!("  {}", shown(said))).unwrap_or_default();
        let line = format!("{}{}{place}{said}", group.unwrap_or_default(), shown(&test.name));
        let line = match line.char_indices().nth(MAX_LINE_CHARS) {
            Some((end, _)) => format!("{}{}", &line[..end], scene.screen.ellipsis()),
            None => line,
        };
        text.push_str(&format!("{:INDENT$}{line}\n", ""));
    }
    let more = (tests.failed as usize).saturating_sub(MOST_TESTS);
    if more > 0 {
        text.push_str(&format!("{:INDENT$}and {more} more\n", ""));
    }
}

/// How much of the output is shown.
fn extent(tail: &Tail, most: usize) -> String {
    let kept = tail.lines().count();
    let all = kept + tail.dropped();
    let shown = kept.min(most);
    if shown == all { count(all, "line") } else { format!("the last {shown} of {all} lines") }
}

fn output(scene: &Scene, tail: &Tail, most: usize, text: &mut String) {
    let bar = if scene.screen.is_utf8 { "│" } else { "|" };
    let bar = scene.screen.paint(Tone::Faint, bar);
    let kept = tail.lines().count();
    for line in tail.lines().skip(kept.saturating_sub(most)) {
        let mut shown = clean::line(&line.text, &scene.screen);
        let mut cut = line.cut;
        if let Some((end, _)) = shown.char_indices().nth(MAX_LINE_CHARS) {
            cut += shown.len() - end;
            shown = clean::line(&shown[..end], &scene.screen);
        }
        text.push_str(&format!("  {bar} {shown}"));
        if cut > 0 {
            let note = format!(" {} {} more", scene.screen.ellipsis(), bytes(cut as u64));
            text.push_str(&scene.screen.paint(Tone::Faint, &note));
        }
        text.push('\n');
    }
}
