//! Objectives: pure functions of a task, a trajectory and the run's memory, with values in [0, 1].

use crate::{DataError, Environment, RunMemory};
use paretopo_settings::{NonNegative, Positive};
use paretopo_trajectory::{CallStatus, Task, Trajectory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One coordinate of the reward vector.
pub trait Objective: Send + Sync {
    /// The name in metrics and tables.
    fn name(&self) -> &'static str;

    /// The value in [0, 1], higher is better; `None` where the objective does not apply.
    fn score(
        &self,
        environment: &dyn Environment,
        task: &Task,
        trajectory: &Trajectory,
        memory: &RunMemory,
    ) -> Option<f64>;
}

/// What `r_tool` is before a task's first success, when there is no `N_optimal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BeforeFirstSuccess {
    /// 0 for the whole group: no signal.
    #[default]
    Neutral,
    /// As if `N_optimal` were 0.
    FewestCalls,
}

/// Which objective, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ObjectiveConfig {
    /// `r_task`: what the environment gives for the answer; 1 for a right one, else 0, unless it is
    /// configured otherwise.
    Task {},
    /// `r_tool = exp(-alpha * |N_call - N_optimal|)` (ParetoPO).
    ToolEfficiency {
        /// How fast a call too many (or too few) costs; per call.
        alpha: NonNegative,
        /// Before the task's first success.
        #[serde(default)]
        before_first_success: BeforeFirstSuccess,
    },
    /// `r_length = exp(-sampled tokens / scale)`.
    ResponseLength {
        /// Tokens at which the value has fallen to 1/e.
        scale: Positive,
    },
    /// `r_format`: 1 when there is an answer and no call failed, else 0.
    Format {},
}

impl ObjectiveConfig {
    /// Checks a reward vector.
    ///
    /// # Errors
    /// When its first objective is not task success.
    pub(crate) fn check_all(configs: &[Self]) -> Result<(), DataError> {
        if configs.first() != Some(&Self::Task {}) {
            return Err(DataError::Setting(
                "the first of `environment.objectives` must be `{ type = \"task\" }`".into(),
            ));
        }
        Ok(())
    }

    /// Builds a reward vector.
    ///
    /// # Errors
    /// When its first objective is not task success.
    pub(crate) fn build_all(configs: &[Self]) -> Result<Vec<Box<dyn Objective>>, DataError> {
        Self::check_all(configs)?;
        Ok(configs.iter().map(Self::build).collect())
    }

    /// Builds the objective.
    pub fn build(&self) -> Box<dyn Objective> {
        match *self {
            Self::Task {} => Box::new(TaskSuccess),
            Self::ToolEfficiency { alpha, before_first_success } => {
                Box::new(ToolEfficiency { alpha: alpha.get(), before_first_success })
            }
            Self::ResponseLength { scale } => Box::new(ResponseLength { scale: scale.get() }),
            Self::Format {} => Box::new(Format),
        }
    }
}

struct TaskSuccess;

impl Objective for TaskSuccess {
    fn name(&self) -> &'static str {
        "r_task"
    }

    fn score(
        &self,
        environment: &dyn Environment,
        task: &Task,
        trajectory: &Trajectory,
        _: &RunMemory,
    ) -> Option<f64> {
        Some(environment.task_reward(task, trajectory))
    }
}

struct ToolEfficiency {
    alpha: f64,
    before_first_success: BeforeFirstSuccess,
}

impl Objective for ToolEfficiency {
    fn name(&self) -> &'static str {
        "r_tool"
    }

    fn score(
        &self,
        _: &dyn Environment,
        task: &Task,
        trajectory: &Trajectory,
        memory: &RunMemory,
    ) -> Option<f64> {
        let optimal = match (memory.fewest_calls(&task.id), self.before_first_success) {
            (Some(fewest), _) => fewest,
            (None, BeforeFirstSuccess::FewestCalls) => 0,
            (None, BeforeFirstSuccess::Neutral) => return Some(0.0),
        };
        Some((-self.alpha * trajectory.call_count().abs_diff(optimal) as f64).exp())
    }
}

struct ResponseLength {
    scale: f64,
}

impl Objective for ResponseLength {
    fn name(&self) -> &'static str {
        "r_length"
    }

    fn score(
        &self,
        _: &dyn Environment,
        _: &Task,
        trajectory: &Trajectory,
        _: &RunMemory,
    ) -> Option<f64> {
        Some((-(trajectory.sampled_tokens() as f64) / self.scale).exp())
    }
}

struct Format;

