use super::*;
use crate::source::{SourceId, Span};
use crate::syntax::ast::{Expr, ExprKind};

/// Returns a script in which `@` is a hole.
fn script(text: &str) -> StringLiteral {
    let span = |start, end| Span::new(SourceId(0), start, end);
    let mut pieces = Vec::new();
    let mut at = 0;
    for (number, part) in text.split('@').enumerate() {
        if number > 0 {
            let kind = ExprKind::Name("v".to_owned());
            let expr = Expr { span: span(at, at + 1), kind };
            pieces.push(Piece::Hole { expr, span: span(at, at + 1) });
            at += 1;
        }
        if !part.is_empty() {
            let place = span(at, at + part.len());
            pieces.push(Piece::Text { text: part.to_owned(), span: place });
            at += part.len();
        }
    }
    StringLiteral { form: crate::syntax::ast::StringForm::Verbatim, pieces }
}

fn name(refusal: Option<&Refusal>) -> &'static str {
    match refusal {
        None => "value",
        Some(Refusal::Text(_)) => "text",
        Some(Refusal::Formatted) => "f-string",
        Some(Refusal::Template) => "template",
        Some(Refusal::Pattern) => "pattern",
        Some(Refusal::Comment) => "comment",
        Some(Refusal::Joined) => "joined",
        Some(Refusal::Member) => "member",
        Some(Refusal::Name(_)) => "name",
        Some(Refusal::TooDeep) => "too deep",
    }
}

fn holes(dialect: Dialect, text: &str) -> String {
    let code = analyse(dialect, &script(text));
    code.holes.iter().map(|hole| name(hole.as_ref())).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_hole_of_python_is_told_from_text_around_it() {
    for (text, expected) in [
        ("print(@, [@], -@, @ + 1, x=@)", "value value value value value"),
        ("return @\nif @: pass\nnot @", "value value value"),
        ("'it''s' + @ + \"a'b\"", "value"),
        ("'a\\'@'", "text"),
        ("r'\\'@'", "text"),
        ("'a\\\n@' + @", "text value"),
        ("'''a\n'@''' + @", "text value"),
        ("b'@' + @", "text value"),
        ("# it's @\n@", "comment value"),
        ("f'@'", "f-string"),
        ("f'{@}' + @", "f-string value"),
        ("f'{d[\"a\"]:>{w}}' + @", "value"),
        ("f\"{d[\"a\"]}\" + @", "value"),
        ("f'{x:\"<5}' + @", "value"),
        ("f'{{' + @ + f'}}'", "value"),
        ("f'''{\nx\n}''' + @", "value"),
        ("rb'\\' + @'", "text"),
        ("sub'x' + @", "value"),
        ("@@", "joined joined"),
        ("a@ @b 1@", "joined joined joined"),
        ("'a' @\n@ 'a'", "joined joined"),
        ("'a'\n@", "value"),
        ("os.@", "member"),
        ("f(*@, **@)", "value value"),
        ("import @\nfrom @ import x\ndef @(): pass", "name name name"),
        ("x.import @", "value"),
        ("print('a\n@)", "value"),
    ] {
        assert_eq!(holes(Dialect::Python, text), expected, "{text}");
    }
}

#[test]
fn a_hole_of_node_is_told_from_text_around_it() {
    for (text, expected) in [
        ("f(@, [@], {a: @}, ...@)", "value value value value"),
        ("return @; a = @ / 2 / @", "value value value"),
        ("'it\\'s @' + \"@\"", "text text"),
        ("`a @ ${ @ } ${ `@` } @` + @", "template value template template value"),
        ("`${ {a: {b: @}} } @`", "value template"),
        ("`\\${@}`", "template"),
        ("// it's @\n@ /* ' @ */ + @", "comment value comment value"),
        ("x = /'@/ + @", "pattern value"),
        ("x = /[/'@]/g.test(@)", "pattern value"),
        ("a / b + @ / '@'", "value text"),
        ("(a) / @ / 2", "value"),
        ("if (a) /'@/.test(b)", "pattern"),
        ("a++ / @ / 2", "value"),
        ("a.return / @ / 2", "value"),
        ("x = 1 / 2 // @\n@", "comment value"),
        ("#!/usr/bin/env node @\n@", "comment value"),
        ("/a\n@/", "value"),
        ("const @ = 1; import @; function @() {}", "name name name"),
        ("$@ @$ a.@", "joined joined member"),
        ("'a' + '\n@", "value"),
    ] {
        assert_eq!(holes(Dialect::JavaScript, text), expected, "{text}");
    }
}

#[test]
fn a_module_is_told_by_what_stands_outside_of_functions() {
    for (text, expected) in [
        ("import fs from 'fs'", true),
        ("import 'fs'", true),
        ("import * as fs from 'fs'", true),
        ("export const a = 1", true),
        ("export default 1", true),
        ("await f()", true),
        ("for await (const x of y) {}", true),
        ("if (a) { await f() }", true),
        ("try { await f() } catch (e) { g() }", true),
        ("g(await f())", true),
        ("const f = async x => await x\nawait f()", true),
        ("const f = async x => await x; await f()", true),
        ("import('fs').then(f)", false),
        ("import.meta", false),
        ("a.import = 1; a.await = 2", false),
        ("'import x'; // import x\n`await x`", false),
        ("async function f() { await g() }", false),
        ("const f = async () => { await g() }", false),
        ("const f = async () => await g()", false),
        ("h(async x => await x, 1)", false),
        ("class A { async f() { if (a) { await g() } } }", false),
        ("module.exports = {export: 1, import: 2}", false),
    ] {
        assert_eq!(analyse(Dialect::JavaScript, &script(text)).is_module, expected, "{text}");
    }
}

#[test]
fn a_string_with_holes_has_the_sum_to_write_instead() {
    for (dialect, text, expected) in [
        (Dialect::Python, "f('--x=@')", "'--x=' + @"),
        (Dialect::Python, "f('@/@/c')", "@ + '/' + @ + '/c'"),
        (Dialect::Python, "x = 'a@' % b", "('a' + @)"),
        (Dialect::Python, "'@'.upper()", "(@)"),
        (Dialect::Python, "br'a@'", "br'a' + @"),
        (Dialect::JavaScript, "f(\"a @ b\")", "\"a \" + @ + \" b\""),
    ] {
        let code = analyse(dialect, &script(text));
        let Some(Refusal::Text(around)) = &code.holes[0] else { panic!("{text}") };
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Hole(_) => "@".to_owned(),
        };
        let sum = around.parts.iter().map(part).collect::<Vec<_>>().join(" + ");
        let sum = if around.needs_brackets { format!("({sum})") } else { sum };
        assert_eq!(sum, expected, "{text}");
    }
}

