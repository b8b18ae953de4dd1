//! The cases: what is built, in the form of each tool, and what happens to it from one build to the
//! next. Knows the files of projects; does not know how a tool is started.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ROUNDS;
use crate::tool::{Tool, settle, store};

/// How often a build that has nothing to do is timed in each round.
const NULLS: usize = 5;

/// Files of the C project.
const C_FILES: usize = 200;

/// Packages of the project of many files, and the files of each.
const PACKAGES: usize = 1_000;
const FILES_EACH: usize = 100;

/// Something to build.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Cases of one shape differ in their steps only.
    pub(crate) shape: &'static str,
    pub(crate) steps: usize,
    pub(crate) rounds: usize,
    pub(crate) phases: Vec<Phase>,
    /// The stages that Kiln is asked for; none for all.
    pub(crate) stages: &'static [&'static str],
    /// What bare processes run; empty where steps need each other.
    pub(crate) scripts: Vec<String>,
    /// The files of the project, by path.
    files: Vec<(String, String)>,
    /// The files that an author edits, a leaf of the graph first, and the one that all steps read.
    sources: Vec<String>,
    root: Option<String>,
}

/// What a build follows upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing was ever built.
    Cold,
    /// Nothing changed.
    Null,
    /// Each source was written again with what it held.
    Touched,
    /// One source changed.
    Leaf,
    /// What all steps read changed.
    Root,
    /// All sources changed, as by a switch to another branch.
    Switch,
    /// All sources are what they were before the switch.
    SwitchBack,
    /// The project was fetched anew. Kiln has its store.
    Clone,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Null => "null",
            Self::Touched => "touched, same content",
            Self::Leaf => "one leaf",
            Self::Root => "root changed",
            Self::Switch => "switched to a branch",
            Self::SwitchBack => "switched back",
            Self::Clone => "fresh clone, full store",
        }
    }

    /// Brings the phase about and builds; returns the time and the most memory of the tool, in KiB.
    pub(crate) fn run(self, tool: Tool, case: &Case, folder: &Path) -> (Duration, u64) {
        let build = || tool.build(folder, case);
        match self {
            Self::Cold => settle(),
            Self::Null => {
                // What was written within the last tick of the clock may be looked at again.
                pause();
                build();
                let mut all: Vec<_> = (0..NULLS).map(|_| build()).collect();
                all.sort_unstable();
                return all[NULLS / 2];
            }
            Self::Touched => case.rewrite(folder, &case.sources, ""),
            Self::Leaf => case.rewrite(folder, &case.sources[..1], "// leaf\n"),
            Self::Root => case.rewrite(folder, case.root.as_slice(), "// root\n"),
            Self::Switch => case.rewrite(
                folder,
                &case.sources,
                "static const int branch __attribute__((used)) = 1;\n",
            ),
            Self::SwitchBack => case.rewrite(folder, &case.sources, ""),
            Self::Clone => case.fetch_anew(folder),
        }
        pause();
        build()
    }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

impl Case {
    /// Makes the project in a new folder.
    pub(crate) fn make(&self, folder: &Path) {
        for name in [".git", "made", "src"] {
            fs::create_dir_all(folder.join(name)).expect("the folder can be made");
        }
        for (path, text) in &self.files {
            write(&folder.join(path), text);
        }
    }

    /// Returns the paths of the sources.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(String::as_str)
    }

    /// Writes files as they were at first, with something more at their ends.
    fn rewrite(&self, folder: &Path, paths: &[String], more: &str) {
        let texts: std::collections::BTreeMap<_, _> =
            self.files.iter().map(|(path, text)| (path, text)).collect();
        for path in paths {
            write(&folder.join(path), &format!("{}{more}", texts[path]));
        }
    }

    /// Replaces the project by a copy with its sources alone.
    fn fetch_anew(&self, folder: &Path) {
        let old = PathBuf::from(format!("{}-old", folder.display()));
        fs::rename(folder, &old).expect("it is ours");
        // The store stays where Kiln looks for it.
        assert_eq!(store(folder), folder.with_extension("store"));
        self.make(folder);
        settle();
    }
}

fn write(path: &Path, text: &str) {
    if let Err(error) = fs::write(path, text) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", path.display());
        fs::create_dir_all(path.parent().expect("it has one")).expect("the folder can be made");
        fs::write(path, text).expect("the folder is there");
    }
}

