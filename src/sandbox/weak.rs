//! The weak sandbox, for hosts that refuse namespaces and users who say so: a copy of the inputs,
//! and what a process can be kept from without them. Knows which promises it breaks.

mod keeper;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::error::Feature;
use super::launcher::Ends;
use super::outcome::{CapturedOut, Exit};
use super::program::{Fence, Program};
use super::protocol::{Fault, Ran, Request, Stdin};
use super::spec::{OutKind, Root};
use super::supervise::{self, End};
use super::{capture, keep, landlock};

use keeper::Keeper;

pub(super) use keeper::adopt_orphans;

/// What holds in a cell and does not hold here, for the first line of such a run.
pub const WEAK_BREAKS: &[&str] = &[
    "a step sees the host's processes, its clock, its name and the user's own number",
    "a step sees which files the host has, and without Landlock can read and change the user's",
    "a step with any network reaches the host's, and its ports are the host's ports",
    "the working tree has another path in each run",
    "`/tmp` is out of reach: programs have to look at `TMPDIR`, which is not so with `tmpfile` of C",
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

/// Runs the step of `request` below its scratch directory.
pub(super) fn run(
    request: &Request,
    Ends { stdout, stderr, capture, services, stdin }: Ends,
    socket: &UnixStream,
) -> Result<Ran, Fault> {
    if !services.is_empty() {
        // They would be in the host's network, and in the way of others.
        return Err(Fault::prepare("start services beside", "/build", io::ErrorKind::Unsupported));
    }
    let scratch = request.scratch.as_deref().unwrap_or(Path::new(""));
    let build = scratch.join("build");
    stage(request, scratch, &build)?;
    let fault = |error: io::Error| Fault::refused(Feature::Seccomp, error);
    let fence = Fence::Files(fence(request, scratch).map_err(fault)?);
    let program = Program::new(request, fence, stdout, stderr)?;
    let program = program.with_input(stdin, request.stdin == Stdin::Terminal);
    let start = Instant::now();
    let mut keeper = Keeper::start(program, &build)
        .map_err(|error| Fault::prepare("start a process in", &build, error))?;
    let end = supervise::follow(&mut keeper, request.timeout, start, socket)
        .map_err(|stuck| stuck.fault(request))?;
    let build =
        super::mounts::open_place(&build).map_err(|error| Fault::prepare("open", &build, error))?;
    let captured = match end.exit {
        Exit::Code(0) => capture::capture(build.as_fd(), None, &request.outs, capture.as_fd())?,
        Exit::Code(_) => capture::capture(build.as_fd(), None, &request.outs, capture.as_fd())
            .unwrap_or_else(|_| vec![CapturedOut::missing(); request.outs.len()]),
        _ => Vec::new(),
    };
    if let (Exit::Code(0), Some(keep)) = (end.exit, &request.keep) {
        keep::keep(build.as_fd(), &keep::Keeping::new(keep, None, super::mounts::open_place)?)?;
    }
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
    if !request.files.is_empty() {
        let files = scratch.join("files");
        make_files(&request.files, &files).map_err(fault(&files))?;
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

/// Writes files for this user alone.
fn make_files(files: &[(String, Vec<u8>)], folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    for (name, bytes) in files {
        let mut options = fs::File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        io::Write::write_all(&mut &file, bytes)?;
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
