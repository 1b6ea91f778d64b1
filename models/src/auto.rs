//! The architecture named by `model_type`, as transformers' `AutoModelForCausalLM` picks it.
//!
//! To add one: write its file, and a line in the list at the end of this one. Its `Settings`, if it
//! has any, come last in that line.

use crate::family::{ModelConfig, ModelFamily, Placement, parse_config};
use crate::layers::{Architecture, CausalDecoder, DecoderConfig, DecoderState, HeadLayout};
use crate::layers::{Projection, causal_decoder};
use crate::{
    CausalLm, DecodingState, ExpertCounts, Footprint, ForwardInput, Kernels, LinearMap,
    PackedWeights,
};
use burn::module::{AutodiffModule, Module};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use serde::{Deserialize, Serialize};

/// The family of all architectures in this crate.
#[derive(Clone, Copy, Debug)]
pub struct AutoFamily;

/// Declares [`AutoConfig`], [`AutoModel`] and what differs between their variants.
macro_rules! architectures {
    ($($(#[$doc:meta])* $variant:ident($config:ty) = $model_type:literal, $class:literal
        $(, $settings:expr)?;)+) => {
        /// A `config.json`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "model_type")]
        pub enum AutoConfig {
            $($(#[$doc])* #[serde(rename = $model_type)] $variant($config),)+
        }

        /// A model of any supported architecture.
        #[derive(Module, Debug)]
        pub enum AutoModel<B: Backend> {
            $($(#[$doc])* $variant(CausalDecoder<B>),)+
        }

        impl AutoConfig {
            /// The supported values of `model_type`.
            pub const MODEL_TYPES: &[&str] = &[$($model_type),+];

            /// What an architecture computes and takes for settings that are not there.
            fn settings(model_type: &str) -> Settings {
                match model_type {
                    $($($model_type => $settings,)?)+
                    _ => Settings::default(),
                }
            }

            fn architecture(&self) -> &dyn Architecture {
                match self { $(Self::$variant(config) => config,)+ }
            }

            fn class(&self) -> &'static str {
                match self { $(Self::$variant(_) => $class,)+ }
            }

            /// The model of the same variant.
            fn wrap<B: Backend>(&self, model: CausalDecoder<B>) -> AutoModel<B> {
                match self { $(Self::$variant(_) => AutoModel::$variant(model),)+ }
            }
        }

        impl<B: Backend> AutoModel<B> {
            fn decoder(&self) -> &CausalDecoder<B> {
                match self { $(Self::$variant(model) => model,)+ }
            }

            fn decoder_mut(&mut self) -> &mut CausalDecoder<B> {
                match self { $(Self::$variant(model) => model,)+ }
            }
        }
    };
}

impl AutoConfig {
    /// The fields that all architectures share.
    pub fn decoder(&self) -> &DecoderConfig {
        self.architecture().decoder()
    }
}

/// How a `config.json` of an architecture is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// Settings that change the numbers and that this architecture computes, or checks itself.
    pub(crate) computed: &'static [&'static str],
    /// What transformers takes for settings that are not in the file, as JSON.
    pub(crate) defaults: &'static [(&'static str, &'static str)],
}

impl Settings {
    /// The settings of the file, and those that are not in it.
    fn complete(self, mut value: serde_json::Value) -> Result<serde_json::Value, String> {
        let Some(given) = value.as_object_mut() else { return Ok(value) };
        for (name, default) in self.defaults {
            if !given.contains_key(*name) {
                let default = serde_json::from_str(default).map_err(|error| error.to_string())?;
                given.insert((*name).into(), default);
            }
        }
        Ok(value)
    }
}

impl ModelConfig for AutoConfig {
    fn check(&self) -> Result<(), String> {
        causal_decoder::shape(self.architecture()).map(drop)
    }

    fn vocab_size(&self) -> usize {
        self.decoder().vocab_size
    }

    fn context(&self) -> usize {
        self.decoder().max_position_embeddings
    }

    fn initializer_range(&self) -> f32 {
        self.decoder().initializer_range
    }

    fn class_name(&self) -> &'static str {
        self.class()
    }

    fn footprint(&self) -> Footprint {
        self.architecture().footprint()
    }

    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_> {
        self.architecture().linear_maps()
    }

    fn is_superfluous(&self, tensor: &str) -> bool {
        // buffers that old checkpoints carry along, and the copy of a tied embedding
        tensor.ends_with("rotary_emb.inv_freq")
            || self.architecture().is_superfluous(tensor)
            || self.decoder().tie_word_embeddings && tensor == "lm_head.weight"
    }

    fn other_name(&self, key: &str) -> Option<String> {
        self.architecture().other_name(key)
    }
}

impl ModelFamily for AutoFamily {
    type Config = AutoConfig;
    type Model<B: Backend> = AutoModel<B>;

    fn model_types() -> Vec<&'static str> {
        [AutoConfig::MODEL_TYPES, &[crate::qwen3_5::WITH_IMAGES]].concat()
    }

    fn parse(value: serde_json::Value) -> Result<AutoConfig, String> {
        let value = crate::qwen3_5::text_part(value)?;
        let model_type = value.get("model_type").and_then(|name| name.as_str());
        let settings = AutoConfig::settings(model_type.unwrap_or_default());
        parse_config(settings.complete(value)?, &Self::model_types(), settings.computed)
    }

    fn init<B: Backend>(config: &AutoConfig, place: &Placement<B>) -> Result<AutoModel<B>, String> {
        Ok(config.wrap(causal_decoder::init(config.architecture(), place)?))
    }

    fn valid<B: AutodiffBackend>(model: &AutoModel<B>) -> AutoModel<B::InnerBackend> {
        model.valid()
    }
}

