//! Qwen3 with mixtures of experts (Qwen team, 2025, arXiv 2505.09388) as in transformers'
//! `modeling_qwen3_moe.py`: Qwen3 whose feed-forward block is one of many small ones, of which a
//! router picks a few for each token. `mlp_only_layers` and `decoder_sparse_step` leave some layers
//! with the usual block.
//!
//! The router's choice is made on the host, from its probabilities: each expert then reads the
//! tokens that chose it and no others. It can be recorded, and given back where the same tokens are
//! trained on ([`crate::ExpertChoice`]). Left out: the loss that balances experts
//! (`router_aux_loss_coef`), which acts in pre-training alone.

use crate::auto::Settings;
use crate::layers::{
    Architecture, Attention, AttentionKind, AttentionState, DecoderConfig, DecoderShape,
    Differences, FeedForward, HeadLayout, LayerKind, NamedMap, Projection, RmsNorm, attention_maps,
    in_f32, matching, mlp_maps,
};
use crate::{ExpertChoice, Footprint, LayerFootprint, LinearMap, upload};
use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{IndexingUpdateOp, Tensor};
use serde::{Deserialize, Serialize};

pub(crate) const SETTINGS: Settings = Settings {
    computed: &["num_experts", "num_local_experts"],
    defaults: &[("num_key_value_heads", "4")],
};

/// A `config.json` of this architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Qwen3MoeConfig {
    /// What it shares with others; `intermediate_size` is that of layers without experts.
    #[serde(flatten)]
    pub decoder: DecoderConfig,
    /// Whether the attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// Experts of a layer; transformers 5 also calls them `num_local_experts`.
    #[serde(default = "default_num_experts", alias = "num_local_experts")]
    pub num_experts: usize,
    /// How many of them each token is read by.
    #[serde(default = "default_num_experts_per_tok")]
    pub num_experts_per_tok: usize,
    /// Width inside an expert.
    #[serde(default = "default_moe_intermediate_size")]
    pub moe_intermediate_size: usize,
    /// Whether the weights of a token's experts are scaled to a sum of 1.
    #[serde(default)]
    pub norm_topk_prob: bool,
    /// The last of each so many layers has experts.
    #[serde(default = "default_decoder_sparse_step")]
    pub decoder_sparse_step: usize,
    /// Layers without experts, whatever `decoder_sparse_step` says.
    #[serde(default)]
    pub mlp_only_layers: Option<Vec<usize>>,
}

fn default_num_experts() -> usize {
    128
}

fn default_num_experts_per_tok() -> usize {
    8
}

fn default_moe_intermediate_size() -> usize {
    768
}

fn default_decoder_sparse_step() -> usize {
    1
}

/// The numbers of a layer's experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Experts.
    pub experts: usize,
    /// How many of them each token is read by.
    pub chosen: usize,
    /// Width inside an expert.
    pub intermediate_size: usize,
    /// Whether the weights of a token's experts are scaled to a sum of 1.
    pub normalised: bool,
    /// Layers with experts in front of it.
    pub in_front: usize,
}

impl Qwen3MoeConfig {
    fn is_sparse(&self, layer: usize) -> bool {
        let is_usual = self.mlp_only_layers.iter().flatten().any(|usual| *usual == layer);
        !is_usual && self.num_experts > 0 && (layer + 1).is_multiple_of(self.decoder_sparse_step)
    }

    /// The linear maps of a layer's experts, which take the place of the usual block's.
    fn expert_maps(&self, layer: usize) -> impl Iterator<Item = LinearMap> + '_ {
        let (hidden, inner) = (self.decoder.hidden_size, self.moe_intermediate_size);
        (0..self.num_experts).flat_map(move |expert| {
            let maps = [
                ("gate_proj", hidden, inner),
                ("up_proj", hidden, inner),
                ("down_proj", inner, hidden),
            ];
            maps.map(|(name, d_input, d_output)| LinearMap {
                key: format!("model.layers.{layer}.mlp.experts.{expert}.{name}"),
                d_input,
                d_output,
            })
        })
    }
}

impl Architecture for Qwen3MoeConfig {
    fn decoder(&self) -> &DecoderConfig {
        &self.decoder
    }

    fn differences(&self) -> Differences {
        Differences {
            query_key_value_bias: self.attention_bias,
            output_bias: self.attention_bias,
            query_key_norm: true,
            ..Differences::default()
        }
    }

