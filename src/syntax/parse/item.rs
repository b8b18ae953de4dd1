//! Parses a file item by item, and an item with a mistake part by part, so that each mistake is found
//! and none is told twice. Knows which finding hides which; does not know what the grammar matched.

use std::ops::Range;

use super::build::Builder;
use super::explain::{Part, PartKind};
use super::{File, Limit, Rule, failure, habits, run};
use crate::diagnostic::{Code, Diagnostic, Edit, Search};
use crate::source::Span;
use crate::syntax::ast::{DataFile, Item, ItemKind, Name, Stage};
use crate::syntax::outline::{ITEM_WORDS, ItemOutline, Outline, Unbalanced, findings_in};
use crate::syntax::scan::TokenKind;

/// Items of later versions, and what to call them.
const LATER_ITEMS: [(&str, &str); 3] = [
    ("bake", "`bake` stages are"),
    ("deploy", "`deploy` stages are"),
    ("publish", "`publish` stages are"),
];

/// The items whose bodies are parsed clause by clause if something does not fit.
const STAGES: [&str; 3] = ["build", "test", "service"];

/// The languages of scripts.
const LANGUAGES: [&str; 4] = ["sh", "bash", "python", "node"];

/// What other tools call them.
const OTHER_NAMES: [(&str, &str); 8] = [
    ("shell", "sh"),
    ("dash", "sh"),
    ("zsh", "bash"),
    ("py", "python"),
    ("python3", "python"),
    ("js", "node"),
    ("javascript", "node"),
    ("nodejs", "node"),
];

/// What a file holds.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) items: Vec<Item>,
    /// The data files that its expressions name.
    pub(super) data: Vec<DataFile>,
    pub(super) found: Vec<Diagnostic>,
}

/// Returns the items of a file and all findings. `reported` are those about its tokens, by place.
pub(super) fn items(file: File<'_>, outline: Outline, reported: Vec<Diagnostic>) -> Parsed {
    let mut parser = ItemParser {
        file,
        reported,
        skipped: Vec::new(),
        parsed: Parsed::default(),
        search: Search::default(),
    };
    for (at, item) in outline.items.into_iter().enumerate() {
        if at > 0 || !parser.version(&item) {
            parser.item(item);
        }
    }
    let ItemParser { reported, skipped, mut parsed, .. } = parser;
    let is_skipped = |place: Span| {
        let at = skipped.partition_point(|item| item.end < place.start);
        skipped.get(at).is_some_and(|item| covers(*item, place))
    };
    parsed.found.extend(reported.into_iter().filter(|finding| !is_skipped(finding.span)));
    parsed
}

pub(super) struct ItemParser<'a> {
    pub(super) file: File<'a>,
    /// Findings about tokens, by place.
    reported: Vec<Diagnostic>,
    /// Items of which one finding says all, by place.
    pub(super) skipped: Vec<Span>,
    pub(super) parsed: Parsed,
    /// What has been searched for cures.
    pub(super) search: Search,
}

