//! Words of the language at a cursor: those that begin an item or a clause, fields, types. They need
//! no tree, so they are offered in the most broken text, too.

use crate::lang::builtins::fields;
use crate::lang::check::type_names;
use crate::lang::library;
use crate::lang::spec::Word;
use crate::syntax::ast::StageKind;

use super::super::{Kind, hover};
use super::Completion;
use super::cursor::{Cursor, Open};

/// The words that begin an item: each with what follows it, and what it declares.
const ITEMS: [(&str, &str, &str); 10] = [
    ("build", "name { … }", "A stage that makes artifacts."),
    ("fn", "name(a: type) -> type = …", "A pure function."),
    ("let", "name = …", "A value."),
    ("param", "name: type = …", "A value that is set from outside: `-p name=…`."),
    ("pub", "…", "What other files may use."),
    ("secret", "NAME", "A value from outside that only the stages see which ask for it."),
    ("service", "name { … }", "A program that stays up beside the steps that have it."),
    ("spec", "\"title\" { … }", "A test of the pipeline itself: what is to run when."),
    ("test", "name { … }", "A stage that gives a verdict."),
    ("use", "\"./path\" as name", "The `pub` names of another file or folder."),
];

/// The words that begin a clause.
const CLAUSES: [(&str, &str, &str); 6] = [
    ("env", "NAME = …", "A variable of the environment."),
    ("in", "… at \"path\"", "Files that the step sees: sources, or what another stage made."),
    (
        "out",
        "name: type = \"path\"",
        "What the stage makes. Without a path, the script writes to `{{out.name}}`.",
    ),
    (
        "run",
        "sh \"…\"",
        "What runs: a script for `sh`, `bash`, `python` or `node`, or a list of arguments.",
    ),
    ("secret", "NAME", "A secret that the commands find in the variable of that name."),
    ("service", "name = …", "A service that is up while the step runs, and the name it has here."),
];

/// The words that begin a clause of a spec, but for its fields.
const SPEC_CLAUSES: [(&str, &str, &str); 2] = [
    ("given", "host.git.branch = …", "A param or a fact, and the value it has."),
    ("takes", "stage = [ … ]", "All that a stage takes: its files, and outs of others."),
];

/// The types that an out may have.
const OUT_TYPES: [&str; 4] = ["dir", "file", "image", "junit"];

/// Returns the words that fit where a line of a file or of a stage begins, and behind `run`; `None`
/// elsewhere.
pub(super) fn at_start(cursor: &Cursor<'_>) -> Option<Vec<Completion>> {
    let before = cursor.line_before().trim_end();
    match (cursor.open.as_slice(), before) {
        ([], "" | "pub") => {
            let items = ITEMS
                .iter()
                .filter(|(word, ..)| before.is_empty() || !["pub", "spec"].contains(word));
            Some(items.map(|it| keyword(cursor, it)).collect())
        }
        ([], "use") => Some(modules(cursor, library::PREFIX)),
        ([], "use std.") => Some(modules(cursor, "")),
        ([Open::Bracket(b'}')], "") if body(cursor).is_some() => Some(clauses(cursor)),
        ([Open::Bracket(b'}')], "run") => {
            let forms = [
                ("bash", "\"…\"", "A script for `bash -euo pipefail`."),
                ("node", "\"…\"", "A script for `node`."),
                ("python", "\"…\"", "A script for `python3`."),
                ("sh", "\"…\"", "A script for `sh -eu`."),
            ];
            Some(forms.iter().map(|form| keyword(cursor, form)).collect())
        }
        _ if declares(before) => Some(Vec::new()),
        _ => None,
    }
}

/// Returns the modules of the standard library, with that before the name of each.
fn modules(cursor: &Cursor<'_>, prefix: &str) -> Vec<Completion> {
    let offer = |(name, text): &(&str, &str)| Completion {
        kind: Kind::Module,
        detail: format!("use {}{name}", library::PREFIX),
        doc: library::summary(text),
        ..plain(cursor, &format!("{prefix}{name}"))
    };
    library::MODULES.iter().map(offer).collect()
}

/// Whether a new name is being written: no one can know it.
fn declares(before: &str) -> bool {
    let before = before.strip_prefix("pub ").unwrap_or(before).trim_start();
    matches!(
        before,
        "let" | "param" | "fn" | "build" | "test" | "service" | "secret" | "out" | "env" | "for ("
    )
}

/// What has a body of clauses.
#[derive(Clone, Copy)]
enum Body {
    Stage(StageKind),
    Spec,
}

