//! The fields of stages and services: their record types. Knows names, types and defaults; does not
//! know what the engine makes of them.

use std::sync::Arc;

use crate::lang::ty::Type;
use crate::syntax::ast::StageKind;

/// The most processors that a step can be counted for.
pub(crate) const MAX_CPUS: u32 = 1024;

/// The most tries that can follow a failure.
pub(crate) const MAX_RETRIES: u32 = 100;

/// The most processes that a step can be given.
pub(crate) const MAX_PROCESSES: u32 = 16_384;

/// The most places a pool can have.
pub(crate) const MAX_PLACES: u32 = 1024;

/// A field of a stage.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its type as an author writes it.
    pub(crate) written: &'static str,
    /// What it does, in one sentence.
    pub(crate) doc: &'static str,
    /// Whose field it is.
    pub(crate) of: Of,
}

/// Whose field one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Of `build` and `test`.
    Stages,
    Services,
    Both,
}

/// All fields, by name.
pub(crate) static FIELDS: &[Field] = &[
    Field {
        name: "cpus",
        written: "int(1..1024)",
        doc: "How many processors it is counted for when steps run beside each other.",
        of: Of::Stages,
    },
    Field {
        name: "image",
        written: "image",
        doc: "The file system it runs on; `host()` by default.",
        of: Of::Both,
    },
    Field {
        name: "keep",
        written: "list<string>",
        doc: "Folders that its next run finds as this one left them, for compilers' own caches.",
        of: Of::Stages,
    },
    Field {
        name: "locks",
        written: "list<string>",
        doc: "Locks that it holds while it runs: no two steps with the same one run at a time, in any run on this machine.",
        of: Of::Stages,
    },
    Field {
        name: "log",
        written: "size",
        doc: "The most of its output that is kept and shown; 64MiB by default.",
        of: Of::Stages,
    },
    Field {
        name: "may_fail",
        written: "bool",
        doc: "Whether the run goes on, and passes, when it fails.",
        of: Of::Stages,
    },
    Field {
        name: "memory",
        written: "size",
        doc: "The most memory that all its processes may take together; steps run beside each other as far as the machine has that much.",
        of: Of::Stages,
    },
    Field {
        name: "network",
        written: "\"none\" | \"loopback\" | \"full\"",
        doc: "What it can reach: nothing (the default of builds), itself (of tests), or all.",
        of: Of::Stages,
    },
    Field {
        name: "platform",
        written: "string",
        doc: "The platform it runs on, `os/arch` as in `linux/arm64`; that of the machine by default.",
        of: Of::Stages,
    },
    Field {
        name: "pools",
        written: "map<string, int(1..1024)>",
        doc: "Pools that it takes one place of while it runs, with their size: no more steps run at a time, in all runs on this machine.",
        of: Of::Stages,
    },
    Field {
        name: "port",
        written: "int(1..65535)",
        doc: "The port of 127.0.0.1 that it listens on once it is ready.",
        of: Of::Services,
    },
    Field {
        name: "processes",
        written: "int(1..16384)",
        doc: "The most processes and threads that it may have at a time; 16384 without it.",
        of: Of::Stages,
    },
    Field {
        name: "ready",
        written: "list<string>",
        doc: "A program and its arguments, run beside it until it exits with 0: it is ready then.",
        of: Of::Services,
    },
    Field {
        name: "require",
        written: "list<verdict>",
        doc: "Stages that must have passed before it starts.",
        of: Of::Stages,
    },
    Field {
        name: "retries",
        written: "int(0..100)",
        doc: "How many more tries follow a failure.",
        of: Of::Stages,
    },
    Field {
        name: "scratch",
        written: "size",
        doc: "The most that it may write to its working directory, its home and `/tmp` together.",
        of: Of::Stages,
    },
    Field {
        name: "timeout",
        written: "duration",
        doc: "How long it may take before it is stopped and has failed.",
        of: Of::Stages,
    },
    Field {
        name: "tools",
        written: "list<tool>",
        doc: "Programs and trees that are added to its `PATH`.",
        of: Of::Both,
    },
    Field {
        name: "within",
        written: "duration",
        doc: "How long it may take to be ready; 60s by default.",
        of: Of::Services,
    },
];

