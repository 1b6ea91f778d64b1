//! What an episode *is*, and nothing about how one is made or learned from.
//!
//! A [`Trajectory`] is a list of [`Segment`]s. Each segment holds token ids and the [`Author`] who
//! wrote them; ids that the policy sampled carry their log-probabilities. The ids that the model
//! saw are the concatenation of the segments, the loss mask is read off the authors, and no text is
//! ever turned into ids a second time. Everything else in the project either makes these records
//! (`agent`), scores them (`environments`), learns from them (`training`) or draws them (`report`).

mod first_format;
mod format;
#[cfg(test)]
mod format_tests;
mod identity;
mod numbers;
mod objectives;
mod segment;
mod task;
mod tool;
mod trajectory;

pub use format::{FormatError, FormatVersion};
pub use identity::TrajectoryId;
pub use objectives::ObjectiveValues;
pub use segment::{Alternative, Author, Segment, Span};
pub use task::{Message, Role, Split, Task};
pub use tool::{CallRecord, CallStatus, Fault, ToolCall, ToolOutcome, ToolSpec};
pub use trajectory::{FinishReason, Trajectory};

/// A token's index in the tokenizer's vocabulary.
pub type TokenId = u32;
