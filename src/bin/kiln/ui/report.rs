//! Diagnostics for people: the message, the lines it is about, and the help.

use std::io::IsTerminal;

use kiln::diagnostic::{Diagnostic, Severity};
use kiln::source::{Source, Sources, Span};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, SourceCode, SourceSpan,
    SpanContents, ThemeStyles,
};

/// The most diagnostics that are shown with their lines; the rest would not be read.
const MOST: usize = 50;

/// Writes all diagnostics, and how many there were.
pub(crate) fn show(sources: &Sources, diagnostics: &[Diagnostic]) {
    let handler = handler();
    for found in diagnostics.iter().take(MOST) {
        let mut text = String::new();
        // Labels can be shown in one source only; others are told in a line.
        let shown = Shown::new(sources, found);
        handler.render_report(&mut text, &shown).expect("a text takes all that is written");
        super::tell(text.trim_end_matches('\n'));
        super::tell("");
    }
    let of = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let counts: Vec<_> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| super::count(count, noun))
        .collect();
    if !counts.is_empty() {
        let more = diagnostics.len().saturating_sub(MOST);
        let more = if more > 0 { format!(", {more} of them not shown") } else { String::new() };
        super::tell(&format!("{}{more}", counts.join(", ")));
    }
}

fn handler() -> GraphicalReportHandler {
    let is_terminal = std::io::stderr().is_terminal();
    let has_colour =
        is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let is_utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .is_some_and(|value| {
            let value = value.to_string_lossy().to_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        });
    let mut theme = match is_utf8 {
        true => GraphicalTheme::unicode(),
        false => GraphicalTheme::ascii(),
    };
    theme.styles = if has_colour { ThemeStyles::ansi() } else { ThemeStyles::none() };
    let width = match is_terminal {
        true => {
            std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(100)
        }
        false => 100,
    };
    GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false)
        .with_context_lines(CONTEXT_LINES)
}

/// What the handler asks for when it means the lines to show. With 0 it would show the bytes of the
/// span alone, without the rest of their line; [`Lines`] takes all else away again.
const CONTEXT_LINES: usize = 1;

/// A source that shows whole lines, and none around them.
#[derive(Debug)]
struct Lines<'a>(&'a Source);

impl SourceCode for Lines<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        context_lines_before: usize,
        _context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let text = self.0.text.as_str();
        let mut start = span.offset().min(text.len());
        let mut end = (start + span.len()).min(text.len());
        if context_lines_before == CONTEXT_LINES {
            start = text[..start].rfind('\n').map_or(0, |at| at + 1);
            end = text[end..].find('\n').map_or(text.len(), |at| end + at);
        }
        let before = &text[..start];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        let lines = text[start..end].matches('\n').count() + 1;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.0.name.clone(),
            &text.as_bytes()[start..end],
            (start, end - start).into(),
            line,
            column,
            lines,
        )))
    }
}

/// A diagnostic as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    found: &'a Diagnostic,
    source: Lines<'a>,
    labels: Vec<LabeledSpan>,
    help: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(sources: &'a Sources, found: &'a Diagnostic) -> Self {
        let source = sources.get(found.span.source);
        let mut labels = vec![LabeledSpan::new_primary_with_span(
            found.label.clone(),
            range(source, found.span),
        )];
        let mut elsewhere = Vec::new();
        for label in &found.labels {
            if label.span.source == found.span.source {
                labels.push(LabeledSpan::new_with_span(
                    Some(label.text.clone()),
                    range(source, label.span),
                ));
            } else {
                let other = sources.get(label.span.source);
                let (line, column) = other.line_column(label.span.start as usize);
                elsewhere.push(format!("{}:{line}:{column}: {}", other.name, label.text));
            }
        }
        elsewhere.extend(found.help.clone());
        let help = if elsewhere.is_empty() { None } else { Some(elsewhere.join("\n")) };
        Self { found, source: Lines(source), labels, help }
    }
}

/// miette counts bytes, too, but wants something to point at: an empty span gets a byte.
fn range(source: &Source, span: Span) -> (usize, usize) {
    let len = (span.end - span.start) as usize;
    let next = source.text[span.start as usize..].chars().next();
    let at_least = next.filter(|next| *next != '\n').map_or(0, char::len_utf8);
    (span.start as usize, len.max(at_least))
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.found.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code(&self) -> Option<Box<dyn std::fmt::Display + '_>> {
        Some(Box::new(self.found.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.found.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help(&self) -> Option<Box<dyn std::fmt::Display + '_>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
