//! Names at a cursor: those in scope, members of what stands before a dot, arguments, axes. Knows the
//! tree and what its names mean; does not know how the text around the mark was made to parse.

use crate::lang::builtins::{self, Count, facts};
use crate::lang::meaning::Meaning;
use crate::lang::scope::declared;
use crate::lang::template::{self, MAX_TEMPLATES};
use crate::lang::ty::{ItemRef, ModuleId, Type};
use crate::source::Span;
use crate::syntax::ast::{
    Argument, Clause, ClauseKind, Expr, ExprKind, Item, ItemKind, Parameter, Stage,
};

use super::super::analysis::Thing;
use super::super::tree::{self, Node};
use super::super::{Kind, hover, outline};
use super::words::plain;
use super::{Completion, Spot, is_mark};

impl Spot<'_> {
    fn noted(&self, span: Span) -> Type {
        let mention = self.analysis.loaded.meanings.at(span);
        mention.map_or(Type::Unknown, |mention| mention.ty.clone())
    }

    fn offer(&self, name: &str, kind: Kind, ty: &Type, thing: Option<Thing>) -> Completion {
        let doc = thing.and_then(|thing| hover::describe(self.analysis, name, &thing));
        Completion {
            kind,
            detail: if *ty == Type::Unknown { String::new() } else { ty.to_string() },
            doc: doc.unwrap_or_default(),
            ..plain(self.cursor, name)
        }
    }

    /// Returns the names that an expression may use here.
    pub(super) fn names(&self) -> Vec<Completion> {
        let wanted = self.wanted(self.path.len() - 1).filter(|ty| *ty != Type::Unknown);
        let mut offers = Vec::new();
        for local in tree::locals(&self.path, self.at) {
            let ty = self.noted(local.span);
            let thing = Thing::Name(Meaning::Local(local.span), ty.clone());
            let offer = self.offer(&local.text, Kind::Local, &ty, Some(thing));
            offers.push((offer, ty));
        }
        if self.path.iter().any(|node| matches!(node, Node::Clause(_))) {
            let thing = Thing::Name(Meaning::OwnOuts, Type::Outs);
            offers
                .push((self.offer("out", Kind::Keyword, &Type::Unknown, Some(thing)), Type::Outs));
        }
        offers.extend(self.items());
        if !self.is_template() {
            offers.extend(self.language());
        }
        let fitting = |(mut offer, ty): (Completion, Type)| {
            offer.is_likely |= wanted.as_ref().is_some_and(|wanted| fits(&ty, wanted));
            offer
        };
        let mut offers: Vec<_> = offers.into_iter().map(fitting).collect();
        if let Some(Type::Enum(texts)) = wanted.as_ref().map(Type::certain) {
            offers.extend(texts.iter().map(|text| Completion {
                kind: Kind::Text,
                is_likely: true,
                ..plain(self.cursor, &format!("{text:?}"))
            }));
        }
        offers
    }

    /// Whether the mark is what a stage is made from.
    fn is_template(&self) -> bool {
        let Some(Node::Item(Item { kind: ItemKind::Stage(stage), .. })) = self.path.first() else {
            return false;
        };
        let callee = stage.from.as_ref().map(|from| match &from.kind {
            ExprKind::Call { callee, .. } => callee,
            _ => from,
        });
        callee.is_some_and(|callee| callee.span.start as usize == self.at)
    }

    /// The items of this file: where a stage is made, the templates, else all others.
    fn items(&self) -> Vec<(Completion, Type)> {
        let Some(Node::Item(own)) = self.path.first() else { return Vec::new() };
        let module = self.analysis.module_id(own.span.source);
        let items = self.analysis.program().module(module).ast.items.iter().enumerate();
        let is_template = self.is_template();
        let fits = |item: &Item| match outline::kind(item) {
            Kind::Template => is_template,
            Kind::Module => true,
            _ => !is_template,
        };
        let others = items.filter(|(_, item)| item.span != own.span && fits(item));
        others.filter_map(|(item, tree)| self.item(ItemRef { module, item }, tree)).collect()
    }

    fn item(&self, item: ItemRef, tree: &Item) -> Option<(Completion, Type)> {
        let (name, span) = declared(tree)?;
        let ty = match &tree.kind {
            ItemKind::Function(_) => Type::Function(item),
            ItemKind::Stage(stage) => Type::of_stage(item, stage.kind),
            _ => self.noted(span),
        };
        let kind = outline::kind(tree);
        let thing = Thing::Name(Meaning::Item(item), ty.clone());
        let signature = hover::signature(self.analysis, tree);
        let offer = Completion {
            detail: match kind {
                Kind::Param | Kind::Value => ty.to_string(),
                _ => signature.lines().next().unwrap_or_default().to_owned(),
            },
            is_called: matches!(kind, Kind::Function | Kind::Template),
            ..self.offer(&name, kind, &ty, Some(thing))
        };
        Some((offer, ty))
    }

    /// Functions and other names of the language.
    fn language(&self) -> Vec<(Completion, Type)> {
        let mut offers = Vec::new();
        for name in builtins::names().filter(|name| *name != "host") {
            let function = builtins::get(name);
            let ty = builtins::result(function.function, &[]);
            let thing = Thing::Name(Meaning::Builtin(function.name), Type::Unknown);
            let offer = self.offer(name, Kind::Function, &Type::Unknown, Some(thing));
            let detail = function.signature.to_owned();
            offers.push((Completion { is_called: true, detail, ..offer }, ty));
        }
        let host = Thing::Name(Meaning::Host, Type::Host);
        offers.push((self.offer("host", Kind::Fact, &Type::Host, Some(host)), Type::Host));
        for (word, ty) in [
            ("true", Type::Bool),
            ("false", Type::Bool),
            ("none", Type::None),
            ("if", Type::Unknown),
        ] {
            offers.push((plain(self.cursor, word), ty));
        }
        offers
    }

    /// Returns the members of what stands before the dot.
    pub(super) fn members(&self, base: &Expr, is_optional: bool) -> Vec<Completion> {
        let ty = self.type_of(base);
        let mut offers = self.members_of(ty.certain());
        // What may be `none` is asked with another dot.
        if matches!(ty, Type::Optional(_)) && !is_optional {
            let dot = base.span.end as usize;
            for offer in &mut offers {
                offer.filter = Some(format!(".{}", offer.label));
                offer.insert = format!("?.{}", offer.insert);
                offer.replace.start = dot;
            }
        }
        offers
    }

    fn members_of(&self, ty: &Type) -> Vec<Completion> {
        match ty {
            Type::Module(module) => self.public(*module),
            Type::Record(fields) => {
                let field = |(name, ty): (&String, &Type)| {
                    let thing = Thing::Name(Meaning::Member, ty.clone());
                    self.offer(name, Kind::Field, ty, Some(thing))
                };
                fields.iter().map(field).collect()
            }
            Type::File | Type::Junit | Type::Dir => {
                let member = |name: &str| {
                    let thing = Thing::Name(Meaning::Member, Type::String);
                    self.offer(name, Kind::Field, &Type::String, Some(thing))
                };
                ["name", "stem", "parent", "path"].map(member).to_vec()
            }
            Type::Host => self.facts(""),
            Type::Facts(group) => self.facts(&format!("{group}.")),
            Type::Outs => match self.path.first() {
                Some(Node::Item(Item { kind: ItemKind::Stage(stage), .. })) => self.outs(stage),
                _ => Vec::new(),
            },
            Type::Stage(item) => match &self.analysis.item(*item).kind {
                ItemKind::Stage(stage) if stage.axes.is_empty() => self.outs(stage),
                ItemKind::Stage(_) => {
                    let thing = Thing::Name(Meaning::AllRows, Type::AllRows(*item));
                    vec![self.offer("all", Kind::Keyword, &Type::AllRows(*item), Some(thing))]
                }
                _ => Vec::new(),
            },
            Type::Row(item) | Type::AllRows(item) | Type::Beside(item) => {
                match &self.analysis.item(*item).kind {
                    ItemKind::Stage(stage) => self.outs(stage),
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    fn public(&self, module: ModuleId) -> Vec<Completion> {
        let items = self.analysis.program().module(module).ast.items.iter().enumerate();
        let public = items.filter(|(_, item)| item.is_pub);
        let item = |(item, tree): (usize, &Item)| self.item(ItemRef { module, item }, tree);
        public.filter_map(item).map(|(offer, _)| offer).collect()
    }

    fn facts(&self, group: &str) -> Vec<Completion> {
        let offer = |name: &'static str| {
            let full = format!("{group}{name}");
            match facts::find(&full) {
                Some(fact) => Completion {
                    detail: fact.written.to_owned(),
                    doc: hover::fact_page(&full).unwrap_or_default(),
                    ..self.offer(name, Kind::Fact, &Type::Unknown, None)
                },
                None if name == "tool" => {
                    let tool = builtins::get(builtins::HOST_TOOL);
                    Completion {
                        detail: tool.signature.to_owned(),
                        doc: hover::page(tool.signature, tool.doc),
                        is_called: true,
                        ..self.offer(name, Kind::Function, &Type::Unknown, None)
                    }
                }
                None => Completion {
                    doc: hover::group_doc(name).to_owned(),
                    ..self.offer(name, Kind::Fact, &Type::Unknown, None)
                },
            }
        };
        facts::members(group).into_iter().map(offer).collect()
    }

    /// The outs of a stage and of what it is made from.
    fn outs(&self, stage: &Stage) -> Vec<Completion> {
        let mut offers: Vec<Completion> = Vec::new();
        let mut next = Some(stage);
        for _ in 0..MAX_TEMPLATES {
            let Some(stage) = next else { break };
            for clause in &stage.clauses {
                let Clause { kind: ClauseKind::Out { name, .. }, .. } = clause else { continue };
                if offers.iter().all(|offer| offer.label != name.text) {
                    let ty = self.noted(name.span);
                    let thing = Thing::Name(Meaning::Out(name.span), ty.clone());
                    offers.push(self.offer(&name.text, Kind::Out, &ty, Some(thing)));
                }
            }
            next = self.template_of(stage);
        }
        offers
    }

    fn template_of(&self, stage: &Stage) -> Option<&Stage> {
        let (callee, _) = template::call(stage)?;
        let Type::Template(item) = self.type_of(callee) else { return None };
        match &self.analysis.item(item).kind {
            ItemKind::Stage(template) => Some(template),
            _ => None,
        }
    }

    /// Returns the axes that a row of a matrix is named by.
    pub(super) fn axes(&self, ty: &Type) -> Vec<Completion> {
        let Type::Stage(item) = ty else { return Vec::new() };
        let ItemKind::Stage(stage) = &self.analysis.item(*item).kind else { return Vec::new() };
        let mut offers = Vec::new();
        for axis in &stage.axes {
            match self.noted(axis.name.span) {
                Type::Record(fields) => {
                    offers.extend(fields.iter().map(|(name, ty)| self.named(name, ty, None)));
                }
                ty => {
                    let thing = Thing::Name(Meaning::Local(axis.name.span), ty.clone());
                    offers.push(self.named(&axis.name.text, &ty, Some(thing)));
                }
            }
        }
        offers
    }

    /// Returns the arguments that a call may name; it stands `above` places above the mark.
    pub(super) fn arguments(&self, above: usize) -> Vec<Completion> {
        let Some(Node::Expr(Expr { kind: ExprKind::Call { callee, arguments }, .. })) =
            self.above(above)
        else {
            return Vec::new();
        };
        let is_given = |name: &str| {
            let named = arguments.iter().filter_map(|argument| argument.name.as_ref());
            named.filter(|given| !is_mark(&given.text)).any(|given| given.text == name)
        };
        match self.parameters(callee) {
            Some(Ok(parameters)) => {
                let first = positional(arguments);
                let left = parameters.iter().skip(first).filter(|it| !is_given(&it.name.text));
                let offer = |parameter: &Parameter| {
                    let ty = self.noted(parameter.name.span);
                    let thing = Thing::Name(Meaning::Local(parameter.name.span), ty.clone());
                    self.named(&parameter.name.text, &ty, Some(thing))
                };
                left.map(offer).collect()
            }
            Some(Err(function)) => {
                let slots = function.slots.iter().filter(|slot| slot.count == Count::Optional);
                let slots = slots.filter(|slot| !is_given(slot.name));
                let offer = |slot: &builtins::Slot| {
                    let meaning = Meaning::Argument(function.name, slot.name);
                    let thing = Thing::Name(meaning, Type::Unknown);
                    Completion {
                        detail: slot.accepts.words().replace('`', ""),
                        ..self.named(slot.name, &Type::Unknown, Some(thing))
                    }
                };
                slots.map(offer).collect()
            }
            None => Vec::new(),
        }
    }

    /// The parameters of what is called, or the function of the language that it is.
    fn parameters(
        &self,
        callee: &Expr,
    ) -> Option<Result<&[Parameter], &'static builtins::Builtin>> {
        match self.type_of(callee) {
            Type::Builtin(name) => Some(Err(builtins::get(name))),
            Type::Function(item) | Type::Template(item) => match &self.analysis.item(item).kind {
                ItemKind::Function(function) => Some(Ok(&function.parameters)),
                ItemKind::Stage(stage) => stage.parameters.as_deref().map(Ok),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the type that is wanted of an argument; the argument stands at that place of the path.
    pub(super) fn wanted_of(&self, argument: &Argument, at: usize) -> Option<Type> {
        let Node::Expr(Expr { kind: ExprKind::Call { callee, arguments }, .. }) =
            self.path[at.checked_sub(1)?]
        else {
            return None;
        };
        let parameters = self.parameters(callee)?.ok()?;
        let parameter = match &argument.name {
            Some(name) => parameters.iter().find(|it| it.name.text == name.text)?,
            None => {
                let span = argument.value.span;
                parameters.get(arguments.iter().position(|it| it.value.span == span)?)?
            }
        };
        Some(self.noted(parameter.name.span))
    }

    /// A name with a colon behind it.
    fn named(&self, name: &str, ty: &Type, thing: Option<Thing>) -> Completion {
        let has_colon = self.cursor.line_after().trim_start().starts_with(':');
        Completion {
            insert: if has_colon { name.to_owned() } else { format!("{name}: ") },
            is_likely: true,
            ..self.offer(name, Kind::Field, ty, thing)
        }
    }
}

/// How many arguments are given by their place, before the one that is being written.
fn positional(arguments: &[Argument]) -> usize {
    let is_place = |argument: &&Argument| {
        argument.name.is_none()
            && !matches!(&argument.value.kind, ExprKind::Name(name) if is_mark(name))
    };
    arguments.iter().take_while(is_place).count()
}

fn fits(ty: &Type, wanted: &Type) -> bool {
    !matches!(ty, Type::Unknown | Type::None) && ty.fits(wanted)
}
