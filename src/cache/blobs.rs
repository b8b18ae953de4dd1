//! Blobs: bytes filed under their digest. Knows files, digests and hard links; does not know what
//! the bytes mean.
//!
//! A blob is a plain file: `cas/<2 hex>/<digest>` with mode 0644, and, where one was needed, a
//! second file of the same bytes, `<digest>.x` with mode 0755. The mode belongs to the inode, and
//! trees hard-link blobs, so what is a program in one tree and data in another needs two. The
//! modes and the modification time are those that a step sees; owners other than us cannot reach
//! the files, because the store's directory has mode 0700. Nothing in the store writes to a blob
//! again: a new one takes its place by rename.
//!
//! Blobs are not synced. After a power cut some may be short or empty: they no longer match.
//!
//! The access time is the last use, set by us, and never to an earlier time than the one that is there:
//! an older run that uses a file must not hide that a younger one does.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::copy::{CopyError, copy_hashed, hash, reflink};
use super::lease::Stamp;
use super::{CacheError, Damage, Store, copy, failed, locked};
use crate::digest::Digest;
use crate::planted;

/// The modification time of every file and directory that a step is given: 2000-01-01 00:00:00
/// UTC, in seconds since 1970. Not zero, which some archivers and build tools take for "unknown".
pub(crate) const FIXED_MTIME_SECS: i64 = 946_684_800;

/// Names the bytes of a blob: what REAPI calls a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Blob {
    /// The digest of the bytes.
    pub(crate) digest: Digest,
    /// The number of bytes.
    pub(crate) size: u64,
}

impl Blob {
    /// Returns the name of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}

impl From<(Digest, u64)> for Blob {
    fn from((digest, size): (Digest, u64)) -> Self {
        Self { digest, size }
    }
}

/// What an inode was found to hold, in this run. Valid while its size and time are the same; not
/// its change time, which every new link to it moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Verified {
    digest: Digest,
    size: u64,
    modified: Stamp,
}

/// An unfinished file of this run: removed when dropped, unless it was renamed away.
pub(super) struct Unfinished(PathBuf);

impl Unfinished {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Notes that it was renamed away.
    pub(super) fn end(mut self) {
        self.0.clear();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.0);
        }
    }
}

