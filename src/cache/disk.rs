//! The disk under a store: its file system and the room on it. Knows mounts; does not know what is
//! in the store.

use std::fs;
use std::io;
use std::path::Path;

/// Returns how many bytes may still be written below `folder`.
///
/// # Errors
/// What the system says.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns the name of the file system that holds `folder`, such as `ext4`; `None` where the system
/// does not tell.
pub(crate) fn file_system(folder: &Path) -> Option<String> {
    let folder = fs::canonicalize(folder).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    of_mounts(&mounts, folder.to_str()?).map(str::to_owned)
}

/// The last mount over the longest start of `folder` is the one seen.
fn of_mounts<'a>(mounts: &'a str, folder: &str) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let (place, rest) = line.split_once(" - ")?;
        // Blanks and backslashes stand as octal numbers.
        let at = place.split(' ').nth(4)?.replace("\\040", " ").replace("\\134", "\\");
        let below = folder.strip_prefix(at.trim_end_matches('/'))?;
        let is_below = below.is_empty() || below.starts_with('/');
        is_below.then(|| (at.len(), rest.split(' ').next().unwrap_or_default()))
    });
    mounts.max_by_key(|(len, _)| *len).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/sda rw\n\
                      2 1 0:9 / /home rw shared:1 - btrfs /dev/sdb rw\n\
                      3 2 0:7 / /home/a\\040b rw - tmpfs none rw\n\
                      4 2 0:7 / /home/a\\040b rw - zfs none rw\n";
        for (folder, name) in
            [("/x", "ext4"), ("/home/me", "btrfs"), ("/homely", "ext4"), ("/home/a b", "zfs")]
        {
            assert_eq!(of_mounts(mounts, folder), Some(name), "{folder}");
        }
    }

    #[test]
    fn a_folder_has_room_and_a_file_system() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).unwrap() > 0);
        assert!(file_system(folder.path()).is_some());
    }
}
