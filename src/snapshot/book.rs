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
    /// Kind, name and digest of each thing.
    pub(crate) items: Vec<(What, Box<str>, Digest)>,
    /// The digests of file sets, sorted; their files are in the [`IngredientBook`].
    pub(crate) sets: Vec<Digest>,
}

/// What went into the keys of all steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IngredientBook {
    /// By the step's name.
    pub(crate) steps: BTreeMap<Box<str>, Ingredients>,
    /// Files and what they held, by the digest of the set.
    sets: BTreeMap<Digest, PackedSet>,
}

/// The files of a set, sorted by path, and what they held.
pub(crate) type FileSet = Vec<(Box<str>, Digest)>;

/// A [`FileSet`] as its bytes: few of those in a book are ever asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PackedSet(Vec<u8>);

impl IngredientBook {
    /// Returns the files of a set.
    pub(crate) fn set(&self, digest: &Digest) -> Option<FileSet> {
        postcard::from_bytes(&self.sets.get(digest)?.0).ok()
    }

    /// Notes the files of a set.
    pub(crate) fn put_set(&mut self, digest: Digest, files: &FileSet) {
        let packed = postcard::to_stdvec(files).expect("it is plain data");
        self.sets.insert(digest, PackedSet(packed));
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

impl Serialize for PackedSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for PackedSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = PackedSet;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<PackedSet, E> {
                Ok(PackedSet(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
