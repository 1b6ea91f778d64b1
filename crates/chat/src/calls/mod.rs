//! How chat models write the calls of a turn, by family, named as inference servers name them.
//!
//! A turn is read when it has ended, and may hold several calls. Each is a call or says what is
//! wrong with it, for the model to read: one that is malformed takes none of the others with it.
//! What stands inside `<think>` is the model's own business (`thinking.rs`).
//!
//! | format | families | a call |
//! |---|---|---|
//! | `hermes` | Qwen2.5, Qwen3, SmolLM3, Hermes | `<tool_call>{"name": .., "arguments": {..}}</tool_call>` |
//! | `qwen3_xml` | Qwen3-Coder, Qwen3.5 | `<tool_call><function=NAME><parameter=KEY>..` |
//! | `llama3_json` | Llama 3.1 to 3.3 | `{"name": .., "parameters": {..}}`, with or without `<\|python_tag\|>` |
//! | `pythonic` | Llama 3.2 and 4, LFM2 | `[name(key="value")]` |
//! | `mistral` | Mistral, Ministral | `[TOOL_CALLS]`, then a list, or `NAME[ARGS]{..}` |

mod hermes;
mod llama3_json;
mod mistral;
pub(crate) mod object;
mod python_literal;
mod pythonic;
mod qwen3_xml;
mod thinking;

pub use thinking::behind_thinking;

use crate::Parsed;
use paretopo_trajectory::ToolSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a family of chat models writes its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallFormat {
    /// `<tool_call>{"name": .., "arguments": {..}}</tool_call>` (Qwen2.5, Qwen3, SmolLM3).
    Hermes,
    /// `<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>`
    /// (Qwen3-Coder, Qwen3.5).
    Qwen3Xml,
    /// `{"name": .., "parameters": {..}}`, with or without `<|python_tag|>` (Llama 3.1 to 3.3).
    Llama3Json,
    /// `[name(key="value")]`, with or without markers around it (Llama 3.2 and 4, LFM2).
    Pythonic,
    /// `[TOOL_CALLS]` with a JSON list, or with `NAME[ARGS]{..}` (Mistral, Ministral).
    Mistral,
}

impl CallFormat {
    /// The calls of a finished turn, in their order; none where the turn is an answer. `tools` says
    /// of which type the values are that a format writes as bare text.
    ///
    /// ```
    /// use paretopo_chat::{CallFormat, Parsed};
    ///
    /// let turn = "Both.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>\n\
    ///     <tool_call>\n{\"name\": \"add\",}\n</tool_call>";
    /// let calls = CallFormat::Hermes.parse(turn, &[]);
    /// let [Parsed::Call(first), Parsed::Malformed(second)] = &calls[..] else { panic!("{calls:?}") };
    /// assert_eq!((first.name.as_str(), &first.arguments["a"]), ("add", &1.into()));
    /// assert!(second.contains("trailing comma"), "{second}");
    /// assert!(CallFormat::Hermes.parse("It is 42.", &[]).is_empty());
    /// ```
    pub fn parse(self, turn: &str, tools: &[ToolSpec]) -> Vec<Parsed> {
        match self {
            Self::Hermes => hermes::parse(turn),
            Self::Qwen3Xml => qwen3_xml::parse(turn, tools),
            Self::Llama3Json => llama3_json::parse(turn),
            Self::Pythonic => pythonic::parse(turn),
            Self::Mistral => mistral::parse(turn),
        }
    }

    /// What a chat template says about the format of calls; `None` where it names no tools, or in a
    /// way that is not known here.
    pub fn of_template(template: &str) -> Option<Self> {
        let has = |text: &str| template.contains(text);
        if has("<function=") && has("<tool_call>") {
            Some(Self::Qwen3Xml)
        } else if has("<tool_call>") {
            Some(Self::Hermes)
        } else if has("[TOOL_CALLS]") {
            Some(Self::Mistral)
        } else if has("<|tool_list_start|>")
            || has("<|tool_call_start|>")
            || has("<|python_start|>")
            || has("func_name1(")
        {
            Some(Self::Pythonic)
        } else if has("<|python_tag|>") || (has("\"parameters\": ") && has("<|start_header_id|>")) {
            Some(Self::Llama3Json)
        } else {
            None
        }
    }

    /// The text that begins a call, where there is one that nothing else begins with: what is left
    /// out of each draw where calls are forbidden.
    pub fn open_string(self) -> Option<&'static str> {
        match self {
            Self::Hermes | Self::Qwen3Xml => Some("<tool_call>"),
            Self::Mistral => Some("[TOOL_CALLS]"),
            Self::Llama3Json | Self::Pythonic => None,
        }
    }
}

pub(crate) fn malformed(reason: impl std::fmt::Display) -> Parsed {
    Parsed::Malformed(format!("ToolError: the call is not valid: {reason}"))
}
