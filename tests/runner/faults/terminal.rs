//! A terminal: what a person would see of a call, and could close.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;

use crate::kiln::by_way_of;

/// The near end of a terminal. Dropping it closes the terminal.
pub(crate) struct Terminal(File);

impl Terminal {
    /// Runs a command in a terminal of its own, which rules over it as a window does.
    pub(crate) fn of(command: &Command) -> (Self, Child) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&near).unwrap();
        rustix::pty::unlockpt(&near).unwrap();
        let name = rustix::pty::ptsname(&near, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let far = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let mut call = by_way_of("setsid", &["--ctty"], command);
        call.env("TERM", "xterm");
        let end = |far: &OwnedFd| Stdio::from(far.try_clone().unwrap());
        let child = call.stdin(end(&far)).stdout(end(&far)).stderr(end(&far)).spawn().unwrap();
        (Self(near.into()), child)
    }
}

impl Read for Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // Nobody has the far end open any more.
            Err(error) if error.raw_os_error() == Some(5) => Ok(0),
            read => read,
        }
    }
}
