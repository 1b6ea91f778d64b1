//! A run of several processes. Rank 0 leads: it has the run's folder, draws the prompts, scores,
//! estimates advantages, and writes checkpoints, just as a run of one process does. The others
//! follow its orders ([`follower`]): each plays its share of the groups, computes its share of the
//! gradient, and makes the same update, so that all have the same weights.
//!
//! - A group is played by one rank, and the estimator sees the whole step at rank 0. Where servers
//!   draw, rank 0 plays all groups on them.
//! - Gradients are added in a fixed tree over `train.gradient_parts` parts of the micro-batches, so
//!   that the weights have the same bits for any number of ranks up to that.
//! - What a rank's share fails with is told to all before any of them goes on, so nobody waits for
//!   what will not come. A rank that dies ends the job; the run goes on from its latest checkpoint,
//!   with any number of ranks.

mod follower;
mod messages;
mod rollouts;
mod sharding;
mod tensors;

pub(crate) use follower::follow;
pub use follower::follow_in;
pub(crate) use messages::Order;
pub(crate) use tensors::trained_parameters;

use crate::learning::gradient::{PartSums, gradient_parts};
use crate::{
    AdamW, ConfigError, GeneratorConfig, GradientSum, Policy, RunConfig, Surroundings,
    TrainingError,
};
use burn::module::Module;
use burn::tensor::backend::AutodiffBackend;
use messages::Identity;
use paretopo_agent::Workers;
use paretopo_collective::exchange::{broadcast, from_bytes, share, to_bytes};
use paretopo_collective::tree::part;
use paretopo_collective::{Collective, CollectiveError, OneProcess};
use paretopo_models::{CausalLm, ModelFamily, flat_parameters, to_host};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tensors::{Carrier, broadcast_tensors, trained_weights, with_trained_weights};

/// The ranks of a run, as one of them sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranks<'a>(&'a dyn Collective);

impl<'a> Ranks<'a> {
    pub(crate) fn of(surroundings: &'a Surroundings<'_>) -> Self {
        Self(&*surroundings.collective)
    }

    /// A run of one process.
    pub(crate) fn alone() -> Self {
        Self(&OneProcess)
    }

    /// Those that play episodes: all of them, or rank 0 alone where servers draw the tokens, since it
    /// is they who share the work then.
    pub(crate) fn players(self, config: &RunConfig) -> Self {
        if config.generator == GeneratorConfig::default() { self } else { Self::alone() }
    }

    pub(crate) fn leads(self) -> bool {
        self.0.rank() == 0
    }

    pub(crate) fn count(self) -> usize {
        self.0.ranks()
    }

    /// Tells every follower what to do next.
    pub(crate) fn order(self, order: &Order) -> Result<(), CollectiveError> {
        if self.count() > 1 {
            broadcast(self.0, 0, to_bytes(order))?;
        }
        Ok(())
    }

    /// Sees that all ranks run the same program with the same configuration; all of them call this
    /// first.
    ///
    /// # Errors
    /// Says at every rank which one differs, and in what.
    pub(crate) fn agree(
        self,
        config: &RunConfig,
        surroundings: &Surroundings<'_>,
    ) -> Result<(), TrainingError> {
        if self.count() == 1 {
            return Ok(());
        }
        let all = share(self.0, Identity::of(config, surroundings)?)?;
        let differs = all
            .iter()
            .enumerate()
            .find_map(|(rank, other)| other.difference(&all[0]).map(|reason| (rank, reason)));
        match differs {
            Some((rank, reason)) => Err(TrainingError::Rank { rank, reason }),
            None => Ok(check(config)?),
        }
    }

    /// Sees that all ranks are prepared; all of them call this with what they have come to.
    ///
    /// # Errors
    /// The own one, or that of the first rank that has one.
    pub(crate) fn prepared<T>(self, own: Result<T, TrainingError>) -> Result<T, TrainingError> {
        let reason = own.as_ref().err().map(ToString::to_string);
        let all = share(self.0, reason)?;
        let own = own?;
        let failed = all.into_iter().enumerate().find_map(|(rank, reason)| Some((rank, reason?)));
        match failed {
            Some((rank, reason)) => Err(TrainingError::Rank { rank, reason }),
            None => Ok(own),
        }
    }

