//! Requests to the hub: to whom the token goes, where a redirection may lead, how long anything may
//! take.
//!
//! The token goes to the configured hub alone: same scheme, host and port, which is curl's rule. A
//! redirection leads to `http` or `https`, never from `https` to `http`, and at most ten times.
//! Every wait ends: for a connection, for headers (all of them together), for the next bytes.

use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode};
use url::Url;

/// Redirections that are followed for one question.
const HOPS: usize = 10;
const USER_AGENT: &str = concat!("paretopo/", env!("CARGO_PKG_VERSION"));

/// How long a server is waited for, and how little it may send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// For a name and for a connection.
    pub connect: Duration,
    /// For all headers of an answer.
    pub headers: Duration,
    /// For the next bytes of a body.
    pub silence: Duration,
    /// For the listing of a repository.
    pub listing: Duration,
    /// Bytes a second below which a download is given up, over spans of `silence`.
    pub slowest: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            headers: Duration::from_secs(60),
            silence: Duration::from_secs(60),
            listing: Duration::from_secs(300),
            slowest: 1024,
        }
    }
}

/// A hub, and who asks it.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    agent: ureq::Agent,
    endpoint: Url,
    token: Option<String>,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ureq::Body,
}

/// Where redirections are followed to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Anywhere: to the place that holds the bytes.
    Anywhere,
    /// As long as the hub itself answers: what it says of a file stands in its own headers, also
    /// where these send on to another host.
    Hub,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The way there; another attempt may succeed.
    Transport(String),
    /// The server sends somewhere where nobody should go.
    Redirection(String),
    /// It is asked by `https`, which this build cannot.
    LeftOut,
}

impl Web {
    pub(crate) fn new(endpoint: Url, token: Option<String>, patience: &Patience) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_send_request(Some(patience.headers))
            .timeout_recv_response(Some(patience.headers))
            .timeout_per_read(Some(patience.silence))
            .build()
            .into();
        Self { agent, endpoint, token }
    }

    /// The address of a path of the hub; whatever its parts hold, they stay parts.
    pub(crate) fn address<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .expect("the endpoint was checked to have a host")
            .pop_if_empty()
            .extend(parts);
        url
    }

    /// Asks for `url`, in `range` of bytes or all of it; `limit` is for everything together.
    ///
    /// # Errors
    /// When nobody answers in time, or redirections lead astray.
    pub(crate) fn get(
        &self,
        mut url: Url,
        range: Option<&str>,
        follow: Follow,
        limit: Option<Duration>,
    ) -> Result<Answer, Failure> {
        for _ in 0..=HOPS {
            let answer = self.ask(&url, range, limit)?;
            if !is_redirection(answer.status) {
                return Ok(answer);
            }
            let next = next(&url, &answer.headers).map_err(Failure::Redirection)?;
            if follow == Follow::Hub && !same_server(&next, &self.endpoint) {
                return Ok(answer);
            }
            url = next;
        }
        Err(Failure::Redirection(format!("it redirects more than {HOPS} times")))
    }

    /// How many bytes a place holds that the hub itself does not speak about: where `answer` leads.
    pub(crate) fn follow(
        &self,
        from: &Url,
        answer: &Answer,
        range: &str,
    ) -> Result<Answer, Failure> {
        let next = next(from, &answer.headers).map_err(Failure::Redirection)?;
        self.get(next, Some(range), Follow::Anywhere, None)
    }

    fn ask(
        &self,
        url: &Url,
        range: Option<&str>,
        limit: Option<Duration>,
    ) -> Result<Answer, Failure> {
        if url.scheme() == "https" && !cfg!(feature = "https") {
            return Err(Failure::LeftOut);
        }
        let mut request = self
            .agent
            .get(url.as_str())
            // lengths and checksums are of the bytes as they are
            .header("accept-encoding", "identity");
        if let Some(range) = range {
            request = request.header("range", range);
        }
        if let Some(token) = self.token.as_ref().filter(|_| same_server(url, &self.endpoint)) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let sent = request.config().timeout_global(limit).build().call();
        let (head, body) =
            sent.map_err(|error| Failure::Transport(error.to_string()))?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn is_redirection(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// curl's rule for who may see credentials.
fn same_server(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Where an answer from `url` sends on.
fn next(url: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = headers.get("location").ok_or("it redirects to nowhere")?;
    let location = location.to_str().map_err(|_| "it redirects to what is no address")?;
    let mut next = url
        .join(location)
        .map_err(|error| format!("it redirects to what is no address: {error}"))?;
    next.set_fragment(None);
    let scheme = next.scheme();
    if !matches!(scheme, "http" | "https") || next.host().is_none() {
        return Err(format!("it redirects to `{scheme}:`, which is not fetched"));
    }
    if url.scheme() == "https" && scheme == "http" {
        return Err("it redirects from `https` to `http`".into());
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err("it redirects to an address with a name or password in it".into());
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn redirections_lead_to_the_web_alone() {
        let go = |from: &str, location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("location", location.parse().unwrap());
            next(&url(from), &headers).map(String::from)
        };
        let hub = "https://hub/a/resolve/main/f";
        for (location, expected) in [
            ("/b", "https://hub/b"),
            ("g?x=1#y", "https://hub/a/resolve/main/g?x=1"),
            ("//cdn/b", "https://cdn/b"),
            ("https://cdn:8443/b", "https://cdn:8443/b"),
            ("/../../../b", "https://hub/b"),
        ] {
            assert_eq!(go(hub, location), Ok(expected.to_owned()), "{location}");
        }
        for (from, location) in [
            (hub, "http://hub/b"),
            (hub, "file:///etc/passwd"),
            (hub, "ftp://hub/b"),
            (hub, "data:text/plain,x"),
            (hub, "unix:/run/docker.sock"),
            (hub, "https://"),
            (hub, "https://user:password@cdn/b"),
            ("http://hub/a", "file://hub/etc/passwd"),
        ] {
            assert!(go(from, location).is_err(), "{location}");
        }
        assert_eq!(go("http://hub/a", "https://hub/b"), Ok("https://hub/b".to_owned()));
        assert!(next(&url(hub), &HeaderMap::new()).is_err());
    }

    #[test]
    fn the_token_goes_to_the_same_scheme_host_and_port() {
        let hub = url("https://hub");
        for same in ["https://hub/a/b", "https://HUB:443/"] {
            assert!(same_server(&url(same), &hub), "{same}");
        }
        for other in [
            "http://hub",
            "https://hub:444",
            "https://hub.evil",
            "https://a.hub",
            "https://hub@evil",
        ] {
            assert!(!same_server(&url(other), &hub), "{other}");
        }
    }

    #[test]
    #[cfg(not(feature = "https"))]
    fn https_that_is_left_out_is_refused_before_anything_is_asked() {
        let web = Web::new(url("https://127.0.0.1:9"), None, &Patience::default());
        let asked = web.get(url("https://127.0.0.1:9/a"), None, Follow::Hub, None);
        assert!(matches!(asked.err(), Some(Failure::LeftOut)));
    }

    #[test]
    fn parts_of_an_address_stay_parts() {
        let web = |endpoint: &str| Web::new(url(endpoint), None, &Patience::default());
        let parts = ["a", "resolve", "refs/pr/1", "x?y#z/../%2e%2e"];
        assert_eq!(
            web("https://hub").address(parts).as_str(),
            "https://hub/a/resolve/refs%2Fpr%2F1/x%3Fy%23z%2F..%2F%252e%252e"
        );
        assert_eq!(web("https://hub/mirror/").address(["a"]).as_str(), "https://hub/mirror/a");
    }
}
