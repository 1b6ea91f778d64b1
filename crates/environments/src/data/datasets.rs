//! Data sets by name: where each lies on the hub, which files are its splits, how its rows read.
//!
//! | name | repository | for training | for testing |
//! |---|---|---|---|
//! | `gsm8k` | openai/gsm8k | train | test |
//! | `math` | EleutherAI/hendrycks_math | train | test |
//! | `math-500` | HuggingFaceH4/MATH-500 | | test |
//! | `aime24` | HuggingFaceH4/aime_2024 | | all |
//! | `aime25` | math-ai/aime25 | | test |
//! | `amc23` | math-ai/amc23 | | test |
//! | `olympiadbench` | math-ai/olympiadbench | | test |
//! | `minerva` | math-ai/minervamath | | test |
//! | `nq` | google-research-datasets/nq_open | train | validation |
//! | `hotpotqa` | hotpotqa/hotpot_qa (distractor) | train | validation |
//! | `2wiki` | xanhho/2WikiMultihopQA | train | dev |
//! | `musique` | dgslibisey/MuSiQue (answerable) | train | dev |
//! | `bamboogle` | chiayewken/bamboogle | | test |
//!
//! Any other repository can be read by its name and file patterns.

use super::{AnswerForm, Columns};
use crate::DataError;
use paretopo_settings::{whole, within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which environment plays a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetKind {
    /// Math problems.
    Math,
    /// Questions.
    Qa,
}

/// A data set that is known by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnownDataset {
    /// Its name here.
    pub name: &'static str,
    /// Who plays it.
    pub kind: DatasetKind,
    repository: &'static str,
    train: &'static str,
    test: &'static str,
    question: Option<&'static str>,
    answer: Option<&'static str>,
    answer_form: AnswerForm,
}

const fn math(
    name: &'static str,
    repository: &'static str,
    train: &'static str,
    test: &'static str,
) -> KnownDataset {
    let (kind, answer_form) = (DatasetKind::Math, AnswerForm::Plain);
    KnownDataset { name, kind, repository, train, test, question: None, answer: None, answer_form }
}

const fn qa(
    name: &'static str,
    repository: &'static str,
    train: &'static str,
    test: &'static str,
) -> KnownDataset {
    KnownDataset { kind: DatasetKind::Qa, ..math(name, repository, train, test) }
}

/// All that are known by name.
pub const KNOWN_DATASETS: [KnownDataset; 13] = [
    KnownDataset {
        answer_form: AnswerForm::Hashes,
        ..math("gsm8k", "openai/gsm8k", "main/train*", "main/test*")
    },
    KnownDataset {
        answer_form: AnswerForm::Boxed,
        ..math("math", "EleutherAI/hendrycks_math", "*/train*", "*/test*")
    },
    math("math-500", "HuggingFaceH4/MATH-500", "", "test*"),
    math("aime24", "HuggingFaceH4/aime_2024", "", "*"),
    math("aime25", "math-ai/aime25", "", "*test*"),
    math("amc23", "math-ai/amc23", "", "*test*"),
    KnownDataset {
        answer_form: AnswerForm::All,
        ..math("olympiadbench", "math-ai/olympiadbench", "", "*test*")
    },
    math("minerva", "math-ai/minervamath", "", "*test*"),
    qa("nq", "google-research-datasets/nq_open", "*train*", "*validation*"),
    qa("hotpotqa", "hotpotqa/hotpot_qa", "distractor/train*", "distractor/validation*"),
    qa("2wiki", "xanhho/2WikiMultihopQA", "train*", "dev*"),
    qa("musique", "dgslibisey/MuSiQue", "*ans*train*", "*ans*dev*"),
    KnownDataset {
        question: Some("Question"),
        answer: Some("Answer"),
        ..qa("bamboogle", "chiayewken/bamboogle", "", "*test*")
    },
];

/// A data set on the hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetSource {
    /// One that is known (`gsm8k`), or a repository (`owner/name`).
    pub name: String,
    /// Branch, tag or commit.
    #[serde(default = "main_branch", deserialize_with = "revision")]
    pub revision: String,
    /// Validation tasks, taken from the end of those for training (of those for testing, where
    /// there are none for training).
    #[serde(default, deserialize_with = "within::<0, 1_000_000_000, _, _>")]
    #[schemars(schema_with = "whole::<0, 1_000_000_000>")]
    pub validation: usize,
    /// Files for training, with `*` for any characters; those of a known data set when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Files for testing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Where the columns have unusual names; those of a known data set when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// What a bad row does.
    #[serde(default)]
    pub bad_rows: super::BadRows,
}

fn main_branch() -> String {
    "main".into()
}

/// A text that can be a revision.
fn revision<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let revision = String::deserialize(deserializer)?;
    paretopo_hub::check_revision(&revision).map_err(serde::de::Error::custom)?;
    Ok(revision)
}

