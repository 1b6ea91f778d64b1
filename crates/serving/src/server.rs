//! One server: what it has to have, the weights that it was given, and whether it computes with
//! them.

use crate::error::Failure;
use crate::fingerprint::{History, Seen};
use crate::http::Client;
use crate::protocol::{Protocol, Step, Turn};
use crate::servers::{Held, Needs, Weights};
use crate::{ServerConfig, ServingError};
use paretopo_generation::SamplingConfig;
use paretopo_retrieval::{Breaker, Trust};
use paretopo_settings::{Secret, Temperature};
use paretopo_trajectory::TokenId;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tokens that are drawn to see how a server tells them.
const PROBED: usize = 8;
/// How they are drawn: far from the policy's own distribution, so that its log-probabilities are
/// told apart from those of what was drawn from.
const HOT: Temperature = Temperature::literal(2.0);
/// Nats on average beyond which they are those of what was drawn from.
const NOT_THE_POLICYS: f64 = 0.25;

/// A server and what is known of it.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) breaker: Breaker,
    /// Rows that it draws for.
    pub(crate) in_flight: AtomicUsize,
    protocol: Protocol,
    model: String,
    limit: Duration,
    tolerance: f64,
    /// Whether it has failed since it was seen to have its weights.
    suspect: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    said: History,
    /// The adapter that it was given.
    adapter: Option<String>,
}

