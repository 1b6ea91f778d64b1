//! What estimators remember between steps, as plain data: it is part of the checkpoint, whichever
//! estimator has written it.

use super::EstimatorError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The state of an estimator with the estimator's `type`. Empty before the first step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EstimatorState {
    /// `None` before the first step, and where an earlier version has written it.
    estimator: Option<String>,
    state: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(rename = "type")]
    estimator: Option<String>,
    state: Value,
}

impl Serialize for EstimatorState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Stored { estimator: self.estimator.clone(), state: self.state.clone() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EstimatorState {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Map::deserialize(deserializer)?;
        if !value.contains_key("type") {
            // earlier versions had the state of all estimators in one object
            return Ok(Self { estimator: None, state: value.into() });
        }
        let Stored { estimator, state } =
            serde_json::from_value(value.into()).map_err(serde::de::Error::custom)?;
        Ok(Self { estimator, state })
    }
}

impl EstimatorState {
    /// Makes sure that it is the state of an estimator of that `type`.
    ///
    /// # Errors
    /// When it is another one's.
    pub(super) fn require_of(&mut self, estimator: &str) -> Result<(), EstimatorError> {
        match &self.estimator {
            Some(own) if own != estimator => Err(EstimatorError::State {
                estimator: estimator.into(),
                reason: format!("it was written by the estimator `{own}`"),
            }),
            Some(_) => Ok(()),
            None => {
                self.estimator = Some(estimator.into());
                Ok(())
            }
        }
    }

    /// What it says, as an estimator has it.
    ///
    /// # Errors
    /// When it says something else.
    pub fn read<S: Default + Serialize + DeserializeOwned>(&self) -> Result<S, EstimatorError> {
        let failed = |error: serde_json::Error| EstimatorError::State {
            estimator: self.estimator.clone().unwrap_or_default(),
            reason: format!("it cannot be read: {error}"),
        };
        let state = match &self.state {
            Value::Null => return Ok(S::default()),
            Value::Object(stored) if is_of_all(stored) => {
                // of the object that all shared an estimator takes what is its own
                let Value::Object(own) = serde_json::to_value(S::default()).map_err(failed)? else {
                    return Ok(S::default());
                };
                let kept = stored.iter().filter(|(key, _)| own.contains_key(*key));
                Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            state => state.clone(),
        };
        serde_json::from_value(state).map_err(failed)
    }

    /// Does something with it as an estimator has it.
    ///
    /// # Errors
    /// When it is not what the estimator writes, before or after.
    pub(super) fn with<S: Default + Serialize + DeserializeOwned, R>(
        &mut self,
        work: impl FnOnce(&mut S) -> R,
    ) -> Result<R, EstimatorError> {
        let mut state = self.read()?;
        let result = work(&mut state);
        let unwritable = |reason: String| EstimatorError::State {
            estimator: self.estimator.clone().unwrap_or_default(),
            reason,
        };
        let json = |state: &S| {
            serde_json::to_value(state)
                .map_err(|error| unwritable(format!("it cannot be written as JSON: {error}")))
        };
        let written = json(&state)?;
        // better now than when a run is to go on from it
        let is_read_back = serde_json::from_value(written.clone())
            .is_ok_and(|again: S| json(&again).is_ok_and(|again| again == written));
        if !is_read_back {
            return Err(unwritable(
                "as JSON it is not read back as it was\nhint: JSON has no NaN and no infinity"
                    .into(),
            ));
        }
        self.state = written;
        Ok(result)
    }
}

/// Whether an object is the one that all estimators of earlier versions shared.
fn is_of_all(stored: &Map<String, Value>) -> bool {
    const KEYS: [&str; 7] = [
        "archive",
        "prompt_archives",
        "average_gain",
        "plateau_level",
        "plateau_steps",
        "switched",
        "validation_gain",
    ];
    stored.len() == KEYS.len() && KEYS.iter().all(|key| stored.contains_key(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimators::hv_weighting::ValidationState;
    use crate::estimators::paretopo::ParetoPoState;

    /// As runs wrote it whose archives were f32, and estimators had one state for all.
    const EARLIER: &str = r#"{"archive":{"points":[[1.0,0.60653067],[0.3,1.0]]},
        "prompt_archives":{"p":{"points":[[0.1,0.2]]}},"average_gain":0.025,"plateau_level":0.0,
        "plateau_steps":0,"switched":false,"validation_gain":0.5}"#;

    #[test]
    fn the_state_of_earlier_runs_is_read_by_each_estimator() {
        let state: EstimatorState = serde_json::from_str(EARLIER).expect("a state");
        let own: ParetoPoState = state.read().expect("ParetoPO's part");
        assert_eq!(own.archive.points(), [[1.0, 0.606_530_67], [0.3, 1.0]]);
        // exp(-0.5) = 0.6065306597 is the number that was rounded up to 0.60653067: it adds nothing
        assert_eq!(own.archive.gain(&[1.0, (-0.5f64).exp()], &[0.0, 0.0]), 0.0);
        assert_eq!((own.average_gain, own.prompt_archives.len()), (0.025, 1));
        let own: ValidationState = state.read().expect("hypervolume weighting's part");
        assert_eq!(own.validation_gain, Some(0.5));
        state.read::<()>().expect("no state");
    }

    #[test]
    fn what_is_written_reads_back_and_is_of_one_estimator() {
        let mut state = EstimatorState::default();
        assert_eq!(serde_json::to_string(&state).unwrap(), r#"{"type":null,"state":null}"#);
        state.require_of("paretopo").unwrap();
        state.with(|own: &mut ParetoPoState| own.average_gain = 0.1 + 0.2).unwrap();
        let text = serde_json::to_string(&state).unwrap();
        let mut again: EstimatorState = serde_json::from_str(&text).unwrap();
        assert_eq!(again, state);
        // to the bit
        assert_eq!(again.read::<ParetoPoState>().unwrap().average_gain, 0.1 + 0.2);
        let other = again.require_of("mine").unwrap_err().to_string();
        assert!(
            other.contains("`mine`") && other.contains("by the estimator `paretopo`"),
            "{other}"
        );
    }

    #[test]
    fn a_state_that_is_none_is_refused() {
        let state = r#"{"type":"paretopo","state":{"average_gain":"high"}}"#;
        let state: EstimatorState = serde_json::from_str(state).unwrap();
        let error = state.read::<ParetoPoState>().unwrap_err().to_string();
        assert!(error.starts_with("the state of the estimator `paretopo`: "), "{error}");
    }

    #[test]
    fn a_state_that_would_not_be_read_back_is_refused_when_it_arises() {
        let mut state = EstimatorState::default();
        state.require_of("paretopo").unwrap();
        state.with(|own: &mut ParetoPoState| own.average_gain = 0.25).unwrap();
        let before = state.clone();
        let error = state.with(|own: &mut ParetoPoState| own.average_gain = f64::NAN).unwrap_err();
        assert!(error.to_string().contains("`paretopo`"), "{error}");
        assert!(error.to_string().contains("hint: JSON has no NaN"), "{error}");
        assert_eq!(state, before);
    }
}
