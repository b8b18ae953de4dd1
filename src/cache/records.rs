//! Records: what a step made when it last ran, filed under its key. Knows outs, logs and costs;
//! does not know how a key comes about.
//!
//! A record is one file, `ac/<2 hex>/<key>`: a line `kiln record 1 <digest>`, then JSON with that
//! digest. The key is also in the JSON, so a record cannot pass for another one's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use super::blobs::{open_file, unreadable};
use super::{Blob, CacheError, Damage, Node, Store, failed};
use crate::digest::Digest;
use crate::planted::{Bug, is_planted};

/// The most bytes in a record's file; a real one has a few hundred.
const MAX_RECORD_BYTES: u64 = 16 << 20;

/// How many blobs one thread looks for before it is worth asking another.
const BLOBS_PER_THREAD: usize = 256;

const HEADER: &str = "kiln record 1 ";

/// The result of a step that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The key of the step with its inputs.
    pub(crate) key: Digest,
    /// The outs by their names.
    pub(crate) outs: BTreeMap<String, Out>,
    /// The frames that the step wrote to its log; `None` if it wrote nothing.
    pub(crate) log: Option<Blob>,
    /// The message that `key` is the digest of, to say later what was different; `None` if it was
    /// not kept. It may be gone: a record is whole without it.
    pub(crate) action: Option<Blob>,
    /// The exit code: always 0, because failures are not kept. Checked on each hit.
    pub(crate) exit_code: i32,
    /// How long the step ran, in milliseconds.
    pub(crate) elapsed_millis: u64,
    /// The most memory it had at one time; `None` where that cannot be measured.
    pub(crate) peak_memory_bytes: Option<u64>,
    /// The sandbox level it ran at, by its name in the key.
    pub(crate) level: String,
    /// Whether it began with a folder kept from an earlier run.
    pub(crate) warm: bool,
    /// Whether it had secrets, which its outs may depend on: then it stays on this machine. Records from
    /// before this was noted count as if it had.
    #[serde(default = "unknown_is_true")]
    pub(crate) had_secrets: bool,
}

fn unknown_is_true() -> bool {
    true
}

/// One out of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Out {
    /// A regular file.
    File {
        /// Its bytes.
        blob: Blob,
        /// Whether it may be run.
        executable: bool,
    },
    /// A directory.
    Tree {
        /// The listing of its root.
        root: Blob,
    },
}

/// A record all of whose blobs are there.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// What was recorded.
    pub(crate) record: Record,
    /// The outs by their names, trees with all their listings.
    pub(crate) outs: BTreeMap<String, Node>,
}

impl Store {
    /// Files a record, in place of an older one. It may be lost in a power cut until
    /// [`Store::sync`] has returned, and must not be acknowledged before.
    ///
    /// # Errors
    /// [`CacheError::Io`]; then the older record, or none, is there.
    ///
    /// # Panics
    /// If the step failed: failures are never recorded.
    pub(crate) fn put_record(&self, record: &Record) -> Result<(), CacheError> {
        assert_eq!(record.exit_code, 0, "only a step that succeeded is recorded");
        if is_planted(Bug::ForgetRecords) {
            return Ok(());
        }
        let (unfinished, mut file) = self.unfinished()?;
        file.write_all(&encode(record)).map_err(failed("write", unfinished.path()))?;
        let path = self.record_path(record.key);
        self.rename_into(unfinished.path(), &path)?;
        unfinished.end();
        Ok(())
    }

    /// Returns when all that was filed before the call survives a power cut. Threads that ask at
    /// the same time share one `syncfs`. A private store has nothing to keep.
    ///
    /// # Errors
    /// [`CacheError::Io`]: what was filed since the last call may be lost.
    pub(crate) fn sync(&self) -> Result<(), CacheError> {
        if self.is_private() {
            return Ok(());
        }
        self.durability.sync().map_err(failed("sync", &self.root))
    }

