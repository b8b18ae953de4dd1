//! The key of a project, by which the values of secrets stand in keys of steps without being told. Knows
//! where it is; does not know what it is for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::{SecretError, Value, forms};

/// The variable that holds the key where several machines are to have the same.
pub(super) const VARIABLE: &str = "KILN_PROJECT_KEY";

/// How long a key must be, and how long one is that is made: as long as what SHA-256 makes of it.
const MIN_BYTES: usize = 16;
const BYTES: usize = 32;

/// Returns the key: that of the variable, or the one in the file, which is made once.
///
/// # Errors
/// If it is too short, or the file can be neither read nor made.
pub(super) fn of_project(
    environment: &BTreeMap<String, OsString>,
    file: &Path,
) -> Result<Value, SecretError> {
    let (from, found) = match environment.get(VARIABLE) {
        Some(value) => {
            (format!("the variable `{VARIABLE}`"), Ok(Value(value.as_encoded_bytes().to_vec())))
        }
        None => (format!("the file `{}`", file.display()), of_file(file)),
    };
    let no_key = |what: String| SecretError::NoKey { from, what };
    match found {
        Ok(key) if key.line().len() < MIN_BYTES => {
            Err(no_key(format!("it must have at least {MIN_BYTES} bytes")))
        }
        Ok(key) => Ok(key),
        Err(error) => Err(no_key(error.to_string())),
    }
}

fn of_file(file: &Path) -> io::Result<Value> {
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map(Value),
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    // As text, so that it can be copied into the variable.
    let text = forms::hex(&bytes, b"0123456789abcdef");
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(&[&text, &b"\n"[..]].concat())?;
    match new.persist_noclobber(file) {
        Ok(_) => Ok(Value(text)),
        // Another run was faster.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            fs::read(file).map(Value)
        }
        Err(error) => Err(error.error),
    }
}
