//! Kiln: pipelines as code.

pub mod digest;
pub mod source;
