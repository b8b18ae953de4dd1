//! Steps: the nodes of the graph as plain data. Knows what a step runs, sees and makes; does not
//! know how it is run, nor whether it has to be.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::artifact::{Artifact, Input, Out, OutKind, is_false};

/// The most services that one step may have.
pub const MAX_SERVICES: usize = 16;

/// The place of a [`Step`] in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(u32);

impl StepId {
    /// Returns the id of the step at `index`, below 2^32.
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2^32 steps"))
    }

    /// Returns the place in `Plan::steps`.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One node of the graph: a stage, or one row of its matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The name people use, unique in the plan: `unit[toolchain: 1.88, shard: 2]`.
    pub name: String,
    /// The stage it is of, with its module: `web.unit`.
    pub stage: String,
    /// The values of the matrix axes, as text; empty for a stage of one row.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub row: IndexMap<String, String>,
    /// The row as one path component, unique in the stage; empty for a stage of one row.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub row_dir: String,
    /// What it is for.
    pub kind: StepKind,
    /// Where it is declared.
    pub place: Place,
    /// The folder it runs in: the project path of its file's folder, empty for the root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// The file system it runs on.
    pub root: Root,
    /// What is added to its `PATH`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// What stands in its working tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// The environment that its author declared.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub env: IndexMap<String, Text>,
    /// The secrets it may see, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// The services that are up while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceUse>,
    /// What it runs, in order, in one sandbox; the first failure ends it.
    pub commands: Vec<Command>,
    /// What it makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outs: Vec<Out>,
    /// Steps that must have passed before it starts, beside those it takes artifacts from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<StepId>,
    /// What it can reach.
    pub network: Network,
    /// What bounds it.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// How many more tries follow a failure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Whether its failure is tolerated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub may_fail: bool,
    /// Directories of its own kept between its runs, as build paths or `~/…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// The pools it takes a place of while its commands run, each with how many places it has: of a
    /// lock one.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub pools: IndexMap<String, u32>,
    /// The platform it must run on, `os/arch`; `None` for the one Kiln runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

impl Step {
    /// Returns the steps that must be done before this one, each once for each reason.
    pub fn needs(&self) -> impl Iterator<Item = StepId> {
        let inputs = self.inputs.iter().filter_map(|input| match input {
            Input::Artifact { artifact, .. } => Some(artifact.step),
            Input::Files { .. } | Input::History { .. } => None,
        });
        let root = match &self.root {
            Root::Artifact(artifact) => Some(artifact.step),
            Root::Host | Root::Tree { .. } | Root::Layout { .. } => None,
        };
        let tools = self.tools.iter().filter_map(|tool| match tool {
            Tool::Artifact(artifact) => Some(artifact.step),
            Tool::Host { .. } | Tool::Tree { .. } => None,
        });
        inputs.chain(root).chain(tools).chain(self.require.iter().copied())
    }

    /// Returns whether it makes an image of its root, to which it then can write as user 0.
    pub fn keeps_root(&self) -> bool {
        self.outs.iter().any(|out| out.kind == OutKind::Image)
    }

    /// Gives back the room that its lists have for more: most plans have many steps with short lists.
    pub(crate) fn shrink(&mut self) {
        self.inputs.shrink_to_fit();
        self.tools.shrink_to_fit();
        self.commands.shrink_to_fit();
        self.outs.shrink_to_fit();
        self.require.shrink_to_fit();
    }

    /// Returns the out with that name.
    pub fn out(&self, name: &str) -> Option<&Out> {
        self.outs.iter().find(|out| out.name == name)
    }
}

/// A row of a stage that is no step, since its condition does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedStep {
    /// The name the step would have.
    pub name: String,
    /// The stage it is of, with its module.
    pub stage: String,
    /// What it is for.
    pub kind: StepKind,
    /// Where its stage is declared.
    pub place: Place,
    /// Which part of the condition does not hold, and what was found, for people.
    pub why: String,
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// It makes artifacts.
    Build,
    /// It gives a verdict.
    Test,
    /// It stays up beside steps: the program of a [`Service`], and never a step of a plan.
    Service,
}

impl StepKind {
    /// Returns the keyword of the language.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Test => "test",
            Self::Service => "service",
        }
    }
}

