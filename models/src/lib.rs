//! Decoder language models, exact against Hugging Face transformers, and their checkpoints.
//!
//! One file per architecture ([`llama`], [`qwen2`], [`qwen3`], [`mistral`], [`gemma3`] and others):
//! its configuration with the field names of `config.json`, and the layer with the field names of
//! the checkpoint's keys. What they share lies in [`layers`]. [`AutoFamily`] picks one by
//! `model_type`; adding an architecture is a file, a line in `auto.rs`, and a parity fixture. A
//! crate of your own can bring a [`ModelFamily`] with models of its own: everything else is generic
//! over it. [`OneOf`] joins it with the shipped ones; `examples/architecture` is such a crate.
//!
//! ```
//! use burn_flex::Flex;
//! use paretopo_models::{AutoFamily, CausalLm, ForwardInput, ModelFamily, Placement, initialize};
//!
//! // a `config.json`; `load_folder::<AutoFamily, Flex>` reads one and the weights beside it
//! let config = AutoFamily::parse(serde_json::json!({
//!     "model_type": "qwen3", "vocab_size": 50, "hidden_size": 16, "intermediate_size": 24,
//!     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
//!     "max_position_embeddings": 64
//! }))?;
//! let place = Placement::<Flex>::plain(Default::default());
//! let model = initialize(AutoFamily::init(&config, &place)?, 0.02, 7);
//!
//! // two sequences; the shorter is padded behind
//! let input = ForwardInput::right_padded(&[&[7, 8, 9], &[5]], &place.device);
//! let hidden = model.hidden(&input, None);
//! assert_eq!(hidden.dims(), [2, 3, 16]);
//! assert_eq!(model.unembed(hidden).dims(), [2, 3, 50]);
//!
//! // a token more for each, behind what a state remembers
//! let mut state = model.empty_state(2);
//! for rows in [[&[7, 8, 9][..], &[5]], [&[4], &[6]]] {
//!     let input = ForwardInput::cached(&rows, &mut state, &place.device);
//!     model.hidden(&input, Some(&mut state));
//! }
//! assert_eq!((state.length(0), state.length(1)), (4, 2));
//! # Ok::<(), String>(())
//! ```
//!
//! Nothing here knows reinforcement learning. A model maps tokens to hidden states and hidden
//! states to logits; the two steps are apart so that log-probabilities can be computed for some
//! positions only.

mod adapter;
mod auto;
mod checkpoint;
mod experts;
mod family;
mod finite;
mod footprint;
mod fused;
pub mod gemma3;
mod input;
mod key_value_cache;
pub mod layers;
pub mod llama;
pub mod ministral3;
pub mod mistral;
pub mod olmo3;
mod one_of;
mod packed;
mod parameters;
mod peft_config;
pub mod qwen2;
pub mod qwen3;
pub mod qwen3_5;
pub mod qwen3_moe;
pub mod smollm3;
mod soup;
mod stacked_experts;
mod state;
mod unsupported;
mod upload;
mod weights;

pub use adapter::{
    AdapterConfig, attach_adapter, freeze, is_adapter_parameter, load_adapter, merge_adapter,
    save_adapter, without_adapter,
};
pub use auto::{AutoConfig, AutoFamily, AutoModel};
pub use checkpoint::{CheckpointError, load_folder, load_folder_as, read_config, save_folder};
pub use experts::{BY_ROUTER, ExpertChoice, ExpertCounts, GivenExperts, RecordedExperts};
pub use family::{ModelConfig, ModelFamily, Placement};
pub use finite::{
    NotFinite, find_not_finite, first_bad_parameter, first_not_finite, first_overflow,
    flat_parameters,
};
pub use footprint::{Footprint, LayerFootprint, LinearMap};
pub use fused::{AdamWState, AdamWStep, FusedOps, Kernels, adamw};
pub use input::{ForwardInput, Visible};
pub use key_value_cache::{AttentionHeads, KeyValueCache};
pub use one_of::{Either, OneOf, OneOfConfig};
pub use packed::{Packed, PackedMatrix, PackedWeights};
pub use parameters::{
    in_precision, initialize, is_frozen, named_parameters, parameter_count, parameter_keys,
};
pub use soup::soup;
pub use state::{DecodingState, LayerState, select_rows, tensor_bytes};
pub use upload::{bytes_sent, from_host, upload};
pub use weights::{NamedTensor, SavedTensor, WeightFiles, load_tensors, write_tensors};

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use layers::Projection;

