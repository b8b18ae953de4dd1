//! The names of the language itself: functions, `host` and the fields of stages. Knows what each
//! takes and gives; does not know how a call is evaluated.

pub(crate) mod facts;
pub(crate) mod fields;

use super::ty::Type;
use crate::syntax::ast::DataFormat;

/// A function of the language.
#[derive(Debug)]
pub(crate) struct Builtin {
    /// Which one.
    pub(crate) function: Function,
    /// Its name as it is called.
    pub(crate) name: &'static str,
    /// How it is called, for help.
    pub(crate) signature: &'static str,
    /// What it gives, in a few sentences.
    pub(crate) doc: &'static str,
    /// What it takes, in order; those after a rest are given by name.
    pub(crate) slots: &'static [Slot],
}

/// The functions, one for each [`Builtin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Files,
    File,
    Dir,
    Len,
    Join,
    Json,
    Oci,
    Split,
    Keys,
    Values,
    Replace,
    RootFs,
    Matches,
    Range,
    Toml,
    Tree,
    Host,
    HostTool,
}

impl Function {
    /// Returns the format of the data file that it reads, if it reads one.
    pub(crate) fn data_format(self) -> Option<DataFormat> {
        match self {
            Self::Json => Some(DataFormat::Json),
            Self::Toml => Some(DataFormat::Toml),
            _ => None,
        }
    }
}

/// A parameter of a [`Builtin`].
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its name.
    pub(crate) name: &'static str,
    /// What fits.
    pub(crate) accepts: Accepts,
    /// How often it is given.
    pub(crate) count: Count,
}

/// How often a parameter is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    One,
    /// By name only, or not at all.
    Optional,
    /// Once or more, in order.
    Rest,
}

/// What fits a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepts {
    Text,
    Int,
    Bool,
    /// Globs, files, folders and lists of them, nested.
    Paths,
    /// A list of texts, ints or files.
    Words,
    /// A record or map.
    Map,
    /// A list, map, record or string.
    Countable,
}

impl Accepts {
    /// Returns whether a value of `ty` fits.
    pub(crate) fn fits(self, ty: &Type) -> bool {
        match self {
            Self::Text => ty.fits(&Type::String),
            Self::Int => ty.fits(&Type::INT),
            Self::Bool => ty.fits(&Type::Bool),
            Self::Paths => match ty {
                Type::List(element) => self.fits(element),
                Type::String | Type::Enum(_) | Type::File | Type::Dir | Type::Unknown => true,
                _ => false,
            },
            Self::Words => match ty {
                Type::List(element) => element.certain().is_text(),
                ty => *ty == Type::Unknown,
            },
            Self::Map => matches!(ty, Type::Map(_) | Type::Record(_) | Type::Unknown),
            Self::Countable => {
                self::Accepts::Map.fits(ty)
                    || matches!(ty, Type::List(_) | Type::String | Type::Enum(_))
            }
        }
    }

    /// Returns what fits, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Text => "`string`",
            Self::Int => "`int`",
            Self::Bool => "`bool`",
            Self::Paths => "globs, files, folders or lists of them",
            Self::Words => "a list of texts",
            Self::Map => "a map or record",
            Self::Countable => "a list, map, record or string",
        }
    }
}

const fn one(name: &'static str, accepts: Accepts) -> Slot {
    Slot { name, accepts, count: Count::One }
}

const fn optional(name: &'static str, accepts: Accepts) -> Slot {
    Slot { name, accepts, count: Count::Optional }
}

