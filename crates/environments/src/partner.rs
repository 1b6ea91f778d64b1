//! Environments of several turns: who answers a turn of the policy that would otherwise end its
//! episode.

use paretopo_tools::CallContext;
use paretopo_trajectory::{Reply, Task, TrajectoryId};

/// The other side of a conversation. What it says is the policy's next turn of a user, until it says
/// that the episode is over.
///
/// ```
/// use paretopo_environments::Partner;
/// use paretopo_tools::CallContext;
/// use paretopo_trajectory::{Reply, TrajectoryId};
///
/// /// Says whether a guess is too high or too low.
/// struct Umpire {
///     secret: i64,
/// }
///
/// impl Partner for Umpire {
///     fn answer(&self, said: &str, _: &CallContext) -> Reply {
///         let guess: i64 = said.trim().parse().unwrap_or(i64::MAX);
///         let text = match guess.cmp(&self.secret) {
///             std::cmp::Ordering::Less => "too low",
///             std::cmp::Ordering::Equal => "right",
///             std::cmp::Ordering::Greater => "too high",
///         };
///         Reply { text: text.into(), done: text == "right", ..Reply::default() }
///     }
/// }
/// ```
pub trait Partner: Send + Sync {
    /// Whether it answers turns of episodes on `task`: of all, unless it is said otherwise.
    fn answers(&self, _task: &Task) -> bool {
        true
    }

    /// An episode on `task` begins. Must not take long: it runs on the thread that decodes.
    fn begin(&self, _task: &Task, _trajectory: &TrajectoryId) {}

    /// Answers a turn: `said` is what the policy wrote in it, without what it only thought. Errors
    /// are data ([`Reply::error`]), and end the episode. The implementation must return soon after
    /// `context.deadline`.
    fn answer(&self, said: &str, context: &CallContext) -> Reply;

    /// The episode has ended, by itself or because it failed, was cut off or was cancelled. Comes
    /// once for every [`Self::begin`], and after its last answer has returned. Must not take long.
    fn end(&self, _trajectory: &TrajectoryId) {}
}
