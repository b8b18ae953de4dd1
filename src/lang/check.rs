//! The checker: finds every mistake that can be known before anything is evaluated. Knows names and
//! types; does not know values, nor which files there are.

mod call;
mod claim;
mod code;
mod condition;
mod cure;
mod expr;
mod habits;
mod matrix;
mod name;
mod note;
mod operator;
mod outs;
mod retype;
mod script;
mod secret;
mod service;
mod spec;
mod stage;
mod types;

pub(crate) use types::type_names;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use claim::Claim;
use condition::Uncertain;
use habits::Surroundings;

use super::edit;
use super::meaning::{Meaning, Meanings};
use super::module::Program;
use super::rename;
use super::scope::{Locals, Symbols, declared};
use super::ty::{ItemRef, ModuleId, Type};
use crate::diagnostic::{Code, Diagnostic, Edit, Search};
use crate::source::Span;
use crate::syntax::ast::{Item, ItemKind, Let, Stage, StageKind};

/// How many values may need one another in a row.
const MAX_CHAIN: usize = 1000;

/// How many names may be compared with unknown ones, all together.
const MAX_GUESSES: usize = 200_000;

/// What the evaluator needs to know beside the trees.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The top-level names of each module.
    pub(crate) symbols: Vec<Symbols>,
}

/// Checks all modules of `program`.
pub(crate) fn check(program: &Program) -> (Checked, Vec<Diagnostic>) {
    let (checked, _, diagnostics) = check_all(program, None);
    (checked, diagnostics)
}

/// As [`check`], and returns what all names and expressions mean.
pub(crate) fn check_and_explain(program: &Program) -> (Checked, Meanings, Vec<Diagnostic>) {
    let (checked, meanings, diagnostics) = check_all(program, Some(Meanings::default()));
    let mut meanings = meanings.unwrap_or_default();
    meanings.sort();
    (checked, meanings, diagnostics)
}

fn check_all(
    program: &Program,
    meanings: Option<Meanings>,
) -> (Checked, Option<Meanings>, Vec<Diagnostic>) {
    let mut checker = Checker::new(program);
    checker.meanings = meanings;
    for (module, tree) in program.iter() {
        for (item, tree) in tree.ast.items.iter().enumerate() {
            checker.item(ItemRef { module, item }, tree);
        }
    }
    checker.recursion();
    checker.unused();
    (Checked { symbols: checker.symbols }, checker.meanings, checker.diagnostics)
}

/// Returns the edit that gives a private item, whose name hides one of the language's, another one.
fn other_name(program: &Program, name: Span, search: &Search) -> Option<Edit> {
    let source = program.sources.get(name.source);
    let line = source.text[..name.start as usize].lines().next_back().unwrap_or_default();
    let is_private = !line.starts_with("pub ") && search.may_take(source.text.len());
    let whole = Span::new(name.source, 0, source.text.len());
    is_private
        .then(|| rename::renamed(&source.text, whole, program.sources.text(name)))?
        .filter(|edit| edit.span.start <= name.start && name.start < edit.span.end.max(name.end))
}

/// Walks all items once. Types of items are found when they are first asked for.
struct Checker<'p> {
    program: &'p Program,
    symbols: Vec<Symbols>,
    diagnostics: Vec<Diagnostic>,
    /// Types of values; `None` while one is being found.
    types: HashMap<ItemRef, Option<Type>>,
    /// Outs of stages and templates.
    outs: HashMap<ItemRef, Arc<IndexMap<String, OutInfo>>>,
    /// Axes of stages.
    axes: HashMap<ItemRef, Arc<Vec<AxisInfo>>>,
    /// Items that something mentions.
    used: BTreeSet<ItemRef>,
    /// Values and functions that mention one another, and where.
    mentions: BTreeMap<ItemRef, Vec<(ItemRef, Span)>>,
    /// How many types of items are being found, each for the one before.
    chain: usize,
    /// How many names have been compared with unknown ones.
    guesses: usize,
    /// What has been searched for cures.
    search: Search,
    /// Whether too long a chain was reported: once is enough.
    is_chain_reported: bool,
    /// What is `none` where a stage does not run, by its place.
    uncertain: HashMap<Span, Uncertain<'p>>,
    /// Items and stages that they use as if those always ran, once told.
    told: HashSet<(ItemRef, ItemRef)>,
    /// What the values of lets say.
    values_of_lets: HashMap<ItemRef, Option<Claim>>,
    /// What holds if the condition that is a let's value does, or does not.
    claims_of_lets: HashMap<(ItemRef, bool), Vec<Claim>>,
    /// How many parts of conditions have been looked at.
    parts: usize,
    /// How many parts of values have been learned.
    learned: usize,
    /// Whether what is found was reported before, or will be.
    is_silent: bool,
    /// What names mean, if that is wanted.
    meanings: Option<Meanings>,
}

