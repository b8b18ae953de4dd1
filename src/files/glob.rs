//! Globs: patterns over project paths. Knows what a pattern matches and which folders have to be
//! listed; does not know why the files are wanted.
//!
//! `*` and `?` match within a name, `**` any number of folders, `[a-c]` one character of a set and
//! `{a,b}` either. Never matched: `.git`, `.kiln` and the out folder; dotfiles unless the pattern
//! has a name that begins with a dot there; what git ignores, unless asked or named without a
//! wildcard. Links are matched as links; links to folders are not followed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use globset::{GlobBuilder, GlobMatcher};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{Entry, EntryKind, Files, below, join, parent, project_path};

/// The most alternatives that the braces of one pattern may make.
const MAX_ALTERNATIVES: usize = 1024;

/// Names that no pattern matches.
const NEVER: [&str; 2] = [".git", ".kiln"];

/// A glob as written, made ready.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Its alternatives without braces, as project patterns.
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug)]
struct Alternative {
    /// The folder above the first wildcard, or the whole path where there is none.
    base: String,
    /// The names below `base`, one matcher each; empty for a plain path.
    names: Vec<NamePattern>,
}

#[derive(Clone, Debug)]
enum NamePattern {
    /// `**`: any number of folders.
    AnyDepth,
    /// A name with or without wildcards, and whether it begins with a dot.
    Name(Box<GlobMatcher>, bool),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GlobError {
    /// It leaves the project.
    #[error("leaves the project")]
    LeavesProject,
    /// It is not well-formed.
    #[error("is not a glob: {0}")]
    Malformed(String),
    /// A folder could not be listed.
    #[error("cannot be searched: {0}")]
    Unreadable(String),
    /// It matches something that is neither a file, a folder nor a link, or whose name is not UTF-8.
    #[error("matches `{0}`, which is not a regular file with a UTF-8 name")]
    Odd(String),
}

impl Pattern {
    /// Returns the pattern that `text` means in a file of `folder`.
    ///
    /// # Errors
    /// If it is malformed or leaves the project.
    pub(crate) fn new(folder: &str, text: &str) -> Result<Self, GlobError> {
        let alternatives = expand_braces(text)?
            .iter()
            .map(|text| {
                Alternative::new(&project_path(folder, text).ok_or(GlobError::LeavesProject)?)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Returns whether the pattern matches a project path.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(path))
    }
}

impl Alternative {
    fn new(path: &str) -> Result<Self, GlobError> {
        let is_wild = |name: &str| name.contains(['*', '?', '[']);
        let parts: Vec<&str> = path.split('/').collect();
        let Some(wild) = parts.iter().position(|name| is_wild(name)) else {
            return Ok(Self { base: path.to_owned(), names: Vec::new() });
        };
        let names =
            parts[wild..].iter().map(|name| NamePattern::new(name)).collect::<Result<_, _>>()?;
        Ok(Self { base: parts[..wild].join("/"), names })
    }

    fn matches(&self, path: &str) -> bool {
        match below(&self.base, path) {
            Some(rest) if self.names.is_empty() => rest.is_empty(),
            Some(rest) if !rest.is_empty() => {
                let rest: Vec<&str> = rest.split('/').collect();
                let mut states = States::start(&self.names);
                rest.iter().all(|name| states.step(&self.names, name)) && states.is_end(&self.names)
            }
            _ => false,
        }
    }
}

impl NamePattern {
    fn new(name: &str) -> Result<Self, GlobError> {
        if name == "**" {
            return Ok(Self::AnyDepth);
        }
        if name.contains("**") {
            let text = "`**` stands alone between slashes".to_owned();
            return Err(GlobError::Malformed(text));
        }
        let glob = GlobBuilder::new(name)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| GlobError::Malformed(error.kind().to_string()))?;
        Ok(Self::Name(Box::new(glob.compile_matcher()), name.starts_with('.')))
    }
}

/// Which places in a pattern a path has reached, as a set of bits. Matching is linear: the set moves
/// one name at a time and never tries a name twice.
#[derive(Clone)]
struct States(Vec<bool>);

impl States {
    fn start(names: &[NamePattern]) -> Self {
        let mut states = Self(vec![false; names.len() + 1]);
        states.0[0] = true;
        states.skip(names);
        states
    }

