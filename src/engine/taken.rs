//! What is taken into the store as a whole, once: folders of tools, and the roots of steps. Knows when
//! it may have changed; does not know which step asks.

use std::path::Path;

use crate::cache::{Blob, Store, Tree};
use crate::digest::Digest;
use crate::facts::Fact;
use crate::facts::history::History;
use crate::image;
use crate::plan::Plan;
use crate::plan::step::{Root, Step, Tool};
use crate::snapshot::memory::Seen;
use crate::snapshot::stat::Stat;

use super::error::StepError;
use super::inputs::Pantry;
use super::ready::Layer;
use super::{locked, tool_tree};

/// Something to take: a project path, or an absolute path of the machine.
pub(super) enum Taken<'a> {
    /// All that is in a folder.
    Folder { path: &'a str },
    /// All that is in an archive of one.
    Archive { path: &'a str },
    /// An image of an image layout.
    Image { path: &'a str, platform: String },
}

impl<'a> Taken<'a> {
    /// Returns what a root at `path` is, by what stands there.
    pub(super) fn of_root(path: &'a str, project: &Path) -> Self {
        match project.join(path).is_dir() {
            true => Self::Folder { path },
            false => Self::Archive { path },
        }
    }

    fn path(&self) -> &'a str {
        match self {
            Self::Folder { path } | Self::Archive { path } | Self::Image { path, .. } => path,
        }
    }
}

impl Pantry<'_> {
    /// Forgets what was taken into the store: it lost something.
    pub(crate) fn take_again(&self) {
        locked(&self.taken).clear();
    }

    /// Returns whether something was taken before, and is as it was.
    pub(super) fn is_taken(&self, what: &Taken<'_>) -> bool {
        self.state(what).is_ok_and(|(name, stat)| self.memory.taken(&name, &stat).is_some())
    }

    /// Returns the tree of a folder, archive or image, which is taken into the store once.
    pub(super) fn taken(&self, what: &Taken<'_>) -> Result<Tree, StepError> {
        let (name, stat) = self.state(what)?;
        self.once(name, stat, |store| {
            let (path, called) = (self.project.join(what.path()), Path::new(what.path()));
            Ok(match what {
                Taken::Folder { .. } => tool_tree::take(store, &path)?,
                Taken::Archive { .. } => image::of_archive(store, &path, called)?,
                Taken::Image { platform, .. } => image::of_layout(store, &path, called, platform)?,
            })
        })
    }

    /// Returns the tree that `name` and `stat` name, and makes it unless the store has it.
    fn once(
        &self,
        name: String,
        stat: Stat,
        make: impl FnOnce(&Store) -> Result<Tree, StepError>,
    ) -> Result<Tree, StepError> {
        let mut taken = locked(&self.taken);
        let store = self.store();
        let place = (store.path().to_owned(), name.clone());
        if let Some(tree) = taken.get(&place) {
            return Ok(tree.clone());
        }
        let before = self.memory.taken(&name, &stat).map(|(digest, size)| Blob { digest, size });
        let tree = match before.and_then(|root| store.tree(root).ok()) {
            Some(tree) if store.missing(&tree).is_empty() => tree,
            _ => make(store)?,
        };
        let root = store.put_tree(&tree)?;
        self.memory.note_taken(&name, stat, (root.digest, root.size));
        taken.insert(place, tree.clone());
        Ok(tree)
    }

    /// Returns what the project's history is, as the fact describes it.
    pub(super) fn description(&self) -> &str {
        self.plan.facts.get(&Fact::GitRepo.full_name()).map_or("", String::as_str)
    }

    /// Returns a layer as it is laid out: with the history itself in place of what describes it.
    pub(super) fn in_full(&self, layer: &Layer) -> Result<Layer, StepError> {
        let Some(at) = &layer.history else { return Ok(layer.clone()) };
        let mut tree = Tree::default();
        tree.merge(at, &self.history()?)?;
        Ok(Layer::made(tree))
    }

    /// Returns the project's history, which is made once for each description.
    fn history(&self) -> Result<Tree, StepError> {
        // It is all that decides, so that there is no state to look at.
        let (description, stat) = (self.description(), Stat::default());
        let name = format!("history {} .git", Digest::of(description.as_bytes()));
        self.once(name, stat, |store| {
            let failed = |source| StepError::History { source };
            let folder = tempfile::tempdir_in(store.scratch()).map_err(failed)?;
            History::parse(description)
                .write(&self.project, self.host.environment(), folder.path())
                .map_err(failed)?;
            tool_tree::take(store, folder.path())
        })
    }

    /// Returns what names something in the state that it is in, and the stat data of what tells that
    /// state. Folders of the machine are believed to be as they were if they themselves are: they are
    /// large, and of whole installations. What is the project's is looked at as a whole.
    fn state(&self, what: &Taken<'_>) -> Result<(String, Stat), StepError> {
        let path = what.path();
        let place = self.project.join(path);
        let failed = |source| StepError::Source { path: path.to_owned(), source };
        let is_ours = Path::new(path).is_relative();
        let (kind, told_by) = match what {
            Taken::Folder { .. } if is_ours => {
                let (state, stat) = tool_tree::state(&place)?;
                return Ok((format!("folder {state} {path}"), stat));
            }
            Taken::Folder { .. } => ("folder".to_owned(), path.to_owned()),
            Taken::Archive { .. } => ("archive".to_owned(), path.to_owned()),
            Taken::Image { platform, .. } => {
                let names = ["index.json", "manifest.json"];
                let named = names.into_iter().find(|name| place.join(name).is_file());
                let told_by = named.map_or(path.to_owned(), |name| format!("{path}/{name}"));
                (format!("image {platform}"), told_by)
            }
        };
        let stat = Stat::of(&self.project.join(&told_by)).map_err(failed)?;
        let content = match is_ours.then(|| self.memory.look(&told_by)) {
            Some(seen) => match seen.map_err(failed)? {
                Seen::File { digest, .. } => digest.to_hex(),
                Seen::Link(_) | Seen::Odd => String::new(),
            },
            None => String::new(),
        };
        Ok((format!("{kind} {content} {path}"), stat))
    }
}

/// Returns whether a plan takes folders, archives or images of the project as a whole, whose files no
/// other part of the plan names.
pub(super) fn takes_of_project(plan: &Plan) -> bool {
    let is_ours = |path: &String| Path::new(path).is_relative();
    let takes = |step: &Step| {
        let root = match &step.root {
            Root::Tree { path } | Root::Layout { path } => is_ours(path),
            Root::Host | Root::Artifact(_) => false,
        };
        root || step.tools.iter().any(|tool| match tool {
            Tool::Tree { path } => is_ours(path),
            Tool::Host { .. } | Tool::Artifact(_) => false,
        })
    };
    plan.steps.iter().chain(plan.services.iter().map(|service| &service.program)).any(takes)
}
