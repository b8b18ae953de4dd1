//! Kiln: pipelines as code.

mod cache;
pub mod diagnostic;
pub mod digest;
mod engine;
pub mod event;
mod files;
#[cfg(feature = "internals")]
pub mod internals;
mod lang;
pub mod plan;
mod process;
mod sandbox;
pub mod session;
mod snapshot;
pub mod source;
mod syntax;

pub use sandbox::launch_if_asked;
