//! Which experts read each token: chosen by the router, recorded where a policy samples, and given
//! back where it is trained.
//!
//! A choice is a step function of the router's probabilities. Where two of them are about equal,
//! rounding decides, so that a sampler and a trainer with the same weights may compute different
//! functions. Hence a trainer can be told which experts read each token when it was sampled (rollout
//! routing replay; Ma et al., 2025, arXiv 2510.11370). Their weights, and so the router's gradient,
//! are still of the trainer's own probabilities.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Stands in place of the experts of a token for which the router chooses.
pub const BY_ROUTER: u16 = u16::MAX;

/// The experts of a model, of which each token is read by a few in each layer that has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertCounts {
    /// Layers with experts.
    pub layers: usize,
    /// Experts of each.
    pub experts: usize,
    /// How many of them read a token.
    pub chosen: usize,
}

impl ExpertCounts {
    /// Numbers that say which experts read a token.
    pub fn per_token(self) -> usize {
        self.layers * self.chosen
    }
}

/// Who chooses the experts of a forward pass.
#[derive(Clone, Debug, Default)]
pub enum ExpertChoice {
    /// The router.
    #[default]
    Router,
    /// The router, and it is written down.
    Recorded(Arc<RecordedExperts>),
    /// Whoever chose before.
    Given(Arc<GivenExperts>),
}

impl ExpertChoice {
    /// What becomes of the router's choice in the `layer`-th layer that has experts.
    ///
    /// # Shapes
    /// - `by_router`, output: `tokens * chosen`, token by token
    pub fn settle(&self, layer: usize, by_router: Vec<u16>, chosen: usize) -> Vec<u16> {
        match self {
            Self::Router => by_router,
            Self::Recorded(record) => {
                record.write(layer, by_router.clone());
                by_router
            }
            Self::Given(given) => given.in_place_of(layer, by_router, chosen),
        }
    }
}

/// What routers chose in a forward pass.
#[derive(Debug, Default)]
pub struct RecordedExperts(Mutex<BTreeMap<usize, Vec<u16>>>);

impl RecordedExperts {
    fn write(&self, layer: usize, chosen: Vec<u16>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(layer, chosen);
    }

    /// For each of `tokens` tokens its experts, layer by layer.
    ///
    /// # Shapes
    /// - output: `tokens` lists of `layers * chosen` numbers
    pub fn by_token(&self, tokens: usize) -> Vec<Vec<u16>> {
        let layers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_token = |token: usize| {
            let of_layer = |chosen: &Vec<u16>| {
                let width = chosen.len() / tokens;
                chosen[token * width..(token + 1) * width].to_vec()
            };
            layers.values().flat_map(of_layer).collect()
        };
        (0..tokens).map(of_token).collect()
    }
}

/// Experts that were chosen before, and how often the router would choose others now.
#[derive(Debug, Default)]
pub struct GivenExperts {
    per_token: usize,
    experts: Vec<u16>,
    compared: AtomicU64,
    different: AtomicU64,
}

impl GivenExperts {
    /// Those of each token of a forward pass.
    ///
    /// # Shapes
    /// - `experts`: `tokens * per_token` numbers, token by token and in it layer by layer;
    ///   [`BY_ROUTER`] where a token's are not known
    pub fn new(per_token: usize, experts: Vec<u16>) -> Self {
        Self { per_token, experts, ..Self::default() }
    }

    fn in_place_of(&self, layer: usize, by_router: Vec<u16>, chosen: usize) -> Vec<u16> {
        let mut settled = by_router;
        let (mut compared, mut different) = (0, 0);
        let tokens = settled.chunks_mut(chosen).zip(self.experts.chunks(self.per_token));
        for (settled, given) in tokens {
            let given = &given[layer * chosen..(layer + 1) * chosen];
            if given.contains(&BY_ROUTER) {
                continue;
            }
            compared += 1;
            // the order in which they were found does not count
            different += u64::from(settled.iter().any(|expert| !given.contains(expert)));
            settled.copy_from_slice(given);
        }
        self.compared.fetch_add(compared, Ordering::Relaxed);
        self.different.fetch_add(different, Ordering::Relaxed);
        settled
    }

    /// Of so many tokens and layers, in how many the router would have chosen others.
    pub fn differences(&self) -> (u64, u64) {
        (self.compared.load(Ordering::Relaxed), self.different.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_given_back_layer_by_layer() {
        let record = Arc::new(RecordedExperts::default());
        let choice = ExpertChoice::Recorded(record.clone());
        // three tokens with two experts in each of two layers
        let first = vec![0, 1, 2, 3, 4, 5];
        assert_eq!(choice.settle(0, first.clone(), 2), first);
        choice.settle(1, vec![6, 7, 0, 1, 2, 3], 2);
        let found = record.by_token(3);
        assert_eq!(found, [[0, 1, 6, 7], [2, 3, 0, 1], [4, 5, 2, 3]]);

        let mut experts = found.concat();
        // the experts of the last token are not known
        experts[8..].fill(BY_ROUTER);
        let given = Arc::new(GivenExperts::new(4, experts));
        let choice = ExpertChoice::Given(given.clone());
        // of the first token the same in another order, of the second one other, of the third any
        assert_eq!(choice.settle(0, vec![1, 0, 2, 9, 8, 9], 2), [0, 1, 2, 3, 8, 9]);
        assert_eq!(choice.settle(1, vec![6, 7, 0, 1, 8, 9], 2), [6, 7, 0, 1, 8, 9]);
        assert_eq!(given.differences(), (4, 1));
    }
}
