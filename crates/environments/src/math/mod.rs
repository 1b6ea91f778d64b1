//! Math problems with tools: generated ones of six levels, graded ones that need from none to three
//! calls, a file, or a data set by name.

mod demonstrations;
mod graded;
mod graded_demonstrations;
mod problems;
mod rows;
mod vocabulary;

pub use demonstrations::StrategyMixture;
pub use graded::{GradedProblem, GradedSource, generate_graded};
pub use graded_demonstrations::GradedDemonstrations;
pub use problems::{Problem, generate_problem};
pub use vocabulary::{graded_tokenizer_json, tokenizer_json};

use crate::data::{DatasetSource, FileSource, Splits};
use crate::{
    DataError, DatasetKind, Demonstration, Environment, EnvironmentSettings, LoadObserver, Opening,
    Resources,
};
use paretopo_grading::{answers_equal, extract_answer};
use paretopo_settings::{Frequencies, LARGEST_SEED, whole, within};
use paretopo_tools::{CalculatorConfig, PythonConfig, ToolEntry};
use paretopo_trajectory::{Message, Split, Task, Trajectory};
use problems::{LEVELS, question_split};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Where the problems come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ProblemSource {
    /// Generated problems in six levels, as bare arithmetic or as one-sentence stories; see
    /// [`generate_problem`].
    Generated {
        /// Seed of the problems (not of the training).
        #[serde(deserialize_with = "within::<0, LARGEST_SEED, _, _>")]
        #[schemars(schema_with = "whole::<0, LARGEST_SEED>")]
        seed: u64,
        /// Training problems.
        #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
        #[schemars(schema_with = "whole::<0, 1_000_000>")]
        train: usize,
        /// Validation problems.
        #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
        #[schemars(schema_with = "whole::<0, 1_000_000>")]
        validation: usize,
        /// Test problems.
        #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
        #[schemars(schema_with = "whole::<0, 1_000_000>")]
        test: usize,
        /// Relative frequency of each level, 0 to 5.
        level_weights: Frequencies<LEVELS>,
    },
    /// Generated problems in ten levels that need 0 to 3 calls of a tool of one operation; see
    /// [`generate_graded`]. They have demonstrations of their own.
    Graded(GradedSource),
    /// A file of problems.
    #[serde(alias = "jsonl")]
    File(FileSource),
    /// A data set by name, such as `gsm8k` or `math-500`.
    Dataset(DatasetSource),
}

/// Math problems, answered in the head or with a Python tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MathConfig {
    /// Where the problems come from.
    pub problems: ProblemSource,
    /// How the episode opens.
    pub opening: Opening,
    /// How demonstrations for the warm start are mixed; graded problems have their own.
    pub demonstrations: StrategyMixture,
}

impl Default for MathConfig {
    fn default() -> Self {
        Self {
            problems: ProblemSource::Generated {
                seed: 1,
                train: 2048,
                validation: 300,
                test: 1000,
                level_weights: Frequencies::literal([0.1, 0.2, 0.25, 0.15, 0.1, 0.2]),
            },
            opening: Opening::Question {},
            demonstrations: StrategyMixture::default(),
        }
    }
}

