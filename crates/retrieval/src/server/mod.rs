//! A server of the retrieval protocol over an index.
//!
//! `POST /retrieve` answers queries, `GET /health` says how many passages there are. Everything
//! that is wrong with a request is a status of the 400s with `{"error": ...}`. What a client may
//! send, how long it may take, and how many there may be is bounded ([`Limits`]); who takes too
//! long, or has waited the longest when there are too many, is hung up on.

mod connections;
mod limits;
mod serving;

pub use limits::Limits;

use crate::protocol::{Found, RetrieveRequest, RetrieveResponse};
use crate::{PassageIndex, RetrievalError, RetrieveError};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use connections::{Connection, Phase};
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long a search that is under way may put off the end.
const LAST_SEARCH: Duration = Duration::from_millis(500);

/// Searches that are done one behind the other, without asking for a core in between.
const LONGEST_RUN: usize = 16;

struct Shared {
    index: PassageIndex,
    topk: usize,
    limits: Limits,
    /// Searches at a time, over all requests; a search keeps a core busy.
    cores: Semaphore,
    /// Runs of searches of one request that ask for a core, so that a long request does not stand
    /// in front of a short one.
    at_once: usize,
}

struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

/// Serves until `stop` is done; then requests that are under way get their answers, within
/// `limits.stop_time`. `ready` hears the address, whose port is chosen by the system if 0 was asked
/// for. `topk` is for requests that do not say.
///
/// # Errors
/// When the address cannot be listened on, or the system allows too few open files.
pub fn serve(
    index: PassageIndex,
    address: &str,
    topk: usize,
    limits: Limits,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RetrievalError> {
    let failed = |source| RetrievalError::Listen { address: address.to_owned(), source };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let at_once = 2 * cores;
    let shared = Arc::new(Shared { index, topk, limits, cores: Semaphore::new(cores), at_once });
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let most = limits::most_connections(limits.connections)?;
        ready(listener.local_addr().map_err(failed)?);
        serving::run(listener, router(shared), limits, most, stop).await;
        Ok(())
    });
    runtime.shutdown_timeout(LAST_SEARCH);
    served
}

fn router(shared: Arc<Shared>) -> Router {
    let nowhere = || async {
        Refusal(StatusCode::NOT_FOUND, "there are `POST /retrieve` and `GET /health`".into())
    };
    let method = || async {
        Refusal(StatusCode::METHOD_NOT_ALLOWED, "`POST /retrieve` and `GET /health`".into())
    };
    Router::new()
        .route("/retrieve", post(retrieve).fallback(method))
        .route("/health", get(health).fallback(method))
        .fallback(nowhere)
        .with_state(shared)
}

async fn health(State(shared): State<Arc<Shared>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok", "passages": shared.index.len() }))
}

async fn retrieve(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, Refusal> {
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let connection = connection.expect("every request comes with its connection");
    let asked = read(request.into_body(), &shared, &connection).await?;
    connection.enter(Phase::Search);
    let topk = asked.topk.unwrap_or(shared.topk);
    let mut result = vec![Vec::new(); asked.queries.len()];
    let run = asked.queries.len().div_ceil(shared.at_once).min(LONGEST_RUN);
    let mut queries = asked.queries.into_iter();
    let mut first = 0;
    let mut searches = JoinSet::new();
    loop {
        while searches.len() < shared.at_once && queries.len() > 0 {
            let texts: Vec<String> = queries.by_ref().take(run).collect();
            let count = texts.len();
            searches.spawn(search(shared.clone(), first, texts, topk, asked.return_scores));
            first += count;
        }
        let Some(done) = searches.join_next().await else { break };
        let (first, found) = done.map_err(|error| broken(&error))?;
        let found = found.map_err(|error| broken(&error))?;
        for (place, passages) in result[first..].iter_mut().zip(found) {
            *place = passages;
        }
    }
    let answer =
        serde_json::to_vec(&RetrieveResponse { result }).map_err(|error| broken(&error))?;
    // what the request took is no longer needed
    connection.give_back();
    connection.enter(Phase::Memory);
    connection.take(answer.len()).await;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

/// The passages for some queries that follow each other, and the place of the first: once a
/// core is free for them.
async fn search(
    shared: Arc<Shared>,
    first: usize,
    queries: Vec<String>,
    topk: usize,
    with_scores: bool,
) -> (usize, Result<Vec<Vec<Found>>, RetrieveError>) {
    let _permit = shared.cores.acquire().await;
    let index = shared.clone();
    let found = tokio::task::spawn_blocking(move || {
        let passages = |query: &String| {
            let hits = index.index.search(query, topk)?;
            Ok(hits.into_iter().map(|hit| Found::new(hit, with_scores)).collect())
        };
        queries.iter().map(passages).collect()
    });
    let found = found.await.unwrap_or_else(|error| Err(RetrieveError::Failed(error.to_string())));
    (first, found)
}

fn broken(error: &dyn std::error::Error) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The bytes of a body, or `None` if there are too many. Some of what is too much is read and
/// dropped, since a client that is still sending when the connection closes may never see the
/// answer.
async fn collect(
    mut body: Body,
    limit: usize,
    connection: &Connection,
) -> Result<Option<Vec<u8>>, Refusal> {
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal(StatusCode::BAD_REQUEST, format!("the body breaks off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        total += data.len();
        if total <= limit {
            connection.take(data.len()).await;
            bytes.extend_from_slice(&data);
        } else if total > 8 * limit {
            break;
        }
    }
    Ok((total <= limit).then_some(bytes))
}

/// The request in a body, if it is one that will be answered.
async fn read(
    body: Body,
    shared: &Shared,
    connection: &Connection,
) -> Result<RetrieveRequest, Refusal> {
    let limits = &shared.limits;
    let too_large = |what: String| Refusal(StatusCode::PAYLOAD_TOO_LARGE, what);
    let body = collect(body, limits.body_bytes, connection);
    let body = tokio::time::timeout(limits.body_time, body).await;
    let body = body.map_err(|_| {
        Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".into())
    })?;
    let body = body?
        .ok_or_else(|| too_large(format!("a request may have {} bytes", limits.body_bytes)))?;
    let wrong = |reason: String| Refusal(StatusCode::BAD_REQUEST, reason);
    let text = paretopo_reading::without_mark(&body).map_err(|error| wrong(error.to_string()))?;
    let request: RetrieveRequest = serde_json::from_slice(text)
        .map_err(|error| wrong(format!("expected {{\"queries\": [text, ...], \"topk\": number, \"return_scores\": bool}}: {error}")))?;
    if request.queries.is_empty() {
        return Err(wrong("`queries` is empty".into()));
    }
    if request.queries.len() > limits.queries {
        return Err(too_large(format!(
            "{} queries; a request may have {}",
            request.queries.len(),
            limits.queries
        )));
    }
    if let Some(place) = request.queries.iter().position(|query| query.len() > limits.query_bytes) {
        return Err(too_large(format!(
            "query {place} has {} bytes; it may have {}",
            request.queries[place].len(),
            limits.query_bytes
        )));
    }
    if let Some(topk) = request.topk.filter(|topk| *topk > limits.topk) {
        let limit = limits.topk;
        return Err(wrong(format!("`topk` is {topk}; it may be up to {limit}, 0 for the default")));
    }
    let passages = request.queries.len() * request.topk.unwrap_or(shared.topk);
    if passages > limits.passages {
        return Err(too_large(format!(
            "{} queries ask for {passages} passages together; a request may ask for {}",
            request.queries.len(),
            limits.passages
        )));
    }
    Ok(request)
}
