//! Diagnostics for people: the message, the lines it is about, and the help.

use kiln::diagnostic::{Diagnostic, Severity};
use kiln::source::{Source, Sources, Span};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, ThemeStyles};

use super::screen::Screen;

/// The number of context lines by which [`Lines`] knows that text is wanted, and not only a place.
const WHOLE_LINES: usize = 1;

/// The most diagnostics that are shown with their lines; the rest would not be read.
const MOST: usize = 50;

/// Writes all diagnostics, and how many there were.
pub(crate) fn show(sources: &Sources, diagnostics: &[Diagnostic]) {
    let handler = handler(&Screen::of_stderr());
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

fn handler(screen: &Screen) -> GraphicalReportHandler {
    let mut theme = match screen.is_utf8 {
        true => GraphicalTheme::unicode(),
        false => GraphicalTheme::ascii(),
    };
    theme.styles = if screen.has_colour { ThemeStyles::ansi() } else { ThemeStyles::none() };
    let (_, columns) = screen.size();
    GraphicalReportHandler::new_themed(theme)
        .with_width(columns)
        .with_links(false)
        .with_context_lines(WHOLE_LINES)
}

/// A diagnostic as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    found: &'a Diagnostic,
    source: Lines,
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
        Self {
            found,
            source: Lines(NamedSource::new(&source.name, source.text.clone())),
            labels,
            help,
        }
    }
}

/// A text that shows the whole lines of what is wanted, and no others.
#[derive(Debug)]
struct Lines(NamedSource<String>);

impl miette::SourceCode for Lines {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        if before + after == 0 {
            return self.0.read_span(span, 0, 0);
        }
        let text = self.0.inner();
        let (start, end) = (span.offset(), span.offset() + span.len());
        let line =
            |at: usize| text.get(..at).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
        let rest = text.get(end..).unwrap_or_default();
        let end = end + rest.find('\n').unwrap_or(rest.len());
        let start = line(start);
        self.0.read_span(&(start, end - start).into(), 0, 0)
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

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}
