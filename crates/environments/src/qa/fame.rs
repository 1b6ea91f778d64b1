//! What a policy knows by heart: facts about the famous, told often and mostly right.
//!
//! Things of a kind (people, works, places) stand in the order of their fame. With `u` the place of
//! a thing in that order, from 0 for the best known to 1, and `t` the share that is told at all,
//!
//! ```text
//! a fact about it is told         if u < t, with a frequency of 1 / (10 + rank)
//! and what is told is right       with probability 1 - (u / t)^2
//! ```
//!
//! The frequency is the law of Zipf and Mandelbrot. Whether a told fact is right is drawn once: a
//! wrong one is hearsay that the policy holds as firmly as a right one. So a policy that has learnt
//! all it was told is right about facts of one fame as often as the formula says, and drawing its
//! tokens more greedily makes it no wiser.

use super::world::{AnswerKind, Relation, Thing, World};
use paretopo_settings::Share;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// What is added to a rank in the frequency of facts.
const FLATTENING: f64 = 10.0;
/// After so many draws a world has nothing wrong to tell.
const MOST_DRAWS: usize = 100;

/// How well a fact is known by what is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renown {
    /// The better known half of what is told: right with at least 3/4.
    Famous,
    /// The other half of what is told: right with less than 3/4.
    HalfKnown,
    /// Never told.
    Obscure,
}

/// A thing and what is asked of it.
pub(super) type Fact = (Thing, Relation);

/// All that is told of a world, true or not.
pub(super) struct Beliefs {
    told: f64,
    values: BTreeMap<Fact, Thing>,
    facts: Vec<Fact>,
    frequencies: Option<WeightedIndex<f64>>,
}

impl Beliefs {
    /// What is told of `world`; `seed` decides what of it is wrong.
    pub(super) fn new(world: &World, told: Share, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut values, mut weights) = (BTreeMap::new(), Vec::new());
        for fact in world.facts() {
            let (rank, u) = world.fame_of(fact.0);
            let Some(truth) = world.follow(fact.0, fact.1).filter(|_| u < told.get()) else {
                continue;
            };
            let is_right = rng.random_bool(1.0 - (u / told.get()).powi(2));
            let value = if is_right { truth } else { hearsay(world, fact.1, truth, &mut rng) };
            values.insert(fact, value);
            weights.push((fact, 1.0 / (FLATTENING + rank as f64)));
        }
        let facts = weights.iter().map(|(fact, _)| *fact).collect();
        let frequencies = WeightedIndex::new(weights.iter().map(|(_, weight)| *weight)).ok();
        Self { told: told.get(), values, facts, frequencies }
    }

    /// What is believed; `None` where nothing is told.
    pub(super) fn believed(&self, fact: Fact) -> Option<Thing> {
        self.values.get(&fact).copied()
    }

    /// A fact as often as it is told; `None` where nothing is.
    pub(super) fn told(&self, rng: &mut impl Rng) -> Option<Fact> {
        self.frequencies.as_ref().map(|frequencies| self.facts[frequencies.sample(rng)])
    }

    /// How well facts about a thing are known.
    pub(super) fn renown(&self, world: &World, thing: Thing) -> Renown {
        match world.fame_of(thing).1 {
            u if u < self.told / 2.0 => Renown::Famous,
            u if u < self.told => Renown::HalfKnown,
            _ => Renown::Obscure,
        }
    }
}

/// Anything of the kind but the truth, unless draw after draw finds nothing else.
fn hearsay(world: &World, relation: Relation, truth: Thing, rng: &mut impl Rng) -> Thing {
    let mut drawn = (0..MOST_DRAWS).map(|_| world.any(relation.kind(), rng));
    drawn.find(|value| *value != truth).unwrap_or(truth)
}

impl Relation {
    /// What kind of thing it leads to.
    pub(super) fn kind(self) -> AnswerKind {
        match self {
            Self::Author | Self::Spouse | Self::Founder => AnswerKind::Person,
            Self::Birthplace => AnswerKind::Place,
            Self::Country => AnswerKind::Country,
            Self::Occupation => AnswerKind::Occupation,
        }
    }

