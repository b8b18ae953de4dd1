//! `kiln lsp`: the language server. Knows its life, from `initialize` to `exit`, and in which order
//! messages are answered; what they ask is answered next door, by `kiln::ide`.
//!
//! Messages are taken one after the other. What is typed is looked at when no message waits, or when
//! one asks for it, so that a fast typist is never behind.

mod answer;
mod convert;
mod documents;
mod encoding;
mod uri;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lsp_server::{ErrorCode, Message, Notification, Request, RequestId, Response};
use lsp_types::InitializeParams;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::ui;
use documents::Documents;
use encoding::Encoding;
use wire::{Incoming, Wire};

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing but `initialize` is answered.
    Fresh,
    /// All is answered.
    Open,
    /// `shutdown` was asked for; only `exit` is left to say.
    Closing,
}

struct Server {
    wire: Wire,
    phase: Phase,
    documents: Documents,
}

/// Talks to an editor over the standard streams until it says `exit` or is gone.
pub(crate) fn run() -> Exit {
    let mut server = Server {
        wire: Wire::stdio(),
        phase: Phase::Fresh,
        documents: Documents::new(Encoding::Utf16, false),
    };
    loop {
        let incoming = match server.documents.is_changed() {
            true => server.wire.try_next(),
            false => Some(server.wire.next()),
        };
        match incoming {
            None => server.publish(),
            Some(Incoming::Message(Message::Request(request))) => server.request(request),
            Some(Incoming::Message(Message::Notification(note))) if note.method == "exit" => break,
            Some(Incoming::Message(Message::Notification(note))) => server.notification(note),
            Some(Incoming::Message(Message::Response(_))) => {}
            Some(Incoming::Malformed(why)) => server.wire.malformed(&why),
            Some(Incoming::Gone) => break,
        }
    }
    // The protocol gives these two their numbers.
    if server.phase == Phase::Closing { Exit::Done } else { Exit::Run(1) }
}

impl Server {
    fn request(&mut self, request: Request) {
        let id = request.id.clone();
        let response = match (self.phase, request.method.as_str()) {
            (Phase::Fresh, "initialize") => self.initialize(request),
            (Phase::Fresh, _) => {
                refusal(id, ErrorCode::ServerNotInitialized, "`initialize` comes first")
            }
            (Phase::Open, "initialize") => {
                refusal(id, ErrorCode::InvalidRequest, "`initialize` comes once")
            }
            (Phase::Open, "shutdown") => {
                self.phase = Phase::Closing;
                Response::new_ok(id, Value::Null)
            }
            (Phase::Open, _) => self.answer(request),
            (Phase::Closing, _) => {
                refusal(id, ErrorCode::InvalidRequest, "only `exit` follows `shutdown`")
            }
        };
        self.wire.send(Message::Response(response));
    }

    /// A mistake of ours in one answer is no reason to take the others away.
    fn answer(&mut self, request: Request) -> Response {
        let id = request.id.clone();
        let method = request.method.clone();
        let answer = catch_unwind(AssertUnwindSafe(|| {
            self.documents.analyse();
            answer::answer(&self.documents, request)
        }));
        answer.unwrap_or_else(|_| {
            ui::tell(&format!("kiln lsp: the answer to `{method}` panicked"));
            refusal(id, ErrorCode::InternalError, "a mistake in kiln; its log says more")
        })
    }

    fn initialize(&mut self, request: Request) -> Response {
        let id = request.id;
        let params: InitializeParams = match serde_json::from_value(request.params) {
            Ok(params) => params,
            Err(error) => return refusal(id, ErrorCode::InvalidParams, &error.to_string()),
        };
        let general = params.capabilities.general.as_ref();
        let offered = general.and_then(|it| it.position_encodings.as_deref()).unwrap_or_default();
        let encoding = Encoding::of(offered);
        let snippets = params
            .capabilities
            .text_document
            .and_then(|it| it.completion?.completion_item?.snippet_support);
        self.documents = Documents::new(encoding, snippets.unwrap_or_default());
        self.phase = Phase::Open;
        let server = json!({"name": "kiln", "version": env!("CARGO_PKG_VERSION")});
        let capabilities = answer::capabilities(encoding);
        Response::new_ok(id, json!({"capabilities": capabilities, "serverInfo": server}))
    }

    fn notification(&mut self, note: Notification) {
        if self.phase != Phase::Open {
            return;
        }
        let method = note.method.clone();
        let documents = &mut self.documents;
        match catch_unwind(AssertUnwindSafe(|| documents.take(note))) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => ui::tell(&format!("kiln lsp: `{method}` was ignored: {why}")),
            Err(_) => ui::tell(&format!("kiln lsp: `{method}` panicked")),
        }
    }

    fn publish(&mut self) {
        let documents = &mut self.documents;
        match catch_unwind(AssertUnwindSafe(|| documents.findings())) {
            Ok(findings) => {
                for params in findings {
                    let method = "textDocument/publishDiagnostics".to_owned();
                    self.wire.send(Message::Notification(Notification::new(method, params)));
                }
            }
            Err(_) => ui::tell("kiln lsp: looking for mistakes panicked"),
        }
    }
}

fn refusal(id: RequestId, code: ErrorCode, message: &str) -> Response {
    Response::new_err(id, code as i32, message.to_owned())
}
