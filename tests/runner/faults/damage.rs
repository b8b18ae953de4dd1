//! Row 5: stores that are damaged.

use crate::faults::{Subject, notices};
use crate::kiln::{Project, files_below};

const COPY: &str =
    "build copy {\n  in file(\"a\")\n  run sh \"cat a a > {{out.b}}\"\n  out b: file\n}\n";

/// A bit that flipped in any blob of the store reaches no out.
fn flipped_blobs_are_not_used(subject: &Subject) {
    let project = Project::of(COPY).with("a", "some text\n");
    subject.kiln(project.path()).arguments(["run"]).run().exits(0);
    for blob in files_below(&project.at(".cache/kiln/v1/cas")) {
        let mut bytes = std::fs::read(&blob).unwrap();
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 1;
        }
        std::fs::write(&blob, bytes).unwrap();
    }
    std::fs::remove_dir_all(project.at("out")).unwrap();
    subject.kiln(project.path()).arguments(["run"]).run().exits(0);
    let out = std::fs::read_to_string(project.at("out/copy/b")).unwrap();
    assert_eq!(out, "some text\nsome text\n", "a damaged blob was used");
}

#[test]
fn a_damaged_blob_is_not_used() {
    flipped_blobs_are_not_used(&Subject::real());
}

#[test]
fn a_damaged_blob_that_is_believed_is_noticed() {
    notices("BelieveBlobs", "a damaged blob was used", flipped_blobs_are_not_used);
}
