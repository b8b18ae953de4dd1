//! Kiln: pipelines as code.

pub mod diagnostic;
pub mod digest;
pub mod event;
pub mod plan;
pub mod source;
mod syntax;
