//! What one step needs besides its root: scratch space and the working tree in it. Made before the
//! step, captured from and taken away after it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::capture;
use super::error::Feature;
use super::keep;
use super::mounts::{self, Writes, read_only};
use super::outcome::{CapturedOut, Exit};
use super::protocol::{Fault, Ran, Request};
use super::space::{self, Space};
use super::spec::{OutKind, OutPath};
use super::supervise::End;

/// The directories of a scratch space that a step sees as its own, and where. The first holds what
/// it writes to the working tree, which is mounted there.
const PLACES: [(&str, &str); 4] =
    [("upper", "/build"), ("tmp", "/tmp"), ("home", "/home/build"), ("shm", "/dev/shm")];

/// A directory that every root has and that stays empty: used while nothing runs.
const ANCHOR: &str = "/run";

/// The mounts of one step.
pub(super) struct Stage {
    /// For each of [`PLACES`].
    own: [OwnedFd; 4],
    /// Trees to mount in the working tree, and where.
    trees: Vec<(OwnedFd, PathBuf)>,
    /// The whole scratch space.
    anchor: OwnedFd,
    /// Files in memory, if there are any.
    files: Option<OwnedFd>,
}

impl Stage {
    /// Makes the working tree of `request`, and the places it must have, in `space`. Nothing is
    /// attached anywhere yet.
    pub(super) fn make(request: &Request, space: &Space) -> Result<Self, Fault> {
        let lowers = open_lowers(&request.lowers)?;
        let scratch = |error: io::Error| Fault::prepare("mount", space.path(), error);
        let upper = mounts::open_place(&space.path().join(PLACES[0].0)).map_err(scratch)?;
        let late = make_room_in_upper(&request.outs, &lowers, &upper)?;
        let writes = Writes { dir: space.path(), on_disk: space.is_on_disk() };
        let build = mounts::make_overlay(&lowers, Some(&writes)).map_err(overlay_fault)?;
        late.into_iter().try_for_each(|out| make_room(out, &build))?;
        take_out(&request.gone, build.as_fd())?;
        let trees = trees(request, &build)?;
        let copy = |name: &str| mounts::copy_dir(&space.path().join(name)).map_err(scratch);
        let [_, tmp, home, shm] = PLACES.map(|(name, _)| name);
        let own = [build, copy(tmp)?, copy(home)?, copy(shm)?];
        let files = match request.files.is_empty() {
            true => None,
            false => {
                Some(files(request).map_err(|error| Fault::prepare("make", "/run/kiln", error))?)
            }
        };
        Ok(Self { own, trees, anchor: copy("")?, files })
    }

    /// Attaches all this in the mount namespace of a root, where the caller is.
    pub(super) fn attach(&self) -> Result<(), Fault> {
        for (mount, (_, place)) in self.own.iter().zip(PLACES) {
            mounts::attach_at(mount, Path::new(place))
                .map_err(|error| Fault::refused(Feature::Mounts, error))?;
        }
        if let Some(files) = &self.files {
            mounts::attach_at(files, Path::new(ANCHOR))
                .map_err(|error| Fault::refused(Feature::Mounts, error))?;
        }
        for (tree, path) in &self.trees {
            mounts::open_beneath(self.build(), path, OFlags::PATH)
                .map_err(io::Error::from)
                .and_then(|place| mounts::attach(tree, place))
                .map_err(|error| Fault::prepare("mount a tree in", "/build", error))?;
        }
        Ok(())
    }

    /// Takes away what [`Self::attach`] attached, with the caller in the same namespace. Each
    /// unmount has the kernel wait until no processor looks at it any more, so that all is moved
    /// to below one mount, and that one is taken away.
    pub(super) fn detach(&self) -> io::Result<()> {
        let anchor = Path::new(ANCHOR);
        if self.files.is_some() {
            mounts::detach(anchor)?;
        }
        mounts::attach_at(&self.anchor, anchor)?;
        for (name, place) in PLACES {
            mounts::move_to(Path::new(place), &anchor.join(name))?;
        }
        mounts::detach(anchor)
    }

