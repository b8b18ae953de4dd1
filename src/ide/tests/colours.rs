//! The TextMate grammar in `docs/editors/` against the language itself: its words are those of the
//! code, and what it calls a text, a comment or a number is one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;

use crate::lang::builtins::{self, fields};
use crate::lang::check::type_names;
use crate::lang::spec::Word;
use crate::source::SourceId;
use crate::syntax::ast::{ExprKind, Piece, Secret};
use crate::syntax::outline::ITEM_WORDS;
use crate::syntax::parse::parse;
use crate::syntax::scan::{TokenKind, lex};

use super::super::tree::Node;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn grammar() -> Value {
    let text = std::fs::read_to_string(repository("docs/editors/pipe.tmLanguage.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What a grammar makes of a text: the scopes of each byte, in one string with blanks between.
struct Matcher<'a> {
    grammar: &'a Value,
    /// Compiled patterns. They keep to what all engines take: no looking ahead or behind.
    patterns: BTreeMap<&'a str, Regex>,
    /// Open rules, innermost last.
    open: Vec<&'a Value>,
    scopes: Vec<String>,
}

/// A pattern that was found.
struct Found<'a> {
    /// The rule; `None` for the end of the innermost open one.
    rule: Option<&'a Value>,
    places: Vec<Option<std::ops::Range<usize>>>,
}

impl<'a> Matcher<'a> {
    fn run(grammar: &'a Value, text: &str) -> Vec<String> {
        let mut matcher =
            Self { grammar, patterns: BTreeMap::new(), open: Vec::new(), scopes: Vec::new() };
        for line in text.split_inclusive('\n') {
            let shown = line.trim_end_matches(['\n', '\r']);
            matcher.line(shown);
            let scope = matcher.scope(true);
            matcher.scopes.extend(vec![scope; line.len() - shown.len()]);
        }
        matcher.scopes
    }

    fn regex(&mut self, pattern: &'a str) -> &Regex {
        self.patterns.entry(pattern).or_insert_with(|| Regex::new(pattern).unwrap())
    }

    /// The scopes of what is open, with or without that of the innermost content.
    fn scope(&self, with_content: bool) -> String {
        let mut scopes = Vec::new();
        for (at, rule) in self.open.iter().enumerate() {
            scopes.extend(rule["name"].as_str());
            let is_inner = at + 1 == self.open.len();
            scopes.extend(rule["contentName"].as_str().filter(|_| with_content || !is_inner));
        }
        scopes.join(" ")
    }

    /// The rules that may begin here, includes resolved. Those of other languages are left out.
    fn rules(&self) -> Vec<&'a Value> {
        let patterns = self.open.last().map_or(&self.grammar["patterns"], |rule| &rule["patterns"]);
        let mut rules = Vec::new();
        let mut next: Vec<&Value> = patterns.as_array().into_iter().flatten().rev().collect();
        while let Some(rule) = next.pop() {
            match rule["include"].as_str().map(|name| name.strip_prefix('#')) {
                None => rules.push(rule),
                Some(None) => {}
                Some(Some(name)) => {
                    let named = self.grammar["repository"][name]["patterns"].as_array();
                    next.extend(named.unwrap_or_else(|| panic!("no `{name}`")).iter().rev());
                }
            }
        }
        rules
    }

    fn find(&mut self, line: &str, at: usize) -> Option<Found<'a>> {
        let end = self.open.last().map(|rule| (None, rule["end"].as_str().unwrap()));
        let rules = self.rules().into_iter().map(|rule| {
            let pattern = rule["match"].as_str().or(rule["begin"].as_str());
            (Some(rule), pattern.unwrap_or_else(|| panic!("{rule} matches nothing")))
        });
        let mut best: Option<Found<'a>> = None;
        for (rule, pattern) in end.into_iter().chain(rules) {
            let Some(found) = self.regex(pattern).captures_at(line, at) else { continue };
            let places: Vec<_> = found.iter().map(|it| it.map(|it| it.range())).collect();
            let start =
                |places: &[Option<std::ops::Range<usize>>]| places[0].clone().unwrap().start;
            if best.as_ref().is_none_or(|best| start(&places) < start(&best.places)) {
                best = Some(Found { rule, places });
            }
        }
        best
    }

    fn line(&mut self, line: &str) {
        let first = self.scopes.len();
        self.scopes.resize(first + line.len(), String::new());
        let mut at = 0;
        // Ends of nothing: more than what can be open does not end in one place.
        for _ in 0..=4 * line.len() + 16 {
            let found = self.find(line, at);
            let start = found.as_ref().map_or(line.len(), |it| it.places[0].clone().unwrap().start);
            let scope = self.scope(true);
            self.scopes[first + at..first + start].fill(scope);
            let Some(found) = found else { return };
            at = self.take(&found, first);
        }
    }

    /// Gives what was found its scopes, and returns where it ends.
    fn take(&mut self, found: &Found<'a>, first: usize) -> usize {
        let (rule, captures) = match found.rule {
            None => (self.open[self.open.len() - 1], "endCaptures"),
            Some(rule) if rule["begin"].is_string() => (rule, "beginCaptures"),
            Some(rule) => (rule, "captures"),
        };
        let mut scope = self.scope(found.rule.is_some());
        if found.rule.is_some() {
            scope = format!("{scope} {}", rule["name"].as_str().unwrap_or_default());
        }
        for (at, place) in found.places.iter().enumerate() {
            let Some(place) = place else { continue };
            let name = rule[captures][at.to_string()]["name"].as_str().unwrap_or_default();
            let own = match at {
                0 => format!("{scope} {name}"),
                _ if name.is_empty() => continue,
                _ => format!("{scope} {name}"),
            };
            self.scopes[first + place.start..first + place.end].fill(own);
        }
        match captures {
            "endCaptures" => {
                self.open.pop();
            }
            "beginCaptures" => self.open.push(rule),
            _ => {}
        }
        found.places[0].clone().unwrap().end
    }
}

