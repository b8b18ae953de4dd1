//! The live terminal: finished lines go into the scrollback, and a small block below them shows what
//! runs and how far it is. Knows events, time and the size of the screen.
//!
//! The cursor rests on the empty line below the block, where an echoed `^C` does no harm. Lines end
//! with a newline and are never padded, so that they can be copied, and reflow, as any others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use console::{measure_text_width, truncate_str};
use kiln::event::{Event, Outcome};

use super::amount::{count, duration};
use super::scene::Scene;
use super::screen::{Screen, Tone};
use super::story::{Keep, Running, Story, is_failure, millis_since};
use super::{clean, failure, lines};

/// How long the screen may lag behind.
const TICK: Duration = Duration::from_millis(100);

/// The most running steps that are shown, on a high screen.
const MOST_RUNNING: usize = 8;

/// How much of a step's output is shown if it fails.
const KEEP: Keep = Keep { lines: 40, bytes: 256 << 10 };

/// The reader of a run that draws on a terminal.
pub(crate) struct Live {
    scene: Scene,
    story: Story,
    block: Block,
    /// Lines for the scrollback that are not there yet.
    waiting: Vec<String>,
    /// Steps served from the cache since the last line: they share one.
    cached: Vec<String>,
    drawn: Instant,
    /// Whether the last line was an empty one.
    is_blank: bool,
}

impl Live {
    pub(crate) fn new(scene: Scene) -> Self {
        let (waiting, cached, block) = (Vec::new(), Vec::new(), Block::new(&scene.screen));
        let (story, drawn) = (Story::new(KEEP), Instant::now());
        Self { scene, story, block, waiting, cached, drawn, is_blank: true }
    }

    pub(crate) fn hear(&mut self, event: &Event) {
        let tail = self.story.hear(event);
        match event {
            Event::RunStarted(_)
            | Event::RunGrown(_)
            | Event::StepStarted(_)
            | Event::StepOutput(_) => {}
            Event::Diagnostic(found) => self.say(clean::message(&found.message)),
            Event::Warning(warning) => self.say(lines::warning(&self.scene, warning)),
            Event::StepRetried(step) => self.say(lines::retried(&self.scene, step)),
            Event::StepFinished(step) => {
                match lines::finished(&self.scene, step) {
                    Some(_) if step.outcome == Outcome::Cached => {
                        self.cached.push(step.step.clone());
                    }
                    Some(line) => self.say(line),
                    None => {}
                }
                if is_failure(step) {
                    let report = failure::report(&self.scene, step, tail.as_ref(), KEEP.lines);
                    self.say(report);
                }
            }
            Event::RunStopping(stopping) => {
                if let Some(line) = lines::stopping(stopping) {
                    self.say(line);
                }
            }
            Event::RunFinished(run) => {
                let end = lines::end(&self.scene, &self.story, run);
                self.say(end);
            }
        }
        if self.drawn.elapsed() >= TICK {
            self.draw();
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        TICK.saturating_sub(self.drawn.elapsed())
    }

    pub(crate) fn wait(&mut self) {
        self.draw();
    }

    /// Leaves the scrollback as it is, and nothing below it.
    pub(crate) fn end(mut self) {
        self.say_cached();
        self.block.draw(&self.scene.screen, &mut self.waiting, |_| Vec::new());
    }

    fn say(&mut self, text: String) {
        self.say_cached();
        // Never two blank lines.
        let text = if self.is_blank { text.trim_start_matches('\n').to_owned() } else { text };
        self.is_blank = text.ends_with('\n');
        self.waiting.push(text);
    }

    /// Many cached steps are one line: they are no news.
    fn say_cached(&mut self) {
        const MOST_NAMED: usize = 3;
        let Some(first) = self.cached.first() else { return };
        let names = match self.cached.len() {
            1..=MOST_NAMED => self.cached.join(", "),
            all => format!("{first} and {} more", all - 1),
        };
        let word = self.scene.screen.paint(Tone::Faint, &format!("{:17}", "cached"));
        self.waiting.push(format!("{word}  {names}"));
        self.cached.clear();
        self.is_blank = false;
    }

    fn draw(&mut self) {
        let (screen, story) = (&self.scene.screen, &self.story);
        self.block.draw(screen, &mut self.waiting, |size| block(screen, story, size));
        self.drawn = Instant::now();
    }
}

/// The lines at the bottom that are drawn again and again.
struct Block {
    /// How many there are now.
    rows: usize,
    /// The size of the screen when it was last looked at.
    size: (usize, usize),
    /// Set when Kiln was stopped and goes on: others have written below the block meanwhile.
    is_resumed: Arc<AtomicBool>,
}

impl Block {
    fn new(screen: &Screen) -> Self {
        Self { rows: 0, size: screen.size(), is_resumed: crate::signals::resumed() }
    }

