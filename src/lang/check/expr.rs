//! Checking expressions: the type of each form and the mistakes in it.

use std::sync::Arc;

use indexmap::IndexMap;

use super::cure::{Cure, loosely, operand, quoted, reads_as};
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::lang::builtins;
use crate::lang::meaning::Meaning;
use crate::lang::rename;
use crate::lang::scope::declared;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{
    Axis, BinaryOperator, Expr, ExprKind, ItemKind, Name, Piece, StringLiteral,
};

impl<'p> Checker<'p> {
    /// Returns the type of an expression and reports its mistakes.
    pub(super) fn expr(&mut self, expr: &'p Expr, scope: &mut Scope) -> Type {
        let ty = self.expr_of(expr, scope);
        self.note_type(expr.span, &ty);
        ty
    }

    fn expr_of(&mut self, expr: &'p Expr, scope: &mut Scope) -> Type {
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
            ExprKind::Name(name) => {
                let found = self.name(name, expr.span, scope);
                let found = self.no_secret(found, expr, scope);
                self.narrowed(expr, found, scope)
            }
            ExprKind::Member { base, name, is_optional } => {
                let found = self.member(expr.span, base, name, *is_optional, scope);
                let found = self.no_secret(found, expr, scope);
                self.narrowed(expr, found, scope)
            }
            ExprKind::Index { base, index } => {
                let found = self.index(base, index, scope);
                self.narrowed(expr, found, scope)
            }
            ExprKind::Row { base, axes } => self.row(expr, base, axes, scope),
            ExprKind::Call { callee, arguments } => self.call(expr, callee, arguments, scope),
            ExprKind::Unary { operator, operand } => self.unary(*operator, operand, scope),
            ExprKind::Binary { operator, place, left, right } => {
                let first = self.expr(left, scope);
                let second = match operator {
                    // The right side counts only where the left one holds, or does not.
                    BinaryOperator::And | BinaryOperator::Or => {
                        let holds = *operator == BinaryOperator::And;
                        self.knowing(left, holds, scope, |checker, scope| {
                            checker.expr(right, scope)
                        })
                    }
                    _ => self.expr(right, scope),
                };
                let types = (first, second);
                self.binary(*operator, *place, (left, &types.0), (right, &types.1))
            }
            ExprKind::If { condition, then, otherwise } => {
                self.condition(condition, scope);
                let first = self
                    .knowing(condition, true, scope, |checker, scope| checker.expr(then, scope));
                let second = self.knowing(condition, false, scope, |checker, scope| {
                    checker.expr(otherwise, scope)
                });
                self.join_all(
                    &[(&first, then.span), (&second, otherwise.span)],
                    "the branches of `if`",
                )
            }
            ExprKind::ListFor { element, axes, condition } => self.comprehension(
                expr.span,
                axes,
                condition.as_deref(),
                scope,
                |checker, scope| Type::list(checker.expr(element, scope)),
            ),
            ExprKind::MapFor { key, value, axes, condition } => self.comprehension(
                expr.span,
                axes,
                condition.as_deref(),
                scope,
                |checker, scope| {
                    let found = checker.expr(key, scope);
                    checker.expect(&found, &Type::String, key.span, "a key", None);
                    Type::Map(Arc::new(checker.expr(value, scope)))
                },
            ),
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
            [Type::Int(low, other), Type::Int(high, another)]
                if low == other && high == another =>
            {
                let edit = format!("{high}..{low}");
                self.report(
                    Diagnostic::error(
                        Code::BAD_LITERAL,
                        from.span.to(to.span),
                        format!("the range `{low}..{high}` holds no number"),
                    )
                    .help(format!("write the smaller end first: {edit}"))
                    .edit(from.span.to(to.span), edit),
                );
                Type::list(Type::INT)
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
                    self.printable(&found, expr);
                }
            }
        }
        text.map_or(Type::String, |text| Type::Enum(vec![text]))
    }

    /// Reports a value that has no text form.
    pub(super) fn printable(&mut self, found: &Type, expr: &Expr) {
        if found.is_text() {
            return;
        }
        if self.refused(expr.span) {
            return;
        }
        let text = self.program.sources.text(expr.span);
        let error = |code, message| Diagnostic::error(code, expr.span, message);
        let problem = match found {
            Type::Optional(inner) if inner.is_text() => {
                error(Code::MAYBE_NONE, format!("`{text}` may be `none`, which has no text"))
                    .help(format!("say what stands in for it: {} ?? \"\"", operand(text)))
                    .edit(expr.span, format!("{} ?? \"\"", operand(text)))
            }
            Type::List(element) if element.certain().is_text() => {
                error(Code::LIST_IN_WORD, format!("one text fits here, found {}", loosely(found)))
                    .help(format!("say how its elements are joined: join({text}, \" \")"))
                    .edit(expr.span, format!("join({text}, \" \")"))
            }
            found => {
                let message = format!("{} has no text form", quoted(found));
                let problem = error(Code::TYPE_MISMATCH, message);
                match found {
                    Type::Stage(_) | Type::Row(_) => {
                        self.name_an_out(found, text).of(problem, expr.span)
                    }
                    Type::Record(fields) if !matches!(expr.kind, ExprKind::Record(_)) => {
                        let fields: Vec<_> =
                            fields.keys().map(|field| format!("{text}.{field}")).collect();
                        problem.help(format!("name one of its fields: {}", list_of(&fields)))
                    }
                    Type::Image if text.starts_with("out.") => problem.help(
                        "all that the step writes outside its working directory is kept: write to a path of the root, such as /usr/local",
                    ),
                    Type::Image => {
                        problem.help(format!("a stage runs on an image: image = {text}"))
                    }
                    _ => problem,
                }
            }
        };
        self.report(problem);
    }

    fn list(&mut self, elements: &'p [Expr], scope: &mut Scope) -> Type {
        let is_text = |element: &Expr| matches!(element.kind, ExprKind::String(_));
        let others = elements.iter().filter(|element| !is_text(element)).count();
        let mut types = Vec::new();
        for element in elements {
            scope.among_texts =
                others == 1 && elements.len() > 1 && matches!(element.kind, ExprKind::Name(_));
            types.push(self.expr(element, scope));
            scope.among_texts = false;
        }
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
    pub(super) fn join_all(&mut self, places: &[(&Type, Span)], what: &str) -> Type {
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
                    if self.refused(*span) || first.is_some_and(|(_, span)| self.refused(*span)) {
                        return Type::Unknown;
                    }
                    let mut problem = Diagnostic::error(Code::TYPE_MISMATCH, *span, message)
                        .label(format!("this is {}", quoted(ty)));
                    if let Some((ty, span)) = first {
                        problem = problem.also(*span, format!("this is {}", quoted(ty)));
                    }
                    if let Some((first, place)) = first {
                        problem = self.join_cure(problem, (first, *place), (ty, *span));
                    }
                    self.report(problem);
                    return Type::Unknown;
                }
            }
        }
        all
    }

    /// Says how two values come to be of one type.
    fn join_cure(
        &self,
        problem: Diagnostic,
        first: (&Type, Span),
        second: (&Type, Span),
    ) -> Diagnostic {
        let is_string = |ty: &Type| matches!(ty, Type::String | Type::Enum(_));
        let (text, other) = match (is_string(first.0), is_string(second.0)) {
            (true, false) => (first, second),
            (false, true) => (second, first),
            _ => return problem,
        };
        let written = self.program.sources.text(other.1);
        match text.0 {
            Type::Enum(texts) if texts.len() == 1 && reads_as(&texts[0], other.0) => problem
                .help(format!("write it without the quotes: {}", texts[0]))
                .edit(text.1, &*texts[0]),
            _ if !other.0.is_text() => problem,
            _ if matches!(other.0, Type::Int(low, high) if low == high) => problem
                .help(format!("make it a text: \"{written}\""))
                .edit(other.1, format!("\"{written}\"")),
            _ => problem.help(format!("make it a text: \"{{{{{written}}}}}\"")),
        }
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
                // Each text that the key may be is there.
                Type::Enum(texts) if texts.iter().all(|text| fields.contains_key(text)) => {
                    let found = texts.iter().map(|text| &fields[text]);
                    found
                        .cloned()
                        .try_fold(Type::Unknown, |all, ty| all.join(&ty))
                        .unwrap_or(Type::Unknown)
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
                    axes => match self.written_row(*stage, index) {
                        Some(row) => {
                            problem.help(format!("write: {base}[{row}]")).edit(index.span, row)
                        }
                        None => {
                            let axes: Vec<_> =
                                axes.iter().map(|axis| format!("{}: …", axis.name)).collect();
                            problem.help(format!("write: {base}[{}]", axes.join(", ")))
                        }
                    },
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

    pub(super) fn condition(&mut self, condition: &'p Expr, scope: &mut Scope) {
        let found = self.expr(condition, scope);
        self.expect(&found, &Type::Bool, condition.span, "a condition", None);
    }

    fn comprehension(
        &mut self,
        whole: Span,
        axes: &'p [Axis],
        condition: Option<&'p Expr>,
        scope: &mut Scope,
        body: impl FnOnce(&mut Self, &mut Scope) -> Type,
    ) -> Type {
        let outer = scope.locals.len();
        for axis in axes {
            let element = self.known_axis(axis, scope);
            self.bind(&axis.name, element, true, Some((axes, whole)), scope);
        }
        let known = scope.known.len();
        if let Some(condition) = condition {
            self.condition(condition, scope);
            self.learn(condition, true, scope);
        }
        let ty = body(self, scope);
        scope.known.truncate(known);
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
                let message = format!("`for` goes through a list, found {}", quoted(&found));
                let problem = Diagnostic::error(Code::TYPE_MISMATCH, values.span, message);
                self.report(list_cure(&found, text).of(problem, values.span));
                Type::Unknown
            }
        }
    }

    /// Returns the edit that gives an axis of `axes` another name, if its own means nothing else in the
    /// lists that are gone through, nor is an axis of rows elsewhere. All that mentions it is in `whole`.
    fn other_axis(&self, name: &str, axes: &[Axis], whole: Span) -> Option<Edit> {
        let text = &self.program.sources.get(whole.source).text;
        if !self.search.may_take(2 * text.len()) || text.contains(&format!("{name}:")) {
            return None;
        }
        let mut lists = axes.iter().map(|axis| self.program.sources.text(axis.values.span));
        let is_free = !lists.any(|list| list.contains(name));
        is_free.then(|| rename::renamed(text, whole, name))?
    }

    /// Puts a name in scope, unless it hides another. An axis may hide a module; `within` has all axes
    /// beside it, and what can mention it.
    pub(super) fn bind(
        &mut self,
        name: &Name,
        ty: Type,
        may_hide_module: bool,
        within: Option<(&[Axis], Span)>,
        scope: &mut Scope,
    ) {
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
            .help(format!("choose another name, such as `my_{}`", name.text));
            problem = match hidden {
                Some(span) => problem.also(span, "the other one"),
                None => problem.label("a name of the language itself"),
            };
            let edit = within.and_then(|(axes, whole)| self.other_axis(&name.text, axes, whole));
            self.report(match edit {
                Some(edit) => problem.edit(edit.span, edit.text),
                None => problem,
            });
        }
        self.note(name.span, &ty, || Meaning::Local(name.span));
        scope.locals.push(name.text.clone(), ty, Some(name.span));
    }
}

