//! Fractions: in two machine words where they fit, which those of answers do, else of any size.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use std::cmp::Ordering;
use std::fmt;

/// A fraction in lowest terms with a positive denominator. One that fits into `Small` is always
/// held so, and no numerator there is `i64::MIN`: equal fractions have equal fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fraction {
    Small { above: i64, below: i64 },
    Large(Box<BigRational>),
}

impl Fraction {
    pub(crate) const ZERO: Self = Self::Small { above: 0, below: 1 };
    pub(crate) const ONE: Self = Self::Small { above: 1, below: 1 };

    /// `above / below`, where `below` is not zero.
    pub(crate) fn new(above: BigInt, below: BigInt) -> Self {
        BigRational::new(above, below).into()
    }

    /// `above / below`, where `below` is not zero.
    fn reduced(above: i128, below: i128) -> Self {
        let divisor = greatest_common_divisor(above.unsigned_abs(), below.unsigned_abs());
        let sign = if below < 0 { -1 } else { 1 };
        // below 2^127, since the arguments are
        let divisor = divisor.max(1) as i128 * sign;
        let (above, below) = (above / divisor, below / divisor);
        match (i64::try_from(above), i64::try_from(below)) {
            (Ok(above), Ok(below)) if above != i64::MIN => Self::Small { above, below },
            _ => Self::Large(Box::new(BigRational::new_raw(above.into(), below.into()))),
        }
    }

    pub(crate) fn is_zero(&self) -> bool {
        matches!(self, Self::Small { above: 0, .. })
    }

    pub(crate) fn is_negative(&self) -> bool {
        match self {
            Self::Small { above, .. } => *above < 0,
            Self::Large(value) => value.is_negative(),
        }
    }

    pub(crate) fn is_integer(&self) -> bool {
        match self {
            Self::Small { below, .. } => *below == 1,
            Self::Large(value) => value.is_integer(),
        }
    }

    pub(crate) fn abs(&self) -> Self {
        if self.is_negative() { -self } else { self.clone() }
    }

    /// The value if it is a whole number of one machine word.
    pub(crate) fn to_i64(&self) -> Option<i64> {
        match self {
            Self::Small { above, below: 1 } => Some(*above),
            _ => None,
        }
    }

    /// The whole number next to it towards zero.
    pub(crate) fn truncated(&self) -> BigInt {
        match self {
            Self::Small { above, below } => (above / below).into(),
            Self::Large(value) => value.to_integer(),
        }
    }

    /// The value if it is a whole number.
    pub(crate) fn to_whole(&self) -> Option<BigInt> {
        self.is_integer().then(|| self.numerator())
    }

    pub(crate) fn numerator(&self) -> BigInt {
        match self {
            Self::Small { above, .. } => (*above).into(),
            Self::Large(value) => value.numer().clone(),
        }
    }

    pub(crate) fn denominator(&self) -> BigInt {
        match self {
            Self::Small { below, .. } => (*below).into(),
            Self::Large(value) => value.denom().clone(),
        }
    }

    pub(crate) fn to_large(&self) -> BigRational {
        match self {
            Self::Small { above, below } => BigRational::new_raw((*above).into(), (*below).into()),
            Self::Large(value) => (**value).clone(),
        }
    }

    /// The nearest double.
    pub(crate) fn to_f64(&self) -> Option<f64> {
        // what a double holds exactly is divided with one rounding
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        match self {
            Self::Small { above, below }
                if above.unsigned_abs() <= EXACT && below.unsigned_abs() <= EXACT =>
            {
                Some(*above as f64 / *below as f64)
            }
            Self::Small { .. } => self.to_large().to_f64(),
            Self::Large(value) => value.to_f64(),
        }
    }

    /// Bits of the numerator or the denominator, whichever has more.
    pub(crate) fn bits(&self) -> u64 {
        match self {
            Self::Small { above, below } => {
                let largest = above.unsigned_abs().max(below.unsigned_abs());
                u64::from(u64::BITS - largest.leading_zeros())
            }
            Self::Large(value) => value.numer().bits().max(value.denom().bits()),
        }
    }

    /// A whole power; of zero only one above zero.
    pub(crate) fn pow(&self, exponent: i32) -> Self {
        if let Self::Small { above, below } = self {
            let size = exponent.unsigned_abs();
            let powers = (above.checked_pow(size), below.checked_pow(size));
            if let (Some(above), Some(below)) = powers {
                let (above, below) = (i128::from(above), i128::from(below));
                let turned = exponent < 0;
                let (above, below) = if turned { (below, above) } else { (above, below) };
                return Self::reduced(above, below);
            }
        }
        self.to_large().pow(exponent).into()
    }

    /// Whether its decimal expansion is finite: no primes but 2 and 5 below the line.
    pub(crate) fn is_terminating(&self) -> bool {
        match self {
            Self::Small { below, .. } => {
                let mut below = *below;
                for prime in [2, 5] {
                    while below % prime == 0 {
                        below /= prime;
                    }
                }
                below == 1
            }
            Self::Large(value) => {
                let mut below = value.denom().clone();
                for prime in [2u32, 5] {
                    while (&below % prime).is_zero() {
                        below /= prime;
                    }
                }
                below.is_one()
            }
        }
    }
}

/// By Euclid; the words are large in products only.
fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        match (u64::try_from(a), u64::try_from(b)) {
            (Ok(a), Ok(b)) => return u128::from(a.gcd(&b)),
            _ => (a, b) = (b, a % b),
        }
    }
    a
}

