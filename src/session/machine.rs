//! The machine as Kiln finds it: what `kiln doctor` tells. Knows whom to ask; does not know how
//! anything is said.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::cache::{file_system, free_bytes};
use crate::process;
use crate::sandbox::{Launcher, probe};

use super::store;

pub use crate::sandbox::{Check, Found, Report};

/// Programs that pipelines use, beside their own tools: scripts run in all but the last.
const TOOLS: [&str; 5] = ["sh", "bash", "python3", "node", "git"];

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a machine can do.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// What of a sandbox works; `None` where none could be tried.
    pub sandbox: Option<Report>,
    /// Why no sandbox could be tried at all.
    pub sandbox_fault: Option<String>,
    /// The store.
    pub store: StoreState,
    /// How many processors Kiln may use.
    pub processors: usize,
    /// How much memory there is; `None` where the system does not tell.
    pub memory_bytes: Option<u64>,
    /// The kernel's name and release.
    pub kernel: Option<String>,
    /// Which control groups Kiln is in: `v2`, `v1` or none.
    pub control_groups: Option<&'static str>,
    /// Programs, and where each is: `None` for those that are nowhere in the `PATH`.
    pub tools: Vec<(&'static str, Option<FoundTool>)>,
}

/// A program that was found.
#[derive(Clone, Debug, Serialize)]
pub struct FoundTool {
    /// Where it is.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// The first line of what it says of its version.
    pub version: Option<String>,
}

/// How the store is.
#[derive(Clone, Debug, Serialize)]
pub struct StoreState {
    /// Its folder.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// Why it cannot be used, if it cannot.
    pub fault: Option<String>,
    /// The file system it is on, such as `ext4`.
    pub file_system: Option<String>,
    /// How much room there is on that.
    pub free_bytes: Option<u64>,
}

/// Writes a path that need not be text as well as text can.
fn as_text<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Machine {
    /// Returns whether pipelines can run: in the sandbox, with a store that lasts.
    pub fn is_usable(&self) -> bool {
        self.sandbox.as_ref().is_some_and(|report| report.is_usable()) && self.store.fault.is_none()
    }
}

/// Looks at the machine: starts a sandbox, opens the store in that folder, asks programs.
pub fn examine(store: &Path, environment: &BTreeMap<String, OsString>) -> Machine {
    let (sandbox, sandbox_fault) = match sandbox() {
        Ok(report) => (Some(report), None),
        Err(fault) => (None, Some(fault)),
    };
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let tool = |name: &'static str| (name, find_tool(name, environment));
    Machine {
        sandbox,
        sandbox_fault,
        store: state(store),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: read("/proc/meminfo").as_deref().and_then(memory),
        kernel: read("/proc/sys/kernel/osrelease").map(|name| format!("Linux {}", name.trim())),
        control_groups: read("/proc/self/cgroup").as_deref().and_then(control_groups),
        tools: TOOLS.into_iter().map(tool).collect(),
    }
}

fn sandbox() -> Result<Report, String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let launcher = Launcher::this_program().map_err(|error| error.to_string())?;
    probe(&launcher, scratch.path()).map_err(|error| error.to_string())
}

fn state(path: &Path) -> StoreState {
    let fault = store::open(path).err().map(|error| error.to_string());
    // Where there is no store, the folder above it shows where it would be.
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(path);
    StoreState {
        path: path.to_owned(),
        fault,
        file_system: file_system(there),
        free_bytes: free_bytes(there).ok(),
    }
}

fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn control_groups(cgroup: &str) -> Option<&'static str> {
    match cgroup.lines().next()? {
        line if line.starts_with("0::") => Some("v2"),
        _ => Some("v1"),
    }
}

fn find_tool(name: &str, environment: &BTreeMap<String, OsString>) -> Option<FoundTool> {
    let folders = std::env::split_paths(environment.get("PATH")?).collect::<Vec<_>>();
    let path = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())?;
    // Not every shell knows the option, and one that does not might wait for a script.
    let asked = process::output(&path, &["--version"], Path::new("/"), environment, PATIENCE);
    let said = asked.ok().and_then(|said| String::from_utf8(said).ok());
    let version = said.and_then(|said| said.lines().next().map(str::to_owned));
    Some(FoundTool { path, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood() {
        assert_eq!(memory("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert_eq!(control_groups("0::/user.slice\n"), Some("v2"));
        assert_eq!(control_groups("12:pids:/\n0::/\n"), Some("v1"));
        assert_eq!(control_groups(""), None);
    }

    #[test]
    fn a_program_is_found_with_its_version() {
        let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".into())]);
        assert!(find_tool("sh", &environment).is_some());
        assert!(find_tool("no-such-program", &environment).is_none());
    }
}
