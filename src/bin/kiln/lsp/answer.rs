//! Answers to requests: a function for each, from the protocol's words to `kiln::ide` and back. Knows
//! which question is asked of whom; does not know the language.

use std::ops::Range;

use kiln::ide::{Finding, RenameError};
use lsp_server::{ErrorCode, Request, Response, ResponseError};
use lsp_types::request::{
    CodeActionRequest, CodeLensRequest, Completion, DocumentHighlightRequest,
    DocumentSymbolRequest, Formatting, GotoDefinition, HoverRequest, PrepareRenameRequest,
    References, Rename, Request as Method,
};
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOptions, CodeActionOrCommand, CodeActionParams,
    CodeActionProviderCapability, CodeLens, CodeLensOptions, CodeLensParams, Command,
    CompletionOptions, CompletionParams, CompletionResponse, DocumentFormattingParams,
    DocumentHighlight, DocumentHighlightParams, DocumentSymbolParams, DocumentSymbolResponse,
    GotoDefinitionParams, GotoDefinitionResponse, Hover, HoverContents, HoverParams,
    HoverProviderCapability, Location, MarkupContent, MarkupKind, OneOf, PrepareRenameResponse,
    ReferenceParams, RenameOptions, RenameParams, SaveOptions, ServerCapabilities,
    TextDocumentPositionParams, TextDocumentSyncCapability, TextDocumentSyncKind,
    TextDocumentSyncOptions, TextDocumentSyncSaveOptions, TextEdit, WorkDoneProgressOptions,
    WorkspaceEdit,
};
use serde_json::{Value, json};

use super::convert;
use super::documents::{Asked, Documents};
use super::encoding::Encoding;

/// What an answer is, or why there is none.
type Answer<T> = Result<T, ResponseError>;

/// Returns what this server can do.
pub(super) fn capabilities(encoding: Encoding) -> ServerCapabilities {
    ServerCapabilities {
        position_encoding: Some(encoding.kind()),
        text_document_sync: Some(TextDocumentSyncCapability::Options(TextDocumentSyncOptions {
            open_close: Some(true),
            change: Some(TextDocumentSyncKind::INCREMENTAL),
            save: Some(TextDocumentSyncSaveOptions::SaveOptions(SaveOptions::default())),
            ..TextDocumentSyncOptions::default()
        })),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        definition_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        document_formatting_provider: Some(OneOf::Left(true)),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QUICKFIX]),
            ..CodeActionOptions::default()
        })),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some([".", "\"", "/", "[", "(", "{"].map(str::to_owned).to_vec()),
            ..CompletionOptions::default()
        }),
        references_provider: Some(OneOf::Left(true)),
        document_highlight_provider: Some(OneOf::Left(true)),
        rename_provider: Some(OneOf::Right(RenameOptions {
            prepare_provider: Some(true),
            work_done_progress_options: WorkDoneProgressOptions::default(),
        })),
        code_lens_provider: Some(CodeLensOptions { resolve_provider: Some(false) }),
        ..ServerCapabilities::default()
    }
}

/// Answers a request.
pub(super) fn answer(documents: &Documents, request: Request) -> Response {
    match request.method.as_str() {
        HoverRequest::METHOD => with::<HoverRequest>(documents, request, hover),
        GotoDefinition::METHOD => with::<GotoDefinition>(documents, request, definition),
        Completion::METHOD => with::<Completion>(documents, request, complete),
        References::METHOD => with::<References>(documents, request, references),
        DocumentHighlightRequest::METHOD => {
            with::<DocumentHighlightRequest>(documents, request, highlights)
        }
        PrepareRenameRequest::METHOD => {
            with::<PrepareRenameRequest>(documents, request, prepare_rename)
        }
        Rename::METHOD => with::<Rename>(documents, request, rename),
        DocumentSymbolRequest::METHOD => with::<DocumentSymbolRequest>(documents, request, symbols),
        Formatting::METHOD => with::<Formatting>(documents, request, format),
        CodeActionRequest::METHOD => with::<CodeActionRequest>(documents, request, actions),
        CodeLensRequest::METHOD => with::<CodeLensRequest>(documents, request, lenses),
        method => {
            let message = format!("`{method}` is nothing that this server does");
            Response::new_err(request.id, ErrorCode::MethodNotFound as i32, message)
        }
    }
}