/// An out as declared.
#[derive(Clone, Debug)]
struct OutInfo {
    ty: Type,
    span: Span,
    has_path: bool,
}

/// An axis of a matrix as its users name it.
#[derive(Clone, Debug)]
struct AxisInfo {
    name: String,
    ty: Type,
    /// Where it is declared; `None` for a field of a record.
    span: Option<Span>,
}

/// What an expression can see.
struct Scope {
    /// The item it stands in.
    item: ItemRef,
    locals: Locals,
    /// What a step has around its commands, once it was asked for.
    surroundings: Option<Surroundings>,
    /// What is known to hold there.
    known: IndexSet<Claim>,
    /// The outs of the stage it stands in; `out` names them.
    outs: Arc<IndexMap<String, OutInfo>>,
    /// The out names that a hole has mentioned.
    written: BTreeSet<String>,
    /// Whether the name that is looked at is called.
    calls: bool,
    /// Whether the name that is looked at stands in a list of texts.
    among_texts: bool,
}

impl Scope {
    fn new(item: ItemRef) -> Self {
        Self {
            item,
            locals: Locals::default(),
            surroundings: None,
            known: IndexSet::new(),
            outs: Arc::default(),
            written: BTreeSet::new(),
            calls: false,
            among_texts: false,
        }
    }
}

impl<'p> Checker<'p> {
    fn new(program: &'p Program) -> Self {
        let mut diagnostics = Vec::new();
        let symbols = program.modules.iter().map(|module| {
            let (symbols, problems) = Symbols::of(module);
            diagnostics.extend(problems);
            symbols
        });
        let symbols = symbols.collect();
        let search = Search::default();
        for problem in diagnostics.iter_mut().filter(|problem| problem.code == Code::SHADOWING) {
            problem.edit = other_name(program, problem.span, &search);
        }
        Self {
            symbols,
            program,
            diagnostics,
            types: HashMap::new(),
            outs: HashMap::new(),
            axes: HashMap::new(),
            used: BTreeSet::new(),
            mentions: BTreeMap::new(),
            chain: 0,
            guesses: 0,
            search,
            is_chain_reported: false,
            uncertain: HashMap::new(),
            told: HashSet::new(),
            values_of_lets: HashMap::new(),
            claims_of_lets: HashMap::new(),
            parts: 0,
            learned: 0,
            is_silent: false,
            meanings: None,
        }
    }

