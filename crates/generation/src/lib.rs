//! Tokens in, drawn tokens out: the seam between the turn loop and what generates.
//!
//! A [`Generator`] reads the ids of many rows and draws tokens for each. It may be a model in this
//! process (`engine`) or a server elsewhere; the turn loop does not know. Sampling happens where the
//! logits are, so that only what was drawn crosses the seam: ids, two log-probabilities, and on
//! request the entropy and the likeliest alternatives.
//!
//! Nothing here knows tensors. [`sample`] is the definition of a draw, on the host; what draws on a
//! device is held against it.

mod checkpoint_sampling;
mod generator;
mod point;
mod sampling;

pub use checkpoint_sampling::sampling_of;
pub use generator::{
    Drawn, Event, GenerationError, GenerationSettings, GenerationStatistics, Generator, Generators,
    Recorded, Row, RowKey,
};
pub use point::Points;
pub use sampling::{Sampled, SamplingConfig, entropy, likeliest, log_softmax, sample};
