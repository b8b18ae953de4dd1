//! How fast a pipeline's text becomes a plan: an ordinary file, long files, many files.
//!
//! `cargo bench --bench language --features internals` prints the table of `docs/performance.md`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use kiln::internals;
use kiln::session::{self, Depth, Facts};

type Texts = IndexMap<String, String>;

fn main() {
    let bench = std::thread::Builder::new().stack_size(internals::STACK_BYTES).spawn(|| {
        ordinary();
        long();
        modules();
    });
    bench.expect("a thread can be started").join().expect("the benchmark ends");
}

/// Returns the times of `rounds` rounds, ascending.
fn times<T>(rounds: usize, mut act: impl FnMut() -> T) -> Vec<Duration> {
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(act());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

fn median<T>(rounds: usize, act: impl FnMut() -> T) -> Duration {
    times(rounds, act)[rounds / 2]
}

/// Returns the shortest time: what the work takes where nothing else runs, so that growth is not noise.
fn best<T>(rounds: usize, act: impl FnMut() -> T) -> Duration {
    times(rounds, act)[0]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn texts<const N: usize>(files: [(&str, &str); N]) -> Texts {
    files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect()
}

/// Loads, checks and evaluates, and returns how many steps there are.
fn plan(texts: &Texts) -> usize {
    let loaded = session::load_texts(
        texts,
        "pipeline.pipe",
        &IndexMap::new(),
        &Facts::default(),
        Depth::Plan,
    );
    let pipeline = loaded.expect("the file is there");
    assert!(!pipeline.has_errors(), "{:?}", pipeline.diagnostics);
    pipeline.plan.expect("there are no errors").0.steps.len()
}

/// A file as people write them, in process as a command does it.
fn ordinary() {
    let mut texts = Texts::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/c-service");
    read_all(&example, "", &mut texts);
    let lines = texts["pipeline.pipe"].lines().count();
    let steps = plan(&texts);
    let time = millis(median(301, || plan(&texts)));
    println!("{lines} lines, {steps} steps, checked and planned: {time:.2} ms");
}

fn read_all(folder: &Path, prefix: &str, texts: &mut Texts) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8");
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            read_all(&path, &format!("{name}/"), texts);
        } else {
            texts.insert(name, std::fs::read_to_string(&path).expect("it is a text"));
        }
    }
}

/// Generated files of rising length.
fn long() {
    println!("\n| file | bytes | scan MB/s | parse MB/s | check and plan MB/s | all, ms |");
    println!("|---|---|---|---|---|---|");
    type Make = fn(usize) -> String;
    let files: [(&str, [usize; 2], Make); 2] =
        [("rich stages", [500, 2_000], rich), ("short stages", [2_500, 10_000], short)];
    for (name, sizes, generate) in files {
        let [small, large] = sizes.map(|size| phases(name, &generate(size)));
        let growth: Vec<_> = small
            .times
            .iter()
            .zip(large.times)
            .map(|(few, many)| {
                let times = many.as_secs_f64() / few.as_secs_f64();
                format!("{:.2}", times.ln() / (large.bytes / small.bytes).ln())
            })
            .collect();
        println!("| … grows with the power of | | {} |", growth.join(" | "));
    }
}

struct Phases {
    bytes: f64,
    times: [Duration; 4],
}

fn phases(name: &str, text: &str) -> Phases {
    let texts = texts([("pipeline.pipe", text), ("src/a.c", ""), ("src/b.c", "")]);
    let parsed = internals::Parsed::new(&texts);
    let rounds = 11;
    let scan = best(rounds, || internals::scan(text));
    let parse = best(rounds, || assert!(internals::parse(text).is_empty()));
    let check = best(rounds, || parsed.plan());
    let all = best(rounds, || plan(&texts));
    let bytes = text.len() as f64;
    let rate = |time: Duration| bytes / 1e6 / time.as_secs_f64();
    println!(
        "| {name}: {} lines, {} steps | {bytes} | {:.1} | {:.1} | {:.1} | {:.1} |",
        text.lines().count(),
        parsed.plan(),
        rate(scan),
        rate(parse),
        rate(check),
        millis(all),
    );
    Phases { bytes, times: [scan, parse, check, all] }
}

/// About as many lines, as people write them.
fn rich(lines: usize) -> String {
    let mut text = String::from(
        "let src = files(\"src/*.c\")\nparam level: int(0..3) = 2\nlet flags = [\"-Wall\", \"-O{{level}}\"]\n",
    );
    for at in 0..lines / 25 {
        let before = if at == 0 { "src".to_owned() } else { format!("part{}.lib", at - 1) };
        write!(
            text,
            r#"
## One object for each file, with all that came before it.
build object{at} for (c in src, mode in ["debug", "release"]) {{
  in files("src/*.c", optional: true)
  in {before}
  env MODE = mode
  run sh "cc {{{{flags}}}} -DPART={at} -DMODE={{{{mode}}}} -c {{{{c}}}} -o {{{{out.o}}}}"
  out o: file = "{{{{c.stem}}}}.o"
  timeout = 5m
}}

build part{at} {{
  run sh """
    ar rcs {{{{out.lib}}}} {{{{[object{at}[c: c, mode: "debug"].o for c in src]}}}}
    ranlib {{{{out.lib}}}}
  """
  out lib: file = "libpart{at}.a"
}}

test works{at} {{
  run ["sh", "-c", "test -s $1", "sh", part{at}.lib]
  retries = if level > 1 then 1 else 0
}}
"#
        )
        .expect("writing to a string");
    }
    text
}

/// As many stages of a few lines, each with the one before.
fn short(stages: usize) -> String {
    let mut text = String::from("build step0 {\n  run sh \"true > {{out.o}}\"\n  out o: file\n}\n");
    for at in 1..stages {
        write!(
            text,
            "build step{at} {{\n  in step{}.o\n  run sh \"cat {{{{step{}.o}}}} > {{{{out.o}}}}\"\n  out o: file\n}}\n",
            at - 1,
            at / 2,
        )
        .expect("writing to a string");
    }
    text
}

/// A project of a thousand packages.
fn modules() {
    const PACKAGES: usize = 999;
    let mut texts = Texts::new();
    let mut root = String::new();
    for at in 0..PACKAGES {
        writeln!(root, "use \"./packages/p{at}\" as p{at}").expect("writing to a string");
        texts.insert(format!("packages/p{at}/pipeline.pipe"), package(at));
        texts.insert(format!("packages/p{at}/src/main.c"), String::new());
    }
    texts.insert("pipeline.pipe".to_owned(), root);
    let bytes: usize = texts.values().map(String::len).sum();
    let steps = plan(&texts);
    let time = millis(median(11, || plan(&texts)));
    println!("\n{} modules, {bytes} bytes, {steps} steps: {time:.0} ms", PACKAGES + 1);
}

fn package(at: usize) -> String {
    format!(
        r#"let src = files("src/**")
let flags = ["-Wall", "-O2"]

## The program of this package.
pub build program {{
  in src
  run sh "cc {{{{flags}}}} -o {{{{out.bin}}}} {{{{src}}}}"
  out bin: file = "p{at}"
}}

test runs for (mode in ["quick", "slow"]) {{
  run sh "{{{{program.bin}}}} --mode {{{{mode}}}}"
  timeout = 2m
}}
"#
    )
}
