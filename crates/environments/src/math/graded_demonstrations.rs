//! Demonstrations of graded problems: answers in the head, the calls that are needed, some of them,
//! or more; and drills, which grade what the head can do.
//!
//! All end with the right answer. A share begins with the tokens that tell a preference, drawn at
//! random, so that a policy does not meet them for the first time when they mean something. Where
//! they are heeded, they mean something already: the less right answers count, the fewer call.

use super::graded::{GRADED_LEVELS, GradedProblem, generate_graded, training_problem};
use super::problems::draw_level;
use crate::preference_tokens::preference_token;
use crate::{DataError, Demonstration, DemonstrationTurn};
use paretopo_settings::{Frequencies, NonNegative, Share};
use paretopo_trajectory::ToolCall;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the demonstrations of graded problems are mixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GradedDemonstrations {
    /// Frequency of drills: bare expressions, answered in the head, which no task asks.
    pub drill: NonNegative,
    /// Relative frequency of each level among the drills, 0 to 9: the more, the surer the head.
    pub drill_weights: Frequencies<GRADED_LEVELS>,
    /// Frequency of answers without a call.
    pub head: NonNegative,
    /// Frequency of the calls that are needed, each once.
    pub needed: NonNegative,
    /// Frequency of some of the calls that are needed, with the rest in the head.
    pub partial: NonNegative,
    /// Frequency of more calls than needed: all again, or the last one.
    pub redundant: NonNegative,
    /// Share of episodes that call the tool `abacus` instead of `calculator`.
    pub abacus: Share,
    /// Share of episodes that call the tool `python`; at most what `abacus` leaves.
    pub python: Share,
    /// Share of calls that fail and are made again.
    pub failing: Share,
    /// Share of demonstrations that begin with a preference.
    pub preference: Share,
    /// Whether a preference is heeded: behind a first weight of w the calls that are needed are made
    /// in a share w of the demonstrations, and none in the others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub heeded: bool,
}

impl Default for GradedDemonstrations {
    fn default() -> Self {
        Self {
            drill: const { NonNegative::literal(2.0) },
            drill_weights: Frequencies::literal([0.6, 1.0, 0.9, 0.7, 0.5, 0.5, 1.2, 1.0, 0.8, 0.4]),
            head: const { NonNegative::literal(0.35) },
            needed: const { NonNegative::literal(0.3) },
            partial: const { NonNegative::literal(0.1) },
            redundant: const { NonNegative::literal(0.25) },
            abacus: const { Share::literal(0.05) },
            python: const { Share::literal(0.0) },
            failing: const { Share::literal(0.05) },
            preference: const { Share::literal(0.3) },
            heeded: false,
        }
    }
}

impl GradedDemonstrations {
    fn frequencies(&self) -> [f64; 5] {
        let all = [self.drill, self.head, self.needed, self.partial, self.redundant];
        all.map(|frequency| frequency.get())
    }

    /// # Errors
    /// When no way has a frequency above 0.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let place = "`environment.problems.demonstrations`";
        if self.frequencies().iter().all(|frequency| *frequency == 0.0) {
            return Err(DataError::Setting(format!(
                "{place}: `drill`, `head`, `needed`, `partial` and `redundant` are all 0\n\
                 hint: give one of them a frequency above 0"
            )));
        }
        Ok(())
    }

    /// The `index`-th demonstration.
    pub(super) fn demonstrate(
        &self,
        seed: u64,
        index: u64,
        level_weights: &[f64; GRADED_LEVELS],
    ) -> Demonstration {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xD4);
        rng.set_stream(index);
        let way = draw_level(&mut rng, &self.frequencies());
        if way == DRILL {
            let problem = generate_graded(&mut rng, &self.drill_weights.get());
            let turns = vec![answer_of(&problem)];
            return Demonstration { question: problem.expression, turns };
        }
        let problem = training_problem(&mut rng, level_weights);
        let heeded = self.heeded.then(|| self.preference(&mut rng));
        let way = match heeded.as_ref().and_then(|preference| preference.first()) {
            Some(weight) if rng.random_bool(f64::from(*weight) / 10.0) => NEEDED,
            Some(_) => HEAD,
            None => way,
        };
        let steps = chosen_steps(&mut rng, &problem, way);
        let mut turns = self.calls(&mut rng, &steps);
        turns.push(answer_of(&problem));
        let preference = heeded.unwrap_or_else(|| self.preference(&mut rng));
        let told: String = preference.into_iter().map(preference_token).collect();
        Demonstration { question: told + &problem.question, turns }
    }

    /// Calls of one tool with their outputs; one that fails is made again.
    fn calls(&self, rng: &mut impl Rng, steps: &[(String, i64)]) -> Vec<DemonstrationTurn> {
        let point: f64 = rng.random();
        let tool = match point - self.abacus.get() {
            rest if rest < 0.0 => "abacus",
            rest if rest < self.python.get() => "python",
            _ => "calculator",
        };
        let mut turns = Vec::new();
        for (expression, value) in steps {
            while rng.random_bool(self.failing.get().min(0.5)) {
                turns.push(call_of(tool, expression));
                turns.push(DemonstrationTurn::Output(paretopo_tools::FAILED_CALL.into()));
            }
            turns.push(call_of(tool, expression));
            turns.push(DemonstrationTurn::Output(value.to_string()));
        }
        turns
    }

    /// The weights of two objectives or of three, in tenths; nothing in the other demonstrations.
    fn preference(&self, rng: &mut impl Rng) -> Vec<u32> {
        if !rng.random_bool(self.preference.get()) {
            return Vec::new();
        }
        let first = rng.random_range(0..=10);
        if rng.random_bool(0.7) {
            return vec![first, 10 - first];
        }
        let second = rng.random_range(0..=10 - first);
        vec![first, second, 10 - first - second]
    }
}