/// Returns what to go through in place of a value that is no list.
fn list_cure(found: &Type, text: &str) -> Cure {
    let list = |list: String| Cure {
        help: format!("make it a list: {list}"),
        edit: Some(list),
        place: None,
    };
    let say = |help: String| Cure { help, edit: None, place: None };
    match found {
        Type::Enum(texts) if texts[0].trim().contains([' ', ',']) && text.starts_with('"') => {
            let words = texts[0].split([' ', ',']).filter(|word| !word.is_empty());
            let words: Vec<_> = words.map(|word| format!("{word:?}")).collect();
            list(format!("[{}]", words.join(", ")))
        }
        Type::Enum(texts) if texts[0].trim().contains([' ', ',']) => {
            let by = if texts[0].contains(',') { "," } else { " " };
            list(format!("split({text}, {by:?})"))
        }
        Type::Int(..) => list(format!("1..{}", operand(text))),
        Type::Map(_) | Type::Record(_) => {
            say(format!("go through its keys or values: keys({text}) or values({text})"))
        }
        Type::Stage(_) => say(format!("go through one out of all its rows: {text}.all.name")),
        Type::Optional(inner) if matches!(**inner, Type::List(_)) => {
            list(format!("{} ?? []", operand(text)))
        }
        Type::Optional(_) => say(format!("make it a list: [{text}]")),
        _ => list(format!("[{text}]")),
    }
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
