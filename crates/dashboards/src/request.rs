//! Requests to a dashboard's server: each has a limit, answers are bounded, and what a server says
//! is told without the credentials that it was sent.

use paretopo_retrieval::{check_reachable, http_agent};
use serde_json::Value;
use std::time::Duration;

/// Bytes of an answer that are read; more is nonsense.
const MAX_ANSWER: u64 = 4 << 20;
/// Characters of a refusal that are told.
const TOLD: usize = 200;
/// A connection stands after this time, or the server is away.
const CONNECTING: Duration = Duration::from_secs(5);

/// Why something was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server cannot be reached, is late or busy: later it may take it.
    Away(String),
    /// It does not take it, or says what nobody understands; the status where there was one.
    Refused(String, Option<u16>),
}

impl Failure {
    pub(crate) fn nonsense(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into(), None)
    }
}

/// Asks one server.
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    /// Headers of each request, whose values are secret.
    secrets: Vec<(&'static str, String)>,
    limit: Duration,
}

impl Client {
    /// # Errors
    /// When this build cannot ask there.
    pub(crate) fn new(
        base: &str,
        secrets: Vec<(&'static str, String)>,
        limit: Duration,
    ) -> Result<Self, String> {
        check_reachable(base).map_err(|error| error.to_string())?;
        Ok(Self { agent: http_agent(), base: base.to_owned(), secrets, limit })
    }

    /// The answer to a question, as JSON; `Null` where nothing is answered.
    pub(crate) fn get(&self, route: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut request = self.agent.get(format!("{}/{route}", self.base));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        for (name, value) in &self.secrets {
            request = request.header(*name, value);
        }
        let request = request.config().timeout_global(Some(self.limit));
        let request = request.timeout_connect(Some(CONNECTING.min(self.limit))).build();
        self.answer(route, request.call())
    }

    /// The same for something that is sent.
    pub(crate) fn post(&self, route: &str, body: &Value) -> Result<Value, Failure> {
        let mut request = self.agent.post(format!("{}/{route}", self.base));
        for (name, value) in &self.secrets {
            request = request.header(*name, value);
        }
        let request = request.config().timeout_global(Some(self.limit));
        let request = request.timeout_connect(Some(CONNECTING.min(self.limit))).build();
        self.answer(route, request.send_json(body))
    }

    fn answer(
        &self,
        route: &str,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, Failure> {
        let away = |error: ureq::Error| {
            Failure::Away(self.without_secrets(&format!("`{route}`: {error}")))
        };
        let mut answer = sent.map_err(away)?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        if !status.is_success() {
            let said = said(&body.unwrap_or_default());
            let told = format!("`{route}` is answered with status {status}: {said}");
            let told = self.without_secrets(&told);
            let is_busy = status.is_server_error() || [408, 429].contains(&status.as_u16());
            return Err(match is_busy {
                true => Failure::Away(told),
                false => Failure::Refused(told, Some(status.as_u16())),
            });
        }
        let body = match body {
            Err(ureq::Error::BodyExceedsLimit(_)) => {
                let told = format!("`{route}` is answered with more than {MAX_ANSWER} bytes");
                return Err(Failure::nonsense(told));
            }
            body => body.map_err(away)?,
        };
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| {
            let told = format!("`{route}` is answered with no JSON: {}", said(&body));
            Failure::nonsense(self.without_secrets(&told))
        })
    }

    /// A server may say what it was sent.
    fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (_, secret) in &self.secrets {
            let bare = secret.rsplit(' ').next().unwrap_or(secret);
            for hidden in [secret.as_str(), bare] {
                if !hidden.is_empty() {
                    text = text.replace(hidden, "…");
                }
            }
        }
        text
    }
}

/// What an error says, in one line.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = [&value["message"], &value["error"], &value["detail"]];
    let told = places.into_iter().find_map(Value::as_str).unwrap_or(&text);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    told.chars().take(TOLD).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_one_line_without_what_it_was_sent() {
        assert_eq!(said(b"{\"message\":\"no\\nsuch run\"}"), "no such run");
        assert_eq!(said(b"\x1b[2J<html>"), " [2J<html>");
        let secrets = vec![("authorization", "Bearer abc123".to_owned())];
        let client = Client::new("http://127.0.0.1:1", secrets, Duration::from_secs(1)).unwrap();
        assert_eq!(client.without_secrets("got Bearer abc123, abc123"), "got …, …");
    }
}
