//! Demonstrations for a world that is known in part: from memory, by searching, or both.
//!
//! A hop is taken from memory by a note, `birthplace of Karabar: Tarwick`, or by a search for what
//! it starts from. Notes say what is believed of the real world, a guess where nothing is told.
//! Searches are made in practice worlds, with the same names and other facts, so that passages are
//! read and not learnt by heart: what nobody tells stays unknown.
//!
//! | strategy | hops |
//! |---|---|
//! | by heart | all from memory |
//! | searched | all searched for, again after a miss |
//! | fitting | famous ones from memory, half-known ones either way, obscure ones searched for |
//! | redundant | as searched, and some searched for twice |
//!
//! Besides there are drills, `birthplace of Karabar?`, as often as each fact is told. A share of
//! the demonstrations begins with two random weights, `<w7><w3>`, that mean nothing yet.

use super::fame::{Fact, Renown};
use super::familiar::Familiar;
use super::world::{Thing, World, WorldQuestion};
use crate::preference_tokens::preference_token;
use crate::{DataError, Demonstration, DemonstrationTurn};
use paretopo_retrieval::PassageIndex;
use paretopo_settings::{NonNegative, Share, whole, within};
use paretopo_tools::{CallContext, Luck, SearchTool, Tool};
use paretopo_trajectory::{ToolCall, TrajectoryId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Demonstrations in one practice world.
const PER_WORLD: u64 = 256;
/// Searches after which a demonstration goes on from memory.
const MOST_SEARCHES: usize = 5;
/// How often a search that did not show the page is made again; else memory must do.
const AGAIN_AFTER_MISS: f64 = 0.75;
/// How often a redundant demonstration searches again for what it has found.
const AGAIN_AFTER_HIT: f64 = 0.3;

/// Relative frequency of each way to answer, and how searches are shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Teaching {
    /// All hops from memory, with guesses where nothing is told.
    pub by_heart: NonNegative,
    /// All hops searched for, once unless a search misses.
    pub searched: NonNegative,
    /// Famous hops from memory, obscure ones searched for, half-known ones either way.
    pub fitting: NonNegative,
    /// All hops searched for, and some twice.
    pub redundant: NonNegative,
    /// Share of drills: one fact, asked in words that no task has.
    pub drills: Share,
    /// Share of demonstrations with random preference tokens in front of the question.
    pub preferences: Share,
    /// Passages that a search shows; as the search tool's `topk`.
    #[serde(deserialize_with = "within::<1, 1000, _, _>")]
    #[schemars(schema_with = "whole::<1, 1000>")]
    pub topk: usize,
    /// Share of searches that miss; as the search tool's `miss_rate`.
    pub miss_rate: Share,
}

impl Default for Teaching {
    fn default() -> Self {
        Self {
            by_heart: const { NonNegative::literal(0.20) },
            searched: const { NonNegative::literal(0.20) },
            fitting: const { NonNegative::literal(0.45) },
            redundant: const { NonNegative::literal(0.15) },
            drills: const { Share::literal(0.25) },
            preferences: const { Share::literal(0.30) },
            topk: 1,
            miss_rate: const { Share::literal(0.15) },
        }
    }
}

impl Teaching {
    /// # Errors
    /// When no way has a frequency above 0.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let Self { by_heart, searched, fitting, redundant, .. } = self;
        if [by_heart, searched, fitting, redundant].iter().any(|f| f.get() > 0.0) {
            return Ok(());
        }
        Err(DataError::Setting(
            "`environment.questions.teaching`: `by_heart`, `searched`, `fitting` and `redundant` \
             are all 0\nhint: give one of them a frequency above 0"
                .into(),
        ))
    }

    fn strategy(&self, rng: &mut impl Rng) -> Strategy {
        let ways = [
            (self.by_heart, Strategy::ByHeart),
            (self.searched, Strategy::Searched),
            (self.fitting, Strategy::Fitting),
            (self.redundant, Strategy::Redundant),
        ];
        let all: f64 = ways.iter().map(|(frequency, _)| frequency.get()).sum();
        let mut left = rng.random_range(0.0..all);
        for (frequency, strategy) in ways {
            if left < frequency.get() {
                return strategy;
            }
            left -= frequency.get();
        }
        Strategy::Redundant
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    ByHeart,
    Searched,
    Fitting,
    Redundant,
}

