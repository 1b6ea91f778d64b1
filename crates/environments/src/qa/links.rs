//! Other facts about the same names.
//!
//! Things of a kind stand in the order of their fame: the first is the best known. A link from the
//! thing of rank `i` among `n` to one of `m` things leads
//!
//! ```text
//! with probability c:      to rank  m * (i / n + d),  d uniform in [-0.1, 0.1], kept inside
//! else:                    to any rank
//! ```
//!
//! so that at a closeness `c` near 1 famous works have famous authors, who come from famous towns.

use super::world::{COUNTRIES, OCCUPATIONS, Person, Place, Work, World};
use paretopo_settings::Share;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How far from the same place in the order a close link leads, as a share of the order.
const WIDTH: f64 = 0.1;

/// Draws links.
struct Links {
    closeness: f64,
    rng: ChaCha8Rng,
}

impl Links {
    /// The rank among `m` of what the thing of rank `i` among `n` is linked with.
    fn draw(&mut self, i: usize, n: usize, m: usize) -> usize {
        if !self.rng.random_bool(self.closeness) {
            return self.rng.random_range(0..m);
        }
        let place = i as f64 / n as f64 + self.rng.random_range(-WIDTH..=WIDTH);
        ((m as f64 * place.max(0.0)) as usize).min(m - 1)
    }

    /// Pairs of ranks below `n`, who are married: neighbours after each has moved by its luck.
    fn spouses(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<(usize, usize)> = (0..n).map(|i| (self.draw(i, n, n), i)).collect();
        order.shuffle(&mut self.rng);
        order.sort_by_key(|(place, _)| *place);
        let mut spouses: Vec<usize> = (0..n).collect();
        for pair in order.chunks_exact(2) {
            spouses[pair[0].1] = pair[1].1;
            spouses[pair[1].1] = pair[0].1;
        }
        spouses
    }
}

impl World {
    /// The same names in the same order with facts drawn anew. Nobody's page names a work.
    pub(super) fn relinked(&self, seed: u64, closeness: Share) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut links = Links { closeness: closeness.get(), rng };
        let [people, works, places] = [self.people.len(), self.works.len(), self.places.len()];
        let spouses = links.spouses(people);
        let person = |(index, person): (usize, &Person)| Person {
            name: person.name.clone(),
            occupation: OCCUPATIONS[links.rng.random_range(0..OCCUPATIONS.len())],
            birthplace: links.draw(index, people, places),
            spouse: spouses[index],
            known_for: None,
        };
        let new_people = self.people.iter().enumerate().map(person).collect();
        let work = |(index, work): (usize, &Work)| Work {
            title: work.title.clone(),
            author: links.draw(index, works, people),
        };
        let new_works = self.works.iter().enumerate().map(work).collect();
        let place = |(index, place): (usize, &Place)| Place {
            name: place.name.clone(),
            country: COUNTRIES[links.rng.random_range(0..COUNTRIES.len())],
            founder: links.draw(index, places, people),
        };
        let new_places = self.places.iter().enumerate().map(place).collect();
        Self { people: new_people, works: new_works, places: new_places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_links_lead_to_things_of_about_the_same_fame() {
        let world = World::new(1, 160, 80, 40).unwrap();
        let distance = |world: &World| {
            let works = world.works.iter().enumerate();
            let far = works.map(|(i, work)| (i as f64 / 80.0 - work.author as f64 / 160.0).abs());
            far.sum::<f64>() / 80.0
        };
        // uniform in [-0.1, 0.1]: 0.05 on average, less where it is kept inside
        let close = distance(&world.relinked(1, Share::literal(1.0)));
        assert!((0.03..0.07).contains(&close), "{close}");
        // two independent uniform numbers are 1/3 apart
        let far = distance(&world.relinked(1, Share::literal(0.0)));
        assert!((0.25..0.42).contains(&far), "{far}");
    }

    #[test]
    fn names_stay_facts_change_and_marriages_are_mutual() {
        let world = World::new(1, 160, 80, 40).unwrap();
        let other = world.relinked(2, Share::literal(0.5));
        let names = |world: &World| world.passages().into_iter().map(|page| page.title);
        assert!(names(&world).eq(names(&other)));
        assert_ne!(world.passages(), other.passages());
        assert_eq!(other.passages(), world.relinked(2, Share::literal(0.5)).passages());
        for (index, person) in other.people.iter().enumerate() {
            assert_ne!(person.spouse, index);
            assert_eq!(other.people[person.spouse].spouse, index);
        }
    }
}
