//! Copies the outs of a step that is over: each file is hashed on its way. Follows no link and
//! leaves the working tree by no path; knows nothing of caches.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::error::Oddity;
use super::mounts;
use super::outcome::{CapturedFile, CapturedOut, Entry, Node};
use super::protocol::Fault;
use super::spec::{FIXED_MTIME_SECS, OutKind, OutPath};
use crate::digest::Hasher;
use crate::planted::{Bug, is_planted};

/// How many names are told of what stands where an out is missing.
const MAX_BESIDE: usize = 256;

/// How many changed files of a working tree are copied at most, and how many bytes.
const MAX_CHANGES: usize = 20_000;
const MAX_CHANGED_BYTES: u64 = 256 << 20;

/// The least number of a file that was changed: none of an out has a higher one.
const CHANGES_FROM: usize = 1 << 30;

/// How many bytes are read at a time, into the stack since most outs are small.
const BUFFER: usize = 32 * 1024;

/// What is no part of a step's root: its own places, and what is temporary or the kernel's.
const NOT_OF_ROOT: &[&str] =
    &["build", "dev", "home/build", "proc", "run/kiln", "sys", "tmp", "var/tmp"];

/// By this an overlay says that nothing of the layers below shows through a directory.
const OPAQUE: &str = "user.overlay.opaque";

/// Copies `outs`, found below `build`, into the directory `into`. `root` is the layer that holds what
/// the step wrote to its root; without it, that is missing.
pub(super) fn capture(
    build: BorrowedFd<'_>,
    root: Option<&OwnedFd>,
    outs: &[OutPath],
    into: BorrowedFd<'_>,
) -> Result<Vec<CapturedOut>, Fault> {
    let mut copier = Copier { into, next: 0, left: None };
    let captured = outs.iter().map(|out| match (out.kind, root) {
        (OutKind::Root, None) | (OutKind::Changes, _) => Ok(CapturedOut::missing()),
        (OutKind::Root, Some(root)) => {
            Ok(CapturedOut::Dir(copier.tree(root, Path::new("/"), Of::Root)?))
        }
        _ => copier.out(build, out),
    });
    captured.collect()
}

/// Copies what a step changed in its working tree, of which `upper` is the upper layer, behind what
/// `captured` holds already. Returns nothing where that is too much.
pub(super) fn changes(
    upper: &OwnedFd,
    captured: &[CapturedOut],
    into: BorrowedFd<'_>,
) -> Result<CapturedOut, Fault> {
    let files = |captured: &CapturedOut| match captured {
        CapturedOut::Missing { .. } => 0,
        CapturedOut::File(_) => 1,
        CapturedOut::Dir(entries) => {
            entries.iter().filter(|entry| matches!(entry.node, Node::File(_))).count()
        }
    };
    // Numbers below were given to what could not be captured whole.
    let next = captured.iter().map(files).sum::<usize>() + CHANGES_FROM;
    let next = u32::try_from(next).unwrap_or(u32::MAX / 2);
    let mut copier = Copier { into, next, left: Some((MAX_CHANGES, MAX_CHANGED_BYTES)) };
    match copier.tree(upper, Path::new("/build"), Of::Root) {
        Ok(entries) => Ok(CapturedOut::Dir(entries)),
        Err(Fault::Capture { errno: libc::EFBIG, .. }) => Ok(CapturedOut::missing()),
        Err(fault) => Err(fault),
    }
}

/// What a tree is of, by which it is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// An out: what must not be in it is an error.
    Out,
    /// The upper layer of a root: what an image cannot hold is left out.
    Root,
}

/// Copies files under the numbers 0, 1, 2 and so on.
struct Copier<'a> {
    into: BorrowedFd<'a>,
    next: u32,
    /// How many files and bytes it may copy yet, if that is bounded.
    left: Option<(usize, u64)>,
}

