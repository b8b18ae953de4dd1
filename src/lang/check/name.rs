//! Checking names: what a name means where it stands, and the members of what it names.

use super::cure::quoted;
use super::expr::list_of;
use super::{Checker, MAX_GUESSES, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::builtins::{self, Function, facts};
use crate::lang::library;
use crate::lang::meaning::Meaning;
use crate::lang::nearest::nearest;
use crate::lang::scope::declared;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{Expr, ItemKind, Name};

/// Variables that every shell has: mentioned in a hole they were meant for the shell.
pub(super) const SHELL_NAMES: &[&str] = &["HOME", "PATH", "PWD", "USER", "TMPDIR", "LANG", "SHELL"];

impl<'p> Checker<'p> {
    pub(super) fn name(&mut self, name: &str, span: Span, scope: &mut Scope) -> Type {
        if let Some(local) = scope.locals.get(name) {
            let (ty, declared) = (local.ty.clone(), local.span);
            self.note(span, &ty, || declared.map_or(Meaning::OwnOuts, Meaning::Local));
            return ty;
        }
        let module = scope.item.module;
        if let Some(item) = self.symbols[module.index()].get(name) {
            return self.mention(scope.item, ItemRef { module, item }, span);
        }
        match builtins::find(name) {
            Some(builtin) if builtin.function == Function::Host => {
                self.note(span, &Type::Host, || Meaning::Host);
                Type::Host
            }
            Some(builtin) => self.builtin(builtin.name, span),
            None => {
                let problem = self.unknown_name(name, span, scope);
                self.report(problem);
                Type::Unknown
            }
        }
    }

    fn builtin(&mut self, name: &'static str, span: Span) -> Type {
        let ty = Type::Builtin(name);
        self.note(span, &ty, || Meaning::Builtin(name));
        ty
    }

    /// Notes that `user` mentions `item`, and returns its type.
    fn mention(&mut self, user: ItemRef, item: ItemRef, span: Span) -> Type {
        self.used.insert(item);
        let is_value = |item: &ItemKind| {
            matches!(item, ItemKind::Let(_) | ItemKind::Function(_) | ItemKind::Param(_))
        };
        if is_value(&self.tree(user).kind) && is_value(&self.tree(item).kind) {
            self.mentions.entry(user).or_default().push((item, span));
        }
        let ty = self.type_of(item, span);
        self.note(span, &ty, || Meaning::Item(item));
        ty
    }

    fn unknown_name(&mut self, name: &str, span: Span, scope: &Scope) -> Diagnostic {
        if builtins::is_later(name) {
            return Diagnostic::error(
                Code::NOT_IN_THIS_VERSION,
                span,
                format!("`{name}` is not in this version of Kiln"),
            )
            .help(builtins::instead_of_later(name));
        }
        let problem =
            Diagnostic::error(Code::UNKNOWN_NAME, span, format!("nothing is called `{name}`"));
        if name == "out" {
            return problem.help(match &self.tree(scope.item).kind {
                ItemKind::Stage(_) => "a service makes no outs: what it says to its stage is known before it runs, so write that here, too",
                _ => "only the clauses of a stage can mention its outs",
            });
        }
        if SHELL_NAMES.contains(&name) {
            return problem
                .help(format!("in a script, a variable of the shell is written ${name}"));
        }
        if scope.outs.contains_key(name) {
            return problem
                .help(format!("an out of this stage is written `out.{name}`"))
                .edit(span, format!("out.{name}"));
        }
        self.guesses += self.symbols[scope.item.module.index()].names().count();
        let synonym = builtins::synonym(name).filter(|_| scope.calls).map(str::to_owned);
        if let Some(near) = synonym.or_else(|| self.nearest_name(name, scope)) {
            return problem.help(format!("did you mean `{near}`?")).edit(span, near);
        }
        if scope.among_texts {
            return problem
                .help(format!("a text stands in quotes: {name:?}"))
                .edit(span, format!("{name:?}"));
        }
        let rest = &self.program.sources.get(span.source).text[span.end as usize..];
        if library::text(name).is_some() && rest.starts_with('.') {
            return self.use_of_library(problem, name, span);
        }
        let cure = if scope.calls { builtins::foreign(name) } else { foreign(name) };
        problem.help(match (cure, scope.calls) {
            (Some(cure), _) => cure.to_owned(),
            (None, true) => format!("declare it: fn {name}(…) -> … = …"),
            (None, false) => format!(
                "declare it: let {name} = …  or, to set it from outside, param {name}: string"
            ),
        })
    }

    /// Says that a name is one of the standard library's modules, and where to ask for it: before the
    /// other `use` items, or else before all items but the line that names the version.
    fn use_of_library(&self, problem: Diagnostic, name: &str, span: Span) -> Diagnostic {
        let line = format!("use {}{name}", library::PREFIX);
        let text = &self.program.sources.get(span.source).text;
        let uses = text.find("\nuse ").map(|at| at + 1);
        let at = uses.unwrap_or(match text.starts_with("kiln ") {
            true => text.find('\n').map_or(text.len(), |newline| newline + 1),
            false => 0,
        });
        problem
            .help(format!("it is a module of the standard library; add a line: {line}"))
            .edit(Span::at(span.source, at), format!("{line}\n"))
    }

    /// Returns the nearest name that an expression may mention: one that can be called if it is
    /// called, else one that cannot.
    fn nearest_name(&self, name: &str, scope: &Scope) -> Option<String> {
        // Who has so many unknown names needs another help.
        if self.guesses > MAX_GUESSES {
            return None;
        }
        let module = scope.item.module;
        let is_meant = |name: &&str| {
            let item = self.symbols[module.index()].get(name).map(|item| ItemRef { module, item });
            // A value that needs itself is not what was meant.
            item.filter(|item| *item != scope.item).is_some_and(|item| {
                match &self.tree(item).kind {
                    ItemKind::Function(_) => scope.calls,
                    ItemKind::Stage(stage) => scope.calls == stage.parameters.is_some(),
                    // It could not be mentioned here, either.
                    ItemKind::Secret(_) | ItemKind::Spec(_) => false,
                    ItemKind::Param(_) | ItemKind::Let(_) => !scope.calls,
                    ItemKind::Use(_) | ItemKind::Broken(_) => true,
                }
            })
        };
        let symbols = self.symbols[module.index()].names().filter(is_meant);
        let near = match scope.calls {
            true => nearest(name, symbols.chain(builtins::names().map(|name| name as &str))),
            false => nearest(name, scope.locals.names().chain(symbols).chain(["host"])),
        };
        near.map(str::to_owned)
    }

    pub(super) fn member(
        &mut self,
        whole: Span,
        base: &'p Expr,
        name: &'p Name,
        is_optional: bool,
        scope: &mut Scope,
    ) -> Type {
        let ty = self.expr(base, scope);
        match (&ty, is_optional) {
            (Type::Optional(inner), true) => {
                Type::optional(self.member_of(whole, inner, base, name, scope))
            }
            (Type::Optional(_), false) => {
                if self.refused(base.span) {
                    return Type::Unknown;
                }
                let text = self.program.sources.text(base.span);
                let message = format!("`{text}` may be `none`, which has no `{}`", name.text);
                let help = format!("write {text}?.{0}, which is `none` then", name.text);
                let dot =
                    Span::new(base.span.source, base.span.end as usize, name.span.start as usize);
                self.report(
                    Diagnostic::error(Code::MAYBE_NONE, name.span, message)
                        .help(help)
                        .edit(dot, "?."),
                );
                Type::Unknown
            }
            (_, true) if ty != Type::Unknown => {
                let message = format!(
                    "`?.` follows a value that may be `none`, and {} is none such",
                    quoted(&ty)
                );
                let dot =
                    Span::new(base.span.source, base.span.end as usize, name.span.start as usize);
                self.report(
                    Diagnostic::error(Code::NO_SUCH_OPERATION, dot, message)
                        .help("write `.`")
                        .edit(dot, "."),
                );
                self.member_of(whole, &ty, base, name, scope)
            }
            _ => self.member_of(whole, &ty, base, name, scope),
        }
    }

    fn member_of(
        &mut self,
        whole: Span,
        ty: &Type,
        base: &'p Expr,
        name: &'p Name,
        scope: &mut Scope,
    ) -> Type {
        match ty {
            Type::Unknown => Type::Unknown,
            Type::Module(module) => {
                let module = *module;
                match self.symbols[module.index()].get(&name.text) {
                    Some(item) => {
                        let item = ItemRef { module, item };
                        self.private(item, base, name);
                        self.mention(scope.item, item, name.span)
                    }
                    None => self.no_member(ty, name),
                }
            }
            Type::Record(fields) => match fields.get(&name.text) {
                Some(ty) => {
                    self.note(name.span, ty, || Meaning::Member);
                    ty.clone()
                }
                None => self.no_member(ty, name),
            },
            Type::File | Type::Junit | Type::Dir => match name.text.as_str() {
                "name" | "stem" | "parent" | "path" => {
                    self.note(name.span, &Type::String, || Meaning::Member);
                    Type::String
                }
                _ => self.no_member(ty, name),
            },
            Type::Host if name.text == "tool" => self.builtin(builtins::HOST_TOOL, name.span),
            Type::Host => match facts::GROUPS.iter().find(|group| **group == name.text) {
                Some(group) => {
                    self.note(name.span, &Type::Facts(group), || Meaning::Facts(group));
                    Type::Facts(group)
                }
                None => self.fact("", name),
            },
            Type::Facts(group) => self.fact(&format!("{group}."), name),
            Type::Outs => {
                scope.written.insert(name.text.clone());
                match scope.outs.get(&name.text) {
                    Some(out) => {
                        let (ty, declared) = (out.ty.certain().clone(), out.span);
                        self.note(name.span, &ty, || Meaning::Out(declared));
                        ty
                    }
                    None => self.no_out(scope.item, true, name),
                }
            }
            Type::Stage(stage) => {
                let found = self.stage_member(*stage, base, name);
                match found {
                    Type::AllRows(_) => found,
                    found => self.maybe(*stage, base, (whole, found), scope),
                }
            }
            Type::Row(stage) => {
                let found = self.out_of(*stage, name);
                self.maybe(*stage, base, (whole, found), scope)
            }
            Type::AllRows(stage) => Type::list(self.out_of(*stage, name)),
            Type::Beside(service) => self.out_of(*service, name),
            Type::Service(service) => self.service_apart(*service, base, name),
            ty => self.no_member(ty, name),
        }
    }

    /// Returns the type of a fact of `group`, which is empty or ends with a dot.
    fn fact(&mut self, group: &str, name: &Name) -> Type {
        let full = format!("{group}{}", name.text);
        if let Some(fact) = facts::find(&full) {
            self.note(name.span, &fact.ty(), || Meaning::Fact(full));
            return fact.ty();
        }
        let known = facts::members(group);
        let message = match group.strip_suffix('.') {
            Some(group) => format!("`host.{group}` has no fact `{}`", name.text),
            None => format!("`host` has no member `{}`", name.text),
        };
        let problem = Diagnostic::error(Code::UNKNOWN_FIELD, name.span, message);
        let near = facts::synonym(&full).or_else(|| nearest(&name.text, known.iter().copied()));
        self.report(match near {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(name.span, near),
            None => {
                let known: Vec<_> = known.into_iter().map(str::to_owned).collect();
                problem.help(format!("it has {}", list_of(&known)))
            }
        });
        Type::Unknown
    }

    fn private(&mut self, item: ItemRef, base: &Expr, name: &Name) {
        let tree = self.tree(item);
        if tree.is_pub || matches!(tree.kind, ItemKind::Broken(_)) {
            return;
        }
        let module = self.program.sources.text(base.span);
        if self.program.module(item.module).is_library {
            let message = format!("`{}` is for `{module}` alone", name.text);
            let problem = Diagnostic::error(Code::PRIVATE_NAME, name.span, message);
            let page = self.program.module(item.module).path.replace('/', ".");
            let page = page.trim_end_matches(".pipe");
            self.report(problem.help(format!("see what is for all: kiln explain {page}")));
            return;
        }
        let (_, place) = declared(tree).expect("it was found by its name");
        let at = Span::at(tree.span.source, tree.span.start as usize);
        self.report(
            Diagnostic::error(
                Code::PRIVATE_NAME,
                name.span,
                format!("`{}` of `{module}` is not `pub`", name.text),
            )
            .also(place, "declared here")
            .help("write `pub` before it")
            .edit(at, "pub "),
        );
    }

    fn no_member(&mut self, ty: &Type, name: &Name) -> Type {
        let (what, known): (String, Vec<String>) = match ty {
            Type::Module(module) => {
                let tree = &self.program.module(*module).ast;
                let public = tree.items.iter().filter(|item| item.is_pub).filter_map(declared);
                (
                    format!("`{}`", self.program.module(*module).path),
                    public.map(|(name, _)| name).collect(),
                )
            }
            Type::Record(fields) => ("the record".to_owned(), fields.keys().cloned().collect()),
            Type::File | Type::Junit | Type::Dir => (
                format!("a `{ty}`"),
                ["name", "stem", "parent", "path"].map(str::to_owned).to_vec(),
            ),
            ty => (quoted(ty), Vec::new()),
        };
        let problem = Diagnostic::error(
            Code::UNKNOWN_FIELD,
            name.span,
            format!("{what} has no member `{}`", name.text),
        );
        let problem = match nearest(&name.text, known.iter().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(name.span, near),
            None if known.is_empty() => problem,
            None => problem.help(format!("it has {}", list_of(&known))),
        };
        self.report(problem);
        Type::Unknown
    }
}

/// Returns what to write for a name that other tools give a meaning.
fn foreign(name: &str) -> Option<&'static str> {
    Some(match name {
        "env" | "vars" | "inputs" | "github" | "secrets" => {
            "what comes from outside is a param of its own: param version: string"
        }
        "matrix" => "an axis is mentioned by its own name: for (os in …) gives {{os}}",
        "param" | "params" => "a param is mentioned by its own name",
        "needs" | "stages" | "steps" => "a stage is mentioned by its own name: app.bin",
        "self" | "this" | "output" | "outputs" => "an out of the stage itself is written out.name",
        _ => return None,
    })
}
