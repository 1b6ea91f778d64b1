//! The policy on validation tasks while it is trained, and the best of it so far.

use super::collect::Collecting;
use crate::evaluation::summary::validated_volume;
use crate::evaluation::{Played, Playing};
use crate::failures::LOST;
use crate::run::checkpoint;
use crate::{
    EpisodeFailures, EvaluationConfig, Metrics, Observer, Policy, RunFolder, TrainingError,
    TrainingState,
};
use burn::tensor::backend::AutodiffBackend;
use paretopo_agent::RolloutContext;
use paretopo_algorithms::observe_validation;
use paretopo_algorithms::pareto::underflows;
use paretopo_environments::NEUTRAL;
use paretopo_models::ModelFamily;
use paretopo_records::Evaluation;
use paretopo_trajectory::{ObjectiveValues, Split, Trajectory};

impl Collecting<'_> {
    /// Evaluates on validation tasks; returns the mean of each objective, `None` if all episodes
    /// failed, or an objective gave what is to be left out.
    pub(super) fn validate(
        &self,
        context: &RolloutContext<'_>,
        state: &mut TrainingState,
        metrics: &mut Metrics,
        observer: &mut dyn Observer,
    ) -> Result<Option<ObjectiveValues>, TrainingError> {
        let config = self.config;
        let settings = EvaluationConfig {
            split: Split::Validation,
            samples: 1,
            preferences: Vec::new(),
            ..config.evaluation.clone()
        };
        let playing = Playing {
            context,
            rollout: &config.rollout,
            config: &settings,
            seed: config.seed,
            name: &format!("validation-{}", state.step),
            ranks: self.ranks,
        };
        let played = playing.play_and_summarise(None, observer)?;
        let Played { evaluation: validation, trajectories, bad_reward } = played;
        if let Some(failures) = EpisodeFailures::of(&trajectories) {
            let name = format!("failed-validation-{:06}", state.step);
            let path = self.folder.save_trajectories(&name, trajectories.iter())?;
            observer.note(&format!(
                "step {}: the validation is left out: {failures}; the episodes are in `{}`",
                state.step,
                path.display()
            ));
            return Ok(None);
        }
        if let Some(reason) = trajectories.iter().find_map(Trajectory::lost) {
            observer.note(&format!(
                "step {}: the validation is left out: {LOST}: {reason}",
                state.step
            ));
            return Ok(None);
        }
        if let Some(reason) = bad_reward {
            self.leave_out(state.step, "validation", reason, &trajectories, observer)?;
            return Ok(None);
        }
        let names = self.environment.objective_names();
        let point: Vec<f64> =
            names.iter().map(|name| validation.point.get(name).unwrap_or(NEUTRAL)).collect();
        observe_validation(&config.estimator, &mut state.estimator, &point)?;
        of_validation(&validation, metrics);
        Ok(Some(validation.point))
    }
}

/// The numbers of a validation, by name.
fn of_validation(validation: &Evaluation, metrics: &mut Metrics) {
    metrics.insert("validation/em".into(), validation.em);
    metrics.insert("validation/calls".into(), validation.calls);
    if let Some(head_skill) = validation.head_skill {
        metrics.insert("validation/head_skill".into(), head_skill);
    }
    for (name, mean) in validation.point.iter() {
        metrics.insert(format!("validation/{name}"), mean);
    }
    for (name, own) in &validation.environments {
        metrics.insert(format!("validation/{name}/em"), own.em);
        metrics.insert(format!("validation/{name}/calls"), own.calls);
    }
}

/// Keeps what is trained in `best` if the point's hypervolume, the product of its means, is the
/// largest so far. `warn` hears of products that 64 bits cannot tell from zero.
pub(super) fn keep_best<F: ModelFamily, B: AutodiffBackend>(
    point: &ObjectiveValues,
    policy: &Policy<F, B>,
    state: &mut TrainingState,
    folder: &RunFolder,
    is_kept: bool,
    warn: &mut dyn FnMut(&str),
) -> Result<(), TrainingError> {
    let means = point.values();
    if underflows(means, &vec![0.0; means.len()]) {
        warn(&format!(
            "warning: the mean rewards {means:?} of the validation multiply to less than 2.2e-308, \
             the smallest 64-bit float: `best` cannot tell such policies apart"
        ));
    }
    let Some(volume) = validated_volume(point) else { return Ok(()) };
    if state.best_validation.is_none_or(|best| volume > best) {
        state.best_validation = Some(volume);
        if is_kept {
            checkpoint::save_best(folder.path(), policy, state.step, point)?;
        }
    }
    Ok(())
}
