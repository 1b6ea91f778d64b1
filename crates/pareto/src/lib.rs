//! Pareto dominance, non-dominated sorting, exact hypervolume and the archive. Every objective is
//! to be maximised.
//!
//! ```
//! use paretopo_pareto::{hypervolume, hypervolume_gain, non_dominated_ranks};
//!
//! let points = [[1.0, 0.2], [0.6, 0.5], [0.3, 0.9]];
//! let origin = [0.0, 0.0];
//! // from right to left, each point adds what it is higher than the one before:
//! // 1.0 * 0.2 + 0.6 * (0.5 - 0.2) + 0.3 * (0.9 - 0.5) = 0.2 + 0.18 + 0.12
//! assert!((hypervolume(&points, &origin) - 0.5).abs() < 1e-12);
//! // (0.6, 0.9) covers 0.6 * 0.9 = 0.54, of which 0.3 * 0.9 + 0.3 * 0.5 = 0.42 were covered before
//! assert!((hypervolume_gain(&[0.6, 0.9], &points, &origin) - 0.12).abs() < 1e-12);
//!
//! // the last point is dominated by the first alone
//! let more = [[1.0, 0.2], [0.6, 0.5], [0.3, 0.9], [0.9, 0.1]];
//! assert_eq!(non_dominated_ranks(&more), [1, 1, 1, 2]);
//! ```
//!
//! All of it is f64, for any number of objectives, and knows nothing of ours: both estimators and
//! reports compute with it.

mod archive;
mod dominance;
mod hypervolume;
mod order;
mod sorting;
mod staircase;

pub use archive::Archive;
pub use dominance::dominates;
pub use hypervolume::{hypervolume, hypervolume_gain, underflows};
pub use sorting::non_dominated_ranks;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// A point in objective space.
pub type Point = Vec<f64>;
