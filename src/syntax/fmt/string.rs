//! Strings of several lines, moved with the line that they begin in. Knows where a string's indentation
//! is no part of its value; does not know what the value is for.
//!
//! From each line of a `"""` string the language takes what it has in common with the blanks before
//! the closing quotes. So a line's text behind those blanks can be written behind others, and the value
//! stays the same. It is left as it is where that does not hold: text behind the opening quotes, closing
//! quotes behind text, a newline inside a hole.

use std::borrow::Cow;

/// Returns a string as it stands in a line that was indented by `old` and now is by `new`.
pub(super) fn moved<'a>(text: &'a str, old: &str, new: &str) -> Cow<'a, str> {
    let text = unix(text);
    if !text.contains('\n') {
        return text;
    }
    match reindented(&text, old, new) {
        Some(moved) => Cow::Owned(moved),
        None => text,
    }
}

/// Writes `\r\n` as `\n`. A `\r` before that is text, and must not become part of another `\r\n`.
fn unix(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n") && !text.contains("\r\r\n") {
        Cow::Owned(text.replace("\r\n", "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

fn reindented(text: &str, old: &str, new: &str) -> Option<String> {
    let is_blank = |text: &str| text.bytes().all(|byte| matches!(byte, b' ' | b'\t'));
    let is_raw = text.starts_with('r');
    let inside = text.strip_prefix('r').unwrap_or(text).strip_prefix("\"\"\"")?;
    let inside = inside.strip_suffix("\"\"\"")?;
    let (head, inside) = inside.split_once('\n').filter(|(head, _)| is_blank(head))?;
    let (lines, closing) = match inside.rsplit_once('\n') {
        Some((lines, closing)) => (Some(lines), closing),
        None => (None, inside),
    };
    let rest = closing.strip_prefix(old).filter(|_| is_blank(closing))?;
    let indent = format!("{new}{rest}");
    if indent == closing || !is_raw && has_newline_in_hole(text) || text.contains('\r') {
        return None;
    }
    let open = if is_raw { "r\"\"\"" } else { "\"\"\"" };
    let mut moved = format!("{open}{head}\n");
    for line in lines.into_iter().flat_map(|lines| lines.split('\n')) {
        let common = line.bytes().zip(closing.bytes()).take_while(|(a, b)| a == b).count();
        if common < line.len() {
            moved.push_str(&indent);
            moved.push_str(&line[common..]);
        }
        moved.push('\n');
    }
    Some(moved + &indent + "\"\"\"")
}

/// What a byte of a string belongs to.
enum Inside {
    /// The text of a string.
    Text { is_block: bool, is_raw: bool },
    /// A hole with so many open braces.
    Hole { braces: usize },
}

/// Whether a newline stands in a hole, where it is no part of the text around.
fn has_newline_in_hole(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut stack = Vec::new();
    let mut at = open_string(bytes, 0, &mut stack);
    while let Some(inside) = stack.last_mut() {
        let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return false };
        match inside {
            Inside::Text { is_block, is_raw } => {
                let quotes: &[u8] = if *is_block { b"\"\"\"" } else { b"\"" };
                if rest.starts_with(quotes) {
                    at += quotes.len();
                    stack.pop();
                } else if !*is_raw && rest.starts_with(b"\\{{") {
                    at += 3;
                } else if !*is_raw && rest.starts_with(b"{{") {
                    at += 2;
                    stack.push(Inside::Hole { braces: 0 });
                } else {
                    at += if rest[0] == b'\\' && !*is_raw && !*is_block { 2 } else { 1 };
                }
            }
            Inside::Hole { braces } => match rest[0] {
                b'{' => (*braces += 1, at += 1).1,
                b'}' if *braces > 0 => (*braces -= 1, at += 1).1,
                b'}' => {
                    at += 2;
                    stack.pop();
                }
                b'"' => at = open_string(bytes, at, &mut stack),
                b'r' if rest.get(1) == Some(&b'"') && !is_word(bytes, at) => {
                    at = open_string(bytes, at, &mut stack);
                }
                _ => at += 1,
            },
        }
        if stack.len() > 1 && bytes.get(at) == Some(&b'\n') {
            return true;
        }
    }
    false
}

/// Whether the byte before `at` is of the same word.
fn is_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && crate::syntax::scan::is_word_byte(bytes[at - 1])
}

/// Enters the string at `at` and returns where its text begins.
fn open_string(bytes: &[u8], at: usize, stack: &mut Vec<Inside>) -> usize {
    let is_raw = bytes[at] == b'r';
    let quotes = at + usize::from(is_raw);
    let is_block = bytes[quotes..].starts_with(b"\"\"\"");
    stack.push(Inside::Text { is_block, is_raw });
    quotes + if is_block { 3 } else { 1 }
}
