//! Watching: waits until something happens in folders of a project, and says what is other than before.
//! Knows stat data and the system's notifications; reads no file, and does not know what folders are for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::DirEntry;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::files;

use super::stat::Stat;

/// After a change, so long a time without another one means that whoever writes has done so.
const QUIET: Duration = Duration::from_millis(60);

/// How often it is looked whether the wait was interrupted.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What a change of a folder is.
const CHANGES: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR);

/// What stands in the folders that a pipeline reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderStates(BTreeMap<Box<str>, Names>);

/// What stands in a folder, by name: stat data, or nothing for a folder, whose times are those of its
/// names.
type Names = BTreeMap<OsString, Option<Stat>>;

impl FolderStates {
    /// Looks into these folders of the project at `root`.
    pub(crate) fn now(root: &Path, folders: impl IntoIterator<Item = Box<str>>) -> Self {
        let look = |folder: Box<str>| {
            let entries = std::fs::read_dir(root.join(&*folder));
            let entries = entries.into_iter().flatten().flatten();
            let names = entries.filter(|entry| !is_of_kiln(entry.file_name().as_bytes()));
            let stat = |entry: &DirEntry| Stat::of(&entry.path()).ok().filter(|at| !at.is_dir());
            (folder, names.map(|entry| (entry.file_name(), stat(&entry))).collect())
        };
        Self(folders.into_iter().map(look).collect())
    }

    /// Returns the paths of what is other than it was in `before`, as far as both looked at its folder.
    pub fn changed_since(&self, before: &Self) -> Vec<String> {
        let mut changed = Vec::new();
        for (folder, names) in &self.0 {
            let Some(old) = before.0.get(folder) else { continue };
            let is_other = |name: &&OsString| names.get(*name) != old.get(*name);
            let gone = old.keys().filter(|name| !names.contains_key(*name));
            let all = names.keys().chain(gone).filter(is_other);
            changed.extend(all.map(|name| files::join(folder, &name.to_string_lossy())));
        }
        changed
    }
}

/// Returns whether Kiln itself writes something of that name, which says nothing of the project.
fn is_of_kiln(name: &[u8]) -> bool {
    name.starts_with(b".kiln") || name == b".git" || name == b"out"
}

/// The folders that a pipeline reads, under watch. Changes count from the moment it is made.
pub struct FolderWatch {
    notifications: OwnedFd,
    /// How many folders there are.
    folders: usize,
}

/// How a wait for changes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Something happened in one of the folders.
    Changed,
    /// The wait was interrupted; this is what Kiln exits with.
    Interrupted(u8),
}

impl FolderWatch {
    /// Begins to watch these folders of the project at `root`.
    ///
    /// # Errors
    /// When the system has no room for another watch: `/proc/sys/fs/inotify` has the limits.
    pub(crate) fn new(
        root: &Path,
        watched: impl IntoIterator<Item = Box<str>>,
    ) -> io::Result<Self> {
        let notifications = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut folders = 0;
        for folder in watched {
            match inotify::add_watch(&notifications, root.join(&*folder), CHANGES) {
                Ok(_) => folders += 1,
                // It is gone, or no folder any more: the one above it is watched, too.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { notifications, folders })
    }

    /// Returns how many folders are watched.
    pub fn folders(&self) -> usize {
        self.folders
    }

    /// Waits until something has happened in one of the folders and it is quiet again, or until `is_over`
    /// says with which exit code to end. What Kiln itself writes does not count.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self, is_over: impl Fn() -> Option<u8>) -> io::Result<Waited> {
        let mut has_changed = false;
        loop {
            if let Some(exit) = is_over() {
                return Ok(Waited::Interrupted(exit));
            }
            let timeout = if has_changed { QUIET } else { LOOK_AROUND };
            let timeout = Timespec::try_from(timeout).expect("it is short");
            let mut polled = [PollFd::from_borrowed_fd(self.notifications.as_fd(), PollFlags::IN)];
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) if has_changed => return Ok(Waited::Changed),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => has_changed |= self.read()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads all notifications there are; returns whether one of them counts.
    fn read(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.notifications, &mut buffer);
        let mut counts = false;
        loop {
            match reader.next() {
                // What was lost may have counted.
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => counts = true,
                Ok(event) => {
                    let name = event.file_name().map_or(&b""[..], |name| name.to_bytes());
                    counts |= !is_of_kiln(name) && !event.events().contains(ReadFlags::IGNORED);
                }
                Err(Errno::AGAIN) => return Ok(counts),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
