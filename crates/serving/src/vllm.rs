//! vLLM's routes: completions of ids as the OpenAI API has them, weights as its development mode
//! has them. Tried with 0.32.0.
//!
//! Left out: `/inference/v1/generate`, which a server has only with `--enable-scale-out`.

use crate::protocol::{Finished, Heard, Required, Step, Turn, list, logprob, token_id};
use paretopo_trajectory::TokenId;
use serde_json::{Map, Value, json};
use std::path::Path;

const DEVELOPMENT: &str = "start it with `VLLM_SERVER_DEV_MODE=1` in its environment";
const ADAPTERS: &str = "start it with `VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` in its environment and \
                        with `--enable-lora`";

pub(crate) const FULL_ROUTES: [Required; 4] = [
    ("/pause", DEVELOPMENT),
    ("/collective_rpc", DEVELOPMENT),
    ("/reset_prefix_cache", DEVELOPMENT),
    ("/resume", DEVELOPMENT),
];
pub(crate) const ADAPTER_ROUTES: [Required; 2] =
    [("/v1/load_lora_adapter", ADAPTERS), ("/v1/unload_lora_adapter", ADAPTERS)];

/// A bias that leaves a token a chance of e^-100.
const NEVER: f64 = -100.0;

/// What still runs is of rows that nobody waits for any more.
pub(crate) fn pauses() -> (Step, Vec<Step>) {
    let step = |route: &str| (route.to_owned(), Value::Null);
    (step("/pause?mode=abort"), vec![step("/reset_prefix_cache"), step("/resume")])
}

pub(crate) fn full_update(folder: &Path) -> Step {
    let arguments = json!({ "weights_path": folder });
    ("/collective_rpc".into(), json!({ "method": "reload_weights", "kwargs": arguments }))
}

pub(crate) fn adapter(folder: &Path, name: &str) -> Value {
    json!({ "lora_name": name, "lora_path": folder })
}

pub(crate) fn turn(turn: &Turn<'_>, model: &str) -> Step {
    let sampling = turn.sampling;
    let mut body = json!({
        "model": model, "prompt": turn.ids, "max_tokens": turn.budget,
        // the interface knows signed numbers
        "seed": turn.seed >> 1,
        // all of them, since a server has defaults of its own from `generation_config.json`
        "temperature": sampling.temperature.get(), "top_k": sampling.top_k,
        "top_p": sampling.top_p.get(), "min_p": sampling.min_p.get(),
        "repetition_penalty": sampling.repetition_penalty.get(),
        "stop_token_ids": turn.end_ids, "ignore_eos": true, "add_special_tokens": false,
        "logprobs": 0, "return_token_ids": true, "stream": true,
    });
    if !turn.forbidden.is_empty() {
        let bias = turn.forbidden.iter().map(|id| (id.to_string(), NEVER.into()));
        body["logit_bias"] = Value::Object(bias.collect::<Map<String, Value>>());
    }
    ("/v1/completions".into(), body)
}

pub(crate) fn heard(event: &Value) -> Result<Heard, String> {
    let choices = list(&event["choices"], "choices")?;
    // a last one tells usage alone
    let Some(choice) = choices.first() else { return Ok(Heard::default()) };
    let finished = match choice["finish_reason"].as_str() {
        None => None,
        Some("stop" | "length") => Some(Finished::Whole),
        Some(other) => Some(Finished::GivenUp(other.to_owned())),
    };
    let ids = match &choice["token_ids"] {
        Value::Null if choice["logprobs"].is_null() && finished.is_some() => {
            return Ok(Heard { tokens: Vec::new(), finished });
        }
        ids => list(ids, "token_ids")?,
    };
    if ids.is_empty() {
        return Ok(Heard { tokens: Vec::new(), finished });
    }
    let logprobs = list(&choice["logprobs"]["token_logprobs"], "token_logprobs")?;
    if ids.len() != logprobs.len() {
        return Err(format!("{} ids come with {} log-probabilities", ids.len(), logprobs.len()));
    }
    let pairs = ids.iter().zip(logprobs);
    let tokens = pairs.map(|(id, value)| Ok((token_id(id)?, logprob(value)?)));
    Ok(Heard { tokens: tokens.collect::<Result<_, String>>()?, finished })
}

pub(crate) fn score(ids: &[TokenId], model: &str) -> Step {
    let body = json!({
        "model": model, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "ignore_eos": true,
        "add_special_tokens": false, "prompt_logprobs": 0,
    });
    ("/v1/completions".into(), body)
}

pub(crate) fn scores(answer: &Value, ids: &[TokenId]) -> Result<Vec<f32>, String> {
    let found = list(&answer["choices"][0]["prompt_logprobs"], "prompt_logprobs")?;
    if found.len() != ids.len() {
        return Err(format!("{} places of {} ids are scored", found.len(), ids.len()));
    }
    let of = |(id, place): (&TokenId, &Value)| logprob(&place[id.to_string()]["logprob"]);
    ids.iter().zip(found).skip(1).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_real_server_are_read() {
        // vLLM 0.32.0, 2026-11-27
        let event = json!({ "choices": [{ "index": 0, "text": "1", "logprobs": {
            "text_offset": [3], "token_logprobs": [-0.16570693254470825], "tokens": ["1"],
            "top_logprobs": [{ "1": -0.16570693254470825 }] }, "finish_reason": "length",
            "stop_reason": null, "prompt_token_ids": null, "token_ids": [6] }] });
        let found = heard(&event).unwrap();
        assert_eq!(found.tokens, [(6, -0.165_706_93)]);
        assert_eq!(found.finished, Some(Finished::Whole));
        let answer = json!({ "choices": [{ "prompt_logprobs": [null,
            { "6": { "logprob": -9.330743789672852, "rank": 2 } },
            { "7": { "logprob": -6.276673316955566, "rank": 4 } }] }] });
        assert_eq!(scores(&answer, &[5, 6, 7]).unwrap(), [-9.330_744, -6.276_673_3]);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let event = |ids: Value, logprobs: Value| {
            let own = json!({ "token_logprobs": logprobs });
            heard(&json!({ "choices": [{ "token_ids": ids, "logprobs": own }] })).unwrap_err()
        };
        assert_eq!(event(json!([5]), json!([-1.0, -2.0])), "1 ids come with 2 log-probabilities");
        assert_eq!(event(json!([-5]), json!([-1.0])), "-5 is no token id");
        assert_eq!(event(json!([5]), json!([1.5])), "1.5 is no log-probability");
        assert_eq!(event(json!([5]), json!([null])), "null is no log-probability");
        assert_eq!(event(Value::Null, json!([-1.0])), "there is no list `token_ids`");
        assert_eq!(heard(&json!({ "hello": 1 })).unwrap_err(), "there is no list `choices`");
        let answer = json!({ "choices": [{ "prompt_logprobs": [null] }] });
        assert_eq!(scores(&answer, &[5, 6]).unwrap_err(), "1 places of 2 ids are scored");
    }
}
