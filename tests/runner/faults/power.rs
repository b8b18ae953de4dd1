//! Row 4: the power fails. What a run said was done before is there afterwards, and nothing is wrong.
//!
//! An ext4 in a file is shut down in the middle of a run, as by a cut (`EXT4_IOC_SHUTDOWN` without a
//! flush of its journal), and mounted again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::faults::{Subject, notices, soaked, times};
use crate::kiln::{skipped, step_end, wait_at_most};

const PIPELINE: &str = r#"
build part for (n in range(1, 6)) {
  in file("source")
  run sh "sleep 0.0{{n}}; cat source > {{out.o}}; echo {{n}} >> {{out.o}}"
  out o: file
}

build all {
  run sh "sleep 0.6; cat {{[part[n: n].o for n in range(1, 6)]}} > {{out.o}}"
  out o: file
}
"#;

/// Cuts the power of the file system at that path.
const CUT: &str = "import fcntl, os, struct, sys\n\
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

fn done(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A file system in a file, mounted.
struct Disk {
    folder: tempfile::TempDir,
    /// How often its power came back.
    times: u32,
}

impl Disk {
    /// Returns one, if this machine has what it takes.
    fn new() -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().unwrap(), times: 0 };
        std::fs::File::create(disk.image()).unwrap().set_len(96 << 20).unwrap();
        std::fs::create_dir(disk.place()).unwrap();
        let is_made = done("mkfs.ext4", &["-q", "-F", disk.image().to_str().unwrap()]);
        (is_made && disk.mount()).then_some(disk)
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("place")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join(format!("image-{}", self.times))
    }

    fn mount(&self) -> bool {
        let (image, place) = (self.image(), self.place());
        done("mount", &["-o", "loop", image.to_str().unwrap(), place.to_str().unwrap()])
    }

    /// Lets go of the file system, which others may hold yet: a cell of another test has all that
    /// was mounted when it began.
    fn let_go(&self) -> bool {
        done("umount", &["--lazy", self.place().to_str().unwrap()])
    }

    /// Mounts what is on the disk after a cut: a copy, that nobody can hold.
    fn start_again(&mut self) -> bool {
        let old = self.image();
        self.times += 1;
        let is_there = self.let_go()
            && done(
                "cp",
                &["--sparse=always", old.to_str().unwrap(), self.image().to_str().unwrap()],
            );
        std::fs::remove_file(old).unwrap();
        is_there && self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.let_go();
    }
}

fn events(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    events.filter_map(|event: serde_json::Value| step_end(&event)).collect()
}

/// Runs the pipeline on the disk, and cuts the power at some time if there is one; returns how the
/// steps ended that it told of.
fn run(subject: &Subject, project: &Path, cut_after: Option<Duration>) -> Vec<(String, String)> {
    let call = subject.kiln(project).arguments(["run", "-j", "2", "--ui", "jsonl"]);
    let store = project.join("store");
    let mut command = call.env("KILN_CACHE", store.to_str().unwrap()).command();
    let told = tempfile::NamedTempFile::new().unwrap();
    let errors = tempfile::NamedTempFile::new().unwrap();
    command.stdout(told.reopen().unwrap()).stderr(errors.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    match cut_after {
        Some(time) => {
            std::thread::sleep(time);
            // What it tells from now on does not count.
            let before = std::fs::read(told.path()).unwrap();
            assert!(done("python3", &["-c", CUT, project.to_str().unwrap()]));
            let _ = child.kill();
            let _ = child.wait();
            events(&before)
        }
        None => {
            let status = wait_at_most(&mut child, Duration::from_secs(60));
            let errors = std::fs::read_to_string(errors.path()).unwrap();
            let told = std::fs::read_to_string(told.path()).unwrap();
            let code = status.and_then(|status| status.code());
            assert_eq!(code, Some(0), "the run after a cut: {errors}{told}");
            events(told.as_bytes())
        }
    }
}

fn a_cut_loses_nothing_that_was_done(subject: &Subject) {
    let Some(mut disk) = Disk::new() else { return };
    let project = disk.place().join("project");
    std::fs::create_dir_all(project.join(".git")).unwrap();
    std::fs::write(project.join("pipeline.pipe"), PIPELINE).unwrap();
    let cuts = times(12, 200);
    let mut acknowledged = 0;
    for cut in 0..cuts {
        let source = format!("cut {cut}\n");
        std::fs::write(project.join("source"), &source).unwrap();
        // The project itself is not at stake.
        assert!(done("sync", &["-f", project.to_str().unwrap()]));
        let time = Duration::from_millis(50 + 900 * cut as u64 / cuts as u64);
        let killed = run(subject, &project, Some(time));
        assert!(disk.start_again(), "the disk can be had again");
        let resumed = run(subject, &project, None);
        for (step, _) in killed.iter().filter(|(_, outcome)| *outcome == "ran") {
            acknowledged += 1;
            let end = resumed.iter().find(|(other, _)| other == step);
            let is_there = end.is_some_and(|(_, outcome)| *outcome == "cached");
            assert!(is_there, "a cut lost `{step}`, which was done: {end:?}, cut {cut}");
        }
        let expected: String = (1..=6).map(|n| format!("{source}{n}\n")).collect();
        let out = std::fs::read_to_string(project.join("out/all/o")).unwrap();
        assert_eq!(out, expected, "wrong after cut {cut}");
    }
    assert!(acknowledged >= cuts, "few cuts came after the end of a step: {acknowledged}");
    soaked(&format!(
        "{cuts} power cuts: {acknowledged} steps were done before, 0 lost, 0 wrong outs"
    ));
}

/// Whether this machine lets us have file systems of our own, and cut their power.
fn can_cut() -> bool {
    let disk = Disk::new();
    disk.is_some_and(|disk| done("python3", &["-c", CUT, disk.place().to_str().unwrap()]))
}

#[test]
fn a_power_cut_loses_nothing_that_was_done() {
    if !can_cut() {
        return skipped("only root on a machine with loop devices and ext4 can cut the power");
    }
    a_cut_loses_nothing_that_was_done(&Subject::real());
}

#[test]
fn results_that_are_not_synced_are_noticed() {
    if !can_cut() {
        return skipped("only root on a machine with loop devices and ext4 can cut the power");
    }
    notices("NeverSync", "a cut lost ", a_cut_loses_nothing_that_was_done);
}
