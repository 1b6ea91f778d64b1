//! What generates.
//!
//! The life of a row: it is admitted with the ids that it begins with, and from then on *draws*:
//! each [`Generator::step`] may bring tokens of it. [`Generator::pause`] stops it where the turn
//! loop has seen enough (a complete tool call); [`Generator::extend`] gives it ids that it did not
//! draw (a tool's output), behind which it draws again; [`Generator::release`] ends it.

use crate::{ForbiddenText, SamplingConfig};
use paretopo_settings::{whole, within};
use paretopo_trajectory::{ReadExperts, TokenId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A row's key: its place among the rows of a rollout.
pub type RowKey = usize;

/// What is recorded of each drawn token besides its two log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recorded {
    /// The entropy of the untempered distribution, in nats.
    pub entropy: bool,
    /// So many of the likeliest tokens with their untempered log-probabilities.
    #[serde(deserialize_with = "within::<0, 20, _, _>")]
    #[schemars(schema_with = "whole::<0, 20>")]
    pub alternatives: usize,
    /// Which experts read each id, of a policy that has mixtures of experts. What trains on the
    /// ids then reads them with the same experts (rollout routing replay; Ma et al., 2025, arXiv
    /// 2510.11370), and metrics tell how often it would have chosen others.
    pub experts: bool,
}

impl Default for Recorded {
    fn default() -> Self {
        Self { entropy: false, alternatives: 0, experts: true }
    }
}

/// What all rows of a generator have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationSettings {
    /// How tokens are drawn.
    pub sampling: SamplingConfig,
    /// What is recorded of each.
    pub recorded: Recorded,
    /// Ids behind which a row draws no more.
    pub end_ids: Vec<TokenId>,
    /// Rows that are held at the same time, at least 1.
    pub batch_size: usize,
    /// Bytes that rows may take for what layers remember of them; `None` for as many as they need.
    pub memory: Option<u64>,
}

/// A sequence to go on with.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is called in events.
    pub key: RowKey,
    /// What it begins with, at least one id: a prompt, or all of an episode that goes on elsewhere.
    pub ids: Arc<[TokenId]>,
    /// Seed of its points.
    pub seed: u64,
    /// Points of the seed that have been used up.
    pub drawn: usize,
    /// Tokens that it may still draw, at least 1.
    pub budget: usize,
    /// What the tokens that it draws must not spell, such as the beginning of a call. Where one
    /// would complete it, the token is drawn among the others.
    pub forbidden: Option<Arc<ForbiddenText>>,
}

/// A token that a row has drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The row.
    pub row: RowKey,
    /// The token.
    pub id: TokenId,
    /// Its log-probability under the untempered policy.
    pub logprob: f32,
    /// Its log-probability under the distribution it was drawn from; 0 when greedy.
    pub sampling_logprob: f32,
    /// See [`Recorded::entropy`].
    pub entropy: Option<f32>,
    /// See [`Recorded::alternatives`]; the likeliest first, of equals the one with the lower id.
    pub alternatives: Vec<(TokenId, f32)>,
    /// Which experts read the ids of the row that it has read since it last drew, and the place of
    /// the first of them; see [`Recorded::experts`].
    pub experts: Option<ReadExperts>,
}

/// What a step brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A token. Those of one row come in their order.
    Drawn(Drawn),
    /// A row that cannot go on for a reason that is its own; it is released already.
    Failed {
        /// The row.
        row: RowKey,
        /// Why.
        reason: String,
    },
}

/// Why a generator as a whole cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The policy's logits are not finite, or all equal since what it computes overflows.
    #[error("the policy's logits are {what} after {tokens} tokens of row {row}")]
    NotFinite {
        /// The row.
        row: RowKey,
        /// In words.
        what: &'static str,
        /// Ids of the row.
        tokens: usize,
        /// The first module whose output overflows, by its key in a checkpoint.
        place: Option<String>,
    },
    /// One row alone needs more memory than all may take.
    #[error(
        "a row of {tokens} tokens needs {needed} bytes for what layers remember, but all rows together may take {allowed}"
    )]
    NoRoom {
        /// Ids of the row.
        tokens: usize,
        /// What it needs.
        needed: u64,
        /// What there is.
        allowed: u64,
    },
    /// What generates is gone, and its rows with it; they can go on in another one.
    #[error("{0}")]
    Lost(String),
    /// What generates refuses, and would again.
    #[error("{0}")]
    Refused(String),
}

/// How much work was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GenerationStatistics {
    /// Tokens read: prompts (a shared one once), drawn ones, insertions.
    pub tokens_read: u64,
    /// Seconds of reading prompts and long insertions.
    pub prefill_seconds: f64,
    /// Seconds of decoding steps.
    pub decode_seconds: f64,
    /// Seconds of drawing tokens.
    pub sampling_seconds: f64,
    /// Bytes that came from the device that computes to the host.
    pub bytes_to_host: u64,
    /// Bytes that went from the host to that device.
    pub bytes_to_device: u64,
    /// Rows that gave up their memory to others and were read again.
    pub evicted_rows: u64,
    /// The most bytes that layers remembered at a time.
    pub most_memory: u64,
}

impl GenerationStatistics {
    /// Adds another generator's numbers.
    pub fn add(&mut self, other: &Self) {
        self.tokens_read += other.tokens_read;
        self.prefill_seconds += other.prefill_seconds;
        self.decode_seconds += other.decode_seconds;
        self.sampling_seconds += other.sampling_seconds;
        self.bytes_to_host += other.bytes_to_host;
        self.bytes_to_device += other.bytes_to_device;
        self.evicted_rows += other.evicted_rows;
        self.most_memory += other.most_memory;
    }
}

/// Draws tokens for many rows. What a row draws depends on its ids and its seed, not on the other
/// rows (on some backends but for the rounding of its numbers).
pub trait Generator {
    /// Hears of the rows to come, so that what all begin with need be read only once.
    fn expect(&mut self, _rows: &[Row]) {}

    /// Takes the first so many of the waiting rows for which there is room, and returns how many;
    /// at least one if it holds none. Called before every step, with an empty list when none waits.
    ///
    /// # Errors
    /// When the generator is lost.
    fn admit(&mut self, waiting: &[Row]) -> Result<usize, GenerationError>;

    /// Goes on by a step and returns what it has brought, in the order of rows or of time. Where
    /// rows draw elsewhere, it waits a few milliseconds for something to come; nothing comes from
    /// rows that are paused.
    ///
    /// # Errors
    /// When the policy computes no numbers, or the generator is lost.
    fn step(&mut self) -> Result<Vec<Event>, GenerationError>;

    /// The row draws no more and holds its first `length` ids: what it may have drawn behind them
    /// is forgotten. `length` is at least what it began with.
    fn pause(&mut self, row: RowKey, length: usize);

    /// Puts ids behind a paused row, which then draws again.
    fn extend(&mut self, row: RowKey, ids: &[TokenId]);

    /// The row is over.
    fn release(&mut self, row: RowKey);

    /// The work so far.
    fn statistics(&self) -> GenerationStatistics;
}

/// Opens generators: one for each worker of a rollout, on the worker's thread, and another one in
/// place of one that was lost.
pub trait Generators: Sync {
    /// A generator without rows.
    ///
    /// # Errors
    /// When none can be had.
    fn open(
        &self,
        settings: &GenerationSettings,
    ) -> Result<Box<dyn Generator + '_>, GenerationError>;
}
