//! Turns what the grammar matched into expressions: sorts operators by strength and bounds the height.
//! Knows the rules of expressions; does not know values.

use super::build::{Builder, broken};
use super::{MAX_HEIGHT, Pair, Rule, habits};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{
    Argument, Axis, BinaryOperator, DataFile, DataFormat, Expr, ExprKind, Name, Piece,
    UnaryOperator,
};

/// An operator of a row and its strength.
#[derive(Clone, Copy)]
enum Operator {
    Binary(BinaryOperator),
    Range,
}

impl Builder<'_> {
    /// Builds from `expression`.
    pub(super) fn expression(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let parts: Vec<_> = pair.into_inner().collect();
        let links = parts.iter().filter(|part| part.as_rule() != Rule::operand).count();
        let Some(()) = self.deepen(links + 1, span) else { return broken(span) };
        let mut branches = Vec::new();
        let mut row = Row { operands: Vec::new(), operators: Vec::new() };
        for part in parts {
            match part.as_rule() {
                Rule::branch => branches.push(self.branch(part)),
                Rule::operator => row.push_operator(operator(part.as_str()), self.span(&part)),
                _ => {
                    let operand = self.operand(part);
                    row.operands.push(operand);
                }
            }
        }
        self.height -= links + 1;
        let last = row.finish().unwrap_or_else(|| broken(span));
        branches.into_iter().rev().fold(last, |otherwise, (start, condition, then)| {
            let span = start.to(otherwise.span);
            let (condition, then) = (Box::new(condition), Box::new(then));
            Expr { span, kind: ExprKind::If { condition, then, otherwise: Box::new(otherwise) } }
        })
    }

    /// Goes `by` expressions deeper, or reports that this is too deep.
    fn deepen(&mut self, by: usize, span: Span) -> Option<()> {
        if self.height + by <= MAX_HEIGHT {
            self.height += by;
            return Some(());
        }
        let place = Span { end: span.start + span.len().min(1) as u32, ..span };
        let message = format!("more than {MAX_HEIGHT} expressions stand in one another");
        let help = "give an inner part a name with `let`, and use the name here";
        self.report(Code::NESTED_TOO_DEEPLY, place, message, help);
        None
    }

    fn branch(&mut self, pair: Pair<'_, Rule>) -> (Span, Expr, Expr) {
        let span = self.span(&pair);
        let mut parts = pair.into_inner().filter(|part| part.as_rule() == Rule::expression);
        let mut next = || parts.next().expect("a branch has a condition and a value");
        (span, self.expression(next()), self.expression(next()))
    }

    fn operand(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let parts: Vec<_> = pair.into_inner().collect();
        let links = parts.len();
        let Some(()) = self.deepen(links, span) else { return broken(span) };
        let mut prefixes = Vec::new();
        let mut value = broken(span);
        for part in parts {
            match part.as_rule() {
                Rule::prefix => prefixes.push((part.as_str() == "!", self.span(&part))),
                Rule::member => value = self.member(value, part),
                Rule::call => value = self.call(value, part),
                Rule::index => value = self.index(value, part),
                _ => value = self.primary(part),
            }
        }
        self.height -= links;
        prefixes.into_iter().rev().fold(value, |operand, (is_not, mark)| {
            let operator = if is_not { UnaryOperator::Not } else { UnaryOperator::Negate };
            let span = mark.to(operand.span);
            Expr { span, kind: ExprKind::Unary { operator, operand: Box::new(operand) } }
        })
    }

    fn primary(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::number => self.number(span),
            Rule::string => self.string(pair),
            Rule::list => self.list(pair),
            Rule::record => self.record(pair),
            Rule::group => {
                let inner = self.only_expression(pair);
                return inner.map_or_else(|| broken(span), |inner| Expr { span, ..inner });
            }
            Rule::constant => match pair.as_str() {
                "true" => ExprKind::Bool(true),
                "false" => ExprKind::Bool(false),
                _ => ExprKind::None,
            },
            Rule::name => self.name_or_constant(pair.as_str(), span),
            _ => ExprKind::Broken,
        };
        Expr { span, kind }
    }

    /// A name, unless it is how another language spells a constant.
    fn name_or_constant(&mut self, word: &str, span: Span) -> ExprKind {
        let Some(ours) = habits::constant(word) else { return ExprKind::Name(word.to_owned()) };
        let finding =
            Diagnostic::error(Code::FOREIGN_HABIT, span, format!("`{word}` is written `{ours}`"))
                .help(format!("write `{ours}`"))
                .edit(span, ours);
        self.diagnostics.push(finding);
        match ours {
            "none" => ExprKind::None,
            _ => ExprKind::Bool(ours == "true"),
        }
    }

    fn list(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut items = Vec::new();
        for part in pair.into_inner() {
            if part.as_rule() == Rule::comprehension {
                let (axes, condition) = self.comprehension(part);
                let element = Box::new(items.remove(0));
                return ExprKind::ListFor { element, axes, condition };
            }
            items.push(self.expression(part));
        }
        ExprKind::List(items)
    }

    fn comprehension(&mut self, pair: Pair<'_, Rule>) -> (Vec<Axis>, Option<Box<Expr>>) {
        let mut axes = Vec::new();
        let mut condition = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::axis => axes.push(self.axis(part)),
                Rule::expression => condition = Some(Box::new(self.expression(part))),
                _ => {}
            }
        }
        (axes, condition)
    }

    /// In a comprehension a key is an expression; in a record it is a word or a string without holes.
    fn record(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let mut entries = Vec::new();
        for part in pair.into_inner() {
            if part.as_rule() == Rule::comprehension {
                let (axes, condition) = self.comprehension(part);
                let (key, value): (Expr, Expr) = entries.remove(0);
                let (key, value) = (Box::new(key), Box::new(value));
                return ExprKind::MapFor { key, value, axes, condition };
            }
            entries.push(self.entry(part));
        }
        let named = entries.into_iter().filter_map(|(key, value)| Some((self.key(key)?, value)));
        ExprKind::Record(named.collect())
    }

    fn entry(&mut self, pair: Pair<'_, Rule>) -> (Expr, Expr) {
        let mut parts = pair.into_inner();
        let mut next = || parts.next().expect("an entry has a key and a value");
        let key = next();
        let key = match key.as_rule() {
            Rule::key => {
                let word = key.into_inner().next().expect("a key is a word");
                Expr { span: self.span(&word), kind: ExprKind::Name(word.as_str().to_owned()) }
            }
            _ => self.expression(key),
        };
        (key, self.expression(next()))
    }

    fn key(&mut self, key: Expr) -> Option<Name> {
        match key.kind {
            ExprKind::Name(text) => return Some(Name { text, span: key.span }),
            ExprKind::String(literal) => {
                let texts = literal.pieces.into_iter().map(|piece| match piece {
                    Piece::Text { text, .. } => Some(text),
                    Piece::Hole { .. } => None,
                });
                if let Some(text) = texts.collect::<Option<String>>() {
                    return Some(Name { text, span: key.span });
                }
            }
            ExprKind::Broken => return None,
            _ => {}
        }
        let message = "the key of a record is not a word or a string without holes";
        let help = "write `{key: value}`, or `{key: value for x in xs}` for computed keys";
        self.report(Code::SYNTAX, key.span, message, help);
        None
    }

    fn member(&mut self, base: Expr, pair: Pair<'_, Rule>) -> Expr {
        if base.kind == ExprKind::Broken {
            return broken(base.span.to(self.span(&pair)));
        }
        let span = base.span.to(self.span(&pair));
        let mut is_optional = false;
        let mut name = Name { text: String::new(), span };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::maybe_dot => is_optional = true,
                _ => name = self.name(&part),
            }
        }
        Expr { span, kind: ExprKind::Member { base: Box::new(base), name, is_optional } }
    }

    fn call(&mut self, callee: Expr, pair: Pair<'_, Rule>) -> Expr {
        let span = callee.span.to(self.span(&pair));
        let arguments: Vec<_> = pair.into_inner().map(|part| self.argument(part)).collect();
        self.data.extend(data_file(&callee, &arguments));
        Expr { span, kind: ExprKind::Call { callee: Box::new(callee), arguments } }
    }

    fn argument(&mut self, pair: Pair<'_, Rule>) -> Argument {
        let place = self.span(&pair);
        let mut name = None;
        let mut value = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::argument_name => {
                    name = part.into_inner().next().map(|word| self.name(&word));
                }
                _ => value = Some(self.expression(part)),
            }
        }
        Argument { name, value: value.unwrap_or_else(|| broken(place)) }
    }

    fn index(&mut self, base: Expr, pair: Pair<'_, Rule>) -> Expr {
        let span = base.span.to(self.span(&pair));
        let base = Box::new(base);
        let mut axes = Vec::new();
        for part in pair.into_inner() {
            if part.as_rule() == Rule::expression {
                let index = Box::new(self.expression(part));
                return Expr { span, kind: ExprKind::Index { base, index } };
            }
            let Argument { name, value } = self.argument(part);
            axes.extend(name.map(|name| (name, value)));
        }
        Expr { span, kind: ExprKind::Row { base, axes } }
    }
}

