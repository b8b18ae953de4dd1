//! Checking expressions: the type of each form and the mistakes in it.

use std::sync::Arc;

use indexmap::IndexMap;

use super::types::quoted;
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::builtins::{self, Function};
use crate::lang::nearest::nearest;
use crate::lang::scope::declared;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{
    Axis, BinaryOperator, Expr, ExprKind, ItemKind, Name, Piece, StringLiteral, UnaryOperator,
};

/// Variables that every shell has: mentioned in a hole they were meant for the shell.
const SHELL_NAMES: &[&str] = &["HOME", "PATH", "PWD", "USER", "TMPDIR", "LANG", "SHELL"];

impl<'p> Checker<'p> {
    /// Returns the type of an expression and reports its mistakes.
    pub(super) fn expr(&mut self, expr: &'p Expr, scope: &mut Scope) -> Type {
        match &expr.kind {
            ExprKind::None => Type::None,
            ExprKind::Bool(_) => Type::Bool,
            ExprKind::Int(value) => Type::Int(*value, *value),
            ExprKind::Duration(_) => Type::Duration,
            ExprKind::Size(_) => Type::Size,
            ExprKind::Percent(_) => Type::Percent,
            ExprKind::Range(from, to) => self.range(from, to, scope),
            ExprKind::String(literal) => self.string(literal, scope),
            ExprKind::List(elements) => self.list(elements, scope),
            ExprKind::Record(fields) => self.record(fields, scope),
            ExprKind::Name(name) => self.name(name, expr.span, scope),
            ExprKind::Member { base, name, is_optional } => {
                self.member(base, name, *is_optional, scope)
            }
            ExprKind::Index { base, index } => self.index(base, index, scope),
            ExprKind::Row { base, axes } => self.row(expr, base, axes, scope),
            ExprKind::Call { callee, arguments } => self.call(expr, callee, arguments, scope),
            ExprKind::Unary { operator, operand } => self.unary(*operator, operand, scope),
            ExprKind::Binary { operator, place, left, right } => {
                let types = (self.expr(left, scope), self.expr(right, scope));
                self.binary(*operator, *place, (left, &types.0), (right, &types.1))
            }
            ExprKind::If { condition, then, otherwise } => {
                self.condition(condition, scope);
                let (first, second) = (self.expr(then, scope), self.expr(otherwise, scope));
                self.join_all(
                    &[(&first, then.span), (&second, otherwise.span)],
                    "the branches of `if`",
                )
            }
            ExprKind::ListFor { element, axes, condition } => {
                self.comprehension(axes, condition.as_deref(), scope, |checker, scope| {
                    Type::list(checker.expr(element, scope))
                })
            }
            ExprKind::MapFor { key, value, axes, condition } => {
                self.comprehension(axes, condition.as_deref(), scope, |checker, scope| {
                    let found = checker.expr(key, scope);
                    checker.expect(&found, &Type::String, key.span, "a key", None);
                    Type::Map(Arc::new(checker.expr(value, scope)))
                })
            }
            ExprKind::Broken => Type::Unknown,
        }
    }

    fn range(&mut self, from: &'p Expr, to: &'p Expr, scope: &mut Scope) -> Type {
        let mut bounds = Vec::new();
        for end in [from, to] {
            let found = self.expr(end, scope);
            self.expect(&found, &Type::INT, end.span, "an end of a range", None);
            bounds.push(found);
        }
        match bounds[..] {
            [Type::Int(low, _), Type::Int(_, high)] if low <= high => {
                Type::list(Type::Int(low, high))
            }
            _ => Type::list(Type::INT),
        }
    }

    /// Returns the type of a string that is not a script.
    fn string(&mut self, literal: &'p StringLiteral, scope: &mut Scope) -> Type {
        let mut text = Some(String::new());
        for piece in &literal.pieces {
            match piece {
                Piece::Text { text: part, .. } => {
                    if let Some(text) = &mut text {
                        text.push_str(part);
                    }
                }
                Piece::Hole { expr, .. } => {
                    text = None;
                    let found = self.expr(expr, scope);
                    self.printable(&found, expr, scope);
                }
            }
        }
        text.map_or(Type::String, |text| Type::Enum(vec![text]))
    }

