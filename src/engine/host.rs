//! The host: the machine's own system directories as the root of a step, and its programs as
//! tools. Knows package databases and the shims that stand before toolchains; does not know steps.
//!
//! What a package manager installed is named by its database, the rest by the names, sizes and
//! times of files: it is looked at once a run. Package files that were edited in place are not
//! seen.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::digest::{Digest, Hasher};
use crate::process;
use crate::snapshot::ToolMemory;
use crate::snapshot::memory::{Memory, Seen};
use crate::snapshot::stat::Stat;

use super::error::StepError;
use super::locked;

/// Files that say which packages are installed, for all package managers we know.
const DATABASES: [&str; 6] = [
    "/var/lib/dpkg/status",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/lib/apk/db/installed",
];

/// Files that say which system it is and how its libraries are found.
const FILES: [&str; 2] = ["/etc/os-release", "/etc/ld.so.cache"];

/// Directories that no package manager watches over, each with how deep it is looked into.
const UNWATCHED: [(&str, usize); 5] = [
    ("/usr/local/bin", 1),
    ("/usr/local/sbin", 1),
    ("/usr/local/lib", 8),
    ("/etc/alternatives", 1),
    ("/var/lib/pacman/local", 1),
];

/// What belongs to the root of every step that runs on the machine's own.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// How long a shim may take to say where its tool is.
const SHIM_SECS: u64 = 20;

/// The machine as steps see it. Shared by threads.
pub(crate) struct Host {
    project: PathBuf,
    environment: BTreeMap<String, OsString>,
    digest: Digest,
    tools: Mutex<BTreeMap<String, Found>>,
    known: BTreeMap<String, ToolMemory>,
}

/// A tool that is being looked for, or was.
type Found = Arc<OnceLock<Result<HostTool, String>>>;

/// A program of the machine with its installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostTool {
    /// Its name.
    pub(crate) name: String,
    /// The folders to put into the `PATH`.
    pub(crate) path: Vec<String>,
    /// The paths of the machine that it needs, beside the system's directories.
    pub(crate) paths: Vec<PathBuf>,
    /// What names it in keys.
    pub(crate) digest: Digest,
}

impl Host {
    /// Looks at the machine. `environment` is Kiln's own, `known` are tools found earlier.
    pub(crate) fn look(
        project: &Path,
        environment: BTreeMap<String, OsString>,
        memory: &Memory,
        known: BTreeMap<String, ToolMemory>,
    ) -> Self {
        let mut parts = Vec::new();
        for path in FILES.iter().chain(&DATABASES) {
            if let Some(digest) = file(memory, path) {
                parts.push(((*path).to_owned(), digest));
            }
        }
        for (path, depth) in UNWATCHED {
            let digest = match depth {
                1 => known_listing(memory, path),
                _ => listing(Path::new(path), depth),
            };
            parts.push((path.to_owned(), digest));
        }
        let mut hasher = Hasher::tagged("kiln host 1");
        for (path, digest) in &parts {
            hasher.field(path.as_bytes());
            hasher.field(digest.as_bytes());
        }
        let (project, tools) = (project.to_owned(), Mutex::default());
        Self { project, environment, digest: hasher.finish(), tools, known }
    }

    /// Returns the environment of Kiln itself.
    pub(crate) fn environment(&self) -> &BTreeMap<String, OsString> {
        &self.environment
    }

    /// Returns what names the machine's system directories in keys.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the program `name`, found through Kiln's own `PATH`, with its installation. Each
    /// is looked for once a run.
    ///
    /// # Errors
    /// If there is none, or its shim does not say where it is.
    pub(crate) fn tool(&self, name: &str) -> Result<HostTool, StepError> {
        let slot = Arc::clone(locked(&self.tools).entry(name.to_owned()).or_default());
        let found = slot.get_or_init(|| match self.known.get(name) {
            Some(known) if self.still_holds(name, known) => Ok(HostTool {
                name: name.to_owned(),
                path: known.path.clone(),
                paths: known.paths.iter().map(PathBuf::from).collect(),
                digest: known.digest,
            }),
            _ => self.find(name),
        });
        found.clone().map_err(|why| StepError::Tool { name: name.to_owned(), why })
    }

