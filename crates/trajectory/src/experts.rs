//! Which experts of a mixture read the ids of an episode.

use serde::{Deserialize, Serialize};

/// The experts that read the first ids of a sequence, as a policy with mixtures of experts chose
/// them while it sampled: `per_id` numbers for each id, those of the first such layer first.
///
/// The last id of an episode was drawn and never read, so an episode of `n` ids has at most
/// `per_id (n - 1)` numbers. They are held in memory for the update of their step, and no file has
/// them: 48 layers with 8 experts each are 768 bytes an id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpertRecord {
    /// Layers times the experts of each; 0 of a policy without experts.
    pub per_id: usize,
    /// The experts, id by id.
    pub experts: Vec<u16>,
}

impl ExpertRecord {
    /// How many ids it knows of.
    pub fn ids(&self) -> usize {
        self.experts.len().checked_div(self.per_id).unwrap_or(0)
    }

    /// The experts of the id at a place, if it is known.
    pub fn of(&self, place: usize) -> Option<&[u16]> {
        if self.per_id == 0 {
            return None;
        }
        self.experts.get(place * self.per_id..(place + 1) * self.per_id)
    }

    /// Puts what is known of further ids behind it; `place` is that of the first of them. What was
    /// known from there on gives way, since the ids were read again.
    ///
    /// # Panics
    /// If ids in between are missing, or a policy of other layers has read these.
    pub fn extend(&mut self, place: usize, further: &Self) {
        if further.per_id == 0 {
            return;
        }
        if self.experts.is_empty() {
            self.per_id = further.per_id;
        }
        assert!(self.per_id == further.per_id && place <= self.ids(), "ids were read in order");
        self.experts.truncate(place * self.per_id);
        self.experts.extend_from_slice(&further.experts);
    }

    /// How unevenly ids lie on experts: over layers, the mean of
    /// `max_e load(e) / mean_e load(e) - 1` with `load(e)` the ids that `e` has read (MaxVio in Wang
    /// et al., 2024, arXiv 2408.15664). 0 where all read as many, `experts / chosen - 1` where the
    /// same ones read all. `None` of nothing.
    pub fn imbalance<'a>(
        records: impl IntoIterator<Item = &'a Self>,
        layers: usize,
        experts: usize,
    ) -> Option<f64> {
        let mut loads = vec![0u64; layers * experts];
        for record in records {
            let chosen = record.per_id / layers.max(1);
            for (place, expert) in record.experts.iter().enumerate() {
                let layer = place % record.per_id / chosen.max(1);
                loads[layer * experts + usize::from(*expert)] += 1;
            }
        }
        let of_layer = |loads: &[u64]| {
            let mean = loads.iter().sum::<u64>() as f64 / experts as f64;
            let most = loads.iter().copied().max().unwrap_or(0) as f64;
            (mean > 0.0).then(|| most / mean - 1.0)
        };
        let found: Vec<f64> = loads.chunks(experts.max(1)).filter_map(of_layer).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    }
}

/// The experts of ids that a row has read since it last told, and the place of the first of them.
pub type ReadExperts = (usize, ExpertRecord);

#[cfg(test)]
mod tests {
    use super::*;

    fn record(experts: &[u16]) -> ExpertRecord {
        ExpertRecord { per_id: 2, experts: experts.to_vec() }
    }

    #[test]
    fn what_was_read_again_gives_way() {
        let mut known = ExpertRecord::default();
        assert_eq!((known.ids(), known.of(0)), (0, None));
        known.extend(0, &ExpertRecord::default());
        assert_eq!(known, ExpertRecord::default());
        known.extend(0, &record(&[1, 2, 3, 4]));
        known.extend(2, &record(&[5, 6]));
        assert_eq!((known.ids(), known.of(2)), (3, Some(&[5, 6][..])));
        assert_eq!(known.of(3), None);
        known.extend(1, &record(&[7, 8]));
        assert_eq!(known, record(&[1, 2, 7, 8]));
    }

    #[test]
    #[should_panic(expected = "read in order")]
    fn ids_between_are_not_missing() {
        record(&[1, 2]).extend(2, &record(&[3, 4]));
    }

    #[test]
    fn an_imbalance_is_that_of_loads() {
        // two layers of one expert each, of four: loads 2 1 1 0 and 0 4 0 0, each 1 on average
        let records = [record(&[0, 1, 1, 1]), record(&[0, 1, 2, 1])];
        let found = ExpertRecord::imbalance(&records, 2, 4).unwrap();
        // (2 / 1 - 1 + 4 / 1 - 1) / 2
        assert!((found - 2.0).abs() < 1e-12);
        assert_eq!(ExpertRecord::imbalance(&[ExpertRecord::default()], 2, 4), None);
        assert_eq!(ExpertRecord::imbalance(&records[..0], 0, 0), None);
    }
}
