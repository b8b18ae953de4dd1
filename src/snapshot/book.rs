//! The book: what went into the keys of steps when they last ran, so that it can be said later what is
//! different. Knows names and digests; does not know how keys are made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::digest::Digest;
use crate::event::What;

/// What went into the key of a step, by name, when it last ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ingredients {
    /// The key.
    pub(crate) key: Option<Digest>,
    /// The [`Items`].
    items: Packed,
    /// The digests of file sets, sorted; their files are in the [`IngredientBook`].
    pub(crate) sets: Vec<Digest>,
}

/// Kind, name and digest of each thing that went into a key.
pub(crate) type Items = Vec<(What, Box<str>, Digest)>;

/// What went into the keys of all steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IngredientBook {
    /// By the step's name.
    pub(crate) steps: BTreeMap<Box<str>, Ingredients>,
    /// Files and what they held, by the digest of the set.
    sets: BTreeMap<Digest, Packed>,
}

/// The files of a set, sorted by path, and what they held.
pub(crate) type SetFiles = Vec<(Box<str>, Digest)>;

/// Something as its bytes: of all that is kept, little is ever asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Packed(Box<[u8]>);

impl Packed {
    fn of<T: Serialize>(value: &T) -> Self {
        Self(postcard::to_stdvec(value).expect("it is plain data").into())
    }
}

impl Ingredients {
    /// Returns what went into `key`.
    pub(crate) fn new(key: Digest, items: &Items, sets: Vec<Digest>) -> Self {
        Self { key: Some(key), items: Packed::of(items), sets }
    }

    /// Returns kind, name and digest of each thing.
    pub(crate) fn items(&self) -> Items {
        postcard::from_bytes(&self.items.0).unwrap_or_default()
    }
}

/// The first line of a book that is kept for itself.
const VERSION: &[u8] = b"kiln made-of 1\n";

impl IngredientBook {
    /// Returns the book as the bytes of a file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let book = postcard::to_stdvec(self).expect("it is plain data");
        [VERSION, &book].concat()
    }

    /// Returns the book of a file; `None` if it is none of this version, or torn.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes.strip_prefix(VERSION)?).ok()
    }

    /// Returns the files of a set.
    pub(crate) fn set(&self, digest: &Digest) -> Option<SetFiles> {
        postcard::from_bytes(&self.sets.get(digest)?.0).ok()
    }

    /// Notes the files of a set.
    pub(crate) fn put_set(&mut self, digest: Digest, files: &SetFiles) {
        self.sets.insert(digest, Packed::of(files));
    }

    /// Takes over what is newer, and drops sets that no step names any more.
    pub(super) fn extend(&mut self, newer: Self) {
        self.steps.extend(newer.steps);
        self.sets.extend(newer.sets);
        let named: BTreeSet<_> =
            self.steps.values().flat_map(|step| step.sets.iter().copied()).collect();
        self.sets.retain(|digest, _| named.contains(digest));
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Packed;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Packed, E> {
                Ok(Packed(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