impl Store {
    /// Files `bytes` as a blob.
    ///
    /// # Errors
    /// [`CacheError::Io`]; then no blob was made.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Blob, CacheError> {
        let blob = Blob::of(bytes);
        if self.is_known(blob, false) {
            return Ok(blob);
        }
        let (unfinished, mut file) = self.unfinished()?;
        file.write_all(bytes).map_err(failed("write", &unfinished.0))?;
        drop(file);
        self.install(&unfinished.0, blob, false)?;
        Ok(blob)
    }

    /// Files all that `reader` yields as a blob.
    ///
    /// # Errors
    /// [`CacheError::Io`], also when the reader fails; then no blob was made.
    pub(crate) fn put_reader(
        &self,
        reader: impl Read,
        executable: bool,
    ) -> Result<Blob, CacheError> {
        let (unfinished, file) = self.unfinished()?;
        let copied = copy_hashed(reader, &file);
        let copied = copied.map_err(|error| failed("write", &unfinished.0)(error.into_io()))?;
        let blob = Blob::from(copied);
        self.install(&unfinished.0, blob, executable)?;
        Ok(blob)
    }

    /// Takes over the file at `path`, whose bytes the caller has just found to be `blob`, which we
    /// may read, and which nobody writes to any more. It is renamed, not read, if it lies on the store's
    /// filesystem, as [`Store::scratch`] does; else it is copied and removed.
    ///
    /// # Errors
    /// [`CacheError::Io`]; [`CacheError::Changed`] when a copied file is not `blob`.
    pub(crate) fn adopt(
        &self,
        path: &Path,
        blob: Blob,
        executable: bool,
    ) -> Result<(), CacheError> {
        if !self.is_known(blob, executable) {
            match self.install(path, blob, executable) {
                Ok(()) => return Ok(()),
                Err(CacheError::Io { source, .. })
                    if source.kind() == io::ErrorKind::CrossesDevices => {}
                Err(error) => return Err(error),
            }
            let file = open_file(path).map_err(failed("open", path))?;
            let (unfinished, to) = self.unfinished()?;
            let copied =
                copy_hashed(file, &to).map_err(|error| failed("copy", path)(error.into_io()))?;
            if Blob::from(copied) != blob {
                return Err(CacheError::Changed { path: path.to_owned() });
            }
            self.install(&unfinished.0, blob, executable)?;
        }
        fs::remove_file(path).map_err(failed("remove", path))
    }

    /// Takes in a copy of the workspace's file at `path`; returns its name and whether it is
    /// executable (by its owner). What is filed is what was hashed, whatever happens to the file.
    ///
    /// # Errors
    /// [`CacheError::Changed`] when the file was edited meanwhile: worth another try.
    /// [`CacheError::NotAFile`] for links and all that is not a regular file.
    /// [`CacheError::Io`] when either file fails.
    pub(crate) fn ingest(&self, path: &Path) -> Result<(Blob, bool), CacheError> {
        let not_a_file = || CacheError::NotAFile { path: path.to_owned() };
        let file = match open_file(path) {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(not_a_file());
            }
            Err(error) => return Err(failed("open", path)(error)),
        };
        let before = file.metadata().map_err(failed("look at", path))?;
        if !before.is_file() {
            return Err(not_a_file());
        }
        let (unfinished, to) = self.unfinished()?;
        let copied = if reflink(&file, &to) {
            hash(&to).map_err(failed("read", &unfinished.0))?
        } else {
            copy_hashed(&file, &to).map_err(|error| match error {
                CopyError::Read(error) => failed("read", path)(error),
                CopyError::Write(error) => failed("write", &unfinished.0)(error),
            })?
        };
        let after = file.metadata().map_err(failed("look at", path))?;
        let seen = |metadata: &Metadata| {
            (metadata.len(), Stamp::modified(metadata), Stamp::changed(metadata))
        };
        if seen(&before) != seen(&after) || copied.1 != after.len() {
            return Err(CacheError::Changed { path: path.to_owned() });
        }
        let (blob, executable) = (Blob::from(copied), after.mode() & 0o100 != 0);
        self.install(&unfinished.0, blob, executable)?;
        Ok((blob, executable))
    }

    /// Returns whether the blob is there with its size, and notes the use. Cheap: its bytes are
    /// looked at only when they are used.
    pub(crate) fn has(&self, blob: Blob) -> bool {
        let is_there = || {
            [false, true].into_iter().any(|executable| {
                let path = self.blob_path(blob.digest, executable);
                fs::symlink_metadata(&path).is_ok_and(|metadata| {
                    let is_whole = metadata.is_file() && metadata.len() == blob.size;
                    is_whole && self.touch(&path, &metadata)
                })
            })
        };
        (0..).take_while(|look| *look == 0 || self.may_be_aside(*look)).any(|_| is_there())
    }

    /// Returns the bytes of the blob.
    ///
    /// # Errors
    /// [`CacheError::Missing`] when it is not there or does not match; [`CacheError::Io`].
    pub(crate) fn read(&self, blob: Blob) -> Result<Vec<u8>, CacheError> {
        self.with_twin(blob, false, |path, mut file| {
            let mut bytes = Vec::with_capacity(usize::try_from(blob.size).unwrap_or(0));
            match Read::take(&mut file, blob.size).read_to_end(&mut bytes) {
                Ok(_) if matches(Blob::of(&bytes), blob) => Ok(Ok(bytes)),
                Ok(_) => Ok(Err(Damage::Mismatch)),
                Err(error) => unreadable(error).map(Err).map_err(failed("read", path)),
            }
        })
    }

    /// Writes the bytes of the blob into the new, empty file `to` that lies at `path`. Shares them
    /// on disk where the filesystem can; never shares an inode.
    pub(super) fn copy_out(&self, blob: Blob, to: &File, path: &Path) -> Result<(), CacheError> {
        self.with_twin(blob, false, |from_path, file| {
            let copied = if reflink(&file, to) {
                hash(to).map_err(CopyError::Read)
            } else {
                copy_hashed(&file, to)
            };
            let damage = match copied {
                Ok(copied) if matches(Blob::from(copied), blob) => return Ok(Ok(())),
                Ok(_) => Damage::Mismatch,
                Err(CopyError::Write(error)) => return Err(failed("write", path)(error)),
                Err(CopyError::Read(error)) => {
                    unreadable(error).map_err(failed("read", from_path))?
                }
            };
            copy::empty(to).map_err(failed("write", path))?;
            Ok(Err(damage))
        })
    }

    /// Makes `path` a hard link to the blob, with mode 0644 or 0755 and the fixed time.
    pub(super) fn link(&self, blob: Blob, executable: bool, path: &Path) -> Result<(), CacheError> {
        // Enough rounds for: a damaged file, then none, then one of too many links.
        for _ in 0..4 {
            let from = self.blob_path(blob.digest, executable);
            match fs::hard_link(&from, path) {
                Ok(()) => {}
                Err(error)
                    if is_too_many_links(&error) || error.kind() == io::ErrorKind::NotFound =>
                {
                    self.renew(blob, executable)?;
                    continue;
                }
                Err(error) => return Err(failed("link", path)(error)),
            }
            // What is checked is the inode that is linked, whatever has happened to its name.
            match self.check(path, blob, executable)? {
                None => {
                    self.note_use(&from);
                    return Ok(());
                }
                Some(damage) => {
                    fs::remove_file(path).map_err(failed("remove", path))?;
                    self.quarantine(&from, damage)?;
                }
            }
        }
        Err(CacheError::Missing { digest: blob.digest })
    }

    /// Looks whether the file at `path` is whole: hashes it, unless that was done in this run.
    /// Sets its mode and time right if they are not.
    pub(super) fn check(
        &self,
        path: &Path,
        blob: Blob,
        executable: bool,
    ) -> Result<Option<Damage>, CacheError> {
        let file = match open_file(path) {
            Ok(file) => file,
            Err(error) => return unreadable(error).map(Some).map_err(failed("open", path)),
        };
        let metadata = file.metadata().map_err(failed("look at", path))?;
        if !metadata.is_file() || metadata.len() != blob.size {
            return Ok(Some(Damage::Mismatch));
        }
        if !self.is_verified(blob, &metadata) {
            match hash(&file) {
                Ok(found) if matches(Blob::from(found), blob) => {}
                Ok(_) => return Ok(Some(Damage::Mismatch)),
                Err(error) => return unreadable(error).map(Some).map_err(failed("read", path)),
            }
            self.remember(blob, &metadata);
        }
        if !is_finished(&metadata, executable) {
            self.finish(&file, executable).map_err(failed("date", path))?;
            self.remember(blob, &file.metadata().map_err(failed("look at", path))?);
        }
        Ok(None)
    }

    /// Returns where the blob, or its executable twin, lies if it is there.
    pub(super) fn blob_path(&self, digest: Digest, executable: bool) -> PathBuf {
        let mut name = digest.to_hex();
        let folder = self.root.join("cas").join(&name[..2]);
        if executable {
            name.push_str(".x");
        }
        folder.join(name)
    }

    /// Notes that this run uses the file; returns false if it is gone.
    ///
    /// A collection takes nothing used since the oldest live run began. It moves a file aside and
    /// only then looks at the stamp for the last time, so a use that was noted under the file's
    /// own name is always seen.
    pub(super) fn touch(&self, path: &Path, metadata: &Metadata) -> bool {
        if Stamp::accessed(metadata) >= self.lease.start() {
            return true;
        }
        let times = Timestamps {
            last_access: self.lease.now().timespec(),
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        // On a filesystem that has become read-only nothing is collected either.
        match rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags) {
            Ok(()) if metadata.nlink() > 1 => self.note_touch(path, metadata),
            Ok(()) => true,
            Err(error) => error != Errno::NOENT,
        }
    }

    /// Notes that a use of ours moved the change time of a file that folders may link.
    fn note_touch(&self, path: &Path, before: &Metadata) -> bool {
        let Ok(after) = fs::symlink_metadata(path) else { return false };
        let changed = |metadata| Stamp::changed(metadata).nanos();
        locked(&self.touched).insert(after.ino(), (changed(before), changed(&after)));
        true
    }

    /// Returns whether a file that had last been changed at `before` was at most touched by us
    /// until `now`.
    pub(super) fn is_only_touched(&self, inode: u64, before: i64, now: i64) -> bool {
        before == now || locked(&self.touched).get(&inode) == Some(&(before, now))
    }

    pub(super) fn note_use(&self, path: &Path) {
        if let Ok(metadata) = fs::symlink_metadata(path) {
            self.touch(path, &metadata);
        }
    }

    /// Runs `take` on the file of the blob and, if that is missing or damaged, on its twin.
    /// Damaged ones are set aside.
    fn with_twin<T>(
        &self,
        blob: Blob,
        executable: bool,
        mut take: impl FnMut(&Path, File) -> Result<Result<T, Damage>, CacheError>,
    ) -> Result<T, CacheError> {
        let looks = (0..).take_while(|look| *look == 0 || self.may_be_aside(*look));
        for executable in looks.flat_map(|_| [executable, !executable]) {
            let path = self.blob_path(blob.digest, executable);
            let taken = match open_file(&path) {
                Ok(file) => {
                    let metadata = file.metadata().map_err(failed("look at", &path))?;
                    if metadata.is_file() && metadata.len() == blob.size {
                        self.touch(&path, &metadata);
                        take(&path, file)?
                    } else {
                        Err(Damage::Mismatch)
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(unreadable(error).map_err(failed("open", &path))?),
            };
            match taken {
                Ok(value) => return Ok(value),
                Err(damage) => self.quarantine(&path, damage)?,
            }
        }
        Err(CacheError::Missing { digest: blob.digest })
    }

    /// Puts a fresh file in the blob's place, copied from itself or from its twin: because only
    /// the twin is there, or because the file has as many links as the filesystem allows.
    fn renew(&self, blob: Blob, executable: bool) -> Result<(), CacheError> {
        let (unfinished, file) = self.unfinished()?;
        self.copy_out(blob, &file, &unfinished.0)?;
        self.install(&unfinished.0, blob, executable)
    }

    /// Gives the complete file at `path` the blob's name, in place of what has it.
    fn install(&self, path: &Path, blob: Blob, executable: bool) -> Result<(), CacheError> {
        let file = open_file(path).map_err(failed("open", path))?;
        self.finish(&file, executable).map_err(failed("date", path))?;
        let metadata = file.metadata().map_err(failed("look at", path))?;
        let to = self.blob_path(blob.digest, executable);
        self.rename_into(path, &to)?;
        self.remember(blob, &metadata);
        // A younger run may have noted its use of the file that had the name until now.
        let times = Timestamps {
            last_access: self.lease.now().timespec(),
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        rustix::fs::futimens(&file, &times).map_err(|error| failed("date", &to)(error.into()))?;
        Ok(())
    }

    /// Gives the complete file at `path` its final name, in a folder that may have to be made.
    pub(super) fn rename_into(&self, path: &Path, to: &Path) -> Result<(), CacheError> {
        let mut renamed = fs::rename(path, to);
        if renamed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let folder = to.parent().expect("an entry lies in a folder");
            fs::create_dir_all(folder).map_err(failed("make", folder))?;
            renamed = fs::rename(path, to);
        }
        renamed.map_err(failed("file", to))
    }

    /// Sets mode, modification time and last use.
    pub(super) fn finish(&self, file: &File, executable: bool) -> io::Result<()> {
        rustix::fs::fchmod(file, Mode::from_raw_mode(if executable { 0o755 } else { 0o644 }))?;
        let last_modification = Timespec { tv_sec: FIXED_MTIME_SECS, tv_nsec: 0 };
        let last_access = self.lease.now().timespec();
        rustix::fs::futimens(file, &Timestamps { last_access, last_modification })?;
        Ok(())
    }

    /// Returns whether a file of the blob is there that was found whole in this run. Anything less
    /// and a put replaces the file, which heals it at no cost.
    fn is_known(&self, blob: Blob, executable: bool) -> bool {
        let path = self.blob_path(blob.digest, executable);
        fs::symlink_metadata(&path)
            .is_ok_and(|metadata| self.is_verified(blob, &metadata) && self.touch(&path, &metadata))
    }

    fn is_verified(&self, blob: Blob, metadata: &Metadata) -> bool {
        locked(&self.verified).get(&metadata.ino()) == Some(&verified(blob, metadata))
    }

    fn remember(&self, blob: Blob, metadata: &Metadata) {
        locked(&self.verified).insert(metadata.ino(), verified(blob, metadata));
    }

    /// Makes a new file in this run's scratch.
    pub(super) fn unfinished(&self) -> Result<(Unfinished, File), CacheError> {
        let path = self.lease.fresh_path();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let mut opened = options.open(&path);
        if opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            self.lease.make_scratch()?;
            opened = options.open(&path);
        }
        let file = opened.map_err(failed("write", &path))?;
        Ok((Unfinished(path), file))
    }
}

