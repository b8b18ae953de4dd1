//! The plan: the waist of Kiln. Knows steps and their graph as plain data that can be printed,
//! stored and sent; knows neither the language that makes plans nor the engine that runs them.

pub mod artifact;
pub(crate) mod ending;
pub mod graph;
pub mod step;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use artifact::{FileSet, FileSetId};
use step::{LateStage, Service, ServiceUse, SkippedStep, Step, StepId};

/// The version of the JSON form. It grows when a field changes its meaning, not when one is added.
pub const VERSION: u32 = 1;

/// Everything one pipeline would do, for one set of params.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of this form: [`VERSION`].
    pub version: u32,
    /// The params of the pipeline and the values they had, as text.
    pub params: IndexMap<String, String>,
    /// The facts of the machine that the pipeline asked for and what they were, as text; `none` for
    /// one that there is not.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub facts: IndexMap<String, String>,
    /// The file sets that steps name by number.
    pub file_sets: Vec<FileSet>,
    /// The steps, each at the place its [`StepId`] says. Order is that of the files.
    pub steps: Vec<Step>,
    /// What is left out, since the condition of its stage does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedStep>,
    /// Stages whose rows are known only after another step has run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_stages: Vec<LateStage>,
    /// Programs that stay up beside steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
}

impl Plan {
    /// Returns the step with that id.
    ///
    /// # Panics
    /// If the id is of another plan.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.index()]
    }

    /// Returns the services of `step`, each with the name by which the step knows it.
    ///
    /// # Panics
    /// If the step is of another plan.
    pub fn services_of<'a>(
        &'a self,
        step: &'a Step,
    ) -> impl ExactSizeIterator<Item = (&'a str, &'a Service)> {
        let service =
            |used: &'a ServiceUse| (used.name.as_str(), &self.services[used.service as usize]);
        step.services.iter().map(service)
    }

    /// Returns the steps with their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (StepId, &Step)> {
        self.steps.iter().enumerate().map(|(at, step)| (StepId::new(at), step))
    }

    /// Returns the file set with that id.
    ///
    /// # Panics
    /// If the id is of another plan.
    pub fn file_set(&self, id: FileSetId) -> &FileSet {
        &self.file_sets[id.index()]
    }
}
