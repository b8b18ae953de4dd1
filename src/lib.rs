//! Kiln: pipelines as code.

mod cache;
pub mod diagnostic;
pub mod digest;
mod engine;
pub mod event;
mod files;
pub mod plan;
mod process;
pub(crate) mod sandbox;
mod snapshot;
pub mod source;
mod syntax;
pub use sandbox::launch_if_asked;
