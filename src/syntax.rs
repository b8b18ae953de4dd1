//! The syntax of `.pipe` files: text in, tree out. Knows how the language is written; does not know
//! what it means.

pub(crate) mod ast;
pub(crate) mod code;
pub(crate) mod fmt;
pub(crate) mod outline;
pub(crate) mod parse;
pub(crate) mod scan;
pub(crate) mod shell;
mod text;
