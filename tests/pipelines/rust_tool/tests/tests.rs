use std::process::Command;

#[test]
fn the_program_starts() {
    let done = Command::new(env!("CARGO_BIN_EXE_rg")).output().unwrap();
    assert_eq!(done.stdout, b"ripgrep 14.1.1\n");
}
