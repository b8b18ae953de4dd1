//! Facts: what a pipeline may ask about the machine, its git repository and the CI that started Kiln.
//! Knows where each is found, and which were asked for; does not know what they decide.

mod ci;
mod git;
pub(crate) mod history;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use ci::Ci;
use git::Git;

/// Something that a pipeline may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fact {
    /// `host.arch`
    Arch,
    /// `host.date`
    Date,
    /// `host.os`
    Os,
    /// `host.ci.event`
    CiEvent,
    /// `host.ci.name`
    CiName,
    /// `host.ci.pr`
    CiPr,
    /// `host.ci.run`
    CiRun,
    /// `host.ci.trusted`
    CiTrusted,
    /// `host.git.branch`
    GitBranch,
    /// `host.git.commit`
    GitCommit,
    /// `host.git.dirty`
    GitDirty,
    /// `host.git.repo`: a line for the commit, its branch and each tag before it.
    GitRepo,
    /// `host.git.short`
    GitShort,
    /// `host.git.tag`
    GitTag,
}

impl Fact {
    /// All there are, by name.
    pub const ALL: [(&str, Self); 14] = [
        ("arch", Self::Arch),
        ("ci.event", Self::CiEvent),
        ("ci.name", Self::CiName),
        ("ci.pr", Self::CiPr),
        ("ci.run", Self::CiRun),
        ("ci.trusted", Self::CiTrusted),
        ("date", Self::Date),
        ("git.branch", Self::GitBranch),
        ("git.commit", Self::GitCommit),
        ("git.dirty", Self::GitDirty),
        ("git.repo", Self::GitRepo),
        ("git.short", Self::GitShort),
        ("git.tag", Self::GitTag),
        ("os", Self::Os),
    ];

    /// Returns the fact that `host.` and this name mean.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == name).map(|(_, fact)| *fact)
    }

    /// Returns its name as the language has it: `host.git.branch`.
    pub fn full_name(self) -> String {
        format!("host.{}", self.name())
    }

    /// Returns its name after `host.`.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, fact)| *fact == self);
        found.expect("all facts are in the list").0
    }
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// It is this text.
    Text(String),
    /// It is this number.
    Number(i64),
    /// It holds or not.
    Flag(bool),
    /// There is none.
    Absent,
    /// It could not be found out.
    Unknown {
        /// Why not.
        why: String,
        /// What to do about it.
        help: String,
    },
}

/// As a pipeline's author would write the value, without quotes; the reason for one that is not known.
impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Unknown { why: text, .. } => formatter.write_str(text),
            Self::Number(number) => number.fmt(formatter),
            Self::Flag(flag) => flag.fmt(formatter),
            Self::Absent => formatter.write_str("none"),
        }
    }
}

impl Finding {
    fn unknown(why: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Unknown { why: why.into(), help: help.into() }
    }
}

/// The facts of one run. Each is found out when it is first asked for.
#[derive(Debug)]
pub struct Facts {
    source: Source,
    asked: Mutex<BTreeMap<Fact, Finding>>,
}

#[derive(Debug)]
enum Source {
    Machine { root: PathBuf, environment: BTreeMap<String, OsString>, now: SystemTime },
    Given(BTreeMap<Fact, Finding>),
}

impl Facts {
    /// Returns the facts of this machine and of the repository at `root`, the project's. The CI is
    /// known by its variables in `environment`, in which `git` is run, too.
    pub fn of_machine(
        root: &Path,
        environment: BTreeMap<String, OsString>,
        now: SystemTime,
    ) -> Self {
        Self::from(Source::Machine { root: root.to_owned(), environment, now })
    }

    /// Returns these facts and no others; without any by default, as for what evaluates nothing.
    pub fn given(facts: BTreeMap<Fact, Finding>) -> Self {
        Self::from(Source::Given(facts))
    }

    fn from(source: Source) -> Self {
        Self { source, asked: Mutex::default() }
    }

    /// Returns what is so.
    pub fn find(&self, fact: Fact) -> Finding {
        let mut asked = self.asked.lock().expect("no holder panics");
        asked.entry(fact).or_insert_with(|| self.source.find(fact)).clone()
    }

