//! Moments of which each rank holds a part (ZeRO, stage 1; Rajbhandari et al., 2020, arXiv
//! 1910.02054): a parameter is updated by the rank that owns it, and then sent to the others.

use super::Ranks;
use super::tensors::{
    Flat, broadcast_tensors, receive_tensors, send_tensors, trained_weights, with_trained_weights,
};
use crate::{AdamW, RunConfig};
use burn::module::Module;
use burn::tensor::backend::AutodiffBackend;
use paretopo_collective::CollectiveError;

impl Ranks<'_> {
    /// Whether the ranks of a run share the moments.
    pub(super) fn shard(self, config: &RunConfig) -> bool {
        config.train.shard_optimizer && self.count() > 1
    }

    /// Leaves this rank the moments of the parameters that it owns.
    pub(super) fn keep_own_moments<B: AutodiffBackend>(
        self,
        config: &RunConfig,
        model: &impl Module<B>,
        optimizer: &mut AdamW<B>,
    ) {
        if self.shard(config) {
            let owners = owners(&trained_weights(model), self.count());
            optimizer.shard(owners.iter().map(|owner| *owner == self.0.rank()).collect());
        }
    }

    /// The model with every parameter as its owner has updated it; all ranks call this.
    ///
    /// # Errors
    /// When a rank is lost.
    pub(crate) fn share_updated<B: AutodiffBackend, M: Module<B>>(
        self,
        config: &RunConfig,
        model: M,
    ) -> Result<M, CollectiveError> {
        if !self.shard(config) {
            return Ok(model);
        }
        let device = model.devices().into_iter().next().unwrap_or_default();
        let mut weights = trained_weights(&model);
        let owners = owners(&weights, self.count());
        for root in 0..self.count() {
            let of_root =
                |(weight, owner): (&Option<_>, &usize)| weight.clone().filter(|_| *owner == root);
            let sent: Flat<_> = match self.0.rank() == root {
                true => weights.iter().zip(&owners).map(of_root).collect(),
                false => Vec::new(),
            };
            let found = broadcast_tensors(self.0, root, sent, &device)?;
            for (weight, found) in weights.iter_mut().zip(found) {
                *weight = found.or(weight.take());
            }
        }
        Ok(with_trained_weights(model, weights))
    }

    /// The first error of an update that ranks share, at every rank; all of them call this.
    ///
    /// # Errors
    /// When a rank is lost.
    pub(crate) fn first_fault(
        self,
        config: &RunConfig,
        own: Option<String>,
    ) -> Result<Option<String>, CollectiveError> {
        if !self.shard(config) {
            return Ok(own);
        }
        Ok(self.share_rows(own.into_iter().collect())?.into_iter().next())
    }

    /// The optimiser with the moments of all ranks, at rank 0, for a checkpoint; the other ranks
    /// send theirs.
    ///
    /// # Errors
    /// When a rank is lost.
    pub(crate) fn whole_optimizer<B: AutodiffBackend>(
        self,
        config: &RunConfig,
        model: &impl Module<B>,
        optimizer: &AdamW<B>,
    ) -> Result<AdamW<B>, CollectiveError> {
        let mut whole = optimizer.clone();
        if !self.shard(config) {
            return Ok(whole);
        }
        let mut moments = optimizer.moments();
        if !self.leads() {
            for own in &moments {
                send_tensors(self.0, 0, own)?;
            }
            return Ok(whole);
        }
        let device = model.devices().into_iter().next().unwrap_or_default();
        for rank in 1..self.count() {
            for all in &mut moments {
                let found = receive_tensors(self.0, rank, &device)?;
                for (moment, found) in all.iter_mut().zip(found) {
                    *moment = found.or(moment.take());
                }
            }
        }
        whole.shard(Vec::new());
        whole.go_on(optimizer.updates(), moments);
        Ok(whole)
    }
}

/// Which rank updates each parameter: the largest first, each to the one that has the least.
fn owners<B: burn::tensor::backend::Backend>(weights: &Flat<B>, ranks: usize) -> Vec<usize> {
    let size = |index: &usize| weights[*index].as_ref().map_or(0, |weight| weight.dims()[0]);
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(size(index)));
    let (mut held, mut owners) = (vec![0; ranks], vec![0; weights.len()]);
    for index in order {
        let least = (0..ranks).min_by_key(|rank| held[*rank]).unwrap_or_default();
        held[least] += size(&index);
        owners[index] = least;
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tensor;

    #[test]
    fn parts_are_as_even_as_can_be() {
        type B = burn_flex::Flex;
        let weights: Flat<B> = [Some(3), Some(8), None, Some(4), Some(2)]
            .map(|size| size.map(|size: usize| Tensor::zeros([size], &Default::default())))
            .into();
        // 8 to the first, 4, 3 and 2 to the second: 8 and 9
        assert_eq!(owners(&weights, 2), [1, 0, 0, 1, 1]);
        // 8, 4 and 3; then 2 to the third, and nothing to the second
        assert_eq!(owners(&weights, 3), [2, 0, 1, 1, 2]);
        assert_eq!(owners(&weights, 1), [0; 5]);
    }
}
