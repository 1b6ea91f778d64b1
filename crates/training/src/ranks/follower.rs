//! What the ranks behind the first one do: they follow its orders, one after the other.

use super::{Order, Ranks};
use crate::decoding::for_rollouts;
use crate::fitting::{fitting, played_splits};
use crate::generating::Source;
use crate::rl::{BadUpdate, Update};
use crate::{AdamW, Policy, RunConfig, Surroundings, TrainingError, TrainingSequence};
use burn::tensor::backend::AutodiffBackend;
use paretopo_agent::{RolloutConfig, RolloutRequest, RolloutStatistics, Workers, rollout};
use paretopo_collective::exchange::{broadcast, from_bytes};
use paretopo_environments::ToolEnvironment;
use paretopo_models::{ModelFamily, Placement, without_adapter};
use paretopo_trajectory::Trajectory;
use std::sync::atomic::Ordering;

/// Follows rank 0 until it says that there is nothing more to do.
///
/// # Errors
/// When ranks do not agree, or rank 0 is lost. What this rank alone fails with is told to rank 0.
pub(crate) fn follow<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
) -> Result<(), TrainingError> {
    let environment = surroundings.environment(config, &mut ()).map_err(TrainingError::from);
    follow_orders::<F, B>(config, environment, place, surroundings)
}

/// What a rank behind the first one calls in place of [`crate::train_in`], with an environment of
/// its own.
///
/// # Errors
/// When ranks do not agree, or rank 0 is lost. What this rank alone fails with is told to rank 0.
pub fn follow_in<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    environment: ToolEnvironment,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
) -> Result<(), TrainingError> {
    Ranks::of(surroundings).agree(config, surroundings)?;
    follow_orders::<F, B>(config, Ok(environment), place, surroundings)
}

fn follow_orders<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    environment: Result<ToolEnvironment, TrainingError>,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
) -> Result<(), TrainingError> {
    let ranks = Ranks::of(surroundings);
    let prepared = environment.and_then(|environment| {
        Follower::<F, B>::prepare(config, environment, place, surroundings)
    });
    let mut follower = ranks.prepared(prepared)?;
    ranks.restore(config, &mut follower.policy, &mut follower.optimizer)?;
    loop {
        follower = match from_bytes(0, &broadcast(ranks.0, 0, Vec::new())?)? {
            Order::Play { version, rollout } => {
                ranks.play_share(|requests| follower.play(version, &rollout, requests))?;
                follower
            }
            Order::Update { step, sequences } => follower.update(step, sequences)?,
            Order::Checkpoint => {
                let model = &follower.policy.model;
                ranks.agree_on_weights(model)?;
                ranks.whole_optimizer(config, model, &follower.optimizer)?;
                follower
            }
            Order::Merge => {
                Follower { policy: follower.policy.merged(), playing: None, ..follower }
            }
            Order::End => return Ok(()),
        };
    }
}

/// A rank between two orders.
struct Follower<'a, F: ModelFamily, B: AutodiffBackend> {
    config: &'a RunConfig,
    surroundings: &'a Surroundings<'a>,
    place: &'a Placement<B>,
    environment: ToolEnvironment,
    policy: Policy<F, B>,
    reference: Option<F::Model<B::InnerBackend>>,
    workers: Workers,
    optimizer: AdamW<B>,
    /// The policy's weights made ready for rollouts, until they change.
    playing: Option<F::Model<B::InnerBackend>>,
}

impl<'a, F: ModelFamily, B: AutodiffBackend> Follower<'a, F, B> {
    fn prepare(
        config: &'a RunConfig,
        environment: ToolEnvironment,
        place: &'a Placement<B>,
        surroundings: &'a Surroundings<'a>,
    ) -> Result<Self, TrainingError> {
        let policy = Policy::<F, B>::load(config, &surroundings.policy_folder, place)?;
        let reader = policy.reader(&Source::local(), surroundings.cancelled);
        let splits = played_splits(config, true);
        let environment = fitting(&reader, &config.rollout, environment, &splits, &mut ())?;
        let reference = (config.train.kl.coefficient.get() != 0.0)
            .then(|| without_adapter(F::valid(&policy.model)));
        let workers = surroundings.workers(config, &policy.model)?;
        let optimizer = AdamW::new(config.train.optimizer, config.train.updates());
        let playing = None;
        Ok(Self {
            config,
            surroundings,
            place,
            environment,
            policy,
            reference,
            workers,
            optimizer,
            playing,
        })
    }

    fn play(
        &mut self,
        version: u64,
        settings: &RolloutConfig,
        requests: &[RolloutRequest<'_>],
    ) -> Result<(Vec<Trajectory>, RolloutStatistics), TrainingError> {
        let (config, device) = (self.config, &self.place.device);
        let model = match &mut self.playing {
            Some(model) => model,
            none => {
                let model = F::valid(&self.policy.model);
                none.insert(for_rollouts(model, config, device, &Source::local())?)
            }
        };
        let episodes = requests.len().max(1);
        let workers = self.surroundings.rollout_workers(config, model, episodes)?;
        let local = self.policy.generators(model, device, config.precision, self.surroundings);
        let cancelled = self.surroundings.cancelled;
        if cancelled.load(Ordering::Relaxed) {
            return Err(TrainingError::Interrupted);
        }
        let context = self.policy.context(&local, &self.environment, version, cancelled, &workers);
        Ok(rollout(&context, settings, requests, &mut |_| {})?)
    }

    /// The updates of a step.
    ///
    /// # Errors
    /// When numbers go wrong, which they do at all ranks, or ranks do not work together any more.
    fn update(self, step: u64, sequences: Vec<TrainingSequence>) -> Result<Self, TrainingError> {
        let update = Update::<F, B> {
            config: self.config,
            reference: self.reference.as_ref(),
            workers: &self.workers,
            place: self.place,
            step,
            ranks: Ranks::of(self.surroundings),
        };
        let (mut policy, mut optimizer) = (self.policy, self.optimizer);
        let updated = update.run(policy.model, &mut optimizer, sequences);
        let (model, _) = updated.map_err(|bad| {
            let (BadUpdate::Batch(reason) | BadUpdate::Policy(reason) | BadUpdate::Ranks(reason)) =
                bad;
            TrainingError::Rank { rank: 0, reason }
        })?;
        policy.model = model;
        Ok(Self { policy, optimizer, playing: None, ..self })
    }
}
