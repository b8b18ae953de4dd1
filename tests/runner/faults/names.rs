//! Row 14: names that are no text, too long or alike.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::faults::{Subject, notices};
use crate::kiln::{Project, files_below};

/// A step that makes files with names that few expect, and one that gets them and hands them on.
const ODD: &str = r#"
build odd {
  run sh """
    mkdir -p {{out.d}}
    cd {{out.d}}
    printf bytes > "$(printf 'not\377text')"
    printf line > "$(printf 'new\nline')"
    printf dash > -dash
    printf upper > Case
    printf lower > case
    printf long > "$(printf '%0255d' 7)"
    mkdir "$(printf 'dir\200')"
    printf below > "$(printf 'dir\200/\033[2J')"
  """
  out d: dir
}

build copy {
  run sh "cp -R {{odd.d}}/. {{out.d}}; ls {{odd.d}}"
  out d: dir
}
"#;

/// What stands in a folder: each path with what it holds.
fn held(folder: &Path) -> BTreeMap<Vec<u8>, String> {
    let files = files_below(folder).into_iter().map(|file| {
        let name = file.strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec();
        (name, std::fs::read_to_string(file).unwrap())
    });
    files.collect()
}

fn expected() -> BTreeMap<Vec<u8>, String> {
    let long = format!("{:0255}", 7);
    let names: [(&[u8], &str); 7] = [
        (b"not\xfftext", "bytes"),
        (b"new\nline", "line"),
        (b"-dash", "dash"),
        (b"Case", "upper"),
        (b"case", "lower"),
        (long.as_bytes(), "long"),
        (b"dir\x80/\x1b[2J", "below"),
    ];
    names.map(|(name, text)| (name.to_vec(), text.to_owned())).into()
}

/// Names of outs go through the store, other steps and the project as they are.
fn names_of_outs_are_kept(subject: &Subject) {
    let project = Project::of(ODD);
    for round in ["made", "served", "restored", "served again"] {
        if round == "restored" {
            std::fs::remove_dir_all(project.at("out")).unwrap();
        }
        subject.kiln(project.path()).arguments(["run"]).run().exits(0);
        for stage in ["odd", "copy"] {
            let held = held(&project.at(&format!("out/{stage}/d")));
            assert_eq!(held, expected(), "{stage}, {round}: names differ");
        }
    }
}

#[test]
fn odd_names_of_outs_come_back_as_they_were() {
    names_of_outs_are_kept(&Subject::real());
}

#[test]
fn names_that_become_text_are_noticed() {
    notices("LossyNames", "names differ", names_of_outs_are_kept);
}

#[test]
fn odd_names_are_told_by_every_command() {
    let project = Project::of(ODD);
    let events = project.kiln("run --ui jsonl").exits(0).lines();
    let output: Vec<_> = events.iter().filter(|event| event["type"] == "step.output").collect();
    assert!(output.iter().any(|event| event["bytes"].is_string()), "the name's bytes are kept");
    project.kiln("run --ui jsonl").exits(0);
    project.kiln("why copy").exits(0);
    let mut log = crate::kiln::Kiln::new(project.path()).arguments(["log", "copy"]).command();
    let log = log.output().unwrap();
    assert!(log.status.success());
    let has = |name: &[u8]| log.stdout.windows(name.len()).any(|part| part == name);
    assert!(has(b"not\xfftext\n") && has(b"new\nline\n") && has(b"dir\x80\n"));
}

#[test]
fn a_store_with_an_odd_name_is_no_trouble() {
    let project = Project::of(ODD);
    for arguments in [["doctor", "--ui", "jsonl"], ["run", "--ui", "jsonl"]] {
        let mut call = crate::kiln::Kiln::new(project.path()).arguments(arguments).command();
        let cache = project.path().join(OsStr::from_bytes(b"store\xff"));
        let done = call.env("KILN_CACHE", &cache).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {done:?}");
        assert!(cache.join("v1").exists());
    }
}

#[test]
fn a_path_that_is_too_long_is_named() {
    let deep = r#"
build deep {
  run sh """
    mkdir d
    printf x > d/end
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; do
      mkdir above
      mv d "above/$(printf '%0200d' 7)"
      mv above d
    done
    mkdir -p {{out.d}}
    mv d {{out.d}}
  """
  out d: dir
}
"#;
    let project = Project::of(deep);
    for _ in 0..2 {
        let told = project.kiln("run").exits(4).stderr();
        let name = "out/deep/.kiln-restore-";
        assert!(told.contains(name) && told.contains(&format!("{:0200}", 7)), "{told}");
        assert!(told.contains("File name too long"), "{told}");
        let left = std::fs::read_dir(project.at("out/deep")).unwrap().count();
        assert_eq!(left, 0, "something half done is left");
    }
}

#[test]
fn odd_names_of_inputs_are_taken_or_named() {
    let text = r#"
build copy {
  in files("src/**")
  run sh "cp -R src/. {{out.d}}"
  out d: dir
}
"#;
    let project = Project::of(text);
    let names = ["-dash", "new\nline", "Case", "case", "\x1b[2J", &format!("{:0255}", 7)];
    for name in names {
        project.write(&format!("src/{name}"), name);
    }
    project.kiln("run").exits(0);
    let copied = held(&project.at("out/copy/d"));
    assert_eq!(copied, held(&project.at("src")));
    assert_eq!(copied.len(), names.len());
    std::fs::write(project.at("src").join(OsStr::from_bytes(b"not\xfftext")), "").unwrap();
    let told = project.kiln("run").exits(3);
    told.tells("`src/not\u{fffd}text`, which is not a regular file with a UTF-8 name");
}
