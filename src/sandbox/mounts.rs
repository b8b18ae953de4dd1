//! Mounts as a launcher makes them. A launcher's own `/` is a small tmpfs: the host's files are
//! below `/host`. Knows nothing of steps.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::planted::{Bug, is_planted};

/// Where a launcher sees the host's `/`.
pub(super) const HOST: &str = "/host";

/// Read-only, and no devices or raised rights.
pub(super) fn read_only() -> u64 {
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    if is_planted(Bug::WritableTrees) { attributes } else { attributes | libc::MOUNT_ATTR_RDONLY }
}

/// Opens a path of the host as the host would: links stay below [`HOST`].
pub(super) fn open_host(path: &Path) -> io::Result<OwnedFd> {
    let host = open_place(Path::new(HOST))?;
    let inner = path.strip_prefix("/").unwrap_or(path);
    let inner = if inner.as_os_str().is_empty() { Path::new(".") } else { inner };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(open_resolved(host.as_fd(), inner, flags, ResolveFlags::IN_ROOT)?)
}

/// Opens a directory of the launcher as a place to mount on or look below.
pub(super) fn open_place(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens `path` below `root` without following any link and without leaving `root`.
pub(super) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    open_resolved(root, path, flags | OFlags::CLOEXEC, resolve)
}

/// How often the kernel is asked before its answer stands.
const MAX_TRIES: usize = 1_000;

/// Opens `path` below `root`. The kernel gives up on a `..` when anything was renamed or mounted
/// at the same moment anywhere on the machine: then it is asked again. It says the same, and always
/// does, of some paths that lead out.
pub(super) fn open_resolved(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        tries += 1;
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if tries < MAX_TRIES => {}
            result => return result,
        }
    }
}

/// Makes the directory `path` below `root`, and its parents, following no link.
pub(super) fn make_dirs(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let mut place = open_beneath(root, Path::new(""), OFlags::PATH)?;
    for part in path {
        match rustix::fs::mkdirat(&place, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        place = open_beneath(place.as_fd(), part.as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
    }
    Ok(place)
}

/// Returns a name for an open file that any call taking a path accepts, for as long as it is open.
pub(super) fn name_of(fd: BorrowedFd<'_>) -> String {
    format!("{HOST}/proc/self/fd/{}", fd.as_raw_fd())
}

/// Returns a detached copy of the mount tree at `from`, with `attributes` added all through.
pub(super) fn copy_tree(from: BorrowedFd<'_>, attributes: u64) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(from, "", flags)?;
    super::system::restrict_mount(tree.as_fd(), attributes)?;
    Ok(tree)
}

/// Returns a detached copy of the mount at the launcher's directory `path`, of it and what is below.
pub(super) fn copy_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

/// Attaches a detached mount tree at `place`.
pub(super) fn attach(tree: impl AsFd, place: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", place, "", flags)?)
}

/// Attaches a detached mount tree at the launcher's `path`.
pub(super) fn attach_at(tree: impl AsFd, path: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", CWD, path, flags)?)
}

/// Moves what is mounted at `from` to the directory `to`.
pub(super) fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::mount::move_mount(CWD, from, CWD, to, MoveMountFlags::empty())?)
}

/// Makes a file system of `kind` with these options, detached. It has no devices.
pub(super) fn make(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    make_with(kind, options, attributes)
}

/// Makes a file system of devices, detached: its files can be opened, and not be changed.
pub(super) fn make_of_devices(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_RDONLY;
    make_with(kind, options, attributes)
}

fn make_with(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    finish(context.as_fd(), attributes)
}

fn finish(context: BorrowedFd<'_>, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    rustix::mount::fsconfig_create(context)?;
    Ok(rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The writable part of an overlay.
pub(super) struct Writes<'a> {
    /// A directory that holds the empty directories `upper` and `work`.
    pub(super) dir: &'a Path,
    /// Whether it is on a disk, and then need not outlive a power cut.
    pub(super) on_disk: bool,
}

impl Writes<'_> {
    /// Returns where the overlay puts what is written.
    pub(super) fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }
}

/// Makes an overlay of `lowers`, the first of which wins, detached. Without `writes` it cannot be
/// written to, and needs two lowers.
pub(super) fn make_overlay(lowers: &[OwnedFd], writes: Option<&Writes<'_>>) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    let set = |key: &str, value: &str| rustix::mount::fsconfig_set_string(context, key, value);
    let names: Vec<_> = lowers.iter().map(|lower| name_of(lower.as_fd())).collect();
    // One at a time since Linux 6.8; before that all in one string of at most 4 KiB.
    if names.iter().try_for_each(|name| set("lowerdir+", name)).is_err() {
        set("lowerdir", &names.join(":"))?;
    }
    rustix::mount::fsconfig_set_flag(context, "userxattr")?;
    if let Some(writes) = writes {
        set("upperdir", &writes.upper().display().to_string())?;
        set("workdir", &format!("{}/work", writes.dir.display()))?;
        if writes.on_disk {
            rustix::mount::fsconfig_set_flag(context, "volatile")?;
        }
    }
    finish(context, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}

/// Takes a mount away; what still uses it keeps it until it ends.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH)?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn renames_elsewhere_do_not_hinder_a_path_that_goes_up() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        std::fs::create_dir_all(place.join("a/b")).unwrap();
        std::fs::write(place.join("one"), "").unwrap();
        let root = open_place(place).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::fs::rename(place.join("one"), place.join("two")).unwrap();
                    std::fs::rename(place.join("two"), place.join("one")).unwrap();
                }
            });
            let path = Path::new("a/b/../../a/b/../../a/b");
            let open = |_| {
                open_resolved(root.as_fd(), path, OFlags::PATH, ResolveFlags::IN_ROOT).map(drop)
            };
            let opened: Result<(), _> = (0..20_000).try_for_each(open);
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(opened, Ok(()));
        });
    }
}
