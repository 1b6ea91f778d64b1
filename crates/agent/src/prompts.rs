//! The prompts of tasks as ids, and what becomes of a task whose prompt is too long.

use crate::{PolicyText, RolloutConfig};
use paretopo_chat::ChatError;
use paretopo_environments::ToolEnvironment;
use paretopo_trajectory::{Task, TokenId};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tasks that one thread opens.
const FEW: usize = 32;

/// What a task does whose prompt is too long: it has more tokens than `rollout.max_prompt_tokens`, or
/// leaves no room to answer in the model's context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LongPrompts {
    /// It stops the run, before it has begun.
    #[default]
    Stop,
    /// It is left out, and said.
    Skip,
    /// Its question loses words at its beginning until the prompt fits, and that is said. Where
    /// this does not help, and with demonstrations and conversations, it is as `skip`.
    Cut,
}

/// The prompt of each task, in the same order, with what is told in front of its question. Rendered and
/// encoded on all threads.
///
/// # Errors
/// When the template or the tokenizer fails, or the template renders nothing; the first such task
/// is named.
pub fn open_tasks(
    text: &PolicyText,
    environment: &ToolEnvironment,
    config: &RolloutConfig,
    tasks: &[(&Task, &str)],
) -> Result<Vec<Vec<TokenId>>, ChatError> {
    // a template may have a process for each thread that renders: a few tasks do not need many
    let opened: Vec<Result<_, _>> = tasks
        .par_iter()
        .with_min_len(FEW)
        .map(|(task, told)| text.opening_told(environment, task, told, &config.syntax))
        .collect();
    opened.into_iter().collect()
}

/// Whether the first of the tasks, if there is one, is opened with its question in it; the others
/// are opened by the same template.
///
/// # Errors
/// When it is not, or the template fails.
pub fn require_question(
    text: &PolicyText,
    environment: &ToolEnvironment,
    config: &RolloutConfig,
    tasks: &[Task],
) -> Result<(), ChatError> {
    let Some(task) = tasks.first() else { return Ok(()) };
    text.require_question(environment, task, &config.syntax)
}

/// Whether a prompt of so many tokens leaves room for a token to answer with.
pub fn leaves_room(tokens: usize, context: usize) -> bool {
    tokens < context
}
