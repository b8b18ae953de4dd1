//! The command line: commands and their arguments. Knows how they are written; does not know what
//! they do.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kiln::session::{Slice, Source};

/// From commit to running servers as one typed, cached, hermetic graph.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "The pipeline is `pipeline.pipe` in this folder or the nearest one above it."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How output is written [default: live on a terminal, else plain].
    #[arg(long, global = true, value_enum, value_name = "FORM")]
    pub(crate) ui: Option<Ui>,
}

/// How output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ui {
    /// Text that a terminal keeps up to date.
    Live,
    /// Text, a line for what is done.
    Plain,
    /// One JSON object a line, for programs.
    Jsonl,
    /// Only what went wrong.
    Quiet,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find every mistake in the pipeline; nothing runs.
    Check(PipelineArgs),
    /// Run stages and all they need.
    Run(RunArgs),
    /// Show its stages and params with their descriptions.
    List(ListArgs),
    /// Show what would run.
    Plan(PlanArgs),
    /// Show which step waits for which.
    Graph(GraphArgs),
    /// Show what a step wrote in the last run; without a step, list them.
    Log(LogArgs),
    /// Look into a step: a shell with all that it has, and what it left when it failed.
    Shell(ShellArgs),
    /// Show what made a step run again.
    Why(WhyArgs),
    /// List past runs; of one, show the critical path and what would make it shorter.
    History(HistoryArgs),
    /// Show in what two runs differ, step by step.
    Diff(DiffArgs),
    /// Write a run as a trace, for chrome://tracing or https://ui.perfetto.dev.
    Trace(TraceArgs),
    /// Hold the pipeline against its specs; nothing runs.
    Spec(SpecArgs),
    /// Write `.pipe` files in the one style.
    Fmt(FmtArgs),
    /// Explain a code, function, field, fact or module: K0201, `files`, `timeout`, `host.os`, std.rust.
    Explain(ExplainArgs),
    /// Answer an editor: a language server on the standard streams.
    Lsp(LspArgs),
    /// Look after the cache.
    Cache(CacheCommand),
    /// Show what this machine can do, and what cures what it cannot.
    Doctor(DoctorArgs),
}

/// Which pipeline, and with which params.
#[derive(Args, Debug)]
pub(crate) struct PipelineArgs {
    /// The pipeline's file.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Set a param; the variable KILN_PARAM_NAME does the same.
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) params: Vec<(String, String)>,
    /// Set the params that a file has, NAME=VALUE on each line; what is set otherwise wins.
    #[arg(long = "params", value_name = "FILE")]
    pub(crate) param_files: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// The stages to run, with all they need [default: all].
    #[arg(value_name = "STAGE")]
    pub(crate) stages: Vec<String>,
    /// How many steps run beside each other [default: the number of processors].
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroU32>,
    /// After a failure, go on with what does not need the failed step.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Run a stage again even if its result is known.
    #[arg(long, value_name = "STAGE")]
    pub(crate) rerun: Vec<String>,
    /// Run steps once more when they have passed, also those of which the result is known, with nothing
    /// kept: what they make has to be the same. A share, as in 10%, chooses other steps in each run.
    #[arg(long, value_name = "SHARE", value_parser = share, num_args = 0..=1, require_equals = true,
          default_missing_value = "100%")]
    pub(crate) verify: Option<u8>,
    /// Run again whenever a file that the pipeline reads has changed, until Ctrl-C.
    #[arg(long, conflicts_with = "slice")]
    pub(crate) watch: bool,
    /// Run the Nth of M parts, each on a machine of its own: 1/3, 2/3 and 3/3 have all between them.
    #[arg(long, value_name = "N/M", value_parser = slice)]
    pub(crate) slice: Option<Slice>,
    /// Where a secret comes from: NAME=env:VARIABLE, NAME=file:PATH or NAME=command:LINE
    /// [default: the variable KILN_SECRET_NAME].
    #[arg(long = "secret", value_name = "NAME=SOURCE", value_parser = secret)]
    pub(crate) secrets: Vec<(String, Source)>,
    /// The folder for what the stages make [default: `out` beside the pipeline].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    /// How steps are walled in.
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    pub(crate) sandbox: Sandbox,
}

/// Which cache.
#[derive(Args, Clone, Debug)]
pub(crate) struct CacheArgs {
    /// The folder of the cache [default: $KILN_CACHE, $XDG_CACHE_HOME/kiln or ~/.cache/kiln].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

/// How steps are walled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sandbox {
    /// In namespaces of their own.
    #[default]
    Namespaces,
    /// As well as it goes without namespaces; what then does not hold is said first.
    Weak,
}