/// The functions that are called by a plain name, by name.
static FUNCTIONS: &[Builtin] = &[
    Builtin {
        function: Function::Dir,
        name: "dir",
        signature: "dir(path: string) -> dir",
        doc: "A folder of the project, which must be there; as an input it stands for all files below it.",
        slots: &[one("path", Accepts::Text)],
    },
    Builtin {
        function: Function::File,
        name: "file",
        signature: "file(path: string) -> file",
        doc: "A file of the project, which must be there.",
        slots: &[one("path", Accepts::Text)],
    },
    Builtin {
        function: Function::Files,
        name: "files",
        signature: "files(globs…, except: globs, optional: bool, ignored: bool) -> files",
        doc: "The files that the globs match, sorted. A glob that matches nothing is an error, unless `optional: true`. What git ignores is left out, unless `ignored: true` or named without a wildcard.",
        slots: &[
            Slot { name: "globs", accepts: Accepts::Paths, count: Count::Rest },
            optional("except", Accepts::Paths),
            optional("optional", Accepts::Bool),
            optional("ignored", Accepts::Bool),
        ],
    },
    Builtin {
        function: Function::Host,
        name: "host",
        signature: "host() -> image",
        doc: "The machine's own system directories, read-only: the root that steps have by default.",
        slots: &[],
    },
    Builtin {
        function: Function::Join,
        name: "join",
        signature: "join(words: list<string>, by: string) -> string",
        doc: "The words in a row with `by` between them; `none` is no word.",
        slots: &[one("words", Accepts::Words), one("by", Accepts::Text)],
    },
    Builtin {
        function: Function::Json,
        name: "json",
        signature: "json(path: string) -> data",
        doc: "What a JSON file of the project holds, typed as it is: objects are records, `null` is `none`, a number with a fraction is a text. The path is written out, and counts from the folder of the file it is written in.",
        slots: &[one("path", Accepts::Text)],
    },
    Builtin {
        function: Function::Keys,
        name: "keys",
        signature: "keys(map: map<string, T>) -> list<string>",
        doc: "The keys of a map or record, in their order.",
        slots: &[one("map", Accepts::Map)],
    },
    Builtin {
        function: Function::Len,
        name: "len",
        signature: "len(of: list<T>) -> int",
        doc: "How many elements a list or map has, or characters a string.",
        slots: &[one("of", Accepts::Countable)],
    },
    Builtin {
        function: Function::Matches,
        name: "matches",
        signature: "matches(text: string, regex: string) -> bool",
        doc: "Whether the regular expression matches anywhere in the text.",
        slots: &[one("text", Accepts::Text), one("regex", Accepts::Text)],
    },
    Builtin {
        function: Function::Oci,
        name: "oci",
        signature: "oci(path: string) -> image",
        doc: "The image in an OCI image layout, as a root for steps: a folder, or an archive as `skopeo copy … oci-archive:` or `docker save` write it. Of several images it is that of the step's platform. A path of the project, or an absolute path of the machine.",
        slots: &[one("path", Accepts::Text)],
    },
    Builtin {
        function: Function::Range,
        name: "range",
        signature: "range(from: int, to: int) -> list<int>",
        doc: "The whole numbers from the first to the second, both included; `1..4` is the same.",
        slots: &[one("from", Accepts::Int), one("to", Accepts::Int)],
    },
    Builtin {
        function: Function::Replace,
        name: "replace",
        signature: "replace(text: string, old: string, new: string) -> string",
        doc: "The text with every `old` replaced by `new`.",
        slots: &[one("text", Accepts::Text), one("old", Accepts::Text), one("new", Accepts::Text)],
    },
    Builtin {
        function: Function::RootFs,
        name: "rootfs",
        signature: "rootfs(path: string) -> image",
        doc: "A root filesystem for steps: a folder, or a tar archive of one, plain or compressed by gzip or zstd. A path of the project, or an absolute path of the machine.",
        slots: &[one("path", Accepts::Text)],
    },
    Builtin {
        function: Function::Split,
        name: "split",
        signature: "split(text: string, by: string) -> list<string>",
        doc: "The parts of the text between every `by`.",
        slots: &[one("text", Accepts::Text), one("by", Accepts::Text)],
    },
    Builtin {
        function: Function::Toml,
        name: "toml",
        signature: "toml(path: string) -> data",
        doc: "What a TOML file of the project holds, typed as it is: tables are records, dates and numbers with a fraction are texts. The path is written out, and counts from the folder of the file it is written in.",
        slots: &[one("path", Accepts::Text)],
    },
    Builtin {
        function: Function::Tree,
        name: "tree",
        signature: "tree(path: string) -> tool",
        doc: "A folder of tools, taken into the store once: a path of the project, or an absolute path of the machine.",
        slots: &[one("path", Accepts::Text)],
    },
    Builtin {
        function: Function::Values,
        name: "values",
        signature: "values(map: map<string, T>) -> list<T>",
        doc: "The values of a map or record, in their order.",
        slots: &[one("map", Accepts::Map)],
    },
];

