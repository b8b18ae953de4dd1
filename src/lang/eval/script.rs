//! Scripts: the text that the shell gets, the values of its holes, and the project's paths in it. Knows
//! what a step takes in; does not know how a shell reads.

use indexmap::IndexMap;

use super::step::Builder;
use super::text::HISTORY;
use super::{Evaluated, Evaluator, Frame};
use crate::diagnostic::{Code, Diagnostic};
use crate::facts::Fact;
use crate::files;
use crate::lang::edit;
use crate::lang::value::Value;
use crate::plan::artifact::Out;
use crate::plan::step::{Command, Language, Place, Text};
use crate::source::Span;
use crate::syntax::ast::{ItemKind, Piece, ScriptLanguage, Shell, Stage, StringLiteral};
use crate::syntax::shell;

impl<'p> Evaluator<'p> {
    pub(super) fn script(
        &mut self,
        language: ScriptLanguage,
        script: &'p StringLiteral,
        place: Place,
        frame: &mut Frame<'p>,
        builder: &mut Builder<'p>,
    ) -> Evaluated<Command> {
        let shell = match language {
            ScriptLanguage::Shell(shell) => shell,
            ScriptLanguage::Code(dialect) => {
                return self.code(dialect, script, place, frame, builder);
            }
        };
        let analysis = shell::analyse(shell, script);
        let mut holes = IndexMap::new();
        let mut values = Vec::new();
        for piece in &script.pieces {
            let Piece::Hole { expr, .. } = piece else { continue };
            let found = self.expr(expr, frame)?;
            let hole = values.len();
            values.push(match &found {
                Value::None => {
                    holes.insert(shell::variable(hole, None), Text::default());
                    shell::Value::Nothing
                }
                Value::List(_) => {
                    let mut words = Vec::new();
                    self.words(&found, expr.span, frame.folder, builder, &mut words)?;
                    let count = words.len();
                    let named = words.into_iter().enumerate();
                    holes.extend(named.map(|(at, word)| (shell::variable(hole, Some(at)), word)));
                    shell::Value::Words(count)
                }
                found => {
                    let text =
                        self.step_text(found, expr.span, frame.folder, &mut builder.inputs)?;
                    holes.insert(shell::variable(hole, None), text);
                    shell::Value::One
                }
            });
        }
        let text = shell::render(script, &analysis, &values);
        self.spend_text(text.len(), self.script_place(script, frame))?;
        if let Some(words) = read_words(&analysis) {
            self.uncovered(words, frame.folder, builder);
        }
        let language = match shell {
            Shell::Sh => Language::Sh,
            Shell::Bash => Language::Bash,
        };
        Ok(Command::Script { language, text, holes, place })
    }

    /// Returns where a script begins.
    pub(super) fn script_place(&self, script: &StringLiteral, frame: &Frame<'p>) -> Span {
        match script.pieces.first() {
            Some(Piece::Text { span, .. } | Piece::Hole { span, .. }) => *span,
            None => Span::at(self.program.module(frame.module).ast.source, 0),
        }
    }

    /// Returns the stage whose text a place lies in.
    pub(super) fn stage_around(&self, span: Span) -> Option<&'p Stage> {
        let (_, module) = self.program.iter().find(|(_, it)| it.ast.source == span.source)?;
        if !self.search.may_take(64 * module.ast.items.len()) {
            return None;
        }
        module.ast.items.iter().find_map(|item| match &item.kind {
            ItemKind::Stage(stage) if item.span.range().contains(&(span.start as usize)) => {
                Some(stage)
            }
            _ => None,
        })
    }

    /// Warns of words that name a file of the project which the step does not have.
    pub(super) fn uncovered(&mut self, words: Vec<(&str, Span)>, folder: &str, builder: &Builder) {
        let sets = &self.file_sets;
        let paths = |id: crate::plan::artifact::FileSetId| sets[id.index()].paths.clone();
        let mut found = Vec::new();
        for (word, span) in words {
            let is_path = word.contains('/') || word.contains('.');
            if !is_path || word.starts_with(['/', '-', '~']) {
                continue;
            }
            let Some(path) = files::project_path(folder, word).filter(|path| !path.is_empty())
            else {
                continue;
            };
            let is_made = |out: &Out| {
                files::below(&out.path, &path).is_some() || files::below(&path, &out.path).is_some()
            };
            if builder.step.outs.iter().any(is_made) || builder.inputs.covers(paths, &path) {
                continue;
            }
            let is_history = files::below(HISTORY, &path).is_some();
            found.extend(self.globber.kind(&path).map(|kind| (word, span, kind, is_history)));
        }
        for (word, span, kind, is_history) in found {
            let cure = match kind {
                _ if is_history => format!("in {}", Fact::GitRepo.full_name()),
                files::EntryKind::Folder => {
                    format!("in files(\"{}/**\")", word.trim_end_matches('/'))
                }
                _ => format!("in file({word:?})"),
            };
            let message = format!("the step does not have `{word}`: no input covers it");
            let problem = Diagnostic::warning(Code::UNCOVERED_PATH, span, message)
                .help(format!("add a clause: {cure}"));
            let text = &self.program.sources.get(span.source).text;
            let stage = self.stage_around(span);
            let stage = stage.filter(|it| self.search.may_take(16 * it.clauses.len()));
            let edit = stage.and_then(|stage| edit::new_clause(text, stage, &cure));
            self.diagnostics.push(match edit {
                Some(edit) => problem.edit(edit.span, edit.text),
                None => problem,
            });
        }
    }
}

/// Returns the words of a shell script that may name what it reads; `None` after a `cd`, where a word
/// may mean something else.
fn read_words(analysis: &shell::Script) -> Option<Vec<(&str, Span)>> {
    let moves = |word: &shell::Word| {
        word.role == shell::Role::Command && ["cd", "pushd"].contains(&word.value.as_str())
    };
    if analysis.words.iter().any(moves) {
        return None;
    }
    let is_read = |word: &&shell::Word| word.role != shell::Role::Output && !word.is_pattern;
    let read = analysis.words.iter().filter(is_read);
    Some(read.map(|word| (word.value.as_str(), word.span)).collect())
}
