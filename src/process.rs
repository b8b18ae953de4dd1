//! Processes: the only place outside the sandbox that starts one. Knows programs, time limits and
//! output; does not know what is asked of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Returns what a program of the machine writes to its standard output.
///
/// # Errors
/// If it cannot be started, fails, writes too much or takes longer than `limit`: then it is
/// killed.
#[expect(clippy::disallowed_methods, reason = "this is the place that starts processes")]
pub(crate) fn output(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    environment: &BTreeMap<String, OsString>,
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().expect("it is piped");
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(1 << 20).read_to_end(&mut bytes);
        let _ = send.send(read.map(|_| bytes));
    });
    let Ok(bytes) = receive.recv_timeout(limit) else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
    };
    let _ = reader.join();
    let status = child.wait()?;
    if status.success() {
        return bytes;
    }
    Err(io::Error::other(format!("it failed: {status}")))
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
