//! The engine, tried with real steps in the real sandbox and a store of its own.

mod caching;
mod failing;
mod faults;
mod sparing;
mod verifying;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use indexmap::IndexMap;

use super::host::Host;
use super::key::Level;
use super::run::{Machine, Request, RunResult, run};
use super::stop::Stop;
use crate::cache::Store;
use crate::digest::Digest;
use crate::event::{Counts, Event, Outcome, StepFinished};
use crate::files::Disk;
use crate::plan::artifact::{Artifact, FileSet, FileSetId, Input, Out, OutKind};
use crate::plan::graph::Graph;
use crate::plan::step::{Command, Language, Place, Step, StepId, StepKind, Text, testing};
use crate::plan::{Plan, VERSION};
use crate::sandbox::{Cells, Launcher};
use crate::snapshot::{MadeFrom, NewPlan, Snapshot};

/// A project with a store.
struct Bench {
    dir: tempfile::TempDir,
    /// Where project and store are instead, if they outlive the bench.
    at: Option<PathBuf>,
    plan: Plan,
}

/// What came of a run.
struct Ran {
    result: RunResult,
    events: Vec<Event>,
}

fn cells() -> &'static Cells {
    static CELLS: OnceLock<Cells> = OnceLock::new();
    CELLS.get_or_init(|| {
        let scratch = std::env::temp_dir().join("kiln-engine-tests");
        Cells::new(Launcher::this_program().unwrap(), scratch).unwrap()
    })
}

fn place() -> Place {
    Place { file: "pipeline.pipe".into(), line: 1, start: 0, end: 0 }
}

fn script(text: &str) -> Command {
    Command::Script {
        language: Language::Sh,
        text: text.into(),
        holes: IndexMap::new(),
        place: place(),
    }
}

/// A step that runs `text` and makes files at these paths, each out named as its path.
fn step(name: &str, text: &str, outs: &[&str]) -> Step {
    let out = |path: &&str| Out {
        name: (*path).into(),
        kind: OutKind::File,
        path: (*path).into(),
        is_placed: false,
        is_optional: false,
    };
    Step {
        commands: vec![script(text)],
        outs: outs.iter().map(out).collect(),
        ..testing::step(name)
    }
}

fn test(name: &str, text: &str) -> Step {
    Step { kind: StepKind::Test, ..step(name, text, &[]) }
}

/// Lets a step take an out of step `from`, at the path of the out's name.
fn takes(mut step: Step, from: usize, out: &str) -> Step {
    let artifact = Artifact { step: StepId::new(from), out: out.into(), part: String::new() };
    step.inputs.push(Input::Artifact { artifact, at: out.into() });
    step
}

