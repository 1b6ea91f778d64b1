//! What a backend offers to the command line: plain functions without type parameters.
//!
//! Generic code is compiled where a concrete backend is named. A backend's crate does that once, by
//! [`EntryPoints::of`]; whoever calls the functions need not know burn.

use crate::decoding::for_rollouts;
use crate::evaluation::require_tasks;
use crate::fitting::{fitting, played_splits};
use crate::generating::Source;
use crate::{
    Check, CheckDepth, Evaluation, FinishedEpisodes, Observer, Policy, RunConfig, ScoreRequest,
    Scores, Surroundings, TrainingError, train,
};
use burn::tensor::backend::AutodiffBackend;
use paretopo_collective::Collective;
use paretopo_engine::SamplingPlace;
use paretopo_models::{Kernels, ModelFamily, Placement};
use paretopo_trajectory::{Task, Trajectory};
use std::path::Path;
use std::sync::Arc;

/// A concrete backend.
pub trait BackendChoice {
    /// The name for `--backend`.
    const NAME: &'static str;
    /// Whether it computes on the CPU, where several workers can share the cores.
    const ON_CPU: bool;
    /// Whether it computes products of f32 from inputs rounded to TF32, of 10 bits behind the point.
    const TF32: bool = false;
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

    /// The ranks of a job, with what carries tensors between their devices where there is something;
    /// all ranks call this.
    ///
    /// # Errors
    /// Says what is missing on this machine.
    fn joined(
        _device: &<Self::Backend as burn::tensor::backend::BackendTypes>::Device,
        ranks: Arc<dyn Collective>,
    ) -> Result<Arc<dyn Collective>, String> {
        Ok(ranks)
    }
}

/// What an evaluation has brought, and what was asked.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// What was found.
    pub evaluation: Evaluation,
    /// All episodes, task by task.
    pub trajectories: Vec<Trajectory>,
    /// The tasks, in order.
    pub tasks: Vec<Task>,
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
) -> Result<Evaluated, TrainingError>;
type Solve = fn(usize, &RunConfig, &str, &Surroundings<'_>) -> Result<Trajectory, TrainingError>;
type CheckFixtures = fn(
    usize,
    &Path,
    CheckDepth,
    &mut dyn FnMut(Check) -> Result<(), TrainingError>,
) -> Result<(), TrainingError>;
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
    /// Comparison with fixtures; each is heard of as it is made, and an error of the hearer ends them.
    pub check: CheckFixtures,
}

impl EntryPoints {
    /// Whether it computes on cards, of which each process of a job needs its own.
    pub fn has_cards(&self) -> bool {
        self.sampling_place == SamplingPlace::Device
    }

    /// The entry points of a backend, for a family of models.
    pub fn of<C: BackendChoice, F: ModelFamily>() -> Self {
        Self {
            name: C::NAME,
            threads: || if C::ON_CPU { rayon::current_num_threads() } else { 1 },
            sampling_place: if C::ON_CPU { SamplingPlace::Host } else { SamplingPlace::Device },
            probe: |index| C::device(index).map(|device| format!("{device:?}")),
            train: |index, config, run, surroundings, observer| {
                let place = place::<C>(index)?;
                let missing = |reason| TrainingError::Backend { name: C::NAME, reason };
                let collective = C::joined(&place.device, surroundings.collective.clone());
                let collective = collective.map_err(missing)?;
                let surroundings = Surroundings { collective, ..surroundings.clone() };
                train::<F, C::Backend>(config, run, &place, &surroundings, observer)
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
            solve: |index, config, question, surroundings| {
                let place = place::<C>(index)?.inner();
                crate::solve::solve::<F, Inner<C>>(config, question, &place, surroundings)
            },
            score: |index, folder, requests| {
                let place = place::<C>(index)?.inner();
                crate::score::score::<F, Inner<C>>(folder, requests, &place)
            },
            check: |index, fixtures, depth, hear| {
                let place = place::<C>(index)?;
                crate::check::check::<F, C::Backend>(fixtures, &place, C::TF32, depth, hear)
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
) -> Result<Evaluated, TrainingError> {
    let place = place::<C>(index)?.inner();
    let device = &place.device;
    let environment = surroundings.environment(config, observer)?;
    require_tasks(&environment, config.evaluation.split)?;
    let policy = Policy::<F, Inner<C>>::load(config, &surroundings.policy_folder, &place)?.merged();
    let mut source = Source::open(config, &policy, None)?;
    let reader = policy.reader(&source, surroundings.cancelled);
    let splits = played_splits(config, false);
    let environment = fitting(&reader, &config.rollout, environment, &splits, observer)?;
    let mut model = for_rollouts(policy.model.clone(), config, device, &source)?;
    let episodes = config.evaluation.episodes(&*environment);
    let workers = surroundings.rollout_workers(config, &mut model, episodes)?;
    source.give(&policy, &model, 0, config, &environment)?;
    let local = policy.generators(&model, device, config.precision, surroundings);
    let generators = source.generators(&local);
    let context = policy.context(generators, &environment, 0, surroundings.cancelled, &workers);
    let context = source.bounded(context);
    let (rollout, evaluation) = (&config.rollout, &config.evaluation);
    let (evaluation, trajectories) =
        crate::evaluate(&context, rollout, evaluation, config.seed, finished, observer)?;
    source.confirm()?;
    let tasks = config.evaluation.chosen(&*environment).to_vec();
    Ok(Evaluated { evaluation, trajectories, tasks })
}