/// `host.tool("cargo")`
pub(crate) const HOST_TOOL: &str = "host.tool";

static HOST_TOOL_FUNCTION: Builtin = Builtin {
    function: Function::HostTool,
    name: HOST_TOOL,
    signature: "host.tool(name: string) -> tool",
    doc: "A program of the machine, found through `PATH`, with its installation.",
    slots: &[one("name", Accepts::Text)],
};

/// Functions of the language that this version does not have.
const LATER: &[&str] = &[
    "canary", "command", "copy", "docker", "exec", "http", "local", "secret", "shift", "ssh", "tcp",
];

/// Functions of other languages and those that do the same here.
const SYNONYMS: &[(&str, &str)] = &[
    ("count", "len"),
    ("directory", "dir"),
    ("fileset", "files"),
    ("find", "files"),
    ("folder", "dir"),
    ("glob", "files"),
    ("length", "len"),
    ("size", "len"),
    ("which", "host.tool"),
];

/// Functions of other languages and what to write here instead.
const FOREIGN: &[(&str, &str)] = &[
    ("basename", "a file has its last name: source.name"),
    ("concat", "lists are added: a + b; texts stand in holes: \"{{a}}{{b}}\""),
    ("dirname", "a file has its folder: source.parent"),
    ("env", "what comes from outside is a param: param name: string"),
    ("filter", "write: [x for x in list if condition]"),
    ("format", "values stand in holes of a text: \"{{name}}-{{level}}\""),
    ("getenv", "what comes from outside is a param: param name: string"),
    ("glob", "write: files(\"src/**\")"),
    ("list", "write: [a, b]"),
    ("map", "write: [f(x) for x in list]"),
    ("path", "write: file(\"path\") or dir(\"path\")"),
    ("print", "a pipeline prints nothing; its steps do: run sh \"echo {{value}}\""),
    ("str", "a value becomes a text in a hole: \"{{value}}\""),
    ("string", "a value becomes a text in a hole: \"{{value}}\""),
    ("toString", "a value becomes a text in a hole: \"{{value}}\""),
];

/// Returns the function called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Builtin> {
    FUNCTIONS.iter().find(|builtin| builtin.name == name)
}

/// Returns the function that a type names.
pub(crate) fn get(name: &str) -> &'static Builtin {
    if name == HOST_TOOL { &HOST_TOOL_FUNCTION } else { find(name).expect("types name functions") }
}

/// Returns what `kiln explain` says of a function, field, fact or group of facts.
pub(crate) fn reference(name: &str) -> Option<String> {
    let function = find(name).or_else(|| (name == HOST_TOOL).then_some(&HOST_TOOL_FUNCTION));
    let function = function.map(|function| format!("{}\n\n{}", function.signature, function.doc));
    let field = fields::find(name).map(|field| {
        format!("{}: {}  (a field of stages)\n\n{}", field.name, field.written, field.doc)
    });
    let fact = name.strip_prefix("host.").and_then(facts::find);
    let fact = fact.map(|fact| format!("{name}: {}\n\n{}", fact.written, fact.doc));
    function.or(field).or(fact).or_else(|| facts::group(name))
}

/// Returns all names of the language that an expression may use.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|builtin| builtin.name)
}

/// Returns whether `name` is a function that later versions have.
pub(crate) fn is_later(name: &str) -> bool {
    LATER.contains(&name)
}

/// Returns what to do in this version about a function of later ones.
pub(crate) fn instead_of_later(name: &str) -> &'static str {
    match name {
        "docker" => "for the root of a step, name an archive of the image: oci(\"image.tar\")",
        "secret" => "take what the step needs from a file that it does not commit",
        _ => {
            "this version runs `build` and `test` stages; leave what needs it to your present tool"
        }
    }
}

