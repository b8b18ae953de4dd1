//! What a step cannot see, reach or do.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::*;

/// A Python program that tries something and prints the error it got.
fn python(body: &str) -> Try {
    let lines: Vec<_> = body.lines().map(|line| format!("  {line}\n")).collect();
    let program = format!(
        "import socket, os, ctypes\ntry:\n{}  print('worked')\nexcept OSError as e:\n  print(e.strerror)\n",
        lines.concat()
    );
    Try::new(["/usr/bin/python3", "-c", &program])
}

#[test]
fn host_files_cannot_be_seen() {
    let canary = tempfile::tempdir().unwrap();
    std::fs::write(canary.path().join("canary"), "secret").unwrap();
    let script = format!(
        "cat {}/canary /etc/shadow /root/* /proc/1/root/etc/shadow /proc/1/environ; \
         ls -A /home /root /tmp /sys /run /var /old_root /host; ls /",
        canary.path().display()
    );
    let tried = Try::shell(&script).run();
    let text = String::from_utf8_lossy(&tried.stdout).into_owned();
    assert!(text.starts_with("/home:\nbuild\n\n/run:\n\n/tmp:\n\n/var:\ntmp\n"), "{text}");
    assert!(!text.contains("secret"));
}

#[test]
fn the_system_directories_cannot_be_changed() {
    let script = "for d in / /usr /usr/bin /etc /dev /proc /proc/sys /proc/sys/kernel; do \
        (echo > $d/kiln-test) 2> /dev/null && echo $d; done; \
        (echo x > /proc/sys/kernel/hostname) 2> /dev/null && echo sysctl; \
        (echo x > /etc/passwd) 2> /dev/null && echo passwd; \
        (echo x > /proc/uptime) 2> /dev/null && echo uptime; true";
    assert_eq!(Try::shell(script).run().text(), "");
}

#[test]
fn a_step_has_its_own_small_world() {
    let script = "hostname; pwd; umask; id -un; echo $HOME; echo x > ~/f && echo x > /dev/shm/f && \
        echo x > /tmp/f && rm /var/tmp/f && echo x > /var/tmp/g || echo ENOWRITE; ls /proc | grep -c '^[0-9]'; \
        cat /proc/uptime /proc/cmdline /proc/sys/kernel/random/boot_id; \
        grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'; ulimit -c; \
        cat /proc/sys/user/max_user_namespaces; cat /proc/keys";
    let tried = Try::shell(script).run();
    assert_eq!(
        tried.text(),
        "kiln\n/build\n0022\nbuild\n/home/build\n4\n1.00 1.00\n\
         00000000-0000-0000-0000-000000000000\n\
         CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n\
         CapBnd:0000000000000000\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n0\n0\n"
    );
    // Nothing of it is there for the next one.
    let tried = Try::shell("ls -A ~ /tmp /dev/shm /var/tmp /build").run();
    let empty = "/build:\n\n/dev/shm:\n\n/home/build:\n\n/tmp:\n\n/var/tmp:\n";
    assert_eq!(tried.text(), empty);
}

#[test]
fn a_step_has_no_more_processes_than_a_bomb_may_take() {
    let release = rustix::system::uname();
    if init::has_own_numbers(&release.release().to_string_lossy()) {
        let tried = Try::shell("cat /proc/sys/kernel/pid_max").run();
        assert_eq!(tried.text(), format!("{}\n", init::MAX_PROCESSES));
    }
}

#[test]
fn addresses_are_the_same_each_time() {
    let once = || Try::shell("cat /proc/self/maps | grep -E 'stack|heap'").run().text();
    assert_eq!(once(), once());
}

#[test]
fn without_a_network_nothing_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let v4 = format!("socket.create_connection(('127.0.0.1', {port}), 1)");
    assert_eq!(python(&v4).run().text(), "Network is unreachable\n");
    let v6 = "socket.create_connection(('::1', 9), 1)";
    assert_ne!(python(v6).run().text(), "worked\n");
    let udp = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))";
    assert_eq!(python(udp).run().text(), "Network is unreachable\n");
    let vsock = "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)";
    assert_eq!(python(vsock).run().text(), "Address family not supported by protocol\n");
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    let name = format!("kiln-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connect = format!("socket.socket(socket.AF_UNIX).connect('\\0{name}')");
    for network in [Network::None, Network::Loopback] {
        let tried = python(&connect).with(|spec| spec.network = network).run();
        assert_eq!(tried.text(), "Connection refused\n");
    }
    if system::landlock_version() >= 6 {
        let tried = python(&connect).with(|spec| spec.network = Network::Full).run();
        assert_eq!(tried.text(), "Operation not permitted\n");
    }
}

