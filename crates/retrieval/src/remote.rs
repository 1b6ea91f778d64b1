//! A retriever behind a URL. Queries of many episodes travel together; each has its own deadline.
//!
//! A fixed number of threads is the bound on requests in flight. A thread takes the first query
//! that waits, gathers what else arrives within a few milliseconds, sends all of it as one request,
//! and tries again after a pause when the server is busy or away.

use crate::protocol::{Found, RetrieveRequest, RetrieveResponse};
use crate::{Breaker, BreakerConfig, Hit, RetrievalError, RetrieveError, Retriever};
use paretopo_settings::{Pause, Seconds, whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

/// How a retrieval server is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// The address of `POST /retrieve`, e.g. `http://127.0.0.1:8000/retrieve`.
    pub url: String,
    /// Seconds for one request.
    #[serde(default = "defaults::request_seconds")]
    pub request_seconds: Seconds,
    /// Further attempts after the first.
    #[serde(default = "defaults::retries", deserialize_with = "within::<0, 1000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1000>")]
    pub retries: u32,
    /// Seconds before the second attempt; doubles with each.
    #[serde(default = "defaults::backoff_seconds")]
    pub backoff_seconds: Pause,
    /// Requests in flight.
    #[serde(default = "defaults::concurrency", deserialize_with = "within::<1, 1024, _, _>")]
    #[schemars(schema_with = "whole::<1, 1024>")]
    pub concurrency: usize,
    /// Queries in one request.
    #[serde(default = "defaults::batch_size", deserialize_with = "within::<1, 4096, _, _>")]
    #[schemars(schema_with = "whole::<1, 4096>")]
    pub batch_size: usize,
    /// Seconds that a query waits for company.
    #[serde(default = "defaults::batch_wait_seconds")]
    pub batch_wait_seconds: Pause,
    /// When the server is left alone for a while.
    #[serde(default)]
    pub breaker: BreakerConfig,
}

mod defaults {
    use paretopo_settings::{Pause, Seconds};

    pub(super) fn request_seconds() -> Seconds {
        const { Seconds::literal(10.0) }
    }
    pub(super) fn retries() -> u32 {
        3
    }
    pub(super) fn backoff_seconds() -> Pause {
        const { Pause::literal(0.1) }
    }
    pub(super) fn concurrency() -> usize {
        4
    }
    pub(super) fn batch_size() -> usize {
        64
    }
    pub(super) fn batch_wait_seconds() -> Pause {
        const { Pause::literal(0.002) }
    }
}

/// Asks servers. Redirections are answers like any other: a server is asked where the configuration
/// says and nowhere else.
pub fn http_agent() -> ureq::Agent {
    usual_settings().build().into()
}

pub(crate) fn usual_settings() -> ConfigBuilder<AgentScope> {
    ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0)
}

/// Whether a server is asked by TLS.
pub fn is_encrypted(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("https" | "wss"))
}

/// Whether this build can ask the server at `url`.
///
/// # Errors
/// When it is asked by `https` or `wss`, and that is left out.
pub fn check_reachable(url: &str) -> Result<(), RetrievalError> {
    if is_encrypted(url) && !cfg!(feature = "https") {
        return Err(RetrievalError::Unencrypted(url.to_owned()));
    }
    Ok(())
}

/// Bytes of an answer that are read; more is nonsense.
const MAX_ANSWER: u64 = 64 << 20;

struct Job {
    query: String,
    topk: usize,
    deadline: Instant,
    answer: std::sync::mpsc::SyncSender<Result<Vec<Hit>, RetrieveError>>,
}

/// A client of the retrieval protocol.
///
/// ```
/// use paretopo_retrieval::server::{Limits, serve};
/// use paretopo_retrieval::{Passage, PassageIndex, RemoteConfig, RemoteRetriever, Retriever};
/// use std::sync::mpsc::channel;
/// use std::time::{Duration, Instant};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let passage = |title: &str| Passage { title: title.into(), ..Passage::default() };
///     let index = PassageIndex::in_memory(&[passage("Mercury"), passage("Neptune")])?;
///     let (ready, address) = channel();
///     std::thread::spawn(move || {
///         let told = move |address| ready.send(address).expect("somebody waits for it");
///         serve(index, "127.0.0.1:0", 3, Limits::default(), told, std::future::pending())
///     });
///
///     let url = format!("http://{}/retrieve", address.recv()?);
///     let config: RemoteConfig = serde_json::from_value(serde_json::json!({ "url": url }))?;
///     let retriever = RemoteRetriever::new(&config);
///     let deadline = Instant::now() + Duration::from_secs(10);
///     let hits = retriever.retrieve("neptune", 1, deadline)?;
///     assert_eq!(hits[0].passage.title, "Neptune");
///     Ok(())
/// }
/// ```
pub struct RemoteRetriever {
    jobs: Sender<Job>,
}

