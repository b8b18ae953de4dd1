//! Reports of tests in JUnit's form: how many there are, and which failed. Knows the elements and
//! attributes that reporters write; does not know who wrote them.
//!
//! There is no one standard. What is read here is what the reporters of pytest, cargo-nextest, Node,
//! Jest, Go, Maven and others have in common: `testcase` elements at any depth, each with at most
//! one verdict of its own (`failure`, `error`, `skipped`). The totals that suites claim are not read.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event as Xml};

use crate::event::{FailedTest, Tests};

/// The most failed tests that are named; all are counted.
const MAX_NAMED: usize = 100;

/// The most bytes of a name or a path.
const MAX_NAME_BYTES: usize = 500;

/// The most bytes of what a failed test says.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Why a file is no report of tests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    /// It is not well-formed XML.
    #[error("it is not XML that can be read: {0} (at byte {1})")]
    Xml(String, u64),
    /// It holds no element at all.
    #[error("it holds no XML element")]
    Empty,
    /// It is XML of another kind.
    #[error("its outermost element is `{0}`, not `testsuites` or `testsuite`")]
    Other(String),
    /// It ends within an element.
    #[error("it ends within an element, as if it had not been written to its end")]
    Cut,
}

/// Reads a report. Takes time and memory in proportion to its length; bytes that are not UTF-8 become
/// U+FFFD.
///
/// # Errors
/// If it is no report, or is cut off.
pub(crate) fn read(report: &[u8]) -> Result<Tests, ReportError> {
    let text = String::from_utf8_lossy(report);
    let mut reader = Reader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut reading = Reading::default();
    loop {
        let event = reader.read_event();
        let event = event.map_err(|error| match error {
            quick_xml::Error::IllFormed(quick_xml::errors::IllFormedError::MissingEndTag(_)) => {
                ReportError::Cut
            }
            error => ReportError::Xml(error.to_string(), reader.error_position()),
        })?;
        match event {
            Xml::Start(element) => reading.open(&element)?,
            Xml::End(_) => reading.close(),
            Xml::Text(text) => reading.text(&text.xml10_content()),
            Xml::CData(text) => reading.text(&text.xml10_content()),
            Xml::GeneralRef(name) => {
                let known = name.resolve_char_ref().ok().flatten().map(String::from);
                let known = known.or_else(|| {
                    let name = name.xml10_content();
                    quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned)
                });
                reading.text(known.as_deref().unwrap_or("\u{fffd}"));
            }
            Xml::Eof => break,
            _ => {}
        }
    }
    match (reading.has_root, reading.depth) {
        (false, _) => Err(ReportError::Empty),
        (true, 0) => Ok(reading.tests),
        (true, _) => Err(ReportError::Cut),
    }
}

/// A report, as far as it is read.
#[derive(Default)]
struct Reading {
    tests: Tests,
    depth: usize,
    has_root: bool,
    /// The test case that is open, with the depth of its element.
    case: Option<(Case, usize)>,
    /// The depth of the verdict that is open, whose text counts.
    verdict: Option<usize>,
}

/// A test case.
#[derive(Default)]
struct Case {
    test: FailedTest,
    verdict: Verdict,
    /// What the verdict says between its tags, for want of a message.
    text: String,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Passed,
    Skipped,
    Failed,
}