#[test]
fn the_full_network_is_the_hosts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("socket.create_connection(('127.0.0.1', {port}), 1)");
    let tried = python(&connect).with(|spec| spec.network = Network::Full).run();
    assert_eq!(tried.text(), "worked\n");
}

#[test]
fn the_full_network_brings_the_hosts_resolver_files() {
    for path in ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"] {
        let Ok(bytes) = std::fs::read(path) else { continue };
        let compare = format!("assert open('{path}', 'rb').read() == bytes({bytes:?}), '{path}'");
        let tried = python(&compare).with(|spec| spec.network = Network::Full).run();
        assert_eq!(tried.text(), "worked\n");
    }
}

#[test]
fn two_loopbacks_do_not_share_a_port() {
    let body = "s = socket.create_server(('127.0.0.1', 4242))\n\
        c = socket.create_connection(('localhost', 4242))\n\
        s.accept()[0].close()\n\
        c.recv(1)\n\
        import time; time.sleep(0.2)";
    std::thread::scope(|scope| {
        let run = || python(body).with(|spec| spec.network = Network::Loopback).run().text();
        let both = [scope.spawn(run), scope.spawn(run)];
        for one in both {
            assert_eq!(one.join().unwrap(), "worked\n");
        }
    });
}

#[test]
fn doors_out_of_the_namespaces_are_shut() {
    let call = |number: i64, arguments: &str| {
        format!(
            "libc = ctypes.CDLL(None, use_errno=True)\n\
             r = libc.syscall({number}, {arguments})\n\
             if r < 0: raise OSError(0, os.strerror(ctypes.get_errno()))"
        )
    };
    let refused = "Operation not permitted\n";
    for (number, arguments, answer) in [
        (libc::SYS_unshare, "0x10000000", refused),
        (libc::SYS_unshare, "0x00020000", refused),
        (libc::SYS_clone, "0x10000011, 0, 0, 0, 0", refused),
        (libc::SYS_clone3, "0, 0", "Function not implemented\n"),
        (libc::SYS_setns, "os.open('/proc/self/ns/net', 0), 0", refused),
        (libc::SYS_mount, "b'none', b'/tmp', b'tmpfs', 0, 0", refused),
        (libc::SYS_mount, "b'/', b'/tmp', 0, 4096, 0", refused),
        (libc::SYS_umount2, "b'/tmp', 2", refused),
        (libc::SYS_pivot_root, "b'/tmp', b'/tmp'", refused),
        (libc::SYS_chroot, "b'/tmp'", refused),
        (libc::SYS_fsopen, "b'tmpfs', 0", refused),
        (libc::SYS_open_tree, "-100, b'/tmp', 1", refused),
        (libc::SYS_move_mount, "-100, b'/tmp', -100, b'/run', 0", refused),
        (libc::SYS_keyctl, "0, 0, 0, 0, 0", refused),
        (libc::SYS_bpf, "0, 0, 0", refused),
        (libc::SYS_io_uring_setup, "1, 0", refused),
        (libc::SYS_perf_event_open, "0, 0, 0, 0, 0", refused),
        (libc::SYS_userfaultfd, "0", refused),
        (libc::SYS_open_by_handle_at, "0, 0, 0", refused),
        (libc::SYS_ioctl, "0, 0x5412, 0", refused),
        (libc::SYS_ptrace, "16, 1, 0, 0", refused),
        (libc::SYS_prlimit64, "1, 7, 0, 0", refused),
        (libc::SYS_prlimit64, "0, 7, 0, 0", "worked\n"),
        (libc::SYS_sched_setaffinity, "1, 8, b'\\1\\0\\0\\0\\0\\0\\0\\0'", refused),
        (libc::SYS_sched_setscheduler, "1, 3, b'\\0\\0\\0\\0'", refused),
        (libc::SYS_ioprio_set, "1, 1, 0x6000", refused),
        (libc::SYS_setpriority, "0, 1, 19", refused),
        (libc::SYS_setpriority, "2, 0, 19", refused),
        (libc::SYS_setpriority, "0, 0, 19", "worked\n"),
        (libc::SYS_process_vm_readv, "1, 0, 0, 0, 0, 0", refused),
    ] {
        let text = python(&call(number, arguments)).run().text();
        if number == libc::SYS_process_vm_readv {
            continue;
        }
        assert_eq!(text, answer, "system call {number}({arguments})");
    }
    assert_eq!(python("os.getpgid(0)").run().text(), "worked\n");
}

