//! Params: values given as text from outside, and whether values keep to declared ranges.

use indexmap::IndexMap;

use super::{Evaluated, Evaluator, Frame};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::nearest::nearest;
use crate::lang::ty::ItemRef;
use crate::lang::value::Value;
use crate::source::Span;
use crate::syntax::ast::{ExprKind, ItemKind, Param, TypeExpr, TypeKind};
use crate::syntax::parse;

impl<'p> Evaluator<'p> {
    /// Sets all params: from `given`, by name with their module's prefix, else by default.
    pub(super) fn params(&mut self, given: &IndexMap<String, String>) {
        let mut names = IndexMap::new();
        for (module, tree) in self.program.iter() {
            for (item, kind) in tree.ast.items.iter().enumerate() {
                let ItemKind::Param(param) = &kind.kind else { continue };
                let name = format!("{}{}", tree.prefix, param.name.text);
                let value = self.param(module, param, &name, given.get(&name));
                if let Ok(value) = &value {
                    self.params.insert(name.clone(), shown(value));
                }
                self.values.insert(ItemRef { module, item }, value.ok());
                names.insert(name, param.name.span);
            }
        }
        for name in given.keys().filter(|name| !names.contains_key(*name)) {
            let start = Span::at(self.program.modules[0].ast.source, 0);
            let start = names.values().next().copied().unwrap_or(start);
            let near = nearest(name, names.keys().map(String::as_str));
            let message = format!("the pipeline has no param `{name}`, given as -p {name}=…");
            let problem = |span| Diagnostic::error(Code::UNKNOWN_NAME, span, message);
            self.diagnostics.push(match near {
                Some(near) => problem(names[near]).help(format!("did you mean -p {near}=…?")),
                None => problem(start).help("kiln list  shows its params"),
            });
        }
    }

    fn param(
        &mut self,
        module: crate::lang::ty::ModuleId,
        param: &'p Param,
        name: &str,
        given: Option<&String>,
    ) -> Evaluated<Value> {
        let Some(text) = given else {
            let Some(default) = &param.default else {
                let message = format!("the param `{name}` has no value and no default");
                let help = format!(
                    "give it one: -p {name}=value, or KILN_PARAM_{}=value in the environment",
                    variable(name)
                );
                return self.fail(
                    Diagnostic::error(Code::PARAM_VALUE, param.name.span, message).help(help),
                );
            };
            let value = self.expr(default, &mut Frame::new(self.program, module))?;
            self.conform(&value, &param.ty, default.span)?;
            return Ok(value);
        };
        match parse_param(text, &param.ty.kind) {
            Ok(value) => Ok(value),
            Err(wanted) => {
                let message = format!("`{name}` takes {wanted}, but was given {text:?}");
                let near = match &param.ty.kind {
                    TypeKind::Enum(texts) => {
                        nearest(text, texts.iter().map(|known| known.text.as_str()))
                    }
                    _ => None,
                };
                let problem = Diagnostic::error(Code::PARAM_VALUE, param.ty.span, message)
                    .label("its type is declared here");
                self.fail(match near {
                    Some(near) => problem.help(format!("did you mean -p {name}={near}?")),
                    None => problem.help(format!("give it such a value: -p {name}=…")),
                })
            }
        }
    }

    /// Reports a number outside the range that its place declares.
    pub(super) fn conform(&mut self, value: &Value, ty: &TypeExpr, span: Span) -> Evaluated<()> {
        match (value, &ty.kind) {
            (Value::Int(number), TypeKind::IntRange(low, high))
                if !(low..=high).contains(&number) =>
            {
                let message = format!("{number} is not in {low}..{high}");
                self.fail(
                    Diagnostic::error(Code::NO_RESULT, span, message)
                        .also(ty.span, "the range is declared here")
                        .help(format!("use a number from {low} to {high}")),
                )
            }
            (value, TypeKind::Optional(inner)) => self.conform(value, inner, span),
            (Value::List(elements), TypeKind::List(inner)) if has_range(inner) => {
                elements.iter().try_for_each(|element| self.conform(element, inner, span))
            }
            (Value::Record(fields), TypeKind::Map(inner)) if has_range(inner) => {
                fields.values().try_for_each(|field| self.conform(field, inner, span))
            }
            (Value::Record(fields), TypeKind::Record(types)) => {
                types.iter().try_for_each(|(name, ty)| {
                    fields.get(&name.text).map_or(Ok(()), |field| self.conform(field, ty, span))
                })
            }
            _ => Ok(()),
        }
    }
}