impl<B: Backend> CausalLm<B> for AutoModel<B> {
    type State = DecoderState<B>;
    type Layout = HeadLayout<B>;

    fn kernels(&self) -> &Kernels {
        self.decoder().kernels()
    }

    fn empty_state(&self, rows: usize) -> DecodingState<B, DecoderState<B>> {
        self.decoder().empty_state(rows)
    }

    fn layout(&self, input: &ForwardInput<B>) -> HeadLayout<B> {
        self.decoder().layout(input)
    }

    fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2> {
        self.decoder().embed(input)
    }

    fn depth(&self) -> usize {
        self.decoder().depth()
    }

    fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut DecoderState<B>>,
    ) -> Tensor<B, 2> {
        self.decoder().layer(index, x, layout, state)
    }

    fn final_norm(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.decoder().final_norm(x)
    }

    fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)> {
        self.decoder_mut().projections_mut()
    }

    fn experts(&self) -> Option<ExpertCounts> {
        self.decoder().experts()
    }

    fn pack(&mut self, weights: PackedWeights) {
        self.decoder_mut().pack(weights);
    }

    fn packed_bytes(&mut self) -> usize {
        self.decoder_mut().packed_bytes()
    }

    fn unembed(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        self.decoder().unembed(hidden)
    }
}

