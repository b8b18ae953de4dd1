//! The snapshot: the workspace as the last run left it. Knows the project's files, the compiled
//! plan and what each step came to; does not know the language that made the plan, nor the store.
//!
//! It is one file, read in one go and replaced as a whole. A snapshot that is torn, or of another
//! version of Kiln, is as good as none: it only ever saves work. Layout: a line with the version,
//! a table of the parts' lengths and digests, the parts. A part is read when it is first needed, so
//! a run that finds nothing to do never reads the plan.

pub(crate) mod memory;
pub(crate) mod watched;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::event::What;
use crate::facts::{Fact, Facts, Finding};
use crate::files::Files;
use crate::plan::Plan;
use crate::plan::step::{Place, SkippedStep, StepKind};

use memory::{Clock, Memory, Record, Stat, Taken};
use watched::Notes;

/// Grows when the layout changes.
const VERSION: &str = "kiln snapshot 3";

/// How many runs that ended well are remembered, each for another set of stages.
const MAX_CLEAN: usize = 8;

/// The parts of the file, in order.
const PARTS: usize = 5;
const STATE: usize = 0;
const CLEAN: usize = 1;
const STEPS: usize = 2;
const PLAN: usize = 3;
const INGREDIENTS: usize = 4;

/// The workspace as last seen.
pub(crate) struct Snapshot {
    file: PathBuf,
    root: PathBuf,
    memory: Memory,
    state: State,
    parts: Parts,
}

/// The parts of the file.
#[derive(Default)]
struct Parts {
    /// The file, which another Kiln may have replaced meanwhile; `None` where there was none.
    file: Option<File>,
    /// Where each part lies in it, and its digest, which is looked at when the part is.
    places: [(u64, usize, [u8; 32]); PARTS],
    /// New parts that take the place of those in the file.
    new: [Option<Vec<u8>>; PARTS],
}

/// What is looked at in every run.
#[derive(Default, Serialize, Deserialize)]
struct State {
    files: BTreeMap<Box<str>, Record>,
    taken: BTreeMap<Box<str>, Taken>,
    /// What the plan was made from; `None` if there is no plan.
    made_from: Option<MadeFrom>,
    tools: BTreeMap<String, ToolMemory>,
}

/// What a plan was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MadeFrom {
    /// The digest of all that is given: the version of Kiln, the pipeline's file, params.
    pub(crate) settings: Digest,
    /// The facts of the machine that it asked for.
    pub(crate) facts: BTreeMap<Fact, Finding>,
    /// What it read of the project.
    pub(crate) notes: Notes,
}

/// A plan that was made in a run, as its bytes.
#[derive(Debug)]
pub(crate) struct NewPlan {
    pub(crate) plan: Vec<u8>,
    pub(crate) made_from: MadeFrom,
}

/// A tool of the machine as it was found, and what its place depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToolMemory {
    /// The digest of the variables that decide about it.
    pub(crate) environment: Digest,
    /// Paths and what stood there. Serde takes no `PathBuf` that is not UTF-8.
    pub(crate) watched: Vec<(OsString, Option<Stat>)>,
    /// The folders to put into the `PATH`.
    pub(crate) path: Vec<String>,
    /// The paths of the machine that it needs.
    pub(crate) paths: Vec<OsString>,
    /// What names it in keys.
    pub(crate) digest: Digest,
}

/// A run of which nothing was left to do, and nothing failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Clean {
    /// What was asked for: stages, folder for outs, sandbox.
    pub(crate) request: Digest,
    /// The machine's system directories.
    pub(crate) host: Digest,
    /// The tools of the machine that its steps use.
    pub(crate) tools: Vec<(String, Digest)>,
    /// Its steps, in the order in which they finished.
    pub(crate) steps: Vec<CleanStep>,
    /// What is no step of it, since a condition does not hold.
    pub(crate) skipped: Vec<SkippedStep>,
    /// The paths that it wrote in the project, whatever bytes their names have.
    pub(crate) outs: Vec<(OsString, Stat)>,
}

