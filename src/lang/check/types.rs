//! Checking what is declared: types as written, params, parameters, and whether a value fits.

use std::sync::Arc;

use super::cure::{loosely, operand, quoted};
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::nearest::nearest;
use crate::lang::ty::{ItemRef, Type};
use crate::source::Span;
use crate::syntax::ast::{Expr, Param, Parameter, TypeExpr, TypeKind};

/// The types that are one word.
const NAMED: &[(&str, Type)] = &[
    ("bool", Type::Bool),
    ("dir", Type::Dir),
    ("duration", Type::Duration),
    ("file", Type::File),
    ("image", Type::Image),
    ("int", Type::INT),
    ("junit", Type::Junit),
    ("percent", Type::Percent),
    ("size", Type::Size),
    ("string", Type::String),
    ("tool", Type::Tool),
    ("verdict", Type::Verdict),
];

/// Returns the words that a type may be or begin with, in their order.
pub(crate) fn type_names() -> Vec<&'static str> {
    let mut names: Vec<_> =
        NAMED.iter().map(|(name, _)| *name).chain(["files", "list", "map"]).collect();
    names.sort_unstable();
    names
}

/// The types that later versions have.
const LATER: &[&str] = &["secret", "service", "target"];

impl<'p> Checker<'p> {
    /// Returns the type that is written.
    pub(super) fn written(&mut self, written: &TypeExpr) -> Type {
        match &written.kind {
            TypeKind::Name(name) => self.named_type(name, written.span),
            TypeKind::IntRange(low, high) if low > high => {
                let message = format!("the range `{low}..{high}` holds no number");
                let help = format!("write the smaller end first: int({high}..{low})");
                let edit = format!("int({high}..{low})");
                self.report(
                    Diagnostic::error(Code::BAD_LITERAL, written.span, message)
                        .help(help)
                        .edit(written.span, edit),
                );
                Type::Unknown
            }
            TypeKind::IntRange(low, high) => Type::Int(*low, *high),
            TypeKind::List(element) => Type::list(self.written(element)),
            TypeKind::Map(element) => Type::Map(Arc::new(self.written(element))),
            TypeKind::Optional(inner) => Type::optional(self.written(inner)),
            TypeKind::Record(fields) => {
                let fields = fields.iter().map(|(name, ty)| (name.text.clone(), self.written(ty)));
                Type::Record(Arc::new(fields.collect()))
            }
            TypeKind::Enum(texts) => {
                Type::Enum(texts.iter().map(|text| text.text.clone()).collect())
            }
        }
    }

    fn named_type(&mut self, name: &str, span: Span) -> Type {
        if name == "files" {
            return Type::list(Type::File);
        }
        if let Some((_, ty)) = NAMED.iter().find(|(known, _)| *known == name) {
            return ty.clone();
        }
        if LATER.contains(&name) {
            let message = format!("the type `{name}` is not in this version of Kiln");
            self.report(Diagnostic::error(Code::NOT_IN_THIS_VERSION, span, message));
            return Type::Unknown;
        }
        if ["float", "double", "f64"].contains(&name) {
            let message = format!("there is no type `{name}`: numbers are whole");
            let help = "what has a fraction is a text for the program that reads it: string";
            let problem = Diagnostic::error(Code::UNKNOWN_NAME, span, message).help(help);
            self.report(problem.edit(span, "string"));
            return Type::Unknown;
        }
        let known = type_names().into_iter();
        let mut problem =
            Diagnostic::error(Code::UNKNOWN_NAME, span, format!("there is no type `{name}`"));
        let cure = match name {
            "str" | "text" | "String" => Some("string"),
            "boolean" => Some("bool"),
            "integer" | "number" | "i64" | "u32" => Some("int"),
            "path" => Some("file"),
            "directory" | "folder" => Some("dir"),
            name => nearest(name, known),
        };
        problem = match cure {
            Some(cure) => problem.help(format!("did you mean `{cure}`?")).edit(span, cure),
            None => problem.help("common types are `string`, `int`, `file` and `list<file>`"),
        };
        self.report(problem);
        Type::Unknown
    }

