//! The weak sandbox, for hosts that refuse namespaces and users who say so: a copy of the inputs,
//! and what a process can be kept from without them. Knows which promises it breaks.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::pipe::PipeFlags;
use rustix::process::Signal;

use super::error::Feature;
use super::init::{self, Fence, Program};
use super::outcome::{CapturedOut, Exit};
use super::protocol::{Fault, Ran, Request};
use super::spec::{OutKind, Root};
use super::supervise::{self, End, Started};
use super::system::{self, Children, Side};
use super::{capture, landlock};

/// What holds in a cell and does not hold here, for the first line of such a run.
pub const WEAK_BREAKS: &[&str] = &[
    "a step sees the host's processes, its clock, its name and the user's own number",
    "a step sees which files the host has, and without Landlock can read and change the user's",
    "a step with any network reaches the host's, and its ports are the host's ports",
    "the working tree has another path in each run",
    "tools are links, not mounts, and a step that owns their files could change them",
    "scratch space has no limit, and memory and processes only where control groups allow it",
    "a step can kill the process that ends it with Kiln, and so outlive a Kiln that is killed",
];

/// What a step may read of the host.
const READABLE: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/proc",
    "/etc/alternatives",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/resolv.conf",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

/// What a step may write to besides its own directories.
const WRITABLE: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// How long the processes a step leaves are hunted for. Each round ends all there are, so that
/// only what starts new ones without end lasts longer than a moment.
const HUNT: Duration = Duration::from_secs(5);

/// Runs the step of `request` below its scratch directory.
pub(super) fn run(
    request: &Request,
    mut program: Program,
    capture: BorrowedFd<'_>,
    socket: &UnixStream,
) -> Result<Ran, Fault> {
    let scratch = request.scratch.as_deref().unwrap_or(Path::new(""));
    let build = scratch.join("build");
    stage(request, scratch, &build)?;
    let fault = |error: io::Error| Fault::refused(Feature::Seccomp, error);
    program.fence = Fence::Files(fence(request, scratch).map_err(fault)?);
    let end = start(request, program, &build, socket)?;
    let build =
        super::mounts::open_place(&build).map_err(|error| Fault::prepare("open", &build, error))?;
    let captured = match end.exit {
        Exit::Code(0) => capture::capture(build.as_fd(), &request.outs, capture)?,
        Exit::Code(_) => capture::capture(build.as_fd(), &request.outs, capture)
            .unwrap_or_else(|_| vec![CapturedOut::missing(); request.outs.len()]),
        _ => Vec::new(),
    };
    let End { exit, elapsed, peak_memory } = end;
    Ok(Ran { exit, elapsed, peak_memory, scratch_full: false, in_memory: false, captured })
}

/// Makes the directories of the step, and copies its inputs.
fn stage(request: &Request, scratch: &Path, build: &Path) -> Result<(), Fault> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| Fault::prepare("copy", path, error)
    };
    if let Root::Tree(tree) = &request.root {
        return Err(fault(tree)(io::ErrorKind::Unsupported.into()));
    }
    for dir in ["build", "home", "tmp"] {
        make_dir(&scratch.join(dir)).map_err(fault(scratch))?;
    }
    // The first lower wins, so it is copied last.
    for lower in request.lowers.iter().rev() {
        copy(lower, build).map_err(fault(lower))?;
    }
    for mount in &request.mounts {
        let at = build.join(&mount.at);
        let parent = at.parent().unwrap_or(build);
        fs::create_dir_all(parent)
            .and_then(|()| symlink(&mount.tree, &at))
            .map_err(fault(&mount.tree))?;
    }
    for out in request.outs.iter().filter(|out| out.placed) {
        let path = build.join(&out.path);
        let room = if out.kind == OutKind::Dir { &path } else { path.parent().unwrap_or(build) };
        if out.kind == OutKind::Dir && path.exists() {
            fs::remove_dir_all(&path).map_err(fault(&path))?;
        }
        fs::create_dir_all(room).map_err(fault(room))?;
    }
    Ok(())
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)
}

