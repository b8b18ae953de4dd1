//! Parses the text of a `.pipe` file into its tree, with all that is wrong with it. Knows the grammar;
//! does not know what a name means. pest stays inside this module.

use std::num::NonZeroUsize;
use std::sync::{PoisonError, RwLock};

use pest::Parser;
use pest::error::ErrorVariant;
use pest::iterators::{Pair, Pairs};

use crate::diagnostic::Diagnostic;
use crate::source::SourceId;
use crate::syntax::scan::{self, Patch, Token};
use crate::syntax::{ast, outline};

mod build;
mod explain;
mod express;
mod habits;
mod item;
mod keys;
mod literal;
mod spec;

/// The stack that the thread which parses needs: expressions stand in one another at most
/// [`MAX_HEIGHT`] deep, and the tree is built by recursion.
pub(crate) const PARSE_STACK_BYTES: usize = 16 << 20;

/// The most expressions that may stand in one another; each operator of a chain counts.
pub(crate) const MAX_HEIGHT: usize = 1_000;

/// The steps that pest may take for one item: at least this many, and more for a long one.
const MIN_CALLS: usize = 2_000_000;
const CALLS_PER_BYTE: usize = 50;

/// The grammar, compiled.
#[derive(pest_derive::Parser)]
#[grammar = "../grammar/pipe.pest"]
struct Grammar;

/// Returns the tree of `text` and all that is wrong with it, ordered by place. What could not be
/// parsed was reported and is missing in the tree, or stands there as `Broken`.
///
/// The thread must have a stack of [`PARSE_STACK_BYTES`].
pub(crate) fn parse(source: SourceId, text: &str) -> (ast::Module, Vec<Diagnostic>) {
    let mut lexed = scan::lex(source, text);
    let outline = outline::outline(source, text, &lexed.tokens);
    let mut habits = habits::habits(source, text, &lexed.tokens, &outline);
    lexed.patches.append(&mut habits.patches);
    let blanked = blank(text, &lexed.tokens, &lexed.patches, &outline.free_newlines);
    let mut reported = lexed.diagnostics;
    reported.append(&mut habits.findings);
    reported.sort_by_key(|diagnostic| diagnostic.span);
    let file = File { source, text, blanked: &blanked, tokens: &lexed.tokens };
    let item::Parsed { items, data, found: mut diagnostics } = item::items(file, outline, reported);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    (ast::Module { source, items, data }, diagnostics)
}

/// A text that has been cut into tokens and made ready for the grammar.
#[derive(Clone, Copy)]
struct File<'a> {
    source: SourceId,
    text: &'a str,
    /// What the grammar reads in place of `text`.
    blanked: &'a str,
    tokens: &'a [Token],
}

/// Returns the value of a text that is one literal without quotes: a number with or without its
/// unit, `true` or `false`.
pub(crate) fn literal(text: &str) -> Option<ast::ExprKind> {
    match text {
        "true" => Some(ast::ExprKind::Bool(true)),
        "false" => Some(ast::ExprKind::Bool(false)),
        number => literal::parse_number(number).ok(),
    }
}

/// Returns the text that the grammar reads, byte for byte as long as `text`.
fn blank(
    text: &str,
    tokens: &[Token],
    patches: &[Patch],
    free_newlines: &[std::ops::Range<u32>],
) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut fill = |start: u32, end: u32, with: &[u8]| {
        let range = &mut bytes[start as usize..end as usize];
        range.fill(b' ');
        range[..with.len()].copy_from_slice(with);
    };
    for token in tokens {
        if matches!(token.kind, scan::TokenKind::Comment | scan::TokenKind::DocComment) {
            fill(token.start, token.end, b"");
        }
    }
    for range in free_newlines {
        fill(range.start, range.end, b"");
    }
    for patch in patches {
        match *patch {
            Patch::Blank { start, end } => fill(start, end, b""),
            Patch::Text { start, end, text } => fill(start, end, text.as_bytes()),
            Patch::Broken { start, end } => fill(start, end, b"\x01"),
        }
    }
    String::from_utf8(bytes).expect("whole characters were replaced by ASCII")
}

/// Why a text does not fit a rule.
struct Failure {
    /// The furthest byte that was reached.
    at: usize,
    /// What was tried there: marks and keywords as they are written, and ranges such as `a..z`.
    expected: Vec<String>,
    /// Which limit stopped pest, if one did.
    limit: Option<Limit>,
}

/// A limit of pest's.
enum Limit {
    Calls,
    Stack,
}

/// The limit on calls that pest has now. It is of the whole process, so parsing holds the lock for
/// reading, and only who needs a higher limit takes it for writing.
static CALL_LIMIT: RwLock<usize> = RwLock::new(0);

/// Parses `text` by one rule.
fn run(rule: Rule, text: &str) -> Option<Pairs<'_, Rule>> {
    let calls = MIN_CALLS.max(CALLS_PER_BYTE * text.len());
    let mut limit = CALL_LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    if *limit < calls {
        drop(limit);
        raise_call_limit(calls);
        limit = CALL_LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    }
    let result = Grammar::parse(rule, text);
    drop(limit);
    result.ok()
}

/// The limit is captured when a parse begins, so it is never lowered under one that needs it.
fn raise_call_limit(calls: usize) {
    let mut limit = CALL_LIMIT.write().unwrap_or_else(PoisonError::into_inner);
    *limit = calls.max(*limit);
    pest::set_call_limit(NonZeroUsize::new(*limit));
}

/// Returns why `text` does not fit the rule: parses it once more, with pest taking notes. That too is a
/// setting of the whole process, so nothing else is parsed meanwhile.
fn failure(rule: Rule, text: &str) -> Failure {
    let limit = CALL_LIMIT.write().unwrap_or_else(PoisonError::into_inner);
    pest::set_error_detail(true);
    let result = Grammar::parse(rule, text);
    pest::set_error_detail(false);
    drop(limit);
    let error = result.err().map(Box::new);
    let attempts = error.as_ref().and_then(|error| error.parse_attempts());
    let expected = attempts.iter().flat_map(|attempts| attempts.expected_tokens());
    let limit = error.as_ref().and_then(|error| match &error.variant {
        ErrorVariant::CustomError { message } if message.starts_with("call") => Some(Limit::Calls),
        ErrorVariant::CustomError { .. } => Some(Limit::Stack),
        ErrorVariant::ParsingError { .. } => None,
    });
    let mut at = attempts.as_ref().map_or(0, |attempts| attempts.max_position).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    Failure { at, expected: expected.map(|token| token.to_string()).collect(), limit }
}

#[cfg(test)]
mod tests;
