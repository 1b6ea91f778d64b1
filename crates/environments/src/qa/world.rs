//! A small fictional world: people, works and places, the passages that describe them, and
//! questions of one to three hops.
//!
//! Every fact stands on the page of one entity, so a question of `n` hops needs `n` pages. Some
//! authors' pages name their best-known work, so that a search for the work also finds its author
//! and two hops may cost one search: how many searches a question needs has to be learned. Answers
//! that are people or places belong to one split only; for answers of a small closed class
//! (countries, occupations) the entity that the question starts from does.

use paretopo_retrieval::Passage;
use paretopo_trajectory::{Split, Task, stable_hash};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

pub(super) const COUNTRIES: [&str; 8] =
    ["Arvania", "Belmora", "Cadria", "Drosia", "Elvany", "Fennia", "Gorland", "Hestia"];
pub(super) const OCCUPATIONS: [&str; 6] =
    ["painter", "novelist", "doctor", "sailor", "teacher", "judge"];
pub(super) const ADJECTIVES: [&str; 20] = [
    "Silent",
    "Golden",
    "Hidden",
    "Broken",
    "Distant",
    "Frozen",
    "Burning",
    "Empty",
    "Crimson",
    "Hollow",
    "Sleeping",
    "Bitter",
    "Gentle",
    "Narrow",
    "Wandering",
    "Patient",
    "Shining",
    "Sunken",
    "Restless",
    "Forgotten",
];
pub(super) const NOUNS: [&str; 16] = [
    "Harbor", "Garden", "Tower", "River", "Orchard", "Mirror", "Lantern", "Winter", "Bridge",
    "Island", "Letter", "Meadow", "Engine", "Voyage", "Candle", "Forest",
];
/// A person's name is one word, so that a small policy can copy it in one step: "Karabar".
const PERSON: ([&str; 8], [&str; 5], [&str; 8]) = (
    ["Ka", "Il", "Mi", "Ro", "Sa", "Te", "Vo", "Ye"],
    ["ra", "lo", "ven", "din", "sha"],
    ["bar", "cor", "dell", "fen", "hart", "lund", "mar", "stan"],
);
const PLACE: ([&str; 10], [&str; 8]) = (
    ["Tar", "Vel", "Mor", "Sel", "Kor", "Bran", "Dun", "Gar", "Hol", "Nor"],
    ["wick", "mouth", "stead", "haven", "ford", "dale", "burg", "holm"],
);

fn combine(starts: &[&str], ends: &[&str]) -> Vec<String> {
    starts.iter().flat_map(|start| ends.iter().map(move |end| format!("{start}{end}"))).collect()
}

fn person_names() -> Vec<String> {
    let starts = combine(&PERSON.0, &PERSON.1);
    combine(&starts.iter().map(String::as_str).collect::<Vec<_>>(), &PERSON.2)
}

/// All words that names of this world are made of.
pub(super) fn name_words() -> Vec<String> {
    let fixed = COUNTRIES.iter().chain(&ADJECTIVES).chain(&NOUNS).map(ToString::to_string);
    let made = [person_names(), combine(&PLACE.0, &PLACE.1)].concat();
    fixed.chain(made).collect()
}

#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) occupation: &'static str,
    pub(super) birthplace: usize,
    pub(super) spouse: usize,
    pub(super) known_for: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) title: String,
    pub(super) author: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) country: &'static str,
    pub(super) founder: usize,
}

/// An entity or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Person(usize),
    Work(usize),
    Place(usize),
    Country(&'static str),
    Occupation(&'static str),
}

/// What one thing is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relation {
    Author,
    Birthplace,
    Spouse,
    Founder,
    Country,
    Occupation,
}

/// A question in words, `{}` for the entity, with the kind of entity and the relations to follow.
type Form = (&'static str, fn(usize) -> Thing, &'static [Relation]);

const FORMS: [Form; 16] = {
    use Relation::{Author, Birthplace, Country, Founder, Occupation, Spouse};
    [
        ("Who wrote {}?", Thing::Work, &[Author]),
        ("Where was {} born?", Thing::Person, &[Birthplace]),
        ("Who is {} married to?", Thing::Person, &[Spouse]),
        ("Who founded {}?", Thing::Place, &[Founder]),
        ("In which country is {}?", Thing::Place, &[Country]),
        ("Where was the author of {} born?", Thing::Work, &[Author, Birthplace]),
        ("Who is the author of {} married to?", Thing::Work, &[Author, Spouse]),
        ("What does the author of {} do?", Thing::Work, &[Author, Occupation]),
        ("Who founded the birthplace of {}?", Thing::Person, &[Birthplace, Founder]),
        ("In which country was {} born?", Thing::Person, &[Birthplace, Country]),
        ("Where was the founder of {} born?", Thing::Place, &[Founder, Birthplace]),
        ("Where was the spouse of {} born?", Thing::Person, &[Spouse, Birthplace]),
        (
            "Where was the spouse of the author of {} born?",
            Thing::Work,
            &[Author, Spouse, Birthplace],
        ),
        (
            "Who founded the birthplace of the author of {}?",
            Thing::Work,
            &[Author, Birthplace, Founder],
        ),
        (
            "In which country was the author of {} born?",
            Thing::Work,
            &[Author, Birthplace, Country],
        ),
        (
            "Who founded the birthplace of the spouse of {}?",
            Thing::Person,
            &[Spouse, Birthplace, Founder],
        ),
    ]
};

