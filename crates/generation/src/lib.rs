//! Tokens in, drawn tokens out: how a token is drawn from logits, and the seam between the turn
//! loop and what generates.
//!
//! ```
//! use paretopo_generation::{Points, SamplingConfig, sample};
//! use paretopo_settings::Temperature;
//!
//! let logits = [2.0, 1.0, 0.0];
//! let greedy = SamplingConfig { temperature: Temperature::literal(0.0), ..Default::default() };
//! let drawn = sample(&logits, std::iter::empty(), &greedy, &mut Points::new(7, 0));
//! let drawn = drawn.expect("the logits are finite");
//! assert_eq!(drawn.id, 0);
//! // ln(e^2 / (e^2 + e^1 + e^0)) = ln(7.3891 / 11.1073)
//! assert!((drawn.logprob + 0.4076).abs() < 1e-4);
//!
//! // at temperature 1 the likeliest of three comes in 66.5 of 100 draws
//! let mut points = Points::new(7, 0);
//! let draw = |_| sample(&logits, std::iter::empty(), &SamplingConfig::default(), &mut points);
//! let first = (0..10_000).filter_map(draw).filter(|drawn| drawn.id == 0).count();
//! assert!((6_500..6_800).contains(&first), "{first}");
//! ```
//!
//! A [`Generator`] reads the ids of many rows and draws tokens for each. It may be a model in this
//! process (`engine`) or a server elsewhere; the turn loop does not know. Sampling happens where
//! the logits are, so that only what was drawn crosses the seam: ids, two log-probabilities, and on
//! request the entropy and the likeliest alternatives.
//!
//! Nothing here knows tensors. [`sample`] is the definition of a draw, on the host; what draws on a
//! device is held against it.

mod checkpoint_sampling;
mod forbidden;
mod generator;
mod point;
mod sampling;

pub use checkpoint_sampling::sampling_of;
pub use forbidden::{ForbiddenText, Written, forbidden_beginning};
pub use generator::{
    Drawn, Event, GenerationError, GenerationSettings, GenerationStatistics, Generator, Generators,
    Recorded, Row, RowKey,
};
pub use point::Points;
pub use sampling::{
    Sampled, SamplingConfig, entropy, likeliest, log_softmax, sample, sample_allowed,
};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
