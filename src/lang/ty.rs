//! Types: what a value may be. Knows which type fits where and how each is written; does not know
//! expressions.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::syntax::ast::StageKind;

/// The place of a module in its program; the root is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ModuleId(pub(crate) u32);

impl ModuleId {
    /// The module that Kiln was asked for.
    pub(crate) const ROOT: Self = Self(0);

    /// Returns the place in its modules.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// An item of a module: the module and the place in its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ItemRef {
    pub(crate) module: ModuleId,
    pub(crate) item: usize,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    /// Not known, because of a mistake that was reported. It fits everywhere, so that one mistake is
    /// one diagnostic. Also the element of `[]`.
    Unknown,
    None,
    Bool,
    /// Whole numbers from the first to the second, both included.
    Int(i64, i64),
    String,
    /// One of these texts.
    Enum(Vec<String>),
    Duration,
    Size,
    Percent,
    File,
    Dir,
    Junit,
    Image,
    /// A program or tree for `tools`.
    Tool,
    /// A stage that was run, for `require`.
    Verdict,
    List(Arc<Type>),
    Map(Arc<Type>),
    Record(Arc<IndexMap<String, Type>>),
    Optional(Arc<Type>),
    /// Elements of a data file that have no type in common.
    Mixed,
    /// A stage of the pipeline: one step, or a matrix of them.
    Stage(ItemRef),
    /// One row of a matrix.
    Row(ItemRef),
    /// `stage.all`: all rows of a matrix.
    AllRows(ItemRef),
    Template(ItemRef),
    /// A secret, which no expression may hold.
    Secret(ItemRef),
    /// A service with its arguments, for stages to have.
    Service(ItemRef),
    /// A service that a stage has.
    Beside(ItemRef),
    Function(ItemRef),
    /// A function of the language, by its name.
    Builtin(&'static str),
    Module(ModuleId),
    /// `host`, the machine.
    Host,
    /// A group of facts of the machine, by its name: `host.git`, `host.ci`.
    Facts(&'static str),
    /// `out`, the outs of the stage it stands in.
    Outs,
}

impl Type {
    /// All whole numbers.
    pub(crate) const INT: Self = Self::Int(i64::MIN, i64::MAX);

    /// Returns the type of a stage or service without parameters.
    pub(crate) fn of_stage(item: ItemRef, kind: StageKind) -> Self {
        match kind {
            StageKind::Service => Self::Service(item),
            StageKind::Build | StageKind::Test => Self::Stage(item),
        }
    }

    /// Returns the type of lists of `element`.
    pub(crate) fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    /// Returns the type of `inner` or `none`.
    pub(crate) fn optional(inner: Self) -> Self {
        match inner {
            Self::Optional(_) | Self::None | Self::Unknown => inner,
            inner => Self::Optional(Arc::new(inner)),
        }
    }

    /// Returns whether a value of this type can stand where one of `place` is wanted. An `int`
    /// fits a range, which is then checked when the value is known.
    pub(crate) fn fits(&self, place: &Self) -> bool {
        match (self, place) {
            (Self::Unknown, _) | (_, Self::Unknown) => true,
            (Self::None, Self::Optional(_)) => true,
            (Self::Optional(own), Self::Optional(other)) => own.fits(other),
            (own, Self::Optional(other)) => own.fits(other),
            (Self::Int(low, high), Self::Int(min, max)) => {
                *self == Self::INT || (low >= min && high <= max)
            }
            (Self::Enum(_), Self::String) => true,
            (Self::Enum(own), Self::Enum(other)) => own.iter().all(|text| other.contains(text)),
            (Self::List(own), Self::List(other)) | (Self::Map(own), Self::Map(other)) => {
                own.fits(other)
            }
            (Self::Record(own), Self::Map(other)) => own.values().all(|ty| ty.fits(other)),
            (Self::Record(own), Self::Record(other)) => {
                own.keys().all(|name| other.contains_key(name))
                    && other.iter().all(|(name, place)| match own.get(name) {
                        Some(ty) => ty.fits(place),
                        None => matches!(place, Self::Optional(_)),
                    })
            }
            (Self::Stage(_) | Self::Row(_) | Self::AllRows(_), Self::Verdict) => true,
            (Self::Junit, Self::File) | (Self::Dir, Self::Tool) => true,
            (own, place) => own == place,
        }
    }

    /// Returns the smallest type that both fit, if there is one.
    pub(crate) fn join(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Unknown, ty) | (ty, Self::Unknown) => ty.clone(),
            (Self::None, ty) | (ty, Self::None) => Self::optional(ty.clone()),
            (Self::Optional(own), Self::Optional(other)) => Self::optional(own.join(other)?),
            (Self::Optional(own), ty) | (ty, Self::Optional(own)) => Self::optional(own.join(ty)?),
            (Self::Int(low, high), Self::Int(min, max)) => Self::Int(*low.min(min), *high.max(max)),
            (Self::Enum(own), Self::Enum(other)) => {
                let new = other.iter().filter(|text| !own.contains(text));
                Self::Enum(own.iter().chain(new).cloned().collect())
            }
            (Self::Enum(_), Self::String) | (Self::String, Self::Enum(_)) => Self::String,
            (Self::List(own), Self::List(other)) => Self::list(own.join(other)?),
            (Self::Map(own), Self::Map(other)) => Self::Map(Arc::new(own.join(other)?)),
            (Self::Record(own), Self::Record(other)) => {
                Self::Record(Arc::new(join_records(own, other)?))
            }
            (Self::Junit, Self::File) | (Self::File, Self::Junit) => Self::File,
            (Self::Stage(_) | Self::Row(_) | Self::AllRows(_) | Self::Verdict, place)
                if self != other && place.fits(&Self::Verdict) =>
            {
                Self::Verdict
            }
            (own, other) if own == other => own.clone(),
            _ => return None,
        })
    }

    /// Returns the type without `none`.
    pub(crate) fn certain(&self) -> &Self {
        match self {
            Self::Optional(inner) => inner,
            ty => ty,
        }
    }

    /// Returns whether a value may be printed into a text.
    pub(crate) fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Unknown
                | Self::Bool
                | Self::Int(..)
                | Self::String
                | Self::Enum(_)
                | Self::Duration
                | Self::Size
                | Self::Percent
                | Self::File
                | Self::Dir
                | Self::Junit
        )
    }
}

