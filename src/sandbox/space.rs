//! Scratch space: the directories that one step writes to. In memory it is used again by the next
//! step, which finds new directories there; on disk each step has its own.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::mounts::{self, Writes};
use super::protocol::{Fault, Request};
use super::spec;

/// Where a launcher mounts the space in memory.
const MEMORY: &str = "/scratch";

/// Where a launcher mounts the space on disk of the step at hand.
const DISK: &str = "/disk";

/// Where a launcher mounts the spaces of the programs beside the step at hand, by their places.
const BESIDE: &str = "/beside";

/// The directories of a scratch space and their modes.
const DIRS: [(&str, u32); 5] =
    [("upper", 0o755), ("work", 0o755), ("tmp", 0o1777), ("home", 0o755), ("shm", 0o1777)];

/// What a step writes to its root, if it can: a directory like the space itself, as an overlay wants it.
const ROOT: &str = "root";

/// How many files and directories are removed one by one. Where there are more, the whole is let go
/// of, which takes the kernel a moment for each, too, but can be done by it alone.
const FEW: usize = 64;

/// The mounted space in memory of a cell, if there is one.
#[derive(Default)]
pub(super) struct Spaces {
    /// With its limit in bytes.
    memory: Option<Option<u64>>,
}

/// A scratch space with empty directories.
pub(super) struct Space {
    /// Where it is mounted.
    path: PathBuf,
    kind: Kind,
    /// What its step writes to its root, if it can.
    root: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Disk,
    /// Used by one step after the other.
    Memory,
    /// Used once.
    Beside,
}

impl Spaces {
    /// Returns the space for the step of `request`. There is one at a time.
    pub(super) fn open(&mut self, request: &Request) -> Result<Space, Fault> {
        let (path, kind) = match &request.scratch {
            Some(_) => (DISK, Kind::Disk),
            None => (MEMORY, Kind::Memory),
        };
        let path = PathBuf::from(path);
        let root = spec::keeps_root(&request.outs).then(|| path.join(ROOT));
        let space = Space { path, kind, root };
        let mounted = match &request.scratch {
            Some(dir) => mount_disk(dir),
            None => self.mount_memory(request.scratch_limit),
        };
        mounted.map_err(|error| space.fault(error))?;
        self.fill(space)
    }

    /// Returns a space in memory for the program at that place beside the step.
    pub(super) fn open_beside(&mut self, place: usize) -> Result<Space, Fault> {
        let path = Path::new(BESIDE).join(place.to_string());
        let space = Space { path, kind: Kind::Beside, root: None };
        fs::create_dir_all(&space.path)
            .and_then(|()| mounts::attach_at(mounts::make("tmpfs", &[])?, &space.path))
            .map_err(|error| space.fault(error))?;
        self.fill(space)
    }

    /// Makes the directories of a space.
    fn fill(&mut self, space: Space) -> Result<Space, Fault> {
        let made = DIRS.iter().try_for_each(|(name, mode)| {
            rustix::fs::mkdir(space.path.join(name), Mode::from_raw_mode(*mode))
        });
        let of_root = |root: &PathBuf| {
            let dirs = [root.clone(), root.join("upper"), root.join("work")];
            dirs.iter().try_for_each(|dir| rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755)))
        };
        match made.and_then(|()| space.root.iter().try_for_each(of_root)) {
            Ok(()) => Ok(space),
            Err(error) => {
                self.close(&space);
                Err(space.fault(error))
            }
        }
    }

    fn mount_memory(&mut self, limit: Option<u64>) -> io::Result<()> {
        if self.memory.is_some_and(|found| found != limit) {
            self.unmount_memory();
        }
        if self.memory.is_none() {
            let size = limit.map(|limit| limit.max(1).to_string());
            let size = size.as_deref().map(|size| ("size", size));
            mounts::attach_at(mounts::make("tmpfs", size.as_slice())?, Path::new(MEMORY))?;
            self.memory = Some(limit);
        }
        Ok(())
    }

    fn unmount_memory(&mut self) {
        drop(mounts::detach(Path::new(MEMORY)));
        self.memory = None;
    }

    /// Removes all that a step has left in `space`, which nothing uses any more.
    pub(super) fn close(&mut self, space: &Space) {
        match space.kind {
            Kind::Disk => {
                // Here and not in Kiln: rights the step took from itself do not hold in a cell.
                drop(clear_path(&space.path));
                drop(mounts::detach(&space.path));
            }
            Kind::Memory if space.root.is_some() => self.unmount_memory(),
            Kind::Memory if remove_few(&space.path).is_err() => self.unmount_memory(),
            Kind::Memory => {}
            Kind::Beside => drop(mounts::detach(&space.path)),
        }
    }
}

impl Space {
    /// Returns where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the step's writes to its root go, if it can write to it.
    pub(super) fn of_root(&self) -> Option<Writes<'_>> {
        let dir = self.root.as_deref()?;
        Some(Writes { dir, on_disk: self.is_on_disk() })
    }

    pub(super) fn is_on_disk(&self) -> bool {
        self.kind == Kind::Disk
    }

    /// Returns whether it has no room left worth the name.
    pub(super) fn is_full(&self) -> bool {
        let found = rustix::fs::statvfs(&self.path);
        found.is_ok_and(|found| found.f_bavail < 4 || found.f_favail == 0)
    }

    fn fault(&self, error: impl Into<io::Error>) -> Fault {
        Fault::prepare("mount", &*self.path, error)
    }
}

fn mount_disk(dir: &Path) -> io::Result<()> {
    let flags = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let space = mounts::copy_tree(mounts::open_host(dir)?.as_fd(), flags)?;
    mounts::attach_at(space, Path::new(DISK))
}

/// Removes the directories of a space; fails when there is more in them than a few files.
fn remove_few(space: &Path) -> rustix::io::Result<()> {
    let mut left = FEW;
    DIRS.iter().try_for_each(|(name, _)| remove_dir(CWD, &space.join(name), &mut left))
}

/// Removes a directory with all that is in it, `left` entries at most.
fn remove_dir(above: BorrowedFd<'_>, name: &Path, left: &mut usize) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY) => {}
        result => return result,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(above, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let inner = Path::new(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
        if inner == Path::new(".") || inner == Path::new("..") {
            continue;
        }
        *left = left.checked_sub(1).ok_or(Errno::TOOBIG)?;
        if entry.file_type() == FileType::Directory {
            remove_dir(dir.as_fd(), inner, left)?;
        } else {
            rustix::fs::unlinkat(&dir, inner, AtFlags::empty())?;
        }
    }
    rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)
}

/// Removes what has that name in a directory, with all that is in it.
pub(super) fn remove(above: BorrowedFd<'_>, name: &Path) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(above, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {
            let mut left = usize::MAX;
            remove_dir(above, name, &mut left)
        }
        result => result,
    }
}

/// Removes all that is in a directory.
pub(super) fn clear(dir: &OwnedFd) -> io::Result<()> {
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
