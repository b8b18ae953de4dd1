//! Stat data: what the filesystem says of a file without reading it, and the filesystem's own clock.
//! Knows when times can be believed; does not know what a file holds.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FileType};
use serde::{Deserialize, Serialize};

use crate::planted::{Bug, is_planted};

/// Two times of one filesystem closer than this may be equal on disk: Linux stamps files with the
/// time of the last timer tick, at most 10 ms ago.
const TICK_NANOS: i64 = 20_000_000;

/// The same for filesystems that are not the project's own, whose clock we do not know.
const FOREIGN_TICK_NANOS: i64 = 3_000_000_000;

/// What the filesystem says of a file without reading it; by default of no file at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stat {
    dev: u64,
    ino: u64,
    size: u64,
    mode: u32,
    /// Nanoseconds since 1970.
    mtime: i64,
    /// Nanoseconds since 1970.
    ctime: i64,
}

impl Stat {
    /// Returns the stat data of what is at `path`, links not followed.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::lstat(path)?))
    }

    /// Returns the stat data of an open file.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn of_open(file: &File) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::fstat(file)?))
    }

    fn from(stat: &rustix::fs::Stat) -> Self {
        let nanos =
            |secs: i64, nanos: u64| secs.saturating_mul(1_000_000_000).saturating_add(nanos as i64);
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size as u64,
            mode: stat.st_mode,
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime: match is_planted(Bug::IgnoreChangeTimes) {
                true => 0,
                false => nanos(stat.st_ctime, stat.st_ctime_nsec),
            },
        }
    }

    /// Returns the stat data of what is at `path` below the open folder `root`, links not followed.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn below(root: impl AsFd, path: &Path) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Returns when it was last changed in any way, in nanoseconds since 1970.
    pub(crate) fn changed(&self) -> i64 {
        self.ctime
    }

    /// Returns whether it is of a directory.
    pub(crate) fn is_dir(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Returns the number of bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns whether its owner may run it.
    pub(super) fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }

    fn last_change(&self) -> i64 {
        self.mtime.max(self.ctime)
    }
}

/// The clock of the project's filesystem at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    dev: u64,
    nanos: i64,
}

impl Clock {
    /// Reads the clock of the filesystem that `folder` is on, by making a file there.
    ///
    /// # Errors
    /// If no file can be made there.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let stat = Stat::of_open(&tempfile::tempfile_in(folder)?)?;
        Ok(Self { dev: stat.dev, nanos: stat.mtime })
    }

    /// Returns a clock before all times: with it nothing is believed.
    pub(crate) fn unknown() -> Self {
        Self { dev: 0, nanos: i64::MIN }
    }

    /// Returns a clock for which everything in `folder` is long ago.
    #[cfg(test)]
    pub(crate) fn far_ahead(folder: &Path) -> Self {
        let clock = Self::read(folder).unwrap();
        Self { nanos: clock.nanos + 10_000_000_000, ..clock }
    }

    /// Returns whether a file with these times, read now, may be edited without a change of them.
    pub(crate) fn is_racy(&self, stat: &Stat) -> bool {
        let tick = if stat.dev == self.dev { TICK_NANOS } else { FOREIGN_TICK_NANOS };
        stat.last_change() >= self.nanos.saturating_sub(tick)
    }
}
