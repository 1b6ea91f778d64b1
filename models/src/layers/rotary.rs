//! Rotary position embedding in the half-split layout of Hugging Face checkpoints (feature `i` is
//! paired with `i + d/2`), with the `default`, `linear` and `llama3` scalings. Left out: `yarn`,
//! `dynamic`, `longrope` and partial rotation, which are refused.

use super::{in_f32, matching};
use crate::fused_for;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `rope_parameters` (transformers 5) or `rope_scaling` (before) of a `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// Base of the frequencies; before transformers 5 it stands at the top level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// `default`, `linear` or `llama3`.
    #[serde(default, alias = "type", skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// By how much long wavelengths are stretched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// `llama3`: wavelengths above `original / low_freq_factor` are stretched fully.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// `llama3`: wavelengths below `original / high_freq_factor` stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// `llama3`: the context that the model was first trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<f64>,
    /// Share of the features that rotate; only 1 is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
}

/// The frequencies of each feature pair.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryEmbedding {
    frequencies: Vec<f64>,
}

impl RotaryEmbedding {
    /// `frequency_i = theta^(-2 i / head_dim)`, `i < head_dim / 2`, then scaled.
    ///
    /// # Errors
    /// Names the scaling that is not supported or the field that is missing.
    pub fn new(head_dim: usize, theta: f64, parameters: &RopeParameters) -> Result<Self, String> {
        if parameters.partial_rotary_factor.is_some_and(|factor| factor != 1.0) {
            return Err("`partial_rotary_factor` other than 1 is not supported".into());
        }
        let mut frequencies: Vec<f64> = (0..head_dim / 2)
            .map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64))
            .collect();
        let required = |name: &str, value: Option<f64>| {
            value.ok_or_else(|| format!("the rope scaling needs `{name}`"))
        };
        match parameters.rope_type.as_deref().unwrap_or("default") {
            "default" => {}
            "linear" => {
                let factor = required("factor", parameters.factor)?;
                frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
            }
            "llama3" => {
                let factor = required("factor", parameters.factor)?;
                let low = required("low_freq_factor", parameters.low_freq_factor)?;
                let high = required("high_freq_factor", parameters.high_freq_factor)?;
                let original = required(
                    "original_max_position_embeddings",
                    parameters.original_max_position_embeddings,
                )?;
                for frequency in &mut frequencies {
                    let wavelength = 2.0 * std::f64::consts::PI / *frequency;
                    // how many wavelengths fit into the original context: 0 at `low`, 1 at `high`
                    let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                    *frequency *= (1.0 - smooth) / factor + smooth;
                }
            }
            other => {
                return Err(format!(
                    "the rope type `{other}` is not supported (`default`, `linear` and `llama3` are)"
                ));
            }
        }
        Ok(Self { frequencies })
    }

    /// Sines and cosines for the given positions, shared by all layers of a forward pass; one
    /// rotation for each number of heads.
    ///
    /// # Shapes
    /// - `positions`: one per token
    pub fn rotations<B: Backend, const N: usize>(
        &self,
        positions: &[u32],
        heads: [usize; N],
        device: &B::Device,
    ) -> [Rotation<B>; N] {
        let pairs = self.frequencies.len();
        // in f32 like transformers, whose angle is the f32 product of position and frequency
        let angles = |position: u32| {
            self.frequencies
                .iter()
                .map(move |frequency| (position as f32 * *frequency as f32).sin_cos())
        };
        let mut table: BTreeMap<u32, Vec<(f32, f32)>> = BTreeMap::new();
        for position in positions {
            table.entry(*position).or_insert_with(|| angles(*position).collect());
        }
        let rows: Vec<&Vec<(f32, f32)>> =
            positions.iter().map(|position| &table[position]).collect();
        let spread = |heads: usize, pick: fn(&(f32, f32)) -> f32| {
            let values: Vec<f32> = rows
                .iter()
                .flat_map(|row| (0..2 * heads).flat_map(move |_| row.iter().map(pick)))
                .collect();
            crate::from_host(values, [positions.len(), heads * 2 * pairs], device)
        };
        let mut swap = vec![0.0; 4 * pairs * pairs];
        for pair in 0..pairs {
            swap[(pair + pairs) * 2 * pairs + pair] = -1.0;
            swap[pair * 2 * pairs + pair + pairs] = 1.0;
        }
        let swap = crate::from_host(swap, [2 * pairs, 2 * pairs], device);
        heads.map(|heads| Rotation {
            cos: spread(heads, |(_, cos)| *cos),
            sin: spread(heads, |(sin, _)| *sin),
            swap: swap.clone(),
        })
    }
}

/// Cosines and sines of the angles by which the heads of each token turn.
#[derive(Clone, Debug)]
pub struct Rotation<B: Backend> {
    /// `[tokens, heads * head_dim]`
    cos: Tensor<B, 2>,
    /// `[tokens, heads * head_dim]`
    sin: Tensor<B, 2>,
    /// Maps `(a, b)` to `(-b, a)`, `[head_dim, head_dim]`. A small product keeps the data
    /// contiguous, where slicing the halves apart would send everything after it down slow strided
    /// paths.
    swap: Tensor<B, 2>,
}

impl<B: Backend> Rotation<B> {
    /// `x cos + (-b, a) sin` with `x = (a, b)` the halves of each head.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, heads * head_dim]`
    pub fn apply(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [tokens, width] = x.dims();
        let [head_dim, _] = self.swap.dims();
        if let Some(fused) = fused_for(&x) {
            return fused.rotate(x, self.cos.clone(), self.sin.clone(), head_dim);
        }
        let wide = in_f32(x.clone());
        let swapped = wide
            .clone()
            .reshape([tokens * width / head_dim, head_dim])
            .matmul(self.swap.clone())
            .reshape([tokens, width]);
        matching(wide * self.cos.clone() + swapped * self.sin.clone(), &x)
    }
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
        let [rotation] = rope.rotations::<B, 1>(&[2], [2], &device);
        let y = crate::to_host(rotation.apply(x));
        let expected = [-0.416_146_84, -0.198_669_33, 0.909_297_4, 0.980_066_6, 0.0, 0.0, 0.0, 0.0];
        assert!(y.iter().zip(expected).all(|(got, want)| (got - want).abs() < 1e-6), "{y:?}");
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
    fn an_unknown_scaling_is_refused_by_name() {
        let parameters =
            RopeParameters { rope_type: Some("yarn".into()), ..RopeParameters::default() };
        assert!(RotaryEmbedding::new(4, 1e4, &parameters).unwrap_err().contains("`yarn`"));
    }
}
