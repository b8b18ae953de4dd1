//! Secrets: where the value of each comes from, and the values for who may have them. Knows providers;
//! does not know steps. Nothing here can be printed.

mod forms;
mod key;
mod mask;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::digest::Digest;
use crate::lang::eval;
use crate::process;

pub(crate) use mask::{Mask, Masked};

/// The most bytes that a value may have.
const MAX_BYTES: u64 = 64 << 10;

/// How long a command may take to give a value.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the value of a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A variable of Kiln's own environment: `env:NAME`.
    Variable(String),
    /// A file; a relative path counts from the folder that Kiln is called in: `file:PATH`.
    File(PathBuf),
    /// What a line of the shell writes to its standard output: `command:LINE`.
    Command(String),
}

impl Source {
    /// Returns what `env:NAME`, `file:PATH` or `command:LINE` means; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            _ if rest.is_empty() => None,
            "env" => Some(Self::Variable(rest.to_owned())),
            "file" => Some(Self::File(rest.into())),
            "command" => Some(Self::Command(rest.to_owned())),
            _ => None,
        }
    }
}

/// The value of a secret. It is overwritten when nobody holds it any more.
pub(crate) struct Value(Vec<u8>);

impl Value {
    /// Returns all that its source gave.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns it without the end of its last line: what writes a line ends it, and nobody means that.
    pub(crate) fn line(&self) -> &[u8] {
        let line = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.fill(0);
        // So that the compiler does not leave it out.
        black_box(&self.0);
    }
}

/// Why a secret has no value. A retry may be sensible.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// Its source cannot be read.
    #[error("the secret `{name}` cannot be read from {from}: {what}")]
    Unreadable { name: String, from: String, what: String },
    /// There is nothing in it.
    #[error("the secret `{name}` is empty: {from} gives nothing")]
    Empty { name: String, from: String },
    /// The project's key cannot be had.
    #[error("the project's key cannot be had from {from}: {what}")]
    NoKey { from: String, what: String },
    /// More than a secret may have.
    #[error("the secret `{name}` has more than 64 KiB")]
    TooLarge { name: String },
}

/// A value that is read when it is first asked for.
type Slot = Arc<OnceLock<Result<Arc<Value>, SecretError>>>;

/// All secrets of a run. Each is read once, when the first step that has it must run.
pub(crate) struct Vault {
    sources: BTreeMap<String, Source>,
    /// Kiln's own environment.
    environment: BTreeMap<String, OsString>,
    /// Where Kiln is called.
    folder: PathBuf,
    /// Whether the run is trusted: then each secret must be bound.
    pub(crate) is_trusted: bool,
    /// The file of the project's key.
    key_file: PathBuf,
    key: OnceLock<Result<Arc<Value>, SecretError>>,
    values: Mutex<BTreeMap<String, Slot>>,
}

impl Vault {
    /// Returns the secrets whose sources are given, by name, with their module; one that is not comes
    /// from a variable of its own ([`variable`]). `key_file` is where the project's key is, or comes to be.
    pub(crate) fn new(
        sources: BTreeMap<String, Source>,
        environment: BTreeMap<String, OsString>,
        folder: PathBuf,
        is_trusted: bool,
        key_file: PathBuf,
    ) -> Self {
        let (key, values) = Default::default();
        Self { sources, environment, folder, is_trusted, key_file, key, values }
    }

    /// Returns whether there is something that the value comes from, without a look at it.
    pub(crate) fn is_bound(&self, name: &str) -> bool {
        match self.source(name) {
            Source::Variable(variable) => self.environment.contains_key(&variable),
            Source::File(path) => self.folder.join(path).exists(),
            Source::Command(_) => true,
        }
    }

    /// Returns the value of a secret.
    ///
    /// # Errors
    /// If it cannot be had.
    pub(crate) fn value(&self, name: &str) -> Result<Arc<Value>, SecretError> {
        let slot = {
            let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(values.entry(name.to_owned()).or_default())
        };
        slot.get_or_init(|| self.read(name).map(Arc::new)).clone()
    }

    /// Returns what stands for the value of a secret in keys: with the project's key it tells whether
    /// the value is the same, without it nothing.
    ///
    /// # Errors
    /// If the value or the key cannot be had.
    pub(crate) fn fingerprint(&self, name: &str) -> Result<Digest, SecretError> {
        let key = self
            .key
            .get_or_init(|| key::of_project(&self.environment, &self.key_file).map(Arc::new));
        Ok(Digest::keyed(key.clone()?.line(), self.value(name)?.bytes()))
    }

    fn source(&self, name: &str) -> Source {
        let given = self.sources.get(name).cloned();
        given.unwrap_or_else(|| Source::Variable(variable(name)))
    }

