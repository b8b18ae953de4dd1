//! Steps: one row of a stage with its clauses, made into a step of the plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::clash::OutPaths;
use super::root::KEPT_ROOT;
use super::rows::Row;
use super::text::Inputs;
use super::{Evaluated, Evaluator, Frame, Needs, StepIds, Stop};
use crate::diagnostic::{Code, Diagnostic};
use crate::files;
use crate::lang::template;
use crate::lang::ty::{ItemRef, ModuleId, Type};
use crate::lang::value::{ArtifactValue, RowRef, ServiceValue, Value};
use crate::plan::artifact::{Artifact, Out, OutKind};
use crate::plan::step::{Command, Limits, Network, Root, Step, StepKind, Text, Tool};
use crate::source::Span;
use crate::syntax::ast::{Clause, ClauseKind, Expr, ExprKind, Name, StageKind, TypeExpr, TypeKind};

/// A clause and whose it is: the stage's own or one of its templates'.
type OwnedClause<'p> = (ItemRef, &'p Clause);

impl<'p> Evaluator<'p> {
    /// Returns the stage and the templates it is made from, the stage first.
    pub(super) fn template_chain(&self, stage: ItemRef) -> Vec<ItemRef> {
        template::chain(self.program, &self.checked.symbols, stage)
    }