    fn layer(&self, number: usize) -> LayerKind {
        if !self.is_sparse(number) {
            return LayerKind::PreNorm;
        }
        LayerKind::Qwen3Moe(Routing {
            experts: self.num_experts,
            chosen: self.num_experts_per_tok,
            intermediate_size: self.moe_intermediate_size,
            normalised: self.norm_topk_prob,
            in_front: (0..number).filter(|layer| self.is_sparse(*layer)).count(),
        })
    }

    fn check(&self) -> Result<(), String> {
        self.decoder.check_activation()?;
        for (name, count) in [
            ("moe_intermediate_size", self.moe_intermediate_size),
            ("num_experts_per_tok", self.num_experts_per_tok),
            ("decoder_sparse_step", self.decoder_sparse_step),
        ] {
            if !(1..=1 << 30).contains(&count) {
                return Err(format!("`{name}` must be a whole number from 1 to 2^30, not {count}"));
            }
        }
        if self.num_experts > 1 << 15 {
            return Err(format!("`num_experts` must be at most 32768, not {}", self.num_experts));
        }
        if self.num_experts > 0 && self.num_experts_per_tok > self.num_experts {
            return Err(format!(
                "`num_experts_per_tok` ({}) must not be above `num_experts` ({})",
                self.num_experts_per_tok, self.num_experts
            ));
        }
        Ok(())
    }

    /// Layers with experts keep, of a token, the router's probabilities (`4 E` in f32), and for each
    /// of its experts what that reads, gives and multiplies (`3 H + 3 I`).
    fn footprint(&self) -> Footprint {
        let mut footprint = self.decoder.footprint(self.differences());
        let count =
            (0..self.decoder.num_hidden_layers).filter(|layer| self.is_sparse(*layer)).count();
        let [hidden, usual_inner, inner, experts, chosen, count] = [
            self.decoder.hidden_size,
            self.decoder.intermediate_size,
            self.moe_intermediate_size,
            self.num_experts,
            self.num_experts_per_tok,
            count,
        ]
        .map(|number| number as f64);
        let usual = footprint.layers.remove(0);
        let sparse = LayerFootprint {
            count,
            parameters: usual.parameters - 3.0 * hidden * usual_inner
                + experts * (hidden + 3.0 * hidden * inner),
            kept_single: usual.kept_single + 4.0 * experts,
            kept: usual.kept - 3.0 * usual_inner + chosen * 3.0 * (hidden + inner),
            ..usual
        };
        let usual = LayerFootprint { count: usual.count - count, ..usual };
        footprint.parameters += count * (sparse.parameters - usual.parameters);
        footprint.layers = [sparse, usual].into_iter().filter(|layer| layer.count > 0.0).collect();
        footprint
    }

    fn linear_maps(&self) -> Box<dyn Iterator<Item = LinearMap> + '_> {
        Box::new((0..self.decoder.num_hidden_layers).flat_map(|layer| {
            let is_sparse = self.is_sparse(layer);
            let usual = self.decoder.linear_maps_of(layer).into_iter();
            let usual = usual.filter(move |map| !(is_sparse && map.key.contains(".mlp.")));
            let experts = is_sparse.then(|| self.expert_maps(layer));
            usual.chain(experts.into_iter().flatten())
        }))
    }
}

/// Attention and experts, each behind a norm and inside a residual.
#[derive(Module, Debug)]
pub struct Qwen3MoeLayer<B: Backend> {
    /// Before attention.
    pub input_layernorm: RmsNorm<B>,
    /// Attention.
    pub self_attn: Attention<B>,
    /// Before the experts.
    pub post_attention_layernorm: RmsNorm<B>,
    /// The experts.
    pub mlp: Experts<B>,
}

/// Feed-forward blocks, of which each token is read by a few.
#[derive(Module, Debug)]
pub struct Experts<B: Backend> {
    /// The router, `[hidden_size, experts]`; it gets no adapter, as in peft.
    pub gate: Projection<B>,
    /// The blocks.
    pub experts: Vec<FeedForward<B>>,
    chosen: usize,
    normalised: bool,
    in_front: usize,
}

impl<B: Backend> Experts<B> {
    fn new(shape: &DecoderShape, routing: Routing, device: &B::Device) -> Self {
        let expert = |_| shape.feed_forward(routing.intermediate_size, device);
        Self {
            gate: Projection::new(shape.hidden_size, routing.experts, false, device),
            experts: (0..routing.experts).map(expert).collect(),
            chosen: routing.chosen,
            normalised: routing.normalised,
            in_front: routing.in_front,
        }
    }

