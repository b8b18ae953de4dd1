//! Row 18: what a step without the network can reach of its machine.

use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::faults::{Subject, as_ordinary_user, notices};
use crate::kiln::Project;

/// Knocks at all the doors of the machine that it is told of, and tells which were open.
const KNOCK: &str = r#"
use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6);
my ($four, $six, $udp, $name) = @ARGV;
sub knock {
  my ($door, $family, $type, $address) = @_;
  socket(my $socket, $family, $type, 0) or return print "$door shut: $!\n";
  connect($socket, $address) or return print "$door shut: $!\n";
  defined(send($socket, "hello", 0)) or return print "$door shut: $!\n";
  print "$door open\n";
}
knock("tcp4", AF_INET, SOCK_STREAM, pack_sockaddr_in($four, inet_aton("127.0.0.1")));
knock("tcp6", AF_INET6, SOCK_STREAM, pack_sockaddr_in6($six, inet_pton(AF_INET6, "::1")));
knock("abstract", AF_UNIX, SOCK_STREAM, pack("Sa*", AF_UNIX, "\0$name"));
socket(my $socket, AF_INET, SOCK_DGRAM, 0);
send($socket, "hello", 0, pack_sockaddr_in($udp, inet_aton("127.0.0.1")));
"#;

/// Doors of this machine.
struct Doors {
    four: TcpListener,
    six: Option<TcpListener>,
    udp: UdpSocket,
    name: String,
    local: UnixListener,
}

impl Doors {
    fn new(name: &str) -> Self {
        // A claim and its twin may knock at the same time.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kiln-faults-{}-{number}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let doors = Self {
            four: TcpListener::bind("127.0.0.1:0").unwrap(),
            // Not every machine has it.
            six: TcpListener::bind("[::1]:0").ok(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            local: UnixListener::bind_addr(&address).unwrap(),
            name,
        };
        doors.four.set_nonblocking(true).unwrap();
        doors.six.iter().for_each(|six| six.set_nonblocking(true).unwrap());
        doors.udp.set_nonblocking(true).unwrap();
        doors.local.set_nonblocking(true).unwrap();
        doors
    }

    /// Returns the arguments of [`KNOCK`].
    fn arguments(&self) -> String {
        let port = |door: &TcpListener| door.local_addr().unwrap().port();
        let udp = self.udp.local_addr().unwrap().port();
        let six = self.six.as_ref().map_or(1, port);
        format!("{} {six} {udp} {}", port(&self.four), self.name)
    }

    /// Asserts that nobody came.
    #[track_caller]
    fn are_shut(&self, to: &str) {
        let is_idle = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
        assert!(self.four.accept().is_err_and(is_idle), "{to} reached tcp4");
        let six = self.six.as_ref().is_none_or(|six| six.accept().is_err_and(is_idle));
        assert!(six, "{to} reached tcp6");
        assert!(self.local.accept().is_err_and(is_idle), "{to} reached the abstract socket");
        assert!(self.udp.recv(&mut [0; 8]).is_err_and(is_idle), "{to} reached udp");
    }
}

/// Runs one stage that knocks; returns what it said.
fn knocked(subject: &Subject, doors: &Doors, kind: &str, settings: &str) -> String {
    let stage = format!(
        "{kind} knock {{\n  in file(\"knock.pl\")\n{settings}  run sh \"perl knock.pl {}\"\n}}\n",
        doors.arguments()
    );
    let project = Project::of(stage).with("knock.pl", KNOCK);
    subject.kiln(project.path()).arguments(["run"]).run().exits(0);
    subject.kiln(project.path()).arguments(["log", "knock"]).run().exits(0).stdout()
}

/// A stage of this kind reaches nothing of its machine.
fn reaches_nothing(subject: &Subject, kind: &str) {
    let doors = Doors::new(kind);
    let said = knocked(subject, &doors, kind, "");
    doors.are_shut(&format!("a {kind}"));
    assert_eq!(said.lines().filter(|line| line.contains(" shut: ")).count(), 3, "{said}");
}

fn builds_reach_nothing(subject: &Subject) {
    reaches_nothing(subject, "build");
}

#[test]
fn a_build_reaches_nothing_of_its_machine() {
    builds_reach_nothing(&Subject::real());
    as_ordinary_user(builds_reach_nothing);
}

#[test]
fn an_open_network_is_noticed() {
    notices("OpenNetwork", "a build reached", builds_reach_nothing);
}

fn tests_reach_nothing_else(subject: &Subject) {
    reaches_nothing(subject, "test");
}

#[test]
fn a_test_has_a_loopback_of_its_own() {
    tests_reach_nothing_else(&Subject::real());
    as_ordinary_user(tests_reach_nothing_else);
}

/// So that it is the network that is shut, and not the door.
#[test]
fn a_step_with_the_network_reaches_its_machine() {
    let doors = Doors::new("full");
    let said = knocked(&Subject::real(), &doors, "test", "  network = \"full\"\n");
    assert!(said.contains("tcp4 open\n"), "{said}");
    assert!(doors.four.accept().is_ok());
    assert!(said.contains("abstract shut: "), "{said}");
}

#[test]
fn what_a_step_wanted_of_the_network_is_named() {
    let text = r#"
build fetch {
  run sh "bash -c 'exec 3<>/dev/tcp/fetch.invalid/80'"
}

test serve {
  run sh "bash -c 'exec 3<>/dev/tcp/192.0.2.7/80'"
}
"#;
    let project = Project::of(text);
    let told = project.kiln("run --keep-going").exits(1).stderr();
    let words: Vec<_> = told.split_whitespace().collect();
    let told = words.join(" ");
    for help in [
        "the step has no network and wants `fetch.invalid`: if it must, give the stage \
         `network = \"full\"`",
        "the step has no network but a loopback of its own and wants `192.0.2.7`: ",
    ] {
        assert!(told.contains(help), "{told}");
    }
}