    fn tree(&self, item: ItemRef) -> &'p Item {
        &self.program.module(item.module).ast.items[item.item]
    }

    fn stage_tree(&self, item: ItemRef) -> &'p Stage {
        match &self.tree(item).kind {
            ItemKind::Stage(stage) => stage,
            _ => unreachable!("the type named a stage"),
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        if !self.is_silent {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Does something whose diagnostics another walk over the same text reports.
    fn silently<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let was_silent = std::mem::replace(&mut self.is_silent, true);
        let result = act(self);
        self.is_silent = was_silent;
        result
    }

    /// Does something that is done only once, so that its diagnostics are reported now or never.
    fn aloud<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let was_silent = std::mem::replace(&mut self.is_silent, false);
        let result = act(self);
        self.is_silent = was_silent;
        result
    }

    fn item(&mut self, item: ItemRef, tree: &'p Item) {
        match &tree.kind {
            ItemKind::Use(_) | ItemKind::Broken(_) => {}
            ItemKind::Secret(secret) => self.secret_item(secret),
            ItemKind::Param(_) | ItemKind::Let(_) => {
                self.type_of(item, tree.span);
            }
            ItemKind::Function(function) => {
                let mut scope = Scope::new(item);
                self.parameters(&function.parameters, &mut scope);
                let wanted = self.written(&function.result);
                let found = self.expr(&function.body, &mut scope);
                let result = Some((function.result.span, "the result is declared here"));
                self.expect(&found, &wanted, function.body.span, "the function's result", result);
            }
            ItemKind::Stage(stage) => self.stage(item, stage),
            ItemKind::Spec(spec) => self.spec(item, spec),
        }
    }

    /// Returns the type of what an item declares. `span` is where it is asked for.
    fn type_of(&mut self, item: ItemRef, span: Span) -> Type {
        match &self.tree(item).kind {
            ItemKind::Use(used) => {
                let imports = &self.program.module(item.module).imports;
                let import = super::module::alias(used).and_then(|alias| imports.get(&alias));
                import.and_then(|import| import.module).map_or(Type::Unknown, Type::Module)
            }
            ItemKind::Secret(_) => Type::Secret(item),
            ItemKind::Function(_) => Type::Function(item),
            ItemKind::Stage(stage) if stage.parameters.is_some() => Type::Template(item),
            ItemKind::Stage(stage) => Type::of_stage(item, stage.kind),
            ItemKind::Spec(_) | ItemKind::Broken(_) => Type::Unknown,
            ItemKind::Param(_) | ItemKind::Let(_) => self.value_type(item, span),
        }
    }

    fn value_type(&mut self, item: ItemRef, span: Span) -> Type {
        match self.types.get(&item) {
            Some(Some(ty)) => return ty.clone(),
            // A circle; `recursion` words it.
            Some(None) => return Type::Unknown,
            None => {}
        }
        if self.chain >= MAX_CHAIN {
            if !std::mem::replace(&mut self.is_chain_reported, true) {
                let message = format!("more than {MAX_CHAIN} values need one another in a row");
                let problem = Diagnostic::error(Code::NESTED_TOO_DEEPLY, span, message)
                    .help("write one of them out, or make them elements of one list");
                self.aloud(|checker| checker.report(problem));
            }
            return Type::Unknown;
        }
        self.types.insert(item, None);
        self.chain += 1;
        let ty = self.aloud(|checker| match &checker.tree(item).kind {
            ItemKind::Param(param) => checker.param(item, param),
            ItemKind::Let(binding) => checker.binding(item, binding),
            _ => unreachable!("only params and lets have values"),
        });
        self.chain -= 1;
        if let Some((_, name)) = declared(self.tree(item)) {
            self.note(name, &ty, || Meaning::Item(item));
        }
        self.types.insert(item, Some(ty.clone()));
        ty
    }

    fn binding(&mut self, item: ItemRef, binding: &'p Let) -> Type {
        let found = self.expr(&binding.value, &mut Scope::new(item));
        let Some(written) = &binding.ty else { return self.nameable(found, &binding.value) };
        let wanted = self.written(written);
        let declared = Some((written.span, "its type is declared here"));
        let what = format!("`{}`", binding.name.text);
        self.expect(&found, &wanted, binding.value.span, &what, declared);
        wanted
    }

    /// Finds values and functions that need themselves.
    fn recursion(&mut self) {
        let mentions = std::mem::take(&mut self.mentions);
        let mut done = BTreeSet::new();
        for &start in mentions.keys() {
            // Each item with its edge that is followed, and the place of each item on the way.
            let mut way: Vec<(ItemRef, usize)> = vec![(start, 0)];
            let mut places = HashMap::from([(start, 0)]);
            while let Some((here, followed)) = way.last_mut() {
                let next = mentions.get(here).and_then(|edges| edges.get(*followed));
                let Some(&(next, _)) = next else {
                    done.insert(*here);
                    places.remove(here);
                    way.pop();
                    continue;
                };
                *followed += 1;
                if done.contains(&next) {
                    continue;
                }
                match places.get(&next) {
                    Some(&at) => {
                        let edge = |(item, followed): &(ItemRef, usize)| {
                            (*item, mentions[item][followed - 1].1)
                        };
                        let circle: Vec<_> = way[at..].iter().map(edge).collect();
                        self.recursive(&circle);
                    }
                    None => {
                        places.insert(next, way.len());
                        way.push((next, 0));
                    }
                }
            }
        }
    }

    /// Reports a circle of items, each with the place where it needs the next one.
    fn recursive(&mut self, circle: &[(ItemRef, Span)]) {
        /// The most places of a circle that are shown.
        const MOST: usize = 8;
        let name = |at: usize| {
            let (item, _) = circle[at % circle.len()];
            declared(self.tree(item)).map_or(String::new(), |(name, _)| format!("`{name}`"))
        };
        let path: Vec<_> = (0..=circle.len()).map(name).collect();
        let message = match circle.len() {
            1 => format!("{} needs itself", path[0]),
            len if len > MOST => {
                let start = path[..MOST].join(" → ");
                format!("{len} values need each other in a circle: {start} → … → {}", path[0])
            }
            _ => format!("values need each other in a circle: {}", path.join(" → ")),
        };
        let is_function =
            |(item, _): &(ItemRef, Span)| matches!(self.tree(*item).kind, ItemKind::Function(_));
        let help = match circle.iter().any(is_function) {
            true => "the language has no recursion; `[f(x) for x in list]` goes through a list",
            false => "give one of them a value that does not need the others",
        };
        let edge = |at: usize| format!("{} needs {}", path[at], path[at + 1]);
        let mut problem =
            Diagnostic::error(Code::RECURSION, circle[0].1, message).label(edge(0)).help(help);
        for (at, (_, span)) in circle.iter().enumerate().take(MOST).skip(1) {
            problem = problem.also(*span, edge(at));
        }
        self.report(problem);
    }

    /// Warns of private values that nothing mentions.
    fn unused(&mut self) {
        for (module, tree) in self.program.iter().filter(|(_, tree)| tree.is_whole) {
            for (item, tree) in tree.ast.items.iter().enumerate() {
                let reference = ItemRef { module, item };
                if tree.is_pub || self.used.contains(&reference) {
                    continue;
                }
                let (what, cure) = match &tree.kind {
                    ItemKind::Param(_) => ("param", "delete it, or mention it"),
                    ItemKind::Secret(_) => (
                        "secret",
                        "delete it, give it to a stage, or make it `pub` for other files",
                    ),
                    ItemKind::Let(_) => {
                        ("value", "delete it, mention it, or make it `pub` for other files")
                    }
                    ItemKind::Function(_) => {
                        ("function", "delete it, call it, or make it `pub` for other files")
                    }
                    ItemKind::Stage(stage) if stage.kind == StageKind::Service => (
                        "service",
                        "delete it, have a stage use it, or make it `pub` for other files",
                    ),
                    ItemKind::Use(_) if !self.brings_stages(reference) => {
                        ("module", "delete it, or mention it")
                    }
                    _ => continue,
                };
                let Some((name, span)) = declared(tree) else { continue };
                let message = format!("nothing uses the {what} `{name}`");
                let problem = Diagnostic::warning(Code::UNUSED, span, message).help(cure);
                let text = &self.program.sources.get(tree.span.source).text;
                self.report(match edit::lines_of(text, tree.span) {
                    Some(lines) => problem.edit(lines, ""),
                    None => problem,
                });
            }
        }
    }

    /// A file whose stages run with the rest is used by that.
    fn brings_stages(&self, item: ItemRef) -> bool {
        let imports = &self.program.module(item.module).imports;
        let mut open: Vec<ModuleId> = imports
            .values()
            .filter(|import| import.item == item.item)
            .filter_map(|import| import.module)
            .collect();
        if open.is_empty() {
            return true;
        }
        let mut seen = BTreeSet::new();
        while let Some(module) = open.pop().filter(|module| seen.insert(*module)) {
            let module = self.program.module(module);
            let is_stage =
                |item: &Item| matches!(&item.kind, ItemKind::Stage(stage) if stage.is_run());
            if module
                .ast
                .items
                .iter()
                .any(|item| is_stage(item) || matches!(item.kind, ItemKind::Broken(_)))
            {
                return true;
            }
            open.extend(module.imports.values().filter_map(|import| import.module));
        }
        false
    }
}
