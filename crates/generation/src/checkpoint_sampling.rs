//! How a checkpoint's `generation_config.json` says that tokens are to be drawn.
//!
//! Read as transformers reads it (`GenerationMixin._get_logits_processor`): greedy unless
//! `do_sample`; warpers count only where it samples, processors always. What is computed here is
//! what [`SamplingConfig`] has; each other setting that would change what is drawn is refused by its
//! name where its value has an effect. What is absent leaves the distribution as it is; so is
//! `top_k`, which transformers takes as 50 where a file that samples does not have it.
//!
//! Left out: budgets (`max_length`, `max_new_tokens`, `max_time`), which are the run's own; how many
//! sequences are returned; what only makes decoding faster (caches, assistants); beams' own settings
//! (`length_penalty`), which mean nothing without beams.

use crate::SamplingConfig;
use paretopo_settings::Temperature;
use serde_json::{Map, Value, json};

/// Settings of [`SamplingConfig`] that mean something only where tokens are drawn at random.
const DRAWN: [&str; 4] = ["temperature", "top_k", "top_p", "min_p"];

/// Like them, but not computed here; and the number at which each changes nothing.
const WARPERS: [(&str, f64); 4] =
    [("typical_p", 1.0), ("epsilon_cutoff", 0.0), ("eta_cutoff", 0.0), ("top_h", 1.0)];

