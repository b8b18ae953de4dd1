//! Checking calls: of functions, of functions of the language, and of templates.

use super::cure::{loosely, quoted};
use super::expr::list_of;
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::builtins::{self, Accepts, Builtin, Count, Slot};
use crate::lang::edit;
use crate::lang::meaning::Meaning;
use crate::lang::nearest::nearest;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{Argument, DataFormat, Expr, ExprKind, ItemKind, Parameter, StageKind};

impl<'p> Checker<'p> {
    pub(super) fn call(
        &mut self,
        whole: &'p Expr,
        callee: &'p Expr,
        arguments: &'p [Argument],
        scope: &mut Scope,
    ) -> Type {
        let ty = self.callee(callee, scope);
        match ty {
            Type::Host => self.builtin_call(builtins::get("host"), whole.span, arguments, scope),
            Type::Builtin(name) => {
                self.builtin_call(builtins::get(name), whole.span, arguments, scope)
            }
            Type::Function(item) => {
                let ItemKind::Function(function) = &self.tree(item).kind else {
                    unreachable!("the type named a function");
                };
                self.arguments(
                    &function.name.text,
                    &function.parameters,
                    whole.span,
                    arguments,
                    scope,
                );
                // Its own diagnostics come when it is checked itself.
                self.silently(|checker| checker.written(&function.result))
            }
            Type::Template(item) if self.stage_tree(item).kind == StageKind::Service => {
                let service = self.stage_tree(item);
                let parameters = service.parameters.as_deref().unwrap_or_default();
                self.arguments(&service.name.text, parameters, whole.span, arguments, scope);
                Type::Service(item)
            }
            ty => {
                for argument in arguments {
                    self.expr(&argument.value, scope);
                }
                self.not_callable(&ty, whole, callee, scope);
                Type::Unknown
            }
        }
    }

    /// Returns the type of what is called.
    pub(super) fn callee(&mut self, callee: &'p Expr, scope: &mut Scope) -> Type {
        scope.calls = matches!(callee.kind, ExprKind::Name(_));
        let ty = self.expr(callee, scope);
        scope.calls = false;
        ty
    }

    fn not_callable(&mut self, ty: &Type, whole: &Expr, callee: &Expr, scope: &Scope) {
        let problem = match ty {
            Type::Unknown => return,
            Type::Template(item) => {
                let stage = self.stage_tree(*item);
                let text = self.program.sources.text(whole.span);
                let message =
                    format!("`{}` is a template: it makes stages, not values", stage.name.text);
                let keyword = stage.kind.keyword();
                let problem = Diagnostic::error(Code::NO_SUCH_OPERATION, whole.span, message);
                let tree = self.tree(scope.item);
                match &tree.kind {
                    ItemKind::Let(own) if own.value.span == whole.span && own.ty.is_none() => {
                        let source = &self.program.sources.get(whole.span.source).text;
                        problem
                            .help(format!(
                                "make a stage from it: {keyword} {} = {text}",
                                own.name.text
                            ))
                            .edit(edit::keyword(source, tree), keyword)
                    }
                    _ => problem.help(format!("make a stage from it: {keyword} name = {text}")),
                }
            }
            ty => {
                let text = self.program.sources.text(callee.span);
                let message = format!("{} cannot be called", quoted(ty));
                let problem = Diagnostic::error(Code::NO_SUCH_OPERATION, callee.span, message);
                problem.help(format!("write only: {text}")).edit(whole.span, text)
            }
        };
        self.report(problem);
    }

