//! The plain log of a run, for CI and files: a line a finished step, the whole output of a failed
//! one, and a sign of life in long silence. Knows events and what is to be said of them; writes
//! nothing itself.

use std::time::{Duration, Instant};

use kiln::event::Event;

use super::amount::duration;
use super::scene::Scene;
use super::story::{Keep, Story, is_failure, millis_since};
use super::{clean, failure, lines};

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

    /// Returns what is to be said of an event.
    pub(crate) fn hear(&mut self, event: &Event) -> Option<String> {
        let tail = self.story.hear(event);
        let scene = &self.scene;
        let text = match event {
            Event::RunStarted(_)
            | Event::RunGrown(_)
            | Event::StepStarted(_)
            | Event::StepOutput(_) => None,
            Event::Diagnostic(found) => Some(clean::message(&found.message)),
            Event::Warning(warning) => Some(lines::warning(scene, warning)),
            Event::StepRetried(step) => Some(lines::retried(scene, step)),
            Event::StepFinished(step) => lines::finished(scene, step).map(|line| {
                if is_failure(step) {
                    let report = failure::report(scene, step, tail.as_ref(), usize::MAX);
                    return format!("{line}\n{report}");
                }
                line
            }),
            Event::RunStopping(stopping) => lines::stopping(stopping),
            Event::RunFinished(run) => Some(lines::end(scene, &self.story, run)),
        };
        text.map(|text| self.say(text))
    }

    /// Returns how long to wait for the next event before [`Plain::wait`].
    pub(crate) fn patience(&self) -> Duration {
        SILENCE.saturating_sub(self.last_word.elapsed())
    }

    /// Returns a sign that it still goes on, after a long silence.
    pub(crate) fn wait(&mut self) -> Option<String> {
        let is_silent = self.last_word.elapsed() >= SILENCE;
        is_silent.then(|| self.say(still(&self.story)))
    }

    fn say(&mut self, text: String) -> String {
        // Never two blank lines.
        let text = if self.is_blank { text.trim_start_matches('\n').to_owned() } else { text };
        self.is_blank = text.ends_with('\n');
        self.last_word = Instant::now();
        text
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
