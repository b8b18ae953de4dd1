//! What of a sandbox works on this host, and what would cure the rest. Tries it for real; changes
//! nothing.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::error::{Feature, SandboxError};
use super::spec::{Limits, Network, Root, Scratch, Spec, Word};
use super::{Cancel, Cells, Guise, Launcher, Sandbox, User, Wire, system};

/// What of a sandbox works on this host.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In the order a sandbox needs them.
    pub checks: Vec<Check>,
}

/// One thing a sandbox uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is, as in "user namespaces".
    pub name: String,
    /// Whether nothing works without it; the rest makes a sandbox faster or tighter.
    pub is_needed: bool,
    /// Whether it works.
    pub found: Found,
}

/// Whether something works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// It was tried and works.
    Works,
    /// It does not work.
    Missing {
        /// What the system says.
        reason: String,
        /// What to do, as a command where there is one.
        cure: String,
    },
    /// It could not be tried, because something before it is missing.
    Untried,
}

impl Report {
    /// Returns whether steps can run in cells.
    pub fn is_usable(&self) -> bool {
        self.checks.iter().all(|check| !check.is_needed || check.found == Found::Works)
    }
}

/// Tries a sandbox on this host. `scratch` is as for [`Cells::new`].
///
/// # Errors
/// When no launcher can be started: then nothing can be tried.
pub(crate) fn probe(launcher: &Launcher, scratch: &Path) -> Result<Report, SandboxError> {
    let cells = Cells::new(launcher.clone(), scratch.to_owned())?;
    let refused = match try_step(&cells, scratch) {
        Ok(()) => None,
        Err(SandboxError::Refused { feature, source }) => Some((feature, source.to_string())),
        Err(error) => return Err(error),
    };
    let mut checks: Vec<Check> = Vec::new();
    let mut found = Found::Works;
    for feature in Feature::ALL {
        if found != Found::Works {
            found = Found::Untried;
        } else if let Some((_, reason)) = refused.as_ref().filter(|(at, _)| *at == feature) {
            found = Found::Missing { reason: reason.clone(), cure: cure(feature) };
        }
        checks.push(Check { name: feature.to_string(), is_needed: true, found: found.clone() });
    }
    checks.extend(extras(&cells, refused.is_none()));
    Ok(Report { checks })
}

/// Runs a step that does nothing but start.
fn try_step(cells: &Cells, scratch: &Path) -> Result<(), SandboxError> {
    let capture = scratch.to_owned();
    fs::create_dir_all(&capture)
        .map_err(|source| super::pool::prepare("make", &capture, source))?;
    let spec = Spec {
        root: Root::Host,
        lowers: Vec::new(),
        mounts: Vec::new(),
        host_paths: Vec::new(),
        argv: vec![Word::from("/bin/true")],
        env: Vec::new(),
        cwd: String::new(),
        network: Network::Loopback,
        limits: Limits::default(),
        scratch: Scratch::Memory,
        outs: Vec::new(),
        capture,
        files: Vec::new(),
        keep: None,
        gone: Vec::new(),
        streams: None,
        services: Vec::new(),
    };
    let cancel = Cancel::new()
        .map_err(|source| super::pool::prepare("make a handle in", scratch, source))?;
    match cells.run(&spec, &cancel, &mut |_, _| {}) {
        // A host without it has a sandbox all the same.
        Ok(_) | Err(SandboxError::Exec { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the checks of what a sandbox can do without.
fn extras(cells: &Cells, works: bool) -> Vec<Check> {
    let check = |name: &str, works: Option<bool>, reason: &str, cure: &str| Check {
        name: name.to_owned(),
        is_needed: false,
        found: match works {
            Some(true) => Found::Works,
            Some(false) => Found::Missing { reason: reason.to_owned(), cure: cure.to_owned() },
            None => Found::Untried,
        },
    };
    let facts = if works { cells.0.facts(Guise::Cell(Wire::Cut, User::Build)) } else { None };
    let delegate =
        "run Kiln in a group of its own: `systemd-run --user --scope -p Delegate=yes kiln …`";
    vec![
        check(
            "scratch space in memory",
            facts.map(|facts| facts.memory_scratch),
            "files in memory have no user attributes before Linux 6.6",
            "steps write to the disk instead; a newer kernel makes them faster",
        ),
        check(
            "a limit on a step's memory",
            facts.map(|facts| facts.memory_limit),
            "no control group of this user holds the memory controller",
            delegate,
        ),
        check(
            "a limit on a step's processes",
            facts.map(|facts| facts.process_limit),
            "no control group of this user holds the pids controller",
            delegate,
        ),
        check(
            "abstract sockets closed in steps with the full network",
            Some(system::landlock_version() >= 6),
            "Landlock has no scopes before Linux 6.12",
            "a newer kernel, with `landlock` in its list of security modules",
        ),
    ]
}

/// Returns what to do where the system refuses `feature`.
pub(super) fn cure(feature: Feature) -> String {
    let setting = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    for (path, bad, command) in SETTINGS {
        if setting(path).as_deref() == Some(*bad) {
            return format!("run `{command}`");
        }
    }
    if ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists()) {
        return format!("start the container with `{CONTAINER}`");
    }
    match feature {
        Feature::Overlay => "run `sudo modprobe overlay`; Linux 5.12 or newer is needed".to_owned(),
        Feature::Mounts => "use Linux 5.12 or newer".to_owned(),
        Feature::Seccomp => "use a kernel with seccomp filters".to_owned(),
        Feature::UserNamespace | Feature::OtherNamespaces | Feature::Proc => {
            "allow user namespaces to this user, or use `--sandbox=weak`".to_owned()
        }
    }
}

/// Settings that refuse namespaces: the file, the value and the command that cures it.
const SETTINGS: &[(&str, &str, &str)] = &[
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=16384"),
];

/// What lets namespaces, mounts and a fresh `/proc` be had in a container.
const CONTAINER: &str = "docker run --security-opt seccomp=unconfined --security-opt \
                         apparmor=unconfined --security-opt systempaths=unconfined";