impl EnvironmentSettings for MathConfig {
    fn build(
        &self,
        _: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<Box<dyn Environment>, DataError> {
        Ok(Box::new(MathEnvironment::new(self, observer)?))
    }

    fn check(&self) -> Result<(), DataError> {
        if let ProblemSource::Graded(graded) = &self.problems {
            graded.demonstrations.check()?;
        }
        self.demonstrations.check()
    }

    fn usual_tools(&self) -> Vec<ToolEntry> {
        if let ProblemSource::Graded(_) = self.problems {
            return vec![ToolEntry::new("calculator", CalculatorConfig::default())];
        }
        vec![ToolEntry::new("python", PythonConfig::default())]
    }

    fn dataset(&self) -> Option<(&'static str, DatasetKind)> {
        Some(("problems", DatasetKind::Math))
    }
}

/// The environment.
pub struct MathEnvironment {
    config: MathConfig,
    tasks: Splits,
}

impl MathEnvironment {
    /// Generates or reads the problems.
    ///
    /// # Errors
    /// When the file cannot be read or holds too few problems, or a setting makes no sense.
    pub fn new(config: &MathConfig, observer: &mut dyn LoadObserver) -> Result<Self, DataError> {
        let tasks = match &config.problems {
            ProblemSource::Generated { seed, train, validation, test, level_weights } => {
                let level_weights = level_weights.get();
                let draw = |rng: &mut ChaCha8Rng| generate_problem(rng, &level_weights).into();
                generate_splits([*train, *validation, *test], *seed, draw)?
            }
            ProblemSource::Graded(graded) => {
                let level_weights = graded.level_weights.get();
                let draw = |rng: &mut ChaCha8Rng| generate_graded(rng, &level_weights).into();
                let counts = [graded.train, graded.validation, graded.test];
                generate_splits(counts, graded.seed, draw)?
            }
            ProblemSource::File(file) => file.load(rows::to_problem, observer)?.0,
            ProblemSource::Dataset(dataset) => dataset.load(rows::to_problem, observer)?.0,
        };
        Ok(Self { config: config.clone(), tasks })
    }
}

/// So many draws without a new problem, and there is none left; about a second.
const LONGEST_DROUGHT: usize = 1_000_000;

/// So many tasks of each split: training, validation, test. Each has a stream of random numbers of
/// its own.
fn generate_splits(
    [train, validation, test]: [usize; 3],
    seed: u64,
    draw: impl Fn(&mut ChaCha8Rng) -> Task,
) -> Result<Splits, DataError> {
    let generate = |split, count, stream| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        generate_tasks(split, count, || draw(&mut rng))
    };
    Ok(Splits {
        train: generate(Split::Train, train, 0)?,
        validation: generate(Split::Validation, validation, 1)?,
        test: generate(Split::Test, test, 2)?,
    })
}

fn generate_tasks(
    split: Split,
    count: usize,
    mut draw: impl FnMut() -> Task,
) -> Result<Vec<Task>, DataError> {
    let (mut tasks, mut seen) = (Vec::new(), HashSet::new());
    let (mut attempts, mut latest) = (0usize, 0usize);
    while tasks.len() < count {
        attempts += 1;
        if attempts > 1000 * (count + 100) || attempts - latest > LONGEST_DROUGHT {
            return Err(DataError::Setting(format!(
                "only {} different problems of these levels exist, not {count}",
                tasks.len()
            )));
        }
        let task = draw();
        if question_split(&task.question) == split && seen.insert(task.question.clone()) {
            latest = attempts;
            let prefix = match split {
                Split::Train => "train",
                Split::Validation => "validation",
                Split::Test => "test",
            };
            tasks.push(Task { id: format!("{prefix}-{}", tasks.len()), ..task });
        }
    }
    Ok(tasks)
}

impl From<Problem> for Task {
    fn from(problem: Problem) -> Self {
        Self {
            question: problem.question,
            answers: vec![problem.answer.to_string()],
            level: Some(problem.level),
            ..Self::default()
        }
    }
}

impl From<GradedProblem> for Task {
    fn from(problem: GradedProblem) -> Self {
        Self {
            question: problem.question,
            answers: vec![problem.answer.to_string()],
            level: Some(problem.level),
            needed_calls: Some(problem.steps.len() as u32),
            ..Self::default()
        }
    }
}

impl Environment for MathEnvironment {
    fn tasks(&self, split: Split) -> &[Task] {
        self.tasks.get(split)
    }

    fn opening(&self, task: &Task) -> Vec<Message> {
        self.config.opening.messages(&task.question)
    }

    fn extract_answer(&self, response: &str) -> Option<String> {
        extract_answer(response)
    }

    fn succeeded(&self, task: &Task, trajectory: &Trajectory) -> bool {
        trajectory
            .answer
            .as_ref()
            .is_some_and(|answer| task.answers.iter().any(|gold| answers_equal(gold, answer)))
    }

