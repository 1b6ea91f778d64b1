//! The host's side of the rows: what each holds, has yet to read, and may draw.

use paretopo_generation::{Points, Row, RowKey};
use paretopo_trajectory::TokenId;
use std::collections::BTreeMap;

/// A row that was admitted and is not forgotten yet.
#[derive(Debug)]
pub(crate) struct HeldRow {
    /// All of its ids.
    pub(crate) ids: Vec<TokenId>,
    /// So many of them the model has read.
    pub(crate) read: usize,
    pub(crate) points: Points,
    /// So many tokens may be drawn yet.
    pub(crate) left: usize,
    /// Whether a token is drawn as soon as all ids are read.
    pub(crate) draws: bool,
    /// Whether it is over, and only its place in the batch is left.
    pub(crate) released: bool,
    /// Whether it has a place in the batch, or gave it up for others.
    pub(crate) placed: bool,
    /// The order of admission.
    pub(crate) order: u64,
}

impl HeldRow {
    pub(crate) fn new(row: &Row, order: u64) -> Self {
        Self {
            ids: row.ids.to_vec(),
            read: row.ids.len(),
            points: Points::new(row.seed, row.drawn),
            left: row.budget,
            draws: true,
            released: false,
            placed: true,
            order,
        }
    }

    pub(crate) fn unread(&self) -> &[TokenId] {
        &self.ids[self.read..]
    }
}

/// The rows by key.
pub(crate) type HeldRows = BTreeMap<RowKey, HeldRow>;
