//! Kiln: pipelines as code.

mod cache;
pub mod diagnostic;
pub mod digest;
mod engine;
pub mod event;
mod files;
pub mod plan;
pub mod source;
mod snapshot;
mod syntax;
pub(crate) mod sandbox;
pub use sandbox::launch_if_asked;
