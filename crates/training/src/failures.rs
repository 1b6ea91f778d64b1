//! When a step, or an evaluation, is no result because its episodes failed.
//!
//! An episode has **failed** when
//!
//! - its deadline passed (`rollout.episode_seconds`), or something outside the policy ended it; or
//! - it called tools, none of its calls succeeded, and at least one met a tool that is itself to blame
//!   (a server that is down, a worker that does not start or crashes), or all of them ran out of
//!   time or hit a limit. Calls that reached no tool (malformed, wrong arguments) do not count.
//!
//! An episode has not failed when it is wrong, gives no answer or runs out of tokens; nor when its
//! programs raise exceptions, since then the tool has answered what the policy wrote.
//!
//! **All** episodes have failed when each of them has. Episodes that reached no tool say nothing of
//! tools; so all have failed, too, when every episode that reached a tool has failed by its calls,
//! and either these are most of the episodes or a tool was itself to blame. In training they have
//! failed as well when every group was left out for a reward that is not in [0, 1].

use paretopo_trajectory::{CallStatus, Fault, FinishReason, ToolOutcome, Trajectory};
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

/// How it is told that an environment failed an episode.
pub(crate) const LOST: &str = "the environment failed an episode";

/// Characters of a reason that are shown.
const SHOWN: usize = 200;

/// How it came that all episodes failed.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeFailures {
    /// All episodes.
    pub episodes: usize,
    /// Those that failed; the others reached no tool.
    pub failed: usize,
    /// The commonest reason.
    pub reason: String,
    /// The share of the failed episodes with that reason, in (0, 1].
    pub share: f64,
}

impl Display for EpisodeFailures {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { episodes, failed, reason, share } = self;
        if failed == episodes {
            write!(formatter, "all {episodes} episodes failed")?;
        } else {
            write!(
                formatter,
                "the {failed} of {episodes} episodes that called a tool or were ended all failed"
            )?;
        }
        write!(formatter, "; the commonest reason ({:.0}%): {reason}", 100.0 * share)
    }
}

/// Why one episode failed.
enum Failure {
    /// It was ended.
    Ended(String),
    /// By its calls; the reason of the last that counts, and whether a tool was itself to blame.
    Calls { reason: String, by_tool: bool },
}

impl Failure {
    fn of(trajectory: &Trajectory) -> Option<Self> {
        match &trajectory.finish {
            FinishReason::Deadline => {
                let reason = "its deadline passed (`rollout.episode_seconds`)";
                return Some(Self::Ended(reason.into()));
            }
            FinishReason::Failed(reason) => return Some(Self::Ended(reason.clone())),
            FinishReason::Stop | FinishReason::Length => {}
        }
        let is_stopped = |outcome: &ToolOutcome| {
            matches!(outcome.status, CallStatus::Timeout | CallStatus::Limit)
        };
        let is_down = |outcome: &ToolOutcome| outcome.fault == Some(Fault::Tool);
        let by_tool = that_count(trajectory).any(is_down);
        let all_stopped = that_count(trajectory).all(is_stopped);
        let one_succeeded = that_count(trajectory).any(|outcome| outcome.status == CallStatus::Ok);
        // of a tool that is down, what it says itself, not what a later call ran into
        let last = that_count(trajectory).filter(|outcome| !by_tool || is_down(outcome)).last()?;
        (!one_succeeded && (by_tool || all_stopped)).then(|| {
            let line = last.text.trim_end().lines().next_back().unwrap_or_default();
            Self::Calls { reason: line.chars().take(SHOWN).collect(), by_tool }
        })
    }
}

/// The outcomes of an episode's calls that reached a tool.
fn that_count(trajectory: &Trajectory) -> impl Iterator<Item = &ToolOutcome> {
    let outcomes = trajectory.calls.iter().map(|call| &call.outcome);
    outcomes.filter(|outcome| outcome.fault != Some(Fault::Call))
}

impl EpisodeFailures {
    /// How it came that all episodes failed; `None` if not all have, or there is none.
    pub fn of<'t>(trajectories: impl IntoIterator<Item = &'t Trajectory>) -> Option<Self> {
        let (mut reasons, mut by_calls, mut a_tool_is_down) = (Vec::new(), 0, false);
        let (mut episodes, mut without_tools) = (0, 0);
        for trajectory in trajectories {
            episodes += 1;
            match Failure::of(trajectory) {
                Some(Failure::Ended(reason)) => reasons.push(reason),
                Some(Failure::Calls { reason, by_tool }) => {
                    reasons.push(reason);
                    by_calls += 1;
                    a_tool_is_down |= by_tool;
                }
                None if that_count(trajectory).next().is_none() => without_tools += 1,
                // a tool answered
                None => return None,
            }
        }
        let no_tool_works = by_calls > 0 && (2 * by_calls > episodes || a_tool_is_down);
        if episodes == 0 || (without_tools > 0 && !no_tool_works) {
            return None;
        }
        let failed = reasons.len();
        let (reason, count) = commonest(reasons)?;
        Some(Self { episodes, failed, reason, share: count as f64 / failed as f64 })
    }
}

