//! Claims: conditions and values in a form in which those that say the same are equal, whatever names
//! they say it with. Knows expressions; does not know where they are checked, nor values.

use indexmap::{IndexMap, IndexSet};

use super::{Checker, Scope};
use crate::digest::{Digest, Hasher};
use crate::lang::builtins::{self, Function};
use crate::lang::scope::item_of;
use crate::lang::ty::{ItemRef, ModuleId};
use crate::source::Span;
use crate::syntax::ast::{BinaryOperator, Expr, ExprKind, ItemKind, Name, Piece, UnaryOperator};

/// How many values may be followed, each in the one before, to see what a condition says.
const MAX_FOLLOWED: usize = 200;

/// How many parts of conditions may be looked at, all together.
const MAX_PARTS: usize = 2_000_000;

/// How many parts of values may be learned, all together.
const MAX_LEARNED: usize = 500_000;

/// What an expression says, whatever names it says it with; of a condition, whether that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    digest: Digest,
    /// Whether that holds: the opposite differs in this alone.
    holds: bool,
}

impl Claim {
    fn not(self) -> Self {
        Self { holds: !self.holds, ..self }
    }

    /// What is claimed if the condition holds, or does not.
    fn if_it(self, holds: bool) -> Self {
        if holds { self } else { self.not() }
    }

    /// What holds of a value that is not `none`.
    pub(super) fn is_there(value: Self) -> Self {
        equal(value, none()).not()
    }

    /// Whether it holds of itself.
    pub(super) fn is_truth(self) -> bool {
        self == truth()
    }
}

/// What a local name stands for.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    Plain(Claim),
    /// A row of an axis over records: what its fields stand for.
    Record(IndexMap<String, Option<Claim>>),
    /// Something that cannot be told.
    Untold,
}

/// What the names of an expression mean.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) module: ModuleId,
    pub(super) locals: Vec<(String, Meaning)>,
}

impl Names {
    pub(super) fn of_module(module: ModuleId) -> Self {
        Self { module, locals: Vec::new() }
    }

    /// The names that an expression in `scope` sees. Each local is like nothing else.
    pub(super) fn of_scope(scope: &Scope) -> Self {
        let locals = scope.locals.iter().filter_map(|local| {
            let span = local.span?;
            Some((local.name.clone(), Meaning::Plain(claim_of_local(span))))
        });
        Self { module: scope.item.module, locals: locals.collect() }
    }

    fn get(&self, name: &str) -> Option<&Meaning> {
        self.locals.iter().rev().find(|(local, _)| local == name).map(|(_, meaning)| meaning)
    }
}

/// A local is like nothing else.
fn claim_of_local(span: Span) -> Claim {
    let mut hasher = tagged("local");
    hasher.field(&span.source.0.to_le_bytes());
    hasher.field(&span.start.to_le_bytes());
    plain(hasher)
}

fn tagged(kind: &str) -> Hasher {
    let mut hasher = Hasher::tagged("kiln claim");
    hasher.field(kind.as_bytes());
    hasher
}

fn plain(hasher: Hasher) -> Claim {
    Claim { digest: hasher.finish(), holds: true }
}

/// Joins what parts say into what the whole says.
fn joined(kind: &str, parts: &[Claim]) -> Claim {
    let mut hasher = tagged(kind);
    for part in parts {
        hasher.field(part.digest.as_bytes());
        hasher.field(&[u8::from(part.holds)]);
    }
    plain(hasher)
}

fn none() -> Claim {
    plain(tagged("none"))
}

/// Joins what two sides say where it does not matter which is which.
fn joined_sides(kind: &str, mut sides: [Claim; 2]) -> Claim {
    sides.sort_by_key(|side| (side.digest, side.holds));
    joined(kind, &sides)
}

/// A claim that holds of itself.
fn truth() -> Claim {
    joined("true", &[])
}

fn equal(left: Claim, right: Claim) -> Claim {
    if left == right {
        return truth();
    }
    joined_sides("==", [left, right])
}

impl<'p> Checker<'p> {
    /// Returns what holds if a condition does, or does not.
    pub(super) fn claims(
        &mut self,
        condition: &'p Expr,
        holds: bool,
        names: &Names,
        followed: usize,
    ) -> Vec<Claim> {
        use BinaryOperator as Op;
        match &condition.kind {
            ExprKind::Binary { operator: operator @ (Op::And | Op::Or), left, right, .. }
                if holds == (*operator == Op::And) =>
            {
                let mut claims = self.claims(left, holds, names, followed);
                claims.extend(self.claims(right, holds, names, followed));
                return claims;
            }
            ExprKind::Unary { operator: UnaryOperator::Not, operand } => {
                return self.claims(operand, !holds, names, followed);
            }
            ExprKind::Name(_) | ExprKind::Member { .. } => {
                if let Some((item, _)) = self.bound(condition, names) {
                    return self.claims_of_let(item, holds, followed);
                }
            }
            _ => {}
        }
        let whole = self.claim(condition, names, followed);
        let mut claims: Vec<_> = whole.map(|claim| claim.if_it(holds)).into_iter().collect();
        // What equals something that is there is there.
        if let ExprKind::Binary { operator, left, right, .. } = &condition.kind
            && *operator == (if holds { Op::Equal } else { Op::NotEqual })
        {
            for (side, other) in [(left, right), (right, left)] {
                if other.is_literal() {
                    let side = self.claim(side, names, followed);
                    claims.extend(side.map(Claim::is_there));
                }
            }
        }
        claims
    }

