//! The sandbox, tried with real programs.

mod beside;
mod ends;
mod runs;
mod tools;
mod walls;
mod weak;

use std::path::Path;
use std::sync::OnceLock;

use super::*;

/// Makes every test a possible launcher: the test harness owns `main` and starts threads there,
/// so this runs before it.
#[expect(unsafe_code, reason = "the linker is told to run a function before `main`")]
// SAFETY: the section holds functions that the C library calls with its own start finished.
#[unsafe(link_section = ".init_array")]
#[used]
static LAUNCH: extern "C" fn() = {
    extern "C" fn launch() {
        launch_if_asked();
    }
    launch
};

/// One sandbox for all tests.
fn cells() -> &'static Cells {
    static CELLS: OnceLock<Cells> = OnceLock::new();
    CELLS.get_or_init(|| Cells::new(Launcher::this_program().unwrap(), scratch()).unwrap())
}

/// Returns a sandbox for one test alone.
fn own_cells() -> Cells {
    Cells::new(Launcher::this_program().unwrap(), scratch()).unwrap()
}

/// Returns a command outside of any sandbox.
#[expect(clippy::disallowed_methods, reason = "tests start what a sandbox is tried with")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    std::process::Command::new(program)
}

/// Where scratch space on disk is made.
fn scratch() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("kiln-sandbox-tests-{}", std::process::id()))
}

/// A run of one step, with a place for its inputs and outs.
struct Try {
    spec: Spec,
    dir: tempfile::TempDir,
}

/// What came of it.
struct Tried {
    outcome: Outcome,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    dir: tempfile::TempDir,
}

impl Try {
    fn new<const N: usize>(argv: [&str; N]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let capture = dir.path().join("capture");
        std::fs::create_dir(&capture).unwrap();
        let spec = Spec {
            root: Root::Host,
            lowers: Vec::new(),
            mounts: Vec::new(),
            host_paths: Vec::new(),
            argv: argv.map(Word::from).to_vec(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("HOME".into(), Place::Home.into())],
            cwd: String::new(),
            network: Network::None,
            limits: Limits::default(),
            scratch: Scratch::Memory,
            outs: Vec::new(),
            capture,
            files: Vec::new(),
            keep: None,
            gone: Vec::new(),
            streams: None,
            services: Vec::new(),
        };
        Self { spec, dir }
    }

    fn shell(script: &str) -> Self {
        Self::new(["/bin/sh", "-c", script])
    }

    /// Adds a lower with these files, below those there are.
    fn lower(mut self, files: &[(&str, &str)]) -> Self {
        let lower = self.dir.path().join(format!("lower-{}", self.spec.lowers.len()));
        for (path, text) in files {
            let path = lower.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.spec.lowers.push(lower);
        self
    }

    fn out(mut self, path: &str, kind: OutKind) -> Self {
        self.spec.outs.push(OutPath { path: path.into(), kind, placed: false });
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Returns the spec, with a capture directory that may go.
    fn spec_alone(self) -> Spec {
        Spec { capture: std::env::temp_dir(), ..self.spec }
    }

    fn run(self) -> Tried {
        self.try_run().unwrap()
    }

    fn try_run(self) -> Result<Tried, SandboxError> {
        self.run_in(cells(), &Cancel::new().unwrap())
    }

    fn run_in(self, sandbox: &dyn Sandbox, cancel: &Cancel) -> Result<Tried, SandboxError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let outcome = sandbox.run(&self.spec, cancel, &mut |stream, bytes| match stream {
            Stream::Stdout => stdout.extend_from_slice(bytes),
            Stream::Stderr => stderr.extend_from_slice(bytes),
            Stream::Service(place) => {
                stderr.extend_from_slice(format!("<{place}>").as_bytes());
                stderr.extend_from_slice(bytes);
            }
        })?;
        Ok(Tried { outcome, stdout, stderr, dir: self.dir })
    }
}

impl Tried {
    /// Returns standard output of a step that must have worked.
    #[track_caller]
    fn text(&self) -> String {
        let errors = String::from_utf8_lossy(&self.stderr);
        assert_eq!(self.outcome.exit, Exit::Code(0), "{errors}");
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// Returns the bytes of the captured file `index`.
    #[track_caller]
    fn file(&self, index: usize) -> Vec<u8> {
        let CapturedOut::File(file) = &self.outcome.captured[index] else {
            panic!("{:?}", self.outcome.captured[index])
        };
        self.bytes(file)
    }

    fn bytes(&self, file: &CapturedFile) -> Vec<u8> {
        let bytes = std::fs::read(file.path_in(&self.dir.path().join("capture"))).unwrap();
        assert_eq!(crate::digest::Digest::of(&bytes), file.digest);
        bytes
    }

    /// Returns each entry of the captured directory `index` as a line of text.
    #[track_caller]
    fn entries(&self, index: usize) -> Vec<String> {
        let CapturedOut::Dir(entries) = &self.outcome.captured[index] else {
            panic!("{:?}", self.outcome.captured[index])
        };
        let line = |entry: &Entry| {
            let path = entry.path.escape_ascii();
            match &entry.node {
                Node::Dir => format!("{path}/"),
                Node::NewDir => format!("{path}/ is new"),
                Node::Gone => format!("{path} is gone"),
                Node::Link { target } => format!("{path} -> {}", target.escape_ascii()),
                Node::File(file) => {
                    let mark = if file.executable { "*" } else { "" };
                    format!("{path}{mark} {}", self.bytes(file).escape_ascii())
                }
            }
        };
        entries.iter().map(line).collect()
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}
