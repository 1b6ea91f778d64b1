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

/// What `N_optimal` of a task is: over the run so far, or in a group. Public notes of the paper have
/// it "locally estimated from current successful trajectories" and leave open how long one is
/// current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NOptimal {
    /// The fewest calls that were ever right, by luck or not.
    #[default]
    Fewest,
    /// The fewest calls that were right in the group itself, which no earlier step is asked about.
    FewestOfGroup,
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
    /// What `N_optimal` is: `"fewest"`, the fewest calls that were ever right on the task;
    /// `"fewest_of_group"`, the fewest that are right in its group of rollouts; or
    /// `{ reliable = q }`, the fewest that are right at a rate of at least q over the run.
    #[serde(default)]
    pub n_optimal: NOptimal,
    /// For an episode that called less than `N_optimal`.
    #[serde(default)]
    pub below_optimal: BelowOptimal,
    /// Whether a wrong answer has an `r_tool` of 0, so that any right one dominates it.
    #[serde(default)]
    pub success_first: bool,
    /// Whether costs are compared by `ln(1 + cost)`, for prices with a heavy tail: then `r_tool` is
    /// `((1 + N_optimal) / (1 + N_call))^alpha` for a call too many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_costs: bool,
}

impl Default for ToolEfficiency {
    fn default() -> Self {
        Self {
            alpha: const { NonNegative::literal(0.5) },
            before_first_success: BeforeFirstSuccess::default(),
            n_optimal: NOptimal::default(),
            below_optimal: BelowOptimal::default(),
            success_first: false,
            log_costs: false,
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
            NOptimal::FewestOfGroup => scoring.lowest_cost_of_group,
            NOptimal::Reliable(rate) => scoring.memory.reliable_cost(&scoring.task.id, rate.get()),
        };
        let optimal = match (known, self.before_first_success) {
            (Some(optimal), _) => optimal,
            (None, BeforeFirstSuccess::FewestCalls) => 0.0,
            (None, BeforeFirstSuccess::Neutral) => return Some(0.0),
        };
        let above = |cost: f64| match self.log_costs {
            true => cost.ln_1p() - optimal.ln_1p(),
            false => cost - optimal,
        };
        let expected = above(scoring.expected_cost);
        let excess = if expected < 0.0 { expected } else { above(scoring.cost).max(0.0) };
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
        Environment, MathConfig, Resources, RunMemory, ToolEnvironment, environment,
        named_objectives, objective, score_group, usual_objectives,
    };
    use paretopo_trajectory::{CallRecord, CallStatus, Split, Task, ToolOutcome};
    use paretopo_trajectory::{Trajectory, TrajectoryId};
    use proptest::prelude::*;

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
    fn the_fewest_of_a_group_forget_what_was_right_before() {
        let mut memory = RunMemory::default();
        let of_group = "alpha = 0.5\nn_optimal = \"fewest_of_group\"";
        close(&scored(of_group, &[(true, 0), (true, 1)], &mut memory), &[1.0, 0.606_531]);
        // in this group no answer in the head is right: N_optimal = 1, and 0 over the run
        let outcomes = [(false, 0), (true, 1), (true, 3)];
        close(&scored(of_group, &outcomes, &mut memory), &[0.606_531, 1.0, 0.367_879]);
        close(&scored("alpha = 0.5", &outcomes, &mut memory), &[1.0, 0.606_531, 0.223_130]);
        // none is right: no signal
        close(&scored(of_group, &[(false, 0), (false, 1)], &mut memory), &[0.0, 0.0]);
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
    fn by_the_logarithm_a_rare_high_price_weighs_less() {
        let at = |price| (true, vec![Some(price)]);
        let outcomes = [at(1.0), at(3.0), at(15.0), (false, vec![])];
        let settings = "alpha = 0.5\nlog_costs = true";
        // N_optimal is 1: (2 / 4)^0.5 = 0.707107, (2 / 16)^0.5 = 0.353553, a call too few (1 / 2)^0.5
        let wanted = [1.0, 0.5f64.sqrt(), 0.125f64.sqrt(), 0.5f64.sqrt()];
        close(&scored_at(settings, &outcomes, &mut RunMemory::default()), &wanted);
    }

    #[test]
    fn with_success_first_a_wrong_answer_has_no_efficiency() {
        let outcomes = [(false, 0), (true, 0), (true, 2)];
        let found =
            scored("alpha = 0.5\nsuccess_first = true", &outcomes, &mut RunMemory::default());
        // exp(-0.5 * 2) = 0.367879
        close(&found, &[0.0, 1.0, 0.367_879]);
    }

    /// Its task comes from the test.
    struct NoTasks;

    impl Environment for NoTasks {
        fn tasks(&self, _: Split) -> &[Task] {
            &[]
        }
    }

    /// The reward vectors of a group of (right, calls) on the task `t`, under these settings.
    fn rewards(
        efficiency: &ToolEfficiency,
        outcomes: &[(bool, usize)],
        memory: &mut RunMemory,
    ) -> Vec<Vec<f64>> {
        let mut objectives = usual_objectives();
        objectives[1] = objective("tool_efficiency", efficiency.clone());
        let environment = ToolEnvironment {
            environment: Box::new(NoTasks),
            tools: Vec::new(),
            objectives: named_objectives(&objectives).unwrap(),
        };
        let task = Task { id: "t".into(), answers: vec!["yes".into()], ..Task::default() };
        let call = CallRecord::new(None, ToolOutcome::new(CallStatus::Ok, "", 0.0));
        let played = |(right, calls): &(bool, usize)| Trajectory {
            calls: vec![call.clone(); *calls],
            answer: Some(if *right { "yes" } else { "no" }.into()),
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "t", 0)
        };
        let mut group: Vec<Trajectory> = outcomes.iter().map(played).collect();
        assert_eq!(score_group(&environment, &task, &mut group, memory), None);
        group.iter().map(|trajectory| trajectory.objectives.values().to_vec()).collect()
    }

