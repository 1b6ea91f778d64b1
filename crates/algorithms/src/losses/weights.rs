//! How token losses are averaged, as one weight per token: the loss is the plain sum of weighted
//! token losses. Because the weights are computed for the whole minibatch, micro-batches of any
//! size add up to exactly the same loss.

use paretopo_settings::TokenCount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How token losses become one number. With `n` sequences, sequence `i` having `m_i` sampled
/// tokens:
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Aggregation {
    /// `1 / sum_i m_i`: every token counts the same (DAPO).
    TokenMean {},
    /// `1 / (n m_i)`: every sequence counts the same (GRPO).
    SequenceMean {},
    /// `1 / (n L)` with a constant L (Dr. GRPO).
    Constant {
        /// The constant L, usually the longest allowed response in tokens.
        length: TokenCount,
    },
}

/// The weight of each token, 0 where `mask` is false. A batch without a sampled token has weights
/// 0, hence loss 0.
///
/// # Shapes
/// - `masks`: `n` sequences; output: the same shape
pub fn token_weights(aggregation: Aggregation, masks: &[&[bool]]) -> Vec<Vec<f32>> {
    let count = |mask: &[bool]| mask.iter().filter(|sampled| **sampled).count() as f32;
    let (sequences, tokens) =
        (masks.len() as f32, masks.iter().map(|mask| count(mask)).sum::<f32>());
    let weight = |mask: &[bool]| match aggregation {
        Aggregation::TokenMean {} => 1.0 / tokens.max(1.0),
        Aggregation::SequenceMean {} => 1.0 / (sequences * count(mask).max(1.0)),
        Aggregation::Constant { length } => 1.0 / (sequences * length.single()),
    };
    masks
        .iter()
        .map(|mask| mask.iter().map(|sampled| if *sampled { weight(mask) } else { 0.0 }).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_averages_by_hand() {
        let masks: [&[bool]; 2] = [&[false, true, true, true], &[true, false]];
        // 4 sampled tokens in 2 sequences of 3 and 1
        assert_eq!(
            token_weights(Aggregation::TokenMean {}, &masks),
            [vec![0.0, 0.25, 0.25, 0.25], vec![0.25, 0.0]]
        );
        let sixth = 1.0 / 6.0;
        assert_eq!(
            token_weights(Aggregation::SequenceMean {}, &masks),
            [vec![0.0, sixth, sixth, sixth], vec![0.5, 0.0]]
        );
        assert_eq!(
            token_weights(Aggregation::Constant { length: TokenCount::literal(5.0) }, &masks),
            [vec![0.0, 0.1, 0.1, 0.1], vec![0.1, 0.0]]
        );
        assert_eq!(token_weights(Aggregation::TokenMean {}, &[&[false, false]]), [[0.0, 0.0]]);
    }
}
