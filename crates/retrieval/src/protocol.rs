//! The retrieval protocol of Search-R1 (arXiv 2503.09516): `POST /retrieve`, a list of queries in,
//! a list of passages for each out.

use crate::corpus::split_contents;
use crate::{Hit, Passage};
use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrieveRequest {
    /// At least one query.
    pub queries: Vec<String>,
    /// Passages a query; the server's default if absent.
    #[serde(default)]
    pub topk: Option<usize>,
    /// Whether scores are wanted.
    #[serde(default)]
    pub return_scores: bool,
}

/// What is answered: one list a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrieveResponse {
    /// Best first.
    pub result: Vec<Vec<Found>>,
}

/// A passage as the protocol has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Found {
    /// With `return_scores`.
    Scored {
        /// The passage.
        document: Document,
        /// Higher is better.
        score: f32,
    },
    /// Without.
    Plain(Document),
}

/// A passage's text; some servers have title and text apart, and further fields, which are passed
/// over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// A string or a number.
    pub id: serde_json::Value,
    /// `"Title"`, a line break, the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
    /// Alone, without `contents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Alone, without `contents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Found {
    /// For the wire.
    pub fn new(hit: Hit, with_score: bool) -> Self {
        let Passage { id, title, text } = hit.passage;
        let document = Document {
            id: id.into(),
            contents: Some(format!("\"{title}\"\n{text}")),
            title: None,
            text: None,
        };
        if with_score { Self::Scored { document, score: hit.score } } else { Self::Plain(document) }
    }

    /// From the wire; `None` when there is no text.
    pub fn into_hit(self) -> Option<Hit> {
        let (document, score) = match self {
            Self::Scored { document, score } => (document, score),
            Self::Plain(document) => (document, 0.0),
        };
        let (title, text) = match (document.contents, document.text) {
            (Some(contents), _) => split_contents(&contents),
            (None, Some(text)) => (document.title.unwrap_or_default(), text),
            (None, None) => return None,
        };
        let id = document.id.as_str().map_or_else(|| document.id.to_string(), str::to_owned);
        Some(Hit { passage: Passage { id, title, text }, score })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_answer_are_understood() {
        let text = r#"{"result":[[{"document":{"id":3,"contents":"\"A b\"\nc"},"score":1.5}],[{"id":"x","title":"T","text":"u","more":1}],[]]}"#;
        let response: RetrieveResponse = serde_json::from_str(text).unwrap();
        let hits: Vec<Vec<Hit>> = response
            .result
            .into_iter()
            .map(|list| list.into_iter().filter_map(Found::into_hit).collect())
            .collect();
        let hit = |id: &str, title: &str, text: &str, score| Hit {
            passage: Passage { id: id.into(), title: title.into(), text: text.into() },
            score,
        };
        assert_eq!(hits, [vec![hit("3", "A b", "c", 1.5)], vec![hit("x", "T", "u", 0.0)], vec![]]);
    }

    #[test]
    fn a_hit_survives_the_wire() {
        let hit = Hit {
            passage: Passage { id: "7".into(), title: "A \"b\"".into(), text: "x\ny".into() },
            score: 0.25,
        };
        let wire = serde_json::to_string(&Found::new(hit.clone(), true)).unwrap();
        let back = serde_json::from_str::<Found>(&wire).unwrap().into_hit().unwrap();
        assert_eq!(back, hit);
    }
}
