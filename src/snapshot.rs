//! The snapshot: the workspace as the last run left it. Knows the project's files, the compiled
//! plan and what each step came to; does not know the language that made the plan, nor the store.
//!
//! It is one file, replaced as a whole, or added to where little has changed. A snapshot that is
//! torn, or of another version of Kiln, is as good as none: it only ever saves work. A part of it is
//! read when it is first needed, so a run that finds nothing to do never reads the plan.

mod book;
mod delta;
pub(crate) mod memory;
mod parts;
pub(crate) mod stat;
pub(crate) mod watch;
pub(crate) mod watched;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::facts::{Fact, Facts, Finding};
use crate::files::{self, Files};
use crate::plan::Plan;
use crate::plan::artifact::FileSet;
use crate::plan::step::{LateStage, Place, Service, SkippedStep, Step, StepKind};

pub(crate) use book::{IngredientBook, Ingredients, SetFiles};

use delta::Delta;
use memory::{Files as FileRecords, Memory, Record, Taken};
use parts::{CLEAN, INGREDIENTS, PLAN, Parts, STATE, STEPS};
use stat::{Clock, Stat};
use watched::Notes;

/// How many runs that ended well are remembered, each for another set of stages.
const MAX_CLEAN: usize = 8;

/// The workspace as last seen.
pub(crate) struct Snapshot {
    file: PathBuf,
    root: PathBuf,
    memory: Memory,
    state: State,
    parts: Parts,
    /// What was added to the file, in order.
    deltas: Vec<Delta>,
    /// What was found when it was last looked whether there is anything to do.
    look: Mutex<Option<Look>>,
}

/// What is looked at in every run.
#[derive(Default, Serialize, Deserialize)]
struct State {
    files: FileRecords,
    taken: BTreeMap<Box<str>, Taken>,
    /// What the plan was made from; `None` if there is no plan.
    made_from: Option<MadeFrom>,
    tools: BTreeMap<String, ToolMemory>,
}

/// A [`State`] that is written.
#[derive(Serialize)]
struct StateNow<'a> {
    files: Vec<(&'a str, &'a Record)>,
    taken: BTreeMap<Box<str>, Taken>,
    made_from: Option<MadeFrom>,
    tools: &'a BTreeMap<String, ToolMemory>,
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

/// A plan that was made in a run.
#[derive(Debug)]
pub(crate) struct NewPlan {
    pub(crate) plan: Arc<Plan>,
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

/// The steps of a run that passed: as long as all they depend on is as it was, nothing is to be done
/// for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clean {
    /// What was asked for: stages, folder for outs, sandbox.
    pub(crate) request: Digest,
    /// Whether these are all steps of the run.
    pub(crate) is_whole: bool,
    /// The machine's system directories.
    pub(crate) host: Digest,
    /// The tools of the machine that its steps use.
    pub(crate) tools: Vec<(String, Digest)>,
    /// Its steps, in the order in which they finished.
    pub(crate) steps: Vec<CleanStep>,
    /// What is no step of it, since a condition does not hold.
    pub(crate) skipped: Vec<SkippedStep>,
    /// The paths that its steps wrote in the project, whatever bytes their names have, in the order of
    /// the steps.
    pub(crate) outs: Vec<(OsString, Stat)>,
}

/// What a run did to the [`Clean`] that it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanChange {
    /// What was asked for.
    pub(crate) request: Digest,
    /// Whether all steps of the run passed.
    pub(crate) is_whole: bool,
    /// The names of the steps that were not left alone.
    pub(crate) gone: Vec<String>,
    /// Those of them that passed.
    pub(crate) steps: Vec<CleanStep>,
    /// The paths that these wrote, in their order.
    pub(crate) outs: Vec<(OsString, Stat)>,
}

/// What is left to do for a [`Clean`].
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) clean: Clean,
    /// The places in [`Clean::outs`] of what is not as it was written.
    pub(crate) changed_outs: Vec<usize>,
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
    /// How many of [`Clean::outs`] are its.
    pub(crate) paths: u32,
}

/// What is remembered of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepMemory {
    /// How long its commands took when they last ran, in milliseconds.
    pub(crate) run_millis: u64,
    /// Whether it did not pass the last time.
    pub(crate) has_failed: bool,
}

/// What a run learned, to be remembered.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// The plan, if a new one was made.
    pub(crate) plan: Option<NewPlan>,
    /// What became of steps, by name.
    pub(crate) steps: BTreeMap<String, StepMemory>,
    /// The steps that passed.
    pub(crate) clean: Cleaned,
    /// What went into keys.
    pub(crate) ingredients: IngredientBook,
    /// The tools of the machine that were looked for.
    pub(crate) tools: BTreeMap<String, ToolMemory>,
}

