//! Loops for the processor's widest registers: exponentials, sums, maxima.
//!
//! Loops are written so that the compiler vectorises them; [`vectorised`] gives it the registers.
//! What a number adds to a sum does not depend on the registers: there are always as many parts.

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// Numbers that are computed side by side; sums are taken in so many parts.
const LANES: usize = 16;

/// Runs a loop with the processor's widest instructions. The closure must be `#[inline(always)]`:
/// left on its own it would be compiled for any processor.
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Work<F> {
        type Output = R;

        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Work(work))
}

/// `exp(x)` for `x <= 0`, to 2 units in the last place; below -87 it is that of -87, next to the
/// smallest normal number. No number stays none.
///
/// With `n = round(x / ln 2)` and `r = x - n ln 2`, `exp(x) = 2^n exp(r)`; `exp(r)` by the
/// polynomial of Cephes (Moshier, 1992).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // adding it leaves the integer part in the lowest bits
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut polynomial = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        polynomial = polynomial * r + coefficient;
    }
    let power = (shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23;
    (polynomial * r * r + r + 1.0) * f32::from_bits(power)
}

/// The sum of `of(i)`.
#[inline(always)]
pub fn sum(count: usize, of: impl Fn(usize) -> f32) -> f32 {
    let mut parts = [0.0; LANES];
    let whole = count / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, part) in parts.iter_mut().enumerate() {
            *part += of(start + lane);
        }
    }
    let mut rest = 0.0;
    for i in whole..count {
        rest += of(i);
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            parts[lane] += parts[lane + half];
        }
    }
    parts[0] + rest
}

/// The largest of `of(i)`, at least the lowest finite number.
#[inline(always)]
pub fn largest(count: usize, of: impl Fn(usize) -> f32) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut parts = [f32::MIN; LANES];
    let whole = count / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, part) in parts.iter_mut().enumerate() {
            *part = larger(*part, of(start + lane));
        }
    }
    let mut rest = f32::MIN;
    for i in whole..count {
        rest = larger(rest, of(i));
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            parts[lane] = larger(parts[lane], parts[lane + half]);
        }
    }
    larger(rest, parts[0])
}

/// `log(sum(exp(x)))`, stable. No number makes it none.
pub fn log_sum_exp(x: &[f32]) -> f32 {
    let shift = vectorised(
        #[inline(always)]
        || largest(x.len(), |i| x[i]),
    );
    shift + sum_of_exponentials(x, shift).ln()
}

/// `sum(exp(x - shift))` for `shift` at least the largest `x`, or less by rounding.
pub fn sum_of_exponentials(x: &[f32], shift: f32) -> f32 {
    vectorised(
        #[inline(always)]
        || sum(x.len(), |i| exp(x[i] - shift)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for step in 0..=870_000 {
            let x = -step as f32 * 1e-4;
            let want = f64::from(x).exp();
            // a unit in the last place is at most 2^-23 of the value
            worst = worst.max((f64::from(exp(x)) - want).abs() / want * f64::from(1u32 << 23));
        }
        assert!(worst < 2.0, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
        assert!(exp(-87.0) < 2e-38 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_take_every_value_once() {
        // 0 + 1 + ... + 36 = 36 * 37 / 2
        assert_eq!(sum(37, |i| i as f32), 666.0);
        for place in 0..37 {
            assert_eq!(largest(37, |i| if i == place { -1.0 } else { -2.0 }), -1.0);
        }
    }

    #[test]
    fn sums_of_exponentials_are_those_of_f64() {
        let x: Vec<f32> = (0..1000).map(|i| (i * 37 % 101) as f32 * 0.3 - 7.0).collect();
        let wanted = x.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
        assert!((f64::from(log_sum_exp(&x)) - wanted).abs() < 1e-5, "{wanted}");
        assert!((sum_of_exponentials(&x, wanted as f32) - 1.0).abs() < 1e-5);
        let mut bad = x;
        bad[3] = f32::NAN;
        assert!(log_sum_exp(&bad).is_nan());
        bad[3] = f32::INFINITY;
        assert!(!log_sum_exp(&bad).is_finite());
    }
}
