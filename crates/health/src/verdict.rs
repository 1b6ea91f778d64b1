//! What a rule says of a run.

use serde::Serialize;

/// What a rule says of a run, with what can be drawn of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The rule's name, as in files and addresses.
    pub rule: &'static str,
    /// The rule's name for people.
    pub title: &'static str,
    /// When it speaks, as a formula.
    pub formula: &'static str,
    /// What it found.
    pub condition: Condition,
    /// What to try where it is ill, the likeliest first.
    pub remedies: &'static [&'static str],
    /// What it looked at.
    pub curves: Vec<Curve>,
}

/// How a run is, by one rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "said")]
pub enum Condition {
    /// Something is wrong; says what, with its numbers.
    Ill(String),
    /// Nothing is; says by which numbers.
    Well(String),
    /// It cannot be told; says why.
    Unknown(String),
}

/// A number over the steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// What it is.
    pub name: String,
    /// Steps and values.
    pub points: Vec<(f64, f64)>,
    /// Where the rule begins to speak, of rules that have one such value.
    pub limit: Option<f64>,
}

impl Verdict {
    /// Whether something is wrong.
    pub fn is_ill(&self) -> bool {
        matches!(self.condition, Condition::Ill(_))
    }
}

impl Condition {
    /// The words.
    pub fn said(&self) -> &str {
        match self {
            Self::Ill(said) | Self::Well(said) | Self::Unknown(said) => said,
        }
    }
}
