//! Values by the name of their objective, in the environment's order: what an episode achieved,
//! what it was asked to prefer, what a policy achieves on average.

use crate::numbers::Number;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Formatter;
use std::sync::Arc;

/// One value per objective, each with its name. In a file it is an object, whose order counts.
///
/// Names are shared, so that the trajectories of a run do not hold them once each.
///
/// ```
/// use paretopo_trajectory::ObjectiveValues;
///
/// let values: ObjectiveValues = [("r_task", 1.0), ("r_tool", 0.25)].into_iter().collect();
/// assert_eq!(values.get("r_tool"), Some(0.25));
/// assert_eq!(values.values(), [1.0, 0.25]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectiveValues {
    names: Arc<[String]>,
    values: Vec<f64>,
}

impl ObjectiveValues {
    /// The value of each name, in that order; a value without a name is called by its place.
    ///
    /// # Panics
    /// When there are fewer values than names: who scores has one for each objective.
    pub fn new(names: &Arc<[String]>, values: Vec<f64>) -> Self {
        assert!(values.len() >= names.len(), "{} values for {names:?}", values.len());
        if values.len() == names.len() {
            return Self { names: names.clone(), values };
        }
        let all = (0..values.len()).map(|k| names.get(k).cloned().unwrap_or_else(|| k.to_string()));
        Self { names: all.collect(), values }
    }

    /// Values whose names are not known: they are called `0`, `1`, ...
    pub fn unnamed(values: Vec<f64>) -> Self {
        Self::new(&Arc::from([]), values)
    }

    /// The names, in order.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    /// The plain vector, in the same order: what estimators and indicators compute with.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.names.iter().map(String::as_str).zip(self.values.iter().copied())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none, as before an episode is scored.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<N: Into<String>> FromIterator<(N, f64)> for ObjectiveValues {
    fn from_iter<I: IntoIterator<Item = (N, f64)>>(pairs: I) -> Self {
        let (names, values): (Vec<String>, _) =
            pairs.into_iter().map(|(name, value)| (name.into(), value)).unzip();
        Self { names: names.into(), values }
    }
}

impl Serialize for ObjectiveValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, value)| (name, Number(value))))
    }
}

impl<'de> Deserialize<'de> for ObjectiveValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = ObjectiveValues;

            fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of numbers by name")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let (mut names, mut values): (Vec<String>, Vec<f64>) = Default::default();
                while let Some((name, Number(value))) = map.next_entry::<String, Number<f64>>()? {
                    if names.contains(&name) {
                        return Err(M::Error::custom(format!("`{name}` stands there twice")));
                    }
                    names.push(name);
                    values.push(value);
                }
                Ok(ObjectiveValues { names: names.into(), values })
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_environment_stays_in_the_file() {
        let values: ObjectiveValues = [("r_tool", 0.25), ("r_task", 1.0)].into_iter().collect();
        let json = serde_json::to_string(&values).unwrap();
        assert_eq!(json, r#"{"r_tool":0.25,"r_task":1.0}"#);
        let read: ObjectiveValues = serde_json::from_str(&json).unwrap();
        assert_eq!((read.values(), read.get("r_task")), (&[0.25, 1.0][..], Some(1.0)));
        assert_eq!(read, values);
        let twice = serde_json::from_str::<ObjectiveValues>(r#"{"a":1,"a":2}"#).unwrap_err();
        assert!(twice.to_string().starts_with("`a` stands there twice"), "{twice}");
    }

    #[test]
    fn values_without_names_are_called_by_their_place() {
        let names: Arc<[String]> = Arc::from(["a".to_owned()]);
        assert_eq!(ObjectiveValues::new(&names, vec![0.5, 0.25]).get("1"), Some(0.25));
        let unnamed = ObjectiveValues::unnamed(vec![0.5, 0.25]);
        assert_eq!(unnamed.iter().collect::<Vec<_>>(), [("0", 0.5), ("1", 0.25)]);
    }
}