impl RemoteRetriever {
    /// Starts the threads; they end when the retriever is dropped and their requests are done.
    pub fn new(config: &RemoteConfig) -> Self {
        let (jobs, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let agent = http_agent();
        let breaker = Arc::new(Breaker::new(config.breaker));
        for _ in 0..config.concurrency.max(1) {
            let (config, receiver, agent, breaker) =
                (config.clone(), receiver.clone(), agent.clone(), breaker.clone());
            std::thread::spawn(move || {
                while let Some(batch) = next_batch(&receiver, &config) {
                    answer(batch, &config, &agent, &breaker);
                }
            });
        }
        Self { jobs }
    }
}

impl Retriever for RemoteRetriever {
    fn retrieve(
        &self,
        query: &str,
        topk: usize,
        deadline: Instant,
    ) -> Result<Vec<Hit>, RetrieveError> {
        let (sender, receiver) = sync_channel(1);
        let job = Job { query: query.to_owned(), topk, deadline, answer: sender };
        self.jobs
            .send(job)
            .map_err(|_| RetrieveError::Failed("the client's threads have ended".into()))?;
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(RetrieveError::Timeout),
            Err(RecvTimeoutError::Disconnected) => {
                Err(RetrieveError::Failed("the request was given up".into()))
            }
        }
    }
}

/// The next queries to send together; `None` when the retriever is gone.
fn next_batch(jobs: &Mutex<Receiver<Job>>, config: &RemoteConfig) -> Option<Vec<Job>> {
    // held while a batch forms, never during a request
    let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let mut batch = vec![jobs.recv().ok()?];
    let closing = Instant::now() + config.batch_wait_seconds.duration();
    while batch.len() < config.batch_size.max(1)
        && let Ok(job) = jobs.recv_timeout(closing.saturating_duration_since(Instant::now()))
    {
        batch.push(job);
    }
    Some(batch)
}

/// Sends a batch and hands out the answers. Who no longer waits is passed over.
fn answer(mut batch: Vec<Job>, config: &RemoteConfig, agent: &ureq::Agent, breaker: &Breaker) {
    let mut pause = config.backoff_seconds.duration();
    for attempt in 0..=config.retries {
        batch.retain(|job| Instant::now() < job.deadline);
        let Some(latest) = batch.iter().map(|job| job.deadline).max() else { return };
        let left =
            latest.saturating_duration_since(Instant::now()).min(config.request_seconds.duration());
        if let Err(open) = breaker.enter() {
            give_up(batch, &format!("{}: {open}", config.url));
            return;
        }
        let result = ask(&batch, config, agent, left);
        // a refusal of this one request is an answer too
        breaker.report(result.as_ref().err().is_none_or(|failure| failure.final_word));
        match result {
            Ok(lists) => {
                for (job, hits) in batch.into_iter().zip(lists) {
                    // a failing send means that nobody waits any more
                    let _ = job.answer.send(Ok(hits.into_iter().take(job.topk).collect()));
                }
                return;
            }
            Err(Failure { message, final_word }) if final_word || attempt == config.retries => {
                give_up(batch, &message);
                return;
            }
            Err(_) => {}
        }
        std::thread::sleep(pause.min(latest.saturating_duration_since(Instant::now())));
        pause = pause.saturating_mul(2);
    }
}

fn give_up(batch: Vec<Job>, message: &str) {
    for job in batch {
        // a failing send means that nobody waits any more
        let _ = job.answer.send(Err(RetrieveError::Failed(message.to_owned())));
    }
}

struct Failure {
    message: String,
    /// Whether asking again would change nothing.
    final_word: bool,
}

fn ask(
    batch: &[Job],
    config: &RemoteConfig,
    agent: &ureq::Agent,
    timeout: Duration,
) -> Result<Vec<Vec<Hit>>, Failure> {
    let failure = |message: String, final_word| Failure {
        message: format!("{}: {message}", config.url),
        final_word,
    };
    let request = RetrieveRequest {
        queries: batch.iter().map(|job| job.query.clone()).collect(),
        topk: batch.iter().map(|job| job.topk).max(),
        return_scores: true,
    };
    let sent =
        agent.post(&config.url).config().timeout_global(Some(timeout)).build().send_json(&request);
    let mut response = sent.map_err(|error| failure(error.to_string(), false))?;
    let status = response.status();
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_vec()
        .map_err(|error| failure(error.to_string(), false))?;
    if !status.is_success() {
        let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        let busy = status.is_server_error() || status.as_u16() == 429 || status.as_u16() == 408;
        return Err(failure(format!("status {status}: {said}"), !busy));
    }
    let text = paretopo_reading::without_mark(&body)
        .map_err(|error| failure(format!("not the protocol: {error}"), false))?;
    let answer: RetrieveResponse = serde_json::from_slice(text)
        .map_err(|error| failure(format!("not the protocol: {error}"), false))?;
    if answer.result.len() != batch.len() {
        return Err(failure(
            format!("{} lists for {} queries", answer.result.len(), batch.len()),
            false,
        ));
    }
    let lists = answer
        .result
        .into_iter()
        .map(|list| list.into_iter().map(Found::into_hit).collect::<Option<Vec<Hit>>>());
    lists.collect::<Option<_>>().ok_or_else(|| failure("a passage without text".into(), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(feature = "https"))]
    fn https_that_is_left_out_is_refused_with_a_hint() {
        assert!(check_reachable("http://127.0.0.1:8000/retrieve").is_ok());
        for url in ["https://host/retrieve", "HTTPS://host", "wss://host"] {
            let error = check_reachable(url).unwrap_err().to_string();
            assert!(error.contains("--features https"), "{error}");
        }
    }

    #[test]
    #[cfg(feature = "https")]
    fn https_is_asked() {
        assert!(check_reachable("https://host/retrieve").is_ok());
    }
}
