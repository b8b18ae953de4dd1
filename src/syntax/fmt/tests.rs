//! What formatting keeps, and the pairs of files that show what it does.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::syntax::parse;
use crate::syntax::scan::TokenKind;

mod mutations;

/// Returns the tokens that mean something, without commas at the end of brackets, and the comments.
/// The blanks that a moved string may change are left out.
fn meaning(text: &str) -> (Vec<String>, Vec<String>) {
    let tokens = scan::lex(SourceId(0), text).tokens;
    let (mut code, mut comments) = (Vec::<String>::new(), Vec::new());
    for token in tokens {
        let written = token.text(text);
        match token.kind {
            TokenKind::Space | TokenKind::Newline => {}
            TokenKind::Comment | TokenKind::DocComment => {
                comments.push(written.trim_end_matches([' ', '\t', '\r']).to_owned());
            }
            TokenKind::String => {
                code.push(written.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            TokenKind::Close => {
                if code.last().is_some_and(|last| last == ",") {
                    code.pop();
                }
                code.push(written.to_owned());
            }
            _ => code.push(written.to_owned()),
        }
    }
    (code, comments)
}

/// Formats a text and checks what must hold for every one.
fn checked(text: &str) -> String {
    let once = format(text);
    assert_eq!(meaning(&once), meaning(text), "formatting keeps the tokens of\n{text}\n->\n{once}");
    assert_eq!(format(&once), once, "formatting twice equals formatting once:\n{text}\n->\n{once}");
    once
}

/// Returns the tree of a text without its places, and how much was found wrong with it.
fn tree(text: &str) -> (String, usize) {
    let (module, found) = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(parse::PARSE_STACK_BYTES);
        let work = || parse::parse(SourceId(0), text);
        builder.spawn_scoped(scope, work).unwrap().join().unwrap()
    });
    let debug = format!("{:?}", module.items);
    // A span is written `0:12..34`.
    let mut bare = String::new();
    for part in debug.split("0:") {
        bare.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
    }
    (bare, found.len())
}

