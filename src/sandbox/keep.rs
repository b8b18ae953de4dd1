//! Copies what a step keeps for its own next run out of the working tree, times included; what the
//! step has not touched is linked instead. Knows files; does not know what they are for.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::mounts;
use super::protocol::Fault;
use super::spec::Keep;

/// What is kept of one step, and where.
pub(super) struct Keeping<'a> {
    /// Directories, relative to the working tree. One that is not there is left out.
    pub(super) paths: &'a [String],
    /// What the last run kept, which this one saw: laid out like the working tree.
    pub(super) old: Option<OwnedFd>,
    /// An empty directory for what this one keeps; in the same mount as `old`.
    pub(super) new: OwnedFd,
    /// Where the step's own writes are, laid out like the working tree; without it, all is copied.
    pub(super) upper: Option<PathBuf>,
}

impl<'a> Keeping<'a> {
    /// Opens the directories of `keep` by `open_path`.
    pub(super) fn new(
        keep: &'a Keep,
        upper: Option<PathBuf>,
        open_path: fn(&Path) -> io::Result<OwnedFd>,
    ) -> Result<Self, Fault> {
        let open = |path: &Path| {
            let opened = open_path(path);
            opened.map_err(|error| Fault::prepare("open", path, error))
        };
        let old = keep.old.as_deref().map(open).transpose()?;
        Ok(Self { paths: &keep.paths, old, new: open(&keep.new)?, upper })
    }
}

/// Copies what is kept from the working tree `build`.
pub(super) fn keep(build: BorrowedFd<'_>, keeping: &Keeping<'_>) -> Result<(), Fault> {
    for path in keeping.paths {
        let path = Path::new(path);
        let fault = |error: io::Error| Fault::prepare("keep", path, error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match mounts::open_beneath(build, path, flags) {
            Ok(from) => directory(keeping, &from, path).map_err(fault)?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(fault(error.into())),
        }
    }
    Ok(())
}

/// Copies all below the directory at `path`, which is open as `from`.
fn directory(keeping: &Keeping<'_>, from: &OwnedFd, path: &Path) -> io::Result<()> {
    let mut open = vec![(rustix::io::fcntl_dupfd_cloexec(from, 3)?, path.to_owned())];
    while let Some((from, path)) = open.pop() {
        let into = mounts::make_dirs(keeping.new.as_fd(), &path)?;
        for entry in Dir::read_from(&from)? {
            let entry = entry?;
            let name: &OsStr =
                std::os::unix::ffi::OsStrExt::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let at = path.join(name);
            let stat = rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                    open.push((mounts::open_beneath(from.as_fd(), name.as_ref(), flags)?, at));
                }
                FileType::RegularFile if is_linked(keeping, &at, &into, name)? => {}
                FileType::RegularFile => copy(&from, &into, name, &stat)?,
                FileType::Symlink => link(&from, &into, name, &stat)?,
                // Sockets and pipes are of processes that are gone.
                _ => {}
            }
        }
    }
    Ok(())
}

/// Links a file that the step has not written to from what the last run kept.
fn is_linked(keeping: &Keeping<'_>, at: &Path, into: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let (Some(old), Some(upper)) = (&keeping.old, &keeping.upper) else { return Ok(false) };
    if std::fs::symlink_metadata(upper.join(at)).is_ok() {
        return Ok(false);
    }
    // Not there: another layer brought it.
    Ok(rustix::fs::linkat(old, at, into, name, AtFlags::empty()).is_ok())
}

fn copy(from: &OwnedFd, into: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let executable = stat.st_mode & 0o100 != 0;
    let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut target = File::from(rustix::fs::openat(into, name, flags, mode)?);
    // Where the file system can, this shares the bytes.
    io::copy(&mut File::from(source), &mut target)?;
    Ok(rustix::fs::futimens(&target, &times(stat))?)
}

fn link(from: &OwnedFd, into: &OwnedFd, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let target = rustix::fs::readlinkat(from, name, Vec::new())?;
    rustix::fs::symlinkat(target, into, name)?;
    Ok(rustix::fs::utimensat(into, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: time, last_modification: time }
}
