//! What is counted over episodes: the one place where a step of training and an evaluation agree on
//! what a right answer, a failed call or a truncated response is.

use paretopo_trajectory::{CallStatus, FinishReason, Trajectory};

/// Counts over scored episodes. Shares of nothing are 0.
///
/// ```
/// use paretopo_records::EpisodeSummary;
/// use paretopo_trajectory::{Trajectory, TrajectoryId};
///
/// let episode = |sample, success| Trajectory {
///     success: Some(success),
///     ..Trajectory::empty(TrajectoryId::new("evaluate", 0, sample), "sum-12", sample)
/// };
/// let summary = EpisodeSummary::of(&[episode(0, true), episode(1, false)]);
/// assert_eq!((summary.episodes, summary.right, summary.em()), (2, 1, 0.5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpisodeSummary {
    /// Episodes.
    pub episodes: usize,
    /// Those with a right answer; one that is not scored has none.
    pub right: usize,
    /// Tool calls of all episodes.
    pub calls: usize,
    /// Tool calls of the episodes with a right answer.
    pub calls_of_right: usize,
    /// Calls that a tool answered with an error, or that hit a limit.
    pub call_errors: usize,
    /// Calls whose deadline passed.
    pub call_timeouts: usize,
    /// Tokens that the policy sampled in all episodes.
    pub sampled_tokens: usize,
    /// Episodes that gave an answer at all.
    pub answered: usize,
    /// Episodes that ran out of tokens.
    pub truncated: usize,
    /// Episodes that something outside the policy ended, or their deadline.
    pub failed: usize,
}

impl EpisodeSummary {
    /// Counts episodes.
    pub fn of<'t>(trajectories: impl IntoIterator<Item = &'t Trajectory>) -> Self {
        let mut summary = Self::default();
        for trajectory in trajectories {
            summary.add(trajectory);
        }
        summary
    }

    fn add(&mut self, trajectory: &Trajectory) {
        let is_right = trajectory.success == Some(true);
        self.episodes += 1;
        self.right += usize::from(is_right);
        self.calls += trajectory.call_count();
        self.calls_of_right += if is_right { trajectory.call_count() } else { 0 };
        for call in &trajectory.calls {
            match call.outcome.status {
                CallStatus::Ok => {}
                CallStatus::Error | CallStatus::Limit => self.call_errors += 1,
                CallStatus::Timeout => self.call_timeouts += 1,
            }
        }
        self.sampled_tokens += trajectory.sampled_tokens();
        self.answered += usize::from(trajectory.answer.is_some());
        match trajectory.finish {
            FinishReason::Stop => {}
            FinishReason::Length => self.truncated += 1,
            FinishReason::Deadline | FinishReason::Failed(_) => self.failed += 1,
        }
    }

    /// A count in each episode, on average; of a count of episodes, their share.
    pub fn per_episode(&self, count: usize) -> f64 {
        ratio(count, self.episodes)
    }

    /// The share of a count of calls.
    pub fn per_call(&self, count: usize) -> f64 {
        ratio(count, self.calls)
    }

    /// EM: the share of episodes with a right answer.
    pub fn em(&self) -> f64 {
        self.per_episode(self.right)
    }

    /// Mean calls of the episodes with a right answer.
    pub fn calls_of_a_right_one(&self) -> f64 {
        ratio(self.calls_of_right, self.right)
    }

    /// Calls of all episodes for each right answer; `None` without one.
    pub fn calls_per_correct(&self) -> Option<f64> {
        (self.right > 0).then(|| ratio(self.calls, self.right))
    }
}

/// 0 where there is nothing to divide by.
fn ratio(count: usize, of: usize) -> f64 {
    count as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::{Author, CallRecord, Segment, ToolOutcome, TrajectoryId};

    fn episode(
        success: Option<bool>,
        statuses: &[CallStatus],
        sampled: usize,
        finish: FinishReason,
    ) -> Trajectory {
        let call = |status: &CallStatus| CallRecord::new(None, ToolOutcome::new(*status, "", 0.0));
        let ids = vec![7; sampled];
        let logprobs = vec![-1.0; sampled];
        let model =
            Segment { ids, sampling_logprobs: logprobs.clone(), logprobs, ..Segment::sampling(0) };
        Trajectory {
            success,
            calls: statuses.iter().map(call).collect(),
            segments: vec![Segment::given(Author::Prompt, vec![1; 100]), model],
            answer: (finish == FinishReason::Stop).then(|| "1".into()),
            finish,
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "t", 0)
        }
    }

    #[test]
    fn episodes_are_counted_by_hand() {
        use CallStatus::{Error, Limit, Ok, Timeout};
        let failed = FinishReason::Failed("down".into());
        let episodes = [
            episode(Some(true), &[Ok, Error], 10, FinishReason::Stop),
            episode(Some(true), &[Ok], 20, FinishReason::Stop),
            episode(Some(false), &[Timeout, Limit, Ok], 30, FinishReason::Length),
            episode(None, &[Timeout, Timeout], 5, failed),
            episode(Some(false), &[], 0, FinishReason::Deadline),
        ];
        let found = EpisodeSummary::of(&episodes);
        let expected = EpisodeSummary {
            episodes: 5,
            right: 2,
            // 2 + 1 + 3 + 2 + 0, of which 2 + 1 in right ones
            calls: 8,
            calls_of_right: 3,
            call_errors: 2,
            call_timeouts: 3,
            // the prompts of 100 are not sampled
            sampled_tokens: 65,
            answered: 2,
            truncated: 1,
            failed: 2,
        };
        assert_eq!(found, expected);
        // 2 / 5, 8 / 5, 65 / 5, 3 / 2, 8 / 2, (2 + 3) / 8
        assert_eq!((found.em(), found.per_episode(found.calls)), (0.4, 1.6));
        assert_eq!(found.per_episode(found.sampled_tokens), 13.0);
        assert_eq!((found.calls_of_a_right_one(), found.calls_per_correct()), (1.5, Some(4.0)));
        assert_eq!(found.per_call(found.call_errors + found.call_timeouts), 0.625);
        let nothing = EpisodeSummary::of([]);
        assert_eq!(
            (nothing.em(), nothing.per_call(0), nothing.calls_per_correct()),
            (0.0, 0.0, None)
        );
    }
}
