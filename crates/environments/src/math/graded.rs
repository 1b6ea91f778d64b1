//! Generated problems in ten levels that need from none to three calls of a tool that does one
//! operation a call.
//!
//! | level | arithmetic | calls needed |
//! |---|---|---|
//! | 0 | the larger of two two-digit numbers | 0 |
//! | 1 | 2 to 19 plus or minus 2 to 9 | 1 |
//! | 2 | 10 to 49 plus or minus 2 to 9 | 1 |
//! | 3 | sums of numbers from 10 to 49 | 1 |
//! | 4 | 11 to 29 times 2 to 9 | 1 |
//! | 5 | differences of two-digit numbers | 1 |
//! | 6 | a + b - c, of numbers from 2 to 19 | 2 |
//! | 7 | a * b + c, with a and b from 2 to 9 and c from 2 to 19 | 2 |
//! | 8 | a + b + c - d, of numbers from 2 to 9 | 3 |
//! | 9 | a * b + c - d, with a from 11 to 29, b from 2 to 9, two-digit c and d | 3 |
//!
//! How often the shipped policy is right in its head, by level, is graded by how often the warm
//! start drills each (`drill_weights`), and measured in `experiments/math/README.md`.

use super::GradedDemonstrations;
use super::problems::question_split;
use paretopo_settings::{Frequencies, LARGEST_SEED, whole, within};
use paretopo_trajectory::Split;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number of levels.
pub(super) const GRADED_LEVELS: usize = 10;

/// How many graded problems there are, of which levels, and how they are demonstrated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradedSource {
    /// Seed of the problems (not of the training).
    #[serde(deserialize_with = "within::<0, LARGEST_SEED, _, _>")]
    #[schemars(schema_with = "whole::<0, LARGEST_SEED>")]
    pub seed: u64,
    /// Training problems. 300 steps of 12 prompts meet 1,200 three times each; far fewer are learnt by
    /// heart.
    #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000>")]
    pub train: usize,
    /// Validation problems.
    #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000>")]
    pub validation: usize,
    /// Test problems.
    #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000>")]
    pub test: usize,
    /// Relative frequency of each level, 0 to 9.
    pub level_weights: Frequencies<GRADED_LEVELS>,
    /// The warm start's demonstrations.
    pub demonstrations: GradedDemonstrations,
}

impl Default for GradedSource {
    fn default() -> Self {
        Self {
            seed: 1,
            train: 1200,
            validation: 300,
            test: 1000,
            level_weights: Frequencies::literal([1.0; GRADED_LEVELS]),
            demonstrations: GradedDemonstrations::default(),
        }
    }
}

/// A question with its arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradedProblem {
    /// 0 to 9.
    pub level: u32,
    /// The text.
    pub question: String,
    /// The arithmetic as one expression, `max(a,b)` at level 0.
    pub expression: String,
    /// The calls that it needs, each `a op b` with earlier results filled in, with their results.
    pub steps: Vec<(String, i64)>,
    /// The value, never negative.
    pub answer: i64,
}

/// Draws a problem; a level is drawn in proportion to `level_weights` (non-negative, not all zero).
pub fn generate_graded(rng: &mut impl Rng, level_weights: &[f64; GRADED_LEVELS]) -> GradedProblem {
    let level = super::problems::draw_level(rng, level_weights);
    let mut from_to = |low: i64, high: i64| rng.random_range(low..=high);
    let operations = match level {
        0 => {
            let (a, b) = (from_to(10, 99), from_to(10, 99));
            return larger(rng, a, b);
        }
        1 => sum_or_difference(from_to(2, 19), from_to(2, 9), from_to(0, 1)),
        2 => sum_or_difference(from_to(10, 49), from_to(2, 9), from_to(0, 1)),
        3 => sum_or_difference(from_to(10, 49), from_to(10, 49), 1),
        4 => vec![(from_to(11, 29), ' '), (from_to(2, 9), '*')],
        5 => sum_or_difference(from_to(10, 99), from_to(10, 99), 0),
        6 => {
            let (a, b, c) = (from_to(2, 19), from_to(2, 19), from_to(2, 19));
            vec![(a, ' '), (b, '+'), (c.min(a + b), '-')]
        }
        7 => vec![(from_to(2, 9), ' '), (from_to(2, 9), '*'), (from_to(2, 19), '+')],
        8 => {
            let (a, b, c, d) = (from_to(2, 9), from_to(2, 9), from_to(2, 9), from_to(2, 9));
            vec![(a, ' '), (b, '+'), (c, '+'), (d.min(a + b + c), '-')]
        }
        _ => {
            let (a, b, c) = (from_to(11, 29), from_to(2, 9), from_to(10, 99));
            let d = from_to(10, 99.min(a * b + c));
            vec![(a, ' '), (b, '*'), (c, '+'), (d, '-')]
        }
    };
    chained(rng, level as u32, &operations)
}

