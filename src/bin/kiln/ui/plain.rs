//! The plain log of a run, for CI and files: a line a finished step, the whole output of a failed
//! one, and a sign of life in long silence. Knows events; draws nothing twice.

use std::time::{Duration, Instant};

use kiln::event::Event;

use super::amount::duration;
use super::scene::Scene;
use super::story::{Keep, Story, is_failure, millis_since};
use super::{failure, lines, tell};

/// How long it may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// The most running steps that a sign of life names.
const MOST_NAMED: usize = 4;

/// How much of a step's output is held until it is known whether it failed.
const KEEP: Keep = Keep { lines: usize::MAX, bytes: 4 << 20 };

/// The reader of a run that writes a plain log.
pub(crate) struct Plain {
    scene: Scene,
    story: Story,
    last_word: Instant,
    /// Whether the last line was an empty one.
    is_blank: bool,
}

impl Plain {
    pub(crate) fn new(scene: Scene) -> Self {
        Self { scene, story: Story::new(KEEP), last_word: Instant::now(), is_blank: true }
    }

    pub(crate) fn hear(&mut self, event: &Event) {
        let tail = self.story.hear(event);
        match event {
            Event::RunStarted(_) | Event::StepStarted(_) | Event::StepOutput(_) => {}
            Event::Diagnostic(found) => self.say(&found.message),
            Event::Warning(warning) => self.say(&lines::warning(&self.scene, warning)),
            Event::StepRetried(step) => self.say(&lines::retried(&self.scene, step)),
            Event::StepFinished(step) => {
                if let Some(line) = lines::finished(&self.scene, step) {
                    self.say(&line);
                }
                if is_failure(step) {
                    let report = failure::report(&self.scene, step, tail.as_ref(), usize::MAX);
                    self.say(&report);
                }
            }
            Event::RunStopping(stopping) => {
                if let Some(line) = lines::stopping(stopping) {
                    self.say(&line);
                }
            }
            Event::RunFinished(run) => self.say(&lines::end(&self.scene, &self.story, run)),
        }
    }

    /// Returns how long to wait for the next event before [`Plain::wait`].
    pub(crate) fn patience(&self) -> Duration {
        SILENCE.saturating_sub(self.last_word.elapsed())
    }

    /// Says that it still goes on, after a long silence.
    pub(crate) fn wait(&mut self) {
        if self.last_word.elapsed() >= SILENCE {
            self.say(&still(&self.story));
        }
    }

    fn say(&mut self, text: &str) {
        // Never two blank lines.
        let text = if self.is_blank { text.trim_start_matches('\n') } else { text };
        tell(text);
        self.is_blank = text.ends_with('\n');
        self.last_word = Instant::now();
    }
}

/// The sign of life: how long, how far, and what runs.
fn still(story: &Story) -> String {
    let named: Vec<_> = story
        .running
        .iter()
        .take(MOST_NAMED)
        .map(|(name, step)| format!("{name} ({})", duration(millis_since(step.since))))
        .collect();
    let more = story.running.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let running = match named.is_empty() {
        true => "nothing running".to_owned(),
        false => format!("running {}{more}", named.join(", ")),
    };
    let time = duration(story.millis());
    format!("still  {} of {} steps after {time}, {running}", story.done.all(), story.steps())
}
