//! Cuts the text of a `.pipe` file into tokens, every byte in exactly one. Knows characters, strings
//! with their holes, and comments; does not know items, clauses or expressions.

use crate::diagnostic::{Code, Diagnostic};
use crate::source::{MAX_SOURCE_BYTES, SourceId, Span};
#[cfg(any(test, feature = "internals"))]
use crate::syntax::outline;
use crate::syntax::outline::looks_like_item;

mod strings;

pub(crate) use strings::partner;

/// The most brackets, strings and holes that may stand in one another.
pub(crate) const MAX_NESTING: usize = 128;

/// A piece of the text: bytes `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Token {
    /// Returns the bytes of the token in the text that it was cut from.
    pub(crate) fn text(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }

    /// Claims that the token means nothing: blanks, newlines and comments.
    pub(crate) fn is_trivia(self) -> bool {
        use TokenKind::{Comment, DocComment, Newline, Space};
        matches!(self.kind, Space | Newline | Comment | DocComment)
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Blanks, tabs, and the byte order mark at the start of a file.
    Space,
    /// `\n` or `\r\n`.
    Newline,
    /// `#` to the end of the line, without the newline.
    Comment,
    /// `##` to the end of the line (`###` is a plain comment).
    DocComment,
    /// A name or keyword: ASCII letters, digits and `_`.
    Word,
    /// Digits with what is glued to them: `12`, `1_000`, `10m`, `1h30m`, `512MiB`, `25%`.
    Number,
    /// A whole string of any form, with its quotes and holes.
    String,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// One operator or separator, the longest that fits.
    Punctuation,
    /// Bytes that begin nothing; they were reported.
    Unknown,
}

/// Bytes that the grammar sees otherwise than they stand in the file. The length never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    /// Blanks: a newline inside a hole, a comment, a mark of another tool.
    Blank { start: u32, end: u32 },
    /// A part that was reported: it reads as an expression of which nothing is known.
    Broken { start: u32, end: u32 },
    /// Words of another tool, read as the Pipe operator of at most the same length.
    Text { start: u32, end: u32, text: &'static str },
}

/// What cutting a text yields.
pub(crate) struct Lexed {
    /// The tokens, without gaps.
    pub(crate) tokens: Vec<Token>,
    /// What is wrong inside the tokens, in the order it was found.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What the grammar shall see otherwise.
    pub(crate) patches: Vec<Patch>,
}

/// Returns the tokens of `text` and what is wrong with them: unterminated strings and holes, brackets
/// without partners, stray characters, nesting over [`MAX_NESTING`].
#[cfg(any(test, feature = "internals"))]
pub(crate) fn scan(source: SourceId, text: &str) -> (Vec<Token>, Vec<Diagnostic>) {
    let Lexed { tokens, mut diagnostics, .. } = lex(source, text);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    let mut brackets = Vec::new();
    for mut item in outline::outline(source, text, &tokens).items {
        item.drop_follow_up(&tokens, &diagnostics);
        brackets.extend(item.bracket.map(|bracket| bracket.diagnostic));
    }
    diagnostics.append(&mut brackets);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    (tokens, diagnostics)
}

/// Returns what is wrong with a file of more than [`MAX_SOURCE_BYTES`].
pub(crate) fn too_large() -> Diagnostic {
    let message =
        format!("the file is larger than {} MiB, the most that is read", MAX_SOURCE_BYTES >> 20);
    Diagnostic::error(Code::FILE_TOO_LARGE, Span::at(SourceId(0), 0), message)
        .help("split the file, and join the parts with `use \"./part.pipe\"`")
}

/// Returns the text of a file, or why its bytes are none. `source` names the file in the finding.
///
/// # Errors
/// K0001 with the offset of the first byte that is not UTF-8, K0003 for a file over
/// [`MAX_SOURCE_BYTES`]. The span is empty at offset 0, as there is no text to show. A NUL byte has a
/// place in the text, so it is left to [`scan`] (K0002).
pub(crate) fn decode(source: SourceId, bytes: Vec<u8>) -> Result<String, Box<Diagnostic>> {
    if bytes.len() > MAX_SOURCE_BYTES {
        return Err(Box::new(Diagnostic { span: Span::at(source, 0), ..too_large() }));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("file is not UTF-8: the byte at offset {at} begins no character");
        let finding = Diagnostic::error(Code::NOT_UTF8, Span::at(source, 0), message)
            .help("save the file as UTF-8");
        Box::new(finding)
    })
}

