//! The value of an expression as a complex number, at points that stand for the variables.

use crate::exact::rational;
use crate::field::hash;
use crate::fraction::Fraction;
use crate::tree::Node;
use std::ops::{Add, Div, Mul, Sub};

/// A complex number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Complex {
    pub(crate) re: f64,
    pub(crate) im: f64,
}

impl Complex {
    const fn real(re: f64) -> Self {
        Self { re, im: 0.0 }
    }

    pub(crate) fn abs(self) -> f64 {
        self.re.hypot(self.im)
    }

    pub(crate) fn is_finite(self) -> bool {
        self.re.is_finite() && self.im.is_finite()
    }

    fn exp(self) -> Self {
        let size = self.re.exp();
        Self { re: size * self.im.cos(), im: size * self.im.sin() }
    }

    fn ln(self) -> Self {
        Self { re: self.abs().ln(), im: self.im.atan2(self.re) }
    }

    fn pow(self, exponent: Self) -> Self {
        if self.abs() == 0.0 {
            return if exponent.re > 0.0 { self } else { Self::real(f64::NAN) };
        }
        if self.im == 0.0 && exponent.im == 0.0 && (self.re > 0.0 || exponent.re.fract() == 0.0) {
            return Self::real(self.re.powf(exponent.re));
        }
        (self.ln() * exponent).exp()
    }
}

impl Add for Complex {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { re: self.re + other.re, im: self.im + other.im }
    }
}

impl Sub for Complex {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { re: self.re - other.re, im: self.im - other.im }
    }
}

impl Mul for Complex {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }
}

impl Div for Complex {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let size = other.re * other.re + other.im * other.im;
        Self {
            re: (self.re * other.re + self.im * other.im) / size,
            im: (self.im * other.re - self.re * other.im) / size,
        }
    }
}

/// Added to a seed for points at which variables may be negative.
pub(crate) const SIGNED: u64 = 1 << 32;

/// The value at a point that `seed` decides; variables are reals between 0.5 and 2, and with
/// [`SIGNED`] some of them negative.
pub(crate) fn numeric(node: &Node, seed: u64) -> Option<Complex> {
    let value_of = |node: &Node| numeric(node, seed);
    let value = match node {
        Node::Number { value, .. } => Complex::real(value.to_f64()?),
        Node::Symbol(name) => {
            let drawn = hash(name, seed);
            let sign = if seed & SIGNED != 0 && drawn & 1 == 1 { -1.0 } else { 1.0 };
            Complex::real(sign * (0.5 + 1.5 * (drawn >> 11) as f64 / (1u64 << 53) as f64))
        }
        Node::Pi => Complex::real(std::f64::consts::PI),
        Node::E => Complex::real(std::f64::consts::E),
        Node::I => Complex { re: 0.0, im: 1.0 },
        Node::Sum(parts) => {
            parts.iter().try_fold(Complex::real(0.0), |sum, part| Some(sum + value_of(part)?))?
        }
        Node::Product(parts) => parts
            .iter()
            .try_fold(Complex::real(1.0), |product, part| Some(product * value_of(part)?))?,
        Node::Quotient(a, b) => value_of(a)? / value_of(b)?,
        Node::Negative(a) => Complex::real(0.0) - value_of(a)?,
        Node::Percent(a) | Node::Quantity { value: a, .. } => value_of(a)?,
        Node::Power(base, exponent) => {
            power(value_of(base)?, value_of(exponent)?, rational(exponent))?
        }
        Node::Root { index, of: inner } => {
            let inner = value_of(inner)?;
            // the real root of a negative number where there is one
            if index % 2 == 1 && inner.im == 0.0 && inner.re < 0.0 {
                Complex::real(-(-inner.re).powf(1.0 / f64::from(*index)))
            } else {
                inner.pow(Complex::real(1.0 / f64::from(*index)))
            }
        }
        Node::Absolute(a) => Complex::real(value_of(a)?.abs()),
        Node::Function(name, parts) => return function(node, name, parts, seed),
        Node::Factorial(of) => match rational(node) {
            Some(value) => Complex::real(value.to_f64()?),
            None => factorial(numeric(of, seed)?)?,
        },
        _ => return None,
    };
    value.is_finite().then_some(value)
}

fn power(base: Complex, exponent: Complex, exact: Option<Fraction>) -> Option<Complex> {
    let has_odd_root = |exact: &Fraction| !exact.is_integer() && exact.denominator().bit(0);
    match exact.filter(has_odd_root) {
        // the real root of a negative number where there is one
        Some(exact) if base.im == 0.0 && base.re < 0.0 => {
            let is_odd = exact.numerator().bit(0);
            let size = (-base.re).powf(exact.to_f64()?);
            Some(Complex::real(if is_odd { -size } else { size }))
        }
        _ => Some(base.pow(exponent)),
    }
}