impl Reading {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), ReportError> {
        self.depth += 1;
        let name = element.local_name();
        let name = name.into_inner();
        if !self.has_root {
            self.has_root = true;
            if !matches!(name, "testsuites" | "testsuite") {
                return Err(ReportError::Other(cut(name, MAX_NAME_BYTES)));
            }
        }
        let is_child = |depth: usize| self.depth == depth + 1;
        match (name, &mut self.case) {
            ("testcase", case @ None) => {
                let test = FailedTest {
                    name: attribute(element, "name", MAX_NAME_BYTES).unwrap_or_default(),
                    group: attribute(element, "classname", MAX_NAME_BYTES),
                    file: attribute(element, "file", MAX_NAME_BYTES),
                    line: attribute(element, "line", 20).and_then(|line| line.parse().ok()),
                    message: String::new(),
                };
                *case = Some((Case { test, ..Case::default() }, self.depth));
            }
            ("failure" | "error", Some((case, depth)))
                if is_child(*depth) && case.verdict != Verdict::Failed =>
            {
                case.verdict = Verdict::Failed;
                case.test.message =
                    attribute(element, "message", MAX_MESSAGE_BYTES).unwrap_or_default();
                self.verdict = Some(self.depth);
            }
            ("skipped", Some((case, depth)))
                if is_child(*depth) && case.verdict == Verdict::Passed =>
            {
                case.verdict = Verdict::Skipped;
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let (Some((case, _)), Some(_)) = (&mut self.case, self.verdict) {
            let room = MAX_MESSAGE_BYTES.saturating_sub(case.text.len());
            case.text.push_str(&text[..text.floor_char_boundary(room)]);
        }
    }

    fn close(&mut self) {
        self.verdict = self.verdict.filter(|depth| *depth != self.depth);
        if let Some((case, _)) = self.case.take_if(|(_, depth)| *depth == self.depth) {
            self.count(case);
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn count(&mut self, case: Case) {
        self.tests.total = self.tests.total.saturating_add(1);
        match case.verdict {
            Verdict::Passed => {}
            Verdict::Skipped => self.tests.skipped = self.tests.skipped.saturating_add(1),
            Verdict::Failed => {
                self.tests.failed = self.tests.failed.saturating_add(1);
                if self.tests.failures.len() < MAX_NAMED {
                    let mut test = case.test;
                    if test.message.trim().is_empty() {
                        test.message = case.text.trim().to_owned();
                    }
                    self.tests.failures.push(test);
                }
            }
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str, most: usize) -> Option<String> {
    // Without the check for doubles, which takes quadratic time.
    let mut attributes = element.attributes();
    let mut found = attributes.with_checks(false).flatten();
    let found = found.find(|attribute| attribute.key.as_ref() == name)?;
    let value = match found.normalized_value(XmlVersion::Implicit1_0) {
        Ok(value) => value.into_owned(),
        // An entity that nobody knows: as it stands.
        Err(_) => found.value.into_owned(),
    };
    Some(cut(&value, most)).filter(|value| !value.is_empty())
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

impl Tests {
    /// Adds what another report of the same step says.
    pub(crate) fn add(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
        let room = MAX_NAMED.saturating_sub(self.failures.len());
        self.failures.extend(other.failures.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYTEST: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="1" skipped="1" tests="3">
<testcase classname="tests.test_a" name="test_good" time="0.001" />
<testcase classname="tests.test_a" name="test_bad[&lt;x&gt;]" file="tests/test_a.py" line="12" time="0.001">
<failure message="assert 1 == 2&#10; +  where">def test_bad():
&gt;  assert 1 == 2</failure></testcase>
<testcase classname="tests.test_a" name="test_later"><skipped type="pytest.skip" message="no">x</skipped></testcase>
</testsuite></testsuites>"#;

    #[test]
    fn cases_are_counted_and_failures_named() {
        let tests = read(PYTEST.as_bytes()).unwrap();
        assert_eq!((tests.total, tests.failed, tests.skipped), (3, 1, 1));
        let [failed] = &tests.failures[..] else { panic!("{:?}", tests.failures) };
        assert_eq!(failed.name, "test_bad[<x>]");
        assert_eq!(failed.group.as_deref(), Some("tests.test_a"));
        assert_eq!((failed.file.as_deref(), failed.line), (Some("tests/test_a.py"), Some(12)));
        assert_eq!(failed.message, "assert 1 == 2\n +  where");
    }

    #[test]
    fn the_text_stands_in_for_a_message_that_is_not_there() {
        let report = "<testsuite><testcase name='a'><error type='E'><![CDATA[ at <b> ]]>&amp; c\
                      </error><system-out>noise</system-out></testcase></testsuite>";
        let tests = read(report.as_bytes()).unwrap();
        assert_eq!(tests.failures[0].message, "at <b> & c");
    }

    #[test]
    fn suites_nest_and_a_rerun_that_passed_is_no_failure() {
        let report = "<testsuites><testsuite><testsuite><testcase name='a'><flakyFailure>x\
                      </flakyFailure><system-out><failure/></system-out></testcase></testsuite>\
                      <testcase name='b'/></testsuite></testsuites>";
        let tests = read(report.as_bytes()).unwrap();
        assert_eq!((tests.total, tests.failed), (2, 0));
    }

    #[test]
    fn a_case_counts_once_however_often_it_failed() {
        let report = "<testsuite><testcase name='a'><failure message='1'/><error message='2'/>\
                      <skipped/></testcase></testsuite>";
        let tests = read(report.as_bytes()).unwrap();
        assert_eq!((tests.total, tests.failed, tests.skipped), (1, 1, 0));
        assert_eq!(tests.failures[0].message, "1");
    }

    #[test]
    fn what_is_no_report_is_told_with_its_reason() {
        let error = |report: &str| read(report.as_bytes()).unwrap_err();
        assert_eq!(error(""), ReportError::Empty);
        assert_eq!(error("3 passed"), ReportError::Empty);
        assert_eq!(error("<html></html>"), ReportError::Other("html".into()));
        assert_eq!(error("<testsuite><testcase name='a'>"), ReportError::Cut);
        assert!(matches!(error("<testsuite></testcase>"), ReportError::Xml(..)));
        assert!(matches!(error("<testsuite name='a"), ReportError::Xml(..)));
    }

    #[test]
    fn a_hostile_report_is_read_in_bounded_memory() {
        let deep = "<testsuite>".repeat(200_000);
        assert_eq!(read(deep.as_bytes()), Err(ReportError::Cut));
        let entities = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\
                        <testsuite><testcase name='&b;'><failure>&b;</failure></testcase></testsuite>";
        let tests = read(entities.as_bytes()).unwrap();
        assert_eq!((&*tests.failures[0].name, &*tests.failures[0].message), ("&b;", "\u{fffd}"));
        let case =
            format!("<testcase name='{0}'><failure>{0}</failure></testcase>", "é".repeat(9999));
        let many = format!("<testsuite>{}</testsuite>", case.repeat(300));
        let tests = read(many.as_bytes()).unwrap();
        assert_eq!((tests.failed, tests.failures.len()), (300, MAX_NAMED));
        assert!(tests.failures.iter().all(|test| test.name.len() <= MAX_NAME_BYTES));
        assert!(tests.failures.iter().all(|test| test.message.len() <= MAX_MESSAGE_BYTES));
    }
}
