//! Limits on a launcher and all its steps together, by control groups: version 2, version 1 or
//! none, as the host has it. Knows process ids, not steps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The groups of one launcher; removed when dropped, after the launcher has ended.
#[derive(Debug, Default)]
pub(super) struct Group {
    memory: Option<Controller>,
    processes: Option<Controller>,
    /// Processes in the groups that are not the step's.
    own_processes: u64,
}

/// One controller's directory for one launcher.
#[derive(Debug)]
struct Controller {
    dir: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Drop for Group {
    fn drop(&mut self) {
        // With version 2 both are the same directory.
        for controller in [&self.memory, &self.processes].into_iter().flatten() {
            drop(fs::remove_dir(&controller.dir));
        }
    }
}

impl Group {
    /// Puts the process `pid`, and with it all it starts from now on, into new groups, as far as
    /// the host allows. `own_processes` of them are not the step's.
    pub(super) fn of(pid: u32, own_processes: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kiln-{}-{number}", std::process::id());
        let join = |controller: &str, file: &str| {
            bases(controller)
                .into_iter()
                .find_map(|(base, version)| join(&base, version, &name, controller, file, pid))
        };
        let memory = join("memory", "memory.max");
        let processes = join("pids", "pids.max");
        Self { memory, processes, own_processes }
    }

    /// Returns whether there is a limit on memory.
    pub(super) fn limits_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Returns whether there is a limit on processes.
    pub(super) fn limits_processes(&self) -> bool {
        self.processes.is_some()
    }

    /// Sets the limits of the step to come; `None` is no limit.
    ///
    /// # Errors
    /// When the kernel refuses a limit.
    pub(super) fn set(&self, memory: Option<u64>, processes: Option<u64>) -> io::Result<()> {
        if let Some(controller) = &self.memory {
            controller.set_memory(memory)?;
        }
        if let Some(controller) = &self.processes {
            let limit = processes.map(|limit| limit.saturating_add(self.own_processes));
            let text = limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
            fs::write(controller.dir.join("pids.max"), text)?;
        }
        Ok(())
    }

    /// Returns how often the kernel has refused a new process so far.
    pub(super) fn refused_processes(&self) -> u64 {
        let Some(controller) = &self.processes else { return 0 };
        let text = fs::read_to_string(controller.dir.join("pids.events")).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("max "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Returns how many processes the kernel has ended for want of memory so far.
    pub(super) fn killed_for_memory(&self) -> u64 {
        let Some(controller) = &self.memory else { return 0 };
        let file = match controller.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(controller.dir.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

impl Controller {
    fn set_memory(&self, limit: Option<u64>) -> io::Result<()> {
        let write = |file: &str, text: &str| fs::write(self.dir.join(file), text);
        let number = limit.map(|limit| limit.to_string());
        match self.version {
            Version::Two => {
                write("memory.max", number.as_deref().unwrap_or("max"))?;
                drop(write("memory.swap.max", if limit.is_some() { "0" } else { "max" }));
            }
            Version::One => {
                // Memory with swap can never be the smaller one, and may not be counted at all.
                drop(write("memory.memsw.limit_in_bytes", "-1"));
                let number = number.as_deref().unwrap_or("-1");
                write("memory.limit_in_bytes", number)?;
                drop(write("memory.memsw.limit_in_bytes", number));
            }
        }
        Ok(())
    }
}

/// Makes a group below `base` and puts `pid` into it.
fn join(
    base: &Path,
    version: Version,
    name: &str,
    controller: &str,
    file: &str,
    pid: u32,
) -> Option<Controller> {
    sweep(base);
    let dir = base.join(name);
    match fs::create_dir(&dir) {
        Ok(()) => {}
        // The other controller of version 2 made it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(_) => return None,
    }
    if version == Version::Two && !dir.join(file).exists() {
        // Refused where the base has processes of its own.
        drop(fs::write(base.join("cgroup.subtree_control"), format!("+{controller}")));
    }
    let file = if version == Version::One { "cgroup.procs" } else { file };
    let joined =
        dir.join(file).exists() && fs::write(dir.join("cgroup.procs"), pid.to_string()).is_ok();
    if !joined {
        drop(fs::remove_dir(&dir));
        return None;
    }
    Some(Controller { dir, version })
}

/// Removes the groups of Kilns that ended without doing so. Those in use cannot be removed.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("kiln-")?.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            drop(fs::remove_dir(entry.path()));
        }
    }
}

/// Returns the directories below which a group with this controller might be made.
fn bases(controller: &str) -> Vec<(PathBuf, Version)> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    bases_in(&own, &mounts, controller)
}

fn bases_in(own: &str, mounts: &str, controller: &str) -> Vec<(PathBuf, Version)> {
    let mut bases = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
        let version = if names.is_empty() { Version::Two } else { Version::One };
        if version == Version::One && !names.split(',').any(|name| name == controller) {
            continue;
        }
        let Some(dir) = mounted(mounts, version, controller, path) else { continue };
        bases.push((dir.clone(), version));
        // A user's session owns the group above its own.
        if version == Version::Two
            && let Some(above) = dir.parent()
        {
            bases.push((above.to_owned(), version));
        }
    }
    bases
}

/// Returns where the group `path` of a hierarchy can be seen.
fn mounted(mounts: &str, version: Version, controller: &str, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?, mount.next()?);
        let mut kind = kind.split(' ');
        let is_wanted = match version {
            Version::Two => kind.next()? == "cgroup2",
            Version::One => {
                kind.next()? == "cgroup"
                    && kind.nth(1)?.split(',').any(|option| option == controller)
            }
        };
        let inner = if root == "/" { path } else { path.strip_prefix(root)? };
        is_wanted.then(|| Path::new(at).join(inner.trim_start_matches('/')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_both_versions() {
        let mounts = "25 1 0:21 / /cg/memory rw - cgroup cgroup rw,memory\n\
                      26 1 0:22 /pod /cg/unified rw shared:3 - cgroup2 cgroup2 rw\n";
        let found = |own, controller| bases_in(own, mounts, controller);
        let one = [(PathBuf::from("/cg/memory/a/b"), Version::One)];
        assert_eq!(found("4:memory:/a/b\n", "memory"), one);
        assert_eq!(found("4:memory:/a/b\n", "pids"), []);
        let two = ["/cg/unified/x/y", "/cg/unified/x"].map(|dir| (dir.into(), Version::Two));
        assert_eq!(found("0::/pod/x/y\n", "pids"), two);
    }
}
