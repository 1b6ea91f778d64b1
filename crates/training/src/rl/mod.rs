//! The reinforcement learning recipe: roll out, score, estimate advantages, update; step by step,
//! resumable after a kill at any moment.
//!
//! A step reads top to bottom in `Training::step`; its parts are `validation`, `collect` (rollouts,
//! rewards, advantages), `update` (losses, gradients, the optimiser) and `metrics`.

mod ahead;
mod collect;
mod config;
mod metrics;
mod prompts;
mod tool_metrics;
mod update;
mod validation;

pub use config::{
    BadNumbers, ImportanceBeyond, ImportanceLevel, KeepConfig, OldLogprobs, TrainConfig,
};

use crate::decoding::for_rollouts;
use crate::evaluation::conclusion::Conclusion;
use crate::evaluation::{require_tasks, sampling_of};
use crate::fitting::{fitting, played_splits};
use crate::generating::Source;
use crate::learning::logprobs::{Scoring, logprobs_of};
use crate::ranks::{Order, Ranks, follow};
use crate::run::checkpoint;
use crate::{
    AdamW, EpisodeFailures, Metrics, Observer, Policy, RunConfig, RunFolder, Surroundings,
    TrainingError, TrainingState,
};
use ahead::{Ahead, Played, Player};
use burn::tensor::backend::AutodiffBackend;
use collect::{Batch, Collecting, Rolling};
use paretopo_agent::Workers;
use paretopo_environments::ToolEnvironment;
use paretopo_models::{CausalLm, ModelFamily, Placement, without_adapter};
use paretopo_serving::Updated;
use paretopo_trajectory::Split;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use update::UpdateSums;
pub(crate) use update::{BadUpdate, Update};

/// Trains a policy and evaluates it; the result lies in `run/policy` and `run/evaluation.json`.
///
/// # Errors
/// When something cannot be read or written, the numbers go wrong, all episodes of too many steps in
/// a row failed, or the run is interrupted. Running it again resumes.
pub fn train<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    run: &Path,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    let ranks = Ranks::of(surroundings);
    ranks.agree(config, surroundings)?;
    if !ranks.leads() {
        return follow::<F, B>(config, place, surroundings);
    }
    let opened = RunFolder::open(run, config, "train", surroundings)
        .and_then(|folder| Ok((surroundings.environment(config, observer)?, folder)));
    lead::<F, B>(config, opened, place, surroundings, observer)
}

/// The same in an environment that is built already, which may be one of your own. Of several ranks,
/// the first one calls this, and the others [`crate::follow_in`].
///
/// # Errors
/// As [`train`].
pub fn train_in<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    environment: ToolEnvironment,
    folder: RunFolder,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    Ranks::of(surroundings).agree(config, surroundings)?;
    lead::<F, B>(config, Ok((environment, folder)), place, surroundings, observer)
}

/// The run as rank 0 sees it, which is all of it where there is no other.
fn lead<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    opened: Result<(ToolEnvironment, RunFolder), TrainingError>,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    let ranks = Ranks::of(surroundings);
    let last_words = opened.as_ref().ok().map(|(_, folder)| folder.last_words());
    let prepared = opened.and_then(|(environment, folder)| {
        Training::<F, B>::prepare(config, environment, folder, place, surroundings, observer)
    });
    let done = ranks.prepared(prepared).and_then(|mut training| {
        ranks.restore(config, &mut training.policy, &mut training.optimizer)?;
        let trained = match config.train.max_staleness {
            0 => training.steps(None, observer),
            _ => training.steps_ahead(observer),
        };
        let done = trained.and_then(|training| training.conclude(observer));
        // whoever is lost needs not to be told
        let told = ranks.order(&Order::End);
        done.and_then(|()| Ok(told?))
    });
    last_words.iter().flat_map(|words| words.take()).for_each(|said| observer.note(&said));
    done
}

/// Notes of an update of servers' weights.
fn tell_given(given: Option<&Updated>, metrics: &mut Metrics, observer: &mut dyn Observer) {
    let Some(given) = given else { return };
    metrics.insert("generator/update_seconds".into(), given.seconds);
    metrics.insert("generator/difference".into(), given.difference);
    given.away.iter().for_each(|away| {
        observer.note(&format!("a server is away, and gets its weights later: {away}"));
    });
}

