//! Checking operators: which go between which types, and what comes of it.

use super::cure::quoted;
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
                self.expect(&found, &Type::Bool, operand.span, "`!`", None);
                Type::Bool
            }
            UnaryOperator::Negate => {
                self.expect(&found, &Type::INT, operand.span, "`-`", None);
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
                self.expect(left_type, &Type::Bool, left.span, &symbol(operator), None);
                self.expect(right_type, &Type::Bool, right.span, &symbol(operator), None);
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
        let (a, b) = (quoted(left_type), quoted(right_type));
        let text = |expr: &Expr| self.program.sources.text(expr.span).to_owned();
        let problem = match operator {
            BinaryOperator::Otherwise => Diagnostic::error(
                Code::NO_SUCH_OPERATION,
                place,
                format!("{sign} follows a value that may be `none`, and {a} never is"),
            )
            .help(format!("write only: {}", text(left))),
            _ => Diagnostic::error(
                Code::NO_SUCH_OPERATION,
                place,
                format!("{sign} does not go between {a} and {b}"),
            ),
        };
        let problem = problem.also(left.span, a).also(right.span, b);
        match (operator, left_type, right_type) {
            (BinaryOperator::Add, Type::List(element), other) if other.fits(element) => {
                let edit = format!("[{}]", text(right));
                problem.help(format!("add a list: {} + {edit}", text(left))).edit(right.span, edit)
            }
            (BinaryOperator::Add, Type::String | Type::Enum(_), other) if other.is_text() => {
                problem.help(format!("put it in a hole: \"…{{{{{}}}}}\"", text(right)))
            }
            (BinaryOperator::Divide, Type::String | Type::Enum(_), _) => problem.help(format!(
                "a path starts with a folder: dir({}) / {}",
                text(left),
                text(right)
            )),
            (
                BinaryOperator::Equal | BinaryOperator::NotEqual,
                Type::Enum(own),
                Type::Enum(other),
            ) => {
                let (long, short) =
                    if own.len() > other.len() { (own, other) } else { (other, own) };
                let near =
                    short.first().and_then(|text| nearest(text, long.iter().map(String::as_str)));
                match near {
                    Some(near) => {
                        problem.help(format!("they are never equal; did you mean {near:?}?"))
                    }
                    None => problem.help("they are never equal: the two have no text in common"),
                }
            }
            _ => problem,
        }
    }
}

fn comparable(left: &Type, right: &Type) -> bool {
    match (left.certain(), right.certain()) {
        (Type::Enum(own), Type::Enum(other)) => own.iter().any(|text| other.contains(text)),
        (Type::None, _) => matches!(right, Type::Optional(_) | Type::None | Type::Unknown),
        (_, Type::None) => matches!(left, Type::Optional(_) | Type::None | Type::Unknown),
        (
            Type::Stage(_)
            | Type::Row(_)
            | Type::AllRows(_)
            | Type::Template(_)
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