    /// Writes the waiting lines above the block and draws it again, all in one write. While the
    /// screen is being resized only what is new is worth the mess it may make.
    fn draw(
        &mut self,
        screen: &Screen,
        waiting: &mut Vec<String>,
        lines: impl FnOnce((usize, usize)) -> Vec<String>,
    ) {
        let size = screen.size();
        let is_moving = std::mem::replace(&mut self.size, size) != size;
        if is_moving && waiting.is_empty() {
            return;
        }
        if self.is_resumed.swap(false, Ordering::Relaxed) {
            self.rows = 0;
        }
        // Line by line: some terminals file a screen that is erased at once in the scrollback.
        let mut text = format!("\r\x1b[2K{}", "\x1b[1A\x1b[2K".repeat(self.rows));
        let lines = lines(size);
        self.rows = lines.len();
        for line in waiting.drain(..).chain(lines) {
            text.push_str(&line);
            text.push('\n');
        }
        super::tell_raw(&text);
    }
}

/// The status block: what runs, and how far all is. No line is wider than the screen.
pub(super) fn block(
    screen: &Screen,
    story: &Story,
    (rows, columns): (usize, usize),
) -> Vec<String> {
    // The last column stays free: some terminals wrap when it is written to.
    let columns = columns.saturating_sub(1);
    let most = MOST_RUNNING.min(rows.saturating_sub(2) / 2);
    if rows < 3 || columns == 0 {
        return Vec::new();
    }
    let mut lines: Vec<_> = story
        .running
        .iter()
        .take(most)
        .map(|(name, step)| running(screen, name, step, columns))
        .collect();
    let more = story.running.len() - lines.len();
    if more > 0 && most > 0 {
        let text = format!("  {} and {} more", screen.ellipsis(), count(more, "running step"));
        lines.push(fit(screen, &text, columns));
    }
    if story.run.is_some() {
        lines.push(progress(screen, story, columns));
    }
    lines
}

fn running(screen: &Screen, name: &str, step: &Running, columns: usize) -> String {
    let said = step.tail.last().map(|line| clean::line(line, screen)).unwrap_or_default();
    let time = duration(millis_since(step.since));
    let head = lines::line(screen, Tone::Strong, "running", &time, step.kind, name);
    let room = columns.saturating_sub(measure_text_width(&head) + 2);
    if room < 10 || said.trim().is_empty() {
        return fit(screen, &head, columns);
    }
    let said = console::strip_ansi_codes(said.trim()).into_owned();
    format!("{head}  {}", screen.paint(Tone::Faint, &fit(screen, &said, room)))
}

/// The one bar: done, cached, failed, time left. The words say all that the bar shows.
fn progress(screen: &Screen, story: &Story, columns: usize) -> String {
    const BAR: usize = 24;
    let (done, all) = (story.done.all(), story.steps());
    let mut parts = vec![format!("{done}/{all} done")];
    if story.done.cached > 0 {
        parts.push(format!("{} cached", story.done.cached));
    }
    if !story.failures.is_empty() {
        parts.push(screen.paint(Tone::Bad, &format!("{} failed", story.failures.len())));
    }
    parts.push(duration(story.millis()));
    parts.extend(story.millis_left().map(|left| format!("about {} left", duration(left))));
    let text = parts.join(", ");
    let room = columns.saturating_sub(measure_text_width(&text) + 3).min(BAR);
    if room < 6 {
        return fit(screen, &text, columns);
    }
    let full = room * done as usize / (all.max(1) as usize);
    let (block, blank) = if screen.is_utf8 { ("━", "─") } else { ("=", "-") };
    let bar = format!(
        "{}{}",
        screen.paint(Tone::Good, &block.repeat(full)),
        screen.paint(Tone::Faint, &blank.repeat(room - full))
    );
    format!("{bar}  {text}")
}

fn fit(screen: &Screen, text: &str, columns: usize) -> String {
    truncate_str(text, columns, screen.ellipsis()).into_owned()
}
