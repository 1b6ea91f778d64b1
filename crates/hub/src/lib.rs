//! Models and data sets by name, from the Hugging Face hub or a server that speaks its protocol
//! (`HF_ENDPOINT`).
//!
//! Files land in the cache that Python's `huggingface_hub` uses (`HF_HOME`), so what is there
//! already is not fetched again. An interrupted download goes on where it stopped. What arrives is
//! compared with the checksum that names it: SHA-256 for large files, git's blob hash for others.
//! With `HF_HUB_OFFLINE=1` nothing is asked of the network. Left out: uploads, and refreshing a
//! cached branch (delete it from the cache, or name a commit).

mod checksum;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How long the hub may send nothing before a download is given up.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRIES: usize = 3;

/// What can go wrong on the way from the hub to a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Offline, and never fetched.
    #[error(
        "`{file}` of `{repository}` is not in the cache `{cache}`, and `HF_HUB_OFFLINE` is set\nhint: unset it, or fetch the files on a machine with a network"
    )]
    NotCached {
        /// The repository.
        repository: String,
        /// The file; `*` for any.
        file: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The hub knows no such thing.
    #[error(
        "`{endpoint}` has no `{file}` in `{repository}`\nhint: check the name and the revision; private repositories need `HF_TOKEN`"
    )]
    Missing {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The file; `*` for any.
        file: String,
    },
    /// The hub refuses.
    #[error(
        "`{endpoint}` refuses `{repository}` (status {status})\nhint: set `HF_TOKEN`, and accept the repository's terms on its page"
    )]
    Denied {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// HTTP status.
        status: u16,
    },
    /// The hub cannot be reached, or breaks off.
    #[error(
        "cannot fetch `{file}` of `{repository}` from `{endpoint}`: {reason}\nhint: the same command goes on where this one stopped; `HF_ENDPOINT` names another server, `HF_HUB_OFFLINE=1` uses the cache alone"
    )]
    Unreachable {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// What happened.
        reason: String,
    },
    /// A file's name leads out of its repository.
    #[error("`{repository}` lists `{file}`, which is no place inside a repository")]
    Outside {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
    },
    /// What arrived is not what was announced.
    #[error(
        "`{file}` of `{repository}` arrived damaged twice: its checksum is {found}, not {expected}"
    )]
    Damaged {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// Of what arrived.
        found: String,
        /// Of what was announced.
        expected: String,
    },
    /// A file of the cache.
    #[error("cannot access `{path}`: {source}")]
    Access {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A checkpoint.
    Model,
    /// A data set.
    Dataset,
}

/// A repository at a revision.
#[derive(Clone, Debug)]
pub struct Repository {
    repo: Repo,
    name: String,
    api: Option<Api>,
    cache: Cache,
    endpoint: String,
}

/// Hears of a download: the file, bytes done, bytes in all.
pub type OnProgress<'a> = &'a mut dyn FnMut(&str, u64, u64);

