//! Checking operators: which go between which types, and what comes of it.

use super::cure::{loosely, quoted};
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::nearest::nearest;
use crate::lang::ty::Type;
use crate::source::Span;
use crate::syntax::ast::{BinaryOperator, Expr, UnaryOperator};

impl<'p> Checker<'p> {
    pub(super) fn unary(
        &mut self,
        operator: UnaryOperator,
        operand: &'p Expr,
        scope: &mut Scope,
    ) -> Type {
        let found = self.expr(operand, scope);
        match operator {
            UnaryOperator::Not => {
                self.expect_operand(&found, &Type::Bool, operand.span, "`!`");
                Type::Bool
            }
            UnaryOperator::Negate => {
                self.expect_operand(&found, &Type::INT, operand.span, "`-`");
                match found {
                    Type::Int(low, high) => match (high.checked_neg(), low.checked_neg()) {
                        (Some(low), Some(high)) => Type::Int(low, high),
                        _ => Type::INT,
                    },
                    _ => Type::INT,
                }
            }
        }
    }

    pub(super) fn binary(
        &mut self,
        operator: BinaryOperator,
        place: Span,
        (left, left_type): (&Expr, &Type),
        (right, right_type): (&Expr, &Type),
    ) -> Type {
        use BinaryOperator as Op;
        let ty = match operator {
            Op::Or | Op::And => {
                self.expect_operand(left_type, &Type::Bool, left.span, &symbol(operator));
                self.expect_operand(right_type, &Type::Bool, right.span, &symbol(operator));
                return Type::Bool;
            }
            Op::Otherwise => match left_type {
                Type::Optional(inner) => inner.join(right_type),
                Type::None => Some(right_type.clone()),
                Type::Unknown => Some(Type::Unknown),
                _ => None,
            },
            Op::Equal | Op::NotEqual => comparable(left_type, right_type).then_some(Type::Bool),
            Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => {
                let is_ordered = |ty: &Type| {
                    matches!(
                        ty,
                        Type::Int(..) | Type::Duration | Type::Size | Type::Percent | Type::Unknown
                    )
                };
                let fits = is_ordered(left_type) && left_type.join(right_type).is_some();
                fits.then_some(Type::Bool)
            }
            Op::In => match right_type {
                Type::List(element) => comparable(left_type, element).then_some(Type::Bool),
                Type::Map(_) | Type::Record(_) => {
                    left_type.fits(&Type::String).then_some(Type::Bool)
                }
                Type::Unknown => Some(Type::Bool),
                _ => None,
            },
            _ => arithmetic(operator, left_type, right_type),
        };
        ty.unwrap_or_else(|| {
            if self.refused(left.span) || self.refused(right.span) {
                return Type::Unknown;
            }
            let problem =
                self.no_operation(operator, place, (left, left_type), (right, right_type));
            self.report(problem);
            Type::Unknown
        })
    }

    fn no_operation(
        &self,
        operator: BinaryOperator,
        place: Span,
        (left, left_type): (&Expr, &Type),
        (right, right_type): (&Expr, &Type),
    ) -> Diagnostic {
        let sign = symbol(operator);
        let (a, b) = (loosely(left_type), loosely(right_type));
        if let (BinaryOperator::Otherwise, Type::Optional(inner)) = (operator, left_type) {
            let message = format!("{b} cannot stand in for {}", quoted(inner));
            return Diagnostic::error(Code::TYPE_MISMATCH, right.span, message)
                .also(left.span, format!("this is {a}"))
                .help(format!("give what stands in for `none` the same type: {}", quoted(inner)));
        }
        if operator == BinaryOperator::Otherwise {
            let message = format!("{sign} follows a value that may be `none`, and {a} never is");
            let whole = left.span.to(right.span);
            let left = self.program.sources.text(left.span);
            return Diagnostic::error(Code::NO_SUCH_OPERATION, place, message)
                .help(format!("write only: {left}"))
                .edit(whole, left);
        }
        let message = match (operator, left_type, right_type) {
            (BinaryOperator::Equal | BinaryOperator::NotEqual, Type::Enum(_), Type::Enum(_)) => {
                format!("{} and {} are never equal", quoted(left_type), quoted(right_type))
            }
            _ => format!("{sign} does not go between {a} and {b}"),
        };
        let problem = Diagnostic::error(Code::NO_SUCH_OPERATION, place, message)
            .also(left.span, a)
            .also(right.span, b);
        self.operator_cure(problem, operator, (left, left_type), (right, right_type))
    }

