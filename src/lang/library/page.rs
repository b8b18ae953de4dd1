//! What there is to read of a module of the standard library, in Markdown: what it is for, and each
//! export with its declaration and its doc comment. Knows trees; does not know who reads.

use super::{PREFIX, names, summary, text};
use crate::source::{SourceId, Span};
use crate::syntax::ast::{ClauseKind, Item, ItemKind};
use crate::syntax::parse;

/// Returns the page of the library (`std`), of a module (`std.rust`) or of an export
/// (`std.rust.binary`). The thread needs the stack of [`parse::PARSE_STACK_BYTES`].
pub(crate) fn page(name: &str) -> Option<String> {
    if name == PREFIX.trim_end_matches('.') {
        return Some(contents());
    }
    let rest = name.strip_prefix(PREFIX)?;
    let (module, export) = match rest.split_once('.') {
        Some((module, export)) => (module, Some(export)),
        None => (rest, None),
    };
    let text = text(module)?;
    let (tree, _) = parse::parse(SourceId(0), text);
    let exports = tree.items.iter().filter(|item| item.is_pub);
    let Some(export) = export else {
        let head = format!("# {PREFIX}{module}\n\n{}\n", summary(text));
        let sections = exports.filter_map(|item| section(module, text, item));
        return Some(sections.fold(head, |page, section| format!("{page}\n#{section}")));
    };
    let mut sections = exports.filter(|item| name_of(item).is_some_and(|name| name == export));
    section(module, text, sections.next()?)
}

/// The modules, a line each.
fn contents() -> String {
    let line = |name: String| {
        let text = text(name.trim_start_matches(PREFIX)).unwrap_or_default();
        format!("- `{name}`: {}\n", summary(text).replace('\n', " "))
    };
    let lines: String = names().map(line).collect();
    format!("# The standard library\n\n{lines}\n`kiln explain std.rust` shows one of them.\n")
}

/// The part of a page about one export.
fn section(module: &str, text: &str, item: &Item) -> Option<String> {
    let name = name_of(item)?;
    let doc = item.doc.as_deref().unwrap_or_default();
    let declared = declaration(text, item);
    Some(format!("# {module}.{name}\n\n```text\n{declared}\n```\n\n{doc}\n"))
}

fn name_of(item: &Item) -> Option<&str> {
    Some(match &item.kind {
        ItemKind::Stage(stage) => &stage.name.text,
        ItemKind::Function(function) => &function.name.text,
        ItemKind::Let(binding) => &binding.name.text,
        _ => return None,
    })
}

/// How an export is declared, without `pub`; of a template also what it makes.
fn declaration(text: &str, item: &Item) -> String {
    let part = |start: u32, end: u32| text[start as usize..end as usize].trim_end();
    let whole = |end: u32| part(item.span.start, end).trim_start_matches("pub ").to_owned();
    match &item.kind {
        ItemKind::Stage(stage) => {
            let outs = stage.clauses.iter().filter_map(|clause| match &clause.kind {
                ClauseKind::Out { name, ty, .. } => {
                    let Span { start, end, .. } = ty.span;
                    Some(format!("\n  out {}: {}", name.text, part(start, end)))
                }
                _ => None,
            });
            outs.fold(whole(stage.body.start), |declared, out| declared + &out)
        }
        ItemKind::Function(function) => whole(function.result.span.end),
        _ => whole(item.span.end),
    }
}