    /// Returns all that was asked for.
    pub fn asked(&self) -> BTreeMap<Fact, Finding> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self::given(BTreeMap::new())
    }
}

impl Source {
    fn find(&self, fact: Fact) -> Finding {
        let (root, environment, now) = match self {
            Self::Machine { root, environment, now } => (root, environment, now),
            // Whatever it is, it is a folder in the steps that take it.
            Self::Given(_) if fact == Fact::GitRepo => return Finding::Text(String::new()),
            Self::Given(facts) => {
                let help = format!("give it: given {} = …", fact.full_name());
                let none = || Finding::unknown("nothing gives it", help);
                return facts.get(&fact).cloned().unwrap_or_else(none);
            }
        };
        let git = Git::new(root, environment);
        let ci = Ci::find(environment);
        match fact {
            Fact::Os => Finding::Text(std::env::consts::OS.to_owned()),
            Fact::Arch => Finding::Text(arch().to_owned()),
            Fact::Date => Finding::Text(date(*now)),
            Fact::CiName => text(ci.map(|ci| ci.name.to_owned())),
            Fact::CiEvent => text(ci.and_then(|ci| ci.event)),
            Fact::CiPr => ci.and_then(|ci| ci.pr).map_or(Finding::Absent, Finding::Number),
            Fact::CiRun => text(ci.and_then(|ci| ci.run)),
            Fact::CiTrusted => Finding::Flag(ci.is_none_or(|ci| ci.is_trusted)),
            // What comes from a fork is on no branch of the repository, whatever its own is called.
            Fact::GitBranch if ci.as_ref().is_some_and(Ci::is_foreign) => Finding::Absent,
            Fact::GitBranch => git.branch(ci.and_then(|ci| ci.branch)),
            Fact::GitRepo if ci.as_ref().is_some_and(Ci::is_foreign) => git.history(None),
            Fact::GitRepo => git.history(ci.and_then(|ci| ci.branch)),
            Fact::GitTag => git.tag(ci.and_then(|ci| ci.tag)),
            Fact::GitCommit => git.commit(),
            Fact::GitShort => git.short(),
            Fact::GitDirty => git.dirty(),
        }
    }
}

fn text(text: Option<String>) -> Finding {
    text.map_or(Finding::Absent, Finding::Text)
}

/// Returns the processor's name as images and platforms have it.
pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Returns the day in UTC, as in `2026-01-31`.
fn date(now: SystemTime) -> String {
    time::OffsetDateTime::from(now).date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_by_name_and_are_found_by_it() {
        assert!(Fact::ALL.is_sorted_by_key(|(name, _)| *name));
        for (name, fact) in Fact::ALL {
            assert_eq!((Fact::named(name), fact.name()), (Some(fact), name));
        }
        assert_eq!(Fact::named("git"), None);
    }

    #[test]
    fn the_day_is_that_of_utc() {
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        assert_eq!(date(at(0)), "1970-01-01");
        assert_eq!(date(at(1_709_164_799)), "2024-02-28");
        assert_eq!(date(at(1_709_164_800)), "2024-02-29");
    }

    #[test]
    fn a_fact_is_looked_up_once_and_remembered() {
        let date = Finding::Text("2026-01-31".to_owned());
        let facts = Facts::given(BTreeMap::from([(Fact::Date, date.clone())]));
        assert_eq!(facts.asked(), BTreeMap::new());
        assert_eq!(facts.find(Fact::Date), date);
        assert!(matches!(facts.find(Fact::Os), Finding::Unknown { .. }));
        assert_eq!(facts.asked().len(), 2);
    }

    #[test]
    fn a_fork_has_no_branch_of_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let variables = |project: &str| {
            [
                ("GITLAB_CI", "true"),
                ("CI_PROJECT_ID", "1"),
                ("CI_COMMIT_BRANCH", "main"),
                ("CI_MERGE_REQUEST_IID", "3"),
            ]
            .into_iter()
            .chain([("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", project)])
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect()
        };
        let branch = |project| {
            let facts =
                Facts::of_machine(folder.path(), variables(project), SystemTime::UNIX_EPOCH);
            facts.find(Fact::GitBranch)
        };
        assert_eq!(branch("1"), Finding::Text("main".to_owned()));
        assert_eq!(branch("2"), Finding::Absent);
    }
}