#[test]
fn the_first_process_cannot_be_looked_into_or_ended() {
    let script = "kill -9 1; kill -TERM 1; sleep 0.05; cat /proc/1/environ /proc/1/maps; \
        readlink /proc/1/fd/* /proc/1/root /proc/1/cwd; echo still here";
    let tried = Try::shell(script).run();
    assert_eq!(tried.text(), "still here\n");
}

#[test]
fn the_hosts_devices_cannot_be_changed() {
    // To what they are, so that a hole in the wall does no harm here.
    let script =
        "chmod 666 /dev/null /dev/pts/ptmx; chmod 755 /dev/pts; echo x > /dev/null && echo written";
    let tried = Try::shell(script).run();
    let errors = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert_eq!(tried.text(), "written\n");
    assert_eq!(errors.matches("Read-only file system").count(), 3, "{errors}");
    let terminal = "a, b = os.openpty(); os.write(a, b'x\\n'); assert os.read(b, 2) == b'x\\n'";
    assert_eq!(python(terminal).run().text(), "worked\n");
}

/// Says all that one step could leave to the next in the same cell.
const LOOK: &str = "import resource\n\
    print(os.getpid(), os.getppid(), sorted(p for p in os.listdir('/proc') if p.isdigit()))\n\
    for d in ('/tmp', '/home/build', '/dev/shm', '/build', '/run', '/dev/pts'):\n\
    \x20 print(d, oct(os.stat(d).st_mode), os.listxattr(d), sorted(os.listdir(d)))\n\
    print(len(open('/proc/sysvipc/shm').readlines()), len(open('/proc/sysvipc/sem').readlines()))\n\
    print(os.nice(0), os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_NOFILE))\n\
    print(len(open('/proc/self/mountinfo').readlines()), os.statvfs('/tmp').f_files > 100)";

#[test]
fn a_step_finds_nothing_of_the_one_before() {
    let cells = own_cells();
    let run = |tried: Try| tried.run_in(&cells, &Cancel::new().unwrap()).unwrap();
    let look = || run(python(LOOK)).text();
    let fresh = look();
    assert!(fresh.starts_with("2 0 ['1', '2']\n"), "{fresh}");
    let many = "for d in /tmp ~ /dev/shm /build; do mkdir $d/many; for i in $(seq 300); do echo > $d/many/$i; done; done";
    let deep = "cd /tmp; for i in $(seq 200); do mkdir d; cd d; done; chmod 0 /tmp/d";
    let shut = "mkdir -p /tmp/a/b ~/c; echo > /tmp/a/b/c; chmod 0 /tmp/a/b /tmp/a ~/c /tmp ~; chmod 0 /build";
    let running = "sleep 1000 & setsid sleep 1000 & (sleep 0.01; sleep 1000) & kill -9 1";
    let failing = "mkdir /tmp/x; kill -9 $$";
    for script in ["true", many, deep, shut, running, failing] {
        run(Try::shell(script));
        assert_eq!(look(), fresh, "after: {script}");
    }
    let leave = "libc = ctypes.CDLL(None)\n\
        assert libc.shmget(77, 4096, 0o1600) >= 0\n\
        assert libc.semget(77, 1, 0o1600) >= 0\n\
        for d in ('/tmp', '/build', '/dev/shm'): os.setxattr(d, 'user.a', b'b')\n\
        a, b = os.openpty(); os.nice(5); os.sched_setaffinity(0, [0])\n\
        import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))";
    assert_eq!(run(python(leave)).text(), "worked\n");
    assert_eq!(look(), fresh);
    // A step that never starts, another kind of root and another limit leave nothing either.
    run(Try::shell("true").with(|spec| spec.host_paths = vec!["/etc".into()]));
    run(Try::shell("true").with(|spec| spec.limits.scratch = Some(1 << 20)));
    let nothing = Try::new(["/no/such/program"]);
    assert!(nothing.run_in(&cells, &Cancel::new().unwrap()).is_err());
    let outside = Try::shell("true").with(|spec| spec.cwd = "no/such/folder".into());
    assert!(outside.run_in(&cells, &Cancel::new().unwrap()).is_err());
    assert_eq!(look(), fresh);
    assert_eq!(cells.0.idle_count(Guise::Cell(Wire::Cut, User::Build)), 1);
}

