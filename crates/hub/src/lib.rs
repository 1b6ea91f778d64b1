//! Models and data sets by name, from the Hugging Face hub or a server that speaks its protocol
//! (`HF_ENDPOINT`), in the cache that Python's `huggingface_hub` uses.
//!
//! ```
//! use paretopo_hub::{Hub, Kind, Patience};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // what Python's `huggingface_hub` leaves in its cache
//!     let cache = tempfile::tempdir()?;
//!     let commit = "0123456789abcdef0123456789abcdef01234567";
//!     let folder = cache.path().join("models--owner--name");
//!     let snapshot = folder.join("snapshots").join(commit);
//!     std::fs::create_dir_all(&snapshot)?;
//!     std::fs::create_dir_all(folder.join("refs"))?;
//!     std::fs::write(folder.join("refs/main"), commit)?;
//!     std::fs::write(snapshot.join("config.json"), "{}")?;
//!
//!     let cached = cache.path().to_owned();
//!     let hub = Hub::new("https://huggingface.co", cached, None, Patience::default())?;
//!     let repository = hub.repository(Kind::Model, "owner/name", "main")?;
//!     // it is there already, so nothing is asked of the network
//!     let file = repository.file("config.json", &mut |_file, _done, _in_all| {})?;
//!     assert_eq!(file, snapshot.join("config.json"));
//!     // names that are none are refused before anything is asked or written
//!     assert!(hub.repository(Kind::Model, "../name", "main").is_err());
//!     Ok(())
//! }
//! ```
//!
//! Files land in the cache that Python's `huggingface_hub` uses (`HF_HOME`), so what is there
//! already is not fetched again. An interrupted download goes on where it stopped. What arrives is
//! compared with the checksum that names it: SHA-256 for large files, git's blob hash for others.
//! With `HF_HUB_OFFLINE=1` nothing is asked of the network. Left out: uploads, and refreshing a
//! cached branch (delete it from the cache, or name a commit).
//!
//! A server is not believed: whatever it says, nothing is written outside of the cache, no more
//! than it announced, and within bounded time ([`Patience`]).
//!
//! Without the feature `https` (which is in the default) hubs are asked by `http` alone.

mod cache;
mod checksum;
mod download;
mod error;
mod hub;
mod names;
mod web;

pub use error::HubError;
pub use hub::Hub;
pub use names::{NameError, check_repository, check_revision};
pub use web::Patience;

use cache::Folder;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use ureq::http::StatusCode;
use url::Url;
use web::{Failure, Follow};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

/// Bytes of a listing that are read, and files that it may name.
const LISTING_BYTES: u64 = 64 << 20;
const LISTING_FILES: usize = 1_000_000;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A checkpoint.
    Model,
    /// A data set.
    Dataset,
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// A repository at a revision.
#[derive(Clone, Debug)]
pub struct Repository {
    hub: Hub,
    kind: Kind,
    /// `owner/name`, or `name` alone.
    repository: String,
    revision: String,
    /// For people: with the revision, if it is not `main`.
    named: String,
    folder: Folder,
}

