//! Real numbers, a type for each meaning.
//!
//! Bounds are wide: what they keep out is what has no meaning (a negative time), breaks the
//! arithmetic (a temperature of 1e-40) or asks for the impossible (a million years).

use crate::{OutOfRange, Range};
use schemars::{JsonSchema, Schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A type that holds the numbers of a range.
macro_rules! real {
    ($(#[$doc:meta])* $name:ident, $range:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, JsonSchema)]
        #[schemars(transform = Self::put_range_into)]
        pub struct $name(f64);

        impl $name {
            /// What it may be.
            pub const RANGE: Range = $range;

            /// A number that stands in the program itself; in a `const`, a bad one does not
            /// compile.
            ///
            /// # Panics
            /// When it is outside the range.
            pub const fn literal(value: f64) -> Self {
                assert!(Self::RANGE.contains(value), "a literal outside its type's range");
                Self(value)
            }

            /// The number.
            pub const fn get(self) -> f64 {
                self.0
            }

            /// The number, for arithmetic in f32.
            pub const fn single(self) -> f32 {
                self.0 as f32
            }

            fn put_range_into(schema: &mut Schema) {
                Self::RANGE.put_into(schema);
            }
        }

        impl TryFrom<f64> for $name {
            type Error = OutOfRange;

            fn try_from(value: f64) -> Result<Self, OutOfRange> {
                // -0.0 is 0, also in what is printed
                Self::RANGE.check(value).map(|value| Self(value + 0.0))
            }
        }

        impl FromStr for $name {
            type Err = OutOfRange;

            fn from_str(text: &str) -> Result<Self, OutOfRange> {
                let value = text.trim().parse::<f64>().map_err(|_| OutOfRange {
                    value: text.to_owned(),
                    range: Self::RANGE.to_string(),
                })?;
                Self::try_from(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_f64(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_f64(InRange(Self::RANGE)).map(Self)
            }
        }
    };
}

/// Reads a number of a range.
struct InRange(Range);

impl Visitor<'_> for InRange {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        self.0.check(value).map(|value| value + 0.0).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        self.whole(value as f64, value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        self.whole(value as f64, value)
    }
}

impl InRange {
    /// A whole number is shown as it was written.
    fn whole<E: Error>(self, value: f64, written: impl fmt::Display) -> Result<f64, E> {
        self.0
            .check(value)
            .map_err(|error| E::custom(OutOfRange { value: written.to_string(), ..error }))
    }
}

real!(
    /// A time that something may take, in seconds: from a millisecond to a year.
    Seconds, Range::closed(0.001, 31_536_000.0)
);
real!(
    /// A time that is waited, in seconds: from nothing to a day.
    Pause, Range::closed(0.0, 86_400.0)
);
real!(
    /// A step of AdamW; at 0 nothing is learnt.
    LearningRate, Range::closed(1e-12, 1.0).or_zero()
);
real!(
    /// Share of the past in a running average.
    DecayRate, Range::closed(0.0, 1.0).without_high()
);
real!(
    /// Chance that a feature is dropped.
    Dropout, Range::closed(0.0, 1.0).without_high()
);
real!(
    /// What is added to a denominator; a smaller one would be 0 in f32.
    Epsilon, Range::closed(1e-30, 1.0)
);
real!(
    /// Share of a weight that an update at learning rate 1 takes away.
    WeightDecay, Range::closed(0.0, 1.0)
);
real!(
    /// A share.
    Share, Range::closed(0.0, 1.0)
);
real!(
    /// What logits are divided by; 0 is greedy. Below the lowest the quotients overflow f32.
    Temperature, Range::closed(1e-4, 100.0).or_zero()
);
real!(
    /// Deviation of a logarithm; at 3 one draw in forty is above 350 times the median.
    LogDeviation, Range::closed(0.0, 3.0)
);
real!(
    /// The probability that the likeliest tokens must have together.
    TopP, Range::closed(0.0, 1.0).without_low()
);
real!(
    /// What positive logits of tokens that were there before are divided by; 1 changes nothing.
    RepetitionPenalty, Range::closed(0.01, 100.0)
);
real!(
    /// How far below 1 a ratio may be before it is clipped; 1 is no bound.
    ClipLow, Range::closed(0.0, 1.0)
);
real!(
    /// How far above 1 a ratio may be before it is clipped.
    ClipHigh, Range::closed(0.0, 1e3)
);
real!(
    /// A logarithm of a ratio, without its sign.
    LogRatio, Range::closed(1e-6, 1e3)
);
real!(
    /// A number of tokens that need not be whole.
    TokenCount, Range::closed(1.0, 1e9)
);
real!(
    /// A factor of a term that may be wanted with either sign.
    Coefficient, Range::closed(-1e6, 1e6)
);
real!(
    /// A coordinate.
    Finite, Range::closed(-1e6, 1e6)
);
real!(
    /// A number above 0; far from what f32 cannot hold.
    Positive, Range::closed(1e-6, 1e6)
);
real!(
    /// 0 or a number above it; far from what f32 cannot hold.
    NonNegative, Range::closed(1e-12, 1e6).or_zero()
);

impl Seconds {
    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        duration(self.0)
    }

    /// The shorter of this and what is left; never shorter than the shortest time there is.
    pub fn at_most(self, left: Duration) -> Self {
        Self(self.0.min(left.as_secs_f64()).max(Self::RANGE.low))
    }
}

impl Pause {
    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        duration(self.0)
    }
}