/// A step of a clean run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanStep {
    /// Its name.
    pub(crate) name: String,
    /// Its stage.
    pub(crate) stage: String,
    /// What it is for.
    pub(crate) kind: StepKind,
    /// Where it is declared.
    pub(crate) place: Place,
    /// Its key.
    pub(crate) key: Digest,
    /// Where its log is kept, and how many bytes it has.
    pub(crate) log: Option<(Digest, u64)>,
    /// Its outs in the project: name and path.
    pub(crate) written: Vec<(String, String)>,
}

/// What is remembered of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepMemory {
    /// How long its commands took when they last ran, in milliseconds.
    pub(crate) run_millis: u64,
    /// Whether it did not pass the last time.
    pub(crate) has_failed: bool,
}

/// What went into the key of a step, by name, when it last ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ingredients {
    /// The key.
    pub(crate) key: Option<Digest>,
    /// Kind, name and digest of each thing.
    pub(crate) items: Vec<(What, Box<str>, Digest)>,
    /// The digests of file sets, sorted; their files are in [`IngredientBook::sets`].
    pub(crate) sets: Vec<Digest>,
}

/// What went into the keys of all steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IngredientBook {
    /// By the step's name.
    pub(crate) steps: BTreeMap<Box<str>, Ingredients>,
    /// Files and what they held, by the digest of the set.
    pub(crate) sets: BTreeMap<Digest, Vec<(Box<str>, Digest)>>,
}

/// What a run learned, to be remembered.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// The plan, if a new one was made.
    pub(crate) plan: Option<NewPlan>,
    /// What became of steps, by name.
    pub(crate) steps: BTreeMap<String, StepMemory>,
    /// The run, if it ended with nothing left to do.
    pub(crate) clean: Option<Clean>,
    /// What went into keys.
    pub(crate) ingredients: IngredientBook,
    /// The tools of the machine that were looked for.
    pub(crate) tools: BTreeMap<String, ToolMemory>,
}

impl Snapshot {
    /// Reads the snapshot of the project at `root` from `file`; without a good one there, an empty
    /// one. The folder of `file` is where the filesystem's clock is read.
    pub(crate) fn load(file: &Path, root: &Path) -> Self {
        let parts = Parts::open(file).unwrap_or_default();
        let mut state: State = parts.decode(STATE).unwrap_or_default();
        let (files, taken) = (std::mem::take(&mut state.files), std::mem::take(&mut state.taken));
        let memory = Memory::new(root, Clock::unknown(), files, taken);
        let memory = memory.with_clock_of(file.parent().unwrap_or(root));
        Self { file: file.to_owned(), root: root.to_owned(), memory, state, parts }
    }

    /// Returns what is known of the project's files.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns whether a plan made now, with these settings, would be the one in the snapshot.
    pub(crate) fn is_current(&self, settings: Digest, facts: &Facts, files: &dyn Files) -> bool {
        self.state.made_from.as_ref().is_some_and(|made_from| {
            made_from.settings == settings
                && made_from.facts.iter().all(|(fact, found)| facts.find(*fact) == *found)
                && made_from.notes.still_hold(files, &self.root, &self.memory)
        })
    }

    /// Returns the plan in the snapshot. It is to be used only if it is current.
    pub(crate) fn plan(&self) -> Option<Plan> {
        serde_json::from_slice(&self.parts.get(PLAN)?).ok()
    }

    /// Returns whether the plan in the snapshot has these bytes.
    pub(crate) fn has_plan(&self, plan: &[u8]) -> bool {
        self.parts.get(PLAN).is_some_and(|kept| *kept == *plan)
    }

    /// Returns the last run that was asked for the same and ended well, if all files of the
    /// project, and all files that it wrote, are as they were.
    pub(crate) fn clean(&self, request: Digest) -> Option<Clean> {
        let all: Vec<Clean> = self.parts.decode(CLEAN)?;
        let clean = all.into_iter().find(|clean| clean.request == request)?;
        let root = memory::open_folder(&self.root).ok()?;
        let is_same = |(path, stat): &(OsString, Stat)| {
            Stat::below(&root, Path::new(path)).is_ok_and(|now| now == *stat)
        };
        let are_same = memory::in_halves(&clean.outs, |part| part.iter().all(is_same));
        (are_same && self.memory.is_all_unchanged()).then_some(clean)
    }

    /// Returns what is remembered of steps, by name.
    pub(crate) fn steps(&self) -> BTreeMap<String, StepMemory> {
        self.parts.decode(STEPS).unwrap_or_default()
    }