fn function(node: &Node, name: &str, parts: &[Node], seed: u64) -> Option<Complex> {
    let x = numeric(parts.first()?, seed)?;
    // sin x = (e^{ix} - e^{-ix}) / 2i, cos x = (e^{ix} + e^{-ix}) / 2
    let sin_cos = || {
        let turned = Complex { re: 0.0, im: 1.0 } * x;
        let (plus, minus) = (turned.exp(), (Complex::real(0.0) - turned).exp());
        ((plus - minus) / Complex { re: 0.0, im: 2.0 }, (plus + minus) / Complex::real(2.0))
    };
    let all = || parts.iter().map(|part| numeric(part, seed)).collect::<Option<Vec<_>>>();
    let one = Complex::real(1.0);
    let only_real = |f: fn(f64) -> f64| (x.im == 0.0).then(|| Complex::real(f(x.re)));
    let value = match name {
        "sin" => sin_cos().0,
        "cos" => sin_cos().1,
        "tan" | "cot" => {
            let (sin, cos) = sin_cos();
            if name == "tan" { sin / cos } else { cos / sin }
        }
        "sec" => one / sin_cos().1,
        "csc" => one / sin_cos().0,
        "sinh" => only_real(f64::sinh)?,
        "cosh" => only_real(f64::cosh)?,
        "tanh" => only_real(f64::tanh)?,
        "arcsin" => only_real(f64::asin)?,
        "arccos" => only_real(f64::acos)?,
        "arctan" => only_real(f64::atan)?,
        "exp" => x.exp(),
        "ln" => x.ln(),
        "lg" => x.ln() / Complex::real(std::f64::consts::LN_10),
        // without a base the natural logarithm, as in analysis
        "log" => match parts.get(1) {
            Some(base) => x.ln() / numeric(base, seed)?.ln(),
            None => x.ln(),
        },
        "sgn" => only_real(f64::signum)?,
        // a whole number may come out a little below itself
        "floor" => only_real(|x| (x + 1e-12).floor())?,
        "ceil" => only_real(|x| (x - 1e-12).ceil())?,
        // of variables: any symmetric function will do to tell them apart
        "gcd" | "lcm" if rational(node).is_none() => {
            let frequency = if name == "gcd" { 1.3 } else { 1.7 };
            Complex::real(
                all()?.iter().map(|value| (frequency * value.re).cos()).sum::<f64>() + 9.0,
            )
        }
        "min" | "max" => {
            let values = all()?;
            let real = values.iter().all(|value| value.im == 0.0);
            let values = values.iter().map(|value| value.re);
            let chosen = if name == "min" {
                values.fold(f64::INFINITY, f64::min)
            } else {
                values.fold(f64::NEG_INFINITY, f64::max)
            };
            real.then(|| Complex::real(chosen))?
        }
        // n! / (k! (n - k)!) at any real n and k
        "binom" if rational(node).is_none() => {
            let k = numeric(parts.get(1)?, seed)?;
            let whole = rational(&parts[1]).and_then(|k| u32::try_from(k.to_i64()?).ok());
            if let Some(whole) = whole.filter(|k| *k <= 50) {
                // n (n - 1) ... / (1 2 ...)
                let factor =
                    |j: u32| (x - Complex::real(f64::from(j))) / Complex::real(f64::from(j + 1));
                return Some((0..whole).fold(one, |value, j| value * factor(j)));
            }
            factorial(x)? / (factorial(k)? * factorial(x - k)?)
        }
        _ => Complex::real(rational(node)?.to_f64()?),
    };
    value.is_finite().then_some(value)
}

/// Coefficients of Lanczos's approximation of the gamma function for g = 7 (Godfrey, 2001).
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// `x! = gamma(x + 1)` of a real number above -1.
fn factorial(x: Complex) -> Option<Complex> {
    if x.im != 0.0 || x.re <= -1.0 || x.re > 170.0 {
        return None;
    }
    let x = x.re;
    let sum = LANCZOS[1..]
        .iter()
        .enumerate()
        .fold(LANCZOS[0], |sum, (index, c)| sum + c / (x + index as f64 + 1.0));
    let t = x + 7.5;
    let value = (2.0 * std::f64::consts::PI).sqrt() * t.powf(x + 0.5) * (-t).exp() * sum;
    Some(Complex::real(value))
}
