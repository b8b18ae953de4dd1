//! Where a cure is written: the lines that something stands on, the place of a new clause, the word that
//! begins an item. Knows a text and where things stand in it; does not know what is wrong with them.

use crate::diagnostic::Edit;
use crate::source::Span;
use crate::syntax::ast::{Argument, Clause, ClauseKind, Item, Stage};

/// Returns the lines of what stands at `span`, with the `##` lines above it; `None` if something else
/// stands on them.
pub(crate) fn lines_of(text: &str, span: Span) -> Option<Span> {
    let (before, after) = (&text[..span.start as usize], &text[span.end as usize..]);
    let mut start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let rest = after.find('\n').map_or(after, |newline| &after[..=newline]);
    if !before[start..].trim().is_empty() || !rest.trim().is_empty() {
        return None;
    }
    while let Some(above) = text[..start].strip_suffix('\n') {
        let line = above.rfind('\n').map_or(0, |newline| newline + 1);
        if !text[line..start].trim_start().starts_with("##") {
            break;
        }
        start = line;
    }
    let mut end = span.end as usize + rest.len();
    // Of the blank lines around it one is left.
    let is_alone = start == 0 || text[..start].ends_with("\n\n");
    if is_alone && text[end..].starts_with('\n') {
        end += 1;
    }
    Some(Span::new(span.source, start, end))
}

/// Returns the edit that gives a stage one clause more: an input behind its last one, anything else
/// before the first clause. `None` if its body is empty.
pub(crate) fn new_clause(text: &str, stage: &Stage, clause: &str) -> Option<Edit> {
    let indent = |clause: &Clause| {
        let start = clause.span.start as usize;
        let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let before = &text[line..start];
        if before.trim().is_empty() { before.to_owned() } else { "  ".to_owned() }
    };
    let is_input = |clause: &&Clause| matches!(clause.kind, ClauseKind::In { .. });
    let last = stage.clauses.iter().rfind(is_input).filter(|_| clause.starts_with("in "));
    if let Some(last) = last {
        let at = Span::at(last.span.source, last.span.end as usize);
        return Some(Edit { span: at, text: format!("\n{}{clause}", indent(last)) });
    }
    let first = stage.clauses.first()?;
    let at = Span::at(first.span.source, first.span.start as usize);
    Some(Edit { span: at, text: format!("{clause}\n{}", indent(first)) })
}

/// Returns the place of the word that begins an item, behind `pub`.
pub(crate) fn keyword(text: &str, item: &Item) -> Span {
    let whole = &text[item.span.range()];
    let rest = if item.is_pub { whole["pub".len()..].trim_start() } else { whole };
    let start = item.span.start as usize + whole.len() - rest.len();
    let len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    Span::new(item.span.source, start, start + len)
}

/// Returns the place of an argument of a call with the comma that it needs, to delete it.
pub(crate) fn argument(arguments: &[Argument], at: usize) -> Span {
    let start = |argument: &Argument| {
        argument.name.as_ref().map_or(argument.value.span.start, |name| name.span.start)
    };
    let value = arguments[at].value.span;
    match (at.checked_sub(1), arguments.get(at + 1)) {
        (Some(before), _) => Span { start: arguments[before].value.span.end, ..value },
        (None, Some(next)) => Span { start: start(&arguments[at]), end: start(next), ..value },
        (None, None) => Span { start: start(&arguments[at]), ..value },
    }
}
