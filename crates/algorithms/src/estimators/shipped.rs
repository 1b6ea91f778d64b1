//! The estimators that we ship, by name, and those of them that are one line each.

use super::{
    Advantages, AnyEstimator, Estimator, EstimatorError, Estimators, Group, Progress, call_penalty,
    chebyshev, gdpo, grpo, hv_weighting, mo_grpo, otc, paretopo, register_estimator,
    reinforce_plus_plus, rloo,
};
use paretopo_settings::{Piece, Registry, TaskWeights, Weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, LazyLock};

impl Piece for dyn AnyEstimator {
    const KIND: &'static str = "estimator";

    fn shipped() -> Arc<Registry<Self>> {
        static SHIPPED: LazyLock<Arc<Estimators>> = LazyLock::new(|| {
            let mut all = Estimators::default();
            register_estimator::<paretopo::ParetoPoConfig>(&mut all, "paretopo");
            register_estimator::<Grpo>(&mut all, "grpo");
            register_estimator::<DrGrpo>(&mut all, "dr_grpo");
            register_estimator::<Rloo>(&mut all, "rloo");
            register_estimator::<reinforce_plus_plus::ReinforceConfig>(
                &mut all,
                "reinforce_plus_plus",
            );
            register_estimator::<Scalarized>(&mut all, "scalarized");
            register_estimator::<Chebyshev>(&mut all, "chebyshev");
            register_estimator::<otc::OtcConfig>(&mut all, "otc");
            register_estimator::<call_penalty::CallPenaltyConfig>(&mut all, "call_penalty");
            register_estimator::<mo_grpo::MoGrpoConfig>(&mut all, "mo_grpo");
            register_estimator::<gdpo::GdpoConfig>(&mut all, "gdpo");
            register_estimator::<hv_weighting::HvWeightingConfig>(&mut all, "hv_weighting");
            Arc::new(all)
        });
        SHIPPED.clone()
    }
}

/// A scalar reward made of weights, and whether to divide by the group's deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WeightedConfig {
    /// One weight per objective.
    pub weights: Weights,
    /// Whether to divide by the group's standard deviation.
    pub std_normalization: bool,
}

impl Default for WeightedConfig {
    fn default() -> Self {
        Self { weights: Weights::literal([0.6, 0.4]), std_normalization: true }
    }
}

/// Weights over the objectives; empty means the first objective alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskConfig {
    /// One weight per objective; empty for accuracy alone.
    pub weights: TaskWeights,
}

/// Declares an estimator without state: its settings, their weights, and what it computes.
macro_rules! stateless {
    ($(#[$doc:meta])* $name:ident($settings:ident), $count:expr, $advantages:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub struct $name(pub $settings);

        impl Estimator for $name {
            type State = ();

            fn advantages(
                &self,
                _: &mut (),
                groups: &[Group],
                _: Progress,
            ) -> Result<Advantages, EstimatorError> {
                let compute: fn(&$settings, &[Group]) -> Advantages = $advantages;
                Ok(compute(&self.0, groups))
            }

            fn weight_count(&self) -> Option<usize> {
                let count: fn(usize) -> Option<usize> = $count;
                count(self.0.weights.len())
            }
        }
    };
}

/// No weights are those of the first objective alone.
fn if_any(count: usize) -> Option<usize> {
    Some(count).filter(|count| *count > 0)
}

stateless!(
    /// GRPO on accuracy alone (ToRL, Search-R1).
    Grpo(TaskConfig),
    if_any,
    |config, groups| grpo::advantages(&config.weights.get(), true, groups)
);
stateless!(
    /// GRPO without the division by the deviation (Dr. GRPO, arXiv 2503.20783).
    DrGrpo(TaskConfig),
    if_any,
    |config, groups| grpo::advantages(&config.weights.get(), false, groups)
);
stateless!(
    /// Leave-one-out baseline (RLOO, arXiv 2402.14740).
    Rloo(TaskConfig),
    if_any,
    |config, groups| rloo::advantages(&config.weights.get(), groups)
);
stateless!(
    /// GRPO on a fixed weighting (static scalarization).
    Scalarized(WeightedConfig),
    Some,
    |config, groups| grpo::advantages(&config.weights.get(), config.std_normalization, groups)
);
stateless!(
    /// GRPO on the weighted Chebyshev distance from (1, ..., 1).
    Chebyshev(WeightedConfig),
    Some,
    chebyshev::advantages
);
