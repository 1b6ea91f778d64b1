//! Whether what a checkpoint says of itself can be of this run. Checksums tell a file that was
//! damaged; one that another program wrote has right checksums and may still hold anything. A state
//! that contradicts its run is refused, not passed over: which checkpoint to trust is for a person
//! to say.

use crate::{RunConfig, TrainingError, TrainingState};
use paretopo_algorithms::Progress;
use paretopo_environments::{ToolEnvironment, Tries};
use std::path::{Path, PathBuf};

const HINT: &str = "hint: this checkpoint was not written by this run; remove its folder to go on \
                    from the one before, or start again with another `--run`";

impl TrainingState {
    /// Whether a training run in that environment can have come to this state.
    ///
    /// # Errors
    /// Names the file, the key, its value, and what it may be.
    pub(crate) fn require_of_training(
        &self,
        run: &Path,
        config: &RunConfig,
        environment: &ToolEnvironment,
    ) -> Result<(), TrainingError> {
        let train = &config.train;
        let drawn = self.step.saturating_mul(train.prompts_per_step as u64);
        let most_drawn = drawn.saturating_mul(1 + train.refill_rounds as u64);
        let per_step = (train.epochs * train.minibatches) as u64;
        let highest = environment.highest_cost(config.rollout.max_calls);
        let impossible = self.memory.iter().find(|(_, cost)| !(0.0..=highest).contains(cost));
        let problem = at_most("step", self.step, train.steps, "`train.steps`")
            .or_else(|| {
                let most = self.step.saturating_mul(per_step);
                at_most("updates", self.updates, most, "all updates of its steps")
            })
            .or_else(|| {
                let is_possible = (drawn..=most_drawn).contains(&self.prompts_drawn);
                (!is_possible).then(|| {
                    format!(
                        "`prompts_drawn` is {}, but its {} steps draw {drawn} to {most_drawn}",
                        self.prompts_drawn, self.step
                    )
                })
            })
            .or_else(|| {
                let (task, cost) = impossible?;
                Some(format!(
                    "`memory.fewest_calls.{task}` is {cost}, but may be from 0 to {highest} \
                     (`rollout.max_calls` times the highest price)"
                ))
            })
            .or_else(|| impossible_tries(self, highest))
            .or_else(|| {
                let best = self.best_validation.filter(|_| train.validate_every == 0)?;
                Some(format!(
                    "`best_validation` is {best:?}, but there is no validation \
                     (`train.validate_every` is 0)"
                ))
            })
            .or_else(|| {
                let (step, total_steps) = (self.step, train.steps);
                let progress = Progress { step, total_steps, seed: 0, call_limit: highest };
                let objectives = environment.objectives.len();
                let checked = config.estimator.check_state(&self.estimator, progress, objectives);
                // `archive` of the estimator is `estimator.archive` of the file
                checked.err().map(|reason| match reason.strip_prefix('`') {
                    Some(rest) => format!("`estimator.{rest}"),
                    None => reason,
                })
            });
        self.refuse(run, problem)
    }

    /// Whether a warm start can have come to this state.
    ///
    /// # Errors
    /// Names the file, the key, its value, and what it may be.
    pub(crate) fn require_of_sft(
        &self,
        run: &Path,
        config: &RunConfig,
    ) -> Result<(), TrainingError> {
        let other = Self { step: self.step, updates: self.updates, ..Self::default() };
        let problem = at_most("step", self.step, config.sft.steps, "`sft.steps`")
            .or_else(|| {
                (self.updates != self.step)
                    .then(|| format!("`updates` is {}, but `step` is {}", self.updates, self.step))
            })
            .or_else(|| (*self != other).then(|| "it is of a training run, not of `sft`".into()));
        self.refuse(run, problem)
    }

