//! Where a mistake in a step comes from: what is found in the standard library, which nobody can
//! change, is told of the stage that uses it. Knows whose text a place is in; does not know mistakes.

use super::step::{Builder, Readiness, Subject};
use super::{Evaluated, Evaluator, Needs, StepIds};
use crate::lang::ty::ItemRef;
use crate::plan::step::Step;
use crate::source::Span;

impl<'p> Evaluator<'p> {
    /// Puts a step together, as [`Self::assembled`] does.
    pub(super) fn assemble(
        &mut self,
        subject: &Subject<'p>,
        builder: Builder<'p>,
        ids: &StepIds,
    ) -> Evaluated<(Step, Readiness, Needs)> {
        let before = self.diagnostics.len();
        let assembled = self.assembled(subject, builder, ids);
        self.tell_of_its_use(subject.item, before);
        assembled
    }

    fn tell_of_its_use(&mut self, item: ItemRef, before: usize) {
        let Some(from) = &self.stage(item).from else { return };
        let modules = &self.program.modules;
        let is_library = |span: Span| {
            modules.iter().any(|module| module.is_library && module.ast.source == span.source)
        };
        for found in &mut self.diagnostics[before..] {
            if is_library(found.span) {
                let place = std::mem::replace(&mut found.span, from.span);
                found.edit = None;
                *found = found.clone().also(place, "asked for here");
            }
        }
    }
}