/// A decoder-only language model, in stages, so that training can hold the activations of one layer
/// at a time.
///
/// - The path of a field is the parameter's key in a checkpoint; see [`layers`].
/// - Hidden states have the precision that the input asks for; norms and softmax are computed in
///   f32, logits are f32. [`layers::embed`] and [`layers::unembed`] see to the ends.
/// - Every [`Projection`] is given `input.dropout`, which its adapter needs in training.
/// - Nothing is drawn and nothing is kept between calls but the state: the same input has the same
///   output, since a stage may be computed a second time for its gradient.
///
/// # Shapes
/// - `input.tokens`: `[batch, time]`; `tokens = batch * time`, row by row
pub trait CausalLm<B: Backend>: Module<B> + Sync + 'static {
    /// What a layer remembers while decoding.
    type State: LayerState<B>;

    /// What all layers of a forward pass share, such as [`layers::HeadLayout`].
    type Layout: Clone;

    /// The kernels of the [`Placement`] that the model was made in. Training takes those of the
    /// loss from here; layers that have none of theirs compute their formulas.
    fn kernels(&self) -> &Kernels;

    /// What is remembered of `rows` sequences of which nothing has been read: a state for each
    /// layer.
    fn empty_state(&self, rows: usize) -> DecodingState<B, Self::State>;

    /// What all layers of a forward pass share; made once for each.
    fn layout(&self, input: &ForwardInput<B>) -> Self::Layout;

    /// The embedded tokens, `[tokens, hidden_size]`, in the precision of the input.
    fn embed(&self, input: &ForwardInput<B>) -> Tensor<B, 2>;

    /// Number of layers.
    fn depth(&self) -> usize;

    /// One layer with its residuals, `[tokens, hidden_size]` in and out. `state` is what it
    /// remembers of the tokens before these, and is to remember; without one a sequence begins.
    ///
    /// A layer that remembers columns adds one for each of `time`, padding included; what may be
    /// looked at is in `input.visible`. Another leaves its state as it is where `input.real` is
    /// false.
    fn layer(
        &self,
        index: usize,
        x: Tensor<B, 2>,
        layout: &Self::Layout,
        state: Option<&mut Self::State>,
    ) -> Tensor<B, 2>;

    /// The norm behind the last layer, `[tokens, hidden_size]` in and out.
    fn final_norm(&self, x: Tensor<B, 2>) -> Tensor<B, 2>;

    /// The linear maps of all layers, to which adapters may be attached, with their keys
    /// (`model.layers.0.self_attn.q_proj`): the paths of these fields, layer by layer, as
    /// [`ModelConfig::linear_maps`] lists them.
    fn projections_mut(&mut self) -> Vec<(String, &mut Projection<B>)>;

    /// Its mixtures of experts. Their layers let [`ForwardInput::experts`] settle each choice.
    fn experts(&self) -> Option<ExpertCounts> {
        None
    }

    /// Makes the model ready for generating: keeps matrices a second time as the backend's products
    /// of few rows read them, if it has such ([`crate::Packed`]). A model with matrices outside of
    /// its projections packs those, too. Whatever changes the model undoes it.
    fn pack(&mut self, weights: PackedWeights) {
        packed::pack_projections(self, weights);
    }

    /// Bytes of what [`Self::pack`] holds.
    fn packed_bytes(&mut self) -> usize {
        packed::projection_bytes(self)
    }

    /// The last layer's normalised hidden states, `[batch, time, hidden_size]`.
    fn hidden(
        &self,
        input: &ForwardInput<B>,
        mut state: Option<&mut DecodingState<B, Self::State>>,
    ) -> Tensor<B, 3> {
        let [batch, time] = input.tokens.dims();
        let layout = self.layout(input);
        let x = (0..self.depth()).fold(self.embed(input), |x, index| {
            let state = state.as_deref_mut().map(|state| state.layer_mut(index));
            self.layer(index, x, &layout, state)
        });
        let x = self.final_norm(x);
        let [_, hidden_size] = x.dims();
        x.reshape([batch, time, hidden_size])
    }

    /// Logits from hidden states.
    ///
    /// # Shapes
    /// - `hidden`: `[.., .., hidden_size]`
    /// - output: `[.., .., vocab_size]`, in f32
    fn unembed(&self, hidden: Tensor<B, 3>) -> Tensor<B, 3>;
}

/// A tensor's values as f32 on the host, in row-major order; waits for the device.
pub fn to_host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().expect("just converted to f32")
}