/// Why a server has not the weights.
pub(crate) enum Trouble {
    /// It did not answer, or not so.
    Failure(Failure),
    /// It computes with others.
    Stale(ServingError),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Server {
    /// A server that has what is needed, and how many ids a row of it may have.
    ///
    /// # Errors
    /// When it does not answer, or lacks something; then how it is started that has it.
    pub(crate) fn probe(
        protocol: Protocol,
        url: &str,
        config: &ServerConfig,
        needs: &Needs,
    ) -> Result<(Self, usize), ServingError> {
        let key = config.token_variable.as_deref().map(held).transpose()?;
        let trust = Trust::about(url, config.ca_file.as_deref())
            .map_err(|reason| ServingError::Failed(format!("`generator.ca_file`: {reason}")))?;
        let client = Client::new(url, &trust, config.connect_seconds.duration(), key);
        let limit = config.update_seconds.duration();
        let failed = |failure: Failure| {
            let said = failure.of(url).message;
            ServingError::Failed(format!("{said}\nhint: is {} running there?", protocol.name()))
        };
        let listed = client.get("/v1/models", limit).map_err(failed)?;
        let (model, longest) = served(&listed, config.model.as_deref())
            .map_err(|what| lacks(url, what, "`generator.model` is the name that it serves"))?;
        let server = Self {
            url: url.to_owned(),
            client,
            breaker: Breaker::new(config.breaker),
            in_flight: AtomicUsize::new(0),
            protocol,
            model,
            limit,
            tolerance: config.tolerance.get(),
            suspect: AtomicBool::new(false),
            known: Mutex::default(),
        };
        server.require_routes(needs)?;
        server.require_answers(needs)?;
        Ok((server, longest))
    }

    /// # Errors
    /// Names the route that is missing, and what brings it.
    fn require_routes(&self, needs: &Needs) -> Result<(), ServingError> {
        // one that hides its documentation may have them all
        let Ok(described) = self.client.get("/openapi.json", self.limit) else { return Ok(()) };
        let Some(paths) = described["paths"].as_object() else { return Ok(()) };
        let required = match needs.updates {
            None => &[],
            Some(false) => self.protocol.full_routes(),
            Some(true) => self.protocol.adapter_routes(),
        };
        match required.iter().find(|(route, _)| !paths.contains_key(*route)) {
            None => Ok(()),
            Some((route, hint)) => Err(lacks(
                &self.url,
                format!("has no route `{route}`, by which it gets weights"),
                hint,
            )),
        }
    }

    /// Draws some tokens and scores them.
    ///
    /// # Errors
    /// When ids or log-probabilities are missing, or these are not the policy's.
    fn require_answers(&self, needs: &Needs) -> Result<(), ServingError> {
        let oldest = match self.protocol {
            Protocol::Vllm => "it has to be vLLM 0.10.2 or later",
            Protocol::Sglang => "it has to be SGLang 0.5 or later",
        };
        let wrong = |failure: Failure| {
            let version = self.version();
            lacks(&self.url, format!("(version {version}) fails: {}", failure.message), oldest)
        };
        let ids: Vec<TokenId> = (0..4.min(needs.vocab_size as TokenId)).collect();
        let sampling = SamplingConfig { temperature: HOT, ..SamplingConfig::default() };
        let turn = Turn {
            ids: &ids,
            budget: PROBED,
            seed: 1,
            sampling: &sampling,
            end_ids: &[],
            forbidden: &[],
        };
        let drawn = self.whole_turn(&turn).map_err(wrong)?;
        if let Some((id, _)) = drawn.iter().find(|(id, _)| *id as usize >= needs.vocab_size) {
            let what = format!(
                "draws the id {id}, but the policy knows {} tokens (`vocab_size`)",
                needs.vocab_size
            );
            return Err(lacks(&self.url, what, "serve the checkpoint of `policy`"));
        }
        let all: Vec<TokenId> = ids.iter().copied().chain(drawn.iter().map(|one| one.0)).collect();
        let scores = self.score(&all, None).map_err(wrong)?;
        let told: Vec<f32> = drawn.iter().map(|one| one.1).collect();
        if crate::fingerprint::apart(&told, &scores[ids.len() - 1..]) > NOT_THE_POLICYS {
            let what = "tells log-probabilities of what it draws from, not of the policy";
            return Err(lacks(&self.url, what.into(), self.protocol.raw_hint()));
        }
        Ok(())
    }

    fn version(&self) -> String {
        let told = self.client.get(self.protocol.version_route(), self.limit).unwrap_or_default();
        told["version"].as_str().unwrap_or("unknown").to_owned()
    }

    /// All tokens of a turn.
    fn whole_turn(&self, turn: &Turn<'_>) -> Result<Vec<(TokenId, f32)>, Failure> {
        let (route, body) = self.protocol.turn(turn, &self.model, None);
        let mut events = self.client.stream(&route, &body, self.limit)?;
        let mut drawn = Vec::new();
        while let Some(event) = events.next()? {
            let heard = self.protocol.heard(&event, drawn.len()).map_err(Failure::nonsense)?;
            drawn.extend(heard.tokens);
        }
        match drawn.len() == turn.budget {
            true => Ok(drawn),
            false => {
                let message = format!("{} tokens come where {} are due", drawn.len(), turn.budget);
                Err(Failure::nonsense(message))
            }
        }
    }

    /// The request of a turn with the weights that the server was given.
    pub(crate) fn turn(&self, turn: &Turn<'_>, weights: Option<&Weights>) -> Step {
        self.protocol.turn(turn, &self.model, weights.and_then(Weights::adapter))
    }

    fn score(&self, ids: &[TokenId], adapter: Option<&str>) -> Result<Vec<f32>, Failure> {
        let (route, body) = self.protocol.score(ids, &self.model, adapter);
        let answer = self.client.post(&route, &body, self.limit)?;
        self.protocol.scores(&answer, ids).map_err(Failure::nonsense)
    }

    /// It has failed: before it is used again, it must be seen to have its weights.
    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Ordering::Release);
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// Gives it weights, and sees whether it computes with them: by how much its log-probabilities
    /// of the fingerprint differ from the trainer's, in nats on average.
    pub(crate) fn give(&self, held: &Held) -> Result<f64, Trouble> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.give_known(held, &mut known)
    }

    fn give_known(&self, held: &Held, known: &mut Known) -> Result<f64, Trouble> {
        self.suspect();
        self.exchange(held, known).map_err(|failure| failure.of(&self.url))?;
        let scores = self.score(&held.fingerprint.ids, held.weights.adapter());
        let scores = scores.map_err(|failure| failure.of(&self.url))?;
        let found = held.fingerprint.require(&scores, &known.said, self.tolerance);
        let difference = found.map_err(|reason| Trouble::Stale(self.stale(held, reason)))?;
        let seen = Seen { fingerprint: held.fingerprint.clone(), scores };
        known.said.first.get_or_insert_with(|| seen.clone());
        known.said.latest = Some(seen);
        self.suspect.store(false, Ordering::Release);
        Ok(difference)
    }

    fn stale(&self, held: &Held, reason: String) -> ServingError {
        let (url, version) = (self.url.clone(), held.version);
        ServingError::Stale { url, version, reason, place: held.weights.place() }
    }

    fn exchange(&self, held: &Held, known: &mut Known) -> Result<(), Failure> {
        match &held.weights {
            Weights::AsStarted => Ok(()),
            Weights::Full { folder } => {
                let (pause, after) = self.protocol.pauses();
                self.take(pause)?;
                let loaded = self.take(self.protocol.full_update(folder, held.version));
                // also after a failure: else nobody could go on
                let resumed: Vec<Result<(), Failure>> =
                    after.into_iter().map(|step| self.take(step)).collect();
                loaded?;
                resumed.into_iter().collect()
            }
            Weights::Adapter { folder, name } => {
                // one of the same name is there only after a failure; a restarted server has none
                for name in known.adapter.take().iter().chain([name]) {
                    let _ = self.take(self.protocol.adapter_removal(name));
                }
                self.take(self.protocol.adapter_update(folder, name))?;
                known.adapter = Some(name.clone());
                Ok(())
            }
        }
    }

    fn take(&self, (route, body): Step) -> Result<(), Failure> {
        let answer = self.client.post(&route, &body, self.limit)?;
        Protocol::require_done(&answer)
            .map_err(|said| Failure::away(format!("`{route}` is not done: {said}")))
    }

    /// Sees to it that a server that has failed has its weights before it is used again.
    pub(crate) fn restore(&self, held: &Held) -> Result<(), Trouble> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_suspect() {
            return Ok(());
        }
        let given = known.said.latest.as_ref().filter(|seen| seen.fingerprint == held.fingerprint);
        if let Some(seen) = given
            && let Ok(scores) = self.score(&held.fingerprint.ids, held.weights.adapter())
            && seen.require_same(&scores, self.tolerance).is_ok()
        {
            self.suspect.store(false, Ordering::Release);
            return Ok(());
        }
        // it may have been started anew, so that it does not move
        known.said.latest = None;
        self.give_known(held, &mut known).map(drop)
    }

    /// Whether it still has the weights that it was seen to have; one that does not answer is
    /// suspect.
    ///
    /// # Errors
    /// When it has others.
    pub(crate) fn confirm(&self, held: &Held) -> Result<(), ServingError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = known.said.latest.as_ref();
        let Some(seen) = latest.filter(|_| !self.is_suspect()) else { return Ok(()) };
        match self.score(&held.fingerprint.ids, held.weights.adapter()) {
            Ok(scores) => seen
                .require_same(&scores, self.tolerance)
                .map_err(|reason| self.stale(held, reason)),
            Err(_) => {
                self.suspect();
                Ok(())
            }
        }
    }
}

