//! Whether two values of arithmetic are the same: exactly, then as functions in prime fields, then
//! at complex points; and what a printed decimal stands for.
//!
//! | a printed decimal stands for | when |
//! |---|---|
//! | its digits | always |
//! | a value at most 8 units in the last place of a double away | it has 15 digits or more |
//! | a value that it is the rounding of, or that was cut to it | it has 4 digits or more, and the value has no finite decimal expansion, or was printed with 15 digits or more |
//!
//! Digits are counted from the first that is not zero.

use crate::complex::{SIGNED, numeric};
use crate::exact::rational;
use crate::field::Field;
use crate::fraction::Fraction;
use crate::tree::{Decimal, Node};
use num_bigint::BigInt;
use num_traits::One;

/// Points at which functions are compared.
pub(crate) const POINTS: u64 = 5;
/// Relative difference of values that count as equal.
pub(crate) const CLOSE: f64 = 1e-9;
/// Digits from which on a decimal may stand for what it is the rounding of.
const ROUNDED_FROM: u32 = 4;
/// Digits from which on a decimal may be a double that a program printed.
const DOUBLE_FROM: u32 = 15;
/// Units in the last place by which the result of a few operations on doubles may be off.
const NOISE: i64 = 8;

/// Whether both are the same value or function.
pub(crate) fn same_scalar(gold: &Node, prediction: &Node) -> bool {
    if !gold.is_scalar() || !prediction.is_scalar() {
        return false;
    }
    if let (Some(a), Some(b)) = (rational(gold), rational(prediction)) {
        return same_rational((gold, &a), (prediction, &b)) || same_percent(gold, prediction);
    }
    if gold.variables() != prediction.variables() && !cancels(gold, prediction) {
        return false;
    }
    if let Some(verdict) = in_field(gold, prediction) {
        return verdict || rounded(gold, prediction);
    }
    at_points(gold, prediction)
}

/// Whether two fractions are equal, or one is a decimal that stands for the other.
fn same_rational(a: (&Node, &Fraction), b: (&Node, &Fraction)) -> bool {
    a.1 == b.1 || stands_for(a, b) || stands_for(b, a)
}

/// 28% is 0.28, and 28 by the rule for equal values.
fn same_percent(gold: &Node, prediction: &Node) -> bool {
    let (Some(a), Some(b)) = (hundredth(gold), hundredth(prediction)) else { return false };
    let (Some(x), Some(y)) = (rational(&a), rational(&b)) else { return false };
    same_rational((&a, &x), (&b, &y))
}

/// A percentage as the fraction that it is; all else as it stands.
fn hundredth(node: &Node) -> Option<Node> {
    match node {
        Node::Percent(of) => {
            let value = &rational(of)? / &Fraction::from(100);
            let decimal = printed(of)
                .map(|decimal| Decimal { places: decimal.places + 2, digits: decimal.digits });
            Some(Node::Number { value, decimal })
        }
        Node::Negative(of) if matches!(**of, Node::Percent(_)) => Some(hundredth(of)?.negative()),
        other => Some(other.clone()),
    }
}

/// How a single decimal was printed; `None` for anything else.
fn printed(node: &Node) -> Option<&Decimal> {
    match node {
        Node::Negative(of) | Node::Percent(of) | Node::Quantity { value: of, .. } => printed(of),
        Node::Number { decimal, .. } => decimal.as_ref(),
        _ => None,
    }
}

/// Whether a decimal stands for another value, by the table above.
fn stands_for(decimal: (&Node, &Fraction), exact: (&Node, &Fraction)) -> bool {
    let Some(printed_as) = printed(decimal.0) else { return false };
    let (value, exact_value) = (decimal.1, exact.1);
    let difference = (value - exact_value).abs();
    if printed_as.digits >= DOUBLE_FROM {
        let scale =
            if exact_value.is_zero() { Fraction::ONE } else { value.abs().max(exact_value.abs()) };
        if difference <= &last_place(&scale) * &Fraction::from(NOISE) {
            return true;
        }
    }
    let goes_on = !exact_value.is_terminating()
        || printed(exact.0).is_some_and(|exact| exact.digits >= DOUBLE_FROM);
    if printed_as.digits < ROUNDED_FROM || !goes_on {
        return false;
    }
    let unit = power_of_ten(-printed_as.places);
    let is_cut = value.abs() <= exact_value.abs()
        && value.is_negative() == exact_value.is_negative()
        && difference < unit;
    &difference * &Fraction::from(2) <= unit || is_cut
}