/// A place in a `.pipe` file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The project path of the file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

/// The file system a step runs on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// The system directories of the machine, read-only.
    Host,
    /// A folder, or a tar archive of one.
    Tree {
        /// A project path, or an absolute path of the machine.
        path: String,
    },
    /// The image for the step's platform in an OCI image layout, or in an archive of one.
    Layout {
        /// A project path, or an absolute path of the machine.
        path: String,
    },
    /// A root that another step made.
    Artifact(Artifact),
}

/// A tree or program added to a step's `PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "tool", rename_all = "snake_case")]
pub enum Tool {
    /// A program of the machine, found through Kiln's own `PATH`, with its installation.
    Host {
        /// The program's name, without `/`.
        name: String,
    },
    /// A directory taken into the store once: its `bin`, or itself where it has none.
    Tree {
        /// A project path, or an absolute path of the machine.
        path: String,
    },
    /// A directory that another step made.
    Artifact(Artifact),
}

/// Text for a command or an environment variable, in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text {
    /// The pieces; the text is all of them in a row.
    pub pieces: Vec<TextPiece>,
}

impl Text {
    /// Returns a text of one literal piece.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { pieces: vec![TextPiece::Literal(text.into())] }
    }

    /// Returns a text that is the place of a build path.
    pub fn path(path: impl Into<String>) -> Self {
        Self { pieces: vec![TextPiece::Path { path: path.into() }] }
    }

    /// Returns the text with `build_dir`, an absolute path, before every build path.
    pub fn resolve(&self, build_dir: &str) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                TextPiece::Literal(literal) => text.push_str(literal),
                TextPiece::Path { path } if path.is_empty() => text.push_str(build_dir),
                TextPiece::Path { path } => {
                    text.push_str(build_dir);
                    text.push('/');
                    text.push_str(path);
                }
            }
        }
        text
    }
}

/// A piece of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TextPiece {
    /// These characters.
    Literal(String),
    /// The absolute path, in the sandbox, of something in the working tree.
    Path {
        /// Its build path.
        path: String,
    },
}

/// One thing a step runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "run", rename_all = "snake_case")]
pub enum Command {
    /// A script, given to its interpreter as a file.
    Script {
        /// The interpreter.
        language: Language,
        /// The script; its holes are references to `holes`. No value ever stands in it.
        text: String,
        /// The values of the holes, set in the environment of this command only.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        holes: IndexMap<String, Text>,
        /// Where it stands.
        place: Place,
    },
    /// A program and its arguments, without a shell.
    Argv {
        /// The program, found through the step's `PATH`, then its arguments; never empty.
        arguments: Vec<Text>,
        /// Where it stands.
        place: Place,
    },
}

/// The interpreter of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// `sh -eu`
    Sh,
    /// `bash -euo pipefail`
    Bash,
    /// `python3`
    Python,
    /// `node`, for a script that may `require`.
    Node,
    /// `node`, for a script that is an ES module: it may `import` and `await`.
    NodeModule,
}

impl Language {
    /// Returns the interpreter and its options; the script's path follows.
    pub fn interpreter(self) -> &'static [&'static str] {
        match self {
            Self::Sh => &["sh", "-eu"],
            Self::Bash => &["bash", "-euo", "pipefail"],
            Self::Python => &["python3"],
            // Node looks for what a file imports beside that file, and for what its standard input
            // imports in the folder it runs in: where authors see their scripts.
            Self::Node => &["sh", "-c", "exec node --input-type=commonjs - <\"$0\""],
            Self::NodeModule => &["sh", "-c", "exec node --input-type=module - <\"$0\""],
        }
    }

    /// Returns the program's name, as people know it.
    pub fn program(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Bash => "bash",
            Self::Python => "python3",
            Self::Node | Self::NodeModule => "node",
        }
    }

    /// Returns variables for a script and what it starts, for a step that runs in `folder`. The
    /// step's own ones win.
    pub fn variables(self, folder: &str) -> Vec<(&'static str, Text)> {
        match self {
            // The step is isolated already, so Python itself need not be (`-I`), which would keep
            // `PYTHONPATH` from working. Bytecode holds times and would get into outs; sets of texts
            // would have another order in each run; and what is printed is to be seen at once, between
            // what others print.
            Self::Python => vec![
                ("PYTHONDONTWRITEBYTECODE", Text::literal("1")),
                ("PYTHONHASHSEED", Text::literal("0")),
                ("PYTHONPATH", Text::path(folder)),
                ("PYTHONUNBUFFERED", Text::literal("1")),
            ],
            Self::Sh | Self::Bash | Self::Node | Self::NodeModule => Vec::new(),
        }
    }
}