    /// Returns what holds if the condition that an item is bound to does, or does not: the whole, and
    /// its parts.
    fn claims_of_let(&mut self, item: ItemRef, holds: bool, followed: usize) -> Vec<Claim> {
        let ItemKind::Let(binding) = &self.tree(item).kind else { return Vec::new() };
        if let Some(known) = self.claims_of_lets.get(&(item, holds)) {
            self.learned += known.len();
            // The whole is enough for those that ask for the same.
            let most = if self.learned > MAX_LEARNED { 1 } else { known.len() };
            return known[..most.min(known.len())].to_vec();
        }
        // A circle says nothing; nor does what is followed for too long.
        self.claims_of_lets.insert((item, holds), Vec::new());
        let whole = self.claim_of_item(item, followed).map(|claim| claim.if_it(holds));
        let mut claims: IndexSet<_> = whole.into_iter().collect();
        if followed < MAX_FOLLOWED {
            let names = Names::of_module(item.module);
            claims.extend(self.claims(&binding.value, holds, &names, followed + 1));
        }
        let claims: Vec<_> = claims.into_iter().collect();
        self.claims_of_lets.insert((item, holds), claims.clone());
        claims
    }

    /// Returns whether it is among the known that a condition holds, or does not.
    pub(super) fn is_known(
        &mut self,
        condition: &'p Expr,
        holds: bool,
        (names, known): (&Names, &IndexSet<Claim>),
        followed: usize,
    ) -> bool {
        use BinaryOperator as Op;
        match &condition.kind {
            ExprKind::Binary { operator: operator @ (Op::And | Op::Or), left, right, .. }
                if holds == (*operator == Op::And) =>
            {
                return self.is_known(left, holds, (names, known), followed)
                    && self.is_known(right, holds, (names, known), followed);
            }
            ExprKind::Unary { operator: UnaryOperator::Not, operand } => {
                return self.is_known(operand, !holds, (names, known), followed);
            }
            _ => {}
        }
        let claim = self.claim(condition, names, followed).map(|claim| claim.if_it(holds));
        if claim.is_some_and(|claim| claim.is_truth() || known.contains(&claim)) {
            return true;
        }
        match self.bound(condition, names) {
            Some((item, value)) if followed < MAX_FOLLOWED && self.parts <= MAX_PARTS => {
                let names = Names::of_module(item.module);
                self.is_known(value, holds, (&names, known), followed + 1)
            }
            _ => false,
        }
    }

