//! The lexer of scripts: quotes, expansions and here-documents. Knows which of them stands in which;
//! what a command is made of is known to `commands`.
//!
//! One pass over the bytes with an explicit stack, so that neither time nor memory depends on
//! how a script nests.

use super::commands::{Level, Position};
use super::expand::{Form, Parameter};
use super::word::{Draft, is_name_start};
use super::{Context, MAX_DEPTH, Quoting, Script, Takes, Unclosed, Unsafe};
use crate::source::Span;
use crate::syntax::ast::Shell;
use crate::syntax::text::{EXPANSION, HOLE, Text};

/// A script on its way to an analysis.
pub(super) struct Lexer<'a> {
    pub(super) language: Shell,
    pub(super) text: &'a Text,
    /// Offset of the next byte.
    pub(super) at: usize,
    /// Where the innermost heredoc ends, or the script.
    pub(super) limit: usize,
    /// What is open, outermost first. The first is the script itself.
    pub(super) frames: Vec<Frame>,
    /// One for each frame of commands or words.
    pub(super) levels: Vec<Level>,
    /// The number of simple commands so far.
    pub(super) commands: u32,
    /// The names that `declare -i` made evaluate what is assigned to them.
    pub(super) integers: Vec<String>,
    pub(super) script: Script,
}

/// Something that is open.
#[derive(Debug)]
pub(super) enum Frame {
    /// Commands up to `)`: `$(`, `<(`, or the script.
    Commands { open: usize },
    /// The words of `name=(`.
    Array { open: usize },
    /// `"`
    Double { open: usize },
    /// `${`
    Parameter(Parameter),
    /// Something that the shell evaluates.
    Arithmetic { open: usize, form: Form, depth: usize },
    /// The text of an unquoted heredoc.
    Heredoc { outer_limit: usize, resume: usize, refused: Option<Unsafe> },
}

impl<'a> Lexer<'a> {
    pub(super) fn new(language: Shell, text: &'a Text) -> Self {
        let unread = Context { quoting: Quoting::Bare, takes: Takes::Nothing(Unsafe::TooDeep) };
        Self {
            language,
            text,
            at: 0,
            limit: text.bytes.len(),
            frames: vec![Frame::Commands { open: 0 }],
            levels: vec![Level::default()],
            commands: 0,
            integers: Vec::new(),
            script: Script { holes: vec![unread; text.holes.len()], ..Script::default() },
        }
    }

    pub(super) fn run(mut self) -> Script {
        while self.script.too_deep.is_none() {
            if self.at < self.limit {
                self.step();
            } else if !self.leave_heredoc() {
                break;
            }
        }
        while self.frames.len() > 1 {
            self.abandon();
        }
        self.end_command(b"");
        if self.script.too_deep.is_none() {
            for heredoc in std::mem::take(&mut self.level().heredocs) {
                self.endless(&heredoc);
            }
        }
        self.script
    }

    /// Reads at least one byte or opens a heredoc that waits.
    fn step(&mut self) {
        match self.frames.last().expect("the script's frame stays") {
            Frame::Commands { .. } => self.command_byte(),
            Frame::Array { .. } => self.array_byte(),
            Frame::Double { .. } => self.double_byte(),
            Frame::Parameter(_) => self.parameter_byte(),
            Frame::Arithmetic { .. } => self.arithmetic_byte(),
            Frame::Heredoc { .. } => self.heredoc_byte(),
        }
    }

    /// Returns the byte so far ahead, or 0 at the end.
    pub(super) fn peek(&self, ahead: usize) -> u8 {
        let at = self.at + ahead;
        if at < self.limit { self.text.bytes[at] } else { 0 }
    }

