//! How a launcher becomes a cell: it enters its namespaces, makes itself a small root from which it
//! can give steps theirs, and bars itself and all it starts from what no step may do. Done once for
//! many steps; knows no step.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::{CapabilitySet, LinkNameSpaceType};

use crate::planted::{Bug, is_planted};

use super::error::Feature;
use super::protocol::Fault;
use super::seccomp::{self, Sockets};
use super::{mounts, system};

/// The user that the steps of a cell run as: the one and only user of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum User {
    /// An ordinary one.
    Build = 1000,
    /// User 0, with but one of its rights: to pass by the modes of files, all of which are its own. That
    /// they have other owners is pretended.
    Root = 0,
}

impl User {
    /// Returns what its programs may do that others may not.
    pub(super) fn rights(self) -> CapabilitySet {
        match self {
            Self::Build => CapabilitySet::empty(),
            Self::Root => CapabilitySet::DAC_OVERRIDE,
        }
    }
}

/// Which network a cell's steps are in unless they get a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wire {
    /// A network of the cell's own, with nothing up.
    Cut,
    /// The host's.
    Host,
}

/// Enters the namespaces of a cell. This process then has all rights, but only in there.
pub(super) fn enter(wire: Wire, inside: User) -> Result<(), Fault> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if user.is_root() {
        // An ordinary user cannot drop its groups; they mean nothing among the step's files.
        let _ = rustix::thread::set_thread_groups(&[]);
    }
    system::unshare(libc::CLONE_NEWUSER)
        .map_err(|error| Fault::refused(Feature::UserNamespace, error))?;
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{} {user} 1", inside as u32)),
        ("/proc/self/gid_map", format!("{} {group} 1", inside as u32)),
    ];
    for (path, text) in maps {
        fs::write(path, text).map_err(|error| Fault::refused(Feature::UserNamespace, error))?;
    }
    // The first child is process 1 for all others.
    let mut others = libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWPID;
    if !is_planted(Bug::SharedMemory) {
        others |= libc::CLONE_NEWIPC;
    }
    if wire == Wire::Cut && !is_planted(Bug::OpenNetwork) {
        others |= libc::CLONE_NEWNET;
    }
    system::unshare(others)
        .and_then(|()| Ok(rustix::system::sethostname(b"kiln")?))
        .and_then(|()| Ok(rustix::system::setdomainname(b"(none)")?))
        .map_err(|error| Fault::refused(Feature::OtherNamespaces, error))?;
    move_to_own_root().map_err(|error| Fault::refused(Feature::Mounts, error))?;
    if is_planted(Bug::NoFilter) {
        return Ok(());
    }
    forbid_nested();
    bar_capabilities(inside);
    put_up_filter(inside).map_err(|error| Fault::refused(Feature::Seccomp, error))
}

fn put_up_filter(inside: User) -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    system::install_filter(seccomp::filter(Sockets::Namespaced, inside))
}

/// Bars the programs to come from every capability but those of `user`.
pub(super) fn bar_capabilities(user: User) {
    if is_planted(Bug::KeepRights) {
        return;
    }
    for capability in CapabilitySet::all().difference(user.rights()).iter() {
        // Those this kernel does not know are refused, and all are to an ordinary user.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
}

/// Makes a tmpfs this process's `/`, with the host's files at `/host`.
fn move_to_own_root() -> io::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    let own = mounts::make("tmpfs", &[("mode", "0755")])?;
    // Over `/` it hides nothing: the paths of this process still start below it.
    mounts::attach_at(own.as_fd(), Path::new("/"))?;
    rustix::process::fchdir(&own)?;
    rustix::fs::mkdir("host", 0o755.into())?;
    rustix::process::pivot_root(".", "host")?;
    rustix::process::chdir("/")?;
    for name in ["disk", "empty", "roots", "scratch"] {
        fs::create_dir(Path::new("/").join(name))?;
    }
    Ok(())
}

/// Forbids user namespaces inside this one. Where `/proc/sys` cannot be written, the seccomp
/// filter alone forbids them.
fn forbid_nested() {
    drop(fs::write(format!("{}/proc/sys/user/max_user_namespaces", mounts::HOST), "0"));
}

/// The way home: what a launcher that visits another mount namespace must hold.
pub(super) struct Home {
    mounts: OwnedFd,
    /// The host's `/proc`.
    pub(super) proc: OwnedFd,
}

impl Home {
    /// To be called where home is.
    pub(super) fn new() -> io::Result<Self> {
        let proc = mounts::open_place(&Path::new(mounts::HOST).join("proc"))?;
        Ok(Self { mounts: own_namespace(&proc)?, proc })
    }

    /// Calls `act` in the mount namespace `mounts`, with the root of that.
    pub(super) fn within<T>(
        &self,
        mounts: &OwnedFd,
        act: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        enter_mounts(mounts).map_err(|error| Fault::refused(Feature::Mounts, error))?;
        let result = act();
        self.come_back();
        result
    }

    /// Calls `act` in a copy of this mount namespace, and returns that.
    pub(super) fn split(&self, act: impl FnOnce() -> Result<(), Fault>) -> Result<OwnedFd, Fault> {
        let refused = |error| Fault::refused(Feature::Mounts, error);
        system::unshare(libc::CLONE_NEWNS).map_err(refused)?;
        let result = act().and_then(|()| own_namespace(&self.proc).map_err(refused));
        self.come_back();
        result
    }

    fn come_back(&self) {
        if enter_mounts(&self.mounts).is_err() {
            // Nothing more could be done for any step.
            system::leave(1);
        }
    }
}

fn own_namespace(proc: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(proc, "self/ns/mnt", flags, Mode::empty())?)
}

fn enter_mounts(namespace: &OwnedFd) -> io::Result<()> {
    let kind = Some(LinkNameSpaceType::Mount);
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)?)
}

/// Gives the calling process, whose mount namespace is its own, `root` as its `/` and lets go of
/// everything else.
pub(super) fn move_to_root(root: &Path) -> io::Result<()> {
    rustix::process::chdir(root)?;
    // With both places the same, the old root lands on top of the new one, and is then let go.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