impl<'a> ItemParser<'a> {
    pub(super) fn word(&self, at: usize) -> &'a str {
        self.file.tokens[at].text(self.file.text)
    }

    pub(super) fn kind(&self, at: usize) -> TokenKind {
        self.file.tokens[at].kind
    }

    pub(super) fn span(&self, tokens: &Range<usize>) -> Span {
        let tokens = &self.file.tokens[tokens.clone()];
        let (start, end) = (tokens.first().map(|it| it.start), tokens.last().map(|it| it.end));
        Span::new(self.file.source, start.unwrap_or(0) as usize, end.unwrap_or(0) as usize)
    }

    /// The first tokens of a part that mean something.
    pub(super) fn head(&self, tokens: &Range<usize>) -> Vec<usize> {
        tokens.clone().filter(|&at| !self.file.tokens[at].is_trivia()).take(6).collect()
    }

    /// Reads `kiln 1`. Returns whether the item is a line of that kind.
    fn version(&mut self, item: &ItemOutline) -> bool {
        let words = self.head(&item.tokens);
        let [kiln, number] = words[..] else { return false };
        if self.word(kiln) != "kiln" {
            return false;
        }
        let found = self.word(number);
        if found != "1" {
            let span = self.span(&(number..number + 1));
            let message = format!("this Kiln knows version `1` of the language, not `{found}`");
            let finding = Diagnostic::error(Code::LANGUAGE_VERSION, span, message)
                .help("write `kiln 1`, or run the file with a newer Kiln")
                .edit(span, "1");
            self.parsed.found.push(finding);
        }
        true
    }

    fn item(&mut self, mut item: ItemOutline) {
        let words = self.head(&item.tokens);
        let is_pub = words.first().is_some_and(|&at| self.word(at) == "pub");
        let words = &words[usize::from(is_pub)..];
        let name = words.get(1).filter(|&&at| self.kind(at) == TokenKind::Word);
        let name =
            name.map(|&at| Name { text: self.word(at).into(), span: self.span(&(at..at + 1)) });
        if let Some(mut finding) = self.not_here(words) {
            if words.first().is_some_and(|&at| self.word(at) == "stages") && finding.edit.is_none()
            {
                finding = self.without_stages(finding, &item);
            }
            self.skipped.push(self.span(&item.tokens));
            self.parsed.found.push(finding);
            return self.push(&item, is_pub, ItemKind::Broken(name));
        }
        let reported = self.reported_in(&item.tokens);
        item.drop_follow_up(self.file.tokens, reported);
        if reported.iter().any(|finding| finding.code == Code::NESTED_TOO_DEEPLY) {
            return self.push(&item, is_pub, ItemKind::Broken(name));
        }
        if item.bracket.is_none()
            && let Some(kind) = self.whole(&item)
        {
            return self.push(&item, is_pub, kind);
        }
        let first = words.first().map_or("", |&at| self.word(at));
        let is_stage = STAGES.contains(&first);
        let by_parts = match first {
            "spec" => Some(self.spec_by_parts(&mut item).map(ItemKind::Spec)),
            _ if is_stage => self.stage_by_parts(&mut item).map(|stage| stage.map(ItemKind::Stage)),
            _ => None,
        };
        let kind = match by_parts {
            Some(kind) => kind,
            None => {
                let kind = if is_stage { PartKind::StageHead } else { PartKind::Item };
                self.explain(item.tokens.clone(), Rule::item, kind, item.bracket.take());
                None
            }
        };
        self.push(&item, is_pub, kind.unwrap_or(ItemKind::Broken(name)));
    }

    fn push(&mut self, item: &ItemOutline, is_pub: bool, kind: ItemKind) {
        if is_pub && let ItemKind::Spec(_) = &kind {
            let span = self.span(&(item.tokens.start..item.tokens.start + 1));
            let message = "nothing can use a spec, so `pub` says nothing";
            let whole = Span { end: span.end + 1, ..span };
            let finding = Diagnostic::error(Code::SYNTAX, span, message).help("delete `pub`");
            self.parsed.found.push(finding.edit(whole, ""));
        }
        let lines = item.docs.iter().map(|&at| {
            let line = &self.word(at)[2..];
            line.strip_prefix(' ').unwrap_or(line).trim_end()
        });
        let doc = lines.collect::<Vec<_>>().join("\n");
        let doc = (!doc.is_empty()).then_some(doc);
        self.parsed.items.push(Item { doc, is_pub, span: self.span(&item.tokens), kind });
    }

    /// Returns the finding for an item that is none of this version, if it is one.
    fn not_here(&self, words: &[usize]) -> Option<Diagnostic> {
        let &first = words.first()?;
        let word = self.word(first);
        let span = self.span(&(first..first + 1));
        let next = words.get(1).map(|&at| (self.kind(at), self.word(at)));
        let is_headed = matches!(next, Some((TokenKind::Word | TokenKind::String, _)));
        if let Some((_, named)) = LATER_ITEMS.iter().find(|(later, _)| *later == word && is_headed)
        {
            return Some(later(span, named));
        }
        if ITEM_WORDS.contains(&word) {
            return None;
        }
        if self.kind(first) != TokenKind::Word {
            return None;
        }
        if is_headed && let Some(finding) = habits::item_kind(word, span) {
            return Some(finding);
        }
        Some(self.unknown_item(word, span, next))
    }

    fn unknown_item(&self, word: &str, span: Span, next: Option<(TokenKind, &str)>) -> Diagnostic {
        match next {
            Some((TokenKind::Punctuation, "=" | "==")) => {
                let message = format!("`{word}` is set outside a stage: a value begins with `let`");
                let at = Span { end: span.start, ..span };
                return Diagnostic::error(Code::SYNTAX, span, message)
                    .help(format!("write `let {word} = …`"))
                    .edit(at, "let ");
            }
            Some((TokenKind::Punctuation, ":")) => {
                let message = format!("`{word}:` is no item; a file is not a list of keys");
                return Diagnostic::error(Code::FOREIGN_HABIT, span, message)
                    .help("write a stage: `build name {`, then its clauses, then `}`");
            }
            _ => {}
        }
        if let Some(near) = nearest(word, &ITEM_WORDS) {
            return Diagnostic::error(Code::UNKNOWN_KIND, span, format!("`{word}` begins no item"))
                .help(format!("write `{near}`"))
                .edit(span, near);
        }
        let message = format!("expected an item, found `{word}`");
        Diagnostic::error(Code::SYNTAX, span, message)
            .help("begin it with `use`, `param`, `let`, `fn`, `build` or `test`")
    }

    pub(super) fn slice(&self, tokens: &Range<usize>) -> (usize, &'a str) {
        let range = self.span(tokens).range();
        (range.start, &self.file.blanked[range])
    }

    /// Takes over what was found while something was built.
    pub(super) fn take(&mut self, mut builder: Builder<'_>) {
        self.parsed.found.append(&mut builder.diagnostics);
        self.parsed.data.append(&mut builder.data);
    }

    pub(super) fn builder(&self, offset: usize) -> Builder<'a> {
        Builder::new(self.file.source, self.file.text, offset)
    }

    /// Parses an item at once; `None` if it has a mistake.
    fn whole(&mut self, item: &ItemOutline) -> Option<ItemKind> {
        let (offset, text) = self.slice(&item.tokens);
        let pair = run(Rule::item, text)?.next()?;
        let mut builder = self.builder(offset);
        let kind = builder.item(pair);
        for finding in &mut builder.diagnostics {
            self.say_in_pipe(finding, &item.clauses);
        }
        self.take(builder);
        Some(kind)
    }

    /// Parses the head of a stage and its clauses one by one, and reports what does not fit. `None` if the
    /// stage has no body; `Some(None)` if its head is broken.
    fn stage_by_parts(&mut self, item: &mut ItemOutline) -> Option<Option<Stage>> {
        let body = item.body?;
        let reported = self.parsed.found.len();
        let head = item.tokens.start..self.last_before(body) + 1;
        let mut bracket = item.bracket.take();
        let mut stage = self.stage_head(head, &mut bracket);
        let mut list_of = None;
        for (at, clause) in item.clauses.iter().enumerate() {
            if list_of.is_some_and(|column| self.column(clause.start) > column) {
                continue;
            }
            list_of = self.opens_list(clause).then(|| self.column(clause.start));
            let known = self.parsed.found.len();
            let below = &item.clauses[at + 1..];
            let list =
                below.iter().take_while(|it| list_of.is_some_and(|of| self.column(it.start) > of));
            let list = self.list_in_pipe(clause, &below[..list.count()]);
            let clause = self.clause(clause, &mut bracket);
            if let Some(edit) = list {
                self.say_list(known, edit, below[0].start);
            }
            if let Some(stage) = &mut stage {
                stage.clauses.extend(clause);
            }
        }
        let end = item.body_end.map_or(item.tokens.end, |end| end + 1);
        if let Some(stage) = &mut stage {
            stage.body = self.span(&(body..end));
        }
        self.after_body(item, end, bracket);
        let is_silent = self.parsed.found.len() == reported && !self.is_reported(&item.tokens);
        if is_silent {
            self.explain(item.tokens.clone(), Rule::item, PartKind::StageHead, None);
        }
        Some(stage)
    }

    /// Claims that a clause is `key:` alone, and the lines below it its list.
    fn opens_list(&self, clause: &Range<usize>) -> bool {
        matches!(self.head(clause)[..], [_, colon] if self.word(colon) == ":")
    }

    pub(super) fn column(&self, at: usize) -> usize {
        let start = self.file.tokens[at].start as usize;
        let before = &self.file.text[..start];
        start - before.rfind('\n').map_or(0, |newline| newline + 1)
    }

    pub(super) fn last_before(&self, at: usize) -> usize {
        (0..at).rev().find(|&at| !self.file.tokens[at].is_trivia()).unwrap_or(0)
    }

    fn stage_head(
        &mut self,
        head: Range<usize>,
        bracket: &mut Option<Unbalanced>,
    ) -> Option<Stage> {
        let (offset, text) = self.slice(&head);
        let pair = run(Rule::head_alone, text).and_then(|mut pairs| {
            let mut parts = pairs.next()?.into_inner();
            parts.find(|part| part.as_rule() == Rule::stage_head)
        });
        let Some(pair) = pair else {
            let here = self.take_within(&head, bracket);
            self.explain(head, Rule::head_alone, PartKind::StageHead, here);
            return None;
        };
        let mut builder = self.builder(offset);
        let stage = builder.stage_head(pair);
        self.take(builder);
        Some(stage)
    }

    /// Parses one clause, or reports it.
    fn clause(
        &mut self,
        tokens: &Range<usize>,
        bracket: &mut Option<Unbalanced>,
    ) -> Option<crate::syntax::ast::Clause> {
        let here = self.take_within(tokens, bracket);
        if here.is_none() && self.foreign_clause(tokens) {
            return None;
        }
        let (offset, text) = self.slice(tokens);
        let pair =
            run(Rule::clause_alone, text).and_then(|mut pairs| pairs.next()?.into_inner().next());
        let Some(pair) = pair else {
            self.explain(tokens.clone(), Rule::clause_alone, PartKind::Clause, here);
            return None;
        };
        self.parsed.found.extend(here.map(|here| here.diagnostic));
        let mut builder = self.builder(offset);
        let clause = builder.clause(pair);
        self.take(builder);
        clause
    }

    /// Reports a clause that is none of this version, or that is misspelt.
    fn foreign_clause(&mut self, tokens: &Range<usize>) -> bool {
        let words = self.head(tokens);
        let [first, second, ..] = words[..] else { return false };
        if self.kind(first) != TokenKind::Word || self.is_reported(&(first..second + 1)) {
            return false;
        }
        let mut finding = self.foreign_word(first, second);
        if let Some(finding) = &mut finding {
            self.say_in_pipe(finding, std::slice::from_ref(tokens));
        }
        let is_found = finding.is_some();
        self.parsed.found.extend(finding);
        is_found
    }

    fn foreign_word(&self, first: usize, second: usize) -> Option<Diagnostic> {
        let (word, next) = (self.word(first), self.word(second));
        let span = self.span(&(first..first + 1));
        let next_is_word = self.kind(second) == TokenKind::Word;
        let next_is_value =
            next_is_word || matches!(self.kind(second), TokenKind::String | TokenKind::Open);
        match word {
            _ if matches!(next, "=" | ":" | "==") => habits::key(word, span),
            "when" if next_is_value => {
                let message = "`when` begins no clause: it stands in the head of a stage";
                Some(
                    Diagnostic::error(Code::SYNTAX, span, message).help(
                        "move it before the `{`: build name when host.git.branch == \"main\" {",
                    ),
                )
            }
            "run" if next_is_word => self.language(second),
            _ if LANGUAGES.contains(&word) && self.kind(second) == TokenKind::String => {
                let message = format!("`{word}` begins no clause: a script stands behind `run`");
                let at = Span { end: span.start, ..span };
                let finding = Diagnostic::error(Code::SYNTAX, span, message);
                Some(finding.help(format!("write: run {word} \"…\"")).edit(at, "run "))
            }
            "in" | "out" | "env" | "run" | "secret" | "service" => None,
            "if" | "for" => {
                let message =
                    format!("`{word}` begins no clause: a stage has no branches or loops");
                let finding = Diagnostic::error(Code::FOREIGN_HABIT, span, message);
                Some(
                    finding
                        .help("choose inside a value, as in `timeout = if slow then 9m else 1m`"),
                )
            }
            _ if next_is_word && ITEM_WORDS.contains(&word) => {
                let message = format!("`{word}` begins an item, and items stand outside of stages");
                let finding = Diagnostic::error(Code::SYNTAX, span, message);
                Some(finding.help("close the stage with `}` on the line before"))
            }
            _ if next_is_value => {
                let near = nearest(word, &["in", "out", "env", "run"])?;
                let finding = Diagnostic::error(
                    Code::UNKNOWN_KIND,
                    span,
                    format!("`{word}` begins no clause"),
                );
                Some(finding.help(format!("write `{near}`")).edit(span, near))
            }
            _ => None,
        }
    }

    fn language(&self, at: usize) -> Option<Diagnostic> {
        let word = self.word(at);
        let span = self.span(&(at..at + 1));
        if LANGUAGES.contains(&word) {
            return None;
        }
        let follows =
            (at + 1..self.file.tokens.len()).find(|&at| !self.file.tokens[at].is_trivia());
        if follows.is_none_or(|at| self.kind(at) != TokenKind::String) {
            return None;
        }
        let other = OTHER_NAMES.iter().find(|(name, _)| *name == word).map(|(_, own)| *own);
        let near = other.or_else(|| nearest(word, &LANGUAGES)).unwrap_or("sh");
        let message = format!(
            "`{word}` is no language of scripts; there are `sh`, `bash`, `python` and `node`"
        );
        let finding = Diagnostic::error(Code::UNKNOWN_KIND, span, message);
        Some(finding.help(format!("write `run {near}`")).edit(span, near))
    }

    /// Reports what stands behind the closing brace of a stage, and the bracket that is still untold.
    pub(super) fn after_body(
        &mut self,
        item: &ItemOutline,
        end: usize,
        bracket: Option<Unbalanced>,
    ) {
        let rest = (end..item.tokens.end).find(|&at| !self.file.tokens[at].is_trivia());
        let Some(rest) = rest.filter(|_| item.body_end.is_some()) else {
            self.parsed.found.extend(bracket.map(|bracket| bracket.diagnostic));
            return;
        };
        if self.is_reported(&(rest..item.tokens.end)) {
            return;
        }
        let close = self.span(&(end - 1..end));
        let found = self.word(rest);
        let bracket = match bracket {
            Some(bracket) if bracket.diagnostic.span.start == self.file.tokens[rest].start => {
                self.parsed.found.push(bracket.diagnostic.also(close, "the stage ended here"));
                return;
            }
            bracket => bracket,
        };
        let message = format!("expected the end of the stage after `}}`, found `{found}`");
        let mut finding = Diagnostic::error(Code::SYNTAX, self.span(&(rest..rest + 1)), message)
            .also(close, "this brace ends the stage")
            .help("move the `}` below the last clause of the stage");
        if let Some(bracket) = bracket {
            finding = Diagnostic { code: Code::UNBALANCED_BRACKET, ..finding };
            finding = finding.also(bracket.diagnostic.span, "so this one closes nothing");
        }
        self.parsed.found.push(finding);
    }

    /// Takes the unbalanced bracket if it stands in `tokens`, or ends them.
    pub(super) fn take_within(
        &self,
        tokens: &Range<usize>,
        bracket: &mut Option<Unbalanced>,
    ) -> Option<Unbalanced> {
        let span = self.span(tokens);
        bracket.take_if(|bracket| {
            let open = bracket.diagnostic.labels.first().filter(|_| !bracket.is_stray);
            covers(span, open.map_or(bracket.diagnostic.span, |open| open.span))
        })
    }

    /// Claims that a finding about tokens lies in a part.
    pub(super) fn is_reported(&self, tokens: &Range<usize>) -> bool {
        !self.reported_in(tokens).is_empty()
    }

    /// The findings about tokens in a part.
    fn reported_in(&self, tokens: &Range<usize>) -> &[Diagnostic] {
        let span = self.span(tokens);
        findings_in(&self.reported, span.start..span.end)
    }

    /// Claims that a part fits its rule with a change.
    fn is_mended(&self, edit: &Edit, part: Span, rule: Rule) -> bool {
        let text = &self.file.blanked[part.range()];
        if edit.span.start < part.start || edit.span.end > part.end {
            return false;
        }
        let (start, end) = (edit.span.start - part.start, edit.span.end - part.start);
        let text = [&text[..start as usize], &edit.text, &text[end as usize..]].concat();
        run(rule, &text).is_some()
    }

    /// Reports why a part does not fit its rule, unless its tokens say it already. An unbalanced bracket
    /// is told where the grammar got stuck, if that is before the place that the scanner saw.
    pub(super) fn explain(
        &mut self,
        tokens: Range<usize>,
        rule: Rule,
        kind: PartKind,
        bracket: Option<Unbalanced>,
    ) {
        if self.is_reported(&tokens) {
            self.parsed.found.extend(bracket.map(|bracket| bracket.diagnostic));
            return;
        }
        let (offset, text) = self.slice(&tokens);
        let mut failure = failure(rule, text);
        failure.at += offset;
        let span = self.span(&tokens);
        if let Some(limit) = &failure.limit {
            self.parsed.found.push(over_limit(limit, Span { end: span.start + 1, ..span }));
            return;
        }
        let File { source, text, tokens: all, .. } = self.file;
        let part = Part { source, text, tokens: all, range: tokens, kind };
        let mut finding = part.explain(&failure);
        if finding.edit.is_none() {
            let mending = part.mending(&failure, &finding);
            finding.edit = mending.filter(|edit| self.is_mended(edit, span, rule));
        }
        self.parsed.found.push(match bracket {
            None => finding,
            Some(bracket) if finding.span.start < bracket.diagnostic.span.start => {
                let (at, text) = match bracket.diagnostic.labels.first() {
                    Some(open) if !bracket.is_stray => (open.span, "this bracket is not closed"),
                    _ => (bracket.diagnostic.span, "so this bracket closes nothing"),
                };
                finding.also(at, text)
            }
            Some(bracket) => bracket.diagnostic,
        });
    }
}

fn later(span: Span, named: &str) -> Diagnostic {
    let message = format!("{named} not in this version of Kiln");
    Diagnostic::error(Code::NOT_IN_THIS_VERSION, span, message)
        .help("remove it, or run the file with a newer Kiln")
}

fn over_limit(limit: &Limit, span: Span) -> Diagnostic {
    match limit {
        Limit::Calls => {
            Diagnostic::error(Code::OVER_BUDGET, span, "this part takes too long to parse")
                .help("split it: give its parts names with `let`")
        }
        Limit::Stack => Diagnostic::error(
            Code::NESTED_TOO_DEEPLY,
            span,
            "the parts of this one stand in one another too deeply",
        )
        .help("give an inner part a name with `let`, and use the name here"),
    }
}

fn covers(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.start <= outer.end
}

/// The word among `known` that `word` is likely a misspelling of.
fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let most = if word.len() < 4 { 1 } else { 2 };
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(word, known), *known));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}
