//! Rotary position embedding in the half-split layout of Hugging Face checkpoints (feature `i` is
//! paired with `i + d/2`), over all features of a head or the first few, with the `default`,
//! `linear`, `dynamic`, `yarn` (Peng et al., 2023, arXiv 2309.00071) and `llama3` scalings. Left
//! out: `longrope` and `proportional`, which are refused.

use super::{in_f32, matching};
use crate::Kernels;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use paretopo_settings::Range;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// `rope_parameters` (transformers 5) or `rope_scaling` (before) of a `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// Base of the frequencies; before transformers 5 it stands at the top level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// `default`, `linear`, `dynamic`, `yarn` or `llama3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// The older name of `rope_type`; transformers 4 writes both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// By how much long wavelengths are stretched; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// `llama3`: wavelengths above `original / low_freq_factor` are stretched fully.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// `llama3`: wavelengths below `original / high_freq_factor` stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// `llama3` and `yarn`: the context that the model was first trained with, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<f64>,
    /// `dynamic`: up to so many tokens nothing is scaled. It is that of the `config.json`, which an
    /// architecture fills in; a few checkpoints state it here once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_position_embeddings: Option<f64>,
    /// `yarn`: what sines and cosines are multiplied with. When absent
    /// `m(mscale) / m(mscale_all_dim)` with `m(s) = 1 + 0.1 s ln(factor)` if both are given, and
    /// `m(1)` if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
    /// `yarn`: features that turn more often than this within the original context stay; 32 when
    /// absent or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta_fast: Option<f64>,
    /// `yarn`: features that turn less often are stretched fully; 1 when absent or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta_slow: Option<f64>,
    /// `yarn`: see `attention_factor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mscale: Option<f64>,
    /// `yarn`: see `attention_factor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mscale_all_dim: Option<f64>,
    /// `yarn`: whether the range between the two is widened to whole feature pairs; so when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<bool>,
    /// Share of the features that rotate. Only 1 is supported here; an architecture that computes
    /// another reads it, takes it out, and calls [`RotaryEmbedding::partial`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
    /// All else that stands there; refused unless it is null.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// What `rope_theta` may be. Published models have 1e4 to 1e9; far beyond that f32 tells positions
/// apart no more, and below 1 the features turn by more than a radian a token.
const THETAS: Range = Range::closed(1.0, 1e12);

/// What factors of a scaling may be; published ones lie between 0.25 and 64.
const FACTORS: Range = Range::closed(1e-6, 1e6);

/// What a context may be, in tokens.
const LENGTHS: Range = Range::closed(1.0, 1e9);

/// # Errors
/// Names the setting, its value and its range.
fn within(name: &str, value: f64, range: Range) -> Result<f64, String> {
    if range.contains(value) {
        return Ok(value);
    }
    Err(format!("`{name}` must be {range}, not {value:?}"))
}

/// A scaling with the numbers that it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scaling {
    Default,
    Linear { factor: f64 },
    Dynamic { factor: f64, context: f64 },
    Yarn(Yarn),
    Llama3 { factor: f64, low: f64, high: f64, original: f64 },
}

/// The numbers of `yarn`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Yarn {
    factor: f64,
    /// What sines and cosines are multiplied with.
    attention_factor: f64,
    fast: f64,
    slow: f64,
    original: f64,
    truncate: bool,
}