#[test]
fn strings_that_name_files_are_told_from_those_that_name_what_is_made() {
    let code = analyse(
        Dialect::Python,
        &script(
            "open('a'); open('b', 'w'); Path('c').mkdir(); os.remove('d'); x('e\\n', f'{g}', '@')",
        ),
    );
    let read: Vec<_> =
        code.texts.iter().filter(|it| !it.is_target).map(|it| it.value.as_str()).collect();
    assert_eq!(read, ["a", "w"]);
    assert!(!code.moves);
    assert!(analyse(Dialect::Python, &script("run(x, cwd='a')")).moves);
    let code = analyse(Dialect::JavaScript, &script("fs.writeFileSync('a', ''); require('./b')"));
    assert_eq!(code.texts.iter().filter(|it| !it.is_target).count(), 1);
}

#[test]
fn names_dollars_and_what_is_never_closed_are_found() {
    let code = analyse(Dialect::Python, &script("a = b.c + $d + ${e}\nprint('x"));
    assert_eq!(code.names.iter().collect::<Vec<_>>(), ["a", "b", "print"]);
    let dollars: Vec<_> = code.dollars.iter().map(|it| (it.name.as_str(), it.span.len())).collect();
    assert_eq!(dollars, [("d", 2), ("e", 4)]);
    assert_eq!(code.unclosed.iter().map(|(_, closer)| *closer).collect::<Vec<_>>(), ["'"]);
    for (text, closer) in [("'''a", "'''"), ("f\"\"\"{x", "\"\"\"")] {
        assert_eq!(analyse(Dialect::Python, &script(text)).unclosed[0].1, closer, "{text}");
    }
    for (text, closer) in [("`a", "`"), ("`a${b", "`"), ("/* a", "*/"), ("\"a", "\"")] {
        assert_eq!(analyse(Dialect::JavaScript, &script(text)).unclosed[0].1, closer, "{text}");
    }
}

#[test]
fn a_value_is_read_in_its_form() {
    let form = Form::List(vec![
        Form::Text,
        Form::Nothing,
        Form::Json,
        Form::Record(vec![Form::Text, Form::List(vec![Form::Text; 3])]),
    ]);
    let holes = [Form::Text, Form::Json, form];
    let python = render(&script("x(@, @, @)"), Dialect::Python, &holes);
    let read = |number: &str| format!("__import__(\"os\").environb[b\"KILN_{number}\"]");
    let decoded = |number: &str| format!("{}.decode()", read(number));
    let list = "[__import__(\"os\").environb[b\"KILN_3_%d\" % kiln].decode() for kiln in __import__(\"builtins\").range(6, 9)]";
    assert_eq!(
        python,
        format!(
            "x({}, __import__(\"json\").loads({}), [{}, None, __import__(\"json\").loads({}), {{{}: {}, {}: {list}, }}, ])",
            decoded("1"),
            read("2"),
            decoded("3_1"),
            read("3_2"),
            decoded("3_3"),
            decoded("3_4"),
            decoded("3_5"),
        )
    );
    let node = render(&script("@"), Dialect::JavaScript, &[Form::Record(vec![Form::Nothing])]);
    assert_eq!(node, "({[globalThis.process.env.KILN_1_1]: null, })");
}

#[test]
fn the_indentation_of_a_script_of_python_is_that_of_its_first_line() {
    let text = "\n  # b\n    if x:\n      y\n\n    @\n  z\n";
    let rendered = render(&script(text), Dialect::Python, &[Form::Nothing]);
    assert_eq!(rendered, "\n# b\nif x:\n  y\n\nNone\nz\n");
    assert_eq!(render(&script("\ta\n \tb"), Dialect::Python, &[]), "a\n \tb");
}

#[test]
fn hostile_scripts_take_linear_time() {
    let parts = [
        "'", "\"", "'''", "`", "`${", "f'{", "f'''{", "f'{x:{", "{", "(", "[", "/", "/[", "/[\\];",
        "\\", "//", "/*", "#", "$", "${", "@", "\n", "=>", "a => ", "await ", "import ", "é", "b'",
    ];
    for dialect in [Dialect::Python, Dialect::JavaScript] {
        for first in parts {
            for second in parts {
                let text = format!("{first}{second}").repeat(20_000);
                let started = std::time::Instant::now();
                let code = analyse(dialect, &script(&text));
                assert_eq!(code.holes.len(), text.matches('@').count());
                let millis = started.elapsed().as_millis();
                assert!(millis < 4_000, "{first}{second} took {millis} ms");
            }
        }
    }
}
