//! The fields that bound a step, and what it shares with others. Knows numbers and the names of
//! pools; does not know who keeps to them.

use super::step::Builder;
use super::{Evaluated, Evaluator};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::builtins::fields::{MAX_CPUS, MAX_PLACES, MAX_PROCESSES, MAX_RETRIES};
use crate::lang::value::Value;
use crate::source::Span;

/// The most bytes of the name of a pool.
const MAX_NAME: usize = 255;

impl<'p> Evaluator<'p> {
    /// Takes in a field of a number; returns whether it is one.
    pub(super) fn limit(
        &mut self,
        name: &str,
        value: &Value,
        span: Span,
        builder: &mut Builder<'p>,
    ) -> Evaluated<bool> {
        let limits = &mut builder.step.limits;
        match (name, value) {
            ("memory", Value::Size(bytes)) => limits.memory_bytes = Some(*bytes),
            ("scratch", Value::Size(bytes)) => limits.scratch_bytes = Some(*bytes),
            ("log", Value::Size(bytes)) => limits.log_bytes = Some(*bytes),
            ("timeout", Value::Duration(millis)) => limits.timeout_millis = Some(*millis),
            ("cpus", Value::Int(cpus)) => {
                limits.cpus = Some(self.bounded(*cpus, 1, MAX_CPUS, span)?);
            }
            ("processes", Value::Int(processes)) => {
                limits.processes = Some(self.bounded(*processes, 1, MAX_PROCESSES, span)?);
            }
            ("retries", Value::Int(retries)) => {
                builder.step.retries = self.bounded(*retries, 0, MAX_RETRIES, span)?;
            }
            ("locks", Value::List(names)) => {
                for name in names.iter() {
                    let Value::String(name) = name else { return Err(super::Stop) };
                    self.pool(name, 1, span, builder)?;
                }
            }
            ("pools", Value::Record(pools)) => {
                for (name, places) in pools.iter() {
                    let Value::Int(places) = places else { return Err(super::Stop) };
                    let places = self.bounded(*places, 1, MAX_PLACES, span)?;
                    self.pool(name, places, span, builder)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Lets the step take one of the places of a pool. All that name it have to agree on how many
    /// it has.
    fn pool(
        &mut self,
        name: &str,
        places: u32,
        span: Span,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
            let message = format!("{name:?} is no name of a lock or pool");
            let help = format!("a name has 1 to {MAX_NAME} bytes and is one line: \"database\"");
            return self.fail(Diagnostic::error(Code::NO_RESULT, span, message).help(help));
        }
        let (known, first) = *self.pools.entry(name.to_owned()).or_insert((places, span));
        if known != places {
            let said = |places| match places {
                1 => "a lock".to_owned(),
                places => format!("a pool of {places} places"),
            };
            let message =
                format!("`{name}` is {} here, and {} elsewhere", said(places), said(known));
            let problem = Diagnostic::error(Code::POOL_SIZES, span, message)
                .also(first, format!("{} here", said(known)))
                .help("give it one size: let shared = {…} once, and pools = shared in all");
            return self.fail(problem);
        }
        builder.step.pools.insert(name.to_owned(), places);
        Ok(())
    }

    pub(super) fn bounded(
        &mut self,
        value: i64,
        low: u32,
        high: u32,
        span: Span,
    ) -> Evaluated<u32> {
        match u32::try_from(value) {
            Ok(value) if (low..=high).contains(&value) => Ok(value),
            _ => {
                let text = self.program.sources.text(span);
                let message = format!("`{text}` is {value}, and not in {low}..{high}");
                self.fail(
                    Diagnostic::error(Code::NO_RESULT, span, message)
                        .help(format!("use a number from {low} to {high}")),
                )
            }
        }
    }
}