    /// `sum_e p_e expert_e(x)` over the `chosen` largest of `p = softmax(x G)`, or over those that
    /// `choice` gives; `p_e` are divided by their sum if the architecture says so.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        choice: &ExpertChoice,
        dropout: Option<u64>,
    ) -> Tensor<B, 2> {
        let device = x.device();
        let count = self.experts.len();
        let probabilities = softmax(in_f32(self.gate.forward(x.clone(), None)), 1);
        let by_router = choose(&crate::to_host(probabilities.clone().detach()), count, self.chosen);
        let chosen = choice.settle(self.in_front, by_router, self.chosen);
        let tokens = chosen.len() / self.chosen;
        let mut mask = vec![0.0; tokens * count];
        let mut tokens_of = vec![Vec::new(); count];
        for (token, experts) in chosen.chunks(self.chosen).enumerate() {
            for expert in experts.iter().map(|expert| usize::from(*expert)) {
                mask[token * count + expert] = 1.0;
                tokens_of[expert].push(token);
            }
        }
        let mask = crate::from_host(mask, [tokens, count], &device);
        let mut weights = probabilities * mask;
        if self.normalised {
            weights = weights.clone() / weights.sum_dim(1);
        }
        let is_tracked = B::ad_enabled(&device);
        let mut y = x.zeros_like();
        for (number, (expert, mut tokens)) in self.experts.iter().zip(tokens_of).enumerate() {
            if tokens.is_empty() {
                if !is_tracked {
                    continue;
                }
                // with a weight of 0, so that its parameters have a gradient, as PyTorch's have
                tokens.push(0);
            }
            let indices = upload::indices(tokens.into_iter(), &device);
            let read = expert.forward(x.clone().select(0, indices.clone()), dropout);
            let weight = weights.clone().narrow(1, number, 1).select(0, indices.clone());
            let read = read.clone() * matching(weight, &read);
            y = y.select_assign(0, indices, read, IndexingUpdateOp::Add);
        }
        y
    }
}

/// For each token the experts of its largest probabilities; of equal ones the first.
///
/// # Shapes
/// - `probabilities`: `[tokens, experts]`; output: `[tokens, chosen]`
fn choose(probabilities: &[f32], experts: usize, chosen: usize) -> Vec<u16> {
    let of_token = |row: &[f32]| {
        // a configuration has fewer than 2^16
        let mut order: Vec<u16> = (0..experts as u16).collect();
        order.sort_by(|a, b| row[usize::from(*b)].total_cmp(&row[usize::from(*a)]));
        order.truncate(chosen);
        order
    };
    probabilities.chunks(experts).flat_map(of_token).collect()
}

impl<B: Backend> Qwen3MoeLayer<B> {
    pub(crate) fn new(
        shape: &DecoderShape,
        attention: AttentionKind,
        routing: Routing,
        device: &B::Device,
    ) -> Self {
        Self {
            input_layernorm: shape.norm(shape.hidden_size, device),
            self_attn: Attention::of_kind(shape, attention, device),
            post_attention_layernorm: shape.norm(shape.hidden_size, device),
            mlp: Experts::new(shape, routing, device),
        }
    }

    /// `y = x + attention(norm(x))`, `y + experts(norm(y))`.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 2>,
        layout: &HeadLayout<B>,
        state: Option<&mut AttentionState<B>>,
    ) -> Tensor<B, 2> {
        let y = self.input_layernorm.forward(x.clone());
        let x = x + self.self_attn.forward(y, layout, state);
        let y = self.post_attention_layernorm.forward(x.clone());
        x + self.mlp.forward(y, &layout.experts, layout.dropout)
    }

    /// Experts, and how many of them read a token.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.mlp.experts.len(), self.mlp.chosen)
    }

    pub(crate) fn maps(&mut self) -> Vec<NamedMap<'_, B>> {
        let experts = self.mlp.experts.iter_mut().enumerate();
        let experts =
            experts.flat_map(|(number, expert)| mlp_maps(&format!("mlp.experts.{number}"), expert));
        attention_maps(&mut self.self_attn).into_iter().chain(experts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_probabilities_choose() {
        let probabilities = [0.1, 0.2, 0.4, 0.3, 0.25, 0.25, 0.25, 0.25];
        assert_eq!(choose(&probabilities, 4, 2), [2, 3, 0, 1]);
    }
}
