//! The journal: the events of each run, numbered, dated and kept. Knows the clock and the files of
//! past runs; does not know what the events mean.
//!
//! `runs/ID.jsonl` in the project's state folder holds a run, one event a line, as `--ui jsonl`
//! prints it. An id is the time at which the run began and a number that makes it unique. The last
//! line of a run that was killed may be torn: it is skipped. `runs/ID.made-of` has what went into the keys
//! of the steps that the run looked at.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::event::{Envelope, Event, VERSION};

/// How many runs are kept.
const MAX_RUNS: usize = 50;

/// How many bytes all earlier runs may take when one begins: steps may write without end.
const MAX_BYTES: u64 = 256 << 20;

/// How the names of journals end.
const SUFFIX: &str = ".jsonl";

/// How the names of files end that say what went into keys.
const BOOK_SUFFIX: &str = "made-of";

/// The journal of a run under way.
pub(crate) struct Journal {
    run: String,
    seq: u64,
    /// `None` where nothing can be written: a run without a journal is better than none.
    file: Option<BufWriter<File>>,
    /// Whether something happened that must survive a power cut.
    is_precious: bool,
    fault: Option<io::Error>,
    /// The millisecond of the last event, and how it is written: many have the same.
    moment: (u128, String),
}

impl Journal {
    /// Begins the journal of a new run in the folder `runs`, and drops the oldest ones.
    pub(crate) fn begin(runs: &Path) -> Self {
        let mut journal = Self::unkept();
        match journal.open(runs) {
            Ok(file) => journal.file = Some(BufWriter::new(file)),
            Err(error) => journal.fault = Some(error),
        }
        journal
    }

    /// Returns a journal that numbers and dates events and keeps none. Its id is the time alone.
    pub(crate) fn unkept() -> Self {
        let now = timestamp(now());
        let run = now.chars().filter(|char| !matches!(char, '-' | ':' | '.')).collect();
        let moment = (u128::MAX, String::new());
        Self { run, seq: 0, file: None, is_precious: false, fault: None, moment }
    }

    /// Returns the id of the run.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Returns why the run is not kept, or not as a whole, once.
    pub(crate) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// Numbers and dates an event, and keeps it. What was written in an earlier run is kept there.
    pub(crate) fn add(&mut self, event: Event) -> Envelope {
        let is_last = matches!(event, Event::RunFinished(_));
        self.is_precious |= matches!(event, Event::StepStarted(_));
        let is_kept = !matches!(&event, Event::StepOutput(output) if output.replayed);
        let envelope = Envelope { v: VERSION, seq: self.seq, ts: self.moment(), event };
        self.seq += 1;
        if let Some(file) = self.file.as_mut().filter(|_| is_kept) {
            let written = write_line(file, &envelope).and_then(|()| match is_last {
                true => finish(file, self.is_precious),
                false => Ok(()),
            });
            if let Err(error) = written {
                self.fault = Some(error);
                self.file = None;
            }
        }
        envelope
    }

    fn moment(&mut self) -> String {
        let now = now();
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        if self.moment.0 != millis {
            self.moment = (millis, timestamp(now));
        }
        self.moment.1.clone()
    }

    fn open(&mut self, runs: &Path) -> io::Result<File> {
        fs::create_dir_all(runs)?;
        let mut kept = list(runs);
        for old in kept.split_off(spared(runs, &kept, MAX_BYTES)) {
            let _ = fs::remove_file(path(runs, &old).with_extension(BOOK_SUFFIX));
            match fs::remove_file(path(runs, &old)) {
                // A run that began at the same moment was quicker.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        let stem = self.run.clone();
        for number in 1.. {
            self.run = format!("{stem}-{number}");
            match OpenOptions::new().write(true).create_new(true).open(path(runs, &self.run)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return opened,
            }
        }
        unreachable!("one of the numbers is free")
    }
}

/// Returns the ids of the runs that are kept in the folder `runs`, the latest first.
pub(crate) fn list(runs: &Path) -> Vec<String> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<_> =
        names.filter_map(|name| name.strip_suffix(SUFFIX).map(str::to_owned)).collect();
    // Numbers of one moment may have several digits.
    ids.sort_unstable_by_key(|id| {
        let (time, number) = id.rsplit_once('-').unwrap_or((id, ""));
        std::cmp::Reverse((time.to_owned(), number.parse::<u64>().unwrap_or(0)))
    });
    ids
}

/// Returns the events of a run, in order.
///
/// # Errors
/// If there is no such run, or it cannot be read.
pub(crate) fn read(runs: &Path, run: &str) -> io::Result<impl Iterator<Item = Envelope> + use<>> {
    if run.contains('/') {
        return Err(io::ErrorKind::NotFound.into());
    }
    read_file(&path(runs, run))
}

/// Returns the events of a journal that may be another machine's, in order.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_file(path: &Path) -> io::Result<impl Iterator<Item = Envelope> + use<>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()))
}

/// Keeps what went into the keys of a run, beside its journal.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_book(runs: &Path, run: &str, book: &[u8]) -> io::Result<()> {
    fs::write(path(runs, run).with_extension(BOOK_SUFFIX), book)
}

/// Returns what [`write_book`] kept beside the journal `file`, if it is still there.
pub(crate) fn read_book(file: &Path) -> Option<Vec<u8>> {
    fs::read(file.with_extension(BOOK_SUFFIX)).ok()
}

