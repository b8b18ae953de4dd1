//! Projects that nobody here wrote, fetched from the registry and never committed: Lua, a step for
//! each C file, and a Rust program whose crates one step fetches. `tests/real` has their pipelines.
//!
//! Where nothing can be fetched, a test says `skipped: …` in a line and passes.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use crate::kiln::{Done, Kiln, Project, count_runs, files_below, repository, skipped, step_end};

/// The crates, each with what of it belongs into the project: the end of a folder's name there and
/// the folder in the project.
const LUA: (&str, &str, &str) = ("lua-src", "547.0.0", "lua-5.4.7");
const DIFFR: (&str, &str, &str) = ("diffr", "0.1.5", "");

/// A project that was run once, with its store; what came of it is shared by the tests.
struct Real {
    /// The whole project but for what Kiln made.
    files: PathBuf,
    store: PathBuf,
    /// What the steps of the first run came to.
    cold: BTreeMap<String, String>,
    /// What the first run made, by path.
    outs: BTreeMap<String, Vec<u8>>,
}

static LUA_RUN: LazyLock<Result<Real, String>> = LazyLock::new(|| {
    let (name, version, part) = LUA;
    Real::new("lua", &fetched(name, version)?.join(part), "src")
});

static RUST_RUN: LazyLock<Result<Real, String>> = LazyLock::new(|| {
    let (name, version, part) = DIFFR;
    Real::new("rust", &fetched(name, version)?.join(part), "")
});

/// Returns the project, or says why there is none.
fn real(run: &'static LazyLock<Result<Real, String>>) -> Option<&'static Real> {
    match &**run {
        Ok(real) => Some(real),
        Err(why) => {
            skipped(why);
            None
        }
    }
}

/// The folder of these tests. It is cleared by nobody but them, so that each version is fetched once.
fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("real")
}

/// Fetches a crate and returns the folder of its sources.
fn fetched(name: &str, version: &str) -> Result<PathBuf, String> {
    let folder = scratch().join(format!("{name}-{version}"));
    let sources = folder.join("vendor").join(name);
    if folder.join("whole").exists() {
        return Ok(sources);
    }
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\n[dependencies]\n{name} = \"={version}\"\n[workspace]\n"
    );
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let vendor = Command::new(env!("CARGO")).args(["vendor", "-q"]).current_dir(&folder).output();
    match vendor {
        Ok(done) if done.status.success() => {
            fs::write(folder.join("whole"), "").unwrap();
            Ok(sources)
        }
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let last = said.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
            Err(format!("cannot fetch {name} {version}: {}", last.trim()))
        }
        Err(error) => Err(format!("cannot fetch {name} {version}: {error}")),
    }
}

impl Real {
    /// Puts the sources below the pipeline of `tests/real` and runs it with a new store.
    fn new(name: &str, sources: &Path, below: &str) -> Result<Self, String> {
        let folder = scratch().join(format!("{name}-run"));
        let _ = fs::remove_dir_all(&folder);
        let files = folder.join("files");
        copy(&repository("tests/real").join(name), &files);
        copy(sources, &files.join(below));
        let mut real = Self {
            files,
            store: folder.join("store"),
            cold: BTreeMap::new(),
            outs: BTreeMap::new(),
        };
        let project = real.clone_of();
        real.cold = outcomes(&real.run(&project));
        real.outs = outs(&project);
        Ok(real)
    }

    /// Returns a project with the same files in another folder. It shares the store.
    fn clone_of(&self) -> Project {
        Project::new().with_copy_of(&self.files)
    }

    fn run(&self, project: &Project) -> Done {
        command(project, &self.store).run().exits(0)
    }

    /// Returns a clone that was run, for changes.
    fn served(&self) -> Project {
        let project = self.clone_of();
        assert_eq!(ran(&self.run(&project)), [""; 0]);
        project
    }

    /// Runs it and returns the steps that ran.
    fn ran(&self, project: &Project) -> Vec<String> {
        ran(&self.run(project))
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files_below(from) {
        let place = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&file, &place).unwrap();
    }
}

