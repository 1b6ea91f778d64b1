//! A training step: the gradient of the cross-entropy of one micro-batch, and AdamW's update.

use super::memory::peak_while;
use super::{Measurement, ROUNDS, Settings, policy};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use paretopo_models::{
    AdapterConfig, AutoFamily, AutoModel, ModelConfig, attach_adapter, freeze, in_precision,
};
use paretopo_training::{
    AdamW, GradientSum, MemoryConfig, MicroBatch, OptimizerConfig, TrainingSequence,
    accumulate_gradient,
};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Instant;

/// A step and what it needs.
struct Step<B: AutodiffBackend> {
    sequences: Vec<TrainingSequence>,
    memory: MemoryConfig,
    optimizer: AdamW<B>,
}

impl<B: AutodiffBackend> Measurement<B> {
    pub(super) fn train(
        &self,
        settings: &Settings,
        (sequences, time): (usize, usize),
        adapts: bool,
        is_lean: bool,
    ) -> Value {
        let mut model = Some(self.trained(settings, adapts));
        let memory = match is_lean {
            true => MemoryConfig { gradient_checkpointing: true, logits_chunk: 1024 },
            false => MemoryConfig::default(),
        };
        let whole = |row| TrainingSequence::whole(policy::ids(settings, row, time));
        let sequences: Vec<TrainingSequence> = (0..sequences).map(whole).collect();
        let tokens = (sequences.len() * time) as f64;
        let optimizer = AdamW::new(OptimizerConfig::default(), 10);
        let mut step = Step { sequences, memory, optimizer };
        let mut round = || {
            let started = Instant::now();
            model = model.take().map(|model| self.step(settings, model, &mut step));
            self.wait();
            started.elapsed().as_secs_f64()
        };
        round();
        let seconds = (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min);
        let peak = peak_while(&self.memory, || {
            round();
        });
        let parameters = settings.config.footprint().parameters;
        // forward 2, gradients of what is read 2, of the weights 2; nothing is counted twice
        let each = if adapts { 4.0 } else { 6.0 };
        json!({
            "parameters": parameters,
            "tokens_per_second": tokens / seconds,
            "seconds": seconds,
            "operations_per_second": each * parameters * tokens / seconds,
            "in_use": peak.map(|usage| usage.in_use),
            "reserved": peak.map(|usage| usage.reserved),
        })
    }

    /// All weights in f32; or frozen ones in the precision with an adapter on them.
    fn trained(&self, settings: &Settings, adapts: bool) -> AutoModel<B> {
        let model = policy::random(settings, &self.place);
        if !adapts {
            return model;
        }
        let frozen = in_precision(freeze(model), settings.precision);
        attach_adapter(frozen, &AdapterConfig::default(), 1, &self.place.device).unwrap()
    }

    fn step(&self, settings: &Settings, model: AutoModel<B>, step: &mut Step<B>) -> AutoModel<B> {
        let rows: Vec<&TrainingSequence> = step.sequences.iter().collect();
        let batch = MicroBatch::<B>::new(&rows, &self.place.device);
        let batch = batch.in_precision(settings.precision);
        let share = 1.0 / rows.len() as f32;
        let weights = batch.weights.clone();
        let loss = |logprobs: Tensor<B, 2>, _| {
            Ok::<_, Infallible>((logprobs * weights).sum().neg() * share)
        };
        let mut gradient = GradientSum::default();
        accumulate_gradient::<AutoFamily, _, _>(
            &model,
            &batch,
            step.memory,
            false,
            &mut gradient,
            loss,
        )
        .unwrap();
        let norm = gradient.norm();
        step.optimizer.update(model, gradient, norm)
    }
}
