//! Events: what a run says while it runs. Knows the names and fields of the one stream that the
//! terminal, CI logs, JSON lines, the journal and replay all read; knows no listener and no clock.
//!
//! Names and fields are fixed: adding one is fine, changing one is a new [`VERSION`]. The schema is
//! `docs/events.schema.json`.

mod base64;
mod reason;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Severity};
use crate::digest::Digest;
use crate::plan::artifact::is_false;
use crate::plan::step::{Place, SkippedStep, StepKind};
use crate::source::{Sources, Span};

pub use reason::{Change, Reason, What};

/// The version of the stream: `v` of each event.
pub const VERSION: u32 = 1;

/// An event with its place in the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`VERSION`].
    pub v: u32,
    /// The number of the event in its run, from 0, without gaps.
    pub seq: u64,
    /// When it was said: RFC 3339, UTC, milliseconds.
    pub ts: String,
    /// What was said; its fields stand beside these.
    #[serde(flatten)]
    pub event: Event,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Event {
    /// A run begins. The first event of each run that got as far as a plan.
    #[serde(rename = "run.started")]
    RunStarted(RunStarted),
    /// More steps are known: a matrix goes through what a step has made.
    #[serde(rename = "run.grown")]
    RunGrown(RunGrown),
    /// A finding about the author's text.
    #[serde(rename = "diagnostic")]
    Diagnostic(Finding),
    /// Something that Kiln could do without, and had to.
    #[serde(rename = "warning")]
    Warning(Warning),
    /// A step begins to run its commands; cached, blocked and skipped steps never do.
    #[serde(rename = "step.started")]
    StepStarted(StepStarted),
    /// A step wrote something.
    #[serde(rename = "step.output")]
    StepOutput(StepOutput),
    /// A step failed and is tried again.
    #[serde(rename = "step.retried")]
    StepRetried(StepRetried),
    /// A step came to its end; each step of the run does, once.
    #[serde(rename = "step.finished")]
    StepFinished(Box<StepFinished>),
    /// No new steps are started from here on.
    #[serde(rename = "run.stopping")]
    RunStopping(RunStopping),
    /// The run is over. The last event.
    #[serde(rename = "run.finished")]
    RunFinished(RunFinished),
}

/// The fields of `run.started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The id of the run, as `kiln log` takes it.
    pub run: String,
    /// The version of Kiln.
    pub kiln: String,
    /// How many steps will finish.
    pub steps: u32,
    /// How many steps may run beside each other.
    pub jobs: u32,
    /// How steps are walled in: `namespaces` or `weak`.
    pub sandbox: String,
    /// The stages that were asked for.
    pub stages: Vec<String>,
}

/// The fields of `run.grown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunGrown {
    /// How many steps will finish, those before this event among them.
    pub steps: u32,
}

/// The fields of `diagnostic`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The stable name of its kind; `kiln explain` has a page for it.
    pub code: String,
    /// Whether the pipeline may run all the same.
    pub severity: Severity,
    /// The file, relative to the project's root.
    pub file: String,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
    /// The line of `start`, from 1.
    pub line: u32,
    /// The column of `start`, from 1, in characters.
    pub column: u32,
    /// One sentence: what was found and what was expected.
    pub message: String,
    /// What to do, if that is known.
    pub help: Option<String>,
    /// What stands at the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Other places that explain this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<FindingLabel>,
    /// The help as a change of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<FindingLabel>,
}

/// A place and its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingLabel {
    /// The file, relative to the project's root.
    pub file: String,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
    /// What to know about the place, or what to put there.
    pub text: String,
}

/// The fields of `warning`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// One sentence.
    pub message: String,
    /// What to do, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The step it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// The fields of `step.started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStarted {
    /// The step.
    pub step: String,
    /// Its stage.
    pub stage: String,
    /// What it is for.
    pub kind: StepKind,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Why it runs instead of being served from the cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Reason>,
    /// The steps that it waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// The fields of `step.output`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutput {
    /// The step.
    pub step: String,
    /// Where it wrote to.
    pub stream: Stream,
    /// What it wrote, with U+FFFD for bytes that are not UTF-8. Untrusted: may hold control
    /// sequences of terminals and commands of CI runners.
    pub text: String,
    /// The very bytes in base64, where `text` could not hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// Whether it was written in an earlier run, whose result was served from the cache.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replayed: bool,
}

/// A stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The fields of `step.retried`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRetried {
    /// The step.
    pub step: String,
    /// Which try failed, from 1.
    pub attempt: u32,
    /// How it failed.
    pub failure: Failure,
}

