//! Planted bugs: defences that a test switches off, to prove that it would see them missing. Knows
//! their names; does not know what they defend. Without the feature `planted-bugs` there are none.
//!
//! The feature is for a second binary beside the real one (`tests/run`). There the variable
//! `KILN_PLANTED_BUG` names the bugs of a process, with commas between; launchers inherit it.

/// The variable that names bugs, as the variants of [`Bug`] are written.
#[cfg(feature = "planted-bugs")]
const VARIABLE: &str = "KILN_PLANTED_BUG";

/// A defence that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The bytes of a stored blob are believed without a look at their digest.
    BelieveBlobs,
    /// A run ends when it cannot have the store that it was told to use.
    InsistOnStore,
    /// Results are said to be done and not recorded.
    ForgetRecords,
    /// Runs at once do not wait for each other's steps.
    NoSingleFlight,
    /// Places of locks and pools are for all who ask.
    IgnorePools,
    /// A file is believed to be the same as long as its modification time is.
    IgnoreChangeTimes,
    /// The files of a tree that is laid out already are believed without a look at their bytes.
    BelieveTrees,
    /// Names in directories are kept as text, not as bytes.
    LossyNames,
    /// Logs are held in memory, however long they are.
    HoardLogs,
    /// All that a step writes is kept.
    EndlessLogs,
    /// What a step leaves in the background is waited for.
    WaitForBackground,
    /// A launcher does not hear that its step is to be ended.
    DeafLaunchers,
    /// A step goes on when its launcher is gone.
    Orphans,
    /// Outs in the project are files of the store.
    LinkOuts,
    /// Steps see the machine's files that no step needs.
    HostFiles,
    /// Steps see the processes of the machine, and all that `/proc` tells.
    HostProcesses,
    /// Steps may make any system call.
    NoFilter,
    /// Steps have the rights that their launcher has in its namespaces.
    KeepRights,
    /// Steps have the files open that Kiln was started with.
    KeepDescriptors,
    /// What steps see of the machine and the store can be written to.
    WritableTrees,
    /// Steps share memory with the machine's processes.
    SharedMemory,
    /// What cannot be written is taken for written.
    IgnoreFullDisks,
    /// Results are said to be done before they are on disk.
    NeverSync,
    /// Anything can be an out, whatever it is.
    AnyOuts,
    /// Steps have the limits of who runs Kiln.
    OwnLimits,
    /// Steps have the network of the machine.
    OpenNetwork,
    /// Inputs that were edited bear the time of all others, where a step keeps something.
    OldClocks,
    /// Secrets are shown as they are.
    ShowSecrets,
    /// What a step wrote is shown as it is.
    PassEscapes,
}

/// Returns whether this process has the bug.
#[cfg(not(feature = "planted-bugs"))]
pub const fn is_planted(_: Bug) -> bool {
    false
}

/// Returns whether this process has the bug.
#[cfg(feature = "planted-bugs")]
pub fn is_planted(bug: Bug) -> bool {
    static NAMES: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "only binaries for tests have this")]
    let names = NAMES.get_or_init(|| std::env::var(VARIABLE).ok());
    names.as_deref().is_some_and(|names| names.split(',').any(|name| name == format!("{bug:?}")))
}

/// Gives the bug of this process, if it has one, to a process that begins with an empty environment.
#[cfg(feature = "planted-bugs")]
pub(crate) fn inherit(command: &mut std::process::Command) {
    #[expect(clippy::disallowed_methods, reason = "only binaries for tests have this")]
    if let Some(name) = std::env::var_os(VARIABLE) {
        command.env(VARIABLE, name);
    }
}

/// Gives the bug of this process, if it has one, to a process that begins with an empty environment.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn inherit(_: &mut std::process::Command) {}