    /// Checks a param and returns its type.
    pub(super) fn param(&mut self, item: ItemRef, param: &'p Param) -> Type {
        let wanted = self.written(&param.ty);
        if !is_settable(&wanted) {
            let message = format!("a param cannot be of type `{wanted}`");
            let help = match wanted.certain() {
                Type::File | Type::Dir => {
                    "a param is set from outside as text: take the path as a `string`, and write file(…) or dir(…) where it is used"
                }
                _ => {
                    "a param is set from outside as text: use `string`, `int`, `bool` or a list of one of them"
                }
            };
            self.report(Diagnostic::error(Code::TYPE_MISMATCH, param.ty.span, message).help(help));
        }
        if let Some(default) = &param.default {
            let found = self.expr(default, &mut Scope::new(item));
            let declared = Some((param.ty.span, "its type is declared here"));
            self.expect(
                &found,
                &wanted,
                default.span,
                &format!("the default of `{}`", param.name.text),
                declared,
            );
        }
        wanted
    }

    /// Checks the parameters of a function or template and puts them in scope.
    pub(super) fn parameters(&mut self, parameters: &'p [Parameter], scope: &mut Scope) {
        for parameter in parameters {
            let wanted = self.written(&parameter.ty);
            if let Some(default) = &parameter.default {
                let found = self.expr(default, scope);
                let declared = Some((parameter.ty.span, "its type is declared here"));
                let what = format!("the default of `{}`", parameter.name.text);
                self.expect(&found, &wanted, default.span, &what, declared);
            }
            self.bind(&parameter.name, wanted, false, None, scope);
        }
    }

    /// Returns the type of a `let`, which must be of something that can have a name.
    pub(super) fn nameable(&mut self, ty: Type, value: &Expr) -> Type {
        match ty {
            Type::Module(_)
            | Type::Template(_)
            | Type::Function(_)
            | Type::Builtin(_)
            | Type::Host
            | Type::Beside(_)
            | Type::Outs => {
                let message = format!("a {ty} is not a value that can be named");
                let help = "call it, or mention one of its members";
                self.report(Diagnostic::error(Code::TYPE_MISMATCH, value.span, message).help(help));
                Type::Unknown
            }
            ty => ty,
        }
    }

    /// Reports a value that does not fit its place. `what` names the place.
    pub(super) fn expect(
        &mut self,
        found: &Type,
        wanted: &Type,
        span: Span,
        what: &str,
        declared: Option<(Span, &str)>,
    ) {
        if found.fits(wanted) {
            return;
        }
        if self.refused(span) {
            return;
        }
        let mut problem = match found {
            Type::Optional(inner) if inner.fits(wanted) => {
                let text = self.program.sources.text(span);
                let message =
                    format!("{what} takes {}, and `{text}` may be `none`", quoted(wanted));
                Diagnostic::error(Code::MAYBE_NONE, span, message)
            }
            _ => {
                let found = if has_texts(wanted) { quoted(found) } else { loosely(found) };
                let message = format!("{what} takes {}, found {found}", quoted(wanted));
                Diagnostic::error(Code::TYPE_MISMATCH, span, message)
            }
        };
        if let Some((place, text)) =
            declared.filter(|(place, _)| place.source != span.source || *place != span)
        {
            problem = problem.label(format!("this is {}", loosely(found))).also(place, text);
        }
        if let Some(cure) = self.cure(found, wanted, span) {
            problem = cure.of(problem, span);
        }
        self.report(problem);
    }

    /// Reports one side of an operator that does not fit: a cure of it may need brackets.
    pub(super) fn expect_operand(&mut self, found: &Type, wanted: &Type, span: Span, sign: &str) {
        let known = self.diagnostics.len();
        self.expect(found, wanted, span, sign, None);
        for problem in &mut self.diagnostics[known..] {
            if let Some(edit) = problem.edit.as_mut().filter(|edit| edit.span == span) {
                edit.text = operand(&edit.text);
            }
        }
    }
}

/// Returns whether a type names certain texts.
fn has_texts(ty: &Type) -> bool {
    match ty {
        Type::Enum(_) => true,
        Type::List(inner) | Type::Map(inner) | Type::Optional(inner) => has_texts(inner),
        Type::Record(fields) => fields.values().any(has_texts),
        _ => false,
    }
}

/// Returns whether a value of the type can be given as text.
fn is_settable(ty: &Type) -> bool {
    match ty {
        Type::List(element) => is_settable(element) && !matches!(**element, Type::List(_)),
        Type::Optional(inner) => is_settable(inner),
        Type::Unknown
        | Type::Bool
        | Type::Int(..)
        | Type::String
        | Type::Enum(_)
        | Type::Duration
        | Type::Size
        | Type::Percent => true,
        _ => false,
    }
}