    fn demonstration(&self, index: u64) -> Option<Demonstration> {
        match &self.config.problems {
            ProblemSource::Generated { seed, level_weights, .. } => {
                Some(demonstrations::demonstrate(
                    *seed,
                    index,
                    &level_weights.get(),
                    &self.config.demonstrations,
                ))
            }
            ProblemSource::Graded(graded) => Some(graded.demonstrations.demonstrate(
                graded.seed,
                index,
                &graded.level_weights.get(),
            )),
            ProblemSource::File(_) | ProblemSource::Dataset(_) => None,
        }
    }

    fn metrics(&self, task: &Task, trajectory: &Trajectory) -> Vec<(&'static str, f64)> {
        let Some(needed) = task.needed_calls.map(f64::from) else { return Vec::new() };
        let made = trajectory.call_count() as f64;
        vec![("needed_calls", needed), ("calls_beyond_needed", (made - needed).max(0.0))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_share_no_question_and_are_reproducible() {
        let environment = MathEnvironment::new(&MathConfig::default(), &mut ()).unwrap();
        let again = MathEnvironment::new(&MathConfig::default(), &mut ()).unwrap();
        let mut questions = HashSet::new();
        for split in [Split::Train, Split::Validation, Split::Test] {
            assert_eq!(environment.tasks(split), again.tasks(split));
            for task in environment.tasks(split) {
                assert!(
                    questions.insert(task.question.clone()),
                    "`{}` appears twice",
                    task.question
                );
            }
        }
        assert_eq!(questions.len(), 2048 + 300 + 1000);
        for index in 0..2000 {
            let demonstration = environment.demonstration(index).unwrap();
            // drills are bare expressions, which no task asks
            let drill = !demonstration.question.contains(' ');
            assert!(
                drill || question_split(&demonstration.question) == Split::Train,
                "{}",
                demonstration.question
            );
        }
    }

    #[test]
    fn graded_tasks_say_how_many_calls_they_need() {
        let problems = serde_json::from_str(r#"{"type":"graded"}"#).unwrap();
        let config = MathConfig { problems, ..MathConfig::default() };
        let environment = MathEnvironment::new(&config, &mut ()).unwrap();
        let mut questions = HashSet::new();
        for (split, count) in [(Split::Train, 1200), (Split::Validation, 300), (Split::Test, 1000)]
        {
            let tasks = environment.tasks(split);
            assert_eq!(tasks.len(), count);
            assert!(tasks.iter().all(|task| questions.insert(task.question.clone())));
            for task in tasks {
                let expected = [0, 1, 1, 1, 1, 1, 2, 2, 3, 3][task.level.unwrap() as usize];
                assert_eq!(task.needed_calls, Some(expected));
            }
        }
        let task = environment.tasks(Split::Test).iter().find(|task| task.level == Some(7));
        let outcome =
            paretopo_trajectory::ToolOutcome::new(paretopo_trajectory::CallStatus::Ok, "", 0.0);
        let record = paretopo_trajectory::CallRecord::new(None, outcome);
        let id = paretopo_trajectory::TrajectoryId::new("test", 0, 0);
        let played = Trajectory { calls: vec![record; 5], ..Trajectory::empty(id, "t", 0) };
        // level 7 needs 2, so that 5 are 3 too many
        let found = environment.metrics(task.unwrap(), &played);
        assert_eq!(found, [("needed_calls", 2.0), ("calls_beyond_needed", 3.0)]);
        assert_eq!(config.usual_tools()[0].tool.name(), "calculator");
    }

    #[test]
    fn impossible_settings_are_errors() {
        let error = |problems| {
            MathEnvironment::new(&MathConfig { problems, ..MathConfig::default() }, &mut ())
                .err()
                .expect("an error")
                .to_string()
        };
        // one-digit sums and differences: there are a few hundred questions in all
        let level_weights = Frequencies::literal([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let (train, validation, test) = (1_000_000, 1, 1);
        let started = std::time::Instant::now();
        let many = ProblemSource::Generated { seed: 1, train, validation, test, level_weights };
        assert!(error(many).contains("different problems of these levels exist, not 1000000"));
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
        let file = serde_json::from_str(
            r#"{"type":"jsonl","path":"/nonexistent","test":1,"validation":1}"#,
        )
        .unwrap();
        assert!(error(file).contains("cannot read"));
    }
}
