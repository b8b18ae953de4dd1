//! Services: servers of a step's own, ready when it starts and gone with it.

use crate::kiln::{Done, Kiln, Project, skipped};

/// A server that answers each connection with its argument and the file it was given.
const SERVER: &str = r#"
service server(answer: string) {
  in files("data.txt")
  port = 7000
  run ["perl", "-MIO::Socket::INET", "-e", """
    open(my $data, "<", "data.txt") or die; my $line = <$data>;
    my $server = IO::Socket::INET->new(
      LocalAddr => "127.0.0.1", LocalPort => 7000, Listen => 5, ReuseAddr => 1) or die $!;
    $| = 1; print "serves $ARGV[0]\n";
    while (my $client = $server->accept) { print $client "$ARGV[0] $line"; close $client }
  """, answer]
  out address: string = "127.0.0.1:7000"
}

fn asks(address: string) -> list<string> = [
  "perl", "-MIO::Socket::INET", "-e", "print IO::Socket::INET->new($ARGV[0])->getline", address,
]
"#;

/// Calls `kiln` with a step's name, which has a blank in it.
fn ask(project: &Project, command: &str, step: &str) -> Done {
    Kiln::new(project.path()).arguments([command, step]).run()
}

fn project(stages: &str) -> Project {
    Project::of(format!("{SERVER}{stages}")).with("data.txt", "data\n")
}

#[test]
fn tests_with_services_of_one_port_run_beside_each_other_and_are_cached() {
    let project = project(
        r#"
test reads for (n in 1..4) {
  service one = server("number {{n}}")
  run [asks(one.address)]
}
"#,
    );
    project.kiln("run").exits(0).tells("4 steps (4 ran)");
    for n in 1..=4 {
        let log = ask(&project, "log", &format!("reads[n: {n}]")).exits(0).stdout();
        assert!(log.contains(&format!("number {n} data\n")), "{log}");
        assert!(log.contains(&format!("one | serves number {n}\n")), "{log}");
    }
    project.kiln("run").exits(0).tells("4 steps (4 cached)");
    project.write("data.txt", "other\n");
    project.kiln("run").exits(0).tells("4 steps (4 ran)");
    assert!(ask(&project, "why", "reads[n: 1]").exits(0).stdout().contains("data.txt"));
}

#[test]
fn what_a_service_is_made_of_is_built_first_and_runs_its_steps_again() {
    let text = r#"
build answer {
  in files("data.txt")
  run sh "tr a-z A-Z <data.txt >{{out.text}}"
  out text: file
}

service server {
  ready = ["test", "-e", "up"]
  run sh "cat {{answer.text}}; touch up; sleep 3600"
}

test unit {
  service server
  run sh "echo asked"
}
"#;
    let project = Project::of(text).with("data.txt", "one\n");
    project.kiln("run unit").exits(0).tells("2 steps (2 ran)");
    let log = project.kiln("log unit").exits(0).stdout();
    assert_eq!(log, "server | ONE\nasked\n");
    project.write("data.txt", "ONE\n");
    project.kiln("run unit").exits(0).tells("2 steps (1 ran, 1 cached)");
    project.write("data.txt", "two\n");
    project.kiln("run unit").exits(0).tells("2 steps (2 ran)");
}

#[test]
fn a_service_that_is_not_there_fails_its_step_with_its_place() {
    let told = |service: &str, what: &str| {
        let stage = "test unit {\n  service db\n  run sh \"echo the step began\"\n}\n";
        let project = Project::of(format!("service db {{\n{service}\n}}\n{stage}"));
        let done = project.kiln("run").exits(1);
        let told = done.stderr();
        for part in [what, "pipeline.pipe:1  service db {"] {
            assert!(told.contains(part), "no {part} in:\n{told}");
        }
        assert!(!told.contains("began"), "{told}");
        told
    };
    let said = told("run sh \"echo no licence; exit 3\"\nport = 80", "exited with code 3");
    assert!(said.contains("db | no licence"), "{said}");
    told(
        "run sh \"sleep 3600\"\nport = 7000\nwithin = 200ms",
        "its service `db` was not ready within 200 ms: nothing listens on port 7000",
    );
    let said = told(
        "run sh \"sleep 3600\"\nready = [\"sh\", \"-c\", \"echo no table; exit 1\"]\nwithin = 1s",
        "its service `db` was not ready within 1 s: `sh -c 'echo no table; exit 1'` never passed",
    );
    assert!(said.contains("db | no table"), "{said}");
    told("run [\"no-such-server\"]", "could not be started: No such file or directory");
}

#[test]
fn a_service_that_ends_ends_its_step() {
    let project = Project::of(
        r#"
service db {
  run sh "sleep 0.5; exit 4"
}

test unit {
  service db
  run sh "sleep 3600"
}
"#,
    );
    let done = project.kiln("run").exits(1);
    assert!(
        done.stderr().contains("its service `db` exited with code 4 before"),
        "{}",
        done.stderr()
    );
}