/// Copies all below `from` over what is below `to`.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let (entry, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let at = to.join(entry.file_name().expect("entries of a directory have names"));
        let found = fs::symlink_metadata(&at).ok();
        if kind.is_dir() {
            if !found.as_ref().is_some_and(fs::Metadata::is_dir) {
                found.map_or(Ok(()), |_| fs::remove_file(&at))?;
                make_dir(&at)?;
            }
            copy(&entry, &at)?;
            continue;
        }
        match found {
            Some(found) if found.is_dir() => fs::remove_dir_all(&at)?,
            Some(_) => fs::remove_file(&at)?,
            None => {}
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&entry)?, &at)?;
        } else {
            fs::copy(&entry, &at)?;
            let time = entry.metadata()?.modified()?;
            fs::File::options().write(true).open(&at)?.set_modified(time)?;
        }
    }
    Ok(())
}

fn fence(request: &Request, scratch: &Path) -> io::Result<Option<OwnedFd>> {
    let mut read: Vec<PathBuf> = READABLE.iter().map(PathBuf::from).collect();
    read.extend(request.host_paths.iter().cloned());
    read.extend(request.mounts.iter().map(|mount| mount.tree.clone()));
    let mut write: Vec<PathBuf> = WRITABLE.iter().map(PathBuf::from).collect();
    write.push(scratch.to_owned());
    landlock::fence(&read, &write)
}

fn start(
    request: &Request,
    program: Program,
    build: &Path,
    socket: &UnixStream,
) -> Result<End, Fault> {
    let refused = |error: io::Error| Fault::prepare("start a process in", build, error);
    let (news, status) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| refused(error.into()))?;
    let start = Instant::now();
    let launcher = std::process::id();
    match system::clone_process(0).map_err(refused)? {
        Side::Child => keep(program, &status, build, launcher.cast_signed()),
        Side::Parent { process } => {
            drop((program, status));
            supervise::follow(request, Started { process, news, start }, socket, end_all)
        }
    }
}

/// What is process 1 in a cell: here it adopts what its descendants leave. When the launcher is
/// gone, it hears so, and ends them all: no namespace does.
fn keep(program: Program, status: &OwnedFd, build: &Path, launcher: i32) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    adopt_orphans();
    if !init::has_reader(status) {
        system::leave(1);
    }
    if let Err(error) = init::drop_rights() {
        init::tell_stuck(status, init::Stage::Rights, &error);
        system::leave(1);
    }
    let own = std::process::id();
    init::look_after(program, status, build, launcher, || {
        if rustix::process::Pid::as_raw(rustix::process::getppid()) != launcher {
            end_all();
            system::leave(1);
        }
        descendants(own).iter().for_each(|pid| system::signal_one(*pid, libc::SIGTERM));
    })
}

/// Makes this process the parent of what its descendants leave behind.
pub(super) fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Ends all descendants of this process, which adopts orphans.
fn end_all() {
    let start = Instant::now();
    while start.elapsed() < HUNT {
        let left = descendants(std::process::id());
        left.iter().for_each(|pid| system::signal_one(*pid, libc::SIGKILL));
        loop {
            match system::look_for_child() {
                Children::Ended { .. } => {}
                Children::Running => break,
                Children::None => return,
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the ids of all descendants of `of`.
fn descendants(of: u32) -> Vec<i32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(entry.path().join("stat")).ok()?;
            Some((pid, parent_in(&String::from_utf8_lossy(&stat))?))
        })
        .collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, other)| *other == parent).map(|(pid, _)| pid));
        next += 1;
    }
    found.into_iter().skip(1).map(u32::cast_signed).collect()
}

/// Returns the parent in a line of `/proc/PID/stat`: the second field after the name, which is in
/// parentheses and can hold any.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_hide_its_parent_behind_its_name() {
        assert_eq!(parent_in("7 (a) S 9) S 42 7 7 0"), Some(42));
    }
}