/// Cuts `text` into tokens, in linear time and without recursion.
pub(crate) fn lex(source: SourceId, text: &str) -> Lexed {
    let mut lexer = Lexer {
        source,
        text,
        bytes: text.as_bytes(),
        at: 0,
        line_end: 0,
        depth: 0,
        too_deep: false,
        lexed: Lexed { tokens: Vec::new(), diagnostics: Vec::new(), patches: Vec::new() },
    };
    lexer.lexed.tokens.reserve(text.len() / 4);
    lexer.report_nul();
    while lexer.at < text.len() {
        lexer.token();
    }
    lexer.lexed
}

struct Lexer<'a> {
    source: SourceId,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The end of the line that `at` was in when it was last asked for.
    line_end: usize,
    /// Brackets open here, as far as the lexer can tell.
    depth: usize,
    /// Whether too deep a nesting was reported in this item.
    too_deep: bool,
    lexed: Lexed,
}

impl Lexer<'_> {
    fn token(&mut self) {
        let start = self.at;
        let kind = match self.bytes[start] {
            b' ' | b'\t' => self.space(),
            0xEF if start == 0 && self.text.starts_with('\u{feff}') => {
                self.at = 3;
                TokenKind::Space
            }
            b'\n' => self.newline(1),
            b'\r' if self.byte(1) == Some(b'\n') => self.newline(2),
            b'#' => self.comment(),
            b'/' if self.byte(1) == Some(b'/') => self.slash_comment(),
            b'"' => self.string(0),
            b'r' if self.byte(1) == Some(b'"') => self.string(1),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
            b'0'..=b'9' => self.number(),
            b'(' | b'[' | b'{' => self.open(),
            b')' | b']' | b'}' => self.close(),
            mark @ (b'\'' | b'`') => self.foreign_quoted(mark),
            _ => self.punctuation(),
        };
        debug_assert!(self.at > start, "every token has a byte");
        let token = Token { kind, start: start as u32, end: self.at as u32 };
        self.lexed.tokens.push(token);
    }

    /// The byte `ahead` of the current one.
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&belongs) {
            self.at += 1;
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.source, start, end)
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.lexed.diagnostics.push(diagnostic);
    }

    fn blank(&mut self, start: usize, end: usize) {
        self.lexed.patches.push(Patch::Blank { start: start as u32, end: end as u32 });
    }

    /// Lets the grammar read what stands from `start` to here as one reported expression.
    fn broken(&mut self, start: usize) {
        self.lexed.patches.push(Patch::Broken { start: start as u32, end: self.at as u32 });
    }

    fn report_nul(&mut self) {
        if let Some(at) = self.text.find('\0') {
            let message = format!("file holds a NUL byte at offset {at}");
            let finding = Diagnostic::error(Code::NUL_BYTE, self.span(at, at + 1), message)
                .help("remove the byte; a `.pipe` file is plain text");
            self.report(finding);
        }
    }

    fn space(&mut self) -> TokenKind {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t'));
        TokenKind::Space
    }

    fn newline(&mut self, len: usize) -> TokenKind {
        self.at += len;
        if self.depth > 0 && looks_like_item(self.rest_of_line()) {
            self.depth = 0;
            self.too_deep = false;
        }
        TokenKind::Newline
    }

    /// The offset of the next newline; each line is searched once.
    fn line_end(&mut self) -> usize {
        if self.line_end < self.at || self.line_end == 0 {
            let rest = &self.text[self.at..];
            self.line_end = self.at + rest.find('\n').unwrap_or(rest.len());
        }
        self.line_end
    }

    fn rest_of_line(&mut self) -> &str {
        let end = self.line_end();
        &self.text[self.at..end]
    }

    fn skip_line(&mut self) {
        self.at += self.rest_of_line().trim_end_matches('\r').len();
    }

    fn comment(&mut self) -> TokenKind {
        let is_doc = self.byte(1) == Some(b'#') && self.byte(2) != Some(b'#');
        self.skip_line();
        if is_doc { TokenKind::DocComment } else { TokenKind::Comment }
    }

    fn slash_comment(&mut self) -> TokenKind {
        let start = self.at;
        self.skip_line();
        let marks = self.span(start, start + 2);
        let finding =
            Diagnostic::error(Code::FOREIGN_HABIT, marks, "comments begin with `#`, not `//`")
                .help("write `#` in place of `//`")
                .edit(marks, "#");
        self.report(finding);
        TokenKind::Comment
    }

    fn word(&mut self) -> TokenKind {
        self.skip_while(is_word_byte);
        TokenKind::Word
    }

    /// A percent sign belongs to the number unless an operand follows it at once (`10%3`).
    fn number(&mut self) -> TokenKind {
        self.skip_while(is_word_byte);
        if self.byte(0) == Some(b'.') && self.byte(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
            self.skip_while(is_word_byte);
        }
        let operand = |byte: u8| is_word_byte(byte) || matches!(byte, b'(' | b'"' | b'[');
        if self.byte(0) == Some(b'%') && !self.byte(1).is_some_and(operand) {
            self.at += 1;
        }
        TokenKind::Number
    }

    fn open(&mut self) -> TokenKind {
        self.depth += 1;
        self.check_depth(self.depth, self.at);
        self.at += 1;
        TokenKind::Open
    }

    fn close(&mut self) -> TokenKind {
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            self.too_deep = false;
        }
        self.at += 1;
        TokenKind::Close
    }

    /// Reports nesting over the cap once for each item.
    fn check_depth(&mut self, depth: usize, at: usize) {
        if depth <= MAX_NESTING || self.too_deep {
            return;
        }
        self.too_deep = true;
        let message =
            format!("more than {MAX_NESTING} brackets, strings and holes stand in one another");
        let finding = Diagnostic::error(Code::NESTED_TOO_DEEPLY, self.span(at, at + 1), message)
            .help("give an inner part a name with `let`, and use the name here");
        self.report(finding);
    }

    /// A text in single quotes or backticks.
    fn foreign_quoted(&mut self, mark: u8) -> TokenKind {
        let start = self.at;
        let len = self.rest_of_line()[1..].bytes().position(|byte| byte == mark);
        self.at += len.map_or(1, |len| len + 2);
        let quoted = self.span(start, self.at);
        let marks = if mark == b'`' { "backticks" } else { "single quotes" };
        let message = format!("strings stand in double quotes, not in {marks}");
        let mut finding = Diagnostic::error(Code::FOREIGN_HABIT, quoted, message);
        let mut help = "put the text between `\"` marks".to_owned();
        if len.is_some() {
            self.broken(start);
            let inner = &self.text[start + 1..self.at - 1];
            let holes = inner.matches("{{").count();
            let are_holes = holes == inner.matches("}}").count() && !inner.contains("${{");
            // Tools disagree on what a backslash is there, and on quotes in what looks like a hole.
            if inner.contains('\\') || !are_holes || holes > 0 && inner.contains('"') {
                help.push_str(", and write `\\\"` for each `\"` in it");
            } else {
                let text = format!("\"{}\"", inner.replace('"', "\\\""));
                help = format!("write `{text}`");
                finding = finding.edit(quoted, text);
            }
        }
        self.report(finding.help(help));
        TokenKind::Unknown
    }

    fn punctuation(&mut self) -> TokenKind {
        const LONG: [&[u8]; 11] =
            [b"==", b"!=", b"<=", b">=", b"&&", b"||", b"??", b"?.", b"..", b"->", b"=="];
        let rest = &self.bytes[self.at..];
        if LONG.iter().any(|operator| rest.starts_with(operator)) {
            self.at += 2;
        } else if b"=.,:|+-*/%!<>?;".contains(&rest[0]) {
            self.at += 1;
        } else {
            return self.stray();
        }
        TokenKind::Punctuation
    }

    /// One token for all stray characters in a row.
    fn stray(&mut self) -> TokenKind {
        let start = self.at;
        let first = self.text[start..].chars().next().unwrap_or('\0');
        let is_stray = |character: char| match character {
            '$' | '&' | '@' | '\\' | '^' | '~' => character == first,
            _ => {
                character.is_control() && !matches!(character, '\n' | '\t') || !character.is_ascii()
            }
        };
        let rest = &self.text[start..];
        let len = rest.find(|character: char| !is_stray(character)).unwrap_or(rest.len());
        self.at += len.max(first.len_utf8());
        if first == '$' && self.text[self.at..].starts_with("{{") {
            return self.hole_outside_string(start);
        }
        let found = &self.text[start..self.at];
        if found.bytes().any(|byte| byte != 0) {
            let (message, help) = describe_stray(found);
            let span = self.span(start, self.at);
            self.report(Diagnostic::error(Code::STRAY_CHARACTER, span, message).help(help));
        }
        TokenKind::Unknown
    }

    /// `${{ x }}` where an expression stands: reads it as `x`.
    fn hole_outside_string(&mut self, start: usize) -> TokenKind {
        let end = self.line_end().min(self.at + 256);
        let near = self.text.get(self.at..end).and_then(|line| line.find("}}"));
        let close = near.map(|close| self.at + close);
        self.at += 2;
        let span = self.span(start, self.at);
        let mut finding = Diagnostic::error(
            Code::DOLLAR_HOLE,
            span,
            "`${{` stands outside a string; here an expression needs no marks",
        );
        if let Some(close) = close {
            let name = self.text[self.at..close].trim().to_owned();
            let whole = self.span(start, close + 2);
            finding = finding.help(format!("write `{name}`")).edit(whole, name);
            self.blank(start, self.at);
            self.at = close + 2;
            self.blank(close, self.at);
        }
        self.report(finding);
        TokenKind::Unknown
    }
}

