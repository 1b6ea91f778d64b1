//! An objective: an agent should not ask a tool the same thing again.

use paretopo::prelude::*;

/// `r_fresh = share ^ max(0, repeats - forgiven)`: each repeated call that is not forgiven leaves a
/// share of the value. Settings behind `{ type = "fresh_calls" }`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreshCalls {
    /// What a repeated call leaves of the value.
    pub share: Share,
    /// Repeated calls that cost nothing.
    #[serde(default)]
    pub forgiven: usize,
}

impl Objective for FreshCalls {
    fn score(&self, scoring: &Scoring<'_>) -> Option<f64> {
        let calls: Vec<_> = scoring.trajectory.calls.iter().map(|record| &record.call).collect();
        let is_repeated = |place: &usize| calls[..*place].contains(&calls[*place]);
        let repeats = (0..calls.len()).filter(is_repeated).count();
        Some(self.share.get().powf(repeats.saturating_sub(self.forgiven) as f64))
    }

    fn name(&self) -> Option<&str> {
        Some("r_fresh")
    }
}
