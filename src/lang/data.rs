//! Data files: JSON and TOML of the project as values of the language, with their types. Knows both
//! formats; does not know who asks for one.
//!
//! JSON is that of RFC 8259, TOML that of <https://toml.io/en/v1.0.0>. A number that is no whole one of 64 bits, and a
//! date, is a text: of a fraction the shortest that means the same, so that 1.50 is `1.5`.

use std::sync::Arc;

use indexmap::IndexMap;

use super::ty::Type;
use super::value::Value;
use crate::syntax::ast::DataFormat;

/// What a data file holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Data {
    pub(crate) value: Value,
    pub(crate) ty: Type,
}

impl Data {
    /// Returns what `bytes` hold.
    ///
    /// # Errors
    /// What is wrong with them and where, in words.
    pub(crate) fn parse(format: DataFormat, bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value = match format {
            DataFormat::Json => {
                of_json(serde_json::from_str(text).map_err(|error| error.to_string())?)
            }
            DataFormat::Toml => of_toml(toml::Value::Table(
                toml::from_str(text).map_err(|error| toml_words(text, &error))?,
            )),
        };
        Ok(Self { ty: type_of(&value), value })
    }
}

fn of_json(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::string(number.to_string()),
        },
        Json::String(text) => Value::string(text),
        Json::Array(elements) => Value::list(elements.into_iter().map(of_json).collect()),
        Json::Object(fields) => {
            record(fields.into_iter().map(|(name, value)| (name, of_json(value))))
        }
    }
}

fn of_toml(toml: toml::Value) -> Value {
    use toml::Value as Toml;
    match toml {
        Toml::Boolean(value) => Value::Bool(value),
        Toml::Integer(number) => Value::Int(number),
        Toml::Float(number) => Value::string(number.to_string()),
        Toml::String(text) => Value::string(text),
        Toml::Datetime(time) => Value::string(time.to_string()),
        Toml::Array(elements) => Value::list(elements.into_iter().map(of_toml).collect()),
        Toml::Table(fields) => {
            record(fields.into_iter().map(|(name, value)| (name, of_toml(value))))
        }
    }
}

fn record(fields: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Record(Arc::new(fields.collect()))
}

/// Returns what is wrong with a text and where, as JSON's errors say it.
fn toml_words(text: &str, error: &toml::de::Error) -> String {
    let words = error.message().lines().collect::<Vec<_>>().join(", ");
    match error.span() {
        Some(span) => {
            let before = &text[..text.floor_char_boundary(span.start)];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{words} at line {line} column {column}")
        }
        None => words,
    }
}

/// Returns the type of data. A text is any text, not this one: the file may change.
fn type_of(value: &Value) -> Type {
    match value {
        Value::None => Type::None,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::INT,
        Value::List(elements) => {
            let all = elements.iter().map(type_of).try_fold(Type::Unknown, |all, ty| all.join(&ty));
            Type::list(all.unwrap_or(Type::Mixed))
        }
        Value::Record(fields) => {
            let fields: IndexMap<_, _> =
                fields.iter().map(|(name, value)| (name.clone(), type_of(value))).collect();
            Type::Record(Arc::new(fields))
        }
        _ => Type::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(format: DataFormat, text: &str) -> String {
        match Data::parse(format, text.as_bytes()) {
            Ok(data) => data.ty.to_string(),
            Err(problem) => problem,
        }
    }

    #[test]
    fn json_has_the_types_of_what_it_holds() {
        for (text, expected) in [
            ("1", "int"),
            ("1.5", "string"),
            ("99999999999999999999", "string"),
            (r#"{"a": "x", "b": [true], "c": null}"#, "{a: string, b: list<bool>, c: none}"),
            (r#"[{"a": 1}, {"a": 2, "b": "x"}]"#, "list<{a: int, b: string?}>"),
            ("[1, null]", "list<int?>"),
            (r#"[1, "x"]"#, "list<mixed data>"),
            ("[]", "list<unknown>"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{}\n x", "trailing characters at line 2 column 2"),
        ] {
            assert_eq!(ty(DataFormat::Json, text), expected, "{text}");
        }
        assert!(ty(DataFormat::Json, &"[".repeat(100_000)).starts_with("recursion limit exceeded"));
    }

    #[test]
    fn toml_has_the_types_of_what_it_holds() {
        for (text, expected) in [
            ("a = 1\nb = 1.5\nc = 1979-05-27", "{a: int, b: string, c: string}"),
            (
                "[package]\nname = \"x\"\n[[bin]]\nname = \"y\"",
                "{package: {name: string}, bin: list<{name: string}>}",
            ),
            ("", "{}"),
        ] {
            assert_eq!(ty(DataFormat::Toml, text), expected, "{text}");
        }
        let problem = ty(DataFormat::Toml, "a = 1\nb = = 2");
        assert!(problem.ends_with("at line 2 column 5"), "{problem}");
        let deep = format!("a = {}", "[".repeat(100_000));
        assert!(Data::parse(DataFormat::Toml, deep.as_bytes()).is_err());
    }
}
