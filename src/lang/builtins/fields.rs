//! The fields of stages: the record type of `build` and `test`. Knows names, types and defaults; does
//! not know what the engine makes of them.

use crate::lang::ty::Type;

/// A field of a stage.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its type as an author writes it.
    pub(crate) written: &'static str,
    /// What it does, in one sentence.
    pub(crate) doc: &'static str,
}

/// The fields that `build` and `test` have in common, by name.
pub(crate) static FIELDS: &[Field] = &[
    Field {
        name: "cpus",
        written: "int(1..1024)",
        doc: "How many processors it is counted for when steps run beside each other.",
    },
    Field {
        name: "image",
        written: "image",
        doc: "The file system it runs on; `host()` by default.",
    },
    Field {
        name: "may_fail",
        written: "bool",
        doc: "Whether the run goes on, and passes, when it fails.",
    },
    Field {
        name: "memory",
        written: "size",
        doc: "The most memory that all its processes may take together.",
    },
    Field {
        name: "network",
        written: "\"none\" | \"loopback\" | \"full\"",
        doc: "What it can reach: nothing (the default of builds), itself (of tests), or all.",
    },
    Field {
        name: "require",
        written: "list<verdict>",
        doc: "Stages that must have passed before it starts.",
    },
    Field { name: "retries", written: "int(0..100)", doc: "How many more tries follow a failure." },
    Field {
        name: "timeout",
        written: "duration",
        doc: "How long it may take before it is stopped and has failed.",
    },
    Field {
        name: "tools",
        written: "list<tool>",
        doc: "Programs and trees that are added to its `PATH`.",
    },
];

/// Fields that later versions have.
const LATER: &[&str] = &["keep", "platform"];

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

/// Returns whether later versions have a field called `name`.
pub(crate) fn is_later(name: &str) -> bool {
    LATER.contains(&name)
}

/// Returns what to write for a word of another tool.
pub(crate) fn foreign(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(word, _)| *word == name).map(|(_, cure)| *cure)
}

impl Field {
    /// Returns the type of its value.
    pub(crate) fn ty(&self) -> Type {
        match self.name {
            "cpus" => Type::Int(1, 1024),
            "image" => Type::Image,
            "may_fail" => Type::Bool,
            "memory" => Type::Size,
            "network" => Type::Enum(["none", "loopback", "full"].map(str::to_owned).to_vec()),
            "require" => Type::list(Type::Verdict),
            "retries" => Type::Int(0, 100),
            "timeout" => Type::Duration,
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
            assert!(foreign(field.name).is_none() && !is_later(field.name), "{}", field.name);
        }
    }
}