/// A world to search in, with its own tool.
pub(super) struct Practice {
    number: u64,
    world: World,
    search: SearchTool,
}

impl Practice {
    /// The practice world in which the `index`-th demonstration searches.
    ///
    /// # Errors
    /// When its pages cannot be indexed.
    pub(super) fn for_demonstration(familiar: &Familiar, index: u64) -> Result<Self, DataError> {
        let number = index / PER_WORLD;
        // far away from the seeds that people give to real worlds
        let seed = familiar.config.seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let world = familiar.world.relinked(seed ^ number, const { Share::literal(0.0) });
        let index = Arc::new(PassageIndex::in_memory(&world.passages())?);
        let Teaching { topk, miss_rate, .. } = familiar.config.teaching;
        let search = SearchTool::new(index, topk).with_misses(miss_rate);
        Ok(Self { number, world, search })
    }

    /// Whether the `index`-th demonstration searches here.
    pub(super) fn is_for(&self, index: u64) -> bool {
        self.number == index / PER_WORLD
    }
}

/// A demonstration while it is written.
struct Lesson<'a> {
    familiar: &'a Familiar,
    practice: &'a Practice,
    id: TrajectoryId,
    rng: ChaCha8Rng,
    turns: Vec<DemonstrationTurn>,
    searches: usize,
}

/// The `index`-th demonstration; `None` where there is nothing to ask.
pub(super) fn demonstrate(
    familiar: &Familiar,
    practice: &Practice,
    index: u64,
) -> Option<Demonstration> {
    let mut rng = ChaCha8Rng::seed_from_u64(familiar.config.seed ^ 0xFA);
    rng.set_stream(index);
    let id = TrajectoryId::new("demonstration", index, 0);
    let (turns, searches) = (Vec::new(), 0);
    let mut lesson = Lesson { familiar, practice, id, rng, turns, searches };
    let is_drill = lesson.rng.random_bool(familiar.config.teaching.drills.get());
    // of a world of which nothing is told there are no drills
    let drill = if is_drill { lesson.drill() } else { None };
    let question = drill.or_else(|| lesson.question());
    let mut question = question?;
    if lesson.rng.random_bool(familiar.config.teaching.preferences.get()) {
        let first = lesson.rng.random_range(0..=10);
        question = [preference_token(first), preference_token(10 - first), question].concat();
    }
    Some(Demonstration { question, turns: lesson.turns })
}

