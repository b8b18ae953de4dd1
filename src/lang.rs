//! The meaning of the language: modules in, diagnostics and a plan out. Knows names, types and
//! values; does not know how a step is run, cached or shown.

pub(crate) mod builtins;
pub(crate) mod catalog;
pub(crate) mod check;
pub(crate) mod data;
pub(crate) mod edit;
pub(crate) mod eval;
pub(crate) mod late;
pub(crate) mod library;
pub(crate) mod meaning;
pub(crate) mod module;
pub(crate) mod nearest;
pub(crate) mod pipeline;
pub(crate) mod rename;
pub(crate) mod scope;
pub(crate) mod spec;
pub(crate) mod template;
pub(crate) mod ty;
pub(crate) mod value;
