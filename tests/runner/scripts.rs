//! Scripts of Python and Node as the real interpreters run them: each value arrives as it is.

use std::process::Command;

use crate::kiln::{Project, skipped};

/// Texts that a careless way into a program would change or run.
const HOSTILE: [&str; 9] = [
    "it's",
    "say \"hi\" `id` $(id) ${HOME} $HOME",
    "a\nb\r\n\tc",
    "\\ \\n \\' \\\" \\x41 %s %d {x} {{x}} ${x}",
    "'); import os; os._exit(7) #",
    "\"); process.exit(7) //",
    "'''\"\"\"`",
    "é € 😀 \u{202e}",
    " ",
];

/// Returns whether a program of the system is there, and says that a test is skipped if not.
fn has(program: &str) -> bool {
    let asked = Command::new(program).arg("--version").env("PATH", "/usr/bin:/bin").output();
    let is_there = asked.is_ok_and(|said| said.status.success());
    if !is_there {
        skipped(&format!("no `{program}` in the system's folders"));
    }
    is_there
}

/// A pipeline with one script that writes to `out.text`, and the values it may name.
fn project(language: &str, script: &str) -> Project {
    let stage = format!(
        r#"
let data = json("data.json")

build made {{
  run sh "printf made >{{{{out.text}}}}"
  out text: file
}}

build app {{
  in files("lib/*", "other.mjs")
  run {language} """
{script}
  """
  out text: file
}}
"#
    );
    let data = serde_json::json!({
        "texts": HOSTILE,
        "long": "é\"'\\".repeat(20_000),
        "record": {"__proto__": {"a'\"b": [1, null, true]}, "n": -7},
    });
    Project::of(stage)
        .with("data.json", data.to_string())
        .with("lib/helper.py", "def shout(text):\n    return text.upper()\n")
        .with("lib/helper.js", "exports.shout = text => text.toUpperCase()\n")
        .with("other.mjs", "export const seven = 7\n")
}

/// Runs the script and returns what it wrote.
fn written(language: &str, script: &str) -> String {
    let project = project(language, script);
    project.kiln("run").exits(0);
    project.kiln("run").exits(0).tells("(2 cached)");
    std::fs::read_to_string(project.at("out/app/text")).unwrap()
}

fn expected() -> serde_json::Value {
    serde_json::json!([
        HOSTILE,
        "é\"'\\".repeat(20_000).len(),
        [5, true, false, serde_json::Value::Null, ["a"], [1, [2, 3]]],
        {"__proto__": {"a'\"b": [1, serde_json::Value::Null, true]}, "n": -7},
        ["lib/helper.js", "lib/helper.py"],
        ["made", "MADE", 7],
    ])
}

#[test]
fn python_reads_each_value_as_it_is() {
    if !has("python3") {
        return;
    }
    let text = written(
        "python",
        r#"
    import json, os
    from lib.helper import shout

    class Made:
        made = open({{made.text}}).read()
    assert os.path.isabs({{made.text}}) and {{made.text}}[0] == "/"
    with open({{out.text}}, "w") as text:
        json.dump([
            {{data.texts}},
            len({{data.long}}.encode()),
            [{{5}}, {{true}}, {{false}}, {{none}}, {{["a"]}}, {{[1, [2, 3]]}}],
            {{data.record}},
            {{files("lib/*")}},
            [Made.made, shout(Made.made), 7],
        ], text)
"#,
    );
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected());
}

#[test]
fn node_reads_each_value_as_it_is_with_require_and_with_import() {
    if !has("node") {
        return;
    }
    let values = r#"[
      {{data.texts}},
      Buffer.byteLength({{data.long}}),
      [{{5}}, {{true}}, {{false}}, {{none}}, {{["a"]}}, {{[1, [2, 3]]}}],
      {{data.record}},
      {{files("lib/*")}},
      [made, shout(made), seven],
    ]"#;
    let require = format!(
        r#"
    const fs = require("fs")
    const {{shout}} = require("./lib/helper.js")
    const made = fs.readFileSync({{{{made.text}}}}, "utf8"), seven = 7
    fs.writeFileSync({{{{out.text}}}}, JSON.stringify({values}))
"#
    );
    let import = format!(
        r#"
    import fs from "node:fs/promises"
    import helper from "./lib/helper.js"
    import {{ seven }} from "./other.mjs"
    const {{ shout }} = helper
    const made = await fs.readFile({{{{made.text}}}}, "utf8")
    await fs.writeFile({{{{out.text}}}}, JSON.stringify({values}))
"#
    );
    for script in [require, import] {
        let text = written("node", &script);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected());
    }
}

#[test]
fn a_script_that_fails_is_shown_with_its_own_line() {
    for (program, language, script, told) in [
        ("python3", "python", "\n    x = 1\n    raise ValueError({{name}})", "line 2"),
        ("node", "node", "\n    const x = 1\n    throw new Error({{name}})", ":2"),
        ("node", "node", "\n    await 1\n    throw new Error({{name}})", ":2"),
    ] {
        if !has(program) {
            return;
        }
        let text = format!(
            "param name: string = \"it's\"\n\ntest app {{\n  run {language} \"\"\"{script}\n  \"\"\"\n}}\n"
        );
        let project = Project::of(text);
        let told_all = project.kiln("run").exits(1).stderr();
        assert!(told_all.contains("it's") && told_all.contains(told), "{told_all}");
        assert!(!told_all.replace("kiln shell app", "").contains("shell"), "{told_all}");
    }
}

#[test]
fn scripts_of_all_languages_run_in_order_each_with_its_own_values() {
    if !has("python3") || !has("node") {
        return;
    }
    let project = Project::of(
        r#"
build app {
  env PYTHONHASHSEED = "1"
  run sh "printf {{"one "}} >{{out.text}}"
  run python """
    import os
    open({{out.text}}, "a").write({{"two "}} + os.environ["PYTHONHASHSEED"])
  """
  run node "require('fs').appendFileSync({{out.text}}, {{" three "}} + (process.env.PYTHONPATH ?? 'none'))"
  out text: file
}
"#,
    );
    project.kiln("run").exits(0);
    let text = std::fs::read_to_string(project.at("out/app/text")).unwrap();
    assert_eq!(text, "one two 1 three none");
}

#[test]
fn python_leaves_no_bytecode_and_has_one_order_of_sets() {
    if !has("python3") {
        return;
    }
    let project = Project::of(
        r#"
build app {
  in files("lib/*")
  run python """
    import lib.helper
    print(list({str(number) for number in range(50)}))
  """
  out lib: dir = "lib"
}
"#,
    )
    .with("lib/helper.py", "");
    let log = || {
        project.kiln("run --rerun app").exits(0);
        project.kiln("log app").exits(0).stdout()
    };
    assert_eq!(log(), log());
    assert_eq!(std::fs::read_dir(project.at("out/app/lib")).unwrap().count(), 1);
}

#[test]
fn an_interpreter_that_is_not_there_is_named_with_the_way_to_have_it() {
    let text = "test app {\n  env PATH = \"/nowhere\"\n  run python \"x\"\n}\n";
    let project = Project::of(text);
    project.kiln("run").exits(1).tells("cannot run `python3`").tells("host.tool(\"python3\")");
}
