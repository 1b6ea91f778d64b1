//! The exact value of an expression without variables and irrational parts.

use crate::fraction::Fraction;
use crate::tree::Node;
use num_bigint::BigInt;
use num_integer::{Integer, Roots};
use num_traits::{One, Signed, ToPrimitive};

/// Bits of a numerator or denominator beyond which exact arithmetic gives up.
const MOST_BITS: u64 = 2048;

/// The value as a fraction; `None` if it has none, or only one with too many digits.
pub(crate) fn rational(node: &Node) -> Option<Fraction> {
    let value = match node {
        Node::Number { value, .. } => value.clone(),
        Node::Negative(of) => -&rational(of)?,
        Node::Sum(parts) => {
            let mut sum = Fraction::ZERO;
            for part in parts {
                sum = bounded(&sum + &rational(part)?)?;
            }
            sum
        }
        Node::Product(parts) => {
            let mut product = Fraction::ONE;
            for part in parts {
                product = bounded(&product * &rational(part)?)?;
            }
            product
        }
        Node::Quotient(above, below) => {
            let below = rational(below)?;
            if below.is_zero() {
                return None;
            }
            &rational(above)? / &below
        }
        Node::Power(base, exponent) => power(&rational(base)?, &rational(exponent)?)?,
        Node::Root { index, of } => root(&rational(of)?, *index)?,
        Node::Absolute(of) => rational(of)?.abs(),
        Node::Factorial(of) => {
            let n = whole(of)?.to_u32().filter(|n| *n <= 170)?;
            Fraction::from((1..=n).fold(BigInt::one(), |product, k| product * k))
        }
        Node::Percent(of) | Node::Quantity { value: of, .. } => rational(of)?,
        Node::Function(name, parts) => function(name, parts)?,
        _ => return None,
    };
    bounded(value)
}

fn power(base: &Fraction, exponent: &Fraction) -> Option<Fraction> {
    if !exponent.is_integer() {
        // 8^{2/3} = (the third root of 8)^2
        let index = exponent.denominator().to_u32().filter(|index| *index <= 100)?;
        let whole = Fraction::from(exponent.numerator());
        return power(&root(base, index)?, &whole);
    }
    let exponent = i32::try_from(exponent.to_i64()?).ok()?;
    if exponent.unsigned_abs() > 2048 {
        return None;
    }
    let too_large = base.bits() * u64::from(exponent.unsigned_abs()) > MOST_BITS;
    if (base.is_zero() && exponent <= 0) || too_large {
        return None;
    }
    Some(base.pow(exponent))
}

fn root(of: &Fraction, index: u32) -> Option<Fraction> {
    if of.is_negative() {
        return None;
    }
    if let Fraction::Small { above, below } = of {
        let exact = |of: i64| {
            let root = of.nth_root(index);
            (root.checked_pow(index) == Some(of)).then_some(root)
        };
        return Some(Fraction::new(exact(*above)?.into(), exact(*below)?.into()));
    }
    let (above, below) = (of.numerator(), of.denominator());
    let roots = (above.nth_root(index), below.nth_root(index));
    let is_exact = roots.0.pow(index) == above && roots.1.pow(index) == below;
    is_exact.then(|| Fraction::new(roots.0, roots.1))
}

fn function(name: &str, parts: &[Node]) -> Option<Fraction> {
    let all = || parts.iter().map(rational).collect::<Option<Vec<_>>>();
    let wholes = || parts.iter().map(whole).collect::<Option<Vec<_>>>();
    let fold = |with: fn(&BigInt, &BigInt) -> BigInt| {
        let value = wholes()?.into_iter().reduce(|a, b| with(&a, &b))?;
        Some(Fraction::from(value))
    };
    match name {
        "binom" => {
            let n = whole(&parts[0])?.to_u32().filter(|n| *n <= 200)?;
            let k = whole(parts.get(1)?)?.to_u32()?;
            if k > n {
                return Some(Fraction::ZERO);
            }
            // n (n - 1) ... (n - k + 1) / k!, whole after every step
            let value = (0..k.min(n - k)).fold(BigInt::one(), |value, j| value * (n - j) / (j + 1));
            Some(Fraction::from(value))
        }
        "floor" => Some(rational(&parts[0])?.to_large().floor().into()),
        "ceil" => Some(rational(&parts[0])?.to_large().ceil().into()),
        "sgn" => Some(rational(&parts[0])?.to_large().signum().into()),
        "min" => all()?.into_iter().min(),
        "max" => all()?.into_iter().max(),
        "gcd" => fold(|a, b| a.gcd(b)),
        "lcm" => fold(|a, b| a.lcm(b)),
        "bmod" => {
            let wholes = wholes()?;
            let modulus = wholes.get(1).filter(|modulus| modulus.is_positive())?;
            Some(Fraction::from(wholes[0].mod_floor(modulus)))
        }
        "double factorial" => {
            let n = whole(&parts[0])?.to_u32().filter(|n| *n <= 300)?;
            let factors = (1..=n).rev().step_by(2);
            Some(Fraction::from(factors.fold(BigInt::one(), |product, k| product * k)))
        }
        _ => None,
    }
}

/// The value if it is a whole number.
pub(crate) fn whole(node: &Node) -> Option<BigInt> {
    rational(node)?.to_whole()
}

fn bounded(value: Fraction) -> Option<Fraction> {
    (value.bits() <= MOST_BITS).then_some(value)
}
