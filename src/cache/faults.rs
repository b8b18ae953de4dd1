//! Faults: what disks, other processes and sudden ends do to a store, as tests of all its parts
//! together. Knows a small step that uses every part; does not know how the parts work.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::manifest::BOOT_BYTES;
use super::{Blob, CacheError, Node, Out, Record, Store, Tree};
use crate::digest::Digest;

const FILES: u8 = 12;

/// The bytes of one file that the step makes.
fn content(number: u8) -> Vec<u8> {
    (0..2000_u32).map(|at| (at % 251) as u8 ^ number).collect()
}

/// Runs the step, as it does without a cache.
fn run_step(store: &Store, key: Digest) -> Result<(), CacheError> {
    let mut tree = Tree::default();
    for number in 0..FILES {
        let blob = store.put(&content(number))?;
        let node = Node::File { blob, executable: number % 3 == 0 };
        tree.insert(format!("{}/{number}", number % 4), node).expect("the paths differ");
    }
    store.put_record(&Record {
        key,
        outs: [("out".to_owned(), Out::Tree { root: store.put_tree(&tree)? })].into(),
        log: Some(store.put(b"made it")?),
        action: None,
        exit_code: 0,
        elapsed_millis: 1,
        peak_memory_bytes: Some(1 << 20),
        level: "full".to_owned(),
        warm: false,
        had_secrets: false,
    })
}

/// Serves the step's result from the cache, both as a folder to mount and as files in the
/// workspace, and checks every byte. Returns whether that was possible.
fn serve_step(store: &Store, key: Digest, to: &Path) -> Result<bool, CacheError> {
    let Some(hit) = store.lookup(key) else { return Ok(false) };
    let Node::Directory(tree) = &hit.outs["out"] else { panic!("{hit:?}") };
    let folder = match store.materialise(tree) {
        Err(error) if error.is_miss() => return Ok(false),
        folder => folder?,
    };
    match store.restore(&hit.outs["out"], to) {
        Err(error) if error.is_miss() => return Ok(false),
        done => done?,
    }
    match store.read(hit.record.log.expect("the step has one")) {
        Err(error) if error.is_miss() => return Ok(false),
        log => assert_eq!(log?, b"made it"),
    }
    for number in 0..FILES {
        for place in [folder.path(), to] {
            let path = place.join(format!("{}/{number}", number % 4));
            assert!(fs::read(&path).unwrap() == content(number), "wrong bytes at {path:?}");
        }
    }
    Ok(true)
}

/// Gets the step's result as a run does: from the cache, or by running it again.
fn get_step(store: &Store, key: Digest, to: &Path) -> Result<u32, CacheError> {
    for runs in 0..4 {
        if serve_step(store, key, to)? {
            return Ok(runs);
        }
        run_step(store, key)?;
    }
    panic!("the store does not heal");
}

/// All regular files at any depth, in a fixed order; none where there is no directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let inner = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    paths.into_iter().flat_map(inner).collect()
}

