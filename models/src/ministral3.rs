//! Ministral 3 (Mistral AI, 2025) as in transformers' `modeling_ministral3.py`: Mistral whose
//! queries grow with their position, `q (1 + beta ln(1 + floor(position / original)))`, behind the
//! rotation; beta is `llama_4_scaling_beta` and `original` the `original_max_position_embeddings` of
//! `rope_parameters`. Left out: the vision tower; the text model has to lie in a folder of its own.

use crate::auto::Settings;
use crate::layers::{
    Architecture, AttentionKind, DecoderConfig, Differences, LengthFactor, RopeParameters,
    RotaryEmbedding, check_window,
};
use serde::{Deserialize, Serialize};

pub(crate) const SETTINGS: Settings = Settings {
    computed: &["sliding_window"],
    defaults: &[
        ("num_key_value_heads", "8"),
        ("head_dim", "128"),
        ("rms_norm_eps", "1e-5"),
        (
            "rope_parameters",
            r#"{"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0,
                "original_max_position_embeddings": 16384, "beta_fast": 32.0, "beta_slow": 1.0,
                "mscale_all_dim": 1.0, "mscale": 1.0, "llama_4_scaling_beta": 0.1}"#,
        ),
    ],
};

/// The setting of `rope_parameters` that no other architecture has.
const BETA: &str = "llama_4_scaling_beta";

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ministral3Config {
    /// What it shares with others.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// How many tokens each sees, its own and the newest in front of it; null for all.
    #[serde(default)]
    pub sliding_window: Option<usize>,
}

impl Ministral3Config {
    fn rope(&self) -> Option<&RopeParameters> {
        self.decoder.rope_parameters.as_ref().or(self.decoder.rope_scaling.as_ref())
    }
}

impl Architecture for Ministral3Config {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences::default()
    }

    fn attention(&self, _layer: usize) -> AttentionKind {
        AttentionKind { window: self.sliding_window, ..AttentionKind::default() }
    }

    fn rotations(&self) -> Result<Vec<RotaryEmbedding>, String> {
        let mut decoder = self.decoder.clone();
        for rope in decoder.rope_parameters.iter_mut().chain(&mut decoder.rope_scaling) {
            // the factor needs the original context, which a rotation that is not scaled has not
            if rope.other.remove(BETA).is_some() && rope.is_default() {
                rope.original_max_position_embeddings = None;
            }
        }
        Ok(vec![decoder.rotary()?])
    }

    fn length_factor(&self) -> Option<LengthFactor> {
        let rope = self.rope()?;
        let beta = rope.other.get(BETA)?.as_f64()?;
        Some(LengthFactor { beta, original: rope.original_max_position_embeddings? })
    }

    fn check(&self) -> Result<(), String> {
        self.decoder.check_activation()?;
        check_window(self.sliding_window)?;
        let beta = self.rope().and_then(|rope| rope.other.get(BETA));
        let Some(beta) = beta.filter(|beta| !beta.is_null()) else { return Ok(()) };
        if !beta.as_f64().is_some_and(|beta| (0.0..=1e3).contains(&beta)) {
            return Err(format!("`{BETA}` must be a number from 0 to 1000, not {beta}"));
        }
        match self.length_factor() {
            Some(factor) if factor.original >= 1.0 => Ok(()),
            _ => Err(format!("`{BETA}` needs `original_max_position_embeddings`")),
        }
    }
}
