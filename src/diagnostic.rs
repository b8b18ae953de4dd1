//! Diagnostics: what is wrong with a pipeline, where, why and what to do. Knows codes, spans and
//! words; does not know how they are shown.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::source::Span;

/// One finding about the author's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Which kind of finding; `kiln explain` has a page for each.
    pub code: Code,
    /// Whether the pipeline may run all the same.
    pub severity: Severity,
    /// One lower-case sentence without a full stop: what was found and what was expected.
    pub message: String,
    /// The primary place: what to look at first.
    pub span: Span,
    /// What stands at the primary place, in a few words; `None` where the message says it all.
    pub label: Option<String>,
    /// Other places that explain the first one.
    pub labels: Vec<Label>,
    /// An instruction that works when followed to the letter.
    pub help: Option<String>,
    /// The help as a change of the text, where there is exactly one.
    pub edit: Option<Edit>,
}

/// A place and what to know about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// A few words.
    pub text: String,
}

/// A change that cures a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// The bytes to replace; empty to insert.
    pub span: Span,
    /// The bytes to put there.
    pub text: String,
}

/// How many bytes may be searched for the changes that cure diagnostics: who has so many mistakes needs
/// another help, and no text takes more than linear time.
const MAX_SEARCHED: usize = 8 << 20;

/// What has been searched for changes, all together.
#[derive(Debug, Default)]
pub(crate) struct Search(Cell<usize>);

impl Search {
    /// Claims that so many bytes more may be searched, and counts them.
    pub(crate) fn may_take(&self, bytes: usize) -> bool {
        let searched = self.0.get().saturating_add(bytes);
        self.0.set(searched);
        searched <= MAX_SEARCHED
    }
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline does not run.
    Error,
    /// The pipeline runs, and likely not as its author thinks.
    Warning,
}

/// The most bytes of a message, label or help.
const MOST_BYTES: usize = 600;

impl Diagnostic {
    /// Returns an error without labels or help.
    pub(crate) fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            label: None,
            labels: Vec::new(),
            help: None,
            edit: None,
        }
    }

    /// Returns a warning without labels or help.
    pub(crate) fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// Cuts texts that no one would read to the end: those that repeat very long names.
    pub(crate) fn shorten(&mut self) {
        let labels = self.labels.iter_mut().map(|label| &mut label.text);
        let texts = [Some(&mut self.message), self.label.as_mut(), self.help.as_mut()];
        for text in texts.into_iter().flatten().chain(labels) {
            if text.len() > MOST_BYTES {
                text.truncate(text.floor_char_boundary(MOST_BYTES));
                text.push('…');
            }
        }
    }

    /// Says what stands at the primary place.
    pub(crate) fn label(mut self, text: impl Into<String>) -> Self {
        self.label = Some(text.into());
        self
    }

    /// Adds another place.
    pub(crate) fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Sets the help.
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Sets the change of the text that the help describes.
    pub(crate) fn edit(mut self, span: Span, text: impl Into<String>) -> Self {
        self.edit = Some(Edit { span, text: text.into() });
        self
    }
}

/// The stable name of a kind of diagnostic, written `K0101`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "K{:04}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Declares the codes: constant, number and page.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Code {
            $(
                $(#[$doc])*
                #[expect(clippy::zero_prefixed_literal, reason = "a code reads as it is shown")]
                pub const $name: Self = Self($number);
            )*
        }

        impl Code {
            /// All codes with their `kiln explain` pages, by number.
            pub const PAGES: &'static [(Self, &'static str)] = &[
                $((Self::$name, include_str!(concat!("../docs/errors/K", stringify!($number), ".md"))),)*
            ];
        }
    };
}

