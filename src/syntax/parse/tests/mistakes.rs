//! What is said about each kind of mistake.

use super::*;

/// The findings for a text: code, the marked bytes (or `^` and what follows a place between), message and help.
fn told(text: &str) -> Vec<String> {
    let (_, found) = parsed(text);
    let show = |d: &Diagnostic| {
        let marked = match &text[d.span.range()] {
            "" => format!(
                "^{}",
                text[d.span.range().start..].chars().take(4).collect::<String>().escape_debug()
            ),
            marked => marked.to_owned(),
        };
        format!("{} `{marked}` {} | {}", d.code, d.message, d.help.as_deref().unwrap_or("-"))
    };
    found.iter().map(show).collect()
}

/// A text, and what its one finding begins with: code, marked bytes, message.
fn assert_told(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        let told = told(text);
        assert_eq!(told.len(), 1, "{text}: {told:#?}");
        assert!(told[0].contains(expected), "{text}\n   told: {}\nexpected: {expected}", told[0]);
    }
}

fn assert_fine(texts: &[&str]) {
    for text in texts {
        assert_eq!(told(text), Vec::<String>::new(), "{text}");
    }
}

/// Wraps clauses into a stage.
fn stage(clauses: &str) -> String {
    format!("build a {{\n  {clauses}\n}}\n")
}

#[test]
fn items_say_what_is_missing() {
    assert_fine(&[
        "kiln 1\nuse \"./web\"\nuse \"./ci/box.pipe\" as box\n",
        "pub param a: int(-1..50) = 3\nlet b: list<{c: string, \"d-e\": int?}> = []\n",
        "fn f() -> int = 1\nfn g(a: map<string, file>, b: \"x\" | \"y\" = \"x\",) -> string? = none\n",
        "let build = 1\nlet a = b # c\n",
    ]);
    assert_told(&[
        (
            "let a 3",
            "K0101 `3` expected `=` or `:` after `a`, found `3` | write `: type` or `= value` after the name",
        ),
        ("let = 3", "K0101 `=` expected a name after `let`, found `=`"),
        (
            "let a =",
            "K0101 `^` expected a value after `=`, found the end of the line | write a value after `=`",
        ),
        ("let if = 3", "`if` is a word of the language and cannot be a name"),
        ("param a = 3", "expected `:` after `a`, found `=`"),
        ("param a: = 3", "expected a type after `:`, found `=`"),
        ("param a: int(1, 2) = 3", "expected `..` after `1`, found `,` | write `int(1..50)`"),
        (
            "param a: list = 3",
            "K0101 `list` `list` does not say what it holds | write `list<string>`",
        ),
        ("param a: set<int> = 3", "K0101 `set<int>` `set<int>` is no type"),
        ("fn a(b: int) int = 3", "expected `->` after `)`, found `int`"),
        ("fn a(b) -> int = 3", "expected `:` after `b`, found `)`"),
        ("fn a = 3", "expected `(` after `a`, found `=`"),
        ("use a", "expected a path in quotes after `a`, found the end of the line"),
        ("use", "expected a path in quotes after `use`, found the end of the line"),
        (
            "use \"./x\" web",
            "K0101 `web` expected `as` after `\"./x\"`, found `web` | write `as` before `web`",
        ),
        ("pub", "expected an item after `pub`"),
        ("foo", "K0101 `foo` expected an item, found `foo`"),
        ("foo = 3", "`foo` is set outside a stage"),
        ("let a = b\n  + c", "K0101 `+` a line cannot begin with `+`"),
        ("kiln 2", "K0104 `2`"),
    ]);
}

#[test]
fn stages_and_clauses_say_what_is_missing() {
    assert_fine(&[
        "build a {}\ntest b { run sh \"x\" }\n",
        "build a(b: files) { in b }\nbuild c = a(d)\nbuild e = a(d) {\n  timeout = 1m\n}\n",
        "test a for (x in [1], y in 1..4, except: [{x: 1}], max: 500,) {\n}\n",
        &stage(
            "in b at \"c\"\n\n  out d: file?\n  env E = 1\n  run bash \"x\"\n  run [\"y\"]\n  f = 1",
        ),
        &stage("in = 3").replace("in =", "image ="),
    ]);
    assert_told(&[
        ("build", "expected a name after `build`, found the end of the line"),
        ("build a", "K0101 `^` stage `a` has no clauses: expected `{`"),
        ("build a b {\n}", "expected `{`, `=`, `for` or `(` after `a`, found `b`"),
        (
            "build a\n  in x\n}",
            "expected `{`, `=`, `for` or `(` after `a`, found the end of the line",
        ),
        ("build a-b {\n}", "K0101 `-` a name has no `-`"),
        ("build a for x in y {\n}", "K0101 `x` expected `(` after `for`, found `x`"),
        ("build a for (x y) {\n}", "K0101 `y` expected `in` after `x`, found `y`"),
        ("build a for (max: 3, max: 4) {\n}", "K0206 `max: 4`"),
        (&stage("in"), "K0101 `^\\n}\\n` expected a value after `in`, found the end of the clause"),
        (&stage("in b c"), "K0101 `c` expected `at` or the end of the clause after `b`, found `c`"),
        (&stage("out b"), "expected `:` after `b`"),
        (
            &stage("out b: file \"x\""),
            "expected `=` or the end of the clause after `file`, found `\"x\"`",
        ),
        (&stage("env B \"x\""), "expected `=` after `B`, found `\"x\"`"),
        (
            &stage("run \"x\""),
            "expected a language or `[` after `run`, found `\"x\"` | write `run sh",
        ),
        (&stage("run zsh \"x\""), "K0204 `zsh`"),
        (&stage("foo"), "expected `=` after `foo`"),
        (&stage("rum sh \"x\""), "K0204 `rum` `rum` begins no clause | write `run`"),
        (&stage("in x; in y"), "K0102 `;`"),
        (&stage("tools = [x\n  in y"), "K0005"),
        (&stage("in x\n}"), "K0005 `}` `}` closes nothing"),
        (&stage("in x }\n  in y"), "K0005 `in` expected the end of the stage after `}`"),
        ("build a {\n  in x\n", "K0005 `^` `{` is not closed"),
    ]);
}