/// Claims that the byte may stand in a word after its first.
pub(crate) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The words that an expression gives a meaning, so that nothing can be called so: `reserved` of the
/// grammar.
pub(crate) const RESERVED: [&str; 8] = ["if", "then", "else", "for", "in", "true", "false", "none"];

/// Claims that `text` is one word of the language; keywords are words, too.
pub(crate) fn is_word(text: &str) -> bool {
    text.bytes().all(is_word_byte) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

fn describe_stray(found: &str) -> (String, &'static str) {
    let shown = found.escape_debug();
    match found.chars().next() {
        Some('\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}') => {
            (format!("`{shown}` is a curly quote, and strings need straight ones"), "write `\"`")
        }
        Some('&') => ("`&` begins nothing".into(), "write `&&` for \"and\""),
        Some('$') => {
            ("`$` begins nothing here".into(), "write the name alone; `$` belongs to shell scripts")
        }
        Some(first) if first.is_alphabetic() => (
            format!("`{shown}` cannot stand in a name: names are ASCII letters, digits and `_`"),
            "write the name in ASCII letters",
        ),
        _ => (format!("`{shown}` begins nothing here"), "remove it, or put it inside a string"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<(TokenKind, String)> {
        let (tokens, _) = scan(SourceId(0), text);
        tokens.iter().map(|token| (token.kind, token.text(text).to_owned())).collect()
    }

    fn findings(text: &str) -> Vec<String> {
        let (_, found) = scan(SourceId(0), text);
        let show = |d: &Diagnostic| format!("{} {}..{}", d.code, d.span.start, d.span.end);
        found.iter().map(show).collect()
    }

    fn kinds(text: &str) -> Vec<TokenKind> {
        let (tokens, _) = scan(SourceId(0), text);
        tokens.iter().filter(|token| !token.is_trivia()).map(|token| token.kind).collect()
    }

    fn assert_lossless(text: &str) {
        let (tokens, _) = scan(SourceId(0), text);
        let mut at = 0;
        for token in &tokens {
            assert_eq!(token.start, at, "no gap before a token of {text:?}");
            assert!(token.end > token.start, "no empty token in {text:?}");
            at = token.end;
        }
        assert_eq!(at as usize, text.len(), "the tokens reach the end of {text:?}");
    }

    #[test]
    fn numbers_take_their_units_along() {
        for number in ["12", "1_000", "10m", "1h30m", "512MiB", "25%", "1.5GB"] {
            assert_eq!(tokens(number), [(TokenKind::Number, number.to_owned())]);
        }
        assert_eq!(kinds("1..4"), [TokenKind::Number, TokenKind::Punctuation, TokenKind::Number]);
        assert_eq!(kinds("10%3"), [TokenKind::Number, TokenKind::Punctuation, TokenKind::Number]);
        assert_eq!(kinds("10 % 3").len(), 3);
    }

    #[test]
    fn the_longest_operator_wins() {
        let text = "a??b?.c==d!=e<=f>=g&&h||i..j->k";
        let found: Vec<_> =
            tokens(text).into_iter().filter(|t| t.0 == TokenKind::Punctuation).collect();
        let texts: Vec<_> = found.iter().map(|token| token.1.as_str()).collect();
        assert_eq!(texts, ["??", "?.", "==", "!=", "<=", ">=", "&&", "||", "..", "->"]);
    }

    #[test]
    fn a_string_reaches_through_its_holes() {
        for text in [
            r#""a {{ f("b {{ c }}", {d: {e: 1}}) }} g""#,
            r#""{{{a: 1}.a}}""#,
            "\"\"\"\n  {{ \"\"\"x\"\"\" }}\n  \"\"\"",
            r#"r"\d{{2}""#,
            "r\"\"\"\n {{ \" \n\"\"\"",
            r#""\" \\ \u{41} \{{ x""#,
            "\"\"\"\n{{ [a,\n b] }}\n\"\"\"",
        ] {
            assert_eq!(tokens(text), [(TokenKind::String, text.to_owned())]);
            assert!(findings(text).is_empty(), "{text}: {:?}", findings(text));
        }
    }

    #[test]
    fn windows_lines_and_a_byte_order_mark_are_accepted() {
        let text = "\u{feff}## doc\r\nlet a = 1 # end\r\n";
        let found = tokens(text);
        assert_eq!(found[0], (TokenKind::Space, "\u{feff}".into()));
        assert_eq!(found[1], (TokenKind::DocComment, "## doc".into()));
        assert_eq!(found[2], (TokenKind::Newline, "\r\n".into()));
        assert!(findings(text).is_empty());
    }

    #[test]
    fn an_unterminated_string_ends_with_its_line() {
        let text = "let a = \"abc\nlet b = \"d\"\n";
        assert_eq!(findings(text), ["K0004 8..9"]);
        assert_eq!(kinds(text).len(), 8);
        assert_eq!(findings("let a = \"x {{ b\"\nlet c = 1"), ["K0004 11..13"]);
        assert_eq!(findings("let a = \"x {{ b\nlet c = 1"), ["K0004 11..13"]);
    }

    #[test]
    fn an_unterminated_block_swallows_one_item_only() {
        let text = "build a {\n  run sh \"\"\"\n    x\n}\nbuild b {\n  run sh \"\"\"\n    y\n  \"\"\"\n}\n";
        assert_eq!(findings(text), ["K0004 19..22"]);
        let text = "build a {\n  run sh \"\"\"\n    {{ x\n  \"\"\"\n}\nlet b = 1\n";
        assert_eq!(findings(text), ["K0004 27..29"]);
    }

    #[test]
    fn a_missing_brace_is_reported_at_the_end_of_its_item() {
        assert_eq!(findings("build a {\n  in x\n\nbuild b {\n}\n"), ["K0005 17..17"]);
        assert_eq!(findings("build a {\n  in [x\n  out b: file\n}\nlet c = 1"), ["K0005 17..17"]);
        assert_eq!(findings("let a = f(g(1]\nlet c = [2"), ["K0005 13..14", "K0005 25..25"]);
    }

    #[test]
    fn foreign_marks_are_named() {
        assert_eq!(findings("let a = 'b' // c"), ["K0102 8..11", "K0102 12..14"]);
        assert_eq!(findings("let a = ${{ b }}"), ["K0103 8..11"]);
        assert_eq!(findings("let a = \"${{ b }}\""), ["K0103 9..10"]);
        assert_eq!(findings("let a = b & c"), ["K0008 10..11"]);
        assert_eq!(findings("let a = \0"), ["K0002 8..9"]);
    }

    #[test]
    fn nesting_is_capped_once_for_each_item() {
        let deep = format!("let a = {}{}\nlet b = 1\n", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(findings(&deep), ["K0006 136..137"]);
        let strings = format!("let a = {}1", "\"{{".repeat(10_000));
        assert_eq!(findings(&strings).len(), 1);
        let fits = format!("let a = {}{}\n", "[".repeat(128), "]".repeat(128));
        assert!(findings(&fits).is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let refused = |bytes: &[u8]| decode(SourceId(0), bytes.to_vec()).unwrap_err();
        assert!(refused(b"let a \xff").message.contains("offset 6"));
        let large = refused(&vec![b' '; MAX_SOURCE_BYTES + 1]);
        assert_eq!(large.code, Code::FILE_TOO_LARGE);
        assert_eq!(decode(SourceId(0), b"let".to_vec()).unwrap(), "let");
    }

    proptest! {
        #[test]
        fn any_text_is_cut_without_loss(text in any::<String>()) {
            assert_lossless(&text);
        }

        #[test]
        fn any_mix_of_marks_is_cut_without_loss(
            parts in proptest::collection::vec(
                prop::sample::select(vec![
                    "\"", "\"\"\"", "{{", "}}", "{", "}", "(", ")", "[", "]", "\\", "\n", "\r\n", " ", "r", "x",
                    "build a {\n", "'", "#", "//", "$", "é", "\0", "1", "%", ".", "in b\n",
                ]),
                0..80,
            ),
        ) {
            assert_lossless(&parts.concat());
        }
    }
}