/// A generated question; the supporting titles of its task are the names to search for, hop by hop.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WorldQuestion {
    pub(super) task: Task,
    /// What a guess would be.
    pub(super) kind: AnswerKind,
    /// What the question names.
    pub(super) start: Thing,
    /// What to follow from there, hop by hop.
    pub(super) relations: &'static [Relation],
}

/// What kind of thing answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerKind {
    Person,
    Place,
    Country,
    Occupation,
}

/// The world.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) people: Vec<Person>,
    pub(super) works: Vec<Work>,
    pub(super) places: Vec<Place>,
}

impl World {
    /// A world of that many people and works; `None` if there are not enough names.
    pub(super) fn new(seed: u64, people: usize, works: usize, places: usize) -> Option<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut names = person_names();
        let mut titles: Vec<String> = ADJECTIVES
            .iter()
            .flat_map(|adjective| NOUNS.iter().map(move |noun| format!("The {adjective} {noun}")))
            .collect();
        let mut towns = combine(&PLACE.0, &PLACE.1);
        if people < 2
            || works == 0
            || places == 0
            || people > names.len()
            || works > titles.len()
            || places > towns.len()
        {
            return None;
        }
        for list in [&mut names, &mut titles, &mut towns] {
            list.shuffle(&mut rng);
        }
        let works: Vec<Work> = titles
            .into_iter()
            .take(works)
            .map(|title| Work { title, author: rng.random_range(0..people) })
            .collect();
        let places: Vec<Place> = towns
            .into_iter()
            .take(places)
            .map(|name| {
                // a third of the towns (0.25 + 0.75 / 8) lie in the first country, so that a guess
                // is sometimes right
                let country = if rng.random_bool(0.25) {
                    COUNTRIES[0]
                } else {
                    COUNTRIES[rng.random_range(0..COUNTRIES.len())]
                };
                Place { name, country, founder: rng.random_range(0..people) }
            })
            .collect();
        let mut order: Vec<usize> = (0..people).collect();
        order.shuffle(&mut rng);
        let mut spouses: Vec<usize> = (0..people).collect();
        for pair in order.chunks_exact(2) {
            spouses[pair[0]] = pair[1];
            spouses[pair[1]] = pair[0];
        }
        let people = names.into_iter().take(people).enumerate().map(|(index, name)| Person {
            name,
            occupation: OCCUPATIONS[rng.random_range(0..OCCUPATIONS.len())],
            birthplace: rng.random_range(0..places.len()),
            spouse: spouses[index],
            known_for: works
                .iter()
                .position(|work| work.author == index)
                .filter(|_| rng.random_bool(0.5)),
        });
        let people = people.collect();
        Some(Self { people, works, places })
    }

    /// What a thing is called.
    pub(super) fn name(&self, thing: Thing) -> &str {
        match thing {
            Thing::Person(index) => &self.people[index].name,
            Thing::Work(index) => &self.works[index].title,
            Thing::Place(index) => &self.places[index].name,
            Thing::Country(name) | Thing::Occupation(name) => name,
        }
    }

    /// Where a relation leads from a thing; `None` where it does not apply.
    pub(super) fn follow(&self, from: Thing, relation: Relation) -> Option<Thing> {
        match (from, relation) {
            (Thing::Work(index), Relation::Author) => Some(Thing::Person(self.works[index].author)),
            (Thing::Person(index), Relation::Birthplace) => {
                Some(Thing::Place(self.people[index].birthplace))
            }
            (Thing::Person(index), Relation::Spouse) => {
                Some(self.people[index].spouse).filter(|spouse| *spouse != index).map(Thing::Person)
            }
            (Thing::Person(index), Relation::Occupation) => {
                Some(Thing::Occupation(self.people[index].occupation))
            }
            (Thing::Place(index), Relation::Founder) => {
                Some(Thing::Person(self.places[index].founder))
            }
            (Thing::Place(index), Relation::Country) => {
                Some(Thing::Country(self.places[index].country))
            }
            _ => None,
        }
    }

    /// A page for every entity; its title is the entity's name.
    pub(super) fn passages(&self) -> Vec<Passage> {
        let page = |title: &str, text: String| Passage {
            id: title.to_owned(),
            title: title.to_owned(),
            text,
        };
        let people = self.people.iter().map(|person| {
            let Person { name, occupation, birthplace, spouse, known_for } = person;
            let mut text =
                format!("{name} is a {occupation} born in {}", self.places[*birthplace].name);
            if self.people[*spouse].name != *name {
                text.push_str(&format!(" and married to {}", self.people[*spouse].name));
            }
            text.push('.');
            if let Some(work) = known_for {
                text.push_str(&format!(" {name} wrote {}.", self.works[*work].title));
            }
            page(name, text)
        });
        let works = self.works.iter().map(|work| {
            page(
                &work.title,
                format!("{} is a book by {}.", work.title, self.people[work.author].name),
            )
        });
        let places = self.places.iter().map(|place| {
            let Place { name, country, founder } = place;
            page(
                name,
                format!(
                    "{name} is a town in {country}. {name} was founded by {}.",
                    self.people[*founder].name
                ),
            )
        });
        people.chain(works).chain(places).collect()
    }

    /// Every question that can be asked, in a fixed order, with its split.
    pub(super) fn questions(&self) -> Vec<(Split, WorldQuestion)> {
        let mut questions = Vec::new();
        for (text, start, relations) in FORMS {
            let count = match start(0) {
                Thing::Person(_) => self.people.len(),
                Thing::Work(_) => self.works.len(),
                _ => self.places.len(),
            };
            for start in (0..count).map(start) {
                let mut path = vec![start];
                path.extend(relations.iter().scan(start, |at, relation| {
                    *at = self.follow(*at, *relation)?;
                    Some(*at)
                }));
                let distinct: HashSet<&str> = path.iter().map(|thing| self.name(*thing)).collect();
                // no spouse, or a path that comes back to where it was
                if path.len() != relations.len() + 1 || distinct.len() != path.len() {
                    continue;
                }
                let answer = path[relations.len()];
                let kind = match answer {
                    Thing::Person(_) | Thing::Work(_) => AnswerKind::Person,
                    Thing::Place(_) => AnswerKind::Place,
                    Thing::Country(_) => AnswerKind::Country,
                    Thing::Occupation(_) => AnswerKind::Occupation,
                };
                let owner = if matches!(kind, AnswerKind::Person | AnswerKind::Place) {
                    answer
                } else {
                    start
                };
                let supporting: Vec<String> = path[..relations.len()]
                    .iter()
                    .map(|thing| self.name(*thing).to_owned())
                    .collect();
                let task = Task {
                    id: String::new(),
                    question: text.replace("{}", self.name(start)),
                    answers: vec![self.name(answer).to_owned()],
                    level: Some(relations.len() as u32),
                    supporting,
                    ..Task::default()
                };
                let question = WorldQuestion { task, kind, start, relations };
                questions.push((split_of(self.name(owner)), question));
            }
        }
        questions
    }

    /// An answer of that kind, drawn as often as it occurs.
    pub(super) fn guess(&self, kind: AnswerKind, rng: &mut impl Rng) -> String {
        self.name(self.any(kind, rng)).to_owned()
    }

    /// A thing of that kind; countries and occupations as often as they occur.
    pub(super) fn any(&self, kind: AnswerKind, rng: &mut impl Rng) -> Thing {
        match kind {
            AnswerKind::Person => Thing::Person(rng.random_range(0..self.people.len())),
            AnswerKind::Place => Thing::Place(rng.random_range(0..self.places.len())),
            AnswerKind::Country => {
                Thing::Country(self.places[rng.random_range(0..self.places.len())].country)
            }
            AnswerKind::Occupation => {
                Thing::Occupation(self.people[rng.random_range(0..self.people.len())].occupation)
            }
        }
    }
}

