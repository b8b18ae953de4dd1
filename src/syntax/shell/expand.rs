//! Expansions of a script: `$name`, `${…}`, `$(…)`, `$((…))`, and what is evaluated. Knows what each
//! does with the text in it; does not know the command it stands in.

use super::commands::Position;
use super::lex::{Frame, Lexer, lossy};
use super::word::{is_name_byte, is_name_start};
use super::{Quoting, Takes, Unsafe, Variable};
use crate::syntax::text::HOLE;

/// An open `${`.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) open: usize,
    operator: Operator,
    /// Whether single quotes in it are plain characters: it stands in double quotes or a heredoc.
    is_quoted: bool,
    /// Its entry in the script's variables.
    variable: Option<usize>,
}

impl Parameter {
    /// Returns how a hole in the rest is written.
    pub(super) fn quoting(&self) -> Quoting {
        match self.operator {
            Operator::Pattern => Quoting::Bare,
            Operator::Substring => Quoting::Plain,
            _ if self.is_quoted => Quoting::Plain,
            _ => Quoting::Bare,
        }
    }
}

/// What a `${name` does with the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// Not read yet.
    Unread,
    /// `:-`, `=`, `?`, `:+`, …: the rest is a word.
    Default,
    /// `#`, `%`: the rest is a pattern.
    Pattern,
    /// `:`: the rest is evaluated.
    Substring,
    /// `/`, `^`, `@` and what may come.
    Other,
}

/// How something evaluated is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `$((…))`
    Expansion,
    /// `((…))`
    Command,
    /// `$[…]`
    Bracket,
    /// `name[…]`
    Subscript,
}

