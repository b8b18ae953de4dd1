//! How fast plans run, beside ninja without a sandbox and beside bare processes: trivial steps, a C
//! project, runs that have nothing to do, and memory. One run takes all in turn, round by round.
//!
//! `cargo bench --bench engine` prints the table of `docs/performance.md`. Needs `ninja` and `gcc`.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts processes and reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it finds")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often everything is done.
const ROUNDS: usize = 5;

/// How many steps run beside each other.
const JOBS: usize = 2;

/// How often a run that has nothing to do is timed in each round.
const NULLS: usize = 5;

const TRIVIAL: usize = 1_000;
const MANY: usize = 10_000;
const FILES: usize = 200;

fn main() {
    // Each try has a folder of its own and none is removed before the end: for minutes after files
    // were removed, ext4 makes new ones many times slower.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("bench-engine-{}", std::process::id()));
    println!("| | plain exec | ninja | kiln | kiln / ninja |\n|---|---|---|---|---|");
    let round = |round: usize| {
        let trivial = |path: &Path| trivial(path, TRIVIAL);
        let place = |name: &str| folder.join(format!("{name}-{round}"));
        (
            one_round(&place("trivial"), &trivial, true),
            one_round(&place("project"), &project, false),
        )
    };
    let rounds: Vec<_> = (0..ROUNDS).map(round).collect();
    print_case(&format!("{TRIVIAL} trivial steps"), rounds.iter().map(|round| round.0));
    print_case(&format!("C project of {FILES} files"), rounds.iter().map(|round| round.1));
    many(&folder.join("many"));
    let _ = fs::remove_dir_all(&folder);
}

/// A plan in two forms in one folder.
struct Case {
    folder: PathBuf,
    /// What bare processes run, as scripts of `sh`; only for plans without edges.
    scripts: Vec<String>,
}

/// Times of one round.
#[derive(Clone, Copy)]
struct Round {
    exec: Option<Duration>,
    ninja: [Duration; 2],
    kiln: [Duration; 2],
}

/// Does everything once, each in a new folder.
fn one_round(place: &Path, make: &dyn Fn(&Path) -> Case, with_exec: bool) -> Round {
    let case = |name: &str| make(&place.join(name));
    let exec = with_exec.then(|| {
        let case = case("exec");
        settle();
        time(|| exec(&case.folder, &case.scripts))
    });
    let (ninja, kiln) = (case("ninja"), case("kiln"));
    Round { exec, ninja: ninja.twice(Case::ninja), kiln: kiln.twice(Case::kiln) }
}

impl Case {
    /// The time of the first run, and the median of those after it, which have nothing to do.
    fn twice(&self, run: impl Fn(&Self) -> Duration) -> [Duration; 2] {
        settle();
        let cold = run(self);
        // What was written within the last tick of the clock may be looked at again.
        std::thread::sleep(Duration::from_millis(100));
        run(self);
        let mut null: Vec<_> = (0..NULLS).map(|_| run(self)).collect();
        null.sort_unstable();
        [cold, null[NULLS / 2]]
    }

    fn store(&self) -> PathBuf {
        self.folder.with_extension("store")
    }

    fn ninja(&self) -> Duration {
        let mut ninja = Command::new("ninja");
        ninja.args(["--quiet", "-j"]).arg(JOBS.to_string()).current_dir(&self.folder);
        time(|| succeed(&mut ninja))
    }

    fn kiln(&self) -> Duration {
        time(|| succeed(&mut self.kiln_command()))
    }

    fn kiln_command(&self) -> Command {
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        kiln.args(["run", "--ui", "quiet", "-j"]).arg(JOBS.to_string());
        kiln.env("KILN_CACHE", self.store()).current_dir(&self.folder);
        kiln.stdout(Stdio::null());
        kiln
    }
}

/// Has the disk written what others left: Kiln waits until its results are on disk, and would wait
/// for that, too.
fn settle() {
    succeed(&mut Command::new("sync"));
}

fn succeed(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status();
    assert!(status.expect("it is installed").success(), "{command:?} failed");
}

fn time(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// Runs scripts as bare processes, as many at a time as the others do.
fn exec(folder: &Path, scripts: &[String]) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    succeed(Command::new("/bin/sh").args(["-c", script]).current_dir(folder));
                }
            });
        }
    });
}

fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn print_case(name: &str, rounds: impl Iterator<Item = Round> + Clone) {
    for (at, what) in ["cold", "null"].into_iter().enumerate() {
        let ninja = median(rounds.clone().map(|round| round.ninja[at]));
        let kiln = median(rounds.clone().map(|round| round.kiln[at]));
        let exec = rounds.clone().filter(|_| at == 0).map(|round| round.exec);
        let exec = exec.collect::<Option<Vec<_>>>().filter(|times| !times.is_empty());
        let exec = exec.map_or(String::new(), |times| format!("{:.0}", median(times.into_iter())));
        print_row(&format!("{name}, {what}"), &exec, ninja, kiln);
    }
}

fn print_row(name: &str, exec: &str, ninja: f64, kiln: f64) {
    println!("| {name} | {exec} | {ninja:.0} | {kiln:.0} | {:.2} |", kiln / ninja);
}

