//! Roots: folders, archives and image layouts that steps may run on. Knows where they stand; does not
//! know what is in one.

use std::sync::Arc;

use super::step::Builder;
use super::{Evaluated, Evaluator};
use crate::diagnostic::{Code, Diagnostic};
use crate::files::{EntryKind, project_path};
use crate::lang::value::Value;
use crate::plan::artifact::OutKind;
use crate::plan::step::Root;
use crate::source::Span;
use crate::syntax::ast::Name;

/// What stands for the path of an out that is the step's root.
pub(super) const KEPT_ROOT: &str = ".kiln/root";

impl Evaluator<'_> {
    /// Returns the root at a path that counts from `folder`, or that of an image layout.
    pub(super) fn root(
        &mut self,
        text: &str,
        span: Span,
        folder: &str,
        is_layout: bool,
    ) -> Evaluated<Value> {
        // `/var/roots/debian` is the machine's, `roots/debian` the project's.
        let path = match text.starts_with('/') {
            true => text.to_owned(),
            false => match project_path(folder, text) {
                Some(path) => self.root_path(path, text, span, folder, is_layout)?,
                None => {
                    let message = format!("{text:?} leaves the project");
                    let help = "a path of the machine begins with `/`";
                    return self.fail(Diagnostic::error(Code::BAD_PATH, span, message).help(help));
                }
            },
        };
        let root = if is_layout { Root::Layout { path } } else { Root::Tree { path } };
        Ok(Value::Root(Arc::new(root)))
    }

    /// Reports a root that would be kept twice.
    pub(super) fn two_roots<T>(&mut self, other: &str, name: &Name) -> Evaluated<T> {
        let message =
            format!("the outs `{other}` and `{}` are both the root of this step", name.text);
        let problem = Diagnostic::error(Code::BAD_ROOT, name.span, message);
        let problem = problem.help(format!("keep one of them; who needs it names `{other}`"));
        let problem = self.without(problem, &name.text, name.span);
        self.fail(problem)
    }

    /// Reports the machine's own root as an out.
    pub(super) fn keeps_its_own_root(&mut self, builder: &Builder<'_>) -> Evaluated<()> {
        let step = &builder.step;
        let out = step.outs.iter().find(|out| out.kind == OutKind::Image);
        let Some(out) = out.filter(|_| step.root == Root::Host && builder.root.is_none()) else {
            return Ok(());
        };
        let message = format!(
            "the out `{}` would be this machine's own root, since `{}` begins with no other",
            out.name, step.stage
        );
        let span = builder.root_span.expect("an out that is a root has its place");
        self.fail(Diagnostic::error(Code::BAD_ROOT, span, message).help(
            "say which root the step begins with: image = oci(\"base.tar\"), image = rootfs(\"folder\"), \
             or what another stage kept: image = base.root",
        ))
    }

    fn root_path(
        &mut self,
        path: String,
        text: &str,
        span: Span,
        folder: &str,
        is_layout: bool,
    ) -> Evaluated<String> {
        match self.globber.kind(&path) {
            Some(EntryKind::File | EntryKind::Folder) => Ok(path),
            Some(_) => {
                let message = format!("{text:?} is no file and no folder");
                self.fail(
                    Diagnostic::error(Code::BAD_PATH, span, message).help("name what it leads to"),
                )
            }
            None if is_layout && text.contains(':') => {
                let message = "images of registries are not in this version of Kiln";
                let file = text.rsplit('/').next().unwrap_or_default();
                let file = file.split([':', '@']).next().unwrap_or_default();
                let help = format!(
                    "write it to a file, and name that: oci(\"{file}.tar\"), after docker save {text} -o {file}.tar"
                );
                self.fail(Diagnostic::error(Code::NOT_IN_THIS_VERSION, span, message).help(help))
            }
            None => {
                let message = format!("nothing stands at {text:?}");
                let problem = Diagnostic::error(Code::EMPTY_GLOB, span, message);
                let problem = self.with_nearest(problem, &path, text, folder, span);
                self.fail(problem)
            }
        }
    }
}
