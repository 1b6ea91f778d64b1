//! Questions over a collection of passages, with a search tool: a generated world, or published
//! multi-hop data.

mod answer;
mod demonstrations;
mod fame;
mod familiar;
mod links;
mod questions;
mod recall;
mod vocabulary;
mod word_characters;
mod world;

pub use answer::{best_f1, exact_match, extract_tagged, f1, normalize_answer};
pub use demonstrations::SearchMixture;
pub use familiar::FamiliarWorld;
pub use questions::read_questions;
pub use recall::Teaching;
pub use vocabulary::{familiar_tokenizer_json, tokenizer_json};

use crate::data::{DatasetSource, FileSource, Splits};
use crate::{
    DataError, DatasetKind, Demonstration, Environment, EnvironmentSettings, LoadObserver, Opening,
    Resources,
};
use demonstrations::Practice;
use familiar::Familiar;
use paretopo_retrieval::Passage;
use paretopo_settings::{LARGEST_SEED, whole, within};
use paretopo_tools::{SearchConfig, ToolEntry};
use paretopo_trajectory::{Message, Split, Task, Trajectory};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use world::{World, WorldQuestion};

/// Where the questions come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum QuestionSource {
    /// A generated world of fictional people, works and places.
    World {
        /// Seed of the world (not of the training).
        #[serde(deserialize_with = "within::<0, LARGEST_SEED, _, _>")]
        #[schemars(schema_with = "whole::<0, LARGEST_SEED>")]
        seed: u64,
        /// People in it.
        #[serde(deserialize_with = "within::<2, 320, _, _>")]
        #[schemars(schema_with = "whole::<2, 320>")]
        people: usize,
        /// Works in it.
        #[serde(deserialize_with = "within::<1, 320, _, _>")]
        #[schemars(schema_with = "whole::<1, 320>")]
        works: usize,
        /// Places in it.
        #[serde(deserialize_with = "within::<1, 80, _, _>")]
        #[schemars(schema_with = "whole::<1, 80>")]
        places: usize,
        /// Training questions.
        #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
        #[schemars(schema_with = "whole::<0, 1_000_000>")]
        train: usize,
        /// Validation questions.
        #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
        #[schemars(schema_with = "whole::<0, 1_000_000>")]
        validation: usize,
        /// Test questions.
        #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
        #[schemars(schema_with = "whole::<0, 1_000_000>")]
        test: usize,
    },
    /// A generated world that the policy knows in part by heart.
    FamiliarWorld(FamiliarWorld),
    /// A file of questions, in our form or in that of HotpotQA, 2WikiMultihopQA, MuSiQue, NQ or
    /// Search-R1; see [`read_questions`].
    File(FileSource),
    /// A data set by name, such as `hotpotqa`.
    Dataset(DatasetSource),
}

/// What `r_task` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerReward {
    /// 1 for an exact match, else 0.
    ExactMatch,
    /// The F1 of the answer's words.
    F1,
}

/// Questions whose answers stand in passages, with a search tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QaConfig {
    /// Where the questions come from.
    pub questions: QuestionSource,
    /// How the episode opens.
    pub opening: Opening,
    /// What the answer is worth.
    pub reward: AnswerReward,
    /// How demonstrations for the warm start are mixed.
    pub demonstrations: SearchMixture,
}

impl Default for QaConfig {
    fn default() -> Self {
        Self {
            questions: QuestionSource::World {
                seed: 1,
                people: 320,
                works: 160,
                places: 80,
                train: 2048,
                validation: 200,
                test: 500,
            },
            opening: Opening::Question {},
            reward: AnswerReward::ExactMatch,
            demonstrations: SearchMixture::default(),
        }
    }
}

impl EnvironmentSettings for QaConfig {
    fn build(
        &self,
        _: &Resources,
        observer: &mut dyn LoadObserver,
    ) -> Result<Box<dyn Environment>, DataError> {
        Ok(Box::new(QaEnvironment::new(self, observer)?))
    }

