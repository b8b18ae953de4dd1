//! The escape matrix: all ways out of a step that are known, tried at once, for root and for an ordinary
//! user. None leads out; and each does with the defence against it switched off, so each is a way.
//!
//! `escapes.py` tries what a program can do to its machine, and the steps below what an out can be.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::faults::{Subject, as_ordinary_user, planted};
use crate::kiln::{Project, by_way_of, skipped};

const PROBES: &str = include_str!("escapes.py");

/// The fewest ways that are tried, those of outs among them.
const FEWEST: usize = 60;

const PIPELINE: &str = r#"
test escapes {
  in file("escapes.py")
  in file("doors")
  tools = [tree("tool")]
  network = "none"
  run bash "/usr/bin/python3 escapes.py $(cat doors) $(command -v kiln-tool)"
}
"#;

/// Ways out by what is made: the name, the out's type, and the script.
const OUTS: [(&str, &str, &str); 6] = [
    ("out-fifo", "dir", "mkfifo {{out.o}}/x"),
    (
        "out-socket",
        "dir",
        "/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"x\")'; mv x {{out.o}}/x",
    ),
    ("out-link-to-the-root", "dir", "ln -s /etc/shadow {{out.o}}/x"),
    ("out-link-above", "dir", "ln -s ../../../../../../etc/shadow {{out.o}}/x"),
    (
        "out-link-by-a-link",
        "dir",
        "mkdir {{out.o}}/a; ln -s a {{out.o}}/b; ln -s b/../../x {{out.o}}/x",
    ),
    ("out-link-to-a-process", "dir", "ln -s /proc/self/root/etc/shadow {{out.o}}/x"),
];

/// What a machine has for a step to find.
struct Machine {
    _listeners: (TcpListener, Option<TcpListener>, UdpSocket, UnixListener),
    marked: Child,
    memory: String,
    doors: String,
    mark: String,
}

impl Machine {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = format!("kiln-escapes-{}-{number}", std::process::id());
        let four = TcpListener::bind("127.0.0.1:0").unwrap();
        // Not every machine has it.
        let six = TcpListener::bind("[::1]:0").ok();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = SocketAddr::from_abstract_name(&mark).unwrap();
        let local = UnixListener::bind_addr(&name).unwrap();
        let marked = Command::new("python3")
            .args(["-c", "import time; time.sleep(100)", &mark])
            .env("CANARY", &mark)
            .spawn()
            .unwrap();
        let key = 0x6b00_0000 + std::process::id() % 0xffff * 16 + number;
        let made = Command::new("python3")
            .args(["-c", "import ctypes, sys; print(ctypes.CDLL(None).shmget(int(sys.argv[1]), 4096, 0o1666))"])
            .arg(key.to_string())
            .output()
            .unwrap();
        let memory = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let six_port = six.as_ref().map_or(0, port);
        let udp_port = udp.local_addr().unwrap().port();
        let doors = format!("{} {six_port} {udp_port} {mark} {mark} {key}", port(&four));
        Self { _listeners: (four, six, udp, local), marked, memory, doors, mark }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.marked.kill();
        let _ = self.marked.wait();
        let remove = "import ctypes, sys; ctypes.CDLL(None).shmctl(int(sys.argv[1]), 0, None)";
        let _ = Command::new("python3").args(["-c", remove, &self.memory]).status();
    }
}

/// Returns the ways that led out of a step, and how many were tried.
fn ways_out(subject: &Subject) -> (BTreeSet<String>, usize) {
    let machine = Machine::new();
    let project = Project::of(PIPELINE).with("escapes.py", PROBES).with("doors", &machine.doors);
    let project = project.with("tool/bin/kiln-tool", "#!/bin/sh\n");
    let call = subject.kiln(project.path()).arguments(["run"]).env("CANARY", &machine.mark);
    // The shell leaves a directory of the machine open at 9.
    let mut call = by_way_of("sh", &["-c", "exec 9</; exec \"$@\"", "sh"], &call.command());
    let done = call.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{said}");
    let log = project.kiln("log escapes").exits(0).stdout();
    let words = |word: &'static str| {
        log.lines()
            .filter_map(move |line| line.strip_prefix(word))
            .map(|rest| rest.trim().to_owned())
    };
    let mut ways: BTreeSet<String> = words("ESCAPED ").collect();
    let tried: usize = words("PROBES ").next().unwrap().parse().unwrap();
    for (name, ty, script) in OUTS {
        let text = format!(
            "build made {{\n  run bash \"\"\"\n    {script}\n  \"\"\"\n  out o: {ty}\n}}\n"
        );
        let project = Project::of(text);
        let done = subject.kiln(project.path()).arguments(["run"]).run();
        match done.code() {
            Some(0) => drop(ways.insert(name.to_owned())),
            _ => drop(done.exits(1).tells("made")),
        }
    }
    (ways, tried + OUTS.len())
}

