//! The mask over what a step writes: wherever a secret stands, in any of its forms and however the
//! writes are cut, there are three stars. Knows bytes; does not know where they go.
//!
//! Each byte is looked at once, and no more is held back than the longest form is long: an automaton
//! knows at each byte how many of the last ones may be the begin of a secret.

use std::collections::{BTreeMap, VecDeque, vec_deque::Drain};
use std::io::{self, Read};

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::noncontiguous::NFA;
use aho_corasick::{Anchored, Input};

use super::Value;
use super::forms::{MIN_BYTES, forms};

/// What stands where a secret stood.
const STARS: &[u8] = b"***";

/// The most bytes of line ends in a row that an encoding goes on after.
const MAX_LINE_END: usize = 2;

/// The secrets to look for.
pub(crate) struct Mask {
    /// Forms that stand as they are.
    plain: Forms,
    /// Forms that programs break into lines, wherever a line is full.
    wrapped: Forms,
    /// The secrets that are too short to be looked for in all their forms.
    short: Vec<String>,
}

impl Mask {
    /// Returns a mask for secrets with their names.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Self {
        let (mut plain, mut wrapped, mut short) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, value) in secrets {
            let forms = forms(value.line());
            plain.extend(forms.plain.into_iter().map(|form| (form, name.to_owned())));
            wrapped.extend(forms.wrapped.into_iter().map(|form| (form, name.to_owned())));
            if value.line().len() < MIN_BYTES {
                short.push(name.to_owned());
            }
        }
        Self { plain: Forms::new(plain), wrapped: Forms::new(wrapped), short }
    }

    /// Returns the secrets that are too short to be hidden in whatever form they come.
    pub(crate) fn short(&self) -> &[String] {
        &self.short
    }

    /// Returns the name of a secret that stands in a text, if there is one.
    pub(crate) fn find(&self, text: &[u8]) -> Option<&str> {
        self.plain.find(text).or_else(|| self.wrapped.find(text))
    }

    /// Returns the name of a secret that stands in a file, if there is one; `open` opens it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn find_in<R: Read>(
        &self,
        open: impl Fn() -> io::Result<R>,
    ) -> io::Result<Option<&str>> {
        match self.plain.find_in(&open)? {
            None => self.wrapped.find_in(|| Ok(Unwrapped(open()?))),
            found => Ok(found),
        }
    }

    /// Returns a text with stars where a secret stands.
    pub(crate) fn cover(&self, text: &str) -> String {
        let mut masked = Masked::new(self);
        let mut shown = masked.add(text.as_bytes());
        shown.extend(masked.rest());
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// Forms of secrets, and what finds them.
struct Forms {
    /// The name of the secret of each form.
    owners: Vec<String>,
    automaton: NFA,
    /// What each state of the automaton means.
    states: Vec<Seen>,
}

/// What the last bytes may be, and what they are; 0 is nothing.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// How many may be the begin of a form.
    begun: u32,
    /// How many are a form.
    found: u32,
}

impl Forms {
    fn new(forms: BTreeMap<Vec<u8>, String>) -> Self {
        let (forms, owners): (Vec<_>, _) = forms.into_iter().unzip();
        // Others are faster, and may take a hundred times the memory, and the square of the time to build.
        let automaton = NFA::builder().prefilter(false).build(&forms);
        let automaton = automaton.expect("secrets have at most 64 KiB");
        let states = meanings(&automaton, &forms);
        Self { owners, automaton, states }
    }

    fn find(&self, text: &[u8]) -> Option<&str> {
        let found = self.automaton.try_find(&Input::new(text)).expect("it looks everywhere")?;
        Some(&self.owners[found.pattern().as_usize()])
    }

    fn find_in<R: Read>(&self, open: impl Fn() -> io::Result<R>) -> io::Result<Option<&str>> {
        if self.owners.is_empty() {
            return Ok(None);
        }
        let mut all = self.automaton.try_stream_find_iter(open()?).expect("it looks everywhere");
        let found = all.next().transpose()?;
        Ok(found.map(|found| &*self.owners[found.pattern().as_usize()]))
    }

    fn start(&self) -> StateID {
        self.automaton.start_state(Anchored::No).expect("it looks everywhere")
    }

    fn after(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, byte)
    }

    fn seen(&self, state: StateID) -> Seen {
        self.states.get(state.as_usize()).copied().unwrap_or_default()
    }
}

/// Returns what each state of an automaton over `forms` means. The begin of a form leads to a state of
/// its own, since no longer begin of another ends there.
fn meanings(automaton: &NFA, forms: &[Vec<u8>]) -> Vec<Seen> {
    let mut states = Vec::new();
    for form in forms {
        let mut state = automaton.start_state(Anchored::No).expect("it looks everywhere");
        for (at, byte) in form.iter().enumerate() {
            state = automaton.next_state(Anchored::No, state, *byte);
            let place = state.as_usize();
            if states.len() <= place {
                states.resize(place + 1, Seen::default());
            }
            let ends = (0..automaton.match_len(state))
                .map(|index| automaton.pattern_len(automaton.match_pattern(state, index)));
            let narrow = |len| u32::try_from(len).expect("forms are short");
            states[place] = Seen { begun: narrow(at + 1), found: narrow(ends.max().unwrap_or(0)) };
        }
    }
    states
}