/// The commonest text with its count, whatever the numbers in it; of equals the first by their
/// texts.
fn commonest(texts: Vec<String>) -> Option<(String, usize)> {
    let mut groups: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for text in texts {
        let kind = text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
        groups.entry(kind.collect::<Vec<_>>().join("0")).or_insert((text, 0)).1 += 1;
    }
    groups.into_values().rev().max_by_key(|(_, count)| *count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::{CallRecord, ToolCall, TrajectoryId};

    fn episode(finish: FinishReason, outcomes: Vec<ToolOutcome>) -> Trajectory {
        let call = || Some(ToolCall { name: "t".into(), arguments: serde_json::json!({}) });
        Trajectory {
            calls: outcomes.into_iter().map(|outcome| CallRecord::new(call(), outcome)).collect(),
            finish,
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "a", 0)
        }
    }

    fn called(outcomes: Vec<ToolOutcome>) -> Trajectory {
        episode(FinishReason::Stop, outcomes)
    }

    fn ok() -> ToolOutcome {
        ToolOutcome::new(CallStatus::Ok, "1", 0.0)
    }

    fn exception() -> ToolOutcome {
        ToolOutcome::new(CallStatus::Error, "ZeroDivisionError: division by zero", 0.0)
    }

    fn late() -> ToolOutcome {
        ToolOutcome::new(CallStatus::Timeout, "a\nTimeoutError: no answer within 2.0 s", 0.0)
    }

    fn down(port: u32) -> ToolOutcome {
        ToolOutcome::new(CallStatus::Error, format!("SearchError: {port} is down"), 0.0)
            .with_fault(Fault::Tool)
    }

    fn malformed() -> ToolOutcome {
        ToolOutcome::new(CallStatus::Error, "ToolError: the query is empty", 0.0)
            .with_fault(Fault::Call)
    }

    fn silent() -> Trajectory {
        episode(FinishReason::Stop, vec![])
    }

    #[test]
    fn what_counts_as_failed() {
        let failed = |trajectory: Trajectory| EpisodeFailures::of([&trajectory]).is_some();
        assert!(failed(episode(FinishReason::Deadline, vec![ok()])));
        assert!(failed(episode(FinishReason::Failed("x".into()), vec![])));
        assert!(failed(called(vec![late()])) && failed(called(vec![late(), down(1)])));
        assert!(failed(called(vec![ToolOutcome::new(CallStatus::Limit, "MemoryError", 0.0)])));
        assert!(failed(episode(FinishReason::Length, vec![down(1)])));
        // a call that reached no tool, or one that raised, does not speak for a tool that is down
        assert!(failed(called(vec![down(1), malformed()])));
        assert!(failed(called(vec![down(1), exception()])));
        assert!(failed(called(vec![late(), malformed()])));
        // near misses: wrong, out of tokens, the policy's own mistakes, one call that was answered
        assert!(!failed(silent()) && !failed(episode(FinishReason::Length, vec![])));
        assert!(!failed(called(vec![exception()])) && !failed(called(vec![late(), exception()])));
        assert!(!failed(called(vec![malformed()])));
        assert!(!failed(called(vec![down(1), ok()])));
        assert_eq!(EpisodeFailures::of([]), None);
    }

    #[test]
    fn episodes_without_calls_say_nothing_of_tools() {
        let all = |trajectories: &[Trajectory]| EpisodeFailures::of(trajectories);
        // a tool that is down fails a step even where most did not call it
        let found = all(&[silent(), silent(), called(vec![down(1)])]).unwrap();
        assert_eq!((found.episodes, found.failed), (3, 1));
        assert!(found.to_string().starts_with(
            "the 1 of 3 episodes that called a tool or were ended all failed; the commonest reason \
             (100%): SearchError: 1 is down"
        ));
        // calls that are late may be the programs' fault: only where most episodes have nothing else
        assert!(all(&[silent(), called(vec![late()])]).is_none());
        assert!(all(&[silent(), called(vec![late()]), called(vec![late()])]).is_some());
        // deadlines do not speak for the episodes that met theirs
        let deadline = || episode(FinishReason::Deadline, vec![]);
        assert!(all(&[silent(), deadline(), deadline()]).is_none());
        assert!(all(&[deadline(), deadline()]).is_some());
        // one answer of a tool is enough
        assert!(all(&[called(vec![down(1)]), called(vec![ok()])]).is_none());
        assert!(all(&[called(vec![down(1)]), called(vec![exception()])]).is_none());
        // but not that a call reached none
        assert!(all(&[called(vec![down(1)]), called(vec![malformed()])]).is_some());
        assert!(all(&[called(vec![malformed()])]).is_none());
    }

    #[test]
    fn the_commonest_reason_has_its_share_whatever_its_numbers() {
        let deadline = episode(FinishReason::Deadline, vec![]);
        let trajectories = [called(vec![down(12)]), deadline, called(vec![down(7)])];
        let found = EpisodeFailures::of(&trajectories).unwrap();
        // 2 of 3
        assert_eq!(
            found.to_string(),
            "all 3 episodes failed; the commonest reason (67%): SearchError: 12 is down"
        );
        // the last line is the one that says what happened
        let found = EpisodeFailures::of(&[called(vec![late()])]).unwrap();
        assert_eq!(found.reason, "TimeoutError: no answer within 2.0 s");
    }
}
