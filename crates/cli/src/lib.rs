//! The command line, as a library: a program of your own registers its pieces and gets all of it.
//!
//! [`Program`] is where to begin; [`prelude`] has what a piece is written with. Environments, tools,
//! objectives, estimators and models are looked up by name, ours and yours alike.
//!
//! ```
//! use paretopo::prelude::*;
//!
//! /// 1 where no tool was called.
//! #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct InTheHead {}
//!
//! impl Objective for InTheHead {
//!     fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
//!         Some(if scoring.trajectory.calls.is_empty() { 1.0 } else { 0.0 })
//!     }
//! }
//!
//! // in `main`: program.run()
//! let program = Program::new().objective::<InTheHead>("in_the_head");
//! # drop(program);
//! ```

mod allocator;
mod arguments;
mod backends;
mod commands;
mod embedded;
mod models;
mod output;
mod policies;
pub mod prelude;
mod problem;
mod program;
mod programs;
mod progress;
mod ranks;
mod signals;
mod sparkline;
mod watch;

pub use program::Program;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;
