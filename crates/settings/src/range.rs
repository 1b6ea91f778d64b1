//! The range of a real number, in words and as a check.

use schemars::{Schema, json_schema};
use serde_json::Value;
use std::fmt;

/// Which numbers a setting may be: from `low` to `high`, without a bound that is open, and besides
/// 0 where it has a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub(crate) zero: bool,
    pub(crate) low: f64,
    pub(crate) low_open: bool,
    pub(crate) high: f64,
    pub(crate) high_open: bool,
}

impl Range {
    /// From `low` to `high`, both among them.
    pub const fn closed(low: f64, high: f64) -> Self {
        Self { zero: false, low, low_open: false, high, high_open: false }
    }

    /// The same and 0.
    pub const fn or_zero(self) -> Self {
        Self { zero: true, ..self }
    }

    /// The same without its lowest number.
    pub const fn without_low(self) -> Self {
        Self { low_open: true, ..self }
    }

    /// The same without its highest number.
    pub const fn without_high(self) -> Self {
        Self { high_open: true, ..self }
    }

    /// Whether a number is in the range; what is no number or infinite never is.
    pub const fn contains(&self, value: f64) -> bool {
        let above = if self.low_open { value > self.low } else { value >= self.low };
        let below = if self.high_open { value < self.high } else { value <= self.high };
        (above && below) || (self.zero && value == 0.0)
    }

    /// Puts the range into the JSON Schema of a number.
    pub(crate) fn put_into(self, schema: &mut Schema) {
        let low = if self.low_open { "exclusiveMinimum" } else { "minimum" };
        let high = if self.high_open { "exclusiveMaximum" } else { "maximum" };
        let mut range = json_schema!({ low: written(self.low), high: written(self.high) });
        if self.zero {
            range = json_schema!({ "anyOf": [{ "const": 0 }, range] });
        }
        // of the type's representation, which is nobody's business
        schema.remove("format");
        schema.ensure_object().append(range.ensure_object());
    }

    /// The number itself, if it is in the range.
    pub(crate) fn check(self, value: f64) -> Result<f64, OutOfRange> {
        if self.contains(value) {
            return Ok(value);
        }
        // the shortest form that reads back: `1e300`, not three hundred zeros
        Err(OutOfRange { value: format!("{value:?}"), range: self.to_string() })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (shown(self.low), shown(self.high));
        let zero = if self.zero { "0 or " } else { "" };
        match (self.low_open, self.high_open) {
            (false, false) => write!(f, "{zero}a number from {low} to {high}"),
            (true, false) => write!(f, "{zero}a number above {low}, up to {high}"),
            (false, true) => write!(f, "{zero}a number from {low} and below {high}"),
            (true, true) => write!(f, "{zero}a number above {low} and below {high}"),
        }
    }
}

/// `1000000` and not `1000000.0`, `1e-12` and not `0.000000000001`.
fn shown(bound: f64) -> String {
    if bound.fract() == 0.0 { bound.to_string() } else { format!("{bound:?}") }
}

/// As [`shown`], in a JSON document.
fn written(bound: f64) -> Value {
    if bound.fract() == 0.0 { (bound as i64).into() } else { bound.into() }
}

/// A value that a setting cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {range}")]
pub struct OutOfRange {
    /// The value.
    pub value: String,
    /// What it should have been, in words.
    pub range: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_a_range_unless_they_are_open() {
        let unit = Range::closed(0.0, 1.0);
        assert!(unit.contains(0.0) && unit.contains(-0.0) && unit.contains(1.0));
        assert!(!unit.contains(-1e-9) && !unit.contains(1.0 + 1e-9));
        assert!(!unit.without_low().contains(0.0) && unit.without_low().contains(1.0));
        assert!(!unit.without_high().contains(1.0) && unit.without_high().contains(0.0));
        let tempered = Range::closed(0.5, 2.0).or_zero();
        assert!(tempered.contains(0.0) && !tempered.contains(0.1) && tempered.contains(0.5));
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!unit.contains(bad) && !tempered.contains(bad));
        }
    }

    #[test]
    fn ranges_are_said_in_words() {
        let error = |range: Range, value| range.check(value).unwrap_err().to_string();
        let unit = Range::closed(0.0, 1.0);
        assert_eq!(error(unit, -1.0), "`-1.0` is not a number from 0 to 1");
        assert_eq!(error(unit.without_low(), 0.0), "`0.0` is not a number above 0, up to 1");
        assert_eq!(error(unit.without_high(), 1.0), "`1.0` is not a number from 0 and below 1");
        let tempered = Range::closed(0.5, 2.0).or_zero();
        assert_eq!(error(tempered, f64::NAN), "`NaN` is not 0 or a number from 0.5 to 2");
        let small = Range::closed(1e-12, 1e6);
        assert_eq!(error(small, 0.0), "`0.0` is not a number from 1e-12 to 1000000");
        assert_eq!(error(unit, 1e300), "`1e300` is not a number from 0 to 1");
    }
}
