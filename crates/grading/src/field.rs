//! What an expression is worth in a prime field.
//!
//! Two expressions of sums, products, quotients, whole powers and square roots of rationals are
//! equal as functions if they agree at a random point of a field with about 2^61 elements; the
//! chance of an error is the degree over 2^61 (Schwartz, 1980; Zippel, 1979). Square roots exist in
//! half of all such fields, so one is sought in which all that are needed do.

use crate::exact::rational;
use crate::fraction::Fraction;
use crate::tree::Node;
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};
use std::sync::OnceLock;

/// A prime field and what stands for the constants in it.
pub(crate) struct Field {
    prime: u64,
    /// Square roots of -1 and of primes.
    roots: Vec<(i64, u64)>,
    /// Decides the point that stands for the variables.
    pub(crate) seed: u64,
}

/// A splitmix step.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

pub(crate) fn hash(name: &str, seed: u64) -> u64 {
    name.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)))
}

/// The largest primes below 2^61.
fn primes() -> &'static [u64] {
    static PRIMES: OnceLock<Vec<u64>> = OnceLock::new();
    PRIMES.get_or_init(|| {
        (0..)
            .map(|step| (1u64 << 61) - 1 - 2 * step)
            .filter(|candidate| is_prime(*candidate))
            .take(48)
            .collect()
    })
}

fn is_prime(n: u64) -> bool {
    // Miller-Rabin with the first twelve primes is exact below 2^64
    let (mut odd, mut twos) = (n - 1, 0);
    while odd % 2 == 0 {
        odd /= 2;
        twos += 1;
    }
    [2u64, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].iter().all(|base| {
        let mut x = power(*base, odd, n);
        if x == 1 || x == n - 1 {
            return true;
        }
        for _ in 1..twos {
            x = times(x, x, n);
            if x == n - 1 {
                return true;
            }
        }
        false
    })
}

fn times(a: u64, b: u64, prime: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(prime)) as u64
}

fn power(base: u64, mut exponent: u64, prime: u64) -> u64 {
    let (mut base, mut result) = (base % prime, 1);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = times(result, base, prime);
        }
        base = times(base, base, prime);
        exponent /= 2;
    }
    result
}

/// A square root by Tonelli and Shanks, if there is one.
fn square_root(of: u64, prime: u64) -> Option<u64> {
    if power(of, (prime - 1) / 2, prime) != 1 {
        return None;
    }
    if prime % 4 == 3 {
        return Some(power(of, (prime + 1) / 4, prime));
    }
    let (mut odd, mut twos) = (prime - 1, 0);
    while odd % 2 == 0 {
        odd /= 2;
        twos += 1;
    }
    let non_residue =
        (2..).find(|candidate| power(*candidate, (prime - 1) / 2, prime) == prime - 1)?;
    let (mut m, mut c) = (twos, power(non_residue, odd, prime));
    let (mut t, mut r) = (power(of, odd, prime), power(of, odd.div_ceil(2), prime));
    while t != 1 {
        let mut i = 0;
        let mut square = t;
        while square != 1 {
            square = times(square, square, prime);
            i += 1;
        }
        let b = power(c, 1 << (m - i - 1), prime);
        (m, c) = (i, times(b, b, prime));
        (t, r) = (times(t, c, prime), times(r, b, prime));
    }
    Some(r)
}

/// The primes that divide a number an odd number of times, with -1 for its sign; and the rest's
/// square root. `None` if it is too large to be taken apart.
fn squarefree(n: &BigInt) -> Option<(Vec<i64>, u64)> {
    let mut odd = Vec::new();
    if n.is_negative() {
        odd.push(-1);
    }
    let mut n = n.abs().to_u64().filter(|n| *n > 0 && *n < 1 << 52)?;
    let mut outside = 1;
    let mut divisor = 2;
    while divisor * divisor <= n && divisor < 4096 {
        while n % (divisor * divisor) == 0 {
            n /= divisor * divisor;
            outside *= divisor;
        }
        if n % divisor == 0 {
            n /= divisor;
            odd.push(divisor as i64);
        }
        divisor += 1;
    }
    if n > 1 {
        let root = n.isqrt();
        if root * root == n {
            outside *= root;
        } else if n < 4096 * 4096 {
            odd.push(n as i64);
        } else {
            return None;
        }
    }
    Some((odd, outside))
}

