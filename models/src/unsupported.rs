//! Settings of a `config.json` that change a model's numbers and are not computed here. Each is
//! refused by its name: a checkpoint that loads computes what transformers computes.
//!
//! What transformers ignores for these architectures is ignored here, too, unless its name says
//! that the model was trained with it (`logit_scale`, `sliding_window`): then other programs follow
//! it. What only matters in training (`attention_dropout`) or for speed (`use_cache`) is not looked
//! at.

use serde_json::{Map, Value};

/// Where weights are quantised, whatever by.
const QUANTISED: [&str; 4] =
    ["quantization_config", "quantization", "compression_config", "quant_config"];

/// Factors that change nothing at 1.
const FACTORS: [&str; 8] = [
    "embedding_multiplier",
    "lm_head_multiplier",
    "logit_scale",
    "logits_scaling",
    "partial_rotary_factor",
    "residual_multiplier",
    "rotary_pct",
    "scale_emb",
];

/// What changes nothing when it is absent, null, false, zero or empty.
const SWITCHES: [&str; 28] = [
    "add_cross_attention",
    "alibi",
    "attention_chunk_size",
    "attention_multiplier",
    "attention_sinks",
    "attn_logit_softcapping",
    "attn_output_gate",
    "clip_qkv",
    "cross_attention_hidden_size",
    "dim_model_base",
    "final_logit_softcapping",
    "is_encoder_decoder",
    "logit_softcapping",
    "n_routed_experts",
    "no_rope_layer_interval",
    "num_experts",
    "num_local_experts",
    "parallel_attn",
    "pruned_heads",
    "query_pre_attn_scalar",
    "rope_interleaved",
    "scale_depth",
    "use_alibi",
    "use_bidirectional_attention",
    "use_moe",
    "use_mup",
    "use_parallel_residual",
    "use_sliding_window",
];

/// Null, false, zero or empty.
pub(crate) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// # Errors
/// Names the first setting that changes the numbers and is not supported, its value, and what to
/// do.
pub(crate) fn refuse_unsupported(config: &Map<String, Value>) -> Result<(), String> {
    let given = |name: &str| config.get(name).filter(|value| !says_nothing(value));
    if let Some((name, value)) = QUANTISED.iter().find_map(|name| Some((*name, given(name)?))) {
        let method = ["quant_method", "format", "quant_algo"]
            .iter()
            .find_map(|key| value.get(key)?.as_str())
            .map(|method| format!(" (`{method}`)"))
            .unwrap_or_default();
        return Err(format!("`{name}`{method}: {QUANTISED_WEIGHTS}"));
    }
    let refused = |name: &str, value: &Value, only: &str| {
        Err(format!(
            "`{name}` is {value}, which is not supported (only {only} is)\nhint: take it out of the file if the model was trained without"
        ))
    };
    for name in FACTORS {
        if let Some(value) = config.get(name).filter(|value| !value.is_null())
            && value.as_f64() != Some(1.0)
        {
            return refused(name, value, "1");
        }
    }
    for name in SWITCHES {
        if let Some(value) = given(name) {
            return refused(name, value, "none");
        }
    }
    for name in ["rope_parameters", "rope_scaling"] {
        if let Some(value) = config.get(name).filter(|value| !value.is_object() && !value.is_null())
        {
            return Err(format!("`{name}` must be a table with a `rope_type`, not {value}"));
        }
    }
    if config.get("is_causal") == Some(&Value::Bool(false)) {
        return refused("is_causal", &Value::Bool(false), "true");
    }
    let full = |layer: &Value| layer == "full_attention";
    if let Some(value) = given("layer_types")
        && !value.as_array().is_some_and(|layers| layers.iter().all(full))
    {
        return refused("layer_types", value, "`full_attention` in all layers");
    }
    let with_rope = |layer: &Value| layer.as_u64() == Some(1) || layer == true;
    if let Some(value) = given("no_rope_layers")
        && !value.as_array().is_some_and(|layers| layers.iter().all(with_rope))
    {
        return refused("no_rope_layers", value, "1 in all layers");
    }
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let qwen = ["qwen2", "qwen3", "qwen3_moe"].contains(&model_type);
    // Qwen's is behind `use_sliding_window`, which all its checkpoints have at false
    if let Some(value) = given("sliding_window")
        && !qwen
        && !config.contains_key("use_sliding_window")
        && value.as_u64() < config.get("max_position_embeddings").and_then(Value::as_u64)
    {
        return refused("sliding_window", value, "none below `max_position_embeddings`");
    }
    let mistral = ["mistral", "ministral3"].contains(&model_type);
    let others = ["olmo3", "gemma3_text", "qwen3_5_text"];
    let without_biases = qwen || mistral || others.contains(&model_type);
    if let Some(value) = given("mlp_bias").filter(|_| without_biases) {
        return refused("mlp_bias", value, "false");
    }
    if let Some(value) = given("attention_bias").filter(|_| mistral) {
        return refused("attention_bias", value, "false");
    }
    for name in ["qkv_bias", "use_qkv_bias"] {
        if let Some(value) = given(name).filter(|_| model_type != "qwen2") {
            return refused(name, value, "false");
        }
    }
    for name in ["qk_norm", "use_qk_norm", "qk_layernorm"] {
        if let Some(value) = given(name).filter(|_| !["qwen3", "qwen3_moe"].contains(&model_type)) {
            return refused(name, value, "false");
        }
    }
    Ok(())
}

/// What to do about quantised weights.
const QUANTISED_WEIGHTS: &str = "quantised weights are not supported\nhint: take the checkpoint that it was made from, with weights in f32, f16 or bf16";

