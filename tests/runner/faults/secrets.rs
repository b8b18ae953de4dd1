//! Secrets: canaries that go to their steps and must be found nowhere else, in whatever form.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::faults::{Subject, as_ordinary_user, notices};
use crate::kiln::{Project, files_below};

/// The values: of a variable, of a file with several lines, and of a command.
const TOKEN: &str = "canary/token+of \"the\" variable";
const KEY: &str = "-----BEGIN CANARY-----\nY2FuYXJ5IGtleSBpbiBhIGZpbGU\n-----END CANARY-----\n";
const PASSWORD: &str = "canary-password-of-a-command";

const PIPELINE: &str = r#"
secret TOKEN
secret KEY
secret PASSWORD

service server {
  secret PASSWORD
  ready = ["true"]
  run sh "echo serving with $PASSWORD; sleep 3600"
}

test prints {
  service server
  secret TOKEN, PASSWORD
  secret file KEY
  in file("print.pl")
  run ["perl", "print.pl"]
}

test fails {
  secret TOKEN
  run sh """
    set -x
    echo "$TOKEN" >&2
    exit 3
  """
}

build leaks {
  secret PASSWORD
  run sh "mkdir {{out.all}}/inner; printf '%s' $PASSWORD | od -An -tx1 | tr -d ' \n' >{{out.all}}/inner/config"
  out all: dir
}

build names {
  secret PASSWORD
  run sh "touch {{out.all}}/$PASSWORD"
  out all: dir
}

build wraps {
  secret PASSWORD
  run sh "printf 'user:%s' $PASSWORD | base64 | fold -w 7 >{{out.text}}"
  out text: file
}

build misses {
  secret PASSWORD
  run sh "touch $PASSWORD"
  out text: file = "canary-text"
}

test reports {
  secret TOKEN
  in file("report.pl")
  run sh "perl report.pl >{{out.report}}; exit 3"
  out report: junit?
}

build good {
  secret TOKEN
  run sh "test -n \"$TOKEN\"; echo made >{{out.text}}"
  out text: file
}
"#;