    /// Reports a value that has no text form.
    pub(super) fn printable(&mut self, found: &Type, expr: &Expr, _scope: &Scope) {
        if found.is_text() {
            return;
        }
        let text = self.program.sources.text(expr.span);
        let problem = match found {
            Type::Optional(inner) if inner.is_text() => Diagnostic::error(
                Code::MAYBE_NONE,
                expr.span,
                format!("`{text}` may be `none`, which has no text"),
            )
            .help(format!("say what stands in for it: {{{{{text} ?? \"\"}}}}")),
            Type::List(element) if element.certain().is_text() => Diagnostic::error(
                Code::LIST_IN_WORD,
                expr.span,
                format!("a list cannot stand inside a text, found `{found}`"),
            )
            .help(format!("say how its elements are joined: {{{{join({text}, \" \")}}}}"))
            .edit(expr.span, format!("join({text}, \" \")")),
            Type::Stage(_) | Type::Row(_) => Diagnostic::error(
                Code::TYPE_MISMATCH,
                expr.span,
                format!("{} has no text form", quoted(found)),
            )
            .help(format!("name one of its outs: {{{{{text}.name}}}}")),
            found => Diagnostic::error(
                Code::TYPE_MISMATCH,
                expr.span,
                format!("{} has no text form", quoted(found)),
            ),
        };
        self.report(problem);
    }

    fn list(&mut self, elements: &'p [Expr], scope: &mut Scope) -> Type {
        let types: Vec<_> = elements.iter().map(|element| self.expr(element, scope)).collect();
        let places: Vec<_> =
            types.iter().zip(elements).map(|(ty, element)| (ty, element.span)).collect();
        match self.join_nested(&places) {
            Some(ty) => Type::list(ty),
            None => Type::list(self.join_all(&places, "the elements of a list")),
        }
    }

    /// Files, folders and lists of them may be mixed, as `in` and `except:` take them.
    fn join_nested(&self, places: &[(&Type, Span)]) -> Option<Type> {
        let paths = builtins::Accepts::Paths;
        let joins = |all: Type, (ty, _): &(&Type, Span)| all.join(ty);
        if places.iter().try_fold(Type::Unknown, joins).is_some()
            || !places.iter().all(|(ty, _)| paths.fits(ty))
        {
            return None;
        }
        places.iter().any(|(ty, _)| matches!(ty, Type::List(_))).then(|| Type::list(Type::File))
    }

    /// Returns the type that all fit, and reports the first two that have none in common.
    fn join_all(&mut self, places: &[(&Type, Span)], what: &str) -> Type {
        let mut all = Type::Unknown;
        for (at, (ty, span)) in places.iter().enumerate() {
            match all.join(ty) {
                Some(joined) => all = joined,
                None => {
                    let message = format!(
                        "{what} are of different types: {} and {}",
                        quoted(&all),
                        quoted(ty)
                    );
                    let first = places[..at].iter().rev().find(|(ty, _)| **ty != Type::Unknown);
                    let mut problem = Diagnostic::error(Code::TYPE_MISMATCH, *span, message)
                        .label(format!("this is {}", quoted(ty)));
                    if let Some((ty, span)) = first {
                        problem = problem.also(*span, format!("this is {}", quoted(ty)));
                    }
                    if all.is_text() && ty.is_text() {
                        let is_string = matches!(ty, Type::String | Type::Enum(_));
                        let other = first.filter(|_| is_string).map_or(*span, |(_, span)| *span);
                        let text = self.program.sources.text(other);
                        problem = problem.help(format!("make it a text: \"{{{{{text}}}}}\""));
                    }
                    self.report(problem);
                    return Type::Unknown;
                }
            }
        }
        all
    }

    fn record(&mut self, fields: &'p [(Name, Expr)], scope: &mut Scope) -> Type {
        let mut types: IndexMap<String, Type> = IndexMap::new();
        for (at, (name, value)) in fields.iter().enumerate() {
            let ty = self.expr(value, scope);
            if types.insert(name.text.clone(), ty).is_some() {
                let first = fields[..at].iter().find(|(first, _)| first.text == name.text);
                let first = first.expect("the key was there").0.span;
                self.report(
                    Diagnostic::error(
                        Code::DUPLICATE,
                        name.span,
                        format!("the key `{}` is given twice", name.text),
                    )
                    .also(first, "first here")
                    .help("delete one of the two"),
                );
            }
        }
        Type::Record(Arc::new(types))
    }