/// `seconds` are in the range of one of the types above.
#[expect(clippy::disallowed_methods, reason = "the one place; the number is in a type's range")]
fn duration(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use schemars::schema_for;
    use serde_json::json;

    #[test]
    fn numbers_are_read_from_files_and_arguments_and_written_as_they_were() {
        let read = |text: &str| serde_json::from_str::<Share>(text).map_err(|e| e.to_string());
        assert_eq!(read("0.25").unwrap(), Share::literal(0.25));
        assert_eq!(read("1").unwrap().get(), 1.0);
        assert!(read("-1").unwrap_err().starts_with("`-1` is not a number from 0 to 1"));
        assert!(read("\"a\"").unwrap_err().contains("\"a\", expected a number from 0 to 1"));
        assert_eq!(serde_json::to_string(&Share::literal(0.6)).unwrap(), "0.6");
        assert_eq!("0.5".parse::<Share>().unwrap().get(), 0.5);
        for bad in ["2", "nan", "inf", "-inf", "", "x"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
        assert!("-0".parse::<Share>().unwrap().get().is_sign_positive());
    }

    #[test]
    fn the_ranges_hold_what_they_say() {
        assert!(LearningRate::try_from(0.0).is_ok() && LearningRate::try_from(-1e-9).is_err());
        assert!(DecayRate::try_from(0.999_999).is_ok() && DecayRate::try_from(1.0).is_err());
        // rounds to 1
        assert!("0.99999999999999999".parse::<DecayRate>().is_err());
        assert!(TopP::try_from(1.0).is_ok() && TopP::try_from(0.0).is_err());
        assert!(Temperature::try_from(0.0).is_ok() && Temperature::try_from(1e-40).is_err());
        assert!(Epsilon::try_from(1e-8).is_ok() && Epsilon::try_from(f64::MIN_POSITIVE).is_err());
        assert!(Seconds::try_from(0.0).is_err() && Pause::try_from(0.0).is_ok());
        assert_eq!(Seconds::literal(1.5).duration(), Duration::from_millis(1500));
    }

    #[test]
    fn schemas_have_the_bounds_and_what_the_type_means() {
        fn schema<T: JsonSchema>() -> serde_json::Value {
            let mut schema = schema_for!(T);
            schema.remove("$schema");
            schema.to_value()
        }
        let closed = json!({
            "title": "Share", "description": "A share.", "type": "number",
            "minimum": 0, "maximum": 1,
        });
        assert_eq!(schema::<Share>(), closed);
        let high_open = json!({
            "title": "DecayRate", "description": "Share of the past in a running average.",
            "type": "number", "minimum": 0, "exclusiveMaximum": 1,
        });
        assert_eq!(schema::<DecayRate>(), high_open);
        let low_open = json!({
            "title": "TopP", "type": "number", "exclusiveMinimum": 0, "maximum": 1,
            "description": "The probability that the likeliest tokens must have together.",
        });
        assert_eq!(schema::<TopP>(), low_open);
        let or_zero = json!({
            "title": "LearningRate", "description": "A step of AdamW; at 0 nothing is learnt.",
            "type": "number", "anyOf": [{ "const": 0 }, { "minimum": 1e-12, "maximum": 1 }],
        });
        assert_eq!(schema::<LearningRate>(), or_zero);
    }

    #[test]
    fn a_time_is_never_shorter_than_the_shortest() {
        let two = Seconds::literal(2.0);
        assert_eq!(two.at_most(Duration::from_secs(5)), two);
        assert_eq!(two.at_most(Duration::from_millis(500)), Seconds::literal(0.5));
        assert_eq!(two.at_most(Duration::ZERO), Seconds::literal(0.001));
    }

    proptest! {
        #[test]
        fn no_number_makes_a_time_that_panics(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if let Ok(seconds) = Seconds::try_from(value) {
                let _ = std::time::Instant::now() + seconds.duration();
            }
            if let Ok(pause) = Pause::try_from(value) {
                let _ = std::time::Instant::now() + pause.duration();
            }
        }
    }
}
