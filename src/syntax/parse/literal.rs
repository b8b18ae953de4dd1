//! Turns numbers with their units and strings with their pieces into values. Knows units, escapes and
//! indentation; does not know what a value is for.

use super::build::Builder;
use super::{Pair, Rule};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::syntax::ast::{ExprKind, Name, Piece, StringForm, StringLiteral};

/// Units of time in milliseconds, longest first: the order in which they may follow each other.
const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes: steps of 1,000 without the `i`, of 1,024 with it.
const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// What is wrong with a number, and what to do.
type Fault = (String, String);

impl Builder<'_> {
    /// Builds from the number at `span`; reports one that is none.
    pub(super) fn number(&mut self, span: Span) -> ExprKind {
        let text = self.written(span);
        parse_number(text).unwrap_or_else(|(message, help)| {
            let problem = Diagnostic::error(Code::BAD_LITERAL, span, message);
            self.diagnostics.push(match whole_instead(text) {
                Some(instead) => problem.help(format!("write: {instead}")).edit(span, instead),
                None => problem.help(help),
            });
            ExprKind::Broken
        })
    }

    /// Builds from `signed`.
    pub(super) fn signed(&mut self, pair: Pair<'_, Rule>) -> i64 {
        let span = self.span(&pair);
        let text = self.written(span);
        let value = match text.strip_prefix('-') {
            Some(digits) => parse_number(digits).map(|number| match number {
                ExprKind::Int(value) => Some(-value),
                _ => None,
            }),
            None => parse_number(text).map(|number| match number {
                ExprKind::Int(value) => Some(value),
                _ => None,
            }),
        };
        match value {
            Ok(Some(value)) => return value,
            Ok(None) => {
                let message = format!("`{text}` has a unit; the ends of a range are plain numbers");
                self.report(Code::BAD_LITERAL, span, message, "write the digits alone");
            }
            Err((message, help)) => self.report(Code::BAD_LITERAL, span, message, &help),
        }
        0
    }

    /// Builds from `string` or `quoted` where holes and escapes have no place.
    pub(super) fn plain_string(&mut self, pair: Pair<'_, Rule>) -> Option<Name> {
        let span = self.span(&pair);
        let literal = match pair.as_rule() {
            Rule::quoted => self.quoted(pair),
            _ => match self.string(pair) {
                ExprKind::String(literal) => literal,
                _ => return None,
            },
        };
        let texts = literal.pieces.into_iter().map(|piece| match piece {
            Piece::Text { text, .. } => Some(text),
            Piece::Hole { .. } => None,
        });
        let Some(text) = texts.collect::<Option<String>>() else {
            let message = "a hole stands where the text must be known";
            self.report(Code::SYNTAX, span, message, "write the text without a hole");
            return None;
        };
        Some(Name { text, span })
    }

    /// Builds from `string`.
    pub(super) fn string(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let inner = pair.into_inner().next().expect("a string has one of four forms");
        let span = self.span(&inner);
        ExprKind::String(match inner.as_rule() {
            Rule::quoted => self.quoted(inner),
            Rule::raw => {
                let span = Span { start: span.start + 2, end: span.end - 1, ..span };
                let pieces = Vec::from_iter(self.text_piece(span));
                StringLiteral { form: StringForm::Raw, pieces }
            }
            Rule::raw_block => {
                let inside = Span { start: span.start + 4, end: span.end - 3, ..span };
                let mut block = Block::new(self.written(inside), inside);
                block.text(self.written(inside), inside);
                StringLiteral { form: StringForm::RawVerbatim, pieces: block.pieces }
            }
            _ => self.block(inner, span),
        })
    }

    fn text_piece(&self, span: Span) -> Option<Piece> {
        let text = self.written(span).to_owned();
        (!text.is_empty()).then_some(Piece::Text { text, span })
    }

    fn quoted(&mut self, pair: Pair<'_, Rule>) -> StringLiteral {
        let mut pieces = Vec::new();
        for part in pair.into_inner() {
            let span = self.exact_span(&part);
            match part.as_rule() {
                Rule::hole => pieces.extend(self.hole(part, span)),
                Rule::escape => {
                    let text = self.escape(span);
                    pieces.push(Piece::Text { text, span });
                }
                _ => pieces.extend(self.text_piece(span)),
            }
        }
        StringLiteral { form: StringForm::Quoted, pieces }
    }

    fn hole(&mut self, pair: Pair<'_, Rule>, span: Span) -> Option<Piece> {
        self.only_expression(pair).map(|expr| Piece::Hole { expr, span })
    }

    /// The text that an escape stands for; of a wrong one, what follows the backslash.
    fn escape(&mut self, span: Span) -> String {
        let written = &self.written(span)[1..];
        let text = match written {
            "n" => "\n",
            "t" => "\t",
            "\"" => "\"",
            "\\" => "\\",
            "{{" => "{{",
            _ => {
                let digits = written.strip_prefix("u{").and_then(|rest| rest.strip_suffix('}'));
                let value = digits.filter(|digits| (1..=6).contains(&digits.len()));
                let value = value.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                if let Some(character) = value.and_then(char::from_u32) {
                    return character.to_string();
                }
                let message = match digits {
                    Some(digits) => {
                        format!("`{digits}` is no character: expected 1 to 6 hexadecimal digits")
                    }
                    None => format!("`\\{written}` is no escape"),
                };
                let help = "write `\\\\` for a backslash; the escapes are `\\n`, `\\t`, `\\\"`, `\\\\`, `\\u{2014}` and `\\{{`";
                self.report(Code::BAD_LITERAL, span, message, help);
                written
            }
        };
        text.to_owned()
    }

    fn block(&mut self, pair: Pair<'_, Rule>, span: Span) -> StringLiteral {
        let inside = Span { start: span.start + 3, end: span.end - 3, ..span };
        let mut block = Block::new(self.written(inside), inside);
        for part in pair.into_inner() {
            let span = self.exact_span(&part);
            match part.as_rule() {
                Rule::hole => block.pieces.extend(self.hole(part, span)),
                Rule::braces => block.pieces.push(Piece::Text { text: "{{".into(), span }),
                _ => block.text(self.written(span), span),
            }
        }
        StringLiteral { form: StringForm::Verbatim, pieces: block.pieces }
    }
}

