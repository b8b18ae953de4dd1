//! Kiln as a library: loads a pipeline, runs a stage, follows what happens, and reads what it made.
//!
//! ```sh
//! cargo run --example embed -- examples/hello greeting
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use kiln::event::{Event, Outcome};
use kiln::session::{self, Ended, Facts, Interrupt, Planned, Project, RunOptions, Workspace};

fn main() -> Result<(), Box<dyn Error>> {
    // Steps run in processes of this program, which begins to be one of them here.
    kiln::launch_if_asked();
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(stage)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed FOLDER STAGE".into());
    };
    for (name, path) in build(Path::new(&folder), &stage)? {
        let text = std::fs::read_to_string(&path)?;
        write!(io::stdout(), "{name} of {} bytes:\n{text}", text.len())?;
    }
    Ok(())
}

/// Runs a stage of the pipeline in a folder; returns its outs, by name.
fn build(folder: &Path, stage: &str) -> Result<Vec<(String, PathBuf)>, Box<dyn Error>> {
    // The pipeline, with params by name and what it may ask of the machine.
    let project = Project::find(folder, None)?;
    let mut workspace = Workspace::open(&project, &IndexMap::new(), Facts::default());
    let (plan, graph) = match workspace.plan()? {
        Planned::Kept(planned) => *planned,
        Planned::Made(pipeline) => {
            for found in &pipeline.diagnostics {
                writeln!(io::stderr(), "{}", found.message)?;
            }
            pipeline.plan.ok_or("the pipeline is wrong")?
        }
    };

    // What is to run, and with what: a store beside the outs, and the programs of this one's `PATH`.
    let mut options = RunOptions::new(project.package().join(".kiln/store"));
    options.environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    options.stages = vec![stage.to_owned()];
    options.wanted = session::select(&plan, &options.stages)?;

    // The run says what happens. `Interrupt::interrupt` ends it from another thread.
    let interrupt = Interrupt::new()?;
    let mut outs = Vec::new();
    let mut hear = |event: Event| {
        if let Event::StepFinished(step) = event {
            let _ = writeln!(io::stderr(), "{}: {:?}", step.step, step.outcome);
            if let (Outcome::Failed, Some(failure)) = (step.outcome, &step.failure) {
                let _ = writeln!(io::stderr(), "  {}", failure.message);
            }
            outs.extend(step.outs.into_iter().map(|out| (out.name, project.root.join(out.path))));
        }
    };
    let planned = (plan, graph);
    match session::run(workspace, planned, &options, &interrupt, &mut |_| {}, &mut hear)? {
        Ended::Exit(0) => Ok(outs),
        Ended::Exit(exit) => Err(format!("the run ended with exit code {exit}").into()),
        Ended::Mistaken(_) => Err("what a step made does not fit the pipeline".into()),
    }
}
