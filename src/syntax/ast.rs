//! The syntax tree of a `.pipe` file. Knows the shape of the text and where each part stands;
//! does not know what a name means.

use crate::source::{SourceId, Span};

/// One file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Module {
    /// The file.
    pub(crate) source: SourceId,
    /// What stands in the file, in its order. Items that could not be parsed are `Broken`; a stage with a
    /// broken clause is kept without that clause.
    pub(crate) items: Vec<Item>,
    /// The data files that its expressions name.
    pub(crate) data: Vec<DataFile>,
}

/// A data file that an expression names: `json("package.json")`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataFile {
    pub(crate) format: DataFormat,
    /// The path as written, without quotes; the span covers them.
    pub(crate) path: Name,
}

/// The formats of data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum DataFormat {
    Json,
    Toml,
}

impl DataFormat {
    /// Returns the name of the format, for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Toml => "TOML",
        }
    }
}

/// A word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The word.
    pub(crate) text: String,
    /// Its place.
    pub(crate) span: Span,
}

/// One top-level declaration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// The `##` lines above it without their marks, joined by newlines.
    pub(crate) doc: Option<String>,
    /// Whether `pub` stands before it.
    pub(crate) is_pub: bool,
    /// From `pub` or the keyword to the end.
    pub(crate) span: Span,
    /// What it declares.
    pub(crate) kind: ItemKind,
}

/// What an item declares.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ItemKind {
    /// `use "./web" as web`
    Use(Use),
    /// `param profile: "dev" | "release" = "release"`
    Param(Param),
    /// `secret TOKEN`
    Secret(Secret),
    /// `let src = files("src/**")`
    Let(Let),
    /// `fn flags(level: int) -> list<string> = …`
    Function(Function),
    /// `build app { … }`, `test unit { … }`, a template, or a stage from a template.
    Stage(Stage),
    /// `spec "a branch ships nothing" { … }`
    Spec(Spec),
    /// An item that failed to parse or that this version does not have; it was reported. Its name,
    /// where there is one, still counts as declared, so that its users are not reported too.
    Broken(Option<Name>),
}

/// `use "./web" as web`, `use std.rust`
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Use {
    /// The path without its quotes; the span covers them. Of a module, its name with the dots.
    pub(crate) path: Name,
    /// Whether it is the name of a module, and no path of a file or folder.
    pub(crate) is_module: bool,
    /// The name after `as`.
    pub(crate) alias: Option<Name>,
}

/// `param name: type = default`
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Param {
    pub(crate) name: Name,
    pub(crate) ty: TypeExpr,
    pub(crate) default: Option<Expr>,
}

/// `secret name`, `secret name pure`
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Secret {
    pub(crate) name: Name,
    /// What is said of it behind its name.
    pub(crate) marks: Vec<Name>,
}

impl Secret {
    /// Says that results depend on the value.
    pub(crate) const AFFECTS_CACHE: &str = "affects_cache";

    /// Says that no result depends on the value, so that others may have them.
    pub(crate) const PURE: &str = "pure";

    /// All that can be said.
    pub(crate) const MARKS: [&str; 2] = [Self::AFFECTS_CACHE, Self::PURE];

    /// Returns whether this is said of it.
    pub(crate) fn is(&self, mark: &str) -> bool {
        self.marks.iter().any(|own| own.text == mark)
    }
}

/// One secret of a `secret` clause.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SecretUse {
    /// The variable that gives it to the step, and the secret's name unless another is named.
    pub(crate) name: Name,
    /// The secret after `=`.
    pub(crate) value: Option<Expr>,
}

/// `let name = value`, with or without a type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Let {
    pub(crate) name: Name,
    pub(crate) ty: Option<TypeExpr>,
    pub(crate) value: Expr,
}

/// `fn name(parameters) -> result = body`
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: Name,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) result: TypeExpr,
    pub(crate) body: Expr,
}

/// A parameter of a function or a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: Name,
    pub(crate) ty: TypeExpr,
    pub(crate) default: Option<Expr>,
}

/// Which kind of stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StageKind {
    /// Makes artifacts.
    Build,
    /// Gives a verdict.
    Test,
    /// Stays up beside the stages that have it: no stage of its own.
    Service,
}

impl StageKind {
    /// Returns the word that begins such a stage.
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Test => "test",
            Self::Service => "service",
        }
    }
}