/// The fields of `step.finished`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFinished {
    /// The step.
    pub step: String,
    /// Its stage.
    pub stage: String,
    /// What it is for.
    pub kind: StepKind,
    /// Where it is declared.
    pub place: Place,
    /// How it ended.
    pub outcome: Outcome,
    /// The digest of the step with its inputs; `None` where it was never known.
    pub key: Option<Digest>,
    /// How long it took, all tries together; of a cached step, now.
    pub millis: u64,
    /// Why it ran instead of being served from the cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Reason>,
    /// The failed steps that it waits for; of blocked steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<String>,
    /// How it failed; of failed steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How many tries it took, where it took more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Whether it passed after it had failed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub flaky: bool,
    /// Whether its failure does not make the run fail.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tolerated: bool,
    /// The most memory its processes held together, in bytes, where that could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Whether it ran once more and made the same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub verified: bool,
    /// Where all it wrote is kept; `None` if it wrote nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Digest>,
    /// How many bytes are kept there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// How many steps wait for it and were blocked; of failed steps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub blocks: u32,
    /// Which part of the condition of its stage does not hold, for people; of steps that were skipped
    /// for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Where its outs were written to, relative to the project's root, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outs: Vec<WrittenOut>,
    /// What its outs of type `junit` say, together; of steps that ran and have such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
}

/// What reports say of the tests of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tests {
    /// How many test cases there are.
    pub total: u32,
    /// Of them, those that failed.
    pub failed: u32,
    /// Of them, those that were left out.
    pub skipped: u32,
    /// Those that failed, in the order of the reports; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailedTest>,
}

/// A test case that failed. All of it is untrusted text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTest {
    /// Its name, of at most 500 bytes.
    pub name: String,
    /// The class, module or file it belongs to (`classname`), of at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The file it stands in, as the report says, of at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line it stands at, as the report says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What it says, of at most 4 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// An out that was written into the project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenOut {
    /// The name of the out.
    pub name: String,
    /// Where it is, relative to the project's root.
    pub path: String,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It ran and passed.
    Ran,
    /// It passed in an earlier run, or in another Kiln just now.
    Cached,
    /// It ran, or should have, and did not pass.
    Failed,
    /// It never began, since a step it waits for failed.
    Blocked,
    /// It never began, since the condition of its stage does not hold, or the run stopped before.
    Skipped,
}

/// How a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault it is.
    pub cause: Cause,
    /// One sentence, for people.
    pub message: String,
    /// What to do, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The command that failed, as one would type it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Where that command stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What it exited with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A command failed.
    Command,
    /// It took longer than it may.
    Timeout,
    /// It used more of something than it may.
    Limit,
    /// An input is missing or is not what it must be.
    Input,
    /// An out is missing or is not what it must be.
    Out,
    /// A service beside the step was not there for it.
    Service,
    /// It made something else when it ran once more.
    Difference,
    /// The machine, the sandbox, the store or the network failed. A retry is sensible.
    Machine,
    /// The run was interrupted.
    Interrupted,
}

/// The fields of `run.stopping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStopping {
    /// Why.
    pub reason: StopReason,
    /// How many steps are still running.
    pub running: u32,
}

/// Why a run stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopReason {
    /// A step failed; those that run may finish.
    Failure,
    /// The user interrupted it; those that run are asked to end.
    Interrupted,
    /// The user interrupted it twice; those that run are killed.
    Killed,
}

/// The fields of `run.finished`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFinished {
    /// What Kiln exits with.
    pub exit: u8,
    /// How many steps ended how.
    pub counts: Counts,
    /// How long the run took.
    pub millis: u64,
}

/// Steps by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Ran and passed.
    pub ran: u32,
    /// Served from the cache.
    pub cached: u32,
    /// Did not pass, those tolerated included.
    pub failed: u32,
    /// Never began, since a step failed.
    pub blocked: u32,
    /// Never began, since a condition does not hold or the run stopped.
    pub skipped: u32,
    /// Of the skipped, those whose condition does not hold.
    #[serde(default)]
    pub unmet: u32,
    /// Of the failed, those that do not make the run fail.
    #[serde(default)]
    pub tolerated: u32,
    /// Of those that ran, those that failed before they passed.
    #[serde(default)]
    pub flaky: u32,
}

impl Counts {
    /// Counts one more finished step.
    pub(crate) fn add(&mut self, step: &StepFinished) {
        match step.outcome {
            Outcome::Ran => self.ran += 1,
            Outcome::Cached => self.cached += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Blocked => self.blocked += 1,
            Outcome::Skipped => self.skipped += 1,
        }
        self.unmet += u32::from(step.condition.is_some());
        self.tolerated += u32::from(step.tolerated);
        self.flaky += u32::from(step.flaky);
    }
}

