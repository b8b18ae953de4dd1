//! Finds where items and clauses begin and which brackets have no partner, from brackets, keywords at
//! the start of a line and indentation. Knows tokens; does not know what stands inside a clause.

use std::ops::Range;

use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceId, Span};
use crate::syntax::scan::{MAX_NESTING, Token, TokenKind, is_word_byte, partner};

/// The words that begin an item, those of later versions included.
pub(crate) const ITEM_WORDS: [&str; 12] = [
    "use", "param", "let", "fn", "build", "test", "secret", "service", "bake", "deploy", "publish",
    "spec",
];

/// The items whose braces hold clauses.
const STAGE_WORDS: [&str; 7] = ["build", "test", "bake", "deploy", "publish", "service", "spec"];

/// The items of a file and the newlines that separate nothing.
pub(crate) struct Outline {
    /// The items in their order; together they hold every token that means something.
    pub(crate) items: Vec<ItemOutline>,
    /// Newlines inside brackets or after an operator.
    pub(crate) free_newlines: Vec<Range<u32>>,
}

/// Where an item stands. Indexes are of the list of tokens.
pub(crate) struct ItemOutline {
    /// The first token and the one after the last.
    pub(crate) tokens: Range<usize>,
    /// The `##` comments right above.
    pub(crate) docs: Vec<usize>,
    /// The brace that opens the body of a stage.
    pub(crate) body: Option<usize>,
    /// The brace that closes it; `None` also where it is missing.
    pub(crate) body_end: Option<usize>,
    /// The clauses of the body.
    pub(crate) clauses: Vec<Range<usize>>,
    /// The first bracket without a partner.
    pub(crate) bracket: Option<Unbalanced>,
}

/// A bracket without a partner.
pub(crate) struct Unbalanced {
    /// What to say about it.
    pub(crate) diagnostic: Diagnostic,
    /// Whether it is a closing one, so that the mistake may stand anywhere before it.
    pub(crate) is_stray: bool,
}

/// Returns the outline of a file, in linear time. `tokens` are those of `text`.
pub(crate) fn outline(source: SourceId, text: &str, tokens: &[Token]) -> Outline {
    let mut outliner = Outliner {
        source,
        text,
        tokens,
        outline: Outline { items: Vec::new(), free_newlines: Vec::new() },
        item: None,
        docs: Vec::new(),
        open: Vec::new(),
        clause_column: None,
        before: None,
    };
    outliner.walk();
    outliner.finish_item();
    outliner.outline
}

struct Outliner<'a> {
    source: SourceId,
    text: &'a str,
    tokens: &'a [Token],
    outline: Outline,
    item: Option<ItemOutline>,
    /// Doc comments since the last token that means something.
    docs: Vec<usize>,
    /// The tokens of the open brackets of the item.
    open: Vec<usize>,
    /// The column at which the first clause of the body begins, if it begins a line.
    clause_column: Option<usize>,
    /// The last token that means something.
    before: Option<usize>,
}

impl ItemOutline {
    /// Forgets the unbalanced bracket if another finding in the item already tells of it: a string that
    /// swallowed the partner, or too deep a nesting. `reported` is ordered by place.
    pub(crate) fn drop_follow_up(&mut self, tokens: &[Token], reported: &[Diagnostic]) {
        let tells = |finding: &Diagnostic| {
            matches!(finding.code, Code::UNTERMINATED_STRING | Code::NESTED_TOO_DEEPLY)
        };
        let range = tokens[self.tokens.start].start..tokens[self.tokens.end - 1].end;
        if self.bracket.is_some() && findings_in(reported, range).iter().any(tells) {
            self.bracket = None;
        }
    }
}

/// Returns the findings that begin in a range of bytes; `reported` is ordered by place.
pub(crate) fn findings_in(reported: &[Diagnostic], range: Range<u32>) -> &[Diagnostic] {
    let first = reported.partition_point(|finding| finding.span.start < range.start);
    let end = reported.partition_point(|finding| finding.span.start < range.end);
    &reported[first..end]
}

