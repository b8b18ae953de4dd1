//! What past runs left: `kiln log`, `kiln why`, `kiln cache`, `kiln doctor`.

use crate::kiln::Project;

const PIPELINE: &str = r#"
build lib for (c in files("src/*.c")) {
  run sh "printf 'made \\377 {{c}}'; cat {{c}} > {{out.o}}"
  out o: file
}

test all {
  run sh "cat {{[lib[c: c].o for c in files("src/*.c")]}} >&2; test ! -e src/bad.c"
}

test quiet {
  run sh "true"
}
"#;

fn project() -> Project {
    Project::of(PIPELINE).with("src/a.c", "a\n").with("src/b.c", "b\n")
}

#[test]
fn a_log_is_what_the_step_wrote_byte_for_byte() {
    let project = project();
    project.kiln("log").exits(2).tells("no run of this pipeline is known");
    project.kiln("run").exits(0);
    project.kiln("log all").exits(0).says("a\nb\n").says_nothing();
    project.kiln("log quiet").exits(0).says("").tells("`quiet` wrote nothing");
    let list = project.kiln("log").exits(0).stdout();
    assert_eq!(list.lines().count(), 4, "{list}");
    // From the cache they have the same.
    project.kiln("run").exits(0).tells("4 cached");
    project.kiln("log all").exits(0).says("a\nb\n");
    project.kiln("log lib").exits(2).tells("the stage `lib` has 2 steps");
    project.kiln("log nothing").exits(2);
}

#[test]
fn a_log_outlives_its_cache_in_the_journal() {
    let project = project();
    project.kiln("run").exits(0);
    std::fs::remove_dir_all(project.at(".cache/kiln")).unwrap();
    project.kiln("log all").exits(0).says("a\nb\n");
}

#[test]
fn why_names_what_changed() {
    let project = project();
    project.kiln("run").exits(0);
    project.write("src/b.c", "c\n");
    project.kiln("run").exits(0).tells("(2 ran, 2 cached)");
    let why = project.kiln("why all").exits(0).stdout();
    assert!(why.contains("`all` ran, since"), "{why}");
    project.kiln("run").exits(0).tells("4 cached");
    let again = project.kiln("why all").exits(0).stdout();
    assert_eq!(again, why, "a run that does nothing at all is not kept");
    std::fs::remove_dir_all(project.at("out")).unwrap();
    project.kiln("run").exits(0).tells("4 cached");
    let why = project.kiln("why all").exits(0).stdout();
    assert!(why.contains("served from the cache") && why.contains("before that"), "{why}");
}

#[test]
fn a_cache_is_counted_checked_and_made_smaller() {
    let project = project();
    project.kiln("cache stats").exits(0).tells("does not exist yet");
    project.kiln("run").exits(0);
    let stats = project.kiln("cache stats").exits(0).stdout();
    assert!(stats.contains("       4  results of steps"), "{stats}");
    project.kiln("cache verify").exits(0).tells("");
    project.kiln("cache gc --max 0").exits(0);
    let stats = project.kiln("cache stats").exits(0).stdout();
    assert!(stats.contains("       0  results of steps"), "{stats}");
    project.kiln("cache gc --max much").exits(2);
}

#[test]
fn a_doctor_says_what_there_is() {
    let project = Project::new();
    let said = project.kiln("doctor").stdout();
    for part in ["Sandbox", "user namespaces", "Cache", "processor", "git"] {
        assert!(said.contains(part), "{part}:\n{said}");
    }
}
