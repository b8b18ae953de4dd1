//! What `kiln::ide` says in the words of the protocol. Knows both forms; does not know who asked.

use std::collections::HashMap;
use std::path::Path;

use kiln::diagnostic::{Code, Severity};
use kiln::ide::{Change, Completion, Desk, Finding, Kind, Place, Symbol};
use kiln::session;
use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionTextEdit, Diagnostic,
    DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, DocumentSymbol, Documentation,
    InsertTextFormat, Location, MarkupContent, MarkupKind, NumberOrString, SymbolKind, TextEdit,
    Uri, WorkspaceEdit,
};

use super::documents::Documents;
use super::encoding::Lines;

pub(super) fn diagnostic(
    documents: &Documents,
    desk: &Desk,
    root: &Path,
    lines: &Lines,
    finding: &Finding,
) -> Diagnostic {
    let related = finding.related.iter().map(|(place, message)| DiagnosticRelatedInformation {
        location: location(documents, desk, root, place),
        message: message.clone(),
    });
    let related: Vec<_> = related.collect();
    let message = match &finding.help {
        Some(help) => format!("{}\nhelp: {help}", finding.message),
        None => finding.message.clone(),
    };
    Diagnostic {
        range: lines.range(finding.place.range.clone()),
        severity: Some(match finding.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(finding.code.to_string())),
        source: Some("kiln".to_owned()),
        message,
        related_information: (!related.is_empty()).then_some(related),
        tags: (finding.code == Code::UNUSED).then(|| vec![DiagnosticTag::UNNECESSARY]),
        ..Diagnostic::default()
    }
}

pub(super) fn location(documents: &Documents, desk: &Desk, root: &Path, place: &Place) -> Location {
    let lines = documents.lines(desk, root, &place.file);
    let own = root.join(&place.file);
    // Where no copy can be written, the editor says that there is no file.
    let copy = if own.exists() { None } else { session::library_copy(root, &place.file).ok() };
    let uri = documents.uri(&copy.flatten().unwrap_or(own));
    Location { uri, range: lines.range(place.range.clone()) }
}

#[expect(clippy::mutable_key_type, reason = "the protocol's type; nothing mutates a URI")]
pub(super) fn edit(
    documents: &Documents,
    desk: &Desk,
    root: &Path,
    changes: &[Change],
) -> WorkspaceEdit {
    let mut by_file: HashMap<Uri, Vec<TextEdit>> = HashMap::new();
    for change in changes {
        let Location { uri, range } = location(documents, desk, root, &change.place);
        by_file.entry(uri).or_default().push(TextEdit { range, new_text: change.text.clone() });
    }
    WorkspaceEdit { changes: Some(by_file), ..WorkspaceEdit::default() }
}

/// `at` is its place among all that is offered, which stay in that order below those that fit
/// better.
pub(super) fn completion(
    lines: &Lines,
    snippets: bool,
    at: usize,
    offer: &Completion,
) -> CompletionItem {
    let is_called = offer.is_called && !lines.text()[offer.replace.end..].starts_with('(');
    let is_snippet = is_called && snippets;
    let text = if is_snippet { format!("{}($0)", offer.insert) } else { offer.insert.clone() };
    let range = lines.range(offer.replace.clone());
    let is_likely = offer.is_likely;
    CompletionItem {
        label: offer.label.clone(),
        kind: Some(completion_kind(offer.kind)),
        detail: (!offer.detail.is_empty()).then(|| offer.detail.clone()),
        documentation: (!offer.doc.is_empty()).then(|| {
            let value = offer.doc.clone();
            Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value })
        }),
        filter_text: offer.filter.clone(),
        sort_text: Some(format!("{}{at:04}", if is_likely { 'a' } else { 'b' })),
        insert_text_format: is_snippet.then_some(InsertTextFormat::SNIPPET),
        text_edit: Some(CompletionTextEdit::Edit(TextEdit { range, new_text: text })),
        ..CompletionItem::default()
    }
}

fn completion_kind(kind: Kind) -> CompletionItemKind {
    match kind {
        Kind::Module => CompletionItemKind::MODULE,
        Kind::Param => CompletionItemKind::PROPERTY,
        Kind::Value | Kind::Fact => CompletionItemKind::CONSTANT,
        Kind::Function => CompletionItemKind::FUNCTION,
        Kind::Stage => CompletionItemKind::CLASS,
        Kind::Template => CompletionItemKind::INTERFACE,
        Kind::Out | Kind::Field => CompletionItemKind::FIELD,
        Kind::Local => CompletionItemKind::VARIABLE,
        Kind::Type => CompletionItemKind::STRUCT,
        Kind::Text => CompletionItemKind::ENUM_MEMBER,
        Kind::Keyword => CompletionItemKind::KEYWORD,
        Kind::File => CompletionItemKind::FILE,
        Kind::Folder => CompletionItemKind::FOLDER,
    }
}

#[expect(deprecated, reason = "the protocol's type has a field that no one may leave out")]
pub(super) fn symbol(lines: &Lines, symbol: &Symbol) -> DocumentSymbol {
    let children = symbol.children.iter().map(|child| self::symbol(lines, child));
    DocumentSymbol {
        name: symbol.name.clone(),
        detail: Some(symbol.detail.lines().next().unwrap_or_default().to_owned()),
        kind: symbol_kind(symbol.kind),
        tags: None,
        deprecated: None,
        range: lines.range(symbol.range.clone()),
        selection_range: lines.range(symbol.name_range.clone()),
        children: (!symbol.children.is_empty()).then(|| children.collect()),
    }
}

fn symbol_kind(kind: Kind) -> SymbolKind {
    match kind {
        Kind::Module | Kind::Folder => SymbolKind::MODULE,
        Kind::Param => SymbolKind::PROPERTY,
        Kind::Value | Kind::Local | Kind::Fact => SymbolKind::CONSTANT,
        Kind::Function => SymbolKind::FUNCTION,
        Kind::Stage => SymbolKind::CLASS,
        Kind::Template => SymbolKind::INTERFACE,
        Kind::Out | Kind::Field => SymbolKind::FIELD,
        Kind::Type => SymbolKind::STRUCT,
        Kind::Text => SymbolKind::ENUM_MEMBER,
        Kind::Keyword => SymbolKind::KEY,
        Kind::File => SymbolKind::FILE,
    }
}
