//! How an episode opens.

use paretopo_trajectory::{Message, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The messages in front of the policy's first turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Opening {
    /// The question alone; for policies that were trained on this environment, or whose chat
    /// template describes the tools.
    Question {},
    /// A system message that explains the tool, then the question; for general instruct models.
    Instruction {
        /// The system message.
        system: String,
        /// Worked examples, as earlier turns of the conversation.
        #[serde(default)]
        examples: Vec<Example>,
    },
    /// The prompt of Search-R1 (arXiv 2503.09516, table 1), with its tags for thinking, searching
    /// and answering.
    SearchR1 {},
}

/// A worked example in the opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The question.
    pub question: String,
    /// The whole response, with its calls and their output.
    pub response: String,
}

const SEARCH_R1: &str = "Answer the given question. You must conduct reasoning inside <think> and </think> first every time you get new \
information. After reasoning, if you find you lack some knowledge, you can call a search engine by <search> query </search> and it will \
return the top searched results between <information> and </information>. You can search as many times as your want. If you find no \
further external knowledge needed, you can directly provide the answer inside <answer> and </answer>, without detailed illustrations. For \
example, <answer> Beijing </answer>. Question: ";

impl Opening {
    /// The messages that open an episode on a question.
    pub fn messages(&self, question: &str) -> Vec<Message> {
        let said = |role, content: &str| Message { role, content: content.to_owned() };
        let mut messages = Vec::new();
        match self {
            Self::Question {} => messages.push(said(Role::User, question)),
            Self::Instruction { system, examples } => {
                messages.push(said(Role::System, system));
                for example in examples {
                    messages.push(said(Role::User, &example.question));
                    messages.push(said(Role::Assistant, &example.response));
                }
                messages.push(said(Role::User, question));
            }
            Self::SearchR1 {} => {
                messages.push(said(Role::User, &format!("{SEARCH_R1}{question}\n")))
            }
        }
        messages
    }
}