/// The files of a folder under `tests`, by name.
fn folder(name: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn each_fixture_is_written_as_expected() {
    let files = folder("fmt");
    let mut cases = 0;
    for (name, text) in &files {
        let (case, end) = name.rsplit_once('.').unwrap();
        let twin = if end == "pipe" { "expected" } else { "pipe" };
        let Some(expected) = files.get(&format!("{case}.{twin}")) else {
            panic!("tests/fmt/{name} has no twin {case}.{twin}");
        };
        if end == "pipe" {
            cases += 1;
            assert_eq!(&checked(text), expected, "tests/fmt/{name}");
            assert_eq!(&checked(expected), expected, "tests/fmt/{case}.expected");
            assert_eq!(tree(text), tree(expected), "tests/fmt/{name} means the same");
            assert_eq!(tree(text).1, 0, "tests/fmt/{name} has mistakes");
        }
    }
    assert!(cases > 5);
}

#[test]
fn real_files_mean_the_same_however_they_were_indented() {
    for (name, text) in folder("syntax").into_iter().filter(|(name, _)| name.ends_with(".pipe")) {
        let expected = tree(&text);
        let once = checked(&text);
        assert_eq!(tree(&once), expected, "{name}\n{once}");
        for change in [
            |text: &str| text.replace('\n', "\r\n"),
            |text: &str| text.replace("  ", "\t"),
            |text: &str| text.replace("\n  ", "\n      "),
            |text: &str| text.replace(", ", " ,  ").replace(" = ", "="),
            |text: &str| text.replace("\n\n", "\n\n\n\n"),
        ] {
            let changed = change(&text);
            let before = tree(&changed);
            let formatted = checked(&changed);
            if before.1 == 0 && !changed.contains('\r') {
                assert_eq!(tree(&formatted), before, "{name}\n{formatted}");
            }
            if changed.contains('\r') {
                assert_eq!(formatted, once, "{name}");
            }
        }
    }
}

#[test]
fn strings_move_with_their_line_and_keep_their_value() {
    let case = |text: &str, expected: &str| {
        assert_eq!(checked(text), expected);
        let (before, after) = (tree(text), tree(expected));
        assert_eq!(before, after);
    };
    case(
        "build a {\n      run sh \"\"\"\n        x\n\n     y\n          \n      \"\"\"\n}\n",
        "build a {\n  run sh \"\"\"\n    x\n\n  y\n      \n  \"\"\"\n}\n",
    );
    case("  let a = \"\"\"\n    b\n    \"\"\"\n", "let a = \"\"\"\n  b\n  \"\"\"\n");
    case("\tlet a = r\"\"\"\n\t\t{{\n\t\"\"\"\n", "let a = r\"\"\"\n\t{{\n\"\"\"\n");
    // Closing quotes behind text, or further out than the line: the string stays.
    case("  let a = \"\"\"\n    b\"\"\"\n", "let a = \"\"\"\n    b\"\"\"\n");
    case("  let a = \"\"\"\n    b\n \"\"\"\n", "let a = \"\"\"\n    b\n \"\"\"\n");
    case("  let a = \"\"\" b\n    c\n  \"\"\"\n", "let a = \"\"\" b\n    c\n  \"\"\"\n");
    // A newline in a hole is no part of the text.
    case(
        "  let a = \"\"\"\n    {{ f([b,\n  c]) }}\n  \"\"\"\n",
        "let a = \"\"\"\n    {{ f([b,\n  c]) }}\n  \"\"\"\n",
    );
    case(
        "  let a = \"\"\"\n    {{ {a: \"}}\"} }} \\{{\n  \"\"\"\n",
        "let a = \"\"\"\n  {{ {a: \"}}\"} }} \\{{\n\"\"\"\n",
    );
    case("let a = \"\"\"\r\n  b\r\n  \"\"\"\r\n", "let a = \"\"\"\n  b\n  \"\"\"\n");
}

#[test]
fn files_end_with_one_newline_and_have_no_mark() {
    assert_eq!(format(""), "");
    assert_eq!(format("\n\n"), "");
    assert_eq!(format("\u{feff}let a=1"), "let a = 1\n");
    assert_eq!(format("\n\nlet a = 1\n\n\n# end  \n\n"), "let a = 1\n\n# end\n");
}

#[test]
fn a_large_file_takes_bounded_time() {
    let units = [
        "let a = [1, 2,\n 3]\n",
        "[",
        "((",
        "# c\n",
        "let a = 1 # c\n",
        "list<",
        "a = 1\n",
        "- ",
        "\n",
        "build a {\n x = 1\n  yy = 2 # c\n}\n",
        "{",
        "}",
        ",",
        "\"\"\"\na\n\"\"\"\n",
        "x\n+\n",
        "## d\n",
    ];
    for unit in units {
        let text = unit.repeat((1 << 18) / unit.len());
        let start = std::time::Instant::now();
        format(&text);
        let took = start.elapsed();
        assert!(took.as_secs() < 4, "{unit:?} took {took:?}");
    }
}

/// Parts of files in any order, in brackets that fit.
fn soup() -> impl Strategy<Value = String> {
    let parts = [
        "let ",
        "a",
        "b",
        "build ",
        "\n",
        "\n\n",
        " ",
        "  ",
        "\t",
        ",",
        ":",
        "=",
        "->",
        "..",
        ".",
        "?.",
        "?",
        "??",
        "-",
        "+",
        "<",
        ">",
        "!",
        "!=",
        "==",
        "|",
        "||",
        "%",
        "*",
        "1",
        "10m",
        "25%",
        "# c\n",
        "## d\n",
        "\"s\"",
        "\"{{a}}\"",
        "r\"x\"",
        "\"\"\"\n  x\n  \"\"\"",
        "if ",
        " then ",
        " else ",
        " for ",
        " in ",
        "in ",
        "run ",
        "sh ",
        "at ",
        "list<",
        "map<",
        "out ",
        "pub ",
        "\nfield = ",
        "\r\n",
        "\"\"\"\n    x\n y\n   \"\"\"",
        "param ",
        "r",
        "int",
        "1..4",
        "/",
        "\nbuild a ",
        "list",
        "\n  ",
        ",\n",
        "{}",
        "()",
    ];
    let lines = ["let a = ", "\nbuild a {\n  b = ", "\n}\nlet c = [", "build d = "];
    let leaf = proptest::sample::select([&parts[..], &lines[..]].concat()).prop_map(str::to_owned);
    leaf.prop_recursive(5, 60, 8, |inner| {
        let brackets = proptest::sample::select(vec![("(", ")"), ("[", "]"), ("{", "}"), ("", "")]);
        (brackets, proptest::collection::vec(inner, 0..8))
            .prop_map(|((open, close), parts)| format!("{open}{}{close}", parts.concat()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_text_keeps_its_tokens_and_formats_once(text in soup()) {
        if scan::scan(SourceId(0), &text).1.is_empty() {
            let once = checked(&text);
            let before = tree(&text);
            if before.1 == 0 {
                prop_assert_eq!(tree(&once), before);
            }
        } else {
            format(&text);
        }
    }
}