    /// Returns the tools that were found in this run, to be known in the next.
    pub(crate) fn found(&self) -> BTreeMap<String, ToolMemory> {
        let tools = locked(&self.tools);
        let found = tools.iter().filter_map(|(name, slot)| {
            let tool = slot.get()?.as_ref().ok()?;
            let memory = ToolMemory {
                environment: self.decisive(),
                watched: self.watched(name, &tool.paths),
                path: tool.path.clone(),
                paths: tool.paths.iter().map(OsString::from).collect(),
                digest: tool.digest,
            };
            Some((name.clone(), memory))
        });
        found.collect()
    }

    fn still_holds(&self, name: &str, known: &ToolMemory) -> bool {
        known.environment == self.decisive() && known.watched == self.watched(name, &known.paths)
    }

    /// The variables that decide where tools are.
    fn decisive(&self) -> Digest {
        let mut hasher = Hasher::tagged("kiln tool environment 1");
        let is_decisive = |name: &str| {
            let prefixes = ["RUSTUP_", "PYENV_", "ASDF_", "CARGO_HOME"];
            ["PATH", "HOME"].contains(&name) || prefixes.iter().any(|part| name.starts_with(part))
        };
        for (name, value) in self.environment.iter().filter(|(name, _)| is_decisive(name)) {
            hasher.field(name.as_bytes());
            hasher.field(value.as_encoded_bytes());
        }
        hasher.finish()
    }

    /// What the place and the version of a tool depend on, and what stands there.
    fn watched(&self, name: &str, paths: &[impl AsRef<Path>]) -> Vec<(OsString, Option<Stat>)> {
        let mut watched = Vec::new();
        if let Some(found) = self.in_path(name) {
            watched.extend(fs::canonicalize(&found));
            watched.push(found);
        }
        watched.push(self.home().join(".rustup/settings.toml"));
        for file in ["rust-toolchain", "rust-toolchain.toml", ".python-version", ".tool-versions"] {
            watched.push(self.project.join(file));
        }
        for path in paths.iter().map(AsRef::as_ref) {
            watched.extend([path.to_owned(), path.join("bin"), path.join("lib")]);
            watched.push(path.join("bin").join(name));
        }
        let look = |path: PathBuf| {
            let stat = Stat::of(&path).ok();
            (path.into_os_string(), stat)
        };
        watched.into_iter().map(look).collect()
    }

    fn find(&self, name: &str) -> Result<HostTool, String> {
        let found = self.in_path(name).ok_or("no folder of `PATH` has it")?;
        let program = fs::canonicalize(&found).map_err(|error| error.to_string())?;
        let is_rustup =
            program.file_name().is_some_and(|file| file == "rustup") && name != "rustup";
        if is_rustup {
            let root = self.ask(&found.with_file_name("rustc"), &["--print", "sysroot"])?;
            return Ok(installed(name, &root.join("bin").join(name), &root));
        }
        if found.components().any(|part| part.as_os_str() == "shims") {
            let shim = if self.in_path("pyenv").is_some() { "pyenv" } else { "asdf" };
            let shim =
                self.in_path(shim).ok_or("it is a shim, and what made it is not in `PATH`")?;
            let program = self.ask(&shim, &["which", name])?;
            return Ok(installed(name, &program, &installation(&program, &self.home())));
        }
        if SYSTEM.iter().any(|system| program.starts_with(system)) {
            let path = Vec::new();
            let digest = tool_digest(name, &program, None);
            return Ok(HostTool { name: name.to_owned(), path, paths: Vec::new(), digest });
        }
        Ok(installed(name, &program, &installation(&program, &self.home())))
    }

    fn home(&self) -> PathBuf {
        self.environment.get("HOME").map(PathBuf::from).unwrap_or_default()
    }

    fn in_path(&self, name: &str) -> Option<PathBuf> {
        let path = self.environment.get("PATH")?;
        std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|file| {
                let meta = file.metadata();
                meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
            })
    }

    /// Asks a shim for a path, in the project, since the answer may depend on its files.
    fn ask(&self, program: &Path, arguments: &[&str]) -> Result<PathBuf, String> {
        let limit = std::time::Duration::from_secs(SHIM_SECS);
        let said = process::output(program, arguments, &self.project, &self.environment, limit)
            .map_err(|error| format!("`{}` cannot be asked: {error}", program.display()))?;
        let path = PathBuf::from(String::from_utf8_lossy(&said).trim());
        if path.is_absolute() {
            return Ok(path);
        }
        Err(format!("`{}` did not say where it is", program.display()))
    }
}

