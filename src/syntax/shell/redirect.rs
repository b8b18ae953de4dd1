//! Redirections of a script and the text of its here-documents. Knows where such a text begins and
//! ends; does not know what its reader does with it.

use super::commands::Position;
use super::lex::{Frame, Lexer, lossy};
use super::word::{Draft, is_name};
use super::{Endless, Role, Takes, Unsafe};
use crate::syntax::text::{EXPANSION, HOLE};

/// What a word behind a redirection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    Input,
    Output,
    /// `<&`, `>&`: a number, or a file.
    Copy,
    HereString,
}

/// A heredoc that was announced.
pub(super) struct Heredoc {
    /// Where its `<<` stands.
    pub(super) open: usize,
    pub(super) delimiter: Vec<u8>,
    /// Whether the delimiter is quoted, so that the text has no expansions.
    pub(super) is_quoted: bool,
    pub(super) strips_tabs: bool,
    /// Why it takes no holes, if its reader runs it.
    pub(super) refused: Option<Unsafe>,
}

impl Lexer<'_> {
    pub(super) fn redirection(&mut self) {
        let rest = &self.text.bytes[self.at..self.limit];
        if self.level().position == Position::Test {
            return self.test_operator();
        }
        let (redirect, len) = match rest {
            [b'<' | b'>', b'(', ..] => {
                let open = self.at;
                self.draft().text.push(EXPANSION);
                self.at += 2;
                return self.open(Frame::Commands { open });
            }
            [b'<', b'<', b'<', ..] => (Redirect::HereString, 3),
            [b'<', b'<', ..] => return self.announce_heredoc(),
            [b'&', b'>', b'>', ..] => (Redirect::Output, 3),
            [b'<', b'>', ..] | [b'>', b'>', ..] | [b'>', b'|', ..] | [b'&', ..] => {
                (Redirect::Output, 2)
            }
            [b'<' | b'>', b'&', ..] => (Redirect::Copy, 2),
            [b'<', ..] => (Redirect::Input, 1),
            _ => (Redirect::Output, 1),
        };
        self.finish_descriptor();
        self.level().redirect = Some(redirect);
        self.at += len;
    }

    /// Ends the word before a redirection; the `2` of `2>` is none, nor is bash's `{name}>`.
    fn finish_descriptor(&mut self) {
        let text = self.level().draft.as_ref().and_then(Draft::bare).unwrap_or_default();
        let named = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = named.filter(|name| is_name(name)) {
            let name = name.to_owned();
            self.script.sets.push(name);
        } else if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.finish_word();
        }
        self.level().draft = None;
    }

    /// Reads `<<` and the delimiter behind it.
    fn announce_heredoc(&mut self) {
        self.finish_descriptor();
        let open = self.at;
        self.at += 2;
        let strips_tabs = self.peek(0) == b'-';
        self.at += usize::from(strips_tabs);
        while matches!(self.peek(0), b' ' | b'\t') {
            self.at += 1;
        }
        let (delimiter, is_quoted) = self.delimiter();
        let heredoc = Heredoc { open, delimiter, is_quoted, strips_tabs, refused: None };
        self.level().heredocs.push_back(heredoc);
    }

    /// Reads the delimiter of a heredoc: its text without quotes, and whether it had any.
    fn delimiter(&mut self) -> (Vec<u8>, bool) {
        let mut delimiter = Vec::new();
        let mut is_quoted = false;
        let mut quote = None;
        while self.at < self.limit {
            match (self.peek(0), quote) {
                (HOLE, _) => {
                    self.refuse(Unsafe::HeredocDelimiter);
                    continue;
                }
                (byte, Some(open)) if byte == open => quote = None,
                (byte @ (b'\'' | b'"'), None) => {
                    quote = Some(byte);
                    is_quoted = true;
                }
                (b'\\', None | Some(b'"')) if self.peek(1) != HOLE => {
                    is_quoted = true;
                    self.at += 1;
                    delimiter.push(self.peek(0));
                }
                (byte, None) if b" \t\n;&|()<>".contains(&byte) => break,
                (byte, _) => delimiter.push(byte),
            }
            self.at = (self.at + 1).min(self.limit);
        }
        (delimiter, is_quoted)
    }

    pub(super) fn finish_target(&mut self, redirect: Redirect, draft: Draft) {
        match redirect {
            Redirect::Input => self.record(&draft, Role::Input),
            Redirect::Output => self.record(&draft, Role::Output),
            Redirect::Copy => {}
            Redirect::HereString => self.level().here_strings.extend(draft.holes),
        }
    }

    /// Refuses the holes that the command under way gets as its input.
    pub(super) fn refuse_input(&mut self, reason: &Unsafe, here_strings: &[usize]) {
        let level = self.level();
        let before = level.heredocs_before.min(level.heredocs.len());
        for heredoc in level.heredocs.range_mut(before..) {
            heredoc.refused = Some(reason.clone());
        }
        level.heredocs_before = level.heredocs.len();
        let printed = std::mem::take(&mut level.printed);
        self.refuse_all(&printed, reason);
        self.refuse_all(here_strings, reason);
    }

    /// Begins the text of a heredoc, at the beginning of its first line.
    pub(super) fn heredoc(&mut self, heredoc: &Heredoc) {
        let Some((end, resume)) = self.heredoc_end(heredoc) else {
            // Nobody can say what its text was meant to be: the holes in it stay unread.
            self.endless(heredoc);
            self.at = self.limit;
            return;
        };
        if heredoc.is_quoted {
            let quoted = || Unsafe::QuotedHeredoc(lossy(&heredoc.delimiter));
            let reason = heredoc.refused.clone().unwrap_or_else(quoted);
            for hole in self.text.holes_in(self.at, end) {
                self.script.holes[hole].takes = Takes::Nothing(reason.clone());
            }
            self.at = resume;
        } else if self.check_depth() {
            let refused = heredoc.refused.clone();
            self.frames.push(Frame::Heredoc { outer_limit: self.limit, resume, refused });
            self.limit = end;
        }
    }

    /// Notes a heredoc whose delimiter never comes. A hole in the delimiter is told elsewhere, and of
    /// a delimiter such as `$(x y)` only the beginning is known.
    pub(super) fn endless(&mut self, heredoc: &Heredoc) {
        let is_odd = heredoc.delimiter.iter().any(|byte| b"$`".contains(byte));
        if !heredoc.delimiter.is_empty() && !is_odd {
            let span = self.text.place(heredoc.open, heredoc.open + 2);
            let delimiter = lossy(&heredoc.delimiter);
            self.script.endless.push(Endless { span, delimiter });
        }
    }

    /// Returns where the text of a heredoc ends, and where the line of its delimiter does.
    fn heredoc_end(&self, heredoc: &Heredoc) -> Option<(usize, usize)> {
        let mut start = self.at;
        let mut is_continued = false;
        while start < self.limit {
            let rest = &self.text.bytes[start..self.limit];
            let len = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            let mut line = &rest[..len];
            if heredoc.strips_tabs {
                let tabs = line.iter().take_while(|&&byte| byte == b'\t').count();
                line = &line[tabs..];
            }
            let next = (start + len + 1).min(self.limit);
            if line == heredoc.delimiter && !is_continued {
                return Some((start, next));
            }
            let backslashes = line.iter().rev().take_while(|&&byte| byte == b'\\').count();
            is_continued = !heredoc.is_quoted && backslashes % 2 == 1;
            start = next;
        }
        // An empty delimiter is met by the end, too.
        heredoc.delimiter.is_empty().then_some((self.limit, self.limit))
    }

    pub(super) fn heredoc_byte(&mut self) {
        match self.peek(0) {
            b'\\' => self.backslash(Some(b"$`\\\n")),
            b'$' => self.dollar(),
            b'`' => self.backticks(),
            HOLE => self.hole(),
            _ => self.run_until(b"\\$`\xff"),
        }
    }

    /// Leaves the innermost heredoc at its end. Returns whether there is one.
    pub(super) fn leave_heredoc(&mut self) -> bool {
        let is_heredoc = |frame: &Frame| matches!(frame, Frame::Heredoc { .. });
        let Some(depth) = self.frames.iter().rposition(is_heredoc) else { return false };
        while self.frames.len() > depth + 1 {
            self.abandon();
        }
        if let Some(Frame::Heredoc { outer_limit, resume, .. }) = self.frames.pop() {
            self.limit = outer_limit;
            self.at = resume;
        }
        true
    }
}
