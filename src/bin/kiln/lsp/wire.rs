//! Messages over the standard streams. Knows how they are framed; does not know what they say.

use std::io::{self, BufReader, Write};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use lsp_server::{ErrorCode, Message};
use serde_json::json;

/// What comes from the other end.
pub(super) enum Incoming {
    Message(Message),
    /// Bytes that are no message, and why.
    Malformed(String),
    /// There is no other end any more.
    Gone,
}

/// The line to an editor.
pub(super) struct Wire {
    inbox: Receiver<Incoming>,
}

impl Wire {
    /// Begins to listen to standard input, on a thread of its own: what waits there can be counted
    /// on while an answer is written.
    pub(super) fn stdio() -> Self {
        let (sender, inbox) = channel();
        std::thread::spawn(move || {
            let mut input = BufReader::new(io::stdin().lock());
            loop {
                let incoming = match Message::read(&mut input) {
                    Ok(Some(message)) => Incoming::Message(message),
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        Incoming::Malformed(error.to_string())
                    }
                    Ok(None) | Err(_) => Incoming::Gone,
                };
                let is_end = matches!(incoming, Incoming::Gone);
                if sender.send(incoming).is_err() || is_end {
                    break;
                }
            }
        });
        Self { inbox }
    }

    /// Waits for what comes next.
    pub(super) fn next(&self) -> Incoming {
        self.inbox.recv().unwrap_or(Incoming::Gone)
    }

    /// Returns what has come already, if anything.
    pub(super) fn try_next(&self) -> Option<Incoming> {
        match self.inbox.try_recv() {
            Ok(incoming) => Some(incoming),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Incoming::Gone),
        }
    }

    /// Sends a message. Whether anyone listens is seen when nothing comes back.
    pub(super) fn send(&self, message: Message) {
        let _ = message.write(&mut io::stdout().lock());
    }

    /// Says that what came is no message. Such an answer has no id, which the types of messages
    /// cannot say.
    pub(super) fn malformed(&self, why: &str) {
        let error = json!({"code": ErrorCode::ParseError as i32, "message": why});
        let text = json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string();
        let mut output = io::stdout().lock();
        let _ = write!(output, "Content-Length: {}\r\n\r\n{text}", text.len());
        let _ = output.flush();
    }
}