/// The digest of a file of the machine, links followed.
fn file(memory: &Memory, path: &str) -> Option<Digest> {
    let real = fs::canonicalize(path).ok()?;
    match memory.look(real.to_str()?).ok()? {
        Seen::File { digest, .. } => Some(digest),
        Seen::Link(_) | Seen::Odd => None,
    }
}

/// The digest of what stands directly in a folder, without reading files. Where its links lead is
/// remembered: they change with the folder.
fn known_listing(memory: &Memory, path: &str) -> Digest {
    let stat = Stat::of(Path::new(path)).ok();
    let known = stat.and_then(|stat| memory.taken(path, &stat));
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let is_link = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
    let (links, others) = match known {
        Some((links, _)) => (links, entries.filter(|entry| !is_link(entry)).collect()),
        None => {
            // The memory has read its clock by now, before the links are looked at.
            let (links, others) = entries.partition(is_link);
            (hash_entries(links).finish(), others)
        }
    };
    if let Some(stat) = stat.filter(|_| known.is_none()) {
        memory.note_taken(path, stat, (links, 0));
    }
    let mut hasher = hash_entries(others);
    hasher.field(links.as_bytes());
    hasher.finish()
}

fn hash_entries(entries: Vec<fs::DirEntry>) -> Hasher {
    let mut hasher = Hasher::tagged("kiln entries 1");
    let mut paths: Vec<_> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort_unstable();
    for path in paths {
        hash_entry(&mut hasher, &path);
    }
    hasher
}

/// Adds what stands at a path, without reading files; returns whether it is a folder.
fn hash_entry(hasher: &mut Hasher, path: &Path) -> bool {
    let Ok(meta) = path.symlink_metadata() else { return false };
    hasher.field(path.as_os_str().as_encoded_bytes());
    if meta.is_symlink() {
        let target = fs::read_link(path).unwrap_or_default();
        hasher.field(target.as_os_str().as_encoded_bytes());
    } else if !meta.is_dir() {
        hash_meta(hasher, &meta);
    }
    meta.is_dir()
}

/// The digest of what stands in a folder, without reading files.
fn listing(folder: &Path, depth: usize) -> Digest {
    let mut hasher = Hasher::tagged("kiln listing 1");
    let mut open = vec![(folder.to_owned(), depth)];
    while let Some((folder, depth)) = open.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort_unstable();
        for path in paths {
            if hash_entry(&mut hasher, &path) && depth > 1 {
                open.push((path, depth - 1));
            }
        }
    }
    hasher.finish()
}

fn hash_meta(hasher: &mut Hasher, meta: &fs::Metadata) {
    for number in [i64::from(meta.mode()), meta.size() as i64, meta.mtime(), meta.mtime_nsec()] {
        hasher.update(&number.to_le_bytes());
    }
}

/// A tool with an installation of its own: all of it is bound at its own path.
fn installed(name: &str, program: &Path, root: &Path) -> HostTool {
    let bin = program.parent().unwrap_or(root).to_string_lossy().into_owned();
    let digest = tool_digest(name, program, Some(root));
    HostTool { name: name.to_owned(), path: vec![bin], paths: vec![root.to_owned()], digest }
}

/// The folder that a program needs beside itself: the one above its `bin`, if that looks like an
/// installation and not like someone's home.
fn installation(program: &Path, home: &Path) -> PathBuf {
    let folder = program.parent().unwrap_or(Path::new("/"));
    let above = folder.parent().unwrap_or(folder);
    let is_bin = folder.file_name().is_some_and(|name| name == "bin");
    let is_home = home.starts_with(above) || above.ends_with(".local") || above.ends_with(".cargo");
    let is_whole =
        ["lib", "lib64", "libexec", "share"].iter().any(|part| above.join(part).is_dir());
    if is_bin && is_whole && !is_home { above.to_owned() } else { program.to_owned() }
}

