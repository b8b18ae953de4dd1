//! The folders that a step keeps for its own next run. Knows their paths and what may not lie in them;
//! does not know what they are kept for.

use super::step::Builder;
use super::{Evaluated, Evaluator, Frame};
use crate::diagnostic::{Code, Diagnostic};
use crate::files;
use crate::source::Span;
use crate::syntax::ast::{Expr, ExprKind};

impl<'p> Evaluator<'p> {
    /// Takes in the field `keep`.
    pub(super) fn keep(
        &mut self,
        value: &'p Expr,
        frame: &mut Frame<'p>,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        let elements = self.elements(value, frame)?;
        for (at, element) in elements.iter().enumerate() {
            // One that is written out is shown by itself.
            let span = match &value.kind {
                ExprKind::List(written) => written.get(at).map_or(value.span, |it| it.span),
                _ => value.span,
            };
            let text = self.plain_text(element, span, frame.folder)?;
            let path = self.kept_path(&text, span, frame.folder)?;
            let kept = &builder.step.keep;
            let is_near = |other: &String| {
                files::below(other, &path).is_some() || files::below(&path, other).is_some()
            };
            if let Some(other) = kept.iter().find(|other| is_near(other)) {
                let message = format!("`{path}` and `{other}` are kept, and one lies in the other");
                let problem = Diagnostic::error(Code::CLASHING_PATHS, span, message);
                let problem = problem.help("keep the outer one only");
                let is_inner = files::below(other, &path).is_some();
                return self.fail(match &value.kind {
                    ExprKind::List(written) if is_inner && at > 0 && at < written.len() => problem
                        .edit(Span { start: written[at - 1].span.end, ..written[at].span }, ""),
                    _ => problem,
                });
            }
            let sets = &self.file_sets;
            if builder.inputs.covers(|set| sets[set.index()].paths.clone(), &path) {
                let message = format!("the kept folder `{path}` holds inputs of the step");
                let help = "keep a folder that only the step itself writes to, such as \"target\"";
                return self
                    .fail(Diagnostic::error(Code::CLASHING_PATHS, span, message).help(help));
            }
            builder.step.keep.push(path);
        }
        Ok(())
    }

    /// Returns the build path of a folder to keep.
    fn kept_path(&mut self, text: &str, span: Span, folder: &str) -> Evaluated<String> {
        if text == "~" || text.starts_with("~/") {
            let message = "folders of the home are not kept in this version of Kiln";
            let help = "have the tool use a folder of the working tree: env CARGO_HOME = \".cargo-home\"  keep = [\".cargo-home\"]";
            return self
                .fail(Diagnostic::error(Code::NOT_IN_THIS_VERSION, span, message).help(help));
        }
        self.path_in_build(text, span, folder)
    }
}
