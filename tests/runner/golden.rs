//! Plans: `tests/golden/NAME.pipe`, or a folder with a `pipeline.pipe`, beside its `.plan.json`.
//! Formatting a pipeline changes nothing in its plan but the places.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use crate::docs;
use crate::kiln::{
    Kiln, Project, assert_none, difference, difference_to_file, files_below, relative, repository,
};

const FOLDER: &str = "tests/golden";

/// Returns the pipelines: single files, and the root files of folders.
fn pipelines() -> Vec<PathBuf> {
    let files = files_below(&repository(FOLDER));
    let folders: BTreeSet<_> = files
        .iter()
        .filter(|file| file.ends_with("pipeline.pipe"))
        .map(|file| project_folder(file))
        .collect();
    let is_inside = |file: &Path| folders.iter().any(|folder| file.starts_with(folder));
    let single = files.iter().filter(|file| is_pipe(file) && !is_inside(file)).cloned();
    single.chain(folders.iter().map(|folder| folder.join("pipeline.pipe"))).collect()
}

fn is_pipe(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "pipe")
}

/// Returns the folder directly below that of all goldens.
fn project_folder(file: &Path) -> PathBuf {
    let all = repository(FOLDER);
    let first = file.strip_prefix(&all).unwrap().components().next().unwrap();
    all.join(first)
}

fn project(file: &Path) -> Project {
    let text = std::fs::read_to_string(file).unwrap();
    match file.ends_with("pipeline.pipe") {
        true => Project::new().with_copy_of(&project_folder(file)),
        false => Project::of(&text),
    }
    .with_files_of(&text)
}

fn expectation(file: &Path) -> PathBuf {
    file.with_extension("plan.json")
}

fn plan(project: &Project) -> Value {
    let done = project.kiln("plan --json").exits(0);
    serde_json::from_str(&done.stdout()).expect("a plan is JSON")
}

#[test]
fn plans_are_those_that_were_approved() {
    let problems: Vec<_> = pipelines()
        .par_iter()
        .filter_map(|file| {
            let plan = format!("{:#}\n", plan(&project(file)));
            difference_to_file(&expectation(file), &plan)
        })
        .collect();
    assert_none(&problems);
}

#[test]
fn plans_are_the_same_each_time() {
    let problems: Vec<_> = pipelines()
        .par_iter()
        .filter_map(|file| {
            let once = plan(&project(file)).to_string();
            difference(&relative(file), &once, &plan(&project(file)).to_string())
        })
        .collect();
    assert_none(&problems);
}

#[test]
fn formatting_keeps_the_plan() {
    let problems: Vec<_> = pipelines()
        .par_iter()
        .filter_map(|file| {
            let project = project(file);
            let before = without_places(plan(&project));
            Kiln::new(project.path()).arguments(["fmt"]).run().exits(0);
            let after = without_places(plan(&project));
            difference(&relative(file), &format!("{before:#}"), &format!("{after:#}"))
        })
        .collect();
    assert_none(&problems);
}

#[test]
fn formatting_keeps_the_plans_of_the_docs_and_the_examples() {
    let folders = std::fs::read_dir(repository("examples")).unwrap();
    let examples = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let example =
        |path: PathBuf| (relative(&path), Project::new().with_copy_of(&path), String::new());
    let blocks = docs::blocks().into_iter().filter(docs::Block::is_right);
    let block = |block: docs::Block| {
        let arguments = block.setting("args").unwrap_or_default().to_owned();
        (block.place.clone(), block.project(), arguments)
    };
    let projects: Vec<_> = examples.map(example).chain(blocks.map(block)).collect();
    let plan = |project: &Project, arguments: &str| {
        let done = project.kiln(&format!("plan --json {arguments}"));
        // Some have no stages, or need what only a run has.
        (done.code() == Some(0)).then(|| {
            let plan = serde_json::from_str(&done.stdout()).expect("a plan is JSON");
            format!("{:#}", without_places(plan))
        })
    };
    let kept: Vec<_> = projects
        .par_iter()
        .filter_map(|(name, project, arguments)| {
            let before = plan(project, arguments)?;
            project.kiln("fmt").exits(0);
            let after = plan(project, arguments).unwrap_or_default();
            Some(difference(name, &before, &after))
        })
        .collect();
    assert!(kept.len() > 50, "only {} of {} have a plan", kept.len(), projects.len());
    assert_none(&kept.into_iter().flatten().collect::<Vec<_>>());
}

/// Returns a plan without what formatting may change: where things stand in the text.
pub(crate) fn without_places(mut plan: Value) -> Value {
    match &mut plan {
        Value::Object(fields) => {
            fields.remove("place");
            fields.values_mut().for_each(|value| *value = without_places(value.take()));
        }
        Value::Array(values) => {
            values.iter_mut().for_each(|value| *value = without_places(value.take()));
        }
        _ => {}
    }
    plan
}

#[test]
fn every_golden_file_is_read() {
    let pipelines = pipelines();
    let is_read = |file: &PathBuf| {
        pipelines.contains(file)
            || pipelines.iter().any(|pipeline| expectation(pipeline) == *file)
            || pipelines.contains(&project_folder(file).join("pipeline.pipe"))
    };
    let unread: Vec<_> = files_below(&repository(FOLDER))
        .iter()
        .filter(|file| !is_read(file))
        .map(|file| relative(file))
        .collect();
    assert_none(&unread);
}