/// A stage, a template of stages, or a stage from a template; also a service, which is written alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stage {
    pub(crate) kind: StageKind,
    pub(crate) name: Name,
    /// The parameters of a template; `None` for a stage. `build x() {…}` is a template of none.
    pub(crate) parameters: Option<Vec<Parameter>>,
    /// `for (x in …, y in …)`; empty for a stage of one row.
    pub(crate) axes: Vec<Axis>,
    /// The rows that `except: [{…}]` after the axes drops.
    pub(crate) except: Option<Expr>,
    /// The declared limit on rows, `max: 500` after the axes.
    pub(crate) max: Option<Expr>,
    /// What must hold for it to be run: the expression after `when`.
    pub(crate) condition: Option<Box<Expr>>,
    /// The template call after `=`.
    pub(crate) from: Option<Expr>,
    /// The clauses between the braces, in their order; of a stage from a template, the trailing body.
    pub(crate) clauses: Vec<Clause>,
    /// The braces and what is between them; empty at the item's end where there are none.
    pub(crate) body: Span,
}

impl Stage {
    /// Claims that it becomes steps by itself: it is no template and no service.
    pub(crate) fn is_run(&self) -> bool {
        self.parameters.is_none() && self.kind != StageKind::Service
    }

    /// Claims that it has no condition, neither its own nor that of a template.
    pub(crate) fn always_runs(&self) -> bool {
        self.condition.is_none() && self.from.is_none()
    }
}

/// `x in values` of a matrix or a comprehension.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) name: Name,
    /// The type of each value, where it is said.
    pub(crate) ty: Option<TypeExpr>,
    pub(crate) values: Expr,
}

/// One clause of a stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Clause {
    pub(crate) span: Span,
    pub(crate) kind: ClauseKind,
}

/// What a clause says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClauseKind {
    /// `in value`, `in value at "path"`
    In { value: Expr, at: Option<Expr> },
    /// `out name: type`, `out name: type = "path"`; of a service, what its users read of it.
    Out { name: Name, ty: TypeExpr, path: Option<Expr> },
    /// `secret A, B = c`, `secret file A`
    Secret { uses: Vec<SecretUse>, is_file: bool },
    /// `service name = value`; without a value it is the service of that name.
    Service { name: Name, value: Option<Expr> },
    /// `env NAME = value`
    Env { name: Name, value: Expr },
    /// `run sh "…"`, `run bash """…"""`: the language and the script.
    Script { language: ScriptLanguage, script: Expr },
    /// `run ["argv", …]`
    Argv(Expr),
    /// `field = value`
    Field { name: Name, value: Expr },
}

/// The language of a script, by how its holes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptLanguage {
    /// A hole is a word, or a part of one.
    Shell(Shell),
    /// A hole is an expression.
    Code(Dialect),
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    /// `sh -eu`
    Sh,
    /// `bash -euo pipefail`
    Bash,
}

/// A language with expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `python3`
    Python,
    /// `node`
    JavaScript,
}

/// A test of the pipeline itself: what its plan is to be, given params, facts and failures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spec {
    /// What it is called, without quotes; the span covers them.
    pub(crate) title: Name,
    /// The clauses between the braces, in their order.
    pub(crate) clauses: Vec<SpecClause>,
    /// The braces and what is between them.
    pub(crate) body: Span,
}

/// One clause of a spec.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpecClause {
    pub(crate) span: Span,
    pub(crate) kind: SpecClauseKind,
}

/// What a clause of a spec says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SpecClauseKind {
    /// `given host.git.branch = "main"`: a param or a fact, and its value.
    Given { what: Expr, value: Expr },
    /// `takes api = [files("src/**"), lib.obj]`: a step, and all its inputs.
    Takes { step: Expr, inputs: Expr },
    /// `runs = [unit]`: what becomes of steps.
    Field { name: Name, value: Expr },
}

/// A type as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TypeExpr {
    pub(crate) span: Span,
    pub(crate) kind: TypeKind,
}

/// The forms of a type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TypeKind {
    /// `string`, `file`, …
    Name(String),
    /// `int(1..50)`: both ends belong to it.
    IntRange(i64, i64),
    /// `list<T>`
    List(Box<TypeExpr>),
    /// `map<string, T>`
    Map(Box<TypeExpr>),
    /// `{name: T, …}`
    Record(Vec<(Name, TypeExpr)>),
    /// `"dev" | "release"`: the texts without quotes; the spans cover them.
    Enum(Vec<Name>),
    /// `T?`
    Optional(Box<TypeExpr>),
}

