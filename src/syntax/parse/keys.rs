//! What a key of another tool becomes in Pipe, with its value: `script: "make"` is `run sh "make"`. Knows
//! which clause says the same; does not report, nor parse.

use std::ops::Range;

use super::item::ItemParser;
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::source::Span;
use crate::syntax::outline::ItemOutline;
use crate::syntax::scan::{TokenKind, is_word};

/// Keys whose values are commands.
const COMMANDS: [&str; 9] = [
    "script",
    "command",
    "commands",
    "cmds",
    "shell",
    "before_script",
    "after_script",
    "steps",
    "run",
];

/// Keys whose values name stages to wait for.
const STAGES: [&str; 4] = ["needs", "depends_on", "dependencies", "requires"];

/// Keys whose values are variables of the environment.
const VARIABLES: [&str; 3] = ["env", "environment", "variables"];

/// Keys whose values are paths of what a stage makes.
const OUTS: [&str; 3] = ["artifacts", "outputs", "out"];

impl ItemParser<'_> {
    /// Says of the list of stages that another tool wants that there is none here.
    pub(super) fn without_stages(&self, finding: Diagnostic, item: &ItemOutline) -> Diagnostic {
        let words = item.tokens.clone().filter(|&at| !self.file.tokens[at].is_trivia());
        let is_list = words.skip(1).all(|at| {
            self.kind(at) == TokenKind::Word || matches!(self.word(at), ":" | "-" | "[" | "]" | ",")
        });
        if !is_list {
            return finding;
        }
        let span = self.span(&item.tokens);
        let text = &self.file.text[span.end as usize..];
        let end = text.find('\n').map_or(text.len(), |newline| newline + 1);
        let lines = Span { end: span.end + end as u32, ..span };
        let rest = text[..end].trim();
        let finding = Diagnostic {
            help: Some("delete it: what a stage mentions gives their order".to_owned()),
            ..finding
        };
        if rest.is_empty() { finding.edit(lines, "") } else { finding }
    }

    /// Adds to the finding of a foreign key, which begins one of `clauses`, what says the same.
    pub(super) fn say_in_pipe(&self, finding: &mut Diagnostic, clauses: &[Range<usize>]) {
        if finding.code != Code::FOREIGN_HABIT || finding.edit.is_some() {
            return;
        }
        let start = |at: usize| self.file.tokens[at].start;
        let at = clauses.partition_point(|clause| start(clause.end - 1) < finding.span.start);
        let begins = |clause: &&Range<usize>| {
            self.head(clause).first().is_some_and(|&at| start(at) == finding.span.start)
        };
        let clause = clauses.get(at).filter(begins);
        if let Some(edit) = clause.and_then(|clause| self.key_in_pipe(clause)) {
            finding.help = Some(help(&edit));
            finding.edit = Some(edit);
        }
    }

    /// Adds to a finding about a key what the list below it says, and leaves out what is found in that;
    /// `first` is the list's first token.
    pub(super) fn say_list(&mut self, finding: usize, edit: Edit, first: usize) {
        let Some(finding) = self.parsed.found.get_mut(finding).filter(|it| it.edit.is_none())
        else {
            return;
        };
        let start = self.file.tokens[first].start;
        self.skipped.push(Span { start, ..edit.span });
        finding.help = Some(help(&edit));
        finding.edit = Some(edit);
    }

    /// Returns the clauses that say what a clause with a foreign key does: its value is a text or a list.
    fn key_in_pipe(&self, clause: &Range<usize>) -> Option<Edit> {
        let words: Vec<usize> =
            clause.clone().filter(|&at| !self.file.tokens[at].is_trivia()).collect();
        let [key, _, value @ ..] = &words[..] else { return None };
        if self.word(words[1]) == ":"
            && let Some(command) = self.bare_command(*key, value)
        {
            let span = self.span(&(*key..words[words.len() - 1] + 1));
            return Some(Edit { span, text: format!("run sh \"{}\"", escaped(command)) });
        }
        if VARIABLES.contains(&self.word(*key)) {
            let clauses = self.variables(value)?;
            let text = clauses.join(&format!("\n{}", " ".repeat(self.column(*key))));
            return Some(Edit { span: self.span(&(*key..words[words.len() - 1] + 1)), text });
        }
        let texts = match value {
            [only] => vec![*only],
            [open, inner @ .., close] if (self.word(*open), self.word(*close)) == ("[", "]") => {
                inner.iter().copied().filter(|&at| self.word(at) != ",").collect()
            }
            _ => return None,
        };
        let is_plain = |at: &usize| {
            let is_text = self.kind(*at) == TokenKind::String && self.word(*at).starts_with('"');
            is_text || self.kind(*at) == TokenKind::Word
        };
        if texts.is_empty() || !texts.iter().all(is_plain) {
            return None;
        }
        let texts: Vec<&str> = texts.iter().map(|&at| self.word(at)).collect();
        let clauses = self.clauses_for(self.word(*key), &texts)?;
        let text = clauses.join(&format!("\n{}", " ".repeat(self.column(*key))));
        Some(Edit { span: self.span(&(*key..words[words.len() - 1] + 1)), text })
    }

    /// Returns the clauses for the variables of a record: `{A: "b", C: 1}`.
    fn variables(&self, record: &[usize]) -> Option<Vec<String>> {
        let [open, pairs @ .., close] = record else { return None };
        if (self.word(*open), self.word(*close)) != ("{", "}") || pairs.is_empty() {
            return None;
        }
        let pairs = pairs.split(|&at| self.word(at) == ",").filter(|pair| !pair.is_empty());
        let clause = |pair: &[usize]| match pair {
            [name, colon, value] if matches!(self.word(*colon), ":" | "=") => {
                let is_name = self.kind(*name) == TokenKind::Word;
                is_name.then(|| format!("env {} = {}", self.word(*name), self.as_text(*value)))
            }
            _ => None,
        };
        pairs.map(clause).collect()
    }

    /// Returns a value as a text.
    fn as_text(&self, at: usize) -> String {
        let word = self.word(at);
        if self.kind(at) == TokenKind::String { word.to_owned() } else { format!("{word:?}") }
    }

    /// Returns the command that stands behind `run:` as YAML has it: bare, or in single quotes.
    fn bare_command(&self, key: usize, value: &[usize]) -> Option<&str> {
        let (first, last) = (*value.first()?, *value.last()?);
        let text = &self.file.text[self.span(&(first..last + 1)).range()];
        let is_bare = !text.starts_with(['"', '[', '{', '|', '>']) && !text.contains(['\n', '#']);
        let is_command = COMMANDS.contains(&self.word(key)) && is_bare && !text.contains("{{");
        unquoted(text).filter(|_| is_command)
    }

    /// Returns the clauses for a key and its values as they are written, texts with their quotes.
    fn clauses_for(&self, key: &str, values: &[&str]) -> Option<Vec<String>> {
        let bare = |value: &str| value.trim_matches('"').to_owned();
        let are_texts = values.iter().all(|value| value.starts_with('"'));
        match key {
            _ if COMMANDS.contains(&key) && are_texts => {
                Some(values.iter().map(|value| format!("run sh {value}")).collect())
            }
            _ if STAGES.contains(&key) => {
                let names: Vec<_> = values.iter().map(|value| bare(value)).collect();
                let are_stages = names.iter().all(|name| self.is_stage(name));
                are_stages.then(|| vec![format!("require = [{}]", names.join(", "))])
            }
            _ if OUTS.contains(&key) && are_texts => {
                values.iter().map(|value| out_clause(&bare(value))).collect()
            }
            "inputs" if are_texts => Some(vec![format!("in files({})", values.join(", "))]),
            _ => None,
        }
    }

    /// Claims that a stage of that name begins on a line of the file.
    fn is_stage(&self, name: &str) -> bool {
        if !self.search.may_take(self.file.text.len()) {
            return false;
        }
        self.file.text.lines().any(|line| {
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let rest = line.strip_prefix("build ").or_else(|| line.strip_prefix("test "));
            let named = rest.and_then(|rest| rest.trim_start().strip_prefix(name));
            named.is_some_and(|rest| rest.starts_with([' ', '{']))
        })
    }

    /// Returns the clauses for `script:` and the `- …` lines below it, which `lines` are.
    pub(super) fn list_in_pipe(&self, key: &Range<usize>, lines: &[Range<usize>]) -> Option<Edit> {
        let first = self.head(key).first().copied()?;
        let (are_commands, are_variables) =
            (COMMANDS.contains(&self.word(first)), VARIABLES.contains(&self.word(first)));
        if !are_commands && !are_variables {
            return None;
        }
        let place = self.span(key);
        let end = self.span(lines.last()?).end;
        let text = &self.file.text[self.span(key).range().end..end as usize];
        let mut clauses = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if are_variables {
                let (name, value) = line.split_once(": ").filter(|(name, _)| is_word(name))?;
                let value = unquoted(value.trim()).filter(|value| !value.contains("{{"))?;
                clauses.push(format!("env {name} = \"{}\"", escaped(value)));
                continue;
            }
            let command = line.strip_prefix("- ")?.trim();
            let command = command.strip_prefix("run: ").unwrap_or(command).trim();
            let command = unquoted(command)?;
            if command.is_empty() || command.contains("{{") || command.ends_with(':') {
                return None;
            }
            clauses.push(format!("run sh \"{}\"", escaped(command)));
        }
        let text = clauses.join(&format!("\n{}", " ".repeat(self.column(first))));
        (!clauses.is_empty()).then_some(Edit { span: Span { end, ..place }, text })
    }
}