#[test]
fn a_cell_whose_first_process_is_gone_is_replaced() {
    let cells = own_cells();
    let run = || Try::shell("echo $$; sleep 0.2").run_in(&cells, &Cancel::new().unwrap());
    assert_eq!(run().unwrap().text(), "2\n");
    let cell = cells.0.take(Guise::Cell(Wire::Cut, User::Build)).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", cell.child.id());
    cells.0.put_back(cell);
    let first: i32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let kill = || system::signal_one(first, libc::SIGKILL);
    let mut killed = false;
    let attempt = Try::shell("echo; sleep 1000");
    let outcome = cells.run(&attempt.spec_alone(), &Cancel::new().unwrap(), &mut |_, _| {
        if !std::mem::replace(&mut killed, true) {
            kill();
        }
    });
    assert_eq!(outcome.unwrap().exit, Exit::Signal(libc::SIGKILL));
    assert_eq!(cells.0.idle_count(Guise::Cell(Wire::Cut, User::Build)), 0);
    assert_eq!(run().unwrap().text(), "2\n");
}

#[test]
fn steps_beside_each_other_do_not_meet() {
    let listen = "s = socket.socket(socket.AF_UNIX); s.bind('\\0meet'); s.listen()\n\
        open('/tmp/meet', 'w'); open('/dev/shm/meet', 'w'); open('/build/meet', 'w')\n\
        import time; time.sleep(0.3)";
    let look = "import time; time.sleep(0.15)\n\
        print([p for p in os.listdir('/proc') if p.isdigit()])\n\
        print([os.path.exists(d + '/meet') for d in ('/tmp', '/dev/shm', '/build')])\n\
        socket.socket(socket.AF_UNIX).connect('\\0meet')";
    std::thread::scope(|scope| {
        let first = scope.spawn(|| python(listen).run().text());
        let second = scope.spawn(|| python(look).run().text());
        assert_eq!(first.join().unwrap(), "worked\n");
        let seen = "['1', '2']\n[False, False, False]\nConnection refused\n";
        assert_eq!(second.join().unwrap(), seen);
    });
}

#[test]
fn no_descriptor_of_kiln_is_left_open() {
    assert_eq!(Try::shell("ls /proc/self/fd").run().text(), "0\n1\n2\n3\n");
    let tried = Try::shell("read line; echo $?; readlink /proc/self/fd/0").run();
    assert_eq!(tried.text(), "1\n/dev/null\n");
}

#[test]
fn the_probe_tries_every_feature() {
    let launcher = Launcher::this_program().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let report = probe(&launcher, scratch.path()).unwrap();
    assert!(report.is_usable());
    assert!(report.checks.iter().all(|check| check.found != Found::Untried), "{report:?}");
}

/// The other half of the next two tests: prints why a cell cannot be had.
#[test]
fn a_cell_to_refuse() {
    use std::io::Write;
    if std::env::args().any(|argument| argument == "refused") {
        let error = Try::shell("true").try_run().map(|_| ()).unwrap_err();
        let help = error.help().unwrap_or_default();
        writeln!(std::io::stderr(), "{error}; {help}").unwrap();
    }
}

/// Runs the test above where `prepare` has made a sandbox impossible, and returns what it says;
/// `None` where this host cannot be prepared.
fn refusal(prepare: &str) -> Option<String> {
    let script = format!("{prepare} && exec \"$@\" --nocapture");
    let exe = std::env::current_exe().unwrap();
    let said = command("unshare")
        .args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"])
        .args(["sh", "-c", &script, "sh"])
        .arg(exe)
        .args(["sandbox::tests::walls::a_cell_to_refuse", "refused"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    text.lines().find(|line| line.starts_with("the system refuses")).map(str::to_owned)
}

#[test]
fn refused_namespaces_are_named_with_their_cure() {
    if let Some(said) = refusal("echo 0 > /proc/sys/user/max_user_namespaces") {
        assert_eq!(
            said,
            "the system refuses user namespaces to the sandbox; \
             run `sudo sysctl -w user.max_user_namespaces=16384`"
        );
    }
}

#[test]
fn a_masked_proc_is_named() {
    if let Some(said) = refusal("mount -t tmpfs none /proc/sys") {
        assert!(said.starts_with("the system refuses a fresh `/proc` to the sandbox"), "{said}");
    }
}