#[test]
fn expressions_say_what_is_missing() {
    assert_fine(&[
        "let a = [x.y for x in xs, y in ys if x != y]",
        "let a = {c.name: c for c in cs}\nlet b = {in: 1, \"x y\": 2,}",
        "let a = f(1, b: 2, c[d: 1, e: f(2)],).g?.h",
        "let a = if b then c else if d then e else f",
        "let a = (\n  b +\n  c\n)",
    ]);
    assert_told(&[
        ("let a = b c", "K0101 `c` expected the end of the line after `b`, found `c`"),
        ("let a = [b c]", "expected `,`, `]` or `for` after `b`, found `c` | write `,` before `c`"),
        ("let a = [b,, c]", "expected a value or `]` after `,`, found `,`"),
        ("let a = f(b c)", "expected `:`, `,` or `)` after `b`, found `c`"),
        ("let a = f(b", "K0005 `^` `(` is not closed: expected `)`"),
        ("let a = b)", "K0005 `)` `)` closes nothing"),
        ("let a = {b}", "expected `:` after `b`, found `}`"),
        ("let a = (b, c)", "K0101 `(` `(…)` holds one value"),
        ("let a = if b c", "expected `then` after `b`, found `c`"),
        ("let a = if b then c", "K0101 `if` expected `else` after `c`"),
        (
            "let a = if b = c then d else e",
            "K0101 `=` `=` sets a value and does not compare | write `==`",
        ),
        ("let a = b.", "expected a name after `.`"),
        ("let a = [b for c xs]", "expected `in` after `c`, found `xs`"),
        ("let a = {\"{{b}}\": 1}", "the key of a record is not a word or a string without holes"),
        ("let a = \"x {{b c}}\"", "K0101 `c` expected `}}`, found `c`"),
        ("let a = \"x {{}}\"", "K0101 `}}` expected a value, found `}}`"),
        ("let a = \"x {{ b\"", "K0004 `{{` hole is not closed"),
        ("let a = \"abc", "K0004 `\"` string is not closed"),
        ("let a = 10min", "K0007 `10min` `min` is no unit of time or size | write `10m`"),
        ("let a = \"\\q\"", "K0007 `\\q`"),
        ("let a = \"\\u{110000}\"", "K0007 `\\u{110000}`"),
    ]);
}

