//! Parameters by checkpoint key: listing, filling, random initialisation.
//!
//! A module's field path *is* its key in a Hugging Face checkpoint. Weights of linear maps are
//! stored `[d_input, d_output]` here and `[d_output, d_input]` there, so they are transposed on the
//! way in and out. All else lies there as it does here.

use crate::checkpoint::{CheckpointError, invalid};
use crate::{
    NamedTensor, NotFinite, SavedTensor, WeightFiles, first_bad_parameter, is_adapter_parameter,
};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor};
use half::f16;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;

/// The path of the parameter that is being visited; the variants of an enum of models
/// are no part of it. Beside each field stands whether it is one of a linear map.
#[derive(Default)]
pub(crate) struct Path(Vec<(String, bool)>);

/// The modules that hold the weights of linear maps, as burn calls them: ours, its adapter, and
/// burn's own.
const LINEAR_MAPS: [&str; 3] = ["Struct:Projection", "Struct:LowRank", "Struct:Linear"];

impl Path {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.push((name.to_owned(), LINEAR_MAPS.contains(&container)));
        }
    }

    pub(crate) fn exit(&mut self, container: &str) {
        if !container.starts_with("Enum:") {
            self.0.pop();
        }
    }

    pub(crate) fn key(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.join(".")
    }

    /// Whether a parameter of that rank is the weight of a linear map, which the checkpoint holds
    /// transposed.
    fn is_transposed(&self, rank: usize) -> bool {
        rank == 2 && self.0.last().is_some_and(|(_, of_linear_map)| *of_linear_map)
    }
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}

/// The parameters whose key `name` maps to a name in a file, to be read back from the device one by
/// one.
pub(crate) fn saved_parameters<B: Backend, M: Module<B>>(
    model: &M,
    name: impl Fn(&str) -> Option<String>,
) -> Vec<SavedTensor> {
    struct Collect<F> {
        path: Path,
        name: F,
        found: Vec<SavedTensor>,
    }
    impl<B: Backend, F: Fn(&str) -> Option<String>> ModuleVisitor<B> for Collect<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let key = self.path.key();
            let Some(name) = (self.name)(&key) else { return };
            let tensor = param.val();
            let mut shape = tensor.dims().to_vec();
            let transposed = self.path.is_transposed(D);
            let (rows, columns) = (shape[0], shape[D - 1]);
            if transposed {
                shape.reverse();
            }
            let values = Box::new(move || {
                let values = crate::to_host(tensor.clone());
                if transposed { transpose(&values, rows, columns) } else { values }
            });
            self.found.push(SavedTensor { name, shape, values });
        }
    }
    let mut collect = Collect { path: Path::default(), name, found: Vec::new() };
    model.visit(&mut collect);
    collect.found
}

/// All parameters in the order of the module's fields, read back from the device.
pub fn named_parameters<B: Backend, M: Module<B>>(model: &M) -> Vec<NamedTensor> {
    let read = |tensor: SavedTensor| NamedTensor {
        values: (tensor.values)(),
        name: tensor.name,
        shape: tensor.shape,
    };
    saved_parameters(model, |key| Some(key.to_owned())).into_iter().map(read).collect()
}

/// The keys of all parameters, in the order of the module's fields.
pub fn parameter_keys<B: Backend, M: Module<B>>(model: &M) -> Vec<String> {
    saved_parameters(model, |key| Some(key.to_owned()))
        .into_iter()
        .map(|tensor| tensor.name)
        .collect()
}

/// Whether nothing but an adapter is trained.
pub fn is_frozen<B: Backend, M: Module<B>>(model: &M) -> bool {
    struct Search {
        path: Path,
        frozen: bool,
    }
    impl<B: Backend> ModuleVisitor<B> for Search {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            self.path.exit(container);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if self.frozen && param.val().is_require_grad() {
                self.frozen = is_adapter_parameter(&self.path.key());
            }
        }
    }
    let mut search = Search { path: Path::default(), frozen: true };
    model.visit(&mut search);
    search.frozen
}

/// Number of scalar parameters.
pub fn parameter_count<B: Backend, M: Module<B>>(model: &M) -> usize {
    model.num_params()
}

/// Replaces the parameters whose key `name` maps to a name in the files by the tensors of these
/// names; matrices are held in `precision`. `folder` is where the files are, for messages.
///
/// # Errors
/// Names every missing, mis-shaped or left-over tensor, or the first that holds a value that is not
/// finite; the model is then dropped.
pub(crate) fn fill_parameters<B: Backend, M: Module<B>>(
    model: M,
    weights: &mut WeightFiles,
    precision: FloatDType,
    folder: &std::path::Path,
    name: impl Fn(&str) -> Option<String>,
) -> Result<M, CheckpointError> {
    let (missing, problems, not_finite) = (Vec::new(), Vec::new(), None);
    let path = Path::default();
    let mut fill = Fill { path, weights, precision, folder, name, missing, problems, not_finite };
    let model = model.map(&mut fill);
    let Fill { missing, mut problems, not_finite, .. } = fill;
    if let Some(error) = not_finite {
        return Err(error);
    }
    problems.extend(counted(&missing, "is missing", "are missing"));
    let left_over: Vec<String> = weights.names().cloned().collect();
    problems.extend(counted(
        &left_over,
        "belongs to no parameter of this architecture",
        "belong to no parameter of this architecture",
    ));
    if problems.is_empty() {
        return Ok(model);
    }
    let more = match problems.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    problems.truncate(SHOWN);
    Err(invalid(folder, problems.join("; ") + &more))
}

