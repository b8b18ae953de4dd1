mod colours;

use super::*;
use crate::facts::Facts;

/// A project on a desk, and the place of the `$0` in its `pipeline.pipe`.
struct Table {
    desk: Desk,
    offset: usize,
    _folder: tempfile::TempDir,
}

const FILE: &str = "pipeline.pipe";

const LIB: &str = "## A greeting.\npub let greeting = \"hello\"\nlet own = 1\n\
                   pub fn twice(n: int, by: int = 2) -> int = n * by * own\n\
                   ## Compiles.\npub build compile(level: \"O1\" | \"O2\") {\n  run sh \"cc -{{level}} > {{out.bin}}\"\n  out bin: file\n}\n";

fn table(text: &str) -> Table {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("lib/pipeline.pipe", LIB),
        ("src/main.c", ""),
        ("src/deep/a.c", ""),
        ("ci/box.pipe", "pub let size = 1\n"),
    ] {
        let place = folder.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }
    let offset = text.find("$0").unwrap_or(0);
    let mut desk = Desk::new(folder.path().to_owned(), Facts::default());
    desk.open(FILE, text.replace("$0", ""));
    desk.analyse();
    Table { desk, offset, _folder: folder }
}

/// A pipeline with one of everything, and a line of its own at the end.
fn shop(last: &str) -> Table {
    table(&format!(
        "use \"./lib\"\n\
         param profile: \"dev\" | \"release\" = \"dev\"\n\
         param jobs: int(1..8) = 2\n\
         let sources = files(\"src/**\")\n\
         let shape = {{side: 1, name: \"x\"}}\n\
         fn flag(level: int, is_hot: bool = true) -> string = if is_hot then \"-{{{{level}}}}\" else \"\"\n\
         ## The program.\n\
         build app {{\n  in sources\n  run sh \"make {{{{profile}}}} > {{{{out.bin}}}}\"\n  out bin: file\n  out log: file? = \"log\"\n}}\n\
         build made = lib.compile(level: \"O1\") {{\n  out extra: dir = \"x\"\n}}\n\
         test unit for (os in [\"a\", \"b\"], shard in 1..2) {{\n  run sh \"{{{{app.bin}}}} {{{{os}}}} {{{{shard}}}}\"\n  out report: junit = \"r.xml\"\n}}\n\
         {last}"
    ))
}

fn labels(table: &Table) -> Vec<String> {
    let offers = table.desk.complete(FILE, table.offset);
    offers.into_iter().map(|offer| offer.label).collect()
}

