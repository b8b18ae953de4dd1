//! Evaluating calls.

use std::sync::Arc;

use super::{Evaluated, Evaluator, Frame, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::builtins::{self, Builtin, Function};
use crate::lang::ty::{ItemRef, Type};
use crate::lang::value::{ServiceValue, Value};
use crate::plan::step::{Root, Tool};
use crate::source::Span;
use crate::syntax::ast::{Argument, Expr, ItemKind, Parameter};

impl<'p> Evaluator<'p> {
    pub(super) fn call(
        &mut self,
        callee: &'p Expr,
        arguments: &'p [Argument],
        span: Span,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Value> {
        match self.expr(callee, frame)? {
            Value::Named(Type::Host) => Ok(Value::Root(Arc::new(Root::Host))),
            Value::Named(Type::Builtin(name)) => {
                self.builtin(builtins::get(name), arguments, span, frame)
            }
            Value::Named(Type::Function(item)) => {
                let ItemKind::Function(function) = &self.tree(item).kind else { return Err(Stop) };
                let mut inner = Frame::new(self.program, item.module);
                inner.locals = self.bind(item, &function.parameters, arguments, frame)?;
                self.deeper(span, |evaluator| evaluator.expr(&function.body, &mut inner))
            }
            Value::Named(Type::Template(item)) => {
                let parameters = self.stage(item).parameters.as_deref().unwrap_or_default();
                let bound = self.bind(item, parameters, arguments, frame)?;
                let arguments = bound.into_iter().map(|(_, value)| value).collect();
                Ok(Value::Service(Arc::new(ServiceValue { item, home: frame.home, arguments })))
            }
            _ => Err(Stop),
        }
    }

    /// Returns the values of the parameters of `callee`: arguments see the caller's names, defaults
    /// the callee's.
    pub(super) fn bind(
        &mut self,
        callee: ItemRef,
        parameters: &'p [Parameter],
        arguments: &'p [Argument],
        frame: &mut Frame<'p>,
    ) -> Evaluated<Vec<(&'p str, Value)>> {
        let mut values: Vec<Option<Value>> = vec![None; parameters.len()];
        for (at, argument) in arguments.iter().enumerate() {
            let place = match &argument.name {
                Some(name) => {
                    parameters.iter().position(|parameter| parameter.name.text == name.text)
                }
                None => Some(at),
            };
            let value = self.expr(&argument.value, frame)?;
            let place = place.filter(|place| *place < parameters.len()).ok_or(Stop)?;
            self.conform(&value, &parameters[place].ty, argument.value.span)?;
            values[place] = Some(value);
        }
        let mut inner = Frame::new(self.program, callee.module);
        (inner.folder, inner.home) = (frame.folder, frame.home);
        for (parameter, value) in parameters.iter().zip(values) {
            let value = match (value, &parameter.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.expr(default, &mut inner)?,
                (None, None) => return Err(Stop),
            };
            inner.locals.push((&parameter.name.text, value));
        }
        Ok(inner.locals)
    }

    fn builtin(
        &mut self,
        builtin: &'static Builtin,
        arguments: &'p [Argument],
        span: Span,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Value> {
        if builtin.function == Function::Files {
            return self.files(arguments, span, frame);
        }
        if let Some(format) = builtin.function.data_format() {
            let path = arguments.first().and_then(|argument| argument.value.constant());
            let key = (frame.module, format, path.ok_or(Stop)?);
            let data = self.program.data.get(&key).and_then(Option::as_ref).ok_or(Stop)?;
            return Ok(data.value.clone());
        }
        let mut values: Vec<Option<(Value, Span)>> = vec![None; builtin.slots.len()];
        for (at, argument) in arguments.iter().enumerate() {
            let place = match &argument.name {
                Some(name) => builtin.slots.iter().position(|slot| slot.name == name.text),
                None => Some(at),
            };
            let value = self.expr(&argument.value, frame)?;
            *place.and_then(|place| values.get_mut(place)).ok_or(Stop)? =
                Some((value, argument.value.span));
        }
        let mut given = values.into_iter().flatten();
        let first = given.next();
        let mut texts = Vec::new();
        let mut last = span;
        for (value, at) in given {
            last = at;
            texts.push(self.plain_text(&value, at, frame.folder)?);
        }
        match (builtin.function, first) {
            (Function::Host, None) => Ok(Value::Root(Arc::new(Root::Host))),
            (Function::Range, Some((Value::Int(from), _))) => {
                let to = texts.first().and_then(|text| text.parse().ok()).ok_or(Stop)?;
                self.range(from, to, span)
            }
            (Function::Matches, Some((text, at))) => {
                let text = self.plain_text(&text, at, frame.folder)?;
                self.matches(&text, texts.first().ok_or(Stop)?, last)
            }
            (function, Some((value, at))) => self.apply(function, value, at, &texts, span, frame),
            (_, None) => Err(Stop),
        }
    }

    fn apply(
        &mut self,
        function: Function,
        value: Value,
        at: Span,
        texts: &[String],
        span: Span,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Value> {
        match (function, value, texts) {
            (Function::Len, Value::List(elements), _) => Ok(Value::Int(elements.len() as i64)),
            (Function::Len, Value::Record(fields), _) => Ok(Value::Int(fields.len() as i64)),
            (Function::Keys, Value::Record(fields), _) => {
                Ok(Value::list(fields.keys().map(|key| Value::string(key.as_str())).collect()))
            }
            (Function::Values, Value::Record(fields), _) => {
                Ok(Value::list(fields.values().cloned().collect()))
            }
            (Function::Join, Value::List(words), [by]) => self.join(&words, by, span),
            (function, value, texts) => {
                let text = self.plain_text(&value, at, frame.folder)?;
                match (function, texts) {
                    (Function::Len, _) => Ok(Value::Int(text.chars().count() as i64)),
                    (Function::File, _) => self.path(&text, (at, Some(span)), frame.folder, false),
                    (Function::Dir, _) => self.path(&text, (at, Some(span)), frame.folder, true),
                    (Function::Split, [by]) => self.split(&text, by, span),
                    (Function::Replace, [old, new]) => {
                        let replaced = text.replace(old.as_str(), new);
                        self.spend_text(replaced.len(), span)?;
                        Ok(Value::string(replaced))
                    }
                    (Function::HostTool, _) => self.host_tool(text, at),
                    (Function::Tree, _) => self.tool_tree(&text, at, frame.folder),
                    (Function::RootFs, _) => self.root(&text, at, frame.folder, false),
                    (Function::Oci, _) => self.root(&text, at, frame.folder, true),
                    _ => Err(Stop),
                }
            }
        }
    }

    fn join(&mut self, words: &[Value], by: &str, span: Span) -> Evaluated<Value> {
        let mut parts = Vec::new();
        for word in words.iter().filter(|word| **word != Value::None) {
            self.spend(span)?;
            if !parts.is_empty() {
                parts.push(Value::string(by));
            }
            parts.push(word.clone());
        }
        let text = Value::Text(Arc::new(parts));
        match text.text("") {
            // Plain texts stay plain; files keep what they are.
            Some(plain)
                if words.iter().all(|word| {
                    !matches!(
                        word,
                        Value::File(_) | Value::Folder(_) | Value::History | Value::Text(_)
                    )
                }) =>
            {
                self.spend_text(plain.len(), span)?;
                Ok(Value::string(plain))
            }
            _ => Ok(text),
        }
    }

    fn split(&mut self, text: &str, by: &str, span: Span) -> Evaluated<Value> {
        if by.is_empty() {
            let message = "a text cannot be split by the empty text";
            return self.fail(
                Diagnostic::error(Code::NO_RESULT, span, message)
                    .help("name what stands between the parts, such as \",\""),
            );
        }
        self.spend_text(text.len(), span)?;
        Ok(Value::list(text.split(by).map(Value::string).collect()))
    }

    fn matches(&mut self, text: &str, regex: &str, span: Span) -> Evaluated<Value> {
        match regex::RegexBuilder::new(regex).size_limit(1 << 20).build() {
            Ok(regex) => Ok(Value::Bool(regex.is_match(text))),
            Err(error) => {
                let words = error.to_string();
                let reason = words.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("{regex:?} is no regular expression: {reason}");
                let problem = Diagnostic::error(Code::BAD_LITERAL, span, message);
                let escaped = regex::escape(regex);
                let is_literal = self.program.sources.text(span) == format!("{regex:?}");
                // Where other signs have a meaning, this one may have been to have one, too.
                self.fail(match escaped.len() == regex.len() + 1 && is_literal {
                    true => problem
                        .help(format!("a sign that is meant literally has a `\\` before it, in a text without escapes: r\"{escaped}\""))
                        .edit(span, format!("r\"{escaped}\"")),
                    false => problem.help("a sign that is meant literally has a `\\` before it, in a text without escapes: r\"rel\\(\""),
                })
            }
        }
    }

    fn host_tool(&mut self, name: String, span: Span) -> Evaluated<Value> {
        if name.is_empty() || name.contains('/') {
            let message = format!("{name:?} is no name of a program");
            return self.fail(Diagnostic::error(Code::BAD_PATH, span, message).help("name a program of `PATH`, such as \"cargo\"; a folder of tools is a tree(\"path\")"));
        }
        Ok(Value::Tool(Arc::new(Tool::Host { name })))
    }

    fn tool_tree(&mut self, path: &str, span: Span, folder: &str) -> Evaluated<Value> {
        // `/opt/node` is the machine's, `tools` the project's.
        if path.starts_with('/') {
            return Ok(Value::Tool(Arc::new(Tool::Tree { path: path.to_owned() })));
        }
        match self.path(path, (span, None), folder, true)? {
            Value::Folder(path) => Ok(Value::Tool(Arc::new(Tool::Tree { path: path.to_string() }))),
            _ => Err(Stop),
        }
    }
}
