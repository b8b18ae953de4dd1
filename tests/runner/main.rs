//! The tests of the whole: the real binary in temporary folders, and the shape of the source.
//! One module for each feature; a case of `diagnostics`, `golden` and `fmt` is a file, no Rust.
//! `KILN_BLESS=1` rewrites what is expected there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests start programs and read the environment")]

mod bad_input;
mod commands;
mod diagnostics;
mod docs;
mod examples;
mod faults;
mod floors;
mod fmt;
mod golden;
mod history;
mod kiln;
mod late;
mod lsp;
mod past;
mod pipelines;
mod real;
mod roots;
mod run;
mod scripts;
mod services;
mod shell;
mod specs;
mod stdlib;
mod tutorial;
mod weak;
