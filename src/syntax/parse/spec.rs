//! Parses specs: at once where they fit the grammar, else by head and clauses. Knows the shape of a
//! spec; does not know which params, facts and stages there are.

use std::ops::Range;

use super::build::{Builder, is_keyword};
use super::explain::PartKind;
use super::item::ItemParser;
use super::{Pair, Rule, run};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{Name, Spec, SpecClause, SpecClauseKind};
use crate::syntax::outline::{ItemOutline, Unbalanced};

impl Builder<'_> {
    /// Builds from `spec_item`; `None` if its title was reported.
    pub(super) fn spec(&mut self, pair: Pair<'_, Rule>) -> Option<Spec> {
        let mut parts = pair.into_inner();
        let title = self.spec_head(parts.next().expect("a spec has a head"));
        let body = parts.next().expect("a spec has a body");
        let span = self.span(&body);
        let clauses = body.into_inner().map(|clause| self.spec_clause(clause)).collect();
        title.map(|title| Spec { title, clauses, body: span })
    }

    /// Returns the title in `spec_head`; `None` if it was reported.
    fn spec_head(&mut self, pair: Pair<'_, Rule>) -> Option<Name> {
        let title = pair.into_inner().find(|part| part.as_rule() == Rule::string);
        title.and_then(|title| self.plain_string(title))
    }

    /// Builds from `spec_clause`.
    fn spec_clause(&mut self, pair: Pair<'_, Rule>) -> SpecClause {
        let span = self.span(&pair);
        let inner = pair.into_inner().next().expect("a clause is one of its kinds");
        let rule = inner.as_rule();
        let mut parts = inner.into_inner().filter(|part| !is_keyword(part.as_rule()));
        let first = parts.next().expect("a clause says what it is about");
        let value = parts.next().expect("a clause has a value");
        let kind = match rule {
            Rule::given_clause => SpecClauseKind::Given {
                what: self.expression(first),
                value: self.expression(value),
            },
            Rule::takes_clause => SpecClauseKind::Takes {
                step: self.expression(first),
                inputs: self.expression(value),
            },
            _ => SpecClauseKind::Field { name: self.name(&first), value: self.expression(value) },
        };
        SpecClause { span, kind }
    }
}

impl<'a> ItemParser<'a> {
    /// Parses the head of a spec and its clauses one by one, and reports what does not fit. `None` if
    /// the item has no body or its head is broken.
    pub(super) fn spec_by_parts(&mut self, item: &mut ItemOutline) -> Option<Spec> {
        let Some(body) = item.body else {
            let bracket = item.bracket.take();
            self.explain(item.tokens.clone(), Rule::item, PartKind::Item, bracket);
            return None;
        };
        let reported = self.parsed.found.len();
        let mut bracket = item.bracket.take();
        let head = item.tokens.start..self.last_before(body) + 1;
        let title = self.alone(&head, Rule::spec_head_alone, PartKind::Item, &mut bracket);
        let title = title.and_then(|(offset, pairs)| {
            let head = pairs.into_iter().find(|part| part.as_rule() == Rule::spec_head)?;
            let mut builder = self.builder(offset);
            let title = builder.spec_head(head);
            self.take(builder);
            title
        });
        let mut clauses = Vec::new();
        for clause in &item.clauses {
            if let Some(finding) = self.clause_of_stage(clause) {
                self.parsed.found.push(finding);
                continue;
            }
            let parsed =
                self.alone(clause, Rule::spec_clause_alone, PartKind::Clause, &mut bracket);
            let Some((offset, pairs)) = parsed else { continue };
            let mut builder = self.builder(offset);
            let pair = pairs.into_iter().next().expect("a clause alone is a clause");
            clauses.push(builder.spec_clause(pair));
            self.take(builder);
        }
        let end = item.body_end.map_or(item.tokens.end, |end| end + 1);
        let body: Span = self.span(&(body..end));
        self.after_body(item, end, bracket);
        let is_silent = self.parsed.found.len() == reported && !self.is_reported(&item.tokens);
        if is_silent {
            self.explain(item.tokens.clone(), Rule::item, PartKind::Item, None);
        }
        title.map(|title| Spec { title, clauses, body })
    }

    /// Returns the finding for a clause that only stages have.
    fn clause_of_stage(&self, tokens: &Range<usize>) -> Option<Diagnostic> {
        let words = self.head(tokens);
        let [first, second, ..] = words[..] else { return None };
        let word = self.word(first);
        let is_one = ["env", "in", "out", "run", "secret", "service"].contains(&word);
        if !is_one || self.word(second) == "=" {
            return None;
        }
        let message =
            format!("`{word}` is a clause of stages: a spec runs nothing and has nothing");
        let finding = Diagnostic::error(Code::SYNTAX, self.span(&(first..first + 1)), message);
        Some(finding.help("say what is given, and what becomes of stages: runs = [name]"))
    }

    /// Returns what a rule finds in a part alone, and where the part begins; reports what does not fit.
    fn alone(
        &mut self,
        tokens: &Range<usize>,
        rule: Rule,
        kind: PartKind,
        bracket: &mut Option<Unbalanced>,
    ) -> Option<(usize, Vec<Pair<'a, Rule>>)> {
        let here = self.take_within(tokens, bracket);
        let (offset, text) = self.slice(tokens);
        let found = run(rule, text).and_then(|mut pairs| pairs.next());
        let Some(found) = found else {
            self.explain(tokens.clone(), rule, kind, here);
            return None;
        };
        self.parsed.found.extend(here.map(|here| here.diagnostic));
        Some((offset, found.into_inner().collect()))
    }
}
