//! Row 16: inputs that are edited while a run reads them.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::faults::{Subject, notices, soaked, times};
use crate::kiln::{Project, wait_at_most};

const FILES: usize = 20;

const PIPELINE: &str = r#"
build step for (n in range(0, 19)) {
  in file("src/{{n}}")
  run sh "cat src/* src/* > {{out.o}}"
  out o: file
}
"#;

/// A file that has one text or the other, of one length, so that only its times tell them apart.
struct Edited {
    file: std::fs::File,
    texts: [String; 2],
    now: usize,
    /// After how many readings it is edited for the last time.
    edits_after: usize,
    readings: usize,
    watch: i32,
    /// Whether each edit gives it the same modification time.
    hides: bool,
}

impl Edited {
    fn edit(&mut self) {
        self.now = 1 - self.now;
        self.file.write_all_at(self.texts[self.now].as_bytes(), 0).unwrap();
        if self.hides {
            self.file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
    }
}

/// Edits all files without end, each until a moment after it was read so often, and then once more.
fn edit_while(kiln: &mut Child, files: &mut [Edited], events: &rustix::fd::OwnedFd) {
    let mut space = [std::mem::MaybeUninit::uninit(); 4096];
    while kiln.try_wait().unwrap().is_none() {
        for file in files.iter_mut().filter(|file| file.readings < file.edits_after) {
            file.edit();
        }
        let mut read = inotify::Reader::new(events, &mut space);
        while let Ok(event) = read.next() {
            let Some(file) = files.iter_mut().find(|file| file.watch == event.wd()) else {
                continue;
            };
            file.readings += 1;
            if file.readings == file.edits_after {
                file.edit();
            }
        }
        std::thread::yield_now();
    }
}

fn out(project: &Project, n: usize) -> String {
    std::fs::read_to_string(project.at(&format!("out/step/{n}/o"))).unwrap()
}

fn run(subject: &Subject, folder: &Path) -> Child {
    let call = subject.kiln(folder).arguments(["run", "--keep-going"]);
    call.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Each step saw one text, under the name of that text.
fn edits_are_seen(subject: &Subject) {
    let project = Project::of(PIPELINE);
    let rounds = times(10, 50);
    for round in 0..rounds {
        let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
        let events = inotify::init(flags).unwrap();
        let mut files = Vec::new();
        for n in 0..FILES {
            let texts = ["one", "two"].map(|text| format!("{text} {round:3} {n:3}\n"));
            project.write(&format!("src/{n}"), &texts[0]);
            let place = project.at(&format!("src/{n}"));
            let watch = inotify::add_watch(&events, &place, WatchFlags::ACCESS).unwrap();
            let file = std::fs::OpenOptions::new().write(true).open(place).unwrap();
            // A file is read for its digest and to be taken in; some are edited to the end.
            let edits_after = [1, 1, 2, 3, usize::MAX][(n + round) % 5];
            let (now, readings, hides) = (0, 0, n % 2 == 0);
            files.push(Edited { file, texts, now, edits_after, readings, watch, hides });
        }
        let mut kiln = run(subject, project.path());
        edit_while(&mut kiln, &mut files, &events);
        let told = kiln.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        for (n, file) in files.iter().enumerate() {
            let Ok(out) = std::fs::read_to_string(project.at(&format!("out/step/{n}/o"))) else {
                let is_told = told.contains("all the time") || told.contains("changed while");
                assert!(is_told, "round {round}: no out and no word of it:\n{told}");
                continue;
            };
            let is_whole = file.texts.iter().any(|text| out == text.repeat(2));
            let is_older = round > 0 && told.contains("failed");
            assert!(is_whole || is_older, "torn: round {round}, file {n} made {out:?}\n{told}");
        }
        for edit in ["the last one", "to the other text", "and back"] {
            let mut kiln = run(subject, project.path());
            let status = wait_at_most(&mut kiln, Duration::from_secs(30));
            assert!(status.is_some_and(|status| status.success()), "{status:?}");
            for (n, file) in files.iter_mut().enumerate() {
                let (found, expected) = (out(&project, n), file.texts[file.now].repeat(2));
                assert_eq!(found, expected, "stale: round {round}, file {n}, edit {edit}");
                file.edit();
            }
        }
    }
    soaked(&format!("{} files edited while they were read: 0 stale, 0 torn", rounds * FILES));
}

#[test]
fn an_edit_during_a_run_is_always_seen() {
    edits_are_seen(&Subject::real());
}

#[test]
fn edits_that_hide_their_time_and_are_not_seen_are_noticed() {
    notices("IgnoreChangeTimes", "stale: ", edits_are_seen);
}
