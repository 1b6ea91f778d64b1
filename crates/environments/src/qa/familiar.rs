//! A world that the policy knows in part by heart, with questions of which it must look up 0 to 3
//! hops.
//!
//! What it is told of the world, how often and how truly, says [`super::fame`]. A question's level
//! is `10 h + c` for `h` hops: `c` is 0 where all hops start from famous things, 1 where some are
//! half known and none is obscure, and `1 + o` where `o` are obscure. Levels are equally frequent
//! as far as the world has questions of each. A task's id tells its level and the searches that it
//! needs: `test-21-1-7` is the test split's question 7, of level 21, and needs one.

use super::fame::{Beliefs, Renown};
use super::recall::{Practice, Teaching, demonstrate};
use super::world::{Thing, World, WorldQuestion};
use crate::data::Splits;
use crate::{DataError, Demonstration};
use paretopo_retrieval::Passage;
use paretopo_settings::{LARGEST_SEED, Share, whole, within};
use paretopo_trajectory::Split;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A generated world that the warm start teaches in part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FamiliarWorld {
    /// Seed of the world (not of the training).
    #[serde(deserialize_with = "within::<0, LARGEST_SEED, _, _>")]
    #[schemars(schema_with = "whole::<0, LARGEST_SEED>")]
    pub seed: u64,
    /// People in it.
    #[serde(deserialize_with = "within::<2, 320, _, _>")]
    #[schemars(schema_with = "whole::<2, 320>")]
    pub people: usize,
    /// Works in it.
    #[serde(deserialize_with = "within::<1, 320, _, _>")]
    #[schemars(schema_with = "whole::<1, 320>")]
    pub works: usize,
    /// Places in it.
    #[serde(deserialize_with = "within::<1, 80, _, _>")]
    #[schemars(schema_with = "whole::<1, 80>")]
    pub places: usize,
    /// Share of links that lead to a thing of about the same fame; the others lead anywhere.
    pub closeness: Share,
    /// Share of people, works and places that the policy is told of, the most famous first.
    pub told: Share,
    /// Training questions.
    #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000>")]
    pub train: usize,
    /// Validation questions.
    #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000>")]
    pub validation: usize,
    /// Test questions.
    #[serde(deserialize_with = "within::<0, 1_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000>")]
    pub test: usize,
    /// How the warm start teaches it.
    pub teaching: Teaching,
}

impl Default for FamiliarWorld {
    fn default() -> Self {
        Self {
            seed: 1,
            people: 200,
            works: 100,
            places: 50,
            closeness: const { Share::literal(0.7) },
            told: const { Share::literal(0.65) },
            train: 240,
            validation: 96,
            test: 240,
            teaching: Teaching::default(),
        }
    }
}

/// The world with its questions and what is told of it.
pub(super) struct Familiar {
    pub(super) config: FamiliarWorld,
    pub(super) world: World,
    pub(super) beliefs: Beliefs,
    /// All training questions by level, of which demonstrations are drawn.
    pub(super) lessons: Vec<Vec<WorldQuestion>>,
    /// The world in which the latest demonstration searched.
    practice: Mutex<Option<Practice>>,
}

impl Familiar {
    /// Makes the world and its tasks.
    ///
    /// # Errors
    /// When there are fewer questions than wanted.
    pub(super) fn new(config: &FamiliarWorld) -> Result<(Self, Splits), DataError> {
        let FamiliarWorld { seed, people, works, places, .. } = *config;
        let named = World::new(seed, people, works, places).ok_or_else(|| {
            DataError::Setting(
                "a world has 2 to 320 people, 1 to 320 works and 1 to 80 places".into(),
            )
        })?;
        let world = named.relinked(seed, config.closeness);
        let beliefs = Beliefs::new(&world, config.told, seed.wrapping_add(1));
        let mut pools: [BTreeMap<u32, Vec<WorldQuestion>>; 3] = Default::default();
        for (split, mut question) in world.questions() {
            let level = level_of(&world, &beliefs, &question);
            question.task.level = Some(level);
            pools[split as usize].entry(level).or_default().push(question);
        }
        let lessons = pools[Split::Train as usize].values().cloned().collect();
        let mut splits = Vec::new();
        let wanted = [
            (Split::Train, "train", config.train),
            (Split::Validation, "validation", config.validation),
            (Split::Test, "test", config.test),
        ];
        for (split, name, count) in wanted {
            let own = std::mem::take(&mut pools[split as usize]);
            let mut chosen = evenly(own.into_values().collect(), count, seed);
            if chosen.len() < count {
                let found = chosen.len();
                let reason = format!("this world has {found} {name} questions, not {count}");
                return Err(DataError::Setting(reason));
            }
            for (index, question) in chosen.iter_mut().enumerate() {
                let level = question.task.level.unwrap_or_default();
                let searches = needed_searches(&world, &beliefs, question);
                question.task.id = format!("{name}-{level}-{searches}-{index}");
                question.task.needed_calls = Some(searches as u32);
            }
            splits.push(chosen.into_iter().map(|question| question.task).collect());
        }
        let [train, validation, test] = splits.try_into().expect("a list for each of three splits");
        let practice = Mutex::new(None);
        let familiar = Self { config: config.clone(), world, beliefs, lessons, practice };
        Ok((familiar, Splits { train, validation, test }))
    }