    fn name(&mut self, name: &str, span: Span, scope: &mut Scope) -> Type {
        if let Some(local) = scope.locals.get(name) {
            return local.ty.clone();
        }
        let module = scope.item.module;
        if let Some(item) = self.symbols[module.index()].get(name) {
            return self.mention(scope.item, ItemRef { module, item }, span);
        }
        match builtins::find(name) {
            Some(builtin) if builtin.function == Function::Host => Type::Host,
            Some(builtin) => Type::Builtin(builtin.name),
            None => {
                let problem = self.unknown_name(name, span, scope);
                self.report(problem);
                Type::Unknown
            }
        }
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
        self.type_of(item, span)
    }

    fn unknown_name(&self, name: &str, span: Span, scope: &Scope) -> Diagnostic {
        if builtins::is_later(name) {
            return Diagnostic::error(
                Code::NOT_IN_THIS_VERSION,
                span,
                format!("`{name}` is not in this version of Kiln"),
            );
        }
        let problem =
            Diagnostic::error(Code::UNKNOWN_NAME, span, format!("nothing is called `{name}`"));
        if SHELL_NAMES.contains(&name) {
            return problem
                .help(format!("in a script, a variable of the shell is written ${name}"));
        }
        if scope.outs.contains_key(name) {
            return problem
                .help(format!("an out of this stage is written `out.{name}`"))
                .edit(span, format!("out.{name}"));
        }
        let near = nearest(name, self.visible(scope));
        match near {
            Some(near) => problem.help(format!("did you mean `{near}`?")).edit(span, near),
            None => problem.help(format!(
                "declare it: let {name} = …  or, to set it from outside, param {name}: string"
            )),
        }
    }

    /// Returns all names that an expression may mention.
    fn visible<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a str> + use<'a, 'p> {
        let symbols = &self.symbols[scope.item.module.index()];
        let locals = scope.locals.names();
        locals.chain(symbols.names()).chain(builtins::names().map(|name| name as &str))
    }

    fn member(
        &mut self,
        base: &'p Expr,
        name: &'p Name,
        is_optional: bool,
        scope: &mut Scope,
    ) -> Type {
        let ty = self.expr(base, scope);
        match (&ty, is_optional) {
            (Type::Optional(inner), true) => {
                Type::optional(self.member_of(inner, base, name, scope))
            }
            (Type::Optional(_), false) => {
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
                self.member_of(&ty, base, name, scope)
            }
            _ => self.member_of(&ty, base, name, scope),
        }
    }

