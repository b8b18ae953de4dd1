//! What there is to know of a name: its signature and its doc comment, in Markdown. Knows words for
//! each kind of thing; does not know how a name was found.

use crate::lang::builtins::{self, facts, fields};
use crate::lang::library;
use crate::lang::meaning::Meaning;
use crate::lang::ty::{ItemRef, Type};
use crate::source::{SourceId, Span};
use crate::syntax::ast::{ClauseKind, Item, ItemKind, Stage};

use super::Hover;
use super::analysis::{Analysis, Thing};
use super::place::place;
use super::tree::{self, Node};

/// Returns what there is to know of what stands at a place.
pub(super) fn hover(analysis: &Analysis, source: SourceId, offset: usize) -> Option<Hover> {
    let (span, thing) = analysis.thing_at(source, offset)?;
    let name = analysis.program().sources.text(span);
    let text = describe(analysis, name, &thing)?;
    Some(Hover { place: place(analysis.program(), span), text })
}

/// Returns what there is to know of a thing, in Markdown.
pub(super) fn describe(analysis: &Analysis, name: &str, thing: &Thing) -> Option<String> {
    Some(match thing {
        Thing::Name(Meaning::Item(item), ty) => item_page(analysis, *item, ty)?,
        Thing::Name(Meaning::Local(_), Type::Beside(service)) => {
            item_page(analysis, *service, &Type::Service(*service))?
        }
        Thing::Name(Meaning::Local(span), ty) => local_page(analysis, *span, ty),
        Thing::Name(Meaning::Out(span), ty) => out_page(analysis, *span, ty),
        Thing::Name(Meaning::OwnOuts, _) => page(
            "out",
            "The outs of this stage: `{{out.name}}` is the path that the script writes to.",
        ),
        Thing::Name(Meaning::AllRows, _) => {
            page("all", "All rows of the matrix: `stage.all.out` is the list of their outs.")
        }
        Thing::Name(Meaning::Host, _) => page("host", HOST),
        Thing::Name(Meaning::Facts(group), _) => page(&format!("host.{group}"), group_doc(group)),
        Thing::Name(Meaning::Fact(fact), _) => fact_page(fact)?,
        Thing::Name(Meaning::Builtin(function), _) => {
            let function = builtins::get(function);
            page(function.signature, function.doc)
        }
        Thing::Name(Meaning::Argument(function, slot), _) => {
            let function = builtins::get(function);
            let text = format!("The argument `{slot}` of `{}`. {}", function.name, function.doc);
            page(function.signature, &text)
        }
        Thing::Name(Meaning::Member, ty) => page(&format!("{name}: {ty}"), member_doc(name, ty)),
        Thing::Import(module) => {
            let module = analysis.program().module(*module);
            match library::text_of_file(&module.path).filter(|_| module.is_library) {
                Some(text) => page(&format!("use {name}"), &library::summary(text)),
                None => page(&format!("use \"/{}\"", module.path), ""),
            }
        }
        Thing::Field(field) => field_page(field)?,
        Thing::TypeName(name) => page(name, type_doc(name)?),
    })
}

const HOST: &str = "The machine: its facts, such as `host.os` and `host.git.branch`, and its programs, `host.tool(\"cargo\")`. `host()` is its system as the root of a step.";

pub(super) fn page(code: &str, text: &str) -> String {
    let code = format!("```pipe\n{code}\n```");
    if text.is_empty() { code } else { format!("{code}\n\n{text}") }
}

/// Returns how an item is declared, up to its body or value.
pub(super) fn signature(analysis: &Analysis, item: &Item) -> String {
    let text = |span: Span| analysis.program().sources.text(span);
    match &item.kind {
        ItemKind::Use(_) | ItemKind::Param(_) | ItemKind::Secret(_) => text(item.span).to_owned(),
        ItemKind::Let(binding) => {
            let end = binding.ty.as_ref().map_or(binding.name.span, |ty| ty.span);
            text(Span { end: end.end, ..item.span }).to_owned()
        }
        ItemKind::Function(function) => {
            text(Span { end: function.result.span.end, ..item.span }).to_owned()
        }
        ItemKind::Stage(stage) => {
            text(Span { end: stage.body.start, ..item.span }).trim_end().to_owned()
        }
        ItemKind::Spec(_) | ItemKind::Broken(_) => String::new(),
    }
}