    /// `**` matches no folder too.
    fn skip(&mut self, names: &[NamePattern]) {
        for (at, name) in names.iter().enumerate() {
            if self.0[at] && matches!(name, NamePattern::AnyDepth) {
                self.0[at + 1] = true;
            }
        }
    }

    /// Moves over one name; returns whether any place is left.
    fn step(&mut self, names: &[NamePattern], name: &str) -> bool {
        let is_dotted = name.starts_with('.');
        let mut next = vec![false; self.0.len()];
        for (at, pattern) in names.iter().enumerate().filter(|(at, _)| self.0[*at]) {
            match pattern {
                NamePattern::AnyDepth if !is_dotted => next[at] = true,
                NamePattern::Name(glob, names_dot)
                    if (!is_dotted || *names_dot) && glob.is_match(name) =>
                {
                    next[at + 1] = true;
                }
                _ => {}
            }
        }
        self.0 = next;
        self.skip(names);
        self.0.contains(&true)
    }

    fn is_end(&self, _names: &[NamePattern]) -> bool {
        self.0.last() == Some(&true)
    }

    /// Returns whether more names could follow.
    fn can_go_on(&self) -> bool {
        self.0[..self.0.len() - 1].contains(&true)
    }
}

/// Returns the texts that the braces of `text` stand for; nested braces are allowed.
fn expand_braces(text: &str) -> Result<Vec<String>, GlobError> {
    let mut done = Vec::new();
    let mut open = vec![text.to_owned()];
    while let Some(text) = open.pop() {
        let Some((start, end, commas)) = first_braces(&text)? else {
            done.push(text);
            continue;
        };
        let mut bounds = vec![start];
        bounds.extend(commas);
        bounds.push(end);
        for pair in bounds.windows(2).rev() {
            open.push(format!(
                "{}{}{}",
                &text[..start],
                &text[pair[0] + 1..pair[1]],
                &text[end + 1..]
            ));
        }
        if done.len() + open.len() > MAX_ALTERNATIVES {
            let text = format!("its braces make more than {MAX_ALTERNATIVES} alternatives");
            return Err(GlobError::Malformed(text));
        }
    }
    Ok(done)
}

/// Returns where the first outermost braces open and close, and the commas between them.
fn first_braces(text: &str) -> Result<Option<(usize, usize, Vec<usize>)>, GlobError> {
    let (mut start, mut depth, mut commas) = (0, 0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b',' if depth == 1 => commas.push(at),
            b'}' if depth == 1 => return Ok(Some((start, at, commas))),
            b'}' if depth == 0 => {
                return Err(GlobError::Malformed("`}` closes nothing".to_owned()));
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
    match depth {
        0 => Ok(None),
        _ => Err(GlobError::Malformed("`{` is not closed".to_owned())),
    }
}

/// What to take of the matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Also what git ignores.
    pub(crate) with_ignored: bool,
}

/// Finds files; remembers folders and git's ignore files, so that many patterns list each folder
/// once.
pub(crate) struct Globber<'a> {
    files: &'a dyn Files,
    /// Project paths of folders that no pattern enters: the out folder.
    excluded: Vec<String>,
    folders: Mutex<HashMap<String, Arc<Listing>>>,
}

/// A folder as seen.
struct Listing {
    /// What stands in it, or why it could not be listed.
    entries: Result<Vec<Entry>, String>,
    /// The ignore rules from the root down to here, the nearest last.
    ignores: Vec<Arc<Gitignore>>,
}

impl<'a> Globber<'a> {
    /// Returns a globber over `files` that never enters `excluded`, project paths.
    pub(crate) fn new(files: &'a dyn Files, excluded: Vec<String>) -> Self {
        Self { files, excluded, folders: Mutex::new(HashMap::new()) }
    }

    /// Returns what stands at a project path.
    pub(crate) fn kind(&self, path: &str) -> Option<EntryKind> {
        self.files.kind(path)
    }

    /// Returns the names in a folder, sorted; none if it cannot be listed.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let listing = self.listing(folder);
        listing.entries.iter().flatten().map(|entry| entry.name.clone()).collect()
    }