impl Outliner<'_> {
    fn walk(&mut self) {
        let mut line_start = 0;
        let mut is_fresh = true;
        for (at, token) in self.tokens.iter().enumerate() {
            match token.kind {
                TokenKind::Newline => {
                    line_start = token.end as usize;
                    is_fresh = true;
                }
                TokenKind::DocComment if is_fresh => self.docs.push(at),
                _ if token.is_trivia() => {}
                _ => {
                    if is_fresh {
                        self.begin_line(at, token.start as usize - line_start);
                    }
                    is_fresh = false;
                    self.token(at);
                    self.docs.clear();
                    self.before = Some(at);
                }
            }
        }
    }

    fn token_text(&self, at: usize) -> &str {
        self.tokens[at].text(self.text)
    }

    fn span(&self, at: usize) -> Span {
        let token = self.tokens[at];
        Span::new(self.source, token.start as usize, token.end as usize)
    }

    /// The text from a token to the end of its line.
    fn line_from(&self, at: usize) -> &str {
        let rest = &self.text[self.tokens[at].start as usize..];
        &rest[..rest.find('\n').unwrap_or(rest.len())]
    }

    /// Decides what the first token of a line does to the lines before it.
    fn begin_line(&mut self, at: usize, column: usize) {
        if self.begins_item(at, column) {
            self.finish_item();
            self.begin_item(at);
            return;
        }
        let floor = usize::from(self.in_body());
        let clause_column = self.clause_column.unwrap_or(usize::MAX);
        let begins_clause = floor == 1 && looks_like_clause(self.line_from(at));
        if begins_clause && self.open.len() > 1 && column <= clause_column {
            self.report_unclosed(1, None);
            self.open.truncate(1);
        }
        if self.open.len() > floor || (!begins_clause && self.goes_on(at)) {
            self.free_newlines_before(at);
        } else if floor == 1 {
            self.end_clause();
            self.begin_clause(at);
            self.clause_column.get_or_insert(column);
        }
    }

    fn begins_item(&self, at: usize, column: usize) -> bool {
        let Some(item) = &self.item else { return true };
        let line = self.line_from(at);
        let is_word = self.tokens[at].kind == TokenKind::Word;
        match (self.open.is_empty(), column) {
            _ if !is_word => false,
            (true, 0) if self.goes_on(at) => looks_like_item(line),
            (true, 0) => true,
            (true, _) if !self.goes_on(at) && self.is_one_line(item) => true,
            (true, _) => {
                looks_like_item(line) && !matches!(self.token_text(at), "secret" | "service")
            }
            (false, 0) => begins_like_item(line),
            (false, _) => false,
        }
    }

    /// Claims that an item has no body in which more lines could stand.
    fn is_one_line(&self, item: &ItemOutline) -> bool {
        !is_stage(&self.tokens[item.tokens.clone()], self.text)
    }

    /// Claims that the line of token `at` goes on with the line before.
    fn goes_on(&self, at: usize) -> bool {
        let Some(before) = self.before.filter(|_| self.item.is_some()) else { return false };
        let word = self.token_text(at);
        if self.tokens[at].kind == TokenKind::Word && matches!(word, "then" | "else") {
            return true;
        }
        match self.tokens[before].kind {
            TokenKind::Punctuation => {
                !matches!(self.token_text(before), "?" | ">" | "," | "." | "?." | ":" | ";")
            }
            TokenKind::Word => matches!(self.token_text(before), "then" | "else" | "if"),
            _ => false,
        }
    }

    fn free_newlines_before(&mut self, at: usize) {
        let before = self.before.map_or(0, |before| before + 1);
        for token in &self.tokens[before..at] {
            if token.kind == TokenKind::Newline {
                self.outline.free_newlines.push(token.start..token.end);
            }
        }
    }

    fn begin_item(&mut self, at: usize) {
        self.clause_column = None;
        self.item = Some(ItemOutline {
            tokens: at..at,
            docs: std::mem::take(&mut self.docs),
            body: None,
            body_end: None,
            clauses: Vec::new(),
            bracket: None,
        });
    }

    fn finish_item(&mut self) {
        if !self.open.is_empty() {
            self.report_unclosed(0, None);
            self.open.clear();
        }
        self.outline.items.extend(self.item.take());
    }

    /// Claims that the body of a stage is open.
    fn in_body(&self) -> bool {
        let body = self.item.as_ref().and_then(|item| item.body);
        body.is_some() && self.open.first() == body.as_ref()
    }

    fn begin_clause(&mut self, at: usize) {
        if let Some(item) = &mut self.item {
            item.clauses.push(at..at);
        }
    }

    /// Drops a clause without tokens.
    fn end_clause(&mut self) {
        if let Some(item) = &mut self.item
            && item.clauses.last().is_some_and(|clause| clause.is_empty())
        {
            item.clauses.pop();
        }
    }

    fn token(&mut self, at: usize) {
        match self.tokens[at].kind {
            TokenKind::Open => self.open_bracket(at),
            TokenKind::Close => self.close_bracket(at),
            _ => {}
        }
        let in_body = self.in_body();
        let Some(item) = &mut self.item else { return };
        item.tokens.end = at + 1;
        if !in_body || item.body == Some(at) {
            return;
        }
        match item.clauses.last_mut() {
            Some(clause) => clause.end = at + 1,
            None => item.clauses.push(at..at + 1),
        }
    }

    fn open_bracket(&mut self, at: usize) {
        if self.open.is_empty()
            && self.token_text(at) == "{"
            && let Some(item) = &mut self.item
            && item.body.is_none()
            && is_stage(&self.tokens[item.tokens.start..at], self.text)
        {
            item.body = Some(at);
        }
        if self.open.len() <= MAX_NESTING {
            self.open.push(at);
        }
    }

    fn close_bracket(&mut self, at: usize) {
        let wanted = partner(self.text.as_bytes()[self.tokens[at].start as usize]);
        let matches =
            |&open: &usize| self.text.as_bytes()[self.tokens[open].start as usize] == wanted;
        let Some(found) = self.open.iter().rposition(matches) else {
            return self.report_stray(at);
        };
        if found + 1 < self.open.len() {
            if found == 0 && self.in_body() && !self.is_first_on_line(at) {
                return self.report_stray(at);
            }
            self.report_unclosed(found + 1, Some(at));
        }
        if found == 0 && self.in_body() {
            self.end_clause();
            if let Some(item) = &mut self.item {
                item.body_end = Some(at);
            }
        }
        self.open.truncate(found);
    }

    fn is_first_on_line(&self, at: usize) -> bool {
        let before = self.tokens[..at].iter().rev().find(|token| token.kind != TokenKind::Space);
        before.is_none_or(|token| token.kind == TokenKind::Newline)
    }

    fn report(&mut self, diagnostic: Diagnostic, is_stray: bool) {
        if let Some(item) = &mut self.item {
            item.bracket.get_or_insert(Unbalanced { diagnostic, is_stray });
        }
    }

    /// Reports the bracket `self.open[depth]`, found missing at the closing token `at` or, without one,
    /// after the last token.
    fn report_unclosed(&mut self, depth: usize, at: Option<usize>) {
        let open = self.open[depth];
        let bracket = self.token_text(open);
        let close = closing(bracket);
        let (place, label) = match at {
            Some(at) => (self.span(at), format!("found `{}` first", self.token_text(at))),
            None if self.is_doubtful(open) => (self.span(open), "opens here".into()),
            None => {
                let end = self.end_of_part(depth == 0 && self.in_body());
                (Span::at(self.source, end), format!("`{close}` is missing here or before"))
            }
        };
        let finding = Diagnostic::error(
            Code::UNBALANCED_BRACKET,
            place,
            format!("`{bracket}` is not closed: expected `{close}`"),
        )
        .label(label)
        .also(self.span(open), "opens here")
        .help(format!("write `{close}` where the part that this bracket opens ends"));
        self.report(finding, false);
    }

    /// Claims that a bracket was hardly meant: a `(` that stands apart from the value before it.
    fn is_doubtful(&self, open: usize) -> bool {
        let [.., value, gap] = &self.tokens[..open] else { return false };
        let is_value = match value.kind {
            TokenKind::Word => {
                let word = value.text(self.text);
                !["for", "in", "if", "then", "else", "run", "at"].contains(&word)
            }
            TokenKind::Close | TokenKind::String | TokenKind::Number => true,
            _ => false,
        };
        self.token_text(open) == "(" && gap.kind == TokenKind::Space && is_value
    }

    /// The end of the last token, or of a body the start of the line below, where its brace belongs.
    fn end_of_part(&self, is_body: bool) -> usize {
        let Some(before) = self.before else { return 0 };
        let end = self.tokens[before].end as usize;
        let mut after = self.tokens[before + 1..].iter();
        let newline = after.find(|token| token.kind == TokenKind::Newline).filter(|_| is_body);
        newline.map_or(end, |newline| newline.end as usize)
    }

    fn report_stray(&mut self, at: usize) {
        let bracket = self.token_text(at);
        let mut finding = Diagnostic::error(
            Code::UNBALANCED_BRACKET,
            self.span(at),
            format!("`{bracket}` closes nothing: no bracket that it fits is open"),
        )
        .help(format!("remove this `{bracket}`, or write the missing opening bracket before it"));
        if let Some(&open) = self.open.last() {
            finding = finding.also(self.span(open), "this bracket is open");
        }
        self.report(finding, true);
    }
}