    fn member_of(&mut self, ty: &Type, base: &'p Expr, name: &'p Name, scope: &mut Scope) -> Type {
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
                Some(ty) => ty.clone(),
                None => self.no_member(ty, name),
            },
            Type::File | Type::Junit | Type::Dir => match name.text.as_str() {
                "name" | "stem" | "parent" | "path" => Type::String,
                _ => self.no_member(ty, name),
            },
            Type::Host if name.text == "tool" => Type::Builtin(builtins::HOST_TOOL),
            Type::Host => {
                let message =
                    format!("the fact `host.{}` is not in this version of Kiln", name.text);
                self.report(
                    Diagnostic::error(Code::NOT_IN_THIS_VERSION, name.span, message)
                        .help("pass it as a param for now: kiln run -p name=value"),
                );
                Type::Unknown
            }
            Type::Outs => {
                scope.written.insert(name.text.clone());
                match scope.outs.get(&name.text) {
                    Some(out) => out.ty.certain().clone(),
                    None => self.no_out(&scope.outs.clone(), "this stage", name),
                }
            }
            Type::Stage(stage) => self.stage_member(*stage, base, name),
            Type::Row(stage) => self.out_of(*stage, name),
            Type::AllRows(stage) => Type::list(self.out_of(*stage, name)),
            ty => self.no_member(ty, name),
        }
    }

    fn private(&mut self, item: ItemRef, base: &Expr, name: &Name) {
        let tree = self.tree(item);
        if tree.is_pub || matches!(tree.kind, ItemKind::Broken(_)) {
            return;
        }
        let module = self.program.sources.text(base.span);
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

    fn index(&mut self, base: &'p Expr, index: &'p Expr, scope: &mut Scope) -> Type {
        let (ty, key) = (self.expr(base, scope), self.expr(index, scope));
        match &ty {
            Type::Unknown => Type::Unknown,
            Type::List(element) => {
                self.expect(&key, &Type::INT, index.span, "the index of a list", None);
                (**element).clone()
            }
            Type::Map(element) => {
                self.expect(&key, &Type::String, index.span, "the key of a map", None);
                Type::optional((**element).clone())
            }
            Type::Record(fields) => match &key {
                Type::Enum(texts) if texts.len() == 1 && fields.contains_key(&texts[0]) => {
                    fields[&texts[0]].clone()
                }
                _ => {
                    self.expect(&key, &Type::String, index.span, "the key of a record", None);
                    let all = fields.values().try_fold(Type::Unknown, |all, ty| all.join(ty));
                    Type::optional(all.unwrap_or(Type::Unknown))
                }
            },
            Type::Stage(stage) => {
                let axes = self.axes_of(*stage);
                let base = self.program.sources.text(base.span);
                let text = self.program.sources.text(index.span);
                let problem =
                    Diagnostic::error(Code::NO_SUCH_ROW, index.span, "a row is named by its axes");
                let problem = match &axes[..] {
                    [axis] => problem
                        .help(format!("write: {base}[{}: {text}]", axis.name))
                        .edit(index.span, format!("{}: {text}", axis.name)),
                    [] => problem.help(format!(
                        "`{base}` is one step, not a matrix; mention its outs without an index"
                    )),
                    axes => {
                        let axes: Vec<_> =
                            axes.iter().map(|axis| format!("{}: …", axis.name)).collect();
                        problem.help(format!("write: {base}[{}]", axes.join(", ")))
                    }
                };
                self.report(problem);
                Type::Unknown
            }
            ty => {
                let message = format!("{} has no elements", quoted(ty));
                self.report(Diagnostic::error(Code::NO_SUCH_OPERATION, base.span, message));
                Type::Unknown
            }
        }
    }

    fn unary(&mut self, operator: UnaryOperator, operand: &'p Expr, scope: &mut Scope) -> Type {
        let found = self.expr(operand, scope);
        match operator {
            UnaryOperator::Not => {
                self.expect(&found, &Type::Bool, operand.span, "`!`", None);
                Type::Bool
            }
            UnaryOperator::Negate => {
                self.expect(&found, &Type::INT, operand.span, "`-`", None);
                match found {
                    Type::Int(low, high) => match (high.checked_neg(), low.checked_neg()) {
                        (Some(low), Some(high)) => Type::Int(low, high),
                        _ => Type::INT,
                    },
                    _ => Type::INT,
                }
            }
        }
    }

    pub(super) fn condition(&mut self, condition: &'p Expr, scope: &mut Scope) {
        let found = self.expr(condition, scope);
        self.expect(&found, &Type::Bool, condition.span, "a condition", None);
    }

    fn comprehension(
        &mut self,
        axes: &'p [Axis],
        condition: Option<&'p Expr>,
        scope: &mut Scope,
        body: impl FnOnce(&mut Self, &mut Scope) -> Type,
    ) -> Type {
        let outer = scope.locals.len();
        for axis in axes {
            let element = self.elements(&axis.values, scope);
            self.bind(&axis.name, element, true, scope);
        }
        if let Some(condition) = condition {
            self.condition(condition, scope);
        }
        let ty = body(self, scope);
        scope.locals.truncate(outer);
        ty
    }

    /// Returns the type of what an `in` goes through.
    pub(super) fn elements(&mut self, values: &'p Expr, scope: &mut Scope) -> Type {
        match self.expr(values, scope) {
            Type::Unknown => Type::Unknown,
            Type::List(element) => (*element).clone(),
            found => {
                let text = self.program.sources.text(values.span);
                let help = match &found {
                    Type::Map(_) | Type::Record(_) => {
                        format!("go through its keys or values: keys({text})")
                    }
                    Type::Stage(_) => format!("go through one out of all rows: {text}.all.name"),
                    _ => format!("make it a list: [{text}]"),
                };
                let message = format!("`for` goes through a list, found {}", quoted(&found));
                self.report(
                    Diagnostic::error(Code::TYPE_MISMATCH, values.span, message).help(help),
                );
                Type::Unknown
            }
        }
    }

    /// Puts a name in scope, unless it hides another. An axis may hide a module.
    pub(super) fn bind(&mut self, name: &Name, ty: Type, may_hide_module: bool, scope: &mut Scope) {
        let hidden = match scope.locals.get(&name.text) {
            Some(local) => local.span,
            None => {
                let module = scope.item.module;
                let item = self.symbols[module.index()].get(&name.text);
                let item = item.map(|item| self.tree(ItemRef { module, item }));
                item.filter(|item| !(may_hide_module && matches!(item.kind, ItemKind::Use(_))))
                    .and_then(|item| declared(item).map(|(_, span)| span))
            }
        };
        let is_builtin =
            builtins::find(&name.text).is_some() || (name.text == "out" && hidden.is_none());
        if hidden.is_some() || is_builtin {
            let mut problem = Diagnostic::error(
                Code::SHADOWING,
                name.span,
                format!("`{}` hides another name", name.text),
            )
            .help("choose another name");
            problem = match hidden {
                Some(span) => problem.also(span, "the other one"),
                None => problem.label("a name of the language itself"),
            };
            self.report(problem);
        }
        scope.locals.push(name.text.clone(), ty, Some(name.span));
    }

    fn binary(
        &mut self,
        operator: BinaryOperator,
        place: Span,
        (left, left_type): (&Expr, &Type),
        (right, right_type): (&Expr, &Type),
    ) -> Type {
        use BinaryOperator as Op;
        let ty = match operator {
            Op::Or | Op::And => {
                self.expect(left_type, &Type::Bool, left.span, &symbol(operator), None);
                self.expect(right_type, &Type::Bool, right.span, &symbol(operator), None);
                return Type::Bool;
            }
            Op::Otherwise => match left_type {
                Type::Optional(inner) => inner.join(right_type),
                Type::None => Some(right_type.clone()),
                Type::Unknown => Some(Type::Unknown),
                _ => None,
            },
            Op::Equal | Op::NotEqual => comparable(left_type, right_type).then_some(Type::Bool),
            Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => {
                let is_ordered = |ty: &Type| {
                    matches!(
                        ty,
                        Type::Int(..) | Type::Duration | Type::Size | Type::Percent | Type::Unknown
                    )
                };
                let fits = is_ordered(left_type) && left_type.join(right_type).is_some();
                fits.then_some(Type::Bool)
            }
            Op::In => match right_type {
                Type::List(element) => comparable(left_type, element).then_some(Type::Bool),
                Type::Map(_) | Type::Record(_) => {
                    left_type.fits(&Type::String).then_some(Type::Bool)
                }
                Type::Unknown => Some(Type::Bool),
                _ => None,
            },
            _ => arithmetic(operator, left_type, right_type),
        };
        ty.unwrap_or_else(|| {
            let problem =
                self.no_operation(operator, place, (left, left_type), (right, right_type));
            self.report(problem);
            Type::Unknown
        })
    }

    fn no_operation(
        &self,
        operator: BinaryOperator,
        place: Span,
        (left, left_type): (&Expr, &Type),
        (right, right_type): (&Expr, &Type),
    ) -> Diagnostic {
        let sign = symbol(operator);
        let (a, b) = (quoted(left_type), quoted(right_type));
        let text = |expr: &Expr| self.program.sources.text(expr.span).to_owned();
        let problem = match operator {
            BinaryOperator::Otherwise => Diagnostic::error(
                Code::NO_SUCH_OPERATION,
                place,
                format!("{sign} follows a value that may be `none`, and {a} never is"),
            )
            .help(format!("write only: {}", text(left))),
            _ => Diagnostic::error(
                Code::NO_SUCH_OPERATION,
                place,
                format!("{sign} does not go between {a} and {b}"),
            ),
        };
        let problem = problem.also(left.span, a).also(right.span, b);
        match (operator, left_type, right_type) {
            (BinaryOperator::Add, Type::List(element), other) if other.fits(element) => {
                let edit = format!("[{}]", text(right));
                problem.help(format!("add a list: {} + {edit}", text(left))).edit(right.span, edit)
            }
            (BinaryOperator::Add, Type::String | Type::Enum(_), other) if other.is_text() => {
                problem.help(format!("put it in a hole: \"…{{{{{}}}}}\"", text(right)))
            }
            (BinaryOperator::Divide, Type::String | Type::Enum(_), _) => problem.help(format!(
                "a path starts with a folder: dir({}) / {}",
                text(left),
                text(right)
            )),
            (
                BinaryOperator::Equal | BinaryOperator::NotEqual,
                Type::Enum(own),
                Type::Enum(other),
            ) => {
                let (long, short) =
                    if own.len() > other.len() { (own, other) } else { (other, own) };
                let near =
                    short.first().and_then(|text| nearest(text, long.iter().map(String::as_str)));
                match near {
                    Some(near) => {
                        problem.help(format!("they are never equal; did you mean {near:?}?"))
                    }
                    None => problem.help("they are never equal: the two have no text in common"),
                }
            }
            _ => problem,
        }
    }
}

