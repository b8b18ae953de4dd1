//! The secrets of a step: by name. Knows which item is meant; does not know a value.

use super::step::Builder;
use super::{Evaluated, Evaluator, Frame, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::scope::item_of;
use crate::lang::ty::ItemRef;
use crate::plan::step::SecretUse as StepSecret;
use crate::syntax::ast::{ItemKind, Secret, SecretUse};

impl<'p> Evaluator<'p> {
    /// Gives a secret to a step.
    pub(super) fn secret(
        &mut self,
        used: &SecretUse,
        is_file: bool,
        frame: &Frame<'p>,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        let (symbols, module) = (&self.checked.symbols, frame.module);
        let item = match &used.value {
            Some(value) => item_of(self.program, symbols, module, value),
            None => {
                let item = symbols[module.index()].get(&used.name.text);
                item.map(|item| ItemRef { module, item })
            }
        };
        let item = item.ok_or(Stop)?;
        let ItemKind::Secret(secret) = &self.tree(item).kind else { return Err(Stop) };
        let prefix = &self.program.module(item.module).prefix;
        builder.secret_span.get_or_insert(used.name.span);
        builder.step.secrets.push(StepSecret {
            secret: format!("{prefix}{}", secret.name.text),
            variable: used.name.text.clone(),
            is_file,
            affects_cache: secret.is(Secret::AFFECTS_CACHE),
            is_pure: secret.is(Secret::PURE),
        });
        Ok(())
    }

    /// A kept folder outlives its step, and could hold what the step was given.
    pub(super) fn keeps_no_secret(&mut self, builder: &Builder<'p>) -> Evaluated<()> {
        let Some(span) = builder.secret_span.filter(|_| !builder.step.keep.is_empty()) else {
            return Ok(());
        };
        let message =
            "a stage that keeps folders for its next run has no secrets: they could stay there";
        let help = "do what needs the secret in a stage of its own, and take its outs here";
        self.fail(Diagnostic::error(Code::SECRET, span, message).help(help))
    }
}