/// The pieces of a string of several lines.
struct Block<'a> {
    pieces: Vec<Piece>,
    /// The blanks before the closing quotes, if these stand alone on their line.
    indent: &'a str,
    /// Where the text begins: after the line of the opening quotes, if these end it.
    start: u32,
    /// Where the text ends: before the last newline, if the closing quotes stand alone.
    end: u32,
}

impl<'a> Block<'a> {
    /// `inside` is the text between the quotes and stands at `span`.
    fn new(inside: &'a str, span: Span) -> Self {
        let is_blank = |text: &str| text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        let (mut indent, mut start, mut end) = ("", span.start, span.end);
        if let Some(first) = inside.find('\n').filter(|&first| is_blank(&inside[..first])) {
            start = span.start + first as u32 + 1;
        }
        if let Some(last) = inside.rfind('\n').filter(|&last| is_blank(&inside[last..][1..])) {
            indent = &inside[last + 1..];
            let before = inside[..last].strip_suffix('\r').unwrap_or(&inside[..last]);
            end = span.start + before.len() as u32;
        }
        Self { pieces: Vec::new(), indent, start, end: end.max(start) }
    }

    /// Adds a run of text line by line, without the indentation. Line starts are in texts only, as a
    /// hole holds none that matters.
    fn text(&mut self, text: &str, span: Span) {
        let mut at = span.start;
        for line in text.split_inclusive('\n') {
            let end = (at + line.len() as u32).min(self.end);
            let begins_line = at == self.start || at > span.start;
            let first = at.max(self.start);
            let line_start = at;
            at += line.len() as u32;
            if first >= end {
                continue;
            }
            let mut kept = &line[(first - line_start) as usize..(end - line_start) as usize];
            if begins_line || first == self.start {
                kept = self.without_indent(kept);
            }
            self.line(kept, Span { start: end - kept.len() as u32, end, ..span });
        }
    }

