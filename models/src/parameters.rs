//! Parameters by checkpoint key: listing, filling, random initialisation.
//!
//! A module's field path *is* its key in a Hugging Face checkpoint. Linear weights are stored `[d_input, d_output]` here and
//! `[d_output, d_input]` there, so they are transposed on the way in and out.

use crate::AutoModel;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// A parameter's values on the host, in the checkpoint's layout.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Key in the checkpoint.
    pub name: String,
    /// Shape in the checkpoint.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// The path of the parameter that is being visited; the variants of [`AutoModel`] are no part of it.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push(name.to_owned());
        }
    }

    fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    fn key(&self) -> String {
        self.0.join(".")
    }
}

/// Whether a parameter is the weight of a linear map, which the checkpoint holds transposed.
fn is_transposed(key: &str, rank: usize) -> bool {
    rank == 2 && !key.contains("embed_tokens")
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// All parameters in the order of the module's fields, read back from the device.
pub fn named_parameters<B: Backend>(model: &AutoModel<B>) -> Vec<NamedTensor> {
    struct Collect {
        path: Path,
        found: Vec<NamedTensor>,
    }
    impl<B: Backend> ModuleVisitor<B> for Collect {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let (name, mut shape) = (self.path.key(), param.val().dims().to_vec());
            let mut values = crate::to_host(param.val());
            if is_transposed(&name, D) {
                values = transpose(&values, shape[0], shape[1]);
                shape.reverse();
            }
            self.found.push(NamedTensor { name, shape, values });
        }
    }
    let mut collect = Collect { path: Path::default(), found: Vec::new() };
    model.visit(&mut collect);
    collect.found
}

/// Number of scalar parameters.
pub fn parameter_count<B: Backend>(model: &AutoModel<B>) -> usize {
    model.num_params()
}

/// Replaces every parameter by the tensor of its key.
///
/// # Errors
/// Names every missing, mis-shaped or left-over tensor; the model is then dropped.
pub fn fill_parameters<B: Backend>(model: AutoModel<B>, mut tensors: BTreeMap<String, NamedTensor>) -> Result<AutoModel<B>, String> {
    struct Fill<'a> {
        path: Path,
        tensors: &'a mut BTreeMap<String, NamedTensor>,
        problems: Vec<String>,
    }
    impl<B: Backend> ModuleMapper<B> for Fill<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let key = self.path.key();
            let shape = param.lazy_shape().dims::<D>();
            let mut expected = shape.to_vec();
            let transposed = is_transposed(&key, D);
            if transposed {
                expected.reverse();
            }
            let Some(tensor) = self.tensors.remove(&key) else {
                self.problems.push(format!("`{key}` is missing"));
                return param;
            };
            if tensor.shape != expected {
                self.problems.push(format!("`{key}` has the shape {:?}, but the configuration asks for {expected:?}", tensor.shape));
                return param;
            }
            let values = if transposed { transpose(&tensor.values, expected[0], expected[1]) } else { tensor.values };
            param.map(|old| crate::from_host(values, shape, &old.device()).require_grad())
        }
    }
    let mut fill = Fill { path: Path::default(), tensors: &mut tensors, problems: Vec::new() };
    let model = model.map(&mut fill);
    let mut problems = fill.problems;
    problems.extend(tensors.keys().map(|key| format!("`{key}` belongs to no parameter of this architecture")));
    if problems.is_empty() {
        return Ok(model);
    }
    let shown = 5;
    let more = if problems.len() > shown { format!(" (and {} more)", problems.len() - shown) } else { String::new() };
    problems.truncate(shown);
    Err(problems.join("; ") + &more)
}

/// Fills matrices with normal values of standard deviation `std`, as transformers does; norms stay 1 and biases 0.
///
/// The values come from `seed` and the order of the parameters alone, so every backend starts from the same weights.
pub fn initialize<B: Backend>(model: AutoModel<B>, std: f32, seed: u64) -> AutoModel<B> {
    struct Initialize {
        rng: ChaCha8Rng,
        std: f32,
    }
    impl<B: Backend> ModuleMapper<B> for Initialize {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if D < 2 {
                return param;
            }
            let shape = param.lazy_shape().dims::<D>();
            let values = (0..shape.iter().product()).map(|_| self.std * standard_normal(&mut self.rng)).collect();
            param.map(|old| crate::from_host(values, shape, &old.device()).require_grad())
        }
    }
    model.map(&mut Initialize { rng: ChaCha8Rng::seed_from_u64(seed), std })
}

/// Box and Muller's transform of two uniform numbers.
fn standard_normal(rng: &mut ChaCha8Rng) -> f32 {
    let uniform = rand::distr::Open01;
    let (u, v): (f32, f32) = (uniform.sample(rng), uniform.sample(rng));
    (-2.0 * u.ln()).sqrt() * (2.0 * std::f32::consts::PI * v).cos()
}
