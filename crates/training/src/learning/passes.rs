//! The forward passes of a micro-batch: over whole sequences, or one over prompts and others over
//! what follows them, which go on from what the layers remember of the prompts.
//!
//! With `s = layer(x_p)` what a layer remembers of the prompts, each further pass is
//! `layer(x_r; select(s, rows))`. Selecting is differentiable: the gradient of a prompt's state is
//! the sum over the rows that went on from it. So it holds for whatever a layer remembers, and a
//! prompt's part of a layer is computed and differentiated once for all its rows.

use super::TrainingSequence;
use super::arrangement::{Arrangement, prompt, read};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{FloatDType, Tensor};
use paretopo_models::{
    BY_ROUTER, CausalLm, DecodingState, ExpertChoice, ForwardInput, GivenExperts, LayerState,
    Visible,
};
use std::sync::Arc;

/// What is read in each pass.
#[derive(Debug)]
pub(crate) struct Passes<B: Backend> {
    inputs: Vec<ForwardInput<B>>,
    /// For each pass behind the first, which row of the first each of its rows goes on from; empty
    /// where rows are whole.
    origins: Vec<Vec<usize>>,
}

/// What the layers of a model need of all passes.
pub(crate) struct Layers<'a, B: Backend, M: CausalLm<B>> {
    layouts: Vec<M::Layout>,
    origins: &'a [Vec<usize>],
    /// The states of prompts of which nothing has been read; layers fill copies.
    empty: Option<DecodingState<B, M::State>>,
}

/// Where the hidden state of a sequence's id lies among those of all passes.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Ids that were read in the first pass.
    in_front: usize,
    /// The row of the first of them.
    first: usize,
    /// The row of the first one behind them.
    behind: usize,
}

/// The rows of the flattened hidden states of all passes, by sequence and position.
#[derive(Debug)]
pub(crate) struct Rows(Vec<Place>);

impl Rows {
    /// The row of a position that is read.
    pub(crate) fn of(&self, sequence: usize, position: usize) -> usize {
        let place = self.0[sequence];
        match position.checked_sub(place.in_front) {
            Some(position) => place.behind + position,
            None => place.first + position,
        }
    }
}

/// The experts of what a pass reads, which are known of ids of its sequences; each of its rows goes
/// on from a place of its sequence.
fn experts_of<'a>(
    real: &[bool],
    rows: impl ExactSizeIterator<Item = (&'a TrainingSequence, usize)> + Clone,
) -> ExpertChoice {
    let per_token = rows.clone().map(|(one, _)| one.experts.per_id).max().unwrap_or(0);
    if per_token == 0 {
        return ExpertChoice::Router;
    }
    let time = real.len() / rows.len();
    let mut experts = Vec::with_capacity(real.len() * per_token);
    for ((sequence, mut place), real) in rows.zip(real.chunks(time)) {
        for real in real {
            match sequence.experts.of(place).filter(|_| *real) {
                Some(known) => experts.extend_from_slice(known),
                None => experts.resize(experts.len() + per_token, BY_ROUTER),
            }
            place += usize::from(*real);
        }
    }
    ExpertChoice::Given(Arc::new(GivenExperts::new(per_token, experts)))
}

impl<B: Backend> Passes<B> {
    /// Pads and uploads the sequences.
    pub(crate) fn new(
        sequences: &[&TrainingSequence],
        arrangement: &Arrangement,
        device: &B::Device,
    ) -> (Self, Rows) {
        let mut places = vec![Place::default(); sequences.len()];
        let (mut inputs, mut origins) = (Vec::new(), Vec::new());
        let (mut tokens, mut columns) = (0, 0);
        if arrangement.is_shared() {
            let prompts: Vec<&[u32]> =
                arrangement.prompts.iter().map(|row| prompt(sequences[*row])).collect();
            let mut first = ForwardInput::left_padded(&prompts, device);
            let of_prompts = arrangement.prompts.iter().map(|row| (sequences[*row], 0));
            first.experts = experts_of(&first.real, of_prompts);
            columns = first.tokens.dims()[1];
            tokens = prompts.len() * columns;
            for (place, origin) in places.iter_mut().zip(&arrangement.origins) {
                place.in_front = prompts[*origin].len();
                place.first = (origin + 1) * columns - place.in_front;
            }
            inputs.push(first);
        }
        for pass in &arrangement.passes {
            // whole rows have nothing in front
            let pasts: Vec<usize> = pass.iter().map(|row| places[*row].in_front).collect();
            let rows = pass.iter().zip(&pasts);
            let ids: Vec<&[u32]> =
                rows.clone().map(|(row, past)| &read(sequences[*row])[*past..]).collect();
            let mut input = match arrangement.is_shared() {
                true => ForwardInput::behind(&ids, &pasts, columns, device),
                false => ForwardInput::right_padded(&ids, device),
            };
            let from = rows.map(|(row, past)| (sequences[*row], *past));
            input.experts = experts_of(&input.real, from);
            let [_, time] = input.tokens.dims();
            for (index, row) in pass.iter().enumerate() {
                places[*row].behind = tokens + index * time;
            }
            tokens += pass.len() * time;
            inputs.push(input);
            if arrangement.is_shared() {
                origins.push(pass.iter().map(|row| arrangement.origins[*row]).collect());
            }
        }
        (Self { inputs, origins }, Rows(places))
    }

