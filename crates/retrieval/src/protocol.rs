//! The retrieval protocol of Search-R1 (arXiv 2503.09516): `POST /retrieve`, a list of queries in,
//! a list of passages for each out.
//!
//! As its own server has it (`search_r1/search/retrieval_server.py`): unknown fields are ignored;
//! `topk` may be left out, `null` or 0 for the server's default, and a number with nothing behind
//! its point (`2.0`). What it would fail on, a broken number (`2.5`), a negative one or too large a
//! one, is refused in words, as are texts (`"3"`), which it would read. `return_scores` may be
//! `null`, 1 or 0, too. Its servers of web searches
//! leave the scores out, and so may others.

use crate::passage::split_contents;
use crate::{Hit, Passage};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrieveRequest {
    /// At least one query.
    pub queries: Vec<String>,
    /// Passages a query, at least one; the server's default if absent, `null` or 0.
    #[serde(default, deserialize_with = "topk")]
    pub topk: Option<usize>,
    /// Whether scores are wanted; not if absent or `null`. 1 and 0 are true and false.
    #[serde(default, deserialize_with = "return_scores")]
    pub return_scores: bool,
}

/// A switch as clients in Python write it.
fn return_scores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    match (&value, value.as_f64()) {
        (serde_json::Value::Null, _) => Ok(false),
        (serde_json::Value::Bool(wanted), _) => Ok(*wanted),
        (_, Some(number)) if number == 0.0 || number == 1.0 => Ok(number == 1.0),
        _ => Err(D::Error::custom(format!(
            "`return_scores` is `{value}`, not true or false (or 1, 0, null)"
        ))),
    }
}

/// A whole number, also with a point; 0 and `null` are none.
fn topk<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let Some(value) = Option::<serde_json::Value>::deserialize(deserializer)? else {
        return Ok(None);
    };
    // whole numbers up to 2^53 are exact in an f64, and nobody asks for more passages
    let whole = value
        .as_f64()
        .filter(|number| number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number));
    match whole {
        Some(number) => Ok(Some(number as usize).filter(|number| *number > 0)),
        None => Err(D::Error::custom(format!(
            "`topk` is `{value}`, not a whole number of 0 (for the server's default) or more"
        ))),
    }
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
    /// With `return_scores`; some servers leave the score itself out.
    Scored {
        /// The passage.
        document: Document,
        /// Higher is better.
        #[serde(default)]
        score: Option<f32>,
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
        if with_score {
            Self::Scored { document, score: Some(hit.score) }
        } else {
            Self::Plain(document)
        }
    }

    /// From the wire; `None` when there is no text.
    pub fn into_hit(self) -> Option<Hit> {
        let (document, score) = match self {
            Self::Scored { document, score } => (document, score.unwrap_or_default()),
            Self::Plain(document) => (document, 0.0),
        };
        let (title, text) = match (document.contents, document.text) {
            (Some(contents), _) => split_contents(&contents),
            (None, Some(text)) => (document.title.unwrap_or_default(), text),
            (None, None) => return None,
        };
        let id = match document.id {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(id) => id,
            other => other.to_string(),
        };
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

    /// One answer of each of Search-R1's servers.
    #[test]
    fn the_answers_of_search_r1_are_read() {
        let read = |text: &str| {
            let response: RetrieveResponse = serde_json::from_str(text).unwrap();
            let hit = response.result.into_iter().next().unwrap().into_iter().next().unwrap();
            let hit = hit.into_hit().unwrap();
            (hit.passage.id, hit.passage.title, hit.passage.text, hit.score)
        };
        let hit = |id: &str, score| (id.to_owned(), "A b".to_owned(), "c\nd".to_owned(), score);
        // dense: rows of the corpus, with scores and without
        let text =
            r#"{"result":[[{"document":{"id":"3","contents":"\"A b\"\nc\nd"},"score":0.8125}]]}"#;
        assert_eq!(read(text), hit("3", 0.8125));
        let text = r#"{"result":[[{"id":"3","contents":"\"A b\"\nc\nd"}]]}"#;
        assert_eq!(read(text), hit("3", 0.0));
        // BM25: title and text apart as well, and no id
        let text = r#"{"result":[[{"document":{"title":"A b","text":"c\nd","contents":"\"A b\"\nc\nd"},"score":9}]]}"#;
        assert_eq!(read(text), hit("", 9.0));
        // web searches: no score
        let text = r#"{"result":[[{"document":{"contents":"\"A b\"\nc\nd"}}]]}"#;
        assert_eq!(read(text), hit("", 0.0));
        let text = r#"{"result":[[{"document":{"contents":"\"A b\"\nc\nd"},"score":null}]]}"#;
        assert_eq!(read(text), hit("", 0.0));
    }

    #[test]
    fn a_request_is_read_as_search_r1_reads_it() {
        let read = |rest: &str| {
            serde_json::from_str::<RetrieveRequest>(&format!("{{\"queries\":[\"x\"]{rest}}}"))
        };
        for rest in ["", ",\"topk\":null", ",\"topk\":0", ",\"topk\":0.0", ",\"topk\":-0.0"] {
            assert_eq!(read(rest).unwrap().topk, None, "{rest}");
        }
        for rest in [",\"topk\":2", ",\"topk\":2.0", ",\"topk\":2e0", ",\"topk\":20e-1"] {
            assert_eq!(read(rest).unwrap().topk, Some(2), "{rest}");
        }
        for rest in ["-1", "-2.0", "2.5", "\"2\"", "true", "[2]", "1e300", "18446744073709551615"] {
            let error = read(&format!(",\"topk\":{rest}")).unwrap_err().to_string();
            assert!(error.contains("not a whole number"), "{rest}: {error}");
        }
        assert!(read(",\"topk\":1e999").unwrap_err().to_string().contains("out of range"));
        let request = read(",\"extra\":{\"a\":[1]},\"return_scores\":true").unwrap();
        assert!(request.return_scores);
        for (value, wanted) in [
            ("true", true),
            ("false", false),
            ("null", false),
            ("1", true),
            ("0", false),
            ("1.0", true),
            ("-0.0", false),
        ] {
            let request = read(&format!(",\"return_scores\":{value}")).unwrap();
            assert_eq!(request.return_scores, wanted, "{value}");
        }
        assert!(!read("").unwrap().return_scores);
        for value in ["2", "-1", "0.5", "\"true\"", "[]", "{}"] {
            let error = read(&format!(",\"return_scores\":{value}")).unwrap_err().to_string();
            assert!(error.contains("`return_scores` is `"), "{value}: {error}");
        }
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