/// The key that a variable holds.
fn held(variable: &str) -> Result<Secret, ServingError> {
    Secret::of_variable(variable).map_err(|reason| {
        ServingError::Failed(format!(
            "`generator.token_variable`: the variable `{variable}` {reason}\nhint: put the key there \
             that the servers were started with, or take the setting out"
        ))
    })
}

fn lacks(url: &str, what: String, hint: &str) -> ServingError {
    ServingError::Lacks { url: url.to_owned(), what, hint: hint.to_owned() }
}

/// The name of the served model and the most ids that a row of it may have.
fn served(listed: &Value, wanted: Option<&str>) -> Result<(String, usize), String> {
    let models = listed["data"].as_array().ok_or("does not list its models")?;
    let name = |model: &Value| model["id"].as_str().unwrap_or_default().to_owned();
    let found = models.iter().find(|model| wanted.is_none_or(|wanted| name(model) == wanted));
    let Some(model) = found else {
        let names: Vec<String> = models.iter().map(name).collect();
        let wanted = wanted.unwrap_or("any");
        return Err(format!("does not serve `{wanted}` but {}", names.join(", ")));
    };
    let longest = model["max_model_len"].as_u64().map_or(usize::MAX, |most| most as usize);
    Ok((name(model), longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_served_model_is_the_named_one_or_the_first() {
        let listed = json!({ "data": [{ "id": "a", "max_model_len": 256 }, { "id": "b" }] });
        assert_eq!(served(&listed, None).unwrap(), ("a".into(), 256));
        assert_eq!(served(&listed, Some("b")).unwrap(), ("b".into(), usize::MAX));
        assert_eq!(served(&listed, Some("c")).unwrap_err(), "does not serve `c` but a, b");
        assert!(served(&json!({ "hello": 1 }), None).is_err());
    }
}