/// Numbers that look random and are the same on each run of the tests.
fn next_number(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

#[test]
fn no_damage_anywhere_gives_wrong_bytes_and_all_of_it_heals() {
    let directory = tempfile::tempdir().unwrap();
    let (root, to) = (directory.path().join("store"), directory.path().join("out"));
    let key = Digest::of(b"key");
    get_step(&Store::open(&root).unwrap(), key, &to).unwrap();
    let (mut state, mut reruns) = (1, 0);
    for round in 0..200 {
        let parts = ["ac", "cas", "trees"].map(|part| files(&root.join("v1").join(part)));
        let part = &parts[round % 3];
        let path = &part[next_number(&mut state) % part.len()];
        let mut bytes = fs::read(path).unwrap();
        let time = fs::metadata(path).unwrap().modified().unwrap();
        match round % 5 {
            0 => bytes.truncate(next_number(&mut state) % bytes.len()),
            1 => bytes = fs::read(&part[next_number(&mut state) % part.len()]).unwrap(),
            _ => {
                let bit = next_number(&mut state) % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        fs::write(path, bytes).unwrap();
        let mut store = Store::open(&root).unwrap();
        if round % 2 == 0 {
            // Rot keeps the times; in a folder it is looked for after a reboot.
            File::open(path).unwrap().set_modified(time).unwrap();
            store.boot = [b'a' + (round % 26) as u8; BOOT_BYTES];
        }
        reruns += get_step(&store, key, &to).unwrap();
        let boot = store.boot;
        drop(store);
        let mut store = Store::open(&root).unwrap();
        store.boot = boot;
        assert_eq!(get_step(&store, key, &to).unwrap(), 0, "round {round} did not heal");
        assert_eq!(store.take_warnings(), [], "round {round}");
    }
    assert!(reruns > 50, "only {reruns} of the damages mattered");
}

const ROLE: &str = "KILN_TEST_CACHE_ROLE";
const STORE: &str = "KILN_TEST_CACHE_STORE";

/// What another process does. Does nothing in a test run of its own.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test process is told its role by variables")]
fn another_process() {
    let (Ok(role), Some(root)) = (std::env::var(ROLE), std::env::var_os(STORE)) else { return };
    let root = PathBuf::from(root);
    match role.as_str() {
        "busy" => be_busy(&root),
        "full disk" => use_full_disk(&root),
        "read-only" => use_read_only_store(&root),
        _ => panic!("{role}"),
    }
}

fn be_busy(root: &Path) {
    let to = tempfile::tempdir().unwrap();
    for round in 0..15_u8 {
        let store = Store::open(root).unwrap();
        let key = Digest::of(&[round]);
        let held = store.lock(key, || false).unwrap().expect("the wait is not given up");
        get_step(&store, key, &to.path().join("out")).unwrap();
        drop(held);
        let large = vec![round; 300_000];
        assert_eq!(store.read(store.put(&large).unwrap()).unwrap(), large);
        assert_eq!(store.take_warnings(), []);
    }
}

fn use_full_disk(root: &Path) {
    let store = Store::open(root).unwrap();
    let noise: Vec<u8> =
        (0..4_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761) as u8).collect();
    let full = |error: CacheError| match error {
        CacheError::Io { path, source, .. } => {
            assert!(path.starts_with(root));
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        }
        other => panic!("{other}"),
    };
    full(store.put(&noise).unwrap_err());
    full(store.put_reader(&noise[..], true).unwrap_err());
    assert_eq!(fs::read_dir(store.scratch()).unwrap().count(), 0);
    assert!(!store.has(Blob::of(&noise)));
    let small = store.put(b"small").unwrap();
    assert_eq!(store.read(small).unwrap(), b"small");
    assert_eq!(store.take_warnings(), []);
}

fn use_read_only_store(root: &Path) {
    let private = tempfile::tempdir().unwrap();
    let (store, reason) = Store::open_or_private(root, private.path()).unwrap();
    let reason = reason.expect("a read-only store is not used");
    assert!(
        matches!(&reason, CacheError::Io { source, .. }
        if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem),
        "{reason:?}"
    );
    let key = Digest::of(b"key");
    assert_eq!(get_step(&store, key, &private.path().join("out")).unwrap(), 1);
}

/// Starts this test binary in a role; with a shell command, in a mount namespace after it.
#[expect(clippy::disallowed_methods, reason = "other processes are what is tested")]
fn start(role: &str, root: &Path, mounts: Option<&str>) -> Child {
    let binary = std::env::current_exe().unwrap();
    let mut command = match mounts {
        None => Command::new(&binary),
        Some(mounts) => {
            let mut command = Command::new("unshare");
            let script = format!("{mounts} || exit 77; exec \"$@\"");
            command.args(["-rm", "sh", "-c", &script]).arg(root).arg(&binary);
            command
        }
    };
    command.args(["cache::faults::another_process", "--exact"]);
    command.env(ROLE, role).env(STORE, root).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn eight_processes_share_a_store_and_killed_ones_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let mut children: Vec<Child> = (0..8).map(|_| start("busy", &root, None)).collect();
    // Half of them are killed at different moments of their work.
    for (number, child) in children.iter_mut().take(4).enumerate() {
        while files(&root.join("v1/ac")).len() <= number * 3 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
    }
    for (number, child) in children.iter_mut().enumerate() {
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success() || number < 4, "{output}");
    }
    let store = Store::open(&root).unwrap();
    for round in 0..15_u8 {
        let key = Digest::of(&[round]);
        assert!(store.try_lock(key).unwrap().is_some(), "a lock outlived its process");
        assert!(serve_step(&store, key, &directory.path().join("out")).unwrap());
    }
    assert_eq!(store.verify().unwrap().damaged, 0);
    assert_eq!(fs::read_dir(root.join("v1/tmp")).unwrap().count(), 1);
    assert_eq!(store.take_warnings(), []);
}

/// Runs a role below a mount; a machine that allows no mounts proves nothing and passes.
fn run_mounted(role: &str, root: &Path, mounts: &str) {
    let mut child = start(role, root, Some(mounts));
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    let status = child.wait().unwrap();
    assert!(
        status.success() || matches!(status.code(), Some(1 | 77)) && output.is_empty(),
        "{output}"
    );
}

#[test]
fn a_full_disk_fails_the_put_alone() {
    let directory = tempfile::tempdir().unwrap();
    run_mounted("full disk", directory.path(), "mount -t tmpfs -o size=2m,mode=700 tmpfs \"$0\"");
}

#[test]
fn a_read_only_store_gives_way_to_a_private_one() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let mounts = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    run_mounted("read-only", directory.path(), mounts);
}
