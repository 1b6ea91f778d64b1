//! Numbers in JSON, which has none for infinity and for what is no number: those are written as
//! texts, so that the trajectory that shows what went wrong can be read again.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Formatter;
use std::marker::PhantomData;

/// The texts of what is not finite.
const TEXTS: [(&str, f64); 3] =
    [("nan", f64::NAN), ("inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY)];

/// A float that is written as a number where JSON has one, or else as `"nan"`, `"inf"`, `"-inf"`.
pub(crate) struct Number<F>(pub(crate) F);

/// Both widths; an `f32` is written with the digits that an `f32` needs.
pub(crate) trait Float: Copy + Into<f64> + Serialize {
    fn narrowed(value: f64) -> Self;
}

impl Float for f64 {
    fn narrowed(value: f64) -> Self {
        value
    }
}

impl Float for f32 {
    fn narrowed(value: f64) -> Self {
        value as Self
    }
}

impl<F: Float> Serialize for Number<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: f64 = self.0.into();
        if value.is_finite() {
            return self.0.serialize(serializer);
        }
        let is_this = |(_, other): &&(&str, f64)| value == *other || value.is_nan();
        serializer.serialize_str(TEXTS.iter().find(is_this).map_or("nan", |(text, _)| text))
    }
}

impl<'de, F: Float> Deserialize<'de> for Number<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText<F>(PhantomData<F>);
        impl<F: Float> Visitor<'_> for NumberOrText<F> {
            type Value = Number<F>;

            fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a number, \"nan\", \"inf\" or \"-inf\"")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Number(F::narrowed(value)))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                self.visit_f64(value as f64)
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                self.visit_f64(value as f64)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let found = TEXTS.iter().find(|(own, _)| *own == text);
                let value = found
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))?;
                self.visit_f64(value.1)
            }
        }
        deserializer.deserialize_any(NumberOrText(PhantomData))
    }
}

/// `#[serde(with = "numbers::list")]` for a list of `f32`.
pub(crate) mod list {
    use super::{Deserialize, Deserializer, Number, Serializer};

    pub(crate) fn serialize<S: Serializer>(values: &[f32], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| Number(*value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
        let numbers = Vec::<Number<f32>>::deserialize(from)?;
        Ok(numbers.into_iter().map(|Number(value)| value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_has_no_number_for_is_a_text() {
        let written = |value: f64| serde_json::to_string(&Number(value)).unwrap();
        let all = [0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(written);
        assert_eq!(all, ["0.1", "\"nan\"", "\"inf\"", "\"-inf\""]);
        for text in all {
            let Number(read) = serde_json::from_str::<Number<f64>>(&text).unwrap();
            assert_eq!(written(read), text);
        }
        // the shortest digits that are this f32, not those of the same f64
        assert_eq!(serde_json::to_string(&Number(0.1f32)).unwrap(), "0.1");
        assert_eq!(serde_json::from_str::<Number<f32>>("3").unwrap().0, 3.0);
        let refused = serde_json::from_str::<Number<f32>>("\"NaN\"").err().unwrap().to_string();
        assert!(refused.contains("expected a number, \"nan\", \"inf\" or \"-inf\""), "{refused}");
    }
}