impl Yarn {
    /// `frequency_i ((1 - r_i) + r_i / factor)` with `r_i` from 0 to 1 between the pairs that turn
    /// `fast` and `slow` times within the original context: in pairs `i` of `d` features
    /// `d ln(original / (2 pi turns)) / (2 ln theta)`.
    fn scale(&self, frequencies: &mut [f64], theta: f64) {
        let features = 2.0 * frequencies.len() as f64;
        let pair = |turns: f64| {
            let wavelength = self.original / (turns * 2.0 * std::f64::consts::PI);
            features * wavelength.ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (pair(self.fast), pair(self.slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let low = low.max(0.0);
        let mut high = high.min(features - 1.0);
        if low == high {
            high += 0.001;
        }
        for (pair, frequency) in frequencies.iter_mut().enumerate() {
            let ramp = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            *frequency *= (1.0 - ramp) + ramp / self.factor;
        }
    }
}

impl RopeParameters {
    /// The rope type, under either of its names; `default` when there is none.
    ///
    /// # Errors
    /// When the two names contradict each other.
    fn kind(&self) -> Result<&str, String> {
        match (self.rope_type.as_deref(), self.r#type.as_deref()) {
            (Some(new), Some(old)) if new != old => Err(format!(
                "`rope_type` is `{new}`, but `type` is `{old}`\nhint: keep the one that the model was trained with"
            )),
            (new, old) => Ok(new.or(old).unwrap_or("default")),
        }
    }

    /// Whether nothing is scaled.
    pub(crate) fn is_default(&self) -> bool {
        self.kind() == Ok("default")
    }

    /// The numbers that are given, by name; `rope_theta` and `partial_rotary_factor` belong to
    /// every type.
    fn given(&self) -> impl Iterator<Item = &str> {
        let known = [
            ("factor", self.factor),
            ("low_freq_factor", self.low_freq_factor),
            ("high_freq_factor", self.high_freq_factor),
            ("original_max_position_embeddings", self.original_max_position_embeddings),
            ("attention_factor", self.attention_factor),
            ("beta_fast", self.beta_fast),
            ("beta_slow", self.beta_slow),
            ("mscale", self.mscale),
            ("mscale_all_dim", self.mscale_all_dim),
            ("truncate", self.truncate.map(f64::from)),
        ];
        let other = self.other.iter().filter(|(_, value)| !value.is_null());
        known
            .into_iter()
            .filter_map(|(name, value)| value.map(|_| name))
            .chain(other.map(|(name, _)| name.as_str()))
    }

    /// # Errors
    /// Names what is not supported, missing, out of range or without meaning for the rope type.
    fn scaling(&self) -> Result<Scaling, String> {
        if let Some(share) = self.partial_rotary_factor.filter(|share| *share != 1.0) {
            return Err(format!(
                "`partial_rotary_factor` must be 1, not {share}: partial rotation is not supported"
            ));
        }
        let kind = self.kind()?;
        let needed = keys_of(kind)?;
        if let Some(name) = self.given().find(|name| !needed.contains(name)) {
            return Err(if self.rope_type.is_none() && self.r#type.is_none() {
                format!("`{name}` is given, but no `rope_type` says what for")
            } else {
                format!(
                    "`{name}` has no meaning for the rope type `{kind}`\nhint: take it out, or name the type that the model was trained with"
                )
            });
        }
        let positive = |name: &str, value: Option<f64>| match value {
            None => Err(format!("the rope type `{kind}` needs `{name}`")),
            Some(value) => within(name, value, FACTORS),
        };
        if kind == "default" {
            return Ok(Scaling::Default);
        }
        let factor = positive("factor", self.factor)?;
        if kind == "linear" {
            return Ok(Scaling::Linear { factor });
        }
        let length = |name: &str, value: Option<f64>| match value {
            None => positive(name, None),
            Some(value) => within(name, value, LENGTHS),
        };
        if kind == "dynamic" {
            let context = length("max_position_embeddings", self.max_position_embeddings)?;
            if factor < 1.0 {
                return Err(format!("`factor` must be at least 1 for `dynamic`, not {factor}"));
            }
            return Ok(Scaling::Dynamic { factor, context });
        }
        let original =
            length("original_max_position_embeddings", self.original_max_position_embeddings)?;
        if kind == "yarn" {
            return self.yarn(factor, original).map(Scaling::Yarn);
        }
        let low = positive("low_freq_factor", self.low_freq_factor)?;
        let high = positive("high_freq_factor", self.high_freq_factor)?;
        if low >= high {
            return Err(format!(
                "`low_freq_factor` ({low}) must be below `high_freq_factor` ({high})"
            ));
        }
        Ok(Scaling::Llama3 { factor, low, high, original })
    }

    /// # Errors
    /// Names what is out of range.
    fn yarn(&self, factor: f64, original: f64) -> Result<Yarn, String> {
        let given = |name: &str, value: Option<f64>| match value {
            None | Some(0.0) => Ok(None),
            Some(value) => within(name, value, FACTORS).map(Some),
        };
        let fast = given("beta_fast", self.beta_fast)?.unwrap_or(32.0);
        let slow = given("beta_slow", self.beta_slow)?.unwrap_or(1.0);
        if fast < slow {
            return Err(format!("`beta_fast` ({fast}) must not be below `beta_slow` ({slow})"));
        }
        let scale =
            |mscale: f64| if factor <= 1.0 { 1.0 } else { 1.0 + 0.1 * mscale * factor.ln() };
        let [mscale, all] =
            [given("mscale", self.mscale)?, given("mscale_all_dim", self.mscale_all_dim)?];
        let attention_factor = match (self.attention_factor, mscale.zip(all)) {
            (Some(stated), _) => within("attention_factor", stated, FACTORS)?,
            (None, Some((mscale, all))) => scale(mscale) / scale(all),
            (None, None) => scale(1.0),
        };
        let truncate = self.truncate.unwrap_or(true);
        Ok(Yarn { factor, attention_factor, fast, slow, original, truncate })
    }

    /// Whether both scale alike; the base is not compared.
    ///
    /// # Errors
    /// See [`RotaryEmbedding::new`].
    pub(crate) fn scales_as(&self, other: &Self) -> Result<bool, String> {
        Ok(self.scaling()? == other.scaling()?)
    }
}

/// `theta^(-i / pairs)`, `i < pairs`.
fn powers(theta: f64, pairs: usize) -> Vec<f64> {
    (0..pairs).map(|pair| theta.powf(-(pair as f64) / pairs as f64)).collect()
}

/// The frequencies of each feature pair.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryEmbedding {
    frequencies: Vec<f64>,
    head_dim: usize,
    theta: f64,
    scaling: Scaling,
}

impl RotaryEmbedding {
    /// `frequency_i = theta^(-2 i / head_dim)`, `i < head_dim / 2`, then scaled.
    ///
    /// # Errors
    /// Names what is not supported, missing, out of range or without meaning for the rope type.
    pub fn new(head_dim: usize, theta: f64, parameters: &RopeParameters) -> Result<Self, String> {
        Self::partial(head_dim, head_dim, theta, parameters)
    }

