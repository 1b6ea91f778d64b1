//! The gradient of a loss over token log-probabilities, holding as little as the settings allow.
//!
//! The loss sees the model only through the log-probabilities `p` (and entropies) of the trained
//! tokens, and the model is a chain of stages `x[i + 1] = f[i](x[i]; w[i])` with `p` behind the
//! last. So the chain rule needs the graph of one stage at a time:
//!
//! `dL/dw[i] = (df[i]/dw[i])^T g[i + 1]`, `g[i] = (df[i]/dx[i])^T g[i + 1]`, beginning with
//! `g = dL/dp`.
//!
//! Each stage is run twice, first for its value, then with its graph; only the inputs `x[i]` are
//! held in between. The vocabulary projection is a stage that also falls apart by rows, so the
//! logits of a chunk of tokens are held at a time.

use crate::learning::batch::{picked_hidden, target_logprobs};
use crate::{GradientSum, MicroBatch, Stage, response_logprobs};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use paretopo_agent::Workers;
use paretopo_collective::tree::{TreeSum, part};
use paretopo_models::{CausalLm, ModelFamily, is_frozen};
use paretopo_settings::{whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a forward and backward pass holds in memory: less memory for more work, and the same
/// gradients up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Hold the activations of one layer at a time and compute those of the others again (gradient
    /// checkpointing; Chen et al., 2016).
    pub gradient_checkpointing: bool,
    /// Trained tokens whose logits are held at a time; 0 for all of a micro-batch.
    #[serde(deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub logits_chunk: usize,
}

type Inner<B> = <B as AutodiffBackend>::InnerBackend;
type Pair<T> = (T, Option<T>);

/// Adds the gradient of `loss(logprobs, entropy)` to `sum`. `loss` is called once, with the shapes
/// of [`response_logprobs`]; the entropy is given if `entropy` asks for it.
///
/// # Errors
/// Those of `loss`; nothing is added then.
pub fn accumulate_gradient<F: ModelFamily, B: AutodiffBackend, E>(
    model: &F::Model<B>,
    batch: &MicroBatch<B>,
    memory: MemoryConfig,
    entropy: bool,
    sum: &mut GradientSum<B>,
    loss: impl FnOnce(Tensor<B, 2>, Option<Tensor<B, 2>>) -> Result<Tensor<B, 1>, E>,
) -> Result<(), E> {
    if memory == MemoryConfig::default() {
        let model = fork(model);
        let (logprobs, entropy) = response_logprobs(&model, batch, entropy);
        let gradients = loss(logprobs, entropy)?.backward();
        sum.collect(&model, &gradients);
        return Ok(());
    }
    let fresh = fork(model);
    // not just without its graph: on the autodiff backend a graph is held until the next backward
    // pass, used or not
    let plain = F::valid(model);
    let trunk = if memory.gradient_checkpointing {
        Trunk::<B>::layers(&plain, batch)
    } else {
        Trunk::Whole(picked_hidden(&fresh, batch))
    };
    let picked = trunk.output();
    let rows = picked.dims()[0];
    let head = Head {
        model,
        batch,
        picked,
        entropy,
        chunk: if memory.logits_chunk == 0 { rows } else { memory.logits_chunk },
    };

    let (logprobs, entropy) = head.values(&plain);
    let leaf = |values| Tensor::<B, 1>::from_inner(values).require_grad();
    let (logprobs, entropy) = (leaf(logprobs), entropy.map(leaf));
    let in_rows = |leaf: &Tensor<B, 1>| batch.in_rows(leaf.clone());
    let gradients = loss(in_rows(&logprobs), entropy.as_ref().map(in_rows))?.backward();
    // a loss need not depend on the entropy
    let of =
        |leaf: Tensor<B, 1>| leaf.grad(&gradients).unwrap_or_else(|| leaf.inner().zeros_like());
    let gradient = head.backward((of(logprobs), entropy.map(of)), sum);
    trunk.backward(&fresh, batch, gradient, sum);
    Ok(())
}

/// The model with parameters of its own in the autodiff graph, but the same values in memory, for
/// one backward pass.
///
/// Graphs that share a parameter are one graph behind one lock, so workers need their own. And a
/// parameter leaves the graph in its first backward pass: what was computed from it later could be
/// taken for unused by the backward pass of another thread, which would lose its gradient (burn's
/// issue 5573).
fn fork<B: AutodiffBackend, M: Module<B>>(model: &M) -> M {
    struct Fork;
    impl<B: AutodiffBackend> ModuleMapper<B> for Fork {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|weight| {
                let trained = weight.is_require_grad();
                Tensor::from_inner(weight.inner()).set_require_grad(trained)
            })
        }
    }
    model.clone().map(&mut Fork)
}

