//! A server of other people's: where it is, whom to believe about it, and what it is sent along with
//! each request. Secrets are named, never written down: the configuration is in the run's folder.

use paretopo_retrieval::{Trust, check_reachable, is_encrypted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Headers that say how a request is made, which is not for a configuration to say.
const OWN: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "te",
    "transfer-encoding",
    "upgrade",
];
/// How the names of further ones begin.
const OWN_FAMILIES: [&str; 2] = ["mcp-", "sec-websocket-"];

/// A server that is asked by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The address that requests are sent to, by `POST`.
    pub url: String,
    /// The variable of paretopo's environment whose value is sent as `Authorization: Bearer ...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_from: Option<String>,
    /// Further headers by their names: the variables of paretopo's environment that hold their
    /// values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers_from: BTreeMap<String, String>,
    /// A file of certificates (PEM): the authorities that are believed about an `https` server, and
    /// no others. Without it those that this machine trusts are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl ServerConfig {
    /// A server that is sent nothing along.
    pub fn new(url: impl Into<String>) -> Self {
        let url = url.into();
        Self { url, bearer_from: None, headers_from: BTreeMap::new(), ca_file: None }
    }

    /// `section` is what the table of these settings is called.
    ///
    /// # Errors
    /// When the address is none that this build can ask, or something else makes no sense.
    pub fn check(&self, section: &str) -> Result<(), String> {
        let scheme = self.url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err(format!(
                "`{section}.url`: `{}` begins with neither `http://` nor `https://`",
                self.url
            ));
        }
        check_reachable(&self.url).map_err(|error| format!("`{section}.url`: {error}"))?;
        self.check_additions(section)
    }

    /// The settings besides the address.
    ///
    /// # Errors
    /// Names the one that makes no sense.
    pub fn check_additions(&self, section: &str) -> Result<(), String> {
        if self.ca_file.is_some() && !is_encrypted(&self.url) {
            return Err(format!(
                "`{section}.ca_file`: `{}` has no certificate to look at, since it is not `https`",
                self.url
            ));
        }
        for name in self.headers_from.keys() {
            let lower = name.to_ascii_lowercase();
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(is_token) {
                return Err(format!("`{section}.headers_from`: `{name}` is no name of a header"));
            }
            let is_own = OWN.contains(&lower.as_str())
                || OWN_FAMILIES.iter().any(|family| lower.starts_with(family));
            if is_own {
                return Err(format!("`{section}.headers_from`: `{name}` is told by the run"));
            }
            if lower == "authorization" && self.bearer_from.is_some() {
                return Err(format!(
                    "`{section}.headers_from`: `{name}` is what `{section}.bearer_from` sends"
                ));
            }
        }
        Ok(())
    }

    /// Names and values of the headers that are sent along.
    ///
    /// # Errors
    /// When the variable of one is not set, or holds what no header can.
    pub fn headers(&self, section: &str) -> Result<Vec<(String, String)>, String> {
        let mut headers = Vec::new();
        if let Some(name) = &self.bearer_from {
            let token =
                variable(name).map_err(|said| format!("`{section}.bearer_from`: {said}"))?;
            headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        for (header, name) in &self.headers_from {
            let value = variable(name)
                .map_err(|said| format!("`{section}.headers_from.{header}`: {said}"))?;
            headers.push((header.clone(), value));
        }
        Ok(headers)
    }

    /// Whom to believe about it.
    ///
    /// # Errors
    /// When the file of certificates is of no use.
    pub fn trust(&self, section: &str) -> Result<Trust, String> {
        let trust = Trust::about(&self.url, self.ca_file.as_deref());
        trust.map_err(|said| format!("`{section}.ca_file`: {said}"))
    }
}

/// The value of a variable that is to be sent. What it is, is never told.
fn variable(name: &str) -> Result<String, String> {
    let is_name = !name.is_empty() && !name.contains(['=', '\0']);
    let value = is_name.then(|| std::env::var(name).ok()).flatten();
    match value.filter(|value| !value.is_empty()) {
        Some(value) if value.chars().all(|c| (' '..='~').contains(&c)) => Ok(value),
        Some(_) => Err(format!(
            "the variable `{name}` holds what no header can, such as the end of a line"
        )),
        None => {
            Err(format!("the variable `{name}` is not set\nhint: set it where paretopo is started"))
        }
    }
}
