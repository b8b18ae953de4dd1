//! Platforms: `os/arch` as images name them. Knows their words and those of other tools; does not know
//! what this machine is.

use super::{Evaluated, Evaluator};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::nearest::nearest;
use crate::syntax::ast::Expr;

const SYSTEMS: [&str; 4] = ["freebsd", "linux", "macos", "windows"];

/// The names of the OCI image specification, which has them from Go.
const PROCESSORS: [&str; 7] = ["386", "amd64", "arm", "arm64", "ppc64le", "riscv64", "s390x"];

/// What other tools call them.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("aarch64", "arm64"),
    ("darwin", "macos"),
    ("i686", "386"),
    ("osx", "macos"),
    ("x64", "amd64"),
    ("x86-64", "amd64"),
    ("x86_64", "amd64"),
];

impl<'p> Evaluator<'p> {
    /// Returns the platform that a text names.
    pub(super) fn platform(&mut self, text: &str, written: &'p Expr) -> Evaluated<String> {
        let (system, processor) = text.split_once('/').unwrap_or((text, ""));
        if SYSTEMS.contains(&system) && PROCESSORS.contains(&processor) {
            return Ok(text.to_owned());
        }
        let message = format!("{text:?} is no platform");
        let problem = Diagnostic::error(Code::NO_RESULT, written.span, message);
        let own = |word: &str, known: &[&'static str]| {
            let other = OTHER_NAMES.iter().find(|(name, _)| *name == word).map(|(_, own)| *own);
            let same = known.iter().find(|own| **own == word).copied();
            other.or(same).or_else(|| nearest(word, known.iter().copied()))
        };
        let near = own(system, &SYSTEMS).zip(own(processor, &PROCESSORS));
        let problem = match near {
            Some((system, processor)) => {
                let near = format!("\"{system}/{processor}\"");
                let problem = problem.help(format!("did you mean {near}?"));
                if written.is_literal() { problem.edit(written.span, near) } else { problem }
            }
            None => problem.help("write os/arch, such as \"linux/arm64\" or \"macos/amd64\""),
        };
        self.fail(problem)
    }
}
