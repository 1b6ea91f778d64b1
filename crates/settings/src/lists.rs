//! Lists of numbers that weigh things against each other.

use crate::{NonNegative, OutOfRange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One weight for each objective: none negative, and not all 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<NonNegative>", into = "Vec<NonNegative>")]
#[schemars(extend("minItems" = 1, "contains" = { "exclusiveMinimum": 0 }))]
pub struct Weights(Vec<NonNegative>);

/// The same, or an empty list: the first objective alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<NonNegative>", into = "Vec<NonNegative>")]
#[schemars(extend("anyOf" = [
    { "maxItems": 0 },
    { "contains": { "exclusiveMinimum": 0 } },
]))]
pub struct TaskWeights(Vec<NonNegative>);

/// Relative frequencies of `N` things: none negative, and not all 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<NonNegative>", into = "Vec<NonNegative>")]
#[schemars(extend("minItems" = N, "maxItems" = N, "contains" = { "exclusiveMinimum": 0 }))]
pub struct Frequencies<const N: usize>([NonNegative; N]);

fn outside(values: &[NonNegative], range: String) -> OutOfRange {
    let values: Vec<f64> = values.iter().map(|value| value.get()).collect();
    OutOfRange { value: format!("{values:?}"), range }
}

fn any_positive(values: &[NonNegative]) -> bool {
    values.iter().any(|value| value.get() > 0.0)
}

impl Weights {
    /// Weights that stand in the program itself.
    ///
    /// # Panics
    /// When they are no weights.
    pub fn literal<const N: usize>(values: [f64; N]) -> Self {
        Self::try_from(values.map(NonNegative::literal).to_vec()).expect("weights by their writer")
    }

    /// The weights.
    pub fn get(&self) -> Vec<f64> {
        self.0.iter().map(|weight| weight.get()).collect()
    }

    /// For how many objectives.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl TryFrom<Vec<NonNegative>> for Weights {
    type Error = OutOfRange;

    fn try_from(values: Vec<NonNegative>) -> Result<Self, OutOfRange> {
        if any_positive(&values) {
            return Ok(Self(values));
        }
        Err(outside(&values, "a list of one weight for each objective, one of them above 0".into()))
    }
}

impl From<Weights> for Vec<NonNegative> {
    fn from(weights: Weights) -> Self {
        weights.0
    }
}

impl TaskWeights {
    /// The weights; empty for the first objective alone.
    pub fn get(&self) -> Vec<f64> {
        self.0.iter().map(|weight| weight.get()).collect()
    }

    /// For how many objectives; 0 for the first alone.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether only the first objective counts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<NonNegative>> for TaskWeights {
    type Error = OutOfRange;

    fn try_from(values: Vec<NonNegative>) -> Result<Self, OutOfRange> {
        if values.is_empty() || any_positive(&values) {
            return Ok(Self(values));
        }
        let range = "empty, or a list of one weight for each objective, one of them above 0";
        Err(outside(&values, range.into()))
    }
}

impl From<TaskWeights> for Vec<NonNegative> {
    fn from(weights: TaskWeights) -> Self {
        weights.0
    }
}

impl<const N: usize> Frequencies<N> {
    /// Frequencies that stand in the program itself.
    ///
    /// # Panics
    /// When they are no frequencies.
    pub fn literal(values: [f64; N]) -> Self {
        Self::try_from(values.map(NonNegative::literal).to_vec())
            .expect("frequencies by their writer")
    }

    /// The frequencies.
    pub fn get(&self) -> [f64; N] {
        self.0.map(NonNegative::get)
    }
}

impl<const N: usize> TryFrom<Vec<NonNegative>> for Frequencies<N> {
    type Error = OutOfRange;

    fn try_from(values: Vec<NonNegative>) -> Result<Self, OutOfRange> {
        let range = || format!("a list of {N} frequencies, one of them above 0");
        match values.as_array::<N>().filter(|values| any_positive(&values[..])) {
            Some(values) => Ok(Self(*values)),
            None => Err(outside(&values, range())),
        }
    }
}

impl<const N: usize> From<Frequencies<N>> for Vec<NonNegative> {
    fn from(frequencies: Frequencies<N>) -> Self {
        frequencies.0.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_ask_for_something_that_weighs() {
        let weights = schemars::schema_for!(Weights).to_value();
        assert_eq!(weights["type"], "array");
        assert_eq!(weights["items"], json!({ "$ref": "#/$defs/NonNegative" }));
        assert_eq!(weights["minItems"], 1);
        assert_eq!(weights["contains"], json!({ "exclusiveMinimum": 0 }));
        let task = schemars::schema_for!(TaskWeights).to_value();
        let heavy = json!({ "contains": { "exclusiveMinimum": 0 } });
        assert_eq!(task["anyOf"], json!([{ "maxItems": 0 }, heavy]));
        let two = schemars::schema_for!(Frequencies<2>).to_value();
        assert_eq!((&two["minItems"], &two["maxItems"]), (&json!(2), &json!(2)));
    }

    #[test]
    fn lists_that_weigh_nothing_are_refused() {
        fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
            serde_json::from_str(text).map_err(|error| error.to_string())
        }
        assert_eq!(read::<Weights>("[0.6, 0]").unwrap().get(), [0.6, 0.0]);
        assert_eq!(read::<TaskWeights>("[]").unwrap().len(), 0);
        assert_eq!(read::<Frequencies<2>>("[0, 2]").unwrap().get(), [0.0, 2.0]);
        for bad in ["[]", "[0]", "[0.0, 0.0]", "[1, -1]", "[1, \"a\"]", "0.5"] {
            assert!(read::<Weights>(bad).is_err(), "{bad}");
            assert_eq!(read::<TaskWeights>(bad).is_ok(), bad == "[]", "{bad}");
        }
        assert!(read::<Weights>("[0, 0]").unwrap_err().contains("`[0.0, 0.0]` is not a list"));
        for bad in ["[]", "[1]", "[1, 1, 1]", "[0, 0]"] {
            let error = read::<Frequencies<2>>(bad).unwrap_err();
            assert!(error.contains("a list of 2 frequencies"), "{error}");
        }
        assert_eq!(serde_json::to_string(&Weights::literal([0.6, 0.4])).unwrap(), "[0.6,0.4]");
    }
}
