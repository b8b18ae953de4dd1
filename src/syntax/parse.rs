//! Parses the text of a `.pipe` file into its tree, with all that is wrong with it. Knows the grammar;
//! does not know what a name means. pest stays inside this module.

use std::num::NonZeroUsize;
use std::sync::{PoisonError, RwLock};

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};
use crate::syntax::ast;
use crate::syntax::outline::{self, ItemOutline};
use crate::syntax::scan::{self, Patch, Token};

mod build;
mod express;
mod literal;

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
    let lexed = scan::lex(source, text);
    let outline = outline::outline(source, text, &lexed.tokens);
    let blanked = blank(text, &lexed.tokens, &lexed.patches, &outline.free_newlines);
    let mut parser = ItemParser {
        source,
        text,
        blanked: &blanked,
        tokens: &lexed.tokens,
        module: ast::Module { source, items: Vec::new() },
        diagnostics: lexed.diagnostics,
    };
    for (at, item) in outline.items.into_iter().enumerate() {
        if at > 0 || !parser.version(&item) {
            parser.item(item);
        }
    }
    let mut diagnostics = parser.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    (parser.module, diagnostics)
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

struct ItemParser<'a> {
    source: SourceId,
    text: &'a str,
    blanked: &'a str,
    tokens: &'a [Token],
    module: ast::Module,
    diagnostics: Vec<Diagnostic>,
}

impl ItemParser<'_> {
    /// Reads `kiln 1`. Returns whether the item is a line of that kind.
    fn version(&mut self, item: &ItemOutline) -> bool {
        let mut words = self.tokens[item.tokens.clone()].iter().filter(|token| !token.is_trivia());
        if words.next().is_none_or(|token| token.text(self.text) != "kiln") {
            return false;
        }
        let Some(number) = words.next() else { return false };
        let found = number.text(self.text);
        if words.next().is_some() {
            return false;
        }
        if found != "1" {
            let span = Span::new(self.source, number.start as usize, number.end as usize);
            let message = format!("this Kiln knows version `1` of the language, not `{found}`");
            let finding = Diagnostic::error(Code::LANGUAGE_VERSION, span, message)
                .help("write `kiln 1`, or run the file with a newer Kiln")
                .edit(span, "1");
            self.diagnostics.push(finding);
        }
        true
    }

    fn item(&mut self, item: ItemOutline) {
        let first = self.tokens[item.tokens.start];
        let last = self.tokens[item.tokens.end - 1];
        let (start, end) = (first.start as usize, last.end as usize);
        match run(Rule::item, &self.blanked[start..end]) {
            Ok(mut pairs) => {
                let pair = pairs.next().expect("the rule has a pair");
                let doc = self.doc(&item);
                let mut builder = build::Builder::new(self.source, self.text, start);
                let built = builder.item(pair, doc);
                self.diagnostics.append(&mut builder.diagnostics);
                self.module.items.push(built);
            }
            Err(failure) => {
                let at = start + failure.at;
                let place = Span::at(self.source, at);
                self.diagnostics.push(Diagnostic::error(
                    Code::SYNTAX,
                    place,
                    "text does not fit the grammar",
                ));
            }
        }
    }

    fn doc(&self, item: &ItemOutline) -> Option<String> {
        let lines = item.docs.iter().map(|&at| {
            let line = &self.tokens[at].text(self.text)[2..];
            line.strip_prefix(' ').unwrap_or(line).trim_end()
        });
        let doc = lines.collect::<Vec<_>>().join("\n");
        (!doc.is_empty()).then_some(doc)
    }
}

/// Why a text does not fit a rule.
struct Failure {
    /// The furthest byte that was reached.
    at: usize,
}

/// The limit on calls that pest has now. It is of the whole process, so parsing holds the lock for
/// reading, and only who needs a higher limit takes it for writing.
static CALL_LIMIT: RwLock<usize> = RwLock::new(0);

/// Parses `text` by one rule.
fn run(rule: Rule, text: &str) -> Result<Pairs<'_, Rule>, Box<Failure>> {
    let calls = MIN_CALLS.max(CALLS_PER_BYTE * text.len());
    let mut guard = CALL_LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    if *guard < calls {
        drop(guard);
        let mut limit = CALL_LIMIT.write().unwrap_or_else(PoisonError::into_inner);
        *limit = calls.max(*limit);
        pest::set_call_limit(NonZeroUsize::new(*limit));
        drop(limit);
        guard = CALL_LIMIT.read().unwrap_or_else(PoisonError::into_inner);
    }
    let result = Grammar::parse(rule, text);
    drop(guard);
    result.map_err(|error| {
        let at = match error.location {
            pest::error::InputLocation::Pos(at) => at,
            pest::error::InputLocation::Span((at, _)) => at,
        };
        Box::new(Failure { at })
    })
}

#[cfg(test)]
mod tests;
