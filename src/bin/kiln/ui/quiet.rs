//! The quiet form of a run: failures and warnings, nothing else. Knows events; says nothing of what
//! went well.

use kiln::event::Event;

use super::scene::Scene;
use super::story::{Ending, Keep, Story, is_failure};
use super::{failure, lines, tell};

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

    pub(crate) fn hear(&mut self, event: &Event) {
        let tail = self.story.hear(event);
        match event {
            Event::RunStarted(_)
            | Event::Diagnostic(_)
            | Event::StepStarted(_)
            | Event::StepOutput(_)
            | Event::StepRetried(_)
            | Event::RunStopping(_) => {}
            Event::Warning(warning) => tell(&lines::warning(&self.scene, warning)),
            Event::StepFinished(step) => {
                if is_failure(step) {
                    tell(&lines::finished(&self.scene, step).unwrap_or_default());
                    tell(&failure::report(&self.scene, step, tail.as_ref(), KEEP.lines));
                }
            }
            Event::RunFinished(run) => {
                if Ending::of(run) != Ending::Done {
                    tell(&lines::end(&self.scene, &self.story, run));
                }
            }
        }
    }
}