    pub(super) fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the script's level stays")
    }

    /// What only bash has is lexed in `sh`, too: where `sh` is bash it works, and elsewhere the script
    /// does not. This asks for the few places where text means one thing here and another there.
    pub(super) fn is_bash(&self) -> bool {
        self.language == Shell::Bash
    }

    /// Opens a frame, unless too many are open.
    pub(super) fn open(&mut self, frame: Frame) {
        if self.check_depth() {
            if matches!(frame, Frame::Commands { .. } | Frame::Array { .. }) {
                let position = match frame {
                    Frame::Array { .. } => Position::List,
                    _ => Position::Command,
                };
                self.levels.push(Level::new(position));
            }
            self.frames.push(frame);
        }
    }

    /// Returns whether one more may be opened; if not, the analysis ends.
    pub(super) fn check_depth(&mut self) -> bool {
        let is_fine = self.frames.len() + self.level().open.len() <= MAX_DEPTH;
        if !is_fine {
            let at = self.at.min(self.text.bytes.len() - 1);
            self.script.too_deep = Some(self.text.place(at, at + 1));
        }
        is_fine
    }

    /// Closes the innermost frame at its end.
    pub(super) fn close(&mut self) {
        if matches!(self.frames.pop(), Some(Frame::Commands { .. } | Frame::Array { .. })) {
            self.end_command(b"");
            let level = self.levels.pop().expect("a level for the frame");
            // A heredoc whose line did not end inside goes on behind the line outside.
            self.level().heredocs.extend(level.heredocs);
        }
    }

    /// Closes the innermost frame where the text ends before it does.
    pub(super) fn abandon(&mut self) {
        let (open, len, closer) = match self.frames.last().expect("a frame") {
            Frame::Commands { open } => (*open, 2, ")"),
            Frame::Array { open } => (*open, 1, ")"),
            Frame::Double { open } => (*open, 1, "\""),
            Frame::Parameter(parameter) => (parameter.open, 2, "}"),
            Frame::Arithmetic { open, form, .. } => match form {
                Form::Expansion => (*open, 3, "))"),
                Form::Command => (*open, 2, "))"),
                Form::Bracket => (*open, 2, "]"),
                Form::Subscript => (*open, 1, "]"),
            },
            Frame::Heredoc { .. } => (0, 0, ""),
        };
        if len > 0 {
            self.unclosed(open, len, closer);
        }
        self.close();
    }

    fn unclosed(&mut self, open: usize, len: usize, closer: &'static str) {
        if self.script.too_deep.is_none() {
            let span = self.text.place(open, open + len);
            self.script.unclosed.push(Unclosed { span, closer });
        }
    }

    /// Adds text to the word under way, if there is one.
    pub(super) fn add(&mut self, start: usize, end: usize) {
        let text = self.text;
        if let Some(draft) = &mut self.level().draft {
            draft.text.extend_from_slice(&text.bytes[start..end]);
        }
    }

    pub(super) fn add_expansion(&mut self) {
        if let Some(draft) = &mut self.level().draft {
            draft.text.push(EXPANSION);
        }
    }

    /// Begins a word, or goes on with the one under way.
    pub(super) fn draft(&mut self) -> &mut Draft {
        let start = self.at;
        self.level().draft.get_or_insert_with(|| Draft { start, ..Draft::default() })
    }

    /// Reads bytes up to one of `ends` and adds them to the word.
    pub(super) fn run_until(&mut self, ends: &[u8]) {
        let rest = &self.text.bytes[self.at..self.limit];
        let len = rest.iter().position(|byte| ends.contains(byte)).unwrap_or(rest.len()).max(1);
        self.add(self.at, self.at + len);
        self.at += len;
    }

    /// Reads the next byte, a hole, in the context of the open frames.
    pub(super) fn hole(&mut self) {
        let context = self.context(false);
        self.hole_as(context);
    }

    pub(super) fn hole_as(&mut self, context: Context) {
        let number = self.text.hole(self.at);
        self.script.holes[number] = context;
        if let Some(draft) = &mut self.level().draft {
            draft.text.push(HOLE);
            draft.holes.push(number);
        }
        self.at += 1;
    }

    pub(super) fn refuse(&mut self, reason: Unsafe) {
        self.hole_as(Context { quoting: Quoting::Bare, takes: Takes::Nothing(reason) });
    }

    /// Returns the context of a hole here, or in single quotes here.
    fn context(&self, is_single: bool) -> Context {
        let mut takes = Takes::Word;
        let mut parameters = 0;
        for frame in self.frames.iter().rev() {
            let stricter = match frame {
                Frame::Heredoc { refused: Some(reason), .. } => Takes::Nothing(reason.clone()),
                Frame::Commands { .. } | Frame::Array { .. } | Frame::Heredoc { .. } => break,
                Frame::Double { .. } => continue,
                Frame::Arithmetic { .. } => Takes::Int,
                Frame::Parameter(parameter) => {
                    parameters += 1;
                    self.parameter_takes(parameter, is_single || parameters > 1)
                }
            };
            let is_int = takes == Takes::Int && stricter == Takes::Word;
            if !matches!(takes, Takes::Nothing(_)) && !is_int {
                takes = stricter;
            }
        }
        let quoting = if is_single { Quoting::Single } else { self.quoting() };
        Context { quoting, takes }
    }

    fn quoting(&self) -> Quoting {
        match self.frames.last().expect("the script's frame stays") {
            Frame::Commands { .. } | Frame::Array { .. } => Quoting::Bare,
            Frame::Double { .. } | Frame::Arithmetic { .. } | Frame::Heredoc { .. } => {
                Quoting::Plain
            }
            Frame::Parameter(parameter) => parameter.quoting(),
        }
    }

    /// Reads a backslash and what it escapes; `escapes` are the bytes before which it goes away.
    pub(super) fn backslash(&mut self, escapes: Option<&[u8]>) {
        let next = self.peek(1);
        let end = (self.at + 2).min(self.limit);
        if next == HOLE {
            self.at += 1;
            self.refuse(Unsafe::AfterBackslash);
        } else {
            let is_escape = escapes.is_none_or(|escapes| escapes.contains(&next));
            let start = if is_escape { self.at + 1 } else { self.at };
            if next != b'\n' {
                self.add(start, end);
            }
            self.at = end;
        }
    }

    /// Reads single quotes to their end.
    pub(super) fn single(&mut self) {
        let open = self.at;
        self.at += 1;
        let context = self.context(true);
        while self.at < self.limit {
            match self.peek(0) {
                b'\'' => {
                    self.at += 1;
                    return;
                }
                HOLE => self.hole_as(context.clone()),
                _ => self.run_until(&[b'\'', HOLE]),
            }
        }
        self.unclosed(open, 1, "'");
    }

    /// Reads `$'…'` to its end; in `sh`, where only some shells know it, without escapes.
    pub(super) fn dollar_single(&mut self) {
        let open = self.at;
        let has_escapes = self.is_bash();
        self.add_expansion();
        self.at += 2;
        while self.at < self.limit {
            match self.peek(0) {
                b'\'' => {
                    self.at += 1;
                    return;
                }
                HOLE => self.refuse(Unsafe::DollarQuotes),
                b'\\' if has_escapes && self.peek(1) != HOLE => {
                    self.at = (self.at + 2).min(self.limit);
                }
                _ => self.at += 1,
            }
        }
        self.unclosed(open, 2, "'");
    }

    /// Reads backticks to their end.
    pub(super) fn backticks(&mut self) {
        let open = self.at;
        self.add_expansion();
        self.at += 1;
        while self.at < self.limit {
            match self.peek(0) {
                b'`' => {
                    self.at += 1;
                    return;
                }
                HOLE => self.refuse(Unsafe::Backticks),
                b'\\' if self.peek(1) != HOLE => self.at = (self.at + 2).min(self.limit),
                b'$' if is_name_start(self.peek(1)) => self.variable(),
                _ => self.at += 1,
            }
        }
        self.unclosed(open, 1, "`");
    }

    /// Opens double quotes.
    pub(super) fn double(&mut self) {
        let open = self.at;
        self.at += 1;
        self.open(Frame::Double { open });
    }

    fn double_byte(&mut self) {
        match self.peek(0) {
            b'"' => {
                self.at += 1;
                self.close();
            }
            b'\\' => self.backslash(Some(b"$`\"\\\n")),
            b'$' => self.dollar(),
            b'`' => self.backticks(),
            HOLE => self.hole(),
            _ => self.run_until(b"\"\\$`\xff"),
        }
    }

    /// Returns the place of the bytes from `start` to here.
    pub(super) fn place_from(&self, start: usize) -> Span {
        self.text.place(start, self.at)
    }
}

/// Returns bytes as text.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
