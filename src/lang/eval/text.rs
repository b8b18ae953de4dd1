//! Values on their way into a step: as text for its commands and environment, and as inputs that
//! stand in its working tree. Knows where each thing stands; does not know scripts.

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::{Evaluated, Evaluator, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::files;
use crate::lang::ty::ItemRef;
use crate::lang::value::{ArtifactValue, RowRef, Value};
use crate::plan::artifact::{Artifact, FileSet, FileSetId, Input};
use crate::plan::step::{StepId, Text, TextPiece};
use crate::source::Span;

/// The longest text that a program is given in one argument or variable. Linux takes 128 KiB, the
/// name of the variable and the folder that a path begins with included.
const MAX_TEXT_BYTES: usize = 127 << 10;

/// Where the history of the project's repository stands, unless a clause says otherwise.
pub(super) const HISTORY: &str = ".git";

/// What a step takes in, while it is being put together.
#[derive(Default)]
pub(super) struct Inputs {
    /// Project files taken by `in` clauses.
    sets: Vec<Input>,
    /// Project files that stand where they are because a hole names them.
    mentioned: Vec<String>,
    /// Where each artifact stands, and where in the text it was first asked for.
    artifacts: IndexMap<ArtifactKey, Placed>,
    /// Why the step needs each other one.
    pub(super) reasons: Vec<(RowRef, Span)>,
}

type ArtifactKey = (RowRef, String, String);

/// Where an artifact stands.
struct Placed {
    at: String,
    span: Span,
    /// Whether a clause says where it stands, so that a script can know it without a hole.
    is_declared: bool,
    /// Whether a hole names it.
    is_mentioned: bool,
}

impl Inputs {
    /// Forgets what is taken in twice: a list again, or a file that a hole names and a list holds.
    pub(super) fn forget_repeated(&mut self, sets: &IndexSet<FileSet>) {
        let mut seen = Vec::new();
        self.sets.retain(|input| {
            let is_new = !seen.contains(input);
            seen.push(input.clone());
            is_new
        });
        let holds = |input: &Input, path: &String| match input {
            Input::Files { set, strip, at } if strip.is_empty() && at.is_empty() => {
                sets[set.index()].paths.binary_search(path).is_ok()
            }
            _ => false,
        };
        let sets = &self.sets;
        self.mentioned.retain(|path| !sets.iter().any(|input| holds(input, path)));
    }

    /// Returns the inputs for the plan.
    pub(super) fn finish(
        self,
        sets: &mut impl FnMut(FileSet) -> FileSetId,
        id: &impl Fn(RowRef) -> StepId,
    ) -> Vec<Input> {
        let mut inputs = self.sets;
        if !self.mentioned.is_empty() {
            let mut paths = self.mentioned;
            paths.sort_unstable();
            paths.dedup();
            let set = sets(FileSet { paths });
            inputs.push(Input::Files { set, strip: String::new(), at: String::new() });
        }
        for ((row, out, part), placed) in self.artifacts {
            let artifact = Artifact { step: id(row), out, part };
            inputs.push(Input::Artifact { artifact, at: placed.at });
        }
        inputs
    }

    /// Returns the inputs that an `in` clause placed and nothing mentions, and where.
    pub(super) fn unmentioned(&self) -> impl Iterator<Item = (&str, Span)> {
        let idle =
            self.artifacts.iter().filter(|(_, placed)| !placed.is_declared && !placed.is_mentioned);
        idle.map(|((_, out, _), placed)| (out.as_str(), placed.span))
    }

    /// Returns the build paths of all files and artifacts.
    pub(super) fn covers(&self, sets: impl Fn(FileSetId) -> Vec<String>, path: &str) -> bool {
        let is_near =
            |own: &str| files::below(path, own).is_some() || files::below(own, path).is_some();
        self.mentioned.iter().any(|own| is_near(own))
            || self.artifacts.values().any(|placed| is_near(&placed.at))
            || self.sets.iter().any(|input| match input {
                Input::Files { set, strip, at } => {
                    sets(*set).iter().any(|own| is_near(&format!("{at}{}", &own[strip.len()..])))
                }
                Input::Artifact { at, .. } | Input::History { at } => is_near(at),
            })
    }
}

/// A NUL character as it is written in a text.
const NUL: &str = "\\u{0}";

impl<'p> Evaluator<'p> {
    /// Puts what an `in` clause takes at its place.
    pub(super) fn place(
        &mut self,
        value: &Value,
        at: Option<&str>,
        span: Span,
        inputs: &mut Inputs,
    ) -> Evaluated<()> {
        match value {
            Value::None => Ok(()),
            Value::List(elements)
                if elements.iter().all(|element| matches!(element, Value::File(_))) =>
            {
                let set = self.set_of(elements);
                let at = at.map(|at| format!("{at}/")).unwrap_or_default();
                inputs.sets.push(Input::Files { set, strip: String::new(), at });
                Ok(())
            }
            Value::List(elements) => {
                elements.iter().try_for_each(|element| self.place(element, at, span, inputs))
            }
            Value::File(path) => {
                let set = self.file_set(FileSet { paths: vec![path.to_string()] });
                let (strip, at) = match at {
                    Some(at) => (path.to_string(), at.to_owned()),
                    None => (String::new(), String::new()),
                };
                inputs.sets.push(Input::Files { set, strip, at });
                Ok(())
            }
            Value::Folder(path) => {
                let files = self.glob(path, "**", span, false)?;
                let set = self.set_of(&files);
                let (strip, at) = match at {
                    Some(at) => (path.to_string(), at.to_owned()),
                    None => (String::new(), String::new()),
                };
                inputs.sets.push(Input::Files { set, strip, at });
                Ok(())
            }
            Value::History => {
                let at = at.unwrap_or(HISTORY).to_owned();
                inputs.sets.push(Input::History { at });
                Ok(())
            }
            Value::Artifact(artifact) => self.place_artifact(artifact, at, span, inputs),
            _ => Err(Stop),
        }
    }

    fn place_artifact(
        &mut self,
        artifact: &Arc<ArtifactValue>,
        at: Option<&str>,
        span: Span,
        inputs: &mut Inputs,
    ) -> Evaluated<()> {
        let place = match at {
            Some(at) => at.to_owned(),
            None => self.default_place(artifact)?,
        };
        if let Some(other) = inputs.artifacts.values().find(|placed| placed.at == place) {
            let message = format!("two inputs stand at `{place}`");
            let problem = Diagnostic::error(Code::CLASHING_PATHS, span, message)
                .also(other.span, "the other one")
                .help("give one of them another place: in … at \"path\"");
            return self.fail(problem);
        }
        inputs.reasons.push((artifact.row, span));
        let placed = Placed { at: place, span, is_declared: at.is_some(), is_mentioned: false };
        inputs.artifacts.insert(key_of(artifact), placed);
        Ok(())
    }

    /// Returns where an artifact stands if no clause says it: `.kiln/in/STAGE[/ROW]/NAME`, and below
    /// that its file name if it has one of its own.
    fn default_place(&mut self, artifact: &ArtifactValue) -> Evaluated<String> {
        let matrix = self.matrix(artifact.row.stage)?;
        let row = &matrix.rows[artifact.row.row as usize].dir;
        let stage = self.lasting_name(artifact.row.stage);
        let mut place = format!(".kiln/in/{}", files::join(&stage, row));
        place = files::join(&place, &artifact.out);
        if artifact.file_name != artifact.out {
            place = files::join(&place, &artifact.file_name);
        }
        if !artifact.part.is_empty() {
            // A part has a place of its own: its whole may be taken elsewhere, too.
            place = files::join(&format!("{place}.part"), &artifact.part);
        }
        Ok(place)
    }

    /// Returns the name of a stage that does not depend on who uses its file, so that neither do the
    /// keys of the steps that take its outs: where the file stands, then its own name.
    fn lasting_name(&self, stage: ItemRef) -> String {
        let path = &self.program.module(stage.module).path;
        let file = path.strip_suffix(".pipe").unwrap_or(path);
        let module = match file.strip_suffix("pipeline") {
            Some(folder) if folder.is_empty() || folder.ends_with('/') => folder.to_owned(),
            _ => format!("{file}/"),
        };
        format!("{}{}", module.replace('/', "."), self.stage(stage).name.text)
    }

    /// Returns a value as text for a command or variable of a step that runs in `folder`, and makes
    /// what it names an input.
    pub(super) fn step_text(
        &mut self,
        value: &Value,
        span: Span,
        folder: &str,
        inputs: &mut Inputs,
    ) -> Evaluated<Text> {
        let mut text = Text::default();
        self.add_text(value, span, folder, inputs, &mut text)?;
        self.refuse_unpassable(&text, span)?;
        Ok(text)
    }

    /// Reports a text that no program can be given as an argument or variable.
    fn refuse_unpassable(&mut self, text: &Text, span: Span) -> Evaluated<()> {
        let pieces = text.pieces.iter().map(|piece| match piece {
            TextPiece::Literal(text) | TextPiece::Path { path: text } => text.as_str(),
        });
        let (mut bytes, mut has_nul) = (0, false);
        for piece in pieces {
            bytes += piece.len();
            has_nul |= piece.contains('\0');
        }
        let shown = self.program.sources.text(span);
        let problem = match () {
            () if has_nul => {
                let message =
                    format!("`{shown}` holds a NUL character, which no program can be given");
                let problem = Diagnostic::error(Code::NO_RESULT, span, message)
                    .help("take the character out: no argument and no variable can hold it");
                match shown.starts_with('"') && shown.contains(NUL) {
                    true => problem.edit(span, shown.replace(NUL, "")),
                    false => problem,
                }
            }
            () if bytes > MAX_TEXT_BYTES => Diagnostic::error(
                Code::OVER_BUDGET,
                span,
                format!(
                    "`{shown}` is {bytes} bytes long, and a program can be given {MAX_TEXT_BYTES}"
                ),
            )
            .help("let the script read it from a file: in file(\"…\")"),
            () => return Ok(()),
        };
        self.fail(problem)
    }

    fn add_text(
        &mut self,
        value: &Value,
        span: Span,
        folder: &str,
        inputs: &mut Inputs,
        text: &mut Text,
    ) -> Evaluated<()> {
        match value {
            Value::None => {}
            Value::Text(parts) => {
                for part in parts.iter() {
                    self.add_text(part, span, folder, inputs, text)?;
                }
            }
            Value::File(path) => {
                inputs.mentioned.push(path.to_string());
                push_source(text, folder, path);
            }
            Value::Folder(path) => {
                let files = self.glob(path, "**", span, false)?;
                let set = self.set_of(&files);
                let input = Input::Files { set, strip: String::new(), at: String::new() };
                if !inputs.sets.contains(&input) {
                    inputs.sets.push(input);
                }
                push_source(text, folder, path);
            }
            Value::History => {
                let at = inputs.sets.iter().find_map(|input| match input {
                    Input::History { at } => Some(at.clone()),
                    _ => None,
                });
                let at = at.unwrap_or_else(|| {
                    inputs.sets.push(Input::History { at: HISTORY.to_owned() });
                    HISTORY.to_owned()
                });
                push_source(text, folder, &at);
            }
            Value::OwnOut(path) => text.pieces.push(TextPiece::Path { path: path.to_string() }),
            Value::Artifact(artifact) => {
                let path = self.artifact_path(artifact, span, inputs)?;
                text.pieces.push(TextPiece::Path { path });
            }
            value => {
                let literal = self.plain_text(value, span, folder)?;
                push_literal(text, literal);
            }
        }
        Ok(())
    }

    /// Returns the build path of an artifact, which becomes an input if it is none yet. A part of an
    /// artifact that stands somewhere as a whole is found there.
    fn artifact_path(
        &mut self,
        artifact: &Arc<ArtifactValue>,
        span: Span,
        inputs: &mut Inputs,
    ) -> Evaluated<String> {
        if !artifact.part.is_empty() {
            let whole = (artifact.row, artifact.out.clone(), String::new());
            if let Some(placed) = inputs.artifacts.get_mut(&whole) {
                placed.is_mentioned = true;
                return Ok(files::join(&placed.at, &artifact.part));
            }
        }
        let key = key_of(artifact);
        if !inputs.artifacts.contains_key(&key) {
            self.place_artifact(artifact, None, span, inputs)?;
        }
        let placed = &mut inputs.artifacts[&key];
        placed.is_mentioned = true;
        Ok(placed.at.clone())
    }

    /// Returns the set of a list of project files. Lists that are one list are one set at once.
    fn set_of(&mut self, files: &Arc<Vec<Value>>) -> FileSetId {
        let address = Arc::as_ptr(files) as usize;
        if let Some((_, set)) = self.set_of_list.get(&address) {
            return *set;
        }
        let mut paths: Vec<_> = files
            .iter()
            .filter_map(|file| match file {
                Value::File(path) => Some(path.to_string()),
                _ => None,
            })
            .collect();
        paths.sort_unstable();
        paths.dedup();
        let set = self.file_set(FileSet { paths });
        self.set_of_list.insert(address, (Arc::clone(files), set));
        set
    }

    pub(super) fn file_set(&mut self, set: FileSet) -> FileSetId {
        FileSetId::new(self.file_sets.insert_full(set).0)
    }
}

fn key_of(artifact: &ArtifactValue) -> ArtifactKey {
    (artifact.row, artifact.out.clone(), artifact.part.clone())
}

/// A file of the step's folder is named from there, so that tools print what authors know; others by
/// their full path.
fn push_source(text: &mut Text, folder: &str, path: &str) {
    match files::below(folder, path) {
        Some("") => push_literal(text, ".".to_owned()),
        Some(rest) => push_literal(text, rest.to_owned()),
        None => text.pieces.push(TextPiece::Path { path: path.to_owned() }),
    }
}

fn push_literal(text: &mut Text, literal: String) {
    match text.pieces.last_mut() {
        Some(TextPiece::Literal(last)) => last.push_str(&literal),
        _ if literal.is_empty() => {}
        _ => text.pieces.push(TextPiece::Literal(literal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_in_twice_is_one_input() {
        let paths = ["a.c", "b.c"].map(str::to_owned).to_vec();
        let sets = IndexSet::from([FileSet { paths }]);
        let input = |at: &str| Input::Files {
            set: FileSetId::new(0),
            strip: String::new(),
            at: at.to_owned(),
        };
        let mut inputs = Inputs {
            sets: vec![input(""), input("copy/"), input("")],
            mentioned: ["a.c", "z.c"].map(str::to_owned).to_vec(),
            ..Inputs::default()
        };
        inputs.forget_repeated(&sets);
        assert_eq!(inputs.sets, [input(""), input("copy/")]);
        assert_eq!(inputs.mentioned, ["z.c"]);
    }
}
