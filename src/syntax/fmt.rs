//! The one way to write a `.pipe` file: blanks, blank lines, trailing commas. Knows tokens and
//! brackets; does not know names, and never changes what a file means.
//!
//! The author's line breaks stay; what stands in a line and before it is decided here:
//!
//! - Two blanks for each open bracket, however many of them a line opens; one step more for a line
//!   that goes on with the one before.
//! - At most one empty line in a row, none inside a bracket's ends nor between `##` and its item;
//!   one before and after an item with a body of several lines.
//! - Blanks around operators, `=` and `->`, after `,` and `:`; none inside brackets, save those of a
//!   body on one line; ranges, members, calls, types and signs are tight.
//! - A comma after the last element if the closing bracket stands on its own line, else none.
//! - The `=` of fields (`name = value`) in adjacent lines stand in one column, up to the first that
//!   takes several lines; so do the comments behind code in adjacent lines, two blanks after
//!   the longest. Nothing else is aligned.
//! - Strings stay as they are. The lines of a `"""` string move with the line that it begins in, if
//!   its closing quotes stand alone in a line; its value never changes ([`string`]).
//! - Lines end with `\n`, in strings too, where the language reads `\r\n` as `\n` anyway. The file ends
//!   with one, and has no byte order mark.

mod layout;
mod part;
mod space;
mod string;
#[cfg(test)]
mod tests;

use crate::diagnostic::{Code, Diagnostic};
use crate::source::SourceId;
use crate::syntax::{parse, scan};

/// Returns the text of a file, and that text in the one way to write it, or what keeps it from that:
/// mistakes of its text, by places in source 0. What this version does not have is no mistake.
pub(crate) fn format_file(bytes: Vec<u8>) -> (String, Result<String, Vec<Diagnostic>>) {
    let source = SourceId(0);
    let (text, mut found) = match scan::decode(source, bytes) {
        Ok(text) => (text, Vec::new()),
        Err(problem) => (String::new(), vec![*problem]),
    };
    found.extend(parse::parse(source, &text).1);
    found.retain(|found| found.code != Code::NOT_IN_THIS_VERSION);
    let formatted = if found.is_empty() { Ok(format(&text)) } else { Err(found) };
    (text, formatted)
}

/// Returns the text in the one way to write it, in linear time. Formatting that again changes nothing.
///
/// For a text without findings of [`scan::scan`] and the parser; others lose no byte that means
/// something, but may look odd.
pub(crate) fn format(text: &str) -> String {
    let tokens = scan::lex(SourceId(0), text).tokens;
    let parts = part::parts(text, &tokens);
    layout::layout(&parts)
}