    #[test]
    fn no_call_is_enough_where_the_head_is_right_at_a_rate_of_q() {
        for attempts in [20usize, 60] {
            for q in [0.25, 0.5, 0.75, 0.9] {
                let n_optimal = NOptimal::Reliable(Share::literal(q));
                let efficiency = ToolEfficiency { n_optimal, ..ToolEfficiency::default() };
                // s / (n + 1/2) >= q holds from q n + q / 2 on; q n is whole here, so that the half
                // attempt asks for one success more than the rate alone: of 20 for 6, 11, 16 and 19
                let least = (q * attempts as f64).round() as usize + 1;
                for right in 0..=attempts {
                    // in the head so many of n are right, with a call all: 20 / 20.5 = 0.976
                    let mut outcomes: Vec<(bool, usize)> =
                        (0..attempts).map(|place| (place < right, 0)).collect();
                    outcomes.resize(2 * attempts, (true, 1));
                    let found = rewards(&efficiency, &outcomes, &mut RunMemory::default());
                    // N_optimal is 0 or 1; one call away from it exp(-0.5) = 0.606531
                    let is_enough = right >= least;
                    let (head, call) = if is_enough { (1.0, 0.606_531) } else { (0.606_531, 1.0) };
                    close(&[found[0][1], found[attempts][1]], &[head, call]);
                }
            }
        }
    }

    #[test]
    fn success_first_takes_from_the_wrong_and_leaves_the_right_ones_theirs() {
        let first = ToolEfficiency { success_first: true, ..ToolEfficiency::default() };
        let outcomes = [(false, 0), (true, 1), (false, 1), (true, 3)];
        let found = |efficiency: &ToolEfficiency| {
            rewards(efficiency, &outcomes, &mut RunMemory::default()).concat()
        };
        // N_optimal = 1: exp(-0.5) = 0.606531, exp(-0.5 * 2) = 0.367879
        let usual = [0.0, 0.606_531, 1.0, 1.0, 0.0, 1.0, 1.0, 0.367_879];
        close(&found(&ToolEfficiency::default()), &usual);
        close(&found(&first), &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.367_879]);
        // nor does a wrong one earn anything before the first success
        let before_first_success = BeforeFirstSuccess::FewestCalls;
        let wrong = [(false, 0), (false, 2)];
        let early = |success_first| {
            let own =
                ToolEfficiency { before_first_success, success_first, ..ToolEfficiency::default() };
            rewards(&own, &wrong, &mut RunMemory::default()).concat()
        };
        close(&early(false), &[0.0, 1.0, 0.0, 0.367_879]);
        close(&early(true), &[0.0; 4]);
    }

    /// Settings with `success_first`.
    fn success_first() -> impl Strategy<Value = ToolEfficiency> {
        let before =
            prop_oneof![Just(BeforeFirstSuccess::Neutral), Just(BeforeFirstSuccess::FewestCalls)];
        let optimal = prop_oneof![
            Just(NOptimal::Fewest),
            Just(NOptimal::FewestOfGroup),
            (0.0f64..=1.0).prop_map(|rate| NOptimal::Reliable(Share::literal(rate))),
        ];
        let below = prop_oneof![
            Just(BelowOptimal::Distance),
            Just(BelowOptimal::ZeroPenalty),
            Just(BelowOptimal::NoReward),
        ];
        (0.0f64..3.0, before, optimal, below).prop_map(
            |(alpha, before_first_success, n_optimal, below_optimal)| ToolEfficiency {
                alpha: NonNegative::literal(alpha),
                before_first_success,
                n_optimal,
                below_optimal,
                success_first: true,
                ..ToolEfficiency::default()
            },
        )
    }

    proptest! {
        #[test]
        fn with_success_first_whoever_is_right_dominates_whoever_is_wrong(
            efficiency in success_first(),
            earlier in proptest::collection::vec((any::<bool>(), 0usize..5), 0..8),
            outcomes in proptest::collection::vec((any::<bool>(), 0usize..5), 2..12),
        ) {
            let mut memory = RunMemory::default();
            for (right, calls) in &earlier {
                memory.record("t", *calls as f64, *right);
            }
            let found = rewards(&efficiency, &outcomes, &mut memory);
            let of = |wanted: bool| {
                outcomes.iter().zip(&found).filter(move |((right, _), _)| *right == wanted)
            };
            for (_, right) in of(true) {
                for (_, wrong) in of(false) {
                    prop_assert!(right[0] > wrong[0] && right[1] >= wrong[1], "{found:?}");
                }
            }
        }
    }
}
