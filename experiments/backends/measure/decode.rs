//! Reading prompts and drawing tokens, as a rollout does it.

use super::memory::peak_while;
use super::{Measurement, ROUNDS, Settings, bytes, policy};
use burn::tensor::backend::AutodiffBackend;
use paretopo_engine::{LocalGenerators, StateSize};
use paretopo_generation::{
    GenerationSettings, GenerationStatistics, Generators, Recorded, Row, SamplingConfig,
};
use paretopo_models::{AutoModel, CausalLm, ModelConfig, PackedWeights, in_precision};
use serde_json::{Value, json};
use std::time::Instant;

/// Rows, ids of a prompt, and tokens that each row draws.
type Size = (usize, usize, usize);

/// Seconds of reading all prompts, of all draws behind the first, and what the generator counted.
type Timed = (f64, f64, GenerationStatistics);

impl<B: AutodiffBackend> Measurement<B> {
    pub(super) fn decode(&self, settings: &Settings, size: Size) -> Value {
        let (batch, prompt, new) = size;
        let model = policy::random(settings, &self.place.inner());
        let mut model = in_precision(model, settings.precision);
        model.pack(PackedWeights::F32);
        let round = || self.generate(settings, &model, size);
        round();
        let mut best = round();
        for _ in 1..ROUNDS {
            let again = round();
            best = if again.1 < best.1 { again } else { best };
        }
        let peak = peak_while(&self.memory, || {
            round();
        });
        let (prefill, seconds, statistics) = best;
        let footprint = settings.config.footprint();
        let each = bytes(settings.precision);
        let remembered = footprint.over_layers(|layer| layer.state_per_token) * each;
        let context = prompt as f64 + new as f64 / 2.0;
        // a step reads all weights once, and what is remembered of every row
        let step = footprint.parameters * each + batch as f64 * context * remembered;
        let steps = (new - 1) as f64;
        json!({
            "parameters": footprint.parameters,
            "prefill": (batch * prompt) as f64 / prefill,
            "tokens_per_second": batch as f64 * steps / seconds,
            "seconds": seconds,
            "bytes_per_second": step * steps / seconds,
            "to_host": statistics.bytes_to_host as f64 / (batch * new) as f64,
            "in_use": peak.map(|usage| usage.in_use),
            "reserved": peak.map(|usage| usage.reserved),
        })
    }

    fn generate(
        &self,
        settings: &Settings,
        model: &AutoModel<B::InnerBackend>,
        (batch, prompt, new): Size,
    ) -> Timed {
        let device = &self.place.device;
        let state_size = StateSize::default();
        let generators = LocalGenerators { model, device, place: self.sampling, state_size };
        let generation = GenerationSettings {
            sampling: SamplingConfig::default(),
            recorded: Recorded::default(),
            end_ids: Vec::new(),
            batch_size: batch,
            memory: None,
        };
        let mut generator = generators.open(&generation).unwrap();
        let row = |key: usize| {
            let ids = policy::ids(settings, key, prompt);
            Row { key, ids: ids.into(), seed: key as u64, drawn: 0, budget: new, forbidden: None }
        };
        let rows: Vec<Row> = (0..batch).map(row).collect();
        let started = Instant::now();
        assert_eq!(generator.admit(&rows).unwrap(), batch);
        // the first step waits for the prompts
        let mut drawn = generator.step().unwrap().len();
        let prefill = started.elapsed().as_secs_f64();
        let started = Instant::now();
        while drawn < batch * new {
            drawn += generator.step().unwrap().len();
        }
        (prefill, started.elapsed().as_secs_f64(), generator.statistics())
    }
}
