//! What `apply_chat_template` takes and what comes of it.

use paretopo_trajectory::{Message, ToolSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::ops::Range;

/// Names that a message's reasoning is written under; the first is the one that templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A conversation as its JSON says it, with everything that a template may ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conversation {
    /// The messages: objects with `role`, `content`, `tool_calls` and whatever the template reads.
    pub messages: Vec<Map<String, Value>>,
    /// Tools that the template may describe, as `{"type": "function", "function": {..}}`. An empty
    /// list is not the same as none: it asks for the template that is named `tool_use`.
    pub tools: Option<Vec<Value>>,
    /// Documents that the template may cite.
    pub documents: Option<Vec<Value>>,
    /// Whether to end with the header of an assistant turn.
    pub add_generation_prompt: bool,
    /// Further variables, such as `enable_thinking`.
    pub variables: Map<String, Value>,
    /// Seconds since 1970, in UTC, for templates that tell the date; without them the time of
    /// rendering.
    pub now: Option<i64>,
}

/// A rendered conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// The bytes of `text` that stand in the template's `{% generation %}` blocks: what an
    /// assistant wrote. Empty where the template has no such blocks.
    pub assistant: Vec<Range<usize>>,
}

impl Conversation {
    /// A conversation in words, with tools if there are any.
    pub fn new(messages: &[Message], tools: &[ToolSpec], add_generation_prompt: bool) -> Self {
        let messages = messages.iter().map(|message| {
            Map::from_iter([
                ("role".to_owned(), json!(message.role)),
                ("content".to_owned(), json!(message.content)),
            ])
        });
        let tools = tools.iter().map(|tool| json!({ "type": "function", "function": tool }));
        Self {
            messages: messages.collect(),
            tools: Some(tools.collect()).filter(|tools: &Vec<_>| !tools.is_empty()),
            add_generation_prompt,
            ..Self::default()
        }
    }

    /// The messages as transformers hands them to a template: without what is null, and with the
    /// reasoning under the name that templates read, whatever name it came under.
    pub(crate) fn messages_as_read(&self) -> Vec<Map<String, Value>> {
        self.messages.iter().map(as_read).collect()
    }
}

fn as_read(message: &Map<String, Value>) -> Map<String, Value> {
    let mut said = message.clone();
    said.retain(|_, value| !value.is_null());
    let Some(reasoning) = REASONING.iter().find_map(|name| said.get(*name)).cloned() else {
        return said;
    };
    let mut read = Map::from_iter([("thinking".to_owned(), reasoning.clone())]);
    read.extend(said);
    read.insert("reasoning_content".into(), reasoning);
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `_normalize_chat_messages` and `_alias_reasoning_fields` of transformers 5.24.
    #[test]
    fn messages_lose_nulls_and_their_reasoning_gets_its_name() {
        let message = json!({ "role": "assistant", "content": null, "reasoning": "why" });
        let read = as_read(message.as_object().unwrap());
        let expected =
            r#"{"thinking":"why","role":"assistant","reasoning":"why","reasoning_content":"why"}"#;
        assert_eq!(serde_json::to_string(&read).unwrap(), expected);
    }
}
