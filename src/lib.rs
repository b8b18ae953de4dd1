//! Kiln: pipelines as code. The library does the work and never touches the screen; the `kiln`
//! binary beside it talks to people.
//!
//! # The walk of one datum
//!
//! To learn the house, follow one string, the `"make"` of `run sh "make"` in a `pipeline.pipe`:
//!
//! 1. `bin/kiln/commands.rs`: a command finds the pipeline and asks the session for it.
//! 2. `session.rs`: load → check → plan, in that order; the façade that all faces call.
//! 3. `lang/module.rs`: the file and all it uses are read through the one door to the project.
//! 4. `syntax/scan.rs`: its bytes become tokens; open strings and brackets are found here.
//! 5. `syntax/parse.rs`: each item is parsed on its own, so that a mistake in one hides none.
//! 6. `syntax/ast.rs`: the string is now a literal with a place, in a `run` clause of a stage.
//! 7. `lang/check.rs`: names and types; mistakes become diagnostics, all of them at once.
//! 8. `lang/eval.rs`: values; each row of the stage becomes a step with its files and texts.
//! 9. `plan/step.rs`: the step as plain data. The language ends here, the engine begins here.
//! 10. `plan/graph.rs`: the steps with the edges between them; what waits for what.
//! 11. `engine/key.rs`: the digest of the step with all it sees; a known one has a result already.
//! 12. `sandbox/run.rs`: the script runs where it sees what it declared and nothing else.
//!
//! A module knows those of its own floor and of the floors below (`tests/runner/floors.rs`); what a
//! file does not know is in its first lines.

mod cache;
pub mod diagnostic;
pub mod digest;
mod engine;
pub mod event;
mod facts;
mod files;
pub mod ide;
mod image;
#[cfg(feature = "internals")]
pub mod internals;
mod junit;
mod lang;
pub mod plan;
#[doc(hidden)]
pub mod planted;
mod process;
mod sandbox;
mod secret;
pub mod session;
mod snapshot;
pub mod source;
mod syntax;
pub mod timeline;

pub use sandbox::launch_if_asked;