architectures! {
    /// Llama 2 and 3, SmolLM2, TinyLlama and others; see [`crate::llama`].
    Llama(crate::llama::LlamaConfig) = "llama", "LlamaForCausalLM";
    /// Qwen2 and Qwen2.5; see [`crate::qwen2`].
    Qwen2(crate::qwen2::Qwen2Config) = "qwen2", "Qwen2ForCausalLM";
    /// Qwen3 (dense); see [`crate::qwen3`].
    Qwen3(crate::qwen3::Qwen3Config) = "qwen3", "Qwen3ForCausalLM";
    /// Mistral; see [`crate::mistral`].
    Mistral(crate::mistral::MistralConfig) = "mistral", "MistralForCausalLM",
        crate::mistral::SETTINGS;
    /// Ministral 3; see [`crate::ministral3`].
    Ministral3(crate::ministral3::Ministral3Config) = "ministral3", "Ministral3ForCausalLM",
        crate::ministral3::SETTINGS;
    /// SmolLM3; see [`crate::smollm3`].
    SmolLm3(crate::smollm3::SmolLm3Config) = "smollm3", "SmolLM3ForCausalLM",
        crate::smollm3::SETTINGS;
    /// OLMo 3; see [`crate::olmo3`].
    Olmo3(crate::olmo3::Olmo3Config) = "olmo3", "Olmo3ForCausalLM", crate::olmo3::SETTINGS;
    /// Gemma 3 (text); see [`crate::gemma3`].
    Gemma3(crate::gemma3::Gemma3Config) = "gemma3_text", "Gemma3ForCausalLM",
        crate::gemma3::SETTINGS;
    /// Qwen3 with experts; see [`crate::qwen3_moe`].
    Qwen3Moe(crate::qwen3_moe::Qwen3MoeConfig) = "qwen3_moe", "Qwen3MoeForCausalLM",
        crate::qwen3_moe::SETTINGS;
    /// Qwen3.5 (text); see [`crate::qwen3_5`].
    Qwen3_5(crate::qwen3_5::Qwen3_5Config) = "qwen3_5_text", "Qwen3_5ForCausalLM",
        crate::qwen3_5::SETTINGS;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::LayerKind;
    use serde_json::{Value, json};

    /// A small `config.json` with these settings beside the common ones.
    fn parse(model_type: &str, settings: Value) -> Result<AutoConfig, String> {
        let mut value = json!({
            "model_type": model_type, "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": 64
        });
        for (name, setting) in settings.as_object().unwrap() {
            value[name] = setting.clone();
        }
        AutoFamily::parse(value)
    }

    /// Of each layer: which rotation, and how large a window.
    fn attention(config: &AutoConfig) -> Vec<(Option<usize>, Option<usize>)> {
        let kind = |layer| config.architecture().attention(layer);
        (0..4).map(kind).map(|kind| (kind.rotation, kind.window)).collect()
    }

    #[test]
    fn what_is_not_in_a_file_is_what_transformers_takes() {
        let none = json!({});
        let mistral = parse("mistral", none.clone()).unwrap();
        assert_eq!(attention(&mistral), [(Some(0), Some(4096)); 4]);
        let all = parse("mistral", json!({ "sliding_window": null })).unwrap();
        assert_eq!(attention(&all), [(Some(0), None); 4]);
        let turned = (Some(0), None);
        let smollm3 = parse("smollm3", none.clone()).unwrap();
        assert_eq!(attention(&smollm3), [turned, turned, turned, (None, None)]);
        assert!(smollm3.decoder().tie_word_embeddings);
        let slides = (Some(1), Some(4096));
        let olmo3 = parse("olmo3", none.clone()).unwrap();
        assert_eq!(attention(&olmo3), [slides, slides, slides, (Some(0), None)]);
        assert_eq!(olmo3.decoder().rms_norm_eps, 1e-5);
        let gemma3 = parse("gemma3_text", none).unwrap();
        assert_eq!(attention(&gemma3), [slides; 4]);
        assert_eq!(
            (gemma3.decoder().head_dim, gemma3.decoder().tie_word_embeddings),
            (Some(256), true)
        );
        let qwen3_5 = parse("qwen3_5_text", json!({})).unwrap();
        let is_full = |layer| qwen3_5.architecture().layer(layer) == LayerKind::Qwen3_5Full;
        assert_eq!([0, 1, 2, 3].map(is_full), [false, false, false, true]);
        let pattern = parse("gemma3_text", json!({ "sliding_window_pattern": 2 })).unwrap();
        let full = (Some(0), None);
        assert_eq!(attention(&pattern), [slides, full, slides, full]);
    }

    #[test]
    fn rope_parameters_of_each_kind_of_layer_may_stand_as_before() {
        let yarn = json!({ "rope_type": "yarn", "factor": 8.0,
            "original_max_position_embeddings": 8 });
        let mut full = yarn.clone();
        full["rope_theta"] = json!(5e5);
        let sliding = json!({ "rope_type": "default", "rope_theta": 1e4 });
        let new = json!({ "rope_parameters":
            { "full_attention": full, "sliding_attention": sliding } });
        let old = json!({ "rope_theta": 5e5, "rope_local_base_freq": 1e4, "rope_scaling": yarn });
        let rotations =
            |settings: Value| parse("gemma3_text", settings)?.architecture().rotations();
        assert_eq!(rotations(new.clone()), rotations(old));
        assert_ne!(rotations(new.clone()), rotations(json!({})));
        let mut both = new;
        both["rope_theta"] = json!(1e6);
        let error = rotations(both).unwrap_err();
        assert!(error.contains("`full_attention`") && error.contains("`rope_theta`"), "{error}");
        let flat = json!({ "rope_parameters": { "rope_type": "default", "rope_theta": 1e4 } });
        assert!(rotations(flat).unwrap_err().contains("a table for `full_attention`"));
        let error = parse("olmo3", json!({ "rope_theta": 1e4 })).unwrap_err();
        assert!(error.starts_with("`rope_theta` is 10000"), "{error}");
    }

    #[test]
    fn text_turns_by_one_position_in_a_share_of_features() {
        let rotations =
            |settings: Value| parse("qwen3_5_text", settings)?.architecture().rotations();
        // as published; of text the three positions are the same
        let published = json!({ "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5,
            "mrope_section": [11, 11, 10], "mrope_interleaved": true
        } });
        let half = rotations(json!({ "partial_rotary_factor": 0.5 }));
        assert_eq!(rotations(published.clone()), half);
        let quarter = rotations(json!({ "rope_theta": 1e4, "partial_rotary_factor": 0.25 }));
        assert_eq!(rotations(json!({})), quarter);
        assert_ne!(half, quarter);
        let mut both = published;
        both["partial_rotary_factor"] = json!(0.25);
        let error = rotations(both).unwrap_err();
        assert!(error.contains("is 0.5 and 0.25"), "{error}");
    }

    #[test]
    fn a_model_that_reads_images_is_taken_for_its_text() {
        let text = parse("qwen3_5_text", json!({ "eos_token_id": 7 })).unwrap();
        let mut part = serde_json::to_value(&text).unwrap();
        let images = |part: &Value| {
            AutoFamily::parse(json!({
                "model_type": "qwen3_5", "text_config": part, "vision_config": { "depth": 2 },
                "image_token_id": 5, "tie_word_embeddings": true
            }))
        };
        assert_eq!(images(&part), Ok(text.clone()));
        part.as_object_mut().unwrap().remove("model_type");
        assert_eq!(images(&part), Ok(text.clone()));
        // of the text's part as of any configuration
        part["logit_scale"] = json!(0.5);
        assert!(images(&part).unwrap_err().contains("`logit_scale`"));
        for name in ["mtp.fc.weight", "model.visual.merger.norm.weight"] {
            assert!(text.is_superfluous(name), "{name}");
        }
        assert!(!text.is_superfluous("model.language_model.norm.weight"));
        let other = text.other_name("model.norm.weight").unwrap();
        assert_eq!(other, "model.language_model.norm.weight");
        assert_eq!(text.other_name("lm_head.weight"), None);
    }

    #[test]
    fn settings_that_are_not_computed_are_refused_by_name() {
        let kinds =
            json!(["full_attention", "sliding_attention", "linear_attention", "full_attention"]);
        for (model_type, name, setting) in [
            ("mistral", "layer_types", json!(vec!["sliding_attention"; 4])),
            ("mistral", "sliding_window", json!(0)),
            ("mistral", "use_sliding_window", json!(true)),
            ("mistral", "hidden_act", json!("gelu")),
            ("ministral3", "rope_parameters", json!({ "rope_type": "longrope", "factor": 2 })),
            ("ministral3", "rope_parameters", json!({ "llama_4_scaling_beta": 0.1 })),
            ("smollm3", "no_rope_layers", json!([1, 0])),
            ("smollm3", "layer_types", json!(vec!["sliding_attention"; 4])),
            ("smollm3", "query_pre_attn_scalar", json!(16)),
            ("olmo3", "layer_types", kinds.clone()),
            ("olmo3", "sliding_window", json!(null)),
            ("olmo3", "mlp_bias", json!(true)),
            ("mistral", "attention_bias", json!(true)),
            ("gemma3_text", "layer_types", kinds),
            ("gemma3_text", "layer_types", json!(["full_attention"])),
            ("gemma3_text", "attn_logit_softcapping", json!(50.0)),
            ("gemma3_text", "final_logit_softcapping", json!(-1.0)),
            ("gemma3_text", "query_pre_attn_scalar", json!(0)),
            ("gemma3_text", "use_bidirectional_attention", json!(true)),
            ("gemma3_text", "hidden_activation", json!("relu")),
            ("qwen3_moe", "num_experts_per_tok", json!(200)),
            ("qwen3_moe", "decoder_sparse_step", json!(0)),
            ("qwen3_moe", "use_sliding_window", json!(true)),
            ("qwen3_moe", "n_routed_experts", json!(4)),
            ("qwen3_5_text", "layer_types", json!(vec!["sliding_attention"; 4])),
            ("qwen3_5_text", "layer_types", json!(["linear_attention"])),
            ("qwen3_5_text", "full_attention_interval", json!(0)),
            ("qwen3_5_text", "attn_output_gate", json!(false)),
            ("qwen3_5_text", "linear_conv_kernel_dim", json!(1)),
            ("qwen3_5_text", "linear_num_key_heads", json!(3)),
            ("qwen3_5_text", "linear_num_value_heads", json!(0)),
            ("qwen3_5_text", "partial_rotary_factor", json!(0.001)),
            ("qwen3_5_text", "hidden_act", json!("gelu")),
            ("qwen3_5_text", "mlp_bias", json!(true)),
            ("qwen3_5_text", "num_experts", json!(4)),
            ("qwen3_5", "quantization_config", json!({ "quant_method": "fp8" })),
            ("qwen3_5", "text_config", json!({ "model_type": "qwen3_text" })),
            ("qwen3_5", "text_config", json!(null)),
            ("llama", "num_experts", json!(4)),
            ("llama", "sliding_window", json!(4)),
        ] {
            let error = parse(model_type, json!({ name: setting })).unwrap_err();
            let is_beta = name == "rope_parameters" && error.contains("`llama_4_scaling_beta`");
            assert!(error.contains(name) || is_beta, "{model_type}: {error}");
        }
    }
}
