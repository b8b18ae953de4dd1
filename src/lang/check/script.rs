//! Checking what a stage runs: scripts with the places of their holes, and argument lists.

use std::collections::BTreeSet;

use super::cure::quoted;
use super::name::SHELL_NAMES;
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic, Edit};
use crate::lang::edit;
use crate::lang::ty::Type;
use crate::source::Span;
use crate::syntax::ast::{
    BinaryOperator, ClauseKind, Expr, ExprKind, ItemKind, Piece, ScriptLanguage, StringForm,
    StringLiteral,
};
use crate::syntax::shell::{self, Quoting, Takes};

/// Variables that every step has.
const STEP_VARIABLES: &[&str] =
    &["HOME", "PATH", "PWD", "OLDPWD", "TMPDIR", "USER", "IFS", "LANG", "TZ", "SOURCE_DATE_EPOCH"];

impl<'p> Checker<'p> {
    pub(super) fn script(&mut self, language: ScriptLanguage, script: &'p Expr, scope: &mut Scope) {
        let ExprKind::String(literal) = &script.kind else {
            let found = self.expr(script, scope);
            if found != Type::Unknown {
                let message =
                    format!("a script is a text written where it runs, found {}", quoted(&found));
                let help = "write the commands themselves behind the language, and values in holes: run sh \"make {{target}}\"";
                let problem = Diagnostic::error(Code::TYPE_MISMATCH, script.span, message);
                self.report(match self.moved_here(script) {
                    Some(edit) => problem.help(help).edit(edit.span, edit.text),
                    None => problem.help(help),
                });
            }
            return;
        };
        let shell = match language {
            ScriptLanguage::Shell(shell) => shell,
            ScriptLanguage::Code(dialect) => return self.code(dialect, literal, scope),
        };
        let analysis = shell::analyse(shell, literal);
        for problem in shell::diagnostics(literal, &analysis) {
            let problem = self.with_open_heredoc(problem, literal, &analysis);
            let problem = self.with_end_of_heredoc(problem, script, &analysis);
            self.report(problem);
        }
        let holes = literal.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole { expr, span } => Some((expr, *span)),
            Piece::Text { .. } => None,
        });
        for ((expr, span), context) in holes.zip(&analysis.holes) {
            let place = (expr, span, literal.form);
            let found = self.hole(place, context, &analysis, scope);
            if self.refuse_uncertain(expr) {
                continue;
            }
            match (&context.takes, found.certain()) {
                (_, Type::Unknown) | (Takes::Nothing(_), _) => {}
                (Takes::Int, Type::Int(..)) => {}
                (Takes::Int, ty) => {
                    let problem = shell::not_an_int(expr, span, &ty.to_string());
                    let name = self.program.sources.text(expr.span);
                    self.report(match self.as_number(name, expr.span) {
                        Some(cure) => cure.of(problem, expr.span),
                        None => problem,
                    });
                }
                (Takes::Words, Type::List(element)) if is_word(element) => {}
                (Takes::Word, Type::List(element)) if is_word(element) => {
                    let problem = self.list_in_word(expr, span, context);
                    self.report(problem);
                }
                (_, ty) if is_word(ty) => {}
                (_, ty) => self.printable(ty, expr),
            }
        }
        self.shell_variables(&analysis, scope);
        self.script_habits(&analysis, scope);
    }

    /// Returns the edit that moves the text of a `let` above to the one place that mentions it.
    fn moved_here(&self, script: &Expr) -> Option<Edit> {
        let ExprKind::Name(name) = &script.kind else { return None };
        let item = self.item_called(name, script.span).filter(|item| !item.is_pub)?;
        let ItemKind::Let(kept) = &item.kind else { return None };
        let source = &self.program.sources.get(script.span.source).text;
        let lines = edit::lines_of(source, item.span)?;
        let is_only = self.mentions_of(name, script.span) == 2;
        if !is_only || kept.value.constant().is_none() || lines.end > script.span.start {
            return None;
        }
        let between = &source[lines.end as usize..script.span.start as usize];
        let text = format!("{between}{}", self.program.sources.text(kept.value.span));
        Some(Edit { span: Span { start: lines.start, ..script.span }, text })
    }

    /// Returns the type of a hole. A name that only the script knows is the shell's.
    fn hole(
        &mut self,
        (expr, span, form): (&'p Expr, Span, StringForm),
        context: &shell::Context,
        analysis: &shell::Script,
        scope: &mut Scope,
    ) -> Type {
        let (place, is_free) = match context.quoting {
            Quoting::Single => self.within_quotes(span),
            Quoting::Plain | Quoting::Bare => (span, true),
        };
        if let ExprKind::Name(name) = &expr.kind
            && self.is_secret(name, scope)
        {
            let written = shell_reference(name, context.quoting, form);
            let how = match context.quoting {
                Quoting::Single => "as the shell does, outside of the quotes",
                Quoting::Plain | Quoting::Bare => "as the shell does",
            };
            self.secret_in_hole((name, &written), (expr.span, place), (how, is_free), scope);
            return Type::Unknown;
        }
        if let ExprKind::Name(name) = &expr.kind
            && SHELL_NAMES.contains(&name.as_str())
            && !self.is_visible(name, scope)
        {
            let written = shell_reference(name, context.quoting, form);
            let message = format!("nothing is called `{name}`");
            let problem = Diagnostic::error(Code::UNKNOWN_NAME, expr.span, message)
                .help(format!("a variable of the shell is written as the shell does: {written}"));
            self.report(if is_free { problem.edit(place, written) } else { problem });
            return Type::Unknown;
        }
        if let ExprKind::Name(name) = &expr.kind
            && analysis.sets.contains(name)
            && !self.is_visible(name, scope)
        {
            let message =
                format!("`{name}` is a variable of the script, not a value of the pipeline");
            let written = shell_reference(name, context.quoting, form);
            let problem = Diagnostic::error(Code::SHELL_VARIABLE, expr.span, message)
                .help(format!("write it as the shell does: {written}"));
            self.report(if is_free { problem.edit(place, written) } else { problem });
            return Type::Unknown;
        }
        if context.takes == Takes::Words { self.words(expr, scope) } else { self.expr(expr, scope) }
    }

    /// Adds to the diagnostic of a hole in a quoted heredoc how it is cured: the quotes go, where nothing
    /// else in it would be read otherwise then.
    fn with_open_heredoc(
        &self,
        problem: Diagnostic,
        script: &StringLiteral,
        analysis: &shell::Script,
    ) -> Diagnostic {
        let holes = script.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole { span, .. } => Some(*span),
            Piece::Text { .. } => None,
        });
        let context = holes.zip(&analysis.holes).find(|(span, _)| *span == problem.span);
        let Some((hole, shell::Context { takes: Takes::Nothing(reason), .. })) = context else {
            return problem;
        };
        let shell::Unsafe::QuotedHeredoc(delimiter) = reason else { return problem };
        let text = &self.program.sources.get(hole.source).text;
        // It may stand anywhere before the hole, and end anywhere behind it.
        if !self.search.may_take(text.len()) {
            return problem;
        }
        let quoted = [format!("'{delimiter}'"), format!("\"{delimiter}\"")];
        let before = &text[..hole.start as usize];
        let begin = quoted.iter().filter_map(|quoted| {
            let at = before.rfind(quoted.as_str())?;
            let opener = before[..at].trim_end_matches([' ', '-']);
            opener.ends_with("<<").then_some((at, quoted.len()))
        });
        let Some((at, len)) = begin.max() else { return problem };
        let lines = text[at + len..].lines().skip(1);
        let mut body = lines.take_while(|line| line.trim() != delimiter);
        match body.any(|line| line.contains(['$', '`', '\\'])) {
            true => problem,
            false => problem.edit(Span::new(hole.source, at, at + len), delimiter),
        }
    }

    /// Adds to the diagnostic of a heredoc without an end how it is cured: the quotes that close the block
    /// go to the column of the line that was to end it, which nothing stands left of.
    fn with_end_of_heredoc(
        &self,
        problem: Diagnostic,
        script: &Expr,
        analysis: &shell::Script,
    ) -> Diagnostic {
        let endless = analysis.endless.iter().find(|endless| endless.span == problem.span);
        let text = self.program.sources.text(script.span);
        let (Some(endless), Some((body, column))) = (endless, block(text)) else { return problem };
        let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let ends = |line: &&str| line.trim() == endless.delimiter;
        let Some(wanted) = body.lines().rfind(ends).map(indent) else { return problem };
        let mut lines = body.lines().skip(1).filter(|line| !line.trim().is_empty());
        if wanted <= column || lines.any(|line| indent(line) < wanted) {
            return problem;
        }
        let at = Span::at(script.span.source, script.span.end as usize - "\"\"\"".len());
        problem.edit(at, " ".repeat(wanted - column))
    }

    /// Returns the place of a hole in single quotes with those, and whether they hold the hole alone.
    fn within_quotes(&self, hole: Span) -> (Span, bool) {
        let text = &self.program.sources.get(hole.source).text;
        let range = hole.range();
        let is_alone = text[..range.start].ends_with('\'') && text[range.end..].starts_with('\'');
        let around = Span { start: hole.start.saturating_sub(1), end: hole.end + 1, ..hole };
        if is_alone { (around, true) } else { (hole, false) }
    }

    /// Returns the diagnostic for a list where the shell takes one word, with what to do.
    fn list_in_word(&self, expr: &Expr, span: Span, context: &shell::Context) -> Diagnostic {
        let problem = shell::list_in_word(expr, span);
        let text = &self.program.sources.get(span.source).text;
        let (before, after) = (&text[..span.start as usize], &text[span.end as usize..]);
        // Quotes around the list alone, as a word of their own, are too much.
        for quote in ["\\\"", "\"", "'"] {
            let around = before.strip_suffix(quote).zip(after.strip_prefix(quote));
            let is_word = around.is_some_and(|(before, after)| {
                before.ends_with([' ', '\t', '\n'])
                    && after.starts_with([' ', '\t', '\n', '"', ';', ')'])
            });
            if is_word && context.quoting != Quoting::Bare {
                let len = quote.len() as u32;
                let place = Span { start: span.start - len, end: span.end + len, ..span };
                let hole = self.program.sources.text(span).to_owned();
                return problem
                    .help(format!("write it without the quotes: {hole}"))
                    .edit(place, hole);
            }
        }
        let list = self.program.sources.text(expr.span);
        let join = format!("join({list}, \" \")");
        problem
            .help(format!("make it one text: {{{{{join}}}}}; or give it a word of its own"))
            .edit(expr.span, join)
    }

    /// Returns the type of what becomes the words of a command. A list that is written there may mix
    /// texts, numbers and files: each of them is a word.
    pub(super) fn words(&mut self, expr: &'p Expr, scope: &mut Scope) -> Type {
        match &expr.kind {
            ExprKind::List(elements) => {
                for element in elements {
                    let found = self.words(element, scope);
                    match found.certain() {
                        Type::List(inner) if is_word(inner) => {}
                        _ if is_word(&found) => {}
                        _ => self.printable(&found, element),
                    }
                }
                Type::list(Type::Unknown)
            }
            ExprKind::Binary { operator: BinaryOperator::Add, left, right, .. }
                if is_list(left) || is_list(right) =>
            {
                match (self.words(left, scope), self.words(right, scope)) {
                    (Type::List(own), Type::List(other)) if is_word(&own) => Type::List(other),
                    (own @ Type::List(_), Type::List(_)) => own,
                    _ => self.expr(expr, scope),
                }
            }
            ExprKind::If { condition, then, otherwise } if is_list(then) || is_list(otherwise) => {
                self.condition(condition, scope);
                let first = self
                    .knowing(condition, true, scope, |checker, scope| checker.words(then, scope));
                let second = self.knowing(condition, false, scope, |checker, scope| {
                    checker.words(otherwise, scope)
                });
                let branches = [(&first, then.span), (&second, otherwise.span)];
                self.join_all(&branches, "the branches of `if`")
            }
            _ => self.expr(expr, scope),
        }
    }

    pub(super) fn is_visible(&self, name: &str, scope: &Scope) -> bool {
        scope.locals.get(name).is_some()
            || self.symbols[scope.item.module.index()].get(name).is_some()
            || crate::lang::builtins::find(name).is_some()
    }

    /// Reports `$name` where only the pipeline has such a name.
    fn shell_variables(&mut self, analysis: &shell::Script, scope: &Scope) {
        if analysis.sets_unknown {
            return;
        }
        let stage = self.stage_tree(scope.item);
        let mut known: BTreeSet<&str> = STEP_VARIABLES.iter().copied().collect();
        known.extend(analysis.sets.iter().map(String::as_str));
        for clause in &stage.clauses {
            match &clause.kind {
                ClauseKind::Env { name, .. } => drop(known.insert(&name.text)),
                ClauseKind::Secret { uses, .. } => {
                    known.extend(uses.iter().map(|used| used.name.text.as_str()));
                }
                _ => {}
            }
        }
        let mut problems = Vec::new();
        for variable in analysis.variables.iter().filter(|variable| !variable.has_default) {
            if known.contains(variable.name.as_str()) || !self.is_visible(&variable.name, scope) {
                continue;
            }
            let name = &variable.name;
            if self.is_secret(name, scope) {
                problems.push(self.not_taken(name, variable.span, stage));
                continue;
            }
            let text = self.program.sources.text(variable.span);
            let is_whole = text == format!("${name}") || text == format!("${{{name}}}");
            let problem = Diagnostic::error(
                Code::SHELL_VARIABLE,
                variable.span,
                format!(
                    "nothing sets the shell variable `{name}`; `{name}` is a value of the pipeline"
                ),
            )
            .help(format!("write {{{{{name}}}}}"));
            problems.push(if is_whole {
                problem.edit(variable.span, format!("{{{{{name}}}}}"))
            } else {
                problem
            });
        }
        for problem in problems {
            self.report(problem);
        }
    }

    pub(super) fn argv(&mut self, argv: &'p Expr, scope: &mut Scope) {
        let found = self.words(argv, scope);
        self.refuse_uncertain(argv);
        self.argv_habits(argv, scope);
        let is_argv = match &found {
            Type::List(element) => {
                is_word(element) || matches!(&**element, Type::List(inner) if is_word(inner))
            }
            Type::Unknown => true,
            _ => false,
        };
        if !is_argv {
            let text = self.program.sources.text(argv.span);
            let message = format!(
                "`run` takes a language and a script, or a list of arguments, found {}",
                quoted(&found)
            );
            let problem = Diagnostic::error(Code::TYPE_MISMATCH, argv.span, message);
            self.report(match found.fits(&Type::String) {
                true if text.starts_with('"') => problem
                    .help(format!("write: run sh {text}"))
                    .edit(Span::at(argv.span.source, argv.span.start as usize), "sh "),
                true => problem.help(format!("write: run sh {text}")),
                false => problem.help("write: run [\"program\", \"argument\"]"),
            });
        }
    }
}

