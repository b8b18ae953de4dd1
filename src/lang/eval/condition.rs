//! Conditions: which rows of a stage are steps. Knows what `when` comes to and how to say why; does
//! not know what the rows are.

use super::rows::Row;
use super::{Evaluated, Evaluator, Frame};
use crate::lang::ty::{ItemRef, ModuleId};
use crate::lang::value::{RowRef, Value};
use crate::syntax::ast::{BinaryOperator, Expr, ExprKind, ItemKind};

/// How many values are followed to say why a condition does not hold.
const MAX_FOLLOWED: usize = 8;

impl<'p> Evaluator<'p> {
    /// Returns whether a row is no step. The rows of a stage without a condition need not be known.
    pub(super) fn is_skipped(&mut self, row: RowRef) -> Evaluated<bool> {
        let has_condition = |owner: &ItemRef| self.stage(*owner).condition.is_some();
        if self.stage(row.stage).always_runs()
            || !self.template_chain(row.stage).iter().any(has_condition)
        {
            return Ok(false);
        }
        Ok(self.matrix(row.stage)?.rows[row.row as usize].skipped.is_some())
    }

    /// Notes of each row whether a condition of its stage, or of a template of it, does not hold.
    pub(super) fn skip_rows(&mut self, stage: ItemRef, rows: &mut [Row]) -> Evaluated<()> {
        for owner in self.template_chain(stage) {
            let Some(condition) = &self.stage(owner).condition else { continue };
            for row in rows.iter_mut().filter(|row| row.skipped.is_none()) {
                let mut frame = self.frame_of(&self.row_of(stage, row), owner)?;
                self.spend(condition.span)?;
                if !self.truth(condition, &mut frame)? {
                    row.skipped = Some(self.why_not(condition, &mut frame, 0)?);
                }
            }
        }
        Ok(())
    }

    /// Returns why a condition does not hold, in words: the part that decides, and what it found.
    fn why_not(
        &mut self,
        condition: &'p Expr,
        frame: &mut Frame<'p>,
        followed: usize,
    ) -> Evaluated<String> {
        let text = self.program.sources.text(condition.span);
        match &condition.kind {
            ExprKind::Binary { operator: BinaryOperator::And, left, right, .. } => {
                match self.truth(left, frame)? {
                    true => self.why_not(right, frame, followed),
                    false => self.why_not(left, frame, followed),
                }
            }
            ExprKind::Binary { operator: BinaryOperator::Or, .. } => {
                Ok(format!("`{text}` does not hold"))
            }
            ExprKind::Binary { left, right, .. } => {
                let mut found = Vec::new();
                for side in [left, right].into_iter().filter(|side| !is_written_out(side)) {
                    let value = self.expr(side, frame)?;
                    found.extend(self.found(side, &value, frame.folder));
                }
                let found = match &found[..] {
                    [] => String::new(),
                    found => format!(": {}", found.join(" and ")),
                };
                Ok(format!("`{text}` does not hold{found}"))
            }
            ExprKind::Name(name) => match self.binding(name, frame) {
                Some((module, value)) if followed < MAX_FOLLOWED => {
                    let mut frame = Frame::new(self.program, module);
                    self.why_not(value, &mut frame, followed + 1)
                }
                _ => Ok(format!("`{text}` is false")),
            },
            _ => Ok(format!("`{text}` is false")),
        }
    }

    /// Returns what a name is bound to by `let`, and where that is.
    fn binding(&self, name: &str, frame: &Frame<'p>) -> Option<(ModuleId, &'p Expr)> {
        if frame.locals.iter().any(|(local, _)| *local == name) {
            return None;
        }
        let item = self.checked.symbols[frame.module.index()].get(name)?;
        match &self.tree(ItemRef { module: frame.module, item }).kind {
            ItemKind::Let(binding) => Some((frame.module, &binding.value)),
            _ => None,
        }
    }

    fn found(&self, expr: &Expr, value: &Value, folder: &str) -> Option<String> {
        let value = match value {
            Value::None => "none".to_owned(),
            Value::String(text) => format!("{text:?}"),
            value => value.text(folder)?,
        };
        Some(format!("`{}` is {value}", self.program.sources.text(expr.span)))
    }
}

/// Whether a reader of the condition sees the value already.
fn is_written_out(expr: &Expr) -> bool {
    expr.is_literal() || matches!(expr.kind, ExprKind::None | ExprKind::List(_))
}