fn comparable(left: &Type, right: &Type) -> bool {
    match (left.certain(), right.certain()) {
        (Type::Enum(own), Type::Enum(other)) => own.iter().any(|text| other.contains(text)),
        (Type::None, _) => matches!(right, Type::Optional(_) | Type::None | Type::Unknown),
        (_, Type::None) => matches!(left, Type::Optional(_) | Type::None | Type::Unknown),
        (
            Type::Stage(_)
            | Type::Row(_)
            | Type::AllRows(_)
            | Type::Template(_)
            | Type::Function(_),
            _,
        ) => false,
        (own, other) => own.join(other).is_some(),
    }
}

fn arithmetic(operator: BinaryOperator, left: &Type, right: &Type) -> Option<Type> {
    use BinaryOperator as Op;
    Some(match (operator, left, right) {
        (_, Type::Unknown, _) | (_, _, Type::Unknown) => Type::Unknown,
        (
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder,
            Type::Int(..),
            Type::Int(..),
        ) => Type::INT,
        (Op::Add, Type::String | Type::Enum(_), Type::String | Type::Enum(_)) => Type::String,
        (Op::Add, Type::List(own), Type::List(other)) => Type::list(own.join(other)?),
        (Op::Add | Op::Subtract, Type::Duration, Type::Duration) => Type::Duration,
        (Op::Add | Op::Subtract, Type::Size, Type::Size) => Type::Size,
        (Op::Multiply, Type::Duration | Type::Size, Type::Int(..)) => left.clone(),
        (Op::Multiply, Type::Int(..), Type::Duration | Type::Size) => right.clone(),
        (Op::Divide, Type::Dir, Type::String | Type::Enum(_)) => Type::File,
        _ => return None,
    })
}

/// Returns an operator for a message.
pub(super) fn symbol(operator: BinaryOperator) -> String {
    use BinaryOperator as Op;
    let sign = match operator {
        Op::Otherwise => "??",
        Op::Or => "||",
        Op::And => "&&",
        Op::Equal => "==",
        Op::NotEqual => "!=",
        Op::Less => "<",
        Op::LessEqual => "<=",
        Op::Greater => ">",
        Op::GreaterEqual => ">=",
        Op::In => "in",
        Op::Add => "+",
        Op::Subtract => "-",
        Op::Multiply => "*",
        Op::Divide => "/",
        Op::Remainder => "%",
    };
    format!("`{sign}`")
}

/// Returns at most four names for a message: "`a`, `b` and `c`".
pub(super) fn list_of(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(4).map(|name| format!("`{name}`")).collect();
    match (&shown[..], names.len() - shown.len()) {
        ([], _) => "nothing".to_owned(),
        ([only], 0) => only.clone(),
        ([most @ .., last], 0) => format!("{} and {last}", most.join(", ")),
        (shown, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
