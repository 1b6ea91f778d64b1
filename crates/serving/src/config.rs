//! How inference servers are reached.

use paretopo_retrieval::{BreakerConfig, check_reachable, is_encrypted};
use paretopo_settings::{Pause, Positive, Seconds, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Inference servers that hold the policy, and how they are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Their addresses, e.g. `http://127.0.0.1:8000`. Each row goes to the least loaded one.
    pub urls: Vec<String>,
    /// The name by which they serve the policy; the first that each lists when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The environment's variable that holds the key they were started with (`--api-key`), e.g.
    /// `VLLM_API_KEY`. It is sent as a bearer token, to each of them, and written nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_variable: Option<String>,
    /// A file of certificates (PEM): the authorities that are believed about `https` servers, and no
    /// others. Without it those that this machine trusts are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A folder that they read under the same path: weights are handed over in it. The run's own
    /// folder when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Rows that a server draws for at the same time.
    #[serde(default = "defaults::concurrency", deserialize_with = "within::<1, 4096, _, _>")]
    #[schemars(schema_with = "whole::<1, 4096>")]
    pub concurrency: usize,
    /// Seconds until a connection stands.
    #[serde(default = "defaults::connect_seconds")]
    pub connect_seconds: Seconds,
    /// Seconds until a row's first token.
    #[serde(default = "defaults::first_token_seconds")]
    pub first_token_seconds: Seconds,
    /// Seconds between two tokens of a row.
    #[serde(default = "defaults::token_seconds")]
    pub token_seconds: Seconds,
    /// Seconds for all tokens of a turn.
    #[serde(default = "defaults::request_seconds")]
    pub request_seconds: Seconds,
    /// Seconds for each step of an update of the weights, such as loading them.
    #[serde(default = "defaults::update_seconds")]
    pub update_seconds: Seconds,
    /// Failures of a row in a row, without a token between, that are tried again.
    #[serde(default = "defaults::retries", deserialize_with = "within::<0, 1000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1000>")]
    pub retries: u32,
    /// Seconds before a row is tried again; they double with each failure, up to 30.
    #[serde(default = "defaults::backoff_seconds")]
    pub backoff_seconds: Pause,
    /// When a server is left alone for a while.
    #[serde(default)]
    pub breaker: BreakerConfig,
    /// By how much a server's log-probabilities of a fixed prompt may differ from the trainer's, in
    /// nats on average. Beyond it, the server is taken to have other weights, and the run stops.
    #[serde(default = "defaults::tolerance")]
    pub tolerance: Positive,
}

mod defaults {
    use paretopo_settings::{Pause, Positive, Seconds};

    pub(super) fn concurrency() -> usize {
        64
    }
    pub(super) fn connect_seconds() -> Seconds {
        const { Seconds::literal(5.0) }
    }
    pub(super) fn first_token_seconds() -> Seconds {
        const { Seconds::literal(120.0) }
    }
    pub(super) fn token_seconds() -> Seconds {
        const { Seconds::literal(60.0) }
    }
    pub(super) fn request_seconds() -> Seconds {
        const { Seconds::literal(1800.0) }
    }
    pub(super) fn update_seconds() -> Seconds {
        const { Seconds::literal(600.0) }
    }
    pub(super) fn retries() -> u32 {
        10
    }
    pub(super) fn backoff_seconds() -> Pause {
        const { Pause::literal(0.5) }
    }
    pub(super) fn tolerance() -> Positive {
        const { Positive::literal(0.05) }
    }
}

impl ServerConfig {
    /// Whether this build can ask these servers.
    ///
    /// # Errors
    /// When none is named, one is named twice, or an address is none that can be asked.
    pub fn check(&self) -> Result<(), String> {
        if self.urls.is_empty() {
            return Err("`generator.urls` names no server".into());
        }
        if self.ca_file.is_some() && !self.urls.iter().any(|url| is_encrypted(url)) {
            return Err("`generator.ca_file`: no server is asked by `https`, so none has a \
                        certificate to look at"
                .into());
        }
        for (place, url) in self.urls.iter().enumerate() {
            let is_address = ["http://", "https://"].iter().any(|scheme| {
                url.strip_prefix(scheme).is_some_and(|rest| !rest.trim_matches('/').is_empty())
            });
            if !is_address || url.contains(char::is_whitespace) {
                return Err(format!(
                    "`generator.urls`: `{url}` is no address of a server\nhint: such as \
                     `http://127.0.0.1:8000`"
                ));
            }
            let trimmed = |url: &str| url.trim_end_matches('/').to_owned();
            if self.urls[..place].iter().any(|other| trimmed(other) == trimmed(url)) {
                return Err(format!("`generator.urls` names `{url}` twice"));
            }
            check_reachable(url).map_err(|error| format!("`generator.urls`: {error}"))?;
        }
        Ok(())
    }
}
