//! Pareto dominance, non-dominated sorting, exact hypervolume and the archive. Every objective is
//! to be maximised. All of it is f64, for any number of objectives, and knows nothing of ours: both
//! estimators and reports compute with it.

mod archive;
mod dominance;
mod hypervolume;
mod sorting;

pub use archive::Archive;
pub use dominance::dominates;
pub use hypervolume::{hypervolume, hypervolume_gain, underflows};
pub use sorting::non_dominated_ranks;

/// A point in objective space.
pub type Point = Vec<f64>;
