//! How a policy writes a tool call, and how the tool's output is put before it.
//!
//! Three syntaxes from the literature put the output inside the policy's own turn: fenced Python
//! (ToRL, arXiv 2503.23383), search tags (Search-R1, arXiv 2503.09516) and Hermes JSON
//! (NousResearch). Each turns text into a [`ToolCall`] and back. Chat models end their turn instead;
//! what they write is read in `calls`.
//!
//! An opening is what it is to the letter: a fence of `Python` with a capital is text. Code behind an
//! indented fence is taken as it stands, and ends at a fence that is not indented.

use crate::CallFormat;
use crate::calls::{malformed, object};
use paretopo_trajectory::ToolCall;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a policy calls tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToolSyntax {
    /// ```` ```python ```` ... ```` ``` ````, answered by ```` ```output ```` ... ```` ``` ````.
    FencedPython {},
    /// `<search> query </search>`, answered by `<information>...</information>`.
    SearchTags {},
    /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, answered by
    /// `<tool_response>...</tool_response>` in the same turn.
    Hermes {},
    /// As the checkpoint's own chat template has it: a turn ends, may hold several calls, and is
    /// answered by turns of the tools.
    Chat {
        /// How calls are written; absent, as the template says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<CallFormat>,
        /// Whether the policy thinks before it answers (`enable_thinking` of the template); absent,
        /// as the template has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thinking: Option<bool>,
    },
}

/// A syntax whose calls are answered inside the policy's own turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTurn {
    /// See [`ToolSyntax::FencedPython`].
    FencedPython,
    /// See [`ToolSyntax::SearchTags`].
    SearchTags,
    /// See [`ToolSyntax::Hermes`].
    Hermes,
}

/// What a finished turn asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// No call: the turn is the final answer.
    None,
    /// A call.
    Call(ToolCall),
    /// Meant as a call but not one; the text says why, for the model to read.
    Malformed(String),
}

const PYTHON_OPEN: &str = "```python\n";
const FENCE_CLOSE: &str = "\n```";

impl ToolSyntax {
    /// The syntax inside a turn; `None` of a chat model's, which ends it.
    pub fn in_turn(&self) -> Option<InTurn> {
        match self {
            Self::FencedPython {} => Some(InTurn::FencedPython),
            Self::SearchTags {} => Some(InTurn::SearchTags),
            Self::Hermes {} => Some(InTurn::Hermes),
            Self::Chat { .. } => None,
        }
    }

    /// The name of the tool that is called, where the syntax can call but one.
    pub fn only_tool(&self) -> Option<&'static str> {
        match self {
            Self::FencedPython {} => Some("python"),
            Self::SearchTags {} => Some("search"),
            Self::Hermes {} | Self::Chat { .. } => None,
        }
    }

    /// The variables that it sets in the chat template: `enable_thinking`, where that is said.
    pub fn variables(&self) -> Map<String, Value> {
        let thinking = match self {
            Self::Chat { thinking, .. } => *thinking,
            Self::FencedPython {} | Self::SearchTags {} | Self::Hermes {} => None,
        };
        let set = thinking.map(|thinks| ("enable_thinking".to_owned(), Value::Bool(thinks)));
        set.into_iter().collect()
    }

    /// Whether the template describes the tools to the policy.
    pub fn describes_tools(&self) -> bool {
        match self {
            Self::FencedPython {} | Self::SearchTags {} => false,
            Self::Hermes {} | Self::Chat { .. } => true,
        }
    }
}

impl InTurn {
    /// The string that ends a call; generation pauses there.
    pub fn stop_string(self) -> &'static str {
        match self {
            Self::FencedPython => FENCE_CLOSE,
            Self::SearchTags => "</search>",
            Self::Hermes => "</tool_call>",
        }
    }

    /// The string that begins a call. Before it has been written, [`Self::stop_string`] means
    /// nothing.
    pub fn open_string(self) -> &'static str {
        match self {
            Self::FencedPython => PYTHON_OPEN,
            Self::SearchTags => "<search>",
            Self::Hermes => "<tool_call>",
        }
    }

    /// A turn's text up to the end of its first complete call. The turn may run on beyond it, as
    /// its last token may.
    pub fn completed_call(self, turn: &str) -> Option<&str> {
        let open = turn.find(self.open_string())?;
        // the fence that closes an empty program shares its newline with the opening
        let from =
            open + self.open_string().len() - usize::from(self.stop_string().starts_with('\n'));
        let stop = turn[from..].find(self.stop_string())?;
        Some(&turn[..from + stop + self.stop_string().len()])
    }

    /// Reads the call off a turn's text that ends with [`Self::stop_string`]; without it there is
    /// no call.
    pub fn parse(self, turn: &str) -> Parsed {
        let Some(before_stop) = turn.strip_suffix(self.stop_string()) else { return Parsed::None };
        let Some(at) = before_stop.rfind(self.open_string()).or_else(|| self.empty_body(turn))
        else {
            return Parsed::None;
        };
        let body = before_stop.get(at + self.open_string().len()..).unwrap_or_default();
        match self {
            Self::FencedPython => call("python", serde_json::json!({ "code": body })),
            Self::SearchTags => call("search", serde_json::json!({ "query": body.trim() })),
            Self::Hermes => parse_hermes(body),
        }
    }

    /// In ```` ```python\n``` ```` the two markers share the newline, so the body is empty and the
    /// opening not in `before_stop`.
    fn empty_body(self, turn: &str) -> Option<usize> {
        (matches!(self, Self::FencedPython) && turn.ends_with("```python\n```"))
            .then(|| turn.len() - "```python\n```".len())
    }

    /// Writes a call as the policy should. `None` if this syntax cannot express it.
    pub fn render_call(self, call: &ToolCall) -> Option<String> {
        match self {
            Self::FencedPython => {
                Some(format!("{PYTHON_OPEN}{}{FENCE_CLOSE}", call.arguments.get("code")?.as_str()?))
            }
            Self::SearchTags => {
                Some(format!("<search> {} </search>", call.arguments.get("query")?.as_str()?))
            }
            Self::Hermes => {
                let body = serde_json::json!({ "name": call.name, "arguments": call.arguments });
                Some(format!("<tool_call>\n{body}\n</tool_call>"))
            }
        }
    }

    /// The markers that stand before and after a tool's output.
    pub fn output_markers(self) -> (&'static str, &'static str) {
        match self {
            Self::FencedPython => ("\n```output\n", "\n```\n"),
            Self::SearchTags => ("\n\n<information>", "</information>\n\n"),
            Self::Hermes => ("\n<tool_response>\n", "\n</tool_response>\n"),
        }
    }
}