/// Collects the primes whose square roots an expression needs; `None` if it is outside of what a
/// field can hold.
fn roots_needed(node: &Node, found: &mut Vec<i64>) -> Option<()> {
    match node {
        Node::Root { index: 2, of } => square_root_needed(of, found),
        Node::I => {
            found.push(-1);
            Some(())
        }
        Node::Power(base, exponent) => {
            let exponent = rational(exponent)?;
            if exponent.is_integer() {
                return roots_needed(base, found);
            }
            // a half is a square root
            if exponent.denominator() != 2.into() {
                return None;
            }
            square_root_needed(base, found)
        }
        Node::Number { .. } | Node::Symbol(_) | Node::Pi | Node::E => Some(()),
        Node::Sum(parts) | Node::Product(parts) => {
            parts.iter().try_for_each(|part| roots_needed(part, found))
        }
        Node::Quotient(a, b) => roots_needed(a, found).and_then(|()| roots_needed(b, found)),
        Node::Negative(of) | Node::Percent(of) | Node::Quantity { value: of, .. } => {
            roots_needed(of, found)
        }
        Node::Root { .. } | Node::Absolute(_) | Node::Factorial(_) | Node::Function(..) => {
            rational(node).map(|_| ())
        }
        _ => None,
    }
}

/// The same for the square root of an expression, which must be rational.
fn square_root_needed(of: &Node, found: &mut Vec<i64>) -> Option<()> {
    let of = rational(of)?;
    let (odd, _) = squarefree(&(of.numerator() * of.denominator()))?;
    found.extend(odd);
    Some(())
}

impl Field {
    /// A field in which both expressions have a value, if they are of the kind that can have one.
    pub(crate) fn for_both(a: &Node, b: &Node) -> Option<Self> {
        let mut needed = Vec::new();
        roots_needed(a, &mut needed)?;
        roots_needed(b, &mut needed)?;
        needed.sort_unstable();
        needed.dedup();
        if needed.len() > 5 {
            return None;
        }
        for prime in primes().iter().copied() {
            let roots: Option<Vec<(i64, u64)>> = needed
                .iter()
                .map(|n| Some((*n, square_root(n.rem_euclid(prime as i64) as u64, prime)?)))
                .collect();
            if let Some(roots) = roots {
                return Some(Self { prime, roots, seed: 0 });
            }
        }
        None
    }

    fn integer(&self, n: &BigInt) -> u64 {
        let prime = BigInt::from(self.prime);
        (((n % &prime) + &prime) % &prime).to_u64().unwrap_or_default()
    }

    fn number(&self, value: &Fraction) -> Option<u64> {
        if let Fraction::Small { above, below } = value {
            let prime = self.prime as i64;
            let above = above.rem_euclid(prime) as u64;
            return match below {
                1 => Some(above),
                below => self.quotient(above, below.rem_euclid(prime) as u64),
            };
        }
        self.quotient(self.integer(&value.numerator()), self.integer(&value.denominator()))
    }

    fn quotient(&self, a: u64, b: u64) -> Option<u64> {
        (b != 0).then(|| times(a, power(b, self.prime - 2, self.prime), self.prime))
    }

    fn sqrt(&self, of: &Fraction) -> Option<u64> {
        if of.is_zero() {
            return Some(0);
        }
        let (odd, outside) = squarefree(&(of.numerator() * of.denominator()))?;
        let mut value = self.quotient(outside, self.integer(&of.denominator()))?;
        for n in odd {
            value = times(value, self.roots.iter().find(|(of, _)| *of == n)?.1, self.prime);
        }
        Some(value)
    }

    /// The value of an expression; `None` where it has none (a division by zero).
    pub(crate) fn value(&self, node: &Node) -> Option<u64> {
        let prime = self.prime;
        let negative = |value: u64| (prime - value) % prime;
        Some(match node {
            Node::Number { value, .. } => self.number(value)?,
            Node::Symbol(name) => hash(name, self.seed) % prime,
            Node::Pi => hash("the number pi", self.seed) % prime,
            Node::E => hash("the number e", self.seed) % prime,
            Node::I => self.roots.iter().find(|(of, _)| *of == -1)?.1,
            Node::Sum(parts) => {
                let mut sum = 0;
                for part in parts {
                    sum = (sum + self.value(part)?) % prime;
                }
                sum
            }
            Node::Product(parts) => {
                let mut product = 1;
                for part in parts {
                    product = times(product, self.value(part)?, prime);
                }
                product
            }
            Node::Quotient(a, b) => self.quotient(self.value(a)?, self.value(b)?)?,
            Node::Negative(of) => negative(self.value(of)?),
            Node::Percent(of) | Node::Quantity { value: of, .. } => self.value(of)?,
            Node::Root { index: 2, of } => self.sqrt(&rational(of)?)?,
            Node::Power(base, exponent) => {
                let exponent = rational(exponent)?;
                if !exponent.is_integer() {
                    let whole = exponent.numerator().to_i64()?;
                    let root = self.sqrt(&rational(base)?)?;
                    let raised = power(root, whole.unsigned_abs(), prime);
                    return if whole < 0 { self.quotient(1, raised) } else { Some(raised) };
                }
                let exponent = exponent.to_i64()?;
                let raised = power(self.value(base)?, exponent.unsigned_abs(), prime);
                if exponent < 0 { self.quotient(1, raised)? } else { raised }
            }
            other => self.number(&rational(other)?)?,
        })
    }
}
