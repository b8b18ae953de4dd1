//! Processes: the only place outside the sandbox that starts one. Knows programs, time limits and
//! output; does not know what is asked of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The most that is read of what a program writes to its standard output.
const MAX_OUTPUT: u64 = 1 << 20;

/// The most that is read of what it writes to its standard error.
const MAX_ERRORS: u64 = 1 << 16;

/// How a program of the machine ended, and what it wrote.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Returns what a program of the machine writes to its standard output.
///
/// # Errors
/// As [`run`], or if it fails.
pub(crate) fn output(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    environment: &BTreeMap<String, OsString>,
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let ended = run(program, arguments, folder, environment, limit)?;
    match ended.status.success() {
        true => Ok(ended.stdout),
        false => Err(io::Error::other(format!("it failed: {}", ended.status))),
    }
}

/// Runs a program of the machine to its end. One that writes more than is read is told so, as `head`
/// tells it.
///
/// # Errors
/// If it cannot be started, or takes longer than `limit`: then it is killed.
pub(crate) fn run(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    environment: &BTreeMap<String, OsString>,
    limit: Duration,
) -> io::Result<Ended> {
    run_with(program, arguments, folder, environment, Vec::new(), limit)
}

/// Runs a program of the machine to its end, with `input` on its standard input.
///
/// # Errors
/// As [`run`].
#[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
pub(crate) fn run_with(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    environment: &BTreeMap<String, OsString>,
    input: Vec<u8>,
    limit: Duration,
) -> io::Result<Ended> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment)
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read all needs no more of it.
        std::thread::spawn(move || stdin.write_all(&input));
    }
    let stdout = listen(child.stdout.take().expect("it is piped"), MAX_OUTPUT);
    let stderr = listen(child.stderr.take().expect("it is piped"), MAX_ERRORS);
    let began = Instant::now();
    let left = || limit.saturating_sub(began.elapsed());
    let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(limit), stderr.recv_timeout(left())) else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
    };
    Ok(Ended { status: child.wait()?, stdout: stdout?, stderr: stderr? })
}

/// Reads a pipe to its end, or to `most` bytes.
fn listen(pipe: impl Read + Send + 'static, most: u64) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.take(most).read_to_end(&mut bytes);
        let _ = send.send(read.map(|_| bytes));
    });
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> io::Result<Vec<u8>> {
        let environment = BTreeMap::from([("A".to_owned(), OsString::from("b"))]);
        output(Path::new("/bin/sh"), &["-c", script], Path::new("/"), &environment, limit)
    }

    #[test]
    fn a_program_answers_with_the_environment_it_is_given() {
        assert_eq!(sh("echo $A $HOME", Duration::from_secs(20)).unwrap(), b"b\n");
    }

    #[test]
    fn a_program_that_fails_or_hangs_is_an_error() {
        assert!(sh("echo x; exit 3", Duration::from_secs(20)).is_err());
        let error = sh("exec sleep 100", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
