//! Rows: the matrix of a stage. Knows axes and the names of rows; does not know what a row runs.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::late::Awaited;
use super::{Evaluated, Evaluator, Frame, MAX_STEPS, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::digest::Digest;
use crate::lang::late;
use crate::lang::nearest::nearest;
use crate::lang::ty::ItemRef;
use crate::lang::value::{RowRef, Value};
use crate::source::{Span, turns_direction};
use crate::syntax::ast::{Axis, Expr, ExprKind, Name, Stage};

/// The most rows of a matrix that does not say `max:`.
const MAX_ROWS: usize = 256;

/// The most bytes of a row's folder name.
const MAX_DIR_BYTES: usize = 100;

/// The rows of a stage; one without values if it has no axes.
#[derive(Debug)]
pub(super) struct Matrix {
    pub(super) rows: Vec<Row>,
    /// The place of a row by the texts of its axes.
    by_texts: HashMap<Vec<String>, u32>,
}

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    /// What each axis is bound to, in order.
    pub(super) values: Vec<Value>,
    /// The texts of the axes as users name them.
    pub(super) texts: IndexMap<String, String>,
    /// The row as one path component, unique in its stage; empty without axes.
    pub(super) dir: String,
    /// Why it is no step, if the condition of its stage does not hold.
    pub(super) skipped: Option<String>,
}

/// How far the rows of a stage are known.
pub(super) enum Rows {
    /// They are being found: whoever asks for them meanwhile is what they wait for.
    Wanted,
    /// They cannot be found; that was reported.
    Broken,
    /// They are not known before these are made.
    Late(Awaited),
    Found(Arc<Matrix>),
}

impl Matrix {
    /// Returns the places of the rows that are steps.
    pub(super) fn steps(&self) -> impl Iterator<Item = u32> {
        let rows = (0_u32..).zip(&self.rows);
        rows.filter(|(_, row)| row.skipped.is_none()).map(|(at, _)| at)
    }
}

impl<'p> Evaluator<'p> {
    /// Returns the rows of a stage.
    pub(super) fn matrix(&mut self, item: ItemRef) -> Evaluated<Arc<Matrix>> {
        let stage = self.stage(item);
        match self.matrices.get(&item) {
            Some(Rows::Found(matrix)) => return Ok(Arc::clone(matrix)),
            Some(Rows::Broken) => return Err(Stop),
            Some(Rows::Late(awaited)) => {
                self.awaited.extend(awaited.iter().cloned());
                return Err(Stop);
            }
            Some(Rows::Wanted) => return self.rows_in_a_circle(stage),
            None => {}
        }
        self.matrices.insert(item, Rows::Wanted);
        let found = self.deeper(stage.name.span, |evaluator| {
            let mut matrix = evaluator.rows(item, stage)?;
            evaluator.skip_rows(item, &mut matrix.rows)?;
            Ok(Arc::new(matrix))
        });
        let known = match &found {
            Ok(matrix) => Rows::Found(Arc::clone(matrix)),
            Err(Stop) if self.awaited.is_empty() => Rows::Broken,
            Err(Stop) => Rows::Late(self.awaited.clone()),
        };
        self.matrices.insert(item, known);
        found
    }

    /// Returns the rows of a stage that were found before.
    pub(super) fn known_matrix(&self, item: ItemRef) -> Option<Arc<Matrix>> {
        match self.matrices.get(&item) {
            Some(Rows::Found(matrix)) => Some(Arc::clone(matrix)),
            _ => None,
        }
    }

    fn rows_in_a_circle<T>(&mut self, stage: &Stage) -> Evaluated<T> {
        let name = &stage.name.text;
        let message =
            format!("whether `{name}` runs, or in which rows, depends on `{name}` itself");
        self.fail(
            Diagnostic::error(Code::STAGE_CYCLE, stage.name.span, message)
                .help("let its condition and its axes mention params, facts and other stages only"),
        )
    }

