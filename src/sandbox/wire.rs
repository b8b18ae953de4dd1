//! The bytes between Kiln and its launchers. One frame is a length (4 bytes, little-endian) and
//! that many bytes. Both ends are the same executable, so there are no versions.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::spec::MAX_SERVICES;

/// The most descriptors that travel with one frame.
const MAX_FDS: usize = 3 + MAX_SERVICES;

/// Writes the fields of a frame.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Returns a writer with room for the length in front.
    pub(super) fn new() -> Self {
        Self(vec![0; 4])
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(super) fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }

    pub(super) fn option(&mut self, value: Option<u64>) {
        self.u8(value.is_some().into());
        self.u64(value.unwrap_or(0));
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.u64(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    /// Returns the whole frame.
    ///
    /// # Panics
    /// At 4 GiB, which no spec and no list of captured files comes near.
    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).expect("frames are shorter than 4 GiB");
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0
    }

    /// Sends the frame, and `fds` with it.
    pub(super) fn send(self, socket: &UnixStream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = self.finish();
        let mut sent = 0;
        if !fds.is_empty() {
            let mut space =
                [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)), "at most {MAX_FDS} fds");
            let parts = [io::IoSlice::new(&frame)];
            sent = rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)?;
        }
        (&mut &*socket).write_all(&frame[sent..])
    }
}

/// Reads the fields of a frame. `None` is a frame that is no frame of ours.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(frame: &'a [u8]) -> Self {
        Self(frame)
    }

    pub(super) fn raw(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.raw(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        Some(i32::from_le_bytes(self.array()?))
    }

    pub(super) fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.u64()?).ok()?;
        Some(self.raw(length)?.to_vec())
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn path(&mut self) -> Option<PathBuf> {
        Some(std::ffi::OsString::from_vec(self.bytes()?).into())
    }

    pub(super) fn option(&mut self) -> Option<Option<u64>> {
        let present = self.u8()? != 0;
        let value = self.u64()?;
        Some(present.then_some(value))
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        (0..self.u64()?).map(|_| read(self)).collect()
    }
}

/// Waits for one frame and the descriptors that travel with it. `None` is the end of the stream.
pub(super) fn receive(socket: &UnixStream) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut head = [0; 4];
    let mut fds = Vec::new();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut parts = [io::IoSliceMut::new(&mut head)];
        match rustix::net::recvmsg(
            socket.as_fd(),
            &mut parts,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(message) => break message.bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => break 0,
            Err(error) => return Err(error.into()),
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if got == 0 {
        return Ok(None);
    }
    (&mut &*socket).read_exact(&mut head[got..])?;
    let mut frame = vec![0; u32::from_le_bytes(head) as usize];
    (&mut &*socket).read_exact(&mut frame)?;
    Ok(Some((frame, fds)))
}