/// Writes a plan. Most of a large one are the paths of its files, which are quicker to read in this form
/// than in JSON.
fn write_plan(plan: &Plan, writer: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Rest<'a> {
        version: u32,
        params: &'a IndexMap<String, String>,
        facts: &'a IndexMap<String, String>,
        file_sets: &'a [FileSet],
        steps: &'a [Step],
        skipped: &'a [SkippedStep],
        late_stages: &'a [LateStage],
        services: &'a [Service],
    }
    let Plan { version, params, facts, file_sets, steps, skipped, late_stages, services } = plan;
    let version = *version;
    parts::encode_into(file_sets, writer)?;
    let file_sets = &[];
    let rest = Rest { version, params, facts, file_sets, steps, skipped, late_stages, services };
    Ok(serde_json::to_writer(writer, &rest)?)
}

/// What a run found out about which steps have nothing left to do.
#[derive(Debug, Default)]
pub(crate) enum Cleaned {
    /// Nothing to rely on.
    #[default]
    Nothing,
    /// This is all.
    All(Clean),
    /// This, beside what was known.
    Change(CleanChange),
}

impl Clean {
    /// Makes the change of a later run.
    fn change(&mut self, change: CleanChange) {
        let gone: HashSet<_> = change.gone.into_iter().collect();
        let mut old_outs = std::mem::take(&mut self.outs).into_iter();
        for step in std::mem::take(&mut self.steps) {
            let outs = old_outs.by_ref().take(step.paths as usize);
            if gone.contains(&step.name) {
                outs.for_each(drop);
            } else {
                self.outs.extend(outs);
                self.steps.push(step);
            }
        }
        self.steps.extend(change.steps);
        self.outs.extend(change.outs);
        self.is_whole = change.is_whole;
    }
}

impl Snapshot {
    /// Reads the snapshot of the project at `root` from `file`; without a good one there, an empty
    /// one. The folder of `file` is where the filesystem's clock is read.
    pub(crate) fn load(file: &Path, root: &Path) -> Self {
        let parts = Parts::open(file).unwrap_or_default();
        let mut state: State = parts.decode(STATE).unwrap_or_default();
        let deltas: Vec<Delta> = parts.added();
        let mut files = std::mem::take(&mut state.files);
        for delta in &deltas {
            memory::change(&mut files, &delta.files);
            if let Some(made_from) = &mut state.made_from {
                made_from.notes.note(delta.folders.clone());
            }
        }
        let memory = Memory::new(root, Clock::unknown(), files, std::mem::take(&mut state.taken));
        let memory = memory.with_clock_of(file.parent().unwrap_or(root));
        let (file, root, look) = (file.to_owned(), root.to_owned(), Mutex::default());
        Self { file, root, memory, state, parts, deltas, look }
    }

    /// Returns what is known of the project's files.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns the folders in which earlier runs read files, or looked for some.
    pub(crate) fn folders(&self) -> impl Iterator<Item = Box<str>> {
        let notes = self.state.made_from.iter().map(|made_from| &made_from.notes);
        let listed = notes.flat_map(|notes| notes.folders().map(Into::into));
        self.memory.paths().map(|path| files::parent(path).into()).chain(listed)
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
        let bytes = self.parts.get(PLAN)?;
        let (file_sets, rest) = postcard::take_from_bytes(&bytes).ok()?;
        Some(Plan { file_sets, ..serde_json::from_slice(rest).ok()? })
    }

    /// Returns whether this is the plan in the snapshot.
    #[cfg(test)]
    pub(crate) fn has_plan(&self, plan: &Plan) -> bool {
        self.plan().as_ref() == Some(plan)
    }

    /// Returns the steps that passed when the same was last asked for, and which of what they wrote is
    /// not as it was; [`Memory::changed`] has the same of what they read. What was looked at earlier in
    /// this run is not looked at again.
    pub(crate) fn look(&self, request: Digest) -> Option<Look> {
        let known = memory::lock(&self.look).take().filter(|look| look.clean.request == request);
        known.or_else(|| {
            let clean = self.cleans().into_iter().find(|clean| clean.request == request)?;
            let root = memory::open_folder(&self.root).ok()?;
            let places: Vec<_> = clean.outs.iter().enumerate().collect();
            let is_changed = |(_, (path, stat)): &&(usize, &(OsString, Stat))| {
                Stat::below(&root, Path::new(path)).map_or(true, |now| now != *stat)
            };
            let changed_outs = memory::in_halves(&places, |part| {
                part.iter().filter(is_changed).map(|(place, _)| *place).collect()
            });
            Some(Look { clean, changed_outs })
        })
    }

    /// Keeps what was found for those who look later in this run.
    pub(crate) fn keep_look(&self, look: Look) {
        *memory::lock(&self.look) = Some(look);
    }

