//! Kiln: pipelines as code.

mod cache;
pub mod diagnostic;
pub mod digest;
mod files;
mod lang;
pub mod plan;
pub mod session;
pub mod source;
mod syntax;