impl Copier<'_> {
    fn out(&mut self, build: BorrowedFd<'_>, out: &OutPath) -> Result<CapturedOut, Fault> {
        let path = Path::new(&out.path);
        let odd = |oddity| Fault::OddOut { path: path.to_owned(), oddity };
        let fault = |error: Errno| Fault::capture(path, error);
        let found = match mounts::open_beneath(build, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                return Ok(CapturedOut::Missing { beside: beside(build, path) });
            }
            Err(Errno::LOOP) => return Err(odd(Oddity::Link)),
            Err(error) => return Err(fault(error)),
        };
        let stat = rustix::fs::fstat(&found).map_err(fault)?;
        match (FileType::from_raw_mode(stat.st_mode), out.kind) {
            (FileType::RegularFile, OutKind::File) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                let from = mounts::open_beneath(build, path, flags).map_err(fault)?;
                let file = self.file(from, &stat);
                Ok(CapturedOut::File(file.map_err(|error| Fault::capture(path, error))?))
            }
            (FileType::Directory, OutKind::Dir) => {
                Ok(CapturedOut::Dir(self.tree(&found, path, Of::Out)?))
            }
            (FileType::RegularFile, OutKind::Dir) => Err(odd(Oddity::NotADirectory)),
            (FileType::Directory, OutKind::File) => Err(odd(Oddity::Directory)),
            (FileType::Symlink, _) => Err(odd(Oddity::Link)),
            (other, _) => Err(odd(oddity(other))),
        }
    }

    /// Captures all below the directory `root`; `name` is the out's.
    fn tree(&mut self, root: &OwnedFd, name: &Path, of: Of) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        let mut open = vec![(Vec::new(), reopen_dir(root, name)?)];
        // Depth first with one open directory a level; siblings wait as sorted names.
        let mut waiting = vec![names(&open[0].1, name)?];
        while let Some(level) = waiting.last_mut() {
            let Some(child) = level.pop() else {
                waiting.pop();
                open.pop();
                continue;
            };
            let (above, dir) = open.last().expect("a directory for each level");
            let path = join(above, &child);
            let is_root = of == Of::Root && name == Path::new("/");
            if is_root && NOT_OF_ROOT.iter().any(|place| place.as_bytes() == path) {
                continue;
            }
            let full = name.join(OsStr::from_bytes(&path));
            let child = OsStr::from_bytes(&child);
            let fault = |error: Errno| Fault::capture(&full, error);
            let stat = rustix::fs::statat(dir, child, AtFlags::SYMLINK_NOFOLLOW).map_err(fault)?;
            let node = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                    let from =
                        mounts::open_beneath(dir.as_fd(), child.as_ref(), flags).map_err(fault)?;
                    let file = self.file(from, &stat);
                    Node::File(file.map_err(|error| Fault::capture(&full, error))?)
                }
                FileType::Symlink if of == Of::Root => Node::Link {
                    target: rustix::fs::readlinkat(dir, child, Vec::new())
                        .map_err(fault)?
                        .into_bytes(),
                },
                FileType::Symlink => inner_link(root.as_fd(), dir, child, &path, &full)?,
                FileType::CharacterDevice if of == Of::Root && stat.st_rdev == 0 => Node::Gone,
                FileType::Directory => {
                    let inner = mounts::open_beneath(dir.as_fd(), child.as_ref(), OFlags::PATH)
                        .map_err(fault)?;
                    let inner = reopen_dir(&inner, &full)?;
                    let is_new = of == Of::Root && is_opaque(&inner);
                    waiting.push(names(&inner, &full)?);
                    open.push((path.clone(), inner));
                    if is_new { Node::NewDir } else { Node::Dir }
                }
                // No image has sockets, pipes or devices.
                _ if of == Of::Root || is_planted(Bug::AnyOuts) => continue,
                other => return Err(Fault::OddOut { path: full, oddity: oddity(other) }),
            };
            entries.push(Entry { path, node });
        }
        Ok(entries)
    }

    /// Copies an open file.
    fn file(&mut self, from: OwnedFd, stat: &Stat) -> io::Result<CapturedFile> {
        if let Some((files, bytes)) = &mut self.left {
            let size = stat.st_size.cast_unsigned();
            let left = files.checked_sub(1).zip(bytes.checked_sub(size));
            let left = left.ok_or(io::Error::from_raw_os_error(libc::EFBIG))?;
            (*files, *bytes) = left;
        }
        let number = self.next;
        self.next += 1;
        let executable = stat.st_mode & 0o100 != 0;
        let plain = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let kept = Mode::from_raw_mode(stat.st_mode);
        let mode = if is_planted(Bug::AnyOuts) { kept } else { plain };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let to = rustix::fs::openat(self.into, number.to_string(), flags, mode)?;
        let mut to = File::from(to);
        let sparse = stat.st_blocks.saturating_mul(512) < stat.st_size;
        let (digest, size) = copy(&mut File::from(from), &mut to, sparse)?;
        let time = Timespec { tv_sec: FIXED_MTIME_SECS, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&to, &times)?;
        Ok(CapturedFile { digest, size, executable, number })
    }
}

