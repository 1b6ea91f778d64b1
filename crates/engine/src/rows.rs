//! The host's side of the rows: what each holds, has yet to read, and may draw.

use paretopo_generation::{ForbiddenText, Points, Row, RowKey, Written};
use paretopo_trajectory::TokenId;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// What it must not write, and how much of that it has written.
    forbidden: Option<(Arc<ForbiddenText>, Written)>,
}

impl HeldRow {
    pub(crate) fn new(row: &Row, order: u64) -> Self {
        let drawn = &row.ids[row.ids.len() - row.drawn.min(row.ids.len())..];
        let forbidden = row.forbidden.as_ref().map(|text| {
            let behind = |written, id: &TokenId| text.behind(written, *id);
            (text.clone(), drawn.iter().fold(Written::default(), behind))
        });
        Self {
            forbidden,
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

    /// The tokens that it must not draw next.
    pub(crate) fn forbidden(&self) -> &[TokenId] {
        let forbidden = self.forbidden.as_ref();
        forbidden.map(|(text, written)| text.completing(*written)).unwrap_or_default()
    }

    /// Puts an id behind it that it has drawn.
    pub(crate) fn push_drawn(&mut self, id: TokenId) {
        self.ids.push(id);
        if let Some((text, written)) = &mut self.forbidden {
            *written = text.behind(*written, id);
        }
    }

    pub(crate) fn unread(&self) -> &[TokenId] {
        &self.ids[self.read..]
    }
}

/// The rows by key.
pub(crate) type HeldRows = BTreeMap<RowKey, HeldRow>;