/// Returns how many of the runs stay when one more begins, the latest first: so many as are kept, as
/// far as they take so many bytes together.
fn spared(runs: &Path, ids: &[String], most: u64) -> usize {
    let mut bytes = 0;
    let fits = |id: &&String| {
        bytes += fs::metadata(path(runs, id)).map_or(0, |file| file.len());
        bytes <= most
    };
    ids.iter().take(MAX_RUNS - 1).take_while(fits).count()
}

/// Returns the file of a run's journal.
pub(crate) fn path(runs: &Path, run: &str) -> PathBuf {
    runs.join(format!("{run}{SUFFIX}"))
}

fn write_line(file: &mut BufWriter<File>, envelope: &Envelope) -> io::Result<()> {
    serde_json::to_writer(&mut *file, envelope)?;
    file.write_all(b"\n")?;
    // What the listener is about to hear must be there after a crash of ours.
    match envelope.event {
        Event::StepOutput(_) => Ok(()),
        Event::StepFinished(ref step) if step.outcome == crate::event::Outcome::Cached => Ok(()),
        _ => file.flush(),
    }
}

fn finish(file: &mut BufWriter<File>, is_precious: bool) -> io::Result<()> {
    file.flush()?;
    if is_precious { file.get_ref().sync_data() } else { Ok(()) }
}

#[expect(clippy::disallowed_methods, reason = "this is the engine's home of the clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A time as RFC 3339 has it, in UTC, with milliseconds. Times before 1970 are 1970.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, secs) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The Gregorian date of a number of days since 1970. Years are counted from March, so that the
/// leap day is the last of its year, and in eras of 400 years, which all have as many days.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{Counts, RunFinished, StepOutput, Stream, Warning};

    fn warning(text: &str) -> Event {
        Event::Warning(Warning { message: text.into(), help: None, step: None })
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |secs| timestamp(UNIX_EPOCH + Duration::from_millis(secs));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(951_868_799_999), "2000-02-29T23:59:59.999Z");
        assert_eq!(at(4_107_542_400_001), "2100-03-01T00:00:00.001Z");
        assert_eq!(at(1_798_761_599_000), "2026-12-31T23:59:59.000Z");
    }

    #[test]
    fn a_run_is_read_as_it_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        let mut journal = Journal::begin(&runs);
        let replayed = StepOutput { replayed: true, ..StepOutput::new("a", Stream::Stdout, b"x") };
        let counts = Counts::default();
        let said = [
            warning("one"),
            Event::StepOutput(StepOutput::new("a", Stream::Stdout, b"\xff")),
            Event::StepOutput(replayed),
            Event::RunFinished(RunFinished { exit: 0, counts, millis: 1 }),
        ];
        let mut said: Vec<_> = said.map(|event| journal.add(event)).into();
        assert_eq!(said.iter().map(|event| event.seq).collect::<Vec<_>>(), [0, 1, 2, 3]);
        said.remove(2);
        let kept: Vec<_> = read(&runs, journal.run()).unwrap().collect();
        assert_eq!(kept, said);
        assert!(read(&runs, "../x").is_err());
    }

    #[test]
    fn a_torn_line_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(dir.path());
        journal.add(warning("one"));
        journal.add(warning("two"));
        let file = path(dir.path(), journal.run());
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
        assert_eq!(read(dir.path(), journal.run()).unwrap().count(), 1);
    }

    #[test]
    fn only_the_latest_runs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<_> =
            (0..MAX_RUNS + 20).map(|_| Journal::begin(dir.path()).run().to_owned()).collect();
        let kept = list(dir.path());
        assert_eq!(kept.len(), MAX_RUNS);
        assert_eq!(kept, ids.into_iter().rev().take(MAX_RUNS).collect::<Vec<_>>());
    }

    #[test]
    fn runs_that_take_much_room_make_way() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..4 {
            let mut journal = Journal::begin(dir.path());
            journal.add(warning("x"));
        }
        let ids = list(dir.path());
        let each = fs::metadata(path(dir.path(), &ids[0])).unwrap().len();
        for (most, left) in [(0, 0), (each, 1), (2 * each + 1, 2), (MAX_BYTES, 4)] {
            assert_eq!(spared(dir.path(), &ids, most), left);
        }
        let large = File::options().write(true).open(path(dir.path(), &ids[1])).unwrap();
        large.set_len(MAX_BYTES).unwrap();
        let new = Journal::begin(dir.path()).run().to_owned();
        // The numbers of one moment are used again, so either may be the first.
        let left = list(dir.path());
        assert!(left.len() == 2 && left.contains(&new) && left.contains(&ids[0]), "{left:?}");
    }

    #[test]
    fn a_run_that_cannot_be_kept_is_said_all_the_same() {
        let mut journal = Journal::begin(Path::new("/proc/nothing"));
        assert_eq!(journal.add(warning("x")).seq, 0);
        assert!(journal.take_fault().is_some() && journal.take_fault().is_none());
    }

    #[test]
    fn runs_that_begin_at_once_do_not_mind_who_removes_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut journal = Journal::begin(dir.path());
                        assert!(journal.take_fault().is_none());
                    }
                });
            }
        });
    }
}