/// Prints what it was given in many forms, each also byte by byte.
const PRINT: &str = r#"
use MIME::Base64;
$| = 1;
open(my $file, "<", $ENV{KEY}) or die; my $key = join("", <$file>);
for my $value ($ENV{TOKEN}, $ENV{PASSWORD}, $key) {
  my $url = $value; $url =~ s/([^A-Za-z0-9\-_.~])/sprintf("%%%02X", ord($1))/ge;
  my $json = $value; $json =~ s/(["\\])/\\$1/g; $json =~ s/\n/\\n/g;
  my $xml = $value; $xml =~ s/"/&quot;/g;
  my @forms = ($value, $xml, unpack("H*", $value), uc(unpack("H*", $value)), $url, $json);
  push @forms, encode_base64("x" x $_ . $value, "") for 0 .. 2;
  push @forms, encode_base64($value), encode_base64("some user:" . $value);
  for my $form (@forms) {
    print "whole <$form>\n";
    syswrite(STDOUT, $_) for split(//, "bytes <$form>\n");
  }
}
"#;

/// Writes a report in which each character of its secret is an escape.
const REPORT: &str = r#"
my $hidden = join("", map("&#" . ord($_) . ";", split(//, $ENV{TOKEN})));
print "<testsuite><testcase name='is $hidden' classname='$hidden' file='$hidden'>";
print "<failure message='was $hidden'/></testcase></testsuite>";
"#;

/// All that must not be found: of the first value also its encodings.
fn canaries() -> Vec<String> {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    vec![
        TOKEN.to_owned(),
        "canary/token".to_owned(),
        hex(TOKEN),
        hex(TOKEN).to_uppercase(),
        // As `printf` of it `| base64` says, without what ends it.
        "Y2FuYXJ5L3Rva2VuK29mICJ0aGUiIHZhcmlhYm".to_owned(),
        "canary%2Ftoken%2Bof%20".to_owned(),
        "Y2FuYXJ5IGtleSBpbiBhIGZpbGU".to_owned(),
        PASSWORD.to_owned(),
        hex(PASSWORD),
    ]
}

fn assert_none_in(what: &str, bytes: &[u8]) {
    for canary in canaries() {
        let is_there = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!is_there, "a canary came out in {what}: {canary}");
    }
}

fn assert_none_below(folder: &Path) {
    for file in files_below(folder) {
        let name = file.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        assert_none_in("a name", name.as_bytes());
        if let Ok(bytes) = std::fs::read(&file) {
            assert_none_in(&name, &bytes);
        }
    }
}

fn project() -> (Project, tempfile::TempDir) {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("key"), KEY).unwrap();
    (Project::of(PIPELINE).with("print.pl", PRINT).with("report.pl", REPORT), outside)
}

fn nothing_comes_out(subject: &Subject) {
    let (project, outside) = project();
    let key = format!("KEY=file:{}/key", outside.path().display());
    let mut all = Vec::new();
    for form in ["plain", "jsonl"] {
        let call = subject.kiln(project.path()).env("KILN_SECRET_TOKEN", TOKEN);
        let call = call.env("HIDDEN", PASSWORD).env("KILN_CACHE", "cache");
        let arguments = ["run", "--keep-going", "--ui", form, "--secret", &key];
        let command = "PASSWORD=command:echo $HIDDEN";
        let done = call.arguments(arguments).arguments(["--secret", command]).run().exits(1);
        all.push(done.stdout() + &done.stderr());
    }
    for step in ["prints", "fails", "leaks", "names", "wraps", "misses", "reports", "good"] {
        let call = subject.kiln(project.path()).env("KILN_CACHE", "cache");
        let done = call.arguments(["log", step]).run();
        all.push(done.stdout() + &done.stderr());
        let call = subject.kiln(project.path()).env("KILN_CACHE", "cache");
        let done = call.arguments(["why", step]).run();
        all.push(done.stdout() + &done.stderr());
    }
    let said = all.concat();
    assert_none_in("what kiln said", said.as_bytes());
    assert_none_below(project.path());
    // So that it was the secrets that were covered, and not all.
    for part in [
        "whole <***>",
        "bytes <***>",
        "server | serving with ***",
        "*** is ***  ***  was ***",
        "holds the secret `PASSWORD`, in `inner/config`",
        "holds the secret `PASSWORD`, in `the name of a file`",
        "its out `text` holds the secret `PASSWORD`",
        "there is no file `canary-text`; there is `***`",
    ] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
}

#[test]
fn no_secret_comes_out_of_its_step() {
    nothing_comes_out(&Subject::real());
    as_ordinary_user(nothing_comes_out);
}

#[test]
fn secrets_that_are_shown_are_noticed() {
    notices("ShowSecrets", "a canary came out", nothing_comes_out);
}

#[test]
fn no_other_process_has_a_secret() {
    let (project, outside) = project();
    project.write(
        "pipeline.pipe",
        "secret KEY\ntest waits {\n  secret KEY\n  run sh \"exec sleep 3\"\n}\n",
    );
    let key = format!("KEY=file:{}/key", outside.path().display());
    let call = crate::kiln::Kiln::new(project.path()).arguments(["run", "--secret", &key]);
    let mut kiln = call.command().spawn().unwrap();
    let (mut with, mut others) = (0, 0);
    let until = Instant::now() + Duration::from_secs(20);
    while with == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        (with, others) = (0, 0);
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let has = |bytes: &[u8]| bytes.windows(27).any(|it| it == &KEY.as_bytes()[23..50]);
            let line = read("cmdline");
            assert!(!has(&line), "{}", String::from_utf8_lossy(&line));
            match (has(&read("environ")), line.starts_with(b"sleep\0")) {
                (true, true) => with += 1,
                (true, false) => others += 1,
                (false, _) => {}
            }
        }
    }
    assert!(kiln.wait().unwrap().success());
    assert_eq!((with, others), (1, 0));
}

#[test]
fn what_nothing_gives_is_told_before_anything_runs() {
    let (project, _outside) = project();
    let done = project.kiln("run").exits(2);
    let told = done.stderr();
    for part in ["`TOKEN`, for `prints`", "`KEY`, for `prints`", "`PASSWORD`, for `prints`"] {
        assert!(told.contains(part), "{told}");
    }
    for part in ["KILN_SECRET_TOKEN", "--secret TOKEN=file:PATH", "--secret KEY=file:PATH"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    let done = project.kiln("run good --secret TOKEN=canary").exits(2);
    assert!(done.stderr().contains("NAME=file:PATH"), "{}", done.stderr());
    let done = project.kiln("run good --secret TOKEN=file:nowhere").exits(2);
    assert!(done.stderr().contains("nothing gives the secret `TOKEN`"), "{}", done.stderr());
    let done = project.kiln("run good --secret TOKEN=command:false").exits(4);
    assert!(done.stderr().contains("exit status: 1"), "{}", done.stderr());
}

#[test]
fn a_run_that_is_not_trusted_leaves_out_what_needs_a_secret() {
    let project = Project::of(
        r#"
secret TOKEN

build signed {
  secret TOKEN
  run sh "echo signed >{{out.text}}"
  out text: file
}

test unit {
  run sh "true"
}

test of_what_is_signed {
  run sh "test -s {{signed.text}}"
}
"#,
    );
    let run = |stages: &[&str], code| {
        let call = crate::kiln::Kiln::new(project.path());
        let call = call.env("CI", "true").env("KILN_TRUSTED", "false");
        call.arguments(["run", "--ui", "plain"]).arguments(stages.iter().copied()).run().exits(code)
    };
    let told = run(&["signed", "unit"], 0).stderr();
    let why = "the run is not trusted, and nothing gives the secret `TOKEN`";
    assert!(told.contains(why) && told.contains("(1 ran, 1 skipped)"), "{told}");
    let told = run(&[], 1).stderr();
    assert!(told.contains("1 blocked"), "{told}");
}

#[test]
fn a_secret_file_is_for_the_step_alone_and_holds_every_byte() {
    let project = Project::of(
        r#"
secret KEY

test reads {
  secret file KEY
  run sh """
    test "$(stat -c %a "$KEY")" = 600
    test "$(wc -c <"$KEY")" = 72
    case $KEY in /build/*) exit 1;; esac
  """
}

test has_none {
  run sh "! test -e /run/kiln"
}
"#,
    )
    .with("key", KEY);
    assert_eq!(KEY.len(), 72);
    for sandbox in ["namespaces", "weak"] {
        let arguments = format!("run --secret KEY=file:key --sandbox={sandbox} --rerun reads");
        project.kiln(&arguments).exits(0);
    }
}

#[test]
fn a_secret_is_read_once_and_only_by_a_run_that_needs_it() {
    let project = Project::of(
        r#"
secret TOKEN

test one {
  secret TOKEN
  run sh "test -n \"$TOKEN\""
}

test two {
  secret TOKEN
  run sh "test \"$TOKEN\" != x"
}
"#,
    );
    for command in ["check", "list", "plan"] {
        project.kiln(command).exits(0);
    }
    let asked = || std::fs::read_to_string(project.path().join("asked")).unwrap_or_default();
    for (value, counts) in [("the-first-value", "2 ran"), ("a-rotated-value", "2 cached")] {
        let source = format!("TOKEN=command:echo asked >>asked; echo {value}");
        let call = crate::kiln::Kiln::new(project.path());
        let call = call.arguments(["run", "--ui", "plain", "--secret", &source]);
        let told = call.run().exits(0).stderr();
        assert!(told.contains(counts), "{told}");
        assert_eq!(asked(), "asked\n");
    }
    let text = std::fs::read_to_string(project.path().join("pipeline.pipe")).unwrap();
    let other = text.replace("secret TOKEN\n\n", "secret OTHER\n\n");
    project.write("pipeline.pipe", other.replace("  secret TOKEN", "  secret TOKEN = OTHER"));
    let call = crate::kiln::Kiln::new(project.path()).env("KILN_SECRET_OTHER", "another-value");
    let told = call.arguments(["run", "--ui", "plain"]).run().exits(0).stderr();
    assert!(told.contains("2 ran"), "{told}");
    let told = project.kiln("why one").exits(0).stdout();
    assert!(told.contains("TOKEN"), "{told}");
}

#[test]
fn results_of_steps_with_secrets_are_marked_and_stay_on_this_machine() {
    let project = Project::of(
        r#"
secret TOKEN

test with {
  secret TOKEN
  run sh "test -n \"$TOKEN\""
}

test without {
  run sh "true"
}
"#,
    );
    let call = crate::kiln::Kiln::new(project.path()).env("KILN_CACHE", "cache");
    call.env("KILN_SECRET_TOKEN", "a-token").arguments(["run"]).run().exits(0);
    let files = files_below(&project.path().join("cache"));
    let records = files.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let records = records.filter(|text| text.starts_with("kiln record"));
    let mut marks: Vec<_> = records.map(|text| text.contains(r#""had_secrets":true"#)).collect();
    marks.sort_unstable();
    assert_eq!(marks, [false, true]);
}

#[test]
fn a_secret_that_affects_results_is_a_part_of_the_key_and_a_pure_one_does_not_mark_them() {
    let project = Project::of(
        r#"
secret LICENCE affects_cache
secret TOKEN pure

test licensed {
  secret LICENCE
  run sh "test -n \"$LICENCE\""
}

test open {
  secret TOKEN
  run sh "test -n \"$TOKEN\""
}
"#,
    );
    let run = |licence: &str, key: Option<&str>| {
        let call = crate::kiln::Kiln::new(project.path()).env("KILN_SECRET_TOKEN", "a-token");
        let call = call.env("KILN_SECRET_LICENCE", licence).env("KILN_CACHE", "cache");
        let call = key.into_iter().fold(call, |call, key| call.env("KILN_PROJECT_KEY", key));
        let told = call.arguments(["run", "--ui", "plain"]).run().exits(0).stderr();
        let word = |name: &str| {
            let line = told.lines().find(|line| line.ends_with(name)).unwrap_or_default();
            line.split(' ').next().unwrap_or_default().to_owned()
        };
        (word("licensed"), word("open"))
    };
    let words = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(run("the-first-licence", None), words("ran", "ran"));
    assert_eq!(run("the-first-licence", None), words("cached", "cached"));
    assert_eq!(run("another-licence", None), words("ran", "cached"));
    project
        .kiln("why licensed")
        .exits(0)
        .says("`licensed` ran, since\n  the variable `LICENCE` changed\n");
    assert_eq!(run("the-first-licence", None), words("cached", "cached"));
    // Without the key of the project the digest says nothing, so with another one it is another.
    let shared = Some("a key that machines share");
    assert_eq!(run("the-first-licence", shared), words("ran", "cached"));
    std::fs::remove_file(project.at(".kiln/project-key")).unwrap();
    assert_eq!(run("the-first-licence", shared), words("cached", "cached"));
    assert_eq!(run("the-first-licence", None), words("ran", "cached"));
    let planned = project.kiln("plan").exits(0).stdout();
    assert!(planned.starts_with("open    test  licensed"), "no secret is read:\n{planned}");
    for file in
        files_below(&project.at("cache")).into_iter().chain(files_below(&project.at(".kiln")))
    {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(!bytes.windows(9).any(|part| part == b"r-licence"), "{}", file.display());
    }
    let marked = files_below(&project.at("cache")).into_iter().filter(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.starts_with("kiln record") && text.contains(r#""had_secrets":false"#)
    });
    assert_eq!(marked.count(), 1, "the results of `open` may be shared");
    let call = crate::kiln::Kiln::new(project.path()).env("KILN_PROJECT_KEY", "short");
    let call = call.env("KILN_SECRET_LICENCE", "licence").env("KILN_SECRET_TOKEN", "a-token");
    let told = call.arguments(["run"]).run().exits(4).stderr();
    assert!(told.contains("must have at least 16 bytes"), "{told}");
}

#[test]
fn git_is_not_given_what_is_for_kiln() {
    let project = Project::of(
        r#"
test here {
  env BRANCH = host.git.branch ?? "none"
  run sh "true"
}
"#,
    );
    let git = "#!/bin/sh\nenv >>\"$0.seen\"\nexit 128\n";
    let program = project.path().join("bin/git");
    project.write("bin/git", git);
    project.write(".git/HEAD", "ref: refs/heads/main\n");
    let mut mode = std::fs::metadata(&program).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let path = format!("{}/bin:/usr/bin:/bin", project.path().display());
    let call = crate::kiln::Kiln::new(project.path()).env("PATH", &path);
    call.env("KILN_SECRET_TOKEN", TOKEN).arguments(["check"]).run();
    let call = crate::kiln::Kiln::new(project.path()).env("PATH", &path);
    call.env("KILN_SECRET_TOKEN", TOKEN).arguments(["run"]).run();
    let seen = std::fs::read(project.path().join("bin/git.seen")).unwrap();
    assert!(!seen.is_empty());
    assert_none_in("the environment of git", &seen);
}