    fn operator_cure(
        &self,
        problem: Diagnostic,
        operator: BinaryOperator,
        (left, left_type): (&Expr, &Type),
        (right, right_type): (&Expr, &Type),
    ) -> Diagnostic {
        use BinaryOperator as Op;
        let text = |expr: &Expr| self.program.sources.text(expr.span).to_owned();
        let write = |problem: Diagnostic, span, edit: String| {
            problem.help(format!("write: {edit}")).edit(span, edit)
        };
        match (operator, left_type, right_type) {
            (Op::Add, Type::List(element), other) if other.fits(element) => {
                write(problem, right.span, format!("[{}]", text(right)))
            }
            (Op::Add, Type::String | Type::Enum(_), other) if other.is_text() => {
                match literal(&text(left)) {
                    Some(start) => write(
                        problem,
                        left.span.to(right.span),
                        format!("\"{start}{{{{{}}}}}\"", text(right)),
                    ),
                    None => write(problem, right.span, format!("\"{{{{{}}}}}\"", text(right))),
                }
            }
            (Op::Divide, Type::String | Type::Enum(_), Type::String | Type::Enum(_)) => {
                match literal(&text(right)) {
                    Some(end) => write(
                        problem,
                        left.span.to(right.span),
                        format!("\"{{{{{}}}}}/{end}\"", text(left)),
                    ),
                    None => {
                        problem.help(format!("a path starts with a folder: dir({})", text(left)))
                    }
                }
            }
            (Op::Equal | Op::NotEqual, Type::Enum(own), Type::Enum(other)) => {
                let ((long, _), (short, place)) = match own.len() > other.len() {
                    true => ((own, left), (other, right)),
                    false => ((other, right), (own, left)),
                };
                let near =
                    short.first().and_then(|text| nearest(text, long.iter().map(String::as_str)));
                match near.filter(|_| literal(&text(place)).is_some()) {
                    Some(near) => problem
                        .help(format!("did you mean {near:?}?"))
                        .edit(place.span, format!("{near:?}")),
                    None => problem,
                }
            }
            (_, Type::Int(..), Type::Enum(texts))
                if texts[0].parse::<i64>().is_ok() && literal(&text(right)).is_some() =>
            {
                write(problem, right.span, texts[0].clone())
            }
            _ => problem,
        }
    }
}

/// Returns what stands between the quotes of a text on one line.
fn literal(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.starts_with('"')).then_some(inner)
}

fn comparable(left: &Type, right: &Type) -> bool {
    match (left.certain(), right.certain()) {
        // Constants may be compared: one of them is changed by hand.
        (Type::Enum(own), Type::Enum(other)) if own.len() == 1 && other.len() == 1 => true,
        (Type::Enum(own), Type::Enum(other)) => own.iter().any(|text| other.contains(text)),
        (Type::None, _) => matches!(right, Type::Optional(_) | Type::None | Type::Unknown),
        (_, Type::None) => matches!(left, Type::Optional(_) | Type::None | Type::Unknown),
        (
            Type::Stage(_)
            | Type::Row(_)
            | Type::AllRows(_)
            | Type::Template(_)
            | Type::Service(_)
            | Type::Beside(_)
            | Type::Function(_),
            _,
        ) => false,
        (own, other) => own.join(other).is_some(),
    }
}

fn arithmetic(operator: BinaryOperator, left: &Type, right: &Type) -> Option<Type> {
    use BinaryOperator as Op;
    Some(match (operator, left, right) {
        (_, Type::Unknown, _) | (_, _, Type::Unknown) => Type::Unknown,
        (
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder,
            Type::Int(..),
            Type::Int(..),
        ) => Type::INT,
        (Op::Add, Type::String | Type::Enum(_), Type::String | Type::Enum(_)) => Type::String,
        (Op::Add, Type::List(own), Type::List(other)) => Type::list(own.join(other)?),
        (Op::Add | Op::Subtract, Type::Duration, Type::Duration) => Type::Duration,
        (Op::Add | Op::Subtract, Type::Size, Type::Size) => Type::Size,
        (Op::Multiply, Type::Duration | Type::Size, Type::Int(..)) => left.clone(),
        (Op::Multiply, Type::Int(..), Type::Duration | Type::Size) => right.clone(),
        (Op::Divide, Type::Dir, Type::String | Type::Enum(_)) => Type::File,
        _ => return None,
    })
}

/// Returns an operator for a message.
pub(super) fn symbol(operator: BinaryOperator) -> String {
    use BinaryOperator as Op;
    let sign = match operator {
        Op::Otherwise => "??",
        Op::Or => "||",
        Op::And => "&&",
        Op::Equal => "==",
        Op::NotEqual => "!=",
        Op::Less => "<",
        Op::LessEqual => "<=",
        Op::Greater => ">",
        Op::GreaterEqual => ">=",
        Op::In => "in",
        Op::Add => "+",
        Op::Subtract => "-",
        Op::Multiply => "*",
        Op::Divide => "/",
        Op::Remainder => "%",
    };
    format!("`{sign}`")
}