/// What is read, without the ends of its lines.
struct Unwrapped<R>(R);

impl<R: Read> Read for Unwrapped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.0.read(buffer)?;
            let mut kept = 0;
            for at in 0..len {
                if !is_line_end(buffer[at]) {
                    buffer[kept] = buffer[at];
                    kept += 1;
                }
            }
            if kept > 0 || len == 0 {
                return Ok(kept);
            }
        }
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// One stream under a mask. Places in it count from its begin.
pub(crate) struct Masked<'a> {
    mask: &'a Mask,
    /// What may be the begin of a secret, and waits for what follows.
    held: VecDeque<u8>,
    /// Where the held bytes begin.
    shown: usize,
    /// Where the bytes end that were taken.
    taken: usize,
    /// What of them is a secret, in order and apart from each other. Of one that begins before the held
    /// bytes the stars were shown.
    covered: VecDeque<(usize, usize)>,
    plain: StateID,
    wrapped: StateID,
    lines: Lines,
}

impl<'a> Masked<'a> {
    pub(crate) fn new(mask: &'a Mask) -> Self {
        Self {
            mask,
            held: VecDeque::new(),
            shown: 0,
            taken: 0,
            covered: VecDeque::new(),
            plain: mask.plain.start(),
            wrapped: mask.wrapped.start(),
            lines: Lines::default(),
        }
    }

    /// Takes what comes next; returns what can be shown.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend(bytes);
        for byte in bytes {
            self.take(*byte);
        }
        let plain = self.taken - self.mask.plain.seen(self.plain).begun as usize;
        let wrapped = self.lines.forget_before(self.mask.wrapped.seen(self.wrapped).begun);
        self.show(plain.min(wrapped))
    }

    /// Returns what is left when nothing more comes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.show(self.taken)
    }

    fn take(&mut self, byte: u8) {
        self.taken += 1;
        self.plain = self.mask.plain.after(self.plain, byte);
        let found = self.mask.plain.seen(self.plain).found;
        self.cover(self.taken - found as usize);
        self.lines.take(byte);
        if !is_line_end(byte) {
            self.wrapped = self.mask.wrapped.after(self.wrapped, byte);
            let found = self.mask.wrapped.seen(self.wrapped).found;
            self.cover(self.lines.begin_of_last(found));
        } else if self.lines.in_a_row > MAX_LINE_END {
            self.wrapped = self.mask.wrapped.start();
        }
    }

    /// Covers what was taken from `begin` on, with all that it overlaps.
    fn cover(&mut self, mut begin: usize) {
        if begin == self.taken {
            return;
        }
        while let Some((other, _)) = self.covered.back().filter(|(_, end)| *end > begin) {
            begin = begin.min(*other);
            self.covered.pop_back();
        }
        self.covered.push_back((begin, self.taken));
    }

    /// Returns what of the held bytes before `end` can be shown.
    fn show(&mut self, end: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(end - self.shown);
        while let Some((begin, over)) = self.covered.front().copied().filter(|it| it.0 < end) {
            if begin >= self.shown {
                text.extend(self.let_go(begin));
                text.extend_from_slice(STARS);
            }
            drop(self.let_go(over.min(end)));
            if over > end {
                break;
            }
            self.covered.pop_front();
        }
        text.extend(self.let_go(end));
        text
    }

    /// Returns the held bytes before `end`, and holds them no more.
    fn let_go(&mut self, end: usize) -> Drain<'_, u8> {
        let count = end - self.shown;
        self.shown = end;
        self.held.drain(..count)
    }
}

/// Where the lines of a stream end, as far back as an encoding may have begun.
#[derive(Default)]
struct Lines {
    /// How many bytes came that are no ends of lines.
    letters: usize,
    /// For each end of a line, how many of those came before it.
    ends: VecDeque<usize>,
    /// How many ends of lines are forgotten.
    forgotten: usize,
    /// How many ends of lines came last.
    in_a_row: usize,
}

impl Lines {
    fn take(&mut self, byte: u8) {
        if is_line_end(byte) {
            self.ends.push_back(self.letters);
            self.in_a_row += 1;
        } else {
            self.letters += 1;
            self.in_a_row = 0;
        }
    }

    /// Returns where the last `count` bytes begin that are no ends of lines; the end of the stream for 0.
    fn begin_of_last(&self, count: u32) -> usize {
        let first = self.letters - count as usize;
        first + self.forgotten + self.ends.partition_point(|before| *before <= first)
    }

    /// Returns the same, and forgets what came before.
    fn forget_before(&mut self, count: u32) -> usize {
        let begin = self.begin_of_last(count);
        let old = begin - self.forgotten - (self.letters - count as usize);
        self.ends.drain(..old);
        self.forgotten += old;
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let values: Vec<_> = values.iter().map(|text| Value(text.as_bytes().to_vec())).collect();
        Mask::new(values.iter().map(|value| ("TOKEN", value)))
    }