/// Hears of a download: the file, bytes done, bytes in all.
pub type OnProgress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// What a hub says of a repository; everything else is passed over.
#[derive(Deserialize)]
struct Listing {
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Repository {
    /// A repository (`owner/name`) at a branch, tag or commit, with the hub, cache and token that
    /// the environment names.
    ///
    /// # Errors
    /// When a name is none, or the environment's.
    pub fn open(kind: Kind, name: &str, revision: &str) -> Result<Self, HubError> {
        Hub::from_environment()?.repository(kind, name, revision)
    }

    fn new(hub: Hub, kind: Kind, name: &str, revision: &str) -> Result<Self, NameError> {
        check_repository(name)?;
        check_revision(revision)?;
        let named = if revision == "main" { name.to_owned() } else { format!("{name}@{revision}") };
        let folder = Folder::new(&hub.cache, kind.plural(), name);
        let (repository, revision) = (name.to_owned(), revision.to_owned());
        Ok(Self { hub, kind, repository, revision, named, folder })
    }

    /// The paths of all files, in the order of their names; offline, of those in the cache.
    ///
    /// # Errors
    /// When the hub cannot be reached or knows no such repository.
    pub fn list(&self) -> Result<Vec<String>, HubError> {
        let mut names = match self.hub.offline {
            false => self.ask_for_names()?,
            true => self.folder.names(&self.revision)?.ok_or_else(|| self.not_cached("*"))?,
        };
        names.sort();
        Ok(names)
    }

    fn ask_for_names(&self) -> Result<Vec<String>, HubError> {
        let parts = ["api", self.kind.plural()].into_iter().chain(self.repository.split('/'));
        let url = self.hub.web.address(parts.chain(["revision", &self.revision]));
        let limit = Some(self.hub.patience.listing);
        let answer = self.hub.web.get(url, None, Follow::Anywhere, limit);
        let mut answer = answer.map_err(|failure| self.failure("*", failure))?;
        if !answer.status.is_success() {
            return Err(self.refusal("*", answer.status));
        }
        let text = answer.body.with_config().limit(LISTING_BYTES).read_to_vec();
        let text = text.map_err(|error| self.unreachable("*", error.to_string()))?;
        let listing: Listing = serde_json::from_slice(&text)
            .map_err(|error| self.nonsense("*", format!("its listing is unreadable: {error}")))?;
        if listing.siblings.len() > LISTING_FILES {
            let reason = format!("it lists more than {LISTING_FILES} files");
            return Err(self.nonsense("*", reason));
        }
        Ok(listing.siblings.into_iter().map(|sibling| sibling.rfilename).collect())
    }

    /// A file's place in the cache, fetched if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be fetched or arrives damaged.
    pub fn file(&self, name: &str, progress: OnProgress<'_>) -> Result<PathBuf, HubError> {
        if let Some(reason) = names::fault_of_file(name) {
            let (repository, file) = (self.named.clone(), name.chars().take(200).collect());
            return Err(HubError::Outside { repository, file, reason });
        }
        match self.folder.find(&self.revision, name)? {
            Some(path) => Ok(path),
            None if self.hub.offline => Err(self.not_cached(name)),
            None => self.fetch(name, progress),
        }
    }

    /// The folder of a checkpoint: its configuration, tokenizer and weights (one file, or shards),
    /// fetched where they are not there yet.
    ///
    /// ```no_run
    /// use paretopo_hub::{HubError, Kind, Repository};
    ///
    /// fn main() -> Result<(), HubError> {
    ///     let name = "HuggingFaceTB/SmolLM2-135M-Instruct";
    ///     let repository = Repository::open(Kind::Model, name, "main")?;
    ///     let folder = repository.checkpoint(&mut |file, done, in_all| {
    ///         eprintln!("{file}: {done} of {in_all} bytes");
    ///     })?;
    ///     println!("{}", folder.display());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When a file is missing or cannot be fetched, or the branch moves while they are fetched.
    pub fn checkpoint(&self, progress: OnProgress<'_>) -> Result<PathBuf, HubError> {
        const TEXT: [&str; 5] = [
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "generation_config.json",
            "chat_template.jinja",
        ];
        let names = self.list()?;
        let single = names.iter().any(|name| name == "model.safetensors");
        let is_weights = |name: &str| match single {
            true => name == "model.safetensors",
            false => {
                name == "model.safetensors.index.json"
                    || (name.starts_with("model-") && name.ends_with(".safetensors"))
            }
        };
        // further templates, such as one for conversations with tools
        let is_template =
            |name: &str| name.starts_with("additional_chat_templates/") && name.ends_with(".jinja");
        let is_wanted =
            |name: &&String| TEXT.contains(&name.as_str()) || is_template(name) || is_weights(name);
        if !names.iter().any(|name| name == "config.json") {
            return Err(self.missing("config.json"));
        }
        // a file that was not cached may bring a newer commit, of which the others are then fetched
        for _ in 0..2 {
            let mut folders = BTreeSet::new();
            for name in names.iter().filter(is_wanted) {
                let path = self.file(name, progress)?;
                folders.extend(path.ancestors().nth(name.split('/').count()).map(Path::to_owned));
            }
            if folders.len() == 1 {
                return Ok(folders.pop_first().expect("one was counted"));
            }
        }
        Err(self.unreachable("*", "the branch moved while its files were fetched".into()))
    }

    /// Where the hub has a file.
    fn address_of(&self, file: &str) -> Url {
        let prefix = (self.kind == Kind::Dataset).then_some("datasets");
        let parts = prefix.into_iter().chain(self.repository.split('/'));
        let parts = parts.chain(["resolve", &self.revision]).chain(file.split('/'));
        self.hub.web.address(parts)
    }

    fn not_cached(&self, file: &str) -> HubError {
        HubError::NotCached {
            repository: self.named.clone(),
            file: file.to_owned(),
            cache: self.hub.cache.clone(),
        }
    }

    fn missing(&self, file: &str) -> HubError {
        HubError::Missing {
            endpoint: self.hub.endpoint.clone(),
            repository: self.named.clone(),
            file: file.to_owned(),
        }
    }

    fn unreachable(&self, file: &str, reason: String) -> HubError {
        HubError::Unreachable {
            endpoint: self.hub.endpoint.clone(),
            repository: self.named.clone(),
            file: file.to_owned(),
            reason,
        }
    }

    fn nonsense(&self, file: &str, reason: String) -> HubError {
        HubError::Nonsense {
            endpoint: self.hub.endpoint.clone(),
            repository: self.named.clone(),
            file: file.to_owned(),
            reason,
        }
    }

    fn failure(&self, file: &str, failure: Failure) -> HubError {
        match failure {
            Failure::Transport(reason) => self.unreachable(file, reason),
            Failure::Redirection(reason) => self.nonsense(file, reason),
            Failure::LeftOut => HubError::LeftOut {
                endpoint: self.hub.endpoint.clone(),
                repository: self.named.clone(),
                file: file.to_owned(),
            },
        }
    }

    /// A status that is no answer.
    fn refusal(&self, file: &str, status: StatusCode) -> HubError {
        match status.as_u16() {
            404 => self.missing(file),
            status @ (401 | 403) => HubError::Denied {
                endpoint: self.hub.endpoint.clone(),
                repository: self.named.clone(),
                status,
            },
            _ => self.unreachable(file, format!("status {status}")),
        }
    }
}
