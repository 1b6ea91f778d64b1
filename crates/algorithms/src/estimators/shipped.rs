//! The estimators that we ship, by name, and those of them that are one line each.

use super::{
    AnyEstimator, DdcaConfig, Estimators, Gd2poConfig, HdpoConfig, LagrangianConfig,
    SmoothChebyshevConfig, SoftminConfig, call_penalty, chebyshev, gdpo, grpo, hv_weighting,
    mo_grpo, otc, paretopo, register_estimator, reinforce_plus_plus, rloo, stateless,
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
            register_estimator::<HdpoConfig>(&mut all, "hdpo");
            register_estimator::<DdcaConfig>(&mut all, "ddca");
            register_estimator::<SoftminConfig>(&mut all, "softmin");
            register_estimator::<Gd2poConfig>(&mut all, "gd2po");
            register_estimator::<LagrangianConfig>(&mut all, "lagrangian");
            register_estimator::<SmoothChebyshevConfig>(&mut all, "smooth_chebyshev");
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

/// No weights are those of the first objective alone.
pub(super) fn if_any(count: usize) -> Option<usize> {
    Some(count).filter(|count| *count > 0)
}

/// GRPO on accuracy alone (ToRL, Search-R1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Grpo(pub TaskConfig);

stateless!(Grpo, |own| if_any(own.0.weights.len()), |own, groups| {
    Ok(grpo::advantages(&own.0.weights.get(), true, groups))
});

/// GRPO without the division by the deviation (Dr. GRPO, arXiv 2503.20783).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrGrpo(pub TaskConfig);

stateless!(DrGrpo, |own| if_any(own.0.weights.len()), |own, groups| {
    Ok(grpo::advantages(&own.0.weights.get(), false, groups))
});

/// Leave-one-out baseline (RLOO, arXiv 2402.14740).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rloo(pub TaskConfig);

stateless!(Rloo, |own| if_any(own.0.weights.len()), |own, groups| {
    Ok(rloo::advantages(&own.0.weights.get(), groups))
});

/// GRPO on a fixed weighting (static scalarization).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scalarized(pub WeightedConfig);

stateless!(Scalarized, |own| Some(own.0.weights.len()), |own, groups| {
    Ok(grpo::advantages(&own.0.weights.get(), own.0.std_normalization, groups))
});

/// GRPO on the weighted Chebyshev distance from (1, ..., 1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chebyshev(pub WeightedConfig);

stateless!(Chebyshev, |own| Some(own.0.weights.len()), |own, groups| {
    Ok(chebyshev::advantages(&own.0, groups))
});
