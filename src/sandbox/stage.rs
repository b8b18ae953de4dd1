//! What one step needs besides its root: scratch space and the working tree in it. Made before the
//! step, captured from and taken away after it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::capture;
use super::error::Feature;
use super::mounts::{self, READ_ONLY, Writes};
use super::outcome::{CapturedOut, Exit};
use super::protocol::{Fault, Ran, Request};
use super::spec::{OutKind, OutPath};
use super::supervise::End;

/// Where a launcher mounts the scratch space of the step at hand.
const SCRATCH: &str = "/scratch";

/// The directories of a scratch space and their modes.
const DIRS: [(&str, u32); 5] =
    [("upper", 0o755), ("work", 0o755), ("tmp", 0o1777), ("home", 0o755), ("shm", 0o1777)];

/// The mounts of one step, in the launcher's own namespace; gone when dropped.
pub(super) struct Stage {
    pub(super) root: PathBuf,
    /// The working tree, detached; process 1 attaches it in its own namespace. Let go of before the
    /// scratch space that it writes to.
    build: OwnedFd,
    scratch: Scratch,
}

/// The mounted scratch space.
struct Scratch {
    mounted: Mounted,
    on_disk: bool,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.on_disk {
            // Here and not in Kiln: rights the step took from itself do not hold in a cell.
            drop(clear_path(&self.mounted.0));
        }
    }
}

/// A mount that is taken away when dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(mounts::detach(&self.0));
    }
}

impl Stage {
    /// Makes the working tree of `request` for `root`, and the places it must have.
    pub(super) fn make(request: &Request, root: PathBuf) -> Result<Self, Fault> {
        let scratch = mount_scratch(request)?;
        let lowers = open_lowers(&request.lowers)?;
        let writes = Writes { dir: SCRATCH, on_disk: request.scratch.is_some() };
        let build = mounts::make_overlay(&lowers, Some(&writes)).map_err(overlay_fault)?;
        let stage = Self { root, build, scratch };
        stage.make_room(&request.outs)?;
        Ok(stage)
    }

    /// Returns the working tree, detached.
    pub(super) fn build(&self) -> Result<OwnedFd, Fault> {
        self.build.try_clone().map_err(|error| Fault::prepare("hand over", "/build", error))
    }

    /// Returns copies of the trees to mount in the working tree, and makes a place for each.
    pub(super) fn trees(&self, request: &Request) -> Result<Vec<(OwnedFd, PathBuf)>, Fault> {
        let copy = |mount: &super::spec::Mount| {
            let from = mounts::open_host(&mount.tree)?;
            let at = Path::new(&mount.at);
            make_place(self.build.as_fd(), at, &from)?;
            Ok((mounts::copy_tree(from.as_fd(), READ_ONLY)?, at.to_owned()))
        };
        request
            .mounts
            .iter()
            .map(|mount| {
                copy(mount).map_err(|error: io::Error| Fault::prepare("mount", &mount.tree, error))
            })
            .collect()
    }

    /// Makes the parents of placed outs, and an empty directory where the out is one.
    fn make_room(&self, outs: &[OutPath]) -> Result<(), Fault> {
        for out in outs.iter().filter(|out| out.placed) {
            let path = Path::new(&out.path);
            let room = match out.kind {
                OutKind::Dir => path,
                OutKind::File => path.parent().unwrap_or(Path::new("")),
            };
            let place = mounts::make_dirs(self.build.as_fd(), room)
                .map_err(|error| Fault::prepare("make", room, error))?;
            if out.kind == OutKind::Dir {
                clear(&place).map_err(|error| Fault::prepare("empty", room, error))?;
            }
        }
        Ok(())
    }

    /// Captures the outs of a step that has ended as `end` says.
    pub(super) fn finish(
        &self,
        request: &Request,
        end: End,
        into: BorrowedFd<'_>,
    ) -> Result<Ran, Fault> {
        let captured = match end.exit {
            Exit::Code(0) => capture::capture(self.build.as_fd(), &request.outs, into)?,
            Exit::Code(_) => self.capture_what_can_be(&request.outs, into),
            _ => Vec::new(),
        };
        let in_memory = !self.scratch.on_disk;
        let scratch_full = in_memory && is_full(&self.scratch.mounted.0);
        let End { exit, elapsed, peak_memory } = end;
        Ok(Ran { exit, elapsed, peak_memory, scratch_full, in_memory, captured })
    }

    fn capture_what_can_be(&self, outs: &[OutPath], into: BorrowedFd<'_>) -> Vec<CapturedOut> {
        capture::capture(self.build.as_fd(), outs, into)
            .unwrap_or_else(|_| vec![CapturedOut::missing(); outs.len()])
    }
}

/// Mounts an empty scratch space and makes its directories.
fn mount_scratch(request: &Request) -> Result<Scratch, Fault> {
    let at = Path::new(SCRATCH);
    let attach = || {
        let space = match &request.scratch {
            None => {
                let limit = request.scratch_limit.map(|limit| limit.max(1).to_string());
                let size = limit.as_deref().map(|limit| ("size", limit));
                mounts::make("tmpfs", size.as_slice())?
            }
            Some(dir) => {
                let flags = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
                mounts::copy_tree(mounts::open_host(dir)?.as_fd(), flags)?
            }
        };
        mounts::attach_at(space, at)?;
        let mounted = Mounted(at.to_owned());
        let scratch = Scratch { mounted, on_disk: request.scratch.is_some() };
        for (name, mode) in DIRS {
            rustix::fs::mkdir(at.join(name), Mode::from_raw_mode(mode))?;
        }
        Ok(scratch)
    };
    attach().map_err(|error: io::Error| Fault::prepare("mount", at, error))
}

/// Tells a host without overlays from inputs that cannot be laid over each other.
fn overlay_fault(error: io::Error) -> Fault {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::ENODEV | libc::EOPNOTSUPP) => {
            Fault::refused(Feature::Overlay, error)
        }
        _ => Fault::prepare("lay the inputs over each other at", "/build", error),
    }
}

fn open_lowers(lowers: &[PathBuf]) -> Result<Vec<OwnedFd>, Fault> {
    if lowers.is_empty() {
        let empty = Path::new("/empty");
        let opened = mounts::open_place(empty);
        return Ok(vec![opened.map_err(|error| Fault::prepare("open", empty, error))?]);
    }
    lowers
        .iter()
        .map(|path| mounts::open_host(path).map_err(|error| Fault::prepare("open", path, error)))
        .collect()
}

/// Makes a directory or file at `at` below `build` for `tree` to be mounted on.
fn make_place(build: BorrowedFd<'_>, at: &Path, tree: &OwnedFd) -> io::Result<()> {
    let mode = rustix::fs::fstat(tree)?.st_mode;
    if FileType::from_raw_mode(mode) == FileType::Directory {
        mounts::make_dirs(build, at)?;
        return Ok(());
    }
    let parent = mounts::make_dirs(build, at.parent().unwrap_or(Path::new("")))?;
    let name = at.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
    Ok(())
}

/// Removes all that is in a directory.
fn clear(dir: &OwnedFd) -> io::Result<()> {
    clear_path(Path::new(&mounts::name_of(dir.as_fd())))
}

fn clear_path(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Returns whether the file system at `path` has no room left worth the name.
fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|found| found.f_bavail < 4 || found.f_favail == 0)
}
