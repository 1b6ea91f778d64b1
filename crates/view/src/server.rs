//! The page over HTTP, for the browser of whoever started it.
//!
//! A request is answered if its `Host` is an address or `localhost`: a page of another site that has
//! its own name point here (DNS rebinding) sends that name. It is refused if it says that another
//! origin sent it (`Origin`, `Sec-Fetch-Site`). Answers say that only this origin may use them.

use crate::page::{ASSETS, with_links};
use crate::view::{Refusal, View};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nothing can be listened to there.
    #[error(
        "cannot listen at `{address}`: {reason}\nhint: choose another with `--address`, or port 0 for any"
    )]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The system refuses threads or sockets.
    #[error("the server ended: {0}")]
    System(#[from] std::io::Error),
}

/// What each answer tells the browser: no script but the page's own, nothing from or for elsewhere.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Serves the page until `stop` comes. `ready` hears of the address once requests are answered.
///
/// # Errors
/// When the address cannot be listened to.
pub fn serve(
    view: View,
    address: &str,
    ready: impl FnOnce(SocketAddr) + Send,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let listen = |error: std::io::Error| ServerError::Listen {
            address: address.to_owned(),
            reason: error.to_string(),
        };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
        ready(listener.local_addr()?);
        // connections that are open are not waited for: a browser keeps its own
        tokio::select! {
            ended = axum::serve(listener, router(Arc::new(view))).into_future() => Ok(ended?),
            () = stop => Ok(()),
        }
    })
}

fn router(view: Arc<View>) -> Router {
    Router::new()
        .route(
            "/",
            get(|| async { ([("content-type", "text/html; charset=utf-8")], with_links()) }),
        )
        .route("/assets/{name}", get(asset))
        .route("/api/{name}", get(answer))
        .with_state(view)
        .layer(from_fn(guard))
}

async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => ([("content-type", asset.kind)], asset.text).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
    }
}

/// Files are read beside the threads that answer.
async fn answer(
    State(view): State<Arc<View>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = parsed(&query.unwrap_or_default());
    let found = tokio::task::spawn_blocking(move || view.answer(&name, &query)).await;
    let json = [("content-type", "application/json")];
    let error = |status: StatusCode, reason: String| {
        (status, json, serde_json::json!({ "error": reason }).to_string()).into_response()
    };
    match found {
        Ok(Ok(value)) => (json, value.to_string()).into_response(),
        Ok(Err(Refusal::Missing(reason))) => error(StatusCode::NOT_FOUND, reason),
        Ok(Err(Refusal::Wrong(reason))) => error(StatusCode::BAD_REQUEST, reason),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be made".into()),
    }
}

/// The pairs of a query, as `application/x-www-form-urlencoded` has them.
fn parsed(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
        .collect()
}

/// `%41` is a byte, `+` a space; what is neither stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut place) = (Vec::with_capacity(bytes.len()), 0);
    while place < bytes.len() {
        let code = bytes.get(place + 1..place + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let code = code.filter(|_| bytes[place] == b'%');
        match code.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                place += 3;
            }
            None => {
                decoded.push(if bytes[place] == b'+' { b' ' } else { bytes[place] });
                place += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Lets through what the page itself asks for.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = match refusal(request.headers()) {
        None => next.run(request).await,
        Some(reason) => (StatusCode::FORBIDDEN, Body::from(reason)).into_response(),
    };
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request with these headers is none of the page's.
fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(HOST).unwrap_or("");
    if !is_own_name(host) {
        return Some("refused: this is no name of the page; open it by its address or `localhost`");
    }
    if text(ORIGIN).is_some_and(|origin| origin != format!("http://{host}")) {
        return Some("refused: another origin asked");
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    match site {
        None | Some("same-origin" | "none") => None,
        Some(_) => Some("refused: another site asked"),
    }
}

/// An address or `localhost`, with or without a port. Nobody but this machine answers for these.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        refusal(&headers.collect()).is_some()
    }

    #[test]
    fn names_that_can_be_pointed_here_are_refused() {
        for own in
            ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:80", "10.0.0.7:1", "[::1]"]
        {
            assert!(!refused(&[("host", own)]), "{own}");
        }
        for other in
            ["evil.example:8080", "localhost.evil.example", "", "127.0.0.1.nip.io:8080", "[::1"]
        {
            assert!(refused(&[("host", other)]), "{other}");
        }
        assert!(refused(&[]));
    }

    #[test]
    fn other_origins_and_sites_are_refused() {
        let host = ("host", "127.0.0.1:8080");
        assert!(!refused(&[host, ("origin", "http://127.0.0.1:8080")]));
        for origin in
            ["http://127.0.0.1:8081", "https://127.0.0.1:8080", "null", "http://evil.example"]
        {
            assert!(refused(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!refused(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!refused(&[host, ("sec-fetch-site", "none")]));
        assert!(refused(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(refused(&[host, ("sec-fetch-site", "same-site")]));
    }

    #[test]
    fn queries_are_decoded_as_browsers_write_them() {
        let found = parsed("run=a%2Fb+c&x=%C3%A9&flag&bad=%zz%4");
        let wanted = [("bad", "%zz%4"), ("flag", ""), ("run", "a/b c"), ("x", "é")];
        let found: Vec<(&str, &str)> =
            found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, wanted);
    }
}