    /// Returns the project paths of the files and links that `pattern` matches, sorted.
    ///
    /// # Errors
    /// If a folder cannot be listed or an odd file matches.
    pub(crate) fn find(
        &self,
        pattern: &Pattern,
        selection: Selection,
    ) -> Result<Vec<String>, GlobError> {
        let mut found = Vec::new();
        for alternative in &pattern.alternatives {
            if alternative.names.is_empty() {
                self.find_plain(&alternative.base, &mut found)?;
            } else if self.is_enterable(&alternative.base) {
                let states = States::start(&alternative.names);
                self.walk(alternative, selection, states, &mut found)?;
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn find_plain(&self, path: &str, found: &mut Vec<String>) -> Result<(), GlobError> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let listing = match self.is_enterable(parent(path)) && !NEVER.contains(&name) {
            true => self.listing(parent(path)),
            false => return Ok(()),
        };
        let entries = listing.entries.as_deref().unwrap_or_default();
        let Ok(at) = entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) else {
            return Ok(());
        };
        match entries[at].kind {
            EntryKind::File | EntryKind::Link => found.push(path.to_owned()),
            EntryKind::Odd => return Err(GlobError::Odd(path.to_owned())),
            EntryKind::Folder => {}
        }
        Ok(())
    }

    /// Returns whether patterns may enter a folder.
    fn is_enterable(&self, folder: &str) -> bool {
        !folder.split('/').any(|name| NEVER.contains(&name))
            && !self.excluded.iter().any(|excluded| below(excluded, folder).is_some())
            && self.has_no_link(folder)
    }

    fn has_no_link(&self, folder: &str) -> bool {
        folder.is_empty()
            || (self.files.kind(folder) == Some(EntryKind::Folder)
                && self.has_no_link(parent(folder)))
    }

    fn walk(
        &self,
        alternative: &Alternative,
        selection: Selection,
        states: States,
        found: &mut Vec<String>,
    ) -> Result<(), GlobError> {
        let mut open = vec![(alternative.base.clone(), states)];
        while let Some((folder, states)) = open.pop() {
            let listing = self.listing(&folder);
            let entries =
                listing.entries.as_ref().map_err(|error| GlobError::Unreadable(error.clone()))?;
            for entry in entries.iter().filter(|entry| !NEVER.contains(&entry.name.as_str())) {
                let mut states = states.clone();
                if !states.step(&alternative.names, &entry.name) {
                    continue;
                }
                let path = join(&folder, &entry.name);
                let is_folder = entry.kind == EntryKind::Folder;
                let is_out = self.excluded.contains(&path);
                if is_out
                    || (!selection.with_ignored && is_ignored(&listing.ignores, &path, is_folder))
                {
                    continue;
                }
                match entry.kind {
                    EntryKind::Folder if states.can_go_on() => open.push((path, states)),
                    EntryKind::Folder => {}
                    _ if !states.is_end(&alternative.names) => {}
                    EntryKind::File | EntryKind::Link => found.push(path),
                    EntryKind::Odd => return Err(GlobError::Odd(path)),
                }
            }
        }
        Ok(())
    }

    fn listing(&self, folder: &str) -> Arc<Listing> {
        if let Some(listing) = self.lock().get(folder) {
            return Arc::clone(listing);
        }
        let entries = self.files.list(folder).map_err(|error| error.to_string());
        let mut ignores = match folder.is_empty() {
            true => Vec::new(),
            false => self.listing(parent(folder)).ignores.clone(),
        };
        let has_ignores = entries.iter().flatten().any(|entry| entry.name == ".gitignore");
        if let Some(rules) = has_ignores.then(|| self.ignore_rules(folder)).flatten() {
            ignores.push(Arc::new(rules));
        }
        let listing = Arc::new(Listing { entries, ignores });
        self.lock().insert(folder.to_owned(), Arc::clone(&listing));
        listing
    }

    /// Rules that cannot be read or parsed ignore nothing, as git has it.
    fn ignore_rules(&self, folder: &str) -> Option<Gitignore> {
        let bytes = self.files.read(&join(folder, ".gitignore"), 1 << 20).ok()?;
        // The builder wants an absolute root; only the paths below it matter.
        let mut builder = GitignoreBuilder::new(format!("/{folder}"));
        for line in String::from_utf8_lossy(&bytes).lines() {
            let _ = builder.add_line(None, line);
        }
        builder.build().ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Listing>>> {
        self.folders.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The nearest rule decides; a folder that is ignored is never entered, so parents need no look.
fn is_ignored(ignores: &[Arc<Gitignore>], path: &str, is_folder: bool) -> bool {
    let path = format!("/{path}");
    for rules in ignores.iter().rev() {
        let decision = rules.matched(&path, is_folder);
        if !decision.is_none() {
            return decision.is_ignore();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    const PROJECT: &[&str] = &[
        ".git/config",
        ".kiln/x.c",
        ".github/ci.yml",
        ".hidden.c",
        "a.c",
        "b.h",
        "out/a.c",
        "src/.x.c",
        "src/c.c",
        "src/deep/d.c",
        "src/deep/e.h",
        "target/t.c",
        "src/target/u.c",
    ];

    fn find(folder: &str, pattern: &str, with_ignored: bool) -> Result<Vec<String>, GlobError> {
        let mut files = Memory::default();
        PROJECT.iter().for_each(|path| files.insert(*path, *b""));
        files.insert(".gitignore", "/target\n*.h\n");
        files.insert("src/.gitignore", "!e.h\n");
        let globber = Globber::new(&files, vec!["out".into()]);
        globber.find(&Pattern::new(folder, pattern)?, Selection { with_ignored })
    }

    #[test]
    fn patterns_match_what_they_say() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("", "*.c", &["a.c"]),
            ("", "**/*.c", &["a.c", "src/c.c", "src/deep/d.c", "src/target/u.c"]),
            ("", "**", &["a.c", "src/c.c", "src/deep/d.c", "src/deep/e.h", "src/target/u.c"]),
            ("src", "*.c", &["src/c.c"]),
            ("src", "/a.{c,h}", &["a.c"]),
            ("src", "../[ab].?", &["a.c"]),
            ("", "src/**/*.{c,h}", &["src/c.c", "src/deep/d.c", "src/deep/e.h", "src/target/u.c"]),
            ("", ".*.c", &[".hidden.c"]),
            ("", "**/.x.c", &["src/.x.c"]),
            ("", ".github/*", &[".github/ci.yml"]),
            ("", "b.h", &["b.h"]),
            ("", "{a.c,b.h,nothing}", &["a.c", "b.h"]),
            ("", "out/*", &[]),
            ("", ".git/config", &[]),
            ("", "src", &[]),
        ];
        for (folder, pattern, expected) in cases {
            assert_eq!(find(folder, pattern, false).unwrap(), *expected, "{folder} {pattern}");
        }
        assert_eq!(find("", "*.h", true).unwrap(), ["b.h"]);
    }

    #[test]
    fn matching_a_path_agrees_with_walking() {
        for pattern in ["**/*.c", "src/**", "*.{c,h}", "src/*/d.c", "**", ".*", "a.c"] {
            let compiled = Pattern::new("", pattern).unwrap();
            for path in find("", pattern, true).unwrap() {
                assert!(compiled.matches(&path), "{pattern} {path}");
            }
            assert!(
                !compiled.matches("src/deep/no/such.txt2")
                    || pattern.starts_with("src/**")
                    || pattern == "**"
            );
        }
    }

    #[test]
    fn bad_patterns_say_why() {
        for (pattern, words) in [
            ("../x", "leaves the project"),
            ("a{b", "`{` is not closed"),
            ("a}b", "`}` closes nothing"),
            ("[a", "unclosed character class"),
            ("a**b", "`**` stands alone"),
            ("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "more than 1024"),
        ] {
            let error = find("", pattern, false).unwrap_err().to_string();
            assert!(error.contains(words), "{pattern}: {error}");
        }
    }

    #[test]
    fn many_stars_stay_linear() {
        let pattern = Pattern::new("", &"**/a*/".repeat(60)).unwrap();
        assert!(!pattern.matches(&vec!["ab"; 2000].join("/")) || pattern.alternatives.len() == 1);
    }
}