/// The gradient of many micro-batches and what `work` returns for each. `work` adds the gradient of
/// one job to the sum it is given; the workers share the jobs, and sums are added in the order of
/// the jobs, whoever did them.
///
/// # Errors
/// The first error of `work`.
pub fn total_gradient<B: AutodiffBackend, M: CausalLm<B>, J: Send, T: Send, E: Send>(
    workers: &Workers,
    model: &M,
    jobs: Vec<J>,
    work: impl Fn(&M, J, &mut GradientSum<B>) -> Result<T, E> + Sync,
) -> Result<(GradientSum<B>, Vec<T>), E> {
    let sums = PartSums::new(jobs.len(), 1, 0..1);
    let (tree, found) = gradient_parts(workers, model, jobs, sums, work)?;
    Ok((tree.into_whole().unwrap_or_default(), found))
}

/// The same of the jobs of some parts of all, as sums of the parts.
///
/// # Errors
/// The first error of `work`.
pub(crate) fn gradient_parts<B: AutodiffBackend, M: CausalLm<B>, J: Send, T: Send, E: Send>(
    workers: &Workers,
    model: &M,
    jobs: Vec<J>,
    mut sums: PartSums<B>,
    work: impl Fn(&M, J, &mut GradientSum<B>) -> Result<T, E> + Sync,
) -> Result<(TreeSum<GradientSum<B>>, Vec<T>), E> {
    Stage::Gradient.begin();
    let mut found = Vec::with_capacity(jobs.len());
    let parts = workers.count().min(jobs.len());
    if parts <= 1 {
        for job in jobs {
            found.push(work(model, job, sums.next())?);
        }
        return Ok((sums.finish(), found));
    }
    let forks = (0..parts).map(|_| fork(model)).collect();
    let failed = AtomicBool::new(false);
    let mut waiting = BTreeMap::new();
    let mut error = None;
    let one =
        |model: &mut M, (place, job): (usize, J), tell: &mut dyn FnMut((usize, Result<_, E>))| {
            if !failed.load(Ordering::Relaxed) {
                let mut sum = GradientSum::default();
                let result = work(model, job, &mut sum);
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                tell((place, result.map(|value| (sum, value))));
            }
        };
    workers.run(forks, jobs.into_iter().enumerate().collect(), one, &mut |(place, result)| {
        match result {
            Ok(done) => {
                waiting.insert(place, done);
                while let Some((sum, value)) = waiting.remove(&found.len()) {
                    sums.next().add(sum);
                    found.push(value);
                }
            }
            Err(reason) => error = Some(reason),
        }
    });
    match error {
        Some(reason) => Err(reason),
        None => Ok((sums.finish(), found)),
    }
}

/// Gradients on their way into the tree of their sums: those of a part are added one after the
/// other, and the parts are the tree's leaves.
#[derive(Debug)]
pub(crate) struct PartSums<B: AutodiffBackend> {
    /// Of all parts together.
    jobs: usize,
    parts: usize,
    own: Range<usize>,
    /// The part that is added up, and the job that comes next.
    current: usize,
    next: usize,
    sum: GradientSum<B>,
    tree: TreeSum<GradientSum<B>>,
}

impl<B: AutodiffBackend> PartSums<B> {
    /// Of the jobs that are dealt out to so many parts, those of the parts `own`.
    pub(crate) fn new(jobs: usize, parts: usize, own: Range<usize>) -> Self {
        let (current, next) = (own.start, part(jobs, own.start, parts).start);
        let tree = TreeSum::new(parts, own.start);
        Self { jobs, parts, own, current, next, sum: GradientSum::default(), tree }
    }

    /// What the next job's gradient is added to.
    fn next(&mut self) -> &mut GradientSum<B> {
        while self.next == part(self.jobs, self.current, self.parts).end {
            self.close();
        }
        self.next += 1;
        &mut self.sum
    }

    fn close(&mut self) {
        let sum = std::mem::take(&mut self.sum);
        self.tree.push(sum, GradientSum::added);
        self.current += 1;
    }

    fn finish(mut self) -> TreeSum<GradientSum<B>> {
        while self.current < self.own.end {
            self.close();
        }
        self.tree
    }
}

/// The gradients of everything in the graph of `outputs`, where `gradients` are those of the
/// outputs.
fn backward_through<B: AutodiffBackend, const D: usize>(
    outputs: Vec<Tensor<B, D>>,
    gradients: Vec<Tensor<Inner<B>, D>>,
) -> B::Gradients {
    let parts = outputs.into_iter().zip(gradients);
    let parts = parts.map(|(output, gradient)| (output * Tensor::from_inner(gradient)).sum());
    parts.reduce(|sum, part| sum + part).expect("a stage has an output").backward()
}

/// From token ids to the hidden states in front of the trained tokens, `[rows, hidden_size]`.
enum Trunk<B: AutodiffBackend> {
    /// The output with the graph of all layers.
    Whole(Tensor<B, 2>),
    /// The output and the inputs of every layer and of the final norm, `[tokens, hidden_size]`
    /// for each pass.
    Layers { inputs: Vec<Vec<Tensor<Inner<B>, 2>>>, output: Tensor<Inner<B>, 2> },
}

