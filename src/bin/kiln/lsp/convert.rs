//! What `kiln::ide` says in the words of the protocol.

use std::collections::HashMap;
use std::path::Path;

use kiln::diagnostic::{Code, Severity};
use kiln::ide::{Change, Desk, Finding, Kind, Place, Symbol};
use lsp_types::{
    Diagnostic, DiagnosticRelatedInformation, DiagnosticSeverity, DiagnosticTag, DocumentSymbol,
    Location, NumberOrString, SymbolKind, TextEdit, Uri, WorkspaceEdit,
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
    let uri = documents.uri(&root.join(&place.file));
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