fn with<M: Method>(
    documents: &Documents,
    request: Request,
    act: impl FnOnce(&Documents, M::Params) -> Answer<M::Result>,
) -> Response {
    let id = request.id;
    match serde_json::from_value(request.params) {
        Ok(params) => match act(documents, params) {
            Ok(answer) => Response::new_ok(id, answer),
            Err(error) => Response::new_err(id, error.code, error.message),
        },
        Err(error) => Response::new_err(id, ErrorCode::InvalidParams as i32, error.to_string()),
    }
}

fn hover(documents: &Documents, params: HoverParams) -> Answer<Option<Hover>> {
    Ok(at(documents, &params.text_document_position_params).and_then(|(asked, offset)| {
        let hover = asked.desk.hover(asked.file, offset)?;
        let value = hover.text;
        Some(Hover {
            contents: HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value }),
            range: Some(asked.lines.range(hover.place.range)),
        })
    }))
}

fn definition(
    documents: &Documents,
    params: GotoDefinitionParams,
) -> Answer<Option<GotoDefinitionResponse>> {
    Ok(at(documents, &params.text_document_position_params).and_then(|(asked, offset)| {
        let place = asked.desk.definition(asked.file, offset)?;
        let location = convert::location(documents, asked.desk, asked.root, &place);
        Some(GotoDefinitionResponse::Scalar(location))
    }))
}

fn complete(documents: &Documents, params: CompletionParams) -> Answer<Option<CompletionResponse>> {
    Ok(at(documents, &params.text_document_position).map(|(asked, offset)| {
        let offers = asked.desk.complete(asked.file, offset);
        let snippets = documents.takes_snippets();
        let items = offers.iter().enumerate();
        let items = items.map(|(at, offer)| convert::completion(asked.lines, snippets, at, offer));
        CompletionResponse::Array(items.collect())
    }))
}

fn references(documents: &Documents, params: ReferenceParams) -> Answer<Option<Vec<Location>>> {
    let with_declaration = params.context.include_declaration;
    Ok(at(documents, &params.text_document_position).map(|(asked, offset)| {
        let places = asked.desk.references(asked.file, offset, with_declaration);
        let places = places.iter();
        places.map(|it| convert::location(documents, asked.desk, asked.root, it)).collect()
    }))
}

fn highlights(
    documents: &Documents,
    params: DocumentHighlightParams,
) -> Answer<Option<Vec<DocumentHighlight>>> {
    Ok(at(documents, &params.text_document_position_params).map(|(asked, offset)| {
        let places = asked.desk.references(asked.file, offset, true).into_iter();
        let own = places.filter(|place| place.file == asked.file);
        own.map(|place| DocumentHighlight { range: asked.lines.range(place.range), kind: None })
            .collect()
    }))
}

fn prepare_rename(
    documents: &Documents,
    params: TextDocumentPositionParams,
) -> Answer<Option<PrepareRenameResponse>> {
    let Some((asked, offset)) = at(documents, &params) else { return Ok(None) };
    let place = asked.desk.prepare_rename(asked.file, offset).map_err(|it| failed(&it))?;
    Ok(Some(PrepareRenameResponse::Range(asked.lines.range(place.range))))
}

fn rename(documents: &Documents, params: RenameParams) -> Answer<Option<WorkspaceEdit>> {
    let found = at(documents, &params.text_document_position);
    let Some((asked, offset)) = found else { return Ok(None) };
    let changes = asked.desk.rename(asked.file, offset, &params.new_name);
    let changes = changes.map_err(|it| failed(&it))?;
    Ok(Some(convert::edit(documents, asked.desk, asked.root, &changes)))
}

/// What was asked for makes sense, and cannot be had.
fn failed(error: &RenameError) -> ResponseError {
    let code = ErrorCode::RequestFailed as i32;
    ResponseError { code, message: error.to_string(), data: None }
}

