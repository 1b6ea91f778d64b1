//! Demonstrations of mixed quality for the warm start: answers in the head, one call, or more calls
//! than needed.
//!
//! All end with the right answer. What a small decoder cannot compute in its head it still learns
//! to *attempt*, so the policy starts out inaccurate where it skips the tool and wasteful where it
//! uses it, and both objectives can improve.

use super::problems::{LEVELS, generate_problem, question_split};
use crate::{DataError, Demonstration, DemonstrationTurn};
use paretopo_settings::NonNegative;
use paretopo_trajectory::{Split, ToolCall};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Relative frequency of each way to solve a problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StrategyMixture {
    /// Arithmetic as a bare expression, answered without a call: practice for the head in a form
    /// that no task has, so that it does not teach when to call.
    pub drill: NonNegative,
    /// Answer without a call.
    pub head: NonNegative,
    /// One call that holds the whole expression.
    pub one_call: NonNegative,
    /// More calls than needed: step by step, repeated, or both.
    pub redundant: NonNegative,
}

impl StrategyMixture {
    /// # Errors
    /// When no way has a frequency above 0.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        if [self.drill, self.head, self.one_call, self.redundant].iter().any(|f| f.get() > 0.0) {
            return Ok(());
        }
        Err(DataError::Setting(
            "`environment.demonstrations`: `drill`, `head`, `one_call` and `redundant` are all 0\nhint: give one of them a frequency above 0"
                .into(),
        ))
    }
}

impl Default for StrategyMixture {
    fn default() -> Self {
        Self {
            drill: const { NonNegative::literal(1.0) },
            head: const { NonNegative::literal(0.35) },
            one_call: const { NonNegative::literal(0.25) },
            redundant: const { NonNegative::literal(0.40) },
        }
    }
}

pub(super) fn demonstrate(
    seed: u64,
    index: u64,
    level_weights: &[f64; LEVELS],
    mixture: &StrategyMixture,
) -> Demonstration {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xD3);
    rng.set_stream(index);
    let problem = loop {
        let problem = generate_problem(&mut rng, level_weights);
        if question_split(&problem.question) == Split::Train {
            break problem;
        }
    };
    let whole = (problem.expression.clone(), problem.answer);
    let StrategyMixture { drill, head, one_call, redundant } = mixture;
    let [drill, head, one_call, redundant] = [drill, head, one_call, redundant].map(|f| f.get());
    let strategy = rng.random_range(0.0..drill + head + one_call + redundant);
    if strategy < drill {
        let answer = DemonstrationTurn::Answer(format!("\\boxed{{{}}}", problem.answer));
        return Demonstration { question: problem.expression, turns: vec![answer] };
    }
    let strategy = strategy - drill;
    let programs = if strategy < head {
        Vec::new()
    } else if strategy < head + one_call {
        vec![whole]
    } else {
        let mut programs = if problem.steps.len() > 1 && rng.random_bool(0.6) {
            problem.steps.clone()
        } else {
            vec![whole.clone()]
        };
        let repeats =
            if programs.len() > 1 { rng.random_range(0..2) } else { rng.random_range(1..3) };
        programs.extend(std::iter::repeat_n(whole, repeats));
        programs
    };
    let mut turns = Vec::new();
    for (expression, value) in programs {
        let arguments = serde_json::json!({ "code": format!("print({expression})") });
        turns.push(DemonstrationTurn::Call(ToolCall { name: "python".into(), arguments }));
        turns.push(DemonstrationTurn::Output(value.to_string()));
    }
    turns.push(DemonstrationTurn::Answer(format!("\\boxed{{{}}}", problem.answer)));
    Demonstration { question: problem.question, turns }
}