    fn without_indent<'t>(&self, line: &'t str) -> &'t str {
        let common = line.bytes().zip(self.indent.bytes()).take_while(|(a, b)| a == b).count();
        &line[common..]
    }

    /// Adds one line; the newline of a CRLF is a piece of its own, as it is one byte shorter.
    fn line(&mut self, line: &str, span: Span) {
        let (text, newline) = match line.strip_suffix("\r\n") {
            Some(text) => (text, Some(Span { start: span.end - 2, ..span })),
            None => (line, None),
        };
        if !text.is_empty() {
            let span = Span { end: span.start + text.len() as u32, ..span };
            self.pieces.push(Piece::Text { text: text.to_owned(), span });
        }
        if let Some(span) = newline {
            self.pieces.push(Piece::Text { text: "\n".into(), span });
        }
    }
}

/// Returns the value of a number with its unit.
pub(super) fn parse_number(text: &str) -> Result<ExprKind, Fault> {
    if text.contains('.') {
        let help = "write a whole number of a smaller unit, such as `1500MB`, or a string";
        return Err((format!("`{text}` has a fraction; numbers are whole"), help.into()));
    }
    if let Some(digits) = text.strip_suffix('%') {
        let value = digits_value(digits, text)?;
        let value = u32::try_from(value).map_err(|_| too_large(text, "4294967295%"));
        return value.map(ExprKind::Percent);
    }
    let (digits, unit) = split_digits(text);
    if unit.is_empty() {
        let value = digits_value(digits, text)?;
        let value = i64::try_from(value).map_err(|_| too_large(text, "9223372036854775807"));
        return value.map(ExprKind::Int);
    }
    if let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) {
        let value = digits_value(digits, text)?.checked_mul(*bytes);
        return value.map(ExprKind::Size).ok_or_else(|| too_large(text, "16777215TiB"));
    }
    parse_duration(text).map(ExprKind::Duration)
}

/// Returns what to write for a number with a fraction: the same in a smaller unit; without a unit, as
/// of a version, a text.
fn whole_instead(text: &str) -> Option<String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.')?;
    if unit.is_empty() {
        return Some(format!("{number:?}"));
    }
    let of_unit = |table: &&[(&str, u64)]| table.iter().any(|(name, _)| *name == unit);
    let table = [&SIZES[..], &DURATIONS].into_iter().find(of_unit)?;
    let (_, factor) = *table.iter().find(|(name, _)| *name == unit)?;
    let tenths = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(factor)?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part / tenths)?;
    let fits = |(_, factor): &&(&str, u64)| part % tenths == 0 && whole % factor == 0;
    let (name, factor) = table.iter().filter(fits).max_by_key(|(_, factor)| *factor)?;
    Some(format!("{}{name}", whole / factor))
}

fn parse_duration(text: &str) -> Result<u64, Fault> {
    let mut rest = text;
    let mut units = DURATIONS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = split_digits(rest);
        let end = after.bytes().position(|byte| byte.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let Some((_, millis)) = units.by_ref().find(|(name, _)| *name == unit) else {
            return Err(bad_unit(text, unit));
        };
        let value = digits_value(digits, text)?.checked_mul(*millis);
        total = value
            .and_then(|value| total.checked_add(value))
            .ok_or_else(|| too_large(text, "213503982334d"))?;
        rest = after;
    }
    Ok(total)
}

