//! A file from the hub into the cache: what is announced of it, then its bytes, as many as were
//! announced and no more, into `blobs/NAME.part`, then its checksum, then its place.
//!
//! Nothing that a server sends becomes a path as it is: a commit is 40 hexadecimal digits, a blob
//! is named by its checksum, or by one of what the server says where that is no checksum.

use crate::cache::{Blob, access};
use crate::names::is_commit;
use crate::web::{Answer, Failure, Follow};
use crate::{HubError, OnProgress, Repository, checksum};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ureq::http::StatusCode;
use url::Url;

/// Further attempts after the first, where a server breaks off or is busy.
const RETRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
const BUFFER: usize = 1 << 16;

/// What a server says of a file before it sends it.
struct Announced {
    commit: String,
    /// The name of the blob: 40 or 64 hexadecimal digits of a checksum, or `other-` and a digest.
    blob: String,
    size: u64,
}

/// Why an attempt at the bytes ended.
enum Broken {
    /// Another may go on from there.
    Again(String),
    Final(HubError),
}

impl From<HubError> for Broken {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl Repository {
    /// Fetches a file whose name was checked.
    pub(crate) fn fetch(&self, name: &str, progress: OnProgress<'_>) -> Result<PathBuf, HubError> {
        let url = self.address_of(name);
        let announced = self.announced(name, &url)?;
        let blob = self.folder.blob(&announced.blob)?;
        // held until the end
        let _lock = blob.lock(self.hub.patience.silence)?.ok_or_else(|| {
            self.unreachable(name, "another process is at it, and gets nothing".into())
        })?;
        let is_there =
            |path: &Path| checksum::mismatch(path, &announced.blob).map_err(access(path));
        let verified = checksum::is_checksum(&announced.blob);
        if !(verified && blob.exists() && is_there(&blob.path)?.is_none()) {
            self.complete(name, &url, &blob, &announced, progress)?;
            if is_there(&blob.part)?.is_some() {
                // what an earlier download left may have been the damage
                std::fs::remove_file(&blob.part).map_err(access(&blob.part))?;
                self.complete(name, &url, &blob, &announced, progress)?;
            }
            if let Some((found, expected)) = is_there(&blob.part)? {
                std::fs::remove_file(&blob.part).map_err(access(&blob.part))?;
                let (repository, file) = (self.named.clone(), name.to_owned());
                return Err(HubError::Damaged { repository, file, found, expected });
            }
            std::fs::rename(&blob.part, &blob.path).map_err(access(&blob.path))?;
        }
        self.folder.link(&announced.blob, &self.revision, &announced.commit, name)
    }

    /// Asks for one byte of a file, which tells everything else.
    fn announced(&self, name: &str, url: &Url) -> Result<Announced, HubError> {
        let first = "bytes=0-0";
        let answer = self
            .hub
            .web
            .get(url.clone(), Some(first), Follow::Hub, None)
            .map_err(|failure| self.failure(name, failure))?;
        let nonsense = |reason: String| self.nonsense(name, reason);
        let empty = answer.header("content-range") == Some("bytes */0");
        if !(answer.status.is_success() || answer.status.is_redirection() || empty) {
            return Err(self.refusal(name, answer.status));
        }
        let commit = answer.header("x-repo-commit").unwrap_or_default().to_ascii_lowercase();
        if !is_commit(&commit) {
            return Err(nonsense(format!(
                "its commit (`x-repo-commit`) is `{}`, not 40 hexadecimal digits",
                shown(&commit)
            )));
        }
        if is_commit(&self.revision) && !commit.eq_ignore_ascii_case(&self.revision) {
            return Err(nonsense(format!("it answers with commit `{commit}`")));
        }
        let etag = answer.header("x-linked-etag").or_else(|| answer.header("etag"));
        let etag = etag.unwrap_or_default().trim();
        let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        if etag.is_empty() {
            return Err(nonsense("it gives no `etag`".into()));
        }
        let blob = match checksum::is_checksum(etag) {
            true => etag.to_ascii_lowercase(),
            // of this very file, since such a name need not tell contents apart
            false => checksum::name_of(&[etag, &commit, name]),
        };
        let size = match answer.header("x-linked-size").map(str::parse) {
            Some(size) => size.map_err(|_| nonsense("`x-linked-size` is no number".into()))?,
            None if answer.status.is_redirection() => {
                let there = self.hub.web.follow(url, &answer, first);
                let there = there.map_err(|failure| self.failure(name, failure))?;
                size_of(&there).ok_or_else(|| nonsense("it announces no length".into()))?
            }
            None => size_of(&answer).ok_or_else(|| nonsense("it announces no length".into()))?,
        };
        Ok(Announced { commit, blob, size })
    }

    /// Brings what has arrived of a file to its announced length.
    fn complete(
        &self,
        name: &str,
        url: &Url,
        blob: &Blob,
        announced: &Announced,
        progress: OnProgress<'_>,
    ) -> Result<(), HubError> {
        let size = announced.size;
        let mut file = blob.open_part()?;
        let length = file.metadata().map_err(access(&blob.part))?.len();
        if length > size {
            file.set_len(0).map_err(access(&blob.part))?;
        }
        let mut done = file.seek(SeekFrom::End(0)).map_err(access(&blob.part))?;
        self.check_room(name, size - done, &blob.part)?;
        let mut attempt = 0;
        while done < size {
            let broken = self.read(name, url, &mut file, (&mut done, size), progress);
            match broken {
                Ok(()) => {}
                Err(Broken::Again(reason)) if attempt == RETRIES => {
                    return Err(self.unreachable(name, reason));
                }
                Err(Broken::Again(_)) => std::thread::sleep(PAUSE * (1 << attempt)),
                Err(Broken::Final(HubError::Access { source, .. })) => {
                    return Err(access(&blob.part)(source));
                }
                Err(Broken::Final(error)) => return Err(error),
            }
            attempt += 1;
        }
        file.sync_all().map_err(access(&blob.part))
    }

