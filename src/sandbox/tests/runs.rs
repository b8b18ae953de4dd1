//! Exits, outputs, inputs and outs.

use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::sandbox::spec::FIXED_MTIME_SECS;

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
    assert!(matches!(tried.outcome.captured[2], CapturedOut::Missing { .. }));
}

#[test]
fn a_dir_out_holds_inputs_the_step_left_alone() {
    let tried = Try::shell("echo new > d/b").lower(&[("d/a", "old")]).out("d", OutKind::Dir).run();
    tried.text();
    assert_eq!(tried.entries(0), ["a old", "b new\\n"]);
}

#[test]
fn a_placed_out_has_a_parent_and_is_an_empty_dir() {
    let tried = Try::shell("ls -A p/dir; echo 1 > p/dir/x; echo 2 > q/r/file")
        .lower(&[("p/dir/stale", "")])
        .out("p/dir", OutKind::Dir)
        .out("q/r/file", OutKind::File)
        .with(|spec| spec.outs.iter_mut().for_each(|out| out.placed = true))
        .run();
    assert_eq!(tried.text(), "");
    assert_eq!(tried.entries(0), ["x 1\\n"]);
    assert_eq!(tried.file(1), b"2\n");
}

#[test]
fn names_and_links_come_back_byte_for_byte() {
    let script = r#"mkdir d; cd d; echo 1 > "$(printf 'a\nb')"; echo 2 > "$(printf '\377')"; ln -s "$(printf '\377')" l; mkdir -p x/y; ln -s ../../l x/y/up; ln -s .. x/top; ln -s x/top/l wind"#;
    let tried = Try::shell(script).out("d", OutKind::Dir).run();
    tried.text();
    assert_eq!(
        tried.entries(0),
        [
            "a\\nb 1\\n",
            "l -> \\xff",
            "wind -> x/top/l",
            "x/",
            "x/top -> ..",
            "x/y/",
            "x/y/up -> ../../l",
            "\\xff 2\\n"
        ]
    );
}

/// Runs `script` with the dir out `d` and returns the error.
fn odd(script: &str, kind: OutKind) -> String {
    let result = Try::shell(&format!("mkdir d; {script}")).out("d", kind).try_run();
    result.map(|tried| tried.outcome.captured).unwrap_err().to_string()
}

#[test]
fn odd_outs_are_errors_that_name_the_path() {
    let python = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/s\")'";
    for (script, path, what) in [
        ("mkfifo d/p", "d/p", "a named pipe"),
        (python, "d/s", "a socket"),
        ("ln -s /etc/passwd d/l", "d/l", "a link that leads out"),
        ("mkdir d/e; ln -s ../../x d/e/l", "d/e/l", "a link that leads out"),
        ("mkdir d/e; ln -s .. d/e/up; ln -s e/up/../x d/l", "d/l", "a link that leads out"),
        ("rmdir d; ln -s . d", "d", "a symbolic link"),
        ("rmdir d; echo > d", "d", "a file, expected a directory"),
    ] {
        let error = odd(script, OutKind::Dir);
        assert!(error.contains(&format!("`{path}`")) && error.contains(what), "{error}");
    }
    assert!(odd("", OutKind::File).contains("a directory, expected a file"));
}

#[test]
fn captured_files_have_plain_modes_and_one_time() {
    use std::os::unix::fs::MetadataExt;
    let tried = Try::shell("echo > f; chmod 6755 f; echo > g; chmod 0 g")
        .out("f", OutKind::File)
        .out("g", OutKind::File)
        .run();
    tried.text();
    for (name, mode) in [("0", 0o100_755), ("1", 0o100_644)] {
        let found = std::fs::metadata(tried.dir().join("capture").join(name)).unwrap();
        assert_eq!((found.mode(), found.mtime()), (mode, FIXED_MTIME_SECS));
    }
}

