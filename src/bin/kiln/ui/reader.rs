//! The reader of a run: the one form that was asked for, on a thread of its own, so that it can also
//! speak when nothing happens. Knows the forms; does not know what they say.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use kiln::event::Envelope;

use super::live::Live;
use super::plain::Plain;
use super::quiet::Quiet;
use super::scene::Scene;
use super::tell;
use crate::cli::Ui;

/// How many events may wait for the screen: then the run waits, too. One with output that is no
/// text takes up to 300 KB.
const MAX_WAITING: usize = 64;

/// One form of showing a run.
enum Reader {
    Live(Box<Live>),
    Plain(Box<Plain>),
    Jsonl,
    Quiet(Box<Quiet>),
}

/// Lets `run` say events, and shows them in that form; returns when all are shown.
pub(crate) fn shown<T>(
    form: Ui,
    scene: Scene,
    run: impl FnOnce(&mut dyn FnMut(Envelope)) -> T,
) -> T {
    let (say, hear) = mpsc::sync_channel(MAX_WAITING);
    let reader = Reader::new(form, scene);
    std::thread::scope(|scope| {
        scope.spawn(move || reader.read(&hear));
        let done = run(&mut |event| {
            // A reader that is gone has panicked, which the end of the scope tells.
            let _ = say.send(event);
        });
        drop(say);
        done
    })
}

/// Shows the events of a run that takes no time as they come, if any come.
pub(crate) struct AtOnce {
    form: Ui,
    /// Until the first event comes.
    scene: Option<Scene>,
    reader: Option<Reader>,
}

impl AtOnce {
    pub(crate) fn new(form: Ui, scene: Scene) -> Self {
        Self { form, scene: Some(scene), reader: None }
    }

    pub(crate) fn hear(&mut self, event: Envelope) {
        if let Some(scene) = self.scene.take() {
            self.reader = Some(Reader::new(self.form, scene));
        }
        if let Some(reader) = &mut self.reader {
            reader.hear(event);
        }
    }

    /// Ends what was shown; returns the scene if nothing was.
    pub(crate) fn end(self) -> Option<Scene> {
        if let Some(reader) = self.reader {
            reader.end();
        }
        self.scene
    }
}

impl Reader {
    fn new(form: Ui, scene: Scene) -> Self {
        match form {
            Ui::Live => Self::Live(Box::new(Live::new(scene))),
            Ui::Plain => Self::Plain(Box::new(Plain::new(scene))),
            Ui::Jsonl => Self::Jsonl,
            Ui::Quiet => Self::Quiet(Box::new(Quiet::new(scene))),
        }
    }

    fn read(mut self, events: &Receiver<Envelope>) {
        loop {
            match events.recv_timeout(self.patience()) {
                Ok(event) => self.hear(event),
                Err(RecvTimeoutError::Timeout) => self.wait(),
                Err(RecvTimeoutError::Disconnected) => return self.end(),
            }
        }
    }

    fn hear(&mut self, said: Envelope) {
        match self {
            Self::Live(live) => live.hear(&said.event),
            Self::Plain(plain) => plain.hear(&said.event).iter().for_each(|text| tell(text)),
            Self::Jsonl => super::json(&said),
            Self::Quiet(quiet) => quiet.hear(&said.event).iter().for_each(|text| tell(text)),
        }
    }

    fn patience(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(3600);
        match self {
            Self::Live(live) => live.patience(),
            Self::Plain(plain) => plain.patience(),
            Self::Jsonl | Self::Quiet(_) => LONG,
        }
    }

    fn wait(&mut self) {
        match self {
            Self::Live(live) => live.wait(),
            Self::Plain(plain) => plain.wait().iter().for_each(|text| tell(text)),
            Self::Jsonl | Self::Quiet(_) => {}
        }
    }

    fn end(self) {
        match self {
            Self::Live(live) => live.end(),
            Self::Plain(_) | Self::Jsonl | Self::Quiet(_) => {}
        }
    }
}
