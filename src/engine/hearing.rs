//! What a step and its services write, on its way to the log and to the listeners: lines of services
//! by their names, secrets covered. Knows streams; does not know who listens.

use std::sync::mpsc::SyncSender;

use crate::event::{Event, StepOutput, Stream};
use crate::plan::step::Step;
use crate::planted::{Bug, is_planted};
use crate::sandbox;
use crate::secret::{Mask, Masked};

use super::attempt::send;
use super::failure::size;
use super::log::Log;
use super::run::Message;
use super::voices::Voices;

/// The output of one try of a step.
pub(super) struct Hearing<'a> {
    step: &'a str,
    /// Bytes that are kept of it.
    most: Option<u64>,
    say: &'a SyncSender<Message>,
    log: Log,
    voices: Voices<'a>,
    /// For standard output, standard error and each service; empty where there are no secrets.
    masked: Vec<Masked<'a>>,
}

impl<'a> Hearing<'a> {
    pub(super) fn new(
        step: &'a Step,
        most: Option<u64>,
        mask: Option<&'a Mask>,
        say: &'a SyncSender<Message>,
    ) -> Self {
        let streams = 2 + step.services.len();
        let mask = mask.filter(|_| !is_planted(Bug::ShowSecrets));
        let masked = mask.iter().flat_map(|mask| (0..streams).map(|_| Masked::new(mask))).collect();
        let voices = Voices::new(step.services.iter().map(|used| used.name.as_str()));
        Self { step: &step.name, most, say, log: Log::new(), voices, masked }
    }

    /// Takes what was written.
    pub(super) fn hear(&mut self, stream: sandbox::Stream, bytes: &[u8]) {
        let at = match stream {
            sandbox::Stream::Stdout => 0,
            sandbox::Stream::Stderr => 1,
            sandbox::Stream::Service(place) => 2 + usize::from(place),
        };
        match self.masked.get_mut(at) {
            Some(masked) => {
                let shown = masked.add(bytes);
                self.pass(stream, &shown);
            }
            None => self.pass(stream, bytes),
        }
    }

    /// Passes on what can be shown.
    fn pass(&mut self, stream: sandbox::Stream, bytes: &[u8]) {
        match stream {
            sandbox::Stream::Stdout => self.write(Stream::Stdout, bytes),
            sandbox::Stream::Stderr => self.write(Stream::Stderr, bytes),
            sandbox::Stream::Service(place) => {
                let lines = self.voices.add(place, bytes);
                self.write(Stream::Stderr, &lines);
            }
        }
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let whole = self.log.add(stream, bytes);
        self.show(stream, &whole);
    }

    fn show(&self, stream: Stream, bytes: &[u8]) {
        if !bytes.is_empty() {
            send(self.say, Event::StepOutput(StepOutput::new(self.step, stream, bytes)));
        }
    }

    /// Passes on what was left, and returns the log. `is_cut` is whether there was more than is kept.
    pub(super) fn end(mut self, is_cut: bool) -> Log {
        for (at, mut masked) in std::mem::take(&mut self.masked).into_iter().enumerate() {
            let stream = match at {
                0 => sandbox::Stream::Stdout,
                1 => sandbox::Stream::Stderr,
                at => sandbox::Stream::Service(u8::try_from(at - 2).expect("there are few")),
            };
            self.pass(stream, &masked.rest());
        }
        let rest = self.voices.rest();
        self.write(Stream::Stderr, &rest);
        for (stream, half) in self.log.take_halves() {
            self.show(stream, &half);
        }
        if is_cut {
            let most = size(self.most.unwrap_or_default());
            let note = format!(
                "\n[kiln] the output was cut off at {most}: the stage's `log` raises the limit\n"
            );
            self.write(Stream::Stderr, note.as_bytes());
        }
        self.log
    }
}
