//! The binary as tests use it: a project in a temporary folder, a clean environment, and assertions
//! that show what differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A project in a folder that goes away with it.
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// Returns an empty project.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // The project's root, whatever stands above the temporary folder.
        std::fs::create_dir(folder.path().join(".git")).expect("the folder is new");
        Self { folder }
    }

    /// Returns a project whose `pipeline.pipe` holds `text`.
    pub(crate) fn of(text: impl AsRef<[u8]>) -> Self {
        Self::new().with("pipeline.pipe", text)
    }

    /// Adds a file, with the folders it stands in; a path that ends in `/` is an empty folder.
    pub(crate) fn with(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.write(path, bytes);
        self
    }

    /// Adds the files that a text asks for, empty: `# files: src/a.c docs/ queue|`, where `docs/` is a
    /// folder and `queue|` a named pipe.
    pub(crate) fn with_files_of(self, text: &str) -> Self {
        let asked = text.lines().filter_map(|line| line.strip_prefix("# files: "));
        for path in asked.flat_map(str::split_whitespace) {
            match path.strip_suffix('|') {
                Some(path) => self.make_pipe(path),
                None => self.write(path, ""),
            }
        }
        self
    }

    pub(crate) fn make_pipe(&self, path: &str) {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, self.at(path), kind, mode, 0)
            .expect("the name is free");
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let place = self.at(path);
        let folder = if path.ends_with('/') { Some(&*place) } else { place.parent() };
        std::fs::create_dir_all(folder.expect("it is below the project")).unwrap();
        if !path.ends_with('/') {
            std::fs::write(place, bytes).unwrap();
        }
    }

    /// Adds all files below `folder` of this repository.
    pub(crate) fn with_copy_of(self, folder: &Path) -> Self {
        for file in files_below(folder) {
            let path = file.strip_prefix(folder).unwrap().to_str().expect("names are UTF-8");
            self.write(path, std::fs::read(&file).unwrap());
            // A script stays one that can be run.
            let permissions = file.metadata().unwrap().permissions();
            std::fs::set_permissions(self.at(path), permissions).unwrap();
        }
        self
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `kiln` with arguments that blanks separate.
    pub(crate) fn kiln(&self, arguments: &str) -> Done {
        Kiln::new(self.path()).arguments(arguments.split_whitespace()).run()
    }
}

/// A call of the binary.
pub(crate) struct Kiln(Command);

impl Kiln {
    /// Returns a call in `folder`, with nothing of this process's environment but `PATH`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_kiln")), folder)
    }

    /// Returns a call of another binary than the one under test.
    pub(crate) fn of(program: &Path, folder: &Path) -> Self {
        Self(clean(Command::new(program), folder))
    }

    /// Returns a call through a line of the shell, in which `"$0"` is the binary.
    pub(crate) fn through_shell(folder: &Path, line: &str) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).arg(env!("CARGO_BIN_EXE_kiln"));
        Self(clean(command, folder))
    }

    pub(crate) fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Returns the command, for tests that need more of it.
    pub(crate) fn command(self) -> Command {
        self.0
    }

    pub(crate) fn run(mut self) -> Done {
        let output = self.0.output().expect("the binary was built");
        Done { call: format!("{:?}", self.0.get_args()), output }
    }
}

