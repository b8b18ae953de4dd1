//! The facts as the language has them: `host.os`, `host.git.branch` and the like. Knows their types
//! and words; does not know how one is found out.

use crate::facts::Fact;
use crate::lang::ty::Type;

/// A fact that an expression may ask for.
#[derive(Debug)]
pub(crate) struct FactEntry {
    /// Which one.
    pub(crate) fact: Fact,
    /// Its type as an author writes it.
    pub(crate) written: &'static str,
    /// What it says, in a sentence or two.
    pub(crate) doc: &'static str,
}

/// The groups of facts: members of `host` that have members.
pub(crate) const GROUPS: [&str; 2] = ["ci", "git"];

const OS: [&str; 2] = ["linux", "macos"];
const ARCH: [&str; 2] = ["amd64", "arm64"];

/// All facts, by name.
pub(crate) static FACTS: &[FactEntry] = &[
    FactEntry {
        fact: Fact::Arch,
        written: "\"amd64\" | \"arm64\"",
        doc: "The processor of the machine, as images name it.",
    },
    FactEntry {
        fact: Fact::CiEvent,
        written: "string?",
        doc: "What made the CI start this run, in its own words: `push`, `pull_request`, `schedule`. `none` outside of a CI, and where it does not say.",
    },
    FactEntry {
        fact: Fact::CiName,
        written: "string?",
        doc: "The CI that started this run: `azure`, `bitbucket`, `buildkite`, `circleci`, `gitea`, `github`, `gitlab`, `jenkins`, `woodpecker`, or `unknown` where only the variable `CI` is set. `none` outside of a CI.",
    },
    FactEntry {
        fact: Fact::CiPr,
        written: "int?",
        doc: "The number of the pull or merge request that is tested.",
    },
    FactEntry {
        fact: Fact::CiRun,
        written: "string?",
        doc: "What the CI calls this run: its number or id.",
    },
    FactEntry {
        fact: Fact::CiTrusted,
        written: "bool",
        doc: "Whether the commit comes from someone who may write to the repository: not from a fork. `true` outside of a CI; `false` in one that does not say. The variable KILN_TRUSTED, `true` or `false`, decides where the CI cannot.",
    },
    FactEntry {
        fact: Fact::Date,
        written: "string",
        doc: "The day in UTC when the run began, as in `2026-01-31`. What mentions it runs again every day.",
    },
    FactEntry {
        fact: Fact::GitBranch,
        written: "string?",
        doc: "The branch of the commit; where git is on none, what the CI says. `none` without a repository, and for what comes from a fork.",
    },
    FactEntry { fact: Fact::GitCommit, written: "string", doc: "The commit, as its 40 digits." },
    FactEntry {
        fact: Fact::GitDirty,
        written: "bool",
        doc: "Whether there is anything that is not in the commit, new files that git does not ignore among it.",
    },
    FactEntry {
        fact: Fact::GitRepo,
        written: "dir",
        doc: "The history, a git repository of the commit, all before it and their tags: `in host.git.repo`. It stands at `.git` unless `at` says otherwise. Edits that are not committed are not in it, and its branch is `host.git.branch`.",
    },
    FactEntry { fact: Fact::GitShort, written: "string", doc: "The first 7 digits of the commit." },
    FactEntry {
        fact: Fact::GitTag,
        written: "string?",
        doc: "The tag of the commit; of several, the one with the highest version. `none` without any.",
    },
    FactEntry {
        fact: Fact::Os,
        written: "\"linux\" | \"macos\"",
        doc: "The operating system of the machine.",
    },
];

/// Words that other tools use, and the fact that says the same.
const SYNONYMS: &[(&str, &str)] = &[
    ("architecture", "arch"),
    ("ci.id", "ci.run"),
    ("ci.number", "ci.run"),
    ("ci.pull_request", "ci.pr"),
    ("ci.provider", "ci.name"),
    ("cpu", "arch"),
    ("git.hash", "git.commit"),
    ("git.rev", "git.commit"),
    ("git.revision", "git.commit"),
    ("git.sha", "git.commit"),
    ("git.ref", "git.branch"),
    ("platform", "os"),
    ("system", "os"),
    ("today", "date"),
];

/// Returns the fact of that name, which stands after `host.`.
pub(crate) fn find(name: &str) -> Option<&'static FactEntry> {
    let fact = Fact::named(name)?;
    FACTS.iter().find(|entry| entry.fact == fact)
}

/// Returns the last words of the facts whose names begin with `group`, which is empty or ends with
/// a dot, and of the groups there.
pub(crate) fn members(group: &str) -> Vec<&'static str> {
    let facts = FACTS.iter().filter_map(|entry| entry.fact.name().strip_prefix(group));
    let mut members: Vec<_> = facts.filter(|name| !name.contains('.')).collect();
    if group.is_empty() {
        members.extend(GROUPS);
        members.push("tool");
    }
    members.sort_unstable();
    members
}

/// Returns all facts of a group with their types, a line each: of `host.git`, say.
pub(crate) fn group(name: &str) -> Option<String> {
    let group = name.strip_prefix("host.").filter(|group| GROUPS.contains(group))?;
    let facts = FACTS.iter().filter(|entry| {
        entry.fact.name().strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
    });
    let line = |entry: &FactEntry| format!("{}: {}", entry.fact.full_name(), entry.written);
    Some(facts.map(line).collect::<Vec<_>>().join("\n"))
}

/// Returns the last word of the fact that says what another tool calls `name`.
pub(crate) fn synonym(name: &str) -> Option<&'static str> {
    let (_, own) = SYNONYMS.iter().find(|(word, _)| *word == name)?;
    own.rsplit('.').next()
}

impl FactEntry {
    /// Returns the type of its value.
    pub(crate) fn ty(&self) -> Type {
        let texts = |texts: [&str; 2]| Type::Enum(texts.map(str::to_owned).to_vec());
        match self.fact {
            Fact::Os => texts(OS),
            Fact::Arch => texts(ARCH),
            Fact::CiTrusted | Fact::GitDirty => Type::Bool,
            Fact::CiPr => Type::optional(Type::INT),
            Fact::GitRepo => Type::Dir,
            Fact::Date | Fact::GitCommit | Fact::GitShort => Type::String,
            Fact::CiEvent | Fact::CiName | Fact::CiRun | Fact::GitBranch | Fact::GitTag => {
                Type::optional(Type::String)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_has_its_words_and_is_written_as_its_type_reads() {
        for (name, fact) in Fact::ALL {
            let entry = find(name).unwrap();
            assert_eq!(entry.fact, fact);
            assert_eq!(entry.ty().to_string(), entry.written, "{name}");
            assert!(!SYNONYMS.iter().any(|(word, _)| *word == name), "{name}");
        }
        assert!(FACTS.is_sorted_by_key(|entry| entry.fact.name()));
        assert!(SYNONYMS.iter().all(|(_, own)| find(own).is_some()));
    }

    #[test]
    fn members_are_named_by_their_last_word() {
        assert_eq!(members(""), ["arch", "ci", "date", "git", "os", "tool"]);
        assert_eq!(members("git."), ["branch", "commit", "dirty", "repo", "short", "tag"]);
        assert_eq!(synonym("git.sha"), Some("commit"));
        assert_eq!(group("host.git").unwrap().lines().next(), Some("host.git.branch: string?"));
        assert_eq!(group("host.g"), None);
    }
}
