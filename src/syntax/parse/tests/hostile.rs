//! Texts that are meant to crash, hang or overflow the parser.

use std::sync::PoisonError;

use proptest::prelude::*;

use super::*;

fn codes(text: &str) -> Vec<Code> {
    let (_, found) = parsed(text);
    found.iter().map(|finding| finding.code).collect()
}

#[test]
fn deep_nesting_is_refused_once() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a: ", "}"),
        ("f(", ")"),
        ("a[", "]"),
        ("[x for x in ", "]"),
        ("\"{{", "}}\""),
        ("(", ""),
        ("!(-", ""),
    ] {
        let text = format!("let a = {}1{}\nlet b = 1\n", open.repeat(10_000), close.repeat(10_000));
        assert_eq!(codes(&text), [Code::NESTED_TOO_DEEPLY], "{open}");
    }
}

#[test]
fn long_chains_are_refused_once() {
    for (head, link, tail) in [
        ("1", " + 1", ""),
        ("a", ".a", ""),
        ("a", "?.a", ""),
        ("a", "[0]", ""),
        ("a", "()", ""),
        ("a", " ?? a", ""),
        ("a", " in a", ""),
        ("", "!", "a"),
        ("", "-", "a"),
        ("", "if a then b else ", "c"),
        ("", "if a then ", "c"),
        ("", "if ", "c"),
    ] {
        let text = format!("let a = {head}{}{tail}\nlet b = 1\n", link.repeat(100_000));
        assert_eq!(codes(&text), [Code::NESTED_TOO_DEEPLY], "{link}");
        let fits = format!("let a = {head}{}{tail}\n", link.repeat(200));
        assert!(codes(&fits).iter().all(|code| *code == Code::SYNTAX), "{link}");
    }
    let types = format!("param a: {}int{}\n", "list<".repeat(100_000), ">".repeat(100_000));
    assert_eq!(codes(&types), [Code::NESTED_TOO_DEEPLY]);
    let types = format!("param a: {}int{}\n", "list<".repeat(1_000), ">".repeat(1_000));
    assert_eq!(codes(&types), [Code::NESTED_TOO_DEEPLY]);
}

#[test]
fn the_highest_tree_that_is_let_through_can_be_dropped() {
    let text = format!(
        "let a = {}c\n",
        "if a then ".repeat(400) + &"!".repeat(99) + &"(b".repeat(99) + &")".repeat(99)
    );
    let (module, _) = deep(|| parse(SourceId(0), &text));
    assert_eq!(module.items.len(), 1);
    drop(module.clone());
}

/// The calls that pest makes for a text, found by lowering its limit.
fn calls(rule: Rule, text: &str) -> usize {
    let limit = CALL_LIMIT.write().unwrap_or_else(PoisonError::into_inner);
    let fits = |calls: usize| {
        pest::set_call_limit(NonZeroUsize::new(calls));
        match Grammar::parse(rule, text) {
            Ok(_) => true,
            Err(error) => !matches!(error.variant, ErrorVariant::CustomError { .. }),
        }
    };
    let (mut low, mut high) = (0, 1 << 24);
    assert!(fits(high), "{text} takes over {high} calls");
    while low + 1 < high {
        let middle = (low + high) / 2;
        if fits(middle) { high = middle } else { low = middle }
    }
    pest::set_call_limit(NonZeroUsize::new(*limit));
    high
}

#[test]
fn calls_grow_no_faster_than_the_text() {
    let rows = [
        ("let a = ", "(", "1", ")"),
        ("let a = ", "(", "", ""),
        ("let a = ", "[", "1", "]"),
        ("let a = ", "[", "", "]"),
        ("let a = ", "{a: ", "1", "}"),
        ("let a = ", "{a: ", "", ""),
        ("let a = ", "{f(", "1", "): 1}"),
        ("let a = ", "f(", "1", ")"),
        ("let a = ", "f(a: ", "1", ""),
        ("let a = ", "a[", "1", "]"),
        ("let a = ", "a[a: ", "1", "]"),
        ("let a = ", "[x for x in ", "y", "]"),
        ("let a = ", "{x: y for x in ", "y", "}"),
        ("let a = ", "\"{{", "1", "}}\""),
        ("let a = ", "\"\"\"{{", "1", "}}\"\"\""),
        ("let a = ", "if b then ", "1", " else 2"),
        ("let a = ", "if ", "1", " then 1 else 2"),
        ("let a = ", "if b then 1 else ", "1", ""),
        ("let a = ", "!", "1", ""),
        ("let a = 1", " + 1", "", " +"),
        ("let a = b", ".c", "", "("),
        ("param a: ", "list<", "int", ">"),
        ("param a: ", "{a: ", "int", "}"),
        ("param a: ", "map<string, ", "int", ""),
        ("fn a(", "b: int, ", "c", ""),
        ("build a for (", "b in c, ", "d", ")"),
        ("build a {\n", "in b\n", "", "}"),
        ("build a {\n", "out b: list<int> = c\n", "d", ""),
    ];
    for (head, open, middle, close) in rows {
        let text = |n: usize| format!("{head}{}{middle}{}", open.repeat(n), close.repeat(n));
        let [ten, twenty, forty] = [10, 20, 40].map(|n| deep(|| calls(Rule::item, &text(n))));
        for (less, more) in [(ten, twenty), (twenty, forty)] {
            assert!(more * 2 <= less * 5, "{head}{open}…{close}: {ten}, {twenty}, {forty} calls");
        }
    }
}

fn soup() -> impl Strategy<Value = String> {
    let words = vec![
        "build", "test", "let", "param", "fn", "use", "pub", "bake", "in", "out", "env", "run",
        "sh", "at", "for", "if", "then", "else", "true", "none", "a", "b", "f", "r", "and", "not",
        "kiln", "1", "25%", "10m", "1..4", "\"x\"", "\"{{", "}}\"", "\"\"\"", "r\"", "{{", "}}",
        "(", ")", "[", "]", "{", "}", "=", "==", ":", ",", ".", "?.", "??", "->", "<", ">", "?",
        "|", "+", "-", "!", ";", "'", "$", "#", "##", "//", "\\", "é", "\n", "\n", "\n  ", "\r\n",
        "\t", " ", " ", "\u{1}", "\0", "\u{feff}",
    ];
    proptest::collection::vec(prop::sample::select(words), 0..60)
        .prop_map(|words| words.join(" ").replace("  ", ""))
}

/// Claims of every text: no panic, spans inside it on whole characters, and a finding wherever something
/// is broken.
fn assert_sound(text: &str) {
    let (module, found) = parsed(text);
    for finding in &found {
        let labels = finding.labels.iter().map(|label| label.span);
        for span in labels.chain([finding.span]).chain(finding.edit.iter().map(|edit| edit.span)) {
            assert!(text.get(span.range()).is_some(), "{finding:?} of {text:?}");
        }
    }
    let is_broken = |item: &ast::Item| matches!(item.kind, ast::ItemKind::Broken(_));
    assert!(!found.is_empty() || !module.items.iter().any(is_broken), "{text:?}");
    assert!(found.is_sorted_by_key(|finding| finding.span));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        assert_sound(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_soup_of_tokens_panics(text in soup()) {
        assert_sound(&text);
    }

    #[test]
    fn no_cut_through_a_real_file_panics(
        file in 0..CORPUS.len(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        with in soup(),
    ) {
        let text = CORPUS[file].1;
        let (from, to) = (from.index(text.len()), to.index(text.len()));
        if let (Some(before), Some(after)) = (text.get(..from), text.get(to..)) {
            assert_sound(&format!("{before}{with}{after}"));
        }
    }
}
