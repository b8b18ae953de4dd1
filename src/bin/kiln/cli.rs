//! The command line: commands and their arguments. Knows how they are written; does not know what
//! they do.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    #[arg(long, global = true, value_enum, value_name = "FORM", hide_possible_values = true)]
    #[arg(help = "How output is written: live, plain, jsonl or quiet")]
    #[arg(long_help = "How output is written [default: live on a terminal, else plain]")]
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
    /// Write `.pipe` files in the one style.
    Fmt(FmtArgs),
    /// Explain a code such as K0201, a function such as `files` or a field such as `timeout`.
    Explain(ExplainArgs),
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
    #[arg(long, value_name = "DIR")]
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

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