codes! {
    // The text of a file.
    /// A file that is not UTF-8.
    NOT_UTF8 = 0001;
    /// A NUL byte in a file.
    NUL_BYTE = 0002;
    /// A file over 4 MiB.
    FILE_TOO_LARGE = 0003;
    /// A string without its end.
    UNTERMINATED_STRING = 0004;
    /// A bracket without its partner.
    UNBALANCED_BRACKET = 0005;
    /// Brackets or expressions nested too deeply.
    NESTED_TOO_DEEPLY = 0006;
    /// A number, duration, size or escape that is none.
    BAD_LITERAL = 0007;
    /// A character that begins nothing.
    STRAY_CHARACTER = 0008;
    /// A part of the language that this version of Kiln does not have.
    NOT_IN_THIS_VERSION = 0009;
    // The grammar.
    /// Text that does not fit the grammar.
    SYNTAX = 0101;
    /// A word or form of another tool.
    FOREIGN_HABIT = 0102;
    /// `${{` where `{{` was meant.
    DOLLAR_HOLE = 0103;
    /// A language version that this Kiln does not know.
    LANGUAGE_VERSION = 0104;
    // Names.
    /// A name that nothing declares.
    UNKNOWN_NAME = 0201;
    /// An out that a stage does not have.
    UNKNOWN_OUT = 0202;
    /// A field, argument or member that does not exist.
    UNKNOWN_FIELD = 0203;
    /// An item, clause or script language that does not exist.
    UNKNOWN_KIND = 0204;
    /// A name that hides another one.
    SHADOWING = 0205;
    /// A name, field or key given twice.
    DUPLICATE = 0206;
    /// A declaration that nothing uses.
    UNUSED = 0207;
    /// Files that import each other in a circle.
    IMPORT_CYCLE = 0208;
    /// A name of another file that is not `pub`.
    PRIVATE_NAME = 0209;
    /// A `use` whose file cannot be read.
    MODULE_NOT_FOUND = 0210;
    /// A value or function that needs itself.
    RECURSION = 0211;
    // Types.
    /// A value of another type than its place takes.
    TYPE_MISMATCH = 0301;
    /// Arguments that do not fit a function or template.
    WRONG_ARGUMENTS = 0302;
    /// An operation that a type does not have.
    NO_SUCH_OPERATION = 0303;
    /// A value for a param that does not fit its type.
    PARAM_VALUE = 0304;
    /// An optional value used as if it were certain.
    MAYBE_NONE = 0305;
    /// A stage with a condition used as if it always ran.
    CONDITIONAL_STAGE = 0306;
    /// A service that is no such thing, or a stage that cannot have one.
    BAD_SERVICE = 0307;
    /// A secret where none may go, or something else where one is wanted.
    SECRET = 0308;
    // The graph.
    /// Stages that need each other in a circle.
    STAGE_CYCLE = 0401;
    /// An out without a path that no script writes.
    OUT_NEVER_WRITTEN = 0402;
    /// An artifact input that no script mentions.
    INPUT_NEVER_USED = 0403;
    /// Two inputs or outs at one path.
    CLASHING_PATHS = 0404;
    /// A stage that runs nothing.
    NOTHING_TO_RUN = 0405;
    /// A spec that is none.
    BAD_SPEC = 0406;
    /// A pipeline that is not as a spec expects.
    UNMET_SPEC = 0407;
    /// A root that a step cannot keep.
    BAD_ROOT = 0408;
    /// A pool that is said to have two sizes.
    POOL_SIZES = 0409;
    // Files.
    /// A glob that matches nothing.
    EMPTY_GLOB = 0501;
    /// A project path in a script that no input covers.
    UNCOVERED_PATH = 0502;
    /// A path or glob that is none, or leaves the project.
    BAD_PATH = 0503;
    /// A file or folder that cannot be read.
    UNREADABLE = 0504;
    /// A data file that is not of its format.
    BAD_DATA = 0505;
    // The matrix.
    /// More rows than allowed.
    MATRIX_TOO_LARGE = 0601;
    /// Two rows with the same values.
    DUPLICATE_ROW = 0602;
    /// An `except` that drops no row.
    DEAD_EXCEPT = 0603;
    /// A row that the matrix does not have.
    NO_SUCH_ROW = 0604;
    // Scripts.
    /// A hole where the shell would run its value as code.
    UNSAFE_HOLE = 0701;
    /// `$name` where `{{name}}` was meant, or the reverse.
    SHELL_VARIABLE = 0702;
    /// A list in the middle of a word.
    LIST_IN_WORD = 0703;
    /// A command or variable that a step which is kept should not use.
    UNHERMETIC_HABIT = 0704;
    /// A hole in a string or comment of a script whose language reads no expression there.
    HOLE_IN_TEXT = 0705;
    // Evaluation.
    /// An operation without a result: division by zero, overflow, index out of range.
    NO_RESULT = 0801;
    /// A program that would take too much time or memory.
    OVER_BUDGET = 0802;
    /// A fact of the machine that cannot be found out.
    UNKNOWN_FACT = 0803;
}

impl Code {
    /// Returns the code written as `text` (`K0201`, in either case).
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['K', 'k']).filter(|digits| digits.len() == 4)?;
        let code = Self(digits.parse().ok()?);
        Self::PAGES.iter().any(|(known, _)| *known == code).then_some(code)
    }

    /// Returns the page that `kiln explain` shows, in Markdown.
    pub fn page(self) -> &'static str {
        let at = Self::PAGES.binary_search_by_key(&self, |(code, _)| *code);
        Self::PAGES[at.expect("every code is made from the table")].1
    }
}
