//! Diagnostics for people: the message, the lines it is about, the help, and places further away.
//! Knows screens; does not know what any message means.

use kiln::diagnostic::{Diagnostic, Label, Severity};
use kiln::source::{Source, Sources, Span};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, SourceCode, SourceSpan,
    SpanContents, ThemeStyles,
};

use super::clean::printable;
use super::screen::Screen;

/// The most diagnostics that are shown with their lines; the rest would not be read.
const MOST: usize = 50;

/// Labels that many lines away or fewer are shown in one piece with the primary place; the handler
/// would show those further away in a piece of their own, and before the primary place.
const NEAR_LINES: usize = 1;

/// The most bytes of a line before and after what is pointed at.
const AROUND_BYTES: usize = 200;

/// Writes all diagnostics, and how many there were.
pub(crate) fn show(sources: &Sources, diagnostics: &[Diagnostic]) {
    let screen = Screen::of_stderr();
    for found in diagnostics.iter().take(MOST) {
        super::tell(&text(&screen, sources, found));
    }
    let of = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let counts: Vec<_> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| super::count(count, noun))
        .collect();
    let worst = diagnostics.iter().min_by_key(|found| found.severity);
    if let Some(worst) = worst {
        let more = diagnostics.len().saturating_sub(MOST);
        let more = if more > 0 { format!(", {more} of them not shown") } else { String::new() };
        super::tell(&format!("{}{more}; see: kiln explain {}", counts.join(", "), worst.code));
    }
}

fn handler(screen: &Screen, title: &str) -> GraphicalReportHandler {
    let mut theme = match screen.is_utf8 {
        true => GraphicalTheme::unicode(),
        false => GraphicalTheme::ascii(),
    };
    theme.styles = if screen.has_colour { ThemeStyles::ansi() } else { ThemeStyles::none() };
    for word in
        [&mut theme.characters.error, &mut theme.characters.warning, &mut theme.characters.advice]
    {
        *word = format!("{title}:");
    }
    // A help that is broken into lines could not be copied.
    GraphicalReportHandler::new_themed(theme)
        .with_wrap_lines(false)
        .with_links(false)
        .with_context_lines(CONTEXT_LINES)
}

/// Returns a diagnostic as it is read: first its own place, then those further away.
fn text(screen: &Screen, sources: &Sources, found: &Diagnostic) -> String {
    let word = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let (near, far): (Vec<_>, Vec<_>) =
        found.labels.iter().partition(|label| is_near(sources, found.span, label.span));
    let title = format!("{word}[{}]", found.code);
    let mut text = piece(screen, &title, &Shown::of(sources, found, &near));
    for label in far {
        text.push_str(&piece(screen, "note", &Shown::place(sources, label)));
    }
    text
}

fn piece(screen: &Screen, title: &str, shown: &Shown<'_>) -> String {
    let mut text = String::new();
    let done = handler(screen, title).render_report(&mut text, shown);
    done.expect("a text takes all that is written");
    format!("{}\n", text.trim().trim_end_matches('\n'))
}

fn is_near(sources: &Sources, primary: Span, other: Span) -> bool {
    let line = |span: Span| sources.get(span.source).line_column(span.start as usize).0;
    primary.source == other.source && line(primary).abs_diff(line(other)) <= NEAR_LINES
}

/// What the handler asks for when it means the lines to show. With 0 it would show the bytes of the
/// span alone, without the rest of their line; [`Lines`] takes all else away again.
const CONTEXT_LINES: usize = 1;

/// A source that shows whole lines, and none around them.
#[derive(Debug)]
struct Lines<'a> {
    name: &'a str,
    /// As long as the source, byte for byte.
    text: String,
}

impl SourceCode for Lines<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        context_lines_before: usize,
        _context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let text = self.text.as_str();
        let mut start = span.offset().min(text.len());
        let mut end = (start + span.len()).min(text.len());
        if context_lines_before == CONTEXT_LINES {
            let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
            let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at);
            start = text.floor_char_boundary(line_start.max(start.saturating_sub(AROUND_BYTES)));
            end = text.ceil_char_boundary(line_end.min(end + AROUND_BYTES));
        }
        let before = &text[..start];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        let lines = text[start..end].matches('\n').count() + 1;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.name.to_owned(),
            &text.as_bytes()[start..end],
            (start, end - start).into(),
            line,
            column,
            lines,
        )))
    }
}

/// A diagnostic or a part of it as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    message: String,
    severity: miette::Severity,
    source: Lines<'a>,
    labels: Vec<LabeledSpan>,
    help: Option<String>,
}

impl<'a> Shown<'a> {
    /// A diagnostic with the labels that are near its place.
    fn of(sources: &'a Sources, found: &Diagnostic, near: &[&Label]) -> Self {
        let source = sources.get(found.span.source);
        let primary =
            LabeledSpan::new_primary_with_span(found.label.clone(), range(source, found.span));
        let near = near.iter().map(|label| {
            LabeledSpan::new_with_span(Some(label.text.clone()), range(source, label.span))
        });
        Self {
            message: printable(&found.message),
            severity: match found.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            source: Lines { name: &source.name, text: printable(&source.text) },
            labels: std::iter::once(primary).chain(near).collect(),
            help: found.help.as_deref().map(printable),
        }
    }

    /// A place that explains a diagnostic, shown on its own.
    fn place(sources: &'a Sources, label: &Label) -> Self {
        let source = sources.get(label.span.source);
        let place = LabeledSpan::new_primary_with_span(None, range(source, label.span));
        Self {
            message: printable(&label.text),
            severity: miette::Severity::Advice,
            source: Lines { name: &source.name, text: printable(&source.text) },
            labels: vec![place],
            help: None,
        }
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
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
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