fn bad_unit(text: &str, unit: &str) -> Fault {
    if DURATIONS.iter().any(|(name, _)| *name == unit) {
        let message =
            format!("the units of `{text}` do not fall: each stands once, long before short");
        return (message, "write it like `1h30m`".into());
    }
    let all = DURATIONS.iter().chain(&SIZES).map(|(name, _)| *name);
    let near =
        all.into_iter().find(|name| name.eq_ignore_ascii_case(unit) || is_long_form(unit, name));
    let help = match near {
        Some(near) => format!("write `{}`", text.replace(unit, near)),
        None => "write a time in `ms s m h d` or a size in `B KB KiB MB MiB GB GiB TB TiB`".into(),
    };
    let message = match unit {
        "" => format!("`{text}` ends without a unit"),
        _ => format!("`{unit}` is no unit of time or size"),
    };
    (message, help)
}

/// Claims that `unit` is how another tool spells `name`.
fn is_long_form(unit: &str, name: &str) -> bool {
    let long: &[&str] = match name {
        "s" => &["sec", "secs", "second", "seconds"],
        "m" => &["min", "mins", "minute", "minutes"],
        "h" => &["hr", "hrs", "hour", "hours"],
        "d" => &["day", "days"],
        "KiB" => &["K", "k", "Ki"],
        "MiB" => &["M", "Mi"],
        "GiB" => &["G", "Gi", "g"],
        _ => return false,
    };
    long.contains(&unit)
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'_');
    text.split_at(end.unwrap_or(text.len()))
}

fn digits_value(digits: &str, whole: &str) -> Result<u64, Fault> {
    if digits.is_empty() || digits.ends_with('_') || digits.contains("__") {
        let help = "write `_` between two digits only, as in `1_000`";
        return Err((format!("`{whole}` is no number"), help.into()));
    }
    let value = digits
        .bytes()
        .filter(|&byte| byte != b'_')
        .try_fold(0_u64, |value, byte| value.checked_mul(10)?.checked_add(u64::from(byte - b'0')));
    value.ok_or_else(|| too_large(whole, "9223372036854775807"))
}

fn too_large(text: &str, most: &str) -> Fault {
    (format!("`{text}` is too large"), format!("write at most `{most}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_whole_in_a_smaller_unit() {
        for (text, instead) in [
            ("3.10", Some("\"3.10\"")),
            ("1.5h", Some("90m")),
            ("0.25s", Some("250ms")),
            ("1.5GB", Some("1500MB")),
            ("1.5GiB", Some("1536MiB")),
            ("1.5ms", None),
            ("0.1KiB", None),
            ("12.5%", None),
            ("9.9999999999999999999999GB", None),
        ] {
            assert_eq!(whole_instead(text).as_deref(), instead, "{text}");
        }
    }

    #[test]
    fn units_become_milliseconds_and_bytes() {
        assert_eq!(parse_number("1_000"), Ok(ExprKind::Int(1_000)));
        assert_eq!(parse_number("1h30m"), Ok(ExprKind::Duration(5_400_000)));
        assert_eq!(parse_number("250ms"), Ok(ExprKind::Duration(250)));
        assert_eq!(parse_number("512MiB"), Ok(ExprKind::Size(512 << 20)));
        assert_eq!(parse_number("2GB"), Ok(ExprKind::Size(2_000_000_000)));
        assert_eq!(parse_number("25%"), Ok(ExprKind::Percent(25)));
        assert_eq!(parse_number("9223372036854775807"), Ok(ExprKind::Int(i64::MAX)));
    }

    #[test]
    fn what_is_no_number_says_why() {
        let message = |text| parse_number(text).unwrap_err();
        for text in [
            "9223372036854775808",
            "99999999999999999999",
            "5000000000%",
            "99999999TiB",
            "999999999999d",
        ] {
            assert!(message(text).0.contains("too large"), "{text}");
        }
        assert!(message("30m1h").0.contains("long before short"));
        assert_eq!(message("10min").1, "write `10m`");
        assert_eq!(message("512mib").1, "write `512MiB`");
        assert!(message("1.5GB").0.contains("fraction"));
        assert!(message("1__0").0.contains("no number"));
        assert!(message("1h30").0.contains("without a unit"));
    }
}