/// A repository, its file patterns (empty for none) and columns.
pub(super) struct Resolved {
    pub(super) repository: String,
    pub(super) train: String,
    pub(super) test: String,
    pub(super) columns: Columns,
}

impl DatasetSource {
    /// A known data set or a repository, as it is.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            revision: main_branch(),
            validation: 0,
            train: None,
            test: None,
            columns: None,
            bad_rows: super::BadRows::default(),
        }
    }

    /// # Errors
    /// When the name is neither known nor that of a repository with files to read.
    pub(super) fn resolve(&self) -> Result<Resolved, DataError> {
        let known = KNOWN_DATASETS.iter().find(|known| known.name == self.name);
        if known.is_none() && !self.name.contains('/') {
            let names = KNOWN_DATASETS.map(|known| known.name).join("`, `");
            return Err(DataError::Setting(format!(
                "there is no data set `{}`\nhint: known are `{names}`; or give a repository as `owner/name`",
                self.name
            )));
        }
        if known.is_none() && self.test.is_none() {
            return Err(DataError::Setting(format!(
                "which files of `{}` are for testing?\nhint: give `test` (and `train`) a pattern such as \"data/test-*.parquet\"",
                self.name
            )));
        }
        let columns = |known: &KnownDataset| Columns {
            question: known.question.map(str::to_owned),
            answer: known.answer.map(str::to_owned),
            answer_form: known.answer_form,
            ..Columns::default()
        };
        let pattern = |own: &Option<String>, of: fn(&KnownDataset) -> &'static str| {
            own.clone().unwrap_or_else(|| known.map_or("", of).to_owned())
        };
        Ok(Resolved {
            repository: known.map_or(self.name.as_str(), |known| known.repository).to_owned(),
            train: pattern(&self.train, |known| known.train),
            test: pattern(&self.test, |known| known.test),
            columns: self.columns.clone().or_else(|| known.map(columns)).unwrap_or_default(),
        })
    }
}

/// Whether a file's path fits a pattern in which `*` stands for any characters, and the file holds
/// rows.
pub(super) fn fits(pattern: &str, path: &str) -> bool {
    let holds_rows = [".parquet", ".jsonl", ".json"].iter().any(|end| path.ends_with(end));
    holds_rows && !pattern.is_empty() && matches(pattern.as_bytes(), path.as_bytes())
}

/// In steps bounded by the product of both lengths, since the names are a server's: what fits so far
/// is never taken back beyond the last `*`.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let mut at = 0;
    let mut from = 0;
    // behind the last `*`: the place in the pattern, and where in the path it was tried last
    let mut star = None;
    while from < path.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, from));
        } else if pattern.get(at) == Some(&path[from]) {
            at += 1;
            from += 1;
        } else if let Some((behind, tried)) = star {
            at = behind;
            from = tried + 1;
            star = Some((behind, from));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_files_of_rows() {
        assert!(
            fits("main/test*", "main/test-00000-of-00001.parquet")
                && !fits("main/test*", "socratic/test-00000-of-00001.parquet")
        );
        assert!(
            fits("*/train*", "algebra/train-00000-of-00001.parquet")
                && fits("*test*", "data/test-0.jsonl")
                && fits("*", "x.json")
        );
        assert!(
            !fits("*test*", "test.md") && !fits("", "test.jsonl") && !fits("test", "test.jsonl")
        );
        assert!(
            fits("*ans*dev*", "a/ansans_dev_d.json")
                && fits("*ab.json", "aababab.json")
                && fits("**", "x.json")
                && !fits("*ans*dev*", "dev_ans.json")
                && !fits("a*b.json", "b.json")
        );
    }

    /// Was: every place of every `*` was tried, hours for this name.
    #[test]
    fn a_long_name_is_matched_in_time() {
        let name = "ans".repeat(300_000) + ".json";
        let started = std::time::Instant::now();
        assert!(!fits("*ans*train*", &name));
        assert!(started.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_revision_is_checked_where_it_is_read() {
        let read = |revision: &str| {
            let value = serde_json::json!({ "name": "gsm8k", "revision": revision });
            serde_json::from_value::<DatasetSource>(value)
        };
        assert_eq!(read("refs/convert/parquet").unwrap().revision, "refs/convert/parquet");
        let error = read("../../x").unwrap_err().to_string();
        assert!(error.contains("`../../x` is not a revision\nhint: a branch"), "{error}");
    }

    #[test]
    fn names_are_unique_and_unknown_ones_are_refused() {
        for (index, known) in KNOWN_DATASETS.iter().enumerate() {
            assert!(KNOWN_DATASETS[..index].iter().all(|other| other.name != known.name));
        }
        let error = |name: &str| DatasetSource::named(name).resolve().err().unwrap().to_string();
        assert!(error("gsm9k").contains("`gsm8k`") && error("owner/name").contains("for testing"));
    }
}