    /// Returns what an expression says; `None` if that cannot be told.
    pub(super) fn claim(
        &mut self,
        expr: &'p Expr,
        names: &Names,
        followed: usize,
    ) -> Option<Claim> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return None;
        }
        let mut say = |expr: &'p Expr| self.claim(expr, names, followed);
        Some(match &expr.kind {
            ExprKind::None => none(),
            ExprKind::Bool(value) => Claim { holds: *value, ..truth() },
            ExprKind::Int(value) => literal("int", &value.to_le_bytes()),
            ExprKind::Duration(value) => literal("duration", &value.to_le_bytes()),
            ExprKind::Size(value) => literal("size", &value.to_le_bytes()),
            ExprKind::Percent(value) => literal("percent", &value.to_le_bytes()),
            ExprKind::String(string) => {
                let (mut parts, mut written) = (Vec::new(), String::new());
                for piece in &string.pieces {
                    match piece {
                        Piece::Text { text, .. } => written.push_str(text),
                        Piece::Hole { expr, .. } => {
                            let before = std::mem::take(&mut written);
                            parts.extend([literal("text", before.as_bytes()), say(expr)?]);
                        }
                    }
                }
                parts.push(literal("text", written.as_bytes()));
                joined("string", &parts)
            }
            ExprKind::Range(from, to) => joined("range", &[say(from)?, say(to)?]),
            ExprKind::List(elements) => {
                joined("list", &elements.iter().map(say).collect::<Option<Vec<_>>>()?)
            }
            ExprKind::Name(_) => return self.claim_of_name(expr, names, followed),
            ExprKind::Member { base, name, .. } => {
                return self.claim_of_member(expr, base, name, names, followed);
            }
            ExprKind::Index { base, index } => joined("index", &[say(base)?, say(index)?]),
            ExprKind::Row { base, axes } => {
                let mut parts = vec![say(base)?];
                for (name, value) in axes {
                    parts.extend([literal("axis", name.text.as_bytes()), say(value)?]);
                }
                joined("row", &parts)
            }
            ExprKind::Call { callee, arguments } => {
                let mut parts = vec![say(callee)?];
                for argument in arguments {
                    let name = argument.name.as_ref().map_or("", |name| &name.text);
                    parts.extend([literal("argument", name.as_bytes()), say(&argument.value)?]);
                }
                joined("call", &parts)
            }
            ExprKind::Unary { operator: UnaryOperator::Not, operand } => say(operand)?.not(),
            ExprKind::Unary { operator: UnaryOperator::Negate, operand } => {
                joined("-", &[say(operand)?])
            }
            ExprKind::Binary { operator, left, right, .. } => {
                binary(*operator, say(left)?, say(right)?)
            }
            ExprKind::If { condition, then, otherwise } => {
                joined("if", &[say(condition)?, say(then)?, say(otherwise)?])
            }
            ExprKind::Record(_)
            | ExprKind::ListFor { .. }
            | ExprKind::MapFor { .. }
            | ExprKind::Broken => return None,
        })
    }

    fn claim_of_name(&mut self, expr: &'p Expr, names: &Names, followed: usize) -> Option<Claim> {
        let ExprKind::Name(name) = &expr.kind else { return None };
        match names.get(name) {
            Some(Meaning::Plain(claim)) => return Some(*claim),
            Some(Meaning::Record(_) | Meaning::Untold) => return None,
            None => {}
        }
        match self.item_of(expr, names.module) {
            Some(item) => self.claim_of_item(item, followed),
            None => claim_of_builtin(name, names.module),
        }
    }

    fn claim_of_member(
        &mut self,
        expr: &'p Expr,
        base: &'p Expr,
        name: &'p Name,
        names: &Names,
        followed: usize,
    ) -> Option<Claim> {
        if let ExprKind::Name(local) = &base.kind
            && let Some(Meaning::Record(fields)) = names.get(local)
        {
            return fields.get(&name.text).copied().flatten();
        }
        if let Some(item) = self.item_of(expr, names.module) {
            return self.claim_of_item(item, followed);
        }
        let base = self.claim(base, names, followed)?;
        Some(joined("member", &[base, literal("name", name.text.as_bytes())]))
    }

    /// What a value says is what it is bound to.
    fn claim_of_item(&mut self, item: ItemRef, followed: usize) -> Option<Claim> {
        if let ItemKind::Let(binding) = &self.tree(item).kind {
            if let Some(known) = self.values_of_lets.get(&item) {
                return *known;
            }
            // A circle says nothing; nor does what is followed for too long.
            self.values_of_lets.insert(item, None);
            let names = Names::of_module(item.module);
            let claim = (followed < MAX_FOLLOWED)
                .then(|| self.claim(&binding.value, &names, followed + 1))
                .flatten();
            self.values_of_lets.insert(item, claim);
            return claim;
        }
        let mut hasher = tagged("item");
        hasher.field(&item.module.0.to_le_bytes());
        hasher.field(&(item.item as u64).to_le_bytes());
        Some(plain(hasher))
    }

    fn item_of(&self, expr: &Expr, module: ModuleId) -> Option<ItemRef> {
        item_of(self.program, &self.symbols, module, expr)
    }

    /// Returns the item that a name means and its value, if it is bound by `let`.
    fn bound(&self, expr: &Expr, names: &Names) -> Option<(ItemRef, &'p Expr)> {
        if let ExprKind::Name(name) = &expr.kind
            && names.get(name).is_some()
        {
            return None;
        }
        let item = self.item_of(expr, names.module)?;
        match &self.tree(item).kind {
            ItemKind::Let(binding) => Some((item, &binding.value)),
            _ => None,
        }
    }
}

/// What a name of the language says. What paths mean depends on where a step runs, and what a data
/// file is on the file that names it.
fn claim_of_builtin(name: &str, module: ModuleId) -> Option<Claim> {
    let builtin = builtins::find(name)?;
    let mut hasher = tagged("builtin");
    hasher.field(builtin.name.as_bytes());
    match builtin.function {
        Function::Dir | Function::File | Function::Files | Function::Tree => return None,
        Function::Json | Function::Toml => hasher.field(&module.0.to_le_bytes()),
        _ => {}
    }
    Some(plain(hasher))
}

fn literal(kind: &str, bytes: &[u8]) -> Claim {
    let mut hasher = tagged(kind);
    hasher.field(bytes);
    plain(hasher)
}

fn binary(operator: BinaryOperator, left: Claim, right: Claim) -> Claim {
    use BinaryOperator as Op;
    match operator {
        Op::Equal => equal(left, right),
        Op::NotEqual => equal(left, right).not(),
        Op::And => joined_sides("&&", [left, right]),
        Op::Or => joined_sides("||", [left, right]),
        Op::Less => joined("<", &[left, right]),
        Op::Greater => joined("<", &[right, left]),
        Op::GreaterEqual => joined("<", &[left, right]).not(),
        Op::LessEqual => joined("<", &[right, left]).not(),
        other => joined(&super::operator::symbol(other), &[left, right]),
    }
}