/// The tools of the machine are found as its user finds them: in `HOME`, too.
fn command(project: &Project, store: &Path) -> Kiln {
    Kiln::new(project.path())
        .env("HOME", &std::env::var("HOME").unwrap_or_default())
        .env("KILN_CACHE", store.to_str().expect("it is UTF-8"))
        .arguments(["run", "--ui", "jsonl"])
}

fn outcomes(done: &Done) -> BTreeMap<String, String> {
    done.lines().iter().filter_map(step_end).collect()
}

fn ran(done: &Done) -> Vec<String> {
    let ran = outcomes(done).into_iter().filter(|(_, outcome)| outcome == "ran");
    ran.map(|(step, _)| step).collect()
}

/// Returns what stands in the folder `out`, by path.
fn outs(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let folder = project.at("out");
    let path = |file: &Path| file.strip_prefix(&folder).unwrap().display().to_string();
    let files = files_below(&folder);
    files.iter().map(|file| (path(file), fs::read(file).unwrap())).collect()
}

fn edit(project: &Project, path: &str, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(project.at(path)).unwrap();
    project.write(path, change(text));
}

// ------------------------------------------------------------------------------- Claims about both

fn first_runs_everything(real: &Real, steps: usize) {
    assert_eq!(real.cold.len(), steps, "{:?}", real.cold);
    assert!(real.cold.values().all(|outcome| outcome == "ran"), "{:?}", real.cold);
    assert!(!real.outs.is_empty());
}

fn second_runs_nothing(real: &Real) {
    let project = real.served();
    assert_eq!(real.ran(&project), [""; 0]);
    assert_eq!(outs(&project), real.outs);
}

fn touching_runs_nothing(real: &Real) {
    let project = real.served();
    for file in files_below(project.path()) {
        let is_kilns = file.starts_with(project.at(".kiln")) || file.starts_with(project.at("out"));
        if !is_kilns {
            let times = FileTimes::new().set_modified(SystemTime::now());
            File::options().append(true).open(file).unwrap().set_times(times).unwrap();
        }
    }
    assert_eq!(real.ran(&project), [""; 0]);
}

fn what_is_lost_comes_from_the_store(real: &Real) {
    let project = real.served();
    fs::remove_dir_all(project.at("out")).unwrap();
    assert_eq!(real.ran(&project), [""; 0]);
    assert_eq!(outs(&project), real.outs);
    fs::remove_dir_all(project.at("out")).unwrap();
    fs::remove_dir_all(project.at(".kiln")).unwrap();
    assert_eq!(real.ran(&project), [""; 0]);
    assert_eq!(outs(&project), real.outs);
}

fn a_clone_shares_the_store(real: &Real) {
    let project = real.clone_of();
    let cached = outcomes(&real.run(&project)).into_values().filter(|outcome| outcome == "cached");
    assert_eq!(cached.count(), real.cold.len());
    assert_eq!(outs(&project), real.outs);
}

