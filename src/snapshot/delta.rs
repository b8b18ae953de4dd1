//! Deltas: what a run learned, as a change of what was known before it. Knows when a snapshot need not be
//! written anew; does not know the file.
//!
//! Each is a change of just the file that was read: one that another run has added to since is written
//! anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::files::Files;

use super::memory::FileChanges;
use super::stat::Clock;
use super::watched::Folders;
use super::{Clean, CleanChange, Cleaned, IngredientBook, Learned, Snapshot, StepMemory, cleans};

/// A change of a [`Snapshot`].
#[derive(Serialize, Deserialize)]
pub(super) struct Delta {
    pub(super) files: FileChanges,
    /// Whether files hold something else than before: then other runs have something to do.
    has_news: bool,
    pub(super) folders: Folders,
    pub(super) steps: BTreeMap<String, StepMemory>,
    pub(super) ingredients: IngredientBook,
    clean: CleanChange,
}

impl Delta {
    /// Returns what a run learned as a change of the snapshot it had; if it is none, what it learned.
    pub(super) fn new(
        snapshot: &Snapshot,
        learned: Learned,
        files: &dyn Files,
        clock: Clock,
    ) -> Result<Self, Box<Learned>> {
        let is_known = |(name, tool): (&String, _)| snapshot.state.tools.get(name) == Some(tool);
        let is_change = learned.plan.is_none()
            && matches!(learned.clean, Cleaned::Change(_))
            && learned.tools.iter().all(is_known)
            && !snapshot.memory.has_newly_taken()
            && !snapshot.memory.has_much_news();
        let Learned { steps, ingredients, clean: Cleaned::Change(clean), .. } = learned else {
            return Err(Box::new(learned));
        };
        if !is_change {
            let clean = Cleaned::Change(clean);
            return Err(Box::new(Learned { steps, ingredients, clean, ..learned }));
        }
        let moved = |notes: &super::Notes| notes.moved(files, &snapshot.root, clock);
        let made_from = snapshot.state.made_from.as_ref();
        let (news, has_news) = snapshot.memory.news(clock);
        Ok(Self {
            files: news,
            has_news,
            folders: made_from.map(|made_from| moved(&made_from.notes)).unwrap_or_default(),
            steps,
            ingredients,
            clean,
        })
    }

    /// Returns what the run learned.
    pub(super) fn into_learned(self) -> Learned {
        let Self { steps, ingredients, clean, .. } = self;
        Learned { steps, ingredients, clean: Cleaned::Change(clean), ..Learned::default() }
    }

    /// Returns whether it changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        let changes_steps = !self.steps.is_empty() || !self.ingredients.steps.is_empty();
        self.files.is_empty()
            && self.folders.is_empty()
            && !changes_steps
            && self.clean == CleanChange::nothing()
    }

    pub(super) fn change_cleans(&self, kept: Vec<Clean>) -> Vec<Clean> {
        cleans(kept, Cleaned::Change(self.clean.clone()), !self.has_news)
    }
}
