//! What a family of models offers to the command line: plain functions without type parameters.

use crate::backends::compiled_in;
use crate::problem::Problem;
use paretopo_models::{ModelFamily, read_config};
use paretopo_training::{
    EntryPoints, MemoryPlan, Observer, RunConfig, Surroundings, TrainingError, check_prompts,
};
use std::path::Path;

/// The memory plan of a configuration for the model in a folder, for prompts of so many tokens and so
/// many threads.
type Plan = fn(&RunConfig, &Path, usize, [usize; 2]) -> Result<MemoryPlan, Problem>;
type CheckPrompts =
    fn(&RunConfig, &Surroundings<'_>, &mut dyn Observer) -> Result<(), TrainingError>;

/// The functions of one family.
#[derive(Clone, Debug)]
pub(crate) struct Models {
    /// The backends that are compiled in, for this family.
    pub(crate) backends: Vec<EntryPoints>,
    pub(crate) plan: Plan,
    pub(crate) check_prompts: CheckPrompts,
}

impl Models {
    pub(crate) fn of<F: ModelFamily>() -> Self {
        Self {
            backends: compiled_in::<F>(),
            plan: |config, folder, prompt_tokens, [threads, ranks]| {
                let model = read_config::<F>(folder).map_err(Problem::mistake)?;
                Ok(MemoryPlan::of_rank(config, &model, prompt_tokens, threads, ranks))
            },
            check_prompts: check_prompts::<F>,
        }
    }
}
