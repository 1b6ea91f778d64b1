//! Generated problems in six levels, as bare arithmetic or as one-sentence stories.
//!
//! | level | arithmetic | in the head |
//! |---|---|---|
//! | 0 | one-digit sums and differences | sure |
//! | 1 | a two-digit plus or minus a one-digit number | mostly |
//! | 2 | two-digit sums and differences | often |
//! | 3 | 11 to 30 times a one-digit number | sometimes |
//! | 4 | a two-digit times a two-digit number | hardly |
//! | 5 | two steps: (a + b) * c, a * b + c, a * b - c | hardly |
//!
//! How well the shipped policy does each in its head is measured in `experiments/math-python/README.md`.

use paretopo_trajectory::{Split, stable_hash};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::ops::Range;

/// Number of levels.
pub(super) const LEVELS: usize = 6;

pub(super) const NAMES: [&str; 8] = ["Ann", "Ben", "Cara", "Dan", "Eva", "Finn", "Gina", "Hugo"];
pub(super) const THINGS: [&str; 8] =
    ["apples", "books", "coins", "eggs", "pens", "shells", "stamps", "tickets"];

/// A question with its arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 0 to 5.
    pub level: u32,
    /// The text.
    pub question: String,
    /// The whole arithmetic as one Python expression.
    pub expression: String,
    /// The same in steps of one operation each, with intermediate results filled in.
    pub steps: Vec<(String, i64)>,
    /// The value.
    pub answer: i64,
}

/// Draws a problem; a level is drawn in proportion to `level_weights` (non-negative, not all zero).
pub fn generate_problem(rng: &mut impl Rng, level_weights: &[f64; 6]) -> Problem {
    let level = draw_level(rng, level_weights);
    match level {
        0 => sum_or_difference(rng, 0, 0..10, 0..10),
        1 => sum_or_difference(rng, 1, 10..100, 1..10),
        2 => sum_or_difference(rng, 2, 10..100, 10..100),
        3 => product(rng, 3, 11..31, 2..10),
        4 => product(rng, 4, 11..100, 11..100),
        _ => two_steps(rng),
    }
}

/// A level, in proportion to its weight; one of weight 0 is never drawn.
pub(super) fn draw_level(rng: &mut impl Rng, weights: &[f64]) -> usize {
    let mut point = rng.random_range(0.0..weights.iter().sum::<f64>());
    let mut level = 0;
    for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        level = index;
        if point < *weight {
            break;
        }
        point -= weight;
    }
    level
}

/// Which split a question belongs to: decided by its text alone, so splits can never overlap. 1 in
/// 10 is for validation, 2 in 10 for test.
pub(super) fn question_split(question: &str) -> Split {
    match (stable_hash(question) >> 20) % 10 {
        0 => Split::Validation,
        1 | 2 => Split::Test,
        _ => Split::Train,
    }
}

/// A question for the value of an expression.
pub(super) fn bare(rng: &mut impl Rng, expression: &str) -> String {
    match rng.random_range(0..3) {
        0 => format!("What is {expression}?"),
        1 => format!("Compute {expression}."),
        _ => format!("{expression} = ?"),
    }
}

fn name(rng: &mut impl Rng) -> &'static str {
    NAMES.choose(rng).expect("not empty")
}

fn thing(rng: &mut impl Rng) -> &'static str {
    THINGS.choose(rng).expect("not empty")
}

fn one_step(level: u32, question: String, expression: String, answer: i64) -> Problem {
    Problem { level, question, steps: vec![(expression.clone(), answer)], expression, answer }
}

fn sum_or_difference(
    rng: &mut impl Rng,
    level: u32,
    first: Range<i64>,
    second: Range<i64>,
) -> Problem {
    let (mut a, mut b) = (rng.random_range(first), rng.random_range(second));
    let add = rng.random_bool(0.5);
    if !add && a < b {
        std::mem::swap(&mut a, &mut b);
    }
    let expression = if add { format!("{a}+{b}") } else { format!("{a}-{b}") };
    let question = if rng.random_bool(0.5) {
        bare(rng, &expression)
    } else {
        let (name, thing) = (name(rng), thing(rng));
        if add {
            format!("{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have?")
        } else {
            format!("{name} has {a} {thing} and gives away {b}. How many {thing} are left?")
        }
    };
    one_step(level, question, expression, if add { a + b } else { a - b })
}

fn product(rng: &mut impl Rng, level: u32, first: Range<i64>, second: Range<i64>) -> Problem {
    let (a, b) = (rng.random_range(first), rng.random_range(second));
    let expression = format!("{a}*{b}");
    let question = if rng.random_bool(0.5) {
        bare(rng, &expression)
    } else {
        let thing = thing(rng);
        format!("There are {b} boxes with {a} {thing} each. How many {thing} are there?")
    };
    one_step(level, question, expression, a * b)
}

fn two_steps(rng: &mut impl Rng) -> Problem {
    let story = rng.random_bool(0.5);
    let (name, thing) = (name(rng), thing(rng));
    let (question, expression, steps) = match rng.random_range(0..3) {
        0 => {
            let (a, b, c) =
                (rng.random_range(2..40), rng.random_range(2..40), rng.random_range(2..10));
            let expression = format!("({a}+{b})*{c}");
            let question = if story {
                format!(
                    "{name} puts {a} red and {b} blue {thing} in each of {c} boxes. How many {thing} are there?"
                )
            } else {
                bare(rng, &expression)
            };
            (
                question,
                expression,
                vec![(format!("{a}+{b}"), a + b), (format!("{}*{c}", a + b), (a + b) * c)],
            )
        }
        kind => {
            let (a, b) = (rng.random_range(11..60), rng.random_range(2..10));
            let (sign, c) = if kind == 1 {
                ('+', rng.random_range(11..100))
            } else {
                ('-', rng.random_range(2..a))
            };
            let expression = format!("{a}*{b}{sign}{c}");
            let question = if story {
                let change = if sign == '+' { "adds" } else { "takes" };
                let end = if sign == '+' { "there" } else { "left" };
                format!(
                    "There are {b} boxes with {a} {thing} each. {name} {change} {c}. How many {thing} are {end}?"
                )
            } else {
                bare(rng, &expression)
            };
            let value = if sign == '+' { a * b + c } else { a * b - c };
            (
                question,
                expression,
                vec![(format!("{a}*{b}"), a * b), (format!("{}{sign}{c}", a * b), value)],
            )
        }
    };
    let answer = steps.last().expect("two steps").1;
    Problem { level: 5, question, expression, steps, answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_tools::{PythonLimits, evaluate_python};
    use rand::SeedableRng;

    #[test]
    fn expressions_and_steps_evaluate_to_the_answer() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for _ in 0..600 {
            let problem = generate_problem(&mut rng, &[1.0; LEVELS]);
            let value = |expression: &str| evaluate_python(expression, &PythonLimits::default()).1;
            assert_eq!(value(&problem.expression), problem.answer.to_string(), "{problem:?}");
            for (expression, result) in &problem.steps {
                assert_eq!(value(expression), result.to_string(), "{problem:?}");
            }
            assert_eq!(problem.steps.last().unwrap().1, problem.answer);
            assert!(problem.answer >= 0);
        }
    }

    #[test]
    fn a_weight_of_zero_excludes_a_level() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for _ in 0..200 {
            let level = generate_problem(&mut rng, &[0.0, 1.0, 0.0, 0.0, 1.0, 0.0]).level;
            assert!(level == 1 || level == 4);
        }
    }
}