#[test]
fn habits_of_other_tools_are_named_once() {
    assert_told(&[
        ("let a = b ? c : d", "K0102 `?` there is no `a ? b : c`"),
        ("let a = 'x'", "K0102 `'x'`"),
        ("let a = ${{ b }}", "K0103 `${{`"),
        ("let a = b and c", "K0102 `and` `and` is written `&&`"),
        ("let a = if not b then c else d", "K0102 `not` `not` is written `!`"),
        ("let a = null", "K0102 `null` `null` is written `none`"),
        ("let a = True", "K0102 `True` `True` is written `true`"),
        ("let a := 3", "K0102 `:=`"),
        ("let a == 3", "K0102 `==`"),
        ("// x\nlet a = 1", "K0102 `//`"),
        ("let a = f\"x\"", "K0102 `f`"),
        ("let a = 1;", "K0102 `;`"),
        ("param a: \"x\" or \"y\" = \"x\"", "K0102 `or` a choice of texts is written with `|`"),
        ("let a = if b then c elif d then e else f", "K0102 `elif`"),
        ("let a = if b: c", "K0102 `:`"),
        ("job a {\n}", "K0102 `job` `job` is a word of other tools; Pipe says `build`"),
        ("stages:\n  - x", "K0102 `stages`"),
        (
            "let a = `x`",
            "K0102 ``x`` strings stand in double quotes, not in backticks | write `\"x\"`",
        ),
        ("let a = b if c else d", "K0102 `if`"),
        ("let a = b === c", "K0102 `=` `===` is written `==`"),
        (
            "let a = f(b = 1)",
            "K0101 `=` expected `:`, `,` or `)` after `b`, found `=` | write `:` in place of `=`",
        ),
        (
            "let a = [for x in y: x]",
            "K0101 `for` expected a value, found `for` | write `[value for x in xs]`",
        ),
        (&stage("- x"), "K0102 `-`"),
        (
            &stage("in x,"),
            "K0101 `,` expected `at` or the end of the clause after `x`, found `,` | remove the `,`",
        ),
        (&stage("if x {\n    in y\n  }"), "K0102 `if`"),
        (&stage("build b {\n  }"), "K0101 `build` `build` begins an item"),
        (
            &stage("run sh \"\n    x\n  \"\n  out b: file"),
            "K0004 `\"` a string in `\"` ends on its line",
        ),
        ("build a\n{\n  in x\n}\n", "found the end of the line | write `{` on this line"),
        (&stage("image: x"), "K0102 `:` a field is set by `=`"),
        (&stage("needs = [x]"), "K0102 `needs`"),
        (&stage("steps:\n    - run: x\n    - run: y"), "K0102 `steps`"),
        (&stage("env = {A: 1}"), "K0102 `env`"),
        (&stage("foo == 3"), "K0102 `==`"),
        (&stage("run sh \"echo ${{ x }}\""), "K0103 `$`"),
    ]);
}

#[test]
fn parts_of_later_versions_are_named_once() {
    assert_told(&[
        (
            "bake a {\n  base = 'x'\n  layers = [\n}",
            "K0009 `bake` `bake` stages are not in this version of Kiln",
        ),
        ("deploy a {\n  image = b\n}", "K0009 `deploy`"),
    ]);
    let (module, _) = parsed("deploy site {\n}\nbake shop {\n}\n");
    let names = module.items.iter().map(|item| match &item.kind {
        ast::ItemKind::Broken(Some(name)) => name.text.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(names.collect::<Vec<_>>(), ["site", "shop"]);
}

#[test]
fn misspelt_items_are_set_right_by_an_edit() {
    for (text, word) in
        [("biuld a {\n  in b\n}", "build"), ("tset a {\n}", "test"), ("parm a: int", "param")]
    {
        let (module, found) = parsed(text);
        let edit = found[0].edit.as_ref().map(|edit| edit.text.as_str());
        assert_eq!((found.len(), edit), (1, Some(word)), "{text}");
        assert_eq!(found[0].code, Code::UNKNOWN_KIND);
        assert!(
            matches!(&module.items[0].kind, ast::ItemKind::Broken(Some(name)) if name.text == "a")
        );
    }
}

/// Five stages, each with another mistake.
const FIVE: &str = r#"build one {
  in files("a" "b")
  run sh "x"
}
build two {
  out bin file
  run sh "x"
}
build three for (x on y) {
  run sh "x"
}
build four {
  run sh "x
  out bin: file
}
build five {
  tools = [a, b
  run sh "x"
}
let fine = 1
"#;

#[test]
fn five_broken_stages_give_five_findings_and_keep_what_is_good() {
    let (module, found) = parsed(FIVE);
    let lines: Vec<_> =
        found.iter().map(|d| FIVE[..d.span.range().start].matches('\n').count() + 1).collect();
    assert_eq!(lines, [2, 6, 9, 13, 17], "{found:#?}");
    let kept = module.items.iter().map(|item| match &item.kind {
        ast::ItemKind::Stage(stage) => format!("{} {}", stage.name.text, stage.clauses.len()),
        ast::ItemKind::Broken(name) => format!("{} broken", name.as_ref().unwrap().text),
        _ => "item".into(),
    });
    assert_eq!(
        kept.collect::<Vec<_>>(),
        ["one 1", "two 1", "three broken", "four 2", "five 1", "item"]
    );
}

#[test]
fn several_mistakes_in_one_stage_are_all_told() {
    let text = stage("in\n  out b: file\n  env C 1\n  run sh \"{{x y}}\"\n  timeout = = 3");
    assert_eq!(told(&text).len(), 4, "{:#?}", told(&text));
}

#[test]
fn a_message_names_at_most_four_things() {
    for (name, text) in CORPUS {
        for cut in (0..text.len()).step_by(23).filter(|&cut| text.is_char_boundary(cut)) {
            for line in told(&format!("{}\n", &text[..cut])) {
                let message = line.split(" | ").next().unwrap_or_default();
                let wanted = message.split(" after ").next().unwrap_or_default();
                assert!(wanted.matches("`, `").count() < 4, "{name}: {line}");
                assert!(!message.ends_with('.'), "{name}: {line}");
            }
        }
    }
}