    /// How many of [`Self::tokens`] are padding.
    pub(crate) fn padding(&self) -> usize {
        self.inputs.iter().flat_map(|input| &input.real).filter(|real| !**real).count()
    }

    /// Tokens that are read, padding included.
    pub(crate) fn tokens(&self) -> usize {
        self.inputs.iter().map(|input| input.real.len()).sum()
    }

    pub(crate) fn set_precision(&mut self, precision: FloatDType) {
        self.inputs.iter_mut().for_each(|input| input.precision = Some(precision));
    }

    pub(crate) fn set_router(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.experts = ExpertChoice::Router);
    }

    /// See [`super::MicroBatch::expert_differences`].
    pub(crate) fn expert_differences(&self) -> (u64, u64) {
        let of_pass = |input: &ForwardInput<B>| match &input.experts {
            ExpertChoice::Given(given) => given.differences(),
            _ => (0, 0),
        };
        let passes = self.inputs.iter().map(of_pass);
        passes.fold((0, 0), |sum, pass| (sum.0 + pass.0, sum.1 + pass.1))
    }

    /// Each pass draws what adapters drop for itself: that of a prompt is drawn once for all its
    /// rows.
    pub(crate) fn set_dropout(&mut self, seed: impl Fn(u64) -> u64) {
        for (pass, input) in self.inputs.iter_mut().enumerate() {
            input.dropout = Some(seed(pass as u64));
        }
    }

    /// The embedded tokens of each pass, `[tokens, hidden_size]`.
    pub(crate) fn embed(&self, model: &impl CausalLm<B>) -> Vec<Tensor<B, 2>> {
        let [input] = self.inputs.as_slice() else { return self.embed_together(model) };
        vec![model.embed(input)]
    }

    /// As one row, so that there is one gradient of the size of the embedding.
    fn embed_together(&self, model: &impl CausalLm<B>) -> Vec<Tensor<B, 2>> {
        let counts: Vec<usize> = self.inputs.iter().map(|input| input.real.len()).collect();
        let tokens = self.inputs.iter().zip(&counts);
        let tokens = tokens.map(|(input, count)| input.tokens.clone().reshape([1, *count]));
        let all = ForwardInput {
            tokens: Tensor::cat(tokens.collect(), 1),
            positions: self.inputs.iter().flat_map(|input| input.positions.clone()).collect(),
            real: self.inputs.iter().flat_map(|input| input.real.clone()).collect(),
            // each token is looked at alone
            visible: Visible::Causal { past: 0, real: Vec::new() },
            precision: self.inputs[0].precision,
            dropout: self.inputs[0].dropout,
            experts: ExpertChoice::Router,
        };
        let x = model.embed(&all);
        let mut start = 0;
        let pass = |count: usize| {
            start += count;
            x.clone().narrow(0, start - count, count)
        };
        counts.into_iter().map(pass).collect()
    }

    /// Prepares a model's layers.
    pub(crate) fn layers<'a, M: CausalLm<B>>(&'a self, model: &M) -> Layers<'a, B, M> {
        let [prompts, _] = self.inputs[0].tokens.dims();
        Layers {
            layouts: self.inputs.iter().map(|input| model.layout(input)).collect(),
            origins: &self.origins,
            empty: (!self.origins.is_empty()).then(|| model.empty_state(prompts)),
        }
    }
}

impl<B: AutodiffBackend> Passes<B> {
    /// The same for a model without autodiff.
    pub(crate) fn inner(&self) -> Passes<B::InnerBackend> {
        Passes {
            inputs: self.inputs.iter().map(ForwardInput::inner).collect(),
            origins: self.origins.clone(),
        }
    }
}

impl<B: Backend, M: CausalLm<B>> Layers<'_, B, M> {
    /// One layer of all passes.
    ///
    /// # Shapes
    /// - `x`, output: `[tokens, hidden_size]` for each pass
    pub(crate) fn forward(
        &mut self,
        model: &M,
        index: usize,
        x: Vec<Tensor<B, 2>>,
    ) -> Vec<Tensor<B, 2>> {
        let mut passes = x.into_iter().zip(&self.layouts);
        let Some(empty) = &mut self.empty else {
            return passes.map(|(x, layout)| model.layer(index, x, layout, None)).collect();
        };
        let mut state = empty.layer_mut(index).clone();
        let (x, layout) = passes.next().expect("there is a pass over the prompts");
        let mut found = vec![model.layer(index, x, layout, Some(&mut state))];
        for ((x, layout), origins) in passes.zip(self.origins) {
            let mut state = state.clone().select(origins);
            found.push(model.layer(index, x, layout, Some(&mut state)));
        }
        found
    }
}
