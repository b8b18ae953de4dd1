//! The `/` of a step, without its working tree: made once in a cell for each kind, in a mount
//! namespace that holds nothing else, and used again. Knows what a step may see of the host; runs
//! nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::planted::{Bug, is_planted};

use super::cell::{self, Home};
use super::error::Feature;
use super::init::Init;
use super::mounts::{self, HOST, Writes, read_only};
use super::protocol::Fault;
use super::spec::Root;
use super::system;

/// The host's system directories. Those that are links stay links.
const SYSTEM: &[&str] =
    &["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store", "gnu/store"];

/// The host's files of `/etc` that say where its libraries and programs are.
const SYSTEM_ETC: &[&str] =
    &["etc/ld.so.cache", "etc/ld.so.conf", "etc/ld.so.conf.d", "etc/alternatives"];

/// What no step needs: for the bug that shows it.
const PRIVATE: &[&str] = &[
    "boot",
    "etc/init.d",
    "etc/pam.d",
    "etc/shadow",
    "etc/ssh",
    "mnt",
    "opt",
    "root",
    "srv",
    "sys",
    "var/cache",
    "var/lib",
    "var/log",
];

/// What comes with the host's network: certificates, but no keys.
const NETWORK_ETC: &[&str] = &[
    "etc/ssl/certs",
    "etc/ssl/openssl.cnf",
    "etc/ca-certificates",
    "etc/ca-certificates.conf",
    "etc/pki/tls/certs",
    "etc/pki/ca-trust/extracted",
];

/// The host's files that say how names become addresses; copied, for they are often links.
const RESOLVER: &[&str] = &["etc/resolv.conf", "etc/hosts", "etc/nsswitch.conf", "etc/gai.conf"];

/// Directories every step has.
const DIRS: &[&str] =
    &["build", "dev/pts", "dev/shm", "etc", "home/build", "proc", "run", "tmp", "var"];

const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

const DEVICE_LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The accounts of a step: whoever looks up its user finds one.
const ACCOUNTS: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         build:x:1000:1000:build:/home/build:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\ntty:x:5:\nbuild:x:1000:\nnogroup:x:65534:\n"),
];

const NAMES: &[(&str, &str)] = &[
    ("etc/hosts", "127.0.0.1 localhost kiln\n::1 localhost kiln\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/resolv.conf", ""),
];

/// What is bound over files of `/proc` that tell of the host, as names in [`MASKS`].
const MASKED: &[(&str, &str)] = &[
    ("cmdline", ""),
    ("loadavg", "0.00 0.00 0.00 1/1 1\n"),
    ("uptime", "1.00 1.00\n"),
    (
        "meminfo",
        "MemTotal:        8388608 kB\n\
         MemFree:         6291456 kB\n\
         MemAvailable:    7340032 kB\n\
         Buffers:               0 kB\n\
         Cached:          1048576 kB\n\
         SwapTotal:             0 kB\n\
         SwapFree:              0 kB\n",
    ),
    ("sys/kernel/random/boot_id", "00000000-0000-0000-0000-000000000000\n"),
    ("keys", ""),
    ("key-users", ""),
    // Process 1 is where the machine's mounts are.
    ("1/mountinfo", ""),
    ("1/mounts", ""),
    ("1/mountstats", ""),
];

/// What only the host's root may read of `/proc`, and so a step that Kiln runs for it.
const MASKED_FROM_ROOT: &[&str] = &[
    "kcore",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "pagetypeinfo",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
];

/// Where a launcher keeps the files of [`MASKED`], by their place in the list.
const MASKS: &str = "/masks";

/// The places of a step's own: what is bound there from the host would be hidden.
const OWN: &[&str] = &["build", "home/build", "tmp", "dev", "proc"];

/// What programs have to be told that would become other users, which there are not: files in
/// directories, where a root has these.
const FOR_ROOT: &[(&str, &str, &str)] =
    &[("etc/apt/apt.conf.d", "zz-kiln", "APT::Sandbox::User \"root\";\n")];

/// Where user 0 is at home, below `/`.
const HOME_OF_ROOT: &str = "root";

/// How many kinds of root a cell keeps at one time.
const KEPT: usize = 4;

/// Which root a step needs: all that makes two of them differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) root: Root,
    pub(super) host_paths: Vec<PathBuf>,
    /// Whether the host's resolver files and certificates are there.
    pub(super) networked: bool,
}

/// A root of some kind, ready for steps.
pub(super) struct Room {
    /// `None` for one that its step can write to, so that no other finds it as it was.
    kind: Option<Kind>,
    /// The mount namespace that it is `/` of.
    pub(super) mounts: OwnedFd,
}

/// The roots of one cell that no step uses, the latest used last.
#[derive(Default)]
pub(super) struct Roots {
    kept: Vec<Room>,
    made: u64,
}