/// `a + b` where `add` is 1, else the larger minus the smaller.
fn sum_or_difference(a: i64, b: i64, add: i64) -> Vec<(i64, char)> {
    match add {
        1 => vec![(a, ' '), (b, '+')],
        _ => vec![(a.max(b), ' '), (a.min(b), '-')],
    }
}

/// Level 0: nothing to compute.
fn larger(rng: &mut impl Rng, a: i64, b: i64) -> GradedProblem {
    let question = match rng.random_range(0..3) {
        0 => format!("Which is more, {a} or {b}?"),
        1 => format!("What is the larger of {a} and {b}?"),
        _ => format!("max({a},{b}) = ?"),
    };
    let expression = format!("max({a},{b})");
    GradedProblem { level: 0, question, expression, steps: Vec::new(), answer: a.max(b) }
}

/// Operations from left to right: the first operand, then each with its sign. A product comes first
/// or not at all, so that this is their usual order.
fn chained(rng: &mut impl Rng, level: u32, operands: &[(i64, char)]) -> GradedProblem {
    let mut value = operands[0].0;
    let mut expression = value.to_string();
    let mut steps = Vec::new();
    for (operand, sign) in &operands[1..] {
        let call = format!("{value}{sign}{operand}");
        value = match sign {
            '+' => value + operand,
            '-' => value - operand,
            _ => value * operand,
        };
        steps.push((call, value));
        expression.push_str(&format!("{sign}{operand}"));
    }
    let question = super::problems::bare(rng, &expression);
    GradedProblem { level, question, expression, steps, answer: value }
}

/// A training problem: the first drawn whose question is none of validation or test.
pub(super) fn training_problem(
    rng: &mut impl Rng,
    level_weights: &[f64; GRADED_LEVELS],
) -> GradedProblem {
    loop {
        let problem = generate_graded(rng, level_weights);
        if question_split(&problem.question) == Split::Train {
            return problem;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_tools::{PythonLimits, evaluate_python};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn expressions_and_steps_evaluate_to_the_answer() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let value = |expression: &str| evaluate_python(expression, &PythonLimits::default()).1;
        for _ in 0..600 {
            let problem = generate_graded(&mut rng, &[1.0; GRADED_LEVELS]);
            assert_eq!(value(&problem.expression), problem.answer.to_string(), "{problem:?}");
            for (call, result) in &problem.steps {
                assert_eq!(value(call), result.to_string(), "{problem:?}");
                // one operation: an operand, a sign, an operand
                assert_eq!(call.matches(['+', '-', '*']).count(), 1, "{problem:?}");
            }
            let last = problem.steps.last().map_or(problem.answer, |(_, result)| *result);
            assert_eq!(last, problem.answer);
            assert!(problem.answer >= 0, "{problem:?}");
        }
    }

    #[test]
    fn levels_need_as_many_calls_as_the_table_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for (level, calls) in [0, 1, 1, 1, 1, 1, 2, 2, 3, 3].into_iter().enumerate() {
            let mut weights = [0.0; GRADED_LEVELS];
            weights[level] = 1.0;
            let problem = generate_graded(&mut rng, &weights);
            assert_eq!((problem.level, problem.steps.len()), (level as u32, calls), "{problem:?}");
        }
    }
}
