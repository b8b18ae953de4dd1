//! A shell for steps whose root has none: words, quotes, programs, and the few commands without which
//! one cannot look around. Knows nothing of Kiln. It runs in any root, see `kiln shell`.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, ExitCode};

const HELP: &str = "\
This step's root has no shell, so this is a small one of Kiln's own. It runs programs with their
arguments, and knows
  cd [DIR]  pwd  ls [PATH…]  cat FILE…  env  exit [CODE]  help
Words may stand in '…' or \"…\". There are no variables, pipes, redirections or patterns.
";

/// Returns whether this process was started as one.
pub(crate) fn is_asked_for() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name().is_some_and(|name| name == kiln::session::SMALL_SHELL)
}

/// Reads commands and does them until there are no more; the exit code is that of the last.
pub(crate) fn run() -> ExitCode {
    let stdin = io::stdin();
    let is_typed = stdin.is_terminal();
    if is_typed {
        say(HELP);
    }
    let mut code = 0;
    let mut lines = stdin.lock().lines();
    loop {
        if is_typed {
            let folder = std::env::current_dir().unwrap_or_default();
            say(&format!("{} $ ", folder.display()));
        }
        let Some(Ok(line)) = lines.next() else { break };
        let words = match words(&line) {
            Ok(words) => words,
            Err(what) => {
                complain(what);
                code = 2;
                continue;
            }
        };
        let Some((command, arguments)) = words.split_first() else { continue };
        if command == "exit" {
            code = arguments.first().map_or(Some(code), |code| code.parse().ok()).unwrap_or(2);
            break;
        }
        code = act(command, arguments);
    }
    ExitCode::from(code)
}

fn act(command: &str, arguments: &[String]) -> u8 {
    let done = match command {
        "help" => {
            say(HELP);
            Ok(())
        }
        "pwd" => std::env::current_dir().map(|folder| say(&format!("{}\n", folder.display()))),
        "cd" => {
            let home = std::env::var("HOME").unwrap_or_else(|_| "/".to_owned());
            std::env::set_current_dir(arguments.first().unwrap_or(&home))
        }
        "env" => {
            let mut all: Vec<_> = std::env::vars_os().collect();
            all.sort();
            all.iter().for_each(|(name, value)| {
                say(&format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy()));
            });
            Ok(())
        }
        "ls" if arguments.is_empty() => list("."),
        "ls" => arguments.iter().try_for_each(|path| list(path)),
        "cat" => arguments.iter().try_for_each(|path| {
            io::copy(&mut fs::File::open(path)?, &mut io::stdout().lock()).map(drop)
        }),
        _ => return start(command, arguments),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            complain(&format!("{command}: {error}"));
            1
        }
    }
}

fn start(program: &str, arguments: &[String]) -> u8 {
    match Command::new(program).args(arguments).status() {
        Ok(status) => u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            complain(&format!(
                "{program}: there is no such program here; `help` says what there is"
            ));
            127
        }
        Err(error) => {
            complain(&format!("{program}: {error}"));
            126
        }
    }
}

/// Shows a file, or what is in a directory: mode, size and name.
fn list(path: &str) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return entry(Path::new(path));
    }
    let mut paths: Vec<_> = fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().try_for_each(|path| entry(path))
}

fn entry(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let kind = match found.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_file() => '-',
        _ => '?',
    };
    let to = fs::read_link(path).map(|to| format!(" -> {}", to.display())).unwrap_or_default();
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mode = found.permissions().mode() & 0o7777;
    say(&format!("{kind}{mode:04o} {:>12} {name}{to}\n", found.size()));
    Ok(())
}

/// Splits a line into words.
fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for char in line.chars() {
        match (quote, char) {
            (Some(end), _) if end == char => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, char) if char.is_whitespace() => words.extend(word.take()),
            (None, '|' | '>' | '<' | '&' | ';' | '$' | '`' | '*' | '\\') => {
                return Err("a character that means more to other shells: put the word in '…'");
            }
            _ => word.get_or_insert_default().push(char),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "kiln-shell: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_into_words() {
        let split = |line| words(line).unwrap();
        assert_eq!(split("  ls  -l a\tb "), ["ls", "-l", "a", "b"]);
        assert_eq!(split("cat 'a b' \"it's\" ''"), ["cat", "a b", "it's", ""]);
        assert!(split("").is_empty());
        assert!(words("ls 'a").is_err() && words("ls | cat").is_err());
    }
}
