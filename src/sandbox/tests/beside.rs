//! Programs beside a step: they share its network and nothing else, and are gone when it ends.

use std::time::Duration;

use super::*;
use crate::sandbox::ServiceEnd;

/// Answers each connection to port 7000 with the text it is given.
const SERVER: &str = r#"
my $server = IO::Socket::INET->new(
    LocalAddr => "127.0.0.1", LocalPort => 7000, Listen => 5, ReuseAddr => 1) or die $!;
$| = 1;
print "up\n";
while (my $client = $server->accept) { print $client $ARGV[0]; close $client }
"#;

/// Asks that port and prints the answer.
const CLIENT: &str = r#"
my $server = IO::Socket::INET->new("127.0.0.1:7000") or die $!;
$| = 1;
print <$server>, "\n";
"#;

/// Perl with sockets.
const PERL: [&str; 3] = ["/usr/bin/perl", "-MIO::Socket::INET", "-e"];

fn service(argv: &[&str]) -> Service {
    let mut program = Try::new(["/bin/true"]).spec;
    program.argv = argv.iter().map(|word| Word::from(*word)).collect();
    program.capture = std::path::PathBuf::new();
    Service { program, port: None, ready: None, within: Duration::from_secs(20) }
}

fn server(answer: &str) -> Service {
    Service { port: Some(7000), ..service(&[&PERL[..], &[SERVER, answer]].concat()) }
}

fn client(services: Vec<Service>) -> Try {
    Try::new([PERL[0], PERL[1], PERL[2], CLIENT]).with(|spec| {
        spec.network = Network::Loopback;
        spec.services = services;
    })
}

#[test]
fn a_step_reaches_its_service_once_that_is_ready() {
    let tried = client(vec![server("hello")]).run();
    assert_eq!(tried.text(), "hello\n");
    assert_eq!(String::from_utf8_lossy(&tried.stderr), "<0>up\n");
}

#[test]
fn steps_with_services_of_the_same_port_run_beside_each_other() {
    std::thread::scope(|scope| {
        let ask = |answer: &'static str| {
            move || {
                for _ in 0..3 {
                    let tried = client(vec![server(answer)]).run();
                    assert_eq!(tried.text().trim(), answer);
                }
            }
        };
        scope.spawn(ask("one"));
        scope.spawn(ask("two"));
    });
}

#[test]
fn a_service_has_files_of_its_own_and_is_in_no_other_network() {
    let mut own = service(&["/bin/sh", "-c", "echo mine >own; echo up >/tmp/x; sleep 60"]);
    own.ready = Some(["/bin/sh", "-c", "test -e own && test -e /tmp/x"].map(Word::from).to_vec());
    let script = "ls -A /build /tmp; cat /proc/net/dev | grep -c : ; ls /proc/self/fd | wc -l";
    let tried = Try::shell(script).lower(&[("a", "1")]).with(|spec| {
        spec.network = Network::Loopback;
        spec.services.push(own);
    });
    assert_eq!(tried.run().text(), "/build:\na\n\n/tmp:\n1\n4\n");
}

#[test]
fn nothing_of_a_service_is_left_when_its_step_has_ended() {
    let cells = own_cells();
    let leaves = "sleep 3600 & setsid sleep 3600 & sleep 3600";
    let first = Try::shell("true").with(|spec| {
        spec.network = Network::Loopback;
        spec.services.push(service(&["/bin/sh", "-c", leaves]));
    });
    let cancel = Cancel::new().unwrap();
    first.run_in(&cells, &cancel).unwrap().text();
    // The same cell: its processes are all there are, and the second `sleep` would be among them.
    let second = Try::shell("grep -ls sleep /proc/[0-9]*/comm; true");
    assert_eq!(second.run_in(&cells, &cancel).unwrap().text(), "");
}

#[test]
fn services_start_in_their_order_each_when_the_one_before_is_ready() {
    let script = format!("{CLIENT} sleep 60");
    let second = service(&[&PERL[..], &[&script]].concat());
    let tried = Try::shell("sleep 0.2").with(|spec| {
        spec.network = Network::Loopback;
        spec.services = vec![server("first"), second];
    });
    let tried = tried.run();
    tried.text();
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(said.contains("<1>first"), "{said}");
}

#[test]
fn a_service_that_is_not_there_ends_the_step() {
    let end = |script: &str, change: fn(&mut Service)| {
        let mut service = service(&["/bin/sh", "-c", script]);
        change(&mut service);
        let tried = Try::shell("sleep 60; echo never").with(|spec| {
            spec.network = Network::Loopback;
            spec.services.push(service);
        });
        let tried = tried.run();
        assert_eq!(tried.stdout, b"");
        let Exit::Service { service: 0, end } = tried.outcome.exit else {
            panic!("{:?}", tried.outcome.exit)
        };
        (end, String::from_utf8(tried.stderr).unwrap())
    };
    let (ended, said) = end("echo no >&2; exit 3", |_| {});
    assert_eq!((ended, &*said), (ServiceEnd::Code(3), "<0>no\n"));
    let (ended, _) = end("sleep 0.3; kill -9 $$", |_| {});
    assert_eq!(ended, ServiceEnd::Signal(9));
    let (ended, _) = end("exit 3", |service| service.port = Some(7000));
    assert_eq!(ended, ServiceEnd::Code(3));
    let (ended, _) = end("sleep 60", |service| {
        (service.port, service.within) = (Some(7000), Duration::from_millis(100));
    });
    assert_eq!(ended, ServiceEnd::NotReady);
    let (ended, said) = end("sleep 60", |service| {
        service.ready = Some(["/bin/sh", "-c", "echo not yet; exit 1"].map(Word::from).to_vec());
        service.within = Duration::from_millis(200);
    });
    assert_eq!((ended, &*said), (ServiceEnd::NotReady, "<0>not yet\n"));
    let (ended, _) = end("sleep 60", |service| {
        service.ready = Some(["/bin/sleep", "60"].map(Word::from).to_vec());
        service.within = Duration::from_millis(100);
    });
    assert_eq!(ended, ServiceEnd::NotReady);
    let (ended, _) = end("", |service| service.program.argv = vec!["/nothing".into()]);
    assert_eq!(ended, ServiceEnd::NotStarted(libc::ENOENT));
}

#[test]
fn a_step_that_waits_for_a_service_can_be_stopped() {
    let cancel = Cancel::new().unwrap();
    let mut never = service(&["/bin/sleep", "60"]);
    never.port = Some(7000);
    let tried = Try::shell("echo never").with(|spec| {
        spec.network = Network::Loopback;
        spec.services.push(never);
    });
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            cancel.stop();
        });
        let tried = tried.run_in(cells(), &cancel).unwrap();
        assert_eq!((tried.outcome.exit, tried.stdout.len()), (Exit::Cancelled, 0));
        stop.join().unwrap();
    });
}
