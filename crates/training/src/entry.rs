//! What a backend offers to the command line: plain functions without type parameters.
//!
//! Generic code is compiled where a concrete backend is named. A backend's crate does that once, by
//! [`EntryPoints::of`]; whoever calls the functions need not know burn.

use crate::evaluate::require_tasks;
use crate::fitting::{fitting, played_splits};
use crate::{
    Check, EpisodeFailures, Evaluation, FinishedEpisodes, Observer, Policy, RunConfig,
    Surroundings, TrainingError, train,
};
use burn::tensor::backend::AutodiffBackend;
use paretopo_agent::{RolloutRequest, Workers, require_question, rollout};
use paretopo_engine::SamplingPlace;
use paretopo_generation::log_softmax;
use paretopo_models::{
    CausalLm, ForwardInput, Kernels, ModelConfig, ModelFamily, Placement, first_not_finite,
    first_overflow, in_precision, load_folder, to_host,
};
use paretopo_trajectory::{Task, Trajectory, TrajectoryId};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A concrete backend.
pub trait BackendChoice {
    /// The name for `--backend`.
    const NAME: &'static str;
    /// Whether it computes on the CPU, where several workers can share the cores.
    const ON_CPU: bool;
    /// The backend, with autodiff.
    type Backend: AutodiffBackend;

    /// The device of that index.
    ///
    /// # Errors
    /// Says what is missing on this machine.
    fn device(
        index: usize,
    ) -> Result<<Self::Backend as burn::tensor::backend::BackendTypes>::Device, String>;

    /// What its models use in place of their layers' formulas, with autodiff and without.
    fn kernels() -> Kernels {
        Kernels::none()
    }
}

/// A text or a list of ids to score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ScoreRequest {
    /// Token ids.
    Ids {
        /// At least one.
        ids: Vec<u32>,
    },
    /// Text, encoded with the tokenizer's special tokens.
    Text {
        /// At least one token.
        text: String,
    },
}

/// The scores of a sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Log-probability of each token but the first, given those before it.
    pub logprobs: Vec<f32>,
    /// The ten likeliest next tokens, as id and logit.
    pub top: Vec<(u32, f32)>,
}