#[test]
fn the_weak_sandbox_refuses_services_by_name() {
    let project = project(
        r#"
test reads {
  service one = server("x")
  run [asks(one.address)]
}
"#,
    );
    let done = project.kiln("run --sandbox=weak").exits(4);
    assert!(done.stderr().contains("services in the weak sandbox"), "{}", done.stderr());
}

#[test]
fn postgres_serves_two_tests_at_once() {
    if !std::path::Path::new("/usr/lib/postgresql").exists() {
        return skipped("no PostgreSQL below /usr/lib/postgresql");
    }
    let project = Project::of(
        r#"
service postgres(database: string) {
  port = 5432
  env PGDATA = "data"
  run sh """
    PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')
    initdb --no-sync --username=kiln --auth=trust >/dev/null
    exec postgres -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp
  """
  ready = ["sh", "-c", "createdb -h 127.0.0.1 -U kiln \"$1\"", "-", database]
  out url: string = "postgres://kiln@127.0.0.1:5432/{{database}}"
}

test shop for (name in ["one", "two"]) {
  service db = postgres(database: name)
  run sh """
    psql {{db.url}} -qc 'create table t(a text)' -c "insert into t values ('row of {{name}}')"
    psql {{db.url}} -Atc 'select current_database(), a from t'
  """
}
"#,
    );
    project.kiln("run").exits(0).tells("2 steps (2 ran)");
    for name in ["one", "two"] {
        let log = ask(&project, "log", &format!("shop[name: {name}]")).exits(0).stdout();
        assert!(log.contains(&format!("\n{name}|row of {name}\n")), "{log}");
    }
}

/// Tests of two servers of one kind at once, on one port, each with what only its own step wrote.
fn two_at_once(text: &str, told: impl Fn(&str) -> String) {
    let project = Project::of(text);
    project.kiln("run").exits(0).tells("ran)");
    for name in ["one", "two"] {
        let log = ask(&project, "log", &format!("shop[name: {name}]")).exits(0).stdout();
        assert!(log.contains(&told(name)), "{log}");
    }
}

#[test]
fn servers_of_the_library_serve_two_tests_at_once() {
    if std::path::Path::new("/usr/lib/postgresql").exists() {
        two_at_once(
            r#"
use std.postgres

test shop for (name in ["one", "two"]) {
  service db = postgres.server(database: "{{name}} \"shop\"", settings: ["work_mem=2MB"])
  run sh """
    sql() { psql -h {{db.host}} -p {{db.port}} -U {{db.user}} -d {{db.database}} -Atc "$1"; }
    sql 'create table t(a text)'
    sql "insert into t values ('row of {{name}}')"
    sql "select current_database(), a, current_setting('work_mem') from t"
  """
}
"#,
            |name| format!("\n{name} \"shop\"|row of {name}|2MB\n"),
        );
    } else {
        skipped("no PostgreSQL below /usr/lib/postgresql");
    }
    if std::path::Path::new("/usr/bin/redis-server").exists() {
        two_at_once(
            r#"
use std.redis

test shop for (name in ["one", "two"]) {
  service cache = redis.server(arguments: ["--maxmemory", "8mb"])
  run sh """
    redis-cli -u {{cache.url}} append seen {{name}}
    redis-cli -u {{cache.url}} get seen
    redis-cli -p {{cache.port}} config get maxmemory
  """
}
"#,
            |name| format!("\n{name}\nmaxmemory\n8388608\n"),
        );
    } else {
        skipped("no redis-server in /usr/bin");
    }
    two_at_once(
        r#"
use std.http

build program {
  run sh """
    cat > {{out.script}} <<'END'
    #!/usr/bin/env python3
    import http.server, sys

    class Names(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/ready" else 404)
            self.end_headers()
            self.wfile.write(sys.argv[1].encode() + b"\n")

    http.server.HTTPServer(("127.0.0.1", 8080), Names).serve_forever()
    END
    chmod +x {{out.script}}
    """
  out script: file
}

service named(name: string) = http.server(program: program.script, arguments: [name], path: "/ready")

test shop for (name in ["one", "two"]) {
  service web = named(name)
  run python """
    from urllib.request import urlopen

    print("it is", urlopen({{web.url}} + "/ready").read().decode())
  """
}
"#,
        |name| format!("it is {name}\n"),
    );
}

#[test]
fn a_server_of_the_library_that_is_not_ready_says_what_it_said() {
    let project = Project::of(
        r#"
use std.http

service web = http.server(arguments: ["python3", "-m", "http.server", "8080"], path: "/nothing-here") {
  within = 2s
}

test unit {
  service web
  run sh "true"
}
"#,
    );
    let done = project.kiln("run").exits(1);
    done.tells("its service `web` was not ready within 2 s").tells("/nothing-here HTTP/1.0\" 404");
}
