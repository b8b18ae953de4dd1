//! Exits, outputs, inputs and outs.

use super::*;

#[test]
fn a_program_says_how_it_ended() {
    assert_eq!(Try::shell("exit 7").run().outcome.exit, Exit::Code(7));
    assert_eq!(Try::shell("kill -9 $$").run().outcome.exit, Exit::Signal(9));
    assert_eq!(Try::new(["true"]).run().outcome.exit, Exit::Code(0));
}

#[test]
fn a_program_that_is_not_there_is_an_error_with_its_name() {
    let error = Try::new(["no-such-program"]).try_run().map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "cannot run `no-such-program` in the sandbox");
}

#[test]
fn both_outputs_arrive_byte_for_byte() {
    let tried = Try::shell(r"printf 'a\0\377\n'; printf '\033[1m' >&2").run();
    assert_eq!(tried.stdout, b"a\0\xff\n");
    assert_eq!(tried.stderr, b"\x1b[1m");
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    let tried = Try::new(["/usr/bin/env"]).run();
    assert_eq!(tried.text(), "PATH=/usr/bin:/bin\nHOME=/home/build\n");
}

#[test]
fn inputs_are_laid_over_each_other_and_the_first_wins() {
    let tried = Try::shell("cat a b")
        .lower(&[("a", "first ")])
        .lower(&[("a", "second "), ("b", "below")])
        .run();
    assert_eq!(tried.text(), "first below");
}

#[test]
fn what_a_step_does_to_its_inputs_stays_with_it() {
    let tried = Try::shell("echo more >> a; rm b; mkdir b; ls; id -u; touch -d @0 a")
        .lower(&[("a", "text"), ("b", "")])
        .run();
    assert_eq!(tried.text(), "a\nb\n1000\n");
    assert_eq!(std::fs::read(tried.dir().join("lower-0/a")).unwrap(), b"text");
    assert!(tried.dir().join("lower-0/b").is_file());
}

#[test]
fn outs_are_captured_as_the_step_saw_them() {
    let tried = Try::shell("echo hi > f; rm d/gone; mkdir d/sub; echo '#!' > d/sub/x; chmod +x d/sub/x; ln -s ../kept d/sub/l")
        .lower(&[("d/kept", "old"), ("d/gone", "")])
        .out("f", OutKind::File)
        .out("d", OutKind::Dir)
        .out("missing", OutKind::File)
        .run();
    tried.text();
    assert_eq!(tried.file(0), b"hi\n");
    assert_eq!(tried.entries(1), ["kept old", "sub/", "sub/l -> ../kept", "sub/x* #!\\n"]);
    assert_eq!(tried.outcome.captured[2], CapturedOut::Missing);
}
