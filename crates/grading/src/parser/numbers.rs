//! From digits to values.

use crate::tokens::Digits;
use crate::tree::{Decimal, Node};
use num_bigint::BigInt;
use num_rational::BigRational;

/// Digits, perhaps with a decimal point and an exponent, as a number.
pub(super) fn number(digits: &Digits) -> Option<Node> {
    if digits.is_whole()
        && let Ok(value) = digits.text.parse::<u64>()
    {
        let value = BigRational::from_integer(value.into());
        return Some(Node::Number { value, decimal: None });
    }
    let (whole, fraction) = digits.text.split_once('.').unwrap_or((&digits.text, ""));
    let all = format!("{whole}{fraction}");
    let value = BigInt::parse_bytes(format!("0{all}").as_bytes(), 10)?;
    let places = fraction.len() as i64 - i64::from(digits.exponent.unwrap_or(0));
    let power = BigInt::from(10).pow(u32::try_from(places.unsigned_abs()).ok()?);
    let value = if places >= 0 {
        BigRational::new(value, power)
    } else {
        BigRational::from_integer(value * power)
    };
    let printed = all.trim_start_matches('0').len();
    let decimal = (!digits.is_whole()).then_some(Decimal { places, digits: printed });
    Some(Node::Number { value, decimal })
}

/// `0.1` with the period `6` is 0.1 + 0.0666... = 0.1 + 6 / 90. Without a period it is the number
/// itself.
pub(super) fn repeating(digits: &str, period: &str) -> Option<Node> {
    let number = number(&Digits { text: digits.to_owned(), exponent: None })?;
    if period.is_empty() {
        return Some(number);
    }
    let Node::Number { value, decimal } = number else { return None };
    let places = decimal.map_or(0, |decimal| decimal.places);
    let nines = BigInt::from(10).pow(u32::try_from(period.len()).ok()?) - 1;
    let scale = BigInt::from(10).pow(u32::try_from(places).ok()?) * nines;
    let value = value + BigRational::new(BigInt::parse_bytes(period.as_bytes(), 10)?, scale);
    Some(Node::Number { value, decimal: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_kept() {
        let digits = |text: &str, exponent| Digits { text: text.into(), exponent };
        let read = |text: &str, exponent| match number(&digits(text, exponent)) {
            Some(Node::Number { value, decimal: Some(decimal) }) => {
                (value.to_string(), decimal.places, decimal.digits)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(read("0.050", None), ("1/20".into(), 3, 2));
        // 1.5e-05 = 15 / 10^6
        assert_eq!(read("1.5", Some(-5)), ("3/200000".into(), 6, 2));
        assert_eq!(read("1.5", Some(3)), ("1500".into(), -2, 2));
        let sixth = repeating("0.1", "6");
        let value = BigRational::new(1.into(), 6.into());
        assert_eq!(sixth, Some(Node::Number { value, decimal: None }));
    }
}