    /// Asks for what is missing, and writes what comes up to the announced size.
    fn read(
        &self,
        name: &str,
        url: &Url,
        file: &mut File,
        (done, size): (&mut u64, u64),
        progress: OnProgress<'_>,
    ) -> Result<(), Broken> {
        let range = format!("bytes={done}-");
        let answer = match self.hub.web.get(url.clone(), Some(&range), Follow::Anywhere, None) {
            Ok(answer) => answer,
            Err(Failure::Transport(reason)) => return Err(Broken::Again(reason)),
            Err(failure) => return Err(self.failure(name, failure).into()),
        };
        if answer.header("content-encoding").is_some_and(|encoding| encoding != "identity") {
            return Err(self
                .nonsense(name, "it compresses what was asked for as it is".into())
                .into());
        }
        let from_start = |file: &mut File, done: &mut u64| {
            *done = 0;
            file.set_len(0).and_then(|()| file.rewind()).map_err(written)
        };
        match answer.status {
            StatusCode::PARTIAL_CONTENT => {
                let found = answer.header("content-range").and_then(range_of);
                if found.is_none_or(|(from, total)| from != *done || total != size) {
                    let said = shown(answer.header("content-range").unwrap_or_default());
                    let reason = format!("asked for {range} of {size} bytes, it sends `{said}`");
                    return Err(self.nonsense(name, reason).into());
                }
            }
            StatusCode::OK => {
                if let Some(length) = size_of(&answer).filter(|length| *length != size) {
                    let reason = format!("it announced {size} bytes and sends {length}");
                    return Err(self.nonsense(name, reason).into());
                }
                from_start(file, done)?;
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                from_start(file, done)?;
                return Err(Broken::Again("it has fewer bytes than it announced".into()));
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Broken::Again(format!("status {status}")));
            }
            status => return Err(self.refusal(name, status).into()),
        }
        let mut body = answer.body.into_reader();
        let mut buffer = vec![0; BUFFER];
        let mut pace = Pace::new(self.hub.patience.silence, self.hub.patience.slowest);
        while *done < size {
            let wanted = usize::try_from(size - *done).unwrap_or(BUFFER).min(BUFFER);
            let count = body
                .read(&mut buffer[..wanted])
                .map_err(|error| Broken::Again(error.to_string()))?;
            if count == 0 {
                return Err(Broken::Again(format!("it broke off after {done} of {size} bytes")));
            }
            file.write_all(&buffer[..count]).map_err(written)?;
            *done += count as u64;
            progress(name, *done, size);
            pace.check(count as u64).map_err(Broken::Again)?;
        }
        Ok(())
    }

    /// # Errors
    /// When the disk of `part` has less room than `needed`.
    fn check_room(&self, name: &str, needed: u64, part: &Path) -> Result<(), HubError> {
        let Some(free) = free_bytes(part) else { return Ok(()) };
        if needed <= free {
            return Ok(());
        }
        let (repository, file) = (self.named.clone(), name.to_owned());
        let cache = self.hub.cache.clone();
        Err(HubError::NoRoom { repository, file, needed, free, cache })
    }
}

/// Whoever gets it adds the path.
fn written(source: std::io::Error) -> HubError {
    HubError::Access { path: PathBuf::new(), source }
}

/// Bytes that a file system has free, where that can be asked.
fn free_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    return rustix::fs::statvfs(path.parent()?)
        .ok()
        .map(|found| found.f_bavail.saturating_mul(found.f_frsize));
    #[cfg(not(unix))]
    return None;
}

/// The size of the whole that an answer is, or is a part of.
fn size_of(answer: &Answer) -> Option<u64> {
    match answer.status {
        StatusCode::PARTIAL_CONTENT => Some(range_of(answer.header("content-range")?)?.1),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
        StatusCode::OK => answer.header("content-length")?.parse().ok(),
        _ => None,
    }
}

/// `bytes FROM-TO/TOTAL`: where it begins, and the total.
fn range_of(header: &str) -> Option<(u64, u64)> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some((from.parse().ok()?, total.parse().ok()?))
}

/// The beginning of what a server said, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

/// Whether enough arrives.
struct Pace {
    span: Duration,
    slowest: u64,
    started: Instant,
    arrived: u64,
}

impl Pace {
    fn new(span: Duration, slowest: u64) -> Self {
        Self { span, slowest, started: Instant::now(), arrived: 0 }
    }

    /// # Errors
    /// When a whole span brought too little.
    fn check(&mut self, count: u64) -> Result<(), String> {
        self.arrived += count;
        let elapsed = self.started.elapsed();
        if elapsed < self.span {
            return Ok(());
        }
        if (self.arrived as f64) < self.slowest as f64 * elapsed.as_secs_f64() {
            return Err(format!(
                "only {} bytes arrived in {:.0} seconds",
                self.arrived,
                elapsed.as_secs_f64()
            ));
        }
        *self = Self::new(self.span, self.slowest);
        Ok(())
    }
}
