//! The tests of the whole: the real binary in temporary folders, and the shape of the source.
//! One module for each feature; a case of `diagnostics`, `golden` and `fmt` is a file, no Rust.

mod diagnostics;
mod floors;
mod kiln;
mod past;
mod run;