/// The ways, by their places in [`GradedDemonstrations::frequencies`]; behind them is more than needed.
const DRILL: usize = 0;
const HEAD: usize = 1;
const NEEDED: usize = 2;
const PARTIAL: usize = 3;

/// The steps that are called for in one of the ways behind the drill: none, all, some, or all and
/// more.
fn chosen_steps(rng: &mut impl Rng, problem: &GradedProblem, way: usize) -> Vec<(String, i64)> {
    let steps = &problem.steps;
    match way {
        HEAD => Vec::new(),
        NEEDED => steps.clone(),
        PARTIAL => steps[..rng.random_range(0..=steps.len().saturating_sub(1))].to_vec(),
        // where nothing can be called, a call adds 0 to the answer
        _ if steps.is_empty() => vec![(format!("{}+0", problem.answer), problem.answer)],
        _ => {
            let mut all = steps.clone();
            if steps.len() < 3 && rng.random_bool(0.5) {
                all.extend(steps.clone());
            } else {
                let last = steps[steps.len() - 1].clone();
                all.extend(std::iter::repeat_n(last, rng.random_range(1..3)));
            }
            all
        }
    }
}

fn call_of(tool: &str, expression: &str) -> DemonstrationTurn {
    let arguments = match tool {
        "python" => serde_json::json!({ "code": format!("print({expression})") }),
        _ => serde_json::json!({ "expression": expression }),
    };
    DemonstrationTurn::Call(ToolCall { name: tool.into(), arguments })
}

fn answer_of(problem: &GradedProblem) -> DemonstrationTurn {
    DemonstrationTurn::Answer(format!("\\boxed{{{}}}", problem.answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Demonstrations of level 6 alone, two steps, in one way alone.
    fn of_way(way: usize) -> Vec<Demonstration> {
        let mut frequencies = [0.0; 5];
        frequencies[way] = 1.0;
        let [drill, head, needed, partial, redundant] = frequencies.map(NonNegative::literal);
        let none = Share::literal(0.0);
        let mixture = GradedDemonstrations {
            drill,
            head,
            needed,
            partial,
            redundant,
            failing: none,
            preference: none,
            ..GradedDemonstrations::default()
        };
        let mut weights = [0.0; GRADED_LEVELS];
        weights[6] = 1.0;
        (0..50).map(|index| mixture.demonstrate(1, index, &weights)).collect()
    }

    fn calls(demonstration: &Demonstration) -> usize {
        let is_call = |turn: &&DemonstrationTurn| matches!(turn, DemonstrationTurn::Call(_));
        demonstration.turns.iter().filter(is_call).count()
    }

    #[test]
    fn each_way_makes_its_calls() {
        // of two steps: none in a drill and in the head, two, one or none, three or four
        for (way, least, most) in [(0, 0, 0), (1, 0, 0), (2, 2, 2), (3, 0, 1), (4, 3, 4)] {
            let counts: Vec<usize> = of_way(way).iter().map(calls).collect();
            assert_eq!(counts.iter().min(), Some(&least), "way {way}");
            assert_eq!(counts.iter().max(), Some(&most), "way {way}");
        }
        // drills are bare, tasks are not
        assert!(of_way(0).iter().all(|drill| !drill.question.contains(' ')));
        assert!(of_way(1).iter().all(|task| task.question.contains(' ')));
    }

    #[test]
    fn preferences_are_tenths_that_sum_to_one() {
        let always = GradedDemonstrations {
            preference: Share::literal(1.0),
            ..GradedDemonstrations::default()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            let tenths = always.preference(&mut rng);
            assert!(tenths.len() == 2 || tenths.len() == 3, "{tenths:?}");
            assert_eq!(tenths.iter().sum::<u32>(), 10, "{tenths:?}");
        }
    }

    #[test]
    fn heeded_preferences_decide_how_often_a_tool_is_called() {
        let heeding = GradedDemonstrations {
            drill: NonNegative::literal(0.0),
            preference: Share::literal(1.0),
            failing: Share::literal(0.0),
            heeded: true,
            ..GradedDemonstrations::default()
        };
        // level 6 needs two calls
        let mut level = [0.0; GRADED_LEVELS];
        level[6] = 1.0;
        let mut made: [Vec<usize>; 11] = Default::default();
        for index in 0..4_000 {
            let demonstration = heeding.demonstrate(1, index, &level);
            let first = demonstration.question.find('>').unwrap();
            let tenths: usize = demonstration.question[2..first].parse().unwrap();
            made[tenths].push(calls(&demonstration));
        }
        for (tenths, calls) in made.iter().enumerate() {
            // some 360 of each weight: a share of w is met within 4 sqrt(1/4/360) = 0.11
            let called = calls.iter().filter(|count| **count == 2).count();
            assert!(calls.iter().all(|count| [0, 2].contains(count)), "{tenths}: {calls:?}");
            let share = called as f64 / calls.len() as f64;
            assert!((share - tenths as f64 / 10.0).abs() < 0.11, "{tenths}: {share}");
        }
        assert!(made[0].iter().all(|count| *count == 0));
        assert!(made[10].iter().all(|count| *count == 2));
    }

    #[test]
    fn mixtures_without_a_way_are_refused() {
        let none = NonNegative::literal(0.0);
        let nothing = GradedDemonstrations {
            drill: none,
            head: none,
            needed: none,
            partial: none,
            redundant: none,
            ..GradedDemonstrations::default()
        };
        assert!(nothing.check().unwrap_err().to_string().contains("are all 0\nhint: "));
        assert!(GradedDemonstrations::default().check().is_ok());
    }
}