fn symbols(
    documents: &Documents,
    params: DocumentSymbolParams,
) -> Answer<Option<DocumentSymbolResponse>> {
    Ok(documents.asked(&params.text_document.uri).map(|asked| {
        let symbols = asked.desk.symbols(asked.file);
        let symbols = symbols.iter().map(|symbol| convert::symbol(asked.lines, symbol));
        DocumentSymbolResponse::Nested(symbols.collect())
    }))
}

fn format(
    documents: &Documents,
    params: DocumentFormattingParams,
) -> Answer<Option<Vec<TextEdit>>> {
    Ok(documents.asked(&params.text_document.uri).and_then(|asked| {
        let text = asked.desk.format(asked.file)?;
        Some(difference(&asked, &text).into_iter().collect())
    }))
}

/// Returns the one edit that makes an open file read `text`, without the lines at both ends that it
/// has already: so that an editor keeps its cursor.
fn difference(asked: &Asked<'_>, text: &str) -> Option<TextEdit> {
    let old = asked.lines.text();
    if old == text {
        return None;
    }
    let is_same = |(old, new): &(&str, &str)| old == new;
    let size = |pairs: &mut dyn Iterator<Item = (&str, &str)>| pairs.map(|(it, _)| it.len()).sum();
    let pairs = old.split_inclusive('\n').zip(text.split_inclusive('\n'));
    let start: usize = size(&mut pairs.take_while(is_same));
    let (old_rest, new_rest) = (&old[start..], &text[start..]);
    let backwards = |text| str::split_inclusive(text, '\n').rev();
    let pairs = backwards(old_rest).zip(backwards(new_rest));
    let end: usize = size(&mut pairs.take_while(is_same));
    let range = asked.lines.range(start..old.len() - end);
    Some(TextEdit { range, new_text: new_rest[..new_rest.len() - end].to_owned() })
}

fn actions(
    documents: &Documents,
    params: CodeActionParams,
) -> Answer<Option<Vec<CodeActionOrCommand>>> {
    Ok(documents.asked(&params.text_document.uri).map(|asked| {
        let range = asked.lines.offsets(params.range);
        let findings = asked.desk.findings().remove(asked.file).unwrap_or_default();
        let near = findings.iter().filter(|finding| touch(&finding.place.range, &range));
        near.filter_map(|finding| action(documents, &asked, finding)).collect()
    }))
}

fn action(
    documents: &Documents,
    asked: &Asked<'_>,
    finding: &Finding,
) -> Option<CodeActionOrCommand> {
    let Asked { desk, root, lines, .. } = asked;
    let cure = finding.cure.clone()?;
    let title = finding.help.clone().unwrap_or_else(|| finding.message.clone());
    Some(CodeActionOrCommand::CodeAction(CodeAction {
        title,
        kind: Some(CodeActionKind::QUICKFIX),
        diagnostics: Some(vec![convert::diagnostic(documents, desk, root, lines, finding)]),
        edit: Some(convert::edit(documents, desk, root, &[cure])),
        is_preferred: Some(true),
        ..CodeAction::default()
    }))
}

fn touch(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start <= other.end && other.start <= one.end
}

fn lenses(documents: &Documents, params: CodeLensParams) -> Answer<Option<Vec<CodeLens>>> {
    Ok(documents.asked(&params.text_document.uri).map(|asked| {
        let path = asked.root.join(asked.file).to_string_lossy().into_owned();
        let lens = |title: &str, range: &Range<usize>, stage: &str| CodeLens {
            range: asked.lines.range(range.clone()),
            command: Some(Command {
                title: title.to_owned(),
                command: format!("kiln.{title}"),
                arguments: Some(vec![json!(path), json!(stage)]),
            }),
            data: None::<Value>,
        };
        let lenses = asked.desk.lenses(asked.file).into_iter();
        let both = |found: kiln::ide::Lens| {
            ["run", "why"].map(|title| lens(title, &found.range, &found.stage))
        };
        lenses.flat_map(both).collect()
    }))
}

/// Returns the open file and the byte that a position means.
fn at<'a>(
    documents: &'a Documents,
    params: &TextDocumentPositionParams,
) -> Option<(Asked<'a>, usize)> {
    let asked = documents.asked(&params.text_document.uri)?;
    let offset = asked.lines.offset(params.position);
    Some((asked, offset))
}
