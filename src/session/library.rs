//! The standard library as files that editors can open: a copy below Kiln's own folder of a project.
//! Knows where that is; does not know who opens it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::lang::library;

use super::workspace::{STATE_FOLDER, keep_from_git};

/// Returns the text that messages call by the name of that file, if it is of the standard library.
pub fn library_text(file: &str) -> Option<&'static str> {
    library::text_of_file(file)
}

/// Returns a file with the text of the standard library that messages call by that name, in the
/// project at `root`; `None` if there is no such text.
///
/// # Errors
/// If it cannot be written, or its folder is elsewhere: a project is someone else's word.
pub fn library_copy(root: &Path, file: &str) -> io::Result<Option<PathBuf>> {
    let Some(text) = library_text(file) else { return Ok(None) };
    let state = root.join(STATE_FOLDER);
    let path = state.join(file);
    let folder = path.parent().unwrap_or(&state);
    fs::create_dir_all(folder)?;
    if !folder.canonicalize()?.starts_with(root.canonicalize()?) {
        let message = format!("`{}` leads out of the project", folder.display());
        return Err(io::Error::other(message));
    }
    keep_from_git(&state);
    let is_file = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
    if !is_file || fs::read(&path)? != text.as_bytes() {
        // A new file in the place of what stands there: a link is not followed.
        let written = tempfile::NamedTempFile::new_in(folder)?;
        fs::write(written.path(), text)?;
        written.persist(&path).map_err(|fault| fault.error)?;
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_written_once_and_never_through_a_link() {
        let project = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let (root, other) = (project.path(), elsewhere.path());
        let path = library_copy(root, "std/c.pipe").unwrap().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), library_text("std/c.pipe").unwrap());
        assert_eq!(library_copy(root, "std/c.pipe").unwrap().unwrap(), path);
        assert_eq!(library_copy(root, "lib/c.pipe").unwrap(), None);
        assert_eq!(library_copy(root, "std/../c.pipe").unwrap(), None);

        fs::write(other.join("mine"), "mine").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(other.join("mine"), &path).unwrap();
        library_copy(root, "std/c.pipe").unwrap();
        assert_eq!(fs::read_to_string(other.join("mine")).unwrap(), "mine");

        fs::remove_dir_all(root.join(STATE_FOLDER)).unwrap();
        std::os::unix::fs::symlink(other, root.join(STATE_FOLDER)).unwrap();
        assert!(library_copy(root, "std/c.pipe").is_err());
        assert!(!other.join("std/c.pipe").exists());
    }
}
