//! `kiln lsp` as an editor sees it: whole conversations with the real binary over its standard
//! streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kiln::{Kiln, Project, wait_at_most};

/// Far longer than any answer takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(60);

/// An editor with a project.
struct Editor {
    project: Project,
    child: Child,
    /// `None` once it is gone.
    input: Option<ChildStdin>,
    inbox: Receiver<Value>,
    /// Notifications that no one has asked for yet.
    notes: Vec<Value>,
    last_id: i64,
}

impl Editor {
    /// Starts the server; says nothing to it.
    fn silent(project: Project) -> Self {
        let mut command = Kiln::new(project.path()).arguments(["lsp", "--stdio"]).command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, inbox) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut output) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Self { project, child, input, inbox, notes: Vec::new(), last_id: 0 }
    }

    /// Starts the server and shakes hands.
    fn new(project: Project, capabilities: &Value) -> Self {
        let mut editor = Self::silent(project);
        let answer = editor.ask("initialize", json!({"capabilities": capabilities}));
        assert_eq!(answer["serverInfo"]["name"], "kiln");
        editor.tell("initialized", json!({}));
        editor
    }

    fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        self.write(format!("Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes());
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Asks and returns the whole response.
    #[track_caller]
    fn response(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let message = self.inbox.recv_timeout(LONG).expect("each request has a response");
            if message["method"].is_null() {
                assert_eq!(message["id"], id, "{message}");
                return message;
            }
            self.notes.push(message);
        }
    }

    /// Asks and returns the result.
    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let response = self.response(method, params);
        assert!(response["error"].is_null(), "{method}: {response}");
        response["result"].clone()
    }

    /// Asks and returns the code of the error.
    #[track_caller]
    fn refused(&mut self, method: &str, params: Value) -> i64 {
        let response = self.response(method, params);
        response["error"]["code"].as_i64().unwrap_or_else(|| panic!("{method}: {response}"))
    }

    fn uri(&self, file: &str) -> String {
        format!("file://{}", self.project.at(file).display())
    }

    fn open(&mut self, file: &str, text: &str) {
        let uri = self.uri(file);
        let document = json!({"uri": uri, "languageId": "pipe", "version": 1, "text": text});
        self.tell("textDocument/didOpen", json!({"textDocument": document}));
    }

    fn change(&mut self, file: &str, version: i32, text: &str) {
        let document = json!({"uri": self.uri(file), "version": version});
        let changes = json!([{"text": text}]);
        let params = json!({"textDocument": document, "contentChanges": changes});
        self.tell("textDocument/didChange", params);
    }

    /// Waits for the next findings in a file.
    #[track_caller]
    fn findings(&mut self, file: &str) -> Vec<Value> {
        let uri = self.uri(file);
        let is_meant = |note: &Value| {
            note["method"] == "textDocument/publishDiagnostics" && note["params"]["uri"] == *uri
        };
        loop {
            if let Some(at) = self.notes.iter().position(is_meant) {
                let note = self.notes.remove(at);
                return note["params"]["diagnostics"].as_array().unwrap().clone();
            }
            self.notes.push(self.inbox.recv_timeout(LONG).expect("findings are published"));
        }
    }

    /// Asks about a place: a file and a position.
    #[track_caller]
    fn at(&mut self, method: &str, file: &str, position: &Value) -> Value {
        let params = json!({"textDocument": {"uri": self.uri(file)}, "position": position});
        self.ask(method, params)
    }

    /// Asks about a file.
    #[track_caller]
    fn of(&mut self, method: &str, file: &str, more: &Value) -> Value {
        let mut params = json!({"textDocument": {"uri": self.uri(file)}});
        let own = params.as_object_mut().unwrap();
        own.extend(more.as_object().unwrap().clone());
        self.ask(method, params)
    }

    /// Returns the exit code once the server has ended, and what it logged.
    #[track_caller]
    fn end(mut self) -> (i32, String) {
        self.input = None;
        let status = wait_at_most(&mut self.child, LONG).expect("the server ends");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status.code().unwrap(), log)
    }

    /// Says goodbye as the protocol has it.
    #[track_caller]
    fn close(mut self) {
        assert_eq!(self.ask("shutdown", Value::Null), Value::Null);
        assert_eq!(self.refused("textDocument/hover", json!({})), -32600);
        self.tell("exit", Value::Null);
        let (code, log) = self.end();
        assert_eq!((code, log.as_str()), (0, ""));
    }
}

