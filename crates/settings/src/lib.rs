//! Numbers of a configuration, each with its range.
//!
//! A number that is read from a file or an argument is one of the types here, which cannot hold a
//! bad value: it is checked once, where it is read, and never again. Real numbers have a type for
//! each meaning ([`LearningRate`], [`Seconds`], ...). Whole numbers stay what they are in Rust, and
//! say their range beside the field: `#[serde(deserialize_with = "within::<1, 1000, _, _>")]`, see
//! [`within`], and once more for the JSON Schema, see [`whole`]. [`read_toml`] and [`read_table`]
//! read a configuration and name the key of a value that is refused. Left out: settings that depend
//! on each other, which whoever holds them all checks.

mod lists;
mod pieces;
mod range;
mod read;
mod real;
mod secret;
mod whole;

pub use lists::{Frequencies, TaskWeights, Weights};
pub use pieces::{Chosen, Piece, Registry, Settings};
pub use range::{OutOfRange, Range};
pub use read::{Moved, Refused, read_moved_toml, read_table, read_toml};
pub use real::{
    ClipHigh, ClipLow, Coefficient, DecayRate, Dropout, Epsilon, Finite, LearningRate,
    LogDeviation, LogRatio, NonNegative, Pause, Positive, RepetitionPenalty, Seconds, Share,
    Temperature, TokenCount, TopP, WeightDecay,
};
pub use secret::Secret;
pub use whole::{LARGEST_SEED, all_whole, all_within, some_whole, some_within, whole, within};