/// What a step can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing, not even itself.
    None,
    /// Only itself, through a loopback interface of its own.
    Loopback,
    /// Whatever the machine can reach.
    Full,
}

/// What bounds a step. `None` leaves it to the engine's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Milliseconds until it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_millis: Option<u64>,
    /// Bytes of memory of all its processes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processors it is counted for when steps run beside each other, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Processes and threads at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Bytes that it may have written at one time, below its working tree, home and `/tmp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch_bytes: Option<u64>,
    /// Bytes of its output that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A secret that a step may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// The secret's name in the pipeline.
    pub secret: String,
    /// The environment variable that holds it, or the path of the file that does.
    pub variable: String,
    /// Whether the variable holds the path of a file with the secret instead of the secret.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_file: bool,
    /// Whether another value means another result.
    #[serde(default, skip_serializing_if = "is_false")]
    pub affects_cache: bool,
    /// Whether no result depends on its value, so that results may be shared.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_pure: bool,
}

/// A service beside a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceUse {
    /// The name by which the step knows it.
    pub name: String,
    /// Its place in `Plan::services`.
    pub service: u32,
}

/// A program that stays up beside steps. Each step has one of its own, in a network that they share
/// with nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What it runs and sees: a step without outs, limits and services. What it takes of steps, the
    /// steps that use it require.
    pub program: Step,
    /// The port it listens on once it is ready; `None` where that says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A program and its arguments, run beside it again and again until it exits with 0: the service
    /// is ready then. Empty for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ready: Vec<Text>,
    /// Milliseconds that it may take to be ready.
    pub within_millis: u64,
}

/// A stage whose rows come from what steps make, or that needs such a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateStage {
    /// The stage, with its module.
    pub stage: String,
    /// What its steps are for.
    pub kind: StepKind,
    /// Where it is declared.
    pub place: Place,
    /// Whether rows of it are not known yet: the plan then lacks their steps.
    pub is_open: bool,
    /// The outs of steps of this plan that must be known first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaits: Vec<Artifact>,
    /// The most rows it may have, if it is the one that goes through what a step makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Plans for tests of this crate.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::plan::{Plan, VERSION};

    /// Returns a plan of trivial steps; step `i` requires those at `needs[i]`.
    pub(crate) fn plan(needs: &[&[usize]]) -> Plan {
        let step = |at: usize, needs: &&[usize]| Step {
            require: needs.iter().copied().map(StepId::new).collect(),
            ..step(&format!("step{at}"))
        };
        Plan {
            version: VERSION,
            params: IndexMap::new(),
            facts: IndexMap::new(),
            file_sets: Vec::new(),
            steps: needs.iter().enumerate().map(|(at, needs)| step(at, needs)).collect(),
            skipped: Vec::new(),
            late_stages: Vec::new(),
            services: Vec::new(),
        }
    }

    /// Returns a build step that runs nothing.
    pub(crate) fn step(name: &str) -> Step {
        Step {
            name: name.into(),
            stage: name.into(),
            row: IndexMap::new(),
            row_dir: String::new(),
            kind: StepKind::Build,
            place: Place { file: "pipeline.pipe".into(), line: 1, start: 0, end: 0 },
            folder: String::new(),
            root: Root::Host,
            tools: Vec::new(),
            inputs: Vec::new(),
            env: IndexMap::new(),
            secrets: Vec::new(),
            services: Vec::new(),
            commands: Vec::new(),
            outs: Vec::new(),
            require: Vec::new(),
            network: Network::None,
            limits: Limits::default(),
            retries: 0,
            may_fail: false,
            keep: Vec::new(),
            pools: IndexMap::new(),
            platform: None,
        }
    }
}