impl Lexer<'_> {
    /// Reads a `$` and what it begins.
    pub(super) fn dollar(&mut self) {
        let open = self.at;
        let is_quoted = self.is_quoted();
        match (self.peek(1), self.peek(2)) {
            (b'(', b'(') => {
                self.add_expansion();
                self.at += 3;
                self.open(Frame::Arithmetic { open, form: Form::Expansion, depth: 0 });
            }
            (b'(', _) => {
                self.add_expansion();
                self.at += 2;
                self.open(Frame::Commands { open });
            }
            (b'[', _) => {
                self.add_expansion();
                self.at += 2;
                self.open(Frame::Arithmetic { open, form: Form::Bracket, depth: 0 });
            }
            (b'{', _) => self.parameter(is_quoted),
            (b'\'', _) if !is_quoted => self.dollar_single(),
            (b'"', _) if !is_quoted => self.at += 1,
            (HOLE, _) => {
                self.at += 1;
                self.refuse(Unsafe::AfterDollar);
            }
            (next, _) if is_name_start(next) => self.variable(),
            (next, _) if is_special(next) => {
                self.add_expansion();
                self.at += 2;
            }
            _ => {
                self.add(open, open + 1);
                self.at += 1;
            }
        }
    }

    /// Whether single quotes and `$'` are plain characters here.
    fn is_quoted(&self) -> bool {
        match self.frames.last().expect("the script's frame stays") {
            Frame::Commands { .. } | Frame::Array { .. } => false,
            Frame::Double { .. } | Frame::Heredoc { .. } => true,
            Frame::Parameter(parameter) => {
                parameter.is_quoted && parameter.operator != Operator::Pattern
            }
            Frame::Arithmetic { form, .. } => *form != Form::Subscript,
        }
    }

    /// Reads `$name`.
    pub(super) fn variable(&mut self) {
        let open = self.at;
        self.add_expansion();
        self.at += 1;
        let name = self.name();
        let span = self.text.place(open, self.at);
        self.script.variables.push(Variable { name, span, has_default: false });
    }

    /// Reads the letters, digits and underscores that stand here.
    fn name(&mut self) -> String {
        let rest = &self.text.bytes[self.at..self.limit];
        let len = rest.iter().take_while(|&&byte| is_name_byte(byte)).count();
        self.at += len;
        lossy(&rest[..len])
    }

    /// Reads `${name` and opens the rest.
    fn parameter(&mut self, is_quoted: bool) {
        let open = self.at;
        self.add_expansion();
        self.at += 2;
        let begins_name = |byte| is_name_byte(byte) || byte == HOLE;
        if self.peek(0) == b'!' && begins_name(self.peek(1)) {
            self.at += 1;
        } else if self.peek(0) == b'#' {
            let is_length = begins_name(self.peek(1))
                || is_special(self.peek(1)) && self.peek(2) == b'}' && self.peek(1) != b'}';
            self.at += usize::from(is_length);
        }
        let mut variable = None;
        if is_name_start(self.peek(0)) {
            let name = self.name();
            variable = Some(self.script.variables.len());
            let end = self.at + usize::from(self.peek(0) == b'}');
            let span = self.text.place(open, end);
            self.script.variables.push(Variable { name, span, has_default: false });
        } else if self.peek(0).is_ascii_digit() {
            self.name();
        } else if is_special(self.peek(0)) {
            self.at += 1;
        }
        let operator = Operator::Unread;
        self.open(Frame::Parameter(Parameter { open, operator, is_quoted, variable }));
    }

    pub(super) fn parameter_byte(&mut self) {
        let Some(Frame::Parameter(parameter)) = self.frames.last() else { return };
        let operator = parameter.operator;
        match self.peek(0) {
            b'}' => {
                self.at += 1;
                self.close();
            }
            HOLE if operator == Operator::Unread => self.refuse(Unsafe::VariableName),
            _ if operator == Operator::Unread => self.parameter_operator(),
            b'\\' => self.backslash(None),
            // In `"${x:-it's}"` bash takes the quote for one when it looks for the brace.
            b'\'' if self.is_bash() || !self.is_quoted() => self.single(),
            b'"' => self.double(),
            b'$' => self.dollar(),
            b'`' => self.backticks(),
            HOLE => self.hole(),
            _ => self.run_until(b"}\\'\"$`\xff"),
        }
    }

    fn parameter_operator(&mut self) {
        let (first, second) = (self.peek(0), self.peek(1));
        let (operator, len) = match (first, second) {
            (b'[', _) => {
                let open = self.at;
                self.at += 1;
                return self.open(Frame::Arithmetic { open, form: Form::Subscript, depth: 0 });
            }
            (b':', b'-' | b'=' | b'?' | b'+') => (Operator::Default, 2),
            (b'-' | b'=' | b'?' | b'+', _) => (Operator::Default, 1),
            (b'#', b'#') | (b'%', b'%') => (Operator::Pattern, 2),
            (b'#' | b'%', _) => (Operator::Pattern, 1),
            (b':', _) => (Operator::Substring, 1),
            _ => {
                (Operator::Other, usize::from(!matches!(first, b'\\' | b'\'' | b'"' | b'$' | b'`')))
            }
        };
        let sign = self.peek(len - usize::from(len > 0));
        self.at += len;
        let Some(Frame::Parameter(parameter)) = self.frames.last_mut() else { return };
        parameter.operator = operator;
        if let (Operator::Default, Some(number)) = (operator, parameter.variable) {
            let variable = &mut self.script.variables[number];
            variable.has_default = sign != b'?';
            if sign == b'=' {
                self.script.sets.push(variable.name.clone());
            }
        }
    }

    /// Returns what the rest of a `${name` takes, in it or (`is_nested`) in something in it.
    pub(super) fn parameter_takes(&self, parameter: &Parameter, is_nested: bool) -> Takes {
        let is_innermost = matches!(self.frames.last(), Some(Frame::Parameter(_))) && !is_nested;
        match parameter.operator {
            // The index of an array.
            Operator::Unread => Takes::Word,
            // Shells differ on quotes within `"${…}"`.
            _ if parameter.is_quoted && !is_innermost => Takes::Nothing(Unsafe::Expansion),
            Operator::Substring => Takes::Int,
            Operator::Default | Operator::Pattern => Takes::Word,
            Operator::Other => Takes::Nothing(Unsafe::Expansion),
        }
    }

    pub(super) fn arithmetic_byte(&mut self) {
        let Some(Frame::Arithmetic { form, depth, .. }) = self.frames.last_mut() else { return };
        let is_bracket = matches!(form, Form::Bracket | Form::Subscript);
        match self.text.bytes[self.at] {
            b'(' if !is_bracket => (*depth += 1, self.at += 1).1,
            b'[' if is_bracket => (*depth += 1, self.at += 1).1,
            b')' if !is_bracket && *depth > 0 => (*depth -= 1, self.at += 1).1,
            b']' if is_bracket && *depth > 0 => (*depth -= 1, self.at += 1).1,
            b')' if !is_bracket => self.close_arithmetic(),
            b']' if is_bracket => {
                self.add(self.at, self.at + 1);
                self.at += 1;
                self.close();
            }
            b'\'' if *form == Form::Subscript => self.single(),
            b'"' => self.double(),
            b'\\' => self.backslash(None),
            b'$' => self.dollar(),
            b'`' => self.backticks(),
            HOLE => self.hole(),
            byte if is_name_start(byte) => self.operand(),
            byte if byte.is_ascii_digit() => (self.name(), ()).1,
            _ => self.at += 1,
        }
    }

    /// Reads a name in arithmetic and notes whether it is assigned.
    fn operand(&mut self) {
        let name = self.name();
        let rest = &self.text.bytes[self.at..self.limit];
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.at += blanks;
        let rest = &rest[blanks..];
        let is_set = match rest {
            [b'=', b'=', ..] => false,
            [b'=', ..] | [b'+', b'+', ..] | [b'-', b'-', ..] => true,
            [b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^', b'=', ..] => true,
            [b'<', b'<', b'=', ..] | [b'>', b'>', b'=', ..] => true,
            _ => false,
        };
        if is_set {
            self.script.sets.push(name);
        }
    }

    /// Reads the `)` that ends arithmetic, or that shows it was none: `$((a) | b)` runs commands.
    fn close_arithmetic(&mut self) {
        let Some(&Frame::Arithmetic { open, form, .. }) = self.frames.last() else { return };
        self.at += 1;
        if self.peek(0) == b')' {
            self.at += 1;
            self.close();
            if form == Form::Command {
                self.level().position = Position::Command;
            }
            return;
        }
        for hole in self.text.holes_in(open, self.at) {
            self.script.holes[hole].takes = Takes::Nothing(Unsafe::Ambiguous);
        }
        self.close();
        match form {
            Form::Expansion => self.open(Frame::Commands { open }),
            _ => self.open_group(),
        }
    }
}

/// Whether the byte is the name of a variable that the shell sets itself, as in `$?`.
fn is_special(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!')
}
