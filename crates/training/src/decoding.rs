//! A policy's weights made ready for rollouts and evaluations, and the threads that decode with them.

use crate::generating::Source;
use crate::{ConfigError, RunConfig, Surroundings, TrainingError};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType};
use paretopo_agent::{RolloutPrecision, Weights, Workers};
use paretopo_models::{CausalLm, PackedWeights, in_precision};

/// The weights that are packed for rollouts, where any are.
pub(crate) fn packed_weights(config: &RunConfig) -> PackedWeights {
    match config.rollout.precision {
        RolloutPrecision::Same => PackedWeights::F32,
        RolloutPrecision::Bf16 => PackedWeights::Bf16,
    }
}

/// `model` in the precision that rollouts have, its matrices packed where the backend can. What is
/// packed goes with the value that is returned: it is of this version of the policy alone. Where
/// servers draw, nothing is: it only tells what they are to compute.
///
/// # Errors
/// When the backend does not compute in the precision.
pub(crate) fn for_rollouts<B: Backend, M: CausalLm<B>>(
    model: M,
    config: &RunConfig,
    device: &B::Device,
    source: &Source,
) -> Result<M, TrainingError> {
    let mut model = in_precision(model, config.precision.into());
    if source.is_remote() {
        return Ok(model);
    }
    let weights = packed_weights(config);
    model.pack(weights);
    if weights == PackedWeights::F32 || model.packed_bytes() > 0 {
        return Ok(model);
    }
    if !B::supports_dtype(device, DType::BF16) {
        let reason = "`rollout.precision`: this backend does not compute in bf16 on this device\n\
                      hint: `rollout.precision=same`";
        return Err(ConfigError::Setting(reason.into()).into());
    }
    Ok(in_precision(model, FloatDType::BF16))
}

impl Surroundings<'_> {
    /// The workers that play so many episodes with `model`, which [`for_rollouts`] has made ready.
    pub(crate) fn rollout_workers<B: Backend, M: CausalLm<B>>(
        &self,
        config: &RunConfig,
        model: &mut M,
        episodes: usize,
    ) -> Result<Workers, TrainingError> {
        let bytes = model.packed_bytes() as u64;
        if bytes == 0 {
            return self.workers(config, model);
        }
        let each = packed_weights(config).bytes();
        let rows = episodes.min(config.rollout.batch_size);
        Workers::of_rollouts(config.workers, self.threads, rows, Weights { bytes, each })
            .map_err(|reason| ConfigError::Setting(format!("`workers`: {reason}")).into())
    }
}
