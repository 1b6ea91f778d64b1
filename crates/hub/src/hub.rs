//! Which hub is asked, what may be said to it, and where its files are kept: `HF_ENDPOINT`,
//! `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE`, as Python's
//! `huggingface_hub` reads them.

use crate::web::{Patience, Web};
use crate::{HubError, Kind, Repository};
use std::path::PathBuf;
use url::Url;

/// A hub and a cache.
#[derive(Clone, Debug)]
pub struct Hub {
    pub(crate) web: Web,
    /// As it was given.
    pub(crate) endpoint: String,
    pub(crate) cache: PathBuf,
    pub(crate) offline: bool,
    pub(crate) patience: Patience,
}

impl Hub {
    /// What the environment names.
    ///
    /// # Errors
    /// When `HF_ENDPOINT` is no address, or nothing says where the cache is.
    pub fn from_environment() -> Result<Self, HubError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = variable("HF_ENDPOINT");
        let endpoint = endpoint.as_deref().unwrap_or("https://huggingface.co");
        let home = variable("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            Some(cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("huggingface"))
        });
        let home = home.ok_or_else(|| HubError::Environment {
            variable: "HF_HOME",
            value: String::new(),
            reason: "there is no home folder to keep files in\nhint: set it to a folder".into(),
        })?;
        let cache = variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let token_path = variable("HF_TOKEN_PATH").map_or_else(|| home.join("token"), Into::into);
        let token = variable("HF_TOKEN")
            .or_else(|| Some(String::from_utf8_lossy(&std::fs::read(token_path).ok()?).into()));
        let offline = variable("HF_HUB_OFFLINE").is_some_and(|value| {
            matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on")
        });
        Ok(Self { offline, ..Self::new(endpoint, cache, token, Patience::default())? })
    }

    /// A hub at `endpoint`, with a token for it alone, and a folder for files.
    ///
    /// # Errors
    /// When `endpoint` is no address.
    pub fn new(
        endpoint: &str,
        cache: PathBuf,
        token: Option<String>,
        patience: Patience,
    ) -> Result<Self, HubError> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let wrong = |reason: String| HubError::Environment {
            variable: "HF_ENDPOINT",
            value: endpoint.clone(),
            reason: format!("{reason}\nhint: an address like `https://huggingface.co`"),
        };
        let url = Url::parse(&endpoint).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong("not an address of the web".into()));
        }
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let web = Web::new(url, token, &patience);
        Ok(Self { web, endpoint, cache, offline: false, patience })
    }

    /// A repository (`owner/name`) at a branch, tag or commit.
    ///
    /// # Errors
    /// When a name is none.
    pub fn repository(
        &self,
        kind: Kind,
        name: &str,
        revision: &str,
    ) -> Result<Repository, HubError> {
        Ok(Repository::new(self.clone(), kind, name, revision)?)
    }
}