    fn check(&self) -> Result<(), DataError> {
        if let QuestionSource::FamiliarWorld(world) = &self.questions {
            world.teaching.check()?;
        }
        self.demonstrations.check()
    }

    fn usual_tools(&self) -> Vec<ToolEntry> {
        vec![ToolEntry::new("search", SearchConfig::default())]
    }

    fn dataset(&self) -> Option<(&'static str, DatasetKind)> {
        Some(("questions", DatasetKind::Qa))
    }
}

/// The environment.
pub struct QaEnvironment {
    config: QaConfig,
    tasks: Splits,
    /// The world in which the latest demonstration was played.
    practice: Mutex<Option<Practice>>,
    /// The world, if the policy knows a part of it by heart.
    familiar: Option<Familiar>,
    /// Those that came with the questions, until they are taken.
    passages: Vec<Passage>,
}

/// What an environment is made of.
#[derive(Default)]
struct Loaded {
    tasks: Splits,
    familiar: Option<Familiar>,
    passages: Vec<Passage>,
}

impl QaEnvironment {
    /// Generates or reads the questions.
    ///
    /// # Errors
    /// When a file cannot be read or holds too little, or a setting makes no sense.
    pub fn new(config: &QaConfig, observer: &mut dyn LoadObserver) -> Result<Self, DataError> {
        let loaded = match &config.questions {
            QuestionSource::World { seed, people, works, places, train, validation, test } => {
                generate(*seed, [*people, *works, *places], [*train, *validation, *test])?
            }
            QuestionSource::FamiliarWorld(world) => {
                let (familiar, tasks) = Familiar::new(world)?;
                let passages = familiar.passages();
                Loaded { tasks, familiar: Some(familiar), passages }
            }
            QuestionSource::File(file) => {
                without_world(file.load(questions::to_question, observer)?)
            }
            QuestionSource::Dataset(dataset) => {
                without_world(dataset.load(questions::to_question, observer)?)
            }
        };
        let Loaded { tasks, familiar, passages } = loaded;
        Ok(Self { config: config.clone(), tasks, practice: Mutex::new(None), familiar, passages })
    }
}

fn generate(
    seed: u64,
    [people, works, places]: [usize; 3],
    wanted: [usize; 3],
) -> Result<Loaded, DataError> {
    let world = World::new(seed, people, works, places).ok_or_else(|| {
        DataError::Setting("a world has 2 to 320 people, 1 to 320 works and 1 to 80 places".into())
    })?;
    let mut pools: HashMap<Split, Vec<WorldQuestion>> = HashMap::new();
    for (split, question) in world.questions() {
        pools.entry(split).or_default().push(question);
    }
    let mut splits = [Vec::new(), Vec::new(), Vec::new()];
    let names = [(Split::Train, "train"), (Split::Validation, "validation"), (Split::Test, "test")];
    for (stream, ((split, name), count)) in names.into_iter().zip(wanted).enumerate() {
        let mut pool = pools.remove(&split).unwrap_or_default();
        if pool.len() < count {
            return Err(DataError::Setting(format!(
                "this world has {} {name} questions, not {count}",
                pool.len()
            )));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream as u64 + 1);
        pool.shuffle(&mut rng);
        pool.truncate(count);
        for (index, question) in pool.iter_mut().enumerate() {
            question.task.id = format!("{name}-{index}");
        }
        splits[stream] = pool.into_iter().map(|question| question.task).collect();
    }
    let [train, validation, test] = splits;
    let tasks = Splits { train, validation, test };
    Ok(Loaded { tasks, familiar: None, passages: world.passages() })
}

fn without_world((tasks, passages): (Splits, Vec<Passage>)) -> Loaded {
    Loaded { tasks, familiar: None, passages }
}

impl Environment for QaEnvironment {
    fn tasks(&self, split: Split) -> &[Task] {
        self.tasks.get(split)
    }

    fn opening(&self, task: &Task) -> Vec<Message> {
        self.config.opening.messages(&task.question)
    }

    fn take_passages(&mut self) -> Vec<Passage> {
        std::mem::take(&mut self.passages)
    }

