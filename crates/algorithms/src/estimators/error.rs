//! Why an estimator gives no advantages.

use crate::pareto::Point;

/// Why a step's rewards cannot be turned into advantages.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum EstimatorError {
    /// A reward is NaN or infinite.
    #[error("the reward vector {reward:?} of prompt `{prompt}` holds a value that is not finite")]
    NotFinite {
        /// The prompt.
        prompt: String,
        /// The vector.
        reward: Point,
    },
    /// An advantage is NaN or infinite though the rewards are not: they are too large for their
    /// differences.
    #[error("an advantage of prompt `{prompt}` is {advantage}, from rewards up to {largest:e}")]
    Overflow {
        /// The prompt.
        prompt: String,
        /// The advantage.
        advantage: f64,
        /// The largest reward of the prompt, without its sign.
        largest: f64,
    },
    /// Reward vectors of different length.
    #[error(
        "the reward vector {reward:?} of prompt `{prompt}` has {found} objectives, but {expected} are expected"
    )]
    Objectives {
        /// The prompt.
        prompt: String,
        /// The vector.
        reward: Point,
        /// Its length.
        found: usize,
        /// The length asked for.
        expected: usize,
    },
    /// What it is to remember is not what it writes down.
    #[error("the state of the estimator `{estimator}`: {reason}")]
    State {
        /// Its `type`.
        estimator: String,
        /// What is wrong.
        reason: String,
    },
    /// A list of advantages for each group is needed.
    #[error("`{estimator}` gave advantages for {found} prompts, but there are {expected}")]
    Groups {
        /// Its `type`.
        estimator: String,
        /// Lists.
        found: usize,
        /// Groups.
        expected: usize,
    },
    /// An estimator's own reason.
    #[error("{0}")]
    Other(String),
    /// As many values as rollouts are needed.
    #[error("`{estimator}` gave {found} advantages for the {expected} rollouts of a prompt")]
    Count {
        /// Its `type`.
        estimator: String,
        /// Advantages.
        found: usize,
        /// Rollouts.
        expected: usize,
    },
    /// As many values as turns are needed.
    #[error("`{estimator}` gave {found} advantages for the {expected} turns of a rollout")]
    Turns {
        /// Its `type`.
        estimator: String,
        /// Advantages.
        found: usize,
        /// Turns.
        expected: usize,
    },
    /// The estimator needs to know which turn made which call.
    #[error("`{0}` needs what each turn's calls cost (`turn_costs`)")]
    NoTurns(&'static str),
    /// The estimator needs the number of calls.
    #[error("`{0}` needs the number of tool calls of each rollout (`calls`)")]
    NoCalls(&'static str),
}