    /// The pages of the world.
    pub(super) fn passages(&self) -> Vec<Passage> {
        self.world.passages()
    }

    /// The `index`-th demonstration; `None` where there is nothing to ask.
    pub(super) fn demonstration(&self, index: u64) -> Option<Demonstration> {
        let mut practice = self.practice.lock().unwrap_or_else(PoisonError::into_inner);
        if !practice.as_ref().is_some_and(|practice| practice.is_for(index)) {
            *practice = Some(Practice::for_demonstration(self, index).ok()?);
        }
        demonstrate(self, practice.as_ref()?, index)
    }
}

/// The hops of a question: what each starts from, with what it asks.
fn hops<'a>(
    world: &'a World,
    question: &'a WorldQuestion,
) -> impl Iterator<Item = super::fame::Fact> + 'a {
    question.relations.iter().scan(Some(question.start), |at: &mut Option<Thing>, relation| {
        let from = (*at)?;
        *at = world.follow(from, *relation);
        Some((from, *relation))
    })
}

fn level_of(world: &World, beliefs: &Beliefs, question: &WorldQuestion) -> u32 {
    let renown: Vec<Renown> =
        hops(world, question).map(|(thing, _)| beliefs.renown(world, thing)).collect();
    let obscure = renown.iter().filter(|renown| **renown == Renown::Obscure).count();
    let is_half_known = renown.contains(&Renown::HalfKnown);
    let strangeness = if obscure > 0 { 1 + obscure } else { usize::from(is_half_known) };
    (10 * renown.len() + strangeness) as u32
}

/// The fewest searches with which a question can be answered for certain: its hops about which
/// nothing, or something wrong, is told.
fn needed_searches(world: &World, beliefs: &Beliefs, question: &WorldQuestion) -> usize {
    hops(world, question)
        .filter(|fact| beliefs.believed(*fact) != world.follow(fact.0, fact.1))
        .count()
}

/// `count` of the questions, taken in turn from each list as long as it has any, in a mixed order.
fn evenly(mut lists: Vec<Vec<WorldQuestion>>, count: usize, seed: u64) -> Vec<WorldQuestion> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for list in &mut lists {
        list.shuffle(&mut rng);
    }
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count && lists.iter().any(|list| !list.is_empty()) {
        let left = count - chosen.len();
        chosen.extend(lists.iter_mut().filter_map(Vec::pop).take(left));
    }
    chosen.shuffle(&mut rng);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn levels_say_hops_and_obscure_ones_and_are_about_equally_frequent() {
        let (_, tasks) = Familiar::new(&FamiliarWorld::default()).unwrap();
        let (_, same_tasks) = Familiar::new(&FamiliarWorld::default()).unwrap();
        assert_eq!((tasks.train.len(), tasks.validation.len(), tasks.test.len()), (240, 96, 240));
        assert_eq!(tasks.test, same_tasks.test);
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let mut texts = HashSet::new();
        for task in tasks.train.iter().chain(&tasks.validation).chain(&tasks.test) {
            assert!(texts.insert(&task.question), "{task:?}");
            let level = task.level.unwrap() as usize;
            let (hops, obscure) = (level / 10, (level % 10).saturating_sub(1));
            assert_eq!(hops, task.supporting.len());
            let needed = task.needed_calls.unwrap() as usize;
            assert!((obscure..=hops).contains(&needed), "{task:?} {needed}");
            assert!(task.id.contains(&format!("-{level}-{needed}-")), "{task:?}");
            *counts.entry(level as u32).or_default() += 1;
        }
        // h = 1: 10 to 12, h = 2: 20 to 23, h = 3: 30 to 34; 576 tasks, 48 a level
        let levels = [10, 11, 12, 20, 21, 22, 23, 30, 31, 32, 33, 34];
        assert!(counts.keys().copied().eq(levels), "{counts:?}");
        assert!(counts.values().all(|count| (20..=70).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_is_told_decides_how_many_searches_are_needed() {
        let world = FamiliarWorld { people: 40, works: 20, places: 10, ..Default::default() };
        let world = FamiliarWorld { train: 60, validation: 5, test: 20, ..world };
        let nothing = FamiliarWorld { told: Share::literal(0.0), ..world.clone() };
        let (_, tasks) = Familiar::new(&nothing).unwrap();
        for task in &tasks.train {
            // all h hops are obscure and needed: level 10 h + 1 + h
            let hops = task.supporting.len();
            assert_eq!(task.needed_calls, Some(hops as u32));
            assert_eq!(task.level, Some(11 * hops as u32 + 1));
        }
        let (_, tasks) = Familiar::new(&world).unwrap();
        let known = tasks.train.iter().filter(|task| task.needed_calls == Some(0));
        assert!(known.count() > 5);
    }

    #[test]
    fn more_questions_than_there_are_are_refused() {
        let world = FamiliarWorld { people: 9, works: 9, places: 9, ..Default::default() };
        let error = Familiar::new(&world).err().unwrap().to_string();
        assert!(error.contains("train questions, not 240"), "{error}");
    }
}
