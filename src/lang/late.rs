//! Late lists: matrices that go through what a stage makes. Knows which axes are such and what their
//! lists may be; does not know how a stage is run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::builtins;
use super::data::Data;
use super::value::Value;
use crate::syntax::ast::{Axis, DataFormat, Expr, ExprKind, TypeExpr, TypeKind};

/// What names a file that a step made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LateKey {
    /// The step.
    pub(crate) step: String,
    /// The out.
    pub(crate) out: String,
    /// A path inside it; empty for the whole.
    pub(crate) part: String,
}

/// The files that matrices go through and that are known by now: each as its bytes, or why it cannot be
/// read, in words that follow its name.
pub(crate) type LateData = BTreeMap<LateKey, Result<Vec<u8>, String>>;

/// Returns the format and the out of a list that is known only when a stage has run:
/// `json(plan.shards)`.
pub(crate) fn source(axis: &Axis) -> Option<(DataFormat, &Expr)> {
    let ExprKind::Call { callee, arguments } = &axis.values.kind else { return None };
    let ExprKind::Name(name) = &callee.kind else { return None };
    let format = builtins::find(name)?.function.data_format()?;
    let [argument] = &arguments[..] else { return None };
    let is_out = match &argument.value.kind {
        ExprKind::Member { .. } => true,
        ExprKind::Binary { left, .. } => matches!(left.kind, ExprKind::Member { .. }),
        _ => false,
    };
    (argument.name.is_none() && is_out).then_some((format, &argument.value))
}

/// Returns the elements of a list in a data file, each of the type that its axis says.
///
/// # Errors
/// What is wrong with the file, in words that follow its name.
pub(crate) fn elements(
    format: DataFormat,
    bytes: &[u8],
    ty: Option<&TypeExpr>,
) -> Result<Vec<Value>, String> {
    let data =
        Data::parse(format, bytes).map_err(|words| format!("is no {}: {words}", format.words()))?;
    let Value::List(elements) = data.value else {
        return Err(format!("holds {}, and no list", found(&data.value)));
    };
    let elements = elements.iter().enumerate().map(|(at, element)| {
        let conformed = match ty {
            Some(ty) => conform(element, &ty.kind),
            None => conform(element, &TypeKind::Name("string".to_owned())),
        };
        conformed.map_err(|words| format!("holds at [{at}] {words}"))
    });
    elements.collect()
}

/// Returns a value as one of a type, without the fields that the type does not have.
fn conform(value: &Value, ty: &TypeKind) -> Result<Value, String> {
    let refused = |wanted: &str| Err(format!("{}, where {wanted} is wanted", found(value)));
    match (ty, value) {
        (TypeKind::Optional(_), Value::None) => Ok(Value::None),
        (TypeKind::Optional(inner), value) => conform(value, &inner.kind),
        (TypeKind::Name(name), value) => match (name.as_str(), value) {
            ("string", Value::String(_)) | ("bool", Value::Bool(_)) | ("int", Value::Int(_)) => {
                Ok(value.clone())
            }
            ("string", _) => refused("a text"),
            ("bool", _) => refused("`true` or `false`"),
            ("int", _) => refused("a whole number"),
            (name, _) => refused(&format!("a {name}")),
        },
        (TypeKind::IntRange(low, high), Value::Int(number)) if (low..=high).contains(&number) => {
            Ok(value.clone())
        }
        (TypeKind::IntRange(low, high), _) => {
            refused(&format!("a whole number from {low} to {high}"))
        }
        (TypeKind::Enum(texts), Value::String(text))
            if texts.iter().any(|known| *known.text == **text) =>
        {
            Ok(value.clone())
        }
        (TypeKind::Enum(texts), _) => {
            let texts: Vec<_> = texts.iter().map(|text| format!("{:?}", text.text)).collect();
            refused(&texts.join(" or "))
        }
        (TypeKind::List(inner), Value::List(elements)) => {
            let elements = elements.iter().map(|element| conform(element, &inner.kind));
            Ok(Value::list(elements.collect::<Result<_, _>>()?))
        }
        (TypeKind::Record(types), Value::Record(fields)) => {
            let field = |(name, ty): &(crate::syntax::ast::Name, TypeExpr)| {
                let value = fields.get(&name.text).unwrap_or(&Value::None);
                let value = conform(value, &ty.kind)
                    .map_err(|words| format!("in its `{}` {words}", name.text))?;
                Ok((name.text.clone(), value))
            };
            Ok(Value::Record(Arc::new(types.iter().map(field).collect::<Result<_, String>>()?)))
        }
        (TypeKind::Map(inner), Value::Record(fields)) => {
            let field = |(name, value): (&String, &Value)| {
                Ok::<_, String>((name.clone(), conform(value, &inner.kind)?))
            };
            Ok(Value::Record(Arc::new(fields.iter().map(field).collect::<Result<_, _>>()?)))
        }
        (TypeKind::List(_), _) => refused("a list"),
        (TypeKind::Record(_) | TypeKind::Map(_), _) => refused("an object"),
    }
}

/// Returns what a value is, in words.
fn found(value: &Value) -> String {
    match value {
        Value::None => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Int(number) => format!("the number {number}"),
        Value::String(text) if text.len() <= 40 => format!("the text {text:?}"),
        Value::String(_) => "a long text".to_owned(),
        Value::List(_) => "a list".to_owned(),
        _ => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{SourceId, Span};

    fn told(text: &str, ty: TypeKind) -> String {
        let ty = TypeExpr { span: Span::at(SourceId(0), 0), kind: ty };
        match elements(DataFormat::Json, text.as_bytes(), Some(&ty)) {
            Ok(elements) => format!("{} elements", elements.len()),
            Err(words) => words,
        }
    }

    #[test]
    fn a_list_has_elements_of_its_type_or_says_where_not() {
        let name = |name: &str| TypeKind::Name(name.to_owned());
        let word = |text: &str| crate::syntax::ast::Name {
            text: text.to_owned(),
            span: Span::at(SourceId(0), 0),
        };
        let of = |kind| TypeExpr { span: Span::at(SourceId(0), 0), kind };
        let record = || {
            TypeKind::Record(vec![
                (word("os"), of(TypeKind::Enum(vec![word("a"), word("b")]))),
                (word("n"), of(TypeKind::Optional(Box::new(of(TypeKind::IntRange(1, 3)))))),
            ])
        };
        for (text, ty, expected) in [
            (r#"["a", "b"]"#, name("string"), "2 elements"),
            ("[]", name("int"), "0 elements"),
            ("[1, 2]", name("int"), "2 elements"),
            ("[1]", name("string"), "holds at [0] the number 1, where a text is wanted"),
            (r#"{"a": 1}"#, name("string"), "holds an object, and no list"),
            ("[", name("string"), "is no JSON: EOF while parsing a list at line 1 column 1"),
            (r#"[{"os": "a", "n": 2, "more": 1}, {"os": "b"}]"#, record(), "2 elements"),
            (
                r#"[{"os": "c"}]"#,
                record(),
                "holds at [0] in its `os` the text \"c\", where \"a\" or \"b\" is wanted",
            ),
            (
                r#"[{"os": "a", "n": 4}]"#,
                record(),
                "holds at [0] in its `n` the number 4, where a whole number from 1 to 3 is wanted",
            ),
            (r#"["a"]"#, record(), "holds at [0] the text \"a\", where an object is wanted"),
        ] {
            assert_eq!(told(text, ty), expected, "{text}");
        }
    }
}
