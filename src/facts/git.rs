//! What `git` says of the project. Knows its commands; does not know the CI that checked it out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::history::History;
use super::{Finding, text};
use crate::process;

/// How long `git` may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many digits of a commit are its short form.
const SHORT: usize = 7;

/// Variables that would let git look at another repository than the project's.
const ELSEWHERE: [&str; 3] = ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"];

/// The repository that the project is.
pub(super) struct Git<'a> {
    root: &'a Path,
    environment: &'a BTreeMap<String, OsString>,
}

/// What git answered, or why there is no answer.
type Answer = Result<Said, Finding>;

struct Said {
    /// What it ended with; `None` if a signal ended it.
    code: Option<i32>,
    text: String,
    /// The first line of what it complained of.
    complaint: String,
}

impl<'a> Git<'a> {
    /// Returns the repository of the project at `root`, whether there is one or not.
    pub(super) fn new(root: &'a Path, environment: &'a BTreeMap<String, OsString>) -> Self {
        Self { root, environment }
    }

    /// The branch; on none, what the CI says.
    pub(super) fn branch(&self, of_ci: Option<String>) -> Finding {
        if !self.is_there() {
            return text(of_ci);
        }
        match self.ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]) {
            Ok(Said { code: Some(0), text, .. }) => Finding::Text(text.trim_end().to_owned()),
            // A CI checks out a commit, and knows of which branch.
            Ok(Said { code: Some(1), .. }) => text(of_ci),
            Ok(said) => said.unknown(),
            Err(unknown) => unknown,
        }
    }

    /// The tag of the commit; of several, the one with the highest version. Without any, what the CI
    /// says.
    pub(super) fn tag(&self, of_ci: Option<String>) -> Finding {
        if !self.is_there() {
            return text(of_ci);
        }
        match self.head() {
            Ok(Some(_)) => {}
            Ok(None) => return text(of_ci),
            Err(unknown) => return unknown,
        }
        match self.ask(&["tag", "--points-at", "HEAD", "--sort=-version:refname"]) {
            Ok(Said { code: Some(0), text: tags, .. }) => match tags.lines().next() {
                Some(tag) => Finding::Text(tag.to_owned()),
                None => text(of_ci),
            },
            Ok(said) => said.unknown(),
            Err(unknown) => unknown,
        }
    }

    /// The digits that name the commit.
    pub(super) fn commit(&self) -> Finding {
        if !self.is_there() {
            return none_there();
        }
        match self.head() {
            Ok(Some(commit)) => Finding::Text(commit),
            Ok(None) => {
                Finding::unknown("its repository has no commit yet", "commit something: git commit")
            }
            Err(unknown) => unknown,
        }
    }

    /// The first digits of the commit.
    pub(super) fn short(&self) -> Finding {
        match self.commit() {
            Finding::Text(mut commit) => {
                commit.truncate(SHORT);
                Finding::Text(commit)
            }
            unknown => unknown,
        }
    }

    /// Whether there is anything that is not in the commit, new files that are not ignored among it.
    pub(super) fn dirty(&self) -> Finding {
        if !self.is_there() {
            return none_there();
        }
        match self.ask(&["status", "--porcelain", "--untracked-files=normal"]) {
            // It may have had more to say than is read, and was ended by that.
            Ok(Said { code, text, .. }) if code == Some(0) || !text.is_empty() => {
                Finding::Flag(!text.is_empty())
            }
            Ok(said) => said.unknown(),
            Err(unknown) => unknown,
        }
    }

    /// The history, as [`super::history`] describes one.
    pub(super) fn history(&self, of_ci: Option<String>) -> Finding {
        let commit = match self.commit() {
            Finding::Text(commit) => commit,
            unknown => return unknown,
        };
        let branch = match self.branch(of_ci) {
            Finding::Text(branch) => Some(branch),
            Finding::Unknown { why, help } => return Finding::Unknown { why, help },
            _ => None,
        };
        let tags =
            ["for-each-ref", "--merged=HEAD", "--format=%(objectname) %(refname)", "refs/tags"];
        let tags = match self.ask(&tags) {
            Ok(Said { code: Some(0), text, .. }) => text,
            Ok(said) => return said.unknown(),
            Err(unknown) => return unknown,
        };
        let ends = match self.ends() {
            Ok(ends) => ends,
            Err(unknown) => return unknown,
        };
        let tags = tags.lines().filter_map(|line| line.split_once(' '));
        let tags = tags.map(|(id, name)| (name.to_owned(), id.to_owned())).collect();
        Finding::Text(History { commit, branch, tags, ends }.to_string())
    }

    /// The commits before which a shallow clone has nothing; none in a whole one.
    fn ends(&self) -> Result<BTreeSet<String>, Finding> {
        let said = self.ask(&["rev-parse", "--git-path", "shallow"])?;
        if said.code != Some(0) {
            return Err(said.unknown());
        }
        let path = self.root.join(said.text.trim_end());
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => {
                let why = format!("`{}` cannot be read: {error}", path.display());
                Err(Finding::unknown(why, "`git fsck` in the project says more"))
            }
        }
    }

    /// Whether there is a repository: a folder with a head, or the file of a linked working tree.
    fn is_there(&self) -> bool {
        let git = self.root.join(".git");
        git.is_file() || git.join("HEAD").exists()
    }

    /// The commit; `None` in a repository without any.
    fn head(&self) -> Result<Option<String>, Finding> {
        let said = self.ask(&["rev-parse", "--quiet", "--verify", "HEAD^{commit}"])?;
        match said.code {
            Some(0) => Ok(Some(said.text.trim_end().to_owned())),
            Some(1) => Ok(None),
            _ => Err(said.unknown()),
        }
    }

    fn ask(&self, arguments: &[&str]) -> Answer {
        let environment = environment_of_git(self.environment);
        let ended = process::run(Path::new("git"), arguments, self.root, &environment, PATIENCE);
        let ended = ended.map_err(|error| {
            let why = format!("`git` cannot be run: {error}");
            Finding::unknown(why, "install git, or add its folder to PATH")
        })?;
        let complaint = String::from_utf8_lossy(&ended.stderr);
        let complaint = complaint.lines().next().unwrap_or_default();
        Ok(Said {
            code: ended.status.code(),
            text: String::from_utf8_lossy(&ended.stdout).into_owned(),
            complaint: complaint.strip_prefix("fatal: ").unwrap_or(complaint).to_owned(),
        })
    }
}

