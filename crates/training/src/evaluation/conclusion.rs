//! The end of a training recipe: the policy is written and evaluated.

use crate::decoding::for_rollouts;
use crate::evaluation::{Played, Playing};
use crate::generating::Source;
use crate::ranks::{Order, Ranks};
use crate::{
    EpisodeFailures, Observer, Policy, RunConfig, RunFolder, Stage, Surroundings, TrainingError,
};
use burn::tensor::backend::AutodiffBackend;
use paretopo_durable::put_folder;
use paretopo_environments::ToolEnvironment;
use paretopo_models::ModelFamily;
use paretopo_records::{Evaluation, write_evaluation};

/// The policy goes to `run/policy`, and its adapter, if one was trained, to `run/adapter`; it is
/// returned with its adapter merged.
///
/// # Errors
/// When the policy is not finite, before it is written; when something cannot be written.
pub(crate) fn write_policy<F: ModelFamily, B: AutodiffBackend>(
    policy: Policy<F, B>,
    folder: &RunFolder,
) -> Result<Policy<F, B>, TrainingError> {
    Stage::Writing.begin();
    policy.require_computes(&F::valid(&policy.model))?;
    if policy.adapter.is_some() {
        put_folder(&folder.path().join("adapter"), |place| policy.save_adapter(place))?;
    }
    let policy = policy.merged();
    put_folder(&folder.path().join("policy"), |place| policy.save(&policy.model, place))?;
    Ok(policy)
}

/// What the end of a run needs besides its policy.
pub(crate) struct Conclusion<'a, B: AutodiffBackend> {
    pub(crate) config: &'a RunConfig,
    pub(crate) folder: &'a RunFolder,
    pub(crate) environment: &'a ToolEnvironment,
    pub(crate) device: &'a B::Device,
    pub(crate) surroundings: &'a Surroundings<'a>,
    pub(crate) ranks: Ranks<'a>,
}

impl<B: AutodiffBackend> Conclusion<'_, B> {
    /// The policy is written ([`write_policy`]); its evaluation goes to `run/evaluation.json`.
    ///
    /// # Errors
    /// When the policy is not finite, before it is written; when all episodes failed or an objective is
    /// wrong, after they were written; when something cannot be written.
    pub(crate) fn write<F: ModelFamily>(
        &self,
        policy: Policy<F, B>,
        source: &mut Source,
        weight_version: u64,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation, TrainingError> {
        let Self { config, folder, environment, device, surroundings, ranks } = *self;
        // before the adapter is merged, which servers have beside the weights
        let model = F::valid(&policy.model);
        source.give(&policy, &model, weight_version, config, environment)?;
        let policy = write_policy(policy, folder)?;
        ranks.order(&Order::Merge)?;
        let mut model = for_rollouts(F::valid(&policy.model), config, device, source)?;
        let episodes = config.evaluation.episodes(&**environment);
        let workers = surroundings.rollout_workers(config, &mut model, episodes)?;
        let local = policy.generators(&model, device, config.precision, surroundings);
        let cancelled = surroundings.cancelled;
        let context = policy.context(
            source.generators(&local),
            environment,
            weight_version,
            cancelled,
            &workers,
        );
        let context = source.bounded(context);
        let playing = Playing {
            context: &context,
            rollout: &config.rollout,
            config: &config.evaluation,
            seed: config.seed,
            name: "evaluate",
            ranks: ranks.players(config),
        };
        let played = playing.play_and_summarise(None, observer)?;
        let Played { evaluation, trajectories, bad_reward } = played;
        source.confirm()?;
        let episodes = folder.save_trajectories("evaluation", trajectories.iter())?;
        if let Some(failures) = EpisodeFailures::of(&trajectories) {
            let what = "the evaluation of the trained policy".into();
            return Err(TrainingError::EpisodesFailed { what, failures, episodes: Some(episodes) });
        }
        if let Some(reason) = bad_reward {
            let what = "the evaluation of the trained policy".into();
            return Err(TrainingError::EvaluatedReward { what, reason, episodes: Some(episodes) });
        }
        write_evaluation(folder.path(), &evaluation)?;
        Ok(evaluation)
    }
}
