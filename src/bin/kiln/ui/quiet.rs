//! The quiet form of a run: failures and warnings, nothing else. Knows events; says nothing of what
//! went well.

use kiln::event::Event;

use super::scene::Scene;
use super::story::{Ending, Keep, Story, is_failure};
use super::{failure, lines};

/// How much of a step's output is shown if it fails.
const KEEP: Keep = Keep { lines: 40, bytes: 256 << 10 };

/// The reader of a run that speaks of trouble only.
pub(crate) struct Quiet {
    scene: Scene,
    story: Story,
}

impl Quiet {
    pub(crate) fn new(scene: Scene) -> Self {
        Self { scene, story: Story::new(KEEP) }
    }

    /// Returns what is to be said of an event.
    pub(crate) fn hear(&mut self, event: &Event) -> Option<String> {
        let tail = self.story.hear(event);
        let scene = &self.scene;
        match event {
            Event::RunStarted(_)
            | Event::RunGrown(_)
            | Event::Diagnostic(_)
            | Event::StepStarted(_)
            | Event::StepOutput(_)
            | Event::StepRetried(_)
            | Event::RunStopping(_) => None,
            Event::Warning(warning) => Some(lines::warning(scene, warning)),
            Event::StepFinished(step) if !is_failure(step) => None,
            Event::StepFinished(step) => {
                let line = lines::finished(scene, step)?;
                let report = failure::report(scene, step, tail.as_ref(), KEEP.lines);
                Some(format!("{line}\n{report}"))
            }
            Event::RunFinished(run) => {
                let is_done = Ending::of(run) == Ending::Done;
                (!is_done).then(|| lines::end(scene, &self.story, run))
            }
        }
    }
}
