//! Evaluating calls.

use std::sync::Arc;

use super::{Evaluated, Evaluator, Frame, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::files::{EntryKind, project_path};
use crate::lang::builtins::{self, Builtin, Function};
use crate::lang::nearest::nearest;
use crate::lang::ty::{ItemRef, Type};
use crate::lang::value::Value;
use crate::plan::step::Tool;
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
            Value::Named(Type::Host) => Ok(Value::HostRoot),
            Value::Named(Type::Builtin(name)) => {
                self.builtin(builtins::get(name), arguments, span, frame)
            }
            Value::Named(Type::Function(item)) => {
                let ItemKind::Function(function) = &self.tree(item).kind else { return Err(Stop) };
                let mut inner = Frame::new(self.program, item.module);
                inner.locals = self.bind(item, &function.parameters, arguments, frame)?;
                self.deeper(span, |evaluator| evaluator.expr(&function.body, &mut inner))
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
            let place = place.ok_or(Stop)?;
            self.conform(&value, &parameters[place].ty, argument.value.span)?;
            *values.get_mut(place).ok_or(Stop)? = Some(value);
        }
        let mut inner = Frame::new(self.program, callee.module);
        inner.folder = frame.folder;
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
        for (value, span) in given {
            texts.push(self.plain_text(&value, span, frame.folder)?);
        }
        match (builtin.function, first) {
            (Function::Host, None) => Ok(Value::HostRoot),
            (Function::Range, Some((Value::Int(from), _))) => {
                let to = texts.first().and_then(|text| text.parse().ok()).ok_or(Stop)?;
                self.range(from, to, span)
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
                    (Function::File, _) => self.path(&text, at, frame.folder, false),
                    (Function::Dir, _) => self.path(&text, at, frame.folder, true),
                    (Function::Split, [by]) => self.split(&text, by, span),
                    (Function::Replace, [old, new]) => {
                        let replaced = text.replace(old.as_str(), new);
                        self.spend_text(replaced.len(), span)?;
                        Ok(Value::string(replaced))
                    }
                    (Function::Matches, [regex]) => self.matches(&text, regex, span),
                    (Function::HostTool, _) => self.host_tool(text, at),
                    (Function::Tree, _) => self.tool_tree(&text, at, frame.folder),
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
                    !matches!(word, Value::File(_) | Value::Folder(_) | Value::Text(_))
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
                self.fail(Diagnostic::error(
                    Code::BAD_LITERAL,
                    span,
                    format!("{regex:?} is no regular expression: {reason}"),
                ))
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
        match self.path(path, span, folder, true)? {
            Value::Folder(path) => Ok(Value::Tool(Arc::new(Tool::Tree { path: path.to_string() }))),
            _ => Err(Stop),
        }
    }

    /// Returns the file or folder at a path, which must be there.
    fn path(&mut self, text: &str, span: Span, folder: &str, is_folder: bool) -> Evaluated<Value> {
        let Some(path) = project_path(folder, text) else {
            let message = format!("{text:?} leaves the project");
            return self.fail(
                Diagnostic::error(Code::BAD_PATH, span, message)
                    .help("start the path with `/` to count from the project's root"),
            );
        };
        match (self.globber.kind(&path), is_folder) {
            (Some(EntryKind::File | EntryKind::Link), false) => Ok(Value::File(path.into())),
            (Some(EntryKind::Folder), true) => Ok(Value::Folder(path.into())),
            (Some(EntryKind::Folder), false) => {
                let message = format!("{text:?} is a folder");
                self.fail(
                    Diagnostic::error(Code::BAD_PATH, span, message)
                        .help(format!("write: dir({text:?})")),
                )
            }
            (Some(_), _) => {
                let message =
                    format!("{text:?} is no {}", if is_folder { "folder" } else { "regular file" });
                self.fail(Diagnostic::error(Code::BAD_PATH, span, message))
            }
            (None, _) => {
                let problem = Diagnostic::error(
                    Code::EMPTY_GLOB,
                    span,
                    format!("nothing stands at {text:?}"),
                );
                let problem = self.with_nearest(problem, &path, text, folder, span);
                self.fail(problem)
            }
        }
    }

    /// Offers the path nearest to one that is not there.
    fn with_nearest(
        &self,
        problem: Diagnostic,
        path: &str,
        text: &str,
        folder: &str,
        span: Span,
    ) -> Diagnostic {
        match self.nearest_path(path) {
            Some(near) => {
                let near = crate::lang::value::relative(folder, &near);
                // Only a plain literal can be replaced as it stands.
                let is_literal = self.program.sources.text(span) == format!("{text:?}");
                let problem = problem.help(format!("did you mean {near:?}?"));
                if is_literal { problem.edit(span, format!("{near:?}")) } else { problem }
            }
            None => problem.help("paths count from the folder of the file they are written in"),
        }
    }

    /// Returns the existing path that differs in as few names as possible, each a slip away.
    fn nearest_path(&self, path: &str) -> Option<String> {
        let mut here = String::new();
        for name in path.split('/').filter(|name| !name.contains(['*', '?', '[', '{'])) {
            let names = self.globber.names(&here);
            let next = match names.iter().any(|known| known == name) {
                true => name,
                false => nearest(name, names.iter().map(String::as_str))?,
            };
            here = crate::files::join(&here, next);
        }
        // The wildcards of a glob go behind the folder that was meant.
        let wild = path.split('/').position(|name| name.contains(['*', '?', '[', '{']));
        let rest = wild.map(|at| path.split('/').skip(at).collect::<Vec<_>>().join("/"));
        let near = rest.map_or(here.clone(), |rest| crate::files::join(&here, &rest));
        (near != path).then_some(near)
    }

    fn files(
        &mut self,
        arguments: &'p [Argument],
        span: Span,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Value> {
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        let (mut is_optional, mut with_ignored) = (false, false);
        for argument in arguments {
            let value = self.expr(&argument.value, frame)?;
            let at = argument.value.span;
            match argument.name.as_ref().map(|name| name.text.as_str()) {
                Some("except") => flatten(&value, at, &mut negative),
                Some("optional") => is_optional = value == Value::Bool(true),
                Some("ignored") => with_ignored = value == Value::Bool(true),
                _ => flatten(&value, at, &mut positive),
            }
        }
        let mut found = Vec::new();
        for (value, at) in &positive {
            let matched = self.matched(value, *at, with_ignored, frame)?;
            if matched.is_empty() && !is_optional {
                return self.empty_glob(value, *at, frame);
            }
            found.push(matched);
        }
        if negative.is_empty() && found.len() == 1 {
            return Ok(Value::List(found.remove(0)));
        }
        let mut kept: Vec<Value> = found.iter().flat_map(|files| files.iter().cloned()).collect();
        kept.sort_by(|a, b| path_of(a).cmp(path_of(b)));
        kept.dedup();
        self.exclude(&mut kept, &negative, frame)?;
        if kept.is_empty() && !is_optional {
            let message = "no file is left: `except` takes away all that the globs match";
            return self.fail(
                Diagnostic::error(Code::EMPTY_GLOB, span, message)
                    .help("make `except` smaller, or add: optional: true"),
            );
        }
        Ok(Value::list(kept))
    }

    fn exclude(
        &mut self,
        files: &mut Vec<Value>,
        except: &[(Value, Span)],
        frame: &Frame<'p>,
    ) -> Evaluated<()> {
        let mut plain = std::collections::HashSet::new();
        for (value, at) in except {
            match value {
                Value::File(path) => {
                    plain.insert(Arc::clone(path));
                }
                Value::Folder(folder) => {
                    files.retain(|file| crate::files::below(folder, path_of(file)).is_none())
                }
                value => {
                    let glob = self.plain_text(value, *at, frame.folder)?;
                    match crate::files::Pattern::new(frame.folder, &glob) {
                        Ok(pattern) => files.retain(|file| !pattern.matches(path_of(file))),
                        Err(error) => return self.bad_glob(Code::BAD_PATH, &glob, &error, *at),
                    }
                }
            }
        }
        files.retain(|file| !matches!(file, Value::File(path) if plain.contains(path)));
        Ok(())
    }

    fn matched(
        &mut self,
        value: &Value,
        at: Span,
        with_ignored: bool,
        frame: &Frame<'p>,
    ) -> Evaluated<Arc<Vec<Value>>> {
        match value {
            Value::File(_) => Ok(Arc::new(vec![value.clone()])),
            Value::Folder(folder) => self.glob(folder, "**", at, with_ignored),
            value => {
                let glob = self.plain_text(value, at, frame.folder)?;
                self.glob(frame.folder, &glob, at, with_ignored)
            }
        }
    }

    fn empty_glob<T>(&mut self, value: &Value, at: Span, frame: &Frame<'p>) -> Evaluated<T> {
        let glob = value.text(frame.folder).unwrap_or_default();
        let problem = Diagnostic::error(Code::EMPTY_GLOB, at, format!("{glob:?} matches no file"));
        let path = project_path(frame.folder, &glob).unwrap_or_default();
        if self.globber.kind(&path) == Some(EntryKind::Folder) {
            let edit = format!("{:?}", format!("{}/**", glob.trim_end_matches('/')));
            return self.fail(
                problem
                    .help(format!("it is a folder; to take all files below it, write {edit}"))
                    .edit(at, edit),
            );
        }
        if !self.glob(frame.folder, &glob, at, true)?.is_empty() {
            let help = "git ignores what it matches; to take ignored files too, add: ignored: true";
            return self.fail(problem.help(help));
        }
        let problem = self.with_nearest(problem, &path, &glob, frame.folder, at);
        self.fail(problem)
    }
}

/// Puts the elements of nested lists behind each other.
fn flatten(value: &Value, at: Span, into: &mut Vec<(Value, Span)>) {
    match value {
        Value::List(elements) => elements.iter().for_each(|element| flatten(element, at, into)),
        Value::None => {}
        value => into.push((value.clone(), at)),
    }
}

fn path_of(value: &Value) -> &str {
    match value {
        Value::File(path) | Value::Folder(path) => path,
        _ => "",
    }
}
