//! The `kiln` command.
fn main() {
    kiln::launch_if_asked();
}
