//! SGLang's own routes. Not run against a real server, which needs a GPU: written from its
//! documentation (0.5), and held against a small server of its protocol.
//!
//! Events of a stream hold all tokens so far, or with `--incremental-streaming-output` those that
//! are new; `completion_tokens` tells which.

use crate::protocol::{Finished, Heard, Required, Step, Turn, list, logprob, token_id};
use paretopo_trajectory::TokenId;
use serde_json::{Map, Value, json};
use std::path::Path;

const RECENT: &str = "it needs SGLang 0.5 or later";
const ADAPTERS: &str =
    "start it with `--enable-lora`, `--max-lora-rank` and `--lora-target-modules`";

pub(crate) const FULL_ROUTES: [Required; 3] = [
    ("/pause_generation", RECENT),
    ("/update_weights_from_disk", RECENT),
    ("/continue_generation", RECENT),
];
pub(crate) const ADAPTER_ROUTES: [Required; 2] =
    [("/load_lora_adapter", ADAPTERS), ("/unload_lora_adapter", ADAPTERS)];

/// A bias that leaves a token a chance of e^-100.
const NEVER: f64 = -100.0;

pub(crate) fn pauses() -> (Step, Vec<Step>) {
    let resume = ("/continue_generation".to_owned(), json!({}));
    (("/pause_generation".into(), json!({ "mode": "abort" })), vec![resume])
}

pub(crate) fn full_update(folder: &Path, version: u64) -> Step {
    let body = json!({
        "model_path": folder, "flush_cache": true, "weight_version": version.to_string(),
    });
    ("/update_weights_from_disk".into(), body)
}

pub(crate) fn turn(turn: &Turn<'_>, adapter: Option<&str>) -> Step {
    let sampling = turn.sampling;
    // what it knows of "all tokens"
    let top_k = if sampling.top_k == 0 { -1 } else { sampling.top_k as i64 };
    let mut parameters = json!({
        "max_new_tokens": turn.budget, "temperature": sampling.temperature.get(),
        "top_k": top_k, "top_p": sampling.top_p.get(), "min_p": sampling.min_p.get(),
        "repetition_penalty": sampling.repetition_penalty.get(),
        "stop_token_ids": turn.end_ids, "ignore_eos": true, "skip_special_tokens": false,
        "sampling_seed": turn.seed >> 1,
    });
    if !turn.forbidden.is_empty() {
        let bias = turn.forbidden.iter().map(|id| (id.to_string(), NEVER.into()));
        parameters["logit_bias"] = Value::Object(bias.collect::<Map<String, Value>>());
    }
    let body = json!({
        "input_ids": turn.ids, "sampling_params": parameters, "return_logprob": true,
        "stream": true,
    });
    ("/generate".into(), with_adapter(body, adapter))
}

fn with_adapter(mut body: Value, adapter: Option<&str>) -> Value {
    if let Some(name) = adapter {
        body["lora_path"] = name.into();
    }
    body
}

pub(crate) fn heard(event: &Value, so_far: usize) -> Result<Heard, String> {
    let meta = &event["meta_info"];
    let ids = list(&event["output_ids"], "output_ids")?;
    let told = list(&meta["output_token_logprobs"], "output_token_logprobs")?;
    let count = meta["completion_tokens"].as_u64().ok_or("there is no `completion_tokens`")?;
    let fresh = |all: &Vec<Value>, name: &str| match all.len() as u64 {
        length if length == count && so_far <= all.len() => Ok(so_far),
        length if so_far as u64 + length == count => Ok(0),
        length => Err(format!("{length} `{name}` of {count} tokens, {so_far} of them known")),
    };
    let ids = &ids[fresh(ids, "output_ids")?..];
    let told = &told[fresh(told, "output_token_logprobs")?..];
    let mut tokens = Vec::with_capacity(ids.len());
    for (id, pair) in ids.iter().zip(told) {
        let id = token_id(id)?;
        if token_id(&pair[1])? != id {
            return Err(format!("the id {id} comes with the log-probability of {}", pair[1]));
        }
        tokens.push((id, logprob(&pair[0])?));
    }
    let finished = match meta["finish_reason"]["type"].as_str() {
        None => None,
        Some("stop" | "length") => Some(Finished::Whole),
        Some(other) => {
            let said = meta["finish_reason"]["message"].as_str().unwrap_or(other);
            Some(Finished::GivenUp(said.to_owned()))
        }
    };
    Ok(Heard { tokens, finished })
}

pub(crate) fn score(ids: &[TokenId], adapter: Option<&str>) -> Step {
    let body = json!({
        "input_ids": ids, "return_logprob": true, "logprob_start_len": 0,
        "sampling_params": { "max_new_tokens": 1, "temperature": 0.0, "ignore_eos": true },
    });
    ("/generate".into(), with_adapter(body, adapter))
}

pub(crate) fn scores(answer: &Value, ids: &[TokenId]) -> Result<Vec<f32>, String> {
    let found = list(&answer["meta_info"]["input_token_logprobs"], "input_token_logprobs")?;
    if found.len() != ids.len() {
        return Err(format!("{} places of {} ids are scored", found.len(), ids.len()));
    }
    let of = |(id, pair): (&TokenId, &Value)| match token_id(&pair[1])? {
        found if found == *id => logprob(&pair[0]),
        found => Err(format!("the id {found} is scored in the place of {id}")),
    };
    ids.iter().zip(found).skip(1).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ids: Value, pairs: Value, count: u64) -> Value {
        json!({ "output_ids": ids, "meta_info": {
            "output_token_logprobs": pairs, "completion_tokens": count,
            "finish_reason": { "type": "length", "length": count } } })
    }

    #[test]
    fn events_with_all_tokens_and_with_new_ones_say_the_same() {
        let all = event(json!([7, 8]), json!([[-0.5, 7, null], [-1.5, 8, null]]), 2);
        let new = event(json!([8]), json!([[-1.5, 8, null]]), 2);
        for event in [all, new] {
            let found = heard(&event, 1).unwrap();
            assert_eq!(found.tokens, [(8, -1.5)]);
            assert_eq!(found.finished, Some(Finished::Whole));
        }
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let error = heard(&event(json!([7, 8]), json!([[-0.5, 7, null]]), 2), 0).unwrap_err();
        assert_eq!(error, "1 `output_token_logprobs` of 2 tokens, 0 of them known");
        let error = heard(&event(json!([7]), json!([[-0.5, 9, null]]), 1), 0).unwrap_err();
        assert_eq!(error, "the id 7 comes with the log-probability of 9");
        let answer = json!({ "meta_info": { "input_token_logprobs": [[null, 5], [-1.0, 7]] } });
        assert_eq!(scores(&answer, &[5, 7]).unwrap(), [-1.0]);
        let error = scores(&answer, &[5, 6]).unwrap_err();
        assert_eq!(error, "the id 7 is scored in the place of 6");
    }
}
