//! Which experts read what rows have read, until it is taken.

use paretopo_trajectory::{ExpertRecord, ReadExperts};
use std::collections::BTreeMap;

/// For each row the experts of the ids that it has read since they were last taken, and the place
/// of the first of these.
pub(crate) struct UntakenExperts {
    per_id: usize,
    rows: BTreeMap<usize, ReadExperts>,
}

impl UntakenExperts {
    pub(crate) fn new(per_id: usize) -> Self {
        Self { per_id, rows: BTreeMap::new() }
    }

    /// A row that begins, or begins again.
    pub(crate) fn begin(&mut self, row: usize, experts: Vec<u16>) {
        self.rows.insert(row, (0, ExpertRecord { per_id: self.per_id, experts }));
    }

    /// What a row has read further.
    pub(crate) fn go_on(&mut self, row: usize, experts: &[u16]) {
        let (_, record) = self.rows.get_mut(&row).expect("a row begins before it goes on");
        record.experts.extend(experts);
    }

    /// `None` of a row that is not there.
    pub(crate) fn take(&mut self, row: usize) -> Option<ReadExperts> {
        let (place, record) = self.rows.get_mut(&row)?;
        let ids = record.ids();
        let taken = ExpertRecord { experts: std::mem::take(&mut record.experts), ..*record };
        *place += ids;
        Some((*place - ids, taken))
    }

    pub(crate) fn retire(&mut self, finished: impl Fn(usize) -> bool) {
        self.rows.retain(|row, _| !finished(*row));
    }
}