fn read(output: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut bytes = vec![0; length];
    output.read_exact(&mut bytes).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// Returns the position of the `$0` in a text that holds `around` without it, in units of UTF-16.
#[track_caller]
fn position(text: &str, around: &str) -> Value {
    let inner = around.find("$0").expect("a `$0` marks the place");
    let plain = around.replace("$0", "");
    let at = text.find(&plain).unwrap_or_else(|| panic!("no {plain:?} in {text}")) + inner;
    let line = text[..at].matches('\n').count();
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    json!({"line": line, "character": text[start..at].encode_utf16().count()})
}

/// Returns a text after edits, which must be in ASCII and not touch each other.
fn edited(text: &str, edits: &Value) -> String {
    let offset = |position: &Value| {
        let line = usize::try_from(position["line"].as_u64().unwrap()).unwrap();
        let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        start + usize::try_from(position["character"].as_u64().unwrap()).unwrap()
    };
    let mut edits: Vec<_> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|edit| {
            let range = offset(&edit["range"]["start"])..offset(&edit["range"]["end"]);
            (range, edit["newText"].as_str().unwrap())
        })
        .collect();
    edits.sort_by_key(|(range, _)| range.start);
    let mut text = text.to_owned();
    for (range, new) in edits.into_iter().rev() {
        text.replace_range(range, new);
    }
    text
}

const PIPELINE: &str = "\
use \"./lib\"

## How it is built.
param profile: \"dev\" | \"release\" = \"release\"
let word = lib.greeting

## The program.
build app {
  in file(\"a.txt\")
  run sh \"echo 'ü𝄞' {{profile}} {{word}} > {{out.bin}}\"
  out bin: file
}
test unit {
  run sh \"cat {{app.bni}}\"
}
";

const LIB: &str = "## A word.\npub let greeting = \"hello\"\n";

fn shop() -> Project {
    Project::of(PIPELINE).with("lib/pipeline.pipe", LIB).with("a.txt", "a")
}

#[test]
fn an_editor_finds_its_way_and_its_mistakes() {
    let mut editor = Editor::new(shop(), &json!({}));
    editor.open("pipeline.pipe", PIPELINE);
    let found = editor.findings("pipeline.pipe");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["code"], "K0202");
    assert_eq!(found[0]["range"]["start"], position(PIPELINE, "app.$0bni"));

    let hover =
        editor.at("textDocument/hover", "pipeline.pipe", &position(PIPELINE, "{{pro$0file"));
    let text = hover["contents"]["value"].as_str().unwrap();
    assert!(text.contains("param profile") && text.contains("How it is built."), "{text}");
    assert_eq!(hover["range"]["start"], position(PIPELINE, "{{$0profile"));

    let place = position(PIPELINE, "lib.gr$0eeting");
    let definition = editor.at("textDocument/definition", "pipeline.pipe", &place);
    assert_eq!(definition["uri"], editor.uri("lib/pipeline.pipe"));
    assert_eq!(definition["range"]["start"], position(LIB, "let $0greeting"));

    let symbols = editor.of("textDocument/documentSymbol", "pipeline.pipe", &json!({}));
    let names: Vec<_> = symbols.as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["lib", "profile", "word", "app", "unit"]);
    assert_eq!(symbols[3]["children"][0]["name"], "bin");

    let lenses = editor.of("textDocument/codeLens", "pipeline.pipe", &json!({}));
    let commands: Vec<_> = lenses.as_array().unwrap().iter().map(|it| &it["command"]).collect();
    let path = editor.project.at("pipeline.pipe");
    assert_eq!(commands.len(), 4);
    assert_eq!(commands[0]["command"], "kiln.run");
    assert_eq!(commands[3]["command"], "kiln.why");
    assert_eq!(commands[3]["arguments"], json!([path, "unit"]));
    editor.close();
}

#[test]
fn a_definition_in_the_standard_library_is_in_a_file_that_can_be_opened() {
    let text = "use std.c\n\nbuild object = c.object(file(\"a.c\"))\n";
    let mut editor = Editor::new(Project::of(text).with("a.c", ""), &json!({}));
    editor.open("pipeline.pipe", text);
    assert_eq!(editor.findings("pipeline.pipe"), Vec::<Value>::new());
    let place = position(text, "c.ob$0ject");
    let definition = editor.at("textDocument/definition", "pipeline.pipe", &place);
    assert_eq!(definition["uri"], editor.uri(".kiln/std/c.pipe"));
    let copy = std::fs::read_to_string(editor.project.at(".kiln/std/c.pipe")).unwrap();
    assert_eq!(definition["range"]["start"], position(&copy, "build $0object("));
    let hover = editor.at("textDocument/hover", "pipeline.pipe", &place);
    assert!(hover["contents"]["value"].as_str().unwrap().contains("object of one source"));
    editor.close();
}

