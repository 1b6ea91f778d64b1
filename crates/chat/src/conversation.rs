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

    /// A row of a data set: `messages`, and where they are there `tools` (a list, or a text that
    /// holds one), `documents`, `chat_template_kwargs` and `add_generation_prompt`. Other columns
    /// are left alone.
    ///
    /// ```
    /// use paretopo_chat::Conversation;
    /// use serde_json::json;
    ///
    /// let row = json!({
    ///     "messages": [{ "role": "user", "content": "Hi" }], "tools": "[]", "source": "mine",
    /// });
    /// let conversation = Conversation::of_row(&row).unwrap();
    /// assert_eq!((conversation.messages.len(), conversation.tools), (1, Some(vec![])));
    /// let error = Conversation::of_row(&json!({ "messages": ["Hi"] })).unwrap_err();
    /// assert_eq!(error, "message 1 is no object with a `role`");
    /// ```
    ///
    /// # Errors
    /// Says which column, or which message, is not what it should be.
    pub fn of_row(row: &Value) -> Result<Self, String> {
        let list = |name: &str| match &row[name] {
            Value::Null => Ok(None),
            Value::Array(list) => Ok(Some(list.clone())),
            // what has no one type in a table is written as a text
            Value::String(text) => match serde_json::from_str(text) {
                _ if text.is_empty() => Ok(None),
                Ok(list) => Ok(list),
                Err(error) => Err(format!("`{name}` is a text that holds no list: {error}")),
            },
            other => Err(format!("`{name}` is no list: {other}")),
        };
        let Some(messages) = list("messages")?.filter(|messages| !messages.is_empty()) else {
            return Err(
                "no `messages`: a conversation is a list of them, each with a `role`".into()
            );
        };
        let message = |(place, message): (usize, Value)| match message {
            Value::Object(message) if message.get("role").is_some_and(Value::is_string) => {
                Ok(message)
            }
            _ => Err(format!("message {} is no object with a `role`", place + 1)),
        };
        let variables = match &row["chat_template_kwargs"] {
            Value::Null => Map::new(),
            Value::Object(variables) => variables.clone(),
            other => return Err(format!("`chat_template_kwargs` is no object: {other}")),
        };
        Ok(Self {
            messages: messages.into_iter().enumerate().map(message).collect::<Result<_, _>>()?,
            tools: list("tools")?,
            documents: list("documents")?,
            add_generation_prompt: row["add_generation_prompt"].as_bool().unwrap_or(false),
            variables,
            now: None,
        })
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

    #[test]
    fn a_row_is_refused_by_column_and_message() {
        for (row, reason) in [
            (json!({ "prompt": "Hi" }), "no `messages`"),
            (json!({ "messages": [] }), "no `messages`"),
            (json!({ "messages": 7 }), "`messages` is no list: 7"),
            (json!({ "messages": [{ "role": "user" }, { "from": "gpt" }] }), "message 2 is no"),
            (json!({ "messages": [{ "role": "user" }], "tools": "[1" }), "`tools` is a text that"),
            (json!({ "messages": [{ "role": "user" }], "tools": {} }), "`tools` is no list: {}"),
            (
                json!({ "messages": [{ "role": "user" }], "chat_template_kwargs": [] }),
                "`chat_template_kwargs` is no object",
            ),
        ] {
            let error = Conversation::of_row(&row).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let row = json!({
            "messages": r#"[{"role": "user"}]"#, "tools": r#"[{"type": "function"}]"#,
            "chat_template_kwargs": { "enable_thinking": false }, "add_generation_prompt": true,
        });
        let read = Conversation::of_row(&row).unwrap();
        assert_eq!(read.tools, Some(vec![json!({ "type": "function" })]));
        assert_eq!(read.variables["enable_thinking"], false);
        assert!(read.add_generation_prompt && read.messages.len() == 1);
    }
}