impl Repository {
    /// A repository (`owner/name`) at a branch, tag or commit, with the hub, cache and token that
    /// the environment names.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub fn open(kind: Kind, name: &str, revision: &str) -> Result<Self, HubError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = variable("HF_ENDPOINT")
            .unwrap_or_else(|| "https://huggingface.co".into())
            .trim_end_matches('/')
            .to_owned();
        let cache =
            variable("HF_HUB_CACHE").map_or_else(Cache::from_env, |path| Cache::new(path.into()));
        let offline = variable("HF_HUB_OFFLINE").is_some_and(|value| {
            matches!(value.to_lowercase().as_str(), "1" | "true" | "yes" | "on")
        });
        let kind = match kind {
            Kind::Model => RepoType::Model,
            Kind::Dataset => RepoType::Dataset,
        };
        let repo = Repo::with_revision(name.to_owned(), kind, revision.to_owned());
        let named = if revision == "main" { name.to_owned() } else { format!("{name}@{revision}") };
        let mut repository =
            Self { repo, name: named, api: None, cache: cache.clone(), endpoint: endpoint.clone() };
        if !offline {
            let builder = ApiBuilder::from_cache(cache.clone())
                .with_endpoint(endpoint)
                .with_progress(false)
                .with_retries(RETRIES);
            let api = builder.with_token(variable("HF_TOKEN").or_else(|| cache.token())).build();
            repository.api = Some(api.map_err(|error| repository.failure("*", &error))?);
        }
        Ok(repository)
    }

    /// The paths of all files, in the order of their names; offline, of those in the cache.
    ///
    /// # Errors
    /// When the hub cannot be reached or knows no such repository.
    pub fn list(&self) -> Result<Vec<String>, HubError> {
        let mut names = match self.remote() {
            Some(remote) => {
                let info = wait(move |_| remote.info(), &mut |_, _| {}, PATIENCE);
                let info = info
                    .map_err(|reason| self.unreachable("*", reason))?
                    .map_err(|error| self.failure("*", &error))?;
                info.siblings.into_iter().map(|sibling| sibling.rfilename).collect()
            }
            None => {
                let folder = self.snapshot().ok_or_else(|| self.not_cached("*"))?;
                let mut names = Vec::new();
                walk(&folder, "", &mut names)
                    .map_err(|source| HubError::Access { path: folder, source })?;
                names
            }
        };
        names.sort();
        Ok(names)
    }

    /// A file's place in the cache, fetched if it is not there yet.
    ///
    /// # Errors
    /// When it cannot be fetched or arrives damaged.
    pub fn file(&self, name: &str, progress: OnProgress<'_>) -> Result<PathBuf, HubError> {
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(HubError::Outside { repository: self.name.clone(), file: name.to_owned() });
        }
        if let Some(path) = self.cache.repo(self.repo.clone()).get(name) {
            return Ok(path);
        }
        let mut damage = None;
        for _ in 0..2 {
            let remote = self.remote().ok_or_else(|| self.not_cached(name))?;
            let wanted = name.to_owned();
            let mut report = |done, total| progress(name, done, total);
            let fetched = wait(
                move |events| remote.download_with_progress(&wanted, events),
                &mut report,
                PATIENCE,
            );
            let path = match fetched.map_err(|reason| self.unreachable(name, reason))? {
                Ok(path) => path,
                // what an earlier, interrupted download left is longer than the file, or all of it
                Err(error) if cannot_resume(&error) && damage.is_none() => {
                    self.forget_part(name)?;
                    damage = Some((error.to_string(), "a whole file".to_owned()));
                    continue;
                }
                Err(error) => return Err(self.failure(name, &error)),
            };
            let blob = path
                .canonicalize()
                .map_err(|source| HubError::Access { path: path.clone(), source })?;
            match checksum::mismatch(&blob)
                .map_err(|source| HubError::Access { path: blob.clone(), source })?
            {
                None => return Ok(path),
                Some(mismatch) => {
                    for path in [&path, &blob] {
                        std::fs::remove_file(path)
                            .map_err(|source| HubError::Access { path: path.clone(), source })?;
                    }
                    damage = Some(mismatch);
                }
            }
        }
        let (found, expected) = damage.unwrap_or_default();
        Err(HubError::Damaged {
            repository: self.name.clone(),
            file: name.to_owned(),
            found,
            expected,
        })
    }

    /// The folder of a checkpoint: its configuration, tokenizer and weights (one file, or shards),
    /// fetched where they are not there yet.
    ///
    /// # Errors
    /// When a file is missing or cannot be fetched.
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
        let mut folder = None;
        for name in names.iter().filter(|name| TEXT.contains(&name.as_str()) || is_weights(name)) {
            let path = self.file(name, progress)?;
            if name == "config.json" {
                folder = path.parent().map(Path::to_owned);
            }
        }
        folder.ok_or_else(|| self.missing("config.json"))
    }

    fn remote(&self) -> Option<ApiRepo> {
        self.api.as_ref().map(|api| api.repo(self.repo.clone()))
    }

    /// The folder of what is cached of this revision.
    fn snapshot(&self) -> Option<PathBuf> {
        let folder = self.cache.path().join(self.repo.folder_name());
        let commit = std::fs::read_to_string(folder.join("refs").join(self.repo.revision())).ok();
        let commit = commit
            .map_or_else(|| self.repo.revision().to_owned(), |commit| commit.trim().to_owned());
        Some(folder.join("snapshots").join(commit)).filter(|folder| folder.is_dir())
    }

    /// Removes what an interrupted download of a file left.
    fn forget_part(&self, name: &str) -> Result<(), HubError> {
        let (Some(api), Some(remote)) = (&self.api, self.remote()) else { return Ok(()) };
        let metadata =
            api.metadata(&remote.url(name)).map_err(|error| self.failure(name, &error))?;
        let part = self
            .cache
            .repo(self.repo.clone())
            .blob_path(metadata.etag())
            .with_extension("sync.part");
        match std::fs::remove_file(&part) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(HubError::Access { path: part, source })
            }
            _ => Ok(()),
        }
    }

    fn not_cached(&self, file: &str) -> HubError {
        HubError::NotCached {
            repository: self.name.clone(),
            file: file.to_owned(),
            cache: self.cache.path().clone(),
        }
    }

    fn missing(&self, file: &str) -> HubError {
        HubError::Missing {
            endpoint: self.endpoint.clone(),
            repository: self.name.clone(),
            file: file.to_owned(),
        }
    }

    fn unreachable(&self, file: &str, reason: String) -> HubError {
        HubError::Unreachable {
            endpoint: self.endpoint.clone(),
            repository: self.name.clone(),
            file: file.to_owned(),
            reason,
        }
    }

    fn failure(&self, file: &str, error: &ApiError) -> HubError {
        match status_of(error) {
            Some(404) => self.missing(file),
            Some(status @ (401 | 403)) => HubError::Denied {
                endpoint: self.endpoint.clone(),
                repository: self.name.clone(),
                status,
            },
            _ => self.unreachable(file, error.to_string()),
        }
    }
}