    /// Returns a row of a stage as what clauses are taken for.
    pub(super) fn row_of(&self, stage: ItemRef, row: &Row) -> Subject<'p> {
        let axes = self.stage(stage).axes.iter().map(|axis| axis.name.text.as_str());
        let locals = axes.zip(row.values.iter().cloned()).collect();
        Subject { item: stage, home: stage.module, locals }
    }

    /// Returns what the clauses of `owner`, the subject's item or one of its templates, can see.
    pub(super) fn frame_of(
        &mut self,
        subject: &Subject<'p>,
        owner: ItemRef,
    ) -> Evaluated<Frame<'p>> {
        let mut frame = Frame::new(self.program, subject.item.module);
        frame.home = subject.home;
        frame.folder = self.program.module(subject.home).folder();
        frame.locals.clone_from(&subject.locals);
        for link in self.template_chain(subject.item).windows(2) {
            if link[0] == owner {
                break;
            }
            let (_, arguments) = template::call(self.stage(link[0])).ok_or(Stop)?;
            let parameters = self.stage(link[1]).parameters.as_deref().unwrap_or_default();
            let locals = self.bind(link[1], parameters, arguments, &mut frame)?;
            let (folder, home) = (frame.folder, frame.home);
            // A template sees its own names, and works in the folder of the stage.
            frame = Frame { folder, home, locals, ..Frame::new(self.program, link[1].module) };
        }
        Ok(frame)
    }

    /// Returns the clauses of a stage, its templates' first. One of the same name replaces.
    fn clauses(&self, stage: ItemRef) -> Vec<OwnedClause<'p>> {
        let mut clauses: Vec<OwnedClause<'p>> = Vec::new();
        let mut named: BTreeMap<_, usize> = BTreeMap::new();
        for owner in self.template_chain(stage).into_iter().rev() {
            for clause in &self.stage(owner).clauses {
                let name = name_of(&clause.kind);
                match name.and_then(|name| named.get(&name)) {
                    Some(at) => clauses[*at] = (owner, clause),
                    None => {
                        named.extend(name.map(|name| (name, clauses.len())));
                        clauses.push((owner, clause));
                    }
                }
            }
        }
        clauses
    }

    /// Returns a row as a step, and which steps it needs and why.
    pub(super) fn row_step(
        &mut self,
        stage: ItemRef,
        row: &Row,
        ids: &StepIds,
    ) -> Evaluated<(Step, Needs)> {
        let mut builder = self.step_of(stage, row);
        self.require_lists(stage, row, &mut builder)?;
        let (step, _, needs) = self.assemble(&self.row_of(stage, row), builder, ids)?;
        Ok((step, needs))
    }

    /// Puts a step together from the clauses of its stage, or the program of a service.
    pub(super) fn assembled(
        &mut self,
        subject: &Subject<'p>,
        mut builder: Builder<'p>,
        ids: &StepIds,
    ) -> Evaluated<(Step, Readiness, Needs)> {
        let clauses = self.clauses(subject.item);
        // All clauses may mention them.
        for (owner, clause) in &clauses {
            self.have(subject, *owner, clause, &mut builder)?;
        }
        // A mistake in one clause hides none in another.
        let mut is_whole = true;
        // Inputs have their places and outs their paths before anything mentions them.
        for (owner, clause) in &clauses {
            is_whole &= self.declare(subject, *owner, clause, &mut builder).is_ok();
        }
        // What an input lacks, a script would seem to lack, too.
        if !is_whole {
            return Err(Stop);
        }
        for (owner, clause) in &clauses {
            is_whole &= self.clause(subject, *owner, clause, &mut builder).is_ok();
        }
        if is_whole { self.finish_step(builder, ids) } else { Err(Stop) }
    }

    fn step_of(&mut self, stage: ItemRef, row: &Row) -> Builder<'p> {
        let mut builder = self.blank(stage, stage.module);
        builder.step.name = self.row_name(stage, row);
        builder.step.row.clone_from(&row.texts);
        builder.step.row_dir.clone_from(&row.dir);
        builder
    }

    /// Returns a step of that stage, or the program of that service, that runs nothing yet. It works
    /// in the folder of `home`.
    pub(super) fn blank(&mut self, item: ItemRef, home: ModuleId) -> Builder<'p> {
        let tree = self.stage(item);
        let kind = step_kind(tree.kind);
        let step = Step {
            name: self.stage_name(item),
            stage: self.stage_name(item),
            row: IndexMap::new(),
            row_dir: String::new(),
            kind,
            place: self.place_of(tree.name.span),
            folder: self.program.module(home).folder().to_owned(),
            root: Root::Host,
            tools: Vec::new(),
            inputs: Vec::new(),
            env: IndexMap::new(),
            secrets: Vec::new(),
            services: Vec::new(),
            commands: Vec::new(),
            outs: Vec::new(),
            require: Vec::new(),
            network: if kind == StepKind::Build { Network::None } else { Network::Loopback },
            limits: Limits::default(),
            retries: 0,
            may_fail: false,
            keep: Vec::new(),
            pools: IndexMap::new(),
            platform: None,
        };
        Builder {
            step,
            inputs: Inputs::default(),
            root: None,
            root_span: None,
            tools: Vec::new(),
            require: Vec::new(),
            outs: Arc::default(),
            out_paths: OutPaths::default(),
            services: Vec::new(),
            network: None,
            readiness: Readiness::default(),
            secret_span: None,
        }
    }

    fn finish_step(
        &mut self,
        mut builder: Builder<'p>,
        ids: &StepIds,
    ) -> Evaluated<(Step, Readiness, Needs)> {
        let id = |row: RowRef| {
            let id = ids[&row.stage][row.row as usize];
            id.expect("the outs of a row that is no step are `none`")
        };
        let needed = builder.inputs.reasons.iter().chain(&builder.require).map(|(row, _)| *row);
        self.await_rows(needed)?;
        self.keeps_no_secret(&builder)?;
        self.keeps_its_own_root(&builder)?;
        let mut needs = self.serve(&mut builder, ids)?;
        let Builder { mut step, mut inputs, root, tools, require, readiness, .. } = builder;
        for (out, span) in inputs.unmentioned() {
            let message = format!(
                "no script of `{}` mentions `{out}`, which Kiln puts where only a hole can find it",
                step.stage
            );
            let problem = Diagnostic::warning(Code::INPUT_NEVER_USED, span, message)
                .help("say where it stands: at \"path\", or mention it in a hole; a hole alone makes it an input, too");
            self.diagnostics.push(problem);
        }
        for (row, span) in &require {
            inputs.reasons.push((*row, *span));
            step.require.push(id(*row));
        }
        step.require.extend(needs.iter().map(|(step, _)| *step));
        step.require.sort_unstable();
        step.require.dedup();
        let mut reasons: Needs =
            inputs.reasons.iter().map(|(row, span)| (id(*row), *span)).collect();
        reasons.append(&mut needs);
        let placed = |artifact: &ArtifactValue| Artifact {
            step: id(artifact.row),
            out: artifact.out.clone(),
            part: artifact.part.clone(),
        };
        if let Some(root) = root {
            step.root = Root::Artifact(placed(&root));
        }
        for tool in tools {
            match tool {
                Value::Tool(tool) => step.tools.push((*tool).clone()),
                Value::Artifact(artifact) => step.tools.push(Tool::Artifact(placed(&artifact))),
                _ => return Err(Stop),
            }
        }
        reasons.dedup();
        inputs.forget_repeated(&self.file_sets);
        let file_sets = &mut self.file_sets;
        let mut intern = |set| crate::plan::artifact::FileSetId::new(file_sets.insert_full(set).0);
        step.inputs = inputs.finish(&mut intern, &id);
        step.shrink();
        Ok((step, readiness, reasons))
    }

    /// Takes in the clauses that say where things stand.
    fn declare(
        &mut self,
        subject: &Subject<'p>,
        owner: ItemRef,
        clause: &'p Clause,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        match &clause.kind {
            ClauseKind::In { value, at } => {
                let mut frame = self.served_frame(subject, owner, builder)?;
                let taken = self.expr(value, &mut frame)?;
                let at = match at {
                    Some(at) => Some(self.build_path(at, &mut frame)?),
                    None => None,
                };
                self.place(&taken, at.as_deref(), value.span, &mut builder.inputs)
            }
            // What a service says is found out by who asks.
            ClauseKind::Out { .. } if builder.step.kind == StepKind::Service => Ok(()),
            ClauseKind::Out { name, ty, path } => {
                let mut frame = self.served_frame(subject, owner, builder)?;
                self.out(name, ty, path.as_ref(), &mut frame, builder)
            }
            _ => Ok(()),
        }
    }

    /// Returns the build path that a text written in a clause means.
    fn build_path(&mut self, written: &'p Expr, frame: &mut Frame<'p>) -> Evaluated<String> {
        let text = self.plain(written, frame)?;
        self.path_in_build(&text, written.span, frame.folder)
    }

    /// Returns the build path that a text means which counts from `folder`.
    pub(super) fn path_in_build(
        &mut self,
        text: &str,
        span: Span,
        folder: &str,
    ) -> Evaluated<String> {
        let why = match files::project_path(folder, text) {
            None => "leaves the project",
            Some(path) if path.is_empty() => "is the whole project",
            Some(path) if files::below(".kiln", &path).is_some() => "is Kiln's own place",
            Some(path) => return Ok(path),
        };
        let message = format!("the path {text:?} {why}");
        let help = "paths count from the folder of the stage's file; start with `/` to count from the project's root";
        self.fail(Diagnostic::error(Code::BAD_PATH, span, message).help(help))
    }

    fn out(
        &mut self,
        name: &Name,
        ty: &TypeExpr,
        path: Option<&'p Expr>,
        frame: &mut Frame<'p>,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        let kind = super::expr::out_kind(&ty.kind);
        let at = match path {
            _ if kind == OutKind::Image => KEPT_ROOT.to_owned(),
            Some(path) => self.build_path(path, frame)?,
            None => format!(".kiln/out/{}", name.text),
        };
        let span = path.map_or(name.span, |path| path.span);
        if let Err(other) = builder.out_paths.add(&at, builder.step.outs.len()) {
            if kind == OutKind::Image {
                return self.two_roots(&builder.step.outs[other].name, name);
            }
            let problem = self.clash_of(&name.text, &at, &builder.step.outs[other], span);
            return self.fail(problem);
        }
        builder.root_span = builder.root_span.or((kind == OutKind::Image).then_some(ty.span));
        Arc::make_mut(&mut builder.outs).insert(name.text.clone(), at.as_str().into());
        builder.step.outs.push(Out {
            name: name.text.clone(),
            is_placed: path.is_none() && kind != OutKind::Image,
            kind,
            path: at,
            is_optional: matches!(ty.kind, TypeKind::Optional(_)),
        });
        Ok(())
    }

    /// Takes in the clauses that say what runs, and how.
    fn clause(
        &mut self,
        subject: &Subject<'p>,
        owner: ItemRef,
        clause: &'p Clause,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        let mut frame = self.served_frame(subject, owner, builder)?;
        frame.outs = Arc::clone(&builder.outs);
        let folder = frame.folder;
        match &clause.kind {
            ClauseKind::In { .. } | ClauseKind::Out { .. } | ClauseKind::Service { .. } => Ok(()),
            ClauseKind::Env { name, value } => {
                let found = self.expr(value, &mut frame)?;
                if found != Value::None {
                    let text = self.step_text(&found, value.span, folder, &mut builder.inputs)?;
                    builder.step.env.insert(name.text.clone(), text);
                }
                Ok(())
            }
            ClauseKind::Secret { uses, is_file } => {
                uses.iter().try_for_each(|used| self.secret(used, *is_file, &frame, builder))
            }
            ClauseKind::Field { name, value } => self.field(name, value, &mut frame, builder),
            ClauseKind::Argv(argv) => {
                let found = self.expr(argv, &mut frame)?;
                let mut arguments = Vec::new();
                self.words(&found, argv.span, folder, builder, &mut arguments)?;
                if arguments.is_empty() {
                    let message = "an empty list runs nothing";
                    return self.fail(
                        Diagnostic::error(Code::NOTHING_TO_RUN, argv.span, message)
                            .help("name a program: run [\"make\", \"all\"]"),
                    );
                }
                let place = self.place_of(clause.span);
                builder.step.commands.push(Command::Argv { arguments, place });
                Ok(())
            }
            ClauseKind::Script { language, script } => match &script.kind {
                ExprKind::String(literal) => {
                    let place = self.place_of(clause.span);
                    let command = self.script(*language, literal, place, &mut frame, builder)?;
                    builder.step.commands.push(command);
                    Ok(())
                }
                _ => Err(Stop),
            },
        }
    }

    /// Puts the elements of nested lists behind each other as texts; `none` is no word.
    pub(super) fn words(
        &mut self,
        value: &Value,
        span: Span,
        folder: &str,
        builder: &mut Builder<'p>,
        words: &mut Vec<Text>,
    ) -> Evaluated<()> {
        match value {
            Value::None => Ok(()),
            Value::List(elements) => elements
                .iter()
                .try_for_each(|element| self.words(element, span, folder, builder, words)),
            value => {
                words.push(self.step_text(value, span, folder, &mut builder.inputs)?);
                Ok(())
            }
        }
    }

    fn field(
        &mut self,
        name: &Name,
        value: &'p Expr,
        frame: &mut Frame<'p>,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        let found = self.expr(value, frame)?;
        let step = &mut builder.step;
        match (name.text.as_str(), found) {
            ("image", Value::Root(root)) => step.root = (*root).clone(),
            ("image", Value::Artifact(artifact)) => {
                builder.inputs.reasons.push((artifact.row, value.span));
                builder.root = Some(artifact);
            }
            ("may_fail", Value::Bool(may_fail)) => step.may_fail = may_fail,
            ("network", Value::String(network)) => {
                step.network = match &*network {
                    "none" => Network::None,
                    "loopback" => Network::Loopback,
                    _ => Network::Full,
                };
                builder.network = Some(value.span);
            }
            ("tools", Value::List(tools)) => {
                for tool in tools.iter() {
                    match tool {
                        Value::Folder(path) => {
                            let tree = Tool::Tree { path: path.to_string() };
                            builder.tools.push(Value::Tool(Arc::new(tree)));
                        }
                        Value::Artifact(artifact) => {
                            builder.inputs.reasons.push((artifact.row, value.span));
                            builder.tools.push(tool.clone());
                        }
                        Value::History => {
                            let message = "the history of the project holds no programs";
                            return self.fail(
                                Diagnostic::error(Code::TYPE_MISMATCH, value.span, message)
                                    .help("take it as an input: in host.git.repo"),
                            );
                        }
                        tool => builder.tools.push(tool.clone()),
                    }
                }
            }
            ("platform", found) => {
                let text = self.plain_text(&found, value.span, frame.folder)?;
                step.platform = Some(self.platform(&text, value)?);
            }
            ("port", Value::Int(port)) => {
                let port = self.bounded(port, 1, 65_535, value.span)?;
                builder.readiness.port = u16::try_from(port).ok();
            }
            ("within", Value::Duration(millis)) => builder.readiness.within_millis = millis,
            ("ready", found) => {
                let (folder, mut words) = (frame.folder, Vec::new());
                self.words(&found, value.span, folder, builder, &mut words)?;
                if words.is_empty() {
                    let message = "an empty list checks nothing";
                    return self.fail(
                        Diagnostic::error(Code::NOTHING_TO_RUN, value.span, message)
                            .help("name a program: ready = [\"pg_isready\"]"),
                    );
                }
                builder.readiness.ready = words;
            }
            ("keep", Value::List(_)) => self.keep(value, frame, builder)?,
            ("require", Value::List(stages)) => {
                for stage in stages.iter() {
                    self.requirement(stage, value.span, builder)?;
                }
            }
            (name, found) => match self.limit(name, &found, value.span, builder)? {
                true => {}
                false => return Err(Stop),
            },
        }
        Ok(())
    }

    fn requirement(
        &mut self,
        stage: &Value,
        span: Span,
        builder: &mut Builder<'p>,
    ) -> Evaluated<()> {
        match stage {
            Value::Row(row) => {
                if !self.is_skipped(*row)? {
                    builder.require.push((*row, span));
                }
            }
            Value::Named(Type::Stage(stage) | Type::AllRows(stage)) => {
                let matrix = self.matrix(*stage)?;
                let rows = matrix.steps().map(|row| (RowRef { stage: *stage, row }, span));
                builder.require.extend(rows);
            }
            _ => return Err(Stop),
        }
        Ok(())
    }
}

