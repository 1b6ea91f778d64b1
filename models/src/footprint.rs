//! The numbers of a model that say what memory it takes, before anything is loaded.
//!
//! All are whole, and kept as f64: a product of settings may be beyond 2^64.

/// What a model takes. Biases and norms, far below a thousandth of the parameters, may be left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Footprint {
    /// Scalar parameters.
    pub parameters: f64,
    /// Number of tokens.
    pub vocab_size: f64,
    /// Features of the vector that one layer hands to the next.
    pub hidden_size: f64,
    /// Scalars of the largest parameter.
    pub largest_parameter: f64,
    /// The layers, by kind.
    pub layers: Vec<LayerFootprint>,
}

/// What each layer of a kind takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerFootprint {
    /// How many layers of this kind there are.
    pub count: f64,
    /// Scalar parameters of the layer that a forward pass reads.
    pub parameters: f64,
    /// Numbers that are remembered of each token read, in the precision of the activations.
    pub state_per_token: f64,
    /// Numbers that are remembered of a sequence, whatever its length.
    pub state: f64,
    /// Numbers in f32 that the autodiff graph keeps of each token.
    pub kept_single: f64,
    /// Numbers in f32 that it keeps of each token for every token of its sequence.
    pub kept_per_pair: f64,
    /// Numbers that it keeps of each token in the precision of the activations.
    pub kept: f64,
}

/// A linear map that may get an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearMap {
    /// Its key in the checkpoint, `model.layers.0.self_attn.q_proj`.
    pub key: String,
    /// Features in.
    pub d_input: usize,
    /// Features out.
    pub d_output: usize,
}

impl Footprint {
    /// The sum of a number over all layers.
    pub fn over_layers(&self, number: impl Fn(&LayerFootprint) -> f64) -> f64 {
        self.layers.iter().map(|layer| layer.count * number(layer)).sum()
    }

    /// A number of the layer in which it is largest.
    pub fn largest_layer(&self, number: impl Fn(&LayerFootprint) -> f64) -> f64 {
        self.layers.iter().map(number).fold(0.0, f64::max)
    }

    /// Number of layers.
    pub fn depth(&self) -> f64 {
        self.over_layers(|_| 1.0)
    }
}
