//! What can go wrong with a sandbox, as opposed to the step in it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A sandbox could not do its part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// The running program is not prepared to be a launcher.
    #[error(
        "this program cannot start a sandbox: it must call `kiln::launch_if_asked()` first in \
         `main`"
    )]
    NotAsked,
    /// The launcher could not be started.
    #[error("cannot start the sandbox launcher `{}`", program.display())]
    Start { program: PathBuf, source: io::Error },
    /// The launcher ended, or answered with something that is no answer.
    #[error("the sandbox launcher ended before it answered")]
    LauncherEnded,
    /// The system refuses something every sandbox needs. [`Self::help`] says what helps.
    #[error("the system refuses {feature} to the sandbox")]
    Refused { feature: Feature, source: io::Error },
    /// Too many trees for one step.
    #[error("the step has {found} input trees, expected at most {most}")]
    TooManyLowers { found: usize, most: usize },
    /// A path of the spec could not be made ready.
    #[error("cannot {action} `{}` for the sandbox", path.display())]
    Prepare { action: String, path: PathBuf, source: io::Error },
    /// The program could not be executed inside the sandbox.
    #[error("cannot run `{}` in the sandbox", program.display())]
    Exec { program: OsString, source: io::Error },
    /// An out holds something that cannot be an artifact.
    #[error("the out `{}` is {oddity}", path.display())]
    OddOut { path: PathBuf, oddity: Oddity },
    /// An out could not be read or copied.
    #[error("cannot capture the out `{}`", path.display())]
    Capture { path: PathBuf, source: io::Error },
}

impl SandboxError {
    /// Returns what to do about it, where that is known: a command where there is one.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Refused { feature, .. } => Some(super::probe::cure(*feature)),
            Self::OddOut { oddity, .. } => Some(oddity.help().to_owned()),
            _ => None,
        }
    }
}

/// What a sandbox needs of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// `unshare(CLONE_NEWUSER)` and its maps.
    UserNamespace,
    /// `unshare` of the other namespaces, once root of an own user namespace.
    OtherNamespaces,
    /// A mount of its own and `pivot_root`.
    Mounts,
    /// A seccomp filter.
    Seccomp,
    /// A fresh `/proc`.
    Proc,
    /// An overlay in a user namespace.
    Overlay,
}

impl Feature {
    pub(super) const ALL: [Self; 6] = [
        Self::UserNamespace,
        Self::OtherNamespaces,
        Self::Mounts,
        Self::Seccomp,
        Self::Proc,
        Self::Overlay,
    ];
}

impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UserNamespace => "user namespaces",
            Self::OtherNamespaces => "mount, PID, IPC, UTS and network namespaces",
            Self::Mounts => "mounts in a user namespace",
            Self::Proc => "a fresh `/proc`",
            Self::Overlay => "overlayfs in a user namespace",
            Self::Seccomp => "seccomp filters",
        })
    }
}

/// Why an out cannot be an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oddity {
    Fifo,
    Socket,
    Device,
    /// A link whose target is absolute or leads out of the out.
    EscapingLink,
    /// A link where a file or directory was declared.
    Link,
    /// A directory where a file was declared.
    Directory,
    /// A file where a directory was declared.
    NotADirectory,
    /// Something of a type Kiln has no name for.
    Unknown,
}

impl Oddity {
    pub(super) const ALL: [Self; 8] = [
        Self::Fifo,
        Self::Socket,
        Self::Device,
        Self::EscapingLink,
        Self::Link,
        Self::Directory,
        Self::NotADirectory,
        Self::Unknown,
    ];

    fn help(self) -> &'static str {
        match self {
            Self::Fifo | Self::Socket | Self::Device | Self::Unknown => {
                "let the script remove it before it ends"
            }
            Self::EscapingLink => {
                "copy what it leads to (`cp -L`), or let it lead to a place in the out"
            }
            Self::Link => "let the script copy what it leads to: `cp -L`",
            Self::Directory => "declare the out as `dir`, or let the script write a file",
            Self::NotADirectory => "declare the out as `file`, or let the script make a directory",
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fifo => "a named pipe, expected files, directories and inner links",
            Self::Socket => "a socket, expected files, directories and inner links",
            Self::Device => "a device, expected files, directories and inner links",
            Self::EscapingLink => "a link that leads out of the out, expected inner links",
            Self::Link => "a symbolic link, expected what it leads to",
            Self::Directory => "a directory, expected a file",
            Self::NotADirectory => "a file, expected a directory",
            Self::Unknown => "of an unknown type, expected files, directories and inner links",
        })
    }
}