    fn builtin_call(
        &mut self,
        builtin: &'static Builtin,
        span: Span,
        arguments: &'p [Argument],
        scope: &mut Scope,
    ) -> Type {
        let mut types = Vec::new();
        let mut given: Vec<usize> = vec![0; builtin.slots.len()];
        for (at, argument) in arguments.iter().enumerate() {
            let found = self.expr(&argument.value, scope);
            match slot(builtin, at, argument) {
                // What is no path is told with the rest of the call.
                Some(place) if builtin.function.data_format().is_some() => given[place] += 1,
                Some(place) => {
                    if let Some(name) = &argument.name {
                        let slot = builtin.slots[place].name;
                        self.note(name.span, &found, || Meaning::Argument(builtin.name, slot));
                    }
                    given[place] += 1;
                    self.slot(builtin, &builtin.slots[place], &found, argument, given[place]);
                }
                None => self.no_slot(builtin, arguments, at),
            }
            types.push(found);
        }
        let missing = builtin
            .slots
            .iter()
            .zip(&given)
            .find(|(slot, given)| slot.count != Count::Optional && **given == 0);
        if let Some((slot, _)) = missing {
            let message = format!("`{}` is called without `{}`", builtin.name, slot.name);
            let problem = Diagnostic::error(Code::WRONG_ARGUMENTS, span, message);
            self.report(match usual(slot) {
                Some(value) => {
                    let call = self.with_argument(span, slot, arguments, value);
                    problem.help(format!("write: {call}")).edit(span, call)
                }
                None => problem.help(format!("its form is {}", builtin.signature)),
            });
        }
        match builtin.function.data_format() {
            Some(format) => self.data(format, builtin, arguments, &types, scope),
            None => builtins::result(builtin.function, &types),
        }
    }

    /// Returns a call of a builtin with one more argument.
    fn with_argument(
        &self,
        call: Span,
        slot: &Slot,
        arguments: &[Argument],
        value: &str,
    ) -> String {
        let text = self.program.sources.text(call);
        match (arguments.first(), arguments.last()) {
            // The rest is what stands before all that has a name.
            (Some(first), _) if slot.count == Count::Rest => {
                let name = first.name.as_ref().map_or(first.value.span, |name| name.span);
                let at = (name.start - call.start) as usize;
                format!("{}{value}, {}", &text[..at], &text[at..])
            }
            (_, Some(last)) => {
                let at = (last.value.span.end - call.start) as usize;
                let is_plain = arguments.iter().all(|argument| argument.name.is_none());
                let name = if is_plain { String::new() } else { format!("{}: ", slot.name) };
                format!("{}, {name}{value}{}", &text[..at], &text[at..])
            }
            _ => format!("{}{value})", text[..text.len() - 1].trim_end()),
        }
    }

    /// Reports what is no path of a data file, though it names a file.
    fn no_data_path(&mut self, builtin: &Builtin, value: &'p Expr, ty: &Type) {
        let name = builtin.name;
        let message =
            format!("`{name}` reads its file before anything else, so its path is written out");
        let problem = Diagnostic::error(Code::WRONG_ARGUMENTS, value.span, message);
        let inner = match &value.kind {
            ExprKind::Call { arguments, .. } => arguments.first(),
            _ => None,
        };
        let path = inner.filter(|inner| inner.value.constant().is_some());
        self.report(match path {
            Some(path) => {
                let path = self.program.sources.text(path.value.span);
                problem.help(format!("write: {name}({path})")).edit(value.span, path)
            }
            None if *ty == Type::File => {
                problem.help("let the scripts that use it read what a stage makes; only a matrix goes through it: for (x in json(stage.out), max: 64)")
            }
            None => problem.help(format!("write: {name}(\"path\")")),
        });
    }

    /// Returns the type of what a data file holds.
    fn data(
        &mut self,
        format: DataFormat,
        builtin: &Builtin,
        arguments: &'p [Argument],
        types: &[Type],
        scope: &Scope,
    ) -> Type {
        let ([Argument { value, .. }], [ty]) = (arguments, types) else { return Type::Unknown };
        let Some(path) = value.constant() else {
            if *ty != Type::Unknown {
                self.no_data_path(builtin, value, ty);
            }
            return Type::Unknown;
        };
        let key = (scope.item.module, format, path);
        match self.program.data.get(&key) {
            Some(Some(data)) => data.ty.clone(),
            // It was reported, or the call could not be parsed as one.
            Some(None) | None => Type::Unknown,
        }
    }

