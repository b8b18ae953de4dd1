use super::*;
use crate::diagnostic::{Code, Severity};

mod hostile;
mod locate;
mod mistakes;

/// The realistic files that the tests take apart.
pub(super) const CORPUS: [(&str, &str); 7] = [
    ("shop", include_str!("../../../tests/syntax/shop.pipe")),
    ("lua", include_str!("../../../tests/syntax/lua.pipe")),
    ("monorepo", include_str!("../../../tests/syntax/monorepo.pipe")),
    ("rails", include_str!("../../../tests/syntax/rails.pipe")),
    ("wheels", include_str!("../../../tests/syntax/wheels.pipe")),
    ("firmware", include_str!("../../../tests/syntax/firmware.pipe")),
    ("site", include_str!("../../../tests/syntax/site.pipe")),
];

/// Runs `work` on a thread with the stack that parsing asks for.
pub(super) fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(PARSE_STACK_BYTES);
        builder.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

pub(super) fn parsed(text: &str) -> (ast::Module, Vec<Diagnostic>) {
    deep(|| parse(SourceId(0), text))
}

#[test]
fn the_corpus_has_no_mistakes() {
    for (name, text) in CORPUS {
        let (module, found) = parsed(text);
        assert_eq!(found, [], "{name}");
        assert!(module.items.len() > 2, "{name} has items");
    }
}

/// The value of `let a = …` as its debug text without spans.
fn value(text: &str) -> String {
    let (module, found) = parsed(&format!("let a = {text}\n"));
    assert_eq!(found, [], "{text}");
    match &module.items[0].kind {
        ast::ItemKind::Let(item) => show(&item.value),
        other => panic!("{other:?}"),
    }
}

/// An expression with all its brackets.
fn show(expr: &ast::Expr) -> String {
    use ast::ExprKind as E;
    match &expr.kind {
        E::Int(value) => value.to_string(),
        E::Name(name) => name.clone(),
        E::Bool(value) => value.to_string(),
        E::None => "none".into(),
        E::Range(low, high) => format!("({}..{})", show(low), show(high)),
        E::Binary { operator, left, right, .. } => {
            format!("({} {operator:?} {})", show(left), show(right))
        }
        E::Unary { operator, operand } => format!("({operator:?} {})", show(operand)),
        E::Member { base, name, is_optional } => {
            format!("{}{}{}", show(base), if *is_optional { "?." } else { "." }, name.text)
        }
        E::Index { base, index } => format!("{}[{}]", show(base), show(index)),
        E::If { condition, then, otherwise } => {
            format!("(if {} {} {})", show(condition), show(then), show(otherwise))
        }
        E::List(items) => items.iter().map(show).collect::<Vec<_>>().join(","),
        E::String(literal) => {
            let pieces = literal.pieces.iter().map(|piece| match piece {
                ast::Piece::Text { text, span } => {
                    format!("{text:?}@{}..{}", span.start, span.end)
                }
                ast::Piece::Hole { expr, span } => {
                    format!("<{}>@{}..{}", show(expr), span.start, span.end)
                }
            });
            pieces.collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn operators_bind_by_their_strength() {
    assert_eq!(
        value("a ?? b || c && d == e + f * -g.h"),
        "(a Otherwise (b Or (c And (d Equal (e Add (f Multiply (Negate g.h)))))))"
    );
    assert_eq!(value("a - b - c"), "((a Subtract b) Subtract c)");
    assert_eq!(value("1..n + 1"), "(1..(n Add 1))");
    assert_eq!(value("a in 1..4 && !b"), "((a In (1..4)) And (Not b))");
    assert_eq!(value("if a then b else if c then d else e + f"), "(if a b (if c d (e Add f)))");
    assert_eq!(value("a?.in.for[1].if"), "a?.in.for[1].if");
    assert_eq!(value("a +\n  b"), "(a Add b)");
    assert_eq!(value("[\n  a, # one\n  b,\n]"), "a,b");
    assert_eq!(value("if a then b\n  else c"), "(if a b c)");
}

#[test]
fn pieces_of_strings_stand_where_they_are_written() {
    assert_eq!(value(r#""a{{b}}c""#), r#""a"@9..10 <b>@10..15 "c"@15..16"#);
    assert_eq!(value(r#""\n\u{41}\{{""#), r#""\n"@9..11 "A"@11..17 "{{"@17..20"#);
    assert_eq!(value(r#""""#), "");
    assert_eq!(value(r#"r"\d{{2}""#), r#""\\d{{2}"@10..16"#);
    assert_eq!(
        value("\"\"\"\n  a\n\n    {{b}} \\\n  \"\"\""),
        r#""a\n"@14..16 "\n"@16..17 "  "@19..21 <b>@21..26 " \\"@26..28"#
    );
    assert_eq!(value("\"\"\"\r\n  a\r\n  b\r\n  \"\"\""), r#""a"@15..16 "\n"@16..18 "b"@20..21"#);
    assert_eq!(value("\"\"\"a\n  b\"\"\""), r#""a\n"@11..13 "  b"@13..16"#);
    assert_eq!(value("\"\"\"\n\\{{x\n\"\"\""), r#""{{"@12..15 "x"@15..16"#);
    assert_eq!(value("\"\"\"\n\"\"\""), "");
    assert_eq!(value("\"\"\"\n  {{a}}\n  {{b}}\n  \"\"\""), r#"<a>@14..19 "\n"@19..20 <b>@22..27"#);
    assert_eq!(value("r\"\"\"\n  {{a}}\n  \"\"\""), r#""{{a}}"@15..20"#);
}

#[test]
fn items_keep_their_docs_and_places() {
    let text =
        "## One.\n##\n##  Two.\npub build a {  # b\n  in c   # d\n  ## not a doc\n}\n\n## lost\n";
    let (module, found) = parsed(text);
    assert_eq!(found, []);
    let [item] = &module.items[..] else { panic!("one item") };
    assert_eq!(item.doc.as_deref(), Some("One.\n\n Two."));
    assert!(item.is_pub);
    assert!(text[item.span.range()].starts_with("pub build a {"));
    assert!(text[item.span.range()].ends_with("\n}"));
    let ast::ItemKind::Stage(stage) = &item.kind else { panic!("a stage") };
    assert!(text[stage.body.range()].starts_with("{  # b"));
    assert_eq!(&text[stage.clauses[0].span.range()], "in c");
    let ast::ClauseKind::In { value, .. } = &stage.clauses[0].kind else { panic!("an input") };
    assert_eq!(&text[value.span.range()], "c");
}