impl Lesson<'_> {
    /// A fact as often as it is told.
    fn drill(&mut self) -> Option<String> {
        let (thing, relation) = self.familiar.beliefs.told(&mut self.rng)?;
        let value = self.remember((thing, relation));
        self.answer(value);
        Some(format!("{} of {}?", relation.word(), self.familiar.world.name(thing)))
    }

    /// A training question, each level as often as another.
    fn question(&mut self) -> Option<String> {
        let lessons = &self.familiar.lessons;
        if lessons.is_empty() {
            return None;
        }
        let level = &lessons[self.rng.random_range(0..lessons.len())];
        let question: &WorldQuestion = &level[self.rng.random_range(0..level.len())];
        let strategy = self.familiar.config.teaching.strategy(&mut self.rng);
        let mut at = question.start;
        for relation in question.relations {
            let fact = (at, *relation);
            at = match self.searches_for(strategy, at) {
                true => self.look_up(fact, strategy == Strategy::Redundant),
                false => self.remember(fact),
            };
        }
        self.answer(at);
        Some(question.task.question.clone())
    }

    fn searches_for(&mut self, strategy: Strategy, thing: Thing) -> bool {
        match strategy {
            Strategy::ByHeart => false,
            Strategy::Searched | Strategy::Redundant => true,
            Strategy::Fitting => match self.familiar.beliefs.renown(&self.familiar.world, thing) {
                Renown::Famous => false,
                Renown::HalfKnown => self.rng.random_bool(0.5),
                Renown::Obscure => true,
            },
        }
    }

    /// Writes down what is believed, or a guess.
    fn remember(&mut self, fact: Fact) -> Thing {
        let world = &self.familiar.world;
        let believed = self.familiar.beliefs.believed(fact);
        let value = believed.unwrap_or_else(|| world.any(fact.1.kind(), &mut self.rng));
        let (word, of) = (fact.1.word(), world.name(fact.0));
        let note = format!("{word} of {of}: {}\n", world.name(value));
        self.turns.push(DemonstrationTurn::Text(note));
        value
    }

    /// Searches for what a hop starts from and reads the value off its page; from memory where no
    /// search shows it.
    fn look_up(&mut self, fact: Fact, is_redundant: bool) -> Thing {
        let title = format!("(Title: {})", self.familiar.world.name(fact.0));
        let mut found = None;
        while self.searches < MOST_SEARCHES {
            if self.search(fact.0).contains(&title) {
                found = self.practice.world.follow(fact.0, fact.1);
            }
            let again = match found {
                Some(_) if is_redundant => AGAIN_AFTER_HIT,
                Some(_) => break,
                None => AGAIN_AFTER_MISS,
            };
            if !self.rng.random_bool(again) {
                break;
            }
        }
        found.unwrap_or_else(|| self.remember(fact))
    }

    /// What a search for a thing shows.
    fn search(&mut self, thing: Thing) -> String {
        let query = self.familiar.world.name(thing);
        let arguments = serde_json::json!({ "query": query });
        let call = ToolCall { name: "search".into(), arguments };
        let deadline = Instant::now() + Duration::from_secs(60);
        let luck = Luck::of_call(self.familiar.config.seed, &self.id, self.searches);
        let context = CallContext { trajectory: self.id.clone(), deadline, luck };
        let output = self.practice.search.call(&call, &context).text;
        self.searches += 1;
        self.turns.push(DemonstrationTurn::Call(call));
        self.turns.push(DemonstrationTurn::Output(output.clone()));
        output
    }

    fn answer(&mut self, value: Thing) {
        let answer = format!("<answer> {} </answer>", self.familiar.world.name(value));
        self.turns.push(DemonstrationTurn::Answer(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;
    use crate::qa::{FamiliarWorld, QaConfig, QaEnvironment, QuestionSource, extract_tagged};
    use paretopo_trajectory::Split;
    use std::collections::HashSet;

    /// A world in which only one strategy is shown, and no drills.
    fn only(strategy: Strategy) -> FamiliarWorld {
        let is = |one: Strategy| NonNegative::literal(f64::from(u8::from(one == strategy)));
        let teaching = Teaching {
            by_heart: is(Strategy::ByHeart),
            searched: is(Strategy::Searched),
            fitting: is(Strategy::Fitting),
            redundant: is(Strategy::Redundant),
            drills: Share::literal(0.0),
            preferences: Share::literal(0.0),
            ..Teaching::default()
        };
        FamiliarWorld { teaching, ..FamiliarWorld::default() }
    }

    fn notes(demonstration: &Demonstration) -> Vec<&str> {
        let texts = demonstration.turns.iter().filter_map(|turn| match turn {
            DemonstrationTurn::Text(note) => Some(note.trim()),
            _ => None,
        });
        texts.collect()
    }

    fn answer(demonstration: &Demonstration) -> String {
        match demonstration.turns.last() {
            Some(DemonstrationTurn::Answer(text)) => extract_tagged(text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn by_heart_is_what_is_believed_and_else_a_guess() {
        let (familiar, _) = Familiar::new(&only(Strategy::ByHeart)).unwrap();
        let told: HashSet<String> = (0..familiar.world.people.len())
            .filter_map(|index| {
                let fact = (Thing::Person(index), crate::qa::world::Relation::Birthplace);
                let believed = familiar.world.name(familiar.beliefs.believed(fact)?);
                let name = familiar.world.name(fact.0);
                Some(format!("birthplace of {name}: {believed}"))
            })
            .collect();
        // 0.65 of 200 people: the ranks 0 to 129
        assert_eq!(told.len(), 130);
        let (mut of_told, mut guessed) = (0, 0);
        for index in 0..500 {
            let demonstration = familiar.demonstration(index).unwrap();
            let notes = notes(&demonstration);
            assert_eq!(notes.len() + 1, demonstration.turns.len(), "{demonstration:?}");
            assert!(notes.last().unwrap().ends_with(&answer(&demonstration)));
            for note in notes.iter().filter(|note| note.starts_with("birthplace")) {
                let name = note.split([' ', ':']).nth(2).unwrap();
                let is_told = told.iter().any(|known| known.split([' ', ':']).nth(2) == Some(name));
                of_told += usize::from(is_told);
                guessed += usize::from(!is_told);
                assert!(!is_told || told.contains(*note), "{note}");
            }
        }
        assert!(of_told > 100 && guessed > 50, "{of_told} {guessed}");
    }

    #[test]
    fn who_searches_reads_the_answer_off_the_last_page() {
        let (familiar, _) = Familiar::new(&only(Strategy::Searched)).unwrap();
        let (mut read, mut searches, mut misses) = (0, 0, 0);
        for index in 0..400 {
            let demonstration = familiar.demonstration(index).unwrap();
            let mut asked = String::new();
            let mut shown = "";
            for turn in &demonstration.turns {
                match turn {
                    DemonstrationTurn::Call(call) => {
                        asked = format!("(Title: {})", call.arguments["query"].as_str().unwrap());
                    }
                    DemonstrationTurn::Output(text) => {
                        searches += 1;
                        misses += usize::from(!text.contains(&asked));
                        shown = text;
                    }
                    _ => {}
                }
            }
            read += usize::from(shown.contains(&answer(&demonstration)));
        }
        // 15% of the searches miss, and no others do not show the page that was asked for; four
        // standard deviations of about 900 draws are 4 * sqrt(0.15 * 0.85 / 900) = 0.048
        let missed = misses as f64 / searches as f64;
        assert!((missed - 0.15).abs() < 0.048, "{missed} of {searches}");
        // after a miss memory must do with 1/4: 0.15 * 0.25 a hop, over at most three hops
        assert!((340..400).contains(&read), "{read}");
    }

    #[test]
    fn fitting_demonstrations_search_for_what_is_obscure_and_redundant_ones_more_than_once() {
        let calls = |strategy| {
            let (familiar, _) = Familiar::new(&only(strategy)).unwrap();
            let of = |index| {
                let turns = familiar.demonstration(index).unwrap().turns;
                turns.iter().filter(|turn| matches!(turn, DemonstrationTurn::Call(_))).count()
            };
            (0..400).map(of).sum::<usize>() as f64 / 400.0
        };
        let [fitting, searched, redundant] =
            [Strategy::Fitting, Strategy::Searched, Strategy::Redundant].map(calls);
        // levels are equally frequent: (3 * 1 + 4 * 2 + 5 * 3) / 12 = 2.17 hops, and of those
        // (1 + 1 + 2 + 1 + 2 + 3) / 12 = 0.83 obscure; a search is made 1 / (1 - 0.15 * 0.75) times
        assert!((searched - 2.17 * 1.127).abs() < 0.25, "{searched}");
        assert!(fitting > 0.83 && fitting < searched - 0.5, "{fitting}");
        assert!(redundant > searched + 0.4, "{redundant}");
    }

    #[test]
    fn demonstrations_ask_no_held_out_question_and_show_preference_tokens_in_their_share() {
        let world = FamiliarWorld::default();
        let questions = QuestionSource::FamiliarWorld(world);
        let environment =
            QaEnvironment::new(&QaConfig { questions, ..QaConfig::default() }, &mut ()).unwrap();
        let held_out: HashSet<&str> = [Split::Validation, Split::Test]
            .into_iter()
            .flat_map(|split| environment.tasks(split))
            .map(|task| task.question.as_str())
            .collect();
        let (mut drills, mut preferred) = (0, 0);
        for index in 0..1000 {
            let question = environment.demonstration(index).unwrap().question;
            let bare = question.rsplit('>').next().unwrap();
            assert!(!held_out.contains(bare), "{question}");
            drills += usize::from(bare.starts_with(|first: char| first.is_ascii_lowercase()));
            if question != bare {
                let weights: Vec<u32> = question[..question.len() - bare.len()]
                    .split(['<', 'w', '>'])
                    .filter_map(|weight| weight.parse().ok())
                    .collect();
                assert!(weights.len() == 2 && weights.iter().sum::<u32>() == 10, "{question}");
                preferred += 1;
            }
        }
        let nothing = FamiliarWorld { told: Share::literal(0.0), ..FamiliarWorld::default() };
        let (familiar, _) = Familiar::new(&nothing).unwrap();
        assert!((0..50).all(|index| familiar.demonstration(index).is_some()));
        // 250 and 300 of 1000, give or take four standard deviations of 13.7 and 14.5
        assert!((195..=305).contains(&drills) && (242..=358).contains(&preferred));
    }
}