fn has_range(ty: &TypeExpr) -> bool {
    match &ty.kind {
        TypeKind::IntRange(..) | TypeKind::Record(_) => true,
        TypeKind::List(inner) | TypeKind::Map(inner) | TypeKind::Optional(inner) => {
            has_range(inner)
        }
        TypeKind::Name(_) | TypeKind::Enum(_) => false,
    }
}

/// Returns the name of a param or secret as it stands in a variable: behind `KILN_PARAM_`.
pub(crate) fn variable(name: &str) -> String {
    name.to_uppercase().replace('.', "_")
}

/// Returns the value that `text` means for a param of this type, or what the type takes.
fn parse_param(text: &str, ty: &TypeKind) -> Result<Value, String> {
    let literal = |wanted: &str, pick: fn(ExprKind) -> Option<Value>| {
        parse::literal(text).and_then(pick).ok_or_else(|| wanted.to_owned())
    };
    match ty {
        TypeKind::Name(name) => match name.as_str() {
            "string" => Ok(Value::string(text)),
            "bool" => literal("true or false", |kind| match kind {
                ExprKind::Bool(value) => Some(Value::Bool(value)),
                _ => None,
            }),
            "int" => text.parse().map(Value::Int).map_err(|_| "a whole number".to_owned()),
            "duration" => literal("a duration such as 10m or 1h30m", |kind| match kind {
                ExprKind::Duration(value) => Some(Value::Duration(value)),
                _ => None,
            }),
            "size" => literal("a size such as 512MiB or 2GB", |kind| match kind {
                ExprKind::Size(value) => Some(Value::Size(value)),
                _ => None,
            }),
            "percent" => literal("a percentage such as 25%", |kind| match kind {
                ExprKind::Percent(value) => Some(Value::Percent(value)),
                _ => None,
            }),
            _ => Err("no text".to_owned()),
        },
        TypeKind::IntRange(low, high) => match text.parse::<i64>() {
            Ok(number) if (low..=high).contains(&&number) => Ok(Value::Int(number)),
            _ => Err(format!("a whole number from {low} to {high}")),
        },
        TypeKind::Enum(texts) if texts.iter().any(|known| known.text == text) => {
            Ok(Value::string(text))
        }
        TypeKind::Enum(texts) => {
            let known: Vec<_> =
                texts.iter().take(4).map(|known| format!("{:?}", known.text)).collect();
            let more = if texts.len() > 4 { " or others" } else { "" };
            Err(format!("{}{more}", known.join(" or ")))
        }
        TypeKind::Optional(_) if text.is_empty() => Ok(Value::None),
        TypeKind::Optional(inner) => parse_param(text, &inner.kind),
        TypeKind::List(_) if text.is_empty() => Ok(Value::list(Vec::new())),
        TypeKind::List(inner) => {
            let elements = text.split(',').map(|element| parse_param(element, &inner.kind));
            let elements = elements
                .collect::<Result<_, _>>()
                .map_err(|wanted| format!("a list, separated by commas, of {wanted}"))?;
            Ok(Value::list(elements))
        }
        TypeKind::Map(_) | TypeKind::Record(_) => Err("no text".to_owned()),
    }
}

/// Returns a param's value as it would be given.
fn shown(value: &Value) -> String {
    match value {
        Value::List(elements) => elements.iter().map(shown).collect::<Vec<_>>().join(","),
        value => value.text("").unwrap_or_default(),
    }
}