/// Copies all bytes; runs of zeroes become holes if `sparse`.
fn copy(from: &mut File, to: &mut File, sparse: bool) -> io::Result<(crate::digest::Digest, u64)> {
    let mut buffer = [0; BUFFER];
    let mut hasher = Hasher::new();
    let mut size = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = &buffer[..count];
        hasher.update(bytes);
        size += count as u64;
        if sparse && bytes.iter().all(|byte| *byte == 0) {
            io::Seek::seek_relative(to, count.cast_signed() as i64)?;
        } else {
            to.write_all(bytes)?;
        }
    }
    if sparse {
        to.set_len(size)?;
    }
    Ok((hasher.finish(), size))
}

/// Returns whether an overlay shows nothing of the layers below through this directory.
fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(dir, OPAQUE, &mut value) == Ok(1) && value == *b"y"
}

/// Opens a directory for reading, whatever rights the step left on it.
fn reopen_dir(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, Mode::empty()).map_err(|error| Fault::capture(path, error))
}

/// Returns what stands in the nearest directory above `path` that is there. Nothing depends on it,
/// so no error does either.
fn beside(build: BorrowedFd<'_>, path: &Path) -> Vec<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    for above in path.ancestors().skip(1) {
        let name = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        let Ok(dir) = mounts::open_beneath(build, name, flags) else { continue };
        let mut names = names(&dir, path).unwrap_or_default();
        names.retain(|name| name != b".kiln");
        let most = names.len().saturating_sub(MAX_BESIDE);
        let names = names.into_iter().skip(most).rev();
        return names.map(|name| join(above.as_os_str().as_bytes(), &name)).collect();
    }
    Vec::new()
}

/// Returns the names in a directory, the last one first.
fn names(dir: &OwnedFd, path: &Path) -> Result<Vec<Vec<u8>>, Fault> {
    let fault = |error: Errno| Fault::capture(path, error);
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable_by(|left, right| right.cmp(left));
    Ok(names)
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}

fn oddity(file_type: FileType) -> Oddity {
    match file_type {
        FileType::Fifo => Oddity::Fifo,
        FileType::Socket => Oddity::Socket,
        FileType::CharacterDevice | FileType::BlockDevice => Oddity::Device,
        _ => Oddity::Unknown,
    }
}

/// Reads a link, and refuses it unless it stays inside the out.
fn inner_link(
    root: BorrowedFd<'_>,
    dir: &OwnedFd,
    name: &OsStr,
    path: &[u8],
    full: &Path,
) -> Result<Node, Fault> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new())
        .map_err(|error| Fault::capture(full, error))?
        .into_bytes();
    let depth = path.iter().filter(|byte| **byte == b'/').count();
    let inner = match climb(&target, depth) {
        Climb::Inside => true,
        Climb::Outside => false,
        Climb::Winding => resolves_inside(root, path),
    };
    if inner || is_planted(Bug::AnyOuts) {
        Ok(Node::Link { target })
    } else {
        Err(Fault::OddOut { path: full.to_owned(), oddity: Oddity::EscapingLink })
    }
}

/// Where a link's text leads, from a directory some levels below the root.
#[derive(Debug, PartialEq, Eq)]
enum Climb {
    /// Inside, whatever the names on its way are: any of them that is a link is inside itself.
    Inside,
    /// Out of the root, or from `/`.
    Outside,
    /// It climbs after a name; if that name is a link, the text alone does not tell.
    Winding,
}

fn climb(target: &[u8], depth: usize) -> Climb {
    if target.first() == Some(&b'/') {
        return Climb::Outside;
    }
    let (mut level, mut named, mut winding) = (depth, false, false);
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                winding |= named;
                let Some(above) = level.checked_sub(1) else { return Climb::Outside };
                level = above;
            }
            _ => {
                named = true;
                level += 1;
            }
        }
    }
    if winding { Climb::Winding } else { Climb::Inside }
}

/// Returns whether following `path` leads to something, without leaving `root` on the way.
fn resolves_inside(root: BorrowedFd<'_>, path: &[u8]) -> bool {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    mounts::open_resolved(root, Path::new(OsStr::from_bytes(path)), flags, resolve).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_inner_only_if_no_name_can_lead_it_out() {
        assert_eq!(climb(b"../a/b", 1), Climb::Inside);
        assert_eq!(climb(b"./a", 0), Climb::Inside);
        assert_eq!(climb(b"..", 0), Climb::Outside);
        assert_eq!(climb(b"a/../..", 0), Climb::Outside);
        assert_eq!(climb(b"/etc", 3), Climb::Outside);
        assert_eq!(climb(b"a/..", 0), Climb::Winding);
    }
}
