//! Which neighbours in a line have a blank between them. Knows two tokens at a time and their roles;
//! does not know lines.

use super::part::{Part, Role};
use crate::syntax::scan::{TokenKind, is_word_byte};

/// Returns whether a blank stands between two parts of a line.
pub(super) fn has_blank(left: &Part<'_>, right: &Part<'_>) -> bool {
    if left.kind == TokenKind::Unknown || right.kind == TokenKind::Unknown {
        return right.has_space;
    }
    wants_blank(left, right) || runs_together(left, right)
}

fn wants_blank(left: &Part<'_>, right: &Part<'_>) -> bool {
    if left.kind == TokenKind::Open && right.kind == TokenKind::Close {
        return false;
    }
    if left.kind == TokenKind::Open || right.kind == TokenKind::Close {
        let bracket = if left.kind == TokenKind::Open { left } else { right };
        return bracket.role == Role::Body;
    }
    if left.role == Role::Sign || left.role == Role::Angle && left.text == "<" {
        return false;
    }
    if left.is_any(&[".", "?.", ".."]) || right.is_any(&[".", "?.", "..", ",", ":", "?", ";"]) {
        return false;
    }
    if right.role == Role::Angle {
        return false;
    }
    if right.kind == TokenKind::Open && right.text != "{" {
        // A call or an index stands at its value; what else opens stands apart.
        return !left.ends_value() || left.kind == TokenKind::Number || left.is("?");
    }
    true
}

/// Whether two parts without a blank would read as other tokens.
fn runs_together(left: &Part<'_>, right: &Part<'_>) -> bool {
    let (Some(&last), Some(&first)) = (left.text.as_bytes().last(), right.text.as_bytes().first())
    else {
        return false;
    };
    let is_pair = [b"==", b"!=", b"<=", b">=", b"&&", b"||", b"??", b"?.", b"..", b"->", b"//"]
        .contains(&&[last, first]);
    is_word_byte(last) && is_word_byte(first)
        || is_pair
        || left.kind == TokenKind::Number && matches!(right.text, "." | "?.")
        || left.text == "r" && first == b'"'
}
