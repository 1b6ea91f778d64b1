//! `r_tool`: how few calls an episode made, by what is enough for its task.
//!
//! `r_tool = exp(-alpha |N_call - N_optimal|)` (ParetoPO), where a call counts as much as its
//! tool's price. Public notes give `N_optimal` as the fewest calls among successes, for `N_call >=
//! N_optimal`. What a cheaper episode earns they leave open (`below_optimal`): it was wrong, or
//! what is enough is not the fewest.
//!
//! Where prices are drawn, `N_optimal` is a sum of listed prices L, and the calls cost C. Then
//! `N_call - N_optimal` is `L - N_optimal` if that is below 0, and `max(C - N_optimal, 0)` else: to
//! call too little is no matter of luck, and a low price is none of calling too little.

use crate::{Objective, Scoring};
use paretopo_settings::{NonNegative, Share};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `r_tool` is before a task's first success, when there is no `N_optimal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BeforeFirstSuccess {
    /// 0 for the whole group: no signal.
    #[default]
    Neutral,
    /// As if `N_optimal` were 0.
    FewestCalls,
}

/// What `N_optimal` of a task is, over the run so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NOptimal {
    /// The fewest calls that were ever right, by luck or not.
    #[default]
    Fewest,
    /// The fewest calls whose success rate on the task is at least this share: s successes of n
    /// attempts count as `s / (n + 1/2)`. If there are none, those with the highest rate. An answer
    /// in the head then pays where the head is about that sure.
    Reliable(Share),
}

/// What `r_tool` is for an episode that called less than `N_optimal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BelowOptimal {
    /// `exp(-alpha (N_optimal - N_call))`: too few is as inefficient as too many.
    #[default]
    Distance,
    /// 1: there is no such thing as too few.
    ZeroPenalty,
    /// 0.
    NoReward,
}

/// `r_tool = exp(-alpha * |N_call - N_optimal|)` (ParetoPO), where a call counts as much as its
/// tool's price.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolEfficiency {
    /// How fast a call too many (or too few) costs; per call.
    pub alpha: NonNegative,
    /// Before the task's first success.
    #[serde(default)]
    pub before_first_success: BeforeFirstSuccess,
    /// What `N_optimal` is: `"fewest"`, the fewest calls that were ever right on the task, or
    /// `{ reliable = q }`, the fewest that are right at a rate of at least q.
    #[serde(default)]
    pub n_optimal: NOptimal,
    /// For an episode that called less than `N_optimal`.
    #[serde(default)]
    pub below_optimal: BelowOptimal,
    /// Whether a wrong answer has an `r_tool` of 0, so that any right one dominates it.
    #[serde(default)]
    pub success_first: bool,
}

impl Default for ToolEfficiency {
    fn default() -> Self {
        Self {
            alpha: const { NonNegative::literal(0.5) },
            before_first_success: BeforeFirstSuccess::default(),
            n_optimal: NOptimal::default(),
            below_optimal: BelowOptimal::default(),
            success_first: false,
        }
    }
}

impl Objective for ToolEfficiency {
    fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
        if self.success_first && scoring.trajectory.success != Some(true) {
            return Some(0.0);
        }
        let known = match self.n_optimal {
            NOptimal::Fewest => scoring.memory.lowest_cost(&scoring.task.id),
            NOptimal::Reliable(rate) => scoring.memory.reliable_cost(&scoring.task.id, rate.get()),
        };
        let optimal = match (known, self.before_first_success) {
            (Some(optimal), _) => optimal,
            (None, BeforeFirstSuccess::FewestCalls) => 0.0,
            (None, BeforeFirstSuccess::Neutral) => return Some(0.0),
        };
        let expected = scoring.expected_cost - optimal;
        let excess = if expected < 0.0 { expected } else { (scoring.cost - optimal).max(0.0) };
        Some(self.of_distance(excess))
    }

    fn name(&self) -> Option<&str> {
        Some("r_tool")
    }
}

impl ToolEfficiency {
    /// `r_tool` of `N_call - N_optimal`.
    fn of_distance(&self, excess: f64) -> f64 {
        let distance = match self.below_optimal {
            BelowOptimal::NoReward if excess < 0.0 => return 0.0,
            BelowOptimal::ZeroPenalty => excess.max(0.0),
            BelowOptimal::Distance | BelowOptimal::NoReward => excess.abs(),
        };
        (-self.alpha.get() * distance).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MathConfig, Resources, RunMemory, ToolEnvironment, environment, objective, score_group,
        usual_objectives,
    };
    use paretopo_trajectory::{CallRecord, CallStatus, Split, ToolOutcome};
    use paretopo_trajectory::{Trajectory, TrajectoryId};

    /// `r_tool` of each of a group of (right, calls), under these settings.
    fn scored(settings: &str, outcomes: &[(bool, usize)], memory: &mut RunMemory) -> Vec<f64> {
        let unpriced = |(right, calls): &(bool, usize)| (*right, vec![None; *calls]);
        scored_at(settings, &outcomes.iter().map(unpriced).collect::<Vec<_>>(), memory)
    }

