//! One episode on a question that somebody asks.

use crate::decoding::for_rollouts;
use crate::generating::Source;
use crate::{EpisodeFailures, Policy, RunConfig, Surroundings, TrainingError};
use burn::tensor::backend::Backend;
use paretopo_agent::{RolloutRequest, require_question, rollout};
use paretopo_models::{ModelFamily, Placement};
use paretopo_trajectory::{Task, Trajectory, TrajectoryId};

/// The episode of the configuration's policy on a question.
///
/// # Errors
/// When it cannot be played, or everything in it failed and there is no answer.
pub(crate) fn solve<F: ModelFamily, B: Backend>(
    config: &RunConfig,
    question: &str,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
) -> Result<Trajectory, TrainingError> {
    let device = &place.device;
    let environment = config.build_environment(&surroundings.resources, &mut ())?;
    let policy = Policy::<F, B>::load(config, &surroundings.policy_folder, place)?.merged();
    let mut source = Source::open(config, &policy, None)?;
    let mut model = for_rollouts(policy.model.clone(), config, device, &source)?;
    let workers = surroundings.rollout_workers(config, &mut model, 1)?;
    let task = Task {
        id: "question".into(),
        question: question.to_owned(),
        answers: vec![String::new()],
        ..Task::default()
    };
    source.give(&policy, &model, 0, config, &environment)?;
    let local = policy.generators(&model, device, config.precision, surroundings);
    let generators = source.generators(&local);
    let context = policy.context(generators, &environment, 0, surroundings.cancelled, &workers);
    let context = source.bounded(context);
    let rollouts = &config.rollout;
    require_question(&policy.text, &environment, rollouts, std::slice::from_ref(&task))?;
    let request = RolloutRequest {
        id: TrajectoryId::new("solve", 0, 0),
        task: &task,
        sample: 0,
        seed: config.seed,
        tool_free: config.evaluation.tool_free,
        preference: rollouts.usual_preference(&environment.objective_names()),
    };
    let (mut trajectories, _) = rollout(&context, &config.rollout, &[request], &mut |_| {})?;
    let trajectory = trajectories.remove(0);
    match EpisodeFailures::of([&trajectory]).filter(|_| trajectory.answer.is_none()) {
        Some(failures) => {
            let what = "the question has no answer".into();
            Err(TrainingError::EpisodesFailed { what, failures, episodes: None })
        }
        None => Ok(trajectory),
    }
}