/// Returns whether bytes that are named by `found` may be used as those of `blob`.
fn matches(found: Blob, blob: Blob) -> bool {
    found == blob || planted::is_planted(planted::Bug::BelieveBlobs)
}

fn verified(blob: Blob, metadata: &Metadata) -> Verified {
    let modified = Stamp::modified(metadata);
    Verified { digest: blob.digest, size: metadata.len(), modified }
}

/// Returns whether a file has the mode and the time that every file of a tree has.
pub(super) fn is_finished(metadata: &Metadata, executable: bool) -> bool {
    metadata.mode() & 0o7777 == if executable { 0o755 } else { 0o644 }
        && (metadata.mtime(), metadata.mtime_nsec()) == (FIXED_MTIME_SECS, 0)
}

/// Returns the times of what is not a blob's file: never read, last modified at the fixed time.
pub(super) fn fixed_times() -> Timestamps {
    let fixed = Timespec { tv_sec: FIXED_MTIME_SECS, tv_nsec: 0 };
    Timestamps { last_access: fixed, last_modification: fixed }
}

/// Opens a file for reading, without following a link or waiting for a pipe's writer.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, OFlags::RDONLY | flags, Mode::empty())?.into())
}

/// Returns the damage that an error is the sign of, or the error if it tells nothing about the
/// file itself (no more file handles, say).
pub(super) fn unreadable(error: io::Error) -> io::Result<Damage> {
    match Errno::from_io_error(&error) {
        Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG | Errno::LOOP | Errno::ACCESS) => {
            Ok(Damage::Unreadable)
        }
        Some(Errno::ISDIR | Errno::NXIO | Errno::NODATA) => Ok(Damage::Unreadable),
        _ => Err(error),
    }
}