impl Roots {
    /// Returns the root of this kind; makes it unless it is kept.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        home: &Home,
        init: &mut Init,
        for_root: bool,
    ) -> Result<Room, Fault> {
        let is_meant = |kept: &Room| kept.kind.as_ref() == Some(&kind);
        if let Some(index) = self.kept.iter().position(is_meant) {
            return Ok(self.kept.remove(index));
        }
        let mounts = self.mount(&kind, None, home, init, for_root)?;
        Ok(Room { kind: Some(kind), mounts })
    }

    /// Returns a root of this kind to which its step writes.
    pub(super) fn take_writable(
        &mut self,
        kind: &Kind,
        writes: &Writes<'_>,
        home: &Home,
        init: &mut Init,
        for_root: bool,
    ) -> Result<Room, Fault> {
        let mounts = self.mount(kind, Some(writes), home, init, for_root)?;
        Ok(Room { kind: None, mounts })
    }

    fn mount(
        &mut self,
        kind: &Kind,
        writes: Option<&Writes<'_>>,
        home: &Home,
        init: &mut Init,
        for_root: bool,
    ) -> Result<OwnedFd, Fault> {
        self.made += 1;
        let at = PathBuf::from(format!("/roots/{}", self.made));
        make(kind, writes, &at)?;
        let mounts = home.split(|| {
            // It shows the PID namespace of whoever mounts it.
            init.visit(|| mount_proc(&at, for_root))
                .map_err(|error| Fault::refused(Feature::Proc, error))?;
            cell::move_to_root(&at).map_err(|error| Fault::refused(Feature::Mounts, error))
        });
        // Its own namespace has a copy.
        drop(mounts::detach(&at));
        mounts
    }

    /// Keeps a root for a later step, which must find it as the last one did.
    pub(super) fn put_back(&mut self, room: Room) {
        if room.kind.is_none() {
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push(room);
    }
}

/// Writes the files that mask others; once in a cell.
pub(super) fn write_masks() -> Result<(), Fault> {
    let write = || {
        fs::create_dir(MASKS)?;
        for (index, (_, text)) in MASKED.iter().enumerate() {
            write_file(&Path::new(MASKS).join(index.to_string()), text.as_bytes())?;
        }
        // What is bound from a read-only mount is read-only.
        let masks = mounts::open_place(Path::new(MASKS))?;
        mounts::attach_at(mounts::copy_tree(masks.as_fd(), read_only())?, Path::new(MASKS))
    };
    write().map_err(|error| Fault::prepare("make", MASKS, error))
}

fn make(kind: &Kind, writes: Option<&Writes<'_>>, at: &Path) -> Result<(), Fault> {
    let skeleton = at.with_extension("files");
    let prepare = |error| Fault::prepare("make", "/", error);
    fs::create_dir(at).and_then(|()| fs::create_dir(&skeleton)).map_err(prepare)?;
    let binds = fill(kind, &skeleton).map_err(prepare)?;
    if writes.is_some() {
        fill_for_root(kind, &skeleton).map_err(prepare)?;
    }
    match &kind.root {
        Root::Host => mount_skeleton(&skeleton, at).map_err(prepare)?,
        Root::Tree(tree) => mount_over_tree(tree, &skeleton, writes, at)
            .map_err(|error| Fault::prepare("use as root", tree, error))?,
    }
    for bind in &binds {
        bind_from_host(bind, at)
            .map_err(|error| Fault::prepare("show", Path::new("/").join(bind), error))?;
    }
    mount_devices(at).map_err(|error| Fault::prepare("make", "/dev", error))
}

/// Makes the directories, links and small files of a root. Returns what is to be bound from the
/// host; a place for each is made.
fn fill(kind: &Kind, skeleton: &Path) -> io::Result<Vec<PathBuf>> {
    for dir in DIRS {
        fs::create_dir_all(skeleton.join(dir))?;
    }
    for name in DEVICES {
        write_file(&skeleton.join("dev").join(name), b"")?;
    }
    symlink("/tmp", skeleton.join("var/tmp"))?;
    for (name, target) in DEVICE_LINKS {
        symlink(target, skeleton.join("dev").join(name))?;
    }
    let mut binds = Vec::new();
    if kind.root == Root::Host {
        for (path, text) in ACCOUNTS.iter().chain(NAMES) {
            write_file(&skeleton.join(path), text.as_bytes())?;
        }
        for path in SYSTEM.iter().chain(SYSTEM_ETC) {
            mirror(Path::new(path), skeleton, &mut binds)?;
        }
    }
    if is_planted(Bug::HostFiles) {
        for path in PRIVATE {
            mirror(Path::new(path), skeleton, &mut binds)?;
        }
    }
    if kind.networked {
        for path in RESOLVER {
            if let Ok(file) = mounts::open_host(Path::new(path))
                && let Ok(text) = fs::read(mounts::name_of(file.as_fd()))
            {
                write_file(&skeleton.join(path), &text)?;
            }
        }
        if kind.root == Root::Host {
            for path in NETWORK_ETC {
                mirror(Path::new(path), skeleton, &mut binds)?;
            }
        }
    }
    for path in &kind.host_paths {
        let path = path.strip_prefix("/").unwrap_or(path);
        if OWN.iter().any(|own| path.starts_with(own)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        make_place(path, is_dir(path), skeleton)?;
        binds.push(path.to_owned());
    }
    Ok(binds)
}

/// Makes what user 0 finds besides, in a root that it can write to. None of it is kept.
fn fill_for_root(kind: &Kind, skeleton: &Path) -> io::Result<()> {
    fs::create_dir_all(skeleton.join(HOME_OF_ROOT))?;
    let Root::Tree(tree) = &kind.root else { return Ok(()) };
    for (dir, name, text) in FOR_ROOT {
        if is_dir(&tree.join(dir)) {
            fs::create_dir_all(skeleton.join(dir))?;
            write_file(&skeleton.join(dir).join(name), text.as_bytes())?;
        }
    }
    Ok(())
}

/// Returns whether `path` leads to a directory on the host.
fn is_dir(path: &Path) -> bool {
    mounts::open_host(path)
        .and_then(|found| Ok(rustix::fs::fstat(found)?))
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode).is_dir())
}