    /// The first `rotary_dim` features of a head turn, feature `i` with `i + rotary_dim / 2`; the
    /// others stay as they are (GPT-NeoX). `frequency_i = theta^(-2 i / rotary_dim)`,
    /// `i < rotary_dim / 2`, then scaled.
    ///
    /// # Errors
    /// When `rotary_dim` is odd, 0 or above `head_dim`, and as [`Self::new`].
    pub fn partial(
        rotary_dim: usize,
        head_dim: usize,
        theta: f64,
        parameters: &RopeParameters,
    ) -> Result<Self, String> {
        within("rope_theta", theta, THETAS)?;
        if rotary_dim == 0 || rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
            return Err(format!(
                "{rotary_dim} features of a head of {head_dim} rotate; it must be an even number from 2 to {head_dim}"
            ));
        }
        let scaling = parameters.scaling()?;
        if matches!(scaling, Scaling::Dynamic { .. }) && rotary_dim == 2 {
            return Err("the rope type `dynamic` needs more than 2 features that rotate".into());
        }
        let mut frequencies = powers(theta, rotary_dim / 2);
        match scaling {
            Scaling::Default | Scaling::Dynamic { .. } => {}
            Scaling::Linear { factor } => {
                frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
            }
            Scaling::Yarn(yarn) if theta > 1.0 => yarn.scale(&mut frequencies, theta),
            Scaling::Yarn(_) => return Err("`yarn` needs a `rope_theta` above 1".into()),
            Scaling::Llama3 { factor, low, high, original } => {
                for frequency in &mut frequencies {
                    let wavelength = 2.0 * std::f64::consts::PI / *frequency;
                    // how many wavelengths fit into the original context: 0 at `low`, 1 at `high`
                    let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                    *frequency *= (1.0 - smooth) / factor + smooth;
                }
            }
        }
        Ok(Self { frequencies, head_dim, theta, scaling })
    }

