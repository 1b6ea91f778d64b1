//! Math problems with a Python tool: generated ones of graded difficulty, a file, or a data set by
//! name.

mod demonstrations;
mod problems;
mod rows;
mod vocabulary;

pub use demonstrations::StrategyMixture;
pub use problems::{Problem, generate_problem};
pub use vocabulary::tokenizer_json;

use crate::data::{DatasetSource, FileSource, Splits};
use crate::{
    DataError, DatasetKind, Demonstration, Environment, EnvironmentSettings, LoadObserver, Opening,
    Resources,
};
use paretopo_grading::{answers_equal, extract_answer};
use paretopo_settings::{Frequencies, LARGEST_SEED, whole, within};
use paretopo_tools::{PythonConfig, ToolEntry};
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
    /// How demonstrations for the warm start are mixed.
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
        self.demonstrations.check()
    }

    fn usual_tools(&self) -> Vec<ToolEntry> {
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
                let generate = |split, count, stream| {
                    generate_tasks(split, count, *seed, stream, &level_weights)
                };
                Splits {
                    train: generate(Split::Train, *train, 0)?,
                    validation: generate(Split::Validation, *validation, 1)?,
                    test: generate(Split::Test, *test, 2)?,
                }
            }
            ProblemSource::File(file) => file.load(rows::to_problem, observer)?.0,
            ProblemSource::Dataset(dataset) => dataset.load(rows::to_problem, observer)?.0,
        };
        Ok(Self { config: config.clone(), tasks })
    }
}

/// So many draws without a new problem, and there is none left; about a second.
const LONGEST_DROUGHT: usize = 1_000_000;

fn generate_tasks(
    split: Split,
    count: usize,
    seed: u64,
    stream: u64,
    level_weights: &[f64; LEVELS],
) -> Result<Vec<Task>, DataError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
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
        let problem = generate_problem(&mut rng, level_weights);
        if question_split(&problem.question) == split && seen.insert(problem.question.clone()) {
            latest = attempts;
            let prefix = match split {
                Split::Train => "train",
                Split::Validation => "validation",
                Split::Test => "test",
            };
            tasks.push(Task {
                id: format!("{prefix}-{}", tasks.len()),
                question: problem.question,
                answers: vec![problem.answer.to_string()],
                level: Some(problem.level),
                supporting: Vec::new(),
            });
        }
    }
    Ok(tasks)
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
            ProblemSource::File(_) | ProblemSource::Dataset(_) => None,
        }
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