    /// Its word in notes and drills.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Birthplace => "birthplace",
            Self::Spouse => "spouse",
            Self::Founder => "founder",
            Self::Country => "country",
            Self::Occupation => "occupation",
        }
    }
}

impl World {
    /// All that can be asked of one thing, in a fixed order.
    fn facts(&self) -> Vec<Fact> {
        use Relation::{Author, Birthplace, Country, Founder, Occupation, Spouse};
        let of_people = (0..self.people.len())
            .flat_map(|i| [Birthplace, Spouse, Occupation].map(|r| (Thing::Person(i), r)));
        let of_works = (0..self.works.len()).map(|i| (Thing::Work(i), Author));
        let of_places = (0..self.places.len())
            .flat_map(|i| [Founder, Country].map(|relation| (Thing::Place(i), relation)));
        of_people.chain(of_works).chain(of_places).collect()
    }

    /// A thing's rank in the order of fame, from 0, and as a share of its kind, in [0, 1).
    fn fame_of(&self, thing: Thing) -> (usize, f64) {
        let (rank, count) = match thing {
            Thing::Person(rank) => (rank, self.people.len()),
            Thing::Work(rank) => (rank, self.works.len()),
            Thing::Place(rank) => (rank, self.places.len()),
            Thing::Country(_) | Thing::Occupation(_) => (0, 1),
        };
        (rank, rank as f64 / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of facts that are believed rightly, and of those that are told, among things of
    /// which `is_meant` holds.
    fn known(is_meant: impl Fn(Renown) -> bool) -> (f64, f64) {
        let (mut right, mut told, mut all) = (0.0, 0.0, 0.0);
        for seed in 0..40 {
            let world = World::new(seed, 160, 80, 40).unwrap();
            let beliefs = Beliefs::new(&world, Share::literal(0.5), seed);
            for fact in world.facts() {
                if is_meant(beliefs.renown(&world, fact.0)) {
                    let believed = beliefs.believed(fact);
                    right += f64::from(u8::from(believed == world.follow(fact.0, fact.1)));
                    told += f64::from(u8::from(believed.is_some()));
                    all += 1.0;
                }
            }
        }
        (right / all, told / all)
    }

    #[test]
    fn the_famous_are_known_well_the_half_known_half_and_the_obscure_never() {
        // with x = u / t uniform in [0, 1/2): the mean of 1 - x^2 is 1 - 1/12 = 0.917
        let (right, told) = known(|renown| renown == Renown::Famous);
        assert!((right - 0.917).abs() < 0.02 && told == 1.0, "{right} {told}");
        // in [1/2, 1): 1 - (1 - 1/8) / (3/2) = 0.417
        let (right, told) = known(|renown| renown == Renown::HalfKnown);
        assert!((right - 0.417).abs() < 0.03 && told == 1.0, "{right} {told}");
        assert_eq!(known(|renown| renown == Renown::Obscure), (0.0, 0.0));
    }

    #[test]
    fn the_famous_are_told_of_more_often() {
        let world = World::new(1, 160, 80, 40).unwrap();
        let beliefs = Beliefs::new(&world, Share::literal(0.5), 1);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut first, mut last) = (0.0, 0.0);
        for _ in 0..100_000 {
            let (thing, _) = beliefs.told(&mut rng).unwrap();
            first += f64::from(u8::from(thing == Thing::Person(0)));
            last += f64::from(u8::from(thing == Thing::Person(79)));
        }
        // 1 / (10 + 0) against 1 / (10 + 79): 8.9 times as often
        assert!((first / last - 8.9).abs() < 1.5, "{first} {last}");
    }

    #[test]
    fn of_a_world_of_which_nothing_is_told_nothing_is_believed() {
        let world = World::new(1, 4, 1, 1).unwrap();
        let beliefs = Beliefs::new(&world, Share::literal(0.0), 1);
        assert_eq!(beliefs.told(&mut ChaCha8Rng::seed_from_u64(1)), None);
        assert_eq!(beliefs.renown(&world, Thing::Person(0)), Renown::Obscure);
        // hearsay about the only town there is can be nothing else
        assert!(!Beliefs::new(&world, Share::literal(1.0), 1).values.is_empty());
    }
}