/// Returns the words of a pattern, sets of characters left out.
fn words(pattern: &str) -> Vec<String> {
    let sets = Regex::new(r"\[[^\]]*\]").unwrap();
    let pattern = sets.replace_all(pattern, "-");
    let words = pattern.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    words.filter(|word| word.len() > 1).map(str::to_owned).collect()
}

/// Returns all words that patterns below a part of the grammar name.
fn words_below(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value
                        .as_str()
                        .filter(|_| ["match", "begin", "end"].contains(&key.as_str()))
                    {
                        Some(pattern) => found.extend(words(pattern)),
                        None => open.push(value),
                    }
                }
            }
            Value::Array(values) => open.extend(values),
            _ => {}
        }
    }
    found
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_grammar_names_the_words_of_the_language_and_no_others() {
    let grammar = grammar();
    let part = |name: &str| words_below(&grammar["repository"][name]);
    let words = Word::ALL.iter().map(|(word, _)| *word);
    assert_eq!(part("field"), set(fields::FIELDS.iter().map(|field| field.name).chain(words)));
    let mut types = set(type_names());
    assert_eq!(part("type"), types);
    let own: BTreeSet<_> = builtins::names().collect();
    let keywords = ["if", "then", "else", "in", "for", "host", "out"];
    assert_eq!(part("function"), set(own.iter().copied().chain(keywords)));
    types.extend(own.iter().map(|name| (*name).to_owned()));
    types.extend(set(["except", "max"]));
    assert_eq!(part("key"), types);
    assert_eq!(part("constant"), set(["true", "false", "none"]));

    // What begins an item, a clause or a part of one, as the rules of the parser have it.
    let pest = std::fs::read_to_string(repository("grammar/pipe.pest")).unwrap();
    let word = Regex::new(r#"(?m)^\w+ = @\{ "(\w+)" ~ !word_byte \}"#).unwrap();
    let rules: Vec<_> = word.captures_iter(&pest).map(|found| found[1].to_owned()).collect();
    assert!(rules.len() > 12, "{rules:?}");
    let mut keywords = set(rules.iter().map(String::as_str));
    keywords.extend(set(ITEM_WORDS));
    keywords.extend(set(["kiln", "sh", "bash", "python", "node"]));
    keywords.extend(set(Secret::MARKS));
    // The one that is a type, too.
    assert!(keywords.remove("file") && part("clause").contains("file"));
    let named: BTreeSet<_> = ["item", "clause", "keyword", "key", "script"]
        .into_iter()
        .flat_map(part)
        .filter(|word| !types.contains(word) || ["except", "max"].contains(&word.as_str()))
        .collect();
    assert_eq!(named, keywords);
}

#[test]
fn the_grammar_sees_texts_comments_and_numbers_as_the_scanner_does() {
    let grammar = grammar();
    let mut files = Vec::new();
    let mut folders = vec![repository("examples"), repository("tests/fmt")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|it| it.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("pipe" | "expected") => files.push(path),
                _ => {}
            }
        }
    }
    assert!(files.len() > 8);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let scopes = Matcher::run(&grammar, &text);
        assert_eq!(scopes.len(), text.len());
        let problems = problems(&text, &scopes);
        assert!(problems.is_empty(), "{}:\n{}", file.display(), problems.join("\n"));
    }
}