    /// Returns what the step with this key made, if it is known and all of it is there; notes the
    /// use of all of it. Bytes are verified when they are used.
    ///
    /// A record that is none, or that the system cannot read, is a miss and a warning.
    pub(crate) fn lookup(&self, key: Digest) -> Option<Hit> {
        let path = self.record_path(key);
        let found = match open_file(&path).and_then(read_record) {
            Ok(bytes) => decode(key, &bytes).ok_or(Damage::Malformed),
            Err(error) => Err(unreadable(error).ok()?),
        };
        let record = match found {
            Ok(record) => record,
            Err(damage) => {
                // A store that does not let us set it aside still gives no hit.
                let _ = self.quarantine(&path, damage);
                return None;
            }
        };
        let mut blobs: BTreeSet<Blob> = record.log.into_iter().collect();
        let mut outs = BTreeMap::new();
        for (name, out) in &record.outs {
            let node = self.out_node(*out, &mut blobs).ok()?;
            outs.insert(name.clone(), node);
        }
        if !self.has_all(blobs) {
            return None;
        }
        if let Some(action) = record.action {
            self.has(action);
        }
        self.note_use(&path);
        Some(Hit { record, outs })
    }

    /// Returns the out as a node of a tree, and adds the blobs of its files to `blobs`.
    fn out_node(&self, out: Out, blobs: &mut BTreeSet<Blob>) -> Result<Node, CacheError> {
        match out {
            Out::File { blob, executable } => {
                blobs.insert(blob);
                Ok(Node::File { blob, executable })
            }
            Out::Tree { root } => {
                let tree = self.tree(root)?;
                for (_, node) in tree.walk() {
                    if let Node::File { blob, .. } = node {
                        blobs.insert(*blob);
                    }
                }
                Ok(Node::Directory(tree))
            }
        }
    }

    fn has_all(&self, blobs: BTreeSet<Blob>) -> bool {
        let blobs: Vec<Blob> = blobs.into_iter().collect();
        if blobs.len() <= BLOBS_PER_THREAD {
            return blobs.into_iter().all(|blob| self.has(blob));
        }
        blobs.into_par_iter().with_min_len(BLOBS_PER_THREAD).all(|blob| self.has(blob))
    }

    /// Returns where the record of `key` lies if there is one.
    pub(super) fn record_path(&self, key: Digest) -> PathBuf {
        let name = key.to_hex();
        self.root.join("ac").join(&name[..2]).join(name)
    }
}

/// Few records have more bytes.
const USUAL_BYTES: usize = 2048;

/// Returns whether the bytes are the record of `key`.
pub(super) fn is_record(key: Digest, bytes: &[u8]) -> bool {
    decode(key, bytes).is_some()
}

