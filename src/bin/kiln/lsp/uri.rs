//! Paths as `file:` URIs and back. Knows how bytes are escaped; does not know which files there are.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lsp_types::Uri;

/// Returns the absolute path that a URI means; `None` for one of no file of this machine.
pub(super) fn path(uri: &Uri) -> Option<PathBuf> {
    let rest = uri.as_str().strip_prefix("file://")?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    let rest = rest.split(['?', '#']).next().filter(|path| path.starts_with('/'))?;
    let mut bytes = Vec::with_capacity(rest.len());
    let mut left = rest.as_bytes();
    while let Some((&first, more)) = left.split_first() {
        let escaped = left.get(1..3).filter(|_| first == b'%');
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                left = &left[3..];
            }
            None => {
                bytes.push(first);
                left = more;
            }
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// Returns the URI of an absolute path.
pub(super) fn uri(path: &Path) -> Uri {
    let mut text = "file://".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            byte => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text.parse().expect("each byte is plain or escaped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_back_from_its_uri() {
        for text in ["/a/b.pipe", "/with blank/ü#?%41.pipe", "/"] {
            assert_eq!(path(&uri(Path::new(text))).unwrap(), Path::new(text));
        }
        for (text, expected) in [
            ("file:///a%20b", Some("/a b")),
            ("file://localhost/a", Some("/a")),
            ("file:///a%2", Some("/a%2")),
            ("untitled:one", None),
            ("file://other/a", None),
        ] {
            let found = text.parse().ok().and_then(|uri: Uri| path(&uri));
            if let Some(found) = found {
                assert_eq!(Some(found.as_path()), expected.map(Path::new), "{text}");
            }
        }
    }
}