/// Names a tool by the path, size and time of its program, and the names, sizes and times of what
/// stands in its installation's folders.
fn tool_digest(name: &str, program: &Path, root: Option<&Path>) -> Digest {
    let mut hasher = Hasher::tagged("kiln tool 1");
    hasher.field(name.as_bytes());
    hasher.field(program.as_os_str().as_encoded_bytes());
    if let Ok(meta) = program.metadata() {
        hash_meta(&mut hasher, &meta);
        hasher.update(&meta.ino().to_le_bytes());
    }
    for part in root
        .filter(|root| root.is_dir())
        .iter()
        .flat_map(|root| [root.join("bin"), root.join("lib")])
    {
        hasher.field(listing(&part, 1).as_bytes());
    }
    hasher.finish()
}

/// Returns the memory of this machine in bytes.
pub(crate) fn memory_bytes() -> u64 {
    let found = rustix::system::sysinfo();
    u64::from(found.mem_unit).saturating_mul(found.totalram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::stat::Clock;

    fn host(folder: &Path, path: &str) -> Host {
        let memory = Memory::empty(folder, Clock::unknown());
        let environment = [("PATH", path), ("HOME", "/home/someone")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.into()));
        Host::look(folder, environment.into(), &memory, BTreeMap::new())
    }

    #[test]
    fn a_folder_of_links_is_remembered_and_each_change_of_it_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (path, at) = (folder.path().to_str().unwrap(), |name: &str| folder.path().join(name));
        let link = |name: &str, target: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
        link("cc", "/usr/bin/gcc");
        fs::write(at("README"), "text").unwrap();
        let memory = Memory::empty(folder.path(), Clock::far_ahead(folder.path()));
        let stat = || Stat::of(folder.path()).unwrap();
        let first = known_listing(&memory, path);
        assert!(memory.taken(path, &stat()).is_some(), "it is remembered");
        assert_eq!(known_listing(&memory, path), first);
        let changes: [&dyn Fn(); 3] = [
            &|| fs::write(at("README"), "other text").unwrap(),
            &|| link("c++", "/usr/bin/g++"),
            &|| {
                fs::remove_file(at("cc")).unwrap();
                link("cc", "/usr/bin/clang");
            },
        ];
        let mut seen = vec![first];
        for change in changes {
            change();
            let found = known_listing(&memory, path);
            assert!(!seen.contains(&found), "change {}", seen.len());
            seen.push(found);
        }
    }

    fn program(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_look_at_the_same_machine_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (host(folder.path(), ""), host(folder.path(), ""));
        assert_eq!(one.digest(), two.digest());
    }

    #[test]
    fn a_tool_of_the_system_needs_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let tool = host(folder.path(), "/usr/bin:/bin").tool("sh").unwrap();
        assert!(tool.path.is_empty() && tool.paths.is_empty());
        let missing = host(folder.path(), "/usr/bin").tool("no-such-tool").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the tool `no-such-tool` cannot be used: no folder of `PATH` has it"
        );
    }

    #[test]
    fn a_rustup_shim_is_asked_for_its_toolchain() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (shims, toolchain) = (root.join(".cargo/bin"), root.join("toolchains/stable"));
        program(&shims.join("rustup"), &format!("echo {}", toolchain.display()));
        for shim in ["cargo", "rustc"] {
            std::os::unix::fs::symlink("rustup", shims.join(shim)).unwrap();
        }
        program(&toolchain.join("bin/cargo"), "");
        let tool = host(&root, &format!("{}:/bin", shims.display())).tool("cargo").unwrap();
        assert_eq!(tool.path, [toolchain.join("bin").to_str().unwrap()]);
        assert_eq!(tool.paths, std::slice::from_ref(&toolchain));
        program(&toolchain.join("bin/cargo"), "echo other");
        let other = host(&root, &format!("{}:/bin", shims.display())).tool("cargo").unwrap();
        assert_ne!(other.digest, tool.digest);
    }

    #[test]
    fn an_installation_is_taken_whole_and_a_home_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        program(&root.join("node/bin/node"), "");
        fs::create_dir(root.join("node/lib")).unwrap();
        program(&root.join("me/.local/bin/tool"), "");
        fs::create_dir(root.join("me/.local/share")).unwrap();
        program(&root.join("me/bin/mine"), "");
        fs::create_dir(root.join("me/lib")).unwrap();
        let find = |path: &str| installation(&root.join(path), &root.join("me"));
        assert_eq!(find("node/bin/node"), root.join("node"));
        assert_eq!(find("me/.local/bin/tool"), root.join("me/.local/bin/tool"));
        assert_eq!(find("me/bin/mine"), root.join("me/bin/mine"));
    }
}
