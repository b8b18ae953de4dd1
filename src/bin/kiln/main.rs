//! The `kiln` command: the face that talks to people. Knows arguments, screens and exit codes; all
//! work is the library's.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment, the current folder and the clock are read here and given to the library"
)]

mod cli;
mod commands;
mod exit;
mod lsp;
mod signals;
mod small_shell;
mod ui;

use clap::Parser;

fn main() -> std::process::ExitCode {
    kiln::launch_if_asked();
    if small_shell::is_asked_for() {
        return small_shell::run();
    }
    let arguments = match cli::Cli::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    commands::run(arguments).into()
}