    /// The frequencies for so many tokens read together. `dynamic` has others beyond the context
    /// `c`, those of the base `theta (factor tokens / c - (factor - 1))^(d / (d - 2))`; no recipe
    /// reads that far, and what was remembered before keeps its rotation, as in transformers.
    fn frequencies(&self, tokens: u32) -> Cow<'_, [f64]> {
        match self.scaling {
            Scaling::Dynamic { factor, context } if f64::from(tokens) > context => {
                let features = 2.0 * self.frequencies.len() as f64;
                let stretch = factor * f64::from(tokens) / context - (factor - 1.0);
                let theta = self.theta * stretch.powf(features / (features - 2.0));
                powers(theta, self.frequencies.len()).into()
            }
            _ => self.frequencies.as_slice().into(),
        }
    }

    /// Sines and cosines for the given positions, shared by all layers of a forward pass.
    ///
    /// # Shapes
    /// - `positions`: one per token
    pub fn rotation<B: Backend>(
        &self,
        positions: &[u32],
        kernels: &Kernels,
        device: &B::Device,
    ) -> Rotation<B> {
        let (pairs, head_dim) = (self.frequencies.len(), self.head_dim);
        let shape = [positions.len(), head_dim];
        let mut cos = Vec::with_capacity(shape[0] * shape[1]);
        let mut sin = Vec::with_capacity(shape[0] * shape[1]);
        let frequencies = self.frequencies(positions.iter().max().map_or(0, |last| last + 1));
        let factor = match self.scaling {
            Scaling::Yarn(yarn) => yarn.attention_factor as f32,
            _ => 1.0,
        };
        for position in positions {
            let begun = cos.len();
            for frequency in frequencies.iter() {
                // in f32 like transformers, whose angle is the f32 product of position and
                // frequency
                let (sine, cosine) = (*position as f32 * *frequency as f32).sin_cos();
                cos.push(factor * cosine);
                sin.push(factor * sine);
            }
            // both halves have the same angles; what does not turn has the angle 0
            cos.extend_from_within(begun..);
            sin.extend_from_within(begun..);
            cos.resize(begun + head_dim, 1.0);
            sin.resize(begun + head_dim, 0.0);
        }
        // a kernel takes the halves of a whole head for pairs
        let kernels = if 2 * pairs == head_dim { kernels.clone() } else { Kernels::none() };
        let angles = [cos, sin].map(|values| crate::from_host(values, shape, device));
        Rotation { angles, pairs, swap: OnceLock::new(), spread: Arc::default(), kernels }
    }
}

/// Cosines and sines of the angles by which the heads of each token turn.
#[derive(Clone, Debug)]
pub struct Rotation<B: Backend> {
    /// Cosines and sines, `[tokens, head_dim]`.
    angles: [Tensor<B, 2>; 2],
    pairs: usize,
    swap: OnceLock<Tensor<B, 2>>,
    /// The angles of so many heads, `[tokens, heads * head_dim]`.
    spread: Arc<Mutex<BTreeMap<usize, [Tensor<B, 2>; 2]>>>,
    kernels: Kernels,
}

impl<B: Backend> Rotation<B> {
    /// `x cos + (-b, a) sin` with `(a, b)` the halves of what turns of each head.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, heads * head_dim]`
    pub fn apply(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        if let Some(fused) = self.kernels.suiting(&x) {
            let [cos, sin] = self.angles.clone();
            return fused.rotate(x, cos, sin);
        }
        let [tokens, width] = x.dims();
        let [_, head_dim] = self.angles[0].dims();
        let [cos, sin] = self.spread(width / head_dim);
        let wide = in_f32(x.clone());
        let flat = wide.clone().reshape([tokens * width / head_dim, head_dim]);
        let swapped = flat.matmul(self.swap().clone()).reshape([tokens, width]);
        matching(wide * cos + swapped * sin, &x)
    }