    /// Returns the runs that are remembered.
    fn cleans(&self) -> Vec<Clean> {
        let base: Vec<Clean> = self.parts.decode(CLEAN).unwrap_or_default();
        self.deltas.iter().fold(base, |cleans, delta| delta.change_cleans(cleans))
    }

    /// Returns what is remembered of steps, by name.
    pub(crate) fn steps(&self) -> BTreeMap<String, StepMemory> {
        let mut steps: BTreeMap<_, _> = self.parts.decode(STEPS).unwrap_or_default();
        steps.extend(self.deltas.iter().flat_map(|delta| delta.steps.clone()));
        steps
    }

    /// Returns what went into the keys of steps when they last ran.
    pub(crate) fn ingredients(&self) -> IngredientBook {
        let mut book: IngredientBook = self.parts.decode(INGREDIENTS).unwrap_or_default();
        self.deltas.iter().for_each(|delta| book.extend(delta.ingredients.clone()));
        book
    }

    /// Returns the tools of the machine as they were found.
    pub(crate) fn tools(&self) -> &BTreeMap<String, ToolMemory> {
        &self.state.tools
    }

    /// Writes the snapshot with what a run learned: adds to the file if little has changed.
    ///
    /// # Errors
    /// If it cannot be written: then the old one is still there, or none.
    pub(crate) fn save(&self, learned: Learned, files: &dyn Files) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let clock = Clock::read(folder)?;
        let delta = Delta::new(self, learned, files, clock).map_err(|learned| *learned);
        let learned = match delta {
            Ok(delta) if delta.is_empty() || self.parts.add(&self.file, &delta) => return Ok(()),
            Ok(delta) => delta.into_learned(),
            Err(learned) => learned,
        };
        self.write(learned, files, clock)
    }

    /// Writes down that files of the project which have other times hold what they held.
    ///
    /// # Errors
    /// As of [`Snapshot::save`].
    pub(crate) fn save_times(&self, files: &dyn Files) -> io::Result<()> {
        let nothing = CleanChange::nothing();
        self.save(Learned { clean: Cleaned::Change(nothing), ..Learned::default() }, files)
    }

    /// Writes the whole snapshot anew.
    fn write(&self, learned: Learned, files: &dyn Files, clock: Clock) -> io::Result<()> {
        let mut new = parts::New::begin(&self.parts, &self.file)?;
        let mut made_from = self.state.made_from.clone();
        match learned.plan {
            Some(NewPlan { plan, made_from: from }) => {
                made_from = Some(from);
                new.put_by(PLAN, |writer| write_plan(&plan, writer))?;
            }
            None => new.put::<()>(PLAN, None)?,
        }
        let has_new_plan = new.has_changed(PLAN);
        let (news, has_news) = self.memory.news(clock);
        let keeps_cleans = !has_news && !has_new_plan;
        if let Some(made_from) = &mut made_from {
            let moved = made_from.notes.moved(files, &self.root, clock);
            made_from.notes.note(moved);
        }
        let mut tools = self.state.tools.clone();
        tools.extend(learned.tools);
        let (files, taken) = (self.memory.with(&news), self.memory.all_taken());
        new.put(STATE, Some(&StateNow { files, taken, made_from, tools: &tools }))?;
        new.put(CLEAN, Some(&cleans(self.cleans(), learned.clean, keeps_cleans)))?;
        let has_added = !self.deltas.is_empty();
        let steps = (has_added || !learned.steps.is_empty()).then(|| {
            let mut steps = self.steps();
            steps.extend(learned.steps);
            steps
        });
        new.put(STEPS, steps.as_ref())?;
        let book = (has_added || !learned.ingredients.steps.is_empty()).then(|| {
            let mut book = self.ingredients();
            book.extend(learned.ingredients);
            book
        });
        new.put(INGREDIENTS, book.as_ref())?;
        new.end(&self.file)
    }

    /// Returns a memory as the next run would find it.
    #[cfg(test)]
    fn remembered(root: &Path, memory: &Memory) -> Memory {
        let (news, _) = memory.news(Clock::unknown());
        let files = memory.with(&news).into_iter();
        let files = files.map(|(path, record)| (path.into(), record.clone())).collect();
        Memory::new(root, Clock::unknown(), files, BTreeMap::new())
    }
}

impl CleanChange {
    /// Returns the change of a run that had nothing to do.
    fn nothing() -> Self {
        let (gone, steps, outs) = Default::default();
        Self { request: Digest::of(b""), is_whole: true, gone, steps, outs }
    }
}