/// Not computed here, whether or not tokens are drawn at random; and the number at which each
/// changes nothing.
const FACTORS: [(&str, f64); 11] = [
    ("encoder_repetition_penalty", 1.0),
    ("guidance_scale", 1.0),
    ("num_beams", 1.0),
    ("num_beam_groups", 1.0),
    ("diversity_penalty", 0.0),
    ("no_repeat_ngram_size", 0.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("min_length", 0.0),
    ("min_new_tokens", 0.0),
    // not transformers', but other programs follow them
    ("presence_penalty", 0.0),
    ("frequency_penalty", 0.0),
];

/// Not computed here; they change nothing when they are null, false or empty. The id 0 is one.
const LISTS: [&str; 14] = [
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "constraints",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "forced_decoder_ids",
    "exponential_decay_length_penalty",
    "watermarking_config",
    "stop_strings",
    "token_healing",
    "dola_layers",
];

/// The sampling that the file describes.
///
/// ```
/// use paretopo_generation::{SamplingConfig, sampling_of};
/// use paretopo_settings::TopP;
///
/// let config = serde_json::json!({ "do_sample": true, "top_p": 0.9 });
/// let expected = SamplingConfig { top_p: TopP::literal(0.9), ..SamplingConfig::default() };
/// assert_eq!(sampling_of(&config), Ok(expected));
/// // what would be drawn otherwise than it says is refused
/// let beams = sampling_of(&serde_json::json!({ "num_beams": 4 }));
/// assert!(beams.is_err_and(|error| error.contains("`num_beams`")));
/// ```
///
/// # Errors
/// Names the setting that holds what it cannot, or that is not supported.
pub fn sampling_of(config: &Value) -> Result<SamplingConfig, String> {
    let samples = match &config["do_sample"] {
        Value::Null => false,
        Value::Bool(samples) => *samples,
        other => return Err(format!("`do_sample` must be true or false, not {other}")),
    };
    refuse_unsupported(config, samples)?;
    let mut given = Map::new();
    let drawn: &[&str] = if samples { &DRAWN } else { &[] };
    for name in drawn.iter().copied().chain(["repetition_penalty"]) {
        if !config[name].is_null() {
            given.insert(name.to_owned(), config[name].clone());
            // one by one, so that the error is about this field
            serde_json::from_value::<SamplingConfig>(json!({ name: config[name] }))
                .map_err(|error| format!("`{name}`: {error}"))?;
        }
    }
    let sampling = serde_json::from_value::<SamplingConfig>(given.into())
        .map_err(|error| error.to_string())?;
    if samples {
        return Ok(sampling);
    }
    let temperature = const { Temperature::literal(0.0) };
    Ok(SamplingConfig { temperature, ..sampling })
}

fn refuse_unsupported(config: &Value, samples: bool) -> Result<(), String> {
    let warpers = WARPERS.iter().filter(|_| samples);
    for (name, neutral) in warpers.chain(&FACTORS) {
        let value = &config[*name];
        if !value.is_null() && value.as_f64() != Some(*neutral) {
            return Err(refused(name, value));
        }
    }
    // contrastive search, which transformers does only where it does not sample
    let penalty = &config["penalty_alpha"];
    if !samples && !penalty.is_null() && penalty.as_f64() != Some(0.0) {
        return Err(refused("penalty_alpha", penalty));
    }
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match LISTS.iter().find(|name| !is_empty(&config[**name])) {
        Some(name) => Err(refused(name, &config[*name])),
        None => Ok(()),
    }
}

fn refused(name: &str, value: &Value) -> String {
    const SHOWN: usize = 60;
    let mut text = value.to_string();
    if text.chars().count() > SHOWN {
        text = text.chars().take(SHOWN).chain("...".chars()).collect();
    }
    format!(
        "`{name}` is {text}, which is not supported\nhint: without \
         `evaluation.checkpoint_sampling`, `evaluation.sampling` says how tokens are drawn"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_settings::{RepetitionPenalty, Share, TopP};

    fn read(text: &str) -> Result<SamplingConfig, String> {
        sampling_of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn generation_configurations_of_published_models() {
        let read = |text: &str| read(text).unwrap();
        // Qwen2.5-Math-1.5B-Instruct samples only if asked to; Qwen3 does by default
        assert_eq!(read(r#"{"do_sample":false,"temperature":0.7}"#).temperature.get(), 0.0);
        assert_eq!(
            read(r#"{"do_sample":true,"temperature":0.6,"top_k":20,"top_p":0.95}"#),
            SamplingConfig {
                temperature: Temperature::literal(0.6),
                top_k: 20,
                top_p: TopP::literal(0.95),
                ..SamplingConfig::default()
            }
        );
        // Qwen2.5-0.5B-Instruct
        assert_eq!(
            read(
                r#"{"bos_token_id":151643,"pad_token_id":151643,"do_sample":true,
                    "eos_token_id":[151645,151643],"repetition_penalty":1.1,"temperature":0.7,
                    "top_p":0.8,"top_k":20,"transformers_version":"4.37.0"}"#
            ),
            SamplingConfig {
                temperature: Temperature::literal(0.7),
                top_k: 20,
                top_p: TopP::literal(0.8),
                repetition_penalty: RepetitionPenalty::literal(1.1),
                ..SamplingConfig::default()
            }
        );
        assert_eq!(read("{}").temperature.get(), 0.0);
        let sampled = read(r#"{"do_sample":true,"temperature":null}"#);
        assert_eq!(sampled, SamplingConfig::default());
        assert_eq!(read(r#"{"do_sample":true,"min_p":0.05}"#).min_p, Share::literal(0.05));
        // a penalty is no matter of chance, a bound of probabilities is
        let greedy = read(r#"{"repetition_penalty":1.05,"min_p":0.1,"top_k":1}"#);
        assert_eq!(greedy.repetition_penalty, RepetitionPenalty::literal(1.05));
        assert_eq!((greedy.min_p.get(), greedy.top_k, greedy.temperature.get()), (0.0, 0, 0.0));
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for (field, value) in [
            ("temperature", "-1"),
            ("top_p", "0"),
            ("top_p", "1.5"),
            ("top_k", "-3"),
            ("min_p", "1.5"),
            ("min_p", "-0.1"),
            ("repetition_penalty", "0"),
            ("repetition_penalty", "-1.1"),
        ] {
            let error = read(&format!(r#"{{"do_sample":true,"{field}":{value}}}"#)).unwrap_err();
            assert!(error.starts_with(&format!("`{field}`: `{value}` is not ")), "{error}");
        }
        assert!(read(r#"{"do_sample":"yes"}"#).unwrap_err().contains("`do_sample` must be"));
    }

    #[test]
    fn what_would_change_a_draw_and_is_not_supported_is_refused_by_name() {
        for (field, effective, neutral) in [
            ("typical_p", "0.95", "1.0"),
            ("epsilon_cutoff", "3e-4", "0.0"),
            ("eta_cutoff", "3e-4", "0"),
            ("top_h", "0.4", "null"),
            ("encoder_repetition_penalty", "1.2", "1.0"),
            ("guidance_scale", "1.5", "1"),
            ("num_beams", "4", "1"),
            ("num_beam_groups", "2", "1"),
            ("diversity_penalty", "0.5", "0.0"),
            ("no_repeat_ngram_size", "3", "0"),
            ("encoder_no_repeat_ngram_size", "3", "0"),
            ("min_length", "5", "0"),
            ("min_new_tokens", "5", "null"),
            ("presence_penalty", "1.5", "0.0"),
            ("frequency_penalty", "-0.5", "0"),
            ("bad_words_ids", "[[5]]", "[]"),
            ("suppress_tokens", "[1, 2]", "null"),
            ("begin_suppress_tokens", "[220]", "[]"),
            ("sequence_bias", r#"[[[1], -10.0]]"#, "{}"),
            ("constraints", r#"[1]"#, "null"),
            ("force_words_ids", "[[1]]", "[]"),
            ("forced_bos_token_id", "0", "null"),
            ("forced_eos_token_id", "[2]", "null"),
            ("forced_decoder_ids", "[[1, 2]]", "null"),
            ("exponential_decay_length_penalty", "[5, 1.1]", "null"),
            ("watermarking_config", r#"{"bias": 2.0}"#, "null"),
            ("stop_strings", r#"["\n\n"]"#, "[]"),
            ("token_healing", "true", "false"),
            ("dola_layers", "\"high\"", "null"),
            // what is no number has an effect that is not known
            ("typical_p", "\"all\"", "1"),
        ] {
            let with = |value: &str| read(&format!(r#"{{"do_sample":true,"{field}":{value}}}"#));
            let error = with(effective).unwrap_err();
            assert!(
                error.starts_with(&format!("`{field}` is ")) && error.contains("\nhint: "),
                "{error}"
            );
            assert_eq!(with(neutral), Ok(SamplingConfig::default()), "{field}");
            assert_eq!(with("null"), Ok(SamplingConfig::default()), "{field}");
        }
        // where nothing is drawn at random, only what is not a matter of chance has an effect
        assert!(read(r#"{"typical_p":0.5,"eta_cutoff":0.1}"#).is_ok());
        assert!(read(r#"{"num_beams":4}"#).unwrap_err().starts_with("`num_beams` is 4"));
        assert!(read(r#"{"penalty_alpha":0.6,"top_k":4}"#).unwrap_err().contains("penalty_alpha"));
        assert!(read(r#"{"do_sample":true,"penalty_alpha":0.6}"#).is_ok());
        let long: Vec<[usize; 1]> = (0..500).map(|id| [id]).collect();
        let error = read(&json!({ "bad_words_ids": long }).to_string()).unwrap_err();
        assert!(error.len() < 250 && error.contains("..."), "{error}");
        // what changes no draw
        let harmless = r#"{"do_sample":true,"max_length":20,"max_new_tokens":9,"use_cache":false,
            "length_penalty":2.0,"early_stopping":true,"num_return_sequences":3,
            "remove_invalid_values":true,"renormalize_logits":true,"transformers_version":"4.51.0",
            "cache_implementation":"static","prompt_lookup_num_tokens":10}"#;
        assert_eq!(read(harmless), Ok(SamplingConfig::default()));
    }
}
