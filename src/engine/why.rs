//! Why: what differs between two keys of a step, by name. Knows named digests; does not know how
//! they came about.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::event::{Change, Reason, What};

/// Returns what differs between two lists of named digests.
pub(crate) fn differences(
    what: What,
    before: &[(String, Digest)],
    now: &[(String, Digest)],
    other: Change,
) -> Vec<Reason> {
    let before: BTreeMap<_, _> = before.iter().map(|(name, digest)| (name, digest)).collect();
    let now: BTreeMap<_, _> = now.iter().map(|(name, digest)| (name, digest)).collect();
    let mut reasons = Vec::new();
    let mut say = |name: &str, change| reasons.push(Reason { what, name: name.to_owned(), change });
    for (name, digest) in &now {
        match before.get(name) {
            None => say(name, Change::Added),
            Some(old) if old != digest => say(name, other),
            Some(_) => {}
        }
    }
    for name in before.keys().filter(|name| !now.contains_key(**name)) {
        say(name, Change::Removed);
    }
    reasons.sort_unstable();
    reasons
}