fn clean(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command.env("LC_ALL", "C.UTF-8").env("HOME", folder);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Returns a call by way of another program, such as `strace`, with its first arguments.
pub(crate) fn by_way_of(program: &str, arguments: &[&str], call: &Command) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(call.get_program()).args(call.get_args()).env_clear();
    command.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = call.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

/// Waits for the end of a process; returns `None` if it takes longer than that, and ends it.
pub(crate) fn wait_at_most(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if begin.elapsed() > time {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// What a call came to.
pub(crate) struct Done {
    call: String,
    output: Output,
}

impl Done {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let found = self.output.status;
        assert!(
            found.code() == Some(code),
            "kiln {} ended with {found}, not {code}\n--- stdout\n{}--- stderr\n{}",
            self.call,
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// Returns the exit code; `None` if a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("kiln writes UTF-8")
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).expect("kiln writes UTF-8")
    }

    /// Asserts all that was written to stdout.
    #[track_caller]
    pub(crate) fn says(self, stdout: &str) -> Self {
        assert_same("stdout", stdout, &self.stdout());
        self
    }

    /// Asserts a part of what was written to stderr.
    #[track_caller]
    pub(crate) fn tells(self, part: &str) -> Self {
        let stderr = self.stderr();
        assert!(stderr.contains(part), "kiln {} does not tell {part:?}:\n{stderr}", self.call);
        self
    }

    /// Asserts that nothing was written to stderr.
    #[track_caller]
    pub(crate) fn says_nothing(self) -> Self {
        assert_same("stderr", "", &self.stderr());
        self
    }

    /// Returns the JSON of each line of stdout.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let line = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
        };
        self.stdout().lines().map(line).collect()
    }

    /// Returns the `diagnostic` events among the lines.
    #[track_caller]
    pub(crate) fn diagnostics(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["type"] == "diagnostic").collect()
    }
}

/// Returns which step is at its end and how, if an event says that.
pub(crate) fn step_end(event: &Value) -> Option<(String, String)> {
    let text = |key: &str| event[key].as_str().expect("each end has it").to_owned();
    (event["type"] == "step.finished").then(|| (text("step"), text("outcome")))
}

/// Waits for runs that tell of their events, and must pass; returns how often each step ran in all
/// of them together.
pub(crate) fn count_runs(kilns: Vec<Child>) -> BTreeMap<String, usize> {
    let mut runs = BTreeMap::new();
    for kiln in kilns {
        let done = kiln.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8(done.stdout).unwrap(), done.stderr);
        assert!(done.status.success(), "{out}\n{}", String::from_utf8_lossy(&err));
        for line in out.lines() {
            if let Some((step, outcome)) = step_end(&serde_json::from_str(line).unwrap()) {
                *runs.entry(step).or_default() += usize::from(outcome == "ran");
            }
        }
    }
    runs
}

/// Says that a test proves nothing here, and why.
pub(crate) fn skipped(why: &str) {
    tell(&format!("skipped: {why}"));
}

/// Says something even of a test that passes.
pub(crate) fn tell(what: &str) {
    use std::io::Write as _;
    // Not `eprintln`: what that says of a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Returns whether expectations are to be rewritten: `KILN_BLESS=1`.
pub(crate) fn blesses() -> bool {
    std::env::var_os("KILN_BLESS").is_some_and(|value| value == "1")
}

/// Asserts that two texts are the same and shows where they are not.
#[track_caller]
pub(crate) fn assert_same(what: &str, expected: &str, found: &str) {
    if let Some(difference) = difference(what, expected, found) {
        panic!("{difference}");
    }
}

/// Returns how two texts differ, line by line; `None` if they do not.
pub(crate) fn difference(what: &str, expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let mut text = format!("{what} differs (- expected, + found)\n");
    let diff = similar::TextDiff::from_lines(expected, found);
    for change in diff.iter_all_changes() {
        let _ = write!(text, "{}{}", change.tag(), change);
    }
    Some(text)
}

/// Returns how a found text differs from the file that holds the expected one, or rewrites the file.
pub(crate) fn difference_to_file(file: &Path, found: &str) -> Option<String> {
    let name = relative(file);
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    if blesses() && expected != found {
        std::fs::write(file, found).unwrap();
        return None;
    }
    difference(&name, &expected, found)
}

/// Fails with all problems, if there are any.
#[track_caller]
pub(crate) fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems\n\n{}\n", problems.len(), problems.join("\n\n"));
}

/// Returns a folder of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns a path as seen from the root of this repository.
pub(crate) fn relative(path: &Path) -> String {
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
    path.to_str().expect("names are UTF-8").to_owned()
}

/// Returns all files below a folder, sorted; none if it is not there.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}
