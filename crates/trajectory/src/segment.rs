//! A run of token ids with their author, and what is known of each id.

use crate::TokenId;
use crate::numbers::{self, Number};
use serde::{Deserialize, Serialize};

/// Who wrote the ids of a segment. Only [`Author::Model`] is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The opening: system message, tools, the question.
    Prompt,
    /// Sampled from the policy.
    Model,
    /// The text that a tool returned.
    Tool,
    /// What an environment of several turns said to the policy's.
    Environment,
    /// Markers that the turn loop put around tool output or turns.
    Template,
}

/// From when to when, in seconds since the episode began. `[began, ended]` in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f32, f32)", into = "(f32, f32)")]
pub struct Span {
    /// Seconds from the episode's beginning to this one's.
    pub began: f32,
    /// Seconds from the episode's beginning to this one's end.
    pub ended: f32,
}

impl From<(f32, f32)> for Span {
    fn from((began, ended): (f32, f32)) -> Self {
        Self { began, ended }
    }
}

impl From<Span> for (f32, f32) {
    fn from(span: Span) -> Self {
        (span.began, span.ended)
    }
}

/// An id that could have been drawn instead, or the one that was. `[id, logprob]` in a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(TokenId, Number<f32>)", into = "(TokenId, Number<f32>)")]
pub struct Alternative {
    /// The id.
    pub id: TokenId,
    /// Its natural log-probability under the untempered policy.
    pub logprob: f32,
}

impl From<(TokenId, Number<f32>)> for Alternative {
    fn from((id, Number(logprob)): (TokenId, Number<f32>)) -> Self {
        Self { id, logprob }
    }
}

impl From<Alternative> for (TokenId, Number<f32>) {
    fn from(alternative: Alternative) -> Self {
        (alternative.id, Number(alternative.logprob))
    }
}

/// A run of consecutive ids by one author and, for [`Author::Model`], by one version of the weights.
///
/// For [`Author::Model`] `logprobs` and `sampling_logprobs` are as long as `ids`, and so are
/// `trainer_logprobs`, `entropies` and `alternatives` where they were asked for; for every other
/// author all are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Who wrote the ids.
    pub author: Author,
    /// The ids, in the order in which the model saw them.
    pub ids: Vec<TokenId>,
    /// Optimiser updates behind the weights that sampled the ids; `None` where nothing was sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_version: Option<u64>,
    /// Whether the model marked the ids as thinking. They are sampled and learnt from like others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub thinking: bool,
    /// Natural log-probability of each sampled id under the untempered policy (temperature 1, full
    /// vocabulary).
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "numbers::list")]
    pub logprobs: Vec<f32>,
    /// Natural log-probability of each sampled id under the distribution it was drawn from
    /// (temperature, top-k, top-p).
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "numbers::list")]
    pub sampling_logprobs: Vec<f32>,
    /// Natural log-probability of each sampled id under the policy that is trained, before the step's
    /// update: with `logprobs`, what sampler and trainer differ by. Empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "numbers::list")]
    pub trainer_logprobs: Vec<f32>,
    /// Entropy in nats of the untempered policy where each id was sampled; empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "numbers::list")]
    pub entropies: Vec<f32>,
    /// The most probable ids where each id was sampled, best first; empty unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Vec<Alternative>>,
    /// When the ids came: of sampled ones from the first to the last. `None` in files of the first
    /// format, which did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
}

impl Segment {
    /// A segment that nobody sampled.
    pub fn given(author: Author, ids: Vec<TokenId>) -> Self {
        debug_assert_ne!(author, Author::Model, "sampled ids need log-probabilities");
        Self { author, ids, weight_version: None, ..Self::sampling(0) }
    }

    /// A segment of the model that holds nothing yet, to be filled with what weights of this
    /// version sample.
    pub fn sampling(weight_version: u64) -> Self {
        Self {
            author: Author::Model,
            ids: Vec::new(),
            weight_version: Some(weight_version),
            thinking: false,
            logprobs: Vec::new(),
            sampling_logprobs: Vec::new(),
            trainer_logprobs: Vec::new(),
            entropies: Vec::new(),
            alternatives: Vec::new(),
            time: None,
        }
    }

    /// The same, at that time.
    pub fn at(self, time: Span) -> Self {
        Self { time: Some(time), ..self }
    }

    /// What is wrong with the lengths of its lists, in words; nothing in what this program makes.
    pub(crate) fn misfit(&self) -> Option<String> {
        let sampled = self.author == Author::Model;
        let per_id = [
            ("logprobs", self.logprobs.len(), false),
            ("sampling_logprobs", self.sampling_logprobs.len(), false),
            ("trainer_logprobs", self.trainer_logprobs.len(), true),
            ("entropies", self.entropies.len(), true),
            ("alternatives", self.alternatives.len(), true),
        ];
        let wanted = if sampled { self.ids.len() } else { 0 };
        let fits = |(_, found, optional): &(&str, usize, bool)| {
            *found == wanted || (*optional && *found == 0)
        };
        if let Some((name, found, _)) = per_id.iter().find(|list| !fits(list)) {
            return Some(format!("{found} `{name}` for {wanted} sampled ids"));
        }
        match (sampled, self.weight_version) {
            (true, None) => Some("sampled ids without a `weight_version`".into()),
            (false, Some(_)) => Some("a `weight_version`, but nothing was sampled".into()),
            _ => None,
        }
    }
}
