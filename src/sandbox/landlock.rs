//! Landlock where it adds to the namespaces, or stands in for them. Knows rights and paths, not
//! steps.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags};

use super::system::{self, LandlockRuleset};

/// Rights since version 6: abstract Unix sockets, which a shared network would lead out through.
const SCOPE_ABSTRACT_SOCKETS: u64 = 1;

/// The version before which a file cannot be moved from one directory to another.
const MOVES_FILES: i64 = 2;

/// All rights on files up to version 2, and the one to truncate them since version 3.
const ALL_FILES: u64 = (1 << 14) - 1;
const TRUNCATE: u64 = 1 << 14;

/// Execute, read a file, read a directory.
const READ: u64 = 1 | 1 << 2 | 1 << 3;

/// The rights that there are on what is not a directory.
const ON_FILES: u64 = 1 | 1 << 1 | 1 << 2 | TRUNCATE;

/// Keeps this process and all it starts from the abstract sockets of others, where the kernel can.
pub(super) fn scope_abstract_sockets() -> io::Result<()> {
    if system::landlock_version() < 6 {
        return Ok(());
    }
    let ruleset = LandlockRuleset { files: 0, network: 0, scoped: SCOPE_ABSTRACT_SOCKETS };
    system::landlock_restrict(system::landlock_ruleset(&ruleset)?.as_fd())
}

/// Returns a ruleset that allows to read what is below `read` and all below `write`, and nothing
/// else; `None` where the kernel cannot. Paths that do not exist are left out.
pub(super) fn fence(read: &[PathBuf], write: &[PathBuf]) -> io::Result<Option<OwnedFd>> {
    let version = system::landlock_version();
    if version < MOVES_FILES {
        return Ok(None);
    }
    let files = if version >= 3 { ALL_FILES | TRUNCATE } else { ALL_FILES };
    let scoped = if version >= 6 { SCOPE_ABSTRACT_SOCKETS } else { 0 };
    let ruleset = system::landlock_ruleset(&LandlockRuleset { files, network: 0, scoped })?;
    let read = read.iter().map(|path| (path, READ));
    for (path, allowed) in read.chain(write.iter().map(|path| (path, files))) {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let Ok(found) = rustix::fs::open(path, flags, Mode::empty()) else { continue };
        let mode = rustix::fs::fstat(&found)?.st_mode;
        let is_dir = FileType::from_raw_mode(mode) == FileType::Directory;
        let allowed = if is_dir { allowed } else { allowed & ON_FILES };
        system::landlock_allow(ruleset.as_fd(), found.as_fd(), allowed & files)?;
    }
    Ok(Some(ruleset))
}
