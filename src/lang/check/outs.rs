//! Checking outs: what a stage declares, whether it writes it, and what others name of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;

use super::cure::quoted;
use super::expr::list_of;
use super::{Checker, OutInfo, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::meaning::Meaning;
use crate::lang::nearest::nearest;
use crate::lang::template::{self, MAX_TEMPLATES};
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{
    ClauseKind, Expr, ExprKind, Name, ScriptLanguage, Stage, TypeExpr, TypeKind,
};
use crate::syntax::shell::{self, Role};

impl<'p> Checker<'p> {
    /// Returns the outs of a stage, those of its template first.
    pub(super) fn outs_of(&mut self, stage: ItemRef) -> Arc<IndexMap<String, OutInfo>> {
        self.outs_within(stage, &mut Vec::new())
    }

    /// Returns the outs of a stage that the stages of `way` are made from, each from the next.
    fn outs_within(
        &mut self,
        stage: ItemRef,
        way: &mut Vec<ItemRef>,
    ) -> Arc<IndexMap<String, OutInfo>> {
        if let Some(outs) = self.outs.get(&stage) {
            return Arc::clone(outs);
        }
        let tree = self.stage_tree(stage);
        let mut outs = IndexMap::new();
        way.push(stage);
        if let Some((callee, _)) = template::call(tree)
            && let Type::Template(template) =
                self.silently(|checker| checker.expr(callee, &mut Scope::new(stage)))
            && !self.circle_of_templates(way, template, callee.span)
        {
            let template = self.outs_within(template, way);
            outs.extend(template.iter().map(|(name, out)| (name.clone(), out.clone())));
        }
        way.pop();
        for clause in &tree.clauses {
            if let ClauseKind::Out { name, ty, path } = &clause.kind {
                let ty = self.silently(|checker| checker.written(ty));
                outs.insert(
                    name.text.clone(),
                    OutInfo { ty, span: name.span, has_path: path.is_some() },
                );
            }
        }
        let outs = Arc::new(outs);
        self.outs.insert(stage, Arc::clone(&outs));
        outs
    }

    /// Returns whether `template`, which the last of `way` is made from, was on the way before, or
    /// the way is too long; both are reported.
    fn circle_of_templates(&mut self, way: &[ItemRef], template: ItemRef, span: Span) -> bool {
        let message = match way.iter().position(|item| *item == template) {
            Some(at) => {
                let circle = way[at..].iter().chain([&template]);
                let names = circle.map(|item| format!("`{}`", self.stage_tree(*item).name.text));
                let names: Vec<_> = names.collect();
                format!("templates are made from each other in a circle: {}", names.join(" → "))
            }
            None if way.len() > MAX_TEMPLATES => {
                format!("more than {MAX_TEMPLATES} templates are made from each other in a row")
            }
            None => return false,
        };
        let problem = Diagnostic::error(Code::RECURSION, span, message)
            .help("give one of them a body of its own: { run sh \"…\" }");
        self.aloud(|checker| checker.report(problem));
        true
    }

    pub(super) fn out(
        &mut self,
        name: &'p Name,
        ty: &'p TypeExpr,
        path: Option<&'p Expr>,
        scope: &mut Scope,
    ) {
        let written = self.written(ty);
        self.note(name.span, &written, || Meaning::Out(name.span));
        match written.certain() {
            Type::File | Type::Dir | Type::Junit | Type::Unknown => {}
            Type::Image => self.kept_root(name, ty, path),
            found => {
                let message = format!(
                    "an out is a `file`, a `dir`, a `junit` or an `image`, found {}",
                    quoted(found)
                );
                let edit = if matches!(found, Type::List(_)) { "dir" } else { "file" };
                self.report(
                    Diagnostic::error(Code::TYPE_MISMATCH, ty.span, message)
                        .help(format!("write: out {}: {edit}", name.text))
                        .edit(ty.span, edit),
                );
            }
        }
        if let Some(path) = path {
            let found = self.expr(path, scope);
            self.expect(&found, &Type::String, path.span, "the path of an out", None);
        }
    }

    /// Reports what an out that is the step's root cannot have: a path of its own, and a `?`.
    fn kept_root(&mut self, name: &Name, ty: &TypeExpr, path: Option<&Expr>) {
        let error = |span, message: &str| Diagnostic::error(Code::BAD_ROOT, span, message);
        let help = format!("write: out {}: image", name.text);
        if let TypeKind::Optional(_) = ty.kind {
            let message = "the root of a step is always there, so no `?` belongs to an `image`";
            self.report(error(ty.span, message).help(&*help).edit(ty.span, "image"));
        }
        if let Some(path) = path {
            let message = "an out of type `image` is the whole root of the step, and has no path";
            let behind = Span { start: ty.span.end, ..path.span };
            self.report(
                error(path.span, message)
                    .help(format!("{help}; what stands at a path is an out of type `dir`"))
                    .edit(behind, ""),
            );
        }
    }

    /// Reports outs without a path that nothing of the stage writes.
    pub(super) fn unwritten_outs(&mut self, stage: &'p Stage, scope: &Scope) {
        // The clauses of a template may write them.
        if stage.from.is_some() {
            return;
        }
        let outs = Arc::clone(&scope.outs);
        // A type that is none was reported.
        let needs_none = |ty: &Type| matches!(ty.certain(), Type::Image | Type::Unknown);
        let is_written = |name: &String, out: &OutInfo| {
            out.has_path || needs_none(&out.ty) || scope.written.contains(name)
        };
        let unwritten = outs.iter().filter(|(name, out)| !is_written(name, out)).count();
        for (name, out) in outs.iter().filter(|(name, out)| !is_written(name, out)) {
            let message = format!("nothing writes the out `{name}`");
            let help = format!(
                "write it to {{{{out.{name}}}}} in the script, or say where the script writes it: out {name}: {} = \"path\"",
                out.ty
            );
            let problem = Diagnostic::error(Code::OUT_NEVER_WRITTEN, out.span, message)
                .label("without a path, Kiln places it and the script asks where");
            let written =
                if unwritten == 1 && out.ty == Type::File { only_output(stage) } else { None };
            self.report(match written.zip(end_of_out(stage, name)) {
                Some((path, end)) => problem
                    .help(format!("say where the script writes it: out {name}: file = {path:?}"))
                    .edit(end, format!(" = {path:?}")),
                None => problem.help(help),
            });
        }
    }

    /// Returns the type of `stage.name`.
    pub(super) fn stage_member(&mut self, stage: ItemRef, base: &'p Expr, name: &'p Name) -> Type {
        let is_matrix = !self.stage_tree(stage).axes.is_empty();
        if !is_matrix {
            return self.out_of(stage, name);
        }
        if name.text == "all" {
            let ty = Type::AllRows(stage);
            self.note(name.span, &ty, || Meaning::AllRows);
            return ty;
        }
        let outs = self.outs_of(stage);
        let Some(out) = outs.get(&name.text) else { return self.no_out(stage, false, name) };
        self.note(name.span, &out.ty, || Meaning::Out(out.span));
        let text = self.program.sources.text(base.span);
        let axes: Vec<_> =
            self.axes_of(stage).iter().map(|axis| format!("{}: …", axis.name)).collect();
        let message =
            format!("`{text}` is a matrix, and each of its rows has its own `{}`", name.text);
        self.report(Diagnostic::error(Code::NO_SUCH_ROW, base.span, message).help(format!(
            "name the row, {text}[{}].{1}, or take them all: {text}.all.{1}",
            axes.join(", "),
            name.text
        )));
        Type::Unknown
    }

    /// Returns the type of an out of one row.
    pub(super) fn out_of(&mut self, stage: ItemRef, name: &Name) -> Type {
        let outs = self.outs_of(stage);
        match outs.get(&name.text) {
            Some(out) => {
                self.note(name.span, &out.ty, || Meaning::Out(out.span));
                out.ty.clone()
            }
            None if name.text == "all" => {
                let stage = &self.stage_tree(stage).name.text;
                let message = format!("`{stage}` is one step, so it has no `all`");
                let problem = Diagnostic::error(Code::UNKNOWN_OUT, name.span, message)
                    .help("mention its outs without `.all`");
                let text = &self.program.sources.get(name.span.source).text;
                let dot = name.span.start as usize - 1;
                self.report(match text.as_bytes()[dot] {
                    b'.' => problem.edit(Span { start: dot as u32, ..name.span }, ""),
                    _ => problem,
                });
                Type::Unknown
            }
            None => self.no_out(stage, false, name),
        }
    }

    /// Reports an out that `stage` does not have; `is_own` where the stage itself mentions it.
    pub(super) fn no_out(&mut self, stage: ItemRef, is_own: bool, name: &Name) -> Type {
        let outs = self.outs_of(stage);
        let near = nearest(&name.text, outs.keys().map(String::as_str));
        // It may stand in a clause that could not be read.
        if near.is_none() && !self.program.module(stage.module).is_whole {
            return Type::Unknown;
        }
        let who = match is_own {
            true => "this stage".to_owned(),
            false => format!("`{}`", self.stage_tree(stage).name.text),
        };
        let message = format!("{who} has no out `{}`", name.text);
        let problem = Diagnostic::error(Code::UNKNOWN_OUT, name.span, message);
        let names: Vec<_> = outs.keys().cloned().collect();
        let guess = |out: &str, text: &str| (out.to_owned(), text.to_owned());
        let guess = match (near, &names[..]) {
            (Some(near), _) => Some(guess(near, "declared here")),
            (None, [only]) => Some(guess(only, "its only out")),
            (None, _) => None,
        };
        self.report(match guess {
            Some((out, text)) => problem
                .help(format!("did you mean `{out}`?"))
                .edit(name.span, &*out)
                .also(outs[&out].span, text),
            None if names.is_empty() => problem.help(format!(
                "it makes nothing yet; declare what it makes: out {}: file",
                name.text
            )),
            None => problem.help(format!("it has {}", list_of(&names))),
        });
        Type::Unknown
    }
}

/// Returns the one file that the scripts of a stage say they write: behind `-o` or `>`.
fn only_output(stage: &Stage) -> Option<String> {
    let mut found = BTreeSet::new();
    for clause in &stage.clauses {
        let ClauseKind::Script { language: ScriptLanguage::Shell(shell), script } = &clause.kind
        else {
            continue;
        };
        let ExprKind::String(literal) = &script.kind else { continue };
        let words = shell::analyse(*shell, literal).words;
        let behind = |at: usize| at.checked_sub(1).map(|before| words[before].value.as_str());
        let outputs = words.iter().enumerate().filter(|(at, word)| {
            let is_named = word.role == Role::Argument && behind(*at) == Some("-o");
            is_named || word.role == Role::Output
        });
        found.extend(outputs.map(|(_, word)| word.value.clone()));
    }
    let is_below = |path: &String| !path.starts_with(['/', '-', '~']) && !path.contains("..");
    found.first().filter(|path| found.len() == 1 && is_below(path)).cloned()
}

/// Returns the place behind the clause that declares an out without a path.
fn end_of_out(stage: &Stage, name: &str) -> Option<Span> {
    stage.clauses.iter().find_map(|clause| match &clause.kind {
        ClauseKind::Out { name: own, ty, path: None } if own.text == name => {
            Some(Span::at(ty.span.source, ty.span.end as usize))
        }
        _ => None,
    })
}