/// An expression. At most 1,000 expressions stand in one another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expr {
    pub(crate) span: Span,
    pub(crate) kind: ExprKind,
}

impl Expr {
    /// Returns whether it is a value of one word or a text: never `none`, whatever a hole holds.
    pub(crate) fn is_literal(&self) -> bool {
        matches!(
            self.kind,
            ExprKind::Bool(_)
                | ExprKind::Int(_)
                | ExprKind::Duration(_)
                | ExprKind::Size(_)
                | ExprKind::Percent(_)
                | ExprKind::String(_)
        )
    }

    /// Returns the text of a string without holes.
    pub(crate) fn constant(&self) -> Option<String> {
        let ExprKind::String(literal) = &self.kind else { return None };
        literal
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text { text, .. } => Some(text.as_str()),
                Piece::Hole { .. } => None,
            })
            .collect()
    }
}

/// The forms of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ExprKind {
    /// `none`
    None,
    /// `true`, `false`
    Bool(bool),
    /// `12`, `1_000`
    Int(i64),
    /// `10m`, `1h30m`, `250ms`: in milliseconds.
    Duration(u64),
    /// `512MiB`, `2GB`: in bytes.
    Size(u64),
    /// `25%`
    Percent(u32),
    /// `1..4`: both ends belong to it.
    Range(Box<Expr>, Box<Expr>),
    /// A string in any of its four forms.
    String(StringLiteral),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{key: value}`: keys are words or strings.
    Record(Vec<(Name, Expr)>),
    /// `name`
    Name(String),
    /// `base.name`, `base?.name`
    Member { base: Box<Expr>, name: Name, is_optional: bool },
    /// `base[index]`
    Index { base: Box<Expr>, index: Box<Expr> },
    /// `stage[axis: value, …]`
    Row { base: Box<Expr>, axes: Vec<(Name, Expr)> },
    /// `callee(a, name: b)`
    Call { callee: Box<Expr>, arguments: Vec<Argument> },
    /// `!a`, `-a`
    Unary { operator: UnaryOperator, operand: Box<Expr> },
    /// `a + b`; `place` is the operator's.
    Binary { operator: BinaryOperator, place: Span, left: Box<Expr>, right: Box<Expr> },
    /// `if a then b else c`
    If { condition: Box<Expr>, then: Box<Expr>, otherwise: Box<Expr> },
    /// `[e for x in xs, y in ys if c]`
    ListFor { element: Box<Expr>, axes: Vec<Axis>, condition: Option<Box<Expr>> },
    /// `{k: v for x in xs if c}`
    MapFor { key: Box<Expr>, value: Box<Expr>, axes: Vec<Axis>, condition: Option<Box<Expr>> },
    /// An expression that failed to parse; it was reported.
    Broken,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Argument {
    /// The name before the colon.
    pub(crate) name: Option<Name>,
    pub(crate) value: Expr,
}

/// `!` and `-` before a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOperator {
    Not,
    Negate,
}

/// Operators between two values, by rising strength (LANGUAGE of the guide has the table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOperator {
    /// `??`
    Otherwise,
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `in`
    In,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

/// A string: pieces of text and holes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StringLiteral {
    pub(crate) form: StringForm,
    /// The pieces in order. Every piece maps to the source byte for byte or is one escape, so a
    /// place inside a piece has an exact place in the file.
    pub(crate) pieces: Vec<Piece>,
}

/// How a string is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringForm {
    /// `"…"`: escapes and holes.
    Quoted,
    /// `"""…"""`: holes, no escapes save `\{{`, indentation stripped to the closing quotes.
    Verbatim,
    /// `r"…"`: neither.
    Raw,
    /// `r"""…"""`: neither, indentation stripped.
    RawVerbatim,
}

/// A piece of a string.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    /// Text as the value has it. If `text.len() == span.len()` then byte `i` of the text is byte
    /// `span.start + i` of the file; else the piece is one escape, or the newline of a CRLF.
    Text { text: String, span: Span },
    /// `{{expr}}`; the span covers the braces.
    Hole { expr: Expr, span: Span },
}