/// Returns the lines of a block of text up to the quotes that close it, and the column of those.
fn block(text: &str) -> Option<(&str, usize)> {
    let inner = text.strip_suffix("\"\"\"").filter(|_| text.contains('\n'))?;
    let (body, indent) = inner.rsplit_once('\n')?;
    indent.trim_matches(' ').is_empty().then_some((body, indent.len()))
}

/// Returns a variable of the shell as it is written in a script of that form, where `quoting` holds.
fn shell_reference(name: &str, quoting: Quoting, form: StringForm) -> String {
    match (quoting, form) {
        (Quoting::Plain, _) => format!("${{{name}}}"),
        (Quoting::Bare | Quoting::Single, StringForm::Quoted) => format!("\\\"${name}\\\""),
        (Quoting::Bare | Quoting::Single, _) => format!("\"${name}\""),
    }
}

/// Returns whether a list is written there, with or without something added to it.
pub(super) fn is_list(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::List(_) => true,
        ExprKind::Binary { operator: BinaryOperator::Add, left, right, .. } => {
            is_list(left) || is_list(right)
        }
        _ => false,
    }
}

/// Returns whether a value is a word of a command, or no word if it is `none`.
fn is_word(ty: &Type) -> bool {
    matches!(ty, Type::None) || ty.certain().is_text()
}