fn escaped(command: &str) -> String {
    command.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Returns the help that says an edit of one or more clauses.
pub(super) fn help(edit: &Edit) -> String {
    let mut clauses = edit.text.lines().map(str::trim);
    let first = clauses.next().unwrap_or_default();
    match clauses.next() {
        None => format!("write: {first}"),
        Some(_) => format!("write a line for each: {first}"),
    }
}

/// Returns a command without the quotes that YAML wants around some.
fn unquoted(command: &str) -> Option<&str> {
    match command.as_bytes() {
        [b'"' | b'\'', .., last] if *last == command.as_bytes()[0] => {
            let inner = &command[1..command.len() - 1];
            (!inner.contains(['"', '\'', '\\'])).then_some(inner)
        }
        [b'"' | b'\'' | b'|' | b'>', ..] => None,
        _ => Some(command),
    }
}

/// Returns the clause that declares what stands at a path, named after it.
fn out_clause(path: &str) -> Option<String> {
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    let name = last.split('.').next().filter(|name| is_word(name))?;
    if path.contains(['*', '?', '[', '{', '\\']) {
        return None;
    }
    let ty = if path.ends_with('/') { "dir" } else { "file" };
    Some(format!("out {name}: {ty} = {:?}", path.trim_end_matches('/')))
}