/// What clauses are taken for: a row of a stage, or a service.
pub(super) struct Subject<'p> {
    pub(super) item: ItemRef,
    /// The module whose folder it works in.
    pub(super) home: ModuleId,
    /// Its axes or parameters.
    pub(super) locals: Vec<(&'p str, Value)>,
}

/// How a service is known to be ready.
pub(super) struct Readiness {
    pub(super) port: Option<u16>,
    pub(super) ready: Vec<Text>,
    pub(super) within_millis: u64,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { port: None, ready: Vec::new(), within_millis: 60_000 }
    }
}

/// A step while it is being put together.
pub(super) struct Builder<'p> {
    pub(super) step: Step,
    pub(super) inputs: Inputs,
    /// Where it says that it keeps its root, if it does.
    pub(super) root_span: Option<Span>,
    /// What another step kept of its root, if it runs on that.
    pub(super) root: Option<Arc<ArtifactValue>>,
    tools: Vec<Value>,
    pub(super) require: Vec<(RowRef, Span)>,
    /// The build paths of its outs, for holes.
    outs: Arc<IndexMap<String, Arc<str>>>,
    out_paths: OutPaths,
    pub(super) services: Vec<OwnService<'p>>,
    /// Where its network is given, if it is.
    pub(super) network: Option<Span>,
    pub(super) readiness: Readiness,
    /// Where it is given its first secret.
    pub(super) secret_span: Option<Span>,
}

/// A service that a step has.
pub(super) struct OwnService<'p> {
    /// Whose clause says so: the stage's own or one of its templates'.
    pub(super) owner: ItemRef,
    pub(super) name: &'p Name,
    pub(super) value: Arc<ServiceValue>,
}

pub(super) fn step_kind(kind: StageKind) -> StepKind {
    match kind {
        StageKind::Build => StepKind::Build,
        StageKind::Test => StepKind::Test,
        StageKind::Service => StepKind::Service,
    }
}

/// Returns the kind and name of a clause that takes the place of another of the same.
fn name_of(clause: &ClauseKind) -> Option<(&'static str, &str)> {
    let (kind, name) = match clause {
        ClauseKind::Out { name, .. } => ("out", name),
        ClauseKind::Env { name, .. } => ("env", name),
        ClauseKind::Service { name, .. } => ("service", name),
        ClauseKind::Field { name, .. } => ("field", name),
        _ => return None,
    };
    Some((kind, &name.text))
}