impl Bench {
    fn new() -> Self {
        let plan = Plan {
            version: VERSION,
            params: IndexMap::new(),
            facts: IndexMap::new(),
            file_sets: Vec::new(),
            steps: Vec::new(),
            skipped: Vec::new(),
            late_stages: Vec::new(),
            services: Vec::new(),
        };
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("project")).unwrap();
        Self { dir, at: None, plan }
    }

    fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut bench = Self::new();
        bench.plan.steps.extend(steps);
        bench
    }

    fn folder(&self) -> &Path {
        self.at.as_deref().unwrap_or(self.dir.path())
    }

    fn project(&self) -> PathBuf {
        self.folder().join("project")
    }

    fn store(&self) -> PathBuf {
        self.folder().join("store")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Reads an out of a stage of one row.
    fn out(&self, path: &str) -> String {
        let path = self.project().join("out").join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    }

    /// Removes all that was written into the project.
    fn remove_outs(&self) {
        std::fs::remove_dir_all(self.project().join("out")).unwrap();
    }

    /// Adds files of the project to the inputs of a step.
    fn sources(&mut self, step: usize, paths: &[&str]) {
        let mut paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        paths.sort();
        let set = FileSetId::new(self.plan.file_sets.len());
        self.plan.file_sets.push(FileSet { paths });
        let (strip, at) = Default::default();
        self.plan.steps[step].inputs.push(Input::Files { set, strip, at });
    }

    /// Asks for one step only.
    fn only(step: usize) -> impl Fn(&mut Request) {
        move |request| {
            request.wanted = vec![StepId::new(step)];
            request.written.clone_from(&request.wanted);
        }
    }

    /// A request for all steps.
    fn request(&self) -> Request {
        Request {
            verify: 0,
            state: self.project().join(".kiln"),
            run: "test".into(),
            stages: Vec::new(),
            wanted: (0..self.plan.steps.len()).map(StepId::new).collect(),
            written: (0..self.plan.steps.len()).map(StepId::new).collect(),
            skipped: Vec::new(),
            jobs: 2,
            keep_going: false,
            rerun: Vec::new(),
            slice: None,
            out: Some("out".into()),
            replays: false,
        }
    }

    /// The plan as the snapshot takes it: made from nothing.
    fn new_plan(&self) -> NewPlan {
        let (facts, notes) = Default::default();
        let made_from = MadeFrom { settings: Digest::of(b""), facts, notes };
        NewPlan { plan: Arc::new(self.plan.clone()), made_from }
    }

    fn run(&self) -> Ran {
        self.run_with(|_| {}, |_, _| {})
    }

    /// Runs all steps; `change` changes the request, `hear` hears each event.
    fn run_with(
        &self,
        change: impl FnOnce(&mut Request),
        mut hear: impl FnMut(&Event, &Stop),
    ) -> Ran {
        let graph = Graph::new(&self.plan).unwrap();
        let store = Store::open(&self.store()).unwrap();
        let project = self.project();
        let snapshot = Snapshot::load(&self.folder().join("snapshot"), &project);
        let environment = [("PATH".to_owned(), "/usr/bin:/bin".into())].into();
        let tools = snapshot.tools().clone();
        let host = Host::look(&project, environment, snapshot.memory(), tools);
        let stop = Stop::new().unwrap();
        let vault = crate::secret::Vault::new(
            <_>::default(),
            <_>::default(),
            self.project(),
            true,
            self.project().join("key"),
        );
        let machine = Machine {
            vault: &vault,
            project: &project,
            snapshot: &snapshot,
            store: &store,
            spare: self.folder(),
            sandbox: cells(),
            level: Level::Namespaces,
            host: &host,
            stop: &stop,
            memory_bytes: 1 << 40,
            is_plan_kept: snapshot.has_plan(&self.plan),
        };
        let mut request = self.request();
        change(&mut request);
        let mut events = Vec::new();
        let mut result = run(&self.plan, &graph, &request, &machine, &mut |event| {
            hear(&event, &stop);
            events.push(event);
        });
        let disk = Disk::new(&project);
        let mut learned = std::mem::take(&mut result.learned);
        learned.plan = (!machine.is_plan_kept).then(|| self.new_plan());
        snapshot.save(learned, &disk).unwrap();
        Ran { result, events }
    }
}

impl Ran {
    fn finished(&self, name: &str) -> &StepFinished {
        let mut found = self.events.iter().filter_map(|event| match event {
            Event::StepFinished(finished) if finished.step == name => Some(&**finished),
            _ => None,
        });
        let first = found.next().unwrap_or_else(|| panic!("`{name}` never finished"));
        assert!(found.next().is_none(), "`{name}` finished twice");
        first
    }

    fn counts(&self) -> Counts {
        match self.events.last() {
            Some(Event::RunFinished(run)) => run.counts,
            last => panic!("the run ended with {last:?}"),
        }
    }

    fn outcome(&self, name: &str) -> Outcome {
        self.finished(name).outcome
    }

    fn output(&self, name: &str) -> String {
        let output = self.events.iter().filter_map(|event| match event {
            Event::StepOutput(output) if output.step == name => Some(output.text.as_str()),
            _ => None,
        });
        output.collect()
    }

    fn warnings(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter_map(|event| match event {
            Event::Warning(warning) => Some(warning.message.as_str()),
            _ => None,
        })
    }

    fn message(&self, name: &str) -> String {
        let finished = self.finished(name);
        finished.failure.as_ref().unwrap_or_else(|| panic!("`{name}` passed")).message.clone()
    }

    #[track_caller]
    fn expect(&self, exit: u8, outcomes: &[(&str, Outcome)]) {
        for (name, outcome) in outcomes {
            let finished = self.finished(name);
            assert_eq!(finished.outcome, *outcome, "{finished:#?}\n{}", self.output(name));
        }
        assert_eq!(self.result.exit, exit);
    }
}
