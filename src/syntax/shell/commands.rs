//! Commands of a script: words, operators, reserved words, redirections. Knows where a word stands
//! in its command and which commands open and close; does not know what programs do with words.

use std::collections::VecDeque;

use super::expand::Form;
use super::lex::{Frame, Lexer, lossy};
use super::programs::{self, Verdict};
use super::redirect::{Heredoc, Redirect};
use super::word::{Draft, is_name};
use super::{Context, Quoting, Role, Takes, Unsafe, Word};
use crate::syntax::text::{EXPANSION, HOLE};

/// The commands of one frame.
#[derive(Default)]
pub(super) struct Level {
    /// What the next word is.
    pub(super) position: Position,
    /// The word under way.
    pub(super) draft: Option<Draft>,
    /// The words of the simple command under way, or of `[[`, from its first.
    pub(super) words: Vec<Draft>,
    /// The number of that command, from its first literal word.
    number: Option<u32>,
    /// The redirection whose target comes next.
    pub(super) redirect: Option<Redirect>,
    /// The here-strings of the command under way: their holes.
    pub(super) here_strings: Vec<usize>,
    /// The commands and groups that are open.
    pub(super) open: Vec<Construct>,
    /// The heredocs whose text begins at the next newline.
    pub(super) heredocs: VecDeque<Heredoc>,
    /// Whether that newline has been read.
    is_due: bool,
    /// What the commands of the pipeline so far print: their holes.
    pub(super) printed: Vec<usize>,
    /// How many of the heredocs stand before the pipeline.
    pub(super) heredocs_before: usize,
}

/// What the next word is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Position {
    /// A command, an assignment or a reserved word.
    #[default]
    Command,
    /// An argument.
    Argument,
    /// One of any number of words that no program gets: `for x in …`, `a=(…)`.
    List,
    /// The name behind `for`.
    ForName,
    /// `in` or `do` behind that.
    ForIn,
    /// The word behind `case`.
    CaseWord,
    /// `in` behind that.
    CaseIn,
    /// A pattern of `case`, or `esac`.
    Pattern,
    /// The name behind `function`.
    FunctionName,
    /// A word of `[[`.
    Test,
}

/// A compound command that matters for finding the end of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Construct {
    /// `(`
    Group,
    /// `case … in`
    Case,
}

impl Level {
    /// Returns a level before its first word.
    pub(super) fn new(position: Position) -> Self {
        Self { position, ..Self::default() }
    }
}

