//! Documents: what an editor has open, and the projects that it belongs to. Knows which project path
//! a URI means, and what was last said of each file; does not know the language.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use kiln::ide::{Desk, Finding};
use lsp_server::Notification;
use lsp_types::{
    DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    PublishDiagnosticsParams, TextDocumentContentChangeEvent, Uri,
};
use serde::de::DeserializeOwned;

use super::convert;
use super::encoding::{Encoding, Lines};
use super::uri;
use crate::commands::facts;

/// All that is open.
pub(super) struct Documents {
    encoding: Encoding,
    desks: BTreeMap<PathBuf, Desk>,
    /// The open files by their paths.
    open: BTreeMap<PathBuf, Document>,
    /// What was last said of each file about which anything was.
    published: BTreeMap<PathBuf, PublishDiagnosticsParams>,
    is_changed: bool,
    /// Whether what is completed may hold a place for the cursor.
    snippets: bool,
}

struct Document {
    /// As the editor writes it.
    uri: Uri,
    version: i32,
    lines: Lines,
    root: PathBuf,
    file: String,
}

/// A file that something was asked of.
pub(super) struct Asked<'a> {
    pub(super) desk: &'a Desk,
    pub(super) root: &'a Path,
    /// As a path below the root.
    pub(super) file: &'a str,
    pub(super) lines: &'a Lines,
}

impl Documents {
    pub(super) fn new(encoding: Encoding, snippets: bool) -> Self {
        Self {
            encoding,
            desks: BTreeMap::new(),
            open: BTreeMap::new(),
            published: BTreeMap::new(),
            is_changed: false,
            snippets,
        }
    }

    /// Returns whether the editor can put its cursor within what it completes.
    pub(super) fn takes_snippets(&self) -> bool {
        self.snippets
    }

    /// Returns whether anything has changed since mistakes were last looked for.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Takes what an editor tells.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub(super) fn take(&mut self, note: Notification) -> Result<(), String> {
        match note.method.as_str() {
            "textDocument/didOpen" => self.did_open(params(note)?),
            "textDocument/didChange" => self.did_change(params(note)?),
            "textDocument/didClose" => self.did_close(&params(note)?),
            "textDocument/didSave" | "workspace/didChangeWatchedFiles" => self.refresh(),
            _ => {}
        }
        Ok(())
    }

    fn did_open(&mut self, params: DidOpenTextDocumentParams) {
        let document = params.text_document;
        let Some(path) = uri::path(&document.uri) else { return };
        let root = Desk::root_of(&path);
        let Some(file) = path.strip_prefix(&root).ok().and_then(Path::to_str) else { return };
        let file = file.to_owned();
        let desk = self.desks.entry(root.clone());
        let desk = desk.or_insert_with(|| Desk::new(root.clone(), facts(&root)));
        desk.open(&file, document.text.clone());
        let lines = Lines::new(document.text, self.encoding);
        let (uri, version) = (document.uri, document.version);
        self.open.insert(path, Document { uri, version, lines, root, file });
        self.is_changed = true;
    }

    fn did_change(&mut self, params: DidChangeTextDocumentParams) {
        let Some(path) = uri::path(&params.text_document.uri) else { return };
        let Some(document) = self.open.get_mut(&path) else { return };
        for change in params.content_changes {
            let text = changed(&document.lines, change);
            document.lines = Lines::new(text, self.encoding);
        }
        document.version = params.text_document.version;
        if let Some(desk) = self.desks.get_mut(&document.root) {
            desk.open(&document.file, document.lines.text().to_owned());
        }
        self.is_changed = true;
    }

    fn did_close(&mut self, params: &DidCloseTextDocumentParams) {
        let path = uri::path(&params.text_document.uri);
        let Some(document) = path.and_then(|path| self.open.remove(&path)) else { return };
        if let Some(desk) = self.desks.get_mut(&document.root) {
            desk.close(&document.file);
            if desk.is_empty() {
                self.desks.remove(&document.root);
            }
        }
        self.is_changed = true;
    }

    fn refresh(&mut self) {
        for (root, desk) in &mut self.desks {
            desk.refresh(facts(root));
        }
        self.is_changed = true;
    }

    /// Looks at what has changed.
    pub(super) fn analyse(&mut self) {
        self.desks.values_mut().for_each(Desk::analyse);
    }

    /// Returns what is to be said of files that it was not yet said of.
    pub(super) fn findings(&mut self) -> Vec<PublishDiagnosticsParams> {
        self.is_changed = false;
        self.analyse();
        let mut found: BTreeMap<PathBuf, PublishDiagnosticsParams> = BTreeMap::new();
        for (root, desk) in &self.desks {
            for (file, findings) in desk.findings() {
                let path = root.join(&file);
                if findings.is_empty() && !self.open.contains_key(&path) {
                    continue;
                }
                let params = self.params(desk, root, &path, &file, &findings);
                found.insert(path, params);
            }
        }
        let mut news: Vec<_> = Vec::new();
        for (path, last) in std::mem::take(&mut self.published) {
            if !found.contains_key(&path) && !last.diagnostics.is_empty() {
                let uri = self.uri(&path);
                news.push(PublishDiagnosticsParams { uri, diagnostics: Vec::new(), version: None });
            } else if found.get(&path) == Some(&last) {
                self.published.insert(path, last);
            }
        }
        for (path, params) in found {
            if let Entry::Vacant(place) = self.published.entry(path) {
                news.push(place.insert(params).clone());
            }
        }
        news
    }

    fn params(
        &self,
        desk: &Desk,
        root: &Path,
        path: &Path,
        file: &str,
        findings: &[Finding],
    ) -> PublishDiagnosticsParams {
        let lines = self.lines(desk, root, file);
        let diagnostics =
            findings.iter().map(|it| convert::diagnostic(self, desk, root, &lines, it));
        PublishDiagnosticsParams {
            uri: self.uri(path),
            diagnostics: diagnostics.collect(),
            version: self.open.get(path).map(|document| document.version),
        }
    }

    /// Returns the lines of a file, open or not.
    pub(super) fn lines(&self, desk: &Desk, root: &Path, file: &str) -> Lines {
        let open = self.open.get(&root.join(file)).map(|document| document.lines.text().to_owned());
        let text = open.or_else(|| desk.text(file));
        Lines::new(text.unwrap_or_default(), self.encoding)
    }

    /// Returns the URI of a path, as the editor writes it if it is open.
    pub(super) fn uri(&self, path: &Path) -> Uri {
        self.open.get(path).map_or_else(|| uri::uri(path), |document| document.uri.clone())
    }

    /// Returns the open file that a URI means.
    pub(super) fn asked(&self, uri: &Uri) -> Option<Asked<'_>> {
        let document = self.open.get(&uri::path(uri)?)?;
        let desk = self.desks.get(&document.root)?;
        let Document { lines, root, file, .. } = document;
        Some(Asked { desk, root, file, lines })
    }
}

fn params<T: DeserializeOwned>(note: Notification) -> Result<T, String> {
    serde_json::from_value(note.params).map_err(|error| error.to_string())
}

/// Returns a text after a change: of a part, or of all of it.
fn changed(lines: &Lines, change: TextDocumentContentChangeEvent) -> String {
    let Some(range) = change.range else { return change.text };
    let mut text = lines.text().to_owned();
    text.replace_range(lines.offsets(range), &change.text);
    text
}
