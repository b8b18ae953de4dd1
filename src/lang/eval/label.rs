//! Labels: what stages and rows are called, and where they are declared. Knows names and places; does
//! not know what a step does.

use super::Evaluator;
use super::rows::{Row, bracketed};
use super::step::step_kind;
use crate::lang::ty::ItemRef;
use crate::plan::step::{Place, SkippedStep};
use crate::source::Span;

impl Evaluator<'_> {
    /// Returns the name of a stage with its module.
    pub(super) fn stage_name(&self, stage: ItemRef) -> String {
        format!("{}{}", self.program.module(stage.module).prefix, self.stage(stage).name.text)
    }

    /// Returns a place as plans have it.
    pub(super) fn place_of(&self, span: Span) -> Place {
        let source = self.program.sources.get(span.source);
        let (line, _) = source.line_column(span.start as usize);
        Place { file: source.name.clone(), line: line as u32, start: span.start, end: span.end }
    }

    /// Returns what is said of a row that is no step for the reason `why`.
    pub(super) fn skipped(&self, stage: ItemRef, row: &Row, why: &str) -> SkippedStep {
        let tree = self.stage(stage);
        SkippedStep {
            name: self.row_name(stage, row),
            stage: self.stage_name(stage),
            kind: step_kind(tree.kind),
            place: self.place_of(tree.name.span),
            why: why.to_owned(),
        }
    }

    /// Returns the name of a row with its stage.
    pub(super) fn row_name(&self, stage: ItemRef, row: &Row) -> String {
        let name = self.stage_name(stage);
        match row.texts.is_empty() {
            true => name,
            false => format!("{name}{}", bracketed(&row.texts)),
        }
    }
}