    fn slot(
        &mut self,
        builtin: &Builtin,
        slot: &Slot,
        found: &Type,
        argument: &Argument,
        count: usize,
    ) {
        if slot.count != Count::Rest && count > 1 {
            let message = format!("`{}` is given twice", slot.name);
            self.report(
                Diagnostic::error(Code::DUPLICATE, argument.value.span, message)
                    .help("delete one of the two"),
            );
        } else if !slot.accepts.fits(found) {
            let message = format!(
                "`{}` of `{}` takes {}, found {}",
                slot.name,
                builtin.name,
                slot.accepts.words(),
                loosely(found)
            );
            let span = argument.value.span;
            let problem = Diagnostic::error(Code::TYPE_MISMATCH, span, message);
            let wanted = if slot.accepts == Accepts::Text { &Type::String } else { &Type::Unknown };
            let problem = match self.cure(found, wanted, span) {
                Some(cure) => cure.of(problem, span),
                None => problem.help(format!("its form is {}", builtin.signature)),
            };
            self.report(problem);
        }
    }

    fn no_slot(&mut self, builtin: &Builtin, arguments: &[Argument], at: usize) {
        let argument = &arguments[at];
        let help = format!("its form is {}", builtin.signature);
        let problem = match &argument.name {
            Some(name) => {
                let problem = Diagnostic::error(
                    Code::UNKNOWN_FIELD,
                    name.span,
                    format!("`{}` has no argument `{}`", builtin.name, name.text),
                );
                match nearest(&name.text, builtin.slots.iter().map(|slot| slot.name)) {
                    Some(near) => {
                        problem.help(format!("did you mean `{near}`?")).edit(name.span, near)
                    }
                    None => problem.help(help),
                }
            }
            None => {
                let message = format!(
                    "`{}` takes {}, this is one more",
                    builtin.name,
                    arguments_words(builtin.slots.len())
                );
                Diagnostic::error(Code::WRONG_ARGUMENTS, argument.value.span, message)
                    .help(format!("take it away; {help}"))
                    .edit(edit::argument(arguments, at), "")
            }
        };
        self.report(problem);
    }

    /// Checks the arguments of a function or template against its parameters.
    pub(super) fn arguments(
        &mut self,
        name: &str,
        parameters: &'p [Parameter],
        span: Span,
        arguments: &'p [Argument],
        scope: &mut Scope,
    ) {
        let mut given: Vec<Option<Span>> = vec![None; parameters.len()];
        let mut is_known = true;
        for (at, argument) in arguments.iter().enumerate() {
            let found = self.expr(&argument.value, scope);
            let place = match &argument.name {
                Some(name) => {
                    parameters.iter().position(|parameter| parameter.name.text == name.text)
                }
                None => (at < parameters.len()).then_some(at),
            };
            let Some(place) = place else {
                self.no_parameter(name, parameters, arguments, at);
                is_known = false;
                continue;
            };
            let parameter = &parameters[place];
            if let Some(first) = given[place].replace(argument.value.span) {
                let message = format!("`{}` is given twice", parameter.name.text);
                self.report(
                    Diagnostic::error(Code::DUPLICATE, argument.value.span, message)
                        .also(first, "first here")
                        .help("delete one of the two"),
                );
                continue;
            }
            let wanted = self.silently(|checker| checker.written(&parameter.ty));
            if let Some(name) = &argument.name {
                self.note(name.span, &wanted, || Meaning::Local(parameter.name.span));
            }
            let declared = Some((parameter.ty.span, "its type is declared here"));
            let what = format!("`{}` of `{name}`", parameter.name.text);
            self.expect(&found, &wanted, argument.value.span, &what, declared);
        }
        let missing = parameters
            .iter()
            .zip(&given)
            .filter(|(parameter, given)| given.is_none() && parameter.default.is_none());
        let missing: Vec<_> = missing.map(|(parameter, _)| parameter).collect();
        // One of another name was likely meant for it.
        if let Some(first) = missing.first().filter(|_| is_known) {
            let names: Vec<_> =
                missing.iter().map(|parameter| parameter.name.text.clone()).collect();
            let message = format!("`{name}` is called without {}", list_of(&names));
            let ty = self.program.sources.text(first.ty.span);
            self.report(
                Diagnostic::error(Code::WRONG_ARGUMENTS, span, message)
                    .also(first.name.span, "declared here")
                    .help(format!("add `{}`, of type `{ty}`: {name}(…, {0}: …)", first.name.text)),
            );
        }
    }

