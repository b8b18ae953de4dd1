//! Inputs: what stands in a step's working tree, as trees that the store can lay out. Knows files
//! of the project, outs of other steps, scripts and tools; does not run anything.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use indexmap::IndexMap;

use crate::cache::{Blob, CacheError, Folder, Node, Store, Tree};
use crate::digest::Digest;
use crate::event::What;
use crate::facts::Fact;
use crate::files;
use crate::plan::Plan;
use crate::plan::artifact::{Artifact, Input};
use crate::plan::step::{Root, SecretUse, Step, StepId, Text, Tool};
use crate::secret::Vault;
use crate::snapshot::Ingredients;
use crate::snapshot::memory::{Memory, Seen};

use super::error::StepError;
use super::host::{Host, HostTool};
use super::key::{self, Level};
use super::line::{Line, TOOLS, line};
use super::ready::{Laid, Layer, Placed, Ready, Unlaid, digest_of};
use super::stores::Stores;
use super::taken::Taken;
use super::why::Sets;
use super::{locked, platform};

/// A directory out with more entries than this is a layer of its own, laid out once for all steps
/// that take it; smaller ones are laid out together with the step's own files.
const LARGE_ENTRIES: u64 = 32;

/// How many layers are held between steps; each holds a file open.
const MAX_HELD: usize = 64;

/// How many times a file that is edited while it is taken in is tried again.
const MAX_TRIES: usize = 5;

/// What is needed to make a step ready, shared by all steps of a run.
pub(crate) struct Pantry<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) project: PathBuf,
    pub(crate) memory: &'a Memory,
    pub(crate) stores: Stores<'a>,
    pub(crate) host: &'a Host,
    pub(crate) level: Level,
    vault: &'a Vault,
    sets: Mutex<IndexMap<Placed, Layer>>,
    /// Trees named by `tree(…)`, taken into each store once a run: by the store's folder and theirs.
    pub(super) taken: Mutex<IndexMap<(PathBuf, String), Tree>>,
    /// The layers that were laid out last: the next step likely takes the same.
    folders: Mutex<IndexMap<Digest, Arc<Folder>>>,
}

/// Returns the outs of a step that is done.
pub(crate) type OutsOf<'a> = &'a dyn Fn(StepId) -> Arc<IndexMap<String, Node>>;