#[test]
fn sparse_outs_stay_sparse() {
    use std::os::unix::fs::MetadataExt;
    let tried = Try::shell("truncate -s 1G f; echo end >> f").out("f", OutKind::File).run();
    tried.text();
    let found = std::fs::metadata(tried.dir().join("capture/0")).unwrap();
    assert_eq!(found.size(), (1 << 30) + 4);
    assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
}

#[test]
fn a_failed_step_keeps_what_can_be_captured() {
    let tried = Try::shell("echo report > f; exit 3").out("f", OutKind::File).run();
    assert_eq!(tried.outcome.exit, Exit::Code(3));
    assert_eq!(tried.file(0), b"report\n");
}

#[test]
fn trees_are_mounted_read_only_where_asked() {
    let tool = tempfile::tempdir().unwrap();
    std::fs::write(tool.path().join("t"), "tool").unwrap();
    let tried =
        Try::shell("cat .kiln/tools/x/t .kiln/file; echo > .kiln/tools/x/n || echo ' kept'")
            .with(|spec| {
                let mount = |at: &str, tree| Mount { at: at.into(), tree };
                spec.mounts.push(mount(".kiln/tools/x", tool.path().to_owned()));
                spec.mounts.push(mount(".kiln/file", tool.path().join("t")));
            })
            .run();
    assert_eq!(tried.text(), "tooltool kept\n");
}

#[test]
fn a_link_among_the_inputs_cannot_move_a_mount() {
    let error = Try::shell("true")
        .lower(&[("a", "")])
        .with(|spec| {
            std::os::unix::fs::symlink("/", spec.lowers[0].join(".kiln")).unwrap();
            let tree = spec.lowers[0].clone();
            spec.mounts.push(Mount { at: ".kiln/tools/x".into(), tree });
        })
        .try_run();
    assert!(matches!(error, Err(SandboxError::Prepare { .. })));
}

#[test]
fn host_paths_are_at_their_own_place() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sandbox");
    if ["/tmp", "/home/build", "/build"].iter().any(|own| Path::new(path).starts_with(own)) {
        // Not `eprintln`: what that says of a test that passes is not shown.
        let _ = writeln!(std::io::stderr(), "skipped: the sources are in a place of a step's own");
    } else {
        let script = format!("ls {path}/spec.rs; ls {path}/..; echo > {path}/n || echo kept");
        let tried = Try::shell(&script).with(|spec| spec.host_paths.push(path.into())).run();
        assert_eq!(tried.text(), format!("{path}/spec.rs\nsandbox\nkept\n"));
    }
    let hidden = Try::shell("true").with(|spec| spec.host_paths.push("/tmp/x".into())).try_run();
    assert!(matches!(hidden, Err(SandboxError::Prepare { .. })));
}

#[test]
fn a_tree_can_be_the_root() {
    let root = tempfile::tempdir().unwrap();
    for dir in ["usr", "etc"] {
        std::fs::create_dir(root.path().join(dir)).unwrap();
    }
    std::fs::write(root.path().join("etc/mine"), "my root").unwrap();
    let tried = Try::new(["/usr/bin/sh", "-c", "cat /etc/mine; ls /; echo > /etc/n || pwd"])
        .with(|spec| {
            spec.root = Root::Tree(root.path().to_owned());
            spec.host_paths = ["/usr", "/lib", "/lib64"].map(Into::into).to_vec();
        })
        .run();
    assert_eq!(
        tried.text(),
        "my rootbuild\ndev\netc\nhome\nlib\nlib64\nproc\nrun\ntmp\nusr\nvar\n/build\n"
    );
}

/// Changes a root in every way there is.
const CHANGES: &str = "set -e
    id -u
    cat /etc/mine
    echo new >/etc/new
    echo my >/etc/mine
    rm /etc/old
    rm -r /dir /gone
    mkdir -p /dir/in
    ln -s /nowhere /dir/link
    mkfifo /etc/pipe
    chmod 0 /etc/new
    echo newer >>/etc/new
    chmod 700 /etc/new
    chown 7:8 /etc/new /etc/mine
    mknod /etc/device c 1 3
    touch /tmp/t /var/tmp/t /dev/shm/t here
    stat -c '%u %g %n' /etc/mine /etc/new
    grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status
    touch /usr/no || true