    /// Returns what went into the keys of steps when they last ran.
    pub(crate) fn ingredients(&self) -> IngredientBook {
        self.parts.decode(INGREDIENTS).unwrap_or_default()
    }

    /// Returns the tools of the machine as they were found.
    pub(crate) fn tools(&self) -> &BTreeMap<String, ToolMemory> {
        &self.state.tools
    }

    /// Writes the snapshot with what a run learned.
    ///
    /// # Errors
    /// If it cannot be written: then the old one is still there.
    pub(crate) fn save(mut self, learned: Learned, files: &dyn Files) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let clock = Clock::read(folder)?;
        let has_news = self.memory.has_news();
        self.state.files = self.memory.records(clock);
        self.state.taken = self.memory.all_taken();
        self.state.tools.extend(learned.tools);
        let mut has_new_plan = false;
        if let Some(NewPlan { plan, made_from }) = learned.plan {
            has_new_plan = !self.has_plan(&plan);
            self.state.made_from = Some(made_from);
            self.parts.new[PLAN] = Some(plan);
        }
        if let Some(made_from) = &mut self.state.made_from {
            made_from.notes.refresh(files, &self.root, clock);
        }
        self.parts.put(STATE, &self.state);
        let kept = if has_news || has_new_plan { None } else { self.parts.decode(CLEAN) };
        self.parts.put(CLEAN, &cleans(kept.unwrap_or_default(), learned.clean));
        if !learned.steps.is_empty() {
            let mut steps = self.steps();
            steps.extend(learned.steps);
            self.parts.put(STEPS, &steps);
        }
        if !learned.ingredients.steps.is_empty() {
            let mut book = self.ingredients();
            book.extend(learned.ingredients);
            self.parts.put(INGREDIENTS, &book);
        }
        self.parts.write(&self.file)
    }

    /// Returns a memory as the next run would find it.
    #[cfg(test)]
    fn remembered(root: &Path, memory: &Memory) -> Memory {
        let files = memory.records(Clock::unknown());
        Memory::new(root, Clock::unknown(), files, BTreeMap::new())
    }
}

impl IngredientBook {
    /// Takes over what is newer, and drops sets that no step names any more.
    fn extend(&mut self, newer: Self) {
        self.steps.extend(newer.steps);
        self.sets.extend(newer.sets);
        let named: std::collections::BTreeSet<_> =
            self.steps.values().flat_map(|step| step.sets.iter().copied()).collect();
        self.sets.retain(|digest, _| named.contains(digest));
    }
}

/// The clean runs to remember: the newest first, one for each request.
fn cleans(mut kept: Vec<Clean>, new: Option<Clean>) -> Vec<Clean> {
    if let Some(new) = new {
        kept.retain(|clean| clean.request != new.request);
        kept.insert(0, new);
    }
    kept.truncate(MAX_CLEAN);
    kept
}

impl Parts {
    /// Finds the parts of a file; `None` if it is none of this version, or not whole.
    fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let header = header();
        let mut head = vec![0; header.len() + PARTS * 40];
        file.read_exact_at(&mut head, 0).ok()?;
        let table = head.strip_prefix(header.as_slice())?;
        let mut places = <[(u64, usize, [u8; 32]); PARTS]>::default();
        let len = file.metadata().ok()?.len();
        let mut start = head.len() as u64;
        for (entry, place) in table.chunks_exact(40).zip(&mut places) {
            let (part, digest) = entry.split_first_chunk::<8>()?;
            let part = u64::from_le_bytes(*part);
            *place = (start, usize::try_from(part).ok()?, digest.try_into().ok()?);
            start = start.checked_add(part).filter(|end| *end <= len)?;
        }
        (start == len).then(|| Self { file: Some(file), places, new: Default::default() })
    }

    /// Returns a part; `None` if any byte of it is not what was written.
    fn get(&self, part: usize) -> Option<Cow<'_, [u8]>> {
        if let Some(new) = &self.new[part] {
            return Some(Cow::Borrowed(new));
        }
        let (start, len, digest) = &self.places[part];
        let mut bytes = vec![0; *len];
        self.file.as_ref()?.read_exact_at(&mut bytes, *start).ok()?;
        (Digest::of(&bytes).as_bytes() == digest).then_some(Cow::Owned(bytes))
    }

    fn decode<T: DeserializeOwned>(&self, part: usize) -> Option<T> {
        postcard::from_bytes(&self.get(part)?).ok()
    }

    fn put<T: Serialize>(&mut self, part: usize, value: &T) {
        self.new[part] = Some(postcard::to_stdvec(value).expect("the parts are plain data"));
    }

    /// Writes the parts to a new file and lets it take the place of the old one.
    fn write(&self, file: &Path) -> io::Result<()> {
        let parts: Vec<_> = (0..PARTS).map(|part| self.get(part).unwrap_or_default()).collect();
        let mut head = header();
        for part in &parts {
            head.extend_from_slice(&(part.len() as u64).to_le_bytes());
            head.extend_from_slice(Digest::of(part).as_bytes());
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        new.write_all(&head)?;
        for part in parts {
            new.write_all(&part)?;
        }
        new.persist(file)?;
        Ok(())
    }
}