/// Words of other tools and what to write here instead.
const FOREIGN: &[(&str, &str)] = &[
    (
        "after",
        "a stage that mentions `other.out` waits for `other`; `require = [other]` waits for a verdict",
    ),
    ("artifacts", "declare what it makes: out name: file = \"path\""),
    ("cache", "every step is cached by its content already"),
    ("cmd", "write: run sh \"…\""),
    ("command", "write: run sh \"…\""),
    ("commands", "write: run sh \"\"\"…\"\"\""),
    (
        "depends",
        "a stage that mentions `other.out` waits for `other`; `require = [other]` waits for a verdict",
    ),
    (
        "depends_on",
        "a stage that mentions `other.out` waits for `other`; `require = [other]` waits for a verdict",
    ),
    (
        "deps",
        "a stage that mentions `other.out` waits for `other`; `require = [other]` waits for a verdict",
    ),
    ("environment", "write one clause for each variable: env NAME = \"value\""),
    ("inputs", "write: in files(\"src/**\")"),
    (
        "needs",
        "a stage that mentions `other.out` waits for `other`; `require = [other]` waits for a verdict",
    ),
    ("outputs", "write: out name: file = \"path\""),
    ("retry", "write: retries = 1"),
    ("script", "write: run sh \"\"\"…\"\"\""),
    ("shell", "write: run bash \"…\""),
    ("sources", "write: in files(\"src/**\")"),
    ("srcs", "write: in files(\"src/**\")"),
    ("steps", "write one `run sh \"…\"` clause for each command"),
    ("workdir", "a step runs in its file's folder; begin the script with `cd`"),
];

/// Returns the field called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// Returns what to write for a word of another tool.
pub(crate) fn foreign(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(word, _)| *word == name).map(|(_, cure)| *cure)
}

impl Field {
    /// Claims that a stage or service of that kind has it.
    pub(crate) fn is_of(&self, kind: StageKind) -> bool {
        match self.of {
            Of::Both => true,
            Of::Services => kind == StageKind::Service,
            Of::Stages => kind != StageKind::Service,
        }
    }

    /// Returns what to do about it where `kind` does not have it.
    pub(crate) fn why_not(&self, kind: StageKind) -> String {
        let name = self.name;
        match kind {
            StageKind::Service => {
                format!(
                    "give `{name}` to the stages that have the service: it is a part of their steps"
                )
            }
            StageKind::Build | StageKind::Test => format!(
                "`{name}` is of services; declare one, service db {{ … }}, and have it here: service db"
            ),
        }
    }

    /// Returns the type of its value.
    pub(crate) fn ty(&self) -> Type {
        match self.name {
            "cpus" => Type::Int(1, MAX_CPUS.into()),
            "image" => Type::Image,
            "keep" | "locks" => Type::list(Type::String),
            "log" | "scratch" => Type::Size,
            "may_fail" => Type::Bool,
            "memory" => Type::Size,
            "network" => Type::Enum(["none", "loopback", "full"].map(str::to_owned).to_vec()),
            "platform" => Type::String,
            "pools" => Type::Map(Arc::new(Type::Int(1, MAX_PLACES.into()))),
            "processes" => Type::Int(1, MAX_PROCESSES.into()),
            "port" => Type::Int(1, 65_535),
            "ready" => Type::list(Type::String),
            "require" => Type::list(Type::Verdict),
            "retries" => Type::Int(0, MAX_RETRIES.into()),
            "timeout" | "within" => Type::Duration,
            "tools" => Type::list(Type::Tool),
            name => unreachable!("`{name}` is not in the table"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_written_as_its_type_reads() {
        for field in FIELDS {
            assert_eq!(field.ty().to_string(), field.written, "{}", field.name);
            assert!(foreign(field.name).is_none(), "{}", field.name);
        }
    }
}
