//! Params of a type that their use shows to be wrong: a text that is a switch, a number, or a key. Knows how
//! params are declared and how often they are mentioned; does not know who gives them a value.

use super::Checker;
use super::cure::Cure;
use crate::lang::ty::{ItemRef, ModuleId};
use crate::source::Span;
use crate::syntax::ast::{ExprKind, Item, ItemKind, Param, TypeKind};
use crate::syntax::scan;

/// Texts that say yes, and those that say no.
const SWITCHES: [(&str, &[&str]); 2] =
    [("true", &["true", "yes", "on", "1"]), ("false", &["false", "no", "off", "0", ""])];

impl<'p> Checker<'p> {
    /// Returns how a param of texts becomes one of `bool`, if only the place at `span` mentions it.
    pub(super) fn as_switch(&self, name: &str, span: Span) -> Option<Cure> {
        let (param, default) = self.text_param(name, span)?;
        let (value, _) = SWITCHES.iter().find(|(_, texts)| texts.contains(&default.as_str()))?;
        (self.mentions_of(name, span) == 2).then(|| retyped(param, "bool", value))
    }

    /// Returns how a param of texts becomes one of `int`.
    pub(super) fn as_number(&self, name: &str, span: Span) -> Option<Cure> {
        let (param, default) = self.text_param(name, span)?;
        let number: i64 = default.parse().ok()?;
        (self.mentions_of(name, span) == 2).then(|| retyped(param, "int", &number.to_string()))
    }

    /// Returns how the param in `record[param]`, as it is written, becomes one of the record's keys.
    pub(super) fn as_key(&self, index: &str, span: Span) -> Option<Cure> {
        let (record, name) = index.strip_suffix(']')?.split_once('[')?;
        let (param, default) = self.text_param(name, span)?;
        let ItemKind::Let(record) = &self.item_called(record, span)?.kind else { return None };
        let ExprKind::Record(fields) = &record.value.kind else { return None };
        if !self.search.may_take(64 * fields.len()) {
            return None;
        }
        let keys: Vec<_> = fields.iter().map(|(key, _)| format!("{:?}", key.text)).collect();
        let default = format!("{default:?}");
        keys.contains(&default).then(|| retyped(param, &keys.join(" | "), &default))
    }

    /// Returns the private param of that name whose type is `string`, with the text it has by default.
    fn text_param(&self, name: &str, span: Span) -> Option<(&'p Param, String)> {
        let item = self.item_called(name, span).filter(|item| !item.is_pub)?;
        let ItemKind::Param(param) = &item.kind else { return None };
        let is_text = matches!(&param.ty.kind, TypeKind::Name(name) if name == "string");
        let default = param.default.as_ref()?.constant()?;
        is_text.then_some((param, default))
    }

    /// Returns the item of that name in the file of `span`.
    pub(super) fn item_called(&self, name: &str, span: Span) -> Option<&'p Item> {
        let modules = &self.program.modules;
        let module = modules.iter().position(|module| module.ast.source == span.source);
        let module = ModuleId(module.expect("every span is of a module") as u32);
        let item = self.symbols[module.index()].get(name)?;
        Some(self.tree(ItemRef { module, item }))
    }

    /// Returns how often a word stands in the file of `span`, outside of comments; too often,
    /// if it may not be looked for.
    pub(super) fn mentions_of(&self, name: &str, span: Span) -> usize {
        let text = &self.program.sources.get(span.source).text;
        if !self.search.may_take(text.len()) {
            return usize::MAX;
        }
        let tokens = scan::lex(span.source, text).tokens.into_iter();
        let code = tokens.filter(|token| !token.is_trivia()).map(|token| token.text(text));
        let words =
            code.flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
        words.filter(|word| *word == name).count()
    }
}

fn retyped(param: &Param, ty: &str, default: &str) -> Cure {
    let end = param.default.as_ref().map_or(param.ty.span.end, |default| default.span.end);
    let edit = format!("{ty} = {default}");
    Cure {
        help: format!("declare it so: param {}: {edit}", param.name.text),
        edit: Some(edit),
        place: Some(Span { end, ..param.ty.span }),
    }
}
