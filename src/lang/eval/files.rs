//! Evaluating what names files: paths, globs and sets of them. Knows which files there are; does not
//! know where they stand in a step.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Evaluated, Evaluator, Frame};
use crate::diagnostic::{Code, Diagnostic};
use crate::files::{EntryKind, Pattern, Selection, below, join, parent, project_path};
use crate::lang::nearest::nearest;
use crate::lang::value::{Value, relative};
use crate::source::Span;
use crate::syntax::ast::Argument;

/// What going through the project counts for, in bytes searched.
const A_WALK: usize = 1 << 17;

impl<'p> Evaluator<'p> {
    /// Returns the file or folder at a path, which must be there.
    ///
    /// `call` is the call of `file` or `dir` that asks for it, if one does.
    pub(super) fn path(
        &mut self,
        text: &str,
        (span, call): (Span, Option<Span>),
        folder: &str,
        is_folder: bool,
    ) -> Evaluated<Value> {
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
            (Some(EntryKind::Folder | EntryKind::File), _) => {
                let (found, cure) = match is_folder {
                    true => ("file", format!("file({text:?})")),
                    false => ("folder", format!("dir({text:?})")),
                };
                let message = format!("{text:?} is a {found}");
                let problem = Diagnostic::error(Code::BAD_PATH, span, message);
                self.fail(match call {
                    Some(call) => problem.help(format!("write: {cure}")).edit(call, cure),
                    None => problem,
                })
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
    pub(super) fn with_nearest(
        &self,
        problem: Diagnostic,
        path: &str,
        text: &str,
        folder: &str,
        span: Span,
    ) -> Diagnostic {
        match self.nearest_path(path) {
            Some(near) => {
                let near = relative(folder, &near);
                // Only a plain literal can be replaced as it stands.
                let is_literal = self.program.sources.text(span) == format!("{text:?}");
                let problem = problem.help(format!("did you mean {near:?}?"));
                if is_literal { problem.edit(span, format!("{near:?}")) } else { problem }
            }
            None => problem.help(self.what_is_there(path, folder)),
        }
    }

    /// Says what stands in the last folder of a path that is there.
    fn what_is_there(&self, path: &str, folder: &str) -> String {
        const MOST: usize = 4;
        let is_wild = |name: &str| name.contains(['*', '?', '[', '{']);
        let mut here = path.split('/').position(is_wild).map_or_else(
            || parent(path).to_owned(),
            |wild| path.split('/').take(wild).collect::<Vec<_>>().join("/"),
        );
        while !here.is_empty() && self.globber.kind(&here) != Some(EntryKind::Folder) {
            here = parent(&here).to_owned();
        }
        let names = self.globber.names(&here);
        let names: Vec<_> = names.iter().filter(|name| !name.starts_with('.')).collect();
        let shown: Vec<_> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
        let more = match names.len().saturating_sub(MOST) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let here = match relative(folder, &here).as_str() {
            "." => "this file's folder".to_owned(),
            here => format!("`{here}`"),
        };
        match shown.is_empty() {
            true => format!("{here} is empty"),
            false => format!("{here} has {}{more}", shown.join(", ")),
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
            here = join(&here, next);
        }
        // The wildcards of a glob go behind the folder that was meant.
        let wild = path.split('/').position(|name| name.contains(['*', '?', '[', '{']));
        let rest = wild.map(|at| path.split('/').skip(at).collect::<Vec<_>>().join("/"));
        let near = rest.map_or(here.clone(), |rest| join(&here, &rest));
        (near != path).then_some(near)
    }

    /// Returns the edit that adds an argument to the call of `files` around an argument of it.
    fn more_argument(&self, call: Span, argument: &str) -> (Span, String) {
        let text = self.program.sources.text(call);
        let inner = text[..text.len() - 1].trim_end();
        let at = call.start as usize + inner.len();
        let comma = if inner.ends_with(',') { " " } else { ", " };
        (Span::at(call.source, at), format!("{comma}{argument}"))
    }

    /// Returns a glob without its only bracket, as it is written, if it matches files then.
    pub(super) fn without_bracket(&self, folder: &str, glob: &str, span: Span) -> Option<String> {
        let brackets = ['[', ']', '{', '}'];
        let is_literal = self.program.sources.text(span) == format!("{glob:?}");
        if !is_literal || glob.matches(brackets).count() != 1 {
            return None;
        }
        let near = glob.replace(brackets, "");
        if !self.search.may_take(A_WALK) {
            return None;
        }
        let pattern = Pattern::new(folder, &near).ok()?;
        let found = self.globber.find(&pattern, Selection { with_ignored: false }).ok()?;
        (!found.is_empty()).then(|| format!("{near:?}"))
    }

    /// Returns the glob that is nearest to `folder/*.ending`, which matches nothing: the folder's files
    /// have one other ending like that, or those of that ending stand in one other folder.
    fn other_glob(&mut self, path: &str, at: Span) -> Evaluated<Option<String>> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some(ending) = ending_of(name) else { return Ok(None) };
        if parent(path).contains(['*', '?', '[', '{']) {
            return Ok(None);
        }
        let names = self.globber.names(parent(path));
        let endings = names.iter().filter_map(|name| Some(name.rsplit_once('.')?.1));
        let like: BTreeSet<_> = endings.filter(|it| it.starts_with(&ending[..1])).collect();
        if let Some(only) = like.first().filter(|_| like.len() == 1) {
            return Ok(Some(join(parent(path), &format!("*.{only}"))));
        }
        if !self.search.may_take(A_WALK) {
            return Ok(None);
        }
        let elsewhere = self.glob("", &format!("**/{name}"), at, false)?;
        let folders: BTreeSet<_> = elsewhere.iter().map(|file| parent(path_of(file))).collect();
        let only = folders.first().filter(|_| folders.len() == 1);
        Ok(only.map(|folder| join(folder, name)))
    }

    pub(super) fn files(
        &mut self,
        arguments: &'p [Argument],
        span: Span,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Value> {
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        let (mut is_optional, mut with_ignored) = (false, false);
        let mut except = span;
        for argument in arguments {
            let value = self.expr(&argument.value, frame)?;
            let at = argument.value.span;
            match argument.name.as_ref().map(|name| name.text.as_str()) {
                Some("except") => {
                    except = at;
                    flatten(&value, at, &mut negative);
                }
                Some("optional") => is_optional = value == Value::Bool(true),
                Some("ignored") => with_ignored = value == Value::Bool(true),
                _ => flatten(&value, at, &mut positive),
            }
        }
        let mut found = Vec::new();
        for (value, at) in &positive {
            let matched = self.matched(value, *at, with_ignored, frame)?;
            if matched.is_empty() && !is_optional {
                return self.empty_glob(value, (*at, span), frame);
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
            let message = "`except` takes away all files that the globs match";
            return self.fail(
                Diagnostic::error(Code::EMPTY_GLOB, except, message)
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
                    files.retain(|file| below(folder, path_of(file)).is_none())
                }
                value => {
                    let glob = self.plain_text(value, *at, frame.folder)?;
                    match Pattern::new(frame.folder, &glob) {
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

    fn empty_glob<T>(
        &mut self,
        value: &Value,
        (at, call): (Span, Span),
        frame: &Frame<'p>,
    ) -> Evaluated<T> {
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
            let (place, text) = self.more_argument(call, "ignored: true");
            return self.fail(problem.help(help).edit(place, text));
        }
        let is_literal = self.program.sources.text(at) == format!("{glob:?}");
        if is_literal
            && self.nearest_path(&path).is_none()
            && let Some(other) = self.other_glob(&path, at)?
        {
            let near = format!("{:?}", relative(frame.folder, &other));
            return self.fail(problem.help(format!("did you mean {near}?")).edit(at, near));
        }
        let problem = self.with_nearest(problem, &path, &glob, frame.folder, at);
        self.fail(problem)
    }
}

/// Returns the `c` of `*.c`.
fn ending_of(glob: &str) -> Option<&str> {
    glob.strip_prefix("*.").filter(|ending| ending.bytes().all(|b| b.is_ascii_alphanumeric()))
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
