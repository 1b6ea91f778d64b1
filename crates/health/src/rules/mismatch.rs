//! Mismatch: the trainer gives a token another probability than the sampler that drew it.
//!
//! `logprob_mismatch` is the mean of `|ln p_trainer - ln p_sampler|` with the same weights, d. A
//! logit that is off by D moves the log-probability of a token of probability p by `(1 - p) D`,
//! and `1 - p <= -ln p`; so on average `d <= D H`, with the entropy estimate H, the mean of `-ln
//! p`: logits are off by `d / H` or more. Half precision rounds a logit of 10 by `10 * 2^-9 =
//! 0.02`. The rule speaks from half of the clip range on, `d / H >= clip_high / 2`: then a token's
//! odds are off by half of what an update may change at all. Below 1e-5 nats it is rounding.

use super::{curve, judged, missing};
use crate::{Condition, Record, Verdict};

const MISMATCH: &str = "logprob_mismatch";

pub(super) fn examine(record: &Record) -> Verdict {
    Verdict {
        rule: "mismatch",
        title: "sampler-trainer mismatch",
        formula: "d / H >= clip_high / 2 and d >= 1e-5, for the mean difference d of a token's \
                  log-probability and the entropy H of a token",
        condition: condition(record),
        remedies: &[
            "Sample in the precision of training (`rollout.precision`, `precision`).",
            "Take the ratio against the trainer's own numbers and weigh what remains: \
             `train.old_logprobs = \"recompute\"` with `train.importance_cap`.",
            "Hold the backend against PyTorch's numbers: `paretopo check`; of a mixture of \
             experts, record their choice (`rollout.recorded.experts`).",
        ],
        curves: vec![curve(record, MISMATCH, limit(record))],
    }
}

/// The difference from which on the rule speaks, at the entropy of the last window.
fn limit(record: &Record) -> Option<f64> {
    let entropy = record.last("entropy_estimate")?;
    Some((entropy * record.settings.clip_high / 2.0).max(1e-5))
}

fn condition(record: &Record) -> Condition {
    let (Some(difference), Some(limit)) = (record.last(MISMATCH), limit(record)) else {
        return missing(record, MISMATCH);
    };
    let said = format!("Sampler and trainer differ by {difference:.2e} nats a token");
    judged(
        difference >= limit,
        format!(
            "{said}, from {limit:.2e} on half of what an update may change: the ratio is wrong \
             before the first update."
        ),
        format!("{said}; the limit is {limit:.2e}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::run;

    #[test]
    fn a_tenth_of_the_entropy_is_too_much_at_the_usual_clip_range() {
        let is_ill = |difference: f64, entropy: f64| {
            let metrics: [(&str, &dyn Fn(usize) -> f64); 2] =
                [(MISMATCH, &|_| difference), ("entropy_estimate", &|_| entropy)];
            examine(&run(20, &metrics)).is_ill()
        };
        // 0.3 * 0.2 / 2 = 0.03
        assert!(is_ill(0.031, 0.3) && !is_ill(0.029, 0.3));
        // as f32 rounds, of a policy that is nearly sure
        assert!(!is_ill(1e-7, 1e-7) && is_ill(1.1e-5, 1e-7));
    }
}