    fn rows(&mut self, item: ItemRef, stage: &'p Stage) -> Evaluated<Matrix> {
        let mut frame = Frame::new(self.program, item.module);
        let max = match &stage.max {
            Some(max) => match self.expr(max, &mut frame)? {
                Value::Int(max) => usize::try_from(max).unwrap_or(0),
                _ => return Err(Stop),
            },
            None => MAX_ROWS,
        };
        let mut values = Vec::new();
        let too_many = self.cross(&stage.axes, &mut frame, max, &mut values)?;
        if too_many {
            return self.too_many_rows(stage, max, &mut frame);
        }
        let mut rows: Vec<_> =
            values.into_iter().map(|values| row(stage, values, frame.folder)).collect();
        if let Some(except) = &stage.except {
            self.drop_rows(except, &mut rows, &mut frame)?;
        }
        if !stage.axes.is_empty() {
            name_dirs(&mut rows);
        }
        let mut by_texts = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            if by_texts.insert(texts_of(row), at as u32).is_some() {
                return self.row_twice(stage, row, at);
            }
        }
        Ok(Matrix { rows, by_texts })
    }

    /// Reports a row that came before; `at` is its place among the rows.
    fn row_twice(&mut self, stage: &Stage, row: &Row, at: usize) -> Evaluated<Matrix> {
        let (first, last) = (&stage.axes[0].values, &stage.axes[stage.axes.len() - 1].values);
        let written = match (&first.kind, &stage.axes[..]) {
            (ExprKind::List(elements), [_]) if stage.except.is_none() => elements.get(at),
            _ => None,
        };
        let span = written.map_or(first.span.to(last.span), |element| element.span);
        let message = format!("`{}` has the row {} twice", stage.name.text, bracketed(&row.texts));
        let problem = Diagnostic::error(Code::DUPLICATE_ROW, span, message)
            .help("take one of the two out of the list");
        self.fail(match (&first.kind, written) {
            (ExprKind::List(elements), Some(_)) if at > 0 => {
                problem.edit(Span { start: elements[at - 1].span.end, ..span }, "")
            }
            _ => problem,
        })
    }

    /// Binds every axis to each of its values in turn, the last one fastest. Returns whether there
    /// are more than `max` rows.
    fn cross(
        &mut self,
        axes: &'p [Axis],
        frame: &mut Frame<'p>,
        max: usize,
        rows: &mut Vec<Vec<Value>>,
    ) -> Evaluated<bool> {
        let Some((axis, rest)) = axes.split_first() else {
            rows.push(frame.locals.iter().map(|(_, value)| value.clone()).collect());
            return Ok(rows.len() > max);
        };
        let elements = match late::source(axis) {
            Some((format, source)) => self.late_elements(axis, format, source, frame)?,
            None => self.elements(&axis.values, frame)?,
        };
        for value in elements.iter() {
            self.spend(axis.values.span)?;
            frame.locals.push((&axis.name.text, value.clone()));
            let too_many = self.cross(rest, frame, max, rows);
            frame.locals.pop();
            if too_many? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns how many rows a stage has that has more than `max`, if it may have so many.
    fn count_of_rows(
        &mut self,
        stage: &'p Stage,
        frame: &mut Frame<'p>,
        max: usize,
    ) -> Evaluated<Option<usize>> {
        // What is counted is made: not more than that again.
        let most = MAX_STEPS.min(max.saturating_mul(4));
        let mut rows = Vec::new();
        let too_many = self.cross(&stage.axes, frame, most, &mut rows)?;
        Ok((!too_many).then_some(rows.len()))
    }

    fn too_many_rows(
        &mut self,
        stage: &'p Stage,
        max: usize,
        frame: &mut Frame<'p>,
    ) -> Evaluated<Matrix> {
        let message = format!("`{}` has more than {max} rows", stage.name.text);
        let last = &stage.axes[stage.axes.len() - 1].values;
        let span = stage.axes[0].name.span.to(last.span);
        let problem = Diagnostic::error(Code::MATRIX_TOO_LARGE, span, message);
        let problem = match &stage.max {
            Some(limit) => {
                let problem = problem.also(limit.span, "the limit is declared here");
                match self.count_of_rows(stage, frame, max)? {
                    Some(count) => problem
                        .help(format!("write: max: {count}; or make the lists shorter"))
                        .edit(limit.span, count.to_string()),
                    None => problem
                        .help(format!("make it larger, up to {MAX_STEPS}, or the lists shorter")),
                }
            }
            None => {
                let at = Span::at(span.source, span.end as usize);
                problem
                    .help("say behind the axes how many you expect: max: 1000")
                    .edit(at, ", max: 1000")
            }
        };
        self.fail(problem)
    }

    fn drop_rows(
        &mut self,
        except: &'p Expr,
        rows: &mut Vec<Row>,
        frame: &mut Frame<'p>,
    ) -> Evaluated<()> {
        let dropped = self.elements(except, frame)?;
        for record in dropped.iter() {
            let Value::Record(fields) = record else { return Err(Stop) };
            let wanted: Vec<_> =
                fields.iter().map(|(name, value)| (name, value.text(frame.folder))).collect();
            let before = rows.len();
            rows.retain(|row| {
                !wanted.iter().all(|(name, text)| {
                    row.texts.get(*name).is_some_and(|own| Some(own) == text.as_ref())
                })
            });
            if rows.len() == before {
                let texts: IndexMap<_, _> = wanted
                    .into_iter()
                    .map(|(name, text)| (name.clone(), text.unwrap_or_default()))
                    .collect();
                let message = format!("`except` drops no row: none has {}", bracketed(&texts));
                return self.fail(
                    Diagnostic::error(Code::DEAD_EXCEPT, except.span, message)
                        .help("delete it, or name values that the axes have"),
                );
            }
        }
        Ok(())
    }

    /// Returns the row that `stage[axis: value, …]` names.
    pub(super) fn find_row(
        &mut self,
        stage: ItemRef,
        given: &'p [(Name, Expr)],
        span: Span,
        frame: &mut Frame<'p>,
    ) -> Evaluated<RowRef> {
        let folder = self.program.module(stage.module).folder();
        let mut texts = IndexMap::new();
        for (name, value) in given {
            let value = self.expr(value, frame)?;
            texts.insert(name.text.clone(), value.text(folder).unwrap_or_default());
        }
        let matrix = self.matrix(stage)?;
        let Some(first) = matrix.rows.first() else {
            let message = format!("`{}` has no rows at all", self.stage(stage).name.text);
            return self.fail(Diagnostic::error(Code::NO_SUCH_ROW, span, message));
        };
        let wanted: Vec<_> =
            first.texts.keys().map(|axis| texts.get(axis).cloned().unwrap_or_default()).collect();
        match matrix.by_texts.get(&wanted) {
            Some(&row) => Ok(RowRef { stage, row }),
            None => {
                let wanted = wanted.join(", ");
                let known: Vec<_> =
                    matrix.rows.iter().take(1000).map(|row| texts_of(row).join(", ")).collect();
                let name = &self.stage(stage).name.text;
                let message = format!("`{name}` has no row {}", bracketed(&texts));
                let problem = Diagnostic::error(Code::NO_SUCH_ROW, span, message);
                let is_number = |text: &String| text.parse::<i64>().is_ok();
                let near = nearest(&wanted, known.iter().map(String::as_str));
                self.fail(match (near, &known[..]) {
                    (_, [low, .., high]) if known.iter().all(is_number) => {
                        problem.help(format!("its rows go from {low} to {high}"))
                    }
                    (Some(near), _) => problem.help(format!("the nearest row is [{near}]")),
                    (None, _) => problem.help("name values that its axes have"),
                })
            }
        }
    }
}

/// Texts count from the folder of the stage's file, as its author writes them.
fn row(stage: &Stage, values: Vec<Value>, folder: &str) -> Row {
    let mut texts = IndexMap::new();
    for (axis, value) in stage.axes.iter().zip(&values) {
        match value {
            Value::Record(fields) => texts.extend(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), value.text(folder).unwrap_or_default())),
            ),
            value => {
                texts.insert(axis.name.text.clone(), value.text(folder).unwrap_or_default());
            }
        }
    }
    Row { values, texts, dir: String::new(), skipped: None }
}