    fn read(&self, name: &str) -> Result<Value, SecretError> {
        let source = self.source(name);
        let from = from(&source);
        let unreadable = |error: io::Error| SecretError::Unreadable {
            name: name.to_owned(),
            from: from.clone(),
            what: error.to_string(),
        };
        let value = match &source {
            Source::Variable(variable) => match self.environment.get(variable) {
                Some(value) => Value(value.as_encoded_bytes().to_vec()),
                None => return Err(unreadable(io::Error::other("it is not set"))),
            },
            Source::File(path) => Value(read_file(&self.folder.join(path)).map_err(unreadable)?),
            Source::Command(line) => Value(self.ask(line).map_err(unreadable)?),
        };
        let name = name.to_owned();
        match value.line().len() as u64 {
            0 => Err(SecretError::Empty { name, from }),
            len if len > MAX_BYTES => Err(SecretError::TooLarge { name }),
            _ => Ok(value),
        }
    }

    fn ask(&self, line: &str) -> io::Result<Vec<u8>> {
        let shell = Path::new("/bin/sh");
        process::output(shell, &["-c", line], &self.folder, &self.environment, PATIENCE)
    }
}

/// Returns the variable that a secret comes from unless its source is given.
pub fn variable(name: &str) -> String {
    format!("KILN_SECRET_{}", eval::variable(name))
}

/// Returns the words for where a value comes from.
fn from(source: &Source) -> String {
    match source {
        Source::Variable(variable) => format!("the variable `{variable}`"),
        Source::File(path) => format!("the file `{}`", path.display()),
        Source::Command(line) => format!("the command `{line}`"),
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 2).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(sources: &[(&str, &str)], environment: &[(&str, &str)], folder: &Path) -> Vault {
        let source =
            |(name, text): &(&str, &str)| ((*name).to_owned(), Source::parse(text).unwrap());
        let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).into());
        let sources = sources.iter().map(source).collect();
        let environment = environment.iter().map(variable).collect();
        Vault::new(sources, environment, folder.to_owned(), true, folder.join("key"))
    }

    #[test]
    fn a_value_comes_from_where_it_is_said_to() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "of a file\r\n").unwrap();
        let sources = [("a", "env:A"), ("b", "file:token"), ("c", "command:echo \"of $A\"")];
        let environment = [("A", "of the environment"), ("KILN_SECRET_WEB_D", "of its own")];
        let vault = vault(&sources, &environment, folder.path());
        for (name, value) in [
            ("a", "of the environment"),
            ("b", "of a file"),
            ("c", "of of the environment"),
            ("web.d", "of its own"),
        ] {
            assert!(vault.is_bound(name), "{name}");
            let found = vault.value(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(String::from_utf8_lossy(found.line()), value);
        }
    }

    #[test]
    fn a_fingerprint_tells_values_apart_and_needs_the_key_of_the_project() {
        let folder = tempfile::tempdir().unwrap();
        let print = |value: &str, environment: &[(&str, &str)], at: &Path| {
            let own = [&[("A", value)], environment].concat();
            vault(&[("a", "env:A")], &own, at).fingerprint("a")
        };
        let first = print("one", &[], folder.path()).unwrap();
        assert_eq!(print("one", &[], folder.path()).unwrap(), first, "the key stays");
        assert_ne!(print("two", &[], folder.path()).unwrap(), first);
        assert_ne!(first, Digest::of(b"one"));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(print("one", &[], other.path()).unwrap(), first, "another project");
        let key = [(key::VARIABLE, "a key that machines share")];
        let shared = print("one", &key, folder.path()).unwrap();
        assert_eq!(print("one", &key, other.path()).unwrap(), shared);
        let error = print("one", &[(key::VARIABLE, "short")], folder.path()).unwrap_err();
        assert!(error.to_string().contains("at least 16 bytes"), "{error}");
        let mode = std::fs::metadata(folder.path().join("key")).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        let gone = print("one", &[], &folder.path().join("key")).unwrap_err();
        assert!(gone.to_string().contains("Not a directory"), "{gone}");
    }

    #[test]
    fn what_gives_no_value_says_so_and_not_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let sources = [
            ("file", "file:nothing"),
            ("empty", "file:empty"),
            ("fails", "command:echo half a secret; exit 3"),
            ("large", "command:head -c 70000 /dev/zero"),
        ];
        let vault = vault(&sources, &[], folder.path());
        let error = |name: &str| vault.value(name).err().unwrap().to_string();
        assert!(!vault.is_bound("file") && !vault.is_bound("unset") && vault.is_bound("fails"));
        assert!(error("file").contains("the file `nothing`"), "{}", error("file"));
        assert_eq!(error("empty"), "the secret `empty` is empty: the file `empty` gives nothing");
        assert!(error("fails").contains("exit status: 3"), "{}", error("fails"));
        assert!(!error("fails").contains("half a secret:"), "{}", error("fails"));
        assert!(error("unset").contains("`KILN_SECRET_UNSET`: it is not set"));
        assert_eq!(error("large"), "the secret `large` has more than 64 KiB");
    }

    #[test]
    fn a_source_is_one_of_three() {
        assert_eq!(Source::parse("env:A"), Some(Source::Variable("A".into())));
        assert_eq!(Source::parse("file:a:b"), Some(Source::File("a:b".into())));
        assert_eq!(Source::parse("vault read x"), None);
        assert_eq!(Source::parse("env:"), None);
    }
}
