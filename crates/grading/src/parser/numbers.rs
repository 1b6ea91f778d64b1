//! From digits to values.

use crate::fraction::Fraction;
use crate::tokens::Digits;
use crate::tree::{Decimal, Node};
use num_bigint::BigInt;

/// Digits of whole numbers, and powers of ten, that fit into a machine word.
const WORD: u32 = 18;

/// Digits, perhaps with a decimal point and an exponent, as a number.
pub(super) fn number(digits: &Digits) -> Option<Node> {
    if digits.is_whole()
        && let Ok(value) = digits.text.parse::<i64>()
    {
        return Some(Node::Number { value: value.into(), decimal: None });
    }
    let (whole, fraction) = digits.text.split_once('.').unwrap_or((&digits.text, ""));
    let places = i32::try_from(fraction.len()).ok()? - digits.exponent.unwrap_or(0);
    let all = whole.bytes().chain(fraction.bytes());
    let printed = u32::try_from(all.clone().skip_while(|byte| *byte == b'0').count()).ok()?;
    let size = places.unsigned_abs();
    let value = if printed <= WORD && size <= WORD {
        let value = all.fold(0, |value, byte| 10 * value + i64::from(byte - b'0'));
        let power = Fraction::from(10i64.pow(size));
        let value = Fraction::from(value);
        if places >= 0 { &value / &power } else { &value * &power }
    } else {
        let value = BigInt::parse_bytes(format!("0{whole}{fraction}").as_bytes(), 10)?;
        let power = BigInt::from(10).pow(size);
        if places >= 0 { Fraction::new(value, power) } else { Fraction::from(value * power) }
    };
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
    let value = &value + &Fraction::new(BigInt::parse_bytes(period.as_bytes(), 10)?, scale);
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
        let value = Fraction::new(1.into(), 6.into());
        assert_eq!(sixth, Some(Node::Number { value, decimal: None }));
    }
}