/// The distance between neighbouring doubles at a value: `2^(e - 52)` for `2^e <= x < 2^(e + 1)`.
fn last_place(x: &Fraction) -> Fraction {
    let exponent = x.to_f64().map_or(0, |x| x.abs().max(f64::MIN_POSITIVE).log2().floor() as i32);
    let exponent = (exponent - 52).clamp(-1074, 971);
    let power = BigInt::one() << exponent.unsigned_abs();
    if exponent < 0 { Fraction::new(BigInt::one(), power) } else { power.into() }
}

fn power_of_ten(exponent: i32) -> Fraction {
    Fraction::from(10).pow(exponent.clamp(-2000, 2000))
}

/// Whether one side is a decimal that stands for the other, whose value is irrational.
fn rounded(a: &Node, b: &Node) -> bool {
    let stands = |decimal: &Node, other: &Node| -> bool {
        let (Some(printed), true) = (printed(decimal), other.is_constant()) else { return false };
        let (Some(value), Some(other)) = (rational(decimal), numeric(other, 0)) else {
            return false;
        };
        let Some(value) = value.to_f64() else { return false };
        if other.im.abs() > 1e-12 * other.re.abs().max(1.0) {
            return false;
        }
        let difference = (value - other.re).abs();
        // the other value was worked out in doubles, too
        let noise = 2.0 * NOISE as f64 * f64::EPSILON * other.re.abs();
        if printed.digits >= DOUBLE_FROM {
            return difference <= noise;
        }
        let unit = printed.unit();
        let is_cut = value.abs() <= other.re.abs() && difference < unit;
        printed.digits >= ROUNDED_FROM && (difference <= 0.5 * unit + noise || is_cut)
    };
    stands(a, b) || stands(b, a) || same_doubles(a, b)
}

/// Whether constants that hold doubles which a program printed have values as close as those are.
fn same_doubles(a: &Node, b: &Node) -> bool {
    let is_double = |node: &Node| match node {
        Node::Number { decimal, .. } => {
            decimal.as_ref().is_some_and(|decimal| decimal.digits >= DOUBLE_FROM)
        }
        _ => false,
    };
    let holds_double = a.any(&is_double) || b.any(&is_double);
    if !holds_double || !a.is_constant() || !b.is_constant() {
        return false;
    }
    match (numeric(a, 0), numeric(b, 0)) {
        (Some(x), Some(y)) => {
            (x - y).abs() <= 2.0 * NOISE as f64 * f64::EPSILON * x.abs().max(y.abs())
        }
        _ => false,
    }
}

/// Whether expressions agree in prime fields, if they are of that kind.
fn in_field(a: &Node, b: &Node) -> Option<bool> {
    let mut field = Field::for_both(a, b)?;
    for seed in [1, 2] {
        field.seed = seed;
        match (field.value(a), field.value(b)) {
            (Some(x), Some(y)) if x == y => {}
            (None, None) => return None,
            _ => return Some(false),
        }
    }
    Some(true)
}

/// Whether expressions agree at points.
fn at_points(gold: &Node, prediction: &Node) -> bool {
    // answers take their variables for positive, unless an absolute value says that they need not
    // be
    let signed = gold.holds_absolute() || prediction.holds_absolute();
    let mut compared = 0;
    for seed in 0..2 * POINTS {
        let seed = if signed { seed | SIGNED } else { seed };
        match (numeric(gold, seed), numeric(prediction, seed)) {
            (Some(a), Some(b)) => {
                if (a - b).abs() > CLOSE * a.abs().max(b.abs()).max(1e-3) {
                    return rounded(gold, prediction);
                }
                compared += 1;
            }
            (None, None) => {}
            _ => return false,
        }
        // with signs, one of all points must show each variable below zero
        if compared >= POINTS && !signed {
            break;
        }
    }
    compared >= 3
}

/// Variables may cancel, as in `x - x + 1`; worth a look only where there is arithmetic on them.
fn cancels(a: &Node, b: &Node) -> bool {
    let is_arithmetic = |node: &Node| {
        matches!(
            node,
            Node::Sum(_)
                | Node::Product(_)
                | Node::Quotient(..)
                | Node::Power(..)
                | Node::Negative(_)
                | Node::Function(..)
        )
    };
    is_arithmetic(a) || is_arithmetic(b)
}
