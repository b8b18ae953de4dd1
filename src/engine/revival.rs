//! Revival: what steps made that this run did not look at is found, and what the store has lost is made
//! again. Knows which step makes what another needs; does not know why it was lost.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::cache::Node;
use crate::digest::Digest;
use crate::event::{Event, Warning};
use crate::plan::step::{Step, StepId};

use super::attempt::{Done, MAX_ROUNDS, Shop, execute, send};
use super::error::StepError;
use super::locked;
use super::outs;
use super::ready::Unlaid;
use super::run::Message;

/// Runs the steps again that made what `step` needs and the store has lost. One thread at a time:
/// the others then find it there.
pub(super) fn revive(
    shop: &Shop,
    step: &Step,
    digest: Digest,
    say: &SyncSender<Message>,
) -> Result<(), StepError> {
    let _one = locked(&shop.revival);
    mend(shop, step, digest, say)
}

fn mend(
    shop: &Shop,
    step: &Step,
    digest: Digest,
    say: &SyncSender<Message>,
) -> Result<(), StepError> {
    for producer in producers(step) {
        let made = shop.made_by(producer);
        if made.values().all(|node| is_there(shop, node)) {
            continue;
        }
        make_lost(shop, producer, digest, say)?;
    }
    Ok(())
}

/// Runs a step whose result is lost, and says so.
fn make_lost(
    shop: &Shop,
    id: StepId,
    digest: Digest,
    say: &SyncSender<Message>,
) -> Result<(), StepError> {
    let name = &shop.plan.step(id).name;
    if !shop.pantry.stores.have_moved() {
        let message = format!("the cache lost what `{name}` made; it runs again");
        send(say, Event::Warning(Warning { message, help: None, step: Some(name.clone()) }));
    }
    let done = make_again(shop, id, say)?;
    if !done.has_passed() {
        return Err(StepError::Lost { digest });
    }
    *locked(&shop.made[id.index()]) = Some(done.made);
    Ok(())
}

/// As [`supply`], for the one thread that may make lost results again.
fn supply(shop: &Shop, step: &Step, say: &SyncSender<Message>) -> Result<(), StepError> {
    for id in producers(step) {
        if let Some(key) = shop.spared.key(id).filter(|_| !shop.has_looked_at(id))
            && !find(shop, id)
        {
            make_lost(shop, id, key, say)?;
        }
    }
    Ok(())
}

/// Finds what a spared step made in the store; returns whether it is there.
fn find(shop: &Shop, id: StepId) -> bool {
    let Some(key) = shop.spared.key(id) else { return true };
    let hit = shop.pantry.store().lookup(key);
    let made = hit.and_then(|hit| outs::of_hit(shop.plan.step(id), hit.outs));
    let is_there = made.is_some();
    if let Some(made) = made {
        *locked(&shop.made[id.index()]) = Some(Arc::new(made));
    }
    is_there
}

/// Returns the steps that `step` and its services wait for.
pub(super) fn producers(step: &Step) -> Vec<StepId> {
    let mut producers: Vec<_> = step.needs().collect();
    producers.sort_unstable();
    producers.dedup();
    producers
}

/// Runs a step whose result is lost, without a look at the cache.
fn make_again(shop: &Shop, id: StepId, say: &SyncSender<Message>) -> Result<Done, StepError> {
    let step = shop.plan.step(id);
    for _ in 0..MAX_ROUNDS {
        supply(shop, step, say)?;
        let ready = shop.pantry.ready(step, &|id| shop.made_by(id))?;
        match shop.pantry.lay_out(&ready) {
            Ok(laid) => return execute(shop, id, &ready, &laid, say),
            Err(Unlaid::Failed(error)) => return Err(error),
            Err(Unlaid::Stale) => {}
            Err(Unlaid::Lost(digest)) => {
                shop.pantry.take_again();
                mend(shop, step, digest, say)?;
            }
        }
    }
    Err(StepError::Restless { path: step.name.clone() })
}

fn is_there(shop: &Shop, node: &Node) -> bool {
    match node {
        Node::File { blob, .. } => shop.pantry.store().has(*blob),
        Node::Link { .. } => true,
        Node::Directory(tree) => shop.pantry.store().missing(tree).is_empty(),
    }
}