#[test]
fn names_are_completed_by_where_they_stand() {
    // Each with all that is offered, or with what is and (after `!`) what is not among it.
    for (last, expected) in [
        // Where an item or a clause begins.
        ("$0", "build fn let param pub secret service spec test use"),
        ("pub le$0", "build fn let param secret service test use"),
        (
            "build x {\n  $0\n}\n",
            "env in out run secret service cpus image keep locks log may_fail memory network platform pools processes require retries scratch timeout tools",
        ),
        (
            "build x {\n  ti$0\n  run sh \"\"\n}\n",
            "env in out run secret service cpus image keep locks log may_fail memory network platform pools processes require retries scratch timeout tools",
        ),
        ("build x {\n  run $0\n}\n", "bash node python sh"),
        ("let $0", ""),
        ("build x {\n  out $0\n}\n", ""),
        // Names in scope.
        ("let x = $0\n", "+profile sources lib app unit files host true !x out os"),
        ("build x {\n  run sh \"{{$0}}\"\n}\n", "+profile out app !x os env"),
        ("build x {\n  run sh \"\"\"\n    make {{pro$0\n  \"\"\"\n}\n", "+profile out app"),
        ("build x for (a in [1], b in [$0]) {\n}\n", "+a profile !b out"),
        ("build x for (a in [1]) {\n  in $0\n}\n", "+a out sources"),
        ("let x = [$0 for y in [1]]\n", "+y profile"),
        ("fn g(a: int, b: int) -> int = a + $0\n", "+a b jobs !out"),
        ("build x = $0\n", "lib"),
        ("build x = lib.$0\n", "greeting twice compile"),
        // Members.
        ("let x = app.$0\n", "bin log"),
        ("build x {\n  in app.$0\n  run sh \"\"\n}\n", "bin log"),
        ("build x {\n  run sh \"cat {{app.$0}}\"\n}\n", "bin log"),
        ("build x {\n  run sh \"cat {{app.bi$0 > x\"\n}\n", "bin log"),
        ("build x {\n  in files(app.$0\n  run sh \"\"\n}\n", "bin log"),
        ("build x {\n  in made.$0\n  run sh \"\"\n}\n", "extra bin"),
        ("build x {\n  in unit.$0\n  run sh \"\"\n}\n", "all"),
        ("build x {\n  in unit.all.$0\n  run sh \"\"\n}\n", "report"),
        ("build x {\n  in unit[os: \"a\", shard: 1].$0\n  run sh \"\"\n}\n", "report"),
        ("build x {\n  run sh \"{{out.$0}}\"\n  out one: file\n  out two: dir\n}\n", "one two"),
        ("let x = shape.$0\n", "side name"),
        ("let x = sources[0].$0\n", "name stem parent path"),
        ("let x = lib.$0\n", "greeting twice compile"),
        ("let x = host.$0\n", "arch ci date git os tool"),
        ("let x = host.git.$0\n", "branch commit dirty repo short tag"),
        ("let x = app.log.$0\n", "name stem parent path"),
        ("let x = nothing.$0\n", ""),
        (
            "service s {\n  run [\"a\"]\n  out url: string = \"\"\n}\ntest x {\n  service s\n  run sh \"{{s.$0}}\"\n}\n",
            "url",
        ),
        (
            "service s(a: int) {\n  run [\"a\"]\n  out url: string = \"\"\n}\ntest x {\n  service t = s(1)\n  run [t.$0]\n}\n",
            "url",
        ),
        ("service s(a: int) {\n  run [\"a\"]\n}\ntest x {\n  service t = s($0)\n}\n", "+a"),
        ("service s {\n  $0\n}\n", "+port ready within run in env out !retries network"),
        ("test s {\n  $0\n}\n", "+service retries !port within"),
        // Axes and arguments.
        ("build x {\n  in unit[$0\n  run sh \"\"\n}\n", "+os shard"),
        ("build x {\n  in unit[os: \"a\", sh$0: 1].report\n  run sh \"\"\n}\n", "os shard"),
        ("let x = flag(1, $0)\n", "+is_hot jobs !level"),
        ("let x = flag($0)\n", "+level is_hot jobs"),
        ("let x = files(\"a\", $0)\n", "+except optional ignored sources !globs"),
        ("build x = lib.compile($0)\n", "+level"),
        // Types.
        (
            "param x: $0\n",
            "bool dir duration file files image int junit list map percent size string tool verdict",
        ),
        ("build x {\n  out a: $0\n}\n", "dir file image junit"),
        ("fn g(a: $0) -> int = 1\n", "+int list !a"),
        // Texts.
        ("let x = profile == \"$0\"\n", "dev release"),
        ("let x = profile == $0\n", "+\"dev\" \"release\" profile"),
        ("build x {\n  network = \"$0\"\n}\n", "none loopback full"),
        ("build x {\n  network = $0\n}\n", "+\"none\" profile"),
        ("build x = lib.compile(level: \"$0\")\n", "O1 O2"),
        ("build x {\n  in unit[os: \"$0\", shard: 1].report\n  run sh \"\"\n}\n", "a b"),
        ("let x = shape[\"$0\"]\n", "side name"),
        ("let x = host.os == \"$0\"\n", "linux macos"),
        ("param x: \"one\" | \"two\" = \"$0\"\n", "one two"),
        ("build x {\n  run sh \"$0\"\n}\n", ""),
        // Paths.
        ("let x = files(\"$0\")\n", "ci lib pipeline.pipe src"),
        ("let x = files(\"src/ma$0\")\n", "deep main.c"),
        ("let x = files(\"a\", except: [\"/src/$0\"])\n", "deep main.c"),
        ("let x = dir(\"src/$0\")\n", "deep"),
        ("use \"$0\"\n", "ci lib pipeline.pipe src"),
        ("use \"./ci/$0\"\n", "box.pipe"),
        ("use $0\n", "std.c std.go std.http std.node std.postgres std.python std.redis std.rust"),
        ("use st$0\n", "std.c std.go std.http std.node std.postgres std.python std.redis std.rust"),
        ("use std.$0\n", "c go http node postgres python redis rust"),
        ("use std.ru$0\n", "c go http node postgres python redis rust"),
        ("use std.c\nlet x = c.$0\n", "object library program"),
        ("use std.c\nbuild x = c.object($0)\n", "+source flags"),
        // Words behind a finished part.
        ("use \"./ci/box.pipe\" $0\n", "as"),
        ("build x {\n  in sources $0\n}\n", "at"),
        ("secret TOKEN $0\n", "affects_cache pure"),
        ("pub secret TOKEN pure $0\n", "affects_cache pure"),
        ("secret $0\n", ""),
        // Nothing.
        ("let x = 1 # $0\n", ""),
    ] {
        let found = labels(&shop(last));
        match expected.strip_prefix('+') {
            None => assert_eq!(found.join(" "), expected, "{last}"),
            Some(expected) => {
                let (with, without) = expected.split_once('!').unwrap_or((expected, ""));
                for name in with.split_whitespace() {
                    assert!(found.iter().any(|it| it == name), "{last}: no {name} in {found:?}");
                }
                for name in without.split_whitespace() {
                    assert!(!found.iter().any(|it| it == name), "{last}: {name} in {found:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_written_takes_the_place_of_the_word() {
    for (last, label, expected) in [
        ("let x = app.b$0in + 1\n", "log", "let x = app.log + 1\n"),
        ("build x {\n  ti$0\n}\n", "timeout", "build x {\n  timeout = \n}\n"),
        ("spec \"x\" {\n  r$0\n}\n", "runs", "spec \"x\" {\n  runs = \n}\n"),
        ("spec \"x\" {\n  $0\n}\n", "given", "spec \"x\" {\n  given \n}\n"),
        ("spec \"x\" {\n  given pro$0\n}\n", "profile", "spec \"x\" {\n  given profile\n}\n"),
        ("spec \"x\" {\n  runs = [ap$0]\n}\n", "app", "spec \"x\" {\n  runs = [app]\n}\n"),
        ("build x {\n  ti$0 = 1m\n}\n", "timeout", "build x {\n  timeout = 1m\n}\n"),
        ("let x = app.log.$0\n", "name", "let x = app.log?.name\n"),
        ("let x = flag($0)\n", "is_hot", "let x = flag(is_hot: )\n"),
        ("let x = profile == \"de$0v\"\n", "release", "let x = profile == \"release\"\n"),
        ("let x = files(\"src/ma$0in.c\")\n", "deep", "let x = files(\"src/deep\")\n"),
        ("use \"$0\"\n", "lib", "use \"./lib\"\n"),
    ] {
        let table = shop(last);
        let offers = table.desk.complete(FILE, table.offset);
        let offer = offers.iter().find(|offer| offer.label == label).unwrap();
        let mut text = table.desk.text(FILE).unwrap();
        text.replace_range(offer.replace.clone(), &offer.insert);
        assert!(text.ends_with(expected), "{last}: {text}");
    }
}

#[test]
fn a_hover_tells_what_a_name_is() {
    for (last, parts) in [
        ("let x = pro$0file\n", &["param profile: \"dev\" | \"release\" = \"dev\""][..]),
        ("let x = sour$0ces\n", &["let sources: list<file>"]),
        ("let x = flag$0(1)\n", &["fn flag(level: int, is_hot: bool = true) -> string"]),
        (
            "build x {\n  in ap$0p.bin\n  run sh \"\"\n}\n",
            &["build app", "out bin: file", "The program."],
        ),
        ("build x {\n  run sh \"{{app.bi$0n}}\"\n}\n", &["out bin: file", "An out of `app`."]),
        ("let x = lib.greet$0ing\n", &["pub let greeting", "A greeting."]),
        ("build x = lib.comp$0ile(level: \"O1\")\n", &["pub build compile(level", "Compiles."]),
        (
            "build x = lib.compile(le$0vel: \"O1\")\n",
            &["level: \"O1\" | \"O2\"", "A parameter of `compile`."],
        ),
        ("let x = fil$0es(\"a\")\n", &["files(globs…", "A glob that matches nothing"]),
        ("let x = files(\"a\", optio$0nal: true)\n", &["The argument `optional` of `files`."]),
        ("let x = host.git.bra$0nch\n", &["host.git.branch: string?", "The branch of the commit"]),
        ("let x = ho$0st.os\n", &["The machine"]),
        ("build x {\n  time$0out = 1m\n  run sh \"\"\n}\n", &["timeout: duration", "How long"]),
        ("param x: dur$0ation = 1m\n", &["A time, such as"]),
        ("let x = shape.si$0de\n", &["side: 1"]),
        ("let x = sources[0].st$0em\n", &["stem: string", "without its last extension"]),
        (
            "build x {\n  in unit[o$0s: \"a\", shard: 1].report\n  run sh \"\"\n}\n",
            &["An axis of `unit`."],
        ),
        ("build x {\n  in unit.al$0l.report\n  run sh \"\"\n}\n", &["All rows"]),
        ("let x = [y$0 for y in [1]]\n", &["y: 1", "An element"]),
        ("use \"./ci/bo$0x.pipe\"\n", &["ci/box.pipe"]),
        ("build x { nonsense }\nlet y = app$0\n", &["The program."]),
    ] {
        let table = shop(last);
        let hover = table.desk.hover(FILE, table.offset);
        let text = hover.unwrap_or_else(|| panic!("{last}: nothing")).text;
        for part in parts {
            assert!(text.contains(part), "{last}: no {part:?} in {text}");
        }
    }
    for last in ["let x$0 = 1 +\n", "let x = $0 1\n", "# app$0\n", "let x = nothing$0\n"] {
        let table = shop(last);
        assert_eq!(table.desk.hover(FILE, table.offset), None, "{last}");
    }
}

#[test]
fn a_definition_is_where_the_name_is_declared() {
    for (last, file, declared) in [
        ("let x = pro$0file\n", FILE, "profile"),
        ("build x {\n  run sh \"{{app.bi$0n}}\"\n}\n", FILE, "bin"),
        ("let x = lib.greet$0ing\n", "lib/pipeline.pipe", "greeting"),
        ("let x = li$0b.greeting\n", FILE, "\"./lib\""),
        ("use \"./ci/bo$0x.pipe\"\n", "ci/box.pipe", ""),
        ("build x {\n  in made.bi$0n\n  run sh \"\"\n}\n", "lib/pipeline.pipe", "bin"),
        ("build x = lib.compile(le$0vel: \"O1\")\n", "lib/pipeline.pipe", "level"),
        ("let x = [y$0 for y in [1]]\n", FILE, "y"),
        ("use std.c$0\n", "std/c.pipe", ""),
        ("use std.c\nbuild x = c.ob$0ject(file(\"src/main.c\"))\n", "std/c.pipe", "object"),
    ] {
        let table = shop(last);
        let place = table.desk.definition(FILE, table.offset);
        let place = place.unwrap_or_else(|| panic!("{last}: nothing"));
        let text = table.desk.text(&place.file).unwrap();
        assert_eq!((place.file.as_str(), &text[place.range]), (file, declared), "{last}");
    }
}

/// Returns all files after changes.
fn after(table: &Table, changes: &[Change]) -> String {
    let mut text = String::new();
    for file in [FILE, "lib/pipeline.pipe"] {
        let mut own = table.desk.text(file).unwrap();
        for change in changes.iter().rev().filter(|change| change.place.file == file) {
            own.replace_range(change.place.range.clone(), &change.text);
        }
        text.push_str(&own);
    }
    text
}

#[test]
fn renaming_changes_all_that_mean_the_same_and_nothing_else() {
    for (last, new, there, gone) in [
        (
            "let x = pro$0file\n",
            "kind",
            &["param kind:", "make {{kind}}", "let x = kind\n"][..],
            "profile",
        ),
        ("let x = ap$0p.bin\n", "program", &["build program {", "{{program.bin}} {{os}}"], "app"),
        (
            "let x = app.bi$0n\n",
            "exe",
            &["out exe: file\n  out log", "{{out.exe}}\"\n  out exe", "{{app.exe}}", "{{out.bin}}"],
            "app.bin",
        ),
        (
            "build y {\n  in unit[o$0s: \"a\", shard: 1].report\n  run sh \"\"\n}\n",
            "system",
            &["for (system in", "{{system}}", "unit[system:"],
            "{{os}}",
        ),
        ("let x = lib.twi$0ce(1)\n", "double", &["pub fn double(", "lib.double(1)"], "twice"),
        (
            "let x = lib.twice(n$0: 1)\n",
            "count",
            &["twice(count: int", "= count * by", "twice(count: 1)"],
            "(n: ",
        ),
        (
            "let x = li$0b.greeting\n",
            "words",
            &["use \"./lib\" as words\n", "words.greeting", "words.compile"],
            "lib.",
        ),
        (
            "use std.c\nlet x = c$0.object\n",
            "cc",
            &["use std.c as cc\n", "let x = cc.object"],
            " c.object",
        ),
        ("let x = [\"{{y}}\" for y$0 in [1]]\n", "z", &["[\"{{z}}\" for z in"], "{{y}}"),
    ] {
        let table = shop(last);
        let changes = table.desk.rename(FILE, table.offset, new).unwrap();
        let text = after(&table, &changes);
        for part in there {
            assert!(text.contains(part), "{last}: no {part:?} in {text}");
        }
        assert!(!text.contains(gone), "{last}: {gone:?} in {text}");
    }
}

#[test]
fn renaming_refuses_what_would_mean_something_else() {
    for (last, new, why) in [
        ("let x = pro$0file\n", "sources", "another item of the file"),
        ("let x = pro$0file\n", "os", "would hide it"),
        ("let x = pro$0file\n", "files", "a name of the language"),
        ("let x = pro$0file\n", "if", "a name of the language"),
        ("let x = pro$0file\n", "a-b", "is no name"),
        ("let x = pro$0file\n", "", "is no name"),
        ("let x = app.bi$0n\n", "log", "another out of the stage"),
        ("let x = app.bi$0n\n", "all", "the rows of a matrix"),
        ("let x = [y for y$0 in [1]]\n", "jobs", "an item of the file"),
        ("let x = [y + z for y$0 in [1], z in [2]]\n", "z", "another name of the item"),
        ("let x = fil$0es(\"a\")\n", "y", "`files` is a name of the language itself"),
        ("let x = host.o$0s\n", "y", "`os` is a name of the language itself"),
        ("let x = shape.si$0de\n", "y", "`side` is a key of a record"),
        ("let x = $0 1\n", "y", "nothing that has a name"),
        (
            "use std.c\nbuild x = c.ob$0ject(file(\"src/main.c\"))\n",
            "y",
            "`object` is a name of the standard library",
        ),
    ] {
        let table = shop(last);
        let error = table.desk.rename(FILE, table.offset, new).unwrap_err().to_string();
        assert!(error.contains(why), "{last} as {new}: {error}");
    }
}

#[test]
fn references_are_found_in_all_files() {
    let table = shop("let x = lib.greet$0ing\nlet y = lib.greeting\n");
    let places = table.desk.references(FILE, table.offset, true);
    let files: Vec<_> = places.iter().map(|place| place.file.as_str()).collect();
    assert_eq!(files, ["lib/pipeline.pipe", FILE, FILE]);
    assert_eq!(table.desk.references(FILE, table.offset, false).len(), 2);
}

#[test]
fn a_file_belongs_to_the_outermost_pipeline_that_uses_it() {
    let mut table = shop("");
    table.desk.open("lib/pipeline.pipe", LIB.replace("greeting", "word"));
    table.desk.open("ci/box.pipe", "let x = $\n".to_owned());
    table.desk.analyse();
    let roots: Vec<_> = table.desk.analyses.iter().map(|it| it.root.as_str()).collect();
    assert_eq!(roots, [FILE, "ci/box.pipe"]);
    let findings = table.desk.findings();
    let files: Vec<_> = findings.keys().map(String::as_str).collect();
    assert_eq!(files, ["ci/box.pipe", "lib/pipeline.pipe", FILE]);
    assert_eq!(findings["ci/box.pipe"].len(), 1);
    table.desk.close(FILE);
    table.desk.close("lib/pipeline.pipe");
    table.desk.analyse();
    assert_eq!(table.desk.findings().len(), 1);
}

#[test]
fn no_place_of_a_broken_text_is_too_much() {
    let text = "use \"./lib\nparam p: = 1\nbuild a for (x in {\n  in lib.\n  run sh \"{{a.\"\n  out\nlet b = [é for (\n";
    let table = table(text);
    for offset in 0..=text.len() {
        table.desk.hover(FILE, offset);
        table.desk.definition(FILE, offset);
        table.desk.references(FILE, offset, true);
        table.desk.complete(FILE, offset);
        let _ = table.desk.rename(FILE, offset, "other");
    }
    table.desk.symbols(FILE);
    table.desk.lenses(FILE);
    assert_eq!(table.desk.format(FILE), None);
}
