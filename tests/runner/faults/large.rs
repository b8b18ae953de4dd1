//! Row 15: very many files, very long ones, and sparse ones, take bounded memory.

use std::process::{Command, Stdio};

use crate::faults::floods::peak;
use crate::faults::{Subject, soaked, times};
use crate::kiln::Project;

/// Runs the pipeline; returns the most memory that Kiln or a launcher took, in MiB.
fn memory(project: &Project, arguments: &[&str]) -> u64 {
    let call = Subject::real().kiln(project.path()).arguments(["run", "--ui", "quiet"]);
    let call = call.arguments(arguments.iter().copied());
    let mut command: Command = call.command();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let peak = peak(&mut child) >> 10;
    assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
    peak
}

#[test]
fn very_many_files_take_little_memory() {
    let files = times(5_000, 1_000_000);
    let folders = files / 1000;
    let project = Project::of(format!(
        "build many {{\n  run bash \"\"\"\n    cd {{{{out.d}}}}\n    \
         for n in {{1..{folders}}}; do mkdir $n; for m in {{0..999}}; do echo $n $m >$n/$m; done; done\n  \
         \"\"\"\n  out d: dir\n}}\n\n\
         test counts {{\n  run sh \"test $(find {{{{many.d}}}} -type f | wc -l) = {files}\"\n}}\n"
    ));
    let took = memory(&project, &[]);
    // 1 KiB for each, in Kiln or in the launcher that captures them.
    let most = 64 + files as u64 / 1024;
    assert!(took <= most, "{took} MiB for {files} files");
    std::fs::remove_dir_all(project.at("out")).unwrap();
    let served = memory(&project, &[]);
    assert!(served <= most, "{served} MiB to restore {files} files");
    soaked(&format!("{files} files: {took} MiB to make, {served} MiB to restore"));
}

#[test]
fn a_very_long_file_takes_little_memory() {
    let mib = times(256, 10_240);
    let project = Project::of(format!(
        "build long {{\n  run sh \"head -c {mib}M /dev/urandom > {{{{out.o}}}}; truncate -s 64G {{{{out.s}}}}; echo end >> {{{{out.s}}}}\"\n  \
         out o: file\n  out s: file\n}}\n\n\
         test reads {{\n  run sh \"test $(stat -c %s {{{{long.o}}}}) = $(({mib} << 20)); test $(stat -c %s {{{{long.s}}}}) = $(((64 << 30) + 4))\"\n}}\n"
    ));
    let project = match times(0, 1) {
        // A sparse file of 64 GiB takes its time to be hashed.
        0 => Project::of(
            std::fs::read_to_string(project.at("pipeline.pipe"))
                .unwrap()
                .replace("64G", "1G")
                .replace("64 << 30", "1 << 30"),
        ),
        _ => project,
    };
    let took = memory(&project, &["reads"]);
    assert!(took <= 64, "{took} MiB for a file of {mib} MiB");
    soaked(&format!("a file of {mib} MiB: {took} MiB"));
}