    fn extract_answer(&self, response: &str) -> Option<String> {
        extract_tagged(response)
    }

    fn succeeded(&self, task: &Task, trajectory: &Trajectory) -> bool {
        trajectory
            .answer
            .as_ref()
            .is_some_and(|answer| task.answers.iter().any(|gold| exact_match(gold, answer)))
    }

    fn task_reward(&self, task: &Task, trajectory: &Trajectory) -> f64 {
        match self.config.reward {
            AnswerReward::ExactMatch => f64::from(u8::from(trajectory.success == Some(true))),
            AnswerReward::F1 => f1_of(task, trajectory),
        }
    }

    /// `f1`; `support_retrieved`: whether all supporting passages were shown; `no_search`: answered
    /// without a search; `repeated_queries`: searches for what had been searched for before. For a
    /// familiar world also what `familiar_metrics` says.
    fn metrics(&self, task: &Task, trajectory: &Trajectory) -> Vec<(&'static str, f64)> {
        let share = |condition: bool| f64::from(u8::from(condition));
        let mut metrics = vec![
            ("f1", f1_of(task, trajectory)),
            ("no_search", share(trajectory.answer.is_some() && trajectory.calls.is_empty())),
            ("repeated_queries", repeated_queries(trajectory) as f64),
        ];
        if !task.supporting.is_empty() {
            let shown: HashSet<&String> =
                trajectory.calls.iter().flat_map(|call| &call.outcome.sources).collect();
            metrics.push((
                "support_retrieved",
                share(task.supporting.iter().all(|title| shown.contains(title))),
            ));
        }
        if let Some(needed) = task.needed_calls {
            metrics.extend(familiar_metrics(task, trajectory, needed as usize));
        }
        metrics
    }

    fn demonstration(&self, index: u64) -> Option<Demonstration> {
        if let Some(familiar) = &self.familiar {
            return familiar.demonstration(index);
        }
        let QuestionSource::World { seed, people, works, places, .. } = self.config.questions
        else {
            return None;
        };
        let mut practice = self.practice.lock().unwrap_or_else(PoisonError::into_inner);
        if !practice.as_ref().is_some_and(|practice| practice.is_for(index)) {
            // the real world, of the same sizes, was made, so this one can be made too
            *practice = Practice::for_demonstration(
                index,
                seed,
                [people, works, places],
                self.config.demonstrations.topk,
            )
            .ok()?;
        }
        Some(demonstrations::demonstrate(
            practice.as_ref()?,
            seed,
            index,
            &self.config.demonstrations,
        ))
    }
}

/// Of a question that needs `needed` searches to be answered for certain:
///
/// - `needed_searches`, `known_hops`: so many, and the hops that are not among them;
/// - `right_from_memory`: whether the answer is right, of episodes without a search;
/// - `right_with_needed_searches`: whether it is right, of episodes with as many searches or more;
/// - `spare_searches`: searches beyond those, of episodes that are right.
fn familiar_metrics(
    task: &Task,
    trajectory: &Trajectory,
    needed: usize,
) -> Vec<(&'static str, f64)> {
    let searches = trajectory.calls.len();
    let known = task.supporting.len().saturating_sub(needed);
    let mut metrics = vec![("needed_searches", needed as f64), ("known_hops", known as f64)];
    let is_right = trajectory.success == Some(true);
    let right = f64::from(u8::from(is_right));
    if searches == 0 {
        metrics.push(("right_from_memory", right));
    }
    if searches >= needed {
        metrics.push(("right_with_needed_searches", right));
        if is_right {
            metrics.push(("spare_searches", (searches - needed) as f64));
        }
    }
    metrics
}

fn f1_of(task: &Task, trajectory: &Trajectory) -> f64 {
    trajectory
        .answer
        .as_ref()
        .map_or(0.0, |answer| best_f1(task.answers.iter().map(String::as_str), answer))
}