/// The runs to remember: the newest first, one for each request. Those of other requests stay only if
/// nothing has changed that they may depend on.
fn cleans(mut kept: Vec<Clean>, cleaned: Cleaned, keeps_others: bool) -> Vec<Clean> {
    let new = match cleaned {
        Cleaned::Nothing => None,
        Cleaned::All(clean) => Some(clean),
        Cleaned::Change(change) => {
            let place = kept.iter().position(|clean| clean.request == change.request);
            place.map(|place| {
                let mut clean = kept.remove(place);
                clean.change(change);
                clean
            })
        }
    };
    if !keeps_others {
        kept.clear();
    }
    if let Some(new) = new {
        kept.retain(|clean| clean.request != new.request);
        kept.insert(0, new);
    }
    kept.truncate(MAX_CLEAN);
    kept
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
        let plan = Arc::new(testing::plan(&[&[], &[0]]));
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
        let other =
            [b"kiln snapshot 2 99.0.0\n".as_slice(), &good[parts::header().len()..]].concat();
        assert_eq!(left(&other), 0, "another version");
        assert_eq!(left(&[good.as_slice(), b"x"].concat()), 3, "an addition that is torn");
    }

    /// Adds to a snapshot what a run learned that spared all steps; returns whether the file grew.
    fn add(root: &Path, file: &Path, millis: u64) -> bool {
        let snapshot = Snapshot::load(file, root);
        snapshot.memory().look("a").unwrap();
        let memory = StepMemory { run_millis: millis, has_failed: false };
        let learned = Learned {
            steps: [("s".to_owned(), memory)].into(),
            clean: Cleaned::Change(CleanChange::nothing()),
            ..Learned::default()
        };
        let inode = |file: &Path| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        let before = inode(file);
        snapshot.save(learned, &Disk::new(root)).unwrap();
        inode(file) == before
    }

    #[test]
    fn what_is_added_counts_as_far_as_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = saved(dir.path());
        // As small as it is, the file would be written anew.
        let base = Snapshot::load(&file, dir.path());
        let learned = Learned {
            steps: (0..1000).map(|at| (format!("step {at}"), StepMemory::default())).collect(),
            ..Learned::default()
        };
        base.save(learned, &Disk::new(dir.path())).unwrap();
        let millis = || Snapshot::load(&file, dir.path()).steps()["s"].run_millis;
        std::fs::write(dir.path().join("a"), "y").unwrap();
        assert!(add(dir.path(), &file, 8));
        assert_eq!(millis(), 8);
        let one = std::fs::read(&file).unwrap();
        assert!(add(dir.path(), &file, 9));
        assert_eq!(millis(), 9);
        let two = std::fs::read(&file).unwrap();
        for len in one.len()..two.len() {
            std::fs::write(&file, &two[..len]).unwrap();
            assert_eq!(millis(), 8, "{len}");
        }
        for at in one.len()..two.len() {
            let mut bad = two.clone();
            bad[at] ^= 1;
            std::fs::write(&file, bad).unwrap();
            assert_eq!(millis(), 8, "{at}");
        }
        // What comes after a torn addition would be lost, so all is written anew.
        std::fs::write(&file, &two[..two.len() - 1]).unwrap();
        assert!(!add(dir.path(), &file, 10));
        assert_eq!(millis(), 10);
        assert_eq!(Snapshot::load(&file, dir.path()).steps().len(), 1001);
    }

    #[test]
    fn additions_do_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = saved(dir.path());
        let grown = (0..200).filter(|millis| add(dir.path(), &file, *millis)).count();
        assert!(grown < 200);
        assert_eq!(Snapshot::load(&file, dir.path()).steps()["s"].run_millis, 199);
    }

    #[test]
    fn of_runs_that_add_at_once_one_does() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..50 {
            let file = saved(dir.path());
            // Larger, so that several additions would have room.
            let steps = (0..1000).map(|at| (format!("step {at}"), StepMemory::default()));
            let learned = Learned { steps: steps.collect(), ..Learned::default() };
            Snapshot::load(&file, dir.path()).save(learned, &Disk::new(dir.path())).unwrap();
            let barrier = std::sync::Barrier::new(4);
            let add = || {
                let snapshot = Snapshot::load(&file, dir.path());
                barrier.wait();
                snapshot.parts.add(&file, &"x".repeat(100))
            };
            let added = std::thread::scope(|scope| {
                let runs: Vec<_> = (0..4).map(|_| scope.spawn(add)).collect();
                runs.into_iter().map(|run| run.join().unwrap()).filter(|is| *is).count()
            });
            assert_eq!(added, 1);
        }
    }

    #[test]
    fn a_snapshot_that_another_run_replaced_is_not_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let file = saved(dir.path());
        let late = Snapshot::load(&file, dir.path());
        saved(dir.path());
        let there = std::fs::read(&file).unwrap();
        let delta = Delta::new(
            &late,
            Learned { clean: Cleaned::Change(CleanChange::nothing()), ..Learned::default() },
            &Disk::new(dir.path()),
            Clock::unknown(),
        );
        assert!(!late.parts.add(&file, &delta.ok().unwrap()));
        assert_eq!(std::fs::read(&file).unwrap(), there);
    }
}
