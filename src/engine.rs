//! The engine: runs the steps of a plan. Knows keys, the store, sandboxes and the order of things;
//! does not know the language that made the plan, nor who reads the events.

pub(crate) mod attempt;
pub(crate) mod captures;
pub(crate) mod error;
pub(crate) mod failed;
pub(crate) mod failure;
pub(crate) mod forecast;
pub(crate) mod hearing;
pub(crate) mod host;
pub(crate) mod inputs;
pub(crate) mod journal;
pub(crate) mod kept;
pub(crate) mod key;
pub(crate) mod learn;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod outs;
pub(crate) mod platform;
pub(crate) mod pools;
pub(crate) mod reach;
pub(crate) mod ready;
mod reports;
mod revival;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod secrets;
pub(crate) mod shell;
mod spared;
pub(crate) mod spec;
pub(crate) mod stop;
pub(crate) mod stores;
pub(crate) mod taken;
pub(crate) mod tool_tree;
mod trial;
mod verify;
pub(crate) mod voices;
pub(crate) mod why;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a table that is whole between any two statements, also after a panic elsewhere.
fn locked<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
