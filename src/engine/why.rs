//! Why: what differs between two keys of a step, by name. Knows named digests; does not know how
//! they came about.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::event::{Change, Reason, What};
use crate::snapshot::{IngredientBook, Ingredients, SetFiles};

/// The files of file sets, by the digest of the set.
pub(crate) type Sets = BTreeMap<Digest, SetFiles>;

/// Returns why a step has to run: what differs from `book`, which knows how it was when it last
/// ran. `sets` knows the files of the sets that the step takes now.
pub(crate) fn reasons(
    step: &str,
    now: &Ingredients,
    sets: &Sets,
    book: &IngredientBook,
    has_failed: bool,
) -> Vec<Reason> {
    let result = |change| vec![Reason { what: What::Result, name: String::new(), change }];
    let Some(before) = book.steps.get(step) else { return result(Change::Added) };
    if before.key == now.key {
        return result(if has_failed { Change::Failed } else { Change::Unknown });
    }
    let reasons = differences((before, &|set| book.set(set)), (now, &|set| sets.get(set).cloned()));
    if reasons.is_empty() { result(Change::Unknown) } else { reasons }
}

/// What went into a key, and where the files of its sets are found.
pub(crate) type Known<'a> = (&'a Ingredients, &'a dyn Fn(&Digest) -> Option<SetFiles>);

/// Returns what differs between two keys.
pub(crate) fn differences(
    (before, files_before): Known<'_>,
    (now, files_now): Known<'_>,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let table = |of: &Ingredients| -> BTreeMap<_, _> {
        of.items().into_iter().map(|(what, name, digest)| ((what, name), digest)).collect()
    };
    compare(&table(before), &table(now), |(what, name), change| {
        reasons.push(Reason { what: *what, name: name.to_string(), change });
    });
    let only = |list: &[Digest], other: &[Digest], files: &dyn Fn(&Digest) -> Option<SetFiles>| {
        let own = list.iter().filter(|digest| !other.contains(digest));
        own.filter_map(files).flatten().collect::<BTreeMap<_, _>>()
    };
    let old = only(&before.sets, &now.sets, files_before);
    let new = only(&now.sets, &before.sets, files_now);
    compare(&old, &new, |name, change| {
        reasons.push(Reason { what: What::Input, name: name.to_string(), change });
    });
    reasons
}

fn compare<K: Ord>(
    before: &BTreeMap<K, Digest>,
    now: &BTreeMap<K, Digest>,
    mut say: impl FnMut(&K, Change),
) {
    for (name, digest) in now {
        match before.get(name) {
            None => say(name, Change::Added),
            Some(old) if old != digest => say(name, Change::Changed),
            Some(_) => {}
        }
    }
    for name in before.keys().filter(|name| !now.contains_key(name)) {
        say(name, Change::Removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn ingredients(key: &str, items: &[(What, &str, &str)], sets: &[&str]) -> Ingredients {
        let item = |(what, name, text): &(What, &str, &str)| (*what, (*name).into(), digest(text));
        let items = items.iter().map(item).collect();
        Ingredients::new(digest(key), &items, sets.iter().map(|set| digest(set)).collect())
    }

    fn set(files: &[(&str, &str)]) -> Vec<(Box<str>, Digest)> {
        files.iter().map(|(name, text)| ((*name).into(), digest(text))).collect()
    }

    #[test]
    fn what_differs_is_named() {
        let mut book = IngredientBook::default();
        let old = [(What::Env, "CC", "gcc"), (What::Env, "GONE", "1"), (What::Tool, "cargo", "1")];
        book.steps.insert("a".into(), ingredients("old", &old, &["headers", "one"]));
        book.put_set(digest("headers"), &set(&[("h.h", "h")]));
        book.put_set(digest("one"), &set(&[("a.c", "1"), ("b.c", "b"), ("old.c", "x")]));
        let new = [(What::Env, "CC", "clang"), (What::Tool, "cargo", "1"), (What::Env, "NEW", "")];
        let now = ingredients("new", &new, &["headers", "two"]);
        let sets = [(digest("two"), set(&[("a.c", "2"), ("b.c", "b"), ("new.c", "y")]))].into();
        let reasons = reasons("a", &now, &sets, &book, false);
        let said: Vec<_> = reasons.iter().map(|why| (why.what, &*why.name, why.change)).collect();
        assert_eq!(
            said,
            [
                (What::Env, "CC", Change::Changed),
                (What::Env, "NEW", Change::Added),
                (What::Env, "GONE", Change::Removed),
                (What::Input, "a.c", Change::Changed),
                (What::Input, "new.c", Change::Added),
                (What::Input, "old.c", Change::Removed),
            ]
        );
    }

    #[test]
    fn a_step_with_the_same_key_runs_because_of_its_result() {
        let mut book = IngredientBook::default();
        let now = ingredients("key", &[], &[]);
        let change = |book: &IngredientBook, failed| {
            let why = reasons("a", &now, &Sets::new(), book, failed);
            assert_eq!((why.len(), why[0].what), (1, What::Result));
            why[0].change
        };
        assert_eq!(change(&book, false), Change::Added);
        book.steps.insert("a".into(), now.clone());
        assert_eq!(change(&book, true), Change::Failed);
        assert_eq!(change(&book, false), Change::Unknown);
    }
}
