//! `kiln fmt`: writes `.pipe` files in the one style. A file with mistakes stays as it is.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use kiln::session;
use kiln::source::MAX_SOURCE_BYTES;

use crate::cli::{FmtArgs, Ui};
use crate::exit::Exit;
use crate::ui;

/// Folders that hold no files of the author.
const SKIPPED: [&str; 4] = [".git", ".kiln", "target", "node_modules"];

pub(crate) fn run(arguments: &FmtArgs, form: Ui) -> Result<Exit, Exit> {
    if arguments.paths == [Path::new("-")] {
        return standard_input(arguments.check, form);
    }
    let mut exit = Exit::Done;
    for path in files(&arguments.paths)? {
        exit = worse(exit, one(&path, arguments.check, form)?);
    }
    Ok(exit)
}

/// A mistake outweighs a difference.
fn worse(one: Exit, other: Exit) -> Exit {
    match (one, other) {
        (Exit::Pipeline, _) | (_, Exit::Pipeline) => Exit::Pipeline,
        (Exit::Difference, _) | (_, Exit::Difference) => Exit::Difference,
        _ => Exit::Done,
    }
}

fn standard_input(is_check: bool, form: Ui) -> Result<Exit, Exit> {
    let mut bytes = Vec::new();
    let limit = MAX_SOURCE_BYTES as u64 + 1;
    io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(|error| {
        ui::complain(&format!("standard input cannot be read: {error}"), None);
        Exit::Machine
    })?;
    let formatted = session::format("standard input", bytes.clone());
    ui::diagnostics(&formatted.sources, &formatted.diagnostics, form);
    let text = formatted.text.ok_or(Exit::Pipeline)?;
    match is_check {
        true if text.as_bytes() != bytes => Ok(Exit::Difference),
        true => Ok(Exit::Done),
        false => {
            ui::data(text.as_bytes());
            Ok(Exit::Done)
        }
    }
}

fn one(path: &Path, is_check: bool, form: Ui) -> Result<Exit, Exit> {
    let name = path.display().to_string();
    let name = name.strip_prefix("./").unwrap_or(&name);
    let unusable = |doing: &str, error: &io::Error| {
        ui::complain(&format!("cannot {doing} `{name}`: {error}"), None);
        Exit::Machine
    };
    let bytes = read(path).map_err(|error| unusable("read", &error))?;
    let formatted = session::format(name, bytes.clone());
    ui::diagnostics(&formatted.sources, &formatted.diagnostics, form);
    let Some(text) = formatted.text else { return Ok(Exit::Pipeline) };
    if text.as_bytes() == bytes {
        return Ok(Exit::Done);
    }
    if is_check {
        ui::say(&format!("{name} is not in the one style; write it: kiln fmt {name}"));
        return Ok(Exit::Difference);
    }
    replace(path, text.as_bytes()).map_err(|error| unusable("write", &error))?;
    ui::say(&format!("wrote {name}"));
    Ok(Exit::Done)
}

/// More than the limit need not be read to be refused, and only a regular file is.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_SOURCE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whole or not at all: whoever reads the file meanwhile sees the old text or the new one. What a
/// link points to is written, not the link.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(path.metadata()?.permissions())?;
    file.persist(&path)?;
    Ok(())
}

/// Returns the files that the arguments mean, in order; a folder stands for the `.pipe` files below.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Exit> {
    let mut found = Vec::new();
    for path in paths {
        let unreadable = |error: io::Error| {
            ui::complain(&format!("cannot read `{}`: {error}", path.display()), None);
            Exit::Usage
        };
        match path.metadata().map_err(unreadable)?.is_dir() {
            true => below(path, &mut found).map_err(unreadable)?,
            false => found.push(path.clone()),
        }
    }
    Ok(found)
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let mut entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            let is_skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if kind.is_dir() && !is_skipped {
                open.push(path);
            } else if !kind.is_dir() && path.extension().is_some_and(|ending| ending == "pipe") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(())
}