/// Searches of an episode whose query, after normalisation, had been searched for before.
fn repeated_queries(trajectory: &Trajectory) -> usize {
    let queries = trajectory
        .calls
        .iter()
        .filter_map(|call| call.call.as_ref()?.arguments.get("query")?.as_str());
    let mut seen = HashSet::new();
    queries.filter(|query| !seen.insert(normalize_answer(query))).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DemonstrationTurn;
    use paretopo_trajectory::{CallRecord, CallStatus, ToolCall, ToolOutcome, TrajectoryId};

    fn environment() -> QaEnvironment {
        QaEnvironment::new(&QaConfig::default(), &mut ()).unwrap()
    }

    #[test]
    fn the_world_is_reproducible_and_its_demonstrations_are_played_with_the_real_tool() {
        let (environment, again) = (environment(), environment());
        for (split, count) in [(Split::Train, 2048), (Split::Validation, 200), (Split::Test, 500)] {
            assert_eq!(environment.tasks(split).len(), count);
            assert_eq!(environment.tasks(split), again.tasks(split));
        }
        let (mut read, mut searches) = (0.0, 0.0);
        for index in (0..200).chain(10_000..10_200) {
            let demonstration = environment.demonstration(index).unwrap();
            assert_eq!(Some(&demonstration), again.demonstration(index).as_ref());
            let mut shown = String::new();
            for turn in &demonstration.turns {
                match turn {
                    DemonstrationTurn::Output(text) => {
                        assert!(text.starts_with("Doc 1(Title: "), "{text}");
                        shown.push_str(text);
                    }
                    DemonstrationTurn::Call(_) => searches += 1.0 / 400.0,
                    DemonstrationTurn::Text(note) => panic!("{note}"),
                    DemonstrationTurn::Answer(text) => {
                        read += f64::from(u8::from(shown.contains(&extract_tagged(text).unwrap())))
                            / 400.0
                    }
                }
            }
        }
        // a third stops early, and few of its answers stand in the passages
        assert!((0.7..0.9).contains(&read) && searches > 1.5, "{read} {searches}");
    }

    #[test]
    fn every_word_of_the_world_is_a_token() {
        let json = tokenizer_json();
        let known = json["model"]["vocab"].as_object().unwrap();
        let world = World::new(1, 320, 160, 80).unwrap();
        let texts = world
            .passages()
            .into_iter()
            .map(|passage| format!("Doc 1(Title: {}) {}", passage.title, passage.text));
        let questions = world.questions().into_iter().map(|(_, question)| question.task.question);
        for text in texts.chain(questions) {
            for (index, word) in text
                .split(|c: char| !c.is_ascii_alphabetic())
                .filter(|word| !word.is_empty())
                .enumerate()
            {
                let piece = if index == 0 { word.to_owned() } else { format!(" {word}") };
                assert!(
                    known.contains_key(&piece) || known.contains_key(&format!("({word}:")),
                    "`{piece}` in `{text}`"
                );
            }
        }
    }

    #[test]
    fn every_word_of_a_familiar_world_is_a_token() {
        let json = familiar_tokenizer_json();
        let known = json["model"]["vocab"].as_object().unwrap();
        let questions = QuestionSource::FamiliarWorld(FamiliarWorld::default());
        let config = QaConfig { questions, ..QaConfig::default() };
        let environment = QaEnvironment::new(&config, &mut ()).unwrap();
        for index in 0..300 {
            let demonstration = environment.demonstration(index).unwrap();
            let bare = demonstration.question.rsplit('>').next().unwrap().to_owned();
            let texts = demonstration.turns.into_iter().filter_map(|turn| match turn {
                DemonstrationTurn::Text(note) => Some(note),
                _ => None,
            });
            for text in texts.chain([bare]) {
                let words = text.split(|c: char| !c.is_ascii_alphabetic());
                for (index, word) in words.filter(|word| !word.is_empty()).enumerate() {
                    let piece = if index == 0 { word.to_owned() } else { format!(" {word}") };
                    assert!(known.contains_key(&piece), "`{piece}` in `{text}`");
                }
            }
        }
        assert!(known.contains_key("<w0>") && known.contains_key("<w10>"));
    }

    #[test]
    fn metrics_tell_how_an_answer_came_about() {
        let environment = environment();
        let task = Task {
            supporting: vec!["A".into(), "B".into()],
            answers: vec!["Kora Venn".into(), "K. V.".into()],
            ..Task::default()
        };
        let call = |query: &str, sources: &[&str]| {
            let arguments = serde_json::json!({ "query": query });
            let outcome = ToolOutcome {
                sources: sources.iter().map(ToString::to_string).collect(),
                ..ToolOutcome::new(CallStatus::Ok, "", 0.0)
            };
            CallRecord::new(Some(ToolCall { name: "search".into(), arguments }), outcome)
        };
        let mut trajectory = Trajectory {
            calls: vec![call("x", &["A"]), call("The X!", &["A", "B"])],
            answer: Some("kora".into()),
            ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "", 0)
        };
        // F1 of "kora" against "kora venn": precision 1, recall 1/2, so 2/3
        let expected = [
            ("f1", 2.0 / 3.0),
            ("no_search", 0.0),
            ("repeated_queries", 1.0),
            ("support_retrieved", 1.0),
        ];
        assert_eq!(environment.metrics(&task, &trajectory), expected);
        assert!(!environment.succeeded(&task, &trajectory));
        trajectory.answer = Some("the kora venn.".into());
        assert!(environment.succeeded(&task, &trajectory));
        trajectory.calls.clear();
        assert_eq!(environment.metrics(&task, &trajectory)[1], ("no_search", 1.0));
    }

    #[test]
    fn metrics_of_a_familiar_world_tell_memory_from_searching() {
        let questions = QuestionSource::FamiliarWorld(FamiliarWorld::default());
        let config = QaConfig { questions, ..QaConfig::default() };
        let environment = QaEnvironment::new(&config, &mut ()).unwrap();
        let needs = |task: &&Task| task.supporting.len() == 3 && task.needed_calls == Some(1);
        let task = environment.tasks(Split::Test).iter().find(needs).unwrap();
        let record = CallRecord::new(None, ToolOutcome::new(CallStatus::Ok, "", 0.0));
        let after = |searches: usize, success: bool| {
            let trajectory = Trajectory {
                calls: vec![record.clone(); searches],
                success: Some(success),
                ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "", 0)
            };
            let metrics = environment.metrics(task, &trajectory);
            let own = ["needed_searches", "known_hops", "right_from_memory"];
            let names = [&own[..], &["right_with_needed_searches", "spare_searches"]].concat();
            names
                .iter()
                .map(|name| metrics.iter().find(|(other, _)| other == name).map(|found| found.1))
                .collect::<Vec<_>>()
        };
        // of 3 hops 1 needs a search: 2 are known
        let memory = [Some(1.0), Some(2.0), Some(1.0), None, None];
        assert_eq!(after(0, true)[..], memory);
        // 3 searches are 2 more than needed, and so are those of a wrong answer, which do not count
        assert_eq!(after(3, true)[..], [Some(1.0), Some(2.0), None, Some(1.0), Some(2.0)]);
        assert_eq!(after(3, false)[..], [Some(1.0), Some(2.0), None, Some(0.0), None]);
    }

    #[test]
    fn impossible_settings_are_errors() {
        let error = |config: QaConfig| {
            QaEnvironment::new(&config, &mut ()).err().expect("an error").to_string()
        };
        let file: QuestionSource = serde_json::from_str(
            r#"{"type":"file","path":"/nonexistent","test":1,"validation":0}"#,
        )
        .unwrap();
        assert!(error(QaConfig { questions: file, ..QaConfig::default() }).contains("cannot read"));
        let too_few = "{\"type\":\"file\",\"path\":\"/nonexistent\",\"test\":-1,\"validation\":0}";
        assert!(serde_json::from_str::<QuestionSource>(too_few).is_err());
        let questions = QuestionSource::World {
            seed: 1,
            people: 9,
            works: 9,
            places: 9,
            train: 2048,
            validation: 0,
            test: 0,
        };
        assert!(
            error(QaConfig { questions, ..QaConfig::default() })
                .contains("train questions, not 2048")
        );
    }
}
