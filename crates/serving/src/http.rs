//! Requests to a server, each with its deadlines, and streams of events (`text/event-stream`).

use crate::error::Failure;
use paretopo_retrieval::{Trust, why_untrusted};
use paretopo_settings::Secret;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

/// Bytes of an answer that are read; more is nonsense.
const MAX_ANSWER: u64 = 256 << 20;
/// Bytes of an event.
const MAX_EVENT: u64 = 16 << 20;
/// Characters of a refusal that are told.
const TOLD: usize = 300;

/// Asks one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    connecting: Duration,
    key: Option<Secret>,
}

impl Client {
    pub(crate) fn new(url: &str, trust: &Trust, connecting: Duration, key: Option<Secret>) -> Self {
        Self { agent: trust.agent(), base: url.trim_end_matches('/').to_owned(), connecting, key }
    }

    /// A request with the key and its deadlines.
    fn prepared<B>(
        &self,
        mut request: ureq::RequestBuilder<B>,
        limit: Duration,
    ) -> ureq::RequestBuilder<B> {
        if let Some(key) = &self.key {
            request = request.header("authorization", key.bearer());
        }
        let request = request.config().timeout_global(Some(limit));
        request.timeout_connect(Some(self.connecting.min(limit))).build()
    }

    /// What went wrong, without the key.
    fn discreet(&self, failure: Failure) -> Failure {
        match &self.key {
            Some(key) => Failure { message: key.hidden_in(&failure.message), ..failure },
            None => failure,
        }
    }

    pub(crate) fn get(&self, route: &str, limit: Duration) -> Result<Value, Failure> {
        let request = self.agent.get(format!("{}{route}", self.base));
        let sent = self.prepared(request, limit).call();
        let answer = opened(route, sent).and_then(|answer| whole_answer(route, answer));
        answer.map_err(|failure| self.discreet(failure))
    }

    /// `Null` where nothing is answered.
    pub(crate) fn post(
        &self,
        route: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<Value, Failure> {
        whole_answer(route, self.send(route, body, limit)?)
    }

    /// The events that are answered, one by one.
    pub(crate) fn stream(
        &self,
        route: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<Events<impl Read + use<>>, Failure> {
        let answer = self.send(route, body, limit)?;
        let reader = answer.into_body().into_with_config().limit(MAX_ANSWER).reader();
        Ok(Events { lines: BufReader::new(reader) })
    }

    fn send(
        &self,
        route: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let request = self.agent.post(format!("{}{route}", self.base));
        let sent = self.prepared(request, limit).send_json(body);
        opened(route, sent).map_err(|failure| self.discreet(failure))
    }
}

/// An answer whose status is that of a success.
fn opened(
    route: &str,
    sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<ureq::http::Response<ureq::Body>, Failure> {
    let mut answer = sent.map_err(|error| {
        let reason = why_untrusted(&error).unwrap_or_else(|| error.to_string());
        Failure::away(format!("`{route}`: {reason}"))
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec().unwrap_or_default();
    let mut message = format!("`{route}` is answered with status {status}: {}", said(&body));
    if [401, 403].contains(&status.as_u16()) {
        message.push_str("; `generator.token_variable` names the variable that holds its key");
    }
    // a model that is not found is one that a restarted server has not loaded yet
    let busy = status.is_server_error() || [404, 408, 429].contains(&status.as_u16());
    Err(if busy { Failure::away(message) } else { Failure::last_word(message) })
}

/// What an error says, as these servers write it.
fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = [&value["error"]["message"], &value["error"], &value["message"], &value["detail"]];
    let told = places.into_iter().find_map(Value::as_str);
    told.unwrap_or(&text).chars().take(TOLD).collect()
}

fn whole_answer(
    route: &str,
    mut answer: ureq::http::Response<ureq::Body>,
) -> Result<Value, Failure> {
    let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    let body = body.map_err(|error| Failure::away(format!("`{route}`: {error}")))?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    match serde_json::from_slice(&body) {
        Ok(value) => Ok(value),
        // a sentence is what some routes answer
        Err(_) if std::str::from_utf8(&body).is_ok() => Ok(Value::String(said(&body))),
        Err(error) => {
            Err(Failure::nonsense(format!("`{route}` is answered with no JSON: {error}")))
        }
    }
}

/// Events of a stream.
pub(crate) struct Events<R> {
    lines: BufReader<R>,
}

impl<R: Read> Events<R> {
    /// The next one; `None` at `[DONE]` or at the end of the stream.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, Failure> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = self.lines.by_ref().take(MAX_EVENT).read_until(b'\n', &mut line);
            match read {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => {
                    return Err(Failure::away(format!("a stream of tokens is cut: {error}")));
                }
            }
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            let data = data.trim_ascii();
            if data == b"[DONE]" {
                return Ok(None);
            }
            let value: Value = serde_json::from_slice(data).map_err(|error| {
                let shown: String = String::from_utf8_lossy(data).chars().take(TOLD).collect();
                Failure::nonsense(format!("an event is no JSON ({error}): {shown}"))
            })?;
            if !value["error"].is_null() {
                return Err(Failure::away(format!("a stream ends with an error: {}", said(data))));
            }
            return Ok(Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Events<&[u8]> {
        Events { lines: BufReader::new(text.as_bytes()) }
    }

    #[test]
    fn events_are_read_up_to_the_end() {
        let text =
            ": a comment\ndata: {\"a\": 1}\r\n\r\nevent: x\ndata:{\"a\":2}\n\ndata: [DONE]\n";
        let mut found = events(text);
        assert_eq!(found.next().unwrap().unwrap()["a"], 1);
        assert_eq!(found.next().unwrap().unwrap()["a"], 2);
        assert_eq!(found.next().unwrap(), None);
        // one that is cut within an event
        let error = events("data: {\"a\":").next().unwrap_err();
        assert!(error.message.starts_with("an event is no JSON"), "{error:?}");
        let error =
            events("data: {\"error\":{\"message\":\"out of memory\"}}\n").next().unwrap_err();
        assert_eq!(error, Failure::away("a stream ends with an error: out of memory"));
    }

    #[test]
    fn what_servers_say_is_told() {
        assert_eq!(said(br#"{"error":{"message":"no such model","code":404}}"#), "no such model");
        assert_eq!(said(br#"{"detail":"Not Found"}"#), "Not Found");
        assert_eq!(said(b"<html>"), "<html>");
    }
}
