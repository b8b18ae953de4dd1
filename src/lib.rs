//! Kiln: pipelines as code.

mod cache;
pub mod digest;
pub mod source;