    fn no_parameter(
        &mut self,
        callee: &str,
        parameters: &[Parameter],
        arguments: &[Argument],
        at: usize,
    ) {
        let argument = &arguments[at];
        let names: Vec<_> =
            parameters.iter().map(|parameter| parameter.name.text.clone()).collect();
        let problem = match &argument.name {
            Some(name) => {
                let problem = Diagnostic::error(
                    Code::UNKNOWN_FIELD,
                    name.span,
                    format!("`{callee}` has no parameter `{}`", name.text),
                );
                match nearest(&name.text, names.iter().map(String::as_str)) {
                    Some(near) => {
                        problem.help(format!("did you mean `{near}`?")).edit(name.span, near)
                    }
                    None => problem.help(format!("it has {}", list_of(&names))),
                }
            }
            None => {
                let message =
                    format!("`{callee}` takes {}, this is one more", arguments_words(names.len()));
                Diagnostic::error(Code::WRONG_ARGUMENTS, argument.value.span, message)
                    .help(match names.is_empty() {
                        true => "take it away".to_owned(),
                        false => format!("take it away; it has {}", list_of(&names)),
                    })
                    .edit(edit::argument(arguments, at), "")
            }
        };
        self.report(problem);
    }

    /// Returns the template that a stage is made from, with its arguments.
    pub(super) fn template(
        &mut self,
        user: ItemRef,
        from: &'p Expr,
        scope: &mut Scope,
    ) -> Option<(ItemRef, &'p [Argument])> {
        let ExprKind::Call { callee, arguments } = &from.kind else {
            let found = self.expr(from, scope);
            if found != Type::Unknown {
                let message =
                    format!("a stage is made from a call of a template, found {}", quoted(&found));
                let text = self.program.sources.text(from.span);
                let problem = Diagnostic::error(Code::TYPE_MISMATCH, from.span, message);
                self.report(match found {
                    Type::Template(_) => problem
                        .help(format!("call it: {text}()"))
                        .edit(Span::at(from.span.source, from.span.end as usize), "()"),
                    _ => problem.help("give the stage a body: { … }"),
                });
            }
            return None;
        };
        match self.callee(callee, scope) {
            Type::Template(item) => {
                let (own, template) = (self.stage_tree(user).kind, self.stage_tree(item));
                if own != template.kind {
                    let message = format!(
                        "`{}` is a template of {} stages",
                        template.name.text,
                        template.kind.keyword()
                    );
                    let tree = self.tree(user);
                    let text = &self.program.sources.get(tree.span.source).text;
                    let keyword = template.kind.keyword();
                    self.report(
                        Diagnostic::error(Code::TYPE_MISMATCH, callee.span, message)
                            .also(template.name.span, "declared here")
                            .help(format!("begin the stage with `{keyword}`"))
                            .edit(edit::keyword(text, tree), keyword),
                    );
                }
                Some((item, arguments))
            }
            found => {
                for argument in arguments {
                    self.expr(&argument.value, scope);
                }
                if found != Type::Unknown {
                    let message =
                        format!("a stage is made from a template, found {}", quoted(&found));
                    self.report(
                        Diagnostic::error(Code::TYPE_MISMATCH, callee.span, message)
                            .help("give the stage a body: { … }"),
                    );
                }
                None
            }
        }
    }
}

/// Returns what is nearly always meant by an argument that must be given.
fn usual(slot: &Slot) -> Option<&'static str> {
    match slot.name {
        "globs" => Some("\"**\""),
        "by" => Some("\" \""),
        _ => None,
    }
}

/// Returns the parameter that an argument is for.
fn slot(builtin: &Builtin, at: usize, argument: &Argument) -> Option<usize> {
    if let Some(name) = &argument.name {
        return builtin.slots.iter().position(|slot| slot.name == name.text);
    }
    match builtin.slots.first() {
        Some(slot) if slot.count == Count::Rest => Some(0),
        _ => builtin.slots.get(at).filter(|slot| slot.count == Count::One).map(|_| at),
    }
}

fn arguments_words(count: usize) -> String {
    match count {
        0 => "no argument".to_owned(),
        1 => "one argument".to_owned(),
        count => format!("{count} arguments"),
    }
}
