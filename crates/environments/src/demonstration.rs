//! Worked solutions to imitate in a supervised warm start.

use paretopo_trajectory::ToolCall;

/// A worked solution.
#[derive(Clone, Debug, PartialEq)]
pub struct Demonstration {
    /// The question.
    pub question: String,
    /// What the agent writes and reads, in order.
    pub turns: Vec<DemonstrationTurn>,
}

/// A stretch of a demonstration.
#[derive(Clone, Debug, PartialEq)]
pub enum DemonstrationTurn {
    /// A call; how it is written depends on the policy's syntax.
    Call(ToolCall),
    /// What the tool answered.
    Output(String),
    /// What the agent writes before it goes on.
    Text(String),
    /// The final text.
    Answer(String),
}