#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    #[command(flatten)]
    pub(crate) pipeline: FileArgs,
    /// The step, as runs name it [default: list all].
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<String>,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// The step, as runs name it, or a stage of one step.
    #[arg(value_name = "STEP")]
    pub(crate) step: String,
    /// With the inputs only, not with what the step left when it failed.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Where a secret comes from: NAME=env:VARIABLE, NAME=file:PATH or NAME=command:LINE
    /// [default: the variable KILN_SECRET_NAME].
    #[arg(long = "secret", value_name = "NAME=SOURCE", value_parser = secret)]
    pub(crate) secrets: Vec<(String, Source)>,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

#[derive(Args, Debug)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    pub(crate) pipeline: FileArgs,
    /// The step, as runs name it.
    #[arg(value_name = "STEP")]
    pub(crate) step: String,
    /// Compare with this run instead of the one before: `last-N`, how an id begins, or a journal's file.
    #[arg(long, value_name = "RUN")]
    pub(crate) against: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) pipeline: FileArgs,
    /// The run: `last`, `last-N`, how an id begins, or a journal's file [default: list all].
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) pipeline: FileArgs,
    /// The one run: `last`, `last-N`, how an id begins, or a journal's file.
    #[arg(value_name = "RUN")]
    pub(crate) before: String,
    /// The other run.
    #[arg(value_name = "RUN", default_value = "last")]
    pub(crate) now: String,
}

#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) pipeline: FileArgs,
    /// The run: `last`, `last-N`, how an id begins, or a journal's file.
    #[arg(value_name = "RUN", default_value = "last")]
    pub(crate) run: String,
}

#[derive(Args, Debug)]
pub(crate) struct SpecArgs {
    #[command(flatten)]
    pub(crate) pipeline: FileArgs,
    /// Only specs with this in their titles; of several, with any of them [default: all].
    #[arg(value_name = "TEXT")]
    pub(crate) texts: Vec<String>,
}

/// Which pipeline, for commands that take no params.
#[derive(Args, Debug)]
pub(crate) struct FileArgs {
    /// The pipeline's file.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct CacheCommand {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) verb: CacheVerb,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheVerb {
    /// Show how much it holds.
    Stats,
    /// Read all of it; what is damaged is set aside, and made again by the next run.
    Verify,
    /// Remove what was least recently used.
    Gc(GcArgs),
}

#[derive(Args, Debug)]
pub(crate) struct GcArgs {
    /// How large it may stay: 500M, 20G, 0 [default: 20G].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    /// The stages to plan, with all they need [default: all].
    #[arg(value_name = "STAGE")]
    pub(crate) stages: Vec<String>,
    /// The whole plan as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// The stages to show, with all they need [default: all].
    #[arg(value_name = "STAGE")]
    pub(crate) stages: Vec<String>,
    /// The form of the graph.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: GraphFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A line a step, with those it needs.
    #[default]
    Text,
    /// For Graphviz.
    Dot,
    /// For programs.
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct FmtArgs {
    /// Files and folders; a folder stands for all `.pipe` files below it; `-` for standard input.
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) paths: Vec<PathBuf>,
    /// Change nothing; exit 6 if a file would change.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The code or name [default: list all codes].
    #[arg(value_name = "NAME")]
    pub(crate) code: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct LspArgs {
    /// What editors pass to a server that can do more than one thing; this one can do no other.
    #[arg(long, hide = true)]
    pub(crate) stdio: bool,
}

/// Reads `NAME=VALUE`.
pub(crate) fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// A secret and where it comes from.
fn secret(text: &str) -> Result<(String, Source), String> {
    let source = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let source = source.and_then(|(name, source)| Some((name.to_owned(), Source::parse(source)?)));
    source.ok_or_else(|| {
        "expected NAME=env:VARIABLE, NAME=file:PATH or NAME=command:LINE; a value itself would be \
         seen by all users of the machine"
            .to_owned()
    })
}

fn slice(text: &str) -> Result<Slice, String> {
    Slice::parse(text).ok_or_else(|| "expected N/M with N from 1 to M, such as 3/7".to_owned())
}

/// A share of 100: a whole number and `%`.
fn share(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    let share = number.filter(|share| (1..=100).contains(share));
    share.ok_or_else(|| "expected a share from 1% to 100%".to_owned())
}

/// A size in bytes: a whole number, and a unit of 1024 or its powers.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err("expected a size such as 500M or 20G".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "expected a size such as 500M or 20G".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "no disk is that large".to_owned())
}