/// A run between two steps.
struct Training<'a, F: ModelFamily, B: AutodiffBackend> {
    config: &'a RunConfig,
    surroundings: &'a Surroundings<'a>,
    place: &'a Placement<B>,
    folder: RunFolder,
    environment: Arc<ToolEnvironment>,
    policy: Policy<F, B>,
    /// What generates with it.
    source: Arc<Mutex<Source>>,
    /// What the KL penalty is taken against: of a policy with an adapter, the policy without it.
    reference: Option<F::Model<B::InnerBackend>>,
    workers: Workers,
    optimizer: AdamW<B>,
    state: TrainingState,
    /// Notes that are not repeated at every step, by topic.
    said: BTreeSet<&'static str>,
    /// Steps in a row of which all episodes failed; a checkpoint is from before the first of them.
    failed_steps: u64,
}

impl<'a, F: ModelFamily, B: AutodiffBackend> Training<'a, F, B> {
    /// Everything that can be wrong is better known now than after hours of training.
    fn prepare(
        config: &'a RunConfig,
        environment: ToolEnvironment,
        mut folder: RunFolder,
        place: &'a Placement<B>,
        surroundings: &'a Surroundings<'a>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainingError> {
        for note in folder.take_notes() {
            observer.note(&note);
        }
        let validation = (config.train.validate_every > 0).then_some(Split::Validation);
        for split in [Split::Train, config.evaluation.split].into_iter().chain(validation) {
            require_tasks(&environment, split)?;
        }
        let mut policy = Policy::<F, B>::load(config, &surroundings.policy_folder, place)?;
        sampling_of(&config.evaluation, &policy.text)?;
        let source = Source::open(config, &policy, Some(folder.path()))?;
        let reader = policy.reader(&source, surroundings.cancelled);
        let splits = played_splits(config, true);
        let environment = fitting(&reader, &config.rollout, environment, &splits, observer)?;
        let reference = (config.train.kl.coefficient.get() != 0.0)
            .then(|| without_adapter(F::valid(&policy.model)));
        let workers = surroundings.workers(config, &policy.model)?;
        let mut optimizer = AdamW::new(config.train.optimizer, config.train.updates());
        let run = folder.path().to_owned();
        let mut note = |message: &str| observer.note(message);
        let restored =
            checkpoint::restore(&run, &mut policy, &mut optimizer, &place.device, &mut note)?;
        let state = restored.unwrap_or_default();
        state.require_of_training(&run, config, &environment)?;
        if state.step > 0 {
            note(&format!("resuming after step {}", state.step));
        }
        folder.rewind(state.step, &mut note)?;
        Ok(Self {
            config,
            surroundings,
            place,
            folder,
            environment: Arc::new(environment),
            policy,
            source: Arc::new(Mutex::new(source)),
            reference,
            workers,
            optimizer,
            state,
            said: BTreeSet::new(),
            failed_steps: 0,
        })
    }

    /// All steps that are left.
    fn steps(
        mut self,
        mut ahead: Option<Ahead<'_, F, B::InnerBackend>>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainingError> {
        while self.state.step < self.config.train.steps {
            if self.surroundings.cancelled.load(Ordering::Relaxed) {
                return Err(TrainingError::Interrupted);
            }
            self = self.step(ahead.as_mut(), observer)?;
        }
        Ok(self)
    }

    /// The same, while another thread plays the rollouts of later steps.
    fn steps_ahead(self, observer: &mut dyn Observer) -> Result<Self, TrainingError> {
        let stopped = AtomicBool::new(false);
        let device = self.place.device.clone();
        std::thread::scope(|scope| {
            let (orders, ordered) = channel();
            let (tell, played) = channel();
            let player = Player::<B::InnerBackend> {
                config: self.config,
                surroundings: self.surroundings,
                device: &device,
                environment: self.environment.clone(),
                source: self.source.clone(),
                stopped: &stopped,
            };
            scope.spawn(move || player.play_all::<F>(ordered, tell));
            let ahead = Ahead::new(orders, played, &self.state, &stopped);
            let done = self.steps(Some(ahead), observer);
            stopped.store(true, Ordering::Relaxed);
            done
        })
    }

    fn step(
        mut self,
        ahead: Option<&mut Ahead<'_, F, B::InnerBackend>>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainingError> {
        let step = self.state.step;
        let mut metrics = Metrics::new();
        let played = match ahead {
            None => None,
            Some(ahead) => {
                ahead.order(&self.policy, self.config, &self.environment, &self.state)?;
                Some(ahead.next(self.surroundings.cancelled).map_err(|error| error.at_step(step))?)
            }
        };
        let mut batch =
            self.play(played, &mut metrics, observer).map_err(|error| error.at_step(step))?;
        self.tell(&batch, observer)?;
        let train = &self.config.train;
        let saved =
            train.save_trajectories_every > 0 && step.is_multiple_of(train.save_trajectories_every);
        if saved {
            if train.save_trainer_logprobs {
                self.note_trainer(&mut batch);
            }
            batch.save(&self.folder, "", step)?;
            let tokenizer = &self.policy.text.tokenizer;
            let read = |ids: &[u32]| tokenizer.decode(ids).unwrap_or_default();
            self.folder.show(step, batch.groups.iter().flatten(), &read);
        }
        let experts = self.policy.model.experts();
        metrics::of_batch(&batch, &self.environment, &self.state, experts, &mut metrics);
        let started = Instant::now();
        let (mut training, sums) = self.update(&batch)?;
        training.tell_skipped(&sums, &batch, observer)?;
        let seconds = started.elapsed().as_secs_f64();
        metrics::of_update(&sums, seconds, &batch, training.workers.count(), &mut metrics);
        training.folder.log(step, &metrics)?;
        training.folder.take_notes().iter().for_each(|note| observer.note(note));
        training.state.step += 1;
        training.state.updates = training.optimizer.updates();
        observer.step(training.state.step, train.steps, &metrics);
        training.checkpoint_if_due()?;
        Ok(training)
    }

    /// What the step learns from; before it a validation, if one is due.
    fn play(
        &mut self,
        played: Option<Played>,
        metrics: &mut Metrics,
        observer: &mut dyn Observer,
    ) -> Result<Batch, TrainingError> {
        let (config, environment) = (self.config, self.environment.clone());
        let ranks = Ranks::of(self.surroundings).players(config);
        let folder = &self.folder;
        let collecting = Collecting { config, environment: &environment, folder, ranks };
        let every = config.train.validate_every;
        let validates = every > 0 && self.state.step.is_multiple_of(every);
        let played = match played {
            Some(played) if !validates => {
                tell_given(played.given.as_ref(), metrics, observer);
                let rolling = Rolling::Played(played);
                return collecting.collect(rolling, &mut self.state, observer);
            }
            played => played,
        };
        let device = &self.place.device;
        let episodes = config.train.prompts_per_step * config.train.rollouts_per_prompt;
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let mut model = for_rollouts(F::valid(&self.policy.model), config, device, &source)?;
        let workers = self.surroundings.rollout_workers(config, &mut model, episodes)?;
        let version = self.state.updates;
        let given = source.give(&self.policy, &model, version, config, &environment)?;
        tell_given(given.as_ref(), metrics, observer);
        let local = self.policy.generators(&model, device, config.precision, self.surroundings);
        let generators = source.generators(&local);
        let cancelled = self.surroundings.cancelled;
        let context = self.policy.context(generators, &environment, version, cancelled, &workers);
        let context = source.bounded(context);
        if validates {
            let point = collecting.validate(&context, &mut self.state, metrics, observer)?;
            if let Some(point) = point {
                let said = &mut self.said;
                let mut warn = |note: &str| {
                    if said.insert("best") {
                        observer.note(note);
                    }
                };
                let (policy, state, folder) = (&self.policy, &mut self.state, &self.folder);
                let is_kept = config.train.keep.best;
                validation::keep_best(&point, policy, state, folder, is_kept, &mut warn)?;
            }
        }
        let rolling = match played {
            Some(played) => Rolling::Played(played),
            None => Rolling::Now(&context),
        };
        let batch = collecting.collect(rolling, &mut self.state, observer)?;
        source.confirm()?;
        Ok(batch)
    }

    /// Notes of the estimator, and whether the step's episodes failed.
    ///
    /// # Errors
    /// When too many steps in a row failed.
    fn tell(&mut self, batch: &Batch, observer: &mut dyn Observer) -> Result<(), TrainingError> {
        for (topic, note) in &batch.advantages.notes {
            if self.said.insert(topic) {
                observer.note(note);
            }
        }
        let limit = self.config.train.stop_after_failed_steps;
        let Some(failures) = batch.failures(self.config.train.rollouts_per_prompt) else {
            self.failed_steps = 0;
            return Ok(());
        };
        self.failed_steps += 1;
        let step = self.state.step;
        if self.failed_steps >= limit {
            return Err(self.failed_in_a_row(limit, failures, batch)?);
        }
        observer.note(&format!(
            "step {step}: {failures} (the run stops after {limit} such steps in a row)"
        ));
        Ok(())
    }

    /// What ends a run after as many failed steps in a row as are allowed; the last one's episodes
    /// are written out.
    ///
    /// # Errors
    /// When they cannot be written.
    fn failed_in_a_row(
        &self,
        count: u64,
        failures: EpisodeFailures,
        batch: &Batch,
    ) -> Result<TrainingError, TrainingError> {
        // groups that were left out have been written out already
        let episodes = Some(batch).filter(|batch| !batch.groups.is_empty());
        let step = self.state.step;
        let episodes =
            episodes.map(|batch| batch.save(&self.folder, "failed-", step)).transpose()?;
        let what = match count {
            1 => format!("step {step}"),
            _ => format!("step {step}, the last of {count} failed steps in a row"),
        };
        Ok(TrainingError::EpisodesFailed { what, failures, episodes })
    }

    /// Writes down with each trajectory what the policy as it is before the update gives its tokens.
    fn note_trainer(&self, batch: &mut Batch) {
        let place = self.place.inner();
        let scoring = Scoring {
            tokens: self.config.train.micro_batch_tokens,
            precision: self.config.precision.into(),
            replay: true,
        };
        // of all sampled tokens, also of trajectories that are masked
        let sequences = update::sequences(&batch.groups, &batch.advantages, false);
        let model = F::valid(&self.policy.model);
        let logprobs = logprobs_of(&model, &sequences, scoring, &self.workers, &place);
        batch.note_trainer(logprobs);
    }

    /// All updates of the step.
    ///
    /// # Errors
    /// When numbers go wrong; the batch is then written out.
    fn update(self, batch: &Batch) -> Result<(Self, UpdateSums), TrainingError> {
        let (step, ranks) = (self.state.step, Ranks::of(self.surroundings));
        let update = Update::<F, B> {
            config: self.config,
            reference: self.reference.as_ref(),
            workers: &self.workers,
            place: self.place,
            step,
            ranks,
        };
        let masked = self.config.train.mask_overlong;
        let sequences = update::sequences(&batch.groups, &batch.advantages, masked);
        if ranks.count() > 1 {
            ranks.order(&Order::Update { step, sequences: sequences.clone() })?;
        }
        let mut optimizer = self.optimizer;
        let mut policy = self.policy;
        match update.run(policy.model, &mut optimizer, sequences) {
            Ok((model, sums)) => {
                policy.model = model;
                Ok((Self { policy, optimizer, ..self }, sums))
            }
            Err(BadUpdate::Policy(reason)) => {
                batch.save(&self.folder, "failed-", step)?;
                Err(TrainingError::Policy { step: Some(step), reason })
            }
            Err(BadUpdate::Batch(reason)) => {
                let batch = batch.save(&self.folder, "failed-", step)?;
                Err(TrainingError::Numbers { step, reason, batch })
            }
            Err(BadUpdate::Ranks(reason)) => Err(TrainingError::Rank { rank: 0, reason }),
        }
    }

    fn tell_skipped(
        &self,
        sums: &UpdateSums,
        batch: &Batch,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainingError> {
        if !sums.skipped.is_empty() {
            batch.save(&self.folder, "skipped-", self.state.step)?;
        }
        for reason in &sums.skipped {
            observer.note(&format!("step {}: left out an update: {reason}", self.state.step));
        }
        Ok(())
    }

    fn checkpoint_if_due(&self) -> Result<(), TrainingError> {
        let train = &self.config.train;
        let is_due = self.state.step.is_multiple_of(train.checkpoint_every)
            || self.state.step == train.steps;
        if is_due && self.failed_steps == 0 {
            let ranks = Ranks::of(self.surroundings);
            ranks.order(&Order::Checkpoint)?;
            let model = &self.policy.model;
            ranks.agree_on_weights(model)?;
            let optimizer = ranks.whole_optimizer(self.config, model, &self.optimizer)?;
            let run = self.folder.path();
            checkpoint::save(run, &self.policy, &optimizer, &self.state, train.keep.latest)?;
        }
        Ok(())
    }

    fn conclude(mut self, observer: &mut dyn Observer) -> Result<(), TrainingError> {
        let conclusion = Conclusion {
            config: self.config,
            folder: &self.folder,
            environment: &self.environment,
            device: &self.place.device,
            surroundings: self.surroundings,
            ranks: Ranks::of(self.surroundings),
        };
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let evaluation = conclusion
            .write(self.policy, &mut source, self.state.updates, observer)
            .map_err(|error| error.at_step(self.state.step))?;
        self.folder.finish(self.state.step, Some(&evaluation));
        Ok(())
    }
}