    /// Rank 0's trained weights and moments, at every rank; all of them call this.
    ///
    /// # Errors
    /// When a rank is lost, or holds other frozen weights.
    pub(crate) fn restore<F: ModelFamily, B: AutodiffBackend>(
        self,
        config: &RunConfig,
        policy: &mut Policy<F, B>,
        optimizer: &mut AdamW<B>,
    ) -> Result<(), TrainingError> {
        if self.count() == 1 {
            return Ok(());
        }
        let device = policy.model.devices().into_iter().next().unwrap_or_default();
        let updates = broadcast(self.0, 0, to_bytes(&optimizer.updates()))?;
        let carried = |tensors| broadcast_tensors(self.0, 0, tensors, &device);
        let trained = carried(trained_weights(&policy.model))?;
        let [first, second] = optimizer.moments();
        let moments = [carried(first)?, carried(second)?];
        if !self.leads() {
            policy.model = with_trained_weights(policy.model.clone(), trained);
            optimizer.go_on(from_bytes(0, &updates)?, moments);
        }
        self.keep_own_moments(config, &policy.model, optimizer);
        self.agree_on_weights(&policy.model)
    }

    /// Sees that all ranks hold the same weights, those that are not trained included; all of them
    /// call this.
    ///
    /// # Errors
    /// Says at every rank which one differs.
    pub(crate) fn agree_on_weights<B: AutodiffBackend, M: Module<B>>(
        self,
        model: &M,
    ) -> Result<(), TrainingError> {
        if self.count() == 1 {
            return Ok(());
        }
        let mut hasher = blake3::Hasher::new();
        for (_, parameter) in flat_parameters(model, |_, _| true) {
            let values = to_host(parameter);
            hasher.update(bytemuck::cast_slice(&values));
        }
        let all = share(self.0, hasher.finalize().to_hex().to_string())?;
        match all.iter().position(|sum| *sum != all[0]) {
            Some(rank) => Err(TrainingError::Rank {
                rank,
                reason: "its weights are not those of rank 0\nhint: all ranks need the same \
                         policy, and processors that round alike"
                    .into(),
            }),
            None => Ok(()),
        }
    }

    /// The gradient of all jobs, of which each rank computes its share, and what `work` returned for
    /// each, at every rank; all of them call this with the same jobs.
    ///
    /// # Errors
    /// The first error of `work`, in the order of the jobs, at every rank; and when a rank is lost.
    pub(crate) fn total_gradient<B, M, J, T, E>(
        self,
        (workers, parts): (&Workers, usize),
        model: &M,
        jobs: Vec<J>,
        work: impl Fn(&M, J, &mut GradientSum<B>) -> Result<T, E> + Sync,
    ) -> Result<(GradientSum<B>, Vec<T>), E>
    where
        B: AutodiffBackend,
        M: CausalLm<B>,
        J: Send,
        T: Send + Serialize + DeserializeOwned,
        E: Send + Serialize + DeserializeOwned + From<CollectiveError>,
    {
        let (rank, ranks, all) = (self.0.rank(), self.count(), jobs.len());
        let parts = parts.max(ranks);
        let own = part(parts, rank, ranks);
        let (first, last) = (part(all, own.start, parts).start, part(all, own.end - 1, parts).end);
        let jobs = jobs.into_iter().skip(first).take(last - first).collect();
        let sums = PartSums::new(all, parts, own);
        let (tree, found) = match gradient_parts(workers, model, jobs, sums, work) {
            Ok((tree, found)) => (Some(tree), Ok(found)),
            Err(error) => (None, Err(error)),
        };
        let found: Result<Vec<Vec<T>>, E> = share(self.0, found)?.into_iter().collect();
        let found: Vec<T> = found?.into_iter().flatten().collect();
        let tree = tree.expect("no rank has failed");
        let device = model.devices().into_iter().next().unwrap_or_default();
        let mut carrier = Carrier::<B> { collective: self.0, device };
        let total = tree.reduce((rank, ranks), &mut carrier)?;
        Ok((carrier.broadcast(total.unwrap_or_default())?, found))
    }

    /// Every rank's rows, in order of ranks, at every rank.
    ///
    /// # Errors
    /// When a rank is lost.
    pub(crate) fn share_rows<T: Serialize + DeserializeOwned>(
        self,
        own: Vec<T>,
    ) -> Result<Vec<T>, CollectiveError> {
        Ok(share(self.0, own)?.into_iter().flatten().collect())
    }

    /// This rank's share of some things.
    pub(crate) fn own_of<T>(self, all: Vec<T>) -> Vec<T> {
        let own = part(all.len(), self.0.rank(), self.count());
        all.into_iter().skip(own.start).take(own.len()).collect()
    }
}

/// # Errors
/// Names a setting that is of a run in one process.
fn check(config: &RunConfig) -> Result<(), ConfigError> {
    let wrong = |reason: &str| Err(ConfigError::Setting(reason.into()));
    if config.train.max_staleness > 0 && config.generator == GeneratorConfig::default() {
        return wrong(
            "`train.max_staleness` of several processes needs servers that draw\nhint: \
             `train.max_staleness=0`, a `generator`, or start it without `mpirun`",
        );
    }
    Ok(())
}

impl From<CollectiveError> for TrainingError {
    fn from(error: CollectiveError) -> Self {
        Self::Collective(error)
    }
}
