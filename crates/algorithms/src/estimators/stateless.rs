//! Estimators that remember nothing: what all of them say alike.

/// Makes settings an estimator without state: for how many objectives they have weights, and the
/// advantages of groups.
macro_rules! stateless {
    ($settings:ty, $weight_count:expr, $advantages:expr) => {
        impl $crate::estimators::Estimator for $settings {
            type State = ();

            fn advantages(
                &self,
                _: &mut (),
                groups: &[$crate::estimators::Group],
                _: $crate::estimators::Progress,
            ) -> Result<$crate::estimators::Advantages, $crate::estimators::EstimatorError> {
                let of_groups: fn(&Self, &[$crate::estimators::Group]) -> Result<_, _> =
                    $advantages;
                of_groups(self, groups)
            }

            fn weight_count(&self) -> Option<usize> {
                let count: fn(&Self) -> Option<usize> = $weight_count;
                count(self)
            }
        }
    };
}

pub(super) use stateless;