    /// The same of (right, the price that was drawn with each call).
    fn scored_at(
        settings: &str,
        outcomes: &[(bool, Vec<Option<f64>>)],
        memory: &mut RunMemory,
    ) -> Vec<f64> {
        let efficiency: ToolEfficiency = toml::from_str(settings).expect("settings");
        let mut objectives = usual_objectives();
        objectives[1] = objective("tool_efficiency", efficiency);
        let math = environment("math", MathConfig::default());
        let resources = Resources { python_worker: vec!["true".into()], ..Resources::default() };
        let built = ToolEnvironment::build(&math, &[], &objectives, &resources, &mut ()).unwrap();
        let task = built.tasks(Split::Train)[0].clone();
        let call = |price: &Option<f64>| CallRecord {
            price: *price,
            ..CallRecord::new(None, ToolOutcome::new(CallStatus::Ok, "", 0.0))
        };
        let played = |(right, prices): &(bool, Vec<Option<f64>>)| Trajectory {
            calls: prices.iter().map(call).collect(),
            answer: Some(if *right { task.answers[0].clone() } else { "no number".into() }),
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "", 0)
        };
        let mut group: Vec<Trajectory> = outcomes.iter().map(played).collect();
        score_group(&built, &task, &mut group, memory);
        group.iter().map(|trajectory| trajectory.objectives.values()[1]).collect()
    }

    #[track_caller]
    fn close(found: &[f64], want: &[f64]) {
        let is_near = found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(found.len() == want.len() && is_near, "{found:?} is not {want:?}");
    }

    #[test]
    fn a_lucky_answer_in_the_head_does_not_make_calls_a_waste() {
        // in the head one of three is right: 1 / 3.5 = 0.286; with a call two of two: 2 / 2.5 = 0.8
        let outcomes = [(true, 0), (false, 0), (false, 0), (true, 1), (true, 1)];
        let found = scored("alpha = 0.5", &outcomes, &mut RunMemory::default());
        // fewest: N_optimal = 0; exp(-0.5) = 0.606531
        close(&found, &[1.0, 1.0, 1.0, 0.606_531, 0.606_531]);
        let reliable = "alpha = 0.5\nn_optimal = { reliable = 0.75 }";
        let found = scored(reliable, &outcomes, &mut RunMemory::default());
        // reliable: N_optimal = 1
        close(&found, &[0.606_531, 0.606_531, 0.606_531, 1.0, 1.0]);
    }

    #[test]
    fn reliability_is_counted_over_the_run() {
        let settings = "alpha = 0.5\nn_optimal = { reliable = 0.75 }";
        let mut memory = RunMemory::default();
        // 1 / 1.5 = 0.667 for both: none is reliable, the cheaper of the likeliest is taken
        close(&scored(settings, &[(true, 0), (true, 1)], &mut memory), &[1.0, 0.606_531]);
        // in the head 1 / 2.5 = 0.4, with a call 2 / 2.5 = 0.8
        close(&scored(settings, &[(false, 0), (true, 1)], &mut memory), &[0.606_531, 1.0]);
        // in the head 7 / 8.5 = 0.824: now it is
        let sure = [(true, 0); 6];
        close(&scored(settings, &sure, &mut memory), &[1.0; 6]);
    }

    #[test]
    fn what_a_cheaper_failure_earns_is_a_choice() {
        // N_optimal = 1: a call too few, none and one too many
        let outcomes = [(false, 0), (true, 1), (true, 2)];
        let with = |below: &str| {
            let settings = format!("alpha = 0.5\nbelow_optimal = \"{below}\"");
            scored(&settings, &outcomes, &mut RunMemory::default())
        };
        close(&with("distance"), &[0.606_531, 1.0, 0.606_531]);
        close(&with("zero_penalty"), &[1.0, 1.0, 0.606_531]);
        close(&with("no_reward"), &[0.0, 1.0, 0.606_531]);
    }

    #[test]
    fn a_low_price_is_not_a_call_too_few() {
        // N_optimal is 1, the listed price of a call
        let at = |price| (true, vec![Some(price)]);
        let outcomes = [at(0.25), at(1.0), at(3.0), (false, vec![])];
        let found = scored_at("alpha = 0.5", &outcomes, &mut RunMemory::default());
        // no distance, none, 2, and a call too few: exp(-0.5 * 2) = 0.367879, exp(-0.5) = 0.606531
        close(&found, &[1.0, 1.0, 0.367_879, 0.606_531]);
        // two calls at 0.25 each cost less than the one that is enough
        let spare = (true, vec![Some(0.25), Some(0.25)]);
        let found = scored_at("alpha = 0.5", &[at(1.0), spare], &mut RunMemory::default());
        close(&found, &[1.0, 1.0]);
    }

    #[test]
    fn with_success_first_a_wrong_answer_has_no_efficiency() {
        let outcomes = [(false, 0), (true, 0), (true, 2)];
        let found =
            scored("alpha = 0.5\nsuccess_first = true", &outcomes, &mut RunMemory::default());
        // exp(-0.5 * 2) = 0.367879
        close(&found, &[0.0, 1.0, 0.367_879]);
    }
}