/// Makes something to bind `path` at, unless it is there.
fn make_place(path: &Path, dir: bool, skeleton: &Path) -> io::Result<()> {
    let at = skeleton.join(path);
    if fs::symlink_metadata(&at).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(at.parent().expect("the path is below the skeleton"))?;
    if dir { fs::create_dir(&at) } else { write_file(&at, b"") }
}

/// Copies a link of the host, or makes a place to bind a file or directory at. What the host does
/// not have is left out.
fn mirror(path: &Path, skeleton: &Path, binds: &mut Vec<PathBuf>) -> io::Result<()> {
    let at = skeleton.join(path);
    let Ok(found) = fs::symlink_metadata(Path::new(HOST).join(path)) else { return Ok(()) };
    if fs::symlink_metadata(&at).is_ok() {
        return Ok(());
    }
    if found.is_symlink() {
        fs::create_dir_all(at.parent().expect("the path is below the skeleton"))?;
        return symlink(fs::read_link(Path::new(HOST).join(path))?, at);
    }
    make_place(path, found.is_dir(), skeleton)?;
    binds.push(path.to_owned());
    Ok(())
}

/// Writes a file every step may read, whatever this process's umask.
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn mount_skeleton(skeleton: &Path, at: &Path) -> io::Result<()> {
    let place = mounts::open_place(skeleton)?;
    mounts::attach_at(mounts::copy_tree(place.as_fd(), read_only())?, at)
}

/// Lays the skeleton over `tree`, so that the tree itself need not have the places of a step.
fn mount_over_tree(
    tree: &Path,
    skeleton: &Path,
    writes: Option<&Writes<'_>>,
    at: &Path,
) -> io::Result<()> {
    let layers = [mounts::open_place(skeleton)?, mounts::open_host(tree)?];
    let overlay = mounts::make_overlay(&layers, writes)?;
    if writes.is_none() {
        system::restrict_mount(overlay.as_fd(), read_only())?;
    }
    mounts::attach_at(overlay, at)
}

fn bind_from_host(path: &Path, at: &Path) -> io::Result<()> {
    let from = mounts::open_host(path)?;
    mounts::attach_at(mounts::copy_tree(from.as_fd(), read_only())?, &at.join(path))
}

fn mount_devices(at: &Path) -> io::Result<()> {
    // What is read-only is the mount: who may write to a device still may, but not change its mode.
    let may_change = is_planted(Bug::WritableTrees);
    let fixed = if may_change { 0 } else { libc::MOUNT_ATTR_RDONLY };
    let fixed = fixed | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    for name in DEVICES {
        let device = mounts::open_host(&Path::new("dev").join(name))?;
        let copy = mounts::copy_tree(device.as_fd(), fixed)?;
        mounts::attach_at(copy, &at.join("dev").join(name))?;
    }
    let options = [("ptmxmode", "0666"), ("mode", "0620")];
    let terminals = mounts::make_of_devices("devpts", &options)?;
    mounts::attach_at(terminals, &at.join("dev/pts"))
}

/// Mounts `/proc` of this process's PID namespace. It is read-only: a step that Kiln
/// runs for the host's root has that user's number, and `/proc/sys` asks for no more.
fn mount_proc(root: &Path, for_root: bool) -> io::Result<()> {
    let at = root.join("proc");
    if is_planted(Bug::HostProcesses) {
        let host = Path::new(HOST).join("proc");
        return rustix::mount::mount_bind_recursive(host, &at).map_err(Into::into);
    }
    let flags = rustix::mount::MountFlags::NOSUID
        | rustix::mount::MountFlags::NODEV
        | rustix::mount::MountFlags::NOEXEC
        | rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount("proc", &at, "proc", flags, None)?;
    let mask = |index: usize, name: &str| {
        let mask = Path::new(MASKS).join(index.to_string());
        match rustix::mount::mount_bind(mask, at.join(name)) {
            Err(error) if error != rustix::io::Errno::NOENT => Err(error),
            _ => Ok(()),
        }
    };
    for (index, (name, _)) in MASKED.iter().enumerate() {
        mask(index, name)?;
    }
    if for_root {
        // The first mask is empty.
        MASKED_FROM_ROOT.iter().try_for_each(|name| mask(0, name))?;
    }
    Ok(())
}
