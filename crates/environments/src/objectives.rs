//! Objectives: pure functions of a task, a trajectory and the run's memory, with values in [0, 1].

use crate::{
    CommandReward, DataError, Environment, HttpReward, Judge, ObjectiveName, OutsideReward,
    RunMemory, ToolEfficiency,
};
use paretopo_settings::{Chosen, Piece, Positive, Registry, Settings};
use paretopo_tools::Service;
use paretopo_trajectory::{CallStatus, Task, Trajectory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, LazyLock};

/// What an objective looks at.
pub struct Scoring<'a> {
    /// The environment that was played.
    pub environment: &'a dyn Environment,
    /// The task.
    pub task: &'a Task,
    /// What was played; whether it is right stands in its `success`.
    pub trajectory: &'a Trajectory,
    /// What its calls cost: the sum of their tools' prices, their number where all have the price
    /// 1.
    pub cost: f64,
    /// The same by the prices that their tools are listed with, whatever was drawn.
    pub expected_cost: f64,
    /// The least `expected_cost` of a right trajectory among those that are scored together; `None`
    /// where none is right.
    pub lowest_cost_of_group: Option<f64>,
    /// What the run remembers about tasks.
    pub memory: &'a RunMemory,
}

/// One coordinate of the reward vector: a struct of settings that implements this.
///
/// ```
/// use paretopo_environments::{Objective, Scoring};
///
/// /// 1 for an answer of one word.
/// struct Brevity;
///
/// impl Objective for Brevity {
///     fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
///         let answer = scoring.trajectory.answer.as_deref()?;
///         Some(if answer.split_whitespace().count() == 1 { 1.0 } else { 0.0 })
///     }
/// }
/// ```
pub trait Objective: Send + Sync + 'static {
    /// The value in [0, 1], higher is better; `None` where the objective does not apply, which
    /// counts as 0.
    fn score(&self, scoring: &Scoring<'_>) -> Option<f64>;

    /// The name in metrics and tables, where it is not the `type` under which it is registered. Of
    /// objectives of one name the later ones get their place behind it: `r_length_3`.
    fn name(&self) -> Option<&str> {
        None
    }

    /// The name of the reward that the environment is to give for it ([`Environment::reward`]), where
    /// it is one of the environment's.
    fn given(&self) -> Option<&str> {
        None
    }

    /// Who gives its values where they come from outside of this process. It is asked for all
    /// rollouts of a task at once, and [`Self::score`] is not.
    fn judge(&self) -> Option<Judge> {
        None
    }
}

/// An objective with its settings, as a configuration chooses it.
pub type ObjectiveConfig = Chosen<dyn Objective>;

/// The objectives that a program knows.
pub type Objectives = Registry<dyn Objective>;

/// Adds an objective to those that a program knows.
///
/// # Panics
/// When the name is taken or no plain word, or a setting is called `type`.
#[track_caller]
pub fn register_objective<O: Objective + Settings>(objectives: &mut Objectives, name: &str) {
    objectives.register::<O>(name, |objective| Arc::new(objective));
}

/// An objective as a configuration would choose it, by the name under which it is registered.
///
/// # Panics
/// When TOML cannot express its settings.
pub fn objective<O: Objective + Settings>(name: &str, settings: O) -> ObjectiveConfig {
    Chosen::literal(name, settings, |objective| Arc::new(objective) as Arc<dyn Objective>)
}

impl Piece for dyn Objective {
    const KIND: &'static str = "objective";

    fn shipped() -> Arc<Registry<Self>> {
        static SHIPPED: LazyLock<Arc<Objectives>> = LazyLock::new(|| {
            let mut all = Objectives::default();
            register_objective::<TaskSuccess>(&mut all, TASK);
            register_objective::<ToolEfficiency>(&mut all, "tool_efficiency");
            register_objective::<ResponseLength>(&mut all, "response_length");
            register_objective::<Format>(&mut all, "format");
            register_objective::<EnvironmentReward>(&mut all, "environment");
            all.register::<CommandReward>("command", |one| Arc::new(OutsideReward::from(one)));
            all.register::<HttpReward>("http", |one| Arc::new(OutsideReward::from(one)));
            Arc::new(all)
        });
        SHIPPED.clone()
    }
}

/// The `type` of task success.
const TASK: &str = "task";

/// The reward vector where a configuration lists none: task success, and ParetoPO's `r_tool`.
pub fn usual_objectives() -> Vec<ObjectiveConfig> {
    let efficiency = objective("tool_efficiency", ToolEfficiency::default());
    vec![objective(TASK, TaskSuccess {}), efficiency]
}

/// An objective with the name that metrics, `best`, evaluations and tables call it.
#[derive(Clone)]
pub struct NamedObjective {
    /// The name.
    pub name: String,
    /// The objective.
    pub objective: Arc<dyn Objective>,
    /// Its judge, if it has one and that has started.
    pub judge: Option<Arc<Service>>,
}