/// The HTTP status behind an error, if there is one.
fn status_of(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        ApiError::TooManyRetries(error) => status_of(error),
        _ => None,
    }
}

fn cannot_resume(error: &ApiError) -> bool {
    matches!(error, ApiError::InvalidResume) || status_of(error) == Some(416)
}

/// Sends what a download reports to whoever waits for it.
struct Events {
    sender: Sender<(u64, u64)>,
    done: u64,
    total: u64,
}

impl Progress for Events {
    fn init(&mut self, size: usize, _: &str) {
        (self.done, self.total) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        // nobody listens any more once the download was given up
        let _ = self.sender.send((self.done, self.total));
    }

    fn finish(&mut self) {}
}

/// Runs `work` beside and waits until it ends, or has reported nothing for `patience`; the client
/// itself would wait without end.
///
/// # Errors
/// When it was given up.
fn wait<T: Send + 'static>(
    work: impl FnOnce(Events) -> T + Send + 'static,
    progress: &mut dyn FnMut(u64, u64),
    patience: Duration,
) -> Result<T, String> {
    let (sender, receiver) = channel();
    let worker = std::thread::spawn(move || work(Events { sender, done: 0, total: 0 }));
    loop {
        match receiver.recv_timeout(patience) {
            Ok((done, total)) => progress(done, total),
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("nothing arrived for {} seconds", patience.as_secs()));
            }
            // the sender is dropped at the end of the work
            Err(RecvTimeoutError::Disconnected) => {
                return worker.join().map_err(|_| "the client failed".to_owned());
            }
        }
    }
}

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_that_stalls_is_given_up() {
        let stalled = wait(
            |_| std::thread::sleep(Duration::from_secs(5)),
            &mut |_, _| {},
            Duration::from_millis(50),
        );
        assert!(stalled.unwrap_err().contains("nothing arrived"));
        let mut seen = Vec::new();
        let work = |mut events: Events| {
            events.init(3, "x");
            events.update(1);
            events.update(2);
            7
        };
        assert_eq!(
            wait(work, &mut |done, total| seen.push((done, total)), Duration::from_secs(5)),
            Ok(7)
        );
        assert_eq!(seen, [(1, 3), (3, 3)]);
    }
}
