//! The report of a failure: what a tired reader needs, in the order in which it is needed. Knows one
//! failed step and what it wrote; does not know the rest of the run.

use kiln::event::{Failure, StepFinished};
use kiln::plan::step::{Root, Step, Tool};

use super::amount::{bytes, count, duration, shell_word};
use super::scene::Scene;
use super::screen::Tone;
use super::tail::Tail;
use super::{clean, reason, report};

/// The most characters of a line of output that are shown; logs have all of them.
const MAX_LINE_CHARS: usize = 1000;

/// Returns the whole report: lines that end with a newline. `most`: how many lines of output.
pub(crate) fn report(
    scene: &Scene,
    step: &StepFinished,
    tail: Option<&Tail>,
    most: usize,
) -> String {
    let mut text = String::from("\n");
    text.push_str(&head(scene, step));
    let mut say = |name: &str, what: &str| {
        text.push_str(&format!(
            "  {} {what}\n",
            scene.screen.paint(Tone::Strong, &format!("{name:8}"))
        ));
    };
    if let Some(failure) = &step.failure {
        if let Some(command) = &failure.command {
            say("command", &clean::line(command, &scene.screen));
        }
        say("ended", &ended(step, failure));
        if let Some(help) = help(scene, step, failure) {
            say("help", &help);
        }
    }
    match tail {
        Some(tail) if tail.lines().next().is_some() => {
            say("output", &extent(tail, most));
            output(scene, tail, most, &mut text);
        }
        _ => say("output", "none"),
    }
    rest(scene, step, &mut text);
    text
}

/// What comes after the output: where to go from here.
fn rest(scene: &Scene, step: &StepFinished, text: &mut String) {
    let name = shell_word(&step.step);
    let mut say = |name: &str, what: &str| {
        text.push_str(&format!(
            "  {} {what}\n",
            scene.screen.paint(Tone::Strong, &format!("{name:8}"))
        ));
    };
    if step.log.is_some() {
        say("full log", &scene.command("log", &name));
    }
    if !step.why.is_empty() {
        say("it ran", &format!("since {}", reason::line(&step.why)));
    }
    say("next", &scene.command("why", &name));
    if step.blocks > 0 {
        let (count, wait) = match step.blocks {
            1 => ("1 step".to_owned(), "waits"),
            more => (count(more as usize, "step"), "wait"),
        };
        say("blocked", &format!("{count} that {wait} for it"));
    }
    text.push('\n');
}

/// The step and its place in the pipeline.
fn head(scene: &Scene, step: &StepFinished) -> String {
    let message = title(step);
    let command = step.failure.as_ref().and_then(|failure| failure.place.as_ref());
    let mut places = vec![(&step.place, format!("this {}", step.kind.keyword()))];
    if let Some(command) = command.filter(|command| **command != step.place) {
        places.insert(0, (command, "this command".to_owned()));
    }
    let source = scene.source(&places[0].0.file);
    report::places(source.as_ref(), &scene.screen, &message, &places)
}

/// Returns what failed and how, in one line.
pub(crate) fn title(step: &StepFinished) -> String {
    let how = step.failure.as_ref().map(|failure| format!(": {}", failure.message));
    format!("{} `{}` failed{}", step.kind.keyword(), step.step, how.unwrap_or_default())
}

fn ended(step: &StepFinished, failure: &Failure) -> String {
    let how = match (failure.exit, failure.signal) {
        (Some(exit), _) => format!("exit code {exit} "),
        (None, Some(signal)) => format!("signal {signal} "),
        (None, None) => String::new(),
    };
    let memory = step.peak_memory_bytes.filter(|memory| *memory > 0);
    let memory = memory.map(|memory| format!(", peak memory {}", bytes(memory)));
    let tries = step.attempts.map(|attempts| format!(", in {}", tries(attempts)));
    let tolerated = if step.tolerated { ", tolerated by `may_fail`" } else { "" };
    format!(
        "{how}after {}{}{}{tolerated}",
        duration(step.millis),
        memory.unwrap_or_default(),
        tries.unwrap_or_default()
    )
}

fn tries(attempts: u32) -> String {
    if attempts == 1 { "1 try".to_owned() } else { format!("{attempts} tries") }
}

/// What to do: what the engine knows, and for programs that were not found or cannot be run, where
/// they were looked for.
fn help(scene: &Scene, step: &StepFinished, failure: &Failure) -> Option<String> {
    let seen = || scene.step(&step.step).map(programs).unwrap_or_default();
    match failure.exit {
        Some(127) => Some(format!(
            "the last line of the output names the program; {}add it to `tools`, or install it",
            seen()
        )),
        Some(126) => Some(format!(
            "what it called is no program that can run here: make it executable (`chmod +x`) or \
             call its interpreter; {}",
            seen().trim_end_matches("; ")
        )),
        _ => failure.help.clone(),
    }
}

/// Where a step's programs come from, as a clause.
fn programs(step: &Step) -> String {
    let root = match &step.root {
        Root::Host => "this machine's system folders",
        Root::Artifact(_) => "its own root",
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
        0 => format!("the step has the programs of {root} and no tools; "),
        _ => format!("the step has the programs of {root} and the tools {}; ", tools.join(", ")),
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
            let note = format!(" {} {} more", scene.screen.ellipsis(), count(cut, "byte"));
            text.push_str(&scene.screen.paint(Tone::Faint, &note));
        }
        text.push('\n');
    }
}