impl NamedObjective {
    /// Starts its judge, if it has one.
    ///
    /// # Errors
    /// Says whose, and why it does not start.
    pub fn start(&mut self) -> Result<(), DataError> {
        let Some(judge) = self.objective.judge() else { return Ok(()) };
        let said = |reason| DataError::Setting(format!("the objective `{}`: {reason}", self.name));
        self.judge = Some(Arc::new(judge.start(&self.name).map_err(said)?));
        Ok(())
    }
}

/// Names a reward vector. One that has the name of an objective before it gets its place behind it:
/// `r_length`, `r_length_3`.
///
/// # Errors
/// When its first objective is not task success, or the settings of a judge make no sense.
pub fn named_objectives(configs: &[ObjectiveConfig]) -> Result<Vec<NamedObjective>, DataError> {
    if configs.first().map(ObjectiveConfig::name) != Some(TASK) {
        return Err(DataError::Setting(
            "the first of `objectives` must be `{ type = \"task\" }`".into(),
        ));
    }
    let mut named: Vec<NamedObjective> = Vec::new();
    for (place, config) in configs.iter().enumerate() {
        // the objective's own name; the other `name` is its `type`
        let own = Objective::name(&**config).unwrap_or(config.name());
        let is_taken = named.iter().any(|other| other.name == own);
        let name = if is_taken { format!("{own}_{}", place + 1) } else { own.to_owned() };
        if let Some(judge) = config.judge() {
            let said = |reason: String| match reason.strip_prefix('`') {
                Some(rest) => DataError::Setting(format!("`objectives[{place}].{rest}")),
                None => DataError::Setting(format!("`objectives[{place}]`: {reason}")),
            };
            judge.check().map_err(said)?;
        }
        named.push(NamedObjective { name, objective: config.piece(), judge: None });
    }
    Ok(named)
}

/// `r_task`: what the environment gives for the answer; 1 for a right one, else 0, unless it is
/// configured otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskSuccess {}

impl Objective for TaskSuccess {
    fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
        Some(scoring.environment.task_reward(scoring.task, scoring.trajectory))
    }

    fn name(&self) -> Option<&str> {
        Some("r_task")
    }
}

/// `r_length = exp(-sampled tokens / scale)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseLength {
    /// Tokens at which the value has fallen to 1/e.
    pub scale: Positive,
}

impl Objective for ResponseLength {
    fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
        Some((-(scoring.trajectory.sampled_tokens() as f64) / self.scale.get()).exp())
    }

    fn name(&self) -> Option<&str> {
        Some("r_length")
    }
}

/// `r_format`: 1 when there is an answer and no call failed, else 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Format {}

impl Objective for Format {
    fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
        let trajectory = scoring.trajectory;
        let clean = trajectory.answer.is_some()
            && trajectory.calls.iter().all(|call| call.outcome.status == CallStatus::Ok);
        Some(f64::from(u8::from(clean)))
    }

    fn name(&self) -> Option<&str> {
        Some("r_format")
    }
}

/// What the environment itself gives an episode by a name of its own, such as a reward of an OpenEnv
/// server. `r_task` is what it gives for the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentReward {
    /// The environment's name for it, which it has in metrics and tables, too.
    pub name: ObjectiveName,
}

