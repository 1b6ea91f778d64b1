//! Pareto dominance.

/// `a` dominates `b`: `a_k >= b_k` for every objective `k` and `a_k > b_k` for one of them.
///
/// ```
/// use paretopo_pareto::dominates;
///
/// assert!(dominates(&[1.0, 0.5], &[1.0, 0.4]));
/// assert!(!dominates(&[1.0, 0.3], &[0.0, 0.4]), "each is better in one");
/// ```
///
/// # Shapes
/// - `a`, `b`: one finite value per objective, equally many
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    debug_assert_eq!(a.len(), b.len(), "points of one problem have as many objectives");
    let mut better = false;
    for (a, b) in a.iter().zip(b) {
        if a < b {
            return false;
        }
        better |= a > b;
    }
    better
}

#[cfg(test)]
mod tests {
    use super::dominates;

    #[test]
    fn strict_in_one_and_worse_in_none() {
        assert!(dominates(&[1.0, 0.5], &[1.0, 0.4]));
        assert!(!dominates(&[1.0, 0.5], &[1.0, 0.5]), "equal points do not dominate each other");
        assert!(!dominates(&[1.0, 0.3], &[0.0, 0.4]), "incomparable");
        assert!(!dominates(&[0.0, 0.4], &[1.0, 0.3]), "incomparable");
    }
}