/// Returns where a text is not coloured as it is scanned and parsed.
fn problems(text: &str, scopes: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut expect = |range: std::ops::Range<usize>, scope: &str, is_there: bool| {
        let wrong = range.clone().find(|at| scopes[*at].contains(scope) != is_there);
        if let Some(at) = wrong {
            let line = text[..at].matches('\n').count() + 1;
            let not = if is_there { "" } else { "not " };
            let word = &text[range];
            problems.push(format!("{line}: {word:?} is {not}{scope}, found {:?}", scopes[at]));
        }
    };
    let tokens = lex(SourceId(0), text).tokens;
    for (at, token) in tokens.iter().enumerate() {
        let range = token.start as usize..token.end as usize;
        let is_comment = matches!(token.kind, TokenKind::Comment | TokenKind::DocComment);
        let is_text = token.kind == TokenKind::String;
        if !is_text && token.kind != TokenKind::Newline {
            expect(range.clone(), "string.", false);
            expect(range.clone(), "comment.", is_comment);
            expect(range.clone(), "constant.numeric", token.kind == TokenKind::Number);
        } else if is_text {
            // A script is no text of Pipe's but one of the shell's.
            let is_script = scopes[range.start].contains("meta.script");
            let inner = if is_script { "meta.script" } else { "string." };
            expect(range.clone(), inner, true);
            expect(range.clone(), "comment.line.documentation", false);
        }
        let word = token.text(text);
        let before =
            tokens[..at].iter().rev().find(|it| !it.is_trivia() && it.kind != TokenKind::Space);
        let is_member = before.is_some_and(|it| matches!(it.text(text), "." | "?."));
        let after = tokens[at + 1..].iter().find(|it| it.kind != TokenKind::Space);
        let is_key = after.is_some_and(|it| it.text(text) == ":");
        let is_first = at == 0 || tokens[at - 1].kind == TokenKind::Newline;
        let is_expression = ["if", "then", "else", "for", "in"].contains(&word);
        if token.kind == TokenKind::Word && !is_member && !is_key {
            if is_expression || (is_first && ITEM_WORDS.contains(&word)) {
                expect(range, "keyword.", true);
            } else if is_first && word == "pub" {
                expect(range, "storage.modifier", true);
            }
        }
    }
    let (module, _) = parse(SourceId(0), text);
    let mut open: Vec<Node<'_>> = module.items.iter().map(Node::Item).collect();
    while let Some(node) = open.pop() {
        node.children(&mut |child| open.push(child));
        let Node::Expr(expr) = node else { continue };
        let ExprKind::String(literal) = &expr.kind else { continue };
        for piece in &literal.pieces {
            match piece {
                Piece::Hole { span, .. } => expect(span.range(), "meta.interpolation", true),
                Piece::Text { span, .. } => {
                    let is_nested = scopes[expr.span.start as usize].contains("meta.interpolation");
                    expect(span.range(), "meta.interpolation", is_nested);
                }
            }
        }
    }
    problems
}

#[test]
fn scripts_of_other_languages_hold_those() {
    let grammar = grammar();
    for (language, scope) in
        [("python", "meta.embedded.block.python"), ("node", "meta.embedded.block.javascript")]
    {
        let text = format!("build a {{\n  run {language} \"\"\"\n    x({{{{v}}}})\n  \"\"\"\n}}\n");
        let scopes = Matcher::run(&grammar, &text);
        let of = |part: &str| &scopes[text.find(part).unwrap()];
        assert!(of(language).contains("keyword.other.language"), "{}", of(language));
        assert!(of("x(").contains(scope), "{}", of("x("));
        assert!(of("v}").contains("meta.interpolation"), "{}", of("v}"));
    }
}

#[test]
fn scripts_hold_the_shell_and_holes_hold_pipe() {
    let grammar = grammar();
    let text = "build a {\n  run bash \"\"\"\n    cc {{out.o}} {{f({a: 1}, \"x\")}} \\{{ $x\n  \"\"\"\n  timeout = 1h30m # end\n  out o: file? = \"a\"\n}\n";
    let scopes = Matcher::run(&grammar, text);
    for (part, scope) in [
        ("cc", "meta.embedded.block.shell"),
        ("out.o", "meta.interpolation"),
        (" $x", "meta.embedded.block.shell"),
        ("\\{{", "constant.character.escape"),
        ("1}", "constant.numeric"),
        ("timeout", "support.type.property-name"),
        ("1h30m", "constant.numeric"),
        ("# end", "comment.line.number-sign"),
        ("file?", "storage.type"),
        ("bash", "keyword.other.language"),
        ("run", "keyword.other.clause"),
        ("build", "keyword.declaration.stage"),
    ] {
        let at = text.find(part).unwrap();
        assert!(scopes[at].contains(scope), "{part}: {}", scopes[at]);
    }
    let after = text.find(" $x").unwrap();
    assert!(!scopes[after].contains("meta.interpolation"), "{}", scopes[after]);
    let end = text.rfind('}').unwrap();
    assert!(!scopes[end].contains("string"), "{}", scopes[end]);
}