impl Failure {
    /// Returns a failure of which no more is known.
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { cause, message, help: None, command: None, place: None, exit: None, signal: None }
    }
}

impl StepFinished {
    /// Returns the end of a step of which no more is known.
    pub(crate) fn new(
        step: String,
        stage: String,
        kind: StepKind,
        place: Place,
        outcome: Outcome,
    ) -> Self {
        Self {
            step,
            stage,
            kind,
            place,
            outcome,
            key: None,
            millis: 0,
            why: Vec::new(),
            blocked_by: Vec::new(),
            failure: None,
            attempts: None,
            flaky: false,
            tolerated: false,
            verified: false,
            peak_memory_bytes: None,
            log: None,
            log_bytes: None,
            blocks: 0,
            condition: None,
            outs: Vec::new(),
            tests: None,
        }
    }

    /// Returns the end of a step that never began, since the condition of its stage does not hold.
    pub(crate) fn skipped(skipped: &SkippedStep) -> Self {
        let SkippedStep { name, stage, kind, place, why } = skipped.clone();
        Self { condition: Some(why), ..Self::new(name, stage, kind, place, Outcome::Skipped) }
    }
}

impl StepOutput {
    /// Returns the output of a step that wrote `bytes`, whatever they are.
    pub(crate) fn new(step: &str, stream: Stream, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let is_exact = matches!(text, std::borrow::Cow::Borrowed(_));
        Self {
            step: step.to_owned(),
            stream,
            bytes: (!is_exact).then(|| base64::encode(bytes)),
            text: text.into_owned(),
            replayed: false,
        }
    }

    /// Returns the very bytes that the step wrote.
    pub fn to_bytes(&self) -> Vec<u8> {
        let exact = self.bytes.as_deref().and_then(base64::decode);
        exact.unwrap_or_else(|| self.text.clone().into_bytes())
    }
}

impl Event {
    /// Returns the event of a diagnostic about one of `sources`.
    pub fn diagnostic(diagnostic: &Diagnostic, sources: &Sources) -> Self {
        let source = |span: Span| sources.iter().nth(span.source.0 as usize);
        let file = |span| source(span).map(|source| source.name.clone()).unwrap_or_default();
        let label = |span: Span, text: &str| FindingLabel {
            file: file(span),
            start: span.start,
            end: span.end,
            text: text.to_owned(),
        };
        let span = diagnostic.span;
        let (line, column) =
            source(span).map_or((1, 1), |source| source.line_column(span.start as usize));
        Self::Diagnostic(Finding {
            code: diagnostic.code.to_string(),
            severity: diagnostic.severity,
            file: file(span),
            start: span.start,
            end: span.end,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            label: diagnostic.label.clone(),
            labels: diagnostic.labels.iter().map(|at| label(at.span, &at.text)).collect(),
            edit: diagnostic.edit.as_ref().map(|edit| label(edit.span, &edit.text)),
        })
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn failure() -> Failure {
        Failure {
            cause: Cause::Command,
            message: "`make` exited with 2".into(),
            help: None,
            command: Some("make".into()),
            place: Some(place()),
            exit: Some(2),
            signal: None,
        }
    }

    fn place() -> Place {
        Place { file: "pipeline.pipe".into(), line: 3, start: 10, end: 20 }
    }

    fn finished() -> StepFinished {
        StepFinished {
            step: "lib".into(),
            stage: "lib".into(),
            kind: StepKind::Build,
            place: place(),
            outcome: Outcome::Failed,
            key: Some(Digest::of(b"")),
            millis: 12,
            why: vec![Reason { what: What::Input, name: "a.c".into(), change: Change::Changed }],
            blocked_by: vec![],
            failure: Some(failure()),
            attempts: Some(2),
            verified: true,
            flaky: false,
            tolerated: false,
            peak_memory_bytes: Some(1),
            log: Some(Digest::of(b"")),
            log_bytes: Some(0),
            blocks: 2,
            condition: Some("`x` is false".into()),
            outs: vec![WrittenOut { name: "bin".into(), path: "out/lib/bin".into() }],
            tests: Some(Tests {
                total: 3,
                failed: 1,
                skipped: 1,
                failures: vec![FailedTest {
                    name: "adds".into(),
                    group: Some("sums".into()),
                    file: Some("sums.py".into()),
                    line: Some(3),
                    message: "1 is not 2".into(),
                }],
            }),
        }
    }

    /// One of each kind. A new kind must be added here: `name` below does not compile without it.
    fn samples() -> Vec<Event> {
        let step = || "lib".to_owned();
        vec![
            Event::RunStarted(RunStarted {
                run: "20260101T000000Z-1".into(),
                kiln: "0.1.0".into(),
                steps: 1,
                jobs: 2,
                sandbox: "namespaces".into(),
                stages: vec![step()],
            }),
            Event::RunGrown(RunGrown { steps: 2 }),
            Event::Diagnostic(Finding {
                code: "K0101".into(),
                severity: Severity::Error,
                file: "pipeline.pipe".into(),
                start: 0,
                end: 1,
                line: 1,
                column: 1,
                message: "expected a name".into(),
                help: None,
                label: Some("here".into()),
                labels: vec![],
                edit: None,
            }),
            Event::Warning(Warning { message: "slow".into(), help: None, step: None }),
            Event::StepStarted(StepStarted {
                step: step(),
                stage: step(),
                kind: StepKind::Test,
                attempt: 1,
                why: vec![],
                needs: vec![step()],
            }),
            Event::StepOutput(StepOutput::new("lib", Stream::Stderr, b"\xffx\n")),
            Event::StepRetried(StepRetried { step: step(), attempt: 1, failure: failure() }),
            Event::StepFinished(Box::new(finished())),
            Event::RunStopping(RunStopping { reason: StopReason::Failure, running: 1 }),
            Event::RunFinished(RunFinished { exit: 0, counts: Counts::default(), millis: 1 }),
        ]
    }

    fn name(event: &Event) -> &'static str {
        match event {
            Event::RunStarted(_) => "run.started",
            Event::RunGrown(_) => "run.grown",
            Event::Diagnostic(_) => "diagnostic",
            Event::Warning(_) => "warning",
            Event::StepStarted(_) => "step.started",
            Event::StepOutput(_) => "step.output",
            Event::StepRetried(_) => "step.retried",
            Event::StepFinished(_) => "step.finished",
            Event::RunStopping(_) => "run.stopping",
            Event::RunFinished(_) => "run.finished",
        }
    }

