//! The screen: what the terminal that people look at can show. Knows colours, characters and width;
//! does not know what is written.

use std::io::IsTerminal;

/// The width where nobody says how wide it is.
const USUAL_COLUMNS: usize = 100;

/// What standard error leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Whether lines on it can be drawn again.
    pub(crate) is_live: bool,
    /// Whether colours are shown and wanted.
    pub(crate) has_colour: bool,
    /// Whether characters beyond ASCII are shown.
    pub(crate) is_utf8: bool,
    /// How many columns it has, where it does not say.
    pub(crate) columns: usize,
    /// Whether it is a terminal at all.
    pub(crate) is_terminal: bool,
}

/// What a piece of text means; the words say it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Odd,
    Faint,
    Strong,
}

impl Screen {
    /// Returns what standard error leads to now.
    pub(crate) fn of_stderr() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_terminal = std::io::stderr().is_terminal();
        let is_dumb = variable("TERM").is_none_or(|term| term == "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        let is_utf8 = locale.is_some_and(|value| {
            let value = value.to_string_lossy().to_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        });
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Self {
            is_live: is_terminal && !is_dumb,
            has_colour: is_terminal && !is_dumb && variable("NO_COLOR").is_none(),
            is_utf8,
            columns: columns.unwrap_or(USUAL_COLUMNS),
            is_terminal,
        }
    }

    /// Returns a screen that shows only characters.
    #[cfg(test)]
    pub(crate) fn bare() -> Self {
        let columns = USUAL_COLUMNS;
        Self { is_live: false, has_colour: false, is_utf8: true, columns, is_terminal: false }
    }

    /// Returns how many rows and columns there are at the moment.
    pub(crate) fn size(&self) -> (usize, usize) {
        let size = self.is_terminal.then(|| console::Term::stderr().size_checked()).flatten();
        match size {
            Some((rows, columns)) if columns > 0 => (usize::from(rows), usize::from(columns)),
            _ => (24, self.columns),
        }
    }

    /// Returns `text` in the colour of its meaning.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Odd => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        if self.has_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Returns the mark of something left out.
    pub(crate) fn ellipsis(&self) -> &'static str {
        if self.is_utf8 { "…" } else { "..." }
    }
}
