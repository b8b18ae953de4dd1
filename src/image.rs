//! Images: root filesystems from archives and OCI image layouts, as trees of the store. Knows their
//! formats; does not know which step runs on one.
//!
//! Formats: POSIX and GNU tar; gzip (RFC 1952) and Zstandard (RFC 8878) around it; the image layout,
//! index, manifest and layers of the OCI image specification 1.1; what `docker save` writes.

mod layout;
mod rootfs;
mod unzip;

use std::path::{Path, PathBuf};

pub(crate) use layout::read as of_layout;
pub(crate) use rootfs::read as of_archive;

use crate::cache::{CacheError, TreeError};

/// Why there is no root filesystem.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// A file could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// What is there is not of its format.
    #[error("`{}` {what}", path.display())]
    Malformed { path: PathBuf, what: String },
    /// The store failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Paths that no tree can hold.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl ImageError {
    fn malformed(path: &Path, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), what: what.into() }
    }
}