/// Returns the bytes of a record's file.
pub(super) fn read_record(file: File) -> io::Result<Vec<u8>> {
    // Room for most, and for one byte more, so that the end is seen with the last of them.
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    file.take(MAX_RECORD_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn encode(record: &Record) -> Vec<u8> {
    let body = serde_json::to_vec(record).expect("a record has string keys and no floats");
    let mut bytes = format!("{HEADER}{}\n", Digest::of(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

fn decode(key: Digest, bytes: &[u8]) -> Option<Record> {
    let rest = bytes.strip_prefix(HEADER.as_bytes())?;
    let (sum, rest) = rest.split_at_checked(64)?;
    let body = rest.strip_prefix(b"\n")?;
    let sum: Digest = std::str::from_utf8(sum).ok()?.parse().ok()?;
    if sum != Digest::of(body) {
        return None;
    }
    let record: Record = serde_json::from_slice(body).ok()?;
    (record.key == key && record.exit_code == 0).then_some(record)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use std::fs;

    use super::*;
    use crate::cache::{Tree, blobs};

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    /// Files a step's result: a file, a tree with a file in a directory, and a log.
    fn file_result(store: &Store, key: &[u8]) -> Record {
        let blob = store.put(b"program").unwrap();
        let mut tree = Tree::default();
        let page = store.put(b"page").unwrap();
        tree.insert("docs/page", Node::File { blob: page, executable: false }).unwrap();
        let record = Record {
            key: Digest::of(key),
            outs: BTreeMap::from([
                ("program".to_owned(), Out::File { blob, executable: true }),
                ("site".to_owned(), Out::Tree { root: store.put_tree(&tree).unwrap() }),
            ]),
            log: Some(store.put(b"built").unwrap()),
            action: None,
            exit_code: 0,
            elapsed_millis: 1200,
            peak_memory_bytes: None,
            level: "full".to_owned(),
            warm: false,
            had_secrets: false,
        };
        store.put_record(&record).unwrap();
        store.sync().unwrap();
        record
    }

    #[test]
    fn a_recorded_result_is_a_hit_in_the_next_run() {
        let (directory, store) = store();
        let record = file_result(&store, b"key");
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        let hit = store.lookup(record.key).unwrap();
        assert_eq!(hit.record, record);
        let Node::Directory(site) = &hit.outs["site"] else { panic!("{hit:?}") };
        assert!(site.get("docs/page").is_some());
        assert!(store.lookup(Digest::of(b"other")).is_none());
        assert!(store.take_warnings().is_empty());
    }

    #[test]
    fn a_result_whose_blobs_are_gone_is_a_miss() {
        let (_directory, store) = store();
        let record = file_result(&store, b"key");
        let Out::Tree { root } = record.outs["site"] else { panic!("{record:?}") };
        let Out::File { blob, .. } = record.outs["program"] else { panic!("{record:?}") };
        let page = blobs::Blob::of(b"page");
        for gone in [root, blob, page, record.log.unwrap()] {
            let path = store.blob_path(gone.digest, false);
            let aside = store.scratch().join("aside");
            fs::rename(&path, &aside).unwrap();
            assert!(store.lookup(record.key).is_none());
            fs::rename(&aside, &path).unwrap();
            assert!(store.lookup(record.key).is_some());
        }
        assert!(store.take_warnings().is_empty());
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_record_is_a_miss_and_a_warning() {
        let (_directory, store) = store();
        let record = file_result(&store, b"key");
        let path = store.record_path(record.key);
        let good = fs::read(&path).unwrap();
        for bit in (0..good.len() * 8).step_by(5) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bad).unwrap();
            assert!(store.lookup(record.key).is_none(), "bit {bit}");
            assert_eq!(store.take_warnings().len(), 1);
            assert!(!path.exists());
        }
        store.put_record(&record).unwrap();
        assert!(store.lookup(record.key).is_some());
    }

    #[test]
    fn truncated_swapped_and_garbage_records_are_misses() {
        let (_directory, store) = store();
        let record = file_result(&store, b"key");
        let other = file_result(&store, b"other key");
        let path = store.record_path(record.key);
        let good = fs::read(&path).unwrap();
        for len in 0..good.len() {
            fs::write(&path, &good[..len]).unwrap();
            assert!(store.lookup(record.key).is_none(), "{len} bytes");
        }
        fs::copy(store.record_path(other.key), &path).unwrap();
        assert!(store.lookup(record.key).is_none(), "another key's record");
        fs::create_dir(&path).unwrap();
        assert!(store.lookup(record.key).is_none());
        store.put_record(&record).unwrap();
        assert!(store.lookup(record.key).is_some());
    }

    #[test]
    fn a_failure_in_the_store_is_no_hit() {
        let (_directory, store) = store();
        let mut record = file_result(&store, b"key");
        record.exit_code = 1;
        fs::write(store.record_path(record.key), encode(&record)).unwrap();
        assert!(store.lookup(record.key).is_none());
    }

    proptest! {
        #[test]
        fn hostile_records_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut record = format!("{HEADER}{}\n", Digest::of(&bytes)).into_bytes();
            record.extend(&bytes);
            assert!(decode(Digest::of(b""), &record).is_none());
            assert!(decode(Digest::of(b""), &bytes).is_none());
        }
    }
}