fn texts_of(row: &Row) -> Vec<String> {
    row.texts.values().cloned().collect()
}

/// Returns a row as users name it: `[toolchain: 1.88, shard: 2]`.
pub(super) fn bracketed(texts: &IndexMap<String, String>) -> String {
    let axes: Vec<_> =
        texts.iter().map(|(axis, text)| format!("{axis}: {}", shown(text))).collect();
    format!("[{}]", axes.join(", "))
}

/// A text as one line that no terminal obeys: a row may be named after a file, and the file after
/// anything. No two texts look alike.
fn shown(text: &str) -> String {
    let is_harmful = |c: char| c.is_control() || c == '\\' || turns_direction(c);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmful(c) {
            true => shown.extend(c.escape_debug()),
            false => shown.push(c),
        }
    }
    shown
}

/// Names the folder of each row by its texts; those that would be alike or too long get a digest.
fn name_dirs(rows: &mut [Row]) {
    let plain: Vec<_> = rows.iter().map(plain_dir).collect();
    let mut count: HashMap<&str, usize> = HashMap::new();
    for dir in &plain {
        *count.entry(dir).or_default() += 1;
    }
    for (row, dir) in rows.iter_mut().zip(&plain) {
        row.dir = match dir.len() <= MAX_DIR_BYTES && count[dir.as_str()] == 1 {
            true => dir.clone(),
            false => {
                let digest = Digest::of(texts_of(row).join("\0").as_bytes()).short();
                let start: String = dir.chars().take(MAX_DIR_BYTES - 13).collect();
                format!("{start}~{digest}")
            }
        };
    }
}

fn plain_dir(row: &Row) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-=".contains(c);
    let name = |text: &String| -> String {
        text.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
    };
    let dir = row.texts.values().map(name).collect::<Vec<_>>().join(",");
    if dir.is_empty() || dir.starts_with('.') { format!("_{dir}") } else { dir }
}