    #[test]
    fn every_event_is_what_the_schema_says() {
        let schema: Value =
            serde_json::from_str(include_str!("../docs/events.schema.json")).unwrap();
        let kinds = &schema["$defs"];
        for (at, event) in samples().into_iter().enumerate() {
            let envelope = Envelope {
                v: VERSION,
                seq: at as u64,
                ts: "2026-01-01T00:00:00.000Z".into(),
                event,
            };
            let line = serde_json::to_value(&envelope).unwrap();
            let kind = name(&envelope.event);
            assert_eq!(line["type"], json!(kind));
            check(&schema, &schema, &line, "the envelope");
            check(&schema, &kinds[kind], &line, kind);
            for field in line.as_object().unwrap().keys() {
                let is_known = !kinds[kind]["properties"][field].is_null()
                    || !schema["properties"][field].is_null();
                assert!(is_known, "{kind}: the schema does not have `{field}`");
            }
            assert_eq!(serde_json::from_value::<Envelope>(line).unwrap(), envelope);
        }
    }

    /// The part of JSON Schema that ours uses: required, type, enum, const, items, $ref.
    fn check(root: &Value, schema: &Value, value: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/$defs/").unwrap();
            return check(root, &root["$defs"][name], value, at);
        }
        for field in schema["required"].as_array().into_iter().flatten() {
            assert!(value.get(field.as_str().unwrap()).is_some(), "{at} lacks {field}");
        }
        if let Some(types) = schema.get("type") {
            let types: Vec<_> = types.as_array().cloned().unwrap_or_else(|| vec![types.clone()]);
            assert!(
                types.iter().any(|name| has_type(value, name)),
                "{at}: {value} is no {types:?}"
            );
        }
        if let Some(values) = schema["enum"].as_array() {
            assert!(values.contains(value), "{at}: {value} is none of {values:?}");
        }
        if let Some(only) = schema.get("const") {
            assert_eq!(value, only, "{at}");
        }
        for item in value.as_array().into_iter().flatten() {
            check(root, &schema["items"], item, at);
        }
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = value.get(field) {
                check(root, schema, value, &format!("{at}.{field}"));
            }
        }
    }

    fn has_type(value: &Value, name: &Value) -> bool {
        match name.as_str().unwrap() {
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            "null" => value.is_null(),
            other => panic!("unknown type {other}"),
        }
    }

    #[test]
    fn output_keeps_its_bytes_whatever_they_are() {
        for bytes in [&b""[..], b"plain\n", b"\xff", b"a\xc3", b"\x80\x81\x82\x83", b"\0\x1b[31m"] {
            let output = StepOutput::new("step", Stream::Stdout, bytes);
            assert_eq!(output.to_bytes(), bytes);
            assert_eq!(output.bytes.is_some(), std::str::from_utf8(bytes).is_err());
        }
    }
}
