//! Late stages: those whose rows, or those of what they need, come from what a step makes. Knows what
//! each waits for; does not know how it is made.

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::rows::{Row, Rows};
use super::step::{Builder, step_kind};
use super::{Evaluated, Evaluator, Frame, StepIds, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::late::{self, LateKey};
use crate::lang::ty::ItemRef;
use crate::lang::value::{RowRef, Value};
use crate::plan::artifact::Artifact;
use crate::plan::step::LateStage;
use crate::syntax::ast::{Axis, DataFormat, Expr, ExprKind};

/// Outs that something cannot be known without.
pub(super) type Awaited = IndexSet<AwaitedOut>;

/// An out, or a part of it, that a matrix goes through.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AwaitedOut {
    row: RowRef,
    out: String,
    part: String,
}

impl<'p> Evaluator<'p> {
    /// Returns the elements of a list that a step makes. Without it, what asks is late.
    pub(super) fn late_elements(
        &mut self,
        axis: &'p Axis,
        format: DataFormat,
        source: &'p Expr,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Arc<Vec<Value>>> {
        let text = self.program.sources.text(source.span);
        let artifact = match self.expr(source, frame)? {
            Value::Artifact(artifact) => artifact,
            // What makes the list does not run, and then the stage does not either.
            Value::None => return Ok(Arc::default()),
            _ => return self.no_list(axis, source),
        };
        let row = artifact.row;
        let matrix = self.matrix(row.stage)?;
        let key = LateKey {
            step: self.row_name(row.stage, &matrix.rows[row.row as usize]),
            out: artifact.out.clone(),
            part: artifact.part.clone(),
        };
        let Some(bytes) = self.late.get(&key) else {
            let (out, part) = (artifact.out.clone(), artifact.part.clone());
            self.awaited.insert(AwaitedOut { row, out, part });
            return Err(Stop);
        };
        let elements = bytes
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|bytes| late::elements(format, bytes, axis.ty.as_ref()));
        match elements {
            Ok(elements) => Ok(Arc::new(elements)),
            Err(words) => {
                let message = format!("`{text}` {words}");
                let help = format!(
                    "`{}` made it: mend its script, or the type of `{}`",
                    key.step, axis.name.text
                );
                self.fail(Diagnostic::error(Code::BAD_DATA, axis.values.span, message).help(help))
            }
        }
    }

    /// Reports what is no out of a stage, though it is written like one.
    fn no_list<T>(&mut self, axis: &'p Axis, source: &'p Expr) -> Evaluated<T> {
        let text = self.program.sources.text(source.span);
        let message = format!("`{text}` is no out of a stage");
        let name = self.program.sources.text(axis.values.span);
        let name = name.split('(').next().unwrap_or_default().trim();
        self.fail(
            Diagnostic::error(Code::WRONG_ARGUMENTS, source.span, message)
                .help(format!("a file of the project is named: {name}(\"path\")")),
        )
    }

    /// Has a row of a stage wait for what makes the lists that its matrix goes through.
    pub(super) fn require_lists(
        &mut self,
        stage: ItemRef,
        row: &Row,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        for axis in &self.stage(stage).axes {
            let Some((_, source)) = late::source(axis) else { continue };
            let mut frame = self.frame_of(&self.row_of(stage, row), stage)?;
            if let Value::Artifact(artifact) = self.expr(source, &mut frame)? {
                builder.require.push((artifact.row, source.span));
            }
        }
        Ok(())
    }

    /// Stops what needs a row that is late.
    pub(super) fn await_rows(&mut self, rows: impl Iterator<Item = RowRef>) -> Evaluated<()> {
        let mut is_late = false;
        for row in rows {
            if let Some(awaited) = self.late_rows.get(&row) {
                is_late = true;
                self.awaited.extend(awaited.iter().cloned());
            }
        }
        if is_late { Err(Stop) } else { Ok(()) }
    }

    /// Returns the stages that are late, or were before their lists were known.
    pub(super) fn late_stages(&self, stages: &[ItemRef], ids: &StepIds) -> Vec<LateStage> {
        let mut rows: IndexMap<ItemRef, Awaited> = IndexMap::new();
        for (row, awaited) in &self.late_rows {
            rows.entry(row.stage).or_default().extend(awaited.iter().cloned());
        }
        let late = |stage: &ItemRef| {
            let tree = self.stage(*stage);
            let awaited = match self.matrices.get(stage) {
                Some(Rows::Late(awaited)) => Some(awaited),
                _ => rows.get(stage),
            };
            let goes_through = tree.axes.iter().any(|axis| late::source(axis).is_some());
            if awaited.is_none() && !goes_through {
                return None;
            }
            let max_rows = tree.max.as_ref().filter(|_| goes_through);
            let artifact = |awaited: &AwaitedOut| {
                let step = (*ids.get(&awaited.row.stage)?.get(awaited.row.row as usize)?)?;
                let (out, part) = (awaited.out.clone(), awaited.part.clone());
                Some(Artifact { step, out, part })
            };
            Some(LateStage {
                stage: self.stage_name(*stage),
                kind: step_kind(tree.kind),
                place: self.place_of(tree.name.span),
                awaits: awaited.into_iter().flatten().filter_map(artifact).collect(),
                is_open: awaited.is_some(),
                max_rows: max_rows.and_then(|max| match max.kind {
                    ExprKind::Int(max) => u32::try_from(max).ok(),
                    _ => None,
                }),
            })
        };
        stages.iter().filter_map(late).collect()
    }
}
