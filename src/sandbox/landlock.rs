//! Landlock where it adds to the namespaces. Knows rights and paths, not steps.

use std::io;
use std::os::fd::AsFd;

use super::system::{self, LandlockRuleset};

/// Rights since version 6: abstract Unix sockets, which a shared network would lead out through.
const SCOPE_ABSTRACT_SOCKETS: u64 = 1;

/// Keeps this process and all it starts from the abstract sockets of others, where the kernel can.
pub(super) fn scope_abstract_sockets() -> io::Result<()> {
    if system::landlock_version() < 6 {
        return Ok(());
    }
    let ruleset = LandlockRuleset { files: 0, network: 0, scoped: SCOPE_ABSTRACT_SOCKETS };
    system::landlock_restrict(system::landlock_ruleset(&ruleset)?.as_fd())
}
