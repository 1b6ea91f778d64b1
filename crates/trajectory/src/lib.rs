//! What an episode of an agent *is*: ids with the author who wrote them, calls, objective values;
//! and the line of JSON that it is in a file.
//!
//! ```
//! use paretopo_trajectory::{Author, Segment, Trajectory, TrajectoryId};
//!
//! fn main() -> Result<(), paretopo_trajectory::FormatError> {
//!     let sampled = Segment {
//!         ids: vec![7, 8],
//!         logprobs: vec![-0.5, -0.25],
//!         sampling_logprobs: vec![-0.5, -0.25],
//!         ..Segment::sampling(0)
//!     };
//!     let episode = Trajectory {
//!         segments: vec![Segment::given(Author::Prompt, vec![1, 2, 3]), sampled],
//!         ..Trajectory::empty(TrajectoryId::new("train", 41, 3), "sum-12", 3)
//!     };
//!
//!     let read = Trajectory::from_line(&episode.to_line())?;
//!     assert_eq!(read.id.as_str(), "train-41-3");
//!     assert_eq!(read.ids(), [1, 2, 3, 7, 8]);
//!     // only what the model wrote is learnt from
//!     assert_eq!(read.mask(), [false, false, false, true, true]);
//!     Ok(())
//! }
//! ```
//!
//! A [`Trajectory`] is a list of [`Segment`]s. Each segment holds token ids and the [`Author`] who
//! wrote them; ids that the policy sampled carry their log-probabilities. The ids that the model
//! saw are the concatenation of the segments, the loss mask is read off the authors, and no text is
//! ever turned into ids a second time. Everything else in the project either makes these records
//! (`agent`), scores them (`environments`), learns from them (`training`) or draws them (`report`).

mod experts;
mod first_format;
mod format;
#[cfg(test)]
mod format_tests;
mod identity;
mod numbers;
mod objectives;
mod reply;
mod segment;
mod stable;
mod task;
mod tool;
mod trajectory;
mod turns;

pub use experts::{ExpertRecord, ReadExperts};
pub use format::{FormatError, FormatVersion};
pub use identity::TrajectoryId;
pub use objectives::ObjectiveValues;
pub use reply::Reply;
pub use segment::{Alternative, Author, Segment, Span};
pub use stable::{stable_hash, well_mixed};
pub use task::{Message, Role, Split, Task};
pub use tool::{CallRecord, CallStatus, Fault, ToolCall, ToolOutcome, ToolSpec};
pub use trajectory::{FinishReason, Trajectory};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// A token's index in the tokenizer's vocabulary.
pub type TokenId = u32;