/// Steps that write a number each.
fn trivial(folder: &Path, steps: usize) -> Case {
    make_folders(folder);
    let pipe = format!(
        "build step for (n in range(1, {steps}), max: {steps}) {{\n  run sh \"echo {{{{n}}}} > {{{{out.o}}}}\"\n  out o: file\n}}\n"
    );
    let mut ninja = "rule echo\n  command = echo $n > $out\n".to_owned();
    let mut scripts = Vec::new();
    for n in 1..=steps {
        writeln!(ninja, "build made/{n}: echo\n  n = {n}").expect("writing to a string");
        scripts.push(format!("echo {n} > made/{n}"));
    }
    write_case(folder, &pipe, &ninja);
    Case { folder: folder.to_owned(), scripts }
}

fn make_folders(folder: &Path) {
    for name in [".git", "made", "src"] {
        fs::create_dir_all(folder.join(name)).expect("the folder can be made");
    }
}

fn write_case(folder: &Path, pipe: &str, ninja: &str) {
    fs::write(folder.join("pipeline.pipe"), pipe).expect("the folder is there");
    fs::write(folder.join("build.ninja"), ninja).expect("the folder is there");
}

/// A program of many C files with a header that all of them include.
fn project(folder: &Path) -> Case {
    make_folders(folder);
    let mut header = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n".to_owned();
    let mut main = "#include \"all.h\"\nint main(void) {\n  int sum = 0;\n".to_owned();
    let mut ninja = "rule cc\n  command = gcc -O2 -Wall -Isrc -c $in -o $out\nrule ld\n  command = gcc $in -o $out\n".to_owned();
    let mut objects = "made/main.o".to_owned();
    for n in 0..FILES - 1 {
        writeln!(header, "int part{n}(int);").expect("writing to a string");
        writeln!(main, "  sum += part{n}(sum);").expect("writing to a string");
        write!(objects, " made/part{n}.o").expect("writing to a string");
        writeln!(ninja, "build made/part{n}.o: cc src/part{n}.c | src/all.h")
            .expect("writing to a string");
        fs::write(folder.join(format!("src/part{n}.c")), part(n)).expect("the folder is there");
    }
    writeln!(
        ninja,
        "build made/main.o: cc src/main.c | src/all.h\nbuild made/program: ld {objects}"
    )
    .expect("writing to a string");
    main.push_str("  printf(\"%d\\n\", sum);\n  return 0;\n}\n");
    fs::write(folder.join("src/all.h"), header).expect("the folder is there");
    fs::write(folder.join("src/main.c"), main).expect("the folder is there");
    let pipe = r#"let sources = files("src/*.c")

build object for (source in sources) {
  in files("src/*.h")
  run sh "gcc -O2 -Wall -Isrc -c {{source}} -o {{out.o}}"
  out o: file
}

build program {
  run sh "gcc {{[object[source: c].o for c in sources]}} -o {{out.bin}}"
  out bin: file
}
"#;
    // The linker knows objects by their names.
    write_case(folder, &pipe.replace("out o: file", "out o: file = \"{{source.stem}}.o\""), &ninja);
    Case { folder: folder.to_owned(), scripts: Vec::new() }
}

/// A file that takes the compiler about as long as an ordinary one.
fn part(n: usize) -> String {
    let mut text = "#include \"all.h\"\n".to_owned();
    for function in 0..12 {
        write!(
            text,
            "static int step{function}(int of, char *text) {{\n  for (int i = 0; i < of; i++) {{\n    \
             if (text[i] == 'a' + {function}) {{ text[i] = (char)(of % 26 + 'a'); of += (int)strlen(text); }}\n    \
             else if (i % 3 == {}) {{ snprintf(text, 64, \"%d-%d\", of, i); }}\n  }}\n  return of * {n} + {function};\n}}\n",
            function % 3
        )
        .expect("writing to a string");
    }
    writeln!(text, "int part{n}(int of) {{\n  char text[128] = \"kiln\";")
        .expect("writing to a string");
    for function in 0..12 {
        writeln!(text, "  of += step{function}(of & 63, text);").expect("writing to a string");
    }
    text.push_str("  return of;\n}\n");
    text
}

/// Nothing to do for many steps, and how much memory they take.
fn many(folder: &Path) {
    let case = trivial(folder, MANY);
    case.ninja();
    let mut kiln = case.kiln_command().spawn().expect("it was built");
    let cold_peak = peak_mib(&mut kiln);
    case.kiln();
    let rounds: Vec<_> = (0..ROUNDS * 2).map(|_| (case.ninja(), case.kiln())).collect();
    let ninja = median(rounds.iter().map(|round| round.0));
    let nothing = median(rounds.iter().map(|round| round.1));
    print_row(&format!("{MANY} trivial steps, null"), "", ninja, nothing);
    let mut kiln = case.kiln_command().spawn().expect("it was built");
    let null_peak = peak_mib(&mut kiln);
    println!("\nPeak memory of kiln at {MANY} steps: {cold_peak} MiB cold, {null_peak} MiB null.");
}

/// Waits for a process and returns the most memory it was seen to hold.
fn peak_mib(child: &mut std::process::Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = kib.unwrap_or(0).max(peak_kib);
        if let Some(status) = child.try_wait().expect("it is our child") {
            assert!(status.success());
            return peak_kib >> 10;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
