//! Kiln: pipelines as code.

pub mod diagnostic;
pub mod digest;
mod files;
pub mod plan;
pub(crate) mod sandbox;
pub mod source;
mod syntax;

pub use sandbox::launch_if_asked;
