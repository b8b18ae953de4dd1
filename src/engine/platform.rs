//! Platforms: that of this machine, and the one a step is keyed by. Knows the names that plans and the
//! remote execution API have for each; does not know what runs there.

use crate::cache::Writer;
use crate::facts;
use crate::plan::step::Step;

/// Returns the platform of this machine as plans have it.
pub(super) fn ours() -> String {
    format!("{}/{}", std::env::consts::OS, facts::arch())
}

/// Returns the platform of a step for another machine than this one.
pub(super) fn foreign(step: &Step) -> Option<&str> {
    step.platform.as_deref().filter(|own| *own != ours())
}

/// Writes the `Platform` message of a step, with the names of REAPI's lexicon, sorted.
pub(super) fn write(step: &Step, message: &mut Writer) {
    let ours = ours();
    let platform = step.platform.as_deref().unwrap_or(&ours);
    let (system, processor) = platform.split_once('/').unwrap_or((platform, ""));
    let isa = match processor {
        "386" => "x86-32",
        "amd64" => "x86-64",
        "arm" => "arm-a32",
        "arm64" => "arm-a64",
        other => other,
    };
    for (name, value) in [("ISA", isa), ("OSFamily", system)] {
        message.field_message(1, |property| {
            property.field_bytes(1, name.as_bytes());
            property.field_bytes(2, value.as_bytes());
        });
    }
}