/// Operands and operators whose order is still to be found. Equal strength binds to the left.
struct Row {
    operands: Vec<Expr>,
    operators: Vec<(Operator, Span)>,
}

impl Row {
    fn push_operator(&mut self, operator: Operator, place: Span) {
        while self.operators.last().is_some_and(|(last, _)| last.strength() >= operator.strength())
        {
            self.reduce();
        }
        self.operators.push((operator, place));
    }

    /// Joins the last two operands by the last operator.
    fn reduce(&mut self) {
        let Some((operator, place)) = self.operators.pop() else { return };
        let right = Box::new(self.operands.pop().expect("an operator has a right side"));
        let left = Box::new(self.operands.pop().expect("an operator has a left side"));
        let span = left.span.to(right.span);
        let kind = match operator {
            Operator::Range => ExprKind::Range(left, right),
            Operator::Binary(operator) => ExprKind::Binary { operator, place, left, right },
        };
        self.operands.push(Expr { span, kind });
    }

    fn finish(mut self) -> Option<Expr> {
        while !self.operators.is_empty() {
            self.reduce();
        }
        self.operands.pop()
    }
}

impl Operator {
    fn strength(self) -> u8 {
        use BinaryOperator::{
            Add, And, Divide, Equal, Greater, GreaterEqual, In, Less, LessEqual, Multiply,
            NotEqual, Or, Otherwise, Remainder, Subtract,
        };
        match self {
            Self::Binary(Otherwise) => 1,
            Self::Binary(Or) => 2,
            Self::Binary(And) => 3,
            Self::Binary(Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual | In) => 4,
            Self::Range => 5,
            Self::Binary(Add | Subtract) => 6,
            Self::Binary(Multiply | Divide | Remainder) => 7,
        }
    }
}

fn operator(text: &str) -> Operator {
    use BinaryOperator as B;
    Operator::Binary(match text {
        ".." => return Operator::Range,
        "??" => B::Otherwise,
        "||" => B::Or,
        "&&" => B::And,
        "==" => B::Equal,
        "!=" => B::NotEqual,
        "<" => B::Less,
        "<=" => B::LessEqual,
        ">" => B::Greater,
        ">=" => B::GreaterEqual,
        "+" => B::Add,
        "-" => B::Subtract,
        "*" => B::Multiply,
        "/" => B::Divide,
        "%" => B::Remainder,
        _ => B::In,
    })
}

/// Returns the data file that a call names, if it is such a call.
fn data_file(callee: &Expr, arguments: &[Argument]) -> Option<DataFile> {
    let format = match &callee.kind {
        ExprKind::Name(name) if name == "json" => DataFormat::Json,
        ExprKind::Name(name) if name == "toml" => DataFormat::Toml,
        _ => return None,
    };
    let [Argument { name: None, value }] = arguments else { return None };
    let path = Name { text: value.constant()?, span: value.span };
    Some(DataFile { format, path })
}
