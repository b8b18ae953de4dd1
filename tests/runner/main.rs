//! The tests of the whole: the real binary in temporary folders, and the shape of the source.
//! One module for each feature; a case of `diagnostics`, `golden` and `fmt` is a file, no Rust.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod diagnostics;
mod floors;
mod kiln;
mod past;
mod run;