/// Returns the function that does what `name` does in another language.
pub(crate) fn synonym(name: &str) -> Option<&'static str> {
    SYNONYMS.iter().find(|(word, _)| *word == name).map(|(_, own)| *own)
}

/// Returns what to write for a function of another language.
pub(crate) fn foreign(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(word, _)| *word == name).map(|(_, cure)| *cure)
}

/// Returns the type that a call gives for arguments of these types.
pub(crate) fn result(function: Function, arguments: &[Type]) -> Type {
    match function {
        Function::Files => Type::list(Type::File),
        Function::File => Type::File,
        Function::Dir => Type::Dir,
        Function::Len => Type::INT,
        Function::Join | Function::Replace => Type::String,
        Function::Split | Function::Keys => Type::list(Type::String),
        Function::Values => match arguments.first() {
            Some(Type::Map(element)) => Type::List(element.clone()),
            Some(Type::Record(fields)) => Type::list(
                fields
                    .values()
                    .try_fold(Type::Unknown, |all, ty| all.join(ty))
                    .unwrap_or(Type::Unknown),
            ),
            _ => Type::list(Type::Unknown),
        },
        // The checker knows what is in the file.
        Function::Json | Function::Toml => Type::Unknown,
        Function::Matches => Type::Bool,
        Function::Range => Type::list(Type::INT),
        Function::Tree | Function::HostTool => Type::Tool,
        Function::Host | Function::Oci | Function::RootFs => Type::Image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_stand_in_the_order_of_the_alphabet() {
        assert!(FUNCTIONS.is_sorted_by_key(|builtin| builtin.name));
        assert!(LATER.is_sorted());
        assert!(FOREIGN.is_sorted() && SYNONYMS.is_sorted());
        assert!(FOREIGN.iter().all(|(word, _)| find(word).is_none()));
        assert!(FUNCTIONS.iter().all(|builtin| builtin.signature.starts_with(builtin.name)));
    }

    /// Each has a row of its own in the tables, and no row is of something that is not there.
    #[test]
    fn the_reference_says_what_the_code_does() {
        let reference = include_str!("../../docs/reference.md");
        let rows = |title: &str| {
            let text = reference.split_once(&format!("\n{title}\n")).expect(title).1;
            let text = text.split("\n#").next().unwrap_or_default();
            let rows = text.lines().filter(|line| line.starts_with("| `"));
            rows.map(|row| row.replace("\\|", "|")).collect::<Vec<_>>()
        };
        let field = |field: &fields::Field| {
            format!("| `{}` | `{}` | {} |", field.name, field.written, field.doc)
        };
        let of = |of: fields::Of| fields::FIELDS.iter().filter(move |field| field.of == of);
        let own = |kind| fields::FIELDS.iter().filter(move |field| field.is_of(kind)).map(field);
        assert_eq!(rows("## Fields"), own(crate::syntax::ast::StageKind::Test).collect::<Vec<_>>());
        assert_eq!(
            rows("### Of services"),
            of(fields::Of::Services).map(field).collect::<Vec<_>>()
        );
        let signatures: Vec<_> = rows("## Functions").iter().map(|row| code_of(row)).collect();
        let mut known: Vec<_> = FUNCTIONS.iter().map(|builtin| builtin.signature).collect();
        let host = FUNCTIONS.iter().position(|builtin| builtin.name == "host").unwrap();
        known.insert(host + 1, get(HOST_TOOL).signature);
        assert_eq!(signatures, known);
        let names: Vec<_> = rows("## Facts").iter().map(|row| code_of(row)).collect();
        let known = facts::FACTS.iter().map(|entry| entry.fact.full_name());
        assert_eq!(names, known.collect::<Vec<_>>());
    }

    /// Returns the first code of a row.
    fn code_of(row: &str) -> String {
        row.split('`').nth(1).unwrap_or_default().to_owned()
    }
}