fn item_page(analysis: &Analysis, item: ItemRef, ty: &Type) -> Option<String> {
    let tree = analysis.item(item);
    let mut code = signature(analysis, tree);
    match &tree.kind {
        ItemKind::Let(binding) if binding.ty.is_none() && *ty != Type::Unknown => {
            code = format!("{code}: {ty}");
        }
        ItemKind::Stage(stage) => code.push_str(&outs(analysis, stage)),
        ItemKind::Spec(_) | ItemKind::Broken(_) => return None,
        _ => {}
    }
    Some(page(&code, tree.doc.as_deref().unwrap_or_default()))
}

/// The outs of a stage, a line each.
fn outs(analysis: &Analysis, stage: &Stage) -> String {
    let mut text = String::new();
    for clause in &stage.clauses {
        if let ClauseKind::Out { .. } = &clause.kind {
            text.push_str("\n  ");
            text.push_str(analysis.program().sources.text(clause.span).trim_end());
        }
    }
    text
}

fn local_page(analysis: &Analysis, span: Span, ty: &Type) -> String {
    let name = analysis.program().sources.text(span);
    let path = tree::path(&analysis.module(span.source).ast, span.start as usize);
    let is_comprehension = path.iter().any(|node| matches!(node, Node::Expr(_)));
    let owner = path.first().and_then(|node| match node {
        Node::Item(item) => crate::lang::scope::declared(item),
        _ => None,
    });
    let owner = owner.map(|(name, _)| name).unwrap_or_default();
    let what = match path.last() {
        Some(Node::Parameter(_)) => format!("A parameter of `{owner}`."),
        Some(Node::Axis(_)) if !is_comprehension => format!("An axis of `{owner}`."),
        _ => "An element of the list that is gone through.".to_owned(),
    };
    page(&format!("{name}: {ty}"), &what)
}

fn out_page(analysis: &Analysis, span: Span, ty: &Type) -> String {
    let path = tree::path(&analysis.module(span.source).ast, span.start as usize);
    let mut owner = String::new();
    let mut code = format!("out {}: {ty}", analysis.program().sources.text(span));
    for node in &path {
        match node {
            Node::Item(item) => {
                if let ItemKind::Stage(stage) = &item.kind {
                    owner = format!("An out of `{}`.", stage.name.text);
                    if let Some(doc) = &item.doc {
                        owner = format!("{owner}\n\n{doc}");
                    }
                }
            }
            Node::Clause(clause) => {
                analysis.program().sources.text(clause.span).trim_end().clone_into(&mut code);
            }
            _ => {}
        }
    }
    page(&code, &owner)
}

/// Returns the page of a field of stages.
pub(super) fn field_page(name: &str) -> Option<String> {
    let field = fields::find(name)?;
    Some(page(&format!("{}: {}", field.name, field.written), field.doc))
}

/// Returns the page of a fact, by what stands behind `host.`.
pub(super) fn fact_page(name: &str) -> Option<String> {
    let fact = facts::find(name)?;
    Some(page(&format!("host.{name}: {}", fact.written), fact.doc))
}

/// Returns what a group of facts is about.
pub(super) fn group_doc(group: &str) -> &'static str {
    match group {
        "ci" => "What the CI says that started this run.",
        "git" => "The commit that the project stands at.",
        _ => "",
    }
}

/// Returns what a member of files says; nothing for other members.
pub(super) fn member_doc(name: &str, ty: &Type) -> &'static str {
    match (name, ty) {
        ("name", Type::String) => "The last name of its path.",
        ("stem", Type::String) => "The last name of its path, without its last extension.",
        ("parent", Type::String) => "The folder that it stands in.",
        ("path", Type::String) => "Its whole path.",
        _ => "",
    }
}

/// Returns what is of a type.
pub(super) fn type_doc(name: &str) -> Option<&'static str> {
    Some(match name {
        "bool" => "`true` or `false`.",
        "dir" => "A folder with all below it: of the project or made by a stage.",
        "duration" => "A time, such as `90s`, `10m` or `1h30m`.",
        "file" => "A file: of the project or made by a stage.",
        "files" => "A list of files, as `files(\"src/**\")` gives it; short for `list<file>`.",
        "image" => {
            "The root that a step runs on, such as `host()`; as an out, the root as a step left it."
        }
        "int" => "A whole number; `int(1..50)` is one of a range, both ends included.",
        "junit" => "A file with the results of tests, in JUnit's form.",
        "list" => "A list of values of one type: `list<string>`.",
        "map" => "Values of one type by texts: `map<string, int>`.",
        "percent" => "A part of a hundred, such as `25%`.",
        "size" => "A number of bytes, such as `512MiB` or `2GB`.",
        "string" => "A text.",
        "tool" => "A program or a folder of programs, for `tools`.",
        "verdict" => "A stage that has passed, for `require`.",
        _ => return None,
    })
}