    fn refuse(&self, run: &Path, problem: Option<String>) -> Result<(), TrainingError> {
        let file = file_of(run, self.step);
        let written = std::fs::read(&file).ok();
        let written = written.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        let folders = run.join("checkpoints");
        let (path, reason) = match problem {
            Some(reason) if written.as_ref() == Some(self) => (file, reason),
            Some(reason) => (folders, reason),
            // at step 0 there is none
            None if written.as_ref() == Some(self) || *self == Self::default() => return Ok(()),
            None => {
                let name = format!("step-{:06}", self.step);
                let reason = format!(
                    "`step` is {} in the `state.json` of the latest checkpoint, whose folder is not \
                     `{name}`",
                    self.step
                );
                (folders, reason)
            }
        };
        Err(TrainingError::Invalid { path, reason: format!("{reason}\n{HINT}") })
    }
}

/// Which of a task's counted tries cannot be.
fn impossible_tries(state: &TrainingState, highest: f64) -> Option<String> {
    let tries = state.memory.iter_tries();
    let mut all = tries.flat_map(|(task, tries)| tries.iter().map(move |one| (task, one)));
    let is_possible = |one: &Tries| {
        (0.0..=highest).contains(&one.cost) && one.successes <= one.attempts && one.attempts > 0
    };
    let (task, one) = all.find(|(_, one)| !is_possible(one))?;
    Some(format!(
        "`memory.tries.{task}` holds {} successes of {} attempts at {}, but costs are from 0 to \
         {highest}, and of attempts at most all are right",
        one.successes, one.attempts, one.cost
    ))
}

/// Where a checkpoint of that step has its state.
fn file_of(run: &Path, step: u64) -> PathBuf {
    run.join("checkpoints").join(format!("step-{step:06}")).join("state.json")
}