fn eight_at_once_run_each_step_once(real: &Real) {
    let project = real.clone_of();
    let store = tempfile::tempdir().unwrap();
    let spawn = |_| {
        let mut kiln = command(&project, store.path()).command();
        kiln.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let kilns: Vec<_> = (0..8).map(spawn).collect();
    let mut runs: BTreeMap<String, usize> =
        real.cold.keys().map(|step| (step.clone(), 0)).collect();
    runs.extend(count_runs(kilns));
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
    assert_eq!(outs(&project), real.outs);
}

macro_rules! claims_of_both {
    ($run:ident, $steps:expr) => {
        #[test]
        fn the_first_run_makes_and_tests_everything() {
            real(&$run).inspect(|real| first_runs_everything(real, $steps));
        }

        #[test]
        fn a_second_run_does_nothing() {
            real(&$run).inspect(|real| second_runs_nothing(real));
        }

        #[test]
        fn touching_all_files_does_nothing() {
            real(&$run).inspect(|real| touching_runs_nothing(real));
        }

        #[test]
        fn lost_outs_and_state_come_back_without_a_run() {
            real(&$run).inspect(|real| what_is_lost_comes_from_the_store(real));
        }

        #[test]
        fn a_clone_in_another_folder_hits_the_same_store() {
            real(&$run).inspect(|real| a_clone_shares_the_store(real));
        }

        #[test]
        fn eight_runs_at_once_agree_and_share_the_work() {
            real(&$run).inspect(|real| eight_at_once_run_each_step_once(real));
        }
    };
}

mod lua {
    use super::*;

    claims_of_both!(LUA_RUN, 42);

    /// The steps that follow when the interpreter is another.
    fn tests_of(real: &Real) -> Vec<String> {
        let is_test = |step: &&String| step.starts_with("line") || step.starts_with("scripts");
        real.cold.keys().filter(is_test).cloned().collect()
    }

    #[test]
    fn a_comment_compiles_one_file_and_stops_there() {
        let Some(real) = real(&LUA_RUN) else { return };
        let project = real.served();
        edit(&project, "src/lapi.c", |text| format!("/* Something to read. */ {text}"));
        assert_eq!(real.ran(&project), ["object[source: src/lapi.c]"]);
        assert_eq!(outs(&project), real.outs);
    }

    #[test]
    fn a_real_change_goes_on_to_link_and_tests() {
        let Some(real) = real(&LUA_RUN) else { return };
        let project = real.served();
        edit(&project, "src/lapi.c", |text| format!("{text}\nint lua_is_warm = 1;\n"));
        let mut steps = vec!["archive".to_owned()];
        steps.extend(tests_of(real));
        steps.extend(["lua".to_owned(), "object[source: src/lapi.c]".to_owned()]);
        steps.sort();
        assert_eq!(real.ran(&project), steps);
        assert_ne!(outs(&project), real.outs);
    }

    #[test]
    fn a_file_joins_and_leaves_a_glob() {
        let Some(real) = real(&LUA_RUN) else { return };
        let project = real.served();
        project.write("src/lextra.c", "int lua_extra(void) { return 1; }\n");
        // Nothing takes it from the archive, so the interpreter stays as it is.
        assert_eq!(real.ran(&project), ["archive", "lua", "object[source: src/lextra.c]"]);
        fs::remove_file(project.at("src/lextra.c")).unwrap();
        assert_eq!(real.ran(&project), [""; 0]);
        let outs = outs(&project);
        assert!(real.outs.iter().all(|(path, bytes)| outs.get(path) == Some(bytes)));
    }

    #[test]
    fn an_edit_of_equal_size_and_time_is_seen() {
        let Some(real) = real(&LUA_RUN) else { return };
        let project = real.served();
        let path = project.at("tests/closures.lua");
        let text = fs::read_to_string(&path).unwrap();
        for change in [text.replace("a() == 2", "a()  ==2"), text] {
            let modified = path.metadata().unwrap().modified().unwrap();
            fs::write(&path, change).unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            file.set_times(FileTimes::new().set_modified(modified)).unwrap();
            let seen = outcomes(&real.run(&project));
            assert!(seen.contains_key("scripts[script: tests/closures.lua]"), "{seen:?}");
        }
        // Now without a pause: each edit may share its tick with the run before it.
        for round in 0..8 {
            let wrong = "assert(false)";
            project.write("tests/coroutines.lua", format!("{wrong:16}-- {round}"));
            command(&project, &real.store).run().exits(1);
            project.write("tests/coroutines.lua", format!("{:16}-- {round}", "assert(true)"));
            command(&project, &real.store).run().exits(0);
        }
    }
}

mod rust {
    use super::*;

    claims_of_both!(RUST_RUN, 4);

    #[test]
    fn a_change_is_built_and_tested_without_fetching() {
        let Some(real) = real(&RUST_RUN) else { return };
        let project = real.served();
        edit(&project, "src/main.rs", |text| format!("{text}\n// Something to read.\n"));
        let ran = real.ran(&project);
        assert!(!ran.contains(&"crates".to_owned()), "{ran:?}");
        assert!(ran.contains(&"unit".to_owned()), "{ran:?}");
    }
}