#[test]
fn a_cure_makes_its_mistake_go_away() {
    let mut editor = Editor::new(shop(), &json!({}));
    editor.open("pipeline.pipe", PIPELINE);
    let found = editor.findings("pipeline.pipe");
    let context = json!({"range": found[0]["range"], "context": {"diagnostics": found}});
    let actions = editor.of("textDocument/codeAction", "pipeline.pipe", &context);
    assert_eq!(actions[0]["title"], "did you mean `bin`?");
    let uri = editor.uri("pipeline.pipe");
    let cured = edited(PIPELINE, &actions[0]["edit"]["changes"][&uri]);
    editor.change("pipeline.pipe", 2, &cured);
    assert_eq!(editor.findings("pipeline.pipe"), [json!(null); 0]);
    let far = json!({"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}});
    let context = json!({"range": far, "context": {"diagnostics": []}});
    assert_eq!(editor.of("textDocument/codeAction", "pipeline.pipe", &context), json!([]));
    editor.close();
}

#[test]
fn names_are_completed_found_and_changed() {
    let snippets =
        json!({"textDocument": {"completion": {"completionItem": {"snippetSupport": true}}}});
    let mut editor = Editor::new(shop(), &snippets);
    editor.open("pipeline.pipe", &PIPELINE.replace("app.bni", "app."));
    let place = position(PIPELINE, "{{app.$0");
    let offers = editor.at("textDocument/completion", "pipeline.pipe", &place);
    assert_eq!(offers[0]["label"], "bin");
    assert_eq!(offers[0]["detail"], "file");
    assert_eq!(offers[0]["textEdit"]["range"]["start"], place);
    assert_eq!(offers.as_array().unwrap().len(), 1);
    let text = PIPELINE.replace("app.bni", "app.bin");
    editor.change("pipeline.pipe", 2, &text);
    let place = position(&text, "= lib$0.");
    let offers = editor.at("textDocument/completion", "pipeline.pipe", &place);
    let offers = offers.as_array().unwrap();
    let files = offers.iter().find(|offer| offer["label"] == "files").unwrap();
    assert_eq!(files["textEdit"]["newText"], "files($0)");
    assert_eq!(files["insertTextFormat"], 2);

    let place = position(&text, "lib.gr$0eeting");
    let context = json!({"position": place, "context": {"includeDeclaration": true}});
    let places = editor.of("textDocument/references", "pipeline.pipe", &context);
    let uris: Vec<_> = places.as_array().unwrap().iter().map(|it| it["uri"].clone()).collect();
    assert_eq!(uris, [editor.uri("lib/pipeline.pipe"), editor.uri("pipeline.pipe")]);
    let place = position(&text, "out bi$0n");
    let marks = editor.at("textDocument/documentHighlight", "pipeline.pipe", &place);
    assert_eq!(marks.as_array().unwrap().len(), 3);

    let range = editor.at("textDocument/prepareRename", "pipeline.pipe", &place);
    assert_eq!(range["start"], position(&text, "out $0bin"));
    let new = json!({"position": place, "newName": "exe"});
    let edit = editor.of("textDocument/rename", "pipeline.pipe", &new);
    let uri = editor.uri("pipeline.pipe");
    let edits = &edit["changes"][&uri];
    assert_eq!(edits.as_array().unwrap().len(), 3);
    assert_eq!(edits[0]["range"]["start"], position(&text, "{{out.$0bin}}"));
    let uri = json!({"textDocument": {"uri": uri}, "position": place, "newName": "if"});
    let refusal = editor.response("textDocument/rename", uri);
    assert_eq!(refusal["error"]["code"], -32803);
    let message = "`if` is taken: it is a name of the language itself";
    assert_eq!(refusal["error"]["message"], message);
    editor.close();
}

#[test]
fn a_file_is_formatted_by_the_smallest_edit() {
    let mut editor = Editor::new(Project::new(), &json!({}));
    let text = "let a = 1\nlet  b=2\nbuild x {\n  run sh \"{{a}} {{b}}\"\n}\n";
    editor.open("pipeline.pipe", text);
    let options = json!({"options": {"tabSize": 8, "insertSpaces": false}});
    let edits = editor.of("textDocument/formatting", "pipeline.pipe", &options);
    assert_eq!(edits.as_array().unwrap().len(), 1);
    assert_eq!(edits[0]["range"]["start"], json!({"line": 1, "character": 0}));
    let formatted = edited(text, &edits);
    assert_eq!(formatted, text.replace("let  b=2\n", "let b = 2\n\n"));
    editor.change("pipeline.pipe", 2, &formatted);
    assert_eq!(editor.of("textDocument/formatting", "pipeline.pipe", &options), json!([]));
    editor.change("pipeline.pipe", 3, "let a = (\n");
    assert_eq!(editor.of("textDocument/formatting", "pipeline.pipe", &options), Value::Null);
    editor.close();
}

#[test]
fn findings_follow_what_is_typed_in_another_file() {
    let mut editor = Editor::new(shop(), &json!({}));
    editor.open("lib/pipeline.pipe", LIB);
    assert_eq!(editor.findings("pipeline.pipe").len(), 1, "the package above uses the file");
    editor.findings("lib/pipeline.pipe");
    editor.change("lib/pipeline.pipe", 2, &LIB.replace("greeting", "hello"));
    assert_eq!(editor.findings("pipeline.pipe").len(), 2);
    let uri = editor.uri("lib/pipeline.pipe");
    editor.tell("textDocument/didClose", json!({"textDocument": {"uri": uri}}));
    assert_eq!(editor.findings("pipeline.pipe").len(), 0, "no file of it is open");
    editor.close();
}

#[test]
fn a_part_of_a_text_is_changed_in_the_units_that_were_agreed() {
    let text = "let a = \"ü𝄞\" + b\n";
    for (offered, from, to) in [(json!(["utf-8", "utf-16"]), 19, 20), (json!(["utf-16"]), 16, 17)] {
        let capabilities = json!({"general": {"positionEncodings": offered}});
        let mut editor = Editor::new(Project::new(), &capabilities);
        editor.open("pipeline.pipe", text);
        let found = editor.findings("pipeline.pipe");
        assert_eq!(found[0]["range"]["start"]["character"], from);
        let place = |character: u32| json!({"line": 0, "character": character});
        let range = json!({"start": place(from), "end": place(to)});
        let document = json!({"uri": editor.uri("pipeline.pipe"), "version": 2});
        let changes = json!([{"range": range, "text": "\"c\""}]);
        let params = json!({"textDocument": document, "contentChanges": changes});
        editor.tell("textDocument/didChange", params);
        let found = editor.findings("pipeline.pipe");
        assert_eq!(found[0]["code"], "K0207", "the unknown name is gone: {found:?}");
        editor.close();
    }
}

#[test]
fn nonsense_is_refused_and_the_conversation_goes_on() {
    let mut editor = Editor::silent(shop());
    assert_eq!(editor.refused("textDocument/hover", json!({})), -32002);
    assert_eq!(editor.refused("initialize", json!({"capabilities": 3})), -32602);
    editor.ask("initialize", json!({"capabilities": {}}));
    assert_eq!(editor.refused("initialize", json!({"capabilities": {}})), -32600);
    editor.tell("initialized", json!({}));
    assert_eq!(editor.refused("textDocument/nonsense", json!({})), -32601);
    assert_eq!(editor.refused("textDocument/hover", json!({"textDocument": 1})), -32602);
    editor.tell("textDocument/didOpen", json!({"textDocument": []}));
    editor.tell("nonsense", json!({}));
    editor.write(b"Content-Length: 7\r\n\r\n{\"a\": }");
    let answer = editor.inbox.recv_timeout(LONG).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(-32700)));
    let nowhere = json!({"line": 999, "character": 999});
    let unknown = editor.at("textDocument/hover", "unknown.pipe", &nowhere);
    assert_eq!(unknown, Value::Null);
    editor.open("pipeline.pipe", PIPELINE);
    assert_eq!(editor.at("textDocument/hover", "pipeline.pipe", &nowhere), Value::Null);
    assert_eq!(editor.findings("pipeline.pipe").len(), 1);
    editor.ask("shutdown", Value::Null);
    editor.tell("exit", Value::Null);
    let (code, log) = editor.end();
    assert_eq!(code, 0);
    assert!(log.contains("`textDocument/didOpen` was ignored"), "{log}");
}

#[test]
fn a_server_ends_with_its_editor() {
    let mut editor = Editor::new(shop(), &json!({}));
    editor.tell("exit", Value::Null);
    assert_eq!(editor.end().0, 1, "`exit` without `shutdown`");
    let editor = Editor::new(shop(), &json!({}));
    assert_eq!(editor.end().0, 1, "an editor that is gone");
    Kiln::new(Path::new("/")).arguments(["lsp", "--nonsense"]).run().exits(2);
}
