//! The warm-start recipe: next-token cross-entropy on an environment's demonstrations or on
//! conversations of one's own, on the tokens that the agent writes.

mod config;
mod conversations;
mod demonstrations;
mod draws;

pub use config::{ConversationFile, SftConfig};

use crate::evaluation::conclusion::{Conclusion, write_policy};
use crate::evaluation::{require_tasks, sampling_of};
use crate::fitting::{fitting, played_splits};
use crate::generating::Source;
use crate::learning::arrangement::micro_batches;
use crate::ranks::Ranks;
use crate::run::checkpoint;
use crate::run::run_folder::write_atomically;
use crate::seeds::{Purpose, derive_seed};
use crate::{
    AdamW, ConfigError, GradientSum, Metrics, MicroBatch, Observer, Policy, RunConfig, RunFolder,
    Surroundings, TrainingError, TrainingSequence, TrainingState, accumulate_gradient,
    total_gradient,
};
use burn::tensor::backend::AutodiffBackend;
use conversations::Conversations;
use demonstrations::{measure, sequence_of, weigh};
use paretopo_agent::Workers;
use paretopo_environments::ToolEnvironment;
use paretopo_models::{ModelConfig, ModelFamily, Placement, to_host};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Trains a policy on the environment's demonstrations, or on the conversations that
/// [`SftConfig::data`] names, and writes it to `run/policy`. After demonstrations it is evaluated
/// in the environment.
///
/// # Errors
/// When something cannot be read or written, the environment has no demonstrations, a conversation
/// is none or cannot be rendered, they do not fit into the model's context, or the loss or a weight
/// is no number.
pub fn sft<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    run: &Path,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    if surroundings.collective.ranks() > 1 {
        let reason = "a warm start is of one process\nhint: start `sft` without `mpirun`";
        return Err(ConfigError::Setting(reason.into()).into());
    }
    let folder = RunFolder::open(run, config, "sft", surroundings)?;
    let last_words = folder.last_words();
    let done = sft_in::<F, B>(config, folder, place, surroundings, observer);
    last_words.take().iter().for_each(|said| observer.note(said));
    done
}

