//! Kiln: pipelines as code.

mod cache;
pub mod diagnostic;
pub mod digest;
mod engine;
pub mod event;
mod files;
pub mod plan;
pub(crate) mod sandbox;
pub mod source;
mod syntax;

pub use sandbox::launch_if_asked;
