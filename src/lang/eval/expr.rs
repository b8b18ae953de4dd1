//! Evaluating expressions.

use std::sync::Arc;

use indexmap::IndexMap;

use super::text::HISTORY;
use super::{Evaluated, Evaluator, Frame, MAX_ELEMENTS, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::facts::{Fact, Finding};
use crate::files;
use crate::lang::builtins::{self, Function, facts};
use crate::lang::ty::{ItemRef, Type};
use crate::lang::value::{ArtifactValue, RowRef, Value, path_member};
use crate::plan::artifact::OutKind;
use crate::source::Span;
use crate::syntax::ast::{
    Axis, BinaryOperator, ClauseKind, Expr, ExprKind, Name, Piece, StringLiteral, TypeKind,
    UnaryOperator,
};

impl<'p> Evaluator<'p> {
    /// Returns the value of an expression.
    pub(super) fn expr(&mut self, expr: &'p Expr, frame: &mut Frame<'p>) -> Evaluated<Value> {
        self.spend(expr.span)?;
        match &expr.kind {
            ExprKind::None => Ok(Value::None),
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::Int(value) => Ok(Value::Int(*value)),
            ExprKind::Duration(millis) => Ok(Value::Duration(*millis)),
            ExprKind::Size(bytes) => Ok(Value::Size(*bytes)),
            ExprKind::Percent(value) => Ok(Value::Percent(*value)),
            ExprKind::Range(from, to) => {
                let (from, to) = (self.int(from, frame)?, self.int(to, frame)?);
                self.range(from, to, expr.span)
            }
            ExprKind::String(literal) => self.string(literal, expr.span, frame),
            ExprKind::List(elements) => {
                let elements = elements.iter().map(|element| self.expr(element, frame));
                Ok(Value::list(elements.collect::<Evaluated<_>>()?))
            }
            ExprKind::Record(fields) => {
                let mut record = IndexMap::new();
                for (name, value) in fields {
                    record.insert(name.text.clone(), self.expr(value, frame)?);
                }
                Ok(Value::Record(Arc::new(record)))
            }
            ExprKind::Name(name) => self.name(name, expr.span, frame),
            ExprKind::Member { base, name, is_optional } => match self.expr(base, frame)? {
                Value::None if *is_optional => Ok(Value::None),
                base => self.member(&base, name, frame),
            },
            ExprKind::Index { base, index } => {
                let (base, key) = (self.expr(base, frame)?, self.expr(index, frame)?);
                self.index(&base, &key, index.span)
            }
            ExprKind::Row { base, axes } => match self.expr(base, frame)? {
                Value::Named(Type::Stage(stage)) => {
                    self.find_row(stage, axes, expr.span, frame).map(Value::Row)
                }
                _ => Err(Stop),
            },
            ExprKind::Call { callee, arguments } => self.call(callee, arguments, expr.span, frame),
            ExprKind::Unary { operator, operand } => match (operator, self.expr(operand, frame)?) {
                (UnaryOperator::Not, Value::Bool(value)) => Ok(Value::Bool(!value)),
                (UnaryOperator::Negate, Value::Int(value)) => {
                    self.in_range(value.checked_neg(), expr.span)
                }
                _ => Err(Stop),
            },
            ExprKind::Binary { operator, place, left, right } => {
                self.binary(*operator, *place, left, right, frame)
            }
            ExprKind::If { condition, then, otherwise } => {
                let is_true = self.truth(condition, frame)?;
                self.expr(if is_true { then } else { otherwise }, frame)
            }
            ExprKind::ListFor { element, axes, condition } => {
                let mut list = Vec::new();
                self.each(axes, condition.as_deref(), frame, &mut |evaluator, frame| {
                    list.push(evaluator.expr(element, frame)?);
                    evaluator.elements_within(list.len(), expr.span)
                })?;
                Ok(Value::list(list))
            }
            ExprKind::MapFor { key, value, axes, condition } => {
                let mut map = IndexMap::new();
                self.each(axes, condition.as_deref(), frame, &mut |evaluator, frame| {
                    let text = evaluator.plain(key, frame)?;
                    let value = evaluator.expr(value, frame)?;
                    if map.insert(text.clone(), value).is_some() {
                        let message = format!("the key {text:?} comes twice");
                        return evaluator.fail(
                            Diagnostic::error(Code::DUPLICATE, key.span, message)
                                .help("make the keys differ"),
                        );
                    }
                    evaluator.elements_within(map.len(), expr.span)
                })?;
                Ok(Value::Record(Arc::new(map)))
            }
            ExprKind::Broken => Err(Stop),
        }
    }

    fn int(&mut self, expr: &'p Expr, frame: &mut Frame<'p>) -> Evaluated<i64> {
        match self.expr(expr, frame)? {
            Value::Int(value) => Ok(value),
            _ => Err(Stop),
        }
    }

    pub(super) fn truth(&mut self, expr: &'p Expr, frame: &mut Frame<'p>) -> Evaluated<bool> {
        match self.expr(expr, frame)? {
            Value::Bool(value) => Ok(value),
            _ => Err(Stop),
        }
    }

    /// Returns the text of an expression, which must be known before any step runs.
    pub(super) fn plain(&mut self, expr: &'p Expr, frame: &mut Frame<'p>) -> Evaluated<String> {
        let value = self.expr(expr, frame)?;
        self.plain_text(&value, expr.span, frame.folder)
    }

    pub(super) fn plain_text(
        &mut self,
        value: &Value,
        span: Span,
        folder: &str,
    ) -> Evaluated<String> {
        match value.text(folder) {
            Some(text) => {
                self.spend_text(text.len(), span)?;
                Ok(text)
            }
            None => {
                let message = "the path of an artifact is known only in the step that takes it";
                let help = "use it in a hole of a script, in `env` or in `in`";
                self.fail(Diagnostic::error(Code::NO_RESULT, span, message).help(help))
            }
        }
    }

    /// Returns the elements of what an `in` goes through.
    pub(super) fn elements(
        &mut self,
        expr: &'p Expr,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Arc<Vec<Value>>> {
        match self.expr(expr, frame)? {
            Value::List(elements) => Ok(elements),
            _ => Err(Stop),
        }
    }

    pub(super) fn range(&mut self, from: i64, to: i64, span: Span) -> Evaluated<Value> {
        let len =
            to.checked_sub(from).and_then(|len| len.checked_add(1)).unwrap_or(i64::MAX).max(0);
        self.elements_within(usize::try_from(len).unwrap_or(usize::MAX), span)?;
        Ok(Value::list((from..=to).map(Value::Int).collect()))
    }

    pub(super) fn elements_within(&mut self, len: usize, span: Span) -> Evaluated<()> {
        if len <= MAX_ELEMENTS {
            return Ok(());
        }
        let message = format!("the list is longer than {MAX_ELEMENTS} elements");
        self.fail(Diagnostic::error(Code::OVER_BUDGET, span, message).help("make it shorter"))
    }

    fn in_range(&mut self, value: Option<i64>, span: Span) -> Evaluated<Value> {
        match value {
            Some(value) => Ok(Value::Int(value)),
            None => self.fail(
                Diagnostic::error(
                    Code::NO_RESULT,
                    span,
                    "the number is too large: an `int` has 64 bits",
                )
                .help("use smaller numbers"),
            ),
        }
    }

    fn string(
        &mut self,
        literal: &'p StringLiteral,
        span: Span,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Value> {
        let mut parts = Vec::new();
        let mut text = String::new();
        for piece in &literal.pieces {
            match piece {
                Piece::Text { text: part, .. } => text.push_str(part),
                Piece::Hole { expr, .. } => match self.expr(expr, frame)? {
                    Value::Text(inner) => {
                        push_text(&mut parts, &mut text);
                        parts.extend(inner.iter().cloned());
                    }
                    thing @ (Value::File(_)
                    | Value::Folder(_)
                    | Value::History
                    | Value::Artifact(_)
                    | Value::OwnOut(_)) => {
                        push_text(&mut parts, &mut text);
                        parts.push(thing);
                    }
                    value => text.push_str(&value.text(frame.folder).ok_or(Stop)?),
                },
            }
        }
        self.spend_text(text.len(), span)?;
        if parts.is_empty() {
            return Ok(Value::string(text));
        }
        push_text(&mut parts, &mut text);
        Ok(Value::Text(Arc::new(parts)))
    }

    pub(super) fn name(
        &mut self,
        name: &str,
        span: Span,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Value> {
        if let Some((_, value)) = frame.locals.iter().rev().find(|(local, _)| *local == name) {
            return Ok(value.clone());
        }
        if let Some(item) = self.checked.symbols[frame.module.index()].get(name) {
            return self.item(ItemRef { module: frame.module, item }, span);
        }
        match builtins::find(name) {
            Some(builtin) if builtin.function == Function::Host => Ok(Value::Named(Type::Host)),
            Some(builtin) => Ok(Value::Named(Type::Builtin(builtin.name))),
            None if name == "out" => Ok(Value::Named(Type::Outs)),
            None => Err(Stop),
        }
    }

    fn member(&mut self, base: &Value, name: &'p Name, frame: &mut Frame<'p>) -> Evaluated<Value> {
        match base {
            Value::Record(fields) => Ok(fields.get(&name.text).cloned().unwrap_or(Value::None)),
            Value::File(path) | Value::Folder(path) => {
                Ok(Value::string(path_member(path, &name.text, frame.folder)))
            }
            Value::History => Ok(Value::string(path_member(HISTORY, &name.text, frame.folder))),
            Value::Artifact(artifact) => self.artifact_member(artifact, name),
            Value::Row(row) => self.artifact(*row, name),
            Value::Service(service) => self.said_by(service, name),
            Value::Named(Type::Module(module)) => {
                let item = self.checked.symbols[module.index()].get(&name.text).ok_or(Stop)?;
                self.item(ItemRef { module: *module, item }, name.span)
            }
            Value::Named(Type::Stage(stage))
                if name.text == "all" && !self.stage(*stage).axes.is_empty() =>
            {
                Ok(Value::Named(Type::AllRows(*stage)))
            }
            Value::Named(Type::Stage(stage)) => {
                self.artifact(RowRef { stage: *stage, row: 0 }, name)
            }
            Value::Named(Type::AllRows(stage)) => {
                let matrix = self.matrix(*stage)?;
                let rows = matrix.steps().map(|row| RowRef { stage: *stage, row });
                let all = rows.map(|row| self.artifact(row, name));
                Ok(Value::list(all.collect::<Evaluated<_>>()?))
            }
            Value::Named(Type::Host) if name.text == "tool" => {
                Ok(Value::Named(Type::Builtin(builtins::HOST_TOOL)))
            }
            Value::Named(Type::Host) => match facts::GROUPS.iter().find(|own| **own == name.text) {
                Some(group) => Ok(Value::Named(Type::Facts(group))),
                None => self.fact(&name.text, name.span),
            },
            Value::Named(Type::Facts(group)) => {
                self.fact(&format!("{group}.{}", name.text), name.span)
            }
            Value::Named(Type::Outs) => {
                let path = frame.outs.get(&name.text).ok_or(Stop)?;
                Ok(Value::OwnOut(Arc::clone(path)))
            }
            _ => Err(Stop),
        }
    }

    fn fact(&mut self, name: &str, span: Span) -> Evaluated<Value> {
        let fact = facts::find(name).ok_or(Stop)?.fact;
        match self.facts.find(fact) {
            Finding::Text(_) if fact == Fact::GitRepo => Ok(Value::History),
            Finding::Text(text) => Ok(Value::string(text)),
            Finding::Number(number) => Ok(Value::Int(number)),
            Finding::Flag(flag) => Ok(Value::Bool(flag)),
            Finding::Absent => Ok(Value::None),
            Finding::Unknown { why, help } => {
                let message = format!("`host.{name}` cannot be found out: {why}");
                self.fail(Diagnostic::error(Code::UNKNOWN_FACT, span, message).help(help))
            }
        }
    }

    fn artifact_member(&mut self, artifact: &ArtifactValue, name: &Name) -> Evaluated<Value> {
        let path = match artifact.part.is_empty() {
            true => &artifact.file_name,
            false => &artifact.part,
        };
        match name.text.as_str() {
            "name" | "stem" => Ok(Value::string(path_member(path, &name.text, ""))),
            _ => {
                let message = format!("an artifact has no `{}` before its step runs", name.text);
                self.fail(
                    Diagnostic::error(Code::NO_RESULT, name.span, message)
                        .help("in a script, write \"$(dirname {{it}})\""),
                )
            }
        }
    }

    /// Returns an out of a row; `none` if the row is no step.
    fn artifact(&mut self, row: RowRef, name: &Name) -> Evaluated<Value> {
        if self.is_skipped(row)? {
            return Ok(Value::None);
        }
        let Some((kind, written)) = self.out_of(row.stage, &name.text) else { return Err(Stop) };
        // The last name of its path: tools such as `ar` go by it.
        let file_name = match written {
            Some(path) => {
                let text = self.out_path_text(row, path)?;
                text.rsplit('/').next().unwrap_or_default().to_owned()
            }
            None => name.text.clone(),
        };
        let artifact =
            ArtifactValue { row, out: name.text.clone(), kind, file_name, part: String::new() };
        Ok(Value::Artifact(Arc::new(artifact)))
    }

    /// Returns the kind of an out and its path as written, own clauses before those of the template.
    pub(super) fn out_of(
        &self,
        stage: ItemRef,
        name: &str,
    ) -> Option<(OutKind, Option<(ItemRef, &'p Expr)>)> {
        for owner in self.template_chain(stage) {
            for clause in &self.stage(owner).clauses {
                if let ClauseKind::Out { name: own, ty, path } = &clause.kind
                    && own.text == name
                {
                    return Some((out_kind(&ty.kind), path.as_ref().map(|path| (owner, path))));
                }
            }
        }
        None
    }

    fn out_path_text(
        &mut self,
        row: RowRef,
        (owner, path): (ItemRef, &'p Expr),
    ) -> Evaluated<String> {
        let matrix = self.matrix(row.stage)?;
        self.deeper(path.span, |evaluator| {
            let subject = evaluator.row_of(row.stage, &matrix.rows[row.row as usize]);
            let mut frame = evaluator.frame_of(&subject, owner)?;
            evaluator.plain(path, &mut frame)
        })
    }

    fn index(&mut self, base: &Value, key: &Value, span: Span) -> Evaluated<Value> {
        match (base, key) {
            (Value::List(elements), Value::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| elements.get(at));
                match found {
                    Some(element) => Ok(element.clone()),
                    None => {
                        let message =
                            format!("there is no element {at} in a list of {}", elements.len());
                        let problem = Diagnostic::error(Code::NO_RESULT, span, message);
                        let last = elements.len().checked_sub(1);
                        let is_literal = self.program.sources.text(span) == at.to_string();
                        // Who counts from 1 is one too far.
                        let one_less = last.filter(|last| {
                            is_literal && i64::try_from(*last).is_ok_and(|last| last + 1 == *at)
                        });
                        self.fail(match one_less {
                            Some(last) => problem
                                .help(format!("the first element is 0, and the last {last}"))
                                .edit(span, last.to_string()),
                            None => problem.help("the first element is 0"),
                        })
                    }
                }
            }
            (Value::Record(fields), key) => {
                let key = self.plain_text(key, span, "")?;
                Ok(fields.get(&key).cloned().unwrap_or(Value::None))
            }
            _ => Err(Stop),
        }
    }

    /// Does something for each combination of the axes' values.
    pub(super) fn each(
        &mut self,
        axes: &'p [Axis],
        condition: Option<&'p Expr>,
        frame: &mut Frame<'p>,
        act: &mut dyn FnMut(&mut Self, &mut Frame<'p>) -> Evaluated<()>,
    ) -> Evaluated<()> {
        let Some((axis, rest)) = axes.split_first() else {
            return match condition {
                Some(condition) if !self.truth(condition, frame)? => Ok(()),
                _ => act(self, frame),
            };
        };
        for value in self.elements(&axis.values, frame)?.iter() {
            self.spend(axis.values.span)?;
            frame.locals.push((&axis.name.text, value.clone()));
            let done = self.each(rest, condition, frame, act);
            frame.locals.pop();
            done?;
        }
        Ok(())
    }

    fn binary(
        &mut self,
        operator: BinaryOperator,
        place: Span,
        left: &'p Expr,
        right: &'p Expr,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Value> {
        use BinaryOperator as Op;
        let first = self.expr(left, frame)?;
        match (operator, &first) {
            (Op::Otherwise, Value::None) => return self.expr(right, frame),
            (Op::Otherwise, _) => return Ok(first),
            (Op::And, Value::Bool(false)) | (Op::Or, Value::Bool(true)) => return Ok(first),
            (Op::And | Op::Or, _) => return self.expr(right, frame),
            _ => {}
        }
        let second = self.expr(right, frame)?;
        let whole = left.span.to(right.span);
        match (operator, &first, &second) {
            (Op::Equal, a, b) => Ok(Value::Bool(same(a, b, frame.folder))),
            (Op::NotEqual, a, b) => Ok(Value::Bool(!same(a, b, frame.folder))),
            (Op::In, element, Value::List(elements)) => {
                Ok(Value::Bool(elements.iter().any(|other| same(element, other, frame.folder))))
            }
            (Op::In, key, Value::Record(fields)) => {
                let key = self.plain_text(key, left.span, frame.folder)?;
                Ok(Value::Bool(fields.contains_key(&key)))
            }
            (Op::Less, a, b) => Ok(Value::Bool(number(a) < number(b))),
            (Op::LessEqual, a, b) => Ok(Value::Bool(number(a) <= number(b))),
            (Op::Greater, a, b) => Ok(Value::Bool(number(a) > number(b))),
            (Op::GreaterEqual, a, b) => Ok(Value::Bool(number(a) >= number(b))),
            (Op::Add, Value::List(a), Value::List(b)) => {
                self.elements_within(a.len() + b.len(), whole)?;
                Ok(Value::list(a.iter().chain(b.iter()).cloned().collect()))
            }
            (Op::Add, Value::String(_) | Value::Text(_), Value::String(_) | Value::Text(_)) => {
                self.concatenate(&first, &second, whole)
            }
            (Op::Divide, Value::History, _) => {
                let message = "the history is taken as a whole";
                self.fail(
                    Diagnostic::error(Code::NO_RESULT, whole, message)
                        .help("take it in, in host.git.repo, and let git say what is in it"),
                )
            }
            (Op::Divide, Value::Folder(_) | Value::Artifact(_), part) => {
                let part = self.plain_text(part, right.span, frame.folder)?;
                self.within(&first, &part, right.span)
            }
            _ => self.arithmetic(operator, place, whole, &first, &second),
        }
    }

    fn concatenate(&mut self, first: &Value, second: &Value, span: Span) -> Evaluated<Value> {
        if let (Value::String(a), Value::String(b)) = (first, second) {
            self.spend_text(a.len() + b.len(), span)?;
            return Ok(Value::string(format!("{a}{b}")));
        }
        let parts = |value: &Value| match value {
            Value::Text(parts) => parts.to_vec(),
            value => vec![value.clone()],
        };
        Ok(Value::Text(Arc::new([parts(first), parts(second)].concat())))
    }

    /// Returns a file in a folder.
    fn within(&mut self, folder: &Value, part: &str, span: Span) -> Evaluated<Value> {
        let Some(part) = files::project_path("", part).filter(|_| !part.starts_with('/')) else {
            let message = format!("{part:?} leaves the folder it is in");
            return self.fail(
                Diagnostic::error(Code::BAD_PATH, span, message)
                    .help("write a path below the folder, such as \"a/b\""),
            );
        };
        match folder {
            Value::Folder(path) => Ok(Value::File(files::join(path, &part).into())),
            Value::Artifact(artifact) => {
                let part = files::join(&artifact.part, &part);
                Ok(Value::Artifact(Arc::new(ArtifactValue {
                    part,
                    kind: OutKind::File,
                    ..(**artifact).clone()
                })))
            }
            _ => Err(Stop),
        }
    }

    fn arithmetic(
        &mut self,
        operator: BinaryOperator,
        place: Span,
        whole: Span,
        first: &Value,
        second: &Value,
    ) -> Evaluated<Value> {
        use BinaryOperator as Op;
        let (Some(a), Some(b)) = (number(first), number(second)) else { return Err(Stop) };
        if matches!(operator, Op::Divide | Op::Remainder) && b == 0 {
            return self.fail(
                Diagnostic::error(Code::NO_RESULT, place, "a division by zero")
                    .help("make sure that the right side is not 0"),
            );
        }
        let result = match operator {
            Op::Add => a.checked_add(b),
            Op::Subtract => a.checked_sub(b),
            Op::Multiply => a.checked_mul(b),
            Op::Divide => a.checked_div(b),
            Op::Remainder => a.checked_rem(b),
            _ => return Err(Stop),
        };
        let unsigned = |result: Option<i128>| result.and_then(|value| u64::try_from(value).ok());
        let value = match (first, second) {
            (Value::Duration(_), _) | (_, Value::Duration(_)) => {
                unsigned(result).map(Value::Duration)
            }
            (Value::Size(_), _) | (_, Value::Size(_)) => unsigned(result).map(Value::Size),
            _ => {
                let value = result.and_then(|value| i64::try_from(value).ok());
                return self.in_range(value, whole);
            }
        };
        match value {
            Some(value) => Ok(value),
            None => self.fail(
                Diagnostic::error(Code::NO_RESULT, whole, "the result is below zero or too large")
                    .help("use other numbers"),
            ),
        }
    }
}

fn push_text(parts: &mut Vec<Value>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Value::string(std::mem::take(text)));
    }
}

/// Values that read alike are equal where a text is compared with a file.
fn same(a: &Value, b: &Value, folder: &str) -> bool {
    match (a, b) {
        (Value::Text(_), Value::String(_)) | (Value::String(_), Value::Text(_)) => {
            a.text(folder) == b.text(folder)
        }
        (a, b) => a == b,
    }
}

fn number(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Duration(value) | Value::Size(value) => Some(i128::from(*value)),
        Value::Percent(value) => Some(i128::from(*value)),
        _ => None,
    }
}

/// Returns the kind of an out declared with this type.
pub(super) fn out_kind(ty: &TypeKind) -> OutKind {
    match ty {
        TypeKind::Optional(inner) => out_kind(&inner.kind),
        TypeKind::Name(name) if name == "dir" => OutKind::Dir,
        TypeKind::Name(name) if name == "junit" => OutKind::Junit,
        TypeKind::Name(name) if name == "image" => OutKind::Image,
        _ => OutKind::File,
    }
}