";

#[test]
fn a_root_that_is_kept_can_be_written_to_by_user_0() {
    for scratch in [Scratch::Memory, Scratch::Disk] {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in
            [("etc/old", "old"), ("etc/mine", "mine"), ("dir/old", ""), ("gone/x", "")]
        {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let run = |script: &str| {
            let tried = Try::new(["/usr/bin/sh", "-c", script]);
            let tried = tried.out("", OutKind::Root).out("here", OutKind::File);
            let tried = tried.with(|spec| {
                spec.root = Root::Tree(root.path().to_owned());
                spec.host_paths = ["/usr", "/lib", "/lib64"].map(Into::into).to_vec();
                spec.scratch = scratch;
            });
            tried.run()
        };
        let tried = run(CHANGES);
        // Of all rights the one to pass by the modes of files.
        let rights = ["Prm", "Eff", "Bnd"].map(|set| format!("Cap{set}:\t{:016x}\n", 2)).concat();
        assert_eq!(tried.text(), format!("0\nmine0 0 /etc/mine\n0 0 /etc/new\n{rights}"));
        let errors = String::from_utf8_lossy(&tried.stderr);
        assert!(errors.contains("Read-only file system"), "{errors}");
        let expected = [
            "dir/ is new",
            "dir/in/",
            "dir/link -> /nowhere",
            "etc/",
            "etc/mine my\\n",
            "etc/new* new\\nnewer\\n",
            "etc/old is gone",
            "gone is gone",
        ];
        assert_eq!(tried.entries(0), expected);
        assert!(matches!(tried.outcome.captured[1], CapturedOut::File(_)));
        // The root itself is as it was, and so finds it the next step.
        let tried = run("cat /etc/mine /etc/old; ls /gone; touch /etc/left; exit 3");
        assert_eq!((&*tried.stdout, tried.outcome.exit), (&b"mineoldx\n"[..], Exit::Code(3)));
        // Of a step that fails nothing is kept.
        assert_eq!(tried.outcome.captured[0], CapturedOut::missing());
        assert!(!root.path().join("etc/left").exists());
    }
}

#[test]
fn many_lowers_are_no_trouble() {
    let mut many = Try::shell("cat *").lower(&[("a", "x")]);
    for _ in 1..MAX_LOWERS {
        many = many.lower(&[("a", "y")]);
    }
    assert_eq!(many.run().text(), "x");
    let error = Try::shell("true").with(|spec| spec.lowers = vec!["/".into(); MAX_LOWERS + 1]);
    assert!(matches!(error.try_run(), Err(SandboxError::TooManyLowers { .. })));
}

#[test]
fn the_disk_can_take_the_writes() {
    let script = "echo 1 > f; rm -r d; mkdir d; echo 2 > d/n; mkdir z; touch z/z; chmod 0 z; df --output=fstype /tmp | tail -n 1";
    let tried = Try::shell(script)
        .lower(&[("d/a", "")])
        .out("d", OutKind::Dir)
        .with(|spec| spec.scratch = Scratch::Disk);
    let scratch = tempfile::tempdir().unwrap();
    let cells = Cells::new(Launcher::this_program().unwrap(), scratch.path().to_owned()).unwrap();
    let tried = tried.run_in(&cells, &Cancel::new().unwrap()).unwrap();
    drop(cells);
    assert_ne!(tried.text().trim(), "tmpfs");
    assert_eq!(tried.entries(0), ["n 2\\n"]);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn places_are_filled_in() {
    let mut word = Word::from("in ");
    word.0.push(Piece::Place(Place::Build));
    let tried = Try::new(["echo"]).with(|spec| spec.argv.push(word)).run();
    assert_eq!(tried.text(), "in /build\n");
}
