//! Which dashboards hear of a run, and how they are asked. Credentials are named by the variables
//! that hold them, and stand in no file.

use paretopo_settings::{Seconds, whole, within};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::{Display, Formatter};

/// Other people's dashboards that hear of a run while it trains. None of them can stop or slow it:
/// what cannot be told is dropped, counted, and said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardsConfig {
    /// A trackio server; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trackio: Option<TrackioConfig>,
    /// An MLflow server; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowConfig>,
    /// Steps that wait for a server at most; later ones are dropped.
    #[serde(deserialize_with = "within::<1, 100_000, _, _>")]
    #[schemars(schema_with = "whole::<1, 100_000>")]
    pub queue: usize,
    /// Seconds for a request.
    pub request_seconds: Seconds,
    /// Seconds that the end of a run waits until everything is told.
    pub flush_seconds: Seconds,
}

impl Default for DashboardsConfig {
    fn default() -> Self {
        Self {
            trackio: None,
            mlflow: None,
            queue: 1000,
            request_seconds: const { Seconds::literal(10.0) },
            flush_seconds: const { Seconds::literal(10.0) },
        }
    }
}

/// A trackio server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackioConfig {
    /// Its address, e.g. `http://127.0.0.1:7860`, without a token.
    pub url: Address,
    /// The project that the run belongs to.
    #[serde(default = "own_name")]
    pub project: String,
    /// The run's name there; that of its folder when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The variable that holds the server's write token, e.g. `TRACKIO_WRITE_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_token_variable: Option<String>,
    /// The variable that holds a token of the Hugging Face hub, e.g. `HF_TOKEN`, for a server on a
    /// Space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_token_variable: Option<String>,
    /// Trajectories that are told as traces of each step whose trajectories are saved
    /// (`train.save_trajectories_every`); 0 for none.
    #[serde(default = "usual_traces", deserialize_with = "within::<0, 64, _, _>")]
    #[schemars(schema_with = "whole::<0, 64>")]
    pub traces: usize,
}

/// An MLflow tracking server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MlflowConfig {
    /// Its address, e.g. `http://127.0.0.1:5000`.
    pub url: Address,
    /// The experiment that the run belongs to; it is made where there is none of the name.
    #[serde(default = "own_name")]
    pub experiment: String,
    /// The run's name there; that of its folder when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The variable that holds a bearer token, e.g. `MLFLOW_TRACKING_TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_variable: Option<String>,
    /// The variable that holds a user's name, e.g. `MLFLOW_TRACKING_USERNAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_variable: Option<String>,
    /// The variable that holds that user's password, e.g. `MLFLOW_TRACKING_PASSWORD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_variable: Option<String>,
}

fn own_name() -> String {
    "paretopo".into()
}

fn usual_traces() -> usize {
    4
}

/// The address of a server: `http` or `https`, a host, and perhaps a path, without anything secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

impl Address {
    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // the text is not told: it may hold what is not to be told
        let refused = |what: &str| {
            Err(format!(
                "the address of a server {what}\nhint: as `http://127.0.0.1:7860`; a credential \
                 belongs into a variable that the configuration names"
            ))
        };
        let lower = text.to_ascii_lowercase();
        let rest = match (lower.strip_prefix("http://"), lower.strip_prefix("https://")) {
            (Some(rest), _) | (_, Some(rest)) => rest,
            (None, None) => return refused("begins with `http://` or `https://`"),
        };
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return refused("has a host");
        }
        if text.contains(['?', '#', '@']) {
            return refused("has no user, query or fragment");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("has no spaces and no letters beyond ASCII");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

impl Display for Address {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_nothing_secret() {
        let read = |text: &str| Address::try_from(text.to_owned());
        assert_eq!(read("http://127.0.0.1:7860/").unwrap().as_str(), "http://127.0.0.1:7860");
        assert_eq!(read("HTTPS://a.hf.space/x").unwrap().as_str(), "HTTPS://a.hf.space/x");
        for (text, said) in [
            ("127.0.0.1:7860", "begins with `http://`"),
            ("ftp://a", "begins with `http://`"),
            ("http://", "has a host"),
            ("http://:80", "has a host"),
            ("http://a/?write_token=hidden", "no user, query or fragment"),
            ("http://user:hidden@a", "no user, query or fragment"),
            ("http://a b", "no spaces"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains(said) && refused.contains("\nhint: "), "{refused}");
            assert!(!refused.contains("hidden"), "{refused}");
        }
    }

    #[test]
    fn nothing_is_told_to_anybody_by_default() {
        let usual = DashboardsConfig::default();
        assert!(usual.trackio.is_none() && usual.mlflow.is_none());
        let json = r#"{"trackio":{"url":"http://a"},"mlflow":{"url":"http://b"}}"#;
        let read: DashboardsConfig = serde_json::from_str(json).unwrap();
        let trackio = read.trackio.unwrap();
        assert_eq!((trackio.project.as_str(), trackio.traces), ("paretopo", 4));
        assert_eq!(read.mlflow.unwrap().experiment, "paretopo");
        assert!(serde_json::from_str::<DashboardsConfig>(r#"{"trackio":{"token":"x"}}"#).is_err());
    }
}
