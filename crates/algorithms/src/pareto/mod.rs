//! Pareto dominance, non-dominated sorting, exact hypervolume and the archive. Every objective is
//! to be maximised.

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