/// Ends of the names that quantised checkpoints give their tensors (GPTQ and AWQ, bitsandbytes,
/// compressed-tensors, fp8, HQQ, quanto).
const QUANTISED_NAMES: [&str; 16] = [
    ".qweight",
    ".qzeros",
    ".g_idx",
    ".SCB",
    ".absmax",
    ".quant_map",
    ".quant_state.bitsandbytes__nf4",
    ".quant_state.bitsandbytes__fp4",
    ".weight_packed",
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_zero_point",
    ".W_q",
    ".weight._data",
    ".weight._scale",
    ".scales",
];

/// Whether a tensor's name is one of a quantised checkpoint.
fn has_quantised_name(name: &str) -> bool {
    QUANTISED_NAMES.iter().any(|end| name.ends_with(end))
}

/// # Errors
/// Names the first tensor that is quantised by its name, or else by its number type; `tensors` are
/// names and whether each is stored in fewer bits than a number has.
pub(crate) fn refuse_quantised<'a>(
    tensors: impl Iterator<Item = (&'a str, bool)> + Clone,
) -> Result<(), String> {
    let by_name = tensors.clone().find(|(name, _)| has_quantised_name(name));
    match by_name.or_else(|| tensors.clone().find(|(_, packed)| *packed)) {
        Some((name, _)) => Err(format!("`{name}`: {QUANTISED_WEIGHTS}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model_type: &str, change: &str) -> Result<(), String> {
        let text =
            format!(r#"{{"model_type": "{model_type}", "max_position_embeddings": 64, {change}}}"#);
        let Value::Object(config) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        refuse_unsupported(&config)
    }

    #[test]
    fn what_changes_the_numbers_is_refused_by_name() {
        for change in [
            r#""logit_scale": 0.0625"#,
            r#""logits_scaling": 8"#,
            r#""embedding_multiplier": 12.0"#,
            r#""residual_multiplier": 0"#,
            r#""scale_emb": 12"#,
            r#""partial_rotary_factor": 0.5"#,
            r#""final_logit_softcapping": 30.0"#,
            r#""query_pre_attn_scalar": 256"#,
            r#""attention_multiplier": 0.0078125"#,
            r#""is_causal": false"#,
            r#""rope_scaling": "linear""#,
            r#""rope_parameters": 2.0"#,
            r#""use_bidirectional_attention": true"#,
            r#""rope_interleaved": true"#,
            r#""layer_types": ["full_attention", "sliding_attention"]"#,
            r#""layer_types": ["linear_attention"]"#,
            r#""no_rope_layers": [1, 0]"#,
            r#""num_local_experts": 8"#,
            r#""use_sliding_window": true"#,
            r#""quantization_config": {"quant_method": "gptq", "bits": 4}"#,
            r#""quantization": {"group_size": 64, "bits": 4}"#,
        ] {
            let name = change.split('"').nth(1).unwrap();
            for model_type in ["llama", "qwen2", "qwen3"] {
                let error = check(model_type, change).unwrap_err();
                assert!(error.starts_with(&format!("`{name}`")), "{change}: {error}");
            }
        }
        let error =
            check("llama", r#""quantization_config": {"quant_method": "awq"}"#).unwrap_err();
        assert!(error.contains("(`awq`)") && error.contains("hint: "), "{error}");
        for (model_type, change) in [
            ("qwen2", r#""mlp_bias": true"#),
            ("qwen3", r#""mlp_bias": true"#),
            ("llama", r#""sliding_window": 32"#),
            ("qwen2", r#""qk_norm": true"#),
            ("llama", r#""qkv_bias": true"#),
        ] {
            assert!(check(model_type, change).is_err(), "{model_type}, {change}");
        }
    }

    #[test]
    fn what_changes_nothing_is_not() {
        for change in [
            r#""logit_scale": 1.0"#,
            r#""logit_scale": null"#,
            r#""partial_rotary_factor": 1"#,
            r#""quantization_config": null"#,
            r#""final_logit_softcapping": null"#,
            r#""is_causal": true"#,
            r#""rope_interleaved": false"#,
            r#""layer_types": ["full_attention", "full_attention"]"#,
            r#""no_rope_layers": [1, 1]"#,
            r#""num_experts": 0"#,
            r#""attention_dropout": 0.1"#,
            r#""pretraining_tp": 2"#,
            r#""sliding_window": null"#,
            r#""sliding_window": 64"#,
            r#""use_cache": false"#,
        ] {
            for model_type in ["llama", "qwen2", "qwen3"] {
                assert_eq!(check(model_type, change), Ok(()), "{change}");
            }
        }
        // as all Qwen checkpoints have it
        let qwen = r#""use_sliding_window": false, "sliding_window": 32, "max_window_layers": 21"#;
        assert_eq!(check("qwen2", qwen), Ok(()));
        assert_eq!(check("qwen2", r#""sliding_window": 32"#), Ok(()));
        assert_eq!(check("llama", r#""mlp_bias": true, "attention_bias": true"#), Ok(()));
        assert_eq!(check("qwen3", r#""qk_norm": true"#), Ok(()));
    }

    #[test]
    fn quantised_tensors_are_known_by_name_or_type() {
        let first = |tensors: &[(&'static str, bool)]| {
            refuse_quantised(tensors.iter().copied()).unwrap_err()
        };
        let error = first(&[("a.g_idx", true), ("b.mlp.up_proj.qweight", true)]);
        assert!(error.contains("g_idx") || error.contains("qweight"), "{error}");
        assert!(first(&[("a.weight", false), ("b.weight", true)]).starts_with("`b.weight`"));
        assert!(first(&[("a.weight_scale_inv", false)]).contains("hint: "));
        let plain = [("model.layers.0.mlp.up_proj.weight", false), ("scales", false)];
        assert_eq!(refuse_quantised(plain.into_iter()), Ok(()));
    }
}