impl Lexer<'_> {
    pub(super) fn command_byte(&mut self) {
        if self.level().is_due {
            if let Some(heredoc) = self.level().heredocs.pop_front() {
                return self.heredoc(&heredoc);
            }
            self.level().is_due = false;
            self.level().heredocs_before = 0;
        }
        let is_in_pattern = self.level().draft.as_ref().is_some_and(|draft| draft.parens > 0);
        match self.peek(0) {
            b'(' | b')' | b'|' | b'&' | b';' | b'<' | b'>' | b' ' | b'\n' if is_in_pattern => {
                self.pattern_byte();
            }
            b' ' | b'\t' => self.blank(),
            b'\n' if self.level().position == Position::Test => self.blank(),
            b'\n' => {
                self.end_command(b"\n");
                self.level().is_due = true;
                self.at += 1;
            }
            b'#' if self.level().draft.is_none() => self.comment(),
            b'(' => self.open_paren(),
            b')' => self.close_paren(),
            b'<' | b'>' => self.redirection(),
            b';' | b'&' | b'|' => self.separator(),
            _ => self.word_byte(),
        }
    }

    pub(super) fn array_byte(&mut self) {
        match self.peek(0) {
            b' ' | b'\t' | b'\n' => self.blank(),
            b'#' if self.level().draft.is_none() => self.comment(),
            b')' => {
                self.finish_word();
                self.at += 1;
                self.close();
            }
            b'[' if self.level().draft.is_none() => {
                self.draft();
                self.subscript(String::new());
            }
            _ => self.word_byte(),
        }
    }

    fn blank(&mut self) {
        self.finish_word();
        self.at += 1;
    }

    fn comment(&mut self) {
        while self.at < self.limit && self.peek(0) != b'\n' {
            if self.peek(0) == HOLE {
                self.hole_as(Context { quoting: Quoting::Plain, takes: Takes::Words });
            } else {
                self.at += 1;
            }
        }
    }

    fn word_byte(&mut self) {
        if self.peek(0) == b'\\' && self.peek(1) == b'\n' {
            self.at += 2;
            return;
        }
        let at = self.at;
        self.draft();
        match self.peek(0) {
            byte @ (b'\\' | b'\'' | b'"') => {
                self.draft().is_quoted = true;
                match byte {
                    b'\\' => self.backslash(None),
                    b'\'' => self.single(),
                    _ => self.double(),
                }
            }
            b'$' => {
                self.draft().is_quoted |= matches!(self.peek(1), b'\'' | b'"');
                self.dollar();
            }
            b'`' => self.backticks(),
            HOLE => self.hole(),
            b'=' => {
                let draft = self.draft();
                draft.equals(at);
                draft.text.push(b'=');
                self.at += 1;
            }
            b'[' if self.begins_subscript() => {
                let name = self.draft().bare().unwrap_or_default().to_owned();
                self.subscript(name);
            }
            byte @ (b'*' | b'?' | b'[') => {
                let draft = self.draft();
                draft.is_pattern = true;
                draft.text.push(byte);
                self.at += 1;
            }
            _ => self.run_until(b" \t\n;&|()<>\\'\"$`=[*?\xff"),
        }
    }

    /// Whether a `[` here is an index: behind a name that may be assigned.
    fn begins_subscript(&mut self) -> bool {
        let level = self.level();
        let declares = level.words.first().is_some_and(|word| {
            let name = word.bare().unwrap_or_default();
            programs::DECLARES.contains(&name) || matches!(name, "read" | "unset" | "[[")
        });
        let is_place = level.position == Position::Command || declares;
        is_place && self.draft().bare().is_some_and(is_name)
    }

    /// Opens the `[` of an index.
    fn subscript(&mut self, array: String) {
        let open = self.at;
        self.at += 1;
        let draft = self.draft();
        draft.array = Some(array);
        draft.text.extend_from_slice(&[b'[', EXPANSION]);
        self.open(Frame::Arithmetic { open, form: Form::Subscript, depth: 0 });
    }

    /// Reads a byte of an extended pattern that would end a word elsewhere.
    fn pattern_byte(&mut self) {
        let byte = self.peek(0);
        let draft = self.draft();
        draft.text.push(byte);
        match byte {
            b'(' => draft.parens += 1,
            b')' => draft.parens -= 1,
            _ => {}
        }
        self.at += 1;
    }

    fn open_paren(&mut self) {
        let position = self.level().position;
        let begins = |draft: &Draft| match draft.text.last() {
            Some(b'!') => draft.text.len() > 1 || position != Position::Command,
            Some(last) => b"?*+@".contains(last),
            None => false,
        };
        let open = self.at;
        match &self.level().draft {
            Some(draft) if draft.text.ends_with(b"=") && draft.assignment.is_some() => {
                self.draft().text.push(EXPANSION);
                self.at += 1;
                self.open(Frame::Array { open });
            }
            Some(draft) if position != Position::Test && begins(draft) => {
                self.draft().is_pattern = true;
                self.pattern_byte();
            }
            _ if position == Position::Test => self.test_operator(),
            _ => self.begin_group(),
        }
    }

    fn begin_group(&mut self) {
        let open = self.at;
        self.finish_word();
        let position = self.level().position;
        match position {
            // The `(` before a pattern says nothing.
            Position::Pattern => self.at += 1,
            Position::Command | Position::ForName if self.peek(1) == b'(' => {
                self.at += 2;
                self.open(Frame::Arithmetic { open, form: Form::Command, depth: 0 });
            }
            _ => {
                // `name()`: the word was no command.
                let level = self.level();
                if position == Position::Argument && level.words.len() == 1 {
                    let holes = std::mem::take(&mut level.words).remove(0).holes;
                    self.refuse_all(&holes, &Unsafe::FunctionName);
                }
                self.end_command(b"(");
                self.at += 1;
                self.open_group();
            }
        }
    }

    /// Notes a `(` that opens commands of its own.
    pub(super) fn open_group(&mut self) {
        if self.check_depth() {
            self.level().open.push(Construct::Group);
            self.level().position = Position::Command;
        }
    }

    fn close_paren(&mut self) {
        if self.level().position == Position::Test {
            return self.test_operator();
        }
        if self.level().position == Position::Pattern {
            self.finish_word();
            // A word `esac` ends the patterns; then the `)` belongs to something else.
            if self.level().position == Position::Pattern {
                self.level().position = Position::Command;
                self.at += 1;
                return;
            }
        }
        self.end_command(b")");
        self.level().position = Position::Command;
        self.at += 1;
        if self.level().open.last() == Some(&Construct::Group) {
            self.level().open.pop();
        } else if self.frames.len() > 1
            && matches!(self.frames.last(), Some(Frame::Commands { .. }))
        {
            self.close();
        }
    }

    fn separator(&mut self) {
        let position = self.level().position;
        let rest = &self.text.bytes[self.at..self.limit];
        let operator: &[u8] = match rest {
            [b';', b';', b'&', ..] => b";;&",
            [b';', b';', ..] | [b';', b'&', ..] => &rest[..2],
            [b'&', b'>', ..] => return self.redirection(),
            [b'&', b'&', ..] | [b'|', b'|', ..] | [b'|', b'&', ..] => &rest[..2],
            _ => &rest[..1],
        };
        match (position, operator) {
            (Position::Test, _) => self.test_operator(),
            (Position::Pattern, b"|") => self.blank(),
            _ => {
                self.end_command(operator);
                if operator.len() > 1
                    && operator[0] == b';'
                    && self.level().open.last() == Some(&Construct::Case)
                {
                    self.level().position = Position::Pattern;
                }
                self.at += operator.len();
            }
        }
    }

    /// Reads an operator of `[[` as a word of its own.
    pub(super) fn test_operator(&mut self) {
        self.finish_word();
        let text = vec![self.peek(0)];
        self.level().words.push(Draft { text, ..Draft::default() });
        self.at += 1;
    }

    /// Ends the word under way, if there is one, and gives it its place.
    pub(super) fn finish_word(&mut self) {
        let Some(draft) = self.level().draft.take() else { return };
        if let Some(redirect) = self.level().redirect.take() {
            return self.finish_target(redirect, draft);
        }
        match self.level().position {
            Position::Command => self.finish_command_word(draft),
            Position::Argument => {
                self.record(&draft, Role::Argument);
                self.allow_list(&draft);
                self.level().words.push(draft);
            }
            Position::List => {
                self.record(&draft, Role::Argument);
                self.allow_list(&draft);
            }
            Position::Test if draft.bare() == Some("]]") => {
                self.end_words(b"");
                self.level().position = Position::Command;
            }
            Position::Test => {
                self.record(&draft, Role::Argument);
                self.level().words.push(draft);
            }
            _ => self.finish_syntax_word(&draft),
        }
    }

    /// Ends a word that belongs to `for`, `case` or `function`.
    fn finish_syntax_word(&mut self, draft: &Draft) {
        let word = draft.bare().unwrap_or_default();
        let position = self.level().position;
        let next = match position {
            Position::ForName => {
                self.refuse_all(&draft.holes, &Unsafe::VariableName);
                self.script.sets.push(word.to_owned());
                Position::ForIn
            }
            Position::ForIn if word == "in" => Position::List,
            Position::CaseWord => Position::CaseIn,
            Position::CaseIn if word == "in" && self.check_depth() => {
                self.level().open.push(Construct::Case);
                Position::Pattern
            }
            Position::Pattern if word == "esac" => {
                self.level().open.pop();
                Position::Command
            }
            Position::Pattern => Position::Pattern,
            Position::FunctionName => {
                self.refuse_all(&draft.holes, &Unsafe::FunctionName);
                Position::Command
            }
            _ => Position::Command,
        };
        self.level().position = next;
    }

    fn finish_command_word(&mut self, draft: Draft) {
        if let Some(assignment) = &draft.assignment {
            if self.integers.contains(&assignment.name) {
                self.evaluate_all(&draft.holes[assignment.holes..]);
            }
            self.script.sets.push(assignment.name.clone());
            return self.record(&draft, Role::Assignment);
        }
        let next = match draft.bare().unwrap_or_default() {
            "if" | "then" | "else" | "elif" | "while" | "until" | "do" | "{" | "!" | "time"
            | "fi" | "done" | "}" => Position::Command,
            "coproc" => Position::Command,
            "esac" => {
                if self.level().open.last() == Some(&Construct::Case) {
                    self.level().open.pop();
                }
                Position::Command
            }
            "for" => Position::ForName,
            "select" => Position::ForName,
            "case" => Position::CaseWord,
            "function" => Position::FunctionName,
            "[[" => {
                self.level().words.push(draft);
                Position::Test
            }
            _ => {
                if draft.names_by_hole() {
                    self.refuse_all(&draft.holes, &Unsafe::VariableName);
                }
                self.record(&draft, Role::Command);
                self.allow_list(&draft);
                self.level().words.push(draft);
                Position::Argument
            }
        };
        self.level().position = next;
    }

    /// Ends the command under way, if there is one, at the operator `end`.
    pub(super) fn end_command(&mut self, end: &[u8]) {
        self.finish_word();
        self.end_words(end);
        let level = self.level();
        level.redirect = None;
        level.position = match level.position {
            Position::ForIn if end == b";" => Position::Command,
            kept @ (Position::ForName
            | Position::ForIn
            | Position::CaseWord
            | Position::CaseIn
            | Position::Pattern
            | Position::FunctionName
            | Position::Test) => kept,
            _ => Position::Command,
        };
    }

    /// Judges the words of the command under way.
    fn end_words(&mut self, end: &[u8]) {
        let level = self.level();
        let words = std::mem::take(&mut level.words);
        let here_strings = std::mem::take(&mut level.here_strings);
        let verdict = match words.first() {
            Some(first) if level.position == Position::Test && first.bare() == Some("[[") => {
                programs::judge_test(&words)
            }
            _ => programs::judge(&words),
        };
        if let Some(reason) = &verdict.runs_input {
            self.refuse_input(reason, &here_strings);
        }
        self.note_pipeline(end, &verdict);
        for (hole, takes) in verdict.takes {
            self.script.holes[hole].takes = takes;
        }
        self.script.sets.extend(verdict.sets);
        self.script.sets_unknown |= verdict.sets_unknown;
        self.integers.extend(verdict.integers);
        self.level().number = None;
    }

    /// Remembers what a command prints for the command behind its `|`.
    fn note_pipeline(&mut self, end: &[u8], verdict: &Verdict) {
        let level = self.level();
        if matches!(end, b"|" | b"|&") {
            level.printed.extend(&verdict.prints);
        } else {
            level.printed.clear();
            level.heredocs_before = level.heredocs.len();
        }
    }

    pub(super) fn refuse_all(&mut self, holes: &[usize], reason: &Unsafe) {
        for &hole in holes {
            self.script.holes[hole].takes = Takes::Nothing(reason.clone());
        }
    }

    fn evaluate_all(&mut self, holes: &[usize]) {
        for &hole in holes {
            self.script.holes[hole].takes = Takes::Int;
        }
    }

    /// Lets a hole that is a word take a list.
    fn allow_list(&mut self, draft: &Draft) {
        if draft.is_hole() {
            let takes = &mut self.script.holes[draft.holes[0]].takes;
            if *takes == Takes::Word {
                *takes = Takes::Words;
            }
        }
    }

    /// Adds a word to the script's literal words, if it is one.
    pub(super) fn record(&mut self, draft: &Draft, role: Role) {
        let (text_len, start) = match &draft.assignment {
            Some(assignment) if role == Role::Assignment => (assignment.text_len, assignment.value),
            _ => (0, draft.start),
        };
        let text = &draft.text[text_len.min(draft.text.len())..];
        let is_literal = !text.iter().any(|byte| matches!(*byte, HOLE | EXPANSION));
        if is_literal && start < self.at {
            let next = self.commands;
            let command = *self.level().number.get_or_insert(next);
            self.commands = self.commands.max(command + 1);
            self.script.words.push(Word {
                value: lossy(text),
                span: self.place_from(start),
                role,
                is_pattern: draft.is_pattern,
                command,
            });
        }
    }
}
