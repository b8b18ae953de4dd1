//! The secrets of a step while it runs: given to its sandbox, covered in what it writes, and refused in
//! what it makes. Knows values for that long; does not know where they come from.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use crate::cache::CacheError;
use crate::event::{Cause, Failure};
use crate::plan::Plan;
use crate::plan::step::{SecretUse, Step};
use crate::sandbox::{self, CapturedOut, Piece, Place, Spec, Word};
use crate::secret::{Mask, Value, Vault};

use super::error::StepError;

/// The secrets of one step and its services.
pub(crate) struct Secrets {
    values: Vec<(String, Arc<Value>)>,
    mask: Mask,
    /// Whether a result may depend on one of them.
    may_tell: bool,
}

/// Returns the secrets of a step and its services that nothing gives.
pub(crate) fn unbound<'a>(
    plan: &'a Plan,
    step: &'a Step,
    vault: &Vault,
) -> impl Iterator<Item = &'a str> {
    names(plan, step).filter(|name| !vault.is_bound(name))
}

/// Reads the secrets of `step` and its services; `None` if it has none.
///
/// # Errors
/// If one cannot be had.
pub(crate) fn open(plan: &Plan, step: &Step, vault: &Vault) -> Result<Option<Secrets>, StepError> {
    let mut values: Vec<(String, Arc<Value>)> = Vec::new();
    for name in names(plan, step) {
        if !values.iter().any(|(known, _)| known == name) {
            values.push((name.to_owned(), vault.value(name)?));
        }
    }
    if values.is_empty() {
        return Ok(None);
    }
    let mask = Mask::new(values.iter().map(|(name, value)| (name.as_str(), &**value)));
    let may_tell = uses(plan, step).any(|used| !used.is_pure);
    Ok(Some(Secrets { values, mask, may_tell }))
}

/// Returns the names of all secrets of a step and its services.
fn names<'a>(plan: &'a Plan, step: &'a Step) -> impl Iterator<Item = &'a str> {
    uses(plan, step).map(|used| used.secret.as_str())
}

/// Returns what a step and its services have of secrets.
pub(crate) fn uses<'a>(
    plan: &'a Plan,
    step: &'a Step,
) -> impl Iterator<Item = &'a SecretUse> + use<'a> {
    let services = plan.services_of(step).flat_map(|(_, service)| &service.program.secrets);
    step.secrets.iter().chain(services)
}

impl Secrets {
    /// Returns whether a result may depend on one of them.
    pub(crate) fn may_tell(&self) -> bool {
        self.may_tell
    }

    /// Returns what covers them.
    pub(crate) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Gives them to what a sandbox is asked for.
    ///
    /// # Errors
    /// If a variable cannot hold one.
    pub(crate) fn give(&self, plan: &Plan, step: &Step, spec: &mut Spec) -> Result<(), StepError> {
        for used in &step.secrets {
            self.give_one(used, spec)?;
        }
        for ((_, service), asked) in plan.services_of(step).zip(&mut spec.services) {
            for used in &service.program.secrets {
                self.give_one(used, &mut asked.program)?;
            }
        }
        Ok(())
    }

    fn give_one(&self, used: &SecretUse, spec: &mut Spec) -> Result<(), StepError> {
        let found = self.values.iter().find(|(name, _)| *name == used.secret);
        let value = &found.expect("all of them were read").1;
        let variable = used.variable.clone();
        if used.is_file {
            let path = [Piece::Place(Place::Files), Piece::Text(format!("/{variable}").into())];
            spec.files.push((variable.clone(), value.bytes().to_vec()));
            spec.env.push((variable.into(), Word(path.into())));
            return Ok(());
        }
        let bytes = value.line();
        if bytes.contains(&0) {
            return Err(StepError::ZeroByte { secret: used.secret.clone(), variable });
        }
        let value = OsString::from_vec(bytes.to_vec());
        spec.env.push((variable.into(), Word::from(value)));
        Ok(())
    }

    /// Returns the failure of a step whose outs hold one of them.
    ///
    /// # Errors
    /// If a captured file cannot be read.
    pub(crate) fn leak(
        &self,
        step: &Step,
        captured: &[CapturedOut],
        capture: &Path,
    ) -> Result<Option<Failure>, StepError> {
        for (out, captured) in step.outs.iter().zip(captured) {
            if let Some((secret, path)) = self.in_out(captured, capture)? {
                let place = if path.is_empty() { String::new() } else { format!(", in `{path}`") };
                let message = format!("its out `{}` holds the secret `{secret}`{place}", out.name);
                let help = "outs are kept and passed on: have the step leave it out, or remove it at the end";
                return Ok(Some(Failure {
                    help: Some(help.to_owned()),
                    ..Failure::new(Cause::Out, message)
                }));
            }
        }
        Ok(None)
    }

    /// Returns the secret that an out holds, and where in it.
    fn in_out(
        &self,
        captured: &CapturedOut,
        capture: &Path,
    ) -> Result<Option<(&str, String)>, StepError> {
        let in_file = |file: &sandbox::CapturedFile| {
            let path = file.path_in(capture);
            let found = self.mask.find_in(|| File::open(&path));
            found.map_err(|source| CacheError::Io { doing: "read", path, source })
        };
        let entries = match captured {
            CapturedOut::Missing { .. } => return Ok(None),
            CapturedOut::File(file) => {
                return Ok(in_file(file)?.map(|secret| (secret, String::new())));
            }
            CapturedOut::Dir(entries) => entries,
        };
        for entry in entries {
            let path = || String::from_utf8_lossy(&entry.path).into_owned();
            // A path that holds it is not shown.
            if let Some(secret) = self.mask.find(&entry.path) {
                return Ok(Some((secret, "the name of a file".to_owned())));
            }
            let found = match &entry.node {
                sandbox::Node::Dir | sandbox::Node::NewDir | sandbox::Node::Gone => None,
                sandbox::Node::Link { target } => self.mask.find(target),
                sandbox::Node::File(file) => in_file(file)?,
            };
            if let Some(secret) = found {
                return Ok(Some((secret, path())));
            }
        }
        Ok(None)
    }
}
