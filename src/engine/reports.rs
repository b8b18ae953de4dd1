//! Reports of tests: what the `junit` outs of a step say, and whether they bear out that it passed.
//! Knows stored outs; does not know the form of a report.

use std::sync::mpsc::SyncSender;

use crate::cache::{Node, Store};
use crate::event::{Cause, Event, FailedTest, Failure, Tests, Warning};
use crate::junit;
use crate::plan::artifact::OutKind;
use crate::plan::step::{Step, StepKind};
use crate::secret::Mask;

use super::attempt::send;
use super::error::StepError;
use super::outs::Made;
use super::run::Message;

/// The most bytes of a report that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Returns what the reports of a step say together, `None` if it made none; warns of those that could
/// not be read.
///
/// # Errors
/// What the store says.
pub(super) fn read(
    store: &Store,
    step: &Step,
    made: &Made,
    mask: Option<&Mask>,
    say: &SyncSender<Message>,
) -> Result<Option<Tests>, StepError> {
    let cover = |text: &str| mask.map_or_else(|| text.to_owned(), |mask| mask.cover(text));
    let mut tests = None::<Tests>;
    for out in step.outs.iter().filter(|out| out.kind == OutKind::Junit) {
        let Some(Node::File { blob, .. }) = made.get(&out.name) else { continue };
        let why = if blob.size > MAX_BYTES {
            format!("it is larger than {} MiB", MAX_BYTES >> 20)
        } else {
            match junit::read(&store.read(*blob)?) {
                Ok(report) => {
                    tests.get_or_insert_default().add(covered(report, cover));
                    continue;
                }
                Err(error) => error.to_string(),
            }
        };
        let why = cover(&why);
        let message = format!("the report `{}` of `{}` was not read: {why}", out.path, step.name);
        let help = "have the test runner write JUnit's XML there, or make the out a `file`";
        let (help, step) = (Some(help.to_owned()), Some(step.name.clone()));
        send(say, Event::Warning(Warning { message, help, step }));
    }
    Ok(tests)
}

/// Returns a report without secrets: in XML they may have stood in escapes that nobody saw through.
fn covered(report: Tests, cover: impl Fn(&str) -> String) -> Tests {
    let test = |test: FailedTest| FailedTest {
        name: cover(&test.name),
        group: test.group.as_deref().map(&cover),
        file: test.file.as_deref().map(&cover),
        line: test.line,
        message: cover(&test.message),
    };
    Tests { failures: report.failures.into_iter().map(test).collect(), ..report }
}

/// Returns the failure of a test that passed, though its own report says that tests failed.
pub(super) fn gainsaid(step: &Step, tests: Option<&Tests>) -> Option<Failure> {
    let tests = tests.filter(|tests| step.kind == StepKind::Test && tests.failed > 0)?;
    let which = match (tests.total, tests.failed) {
        (1, _) => "its only test failed".to_owned(),
        (total, failed) if total == failed => format!("all of its {total} tests failed"),
        (total, failed) => format!("{failed} of its {total} tests failed"),
    };
    let message = format!("it exited with 0, and its report says that {which}");
    let help = "let the script end with the exit code of its test runner, which `|| true` and pipes in \
                `sh` lose; a report that may hold failures is an out of type `file`";
    Some(Failure { help: Some(help.to_owned()), ..Failure::new(Cause::Out, message) })
}