/// Returns whose body the outermost bracket is: that of a record follows `=`.
fn body(cursor: &Cursor<'_>) -> Option<Body> {
    const KINDS: [StageKind; 3] = [StageKind::Build, StageKind::Test, StageKind::Service];
    let before = &cursor.text[..cursor.word.start];
    let heads = before.lines().rev().filter(|line| !line.starts_with([' ', '\t', '}', '#']));
    let mut heads = heads.map(|line| line.strip_prefix("pub ").unwrap_or(line).trim_start());
    let head = heads.find(|line| !line.is_empty()).unwrap_or_default();
    match head.split(' ').next() {
        Some("spec") => Some(Body::Spec),
        word => KINDS.into_iter().find(|kind| word == Some(kind.keyword())).map(Body::Stage),
    }
}

/// Returns the words that fit behind a finished part of a line.
pub(super) fn within(cursor: &Cursor<'_>) -> Option<Vec<Completion>> {
    let before = cursor.line_before();
    let first = before.split_whitespace().find(|word| *word != "pub")?;
    let forms: &[_] = match (cursor.open.as_slice(), first) {
        ([], "use") => &[("as", "name", "The name of the module in this file.")],
        ([], "secret") => &[
            ("affects_cache", "", "Another value is another result."),
            ("pure", "", "No result depends on the value, so that others may have them."),
        ],
        ([], "build" | "test") => &[
            ("for", "(x in …)", "A matrix: a step for each value."),
            ("when", "condition", "What must hold for it to run."),
        ],
        ([Open::Bracket(b'}')], "in") => &[("at", "\"path\"", "Where it stands in the step.")],
        _ => return None,
    };
    Some(forms.iter().map(|form| keyword(cursor, form)).collect())
}

/// Returns the words that begin a clause, and the fields.
pub(super) fn clauses(cursor: &Cursor<'_>) -> Vec<Completion> {
    let kind = match body(cursor) {
        Some(Body::Spec) => {
            let words = SPEC_CLAUSES.iter().map(|form| keyword(cursor, form));
            let offer = |(word, meaning): (&str, Word)| {
                field(cursor, word, "list<verdict>", meaning.doc().to_owned())
            };
            return words.chain(Word::ALL.map(offer)).collect();
        }
        Some(Body::Stage(kind)) => kind,
        None => StageKind::Build,
    };
    let mut offers: Vec<_> = CLAUSES.iter().map(|form| keyword(cursor, form)).collect();
    offers.extend(fields::FIELDS.iter().filter(|field| field.is_of(kind)).map(|own| {
        let doc = hover::field_page(own.name).unwrap_or_default();
        field(cursor, own.name, own.written, doc)
    }));
    offers
}

/// Returns an offer of `name = `, unless that has a value already.
fn field(cursor: &Cursor<'_>, name: &str, ty: &str, doc: String) -> Completion {
    let has_value = cursor.line_after().trim_start().starts_with('=');
    Completion {
        kind: Kind::Field,
        detail: ty.to_owned(),
        doc,
        insert: if has_value { name.to_owned() } else { format!("{name} = ") },
        ..plain(cursor, name)
    }
}

/// Returns the types; of an out only those that it may have.
pub(super) fn types(cursor: &Cursor<'_>, is_out: bool) -> Vec<Completion> {
    let names = type_names().into_iter().filter(|name| !is_out || OUT_TYPES.contains(name));
    let offer = |name: &'static str| Completion {
        kind: Kind::Type,
        doc: hover::type_doc(name).unwrap_or_default().to_owned(),
        insert: match name {
            "list" => "list<".to_owned(),
            "map" => "map<string, ".to_owned(),
            name => name.to_owned(),
        },
        ..plain(cursor, name)
    };
    names.map(offer).collect()
}

fn keyword(cursor: &Cursor<'_>, (word, form, doc): &(&str, &str, &str)) -> Completion {
    Completion {
        kind: Kind::Keyword,
        detail: format!("{word} {form}"),
        doc: (*doc).to_owned(),
        insert: if cursor.line_after().starts_with(' ') {
            (*word).to_owned()
        } else {
            format!("{word} ")
        },
        ..plain(cursor, word)
    }
}

/// Returns an offer of which nothing is known but its name.
pub(super) fn plain(cursor: &Cursor<'_>, name: &str) -> Completion {
    Completion {
        label: name.to_owned(),
        kind: Kind::Keyword,
        detail: String::new(),
        doc: String::new(),
        insert: name.to_owned(),
        is_called: false,
        replace: cursor.word.clone(),
        filter: None,
        is_likely: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_words() {
        for name in type_names() {
            assert!(hover::type_doc(name).is_some(), "{name}");
        }
    }
}
