//! Ids that are unique over all files of a data set and all of its splits.
//!
//! Sets that were joined bring ids such as `test_0` several times (Search-R1's test file joins
//! seven). What a run remembers, and what an evaluation resumes from, is kept by id. So the first
//! row keeps its id, and a later one gets in front of its own the name of the set that it is from;
//! where that is taken too, file and line. The same files give the same ids.

use std::collections::HashSet;

/// The ids that were given, and how often one had to be changed.
#[derive(Debug, Default)]
pub(super) struct UniqueIds {
    given: HashSet<String>,
    changed: usize,
    /// The first that was changed: before, after, and the place of its row.
    example: Option<(String, String, String)>,
}

impl UniqueIds {
    /// An id for a row: its own, or the next best. `set` is the set that the row says it is from,
    /// `file` and `place` where it stands.
    pub(super) fn give(&mut self, id: &str, set: Option<&str>, file: &str, place: &str) -> String {
        if self.given.insert(id.to_owned()) {
            return id.to_owned();
        }
        let numbered = (2..).map(|number| format!("{place}/{id}#{number}"));
        let candidates = [format!("{}/{id}", set.unwrap_or(file)), format!("{place}/{id}")];
        let unique = candidates
            .into_iter()
            .chain(numbered)
            .find(|candidate| self.given.insert(candidate.clone()))
            .expect("there are more numbers than rows");
        self.changed += 1;
        if self.example.is_none() {
            self.example = Some((id.to_owned(), unique.clone(), place.to_owned()));
        }
        unique
    }

    /// What to say about it, once everything is read.
    pub(super) fn note(&self) -> Option<String> {
        let (id, unique, place) = self.example.as_ref()?;
        let count = self.changed;
        Some(format!(
            "{count} rows have an id that an earlier row has; they are told apart by set, or file and line, in front: `{id}` of `{place}` is `{unique}`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_taken_gets_its_set_then_its_place_then_a_number() {
        let mut ids = UniqueIds::default();
        assert_eq!(ids.give("1", Some("nq"), "d/a", "d/a:1"), "1");
        assert_eq!(ids.note(), None);
        assert_eq!(ids.give("1", Some("tq"), "d/a", "d/a:2"), "tq/1");
        assert_eq!(ids.give("1", Some("tq"), "d/a", "d/a:3"), "d/a:3/1");
        assert_eq!(ids.give("1", None, "d/b", "d/b:1"), "d/b/1");
        // an id that looks like one that was made up
        assert_eq!(ids.give("d/b:2/1", None, "d/b", "d/b:9"), "d/b:2/1");
        assert_eq!(ids.give("1", None, "d/b", "d/b:2"), "d/b:2/1#2");
        let note = ids.note().expect("ids were changed");
        assert!(note.starts_with("4 rows") && note.contains("`1` of `d/a:2` is `tq/1`"), "{note}");
    }
}