/// A field that only one has is optional in both.
fn join_records(
    own: &IndexMap<String, Type>,
    other: &IndexMap<String, Type>,
) -> Option<IndexMap<String, Type>> {
    let mut joined = IndexMap::new();
    for (name, ty) in own {
        let ty = match other.get(name) {
            Some(other) => ty.join(other)?,
            None => Type::optional(ty.clone()),
        };
        joined.insert(name.clone(), ty);
    }
    for (name, ty) in other.iter().filter(|(name, _)| !own.contains_key(*name)) {
        joined.insert(name.clone(), Type::optional(ty.clone()));
    }
    Some(joined)
}

/// The type as an author would write it, or say it where it cannot be written.
impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Bool => "bool",
            Self::Int(i64::MIN, i64::MAX) => "int",
            Self::Int(low, high) if low == high => return write!(formatter, "{low}"),
            Self::Int(low, high) => return write!(formatter, "int({low}..{high})"),
            Self::String => "string",
            Self::Enum(texts) if texts.len() > 4 => "string",
            Self::Enum(texts) => {
                let texts: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
                return formatter.write_str(&texts.join(" | "));
            }
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Percent => "percent",
            Self::File => "file",
            Self::Dir => "dir",
            Self::Junit => "junit",
            Self::Image => "image",
            Self::Tool => "tool",
            Self::Verdict => "verdict",
            Self::List(element) => return write!(formatter, "list<{element}>"),
            Self::Map(element) => return write!(formatter, "map<string, {element}>"),
            Self::Record(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
                return write!(formatter, "{{{}}}", fields.join(", "));
            }
            Self::Optional(inner) => return write!(formatter, "{inner}?"),
            Self::Mixed => "mixed data",
            Self::Stage(_) => "stage",
            Self::Row(_) => "row of a stage",
            Self::AllRows(_) => "all rows of a stage",
            Self::Template(_) => "template",
            Self::Secret(_) => "secret",
            Self::Service(_) => "service",
            Self::Beside(_) => "service of this stage",
            Self::Function(_) | Self::Builtin(_) => "function",
            Self::Module(_) => "module",
            Self::Host => "host",
            Self::Facts(group) => return write!(formatter, "host.{group}"),
            Self::Outs => "outs of this stage",
        };
        formatter.write_str(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Type {
        Type::Enum(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn a_type_fits_its_wider_ones_only() {
        for (own, place, fits) in [
            (Type::Int(3, 3), Type::Int(1, 50), true),
            (Type::Int(60, 60), Type::Int(1, 50), false),
            (Type::INT, Type::Int(1, 50), true),
            (texts(&["a"]), Type::String, true),
            (Type::String, texts(&["a"]), false),
            (texts(&["a", "c"]), texts(&["a", "b"]), false),
            (Type::None, Type::optional(Type::File), true),
            (Type::optional(Type::File), Type::File, false),
            (Type::list(Type::Junit), Type::list(Type::File), true),
            (Type::list(Type::Unknown), Type::list(Type::Dir), true),
            (Type::File, Type::Dir, false),
        ] {
            assert_eq!(own.fits(&place), fits, "{own} in {place}");
        }
    }

    #[test]
    fn joining_finds_the_smallest_type_of_both() {
        assert_eq!(Type::Int(1, 1).join(&Type::Int(4, 4)), Some(Type::Int(1, 4)));
        assert_eq!(texts(&["a"]).join(&texts(&["b"])), Some(texts(&["a", "b"])));
        assert_eq!(Type::None.join(&Type::File), Some(Type::optional(Type::File)));
        assert_eq!(Type::File.join(&Type::Bool), None);
    }

    #[test]
    fn types_read_as_they_are_written() {
        let record = Type::Record(Arc::new(IndexMap::from([("a".to_owned(), Type::INT)])));
        for (ty, text) in [
            (Type::optional(Type::list(Type::Junit)), "list<junit>?"),
            (texts(&["dev", "release"]), "\"dev\" | \"release\""),
            (Type::Map(Arc::new(record)), "map<string, {a: int}>"),
            (Type::Int(1, 50), "int(1..50)"),
        ] {
            assert_eq!(ty.to_string(), text);
        }
    }
}
