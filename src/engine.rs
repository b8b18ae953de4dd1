//! The engine: runs the steps of a plan. Knows keys, the store, sandboxes and the order of things;
//! does not know the language that made the plan, nor who reads the events.

pub(crate) mod key;
pub(crate) mod line;
pub(crate) mod schedule;
