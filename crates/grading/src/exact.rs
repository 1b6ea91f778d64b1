//! The exact value of an expression without variables and irrational parts.

use crate::tree::Node;
use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// Bits of a numerator or denominator beyond which exact arithmetic gives up.
const MOST_BITS: u64 = 2048;

/// The value as a fraction; `None` if it has none, or only one with too many digits.
pub(crate) fn rational(node: &Node) -> Option<BigRational> {
    let value = match node {
        Node::Number { value, .. } => value.clone(),
        Node::Negative(of) => -rational(of)?,
        Node::Sum(parts) => {
            let mut sum = BigRational::zero();
            for part in parts {
                sum = bounded(sum + rational(part)?)?;
            }
            sum
        }
        Node::Product(parts) => {
            let mut product = BigRational::one();
            for part in parts {
                product = bounded(product * rational(part)?)?;
            }
            product
        }
        Node::Quotient(above, below) => {
            let below = rational(below)?;
            if below.is_zero() {
                return None;
            }
            rational(above)? / below
        }
        Node::Power(base, exponent) => power(&rational(base)?, &rational(exponent)?)?,
        Node::Root { index, of } => root(&rational(of)?, *index)?,
        Node::Absolute(of) => rational(of)?.abs(),
        Node::Factorial(of) => {
            let n = whole(of)?.to_u32().filter(|n| *n <= 170)?;
            BigRational::from((1..=n).fold(BigInt::one(), |product, k| product * k))
        }
        Node::Percent(of) | Node::Quantity { value: of, .. } => rational(of)?,
        Node::Function(name, parts) => function(name, parts)?,
        _ => return None,
    };
    bounded(value)
}

fn power(base: &BigRational, exponent: &BigRational) -> Option<BigRational> {
    if !exponent.is_integer() {
        // 8^{2/3} = (the third root of 8)^2
        let index = exponent.denom().to_u32().filter(|index| *index <= 100)?;
        let whole = BigRational::from_integer(exponent.numer().clone());
        return power(&root(base, index)?, &whole);
    }
    let exponent = exponent.to_i32().filter(|exponent| exponent.unsigned_abs() <= 2048)?;
    let bits = base.numer().bits().max(base.denom().bits());
    let too_large = bits * u64::from(exponent.unsigned_abs()) > MOST_BITS;
    if (base.is_zero() && exponent <= 0) || too_large {
        return None;
    }
    Some(base.pow(exponent))
}

fn root(of: &BigRational, index: u32) -> Option<BigRational> {
    if of.is_negative() {
        return None;
    }
    let (above, below) = (of.numer().nth_root(index), of.denom().nth_root(index));
    let is_exact = above.pow(index) == *of.numer() && below.pow(index) == *of.denom();
    is_exact.then(|| BigRational::new(above, below))
}

fn function(name: &str, parts: &[Node]) -> Option<BigRational> {
    let all = || parts.iter().map(rational).collect::<Option<Vec<_>>>();
    let wholes = || parts.iter().map(whole).collect::<Option<Vec<_>>>();
    let fold = |with: fn(&BigInt, &BigInt) -> BigInt| {
        let value = wholes()?.into_iter().reduce(|a, b| with(&a, &b))?;
        Some(BigRational::from_integer(value))
    };
    match name {
        "binom" => {
            let n = whole(&parts[0])?.to_u32().filter(|n| *n <= 200)?;
            let k = whole(parts.get(1)?)?.to_u32()?;
            if k > n {
                return Some(BigRational::zero());
            }
            // n (n - 1) ... (n - k + 1) / k!, whole after every step
            let value = (0..k.min(n - k)).fold(BigInt::one(), |value, j| value * (n - j) / (j + 1));
            Some(BigRational::from_integer(value))
        }
        "floor" => Some(rational(&parts[0])?.floor()),
        "ceil" => Some(rational(&parts[0])?.ceil()),
        "sgn" => Some(rational(&parts[0])?.signum()),
        "min" => all()?.into_iter().min(),
        "max" => all()?.into_iter().max(),
        "gcd" => fold(|a, b| a.gcd(b)),
        "lcm" => fold(|a, b| a.lcm(b)),
        "bmod" => {
            let wholes = wholes()?;
            let modulus = wholes.get(1).filter(|modulus| modulus.is_positive())?;
            Some(BigRational::from_integer(wholes[0].mod_floor(modulus)))
        }
        "double factorial" => {
            let n = whole(&parts[0])?.to_u32().filter(|n| *n <= 300)?;
            let factors = (1..=n).rev().step_by(2);
            Some(BigRational::from(factors.fold(BigInt::one(), |product, k| product * k)))
        }
        _ => None,
    }
}

/// The value if it is a whole number.
pub(crate) fn whole(node: &Node) -> Option<BigInt> {
    rational(node).filter(BigRational::is_integer).map(|value| value.to_integer())
}

fn bounded(value: BigRational) -> Option<BigRational> {
    (value.numer().bits().max(value.denom().bits()) <= MOST_BITS).then_some(value)
}

/// Whether a fraction has a finite decimal expansion: no primes but 2 and 5 below the line.
pub(crate) fn is_terminating(value: &BigRational) -> bool {
    let mut below = value.denom().clone();
    for prime in [2u32, 5] {
        while (&below % prime).is_zero() {
            below /= prime;
        }
    }
    below.is_one()
}
