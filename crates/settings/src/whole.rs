//! Whole numbers within bounds, which a field states beside its type.

use crate::OutOfRange;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// The largest seed: the largest whole number that TOML has.
pub const LARGEST_SEED: u64 = i64::MAX as u64;

/// Reads a whole number from `LOW` to `HIGH`:
/// `#[serde(deserialize_with = "within::<1, 1000, _, _>")]`.
///
/// # Errors
/// Says the value and the range.
pub fn within<'de, const LOW: u64, const HIGH: u64, T: TryFrom<u64>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Whole::<LOW, HIGH>::deserialize(deserializer)?.narrow()
}

/// Reads a list of whole numbers from `LOW` to `HIGH`, see [`within`].
///
/// # Errors
/// Says the value and the range.
pub fn all_within<'de, const LOW: u64, const HIGH: u64, T: TryFrom<u64>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let numbers = Vec::<Whole<LOW, HIGH>>::deserialize(deserializer)?;
    numbers.into_iter().map(Whole::narrow).collect()
}

/// Reads a whole number from `LOW` to `HIGH` that need not be there, see [`within`].
///
/// # Errors
/// Says the value and the range.
pub fn some_within<'de, const LOW: u64, const HIGH: u64, T: TryFrom<u64>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let number = Option::<Whole<LOW, HIGH>>::deserialize(deserializer)?;
    number.map(Whole::narrow).transpose()
}

/// The JSON Schema of a number that [`within`] reads, with the same bounds:
/// `#[schemars(schema_with = "whole::<1, 1000>")]`.
pub fn whole<const LOW: u64, const HIGH: u64>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": LOW, "maximum": HIGH })
}

/// The JSON Schema of a list that [`all_within`] reads, see [`whole`].
pub fn all_whole<const LOW: u64, const HIGH: u64>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": whole::<LOW, HIGH>(generator) })
}

/// The JSON Schema of a number that [`some_within`] reads, see [`whole`].
pub fn some_whole<const LOW: u64, const HIGH: u64>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["integer", "null"], "minimum": LOW, "maximum": HIGH })
}

/// A whole number from `LOW` to `HIGH`.
struct Whole<const LOW: u64, const HIGH: u64>(u64);

impl<const LOW: u64, const HIGH: u64> Whole<LOW, HIGH> {
    fn narrow<T: TryFrom<u64>, E: Error>(self) -> Result<T, E> {
        T::try_from(self.0).map_err(|_| Self::refuse(self.0))
    }

    fn refuse<E: Error>(value: impl fmt::Display) -> E {
        let range = format!("a whole number from {LOW} to {HIGH}");
        E::custom(OutOfRange { value: value.to_string(), range })
    }
}

impl<'de, const LOW: u64, const HIGH: u64> Deserialize<'de> for Whole<LOW, HIGH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(Within::<LOW, HIGH>).map(Self)
    }
}

/// Reads a number of a range.
struct Within<const LOW: u64, const HIGH: u64>;

impl<const LOW: u64, const HIGH: u64> Visitor<'_> for Within<LOW, HIGH> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {LOW} to {HIGH}")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        if (LOW..=HIGH).contains(&value) {
            return Ok(value);
        }
        Err(Whole::<LOW, HIGH>::refuse(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => Err(Whole::<LOW, HIGH>::refuse(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::{JsonSchema, schema_for};
    use serde_json::json;

    #[derive(Deserialize, JsonSchema)]
    struct Settings {
        #[serde(deserialize_with = "within::<1, 300, _, _>")]
        #[schemars(schema_with = "whole::<1, 300>")]
        count: usize,
        #[serde(default, deserialize_with = "within::<0, 300, _, _>")]
        #[schemars(schema_with = "whole::<0, 300>")]
        byte: u8,
        #[serde(default, deserialize_with = "all_within::<0, 9, _, _>")]
        #[schemars(schema_with = "all_whole::<0, 9>")]
        digits: Vec<u64>,
        #[serde(default, deserialize_with = "some_within::<1, 9, _, _>")]
        #[schemars(schema_with = "some_whole::<1, 9>")]
        digit: Option<u8>,
    }

    #[test]
    fn the_range_is_the_fields() {
        let read = |text: &str| toml::from_str::<Settings>(text);
        let settings = read("count = 300\nbyte = 7\ndigits = [0, 9]").unwrap();
        assert_eq!((settings.count, settings.byte, settings.digits), (300, 7, vec![0, 9]));
        let error = |text: &str| read(text).err().unwrap().message().to_owned();
        assert_eq!(error("count = 0"), "`0` is not a whole number from 1 to 300");
        assert_eq!(error("count = -1"), "`-1` is not a whole number from 1 to 300");
        assert!(error("count = 2.0").contains("`2.0`, expected a whole number from 1 to 300"));
        assert!(error("count = \"2\"").contains("expected a whole number from 1 to 300"));
        // in the range, but not in the type
        assert!(error("count = 1\nbyte = 299").contains("`299`"));
        assert!(error("count = 1\ndigits = [3, 10]").contains("`10`"));
        assert!(error("count = 1\ndigit = 0").contains("`0`"));
        assert_eq!(read("count = 1").unwrap().digit, None);
        assert_eq!(read("count = 1\ndigit = 9").unwrap().digit, Some(9));
    }

    #[test]
    fn the_schema_has_the_fields_range() {
        let schema = schema_for!(Settings).to_value();
        let digit = json!({ "type": "integer", "minimum": 0, "maximum": 9 });
        let expected = json!({
            "count": { "type": "integer", "minimum": 1, "maximum": 300 },
            "byte": { "type": "integer", "minimum": 0, "maximum": 300, "default": 0 },
            "digits": { "type": "array", "items": digit, "default": [] },
            "digit": { "type": ["integer", "null"], "minimum": 1, "maximum": 9, "default": null },
        });
        assert_eq!(schema["properties"], expected);
        assert_eq!(schema["required"], json!(["count"]));
    }
}