impl Objective for EnvironmentReward {
    fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
        scoring.environment.reward(self.name.as_str(), scoring.task, scoring.trajectory)
    }

    fn name(&self) -> Option<&str> {
        Some(self.name.as_str())
    }

    fn given(&self) -> Option<&str> {
        Some(self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BeforeFirstSuccess, MathConfig, Resources, ToolEnvironment, environment, score_group,
    };
    use paretopo_settings::NonNegative;
    use paretopo_tools::{PythonConfig, ToolEntry};
    use paretopo_trajectory::{CallRecord, Split, ToolCall, ToolOutcome, TrajectoryId};

    fn trajectory(answer: &str, calls: usize) -> Trajectory {
        let outcome = ToolOutcome::new(CallStatus::Ok, "", 0.0);
        Trajectory {
            calls: vec![CallRecord::new(None, outcome); calls],
            answer: Some(answer.into()),
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "", 0)
        }
    }

    fn built(objectives: &[ObjectiveConfig], tools: &[ToolEntry]) -> ToolEnvironment {
        let math = environment("math", MathConfig::default());
        let resources = Resources { python_worker: vec!["true".into()], ..Resources::default() };
        ToolEnvironment::build(&math, tools, objectives, &resources, &mut ()).unwrap()
    }

    fn rewards(
        objectives: &[ObjectiveConfig],
        outcomes: &[(bool, usize)],
        memory: &mut RunMemory,
    ) -> Vec<Vec<f64>> {
        let environment = built(objectives, &[]);
        let task = environment.tasks(Split::Train)[0].clone();
        let mut group: Vec<_> = outcomes
            .iter()
            .map(|(right, calls)| {
                trajectory(if *right { &task.answers[0] } else { "no number" }, *calls)
            })
            .collect();
        score_group(&environment, &task, &mut group, memory);
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
        let scored = rewards(&usual_objectives(), &[(true, 1), (true, 3), (false, 0)], &mut memory);
        let expected = [[1.0, 1.0], [1.0, 0.367_879_44], [0.0, 0.606_530_66]];
        for (got, want) in scored.iter().zip(expected) {
            assert!(
                (got[0] - want[0]).abs() < 1e-6 && (got[1] - want[1]).abs() < 1e-6,
                "{scored:?}"
            );
        }
        // a later group that succeeds without a call lowers it to 0: exp(-0.5 * 1)
        let scored = rewards(&usual_objectives(), &[(true, 0), (true, 1)], &mut memory);
        assert_eq!((scored[0][1], scored[1][1]), (1.0, (-0.5f64).exp()));
    }

    #[test]
    fn before_the_first_success_there_is_no_signal_unless_asked_for() {
        let scored =
            rewards(&usual_objectives(), &[(false, 0), (false, 2)], &mut RunMemory::default());
        assert_eq!(scored, [[0.0, 0.0], [0.0, 0.0]]);
        let efficiency = ToolEfficiency {
            before_first_success: BeforeFirstSuccess::FewestCalls,
            ..ToolEfficiency::default()
        };
        let mut objectives = usual_objectives();
        objectives[1] = objective("tool_efficiency", efficiency);
        // N_optimal = 0: exp(0) = 1 and exp(-0.5 * 2) = 0.367879
        let scored = rewards(&objectives, &[(false, 0), (false, 2)], &mut RunMemory::default());
        assert!((scored[0][1] - 1.0).abs() < 1e-6 && (scored[1][1] - 0.367_879_44).abs() < 1e-6);
    }

    #[test]
    fn objectives_that_share_a_name_are_told_apart_by_their_place() {
        let length = |scale| {
            objective("response_length", ResponseLength { scale: Positive::literal(scale) })
        };
        let mut objectives = usual_objectives();
        objectives.extend([length(10.0), length(20.0), length(30.0)]);
        let names = built(&objectives, &[]).objective_names();
        assert_eq!(names[..], ["r_task", "r_tool", "r_length", "r_length_4", "r_length_5"]);
    }

    #[test]
    fn a_call_counts_as_much_as_its_tools_price() {
        let mut python = ToolEntry::new("python", PythonConfig::default());
        python.terms.price = NonNegative::literal(2.5);
        let environment = built(&usual_objectives(), &[python]);
        let call = |name: &str| {
            let call = ToolCall { name: name.into(), arguments: serde_json::json!({}) };
            CallRecord::new(Some(call), ToolOutcome::new(CallStatus::Ok, "", 0.0))
        };
        let task = environment.tasks(Split::Train)[0].clone();
        let played =
            |calls: Vec<CallRecord>| Trajectory { calls, ..trajectory(&task.answers[0], 0) };
        assert_eq!(environment.cost(&played(Vec::new())).to_bits(), 0.0f64.to_bits());
        // 2.5, and 2.5 + 1 since `pythn` is no tool
        let mut group = [played(vec![call("python")]), played(vec![call("python"), call("pythn")])];
        let mut memory = RunMemory::default();
        score_group(&environment, &task, &mut group, &mut memory);
        assert_eq!(memory.lowest_cost(&task.id), Some(2.5));
        // a price that was drawn with its call: 4 in place of 2.5; remembered is the listed one
        let mut drawn = played(vec![call("python")]);
        drawn.calls[0].price = Some(4.0);
        assert_eq!((environment.cost(&drawn), environment.expected_cost(&drawn)), (4.0, 2.5));
        let mut alone = RunMemory::default();
        score_group(&environment, &task, std::slice::from_mut(&mut drawn), &mut alone);
        assert_eq!(alone.lowest_cost(&task.id), Some(2.5));
        // exp(-0.5 * 0) and exp(-0.5 * 1)
        let scored = group.map(|trajectory| trajectory.objectives.values()[1]);
        assert_eq!(scored, [1.0, (-0.5f64).exp()]);
        assert_eq!((environment.highest_cost(4), environment.has_one_price()), (10.0, false));
        // a price that was drawn with the call counts: 7.25 + 2.5
        let drawn = CallRecord { price: Some(7.25), ..call("python") };
        assert_eq!(environment.cost(&played(vec![drawn, call("python")])), 9.75);
    }

    #[test]
    fn the_first_objective_is_task_success() {
        let error = named_objectives(&usual_objectives()[1..]).err().unwrap().to_string();
        assert_eq!(error, "the first of `objectives` must be `{ type = \"task\" }`");
        assert!(named_objectives(&[]).is_err());
    }
}
