//! What is asked and answered, in the words of each kind of server.

use crate::{sglang, vllm};
use paretopo_generation::SamplingConfig;
use paretopo_trajectory::TokenId;
use serde_json::Value;
use std::path::Path;

/// Whose routes a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// vLLM, from 0.10.2.
    Vllm,
    /// SGLang, from 0.5.
    Sglang,
}

/// The tokens of a turn.
pub(crate) struct Turn<'a> {
    pub(crate) ids: &'a [TokenId],
    pub(crate) budget: usize,
    pub(crate) seed: u64,
    pub(crate) sampling: &'a SamplingConfig,
    pub(crate) end_ids: &'a [TokenId],
    /// Tokens that must not be drawn.
    pub(crate) forbidden: &'a [TokenId],
}

/// What an event of a stream brings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    /// Ids and their log-probabilities, in their order.
    pub(crate) tokens: Vec<(TokenId, f32)>,
    /// Why the turn is over, if it is.
    pub(crate) finished: Option<Finished>,
}

/// Why a server draws no further token of a turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finished {
    /// An end id or the budget.
    Whole,
    /// It gave the turn up; in its words.
    GivenUp(String),
}

/// A request of an update of the weights: a route and what is sent.
pub(crate) type Step = (String, Value);

/// A route that a run needs, and how a server is started that has it.
pub(crate) type Required = (&'static str, &'static str);

impl Protocol {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
        }
    }

    pub(crate) fn version_route(self) -> &'static str {
        match self {
            Self::Vllm => "/version",
            Self::Sglang => "/get_server_info",
        }
    }

    /// How a server is started that tells the policy's log-probabilities whatever it draws with.
    pub(crate) fn raw_hint(self) -> &'static str {
        match self {
            Self::Vllm => "start it with `--logprobs-mode raw_logprobs`",
            Self::Sglang => "start it with `SGLANG_RETURN_ORIGINAL_LOGPROB=1`",
        }
    }

    /// The routes that updates of all weights need.
    pub(crate) fn full_routes(self) -> &'static [Required] {
        match self {
            Self::Vllm => &vllm::FULL_ROUTES,
            Self::Sglang => &sglang::FULL_ROUTES,
        }
    }

    /// The routes that adapters need.
    pub(crate) fn adapter_routes(self) -> &'static [Required] {
        match self {
            Self::Vllm => &vllm::ADAPTER_ROUTES,
            Self::Sglang => &sglang::ADAPTER_ROUTES,
        }
    }

    /// Before and after the weights are exchanged.
    pub(crate) fn pauses(self) -> (Step, Vec<Step>) {
        match self {
            Self::Vllm => vllm::pauses(),
            Self::Sglang => sglang::pauses(),
        }
    }

    pub(crate) fn full_update(self, folder: &Path, version: u64) -> Step {
        match self {
            Self::Vllm => vllm::full_update(folder),
            Self::Sglang => sglang::full_update(folder, version),
        }
    }

    pub(crate) fn adapter_update(self, folder: &Path, name: &str) -> Step {
        match self {
            Self::Vllm => ("/v1/load_lora_adapter".into(), vllm::adapter(folder, name)),
            Self::Sglang => ("/load_lora_adapter".into(), vllm::adapter(folder, name)),
        }
    }

    pub(crate) fn adapter_removal(self, name: &str) -> Step {
        let body = serde_json::json!({ "lora_name": name });
        match self {
            Self::Vllm => ("/v1/unload_lora_adapter".into(), body),
            Self::Sglang => ("/unload_lora_adapter".into(), body),
        }
    }

    /// A turn as a stream of events; `model` is the served model's name or the adapter's.
    pub(crate) fn turn(self, turn: &Turn<'_>, model: &str, adapter: Option<&str>) -> Step {
        match self {
            Self::Vllm => vllm::turn(turn, adapter.unwrap_or(model)),
            Self::Sglang => sglang::turn(turn, adapter),
        }
    }

    /// What an event of that stream says, of which `so_far` tokens were heard.
    ///
    /// # Errors
    /// When it is not the protocol.
    pub(crate) fn heard(self, event: &Value, so_far: usize) -> Result<Heard, String> {
        match self {
            Self::Vllm => vllm::heard(event),
            Self::Sglang => sglang::heard(event, so_far),
        }
    }

    /// The log-probabilities of ids, given those before them.
    pub(crate) fn score(self, ids: &[TokenId], model: &str, adapter: Option<&str>) -> Step {
        match self {
            Self::Vllm => vllm::score(ids, adapter.unwrap_or(model)),
            Self::Sglang => sglang::score(ids, adapter),
        }
    }

    /// What [`Self::score`] is answered with, one value for each id but the first.
    ///
    /// # Errors
    /// When it is not the protocol.
    pub(crate) fn scores(self, answer: &Value, ids: &[TokenId]) -> Result<Vec<f32>, String> {
        match self {
            Self::Vllm => vllm::scores(answer, ids),
            Self::Sglang => sglang::scores(answer, ids),
        }
    }

    /// Whether an answered step of an update says that it was done.
    ///
    /// # Errors
    /// What it says instead.
    pub(crate) fn require_done(answer: &Value) -> Result<(), String> {
        if answer["success"] == Value::Bool(false) {
            let said = answer["message"].as_str().or(answer["error_message"].as_str());
            return Err(said.unwrap_or("no success").to_owned());
        }
        Ok(())
    }
}

/// A log-probability, which is finite and at most 0 but for rounding.
pub(crate) fn logprob(value: &Value) -> Result<f32, String> {
    match value.as_f64() {
        Some(found) if found.is_finite() && found < 0.01 => Ok((found as f32).min(0.0)),
        _ => Err(format!("{value} is no log-probability")),
    }
}

/// A token's id.
pub(crate) fn token_id(value: &Value) -> Result<TokenId, String> {
    let found = value.as_u64().and_then(|id| TokenId::try_from(id).ok());
    found.ok_or_else(|| format!("{value} is no token id"))
}

/// A list of the answer.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("there is no list `{name}`"))
}
