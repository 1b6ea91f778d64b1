//! peft's `adapter_config.json` (its `LoraConfig`). Every setting that changes the numbers is
//! computed as peft does or refused by its name.
//!
//! Which linear maps get an adapter is decided as in peft's `check_target_module_exists`:
//! `target_modules` as ends of keys, without `exclude_modules`, in the layers of
//! `layers_to_transform`. Left out, and refused: regular expressions, DoRA, trained biases, modules
//! that are saved whole, ranks and factors that differ by module, layers that are repeated, starts
//! that change the frozen weights (PiSSA, OLoRA, CorDA, LoftQ).

use crate::AdapterConfig;
use crate::adapter::ALL_LINEAR;
use crate::unsupported::says_nothing;
use paretopo_settings::{Dropout, OutOfRange, Positive};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What changes no number, whatever it says: where the adapter is from, what it starts from, and
/// settings of settings that are refused.
const HARMLESS: [&str; 9] = [
    "auto_mapping",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// The same range as that of `lora.rank`.
const LARGEST_RANK: usize = 65_536;

/// Starts of the two matrices that leave the frozen weights as they are.
const STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// The file, as far as it is computed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PeftConfig {
    peft_type: String,
    #[serde(default)]
    task_type: Option<String>,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: Option<f64>,
    target_modules: Value,
    #[serde(default)]
    use_rslora: Option<bool>,
    #[serde(default)]
    exclude_modules: Value,
    #[serde(default)]
    layers_to_transform: Value,
    #[serde(default)]
    layers_pattern: Value,
    #[serde(default)]
    init_lora_weights: Value,
    /// All other settings.
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl PeftConfig {
    /// What peft would have written; `base` is where the model itself is.
    pub(crate) fn new(adapter: &AdapterConfig, base: &str) -> Self {
        let targets = match adapter.targets.iter().any(|target| target == ALL_LINEAR) {
            true => ALL_LINEAR.into(),
            false => adapter.targets.clone().into(),
        };
        let other = [
            ("bias", "none".into()),
            ("use_dora", false.into()),
            ("fan_in_fan_out", false.into()),
            ("modules_to_save", Value::Null),
            ("rank_pattern", Map::new().into()),
            ("alpha_pattern", Map::new().into()),
            ("inference_mode", true.into()),
        ];
        Self {
            peft_type: "LORA".into(),
            task_type: Some("CAUSAL_LM".into()),
            base_model_name_or_path: Some(base.to_owned()),
            r: adapter.rank,
            lora_alpha: adapter.alpha.get(),
            lora_dropout: Some(adapter.dropout.get()),
            target_modules: targets,
            use_rslora: Some(adapter.rank_stabilized),
            exclude_modules: Value::Null,
            layers_to_transform: Value::Null,
            layers_pattern: Value::Null,
            init_lora_weights: true.into(),
            other: other.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
        }
    }

    /// The adapter, given the keys of all linear maps of the model.
    ///
    /// # Errors
    /// Names the setting that is not supported or makes no sense.
    pub(crate) fn into_adapter(self, keys: &[String]) -> Result<AdapterConfig, String> {
        self.refuse_unsupported()?;
        let targets = self.targets(keys)?;
        if !(1..=LARGEST_RANK).contains(&self.r) {
            return Err(format!(
                "`r` must be a whole number from 1 to {LARGEST_RANK}, not {}",
                self.r
            ));
        }
        let outside = |name: &str, error: OutOfRange| format!("`{name}`: {error}");
        let alpha =
            Positive::try_from(self.lora_alpha).map_err(|error| outside("lora_alpha", error))?;
        let dropout = Dropout::try_from(self.lora_dropout.unwrap_or_default())
            .map_err(|error| outside("lora_dropout", error))?;
        let adapter = AdapterConfig {
            rank: self.r,
            alpha,
            targets,
            dropout,
            rank_stabilized: self.use_rslora.unwrap_or_default(),
        };
        Ok(adapter)
    }

    fn refuse_unsupported(&self) -> Result<(), String> {
        let refused = |name: &str, value: &Value, hint: &str| {
            Err(format!("`{name}` is {value}, which is not supported{hint}"))
        };
        if self.peft_type != "LORA" {
            return refused("peft_type", &self.peft_type.as_str().into(), " (only `LORA` is)");
        }
        if let Some(task) = self.task_type.as_deref().filter(|task| *task != "CAUSAL_LM") {
            return refused("task_type", &task.into(), " (only `CAUSAL_LM` is)");
        }
        let known_start = match &self.init_lora_weights {
            Value::Null | Value::Bool(_) => true,
            Value::String(start) => STARTS.contains(&start.to_lowercase().as_str()),
            _ => false,
        };
        if !known_start {
            let hint = ": it changes the frozen weights, too\nhint: convert the adapter with peft's `save_pretrained(.., path_initial_model_for_weight_conversion=..)`";
            return refused("init_lora_weights", &self.init_lora_weights, hint);
        }
        for (name, value) in &self.other {
            let harmless = says_nothing(value)
                || HARMLESS.contains(&name.as_str())
                || name == "bias" && value == "none";
            if !harmless {
                let hint = "\nhint: merge the adapter into its model with peft's `merge_and_unload`, and load the result";
                return refused(name, value, hint);
            }
        }
        Ok(())
    }

    /// The names in the file where they say it all; else the keys of the linear maps that are
    /// meant.
    fn targets(&self, keys: &[String]) -> Result<Vec<String>, String> {
        let names = match &self.target_modules {
            Value::String(name) if name.eq_ignore_ascii_case(ALL_LINEAR) => {
                vec![ALL_LINEAR.to_owned()]
            }
            Value::String(pattern) => {
                return Err(format!(
                    "`target_modules` is the pattern `{pattern}`, which is not supported\nhint: give a list of names such as `q_proj`, or `{ALL_LINEAR}`"
                ));
            }
            list => strings("target_modules", list)?,
        };
        let excluded = match &self.exclude_modules {
            value if says_nothing(value) => Vec::new(),
            Value::String(pattern) => {
                return Err(format!(
                    "`exclude_modules` is the pattern `{pattern}`, which is not supported\nhint: give a list of names such as `q_proj`"
                ));
            }
            list => strings("exclude_modules", list)?,
        };
        // outside of the layers peft would attach one, too
        let outside = ["lm_head", "model.embed_tokens"];
        for map in outside {
            if is_named(map, &names) && !is_named(map, &excluded) {
                return Err(format!(
                    "`target_modules` names `{map}`, which is not supported: only linear maps of layers get an adapter"
                ));
            }
        }
        let layers = self.layers()?;
        if excluded.is_empty() && layers.is_none() {
            return Ok(names);
        }
        let is_meant = |key: &&String| {
            if is_named(key, &excluded) {
                return false;
            }
            // a whole key is meant in whatever layer it is
            names.contains(key)
                || (is_named(key, &names) || names == [ALL_LINEAR])
                    && layers.as_ref().is_none_or(|layers| {
                        layer_of(key).is_some_and(|layer| layers.contains(&layer))
                    })
        };
        let meant: Vec<String> = keys.iter().filter(is_meant).cloned().collect();
        if meant.is_empty() {
            return Err(
                "`target_modules`, `exclude_modules` and `layers_to_transform` together leave no linear map of this model".into(),
            );
        }
        Ok(meant)
    }

    /// The numbers of the layers that get an adapter; `None` for all.
    fn layers(&self) -> Result<Option<Vec<u64>>, String> {
        let value = &self.layers_to_transform;
        let number = |value: &Value| {
            value.as_u64().ok_or_else(|| {
                format!(
                    "`layers_to_transform` must be a layer's number or a list of them, not {value}"
                )
            })
        };
        let layers = match value {
            Value::Null => None,
            Value::Array(list) if list.is_empty() => None,
            Value::Array(list) => Some(list.iter().map(number).collect::<Result<_, _>>()?),
            one => Some(vec![number(one)?]),
        };
        let patterns = match &self.layers_pattern {
            value if says_nothing(value) => return Ok(layers),
            Value::String(pattern) => vec![pattern.clone()],
            list => strings("layers_pattern", list)?,
        };
        if layers.is_none() {
            return Err("`layers_pattern` needs `layers_to_transform`".into());
        }
        if !patterns.iter().any(|pattern| pattern == "layers") {
            return Err(format!(
                "`layers_pattern` is `{}`, but the layers of this model are called `layers`",
                patterns.join("`, `")
            ));
        }
        Ok(layers)
    }
}

fn strings(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list: Option<Vec<String>> =
        value.as_array().and_then(|list| list.iter().map(text).collect());
    list.ok_or_else(|| format!("`{name}` must be a list of names, not {value}"))
}

/// Whether a key is one of the names, or ends with one behind a dot.
fn is_named(key: &str, names: &[String]) -> bool {
    names.iter().any(|name| {
        key == name || key.strip_suffix(name.as_str()).is_some_and(|front| front.ends_with('.'))
    })
}

/// The layer that a key such as `model.layers.3.mlp.up_proj` belongs to.
fn layer_of(key: &str) -> Option<u64> {
    let (_, rest) = key.split_once("layers.")?;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<String> {
        let maps = ["self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj"];
        (0..12).flat_map(|layer| maps.map(|map| format!("model.layers.{layer}.{map}"))).collect()
    }

    fn read(change: &str) -> Result<AdapterConfig, String> {
        let base = r#"{"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["q_proj"]}"#;
        let mut value: Map<String, Value> = serde_json::from_str(base).unwrap();
        value.extend(serde_json::from_str::<Map<String, Value>>(change).unwrap());
        serde_json::from_value::<PeftConfig>(value.into())
            .map_err(|error| error.to_string())?
            .into_adapter(&keys())
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for change in [
            r#"{"peft_type": "ADALORA"}"#,
            r#"{"task_type": "SEQ_CLS"}"#,
            r#"{"use_dora": true}"#,
            r#"{"bias": "all"}"#,
            r#"{"bias": "lora_only"}"#,
            r#"{"lora_bias": true}"#,
            r#"{"modules_to_save": ["lm_head"]}"#,
            r#"{"rank_pattern": {"q_proj": 8}}"#,
            r#"{"alpha_pattern": {"q_proj": 8}}"#,
            r#"{"fan_in_fan_out": true}"#,
            r#"{"layer_replication": [[0, 4], [2, 5]]}"#,
            r#"{"trainable_token_indices": [1]}"#,
            r#"{"target_parameters": ["mlp.experts.gate_up_proj"]}"#,
            r#"{"alora_invocation_tokens": [1, 2]}"#,
            r#"{"use_qalora": true}"#,
            r#"{"loftq_config": {"loftq_bits": 4}}"#,
            r#"{"init_lora_weights": "pissa"}"#,
            r#"{"init_lora_weights": "pissa_niter_4"}"#,
            r#"{"init_lora_weights": "olora"}"#,
            r#"{"init_lora_weights": "corda"}"#,
            r#"{"init_lora_weights": "loftq"}"#,
            r#"{"corda_config": {"corda_method": "ipm"}}"#,
            r#"{"megatron_config": {"tensor_model_parallel_size": 2}}"#,
            r#"{"a_setting_of_tomorrow": 3}"#,
            r#"{"target_modules": "model\\.layers\\..*q_proj"}"#,
            r#"{"target_modules": ["q_proj", 3]}"#,
            r#"{"target_modules": ["q_proj", "lm_head"]}"#,
            r#"{"target_modules": ["embed_tokens"]}"#,
            r#"{"target_modules": null}"#,
            r#"{"exclude_modules": ".*v_proj"}"#,
            r#"{"exclude_modules": [1]}"#,
            r#"{"layers_to_transform": "0"}"#,
            r#"{"layers_to_transform": [-1]}"#,
            r#"{"layers_to_transform": [1.5]}"#,
            r#"{"layers_to_transform": [99]}"#,
            r#"{"layers_pattern": "layers"}"#,
            r#"{"r": 0}"#,
        ] {
            let name = change.split('"').nth(1).unwrap();
            let error = read(change).unwrap_err();
            assert!(error.contains(&format!("`{name}`")), "{change}: {error}");
        }
        let other = r#"{"layers_to_transform": [1], "layers_pattern": ["h", "blocks"]}"#;
        assert!(read(other).unwrap_err().contains("`layers_pattern` is `h`, `blocks`"));
    }

    #[test]
    fn what_changes_nothing_is_not() {
        let plain = AdapterConfig {
            rank: 4,
            alpha: Positive::literal(8.0),
            targets: vec!["q_proj".into()],
            ..AdapterConfig::default()
        };
        for change in [
            "{}",
            r#"{"use_dora": false, "bias": "none", "lora_bias": null, "modules_to_save": []}"#,
            r#"{"rank_pattern": {}, "alpha_pattern": null, "loftq_config": {}, "lora_dropout": null}"#,
            r#"{"peft_version": "0.21.2", "megatron_core": "megatron.core", "qalora_group_size": 16}"#,
            r#"{"auto_mapping": {"unsloth_fixed": true}, "revision": "main", "task_type": null}"#,
            r#"{"init_lora_weights": "gaussian"}"#,
            r#"{"init_lora_weights": false}"#,
            r#"{"exclude_modules": [], "layers_to_transform": [], "layers_pattern": []}"#,
        ] {
            assert_eq!(read(change), Ok(plain.clone()), "{change}");
        }
    }

    #[test]
    fn layers_and_exclusions_leave_the_maps_that_peft_leaves() {
        let targets = |change: &str| read(change).unwrap().targets;
        let queries = |layers: &[usize]| -> Vec<String> {
            layers.iter().map(|layer| format!("model.layers.{layer}.self_attn.q_proj")).collect()
        };
        assert_eq!(targets(r#"{"layers_to_transform": [1, 11, 99]}"#), queries(&[1, 11]));
        assert_eq!(
            targets(r#"{"layers_to_transform": 1, "layers_pattern": ["h", "layers"]}"#),
            queries(&[1])
        );
        // without the twelve maps of values
        let some = r#"{"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["v_proj"]}"#;
        assert_eq!(targets(some), queries(&(0..12).collect::<Vec<_>>()));
        let one = r#"{"exclude_modules": ["layers.3.self_attn.q_proj"]}"#;
        let rest: Vec<usize> = (0..12).filter(|layer| *layer != 3).collect();
        assert_eq!(targets(one), queries(&rest));
        let all =
            targets(r#"{"target_modules": "all-linear", "exclude_modules": ["mlp.up_proj"]}"#);
        assert_eq!(all.len(), 24);
        // a whole key is meant in whatever layer it is
        let key = "model.layers.2.self_attn.v_proj";
        let mixed =
            format!(r#"{{"target_modules": ["q_proj", "{key}"], "layers_to_transform": [0]}}"#);
        assert_eq!(targets(&mixed), [queries(&[0])[0].as_str(), key]);
        // what is excluded may be anything
        let head = r#"{"target_modules": ["q_proj", "lm_head"], "exclude_modules": ["lm_head"]}"#;
        assert_eq!(targets(head).len(), 12);
        let nothing = r#"{"exclude_modules": ["q_proj"]}"#;
        assert!(read(nothing).unwrap_err().contains("`exclude_modules`"));
    }
}