fn call(name: &str, arguments: serde_json::Value) -> Parsed {
    Parsed::Call(ToolCall { name: name.to_owned(), arguments })
}

fn parse_hermes(body: &str) -> Parsed {
    match serde_json::from_str(body.trim()) {
        Ok(value) => object::call_of(&value, &["arguments"]),
        Err(error) => malformed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [InTurn; 3] = [InTurn::FencedPython, InTurn::SearchTags, InTurn::Hermes];

    #[test]
    fn the_last_opening_counts_and_text_without_a_call_is_none() {
        let fenced = InTurn::FencedPython;
        let code = |text: &str| match fenced.parse(text) {
            Parsed::Call(call) => call.arguments["code"].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(code("Let me see.\n```python\nprint(1)\n```"), "print(1)");
        assert_eq!(code("```python\n```"), "");
        assert_eq!(fenced.parse("the answer is \\boxed{5}"), Parsed::None);
        assert_eq!(fenced.parse("```output\n5\n```"), Parsed::None);
        // what is no opening to the letter is text
        for text in ["```Python\n1\n```", "```python3\n1\n```", "```python 1\n```"] {
            assert_eq!(fenced.completed_call(text), None, "{text}");
        }
        // an indented fence opens, and its code is as it stands
        assert_eq!(code("  ```python\n  1\n```"), "  1");
        for syntax in ALL {
            assert_eq!(syntax.parse(syntax.stop_string()), Parsed::None);
        }
    }

    #[test]
    fn a_call_is_complete_at_its_first_stop_string_behind_an_opening() {
        let fenced = InTurn::FencedPython;
        assert_eq!(
            fenced.completed_call("a\n```\n```python\n1\n``` and on"),
            Some("a\n```\n```python\n1\n```")
        );
        assert_eq!(fenced.completed_call("```python\n```"), Some("```python\n```"));
        assert_eq!(fenced.completed_call("```python\n1"), None);
        assert_eq!(fenced.completed_call("no call\n```"), None);
        assert_eq!(
            InTurn::SearchTags.completed_call("</search><search>x</search>y"),
            Some("</search><search>x</search>")
        );
    }

    #[test]
    fn broken_json_is_malformed_with_the_reason() {
        for (text, reason) in [
            ("{", "EOF"),
            ("{\"arguments\":{}}", "`name`"),
            ("{\"name\":\"x\",\"arguments\":3}", "object"),
        ] {
            match InTurn::Hermes.parse(&format!("<tool_call>{text}</tool_call>")) {
                Parsed::Malformed(message) => assert!(message.contains(reason), "{message}"),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn fenced_python_round_trips(code in "[a-z0-9 =+*()'\n]{0,60}") {
            prop_assume!(!code.contains("```"));
            let call = ToolCall { name: "python".into(), arguments: serde_json::json!({ "code": code }) };
            let text = InTurn::FencedPython.render_call(&call).unwrap();
            prop_assert_eq!(InTurn::FencedPython.parse(&text), Parsed::Call(call));
        }

        #[test]
        fn search_tags_round_trip(query in "[\\PC&&[^<]]{0,60}") {
            let call = ToolCall { name: "search".into(), arguments: serde_json::json!({ "query": query.trim() }) };
            let text = InTurn::SearchTags.render_call(&call).unwrap();
            prop_assert_eq!(InTurn::SearchTags.parse(&text), Parsed::Call(call));
        }

        #[test]
        fn hermes_round_trips(name in "[a-z_]{1,12}", key in "[a-z]{1,8}", value in "\\PC{0,40}", number in any::<i64>()) {
            prop_assume!(!value.contains("<tool_call>") && !value.contains("</tool_call>"));
            let call = ToolCall { name, arguments: serde_json::json!({ key: value, "n": number }) };
            let text = InTurn::Hermes.render_call(&call).unwrap();
            prop_assert_eq!(InTurn::Hermes.parse(&text), Parsed::Call(call));
        }

        #[test]
        fn no_text_panics(text in "(```python\n|\n```|<search>|</search>|<tool_call>|</tool_call>|\\{|\"|ä|x|\n){0,12}") {
            for syntax in ALL {
                let _ = syntax.parse(&text);
            }
        }
    }
}
