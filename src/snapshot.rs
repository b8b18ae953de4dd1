//! The snapshot.
pub(crate) mod memory;
