//! Outs of one step that cannot both be: what is wrong, and which of them to take away. Knows paths and who
//! mentions an out; does not know what a step is.

use std::collections::BTreeMap;

use super::Evaluator;
use crate::diagnostic::{Code, Diagnostic};
use crate::files;
use crate::lang::edit;
use crate::plan::artifact::Out;
use crate::source::Span;
use crate::syntax::ast::ClauseKind;

/// Paths of which none lies in another, each with the place of its out.
#[derive(Default)]
pub(super) struct OutPaths(BTreeMap<String, usize>);

impl OutPaths {
    /// Adds a path, if it neither lies in one of the others nor has one of them in it; else returns the
    /// place of that one. Takes time in the depth of the path, however many others there are.
    pub(super) fn add(&mut self, path: &str, place: usize) -> Result<(), usize> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let mut outer = ends.filter_map(|end| self.0.get(&path[..end]));
        if let Some(other) = outer.next() {
            return Err(*other);
        }
        let inner = format!("{path}/");
        match self.0.range(inner.clone()..).next() {
            Some((other, place)) if other.starts_with(&inner) => Err(*place),
            _ => {
                self.0.insert(path.to_owned(), place);
                Ok(())
            }
        }
    }
}

impl Evaluator<'_> {
    /// Returns the diagnostic for an out at the path `at`, declared at `span`, and another one of its
    /// step: one lies in the other, or both are at one path.
    pub(super) fn clash_of(&self, name: &str, at: &str, other: &Out, span: Span) -> Diagnostic {
        let error = |message: String| Diagnostic::error(Code::CLASHING_PATHS, span, message);
        if other.path == at {
            let message = format!("the outs `{}` and `{name}` have one path: `{at}`", other.name);
            let problem = error(message).help("take one of them away, or give it another path");
            return self.without(problem, name, span);
        }
        let (outer, inner) = match files::below(at, &other.path) {
            Some(_) => (name, other.name.as_str()),
            None => (other.name.as_str(), name),
        };
        let message = format!("the out `{inner}` lies inside the out `{outer}`");
        let problem = error(message).help(format!(
            "take `{inner}` away; who needs it names a part of the folder: {outer} / \"…\""
        ));
        self.without(problem, inner, span)
    }

    /// Adds the edit that takes an out away which nothing mentions.
    pub(super) fn without(&self, problem: Diagnostic, name: &str, near: Span) -> Diagnostic {
        let sources = &self.program.sources;
        let member = format!(".{name}");
        let mut texts = self.program.iter().map(|(_, it)| &sources.get(it.ast.source).text);
        if texts.any(|text| !self.search.may_take(text.len()) || text.contains(&member)) {
            return problem;
        }
        let clauses = self.stage_around(near).into_iter().flat_map(|stage| &stage.clauses);
        let mut outs = clauses.filter(|clause| match &clause.kind {
            ClauseKind::Out { name: own, .. } => own.text == name,
            _ => false,
        });
        let text = &sources.get(near.source).text;
        match outs.next().and_then(|clause| edit::lines_of(text, clause.span)) {
            Some(lines) => problem.edit(lines, ""),
            None => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_clash_if_one_lies_in_the_other() {
        let mut paths = OutPaths::default();
        let added = ["a/b", "a/bc", "a-b", "a/c/d"].map(|path| paths.add(path, path.len()));
        assert_eq!(added, [Ok(()); 4]);
        assert_eq!(paths.add("a/b", 0), Err(3));
        assert_eq!(paths.add("a/b/x/y", 0), Err(3));
        assert!(matches!(paths.add("a", 0), Err(3..=5)));
        assert_eq!(paths.add("a/c", 0), Err(5));
        assert_eq!(paths.add("a/bcd", 0), Ok(()));
    }
}