/// A recipe: device index, configuration, run folder, surroundings, observer.
pub type Recipe =
    fn(usize, &RunConfig, &Path, &Surroundings<'_>, &mut dyn Observer) -> Result<(), TrainingError>;
/// The evaluation recipe: device index, configuration, what an interrupted call has finished,
/// surroundings, observer.
type EvaluateRecipe = fn(
    usize,
    &RunConfig,
    Option<FinishedEpisodes>,
    &Surroundings<'_>,
    &mut dyn Observer,
) -> Result<(Evaluation, Vec<Trajectory>), TrainingError>;
type Solve = fn(usize, &RunConfig, &str, &Surroundings<'_>) -> Result<Trajectory, TrainingError>;
type CheckFixtures = fn(usize, &Path) -> Result<Vec<Check>, TrainingError>;
type Score = fn(usize, &Path, &[ScoreRequest]) -> Result<Vec<Scores>, TrainingError>;

/// The functions of one backend; the first argument is the device's index.
#[derive(Clone, Copy, Debug)]
pub struct EntryPoints {
    /// The name for `--backend`.
    pub name: &'static str,
    /// CPU threads that it may use; 1 if it computes elsewhere.
    pub threads: fn() -> usize,
    /// Where it draws tokens.
    pub sampling_place: SamplingPlace,
    /// Whether the device of that index is there.
    pub probe: fn(usize) -> Result<String, String>,
    /// The reinforcement learning recipe.
    pub train: Recipe,
    /// The warm-start recipe.
    pub sft: Recipe,
    /// The evaluation recipe on the configuration's policy.
    pub evaluate: EvaluateRecipe,
    /// One episode on a question.
    pub solve: Solve,
    /// Log-probabilities of given sequences.
    pub score: Score,
    /// Comparison with fixtures.
    pub check: CheckFixtures,
}

impl EntryPoints {
    /// The entry points of a backend, for a family of models.
    pub fn of<C: BackendChoice, F: ModelFamily>() -> Self {
        Self {
            name: C::NAME,
            threads: || if C::ON_CPU { rayon::current_num_threads() } else { 1 },
            sampling_place: if C::ON_CPU { SamplingPlace::Host } else { SamplingPlace::Device },
            probe: |index| C::device(index).map(|device| format!("{device:?}")),
            train: |index, config, run, surroundings, observer| {
                train::<F, C::Backend>(config, run, &place::<C>(index)?, surroundings, observer)
            },
            sft: |index, config, run, surroundings, observer| {
                crate::sft::<F, C::Backend>(
                    config,
                    run,
                    &place::<C>(index)?,
                    surroundings,
                    observer,
                )
            },
            evaluate: evaluate_policy::<C, F>,
            solve: solve::<C, F>,
            score: score::<C, F>,
            check: |index, fixtures| {
                crate::check::check::<F, C::Backend>(fixtures, &place::<C>(index)?)
            },
        }
    }
}

type Inner<C> = <<C as BackendChoice>::Backend as AutodiffBackend>::InnerBackend;

fn place<C: BackendChoice>(index: usize) -> Result<Placement<C::Backend>, TrainingError> {
    let missing = |reason| TrainingError::Backend { name: C::NAME, reason };
    Ok(Placement { device: C::device(index).map_err(missing)?, kernels: C::kernels() })
}

fn evaluate_policy<C: BackendChoice, F: ModelFamily>(
    index: usize,
    config: &RunConfig,
    finished: Option<FinishedEpisodes>,
    surroundings: &Surroundings<'_>,
    observer: &mut dyn Observer,
) -> Result<(Evaluation, Vec<Trajectory>), TrainingError> {
    let place = place::<C>(index)?.inner();
    let device = &place.device;
    let environment = surroundings.environment(config, observer)?;
    require_tasks(environment.as_ref(), config.evaluation.split)?;
    let policy = Policy::<F, Inner<C>>::load(config, &surroundings.policy_folder, &place)?.merged();
    let reader = policy.reader(surroundings.cancelled);
    let splits = played_splits(config, false);
    let environment = fitting(&reader, &config.rollout, environment, &splits, observer)?;
    let model = in_precision(policy.model.clone(), config.precision.into());
    let workers = surroundings.workers(config, &model)?;
    let generators = policy.generators(&model, &device, config.precision, surroundings);
    let context =
        policy.context(&generators, environment.as_ref(), 0, surroundings.cancelled, &workers);
    crate::evaluate(&context, &config.rollout, &config.evaluation, config.seed, finished, observer)
}

fn solve<C: BackendChoice, F: ModelFamily>(
    index: usize,
    config: &RunConfig,
    question: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Trajectory, TrainingError> {
    let place = place::<C>(index)?.inner();
    let device = &place.device;
    let environment = config.environment.build(&surroundings.resources, &mut ())?;
    let policy = Policy::<F, Inner<C>>::load(config, &surroundings.policy_folder, &place)?.merged();
    let model = in_precision(policy.model.clone(), config.precision.into());
    let workers = Workers::default();
    let task = Task {
        id: "question".into(),
        question: question.to_owned(),
        answers: vec![String::new()],
        ..Task::default()
    };
    let generators = policy.generators(&model, &device, config.precision, surroundings);
    let context =
        policy.context(&generators, environment.as_ref(), 0, surroundings.cancelled, &workers);
    let rollouts = &config.rollout;
    require_question(&policy.text, environment.as_ref(), rollouts, std::slice::from_ref(&task))?;
    let request = RolloutRequest {
        id: TrajectoryId::new("solve", 0, 0),
        task: &task,
        sample: 0,
        seed: config.seed,
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

/// What is wrong with the logits of `ids`: not finite, or all equal since activations overflow.
fn overflow<B: burn::tensor::backend::Backend, M: CausalLm<B>>(
    model: &M,
    ids: &[u32],
    logits: &[f32],
    device: &B::Device,
) -> Option<String> {
    let value = match first_not_finite(logits) {
        Some(value) => value,
        None if logits.iter().all(|logit| *logit == logits[0]) => logits[0],
        None => return None,
    };
    let place = first_overflow(model, ids, device);
    let place = place.or_else(|| (!value.is_finite()).then(|| "lm_head".into()))?;
    Some(format!("a logit is {value}; the first output that overflows is that of `{place}`"))
}

fn score<C: BackendChoice, F: ModelFamily>(
    index: usize,
    folder: &Path,
    requests: &[ScoreRequest],
) -> Result<Vec<Scores>, TrainingError> {
    let place = place::<C>(index)?.inner();
    let device = &place.device;
    let (config, model) = load_folder::<F, Inner<C>>(folder, &place)?;
    let needs_text = requests.iter().any(|request| matches!(request, ScoreRequest::Text { .. }));
    let tokenizer = if needs_text {
        Some(paretopo_chat::Tokenizer::from_file(&folder.join("tokenizer.json"))?)
    } else {
        None
    };
    let mut scores = Vec::with_capacity(requests.len());
    for (line, request) in requests.iter().enumerate() {
        let invalid = |reason: String| TrainingError::Invalid {
            path: format!("request {}", line + 1).into(),
            reason,
        };
        let ids = match (request, &tokenizer) {
            (ScoreRequest::Ids { ids }, _) => ids.clone(),
            (ScoreRequest::Text { text }, Some(tokenizer)) => {
                tokenizer.encode_with_special(text)?
            }
            (ScoreRequest::Text { .. }, None) => unreachable!("a tokenizer was loaded for text"),
        };
        if ids.is_empty() {
            return Err(invalid("there is no token to score".into()));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= config.vocab_size()) {
            return Err(invalid(format!(
                "the id {id} is outside the vocabulary of {}",
                config.vocab_size()
            )));
        }
        if ids.len() > config.context() {
            return Err(invalid(format!(
                "{} tokens exceed the model's context of {}",
                ids.len(),
                config.context()
            )));
        }
        let hidden = model.hidden(&ForwardInput::right_padded(&[&ids], device), None);
        let logits = model.unembed(hidden);
        let vocab_size = logits.dims()[2];
        let logits = to_host(logits);
        if let Some(reason) = overflow(&model, &ids, &logits, device) {
            let reason = format!("request {}: {reason}", line + 1);
            return Err(TrainingError::Policy { step: None, reason });
        }
        let rows: Vec<&[f32]> = logits.chunks(vocab_size).collect();
        let logprobs =
            ids[1..].iter().zip(&rows).map(|(id, row)| log_softmax(row)[*id as usize]).collect();
        let last = rows[ids.len() - 1];
        let mut order: Vec<u32> = (0..vocab_size as u32).collect();
        order.sort_by(|a, b| last[*b as usize].total_cmp(&last[*a as usize]));
        scores.push(Scores {
            logprobs,
            top: order.into_iter().take(10).map(|id| (id, last[id as usize])).collect(),
        });
    }
    Ok(scores)
}