impl<B: AutodiffBackend> Trunk<B> {
    fn layers(model: &impl CausalLm<Inner<B>>, batch: &MicroBatch<B>) -> Self {
        let passes = batch.passes.inner();
        let mut layers = passes.layers(model);
        let mut inputs = vec![passes.embed(model)];
        for index in 0..model.depth() {
            inputs.push(layers.forward(model, index, inputs[index].clone()));
        }
        let output = batch.pick_inner(model, inputs[model.depth()].clone());
        Self::Layers { inputs, output }
    }

    fn output(&self) -> Tensor<Inner<B>, 2> {
        match self {
            Self::Whole(output) => output.clone().inner(),
            Self::Layers { output, .. } => output.clone(),
        }
    }

    fn backward(
        self,
        model: &impl CausalLm<B>,
        batch: &MicroBatch<B>,
        gradient: Tensor<Inner<B>, 2>,
        sum: &mut GradientSum<B>,
    ) {
        let mut inputs = match self {
            Self::Whole(output) => {
                return sum.collect(model, &backward_through(vec![output], vec![gradient]));
            }
            Self::Layers { inputs, .. } => inputs,
        };
        let mut layers = batch.passes.layers(model);
        let mut incoming = vec![gradient];
        while let Some(x) = inputs.pop() {
            let model = &fork(model);
            let leaf = |x| Tensor::<B, 2>::from_inner(x).require_grad();
            let x: Vec<Tensor<B, 2>> = x.into_iter().map(leaf).collect();
            let outputs = if inputs.len() == model.depth() {
                vec![batch.pick(model, x.clone())]
            } else {
                layers.forward(model, inputs.len(), x.clone())
            };
            let gradients = backward_through(outputs, incoming);
            sum.collect(model, &gradients);
            let of =
                |x: &Tensor<B, 2>| x.grad(&gradients).expect("every stage depends on its input");
            incoming = x.iter().map(of).collect();
        }
        if !is_frozen(model) {
            let model = &fork(model);
            sum.collect(model, &backward_through(batch.passes.embed(model), incoming));
        }
    }
}

/// From hidden states to log-probabilities and entropies, `chunk` rows at a time.
struct Head<'a, B: AutodiffBackend, M> {
    model: &'a M,
    batch: &'a MicroBatch<B>,
    /// `[rows, hidden_size]`
    picked: Tensor<Inner<B>, 2>,
    entropy: bool,
    chunk: usize,
}

impl<B: AutodiffBackend, M: CausalLm<B>> Head<'_, B, M> {
    fn chunks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<B, M> {
        let (rows, chunk) = (self.picked.dims()[0], self.chunk);
        (0..rows).step_by(chunk).map(move |start| start..(start + chunk).min(rows))
    }

    /// `[rows]` each.
    fn values(&self, plain: &impl CausalLm<Inner<B>>) -> Pair<Tensor<Inner<B>, 1>> {
        let (mut logprobs, mut entropies) = (Vec::new(), Vec::new());
        for rows in self.chunks() {
            let targets = self.batch.targets.clone().inner().slice([rows.clone()]);
            let (chunk, entropy) =
                target_logprobs(plain, self.picked.clone().slice([rows]), targets, self.entropy);
            logprobs.push(chunk);
            entropies.extend(entropy);
        }
        (Tensor::cat(logprobs, 0), self.entropy.then(|| Tensor::cat(entropies, 0)))
    }

    /// The gradient of the hidden states, `[rows, hidden_size]`, from those of the outputs,
    /// `[rows]`; the vocabulary's goes to `sum`.
    fn backward(
        &self,
        (logprobs, entropy): Pair<Tensor<Inner<B>, 1>>,
        sum: &mut GradientSum<B>,
    ) -> Tensor<Inner<B>, 2> {
        let mut found = Vec::new();
        for rows in self.chunks() {
            let model = &fork(self.model);
            let leaf = Tensor::<B, 2>::from_inner(self.picked.clone().slice([rows.clone()]))
                .require_grad();
            let targets = self.batch.targets.clone().slice([rows.clone()]);
            let (chunk, chunk_entropy) =
                target_logprobs(model, leaf.clone(), targets, self.entropy);
            let weighted = |output: Tensor<B, 1>, gradient: &Tensor<Inner<B>, 1>| {
                (output * Tensor::from_inner(gradient.clone().slice([rows.clone()]))).sum()
            };
            let mut total = weighted(chunk, &logprobs);
            if let (Some(chunk), Some(gradient)) = (chunk_entropy, &entropy) {
                total = total + weighted(chunk, gradient);
            }
            let gradients = total.backward();
            sum.collect(model, &gradients);
            found.push(leaf.grad(&gradients).expect("logits depend on the hidden states"));
        }
        Tensor::cat(found, 0)
    }
}
