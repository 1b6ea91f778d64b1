//! A fixed prompt with the trainer's own log-probabilities: what shows which weights a server
//! computes with.

use paretopo_trajectory::TokenId;

/// By how much of the tolerance a server may differ from itself: what is batched with what rounds
/// otherwise.
const NOISE: f64 = 0.1;
/// What a server must have moved by, as a share of what the trainer has.
const MOVED: f64 = 0.1;
/// Nats by which the trainer has to move before a server is asked whether it has.
const CERTAIN: f64 = 1e-4;
/// What a server may differ by once the trainer has moved: so many times what it differed by at
/// first, a share of what the trainer has moved, and what f32 rounds.
const FURTHER: (f64, f64, f64) = (3.0, 0.02, 2e-5);

/// Ids, and the log-probability of each but the first under the trainer's weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fingerprint {
    /// At least two.
    pub ids: Vec<TokenId>,
    /// One fewer.
    pub logprobs: Vec<f32>,
}

/// What a server said of a fingerprint whose weights it was seen to have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// The trainer's.
    pub(crate) fingerprint: Fingerprint,
    /// The server's.
    pub(crate) scores: Vec<f32>,
}

/// What a server said before.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    pub(crate) first: Option<Seen>,
    pub(crate) latest: Option<Seen>,
}

/// The mean difference in nats, which no number makes infinite.
pub(crate) fn apart(one: &[f32], other: &[f32]) -> f64 {
    let differences = one.iter().zip(other).map(|(a, b)| f64::from((a - b).abs()));
    let mean = differences.sum::<f64>() / one.len().max(1) as f64;
    if mean.is_finite() { mean } else { f64::INFINITY }
}

impl Fingerprint {
    /// Whether a server that scores it so has the weights.
    ///
    /// # Errors
    /// What shows that it has others.
    pub(crate) fn require(
        &self,
        scores: &[f32],
        history: &History,
        tolerance: f64,
    ) -> Result<f64, String> {
        let difference = apart(&self.logprobs, scores);
        if difference > tolerance {
            return Err(format!(
                "its log-probabilities of a fixed prompt differ from the trainer's by \
                 {difference:.4} nats on average, and {tolerance} are allowed"
            ));
        }
        let is_same = |seen: &&Seen| seen.fingerprint.ids == self.ids;
        if let Some(first) = history.first.as_ref().filter(is_same) {
            let at_first = apart(&first.fingerprint.logprobs, &first.scores);
            let moved = apart(&self.logprobs, &first.fingerprint.logprobs);
            let (times, share, rounding) = FURTHER;
            if moved > CERTAIN && difference > times * at_first + share * moved + rounding {
                return Err(format!(
                    "its log-probabilities of a fixed prompt differ from the trainer's by \
                     {difference:.1e} nats on average, and did by {at_first:.1e} at first, while \
                     the trainer has moved by {moved:.1e}: it has taken a part of the weights"
                ));
            }
        }
        let Some(before) = history.latest.as_ref().filter(is_same) else { return Ok(difference) };
        let trainer = apart(&self.logprobs, &before.fingerprint.logprobs);
        let server = apart(scores, &before.scores);
        if trainer > CERTAIN && server < trainer * MOVED {
            return Err(format!(
                "the trainer's log-probabilities of a fixed prompt have moved by {trainer:.1e} \
                 nats on average, and its own by {server:.1e}"
            ));
        }
        Ok(difference)
    }
}

impl Seen {
    /// Whether a server still says what it said.
    ///
    /// # Errors
    /// By how much it does not.
    pub(crate) fn require_same(&self, scores: &[f32], tolerance: f64) -> Result<(), String> {
        let difference = apart(&self.scores, scores);
        if difference > tolerance * NOISE {
            return Err(format!(
                "its log-probabilities of a fixed prompt have changed by {difference:.4} nats on \
                 average since they were given"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(logprobs: [f32; 2]) -> Fingerprint {
        Fingerprint { ids: vec![1, 2, 3], logprobs: logprobs.to_vec() }
    }

    #[test]
    fn weights_are_told_apart() {
        let old = fingerprint([-1.0, -2.0]);
        let before = Seen { fingerprint: old, scores: vec![-1.001, -2.001] };
        // (0.01 + 0.03) / 2 = 0.02 nats
        let new = fingerprint([-1.01, -2.03]);
        let history = History { first: None, latest: Some(before.clone()) };
        let found = new.require(&[-1.012, -2.032], &history, 0.05).unwrap();
        assert!((found - 0.002).abs() < 1e-6);
        // 0.001 at first and 0.02 of movement allow 0.003 + 0.0004 + 0.00002
        let from_first = History { first: Some(before.clone()), latest: None };
        assert!(new.require(&[-1.013, -2.033], &from_first, 0.05).is_ok());
        let half = new.require(&[-1.005, -2.02], &from_first, 0.05).unwrap_err();
        assert!(half.contains("differ from the trainer's by 7.5e-3"), "{half}");
        // within the tolerance, and yet as before
        let stale = new.require(&[-1.001, -2.001], &history, 0.05).unwrap_err();
        assert!(stale.contains("moved by 2.0e-2 nats") && stale.contains("0.0e0"), "{stale}");
        let far = new.require(&[-1.5, -2.0], &History::default(), 0.05).unwrap_err();
        // (0.49 + 0.03) / 2
        assert!(far.contains("by 0.2600 nats"), "{far}");
        assert!(new.require(&[f32::NAN, -2.0], &history, 0.05).is_err());
        // a trainer that stood still asks for nothing
        let still = before.fingerprint.clone();
        assert!(still.require(&[-1.001, -2.001], &history, 0.05).is_ok());
    }

    #[test]
    fn a_server_differs_from_itself_by_rounding_alone() {
        let seen = Seen { fingerprint: fingerprint([-1.0, -2.0]), scores: vec![-1.0, -2.0] };
        // a tenth of 0.05
        assert!(seen.require_same(&[-1.004, -2.004], 0.05).is_ok());
        assert!(seen.require_same(&[-1.006, -2.006], 0.05).is_err());
    }
}