fn is_too_many_links(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TooManyLinks
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    /// Changes one bit, as a failing disk does: size and times stay.
    fn flip(path: &Path, bit: usize) {
        let mut bytes = fs::read(path).unwrap();
        let at = bit / 8 % bytes.len();
        bytes[at] ^= 1 << (bit % 8);
        let metadata = fs::metadata(path).unwrap();
        fs::write(path, bytes).unwrap();
        let file = File::open(path).unwrap();
        file.set_modified(metadata.modified().unwrap()).unwrap();
    }

    #[test]
    fn bytes_come_back_as_they_were_put() {
        let (_directory, store) = store();
        for bytes in [&b""[..], b"text", &[0; 300_000]] {
            let blob = store.put(bytes).unwrap();
            assert!(store.has(blob));
            assert_eq!(store.read(blob).unwrap(), bytes);
            assert_eq!(store.put_reader(bytes, true).unwrap(), blob);
        }
        assert!(store.take_warnings().is_empty());
        assert_eq!(fs::read_dir(store.scratch()).unwrap().count(), 0);
    }

    #[test]
    fn twins_have_their_own_mode_and_the_fixed_time() {
        let (_directory, store) = store();
        let blob = store.put(b"#!/bin/sh").unwrap();
        for executable in [false, true] {
            let path = store.scratch().join(format!("{executable}"));
            store.link(blob, executable, &path).unwrap();
            assert!(is_finished(&fs::metadata(&path).unwrap(), executable));
            let filed = fs::metadata(store.blob_path(blob.digest, executable)).unwrap();
            assert_eq!(filed.ino(), fs::metadata(&path).unwrap().ino());
        }
    }

    #[test]
    fn two_hundred_flipped_bits_are_misses_and_a_put_heals_them() {
        let (directory, store) = store();
        let bytes: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        let blob = store.put(&bytes).unwrap();
        drop(store);
        for round in 0..200 {
            let store = Store::open(directory.path()).unwrap();
            flip(&store.blob_path(blob.digest, false), round * 7919);
            let used = match round % 3 {
                0 => store.read(blob).map(|_| ()),
                1 => store.link(blob, false, &store.scratch().join("link")),
                _ => store.link(blob, true, &store.scratch().join("link")),
            };
            assert!(used.is_err_and(|error| error.is_miss()), "round {round}");
            assert_eq!(store.take_warnings().len(), 1);
            assert!(!store.has(blob));
            store.put(&bytes).unwrap();
            assert_eq!(store.read(blob).unwrap(), bytes);
        }
    }

    #[test]
    fn a_put_replaces_a_damaged_blob_before_anyone_reads_it() {
        let (directory, store) = store();
        let blob = store.put(b"bytes").unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        flip(&store.blob_path(blob.digest, false), 3);
        store.put(b"bytes").unwrap();
        assert_eq!(store.read(blob).unwrap(), b"bytes");
        assert!(store.take_warnings().is_empty());
    }

    #[test]
    fn truncated_swapped_and_odd_entries_are_misses() {
        let (_directory, store) = store();
        let [one, two] = [b"one", b"two"].map(|bytes| store.put(bytes).unwrap());
        let [first, second] = [one, two].map(|blob| store.blob_path(blob.digest, false));
        fs::copy(&second, &first).unwrap();
        assert!(store.read(one).unwrap_err().is_miss());
        File::options().write(true).open(&second).unwrap().set_len(1).unwrap();
        assert!(!store.has(two));
        assert!(store.read(two).unwrap_err().is_miss());
        symlink("/etc/passwd", &first).unwrap();
        fs::create_dir(&second).unwrap();
        assert!(!store.has(one) && !store.has(two));
        assert!(store.read(one).unwrap_err().is_miss());
        assert!(store.link(two, false, &store.scratch().join("link")).is_err());
        assert!(store.read(two).unwrap_err().is_miss());
        store.put(b"two").unwrap();
        assert_eq!(store.read(two).unwrap(), b"two");
    }

    #[test]
    fn a_damaged_twin_is_replaced_by_the_other() {
        let (directory, store) = store();
        let blob = store.put(b"#!/bin/true").unwrap();
        store.link(blob, true, &store.scratch().join("first")).unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        flip(&store.blob_path(blob.digest, true), 1);
        let path = store.scratch().join("second");
        store.link(blob, true, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"#!/bin/true");
        assert_eq!(store.take_warnings().len(), 1);
    }

    #[test]
    fn a_captured_file_is_renamed_and_not_read() {
        let (_directory, store) = store();
        let path = store.scratch().join("captured");
        fs::write(&path, "captured").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let blob = Blob::of(b"captured");
        store.adopt(&path, blob, true).unwrap();
        let filed = fs::metadata(store.blob_path(blob.digest, true)).unwrap();
        assert!(!path.exists() && filed.ino() == inode && is_finished(&filed, true));
        fs::write(&path, "captured").unwrap();
        store.adopt(&path, blob, true).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_captured_file_of_another_filesystem_is_copied() {
        let (_directory, store) = store();
        let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return };
        let path = memory.path().join("captured");
        fs::write(&path, "captured").unwrap();
        let blob = Blob::of(b"captured");
        store.adopt(&path, blob, false).unwrap();
        assert!(!path.exists());
        assert_eq!(store.read(blob).unwrap(), b"captured");
    }

    #[test]
    fn workspace_files_are_taken_in_with_their_executable_bit_and_others_refused() {
        let (_directory, store) = store();
        let workspace = tempfile::tempdir().unwrap();
        let path = workspace.path().join("script");
        fs::write(&path, "echo").unwrap();
        assert_eq!(store.ingest(&path).unwrap(), (Blob::of(b"echo"), false));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(store.ingest(&path).unwrap(), (Blob::of(b"echo"), true));
        let link = workspace.path().join("link");
        symlink("script", &link).unwrap();
        for path in [&link, workspace.path()] {
            assert!(matches!(store.ingest(path), Err(CacheError::NotAFile { .. })), "{path:?}");
        }
        let gone = workspace.path().join("gone");
        assert!(matches!(store.ingest(&gone), Err(CacheError::Io { path, .. }) if path == gone));
    }

    #[test]
    fn a_file_edited_while_it_is_taken_in_never_enters_under_a_wrong_name() {
        let (_directory, store) = store();
        let workspace = tempfile::tempdir().unwrap();
        let path = workspace.path().join("edited");
        fs::write(&path, vec![0; 1 << 20]).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (mut taken, mut changed) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut round = 0_u8;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    round = round.wrapping_add(1);
                    fs::write(&path, vec![round; 1 << 20]).unwrap();
                }
            });
            // As often as it takes to be interrupted in the middle once.
            while taken + changed < 100 || (changed == 0 && taken < 100_000) {
                match store.ingest(&path) {
                    Ok((blob, _)) => {
                        assert_eq!(Blob::of(&store.read(blob).unwrap()), blob);
                        taken += 1;
                    }
                    Err(CacheError::Changed { .. }) => changed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(changed > 0, "{taken} taken, {changed} changed");
        assert!(store.take_warnings().is_empty());
    }

    #[test]
    fn eight_threads_put_the_same_blobs_at_once() {
        let (directory, store) = store();
        let other = Store::open(directory.path()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let store = if thread % 2 == 0 { &store } else { &other };
                scope.spawn(move || {
                    for round in 0..100_u32 {
                        let bytes = round.to_le_bytes().repeat(50);
                        let blob = store.put(&bytes).unwrap();
                        assert_eq!(store.read(blob).unwrap(), bytes);
                        let link = store.scratch().join(format!("{thread}-{round}"));
                        store.link(blob, round % 2 == 0, &link).unwrap();
                    }
                });
            }
        });
        assert!(store.take_warnings().is_empty() && other.take_warnings().is_empty());
    }

    #[test]
    fn a_put_that_fails_names_the_path_and_leaves_nothing() {
        let (_directory, store) = store();
        let blob = Blob::of(b"blocked");
        let folder = store.blob_path(blob.digest, false).parent().unwrap().to_owned();
        fs::write(&folder, "in the way").unwrap();
        let error = store.put(b"blocked").unwrap_err();
        assert!(matches!(error, CacheError::Io { path, .. } if path.starts_with(&folder)));
        assert_eq!(fs::read_dir(store.scratch()).unwrap().count(), 0);
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Errno::IO.into())
            }
        }
        assert!(matches!(store.put_reader(Broken, false), Err(CacheError::Io { .. })));
        assert_eq!(fs::read_dir(store.scratch()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_is_an_error_and_leaves_no_blob() {
        let (_directory, store) = store();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let blob = store.put(b"bytes").unwrap();
        let copied = store.copy_out(blob, &full, Path::new("/dev/full"));
        assert!(matches!(copied, Err(CacheError::Io { path, source, .. })
            if path == Path::new("/dev/full") && source.kind() == io::ErrorKind::StorageFull));
        assert!(store.take_warnings().is_empty(), "the blob is not to blame");
    }

    #[test]
    fn missing_directories_are_made_again() {
        let (_directory, store) = store();
        fs::remove_dir_all(store.scratch()).unwrap();
        fs::remove_dir_all(store.root.join("cas")).unwrap();
        let blob = store.put(b"bytes").unwrap();
        assert_eq!(store.read(blob).unwrap(), b"bytes");
    }

    #[test]
    fn a_header_linked_a_thousand_times_is_hashed_once() {
        let (directory, store) = store();
        let blob = store.put(b"header").unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        store.link(blob, false, &store.scratch().join("0")).unwrap();
        // Rot within a run is not looked for again; that it stays unseen shows there was no hash.
        flip(&store.blob_path(blob.digest, false), 0);
        for number in 1..1000 {
            store.link(blob, false, &store.scratch().join(format!("{number}"))).unwrap();
        }
    }
}
