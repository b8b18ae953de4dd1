//! The history: a git repository of one commit, its ancestors and their tags, which a step may have.
//! Knows what names it and how it is made of the project's own; does not know steps.
//!
//! A history is named by its description, not by its bytes: git packs the same objects in many ways.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::git::environment_of_git;
use crate::process;

/// How long git may take to pack all there is.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The settings of the repository, as `git init` writes them, but for times and the user's own.
const CONFIG: &str = "[core]\n\tfilemode = true\n\tbare = false\n\trepositoryformatversion = ";

/// What follows in one of either kind, by the length of its digests.
const SHA_1: &str = "0\n";
const SHA_256: (usize, &str) = (64, "1\n[extensions]\n\tobjectformat = sha256\n");

/// What a history is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The commit, by its digits.
    pub(super) commit: String,
    /// The branch it is on.
    pub(super) branch: Option<String>,
    /// What the tags before it name, by their full names.
    pub(super) tags: BTreeMap<String, String>,
    /// The commits before which a shallow clone has nothing.
    pub(super) ends: BTreeSet<String>,
}

/// A line for each thing.
impl fmt::Display for History {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "commit {}", self.commit)?;
        if let Some(branch) = &self.branch {
            writeln!(formatter, "branch {branch}")?;
        }
        for (name, id) in &self.tags {
            writeln!(formatter, "tag {id} {name}")?;
        }
        self.ends.iter().try_for_each(|end| writeln!(formatter, "end {end}"))
    }
}

impl History {
    /// Reads what [`fmt::Display`] wrote.
    pub(crate) fn parse(text: &str) -> Self {
        let mut history = Self::default();
        for (word, rest) in text.lines().filter_map(|line| line.split_once(' ')) {
            match (word, rest.split_once(' ')) {
                ("commit", _) => history.commit = rest.to_owned(),
                ("branch", _) => history.branch = Some(rest.to_owned()),
                ("tag", Some((id, name))) => {
                    history.tags.insert(name.to_owned(), id.to_owned());
                }
                ("end", _) => drop(history.ends.insert(rest.to_owned())),
                _ => {}
            }
        }
        history
    }

    /// Makes the repository in the empty folder `at`, from that of the project at `root`. To git, all
    /// files of the commit are there and as they were, though a step has those only that it takes.
    ///
    /// # Errors
    /// If git cannot be run, or what it says; or if a file cannot be written.
    pub(crate) fn write(
        &self,
        root: &Path,
        environment: &BTreeMap<String, OsString>,
        at: &Path,
    ) -> io::Result<()> {
        for folder in ["info", "objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            fs::create_dir_all(at.join(folder))?;
        }
        let (digits, sha_256) = SHA_256;
        let kind = if self.commit.len() == digits { sha_256 } else { SHA_1 };
        fs::write(at.join("config"), format!("{CONFIG}{kind}"))?;
        fs::write(at.join("info/exclude"), "/.kiln/\n")?;
        let mut refs: Vec<_> =
            self.tags.iter().map(|(name, id)| format!("{id} {name}\n")).collect();
        let head = match &self.branch {
            Some(branch) => {
                refs.insert(0, format!("{} refs/heads/{branch}\n", self.commit));
                format!("ref: refs/heads/{branch}\n")
            }
            None => format!("{}\n", self.commit),
        };
        fs::write(at.join("HEAD"), head)?;
        fs::write(at.join("packed-refs"), refs.concat())?;
        if !self.ends.is_empty() {
            let ends: String = self.ends.iter().map(|end| format!("{end}\n")).collect();
            fs::write(at.join("shallow"), ends)?;
        }
        let mut environment = environment_of_git(environment);
        let wanted = [&self.commit].into_iter().chain(self.tags.values());
        let wanted: String = wanted.map(|id| format!("{id}\n")).collect();
        let pack = at.join("objects/pack/pack");
        let pack = ["pack-objects", "--revs", "--quiet", text(&pack)?];
        git(&pack, root, &environment, wanted.into_bytes())?;
        // An index whose files need not be there. It is git's own way to leave out files, here all.
        environment.insert("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".into());
        environment.insert("GIT_CONFIG_NOSYSTEM".to_owned(), "1".into());
        let nothing = tempfile::tempdir()?;
        fs::write(at.join("info/sparse-checkout"), "")?;
        let (repository, files) =
            (format!("--git-dir={}", text(at)?), format!("--work-tree={}", text(nothing.path())?));
        let sparse = ["-c", "core.sparseCheckout=true"];
        let read = ["read-tree", "-m", "-u", &self.commit];
        let read: Vec<_> = [&*repository, &*files].into_iter().chain(sparse).chain(read).collect();
        git(&read, nothing.path(), &environment, Vec::new())?;
        fs::remove_file(at.join("info/sparse-checkout"))
    }
}

fn git(
    arguments: &[&str],
    folder: &Path,
    environment: &BTreeMap<String, OsString>,
    input: Vec<u8>,
) -> io::Result<()> {
    let git = Path::new("git");
    let ended = process::run_with(git, arguments, folder, environment, input, PATIENCE)?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().find(|line| !line.is_empty()).unwrap_or("nothing");
    Err(io::Error::other(format!("git says: {}", said.strip_prefix("fatal: ").unwrap_or(said))))
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("the path of the store is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let text = "commit 11\nbranch a branch\ntag 22 refs/tags/v1\ntag 33 refs/tags/v2\nend 44\n";
        let history = History::parse(text);
        assert_eq!(history.to_string(), text);
        assert_eq!(history.branch.as_deref(), Some("a branch"));
        let text = "commit 11\n";
        assert_eq!(History::parse(text).to_string(), text);
    }
}