fn closing(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

/// Claims that an item begins like one whose first brace opens a body.
fn is_stage(tokens: &[Token], text: &str) -> bool {
    let mut words = tokens.iter().filter(|token| !token.is_trivia()).map(|token| token.text(text));
    let first = words.next().filter(|&word| word != "pub").or_else(|| words.next());
    first.is_some_and(|word| !["use", "param", "let", "fn", "secret"].contains(&word))
}

/// Returns the word at the start of `line` and what follows it without blanks.
fn split_word(line: &str) -> (&str, &str) {
    let end = line.bytes().position(|byte| !is_word_byte(byte)).unwrap_or(line.len());
    (&line[..end], line[end..].trim_start_matches([' ', '\t']))
}

/// Claims that `line`, from its first column, can hardly be anything but the head of an item.
pub(crate) fn looks_like_item(line: &str) -> bool {
    let (mut keyword, mut rest) = split_word(line);
    if keyword == "pub" {
        (keyword, rest) = split_word(rest);
    }
    if !ITEM_WORDS.contains(&keyword) {
        return false;
    }
    let (name, after) = split_word(rest);
    match keyword {
        "use" => rest.starts_with('"') || (!name.is_empty() && after.starts_with('.')),
        "spec" => rest.starts_with('"'),
        _ if name.is_empty() || name.as_bytes()[0].is_ascii_digit() => false,
        "let" | "param" => after.starts_with([':', '=']),
        "fn" => after.starts_with('('),
        "secret" => after.trim_end().is_empty(),
        _ => {
            after.starts_with(['{', '(', '='])
                || matches!(split_word(after), ("for", rest) if rest.starts_with('('))
                || split_word(after).0 == "when"
        }
    }
}

/// Claims that `line` begins with the keyword of an item and what might be its name.
fn begins_like_item(line: &str) -> bool {
    let (mut keyword, mut rest) = split_word(line);
    if keyword == "pub" {
        (keyword, rest) = split_word(rest);
    }
    let (name, _) = split_word(rest);
    let is_named = !name.is_empty() && !["in", "if", "for", "then", "else", "at"].contains(&name);
    let is_head = is_named || STAGE_WORDS.contains(&keyword) && rest.starts_with('{');
    ITEM_WORDS.contains(&keyword) && (is_head || rest.starts_with('"'))
}

/// Claims that `line` can hardly be anything but the start of a clause.
fn looks_like_clause(line: &str) -> bool {
    let (word, rest) = split_word(line);
    let next_is_word = rest.bytes().next().is_some_and(is_word_byte);
    match word {
        "" => false,
        "in" => next_is_word || rest.starts_with(['[', '(']),
        "out" | "env" | "secret" | "service" | "given" | "takes" => next_is_word,
        "run" => next_is_word || rest.starts_with(['[', '"']),
        _ => rest.starts_with('=') && !rest.starts_with("=="),
    }
}
