//! Rollouts of which each rank plays a share: whole groups, in order.

use super::messages::{PlayedShare, Request};
use super::{Order, Ranks};
use crate::TrainingError;
use paretopo_agent::{RolloutConfig, RolloutContext, RolloutRequest, RolloutStatistics, rollout};
use paretopo_collective::exchange::{from_bytes, to_bytes};
use paretopo_collective::tree::part;
use paretopo_trajectory::Trajectory;
use std::ops::Range;

impl Ranks<'_> {
    /// Plays all requests, each rank its share, and returns their trajectories in the same order,
    /// not yet scored; rank 0 calls this. `report` hears of each.
    ///
    /// # Errors
    /// Those of playing, of the first rank that has one.
    pub(crate) fn rollout(
        self,
        context: &RolloutContext<'_>,
        config: &RolloutConfig,
        requests: &[RolloutRequest<'_>],
        report: &mut dyn FnMut(&Trajectory),
    ) -> Result<(Vec<Trajectory>, RolloutStatistics), TrainingError> {
        let mut report = report;
        if self.count() == 1 {
            return Ok(rollout(context, config, requests, &mut report)?);
        }
        let version = context.weight_version;
        self.order(&Order::Play { version, rollout: Box::new(config.clone()) })?;
        let shares = shares(requests, self.count());
        for (rank, share) in shares.iter().enumerate().skip(1) {
            let share: Vec<Request> = requests[share.clone()].iter().map(Request::of).collect();
            self.0.send(rank, to_bytes(&share))?;
        }
        let own = rollout(context, config, &requests[shares[0].clone()], &mut report);
        // heard of in any case, since the others wait until they are
        let mut others = Vec::new();
        for rank in 1..self.count() {
            let played: Result<PlayedShare, String> = from_bytes(rank, &self.0.receive(rank)?)?;
            others.push(played.map_err(|reason| TrainingError::Rank { rank, reason }));
        }
        let (mut trajectories, mut statistics) = own?;
        for played in others {
            let played = played?;
            let seconds = statistics.seconds.max(played.statistics.seconds);
            statistics.add(&played.statistics);
            statistics.seconds = seconds;
            let played = played.into_trajectories();
            played.iter().for_each(&mut *report);
            trajectories.extend(played);
        }
        Ok((trajectories, statistics))
    }

    /// Plays the share that rank 0 has sent.
    ///
    /// # Errors
    /// When rank 0 is lost. What playing fails with is told to it.
    pub(super) fn play_share(
        self,
        play: impl FnOnce(
            &[RolloutRequest<'_>],
        ) -> Result<(Vec<Trajectory>, RolloutStatistics), TrainingError>,
    ) -> Result<(), TrainingError> {
        let share: Vec<Request> = from_bytes(0, &self.0.receive(0)?)?;
        let requests: Vec<RolloutRequest<'_>> = share.iter().map(Request::borrowed).collect();
        let played = play(&requests)
            .map(|(trajectories, statistics)| PlayedShare::new(trajectories, statistics))
            .map_err(|error| error.to_string());
        Ok(self.0.send(0, to_bytes(&played))?)
    }
}

/// Which requests are whose: consecutive ones of a task stay together.
fn shares(requests: &[RolloutRequest<'_>], ranks: usize) -> Vec<Range<usize>> {
    let is_new =
        |place: &usize| *place == 0 || requests[*place].task.id != requests[*place - 1].task.id;
    let mut starts: Vec<usize> = (0..requests.len()).filter(is_new).collect();
    let groups = starts.len();
    starts.push(requests.len());
    let share = |rank| {
        let own = part(groups, rank, ranks);
        starts[own.start]..starts[own.end]
    };
    (0..ranks).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::{ObjectiveValues, Task, TrajectoryId};

    #[test]
    fn groups_stay_whole_and_all_are_played() {
        let task = |id: &str| Task { id: id.into(), ..Task::default() };
        let tasks = [task("a"), task("b"), task("c")];
        // groups of 2, 1 and 3
        let of = [0, 0, 1, 2, 2, 2];
        let requests: Vec<RolloutRequest<'_>> = of
            .iter()
            .enumerate()
            .map(|(place, task)| RolloutRequest {
                id: TrajectoryId::new("test", place as u64, 0),
                task: &tasks[*task],
                sample: 0,
                seed: 0,
                tool_free: false,
                preference: ObjectiveValues::default(),
            })
            .collect();
        // 3 groups over 2 ranks: 1 and 2
        assert_eq!(shares(&requests, 2), [0..2, 2..6]);
        assert_eq!(shares(&requests, 3), [0..2, 2..3, 3..6]);
        // fewer groups than ranks: 0, 0.75, 1.5, 2.25, 3
        assert_eq!(shares(&requests, 4), [0..0, 0..2, 2..3, 3..6]);
        assert_eq!(shares(&[], 2), [0..0, 0..0]);
    }
}