/// Returns what git is run in.
pub(super) fn environment_of_git(
    environment: &BTreeMap<String, OsString>,
) -> BTreeMap<String, OsString> {
    let mut environment = environment.clone();
    // What is given to Kiln, such as secrets, is not for git and what it may start.
    let is_others = |name: &str| !ELSEWHERE.contains(&name) && !name.starts_with("KILN_");
    environment.retain(|name, _| is_others(name));
    // To look at a repository changes nothing in it.
    environment.insert("GIT_OPTIONAL_LOCKS".to_owned(), "0".into());
    environment.insert("LC_ALL".to_owned(), "C".into());
    environment
}

impl Said {
    /// That git failed in a way that answers nothing.
    fn unknown(self) -> Finding {
        let why = match self.complaint.as_str() {
            "" => "git ended without an answer".to_owned(),
            complaint => format!("git says: {complaint}"),
        };
        Finding::unknown(why, "`git status` in the project says more")
    }
}

fn none_there() -> Finding {
    Finding::unknown(
        "the project is no git repository",
        "make it one, `git init`, and commit; or take the value from outside: param name: string",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository, and what `git` is run in.
    struct Repository {
        folder: tempfile::TempDir,
        environment: BTreeMap<String, OsString>,
    }

    impl Repository {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let environment = ["AUTHOR", "COMMITTER"].into_iter().flat_map(|who| {
                [("NAME", "A"), ("EMAIL", "a@example.org")]
                    .map(|(what, value)| (format!("GIT_{who}_{what}"), value.into()))
            });
            let mut environment: BTreeMap<String, OsString> = environment.collect();
            environment.insert("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into());
            environment.insert("HOME".into(), folder.path().into());
            Self { folder, environment }
        }

        fn git(&self, line: &str) {
            let arguments: Vec<_> = line.split(' ').collect();
            let git = Path::new("git");
            let ended =
                process::run(git, &arguments, self.folder.path(), &self.environment, PATIENCE);
            let ended = ended.unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }

        fn asked(&self) -> Git<'_> {
            Git::new(self.folder.path(), &self.environment)
        }
    }

    fn found(text: &str) -> Finding {
        Finding::Text(text.to_owned())
    }

    fn why(finding: &Finding) -> &str {
        match finding {
            Finding::Unknown { why, .. } => why,
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn a_commit_has_its_digits_its_branch_and_its_highest_tag() {
        let repository = Repository::new();
        repository.git("init --quiet --initial-branch=trunk");
        repository.git("commit --quiet --allow-empty --message=first");
        let git = repository.asked();
        assert_eq!(git.branch(Some("other".into())), found("trunk"));
        assert_eq!(git.tag(None), Finding::Absent);
        assert_eq!(git.tag(Some("v0".into())), found("v0"), "the CI knows it");
        for tag in ["v1.2", "v1.10"] {
            repository.git(&format!("tag {tag}"));
        }
        assert_eq!(git.tag(Some("v0".into())), found("v1.10"));
        let (Finding::Text(commit), Finding::Text(short)) = (git.commit(), git.short()) else {
            panic!("{:?} {:?}", git.commit(), git.short());
        };
        assert!(commit.len() == 40 && commit.starts_with(&short) && short.len() == 7);
        repository.git("checkout --quiet --detach");
        assert_eq!(git.branch(Some("of-ci".into())), found("of-ci"));
        assert_eq!(git.branch(None), Finding::Absent);
    }

    #[test]
    fn a_history_is_that_of_the_commit_with_the_tags_before_it() {
        let repository = Repository::new();
        repository.git("init --quiet --initial-branch=trunk");
        for tag in ["v1", "v2"] {
            std::fs::write(repository.folder.path().join("file"), tag).unwrap();
            repository.git("add file");
            repository.git(&format!("commit --quiet --message={tag}"));
            repository.git(&format!("tag --annotate --message=x {tag}"));
        }
        // A tag elsewhere is no part of it.
        repository.git("checkout --quiet -b other");
        repository.git("commit --quiet --allow-empty --message=other");
        repository.git("tag elsewhere");
        repository.git("checkout --quiet trunk");
        repository.git("commit --quiet --allow-empty --message=last");
        let at = tempfile::tempdir().unwrap();
        let ask = |at: &Path, line: &str| {
            let files = tempfile::tempdir().unwrap();
            let (repo, files) = (
                format!("--git-dir={}", at.display()),
                format!("--work-tree={}", files.path().display()),
            );
            let arguments: Vec<_> = [&*repo, &*files].into_iter().chain(line.split(' ')).collect();
            let environment = &repository.environment;
            let said =
                process::run(Path::new("git"), &arguments, Path::new("/"), environment, PATIENCE);
            let said = said.unwrap();
            assert!(said.status.success(), "{line}: {}", String::from_utf8_lossy(&said.stderr));
            String::from_utf8(said.stdout).unwrap()
        };
        let history = |repository: &Repository| match repository.asked().history(None) {
            Finding::Text(text) => History::parse(&text),
            finding => panic!("{finding:?}"),
        };
        let found = history(&repository);
        found.write(repository.folder.path(), &repository.environment, at.path()).unwrap();
        assert_eq!(ask(at.path(), "log --format=%s"), "last\nv2\nv1\n");
        assert_eq!(ask(at.path(), "tag"), "v1\nv2\n");
        assert!(ask(at.path(), "describe --dirty").starts_with("v2-1-g"), "no edit is in it");
        assert_eq!(ask(at.path(), "rev-parse --abbrev-ref HEAD"), "trunk\n");
        assert_eq!(ask(at.path(), "show v1:file"), "v1");
        assert_eq!(ask(at.path(), "status --porcelain") + &ask(at.path(), "ls-files"), "file\n");
        ask(at.path(), "fsck --strict");
        // One without its beginning, on no branch.
        let shallow = Repository::new();
        shallow.git("init --quiet");
        let far = format!("file://{}", repository.folder.path().display());
        shallow.git(&format!("fetch --quiet --depth=2 {far} trunk"));
        shallow.git("checkout --quiet --detach FETCH_HEAD");
        let found = history(&shallow);
        assert_eq!((found.ends.len(), &found.branch), (1, &None));
        let at = tempfile::tempdir().unwrap();
        found.write(shallow.folder.path(), &shallow.environment, at.path()).unwrap();
        assert_eq!(ask(at.path(), "log --format=%s"), "last\nv2\n");
        assert_eq!(ask(at.path(), "rev-parse --abbrev-ref HEAD"), "HEAD\n");
        ask(at.path(), "fsck --strict");
    }

    #[test]
    fn a_history_may_be_of_commits_with_64_digits() {
        let repository = Repository::new();
        repository.git("init --quiet --object-format=sha256");
        repository.git("commit --quiet --allow-empty --message=first");
        let Finding::Text(text) = repository.asked().history(None) else { panic!("no history") };
        let at = tempfile::tempdir().unwrap();
        let history = History::parse(&text);
        history.write(repository.folder.path(), &repository.environment, at.path()).unwrap();
        let environment = environment_of_git(&repository.environment);
        let log = ["--git-dir=.", "log", "--format=%s"];
        let said = process::run(Path::new("git"), &log, at.path(), &environment, PATIENCE).unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "first\n");
    }

    #[test]
    fn a_history_that_is_gone_is_an_error_with_what_git_says() {
        let repository = Repository::new();
        repository.git("init --quiet");
        let gone = History { commit: "1".repeat(40), ..History::default() };
        let at = tempfile::tempdir().unwrap();
        let error = gone.write(repository.folder.path(), &repository.environment, at.path());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("git says: ") && error.contains("1111111"), "{error}");
        assert!(matches!(repository.asked().history(None), Finding::Unknown { .. }));
    }

    #[test]
    fn new_files_make_a_repository_dirty_and_ignored_ones_do_not() {
        let repository = Repository::new();
        repository.git("init --quiet");
        let write = |name: &str, text: &str| {
            std::fs::write(repository.folder.path().join(name), text).unwrap();
        };
        write(".gitignore", "*.o\n");
        repository.git("add .gitignore");
        repository.git("commit --quiet --message=first");
        let git = repository.asked();
        write("a.o", "");
        assert_eq!(git.dirty(), Finding::Flag(false));
        write("a.c", "");
        assert_eq!(git.dirty(), Finding::Flag(true));
        for at in 0..3_000 {
            write(&format!("{at:0>200}{}", "x".repeat(40)), "");
        }
        assert_eq!(git.dirty(), Finding::Flag(true), "more than is read");
    }

    #[test]
    fn where_git_knows_nothing_it_says_why() {
        let mut repository = Repository::new();
        assert_eq!(why(&repository.asked().commit()), "the project is no git repository");
        assert_eq!(why(&repository.asked().dirty()), "the project is no git repository");
        assert_eq!(repository.asked().branch(None), Finding::Absent);
        repository.git("init --quiet --initial-branch=trunk");
        assert_eq!(repository.asked().branch(None), found("trunk"));
        assert_eq!(repository.asked().tag(None), Finding::Absent);
        assert_eq!(why(&repository.asked().short()), "its repository has no commit yet");
        std::fs::write(repository.folder.path().join(".git/config"), "[core\n").unwrap();
        for finding in [repository.asked().branch(None), repository.asked().tag(None)] {
            assert!(why(&finding).starts_with("git says: bad config line 1"), "{finding:?}");
        }
        repository.environment.insert("PATH".into(), "/nowhere".into());
        assert!(why(&repository.asked().branch(None)).starts_with("`git` cannot be run"));
    }

    #[test]
    fn another_repository_in_the_environment_is_not_looked_at() {
        let mut repository = Repository::new();
        repository.git("init --quiet --initial-branch=trunk");
        repository.environment.insert("GIT_DIR".into(), "/nowhere".into());
        assert_eq!(repository.asked().branch(None), found("trunk"));
    }
}