    /// The angles beside each other for all heads, on the device.
    fn spread(&self, heads: usize) -> [Tensor<B, 2>; 2] {
        let mut spread = self.spread.lock().unwrap_or_else(PoisonError::into_inner);
        let angles = || self.angles.clone().map(|angles| angles.repeat_dim(1, heads));
        spread.entry(heads).or_insert_with(angles).clone()
    }

    /// Maps `(a, b, rest)` to `(-b, a, 0)`, `[head_dim, head_dim]`. A small product keeps the data
    /// contiguous, where slicing the halves apart would send everything after it down slow strided
    /// paths.
    fn swap(&self) -> &Tensor<B, 2> {
        self.swap.get_or_init(|| {
            let [_, head_dim] = self.angles[0].dims();
            let mut swap = vec![0.0; head_dim * head_dim];
            for pair in 0..self.pairs {
                swap[(pair + self.pairs) * head_dim + pair] = -1.0;
                swap[pair * head_dim + pair + self.pairs] = 1.0;
            }
            crate::from_host(swap, [head_dim, head_dim], &self.angles[0].device())
        })
    }
}

/// The keys that a rope type needs or may have.
///
/// # Errors
/// When there is no such type here.
fn keys_of(kind: &str) -> Result<&'static [&'static str], String> {
    Ok(match kind {
        "default" => &[],
        "linear" | "dynamic" => &["factor"],
        "yarn" => &[
            "factor",
            "original_max_position_embeddings",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        ],
        "llama3" => {
            &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]
        }
        other => {
            return Err(format!(
                "the rope type `{other}` is not supported (`default`, `linear`, `dynamic`, `yarn` and `llama3` are)"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_paired_and_angles_are_position_times_frequency() {
        type B = burn_flex::Flex;
        let device = Default::default();
        let rope = RotaryEmbedding::new(4, 100.0, &RopeParameters::default()).unwrap();
        // frequencies 100^0 = 1 and 100^(-1/2) = 0.1; at position 2 the angles are 2 and 0.2
        // x = (1, 0, 0, 1): pairs (x0, x2) = (1, 0) and (x1, x3) = (0, 1)
        //   (cos 2, sin 2) = (-0.416147, 0.909297); (-sin 0.2, cos 0.2) = (-0.198669, 0.980067)
        // a second head that is zero stays zero
        let x = Tensor::<B, 2>::from_data([[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]], &device);
        let rotation = rope.rotation::<B>(&[2], &Kernels::none(), &device);
        let y = crate::to_host(rotation.apply(x));
        let expected = [-0.416_146_84, -0.198_669_33, 0.909_297_4, 0.980_066_6, 0.0, 0.0, 0.0, 0.0];
        assert!(y.iter().zip(expected).all(|(got, want)| (got - want).abs() < 1e-6), "{y:?}");
    }

    #[test]
    fn what_does_not_turn_stays() {
        type B = burn_flex::Flex;
        let device = Default::default();
        let none = RopeParameters::default();
        let rope = RotaryEmbedding::partial(2, 4, 100.0, &none).unwrap();
        // one pair, (x0, x1), of frequency 1; at position 2 (1, 0) becomes (cos 2, sin 2), and
        // (0, 1) becomes (-sin 2, cos 2); the other features stay
        let x = [[1.0, 0.0, 5.0, -6.0, 0.0, 1.0, 7.0, 8.0]];
        let rotation = rope.rotation::<B>(&[2], &Kernels::none(), &device);
        let y = crate::to_host(rotation.apply(Tensor::<B, 2>::from_data(x, &device)));
        let (sin, cos) = (0.909_297_4, -0.416_146_84);
        let expected = [cos, sin, 5.0, -6.0, -sin, cos, 7.0, 8.0];
        assert!(y.iter().zip(expected).all(|(got, want)| (got - want).abs() < 1e-6), "{y:?}");
        for rotary_dim in [0, 3, 6] {
            let error = RotaryEmbedding::partial(rotary_dim, 4, 100.0, &none).unwrap_err();
            assert!(error.contains("even number from 2 to 4"), "{rotary_dim}: {error}");
        }
    }

    #[test]
    fn llama3_stretches_only_long_wavelengths() {
        let parameters = RopeParameters {
            rope_type: Some("llama3".into()),
            factor: Some(8.0),
            low_freq_factor: Some(1.0),
            high_freq_factor: Some(4.0),
            original_max_position_embeddings: Some(100.0),
            ..RopeParameters::default()
        };
        let scaled = RotaryEmbedding::new(4, 10_000.0, &parameters).unwrap();
        // frequency 1: wavelength 6.28, 100 / 6.28 = 15.9 > 4, unchanged
        // frequency 0.01: wavelength 628, 100 / 628 = 0.16 < 1, divided by 8
        assert!(
            (scaled.frequencies[0] - 1.0).abs() < 1e-12
                && (scaled.frequencies[1] - 0.01 / 8.0).abs() < 1e-12
        );
    }

    #[test]
    fn yarn_stretches_slow_features_and_scales_what_turns() {
        // 4 pairs of 8 features, theta 10000, original context 64: the pair that turns n times is
        //   8 ln(64 / (2 pi n)) / (2 ln 10000): 0.70697 for n = 2 and 1.61006 for n = 0.25
        // to whole pairs: from 0 to 2, so that the ramp is 0, 1/2, 1, 1
        //   frequencies 1, 0.1 (1/2 + 1/2 / 4), 0.01 / 4, 0.001 / 4
        // attention factor 1 + 0.1 ln 4 = 1.138629
        let parameters = RopeParameters {
            rope_type: Some("yarn".into()),
            factor: Some(4.0),
            original_max_position_embeddings: Some(64.0),
            beta_fast: Some(2.0),
            beta_slow: Some(0.25),
            ..RopeParameters::default()
        };
        let rope = RotaryEmbedding::new(8, 10_000.0, &parameters).unwrap();
        let expected = [1.0, 0.0625, 0.0025, 0.000_25];
        let close = |(got, want): (&f64, f64)| (got - want).abs() < 1e-12;
        assert!(rope.frequencies.iter().zip(expected).all(close), "{:?}", rope.frequencies);
        let device = Default::default();
        let x = Tensor::<burn_flex::Flex, 2>::ones([1, 8], &device);
        let turned = crate::to_host(rope.rotation(&[0], &Kernels::none(), &device).apply(x));
        assert!(turned.iter().all(|value| (value - 1.138_629_4).abs() < 1e-6), "{turned:?}");
        // as they are: from 0.70697 to 1.61006, where pair 1 has (1 - 0.70697) / 0.90309 = 0.32448
        let exact = RopeParameters { truncate: Some(false), ..parameters.clone() };
        let rope = RotaryEmbedding::new(8, 10_000.0, &exact).unwrap();
        assert!((rope.frequencies[1] - 0.1 * (1.0 - 0.75 * 0.324_48)).abs() < 1e-5);
        // (1 + 0.1 * 2 ln 4) / (1 + 0.1 * 0.5 ln 4) = 1.194474
        let scaled =
            RopeParameters { mscale: Some(2.0), mscale_all_dim: Some(0.5), ..parameters.clone() };
        let Ok(Scaling::Yarn(yarn)) = scaled.scaling() else { panic!("it is yarn") };
        assert!((yarn.attention_factor - 1.194_474).abs() < 1e-5, "{yarn:?}");
        let stated = RopeParameters { attention_factor: Some(0.5), ..scaled };
        let Ok(Scaling::Yarn(yarn)) = stated.scaling() else { panic!("it is yarn") };
        assert_eq!(yarn.attention_factor, 0.5);
        let error = RopeParameters { beta_fast: Some(0.1), ..parameters }.scaling().unwrap_err();
        assert!(error.contains("`beta_fast`"), "{error}");
    }

    #[test]
    fn dynamic_changes_nothing_within_the_context() {
        let parameters = RopeParameters {
            rope_type: Some("dynamic".into()),
            factor: Some(3.0),
            max_position_embeddings: Some(8.0),
            ..RopeParameters::default()
        };
        let rope = RotaryEmbedding::new(4, 100.0, &parameters).unwrap();
        assert_eq!(rope.frequencies(8).as_ref(), powers(100.0, 2));
        // 12 tokens: theta 100 (3 * 12 / 8 - 2)^(4 / 2) = 625, whose root is 25
        let beyond = rope.frequencies(12);
        assert!((beyond[0] - 1.0).abs() < 1e-12 && (beyond[1] - 0.04).abs() < 1e-12, "{beyond:?}");
    }

    fn read(text: &str) -> Result<Vec<f64>, String> {
        let parameters: RopeParameters = serde_json::from_str(text).unwrap();
        Ok(RotaryEmbedding::new(4, 100.0, &parameters)?.frequencies)
    }

    #[test]
    fn the_type_may_stand_under_both_of_its_names() {
        // frequencies 1 and 0.1, divided by 4
        let halved = [0.25, 0.025];
        for text in [
            r#"{"rope_type": "linear", "factor": 4.0}"#,
            r#"{"type": "linear", "factor": 4.0}"#,
            r#"{"type": "linear", "rope_type": "linear", "factor": 4, "attention_factor": null}"#,
        ] {
            let found = read(text).unwrap();
            assert!(found.iter().zip(halved).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
        }
        let error = read(r#"{"type": "linear", "rope_type": "default", "factor": 4}"#).unwrap_err();
        assert!(error.contains("`rope_type` is `default`, but `type` is `linear`"), "{error}");
        // nothing at all is no scaling
        assert_eq!(read("{}").unwrap(), read(r#"{"type": "default"}"#).unwrap());
    }

    #[test]
    fn what_is_not_supported_missing_or_without_meaning_is_named() {
        let llama3 =
            r#""rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 100"#;
        for (text, reason) in [
            (r#"{"rope_type": "yarn", "factor": 4}"#.to_owned(), "`yarn`"),
            (r#"{"type": "dynamic", "factor": 4}"#.into(), "`dynamic`"),
            (
                r#"{"rope_type": "longrope", "short_factor": [1], "long_factor": [1]}"#.into(),
                "`longrope`",
            ),
            (r#"{"type": "su"}"#.into(), "`su`"),
            (r#"{"rope_type": "proportional"}"#.into(), "`proportional`"),
            (r#"{"rope_type": "linear"}"#.into(), "needs `factor`"),
            (
                r#"{"rope_type": "linear", "factor": 0}"#.into(),
                "`factor` must be a number from 1e-6 to 1000000, not 0.0",
            ),
            (
                r#"{"rope_type": "linear", "factor": -2}"#.into(),
                "`factor` must be a number from 1e-6 to 1000000",
            ),
            (r#"{"factor": 4}"#.into(), "`factor` is given, but no `rope_type`"),
            (
                r#"{"rope_type": "linear", "factor": 4, "attention_factor": 1.2}"#.into(),
                "`attention_factor`",
            ),
            (r#"{"rope_type": "default", "mrope_section": [1, 1]}"#.into(), "`mrope_section`"),
            (r#"{"full_attention": {"rope_type": "default"}}"#.into(), "`full_attention`"),
            (
                r#"{"rope_type": "default", "partial_rotary_factor": 0.5}"#.into(),
                "`partial_rotary_factor`",
            ),
            (format!("{{{llama3}, \"low_freq_factor\": 1}}"), "needs `high_freq_factor`"),
            (
                format!("{{{llama3}, \"low_freq_factor\": 4, \"high_freq_factor\": 4}}"),
                "`low_freq_factor` (4) must be below",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let error = RotaryEmbedding::new(4, 0.0, &RopeParameters::default()).unwrap_err();
        assert!(error.contains("`rope_theta`"), "{error}");
    }
}