impl From<i64> for Fraction {
    fn from(value: i64) -> Self {
        Self::reduced(value.into(), 1)
    }
}

impl From<BigInt> for Fraction {
    fn from(value: BigInt) -> Self {
        BigRational::from_integer(value).into()
    }
}

impl From<BigRational> for Fraction {
    fn from(value: BigRational) -> Self {
        match (value.numer().to_i64(), value.denom().to_i64()) {
            (Some(above), Some(below)) if above != i64::MIN => Self::Small { above, below },
            _ => Self::Large(Box::new(value)),
        }
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small { above, below: 1 } => write!(formatter, "{above}"),
            Self::Small { above, below } => write!(formatter, "{above}/{below}"),
            Self::Large(value) => write!(formatter, "{value}"),
        }
    }
}

impl std::ops::Neg for &Fraction {
    type Output = Fraction;
    fn neg(self) -> Fraction {
        match self {
            Fraction::Small { above, below } => Fraction::Small { above: -above, below: *below },
            Fraction::Large(value) => (-(**value).clone()).into(),
        }
    }
}

/// An operation: on small fractions `$above` and `$below` of both numerators and denominators,
/// which stay below 2^127, else that of large fractions.
macro_rules! operation {
    (
        $trait:ident, $method:ident,
        |$a:ident, $b:ident, $c:ident, $d:ident| $above:expr, $below:expr
    ) => {
        impl std::ops::$trait for &Fraction {
            type Output = Fraction;
            fn $method(self, other: &Fraction) -> Fraction {
                if let (
                    Fraction::Small { above: $a, below: $b },
                    Fraction::Small { above: $c, below: $d },
                ) = (self, other)
                {
                    let ($a, $b) = (i128::from(*$a), i128::from(*$b));
                    let ($c, $d) = (i128::from(*$c), i128::from(*$d));
                    return Fraction::reduced($above, $below);
                }
                std::ops::$trait::$method(self.to_large(), other.to_large()).into()
            }
        }
    };
}

operation!(Add, add, |a, b, c, d| a * d + c * b, b * d);
operation!(Sub, sub, |a, b, c, d| a * d - c * b, b * d);
operation!(Mul, mul, |a, b, c, d| a * c, b * d);
operation!(Div, div, |a, b, c, d| a * d, b * c);

impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Small { above: a, below: b }, Self::Small { above: c, below: d }) => {
                let left = i128::from(*a) * i128::from(*d);
                left.cmp(&(i128::from(*c) * i128::from(*b)))
            }
            _ => self.to_large().cmp(&other.to_large()),
        }
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Words around the ends of the small ones, and others.
    fn word() -> impl Strategy<Value = i128> {
        let ends = prop_oneof![Just(0i128), Just(1), Just(i128::from(i64::MAX)), Just(1 << 53)];
        prop_oneof![
            (ends, -2i128..3).prop_map(|(end, step)| end + step),
            any::<i64>().prop_map(i128::from),
            -100i128..100,
        ]
        .prop_flat_map(|word| prop_oneof![Just(word), Just(-word)])
    }

    fn both(above: i128, below: i128) -> (Fraction, BigRational) {
        let large = BigRational::new(above.into(), below.into());
        (Fraction::new(above.into(), below.into()), large)
    }

    proptest! {
        #[test]
        fn small_and_large_fractions_agree(
            a in word(), b in word(), c in word(), d in word(), exponent in -3i32..4,
        ) {
            prop_assume!(b != 0 && d != 0);
            let ((x, p), (y, q)) = (both(a, b), both(c, d));
            prop_assert_eq!(x.to_large(), p.clone());
            prop_assert_eq!(&x + &y, Fraction::from(&p + &q));
            prop_assert_eq!(&x - &y, Fraction::from(&p - &q));
            prop_assert_eq!(&x * &y, Fraction::from(&p * &q));
            prop_assert_eq!(-&x, Fraction::from(-p.clone()));
            prop_assert_eq!(x.abs(), Fraction::from(p.abs()));
            prop_assert_eq!(x.cmp(&y), p.cmp(&q));
            prop_assert_eq!(x.to_f64(), p.to_f64());
            prop_assert_eq!(x.to_string(), p.to_string());
            prop_assert_eq!(x.bits(), p.numer().bits().max(p.denom().bits()));
            prop_assert_eq!(x.is_integer(), p.is_integer());
            if c != 0 {
                prop_assert_eq!(&x / &y, Fraction::from(&p / &q));
                prop_assert_eq!(y.pow(exponent), Fraction::from(q.pow(exponent)));
            }
            // one form for each value
            prop_assert_eq!(&(&x + &y) - &y, x);
        }
    }

    #[test]
    fn what_fits_is_small() {
        let small = |fraction: Fraction| matches!(fraction, Fraction::Small { .. });
        let most = Fraction::from(i64::MAX);
        assert!(
            !small(&most + &Fraction::ONE) && small(&(&most + &Fraction::ONE) - &Fraction::ONE)
        );
        // the one word without a negative
        assert!(!small(Fraction::from(i64::MIN)) && small(-&most));
        assert!(Fraction::new(7.into(), 40.into()).is_terminating());
        assert!(!Fraction::new(7.into(), 60.into()).is_terminating());
    }
}
