//! The event stream for programs: one JSON object a line, as `docs/events.schema.json` says. Knows
//! the envelope and the clock; does not know what the events mean.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln::diagnostic::Diagnostic;
use kiln::event::{Envelope, Event, VERSION};
use kiln::source::Sources;

/// Writes an event for each diagnostic.
pub(crate) fn diagnostics(sources: &Sources, diagnostics: &[Diagnostic]) {
    for (seq, found) in (0..).zip(diagnostics) {
        let event = Event::diagnostic(found, sources);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        super::json(&Envelope { v: VERSION, seq, ts: timestamp(since), event });
    }
}

/// Returns the time that long after the beginning of 1970, UTC: `2026-01-31T09:05:00.250Z`.
fn timestamp(since: Duration) -> String {
    let secs = since.as_secs();
    let (year, month, day) = date(secs / 86_400);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Returns the date that many days after the beginning of 1970.
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that leap days come last; 719,468 days before 1970 a cycle of
    // 400 years begins.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (cycle * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339_says() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.250Z"),
            (951_782_399, "2000-02-28T23:59:59.250Z"),
            (951_782_400, "2000-02-29T00:00:00.250Z"),
            (1_709_251_199, "2024-02-29T23:59:59.250Z"),
            (4_107_542_400, "2100-03-01T00:00:00.250Z"),
        ] {
            assert_eq!(timestamp(Duration::new(secs, 250_000_000)), text);
        }
    }
}