fn at_most(key: &str, value: u64, most: u64, whose: &str) -> Option<String> {
    (value > most).then(|| format!("`{key}` is {value}, but may be at most {most} ({whose})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_environments::Resources;

    fn config() -> RunConfig {
        let mut config = RunConfig::default();
        config.train.steps = 10;
        config.train.prompts_per_step = 2;
        config
    }

    /// The state after four steps of two prompts, as JSON.
    fn sound() -> serde_json::Value {
        serde_json::json!({
            "step": 4, "updates": 4, "prompts_drawn": 8,
            "memory": {
                "fewest_calls": { "train-1": 2 },
                "tries": { "train-1": [{ "cost": 2, "attempts": 3, "successes": 2 }] },
            },
            "estimator": {
                "archive": { "points": [[1.0, 0.5], [0.0, 1.0]] },
                "prompt_archives": {}, "average_gain": 0.1, "plateau_level": 0.0,
                "plateau_steps": 0, "switched": false, "validation_gain": 0.0,
            },
            "best_validation": 0.5,
        })
    }

    /// What is said of a state in a checkpoint's folder of that step.
    fn said(state: &serde_json::Value, step: u64, config: &RunConfig) -> Option<String> {
        let run = tempfile::tempdir().unwrap();
        let file = file_of(run.path(), step);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, state.to_string()).unwrap();
        let state: TrainingState = serde_json::from_value(state.clone()).unwrap();
        let resources = Resources { python_worker: vec!["true".into()], ..Resources::default() };
        let environment = config.build_environment(&resources, &mut ()).unwrap();
        let error = state.require_of_training(run.path(), config, &environment).err()?.to_string();
        Some(error.replace(&run.path().display().to_string(), "RUN"))
    }

    #[test]
    fn a_state_that_contradicts_its_run_is_refused_by_file_key_and_value() {
        assert_eq!(said(&sound(), 4, &config()), None);
        for (pointer, value, parts) in [
            ("/updates", 5.into(), ["`updates` is 5", "at most 4"]),
            ("/prompts_drawn", 7.into(), ["`prompts_drawn` is 7", "8 to 8"]),
            ("/prompts_drawn", 9.into(), ["`prompts_drawn` is 9", "8 to 8"]),
            (
                "/memory/fewest_calls/train-1",
                5.into(),
                ["`memory.fewest_calls.train-1` is 5", "from 0 to 4 (`rollout.max_calls` times"],
            ),
            (
                "/memory/tries/train-1/0/successes",
                4.into(),
                ["`memory.tries.train-1` holds 4 successes of 3 attempts at 2", "at most all"],
            ),
            (
                "/memory/tries/train-1/0/cost",
                5.into(),
                ["`memory.tries.train-1` holds 2 successes of 3 attempts at 5", "from 0 to 4"],
            ),
            (
                "/estimator/archive/points/0",
                serde_json::json!([1.0]),
                ["`estimator.archive` holds [1.0]", "2 objectives"],
            ),
            (
                "/estimator/archive/points/1/1",
                1e300.into(),
                ["`estimator.archive` holds [0.0, 1e300]", "from -1000000"],
            ),
            (
                "/estimator/average_gain",
                (-0.5).into(),
                ["`estimator.average_gain` is -0.5", "below 0"],
            ),
            ("/estimator/plateau_steps", 5.into(), ["`estimator.plateau_steps` is 5", "at most 4"]),
            ("/estimator/switched", true.into(), ["`estimator.switched` is true", "4 of 10"]),
        ] {
            let mut state = sound();
            *state.pointer_mut(pointer).unwrap() = value;
            let error = said(&state, 4, &config()).expect(pointer);
            assert!(error.starts_with("`RUN/checkpoints/step-000004/state.json`: `"), "{error}");
            assert!(parts.iter().all(|part| error.contains(part)), "{parts:?} in {error}");
            assert!(error.contains("\nhint: "), "{error}");
        }
        let mut far = sound();
        far["step"] = 999.into();
        let error = said(&far, 999, &config()).unwrap();
        assert!(error.contains("`step` is 999, but may be at most 10 (`train.steps`)"), "{error}");
        // a step that its folder does not have
        let error = said(&sound(), 5, &config()).unwrap();
        assert!(error.starts_with("`RUN/checkpoints`: `step` is 4 in"), "{error}");
    }

    #[test]
    fn what_a_run_can_come_to_is_not() {
        // with one further round a step draws up to twice as many
        let mut refills = config();
        refills.train.refill_rounds = 1;
        for drawn in [8, 16] {
            let mut state = sound();
            state["prompts_drawn"] = drawn.into();
            assert_eq!(said(&state, 4, &refills), None);
        }
        // updates that were left out
        let mut state = sound();
        state["updates"] = 0.into();
        assert_eq!(said(&state, 4, &config()), None);
        // at half of ten steps the sixth is the first in stage 2
        let mut state = sound();
        for (step, switched) in [(5, false), (6, true)] {
            state["step"] = step.into();
            state["prompts_drawn"] = (2 * step).into();
            state["estimator"]["switched"] = switched.into();
            assert_eq!(said(&state, step, &config()), None);
            state["estimator"]["switched"] = (!switched).into();
            assert!(said(&state, step, &config()).is_some());
        }
    }

    #[test]
    fn a_warm_start_makes_an_update_a_step_and_nothing_else() {
        let run = tempfile::tempdir().unwrap();
        let mut config = config();
        config.sft.steps = 6;
        let check = |state: TrainingState| {
            let file = file_of(run.path(), state.step);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, serde_json::to_vec(&state).unwrap()).unwrap();
            state.require_of_sft(run.path(), &config).err().map(|error| error.to_string())
        };
        let at = |step, updates| TrainingState { step, updates, ..TrainingState::default() };
        assert_eq!(check(at(3, 3)), None);
        assert_eq!(TrainingState::default().require_of_sft(run.path(), &config).ok(), Some(()));
        assert!(check(at(3, 2)).unwrap().contains("`updates` is 2, but `step` is 3"));
        assert!(check(at(7, 7)).unwrap().contains("`step` is 7, but may be at most 6"));
        let other = TrainingState { prompts_drawn: 9, ..at(3, 3) };
        assert!(check(other).unwrap().contains("not of `sft`"));
    }
}