fn sft_in<F: ModelFamily, B: AutodiffBackend>(
    config: &RunConfig,
    folder: RunFolder,
    place: &Placement<B>,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(), TrainingError> {
    let mut start = WarmStart::<F, B>::prepare(config, folder, place, surroundings, observer)?;
    while start.state.step < config.sft.steps {
        if surroundings.cancelled.load(Ordering::Relaxed) {
            return Err(TrainingError::Interrupted);
        }
        start = start.step(observer)?;
    }
    let step = start.state.step;
    let written = match &start.lessons {
        Lessons::Demonstrations { environment, .. } => {
            let (folder, device, ranks) = (&start.folder, &place.device, Ranks::alone());
            Conclusion { config, folder, environment, device, surroundings, ranks }
                .write(start.policy, &mut Source::local(), start.state.updates, observer)
                .map(Some)
        }
        Lessons::Conversations(_) => write_policy(start.policy, &start.folder).map(|_| None),
    };
    let evaluation = written.map_err(|error| error.at_step(step))?;
    start.folder.finish(step, evaluation.as_ref());
    Ok(())
}

/// What is learnt from.
enum Lessons {
    Demonstrations {
        environment: ToolEnvironment,
        /// Demonstrations that take the place of those that are too long.
        fitting: Vec<TrainingSequence>,
    },
    Conversations(Conversations),
}

impl Lessons {
    /// # Errors
    /// When they cannot be had, or are too long, and that is to stop the run.
    fn prepare<F: ModelFamily, B: AutodiffBackend>(
        config: &RunConfig,
        run: &Path,
        policy: &Policy<F, B>,
        surroundings: &Surroundings<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainingError> {
        let cancelled = surroundings.cancelled;
        if !config.sft.data.is_empty() {
            let found = Conversations::load(config, policy, cancelled, observer)?;
            return Ok(Self::Conversations(found));
        }
        let environment = surroundings.environment(config, observer)?;
        require_tasks(&environment, config.evaluation.split)?;
        // better now than after hours of training
        sampling_of(&config.evaluation, &policy.text)?;
        let reader = policy.reader(&Source::local(), cancelled);
        let splits = played_splits(config, false);
        let environment = fitting(&reader, &config.rollout, environment, &splits, observer)?;
        let fitting = measure(config, run, policy, &environment, observer)?;
        Ok(Self::Demonstrations { environment, fitting })
    }
}

/// A run between two steps.
struct WarmStart<'a, F: ModelFamily, B: AutodiffBackend> {
    config: &'a RunConfig,
    run: PathBuf,
    place: &'a Placement<B>,
    folder: RunFolder,
    policy: Policy<F, B>,
    lessons: Lessons,
    workers: Workers,
    optimizer: AdamW<B>,
    state: TrainingState,
}

/// What a micro-batch came to.
#[derive(Clone, Copy, Default)]
struct Sums {
    loss: f64,
    /// Tokens that were read, padding included.
    read: usize,
    padding: usize,
    forward_seconds: f64,
    backward_seconds: f64,
}

impl<'a, F: ModelFamily, B: AutodiffBackend> WarmStart<'a, F, B> {
    fn prepare(
        config: &'a RunConfig,
        mut folder: RunFolder,
        place: &'a Placement<B>,
        surroundings: &Surroundings<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainingError> {
        let path = folder.path().to_owned();
        let run = path.as_path();
        for note in folder.take_notes() {
            observer.note(&note);
        }
        let mut policy = Policy::<F, B>::load(config, &surroundings.policy_folder, place)?;
        let mut lessons = Lessons::prepare(config, run, &policy, surroundings, observer)?;
        let workers = surroundings.workers(config, &policy.model)?;
        let mut optimizer = AdamW::new(config.sft.optimizer, config.sft.steps);
        let mut note = |message: &str| observer.note(message);
        let restored =
            checkpoint::restore(run, &mut policy, &mut optimizer, &place.device, &mut note)?;
        let state = restored.unwrap_or_default();
        state.require_of_sft(run, config)?;
        folder.rewind(state.step, &mut note)?;
        if let Lessons::Conversations(conversations) = &mut lessons {
            conversations.skip(state.step * config.sft.batch_size as u64);
        }
        Ok(Self { config, run: path, place, folder, policy, lessons, workers, optimizer, state })
    }

    fn step(mut self, observer: &mut dyn Observer) -> Result<Self, TrainingError> {
        let started = Instant::now();
        let settings = &self.config.sft;
        let step = self.state.step;
        let (sequences, long) = self.sequences()?;
        let tokens: usize = sequences.iter().map(|sequence| sequence.ids.len()).sum();
        let (gradient, sums) = self.gradient_of(&sequences);
        let norm = gradient.norm();
        if !sums.loss.is_finite() || !norm.is_finite() {
            return Err(self.bad_numbers(&gradient, &sequences, sums.loss, norm)?);
        }
        let learning_rate = self.optimizer.learning_rate();
        let updating = Instant::now();
        self.policy.model = self.optimizer.update(self.policy.model, gradient, norm);
        if let Some(found) = self.optimizer.find_not_finite(&self.policy.model) {
            let reason = format!("after update {}, {found}", self.optimizer.updates());
            return Err(TrainingError::Policy { step: Some(step), reason });
        }
        let workers = self.workers.count() as f64;
        let mut metrics = vec![
            ("loss", sums.loss),
            ("gradient_norm", norm),
            ("learning_rate", learning_rate),
            ("phase/forward_seconds", sums.forward_seconds / workers),
            ("phase/backward_seconds", sums.backward_seconds / workers),
            ("phase/optimizer_seconds", updating.elapsed().as_secs_f64()),
            ("padding", sums.padding as f64 / sums.read.max(1) as f64),
            ("tokens_per_second", tokens as f64 / started.elapsed().as_secs_f64()),
        ];
        self.state.step += 1;
        self.state.updates = self.optimizer.updates();
        let is_last = self.state.step == settings.steps;
        match &self.lessons {
            Lessons::Demonstrations { .. } => metrics.push(("long_demonstrations", long as f64)),
            Lessons::Conversations(held_back)
                if is_last || self.state.step.is_multiple_of(settings.validate_every) =>
            {
                let (model, place) = (F::valid(&self.policy.model), self.place.inner());
                let loss = held_back.validation_loss(&model, self.config, &self.workers, &place);
                metrics.extend(loss.map(|loss| ("validation_loss", loss)));
            }
            Lessons::Conversations(_) => {}
        }
        let metrics: Metrics =
            metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.folder.log(step, &metrics)?;
        self.folder.take_notes().iter().for_each(|note| observer.note(note));
        observer.step(self.state.step, settings.steps, &metrics);
        if self.state.step.is_multiple_of(settings.checkpoint_every) || is_last {
            let keep = self.config.train.keep.latest;
            checkpoint::save(&self.run, &self.policy, &self.optimizer, &self.state, keep)?;
        }
        Ok(self)
    }

    /// What the step learns from, and how many demonstrations were too long.
    fn sequences(&mut self) -> Result<(Vec<TrainingSequence>, usize), TrainingError> {
        let size = self.config.sft.batch_size;
        let (environment, fitting) = match &mut self.lessons {
            Lessons::Conversations(conversations) => return Ok((conversations.next(size), 0)),
            Lessons::Demonstrations { environment, fitting } => (environment, fitting),
        };
        let first = self.state.step * size as u64;
        let mut sequences = Vec::with_capacity(size);
        let mut long = 0;
        for index in first..first + size as u64 {
            let sequence = sequence_of(self.config, &self.run, &self.policy, environment, index)?;
            if sequence.ids.len() <= self.policy.config.context() {
                sequences.push(sequence);
            } else {
                sequences.push(fitting[index as usize % fitting.len()].clone());
                long += 1;
            }
        }
        weigh(&mut sequences);
        Ok((sequences, long))
    }

    fn gradient_of(&self, sequences: &[TrainingSequence]) -> (GradientSum<B>, Sums) {
        let groups = micro_batches(sequences, self.config.sft.micro_batch_tokens);
        let jobs = groups.into_iter().enumerate().collect();
        let work =
            |model: &F::Model<B>, (index, group): (usize, Vec<usize>), sum: &mut GradientSum<B>| {
                let rows: Vec<&TrainingSequence> =
                    group.iter().map(|place| &sequences[*place]).collect();
                self.accumulate(model, &rows, index, sum)
            };
        let (gradient, parts) = total_gradient(&self.workers, &self.policy.model, jobs, work)
            .unwrap_or_else(|never| match never {});
        let mut sums = Sums::default();
        for part in parts {
            sums.loss += part.loss;
            sums.read += part.read;
            sums.padding += part.padding;
            sums.forward_seconds += part.forward_seconds;
            sums.backward_seconds += part.backward_seconds;
        }
        (gradient, sums)
    }

    /// Adds the gradient of the so-many-th micro-batch.
    fn accumulate(
        &self,
        model: &F::Model<B>,
        rows: &[&TrainingSequence],
        index: usize,
        sum: &mut GradientSum<B>,
    ) -> Result<Sums, Infallible> {
        let started = Instant::now();
        let purpose = Purpose::Dropout(index as u64);
        let batch = MicroBatch::<B>::new(rows, &self.place.device)
            .in_precision(self.config.precision)
            .with_dropout(derive_seed(self.config.seed, self.state.step, purpose));
        let weights = batch.weights.clone();
        let (read, padding) = (batch.tokens(), batch.padding());
        let mut sums = Sums { read, padding, ..Sums::default() };
        let memory = self.config.sft.memory;
        accumulate_gradient::<F, B, Infallible>(
            model,
            &batch,
            memory,
            false,
            sum,
            |logprobs, _| {
                let part = (logprobs * weights).sum().neg();
                sums.loss = f64::from(to_host(part.clone().inner())[0]);
                sums.forward_seconds = started.elapsed().as_secs_f64();
                Ok(part)
            },
        )?;
        sums.backward_seconds = started.elapsed().as_secs_f64() - sums.forward_seconds;
        Ok(sums)
    }

    /// What a loss or gradient that is no number means; the batch's ids are written out.
    ///
    /// # Errors
    /// When they cannot be written.
    fn bad_numbers(
        &self,
        gradient: &GradientSum<B>,
        sequences: &[TrainingSequence],
        loss: f64,
        norm: f64,
    ) -> Result<TrainingError, TrainingError> {
        let step = self.state.step;
        let batch = self.run.join(format!("failed-step-{step:06}.json"));
        let ids: Vec<&Vec<u32>> = sequences.iter().map(|sequence| &sequence.ids).collect();
        write_atomically(&batch, &serde_json::to_vec(&ids).expect("plain data serialises"))?;
        let reason = gradient.in_words(&self.policy.model, loss, norm);
        Ok(TrainingError::Numbers { step, reason, batch })
    }
}