/// Tensors on their way into a model, and what is wrong with them.
struct Fill<'a, F> {
    path: Path,
    weights: &'a mut WeightFiles,
    precision: FloatDType,
    folder: &'a std::path::Path,
    name: F,
    missing: Vec<String>,
    problems: Vec<String>,
    not_finite: Option<CheckpointError>,
}

impl<F> Fill<'_, F> {
    /// The tensor of that name if it is what the model needs; else what is wrong is written down.
    fn take(&mut self, name: String, expected: &[usize]) -> Option<NamedTensor> {
        match self.weights.take(&name) {
            Some(Ok(tensor)) if tensor.shape == expected => {
                let Some(value) = first_bad_parameter(&tensor.values) else {
                    return Some(tensor);
                };
                let found = NotFinite { tensor: name, value };
                let path = self.folder.to_owned();
                self.not_finite.get_or_insert(CheckpointError::NotFinite { path, found });
            }
            Some(Ok(tensor)) => self.problems.push(format!(
                "`{name}` has the shape {:?}, but the configuration asks for {expected:?}",
                tensor.shape
            )),
            Some(Err(error @ CheckpointError::NotFinite { .. })) => {
                self.not_finite.get_or_insert(error);
            }
            Some(Err(error)) => self.problems.push(error.to_string()),
            None => self.missing.push(name),
        }
        None
    }
}

impl<B: Backend, F: Fn(&str) -> Option<String>> ModuleMapper<B> for Fill<'_, F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let key = self.path.key();
        let Some(name) = (self.name)(&key) else { return param };
        let shape = param.lazy_shape().dims::<D>();
        let mut expected = shape.to_vec();
        let transposed = self.path.is_transposed(D);
        if transposed {
            expected.reverse();
        }
        let Some(tensor) = self.take(name.clone(), &expected) else { return param };
        let precision = if D > 1 { self.precision } else { FloatDType::F32 };
        let overflows = |value: &&f32| !f16::from_f32(**value).is_finite();
        if precision == FloatDType::F16
            && let Some(value) = tensor.values.iter().find(overflows)
        {
            self.problems.push(format!(
                "`{name}` holds {value}, which f16 cannot hold\nhint: `precision=bf16` or `f32`"
            ));
            return param;
        }
        let values = if transposed {
            transpose(&tensor.values, expected[0], expected[1])
        } else {
            tensor.values
        };
        param.map(|old| {
            let new = crate::from_host(values, shape, &old.device());
            if precision == FloatDType::F32 {
                new.require_grad()
            } else {
                new.cast(precision).require_grad()
            }
        })
    }
}

/// How many problems, and how many tensors of one problem, are named.
const SHOWN: usize = 3;

/// What is wrong with some tensors: their number and the first few; `None` for no tensor.
fn counted(names: &[String], one: &str, many: &str) -> Option<String> {
    match names {
        [] => None,
        [name] => Some(format!("`{name}` {one}")),
        names => {
            let first = names[..names.len().min(SHOWN)].join("`, `");
            let such_as = if names.len() > SHOWN { "such as " } else { "" };
            Some(format!("{} tensors {many}, {such_as}`{first}`", names.len()))
        }
    }
}

/// The model with its matrices in another number type; vectors (norms and biases) stay in f32.
pub fn in_precision<B: Backend, M: Module<B>>(model: M, precision: FloatDType) -> M {
    struct Convert(FloatDType);
    impl<B: Backend> ModuleMapper<B> for Convert {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if D < 2 || param.val().dtype() == DType::from(self.0) {
                return param;
            }
            param.map(|tensor| tensor.cast(self.0))
        }
    }
    model.map(&mut Convert(precision))
}

/// Fills matrices with normal values of standard deviation `std`, as transformers does; norms stay
/// 1 and biases 0.
///
/// The values come from `seed` and the order of the parameters alone, so every backend starts from
/// the same weights.
pub fn initialize<B: Backend, M: Module<B>>(model: M, std: f32, seed: u64) -> M {
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
            let values = (0..shape.iter().product())
                .map(|_| self.std * standard_normal(&mut self.rng))
                .collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Projection;
    use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};

    type B = burn_flex::Flex;

    #[derive(Module, Debug)]
    struct Parts<B: Backend> {
        wte: Embedding<B>,
        proj: Projection<B>,
        embed_tokens: Linear<B>,
        table: Param<Tensor<B, 2>>,
    }

    #[test]
    fn linear_maps_are_transposed_whatever_their_names() {
        let device = Default::default();
        let values = |shape: [usize; 2]| {
            let values = (0..shape[0] * shape[1]).map(|value| value as f32).collect();
            Param::from_tensor(crate::from_host::<B, 2>(values, shape, &device))
        };
        let mut parts = Parts {
            wte: EmbeddingConfig::new(2, 3).init(&device),
            proj: Projection::new(2, 3, false, &device),
            embed_tokens: LinearConfig::new(2, 3).with_bias(false).init(&device),
            table: values([2, 3]),
        };
        parts.wte.weight = values([2, 3]);
        parts.proj.weight = values([2, 3]);
        parts.embed_tokens.weight = values([2, 3]);
        let named = named_parameters(&parts);
        let held = |name: &str| {
            let tensor = named.iter().find(|tensor| tensor.name == name).unwrap();
            (tensor.shape.as_slice(), tensor.values.as_slice())
        };
        // rows (0, 1, 2) and (3, 4, 5); transposed (0, 3), (1, 4) and (2, 5)
        let plain = (&[2, 3][..], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0][..]);
        let transposed = (&[3, 2][..], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0][..]);
        assert_eq!((held("wte.weight"), held("table")), (plain, plain));
        assert_eq!((held("proj.weight"), held("embed_tokens.weight")), (transposed, transposed));
    }
}
