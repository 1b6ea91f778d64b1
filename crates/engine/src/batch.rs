//! A batch of sequences that decode together, with continuous batching: rows join, leave and are
//! extended between steps.
//!
//! Each step feeds every row one token (or none, while it waits for a tool). A prompt that several
//! new rows share is read once. Long insertions (tool output) are read in one block instead of
//! token by token.

use crate::untaken_experts::UntakenExperts;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use paretopo_models::{
    CausalLm, DecodingState, ExpertChoice, ForwardInput, LayerState, RecordedExperts, select_rows,
};
use paretopo_trajectory::ReadExperts;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Prompt tokens, padding included, that are read in one forward pass; bounds memory.
const PREFILL_TOKENS: usize = 4096;
/// A shorter common beginning of all prompts is read with each of them.
const SHARED_FROM: usize = 32;

/// Ids that all prompts begin with, what is remembered of them, of one row, and their experts.
struct Beginning<B: Backend, S: LayerState<B>> {
    ids: Vec<u32>,
    state: DecodingState<B, S>,
    experts: Vec<u16>,
}

/// The engine. Rows are known by the key that they were admitted with.
///
/// ```
/// use burn_flex::Flex;
/// use paretopo_engine::Engine;
/// use paretopo_models::{AutoFamily, ModelFamily, Placement, initialize};
///
/// fn main() -> Result<(), String> {
///     let config = AutoFamily::parse(serde_json::json!({
///         "model_type": "qwen3", "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16,
///         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
///         "rms_norm_eps": 1e-6, "hidden_act": "silu",
///     }))?;
///     let place = Placement::<Flex>::plain(Default::default());
///     let model = initialize::<Flex, _>(AutoFamily::init(&config, &place)?, 0.3, 1);
///
///     // two rows, of which one reads its last token in a step while the other stands still
///     let mut engine = Engine::<Flex, _>::new(&model, &place.device);
///     engine.admit(&[(0, &[1, 2]), (1, &[5])]);
///     let stepped = engine.step(&[Some(3), None]).slice([0..1, 0..16]);
///     let whole = Engine::<Flex, _>::new(&model, &place.device).admit(&[(0, &[1, 2, 3])]);
///     let difference: f32 = (stepped - whole).abs().max().into_scalar();
///     assert!(difference < 1e-5, "{difference}");
///     Ok(())
/// }
/// ```
pub struct Engine<'a, B: Backend, M: CausalLm<B>> {
    pub(crate) model: &'a M,
    pub(crate) device: B::Device,
    state: DecodingState<B, M::State>,
    keys: Vec<usize>,
    /// What all prompts begin with, and its state of one row.
    shared: Option<Beginning<B, M::State>>,
    /// Where experts are recorded, those of each row that are not taken yet.
    experts: Option<UntakenExperts>,
    /// Tokens read by the model so far, padding not counted.
    pub tokens_read: u64,
    /// Seconds of reading prompts and blocks so far.
    pub prefill_seconds: f64,
    /// Seconds of [`Self::step`] so far.
    pub decode_seconds: f64,
}

impl<'a, B: Backend, M: CausalLm<B>> Engine<'a, B, M> {
    /// An engine without rows.
    pub fn new(model: &'a M, device: &B::Device) -> Self {
        Self {
            model,
            device: device.clone(),
            state: model.empty_state(0),
            keys: Vec::new(),
            shared: None,
            experts: None,
            tokens_read: 0,
            prefill_seconds: 0.0,
            decode_seconds: 0.0,
        }
    }

    /// The same, with a record of which experts read each id, if the model has some.
    pub fn recording_experts(mut self) -> Self {
        self.experts = self.model.experts().map(|counts| UntakenExperts::new(counts.per_token()));
        self
    }

    /// The experts of what a row has read since they were last taken; `None` where none are
    /// recorded.
    pub fn take_experts(&mut self, key: usize) -> Option<ReadExperts> {
        self.experts.as_mut()?.take(key)
    }

