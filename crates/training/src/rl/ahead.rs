//! Rollouts of later steps, played while a step's update runs (`train.max_staleness`).
//!
//! Before the update of step `n`, the rollouts of step `n + k` are ordered with the weights that
//! there are. So each step but the first `k` learns from rollouts that are exactly `k` steps behind,
//! whatever the clock says, and a run repeats itself. The player is one thread, which plays one
//! order after the other; it waits for no update, since an order holds its own weights.

use super::collect::{Requested, requests};
use crate::decoding::for_rollouts;
use crate::generating::Source;
use crate::rl::prompts::next_prompts;
use crate::{Policy, RunConfig, Surroundings, TrainingError, TrainingState};
use burn::tensor::backend::{AutodiffBackend, Backend};
use paretopo_agent::{RolloutStatistics, rollout};
use paretopo_environments::ToolEnvironment;
use paretopo_models::ModelFamily;
use paretopo_serving::Updated;
use paretopo_trajectory::Trajectory;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a step that waits for rollouts looks whether the run is to stop.
const LOOKED: Duration = Duration::from_millis(50);

/// A step's prompts, to be played with a version of the policy.
pub(super) struct Order<F: ModelFamily, I: Backend> {
    policy: Policy<F, I>,
    version: u64,
    prompts: Requested,
}

/// An order's rollouts, not yet scored.
pub(super) struct Played {
    /// Updates behind the weights.
    pub(super) version: u64,
    pub(super) prompts: Requested,
    pub(super) trajectories: Vec<Trajectory>,
    pub(super) statistics: RolloutStatistics,
    pub(super) workers: usize,
    /// What servers were given.
    pub(super) given: Option<Updated>,
}

/// Who plays.
pub(super) struct Player<'a, I: Backend> {
    pub(super) config: &'a RunConfig,
    pub(super) surroundings: &'a Surroundings<'a>,
    pub(super) device: &'a I::Device,
    pub(super) environment: Arc<ToolEnvironment>,
    pub(super) source: Arc<Mutex<Source>>,
    /// Set where nobody waits any more.
    pub(super) stopped: &'a AtomicBool,
}

impl<I: Backend> Player<'_, I> {
    /// Plays orders until there are no more, or one fails.
    pub(super) fn play_all<F: ModelFamily>(
        self,
        orders: Receiver<Order<F, I>>,
        tell: Sender<Result<Played, TrainingError>>,
    ) {
        for order in orders {
            let played = self.play(order);
            let is_last = played.is_err();
            if tell.send(played).is_err() || is_last {
                return;
            }
        }
    }

    fn play<F: ModelFamily>(&self, order: Order<F, I>) -> Result<Played, TrainingError> {
        let Order { policy, version, prompts } = order;
        let (config, environment) = (self.config, &*self.environment);
        // a validation has servers for itself
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let mut model = for_rollouts(policy.model.clone(), config, self.device, &source)?;
        let requests = requests(config, environment, &prompts);
        let workers = self.surroundings.rollout_workers(config, &mut model, requests.len())?;
        let given = source.give(&policy, &model, version, config, environment)?;
        let local = policy.generators(&model, self.device, config.precision, self.surroundings);
        let generators = source.generators(&local);
        let context = policy.context(generators, environment, version, self.stopped, &workers);
        let context = source.bounded(context);
        let (trajectories, statistics) =
            rollout(&context, &config.rollout, &requests, &mut |_| {})?;
        source.confirm()?;
        drop(requests);
        let workers = workers.count();
        Ok(Played { version, prompts, trajectories, statistics, workers, given })
    }
}

/// The orders of a run that have not been learnt from.
pub(super) struct Ahead<'a, F: ModelFamily, I: Backend> {
    orders: Sender<Order<F, I>>,
    played: Receiver<Result<Played, TrainingError>>,
    /// Steps that are ordered, and whose rollouts have not come.
    pending: VecDeque<u64>,
    /// Prompts that were drawn, those that are ordered included.
    drawn: u64,
    stopped: &'a AtomicBool,
}

impl<'a, F: ModelFamily, I: Backend> Ahead<'a, F, I> {
    pub(super) fn new(
        orders: Sender<Order<F, I>>,
        played: Receiver<Result<Played, TrainingError>>,
        state: &TrainingState,
        stopped: &'a AtomicBool,
    ) -> Self {
        let (pending, drawn) = (VecDeque::new(), state.prompts_drawn);
        Self { orders, played, pending, drawn, stopped }
    }

    /// Orders the rollouts of all steps up to so many behind this one, with these weights.
    ///
    /// # Errors
    /// When an environment has no task.
    pub(super) fn order<B: AutodiffBackend<InnerBackend = I>>(
        &mut self,
        policy: &Policy<F, B>,
        config: &RunConfig,
        environment: &ToolEnvironment,
        state: &TrainingState,
    ) -> Result<(), TrainingError> {
        let latest = (state.step + config.train.max_staleness).min(config.train.steps - 1);
        let first = self.pending.back().map_or(state.step, |step| step + 1);
        for step in first..=latest {
            let first_prompt = self.drawn;
            let count = config.train.prompts_per_step;
            let tasks = next_prompts(&**environment, config.seed, &mut self.drawn, count)?;
            let prompts = Requested { tasks, first_prompt, drawn: self.drawn };
            let policy = policy.snapshot();
            // one that has failed is heard of where its rollouts are waited for
            let _ = self.orders.send(Order { policy, version: state.updates, prompts });
            self.pending.push_back(step);
        }
        Ok(())
    }

    /// The rollouts of the next step.
    ///
    /// # Errors
    /// Those of playing them, and where the run is to stop.
    pub(super) fn next(&mut self, cancelled: &AtomicBool) -> Result<Played, TrainingError> {
        loop {
            if cancelled.load(Ordering::Relaxed) {
                self.stopped.store(true, Ordering::Relaxed);
                return Err(TrainingError::Interrupted);
            }
            match self.played.recv_timeout(LOOKED) {
                Ok(played) => {
                    self.pending.pop_front();
                    return played;
                }
                Err(RecvTimeoutError::Timeout) => {}
                // it panics, which the end of its thread tells
                Err(RecvTimeoutError::Disconnected) => return Err(TrainingError::Interrupted),
            }
        }
    }
}