impl<'a> Pantry<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        project: PathBuf,
        memory: &'a Memory,
        stores: Stores<'a>,
        (host, level): (&'a Host, Level),
        vault: &'a Vault,
    ) -> Self {
        let (sets, taken, folders) = Default::default();
        Self { plan, project, memory, stores, host, level, vault, sets, taken, folders }
    }

    /// Returns the step with all its inputs by content, and its key.
    ///
    /// # Errors
    /// If an input cannot be had or two of them cannot stand beside each other.
    pub(crate) fn ready(&self, step: &Step, outs: OutsOf) -> Result<Ready, StepError> {
        self.refuse_unsupported(step)?;
        let mut own = Tree::default();
        own.merge(&step.folder, &Tree::default())?;
        let (mut layers, mut items) = (Vec::new(), Vec::new());
        for input in &step.inputs {
            match input {
                Input::Files { set, strip, at } => {
                    let placed = Placed { set: *set, strip: strip.clone(), at: at.clone() };
                    layers.push(self.set(placed)?);
                }
                Input::History { at } => {
                    let blob = Blob::of(self.description().as_bytes());
                    let mut tree = Tree::default();
                    tree.insert(at, Node::File { blob, executable: false })?;
                    layers.push(Layer { history: Some(at.clone()), ..Layer::made(tree) });
                    items.push((What::Input, Fact::GitRepo.full_name().into(), blob.digest));
                }
                Input::Artifact { artifact, at } => {
                    let node = self.artifact(artifact, outs)?;
                    items.push((What::Upstream, self.name(artifact), digest_of(node.as_ref())));
                    match node {
                        Some(Node::Directory(tree)) if tree.entries() > LARGE_ENTRIES => {
                            let mut layer = Tree::default();
                            layer.merge(at, &tree)?;
                            layers.push(Layer::made(layer));
                        }
                        Some(node) => own.insert(at, node)?,
                        None => {}
                    }
                }
            }
        }
        let (tools, host_tools, path) = self.tools(step, outs)?;
        items.extend(tools.iter().map(|(at, tree)| {
            let name = at.rsplit('/').next().unwrap_or(at);
            (What::Tool, name.into(), tree.root().digest)
        }));
        let line = line(step, &path);
        let mut scripts = Vec::new();
        for (at, text) in &line.scripts {
            let blob = Blob::of(text.as_bytes());
            own.insert(at, Node::File { blob, executable: false })?;
            scripts.push(text.clone().into_bytes());
        }
        layers.insert(0, Layer::made(own));
        let root = self.root(step, outs)?;
        let inputs = whole(&layers, &tools)?;
        refuse_links_astray(&inputs, &layers)?;
        let named: Vec<_> =
            host_tools.iter().map(|tool| (tool.name.clone(), tool.digest)).collect();
        let services: Vec<_> = self
            .plan
            .services_of(step)
            .map(|(_, service)| self.ready(&service.program, outs))
            .collect::<Result<_, _>>()?;
        let service_digests: Vec<_> = (self.plan.services_of(step).zip(&services))
            .map(|((_, service), ready)| key::of_service(service, ready.key))
            .collect();
        let named_services = self.plan.services_of(step).zip(&service_digests);
        let named_services =
            named_services.map(|((name, _), digest)| (What::Service, name.into(), *digest));
        let fingerprints = self.fingerprints(step)?;
        let ingredients = key::Ingredients {
            line: &line,
            secrets: &fingerprints,
            inputs: &inputs,
            root: root.as_ref().map_or_else(|| self.host.digest(), |tree| tree.root().digest),
            host_tools: &named,
            services: &service_digests,
            level: self.level,
        };
        let key = key::key(step, &ingredients)?;
        let kept = match step.keep.is_empty() {
            true => key,
            false => key::of_kept(step, &ingredients, &tools, &self.project),
        };
        items.extend(named_services);
        items.push((What::Host, "system".into(), ingredients.root));
        items.extend(named.into_iter().map(|(name, digest)| (What::Tool, name.into(), digest)));
        let mut ingredients = self.ingredients(step, key, items, (&line, &layers), &fingerprints);
        ingredients.sets.extend(services.iter().flat_map(|ready| &ready.ingredients.sets));
        Ok(Ready {
            key,
            line,
            ingredients,
            layers,
            tools,
            host_tools,
            root,
            scripts,
            kept,
            services,
        })
    }

    /// Returns what stands in the key for the value of each secret; `None` where the value is no part of
    /// it.
    fn fingerprints(&self, step: &Step) -> Result<Vec<Option<Digest>>, StepError> {
        let of = |used: &SecretUse| self.vault.fingerprint(&used.secret);
        let prints =
            step.secrets.iter().map(|used| used.affects_cache.then(|| of(used)).transpose());
        Ok(prints.collect::<Result<_, _>>()?)
    }

    fn refuse_unsupported(&self, step: &Step) -> Result<(), StepError> {
        let what = match step {
            // All steps would share the host's network, and its ports.
            step if !step.services.is_empty() && self.level == Level::Weak => {
                "services in the weak sandbox"
            }
            // Only a namespace can have another `/`.
            step if step.root != Root::Host && self.level == Level::Weak => {
                "a root of its own in the weak sandbox"
            }
            _ => return Ok(()),
        };
        Err(StepError::Unsupported { what: what.to_owned() })
    }

    /// Names what went into a key, so that it can be said later what was different.
    fn ingredients(
        &self,
        step: &Step,
        key: Digest,
        mut items: Vec<(What, Box<str>, Digest)>,
        (line, layers): (&Line, &[Layer]),
        secrets: &[Option<Digest>],
    ) -> Ingredients {
        let text = |text: &Text| Digest::of(format!("{text:?}").as_bytes());
        items.extend(
            step.env.iter().map(|(name, value)| (What::Env, name.as_str().into(), text(value))),
        );
        items.extend(step.secrets.iter().zip(secrets).map(|(used, fingerprint)| {
            let mut what = format!("secret {} {}", used.is_file, used.secret);
            what.extend(fingerprint.map(|value| format!(" {value}")));
            (What::Env, used.variable.as_str().into(), Digest::of(what.as_bytes()))
        }));
        let scripts = line.scripts.iter().map(|(_, text)| Digest::of(text.as_bytes()));
        let words = line.argv.iter().map(text);
        // Values of holes stand in the environment of the line, not in that of the step. Their names
        // there tell nobody anything.
        let holes = line.env.iter().filter(|(name, _)| !step.env.contains_key(*name));
        let holes = holes.map(|(_, value)| text(value));
        let run = scripts.chain(words).chain(holes).map(Digest::to_hex).collect::<String>();
        items.push((What::Command, Box::default(), Digest::of(run.as_bytes())));
        let mut outs: Vec<_> = step.outs.iter().map(|out| out.path.as_str()).collect();
        outs.sort_unstable();
        items.push((What::Outs, Box::default(), Digest::of(outs.join("\n").as_bytes())));
        for (name, value) in [
            ("network", format!("{:?}", step.network)),
            ("sandbox", self.level.name().to_owned()),
            ("folder", step.folder.clone()),
        ] {
            items.push((What::Setting, name.into(), Digest::of(value.as_bytes())));
        }
        let sources = layers.iter().filter(|layer| layer.source.is_some());
        let mut sets: Vec<_> = sources.map(|layer| layer.tree.root().digest).collect();
        sets.sort_unstable();
        Ingredients::new(key, &items, sets)
    }

    /// Returns the files of all sets that were used, by the digest of the set.
    pub(crate) fn set_files(&self) -> Sets {
        let sets = locked(&self.sets);
        sets.values().map(|layer| (layer.tree.root().digest, self.files(layer))).collect()
    }

    /// Returns the files of the sets that a step takes.
    pub(crate) fn files_of(&self, ready: &Ready) -> Sets {
        let all = [ready].into_iter().chain(&ready.services);
        let layers = all.flat_map(|ready| &ready.layers);
        let sources = layers.filter(|layer| layer.source.is_some());
        sources.map(|layer| (layer.tree.root().digest, self.files(layer))).collect()
    }

    fn files(&self, layer: &Layer) -> Vec<(Box<str>, Digest)> {
        let Some(placed) = &layer.source else { return Vec::new() };
        let file = |path: &String| {
            let rest = path.strip_prefix(&*placed.strip).unwrap_or(path);
            let node = layer.tree.get(format!("{}{rest}", placed.at))?;
            Some((path.as_str().into(), digest_of(Some(node))))
        };
        self.plan.file_set(placed.set).paths.iter().filter_map(file).collect()
    }

    fn name(&self, artifact: &Artifact) -> Box<str> {
        let Artifact { step, out, part } = artifact;
        let step = &self.plan.step(*step).name;
        let name =
            if part.is_empty() { format!("{step}.{out}") } else { format!("{step}.{out}/{part}") };
        name.into()
    }

    /// Returns the store in use. Not to be asked twice where both answers must be the same.
    pub(crate) fn store(&self) -> &Store {
        self.stores.now()
    }

    /// Lays a ready step out on disk, taking in files of the project that the store lacks.
    pub(crate) fn lay_out(&self, ready: &Ready) -> Result<Laid, Unlaid> {
        for script in &ready.scripts {
            self.store().put(script)?;
        }
        let mut layers = Vec::with_capacity(ready.layers.len());
        let all = ready.layers.iter().map(|layer| self.in_full(layer));
        for layer in self.few_layers(all.collect::<Result<_, _>>()?)? {
            if !layer.tree.is_empty() {
                layers.push(self.folder(&layer)?);
            }
        }
        let lone = |tree: &Tree| self.folder(&Layer::made(tree.clone()));
        let mut tools = Vec::new();
        for (at, tree) in &ready.tools {
            tools.push((at.clone(), lone(tree)?));
        }
        let root = ready.root.as_ref().map(lone).transpose()?;
        let host_paths = ready.host_tools.iter().flat_map(|tool| tool.paths.clone()).collect();
        let services = ready.services.iter().map(|ready| self.lay_out(ready));
        let services = services.collect::<Result<_, _>>()?;
        Ok(Laid { layers, tools, root, host_paths, services })
    }

    /// Merges layers of other steps into one if there are more than a mount can hold.
    fn few_layers(&self, layers: Vec<Layer>) -> Result<Vec<Layer>, Unlaid> {
        // What a step keeps takes two more.
        if layers.len() + 2 <= crate::sandbox::MAX_LOWERS {
            return Ok(layers);
        }
        let mut merged = Layer::made(Tree::default());
        for layer in &layers {
            if layer.source.is_some() {
                self.folder(layer)?;
            }
            merged.tree.merge("", &layer.tree).map_err(StepError::from)?;
        }
        Ok(vec![merged])
    }

    fn folder(&self, layer: &Layer) -> Result<Arc<Folder>, Unlaid> {
        let root = layer.tree.root().digest;
        let store = self.store();
        let is_in_use = |folder: &&Arc<Folder>| folder.path().starts_with(store.path());
        if let Some(folder) = locked(&self.folders).get(&root).filter(is_in_use) {
            return Ok(Arc::clone(folder));
        }
        let folder = match (store.materialise(&layer.tree), &layer.source) {
            (Err(CacheError::Missing { .. }), Some(placed)) => {
                self.take_in(layer, placed)?;
                store.materialise(&layer.tree)
            }
            (folder, _) => folder,
        };
        match folder {
            Ok(folder) => {
                let mut folders = locked(&self.folders);
                folders.insert(root, Arc::clone(&folder));
                if folders.len() > MAX_HELD {
                    folders.shift_remove_index(0);
                }
                Ok(folder)
            }
            Err(CacheError::Missing { digest }) => Err(Unlaid::Lost(digest)),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the files of a layer that the store lacks into it.
    fn take_in(&self, layer: &Layer, placed: &Placed) -> Result<(), Unlaid> {
        let mut is_stale = false;
        for (at, blob) in self.store().missing(&layer.tree) {
            let at = at.to_str().expect("project paths are UTF-8");
            let rest = at.strip_prefix(&*placed.at).expect("the layer stands at its place");
            let path = format!("{}{rest}", placed.strip);
            if self.ingest(&path)? != blob {
                is_stale = true;
                self.memory
                    .read_again(&path)
                    .map_err(|source| StepError::Source { path, source })?;
            }
        }
        if is_stale {
            locked(&self.sets).clear();
            return Err(Unlaid::Stale);
        }
        Ok(())
    }

    fn ingest(&self, path: &str) -> Result<Blob, StepError> {
        for _ in 0..MAX_TRIES {
            match self.store().ingest(&self.project.join(path)) {
                Ok((blob, _)) => return Ok(blob),
                Err(CacheError::Changed { .. }) => {}
                Err(CacheError::NotAFile { .. }) => {
                    return Err(StepError::Odd { path: path.to_owned() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StepError::Restless { path: path.to_owned() })
    }

    /// Returns the layer of a file set at its place. Sets are shared: each is made once a run.
    fn set(&self, placed: Placed) -> Result<Layer, StepError> {
        if let Some(layer) = locked(&self.sets).get(&placed) {
            return Ok(layer.clone());
        }
        let (mut tree, mut links) = (Tree::default(), Vec::new());
        for path in &self.plan.file_set(placed.set).paths {
            let rest = path.strip_prefix(&*placed.strip).unwrap_or(path);
            let at = format!("{}{rest}", placed.at);
            let node = self.source(path)?;
            if let Node::Link { target } = &node {
                links.push((at.clone(), String::from_utf8_lossy(target).into_owned()));
            }
            tree.insert(at, node)?;
        }
        let source = Some(placed.clone());
        let layer = Layer { tree, history: None, source, links: links.into() };
        locked(&self.sets).insert(placed, layer.clone());
        Ok(layer)
    }

    fn source(&self, path: &str) -> Result<Node, StepError> {
        let seen = self.memory.look(path);
        match seen.map_err(|source| StepError::Source { path: path.to_owned(), source })? {
            Seen::File { digest, size, executable } => {
                Ok(Node::File { blob: Blob { digest, size }, executable })
            }
            Seen::Link(target) => Ok(Node::Link { target: target.into() }),
            Seen::Odd => Err(StepError::Odd { path: path.to_owned() }),
        }
    }

    /// Returns an out of another step, or a part of it; `None` for an optional one that was not
    /// made.
    fn artifact(&self, artifact: &Artifact, outs: OutsOf) -> Result<Option<Node>, StepError> {
        let producer = self.plan.step(artifact.step);
        let made = outs(artifact.step);
        let Some(node) = made.get(&artifact.out) else {
            return match producer.out(&artifact.out) {
                Some(out) if out.is_optional => Ok(None),
                _ => Err(StepError::NoOut {
                    producer: artifact.step,
                    step: producer.name.clone(),
                    out: artifact.out.clone(),
                }),
            };
        };
        if artifact.part.is_empty() {
            return Ok(Some(node.clone()));
        }
        let part = match node {
            Node::Directory(tree) => tree.get(&artifact.part).cloned(),
            Node::File { .. } | Node::Link { .. } => None,
        };
        part.map(Some).ok_or_else(|| StepError::NoPart {
            step: producer.name.clone(),
            out: artifact.out.clone(),
            part: artifact.part.clone(),
        })
    }

    fn directory(&self, artifact: &Artifact, outs: OutsOf) -> Result<Tree, StepError> {
        match self.artifact(artifact, outs)? {
            Some(Node::Directory(tree)) => Ok(tree),
            _ => Err(StepError::Unsupported {
                what: format!("`{}` as a directory, for it is none", artifact.out),
            }),
        }
    }

    fn root(&self, step: &Step, outs: OutsOf) -> Result<Option<Tree>, StepError> {
        match &step.root {
            Root::Host => Ok(None),
            Root::Artifact(artifact) => self.directory(artifact, outs).map(Some),
            Root::Tree { path } => self.taken(&Taken::of_root(path, &self.project)).map(Some),
            Root::Layout { path } => {
                let platform = step.platform.clone().unwrap_or_else(platform::ours);
                self.taken(&Taken::Image { path, platform }).map(Some)
            }
        }
    }

    /// Returns the tools that stand in the working tree, those of the machine, and what both add
    /// to the `PATH`.
    #[expect(clippy::type_complexity, reason = "three lists that are made together")]
    fn tools(
        &self,
        step: &Step,
        outs: OutsOf,
    ) -> Result<(Vec<(String, Tree)>, Vec<HostTool>, Vec<Text>), StepError> {
        let (mut trees, mut host_tools, mut path) = (Vec::new(), Vec::new(), Vec::new());
        for tool in &step.tools {
            let (name, tree) = match tool {
                Tool::Host { name } => {
                    let tool = self.host.tool(name)?;
                    path.extend(tool.path.iter().map(|folder| Text::literal(folder.clone())));
                    host_tools.push(tool);
                    continue;
                }
                Tool::Tree { path } => {
                    (path.rsplit('/').next(), self.taken(&Taken::Folder { path })?)
                }
                Tool::Artifact(artifact) => {
                    (Some(artifact.out.as_str()), self.directory(artifact, outs)?)
                }
            };
            let at = format!("{TOOLS}/{}-{}", trees.len(), name.unwrap_or_default());
            let has_bin = matches!(tree.get("bin"), Some(Node::Directory(_)));
            path.push(Text::path(if has_bin { format!("{at}/bin") } else { at.clone() }));
            trees.push((at, tree));
        }
        Ok((trees, host_tools, path))
    }
}

/// Puts all layers and tools into one tree, which finds out whether they can be.
fn whole(layers: &[Layer], tools: &[(String, Tree)]) -> Result<Tree, StepError> {
    let mut whole = Tree::default();
    for layer in layers {
        whole.merge("", &layer.tree)?;
    }
    for (at, tree) in tools {
        whole.merge(at, tree)?;
    }
    Ok(whole)
}

/// A link of the project must lead to something that the step is given, too.
fn refuse_links_astray(inputs: &Tree, layers: &[Layer]) -> Result<(), StepError> {
    for (path, target) in layers.iter().flat_map(|layer| layer.links.iter()) {
        let ends = (!target.starts_with('/'))
            .then(|| files::project_path(files::parent(path), target))
            .flatten();
        if !ends.is_some_and(|end| end.is_empty() || inputs.get(&end).is_some()) {
            return Err(StepError::Astray { path: path.clone(), target: target.clone() });
        }
    }
    Ok(())
}
