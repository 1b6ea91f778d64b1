//! A server of the retrieval protocol over an index.
//!
//! `POST /retrieve` answers queries, `GET /health` says how many passages there are. Everything
//! that is wrong with a request is a status of the 400s with `{"error": ...}`; bodies, queries and
//! waiting times are bounded.

use crate::protocol::{Found, RetrieveRequest, RetrieveResponse};
use crate::{PassageIndex, RetrievalError, RetrieveError};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Queries in a request.
    pub queries: usize,
    /// Bytes of a query.
    pub query_bytes: usize,
    /// Bytes of a request.
    pub body_bytes: usize,
    /// Passages a query.
    pub topk: usize,
    /// Time for a request's body to arrive.
    pub body_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queries: 4096,
            query_bytes: 8 << 10,
            body_bytes: 8 << 20,
            topk: 1000,
            body_time: Duration::from_secs(30),
        }
    }
}

struct Shared {
    index: PassageIndex,
    topk: usize,
    limits: Limits,
    /// Searches at a time; a search keeps a core busy.
    cores: Semaphore,
}

struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

/// Serves until `stop` is done. `ready` hears the address, whose port is chosen by the system if 0
/// was asked for. `topk` is for requests that do not say.
///
/// # Errors
/// When the address cannot be listened on.
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
    let shared = Arc::new(Shared { index, topk, limits, cores: Semaphore::new(cores) });
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        ready(listener.local_addr()?);
        axum::serve(listener, router(shared)).with_graceful_shutdown(stop).await
    });
    served.map_err(failed)
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
) -> Result<Json<RetrieveResponse>, Refusal> {
    let asked = read(request.into_body(), &shared.limits).await?;
    let topk = asked.topk.unwrap_or(shared.topk);
    let mut searches = JoinSet::new();
    for (place, query) in asked.queries.into_iter().enumerate() {
        let shared = shared.clone();
        searches.spawn(async move {
            let _permit = shared.cores.acquire().await;
            let index = shared.clone();
            let found = tokio::task::spawn_blocking(move || index.index.search(&query, topk)).await;
            (place, found.unwrap_or_else(|error| Err(RetrieveError::Failed(error.to_string()))))
        });
    }
    let mut result = vec![Vec::new(); searches.len()];
    while let Some(done) = searches.join_next().await {
        let broken = |error: String| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error);
        let (place, hits) = done.map_err(|error| broken(error.to_string()))?;
        let hits = hits.map_err(|error| broken(error.to_string()))?;
        result[place] = hits.into_iter().map(|hit| Found::new(hit, asked.return_scores)).collect();
    }
    Ok(Json(RetrieveResponse { result }))
}

/// The bytes of a body, or `None` if there are too many. Some of what is too much is read and
/// dropped, since a client that is still sending when the connection closes may never see the
/// answer.
async fn collect(mut body: Body, limit: usize) -> Result<Option<Vec<u8>>, Refusal> {
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal(StatusCode::BAD_REQUEST, format!("the body breaks off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        total += data.len();
        if total <= limit {
            bytes.extend_from_slice(&data);
        } else if total > 8 * limit {
            break;
        }
    }
    Ok((total <= limit).then_some(bytes))
}

/// The request in a body, if it is one that will be answered.
async fn read(body: Body, limits: &Limits) -> Result<RetrieveRequest, Refusal> {
    let too_large = |what: String| Refusal(StatusCode::PAYLOAD_TOO_LARGE, what);
    let body = tokio::time::timeout(limits.body_time, collect(body, limits.body_bytes)).await;
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
    Ok(request)
}