fn header() -> Vec<u8> {
    format!("{VERSION} {}\n", env!("CARGO_PKG_VERSION")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Disk;
    use crate::plan::step::testing;

    fn saved(root: &Path) -> PathBuf {
        std::fs::write(root.join("a"), "x").unwrap();
        let file = root.join(".kiln/snapshot");
        let snapshot = Snapshot::load(&file, root);
        snapshot.memory().look("a").unwrap();
        let plan = serde_json::to_vec(&testing::plan(&[&[], &[0]])).unwrap();
        let made_from = MadeFrom {
            settings: Digest::of(b"settings"),
            facts: BTreeMap::from([(Fact::GitTag, Finding::Absent)]),
            notes: Notes::default(),
        };
        let learned = Learned {
            plan: Some(NewPlan { plan, made_from }),
            steps: [("s".to_owned(), StepMemory { run_millis: 7, has_failed: true })].into(),
            ..Learned::default()
        };
        snapshot.save(learned, &Disk::new(root)).unwrap();
        file
    }

    #[test]
    fn what_was_saved_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = saved(dir.path());
        let snapshot = Snapshot::load(&file, dir.path());
        let disk = Disk::new(dir.path());
        let facts = |tag| Facts::given(BTreeMap::from([(Fact::GitTag, tag)]));
        let (none, some) = (facts(Finding::Absent), facts(Finding::Text("v1".to_owned())));
        assert!(snapshot.is_current(Digest::of(b"settings"), &none, &disk));
        assert!(!snapshot.is_current(Digest::of(b"settings"), &some, &disk));
        assert!(!snapshot.is_current(Digest::of(b"other"), &none, &disk));
        assert_eq!(snapshot.plan().unwrap(), testing::plan(&[&[], &[0]]));
        assert_eq!(snapshot.steps()["s"].run_millis, 7);
        assert!(snapshot.memory().before("a").is_some());
    }

    #[test]
    fn a_snapshot_that_is_torn_or_changed_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = saved(dir.path());
        let good = std::fs::read(&file).unwrap();
        let (plan, seen) = (testing::plan(&[&[], &[0]]), Snapshot::load(&file, dir.path()));
        let seen = seen.memory().before("a").cloned();
        // How much of it is still there; all that is there is right.
        let left = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            let snapshot = Snapshot::load(&file, dir.path());
            let (found, steps) = (snapshot.plan(), snapshot.steps());
            let before = snapshot.memory().before("a").cloned();
            assert!(found.is_none() || found.as_ref() == Some(&plan));
            assert!(before.is_none() || before == seen);
            assert!(steps.get("s").is_none_or(|step| step.run_millis == 7));
            usize::from(found.is_some()) + usize::from(before.is_some()) + steps.len()
        };
        assert_eq!(left(&good), 3);
        for len in (0..good.len()).step_by(7) {
            assert_eq!(left(&good[..len]), 0, "{len} bytes");
        }
        for at in (0..good.len()).step_by(3) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            left(&bad);
        }
        let other = [b"kiln snapshot 2 99.0.0\n".as_slice(), &good[header().len()..]].concat();
        assert_eq!(left(&other), 0, "another version");
        assert_eq!(left(&[good.as_slice(), b"x"].concat()), 0);
    }
}
