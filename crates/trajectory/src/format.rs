//! A trajectory as a line of a file.
//!
//! Lines have a `version`, `major.minor`. A minor version adds keys: this reader leaves them out,
//! and says so where a value is of a kind that it does not know. A major version changes what is
//! there, and is refused. In a line of this very version a key that is not known is an error, since
//! it is a mistake. Lines without a version are of the first format ([`crate::first_format`]).

use crate::Trajectory;
use crate::first_format::FirstTrajectory;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{Display, Formatter};

/// The version that this program writes.
/// 1.1 added the `price` of a call, 1.2 the `advantages` of an episode, 1.3 the `trainer_logprobs` of
/// a segment, an environment's `replies` and the author `environment` of what the policy reads of
/// them.
const CURRENT: Version = Version { major: 1, minor: 3 };

/// Stands in every line, and holds nothing: what is in memory is always of the version that this
/// program writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormatVersion;

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&CURRENT)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = Version::deserialize(deserializer)?;
        match version.major == CURRENT.major {
            true => Ok(Self),
            false => Err(D::Error::custom(format!("the version {version} is not {CURRENT}"))),
        }
    }
}

/// `1.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl Display for Version {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('.').and_then(|(major, minor)| {
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
        parsed.ok_or_else(|| D::Error::custom(format!("`{text}` is no version, as `{CURRENT}` is")))
    }
}

/// Why a line is not read as a trajectory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// It is no JSON, or a key is missing or has a value of another kind.
    #[error("{0}")]
    Malformed(serde_json::Error),
    /// A key that this version does not have.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// Its parts do not fit together.
    #[error("{0}")]
    Misfit(String),
    /// A later version of this program wrote something that this one cannot read.
    #[error(
        "it is of the later version {version} of the format, of which this program reads what is \
         as in {CURRENT}: {reason}\nhint: read it with the version of paretopo that wrote it"
    )]
    Later {
        /// The line's version.
        version: String,
        /// What cannot be read.
        reason: String,
    },
}

impl Trajectory {
    /// The trajectory as a line, with its line break.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("plain data serialises");
        line.push(b'\n');
        line
    }

    /// Reads a line, with or without its line break.
    ///
    /// ```
    /// use paretopo_trajectory::{FormatError, Trajectory};
    ///
    /// fn main() -> Result<(), FormatError> {
    ///     let line = r#"{"version":"1.0","id":"train-0-0","task_id":"sum-12","sample":0,
    ///         "success":true,"objectives":{"r_task":1.0},"segments":[],"calls":[],
    ///         "finish":{"reason":"stop"},"response":"12","answer":"12","seconds":0.5}"#;
    ///     let episode = Trajectory::from_line(line.as_bytes())?;
    ///     assert_eq!(episode.success, Some(true));
    ///     assert_eq!(episode.objectives.get("r_task"), Some(1.0));
    ///
    ///     let mistaken = line.replace("seconds", "minutes");
    ///     assert!(Trajectory::from_line(mistaken.as_bytes()).is_err());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When it is none, or of a version that cannot be understood.
    pub fn from_line(line: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Head {
            version: Option<Version>,
        }
        let head: Head = serde_json::from_slice(line).map_err(FormatError::Malformed)?;
        let Some(version) = head.version else {
            let first: FirstTrajectory = without_unknown_keys(line)?;
            return checked(first.into());
        };
        if version <= CURRENT {
            return checked(without_unknown_keys(line)?);
        }
        let read = match version.major == CURRENT.major {
            true => serde_json::from_slice(line).map_err(FormatError::Malformed).and_then(checked),
            false => Err(FormatError::Misfit("its parts have another meaning".into())),
        };
        read.map_err(|error| FormatError::Later {
            version: version.to_string(),
            reason: error.to_string(),
        })
    }
}

/// # Errors
/// When the line does not hold that type, or more than it.
fn without_unknown_keys<T: DeserializeOwned>(line: &[u8]) -> Result<T, FormatError> {
    let mut unknown = None;
    let mut json = serde_json::Deserializer::from_slice(line);
    let value = serde_ignored::deserialize(&mut json, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    });
    let value = value.map_err(FormatError::Malformed)?;
    json.end().map_err(FormatError::Malformed)?;
    unknown.map_or(Ok(value), |path| Err(FormatError::UnknownKey(path)))
}

/// # Errors
/// When the lists of a segment do not belong to its ids, advantages not to the turns, or a call or a
/// reply to no segment of the model.
fn checked(trajectory: Trajectory) -> Result<Trajectory, FormatError> {
    for (index, segment) in trajectory.segments.iter().enumerate() {
        if let Some(reason) = segment.misfit() {
            return Err(FormatError::Misfit(format!("`segments[{index}]` has {reason}")));
        }
    }
    let (weights, turns) = (trajectory.advantages.len(), trajectory.turns().len());
    if weights > 1 && weights != turns {
        return Err(FormatError::Misfit(format!("{weights} `advantages` for {turns} turns")));
    }
    for (index, call) in trajectory.calls.iter().enumerate() {
        let Some(asked) = call.segment else { continue };
        if trajectory.segments.get(asked).is_none_or(|segment| segment.weight_version.is_none()) {
            return Err(FormatError::Misfit(format!(
                "`calls[{index}]` is asked for in segment {asked}, which is none of the model's"
            )));
        }
    }
    for (index, reply) in trajectory.replies.iter().enumerate() {
        let Some(answered) = reply.segment else { continue };
        let segment = trajectory.segments.get(answered);
        if segment.is_none_or(|segment| segment.weight_version.is_none()) {
            return Err(FormatError::Misfit(format!(
                "`replies[{index}]` answers segment {answered}, which is none of the model's"
            )));
        }
    }
    Ok(trajectory)
}