impl Objective for Format {
    fn name(&self) -> &'static str {
        "r_format"
    }

    fn score(
        &self,
        _: &dyn Environment,
        _: &Task,
        trajectory: &Trajectory,
        _: &RunMemory,
    ) -> Option<f64> {
        let clean = trajectory.answer.is_some()
            && trajectory.calls.iter().all(|call| call.outcome.status == CallStatus::Ok);
        Some(f64::from(u8::from(clean)))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        EnvironmentConfig, MathConfig, ObjectiveConfig, Resources, RunMemory, score_group,
    };
    use paretopo_settings::{NonNegative, Positive};
    use paretopo_trajectory::{
        CallRecord, CallStatus, Split, ToolOutcome, Trajectory, TrajectoryId,
    };

    fn trajectory(answer: &str, calls: usize) -> Trajectory {
        let outcome = ToolOutcome::new(CallStatus::Ok, "", 0.0);
        Trajectory {
            calls: vec![CallRecord::new(None, outcome); calls],
            answer: Some(answer.into()),
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "", 0)
        }
    }

    fn rewards(
        config: MathConfig,
        outcomes: &[(bool, usize)],
        memory: &mut RunMemory,
    ) -> Vec<Vec<f64>> {
        let environment =
            EnvironmentConfig::Math(config).build(&Resources::default(), &mut ()).unwrap();
        let task = environment.tasks(Split::Train)[0].clone();
        let mut group: Vec<_> = outcomes
            .iter()
            .map(|(right, calls)| {
                trajectory(if *right { &task.answers[0] } else { "no number" }, *calls)
            })
            .collect();
        score_group(environment.as_ref(), &task, &mut group, memory);
        let successes = group.iter().map(|trajectory| trajectory.success);
        assert!(successes.eq(outcomes.iter().map(|(right, _)| Some(*right))));
        group.into_iter().map(|trajectory| trajectory.objectives.values().to_vec()).collect()
    }

    #[test]
    fn n_optimal_is_updated_before_the_group_is_scored() {
        let mut memory = RunMemory::default();
        // the group's own fewest calls in a success are 1, so with alpha 0.5:
        //   right, 1 call:  exp(-0.5 * 0) = 1        right, 3 calls: exp(-0.5 * 2) = 0.367879
        //   wrong, 0 calls: exp(-0.5 * 1) = 0.606531 (too few calls are inefficient, too)
        let scored =
            rewards(MathConfig::default(), &[(true, 1), (true, 3), (false, 0)], &mut memory);
        let expected = [[1.0, 1.0], [1.0, 0.367_879_44], [0.0, 0.606_530_66]];
        for (got, want) in scored.iter().zip(expected) {
            assert!(
                (got[0] - want[0]).abs() < 1e-6 && (got[1] - want[1]).abs() < 1e-6,
                "{scored:?}"
            );
        }
        // a later group that succeeds without a call lowers it to 0: exp(-0.5 * 1)
        let scored = rewards(MathConfig::default(), &[(true, 0), (true, 1)], &mut memory);
        assert_eq!((scored[0][1], scored[1][1]), (1.0, (-0.5f64).exp()));
    }

    #[test]
    fn before_the_first_success_there_is_no_signal_unless_asked_for() {
        let scored =
            rewards(MathConfig::default(), &[(false, 0), (false, 2)], &mut RunMemory::default());
        assert_eq!(scored, [[0.0, 0.0], [0.0, 0.0]]);
        let mut config = MathConfig::default();
        config.objectives[1] = ObjectiveConfig::ToolEfficiency {
            alpha: NonNegative::literal(0.5),
            before_first_success: super::BeforeFirstSuccess::FewestCalls,
        };
        // N_optimal = 0: exp(0) = 1 and exp(-0.5 * 2) = 0.367879
        let scored = rewards(config, &[(false, 0), (false, 2)], &mut RunMemory::default());
        assert!((scored[0][1] - 1.0).abs() < 1e-6 && (scored[1][1] - 0.367_879_44).abs() < 1e-6);
    }

    #[test]
    fn objectives_that_share_a_name_are_told_apart_by_their_place() {
        let length = |scale| ObjectiveConfig::ResponseLength { scale: Positive::literal(scale) };
        let mut config = MathConfig::default();
        config.objectives.extend([length(10.0), length(20.0), length(30.0)]);
        let environment =
            EnvironmentConfig::Math(config).build(&Resources::default(), &mut ()).unwrap();
        let names = crate::objective_names(environment.as_ref());
        assert_eq!(names[..], ["r_task", "r_tool", "r_length", "r_length_4", "r_length_5"]);
    }
}