/// Returns all cases, the small ones first.
pub(crate) fn all() -> impl Iterator<Item = Case> {
    let small = [wide(100), wide(1_000), layered(100), layered(1_000), chain(100), chain(1_000)];
    let large = [project(), wide(10_000), layered(10_000), chain(10_000), packages(), bulk()];
    small.into_iter().chain(large)
}

fn case(shape: &'static str, steps: usize) -> Case {
    Case {
        name: format!("{shape} {steps}"),
        shape,
        steps,
        rounds: if steps >= 10_000 { 3 } else { ROUNDS },
        phases: vec![Phase::Cold, Phase::Null, Phase::Clone],
        stages: &[],
        scripts: Vec::new(),
        files: Vec::new(),
        sources: Vec::new(),
        root: None,
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string");
}

/// Steps that write a number each and know nothing of each other.
fn wide(steps: usize) -> Case {
    let pipe = format!(
        "build step for (n in range(1, {steps}), max: {steps}) {{\n  run sh \"echo {{{{n}}}} > {{{{out.o}}}}\"\n  out o: file\n}}\n"
    );
    let mut ninja = "rule echo\n  command = echo $n > $out\n".to_owned();
    let mut scripts = Vec::new();
    for n in 1..=steps {
        line(&mut ninja, format_args!("build made/{n}: echo\n  n = {n}"));
        scripts.push(format!("echo {n} > made/{n}"));
    }
    Case { scripts, files: texts(pipe, ninja), ..case("wide", steps) }
}

/// Ten layers of steps, each of which reads what two of the layer below have made.
fn layered(steps: usize) -> Case {
    let width = steps / 10;
    let mut pipe = format!(
        "build layer0 for (n in range(0, {last}), max: {width}) {{\n  run sh \"echo {{{{n}}}} > {{{{out.o}}}}\"\n  out o: file\n}}\n",
        last = width - 1
    );
    let mut ninja =
        "rule echo\n  command = echo $n > $out\nrule cat\n  command = cat $in > $out\n".to_owned();
    for n in 0..width {
        line(&mut ninja, format_args!("build made/0-{n}: echo\n  n = {n}"));
    }
    for layer in 1..10 {
        let below = layer - 1;
        line(
            &mut pipe,
            format_args!(
                "build layer{layer} for (n in range(0, {}), max: {width}) {{\n  run sh \"cat {{{{layer{below}[n: n].o}}}} {{{{layer{below}[n: (n + 1) % {width}].o}}}} | tail -n 1 > {{{{out.o}}}}\"\n  out o: file\n}}",
                width - 1
            ),
        );
        for n in 0..width {
            let next = (n + 1) % width;
            line(
                &mut ninja,
                format_args!("build made/{layer}-{n}: cat made/{below}-{n} made/{below}-{next}"),
            );
        }
    }
    let ninja = ninja.replace("cat $in > $out", "cat $in | tail -n 1 > $out");
    Case { files: texts(pipe, ninja), ..case("layered", steps) }
}

/// Steps each of which reads what the one before has made.
fn chain(steps: usize) -> Case {
    let mut pipe = "build s1 {\n  run sh \"echo 1 > {{out.o}}\"\n  out o: file\n}\n".to_owned();
    let mut ninja = "rule echo\n  command = echo 1 > $out\nrule cat\n  command = cat $in > $out\nbuild made/1: echo\n".to_owned();
    for n in 2..=steps {
        let before = n - 1;
        line(
            &mut pipe,
            format_args!(
                "build s{n} {{\n  run sh \"cat {{{{s{before}.o}}}} > {{{{out.o}}}}\"\n  out o: file\n}}"
            ),
        );
        line(&mut ninja, format_args!("build made/{n}: cat made/{before}"));
    }
    let rounds = if steps >= 10_000 { 1 } else { ROUNDS };
    Case { rounds, files: texts(pipe, ninja), ..case("chain", steps) }
}

fn texts(pipe: String, ninja: String) -> Vec<(String, String)> {
    vec![("pipeline.pipe".to_owned(), pipe), ("build.ninja".to_owned(), ninja)]
}

/// A program of many C files with a header that all of them include.
fn project() -> Case {
    let mut header = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n".to_owned();
    let mut main = "#include \"all.h\"\nint main(void) {\n  int sum = 0;\n".to_owned();
    let mut ninja = "rule cc\n  command = gcc -O2 -Wall -Isrc -c $in -o $out\nrule ld\n  command = gcc $in -o $out\n".to_owned();
    let mut objects = "made/main.o".to_owned();
    let (mut files, mut sources) = (Vec::new(), Vec::new());
    for n in 0..C_FILES - 1 {
        line(&mut header, format_args!("int part{n}(int);"));
        line(&mut main, format_args!("  sum += part{n}(sum);"));
        write!(objects, " made/part{n}.o").expect("writing to a string");
        line(&mut ninja, format_args!("build made/part{n}.o: cc src/part{n}.c | src/all.h"));
        files.push((format!("src/part{n}.c"), part(n)));
        sources.push(format!("src/part{n}.c"));
    }
    line(&mut ninja, format_args!("build made/main.o: cc src/main.c | src/all.h"));
    line(&mut ninja, format_args!("build made/program: ld {objects}"));
    main.push_str("  printf(\"%d\\n\", sum);\n  return 0;\n}\n");
    files.push(("src/all.h".to_owned(), header));
    files.push(("src/main.c".to_owned(), main));
    // The linker knows objects by their names.
    let pipe = r#"let sources = files("src/*.c")

build object for (source in sources) {
  in files("src/*.h")
  run sh "gcc -O2 -Wall -Isrc -c {{source}} -o {{out.o}}"
  out o: file = "{{source.stem}}.o"
}

build program {
  run sh "gcc {{[object[source: c].o for c in sources]}} -o {{out.bin}}"
  out bin: file
}
"#;
    files.extend(texts(pipe.to_owned(), ninja));
    use Phase::{Clone, Cold, Leaf, Null, Root, Switch, SwitchBack, Touched};
    Case {
        phases: vec![Cold, Null, Touched, Leaf, Root, Switch, SwitchBack, Clone],
        files,
        sources,
        root: Some("src/all.h".to_owned()),
        ..case("C files", C_FILES)
    }
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

/// Packages of many files, each of which is counted by a step. Ninja is told each file by name, and
/// looks for no others; Kiln has a glob for each package.
fn packages() -> Case {
    let mut pipe = String::new();
    let mut ninja = "rule count\n  command = cat p$n/* | wc -c > $out\n".to_owned();
    let (mut files, mut sources) = (Vec::new(), Vec::new());
    for n in 0..PACKAGES {
        line(
            &mut pipe,
            format_args!(
                "build p{n} {{\n  in files(\"p{n}/*\")\n  run sh \"cat p{n}/* | wc -c > {{{{out.o}}}}\"\n  out o: file\n}}"
            ),
        );
        write!(ninja, "build made/{n}: count |").expect("writing to a string");
        for file in 0..FILES_EACH {
            let path = format!("p{n}/f{file}");
            write!(ninja, " {path}").expect("writing to a string");
            files.push((path.clone(), format!("file {file} of package {n}\n")));
            sources.push(path);
        }
        line(&mut ninja, format_args!("\n  n = {n}"));
    }
    files.extend(texts(pipe, ninja));
    use Phase::{Cold, Leaf, Null, Touched};
    Case {
        name: format!("{} files in {PACKAGES} packages", PACKAGES * FILES_EACH),
        rounds: 3,
        phases: vec![Cold, Null, Touched, Leaf],
        files,
        sources,
        ..case("packages", PACKAGES)
    }
}

/// A file of 256 MiB that ten steps read.
fn bulk() -> Case {
    let make = "yes kiln | head -c 268435456";
    let pipe = format!(
        "build bulk {{\n  run sh \"{make} > {{{{out.o}}}}\"\n  out o: file\n}}\n\nbuild reader for (n in range(1, 10)) {{\n  run sh \"wc -l < {{{{bulk.o}}}} > {{{{out.o}}}}\"\n  out o: file\n}}\n\nbuild all {{\n  run sh \"cat {{{{[reader[n: n].o for n in range(1, 10)]}}}} > {{{{out.o}}}}\"\n  out o: file\n}}\n"
    );
    let mut ninja = format!(
        "rule bulk\n  command = {make} > $out\nrule count\n  command = wc -l < $in > $out\nrule cat\n  command = cat $in > $out\nbuild made/bulk: bulk\n"
    );
    let mut all = "build made/all: cat".to_owned();
    for n in 1..=10 {
        line(&mut ninja, format_args!("build made/{n}: count made/bulk"));
        write!(all, " made/{n}").expect("writing to a string");
    }
    line(&mut ninja, format_args!("{all}"));
    Case {
        name: "256 MiB to ten readers".to_owned(),
        // What was asked for is written into the project: who asks for the file has one more of it.
        stages: &["all"],
        phases: vec![Phase::Cold, Phase::Null],
        files: texts(pipe, ninja),
        ..case("bulk", 12)
    }
}