    /// The keys of the rows, in the order in which [`Self::step`] wants and returns values.
    pub fn keys(&self) -> &[usize] {
        &self.keys
    }

    /// Reads once what the prompts of all rows to come begin with (a system message, worked
    /// examples).
    pub fn share<'p>(&mut self, prompts: impl IntoIterator<Item = &'p [u32]>) {
        let mut prompts = prompts.into_iter();
        let Some(first) = prompts.next() else { return };
        // each prompt keeps a token of its own, behind which its logits are
        let mut length = first.len().saturating_sub(1);
        let mut different = false;
        for prompt in prompts {
            let common = first.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            different |= common < first.len() || prompt.len() != first.len();
            length = length.min(common).min(prompt.len().saturating_sub(1));
        }
        if different && length >= SHARED_FROM {
            let mut state = self.model.empty_state(1);
            let ids = first[..length].to_vec();
            let (_, mut experts) = self.read(&[&ids], &mut state);
            let experts = experts.pop().unwrap_or_default();
            self.shared = Some(Beginning { ids, state, experts });
        }
    }

    /// Reads the prompts of new rows and adds the rows. Returns each row's logits after its prompt,
    /// in the given order.
    ///
    /// # Shapes
    /// - output: `[new rows, vocab_size]`
    pub fn admit(&mut self, new: &[(usize, &[u32])]) -> Tensor<B, 2> {
        let started = Instant::now();
        let mut distinct: Vec<&[u32]> = Vec::new();
        let mut place: BTreeMap<&[u32], usize> = BTreeMap::new();
        for (_, prompt) in new {
            place.entry(prompt).or_insert_with(|| {
                distinct.push(prompt);
                distinct.len() - 1
            });
        }
        let mut state = self.model.empty_state(0);
        let (mut logits, mut experts) = (Vec::new(), Vec::new());
        let longest = distinct.iter().map(|prompt| prompt.len()).max().unwrap_or(1).max(1);
        let shared = self
            .shared
            .take()
            .filter(|shared| distinct.iter().all(|prompt| prompt.starts_with(&shared.ids)));
        for block in distinct.chunks((PREFILL_TOKENS / longest).max(1)) {
            let (skipped, mut block_state, first) = match &shared {
                Some(Beginning { ids, state, experts }) => {
                    (ids.len(), state.clone().select(&vec![0; block.len()]), experts.as_slice())
                }
                None => (0, self.model.empty_state(block.len()), [].as_slice()),
            };
            let rows: Vec<&[u32]> = block.iter().map(|prompt| &prompt[skipped..]).collect();
            let (read, chosen) = self.read(&rows, &mut block_state);
            logits.push(read);
            experts.extend(chosen.into_iter().map(|chosen| [first, &chosen].concat()));
            state = state.merge(block_state);
        }
        self.shared = shared;
        let rows: Vec<usize> = new.iter().map(|(_, prompt)| place[prompt]).collect();
        self.state = self.take_state().merge(state.select(&rows));
        self.keys.extend(new.iter().map(|(key, _)| *key));
        if let Some(held) = &mut self.experts {
            for ((key, _), row) in new.iter().zip(&rows) {
                held.begin(*key, experts[*row].clone());
            }
        }
        self.prefill_seconds += started.elapsed().as_secs_f64();
        let logits = if logits.len() == 1 { logits.remove(0) } else { Tensor::cat(logits, 0) };
        select_rows(logits, &rows)
    }

    /// Feeds each row at most one token. Returns the logits behind it, meaningless for rows that
    /// were fed none.
    ///
    /// # Shapes
    /// - `tokens`: one entry per row; output: `[rows, vocab_size]`
    pub fn step(&mut self, tokens: &[Option<u32>]) -> Tensor<B, 2> {
        let started = Instant::now();
        let rows: Vec<&[u32]> = tokens.iter().map(|token| token.as_slice()).collect();
        let mut state = self.take_state();
        let (logits, experts) = self.read(&rows, &mut state);
        self.state = state;
        if let Some(held) = &mut self.experts {
            self.keys.iter().zip(&experts).for_each(|(key, experts)| held.go_on(*key, experts));
        }
        self.decode_seconds += started.elapsed().as_secs_f64();
        logits
    }

    /// Feeds a block of tokens to some rows, while the others stay as they are. Returns the logits
    /// behind each block. The rows move to the end of [`Self::keys`].
    ///
    /// # Shapes
    /// - output: `[blocks, vocab_size]`
    pub fn extend(&mut self, blocks: &[(usize, &[u32])]) -> Tensor<B, 2> {
        let started = Instant::now();
        let row_of = |key: usize| {
            self.keys
                .iter()
                .position(|other| *other == key)
                .expect("only rows of this engine are extended")
        };
        let moved: Vec<usize> = blocks.iter().map(|(key, _)| row_of(*key)).collect();
        let staying: Vec<usize> = (0..self.keys.len()).filter(|row| !moved.contains(row)).collect();
        let whole = self.take_state();
        let mut extended = whole.clone().select(&moved).trim();
        let rows: Vec<&[u32]> = blocks.iter().map(|(_, ids)| *ids).collect();
        let (logits, experts) = self.read(&rows, &mut extended);
        if let Some(held) = &mut self.experts {
            blocks.iter().zip(&experts).for_each(|((key, _), experts)| held.go_on(*key, experts));
        }
        self.state = whole.select(&staying).merge(extended);
        self.keys = staying.iter().chain(&moved).map(|row| self.keys[*row]).collect();
        self.prefill_seconds += started.elapsed().as_secs_f64();
        logits
    }

    /// Removes the rows for which `finished` holds.
    pub fn retire(&mut self, finished: impl Fn(usize) -> bool) {
        let staying: Vec<usize> =
            (0..self.keys.len()).filter(|row| !finished(self.keys[*row])).collect();
        if staying.len() == self.keys.len() {
            return;
        }
        if let Some(experts) = &mut self.experts {
            experts.retire(&finished);
        }
        let state = self.take_state();
        if !staying.is_empty() {
            self.state = state.select(&staying).trim();
        }
        self.keys = staying.iter().map(|row| self.keys[*row]).collect();
    }

    /// The state, for changing it as a whole; an empty one is left in its place.
    fn take_state(&mut self) -> DecodingState<B, M::State> {
        std::mem::replace(&mut self.state, self.model.empty_state(0))
    }

    /// Number of columns that rows share, gaps included.
    pub fn columns(&self) -> usize {
        self.state.columns()
    }

    /// The logits behind each row's ids, `[rows, vocab_size]`, and the experts of these ids, a list
    /// a row, where they are recorded.
    fn read(
        &mut self,
        rows: &[&[u32]],
        state: &mut DecodingState<B, M::State>,
    ) -> (Tensor<B, 2>, Vec<Vec<u16>>) {
        self.tokens_read += rows.iter().map(|row| row.len() as u64).sum::<u64>();
        let mut input = ForwardInput::cached(rows, state, &self.device);
        let record = self.experts.is_some().then(Arc::<RecordedExperts>::default);
        if let Some(record) = &record {
            input.experts = ExpertChoice::Recorded(record.clone());
        }
        let time = input.tokens.dims()[1];
        let hidden = self.model.hidden(&input, Some(state));
        let logits = self.model.unembed(hidden.narrow(1, time - 1, 1)).squeeze_dim(1);
        let experts = record.map(|record| {
            let tokens = record.by_token(input.real.len());
            let rows = tokens.chunks(time).zip(input.real.chunks(time));
            let of_row = |(tokens, real): (&[Vec<u16>], &[bool])| {
                let read = tokens.iter().zip(real).filter(|(_, real)| **real);
                read.flat_map(|(experts, _)| experts.iter().copied()).collect()
            };
            rows.map(of_row).collect()
        });
        (logits, experts.unwrap_or_default())
    }
}