fn nothing_leads_out(subject: &Subject) {
    let (ways, tried) = ways_out(subject);
    assert!(tried >= FEWEST, "only {tried} ways were tried");
    assert!(ways.is_empty(), "these led out of a step: {ways:?}");
}

#[test]
fn no_way_leads_out_of_a_step() {
    nothing_leads_out(&Subject::real());
    as_ordinary_user(nothing_leads_out);
}

/// What each bug lets through. Together it is all that is tried.
const TWINS: [(&str, &[&str]); 10] = [
    (
        "HostFiles",
        &[
            "list-boot-or-opt",
            "list-mnt",
            "list-root-home",
            "list-srv",
            "list-sys",
            "list-var-lib",
            "list-var-log",
            "read-pam",
            "read-shadow",
            "root-of-a-process",
        ],
    ),
    (
        "HostProcesses",
        &[
            "arguments-of-a-process",
            "boot-id",
            "count-processes",
            "kernel-command-line",
            "memory-of-the-machine",
            "mounts-of-the-machine",
            "setting-of-the-kernel",
            "uptime",
        ],
    ),
    (
        "OpenNetwork",
        &[
            "abstract-socket",
            "dns",
            "interfaces",
            "listening-sockets",
            "names-of-sockets",
            "tcp4",
            "tcp6",
            "udp",
        ],
    ),
    (
        "NoFilter",
        &[
            "add-key",
            "clone3",
            "file-handles",
            "io-uring",
            "kernel-crypto-sockets",
            "keyring",
            "limits-of-the-first-process",
            "nested-network",
            "nested-root",
            "nested-user-namespace",
            "vsock",
        ],
    ),
    (
        "KeepRights",
        &[
            "copy-of-a-mount",
            "host-name",
            "loopback-up",
            "make-a-file-system",
            "mount-again",
            "mount-memory",
            "own-mounts",
            "own-network",
            "own-processes",
            "raw-socket",
            "rights",
        ],
    ),
    // Two walls stand before these.
    (
        "NoFilter,KeepRights",
        &[
            "disk-priority-of-the-first-process",
            "packet-family",
            "priority-of-the-first-process",
            "processors-of-the-first-process",
        ],
    ),
    ("KeepDescriptors", &["kept-descriptor"]),
    (
        "WritableTrees",
        &[
            "make-in-a-tool",
            "make-in-the-root",
            "make-in-the-system",
            "mode-of-a-device",
            "write-to-a-tool",
            "write-to-the-system",
        ],
    ),
    ("SharedMemory", &["shared-memory"]),
    (
        "AnyOuts",
        &[
            "out-fifo",
            "out-link-above",
            "out-link-by-a-link",
            "out-link-to-a-process",
            "out-link-to-the-root",
            "out-socket",
        ],
    ),
];

/// What is shut where it depends on the machine: kernels without these sockets, and machines without
/// that address or without such folders.
const ABSENT: [&str; 6] =
    ["kernel-crypto-sockets", "list-boot-or-opt", "list-mnt", "list-srv", "tcp6", "vsock"];

/// What the kernel refuses by itself, whatever Kiln does: user namespaces are kept apart.
const SHUT_ANYWAY: [&str; 2] = ["environment-of-a-process", "trace-the-first-process"];

#[test]
fn each_way_leads_out_where_the_defence_is_off() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root has all that the defences keep from a step");
    }
    let (mut open, mut most) = (SHUT_ANYWAY.len(), 0);
    for (bugs, expected) in TWINS {
        let Some(subject) = planted(bugs) else {
            return skipped("no binary with bugs; `tests/run` builds it");
        };
        let (ways, tried) = ways_out(&subject);
        most = most.max(tried);
        let missed = expected.iter().filter(|way| !ways.contains(**way) && !ABSENT.contains(way));
        let missed: Vec<_> = missed.collect();
        assert!(missed.is_empty(), "the bug {bugs} does not open {missed:?}, only {ways:?}");
        open += expected.len();
    }
    // One of them may not be tried here: that of the address.
    assert!(open == most || open == most + 1, "{most} ways were tried, and {open} have a twin");
}