    fn build(&self) -> BorrowedFd<'_> {
        self.own[0].as_fd()
    }

    /// Captures the outs of a step that has ended as `end` says.
    pub(super) fn finish(
        &self,
        request: &Request,
        space: &Space,
        end: End,
        into: BorrowedFd<'_>,
    ) -> Result<Ran, Fault> {
        let mut captured = match end.exit {
            Exit::Code(0) => {
                let root = space.of_root().map(|writes| mounts::open_place(&writes.upper()));
                let root = root.transpose().map_err(|error| Fault::capture("/", error))?;
                capture::capture(self.build(), root.as_ref(), &request.outs, into)?
            }
            Exit::Code(_) => capture::capture(self.build(), None, &request.outs, into)
                .unwrap_or_else(|_| vec![CapturedOut::missing(); request.outs.len()]),
            _ => Vec::new(),
        };
        let changes = request.outs.iter().position(|out| out.kind == OutKind::Changes);
        if let Some(at) = changes.filter(|_| end.exit != Exit::Code(0)) {
            captured.resize_with(request.outs.len(), CapturedOut::missing);
            let upper = mounts::open_place(&space.path().join(PLACES[0].0));
            let upper = upper.map_err(|error| Fault::capture("/build", error))?;
            captured[at] = capture::changes(&upper, &captured, into)?;
        }
        if let (Exit::Code(0), Some(keep)) = (end.exit, &request.keep) {
            let upper = Some(space.path().join(PLACES[0].0));
            keep::keep(self.build(), &keep::Keeping::new(keep, upper, mounts::open_host)?)?;
        }
        let in_memory = !space.is_on_disk();
        let scratch_full = in_memory && space.is_full();
        let End { exit, elapsed, peak_memory } = end;
        Ok(Ran { exit, elapsed, peak_memory, scratch_full, in_memory, captured })
    }
}

/// Returns a file system in memory with the files of `request`, in a directory for its user alone.
fn files(request: &Request) -> io::Result<OwnedFd> {
    let system = mounts::make("tmpfs", &[("mode", "0755")])?;
    rustix::fs::mkdirat(&system, "kiln", 0o700.into())?;
    for (name, bytes) in &request.files {
        let path = Path::new("kiln").join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&system, path, flags, 0o600.into())?;
        std::io::Write::write_all(&mut std::fs::File::from(file), bytes)?;
    }
    Ok(system)
}

/// Makes the parents of placed outs, and an empty directory where the out is one, before there is
/// an overlay: where no lower has anything it takes a tenth of the time. Returns the other outs.
fn make_room_in_upper<'a>(
    outs: &'a [OutPath],
    lowers: &[OwnedFd],
    upper: &OwnedFd,
) -> Result<Vec<&'a OutPath>, Fault> {
    let is_new = |out: &OutPath| {
        Path::new(&out.path).iter().next().is_some_and(|first| {
            let stat = |lower| rustix::fs::statat(lower, first, AtFlags::SYMLINK_NOFOLLOW);
            lowers.iter().all(|lower| stat(lower).err() == Some(Errno::NOENT))
        })
    };
    let (early, late): (Vec<_>, _) =
        outs.iter().filter(|out| out.placed).partition(|out| is_new(out));
    for out in early {
        let room = room(out);
        mounts::make_dirs(upper.as_fd(), room)
            .map_err(|error| Fault::prepare("make", room, error))?;
    }
    Ok(late)
}

/// Makes the same in an overlay.
fn make_room(out: &OutPath, build: &OwnedFd) -> Result<(), Fault> {
    let room = room(out);
    let place = mounts::make_dirs(build.as_fd(), room)
        .map_err(|error| Fault::prepare("make", room, error))?;
    if out.kind == OutKind::Dir {
        space::clear(&place).map_err(|error| Fault::prepare("empty", room, error))?;
    }
    Ok(())
}

/// Removes what is to be gone from a working tree.
fn take_out(gone: &[Vec<u8>], build: BorrowedFd<'_>) -> Result<(), Fault> {
    for path in gone {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let fault = |error: Errno| Fault::prepare("remove", path, error);
        let above = path.parent().unwrap_or(Path::new(""));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = match mounts::open_beneath(build, above, flags) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            dir => dir.map_err(fault)?,
        };
        let name = path.file_name().map(Path::new).unwrap_or(path);
        match space::remove(dir.as_fd(), name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(fault(error)),
        }
    }
    Ok(())
}

/// Returns the directory that a placed out needs.
fn room(out: &OutPath) -> &Path {
    let path = Path::new(&out.path);
    match out.kind {
        OutKind::Dir => path,
        OutKind::File | OutKind::Root | OutKind::Changes => path.parent().unwrap_or(Path::new("")),
    }
}

/// Returns copies of the trees to mount in the working tree, and makes a place for each.
fn trees(request: &Request, build: &OwnedFd) -> Result<Vec<(OwnedFd, PathBuf)>, Fault> {
    let copy = |mount: &super::spec::Mount| {
        let from = mounts::open_host(&mount.tree)?;
        let at = Path::new(&mount.at);
        make_place(build.as_fd(), at, &from)?;
        Ok((mounts::copy_tree(from.as_fd(), read_only())?, at.to_owned()))
    };
    let fault = |mount: &super::spec::Mount| {
        let tree = mount.tree.clone();
        move |error: io::Error| Fault::prepare("mount", tree, error)
    };
    request.mounts.iter().map(|mount| copy(mount).map_err(fault(mount))).collect()
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
    rustix::fs::openat(parent, name, flags, 0o644.into())?;
    Ok(())
}
