//! Other names for what hides another one: the change of a text that gives it. Knows tokens and holes; does
//! not know what a name means, so it gives up where that matters.

use crate::diagnostic::Edit;
use crate::source::{SourceId, Span};
use crate::syntax::scan::{self, TokenKind};

/// Returns the edit that gives `name` another name wherever an expression mentions it within `region`;
/// `None` if it cannot be told from other things there.
pub(crate) fn renamed(text: &str, region: Span, name: &str) -> Option<Edit> {
    let other = format!("my_{name}");
    let old = &text[region.range()];
    if text.contains(&other) {
        return None;
    }
    let new = replaced(region.source, old, name, &other)?;
    let common = |(one, two): &(u8, u8)| one == two;
    let start = old.bytes().zip(new.bytes()).take_while(common).count();
    let most = old.len().min(new.len()) - start;
    let backwards = old.bytes().rev().zip(new.bytes().rev());
    let end = backwards.take(most).take_while(common).count();
    let place = Span::new(
        region.source,
        region.start as usize + start,
        region.start as usize + old.len() - end,
    );
    (start < old.len()).then(|| Edit { span: place, text: new[start..new.len() - end].to_owned() })
}

fn replaced(source: SourceId, text: &str, name: &str, other: &str) -> Option<String> {
    let tokens = scan::lex(source, text).tokens;
    let word = |at: usize| tokens[at].text(text);
    let words: Vec<usize> = (0..tokens.len()).filter(|&at| !tokens[at].is_trivia()).collect();
    let mut new = String::new();
    for (at, token) in tokens.iter().enumerate() {
        let here = token.text(text);
        let place = words.partition_point(|&word| word < at);
        let before = place.checked_sub(1).map_or("", |before| word(words[before]));
        let after = words.get(place + 1).map_or("", |&after| word(after));
        match token.kind {
            // Keys, fields, members, outs and variables of that name are others.
            TokenKind::Word if here == name => match (before, after) {
                (_, "(") => return None,
                ("." | "?." | "out" | "env", _) | (_, ":") => new.push_str(here),
                (before, "=") if !matches!(before, "let" | "param") => new.push_str(here),
                _ => new.push_str(other),
            },
            TokenKind::String if here.contains("{{") && !here.starts_with('r') => {
                new.push_str(&in_holes(source, here, name, other)?);
            }
            _ => new.push_str(here),
        }
    }
    Some(new)
}

fn in_holes(source: SourceId, string: &str, name: &str, other: &str) -> Option<String> {
    let mut new = String::new();
    let mut rest = string;
    while let Some((text, hole)) = rest.split_once("{{") {
        let (inner, behind) = hole.split_once("}}")?;
        // Strings and braces in a hole may hold what ends it.
        if text.ends_with('\\') || inner.contains(['"', '{']) {
            return None;
        }
        new.extend([text, "{{", &replaced(source, inner, name, other)?, "}}"]);
        rest = behind;
    }
    new.push_str(rest);
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, name: &str) -> Option<String> {
        let region = Span::new(SourceId(0), 0, text.len());
        let edit = renamed(text, region, name)?;
        let range = edit.span.range();
        Some([&text[..range.start], &edit.text, &text[range.end..]].concat())
    }

    #[test]
    fn only_mentions_get_the_other_name() {
        let text = "let n = 1\nlet a = [n, b.n, {n: n}] # n\nlet b = \"n {{n}} {{b.n}}\"\n";
        let expected =
            "let my_n = 1\nlet a = [my_n, b.n, {n: my_n}] # n\nlet b = \"n {{my_n}} {{b.n}}\"\n";
        assert_eq!(edited(text, "n").as_deref(), Some(expected));
    }

    #[test]
    fn what_cannot_be_told_stays() {
        assert_eq!(edited("let n = n(1)\n", "n"), None);
        assert_eq!(edited("let my_n = n\n", "n"), None);
        assert_eq!(edited("let a = \"{{b[\"n\"]}} {{n}}\"\n", "n"), None);
    }
}
