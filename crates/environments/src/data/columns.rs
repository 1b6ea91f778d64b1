//! Which fields of a row hold what.

use paretopo_grading::extract_answer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The columns of a file, where they have other names than the usual ones. A name may lead into an
/// object: `answer.value`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Identifies a row; `id` or `_id` when absent, else file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The question; `question` or `problem` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The answer, or a list of accepted ones; `answer`, `answers`, `golden_answers` or
    /// `final_answer` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How hard it is, a number or a text with one; `level` or `hops` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What the answer's column holds.
    pub answer_form: AnswerForm,
}

/// What an answer's column holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// The answer, or a list of accepted ones.
    #[default]
    Plain,
    /// A solution with the answer behind `####` (GSM8K).
    Hashes,
    /// A solution with the answer in its last `\boxed{}` (MATH).
    Boxed,
    /// A list whose entries are all asked for (OlympiadBench).
    All,
}

impl Columns {
    /// The row with the usual names.
    ///
    /// # Errors
    /// Names the column that is missing, or says what an answer lacks.
    pub(super) fn canonical(&self, mut row: Value) -> Result<Value, String> {
        if *self == Self::default() {
            return Ok(row);
        }
        if !row.is_object() {
            return Err("a row is an object".into());
        }
        for (column, usual) in [
            (&self.id, "id"),
            (&self.question, "question"),
            (&self.answer, "answer"),
            (&self.level, "level"),
        ] {
            let Some(column) = column else { continue };
            let value = row.pointer(&format!("/{}", column.replace('.', "/"))).cloned();
            row[usual] = value.ok_or_else(|| format!("no column `{column}`"))?;
        }
        if self.answer_form != AnswerForm::Plain {
            let answer = ["answer", "final_answer", "solution"]
                .into_iter()
                .map(|name| &row[name])
                .find(|value| !value.is_null());
            row["answer"] = self.answer_form.read(answer.ok_or("no `answer`")?)?.into();
        }
        Ok(row)
    }
}

impl AnswerForm {
    fn read(self, value: &Value) -> Result<String, String> {
        let text =
            || value.as_str().ok_or_else(|| format!("the answer must be a text, not `{value}`"));
        match self {
            Self::Plain => text().map(str::to_owned),
            Self::Hashes => {
                let (_, answer) =
                    text()?.rsplit_once("####").ok_or("the solution has no `####`")?;
                Ok(answer.trim().to_owned())
            }
            Self::Boxed => {
                extract_answer(text()?).ok_or_else(|| "the solution has no `\\boxed{}`".to_owned())
            }
            Self::All => match value {
                Value::Array(entries) if !entries.is_empty() => {
                    let entries: Option<Vec<&str>> = entries.iter().map(Value::as_str).collect();
                    Ok(entries.ok_or("the answers must be texts")?.join(", "))
                }
                _ => text().map(str::to_owned),
            },
        }
    }
}

/// The number in a level, as in `3` or `Level 3`.
pub(crate) fn level_of(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64()?.try_into().ok(),
        Value::String(text) => text.split_whitespace().last()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_renamed_and_answers_read() {
        let columns = Columns {
            id: Some("meta.key".into()),
            question: Some("Problem".into()),
            answer: Some("Solution".into()),
            answer_form: AnswerForm::Hashes,
            ..Columns::default()
        };
        let row = columns.canonical(json!({ "meta": { "key": 7 }, "Problem": "1+1?", "Solution": "One and one.\n#### 2" })).unwrap();
        assert_eq!(
            (&row["id"], &row["question"], &row["answer"]),
            (&json!(7), &json!("1+1?"), &json!("2"))
        );
        assert_eq!(
            columns.canonical(json!({ "Problem": "x" })).unwrap_err(),
            "no column `meta.key`"
        );
        let form = |answer_form, row| {
            Columns { answer_form, ..Columns::default() }
                .canonical(row)
                .map(|row| row["answer"].clone())
        };
        assert_eq!(
            form(AnswerForm::Boxed, json!({ "solution": "so \\boxed{\\frac12}" })).unwrap(),
            json!("\\frac12")
        );
        assert_eq!(
            form(AnswerForm::All, json!({ "final_answer": ["2", "3"] })).unwrap(),
            json!("2, 3")
        );
        assert!(form(AnswerForm::Hashes, json!({ "answer": "2" })).unwrap_err().contains("####"));
        assert_eq!(
            (level_of(&json!("Level 3")), level_of(&json!(2)), level_of(&json!("hard"))),
            (Some(3), Some(2), None)
        );
    }
}