/// 70% of names are for training, 10% for validation, 20% for testing.
fn split_of(name: &str) -> Split {
    match (stable_hash(name) >> 32) % 10 {
        0..=6 => Split::Train,
        7 => Split::Validation,
        _ => Split::Test,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn answers_follow_from_the_supporting_pages_alone() {
        let world = World::new(1, 200, 80, 60).unwrap();
        let pages: BTreeMap<String, String> =
            world.passages().into_iter().map(|passage| (passage.title, passage.text)).collect();
        assert_eq!(pages.len(), 340);
        let questions = world.questions();
        assert!(questions.len() > 1000);
        for (_, question) in &questions {
            assert_eq!(question.task.supporting.len(), question.task.level.unwrap() as usize);
            // each page names what the next hop asks for, and the last one the answer
            let next = question.task.supporting.iter().skip(1).chain(&question.task.answers);
            for (page, name) in question.task.supporting.iter().zip(next) {
                assert!(pages[page].contains(name.as_str()), "{:?}", question.task);
            }
        }
    }

    #[test]
    fn splits_share_no_question_and_no_entity_as_an_answer() {
        let world = World::new(1, 320, 160, 80).unwrap();
        let (mut owners, mut texts) = (BTreeMap::new(), HashSet::new());
        for (split, question) in world.questions() {
            assert!(texts.insert(question.task.question.clone()));
            if matches!(question.kind, AnswerKind::Person | AnswerKind::Place) {
                assert_eq!(*owners.entry(question.task.answers[0].clone()).or_insert(split), split);
            }
        }
        assert!(World::new(1, 321, 160, 80).is_none() && World::new(1, 10, 0, 1).is_none());
    }
}