    fn shown(mask: &Mask, parts: &[&[u8]]) -> String {
        let mut masked = Masked::new(mask);
        let mut shown: Vec<u8> = parts.iter().flat_map(|part| masked.add(part)).collect();
        shown.extend(masked.rest());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_secret_is_covered_however_it_is_cut() {
        let mask = mask(&["correct horse", "correct horse battery"]);
        let text = b"say correct horse battery, correct horse, correct hors and correct";
        let expected = "say ***, ***, correct hors and correct";
        assert_eq!(shown(&mask, &[text]), expected);
        for at in 0..text.len() {
            let (one, two) = text.split_at(at);
            assert_eq!(shown(&mask, &[one, two]), expected, "cut at {at}");
        }
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(shown(&mask, &bytes), expected);
    }

    #[test]
    fn every_form_is_covered() {
        let mask = mask(&["p/4ss w\"rd\n"]);
        for text in [
            "p/4ss w\"rd",
            "cC80c3MgdyJyZA==", // base64
            "702f3473732077227264",
            "702F3473732077227264",
            "p%2F4ss%20w%22rd",
            "p%2f4ss+w%22rd",
            r#"p/4ss w\"rd"#,
            r#"p\/4ss w\"rd"#,
        ] {
            let found = shown(&mask, &[b"<", text.as_bytes(), b">"]);
            assert!(found.contains("***"), "{text}: {found}");
        }
    }

    #[test]
    fn what_is_no_secret_is_not_held_back() {
        let mask = mask(&["correct horse"]);
        let mut masked = Masked::new(&mask);
        assert_eq!(masked.add(b"password: "), b"password: ");
        assert_eq!(masked.add(b"corr"), b"");
        assert_eq!(masked.add(b"ection"), b"correction");
    }

    #[test]
    fn a_secret_is_found_in_a_file_across_reads() {
        let mask = mask(&["correct horse"]);
        let text = [vec![b'x'; 200_000], b"correct horse".to_vec(), vec![b'x'; 9]].concat();
        assert_eq!(mask.find_in(|| Ok(&text[..])).unwrap(), Some("TOKEN"));
        assert_eq!(mask.find_in(|| Ok(&text[..200_005])).unwrap(), None);
        // As `printf 'user:correct horse' | base64 | fold -w 5` says.
        let text = b"dXNlc\njpjb3\nJyZWN\r\n0IGhv\ncnNl\n";
        assert_eq!(mask.find_in(|| Ok(&text[..])).unwrap(), Some("TOKEN"));
        assert_eq!(mask.find(b"a correct horse"), Some("TOKEN"));
    }

    #[test]
    fn without_secrets_all_is_shown() {
        let mask = mask(&["abc"]);
        assert_eq!(shown(&mask, &[b"abc abc"]), "abc abc");
        assert_eq!(mask.short(), ["TOKEN"]);
        assert_eq!(mask.find_in(|| Ok(&b"abc"[..])).unwrap(), None);
    }

    #[test]
    fn secrets_that_overlap_are_covered_whole() {
        let mask = mask(&["one-secret", "secret-two", "retry"]);
        assert_eq!(shown(&mask, &[b"<one-secret-two>"]), "<***>");
        assert_eq!(shown(&mask, &[b"<one-sec", b"ret-tw", b"o>"]), "<***>");
        assert_eq!(shown(&mask, &[b"<one-secretone-secret>"]), "<******>");
    }

    #[test]
    fn encodings_are_covered_wherever_their_lines_end() {
        let mask = mask(&["correct horse"]);
        // As `printf 'user:correct horse' | base64` says.
        let code = b"dXNlcjpjb3JyZWN0IGhvcnNl";
        for width in 1..code.len() {
            let lines: Vec<_> = code.chunks(width).map(|line| [line, b"\r\n"].concat()).collect();
            let text = shown(&mask, &[b"<", &lines.concat(), b">"]).replace("\r\n", "");
            assert_eq!(text, "<dXNlcjp***>", "in lines of {width}");
            let bytes: Vec<_> = lines.iter().flat_map(|line| line.chunks(1)).collect();
            assert_eq!(shown(&mask, &bytes).replace("\r\n", ""), "dXNlcjp***");
        }
        assert_eq!(shown(&mask, &[b"cjpjb3\n\n\nJyZWN0"]), "cjpjb3\n\n\nJyZWN0");
    }

    #[test]
    fn what_looks_like_a_secret_for_ever_takes_no_longer_and_is_not_kept() {
        let mask = mask(&[&"a".repeat(20_000), &format!("{}b", "a".repeat(20_000))]);
        let mut masked = Masked::new(&mask);
        let mut shown = Vec::new();
        for _ in 0..300_000 {
            shown.extend(masked.add(b"a"));
            assert!(masked.held.len() <= 20_000 && masked.covered.len() <= 1);
        }
        shown.extend(masked.rest());
        assert_eq!(shown, STARS);
        assert!(Masked::new(&mask).add(&b"\n".repeat(1000)).len() == 1000);
    }
}
